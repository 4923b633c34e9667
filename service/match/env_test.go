package match_test

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/match"
)

// environment of a task, in which no name may be twice.
func environment(t *testing.T, task *mesos.TaskInfo) map[string]string {
	t.Helper()
	env := map[string]string{}
	for _, v := range task.GetCommand().GetEnvironment().GetVariables() {
		if _, ok := env[v.GetName()]; ok {
			t.Errorf("%s is there twice", v.GetName())
		}
		env[v.GetName()] = v.GetValue()
	}
	return env
}

func TestEnvironmentOfEveryTask(t *testing.T) {
	a := app(func(a *marathon.App) {
		a.CPUs, a.Mem, a.Disk, a.GPUs = 10, 256, 128.5, 2
		a.Labels = map[string]string{"LABEL1": "VALUE1", "label2": "VALUE2"}
	})
	i := on(a)
	got := environment(t, match.Task(a, i, nil, match.TaskOptions{EnforceRole: true}))
	want := map[string]string{
		"MESOS_TASK_ID": i.TaskID, "MARATHON_APP_ID": "/prod/web", "MARATHON_APP_VERSION": "2020-01-01T00:00:00.000Z",
		"MARATHON_APP_RESOURCE_CPUS": "10.0", "MARATHON_APP_RESOURCE_MEM": "256.0", "MARATHON_APP_RESOURCE_DISK": "128.5",
		"MARATHON_APP_RESOURCE_GPUS": "2", "MARATHON_APP_ENFORCE_GROUP_ROLE": "TRUE", "MARATHON_APP_LABELS": "LABEL1 LABEL2",
		"MARATHON_APP_LABEL_LABEL1": "VALUE1", "MARATHON_APP_LABEL_LABEL2": "VALUE2", "HOST": "h.test",
	}
	if !maps.Equal(got, want) {
		t.Errorf("%v\nwant %v", got, want)
	}
	plain := app(nil)
	got = environment(t, match.Task(plain, on(plain), nil, match.TaskOptions{}))
	if v, ok := got["MARATHON_APP_LABELS"]; v != "" || !ok || got["MARATHON_APP_ENFORCE_GROUP_ROLE"] != "FALSE" {
		t.Errorf("%v", got)
	}
}

func TestLabelsAsVariables(t *testing.T) {
	long := strings.Repeat("x", 512)
	a := app(func(a *marathon.App) {
		a.Labels = map[string]string{
			"label": "a", "label_with_+-invalid.chars": "b", "long": long, long: "c", "almost": long[:511],
			long[:492]: "d", long[:493]: "e",
		}
	})
	env := environment(t, match.Task(a, on(a), nil, match.TaskOptions{}))
	want := map[string]string{
		"MARATHON_APP_LABEL_LABEL": "a", "MARATHON_APP_LABEL_LABEL_WITH__INVALID_CHARS": "b", "MARATHON_APP_LABEL_ALMOST": long[:511],
		"MARATHON_APP_LABEL_" + strings.ToUpper(long[:492]): "d",
	}
	for name, value := range env {
		if strings.HasPrefix(name, "MARATHON_APP_LABEL_") && want[name] != value {
			t.Errorf("%s=%s", name, value)
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("missing %v", want)
	}
	if names := strings.Fields(env["MARATHON_APP_LABELS"]); len(names) != 4 {
		t.Errorf("names %v", names)
	}
}

// The cases are Marathon's, EnvironmentHelperTest and TaskBuilderTest.
func TestPortVariables(t *testing.T) {
	named := func(all ...any) (list []marathon.PortDefinition) {
		for n := 0; n < len(all); n += 2 {
			list = append(list, marathon.PortDefinition{Name: all[n].(string), Port: all[n+1].(int), Protocol: "tcp"})
		}
		return list
	}
	mapped := func(all ...any) *marathon.Container {
		c := &marathon.Container{Type: "MESOS"}
		for n := 0; n < len(all); n += 2 {
			c.PortMappings = append(c.PortMappings, marathon.PortMapping{Name: all[n].(string), ContainerPort: all[n+1].(int), Protocol: "tcp"})
		}
		return c
	}
	for _, one := range []struct {
		name   string
		app    func(*marathon.App)
		ports  []int
		prefix string
		want   string // sorted, without HOST
	}{
		{"none", nil, nil, "", ""},
		{"undeclared", func(a *marathon.App) { a.PortDefinitions = named("", 0, "", 0) }, []int{1001, 1002}, "",
			"PORT=1001 PORT0=1001 PORT1=1002 PORTS=1001,1002 PORT_1001=1001 PORT_1002=1002"},
		{"named", func(a *marathon.App) { a.PortDefinitions = named("http", 0, "https", 0) }, []int{1001, 1002}, "",
			"PORT=1001 PORT0=1001 PORT1=1002 PORTS=1001,1002 PORT_1001=1001 PORT_1002=1002 PORT_HTTP=1001 PORT_HTTPS=1002"},
		{"declared", func(a *marathon.App) { a.PortDefinitions = named("http", 80, "", 8080, "https", 443) }, []int{1001, 1002, 1003}, "",
			"PORT=1001 PORT0=1001 PORT1=1002 PORT2=1003 PORTS=1001,1002,1003 PORT_443=1003 PORT_80=1001 PORT_8080=1002 PORT_HTTP=1001 PORT_HTTPS=1003"},
		{"name is another's port", func(a *marathon.App) { a.PortDefinitions = named("", 80, "80", 90) }, []int{1001, 1002}, "",
			"PORT=1001 PORT0=1001 PORT1=1002 PORTS=1001,1002 PORT_80=1002 PORT_90=1002"},
		{"prefix", func(a *marathon.App) { a.PortDefinitions = named("", 80) }, []int{1001}, "P_",
			"P_HOST=h.test P_PORT=1001 P_PORT0=1001 P_PORTS=1001 P_PORT_80=1001"},
		{"mapped", func(a *marathon.App) { a.Container = mapped("http", 8080, "jabber", 8081) }, []int{1000, 1001}, "",
			"PORT=1000 PORT0=1000 PORT1=1001 PORTS=1000,1001 PORT_8080=1000 PORT_8081=1001 PORT_HTTP=1000 PORT_JABBER=1001"},
		{"mapped inside", func(a *marathon.App) { a.Container = mapped("http", 8080, "", 90) }, []int{0, 0}, "",
			"PORT0=8080 PORT1=90 PORTS= PORT_8080=8080 PORT_90=90 PORT_HTTP=8080"},
		{"overridden", func(a *marathon.App) {
			a.PortDefinitions = named("", 8080, "", 8081)
			a.Env = map[string]marathon.EnvValue{"PORT": {Value: "1"}, "PORTS": {Value: "ports"}, "PORT0": {Value: "2"}, "PORT_8081": {Value: "p"}, "OTHER": {Value: "o"}}
		}, []int{1000, 1001}, "", "OTHER=o PORT=1 PORT0=2 PORT1=1001 PORTS=ports PORT_8080=1000 PORT_8081=p"},
		{"overridden behind a prefix", func(a *marathon.App) {
			a.PortDefinitions = named("", 80)
			a.Env = map[string]marathon.EnvValue{"P_PORT0": {Value: "2"}, "PORT0": {Value: "3"}, "P_HOST": {Value: "x"}}
		}, []int{1000}, "P_", "PORT0=3 P_HOST=x P_PORT=1000 P_PORT0=2 P_PORTS=1000 P_PORT_80=1000"},
	} {
		a := app(one.app)
		env := environment(t, match.Task(a, on(a, one.ports...), nil, match.TaskOptions{EnvPrefix: one.prefix}))
		var got []string
		for _, name := range slices.Sorted(maps.Keys(env)) {
			if !strings.HasPrefix(name, "M") && name != "HOST" {
				got = append(got, name+"="+env[name])
			}
		}
		if text := strings.Join(got, " "); text != one.want {
			t.Errorf("%s: %s\nwant %s", one.name, text, one.want)
		}
	}
}

func TestUserOverridesEverything(t *testing.T) {
	a := app(func(a *marathon.App) {
		a.Env = map[string]marathon.EnvValue{"MARATHON_APP_ID": {Value: "mine"}, "HOST": {Value: "there"}, "MARATHON_APP_LABELS": {}}
		a.Labels = map[string]string{"x": "y"}
	})
	env := environment(t, match.Task(a, on(a), nil, match.TaskOptions{}))
	if env["MARATHON_APP_ID"] != "mine" || env["HOST"] != "there" || env["MARATHON_APP_LABELS"] != "" {
		t.Errorf("%v", env)
	}
}

func TestDrawnContainerPort(t *testing.T) {
	a := app(func(a *marathon.App) {
		a.Container = &marathon.Container{Type: "MESOS", PortMappings: []marathon.PortMapping{{ContainerPort: 0, Name: "x"}, {ContainerPort: 8080}}}
	})
	i := on(a, 0, 31000)
	env := environment(t, match.Task(a, i, nil, match.TaskOptions{}))
	port := env["PORT0"]
	if n, err := strconv.Atoi(port); err != nil || n < 1025 || n > 65535 || n == 8080 {
		t.Fatalf("port %q", port)
	}
	if env["PORT_"+port] != port || env["PORT_X"] != port || env["PORT"] != "31000" || env["PORTS"] != "31000,"+port || env["PORT_8080"] != "31000" {
		t.Errorf("%v", env)
	}
	if again := environment(t, match.Task(a, i, nil, match.TaskOptions{})); again["PORT0"] != port {
		t.Error("drawn again, it is another")
	}
}

func TestNumbersAsMarathonWritesThem(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0.0", 1: "1.0", 0.1: "0.1", 128: "128.0", 1234567.5: "1234567.5", 1e7: "1.0E7", 12345678: "1.2345678E7", 0.001: "0.001", 0.0005: "5.0E-4",
	} {
		a := app(func(a *marathon.App) { a.Mem = v })
		if got := environment(t, match.Task(a, on(a), nil, match.TaskOptions{}))["MARATHON_APP_RESOURCE_MEM"]; got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}
