package match

import (
	"slices"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/service/instance"
)

// Placed is what matching knows of one app: its needs, worked out once, and how many of
// its instances there are by constraint value, so that a launch costs no walk over all of
// them. It belongs to one definition; another one needs another Count.
type Placed struct {
	shape *shape
	// tallies are of shape.rules, those that count; at is where each counted instance is,
	// nil if no rule counts.
	tallies []tally
	at      map[string]*instance.Agent
}

// Count the instances that constraints of app must take into account: those of its
// configuration (older ones are about to be replaced) that have an agent and are neither
// ended, decommissioned nor unreachable. Resident ones count while they hold a
// reservation. Without constraints that count, instances are not looked at.
func Count(app *marathon.App, instances []*instance.Instance) *Placed {
	p := &Placed{shape: newShape(app)}
	for i := range p.shape.rules {
		if p.shape.rules[i].counts() {
			p.tallies = make([]tally, len(p.shape.rules))
			p.at = make(map[string]*instance.Agent, len(instances))
			break
		}
	}
	if p.at != nil {
		for _, i := range instances {
			p.Update(i)
		}
	}
	return p
}

// Update counts an instance as it now is, whatever was known of it.
func (p *Placed) Update(i *instance.Instance) {
	if p.at == nil {
		return
	}
	if p.counts(i) {
		p.put(i.ID, i.Agent)
	} else {
		p.Drop(i.ID)
	}
}

func (p *Placed) counts(i *instance.Instance) bool {
	if i.Agent == nil || i.Goal == instance.GoalDecommissioned || i.Version < p.shape.config {
		return false
	}
	if i.Reservation != nil {
		return true
	}
	switch i.Condition {
	case instance.Scheduled, instance.Unreachable, instance.UnreachableInactive:
		return false
	}
	return !i.Condition.Terminal()
}

// Drop forgets an instance.
func (p *Placed) Drop(id string) {
	host, ok := p.at[id]
	if !ok {
		return
	}
	delete(p.at, id)
	for i := range p.shape.rules {
		r := &p.shape.rules[i]
		if value, ok := host.Value(r.field); ok && r.counts() {
			p.tallies[i].drop(value, r.each)
		}
	}
}

func (p *Placed) put(id string, host *instance.Agent) {
	if p.at == nil || p.at[id] == host {
		return
	}
	p.Drop(id)
	p.at[id] = host
	for i := range p.shape.rules {
		r := &p.shape.rules[i]
		if value, ok := host.Value(r.field); ok && r.counts() {
			p.tallies[i].add(value, r.each)
		}
	}
}

// Scalars, in the order of the funnel.
const (
	cpus = iota
	mem
	disk
	gpus
	scalars
)

var names = [scalars]string{"cpus", "mem", "disk", "gpus"}

// shape is what an app needs of an offer. It never changes.
type shape struct {
	app  *marathon.App
	role string
	// config is the version of the last change of the configuration.
	config marathon.Version
	// capability that no agent has, "" if there is none; refused says so.
	capability string
	refused    *Refusal
	// star and reserved: unreserved resources, and ones reserved for the role, will do.
	star, reserved bool
	// need is what the task and its executor take; first is that with the volumes on the
	// root disk, for the reservation. The lists are the same, by name.
	need, first           [scalars]resource.Milli
	needList, firstList   resource.Quantities
	rules                 []rule
	domain                bool // some rule is about regions or zones
	resident              bool
	volumes               []volume
	wasteGPUs, frugalGPUs bool // the app's own label
	// hosts is a port for each definition or mapping: none, any, or the number; fixed are
	// the numbers, random is how many are any.
	hosts  []int
	fixed  []int
	random int
}

// Values of shape.hosts that are no port.
const (
	anyPort = 0
	noPort  = -1
)

func (s *shape) ports() int { return len(s.fixed) + s.random }

func newShape(app *marathon.App) *shape {
	s := &shape{app: app, role: roleOf(app), config: app.Version, capability: Capability(app), resident: app.Resident()}
	if v := app.VersionInfo; v != nil {
		s.config = v.LastConfigChangeAt
	}
	if s.capability != "" {
		found := refusal{all: unable, shape: s, need: &s.need, volume: -1}
		s.refused = found.finish()
		return s
	}
	s.star = len(app.AcceptedResourceRoles) == 0 || slices.Contains(app.AcceptedResourceRoles, "*")
	s.reserved = len(app.AcceptedResourceRoles) == 0 || slices.Contains(app.AcceptedResourceRoles, s.role)
	switch app.Labels["GPU_SCHEDULING_BEHAVIOR"] {
	case "unrestricted":
		s.wasteGPUs = true
	case "restricted":
		s.frugalGPUs = true
	}
	s.need = [scalars]resource.Milli{
		cpus: milli(app.CPUs), mem: milli(app.Mem), disk: milli(app.Disk), gpus: milli(float64(app.GPUs)),
	}
	for i, v := range executorNeed(app) {
		s.need[i] += v
	}
	s.first = s.need
	if s.resident {
		s.volumes = volumesOf(app)
		for _, v := range s.volumes {
			if v.kind == rootDisk {
				s.first[disk] += v.size
			}
		}
	}
	s.needList, s.firstList = quantities(s.need), quantities(s.first)
	for _, c := range app.Constraints {
		if len(c) > 0 {
			s.rules = append(s.rules, newRule(c, app.Instances))
			s.domain = s.domain || s.rules[len(s.rules)-1].domain()
		}
	}
	if app.PerAgent() {
		s.rules = append(s.rules, newRule([]string{"@hostname", "UNIQUE"}, app.Instances))
	}
	s.planPorts()
	return s
}

func (s *shape) planPorts() {
	app := s.app
	if c := app.Container; c != nil && len(c.PortMappings) > 0 {
		for i := range c.PortMappings {
			if p := c.PortMappings[i].HostPort; p == nil {
				s.hosts = append(s.hosts, noPort)
			} else {
				s.hosts = append(s.hosts, *p)
			}
		}
	} else {
		for _, d := range app.PortDefinitions {
			if app.RequirePorts {
				s.hosts = append(s.hosts, d.Port)
			} else {
				s.hosts = append(s.hosts, anyPort)
			}
		}
	}
	for _, p := range s.hosts {
		switch {
		case p == anyPort:
			s.random++
		case p > 0 && !slices.Contains(s.fixed, p): // one port may be mapped for tcp and for udp
			s.fixed = append(s.fixed, p)
		}
	}
}

// milli of a number that was validated; what is out of range fits nowhere.
func milli(v float64) resource.Milli {
	m, err := resource.MilliOf(v)
	if err != nil {
		return resource.Max
	}
	return max(m, 0)
}

func quantities(need [scalars]resource.Milli) resource.Quantities {
	var q resource.Quantities
	for i, v := range need {
		if v > 0 {
			q = q.Set(names[i], v)
		}
	}
	return q
}

// executorNeed is what a custom executor takes beside its task.
func executorNeed(app *marathon.App) (need [scalars]resource.Milli) {
	if r := app.ExecutorResources; r != nil && customExecutor(app.Executor) {
		need[cpus], need[mem], need[disk] = milli(r.CPUs), milli(r.Mem), milli(r.Disk)
	}
	return need
}
