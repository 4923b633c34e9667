package match

import (
	"strings"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"google.golang.org/protobuf/proto"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/instance"
)

// addChecks gives a task the checks that its agent makes: the first of those that Mesos
// knows, which are all it can have, the app's general check, and the probes.
func addChecks(t *mesos.TaskInfo, app *marathon.App, i *instance.Instance, o *TaskOptions) {
	for n := range app.HealthChecks {
		h := &app.HealthChecks[n]
		if h.ByKernel() {
			if t.HealthCheck == nil {
				t.HealthCheck = healthCheck(h, app, i)
			}
			continue
		}
		if p := probe(h, n, app, i); p != nil && !o.ServiceProbes {
			t.Probes = append(t.Probes, p)
		}
	}
	if app.Check != nil {
		t.Check = check(app.Check, app, i)
	}
}

// healthCheck is nil if its port index is of no port.
func healthCheck(h *marathon.HealthCheck, app *marathon.App, i *instance.Instance) *mesos.HealthCheck {
	m := &mesos.HealthCheck{
		DelaySeconds: seconds(h.DelaySeconds), IntervalSeconds: seconds(h.IntervalSeconds), TimeoutSeconds: seconds(h.TimeoutSeconds),
		ConsecutiveFailures: proto.Uint32(uint32(max(h.MaxConsecutiveFailures, 0))), GracePeriodSeconds: seconds(h.GracePeriodSeconds),
	}
	if h.Protocol == marathon.COMMAND {
		m.Type = mesos.HealthCheck_COMMAND.Enum()
		if h.Command != nil {
			m.Command = command(h.Command.Value, h.Command.Argv)
		}
		return m
	}
	port, ok := InnerPort(app, i, h.Port, h.PortIndex)
	if !ok {
		return nil
	}
	if h.Protocol == marathon.MesosTCP {
		m.Type = mesos.HealthCheck_TCP.Enum()
		m.Tcp = &mesos.HealthCheck_TCPCheckInfo{Port: proto.Uint32(uint32(port)), Protocol: ipProtocol(h)}
		return m
	}
	scheme := "http"
	if h.Protocol == marathon.MesosHTTPS {
		scheme = "https"
	}
	m.Type = mesos.HealthCheck_HTTP.Enum()
	m.Http = &mesos.HealthCheck_HTTPCheckInfo{Port: proto.Uint32(uint32(port)), Scheme: &scheme, Path: rooted(h.Path), Protocol: ipProtocol(h)}
	return m
}

// probe asks the agent for what the service judges, under the health check's index.
func probe(h *marathon.HealthCheck, index int, app *marathon.App, i *instance.Instance) *mesos.Probe {
	port, ok := OuterPort(app, i, h.Port, h.PortIndex)
	if !ok {
		return nil
	}
	p := &mesos.Probe{
		Index: proto.Uint32(uint32(index)), Port: proto.Uint32(uint32(port)), IpProtocol: ipProtocol(h),
		IntervalSeconds: proto.Float64(max(float64(h.IntervalSeconds), minInterval)), TimeoutSeconds: seconds(h.TimeoutSeconds),
		GracePeriodSeconds: seconds(h.GracePeriodSeconds),
	}
	switch h.Protocol {
	case marathon.TCP:
		p.Protocol = mesos.Probe_TCP.Enum()
		return p
	case marathon.HTTPS:
		p.Protocol = mesos.Probe_HTTPS.Enum()
	default:
		p.Protocol = mesos.Probe_HTTP.Enum()
		p.IgnoreHttp_1Xx = h.IgnoreHTTP1xx
	}
	p.Path = rooted(h.Path)
	return p
}

// minInterval is the least that agents accept between probes, in seconds.
const minInterval = 0.1

// check is nil if its port index is of no port.
func check(c *marathon.Check, app *marathon.App, i *instance.Instance) *mesos.CheckInfo {
	m := &mesos.CheckInfo{
		DelaySeconds: seconds(c.DelaySeconds), IntervalSeconds: seconds(c.IntervalSeconds), TimeoutSeconds: seconds(c.TimeoutSeconds),
	}
	switch {
	case c.Exec != nil:
		m.Type = mesos.CheckInfo_COMMAND.Enum()
		m.Command = &mesos.CheckInfo_Command{Command: command(c.Exec.Command.Shell, c.Exec.Command.Argv)}
	case c.HTTP != nil:
		port, ok := InnerPort(app, i, c.HTTP.Port, c.HTTP.PortIndex)
		if !ok {
			return nil
		}
		m.Type = mesos.CheckInfo_HTTP.Enum()
		m.Http = &mesos.CheckInfo_Http{Port: proto.Uint32(uint32(port)), Path: rooted(&c.HTTP.Path)}
	case c.TCP != nil:
		port, ok := InnerPort(app, i, c.TCP.Port, c.TCP.PortIndex)
		if !ok {
			return nil
		}
		m.Type = mesos.CheckInfo_TCP.Enum()
		m.Tcp = &mesos.CheckInfo_Tcp{Port: proto.Uint32(uint32(port))}
	default:
		return nil
	}
	return m
}

// OuterPort is where a check from outside finds an instance: the port itself, or the host
// port at an index into the app's ports (nil is the first), or where that has none the
// container port.
func OuterPort(app *marathon.App, i *instance.Instance, port, index *int) (int, bool) {
	return portOf(app, i, port, index, false)
}

// InnerPort is where a check finds it inside its container: as OuterPort, but the
// container port first.
func InnerPort(app *marathon.App, i *instance.Instance, port, index *int) (int, bool) {
	return portOf(app, i, port, index, true)
}

func portOf(app *marathon.App, i *instance.Instance, port, index *int, inner bool) (int, bool) {
	if port != nil {
		return *port, *port > 0
	}
	n := 0
	if index != nil {
		n = *index
	}
	if n < 0 || n >= len(i.Ports) {
		return 0, false
	}
	p := i.Ports[n]
	if c := app.Container; c != nil && n < len(c.PortMappings) && c.PortMappings[n].ContainerPort != 0 && (inner || p == 0) {
		p = c.PortMappings[n].ContainerPort
	}
	return p, p > 0
}

// rooted makes a path begin with "/", as Marathon does when it asks; nil is the default.
func rooted(path *string) *string {
	switch {
	case path == nil || *path == "":
		return nil
	case strings.HasPrefix(*path, "/"):
		return path
	}
	return proto.String("/" + *path)
}

func command(shell string, argv []string) *mesos.CommandInfo {
	if len(argv) > 0 {
		return &mesos.CommandInfo{Shell: proto.Bool(false), Value: &argv[0], Arguments: argv}
	}
	return &mesos.CommandInfo{Shell: proto.Bool(true), Value: &shell}
}

func ipProtocol(h *marathon.HealthCheck) *mesos.NetworkInfo_Protocol {
	if h.IPProtocol == "IPv6" {
		return mesos.NetworkInfo_IPv6.Enum()
	}
	return mesos.NetworkInfo_IPv4.Enum()
}

func seconds(n int) *float64 { return proto.Float64(float64(n)) }
