package match

import (
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/instance"
)

// Labels become variables only if they are shorter than this (as Marathon,
// mesos/EnvironmentHelper.scala).
const (
	maxLabelValue = 512
	labelPrefix   = "MARATHON_APP_LABEL_"
	maxLabelKey   = maxLabelValue - len(labelPrefix)
)

// environment collects variables. What comes later replaces what was there, and the
// user's own replace everything.
type environment struct {
	user   map[string]marathon.EnvValue
	prefix string
	list   []*mesos.Environment_Variable
	// ports begins where names may repeat.
	ports int
	// room is for messages that are still to come: one piece of memory for all.
	room []variable
}

type variable struct {
	message     mesos.Environment_Variable
	name, value string
}

func (e *environment) add(name, value string) {
	if v, ok := e.user[name]; ok && v.Secret == "" {
		return
	}
	e.put(name, value)
}

func (e *environment) put(name, value string) {
	if len(e.room) == 0 {
		e.room = make([]variable, 16)
	}
	v := &e.room[0]
	e.room = e.room[1:]
	v.name, v.value = name, value
	v.message.Name, v.message.Value = &v.name, &v.value
	e.list = append(e.list, &v.message)
}

// addPort is add for names that are made of ports and their names.
func (e *environment) addPort(name, value string) {
	name = e.prefix + name
	for _, v := range e.list[e.ports:] {
		if v.GetName() == name {
			v.Value = &value
			return
		}
	}
	e.add(name, value)
}

// variables are the environment of a task: what Marathon tells every task, then ports and
// HOST with the prefix, then the app's own.
func variables(app *marathon.App, i *instance.Instance, o *TaskOptions) *mesos.Environment {
	e := environment{user: app.Env, prefix: o.EnvPrefix}
	size := 12 + len(app.Labels) + 3*len(i.Ports) + len(app.Env)
	e.list, e.room = make([]*mesos.Environment_Variable, 0, size), make([]variable, size)
	e.add("MESOS_TASK_ID", i.TaskID)
	e.add("MARATHON_APP_ID", app.ID)
	e.add("MARATHON_APP_VERSION", string(app.Version))
	e.add("MARATHON_APP_RESOURCE_CPUS", double(app.CPUs))
	e.add("MARATHON_APP_RESOURCE_MEM", double(app.Mem))
	e.add("MARATHON_APP_RESOURCE_DISK", double(app.Disk))
	e.add("MARATHON_APP_RESOURCE_GPUS", strconv.Itoa(app.GPUs))
	e.add("MARATHON_APP_ENFORCE_GROUP_ROLE", strings.ToUpper(strconv.FormatBool(o.EnforceRole)))
	e.addLabels(app.Labels)
	e.ports = len(e.list)
	e.addPorts(app, i)
	if i.Agent != nil {
		e.add(e.prefix+"HOST", i.Agent.Host)
	}
	for _, name := range keys(app.Env) {
		if v := app.Env[name]; v.Secret == "" {
			e.put(name, v.Value)
		}
	}
	return &mesos.Environment{Variables: e.list}
}

func (e *environment) addLabels(labels map[string]string) {
	var names []string
	values := make(map[string]string, len(labels))
	for _, key := range keys(labels) {
		if len(key) >= maxLabelKey || len(labels[key]) >= maxLabelValue {
			continue
		}
		name := labelName(key)
		if _, ok := values[name]; !ok {
			names = append(names, name)
		}
		values[name] = labels[key]
	}
	e.add("MARATHON_APP_LABELS", strings.Join(names, " "))
	for _, name := range names {
		e.add(labelPrefix+name, values[name])
	}
}

// labelName is upper case, with one "_" for any run of what is no letter, digit or "_".
func labelName(key string) string {
	b := make([]byte, 0, len(key))
	in := false
	for i := range len(key) {
		c := key[i]
		switch {
		case c >= 'a' && c <= 'z':
			c -= 'a' - 'A'
		case c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_':
		default:
			if !in {
				b = append(b, '_')
			}
			in = true
			continue
		}
		in = false
		b = append(b, c)
	}
	return string(b)
}

// addPorts tells the task its ports: PORT0 and so on by position, PORT_ with the declared
// port or, if that is 0, the real one, PORT_ with the name, PORT and PORTS. A mapping
// without a host port tells its container port, or if that is 0 one that is drawn.
func (e *environment) addPorts(app *marathon.App, i *instance.Instance) {
	if len(i.Ports) == 0 {
		return
	}
	var declared []declaredPort
	if c := app.Container; c != nil && len(c.PortMappings) > 0 {
		for _, m := range c.PortMappings {
			declared = append(declared, declaredPort{m.Name, m.ContainerPort})
		}
	} else {
		for _, d := range app.PortDefinitions {
			declared = append(declared, declaredPort{d.Name, d.Port})
		}
	}
	declared = declared[:min(len(declared), len(i.Ports))]
	var real, drawn, assigned []string
	for n, d := range declared {
		port := i.Ports[n]
		switch {
		case port != 0:
			assigned = append(assigned, strconv.Itoa(port))
		case d.port != 0:
			port = d.port
		default:
			port = drawPort(i, declared, n)
			drawn = append(drawn, strconv.Itoa(port))
		}
		real = append(real, strconv.Itoa(port))
		e.addPort("PORT"+strconv.Itoa(n), real[n])
	}
	for n, d := range declared {
		if d.port != 0 {
			e.addPort("PORT_"+strconv.Itoa(d.port), real[n])
		} else {
			e.addPort("PORT_"+real[n], real[n])
		}
	}
	for n, d := range declared {
		if d.name != "" {
			e.addPort("PORT_"+strings.ToUpper(d.name), real[n])
		}
	}
	assigned = append(assigned, drawn...)
	if len(assigned) > 0 {
		e.addPort("PORT", assigned[0])
	}
	e.addPort("PORTS", strings.Join(assigned, ","))
}

type declaredPort struct {
	name string
	port int
}

// drawPort is a container port above 1024 that no other of the task's is, the same
// whenever it is asked for.
func drawPort(i *instance.Instance, declared []declaredPort, n int) int {
	h := fnv.New64a()
	h.Write([]byte(i.TaskID))
	pcg := rand.NewPCG(h.Sum64(), uint64(n))
	for {
		p := 1025 + int(pcg.Uint64()%(65536-1025))
		if !slices.Contains(i.Ports, p) && !slices.ContainsFunc(declared, func(d declaredPort) bool { return d.port == p }) {
			return p
		}
	}
}

// double writes a number as Marathon's runtime does, "1.0" and "1.0E7".
func double(v float64) string {
	if v != 0 && (v < 1e-3 || v >= 1e7) {
		mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(v, 'E', -1, 64), "E")
		n, err := strconv.Atoi(exponent)
		if err != nil {
			return mantissa
		}
		return point(mantissa) + "E" + strconv.Itoa(n)
	}
	return point(strconv.FormatFloat(v, 'f', -1, 64))
}

func point(s string) string {
	if strings.Contains(s, ".") {
		return s
	}
	return s + ".0"
}
