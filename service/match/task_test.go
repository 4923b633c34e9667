package match_test

import (
	"math"
	"strings"
	"testing"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/match"
)

// on places an instance of a, its first task, with ports.
func on(a *marathon.App, ports ...int) *instance.Instance {
	i := next(a, 1)
	i.Incarnation, i.TaskID = 1, instance.TaskID(i.ID, 1)
	i.Agent, i.Role, i.Ports = &instance.Agent{ID: "s-h", Host: "h.test"}, a.Role, ports
	return i
}

func TestTask(t *testing.T) {
	grace := 7
	a := app(func(a *marathon.App) {
		a.User, a.Labels, a.TaskKillGracePeriodSeconds = "www", map[string]string{"b": "2", "a": "1"}, &grace
		a.PortDefinitions = []marathon.PortDefinition{{Name: "http", Protocol: "udp,tcp", Port: 10000, Labels: map[string]string{"VIP_0": "/web:80"}}}
		a.Fetch = []marathon.Artifact{{URI: "http://x/a.tgz", Extract: true, Cache: true, DestPath: "b"}, {URI: "/bin/x", Executable: true}}
		a.ResourceLimits = &marathon.ResourceLimits{CPUs: &marathon.Limit{Unlimited: true}, Mem: &marathon.Limit{Value: 256}}
		a.Container = &marathon.Container{Type: "MESOS"}
	})
	resources := []*mesos.Resource{{Name: proto.String("cpus"), Type: mesos.Value_SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: proto.Float64(1)}}}
	got := match.Task(a, on(a, 31005), resources, match.TaskOptions{User: "nobody"})
	want := new(mesos.TaskInfo)
	textproto(t, `name: "web.prod"
task_id: {value: "prod_web.instance-00000001-0000-4000-8000-000000000000._app.1"}
agent_id: {value: "s-h"}
resources: {name: "cpus" type: SCALAR scalar: {value: 1}}
command: {
  value: "sleep 100" user: "www"
  uris: {value: "http://x/a.tgz" extract: true executable: false cache: true output_file: "b"}
  uris: {value: "/bin/x" extract: false executable: true cache: false}
}
container: {type: MESOS mesos: {}}
kill_policy: {grace_period: {nanoseconds: 7000000000}}
limits: {key: "cpus" value: {value: inf}}
limits: {key: "mem" value: {value: 256}}
labels: {labels: {key: "a" value: "1"} labels: {key: "b" value: "2"}}
discovery: {visibility: FRAMEWORK name: "web.prod" ports: {
  ports: {number: 31005 name: "http" protocol: "udp" labels: {labels: {key: "VIP_0" value: "/web:80"}}}
  ports: {number: 31005 name: "http" protocol: "tcp" labels: {labels: {key: "VIP_0" value: "/web:80"}}}
}}`, want)
	if env := got.Command.Environment; len(env.GetVariables()) == 0 {
		t.Error("no environment")
	}
	got.Command.Environment = nil
	if !proto.Equal(got, want) {
		t.Errorf("%s\nwant %s", prototext.Format(got), prototext.Format(want))
	}
	if v := got.Limits["cpus"].GetValue(); !math.IsInf(v, 1) {
		t.Errorf("limit %v", v)
	}
}

func TestCommand(t *testing.T) {
	for _, one := range []struct {
		change  func(*marathon.App)
		options match.TaskOptions
		want    string // CommandInfo, or with "executor" ExecutorInfo
	}{
		{nil, match.TaskOptions{}, `value: "sleep 100"`},
		{nil, match.TaskOptions{User: "nobody"}, `value: "sleep 100" user: "nobody"`},
		{func(a *marathon.App) { a.Executor = "//cmd" }, match.TaskOptions{Executor: "/e"}, `value: "sleep 100"`},
		{func(a *marathon.App) { a.Cmd, a.Args = nil, []string{"/bin/echo", "a b"} }, match.TaskOptions{},
			`shell: false value: "/bin/echo" arguments: "/bin/echo" arguments: "a b"`},
		{func(a *marathon.App) { a.Executor = "/custom/executor" }, match.TaskOptions{},
			`executor: shell: true value: "chmod ug+rx '/custom/executor' && exec '/custom/executor' sleep 100"`},
		{func(a *marathon.App) { a.Executor, a.Cmd, a.Args = "e", nil, []string{"a", "b", "c"} }, match.TaskOptions{},
			`executor: shell: true value: "chmod ug+rx 'e' && exec 'e' a b c"`},
		{nil, match.TaskOptions{Executor: "it's"}, `executor: shell: true value: "chmod ug+rx 'it'\\''s' && exec 'it'\\''s' sleep 100"`},
	} {
		a := app(one.change)
		got := match.Task(a, on(a), nil, one.options)
		text, executor := strings.CutPrefix(one.want, "executor: ")
		want := new(mesos.CommandInfo)
		textproto(t, text, want)
		c := got.GetCommand()
		if executor {
			c = got.GetExecutor().GetCommand()
			if got.Executor.GetExecutorId().GetValue() != "marathon-"+got.TaskId.GetValue() || got.Executor.GetType() != mesos.ExecutorInfo_CUSTOM {
				t.Errorf("executor %v", got.Executor)
			}
		}
		if executor == (got.Command != nil) || executor == (got.Executor == nil) {
			t.Fatalf("%s: %v", one.want, got)
		}
		c.Environment = nil
		if !proto.Equal(c, want) {
			t.Errorf("%v\nwant %v", c, want)
		}
	}
}

func TestExecutorResources(t *testing.T) {
	a := app(func(a *marathon.App) {
		a.Executor, a.ExecutorResources = "/e", &marathon.ExecutorResources{CPUs: 0.1, Mem: 32, Disk: 10}
	})
	refused(t, pool(t, offer(t, "h", "cpus:1;mem:500;disk:10", "dev")), want(a, 1), match.InsufficientCpus, "1.1 cpus needed, 1 offered")
	out := fits(t, pool(t, offer(t, "h", "cpus(dev):1;cpus:1;mem:500;disk:10", "dev")), want(a, 1))
	task := match.Task(a, out.Launch, out.Resources, match.TaskOptions{})
	own, rest := bag(t, task.Executor.Resources), bag(t, task.Resources)
	if own.Quantities().String() != "cpus:0.1; disk:10; mem:32" || rest.Quantities().String() != "cpus:1; mem:128" {
		t.Errorf("executor %v, task %v", own, rest)
	}
	if !own.Add(rest).Equal(bag(t, out.Resources)) {
		t.Error("something was lost")
	}
}

func TestName(t *testing.T) {
	for id, want := range map[string]string{"/web": "web", "/prod/web": "web.prod", "/a/b/c": "c.b.a", "/a.b/c": "c.a.b"} {
		if got := match.Name(id); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
}

func TestDiscovery(t *testing.T) {
	a := app(func(a *marathon.App) {
		a.Networks = []marathon.Network{{Mode: marathon.ContainerNetwork, Name: "whatever"}, {Mode: marathon.ContainerNetwork, Name: "n2"}}
		a.Container = &marathon.Container{Type: "MESOS", PortMappings: []marathon.PortMapping{
			{ContainerPort: 8080, HostPort: number(0), Protocol: "tcp", Name: "http", Labels: map[string]string{"VIP": "127.0.0.1:8080"}},
			{ContainerPort: 8081, Protocol: "udp", Name: "admin", NetworkNames: []string{"whatever"}},
			{ContainerPort: 8082, Protocol: "tcp,udp"},
		}}
	})
	got := match.Task(a, on(a, 31000, 0, 0), nil, match.TaskOptions{}).Discovery
	want := new(mesos.DiscoveryInfo)
	textproto(t, `visibility: FRAMEWORK name: "web.prod" ports: {
ports: {number: 31000 name: "http" protocol: "tcp" labels: {labels: {key: "VIP" value: "127.0.0.1:8080"} labels: {key: "network-scope" value: "host"}}}
ports: {number: 8081 name: "admin" protocol: "udp" labels: {labels: {key: "network-scope" value: "container"} labels: {key: "network-name" value: "whatever"}}}
ports: {number: 8082 protocol: "tcp" labels: {labels: {key: "network-scope" value: "container"} labels: {key: "network-name" value: "whatever"}}}
ports: {number: 8082 protocol: "udp" labels: {labels: {key: "network-scope" value: "container"} labels: {key: "network-name" value: "whatever"}}}
ports: {number: 8082 protocol: "tcp" labels: {labels: {key: "network-scope" value: "container"} labels: {key: "network-name" value: "n2"}}}
ports: {number: 8082 protocol: "udp" labels: {labels: {key: "network-scope" value: "container"} labels: {key: "network-name" value: "n2"}}}
}`, want)
	if !proto.Equal(got, want) {
		t.Errorf("%s\nwant %s", prototext.Format(got), prototext.Format(want))
	}
}

func number(n int) *int { return &n }

func TestCapability(t *testing.T) {
	yes, no := true, false
	box := func(change func(*marathon.Container)) func(*marathon.App) {
		return func(a *marathon.App) { a.Container = &marathon.Container{Type: "MESOS"}; change(a.Container) }
	}
	for _, one := range []struct {
		change func(*marathon.App)
		want   string
	}{
		{nil, ""},
		{box(func(*marathon.Container) {}), ""},
		{box(func(c *marathon.Container) { c.Type = "DOCKER" }), "container type DOCKER"},
		{box(func(c *marathon.Container) { c.Docker = &marathon.Docker{Image: "nginx"} }), "container image nginx"},
		{box(func(c *marathon.Container) { c.Volumes = []marathon.Volume{persistent("d", "root", 1, nil)} }), ""},
		{box(func(c *marathon.Container) {
			c.Volumes = []marathon.Volume{{ContainerPath: "d", External: &marathon.ExternalVolume{}}}
		}), "external volume d"},
		{box(func(c *marathon.Container) { c.Volumes = []marathon.Volume{{ContainerPath: "d", Secret: "s"}} }), "secret volume d"},
		{box(func(c *marathon.Container) {
			c.Volumes = []marathon.Volume{{ContainerPath: "/d", HostPath: "/etc"}}
		}), "host volume /etc"},
		{box(func(c *marathon.Container) { c.LinuxInfo = &marathon.LinuxInfo{Seccomp: &marathon.Seccomp{}} }), "container.linuxInfo.seccomp"},
		{box(func(c *marathon.Container) {
			c.LinuxInfo = &marathon.LinuxInfo{IPCInfo: &marathon.IPCInfo{Mode: "SHARE_PARENT"}}
		}), "ipcInfo mode SHARE_PARENT"},
		{box(func(c *marathon.Container) {
			c.LinuxInfo = &marathon.LinuxInfo{IPCInfo: &marathon.IPCInfo{Mode: "PRIVATE", ShmSize: 5}}
		}), "ipcInfo shmSize"},
		{box(func(c *marathon.Container) {
			c.LinuxInfo = &marathon.LinuxInfo{IPCInfo: &marathon.IPCInfo{Mode: "PRIVATE"}}
		}), ""},
		{func(a *marathon.App) { a.Networks[0].Mode = marathon.BridgeNetwork }, "network mode container/bridge"},
		{func(a *marathon.App) {
			a.Env = map[string]marathon.EnvValue{"B": {Secret: "s"}, "A": {Value: "v"}}
		}, "secret for environment variable B"},
		{func(a *marathon.App) { a.TTY = &yes }, "a TTY"},
		{func(a *marathon.App) { a.TTY = &no }, ""},
		{func(a *marathon.App) { a.GPUs = 1 }, ""},
	} {
		if got := match.Capability(app(one.change)); got != one.want {
			t.Errorf("%q, want %q", got, one.want)
		}
	}
}
