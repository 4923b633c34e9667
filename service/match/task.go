package match

import (
	"math"
	"slices"
	"strings"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"google.golang.org/protobuf/proto"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/service/instance"
)

// Task builds the TaskInfo of a placed instance (as Marathon, mesos/TaskBuilder.scala).
// The instance has TaskID, Agent and Ports; resources are Outcome.Resources. Nothing of app
// may change afterwards: the task points into it.
func Task(app *marathon.App, i *instance.Instance, resources []*mesos.Resource, o TaskOptions) *mesos.TaskInfo {
	name := Name(app.ID)
	t := &mesos.TaskInfo{
		Name: &name, TaskId: &mesos.TaskID{Value: &i.TaskID}, Resources: resources,
		Labels: labels(app.Labels), Discovery: discovery(app, i, name), Limits: limits(app.ResourceLimits),
	}
	if i.Agent != nil {
		t.AgentId = &mesos.AgentID{Value: &i.Agent.ID}
	}
	t.KillPolicy = KillPolicy(app)
	c := commandOf(app, i, &o)
	if executor := executorOf(app, &o); customExecutor(executor) {
		addExecutor(t, app, executor, o.FrameworkID, c)
	} else {
		t.Command, t.Container = c, container(app)
	}
	addChecks(t, app, i, &o)
	return t
}

// KillPolicy of an app's tasks, nil for the kernel's own.
func KillPolicy(app *marathon.App) *mesos.KillPolicy {
	g := app.TaskKillGracePeriodSeconds
	if g == nil {
		return nil
	}
	return &mesos.KillPolicy{GracePeriod: &mesos.DurationInfo{Nanoseconds: proto.Int64(int64(*g) * int64(time.Second))}}
}

// CustomExecutor reports whether an app's tasks are run by a program of the user's.
func CustomExecutor(app *marathon.App, o *TaskOptions) bool {
	return customExecutor(executorOf(app, o))
}

func executorOf(app *marathon.App, o *TaskOptions) string {
	if app.Executor != "" {
		return app.Executor
	}
	return o.Executor
}

// Name is what people and name servers see of an app: "/prod/web" is "web.prod".
func Name(app string) string {
	if strings.LastIndexByte(app, '/') <= 0 {
		return strings.TrimPrefix(app, "/")
	}
	parts := strings.Split(strings.Trim(app, "/"), "/")
	slices.Reverse(parts)
	return strings.Join(parts, ".")
}

func commandOf(app *marathon.App, i *instance.Instance, o *TaskOptions) *mesos.CommandInfo {
	c := &mesos.CommandInfo{Environment: variables(app, i, o)}
	if app.Cmd != nil && *app.Cmd != "" {
		c.Value = app.Cmd
	} else {
		c.Shell = proto.Bool(false)
	}
	if len(app.Args) > 0 {
		c.Shell, c.Arguments = proto.Bool(false), app.Args
		c.Value = &app.Args[0]
	}
	for n := range app.Fetch {
		f := &app.Fetch[n]
		c.Uris = append(c.Uris, &mesos.CommandInfo_URI{
			Value: &f.URI, Extract: &f.Extract, Executable: &f.Executable, Cache: &f.Cache, OutputFile: text(f.DestPath),
		})
	}
	if app.User != "" {
		c.User = &app.User
	} else {
		c.User = text(o.User)
	}
	return c
}

// customExecutor reports whether executor is the path of one; "" and "//cmd" leave the
// command to the agent.
func customExecutor(executor string) bool { return executor != "" && executor != "//cmd" }

// addExecutor has the task run by the user's program, which is given the app's command as
// its arguments. It takes its own resources out of the task's.
func addExecutor(t *mesos.TaskInfo, app *marathon.App, path, framework string, c *mesos.CommandInfo) {
	quoted := "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	args := strings.Join(app.Args, " ")
	if app.Cmd != nil {
		args = *app.Cmd
	}
	c.Shell, c.Arguments = proto.Bool(true), nil
	c.Value = proto.String("chmod ug+rx " + quoted + " && exec " + quoted + " " + args)
	t.Executor = &mesos.ExecutorInfo{
		Type:        mesos.ExecutorInfo_CUSTOM.Enum(),
		ExecutorId:  &mesos.ExecutorID{Value: proto.String("marathon-" + t.TaskId.GetValue())},
		FrameworkId: &mesos.FrameworkID{Value: &framework},
		Command:     c, Container: container(app),
	}
	if list := quantities(executorNeed(app)); len(list) > 0 {
		if all, err := resource.Of(t.Resources...); err == nil {
			if own, rest, ok := all.Take(list, noVolume); ok {
				t.Executor.Resources, t.Resources = own.Proto(), rest.Proto()
			}
		}
	}
}

// container is nil for apps that need none. What it could say beyond its type, no agent
// supports: see Capability.
func container(app *marathon.App) *mesos.ContainerInfo {
	if app.Container == nil {
		return nil
	}
	c := &mesos.ContainerInfo{Type: mesos.ContainerInfo_MESOS.Enum(), Mesos: &mesos.ContainerInfo_MesosInfo{}}
	if l := app.Container.LinuxInfo; l != nil && l.IPCInfo != nil {
		c.LinuxInfo = &mesos.LinuxInfo{IpcMode: mesos.LinuxInfo_PRIVATE.Enum()}
	}
	return c
}

// keys are sorted.
func keys[V any](m map[string]V) []string {
	all := make([]string, 0, len(m))
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

func labels(from map[string]string) *mesos.Labels {
	if len(from) == 0 {
		return nil
	}
	l := &mesos.Labels{Labels: make([]*mesos.Label, 0, len(from))}
	for _, key := range keys(from) {
		l.Labels = append(l.Labels, label(key, from[key]))
	}
	return l
}

func limits(from *marathon.ResourceLimits) map[string]*mesos.Value_Scalar {
	if from == nil || from.CPUs == nil && from.Mem == nil {
		return nil
	}
	m := make(map[string]*mesos.Value_Scalar, 2)
	if from.CPUs != nil {
		m["cpus"] = limit(from.CPUs)
	}
	if from.Mem != nil {
		m["mem"] = limit(from.Mem)
	}
	return m
}

func limit(l *marathon.Limit) *mesos.Value_Scalar {
	if l.Unlimited {
		return &mesos.Value_Scalar{Value: proto.Float64(math.Inf(1))}
	}
	return &mesos.Value_Scalar{Value: &l.Value}
}

// discovery tells name servers and load balancers the ports (as Marathon,
// mesos/PortDiscovery.scala).
func discovery(app *marathon.App, i *instance.Instance, name string) *mesos.DiscoveryInfo {
	ports := new(mesos.Ports)
	if c := app.Container; c != nil && len(c.PortMappings) > 0 && !hostNetwork(app) {
		for n := range min(len(c.PortMappings), len(i.Ports)) {
			m := &c.PortMappings[n]
			if i.Ports[n] != 0 {
				ports.Ports = appendPorts(ports.Ports, i.Ports[n], m.Name, m.Protocol, m.Labels, label("network-scope", "host"))
				continue
			}
			for _, network := range networksOf(app, m) {
				ports.Ports = appendPorts(ports.Ports, m.ContainerPort, m.Name, m.Protocol, m.Labels,
					label("network-scope", "container"), label("network-name", network))
			}
		}
	} else {
		for n := range min(len(app.PortDefinitions), len(i.Ports)) {
			d := &app.PortDefinitions[n]
			ports.Ports = appendPorts(ports.Ports, i.Ports[n], d.Name, d.Protocol, d.Labels)
		}
	}
	return &mesos.DiscoveryInfo{Visibility: mesos.DiscoveryInfo_FRAMEWORK.Enum(), Name: &name, Ports: ports}
}

// appendPorts adds a port for each of the protocols, which commas separate.
func appendPorts(to []*mesos.Port, number int, name, protocols string, own map[string]string, more ...*mesos.Label) []*mesos.Port {
	for protocol := range strings.SplitSeq(protocols, ",") {
		all := labels(own)
		if len(more) > 0 {
			if all == nil {
				all = new(mesos.Labels)
			}
			all.Labels = append(all.Labels, more...)
		}
		to = append(to, &mesos.Port{Number: proto.Uint32(uint32(number)), Name: text(name), Protocol: proto.String(protocol), Labels: all})
	}
	return to
}

func hostNetwork(app *marathon.App) bool {
	return len(app.Networks) == 0 || app.Networks[0].Mode == marathon.HostNetwork
}

// networksOf are the container networks that a mapping is for.
func networksOf(app *marathon.App, m *marathon.PortMapping) []string {
	if len(m.NetworkNames) > 0 {
		return m.NetworkNames
	}
	var all []string
	for _, n := range app.Networks {
		if n.Mode == marathon.ContainerNetwork {
			all = append(all, n.Name)
		}
	}
	return all
}
