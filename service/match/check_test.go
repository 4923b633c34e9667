package match_test

import (
	"testing"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/match"
)

func health(protocol string, change func(*marathon.HealthCheck)) marathon.HealthCheck {
	h := marathon.HealthCheck{
		Protocol: protocol, GracePeriodSeconds: 300, IntervalSeconds: 60, TimeoutSeconds: 20,
		MaxConsecutiveFailures: 3, DelaySeconds: 15, IPProtocol: "IPv4",
	}
	if change != nil {
		change(&h)
	}
	return h
}

const kernelTimes = ` delay_seconds: 15 interval_seconds: 60 timeout_seconds: 20 consecutive_failures: 3 grace_period_seconds: 300`

func TestHealthChecks(t *testing.T) {
	path, bare, ignore := "/ok?x=1", "ok", true
	hosts := func(a *marathon.App) { a.PortDefinitions = definitions(10000, 10001) }
	boxed := func(a *marathon.App) { a.Container = mappings(0, 0); a.Container.PortMappings[1].ContainerPort = 0 }
	for _, one := range []struct {
		name    string
		ports   func(*marathon.App)
		check   marathon.HealthCheck
		service bool
		want    string // of TaskInfo, "" for nothing
	}{
		{"command", nil, health(marathon.COMMAND, func(h *marathon.HealthCheck) { h.Command = &marathon.Command{Value: "true"} }), false,
			`health_check: {type: COMMAND command: {shell: true value: "true"}` + kernelTimes + `}`},
		{"command of argv", nil, health(marathon.COMMAND, func(h *marathon.HealthCheck) { h.Command = &marathon.Command{Argv: []string{"a", "b"}} }), false,
			`health_check: {type: COMMAND command: {shell: false value: "a" arguments: "a" arguments: "b"}` + kernelTimes + `}`},
		{"mesos http", hosts, health(marathon.MesosHTTP, func(h *marathon.HealthCheck) { h.PortIndex, h.Path = number(1), &path }), false,
			`health_check: {type: HTTP http: {port: 1002 scheme: "http" path: "/ok?x=1" protocol: IPv4}` + kernelTimes + `}`},
		{"mesos https, first port", hosts, health(marathon.MesosHTTPS, func(h *marathon.HealthCheck) { h.IPProtocol = "IPv6" }), true,
			`health_check: {type: HTTP http: {port: 1001 scheme: "https" protocol: IPv6}` + kernelTimes + `}`},
		{"mesos tcp, own port", hosts, health(marathon.MesosTCP, func(h *marathon.HealthCheck) { h.Port = number(80) }), false,
			`health_check: {type: TCP tcp: {port: 80 protocol: IPv4}` + kernelTimes + `}`},
		{"mesos tcp, in the container", boxed, health(marathon.MesosTCP, func(h *marathon.HealthCheck) { h.PortIndex = number(0) }), false,
			`health_check: {type: TCP tcp: {port: 80 protocol: IPv4}` + kernelTimes + `}`},
		{"mesos tcp, container port as on the host", boxed, health(marathon.MesosTCP, func(h *marathon.HealthCheck) { h.PortIndex = number(1) }), false,
			`health_check: {type: TCP tcp: {port: 1002 protocol: IPv4}` + kernelTimes + `}`},
		{"mesos tcp, no such port", hosts, health(marathon.MesosTCP, func(h *marathon.HealthCheck) { h.PortIndex = number(2) }), false, ``},
		{"http", hosts, health(marathon.HTTP, func(h *marathon.HealthCheck) { h.Path, h.IgnoreHTTP1xx = &path, &ignore }), false,
			`probes: {index: 0 protocol: HTTP port: 1001 path: "/ok?x=1" ip_protocol: IPv4 interval_seconds: 60 timeout_seconds: 20 grace_period_seconds: 300 ignore_http_1xx: true}`},
		{"http, path without its slash", hosts, health(marathon.HTTP, func(h *marathon.HealthCheck) { h.Path = &bare }), false,
			`probes: {index: 0 protocol: HTTP port: 1001 path: "/ok" ip_protocol: IPv4 interval_seconds: 60 timeout_seconds: 20 grace_period_seconds: 300}`},
		{"http, at once", hosts, health(marathon.HTTP, func(h *marathon.HealthCheck) { h.IntervalSeconds = 0 }), false,
			`probes: {index: 0 protocol: HTTP port: 1001 ip_protocol: IPv4 interval_seconds: 0.1 timeout_seconds: 20 grace_period_seconds: 300}`},
		{"https from outside the container", boxed, health(marathon.HTTPS, func(h *marathon.HealthCheck) { h.PortIndex = number(0) }), false,
			`probes: {index: 0 protocol: HTTPS port: 1001 ip_protocol: IPv4 interval_seconds: 60 timeout_seconds: 20 grace_period_seconds: 300}`},
		{"tcp", hosts, health(marathon.TCP, func(h *marathon.HealthCheck) { h.PortIndex = number(1) }), false,
			`probes: {index: 0 protocol: TCP port: 1002 ip_protocol: IPv4 interval_seconds: 60 timeout_seconds: 20 grace_period_seconds: 300}`},
		{"tcp, no such port", hosts, health(marathon.TCP, func(h *marathon.HealthCheck) { h.PortIndex = number(5) }), false, ``},
		{"tcp by the service", hosts, health(marathon.TCP, nil), true, ``},
	} {
		t.Run(one.name, func(t *testing.T) {
			a := app(one.ports)
			a.HealthChecks = []marathon.HealthCheck{one.check}
			task := match.Task(a, on(a, 1001, 1002), nil, match.TaskOptions{ServiceProbes: one.service})
			got := &mesos.TaskInfo{HealthCheck: task.HealthCheck, Probes: task.Probes, Check: task.Check}
			want := new(mesos.TaskInfo)
			if err := (prototext.UnmarshalOptions{AllowPartial: true}).Unmarshal([]byte(one.want), want); err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(got, want) {
				t.Errorf("%v\nwant %v", got, want)
			}
		})
	}
}

// A task can have one check that Mesos makes; of several the first counts. Probes keep
// the index that the check has in the app.
func TestSeveralHealthChecks(t *testing.T) {
	a := app(func(a *marathon.App) {
		a.PortDefinitions = definitions(10000)
		a.HealthChecks = []marathon.HealthCheck{
			health(marathon.COMMAND, func(h *marathon.HealthCheck) { h.Command = &marathon.Command{Value: "one"} }),
			health(marathon.HTTP, nil),
			health(marathon.COMMAND, func(h *marathon.HealthCheck) { h.Command = &marathon.Command{Value: "two"} }),
			health(marathon.TCP, nil),
		}
	})
	task := match.Task(a, on(a, 1001), nil, match.TaskOptions{})
	if task.HealthCheck.GetCommand().GetValue() != "one" {
		t.Errorf("%v", task.HealthCheck)
	}
	if len(task.Probes) != 2 || task.Probes[0].GetIndex() != 1 || task.Probes[1].GetIndex() != 3 {
		t.Errorf("%v", task.Probes)
	}
}

func TestGeneralCheck(t *testing.T) {
	for _, one := range []struct {
		check marathon.Check
		want  string
	}{
		{marathon.Check{Exec: &marathon.ExecCheck{Command: marathon.ShellOrArgv{Shell: "true"}}}, `type: COMMAND command: {command: {shell: true value: "true"}}`},
		{marathon.Check{Exec: &marathon.ExecCheck{Command: marathon.ShellOrArgv{Argv: []string{"a"}}}}, `type: COMMAND command: {command: {shell: false value: "a" arguments: "a"}}`},
		{marathon.Check{HTTP: &marathon.HTTPCheck{PortIndex: number(1), Path: "/x"}}, `type: HTTP http: {port: 1002 path: "/x"}`},
		{marathon.Check{TCP: &marathon.TCPCheck{Port: number(80)}}, `type: TCP tcp: {port: 80}`},
		{marathon.Check{TCP: &marathon.TCPCheck{PortIndex: number(9)}}, ``},
		{marathon.Check{HTTP: &marathon.HTTPCheck{PortIndex: number(9)}}, ``},
	} {
		one.check.IntervalSeconds, one.check.TimeoutSeconds, one.check.DelaySeconds = 60, 20, 15
		a := app(func(a *marathon.App) { a.PortDefinitions, a.Check = definitions(10000, 10001), &one.check })
		got := match.Task(a, on(a, 1001, 1002), nil, match.TaskOptions{}).Check
		if one.want == "" {
			if got != nil {
				t.Errorf("%v for a port that is not there", got)
			}
			continue
		}
		want := new(mesos.CheckInfo)
		textproto(t, one.want+" interval_seconds: 60 timeout_seconds: 20 delay_seconds: 15", want)
		if !proto.Equal(got, want) {
			t.Errorf("%v\nwant %v", got, want)
		}
	}
}
