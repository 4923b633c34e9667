package allocator

import (
	"slices"

	"google.golang.org/protobuf/proto"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/internal/planted"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
)

// agent is one machine: what it has, who has it, what is free.
//
// Agents are visited in random order, so what a visit reads is kept close together.
type agent struct {
	slot   int32
	active bool

	// free is the total without what is allocated; shared volumes are always in it.
	free   resource.Resources
	allocs []alloc
	over   bool // more is allocated than there is, after the total shrank

	// Derived from the total.
	scalars  vec // all of them
	reserved []reservation
	gpus     bool
	remote   bool // in another region than the master
	lumpy    bool // has unreserved disks that cannot be split, see Allocator.lumpy

	// Derived from free.
	plain     vec  // unreserved, non-revocable scalars
	simple    bool // nothing else but unreserved ranges and sets
	useful    bool // there is more than shared volumes
	common    bool // something is not reserved
	revocable bool
	reservedF []*node // roles with reservations in free

	// What is known about clients, by slot. settled: was found to get nothing here;
	// true as long as free stays within high. held: because of quota, at least in part.
	// never: because of what the agent is.
	settled, held, never bitset
	high                 resource.Resources
	atHigh               bool // free has not changed since high was set

	filters []filter           // by client slot
	shared  resource.Resources // volumes offered in this cycle

	plainRoom [wellKnown]int64
	allocRoom [1]alloc

	Agent
}

type alloc struct {
	client *client
	bag    resource.Resources // with allocation_info
}

// reservation is what of an agent is reserved to a role.
type reservation struct {
	role    *node
	scalars vec
}

func (ag *agent) alloc(c *client) *alloc {
	for i := range ag.allocs {
		if ag.allocs[i].client == c {
			return &ag.allocs[i]
		}
	}
	return nil
}

// AddAgent adds an active agent. used are resources already allocated on it (running
// tasks a re-registering agent reports), by framework, carrying their allocation role;
// frameworks that are not known yet are charged all the same. An agent that is known
// already is replaced.
func (a *Allocator) AddAgent(desc Agent, used map[id.Framework]resource.Resources) {
	a.RemoveAgent(desc.ID)
	ag := &agent{Agent: desc, active: true, slot: int32(len(a.agents))}
	if l := len(a.freeAgents); l > 0 {
		ag.slot, a.freeAgents = a.freeAgents[l-1], a.freeAgents[:l-1]
		a.agents[ag.slot] = ag
	} else {
		a.agents = append(a.agents, ag)
	}
	a.byID[desc.ID] = ag
	ag.plain, ag.allocs = ag.plainRoom[:0], ag.allocRoom[:0]
	a.setTotal(ag, desc.Total)
	ag.remote = a.remote(desc.Domain)
	frameworks := make([]id.Framework, 0, len(used))
	for f := range used {
		frameworks = append(frameworks, f)
	}
	slices.Sort(frameworks)
	for _, f := range frameworks {
		eachRole(used[f], func(role string, r resource.Resources) {
			a.charge(ag, a.client(a.framework(f), role), r)
		})
	}
	a.recompute(ag)
}

// UpdateAgent replaces total and attributes; filters on the agent are dropped if either
// changed.
func (a *Allocator) UpdateAgent(desc Agent) {
	ag := a.byID[desc.ID]
	if ag == nil {
		return
	}
	changed := !ag.Total.Equal(desc.Total) || ag.Hostname != desc.Hostname ||
		!proto.Equal(ag.Domain, desc.Domain) ||
		!slices.EqualFunc(ag.Attributes, desc.Attributes, func(x, y *mesos.Attribute) bool { return proto.Equal(x, y) })
	if !changed {
		return
	}
	ag.Agent = desc
	ag.remote = a.remote(desc.Domain)
	a.dropAgentFilters(ag)
	a.setTotal(ag, desc.Total)
	ag.never.reset()
	ag.settled.reset()
	ag.held.reset()
	a.recompute(ag)
}

// RemoveAgent forgets the agent and all that is allocated on it. Recovering it later
// does nothing.
func (a *Allocator) RemoveAgent(agent id.Agent) {
	ag := a.byID[agent]
	if ag == nil {
		return
	}
	a.dropAgentFilters(ag)
	for len(ag.allocs) > 0 {
		last := ag.allocs[len(ag.allocs)-1]
		a.discharge(ag, last.client, last.bag)
	}
	a.setFree(ag, resource.Resources{}, false)
	a.setTotal(ag, resource.Resources{})
	a.dirty.clear(ag.slot)
	delete(a.byID, agent)
	a.agents[ag.slot] = nil
	a.freeAgents = append(a.freeAgents, ag.slot)
}

// ActivateAgent lets offers of the agent's resources go on.
func (a *Allocator) ActivateAgent(agent id.Agent) { a.setAgentActive(agent, true) }

// DeactivateAgent stops offers of the agent's resources; its filters stay. What is
// free on it counts for no guarantee meanwhile (in Mesos it does).
func (a *Allocator) DeactivateAgent(agent id.Agent) { a.setAgentActive(agent, false) }

func (a *Allocator) setAgentActive(agent id.Agent, on bool) {
	ag := a.byID[agent]
	if ag == nil || ag.active == on {
		return
	}
	ag.active = on
	if on {
		a.available.add(ag.plain)
		a.mark(ag)
	} else {
		a.available.sub(ag.plain)
	}
	a.stirred = a.stirred || a.quotas > 0
}

// mark makes the agent due.
func (a *Allocator) mark(ag *agent) { a.dirty.set(ag.slot) }

// remote reports whether an agent is in another region than the master.
func (a *Allocator) remote(d *mesos.DomainInfo) bool {
	there := d.GetFaultDomain().GetRegion()
	here := a.cfg.Domain.GetFaultDomain().GetRegion()
	return there != nil && here != nil && there.GetName() != here.GetName()
}

// setTotal replaces the agent's total and what is counted from it; free is not touched.
func (a *Allocator) setTotal(ag *agent, total resource.Resources) {
	before, was := ag.scalars, ag.reserved
	ag.Total, ag.scalars, ag.reserved = total, nil, nil
	ag.gpus, ag.lumpy = false, false
	for it := range total.All() {
		scalar := it.Kind() == resource.Scalar
		name := 0
		if scalar {
			name = a.names.of(it.Name())
			ag.scalars.gain(name, int64(it.Scalar()))
			ag.gpus = ag.gpus || it.Name() == "gpus" && it.Scalar() > 0
		}
		if !it.Reserved() {
			ag.lumpy = ag.lumpy || scalar && !it.Divisible()
			continue
		}
		n := a.role(it.Role())
		i := slices.IndexFunc(ag.reserved, func(r reservation) bool { return r.role == n })
		if i < 0 {
			i = len(ag.reserved)
			ag.reserved = append(ag.reserved, reservation{role: n})
			n.reserved++
		}
		if scalar {
			ag.reserved[i].scalars.gain(name, int64(it.Scalar()))
		}
	}
	for i := range ag.reserved {
		a.consume(ag.reserved[i].role, ag.reserved[i].scalars, +1)
	}
	for i := range was {
		a.consume(was[i].role, was[i].scalars, -1)
		was[i].role.reserved--
	}
	for i := range was {
		a.prune(was[i].role)
	}
	if !ag.scalars.equal(before) {
		a.total.add(ag.scalars)
		a.total.sub(before)
		for len(a.excluded) < len(a.total) {
			a.excluded = append(a.excluded, slices.Contains(a.cfg.Excluded, a.names.list[len(a.excluded)]))
		}
		a.stale = true
	}
	if ag.lumpy {
		a.lumpy.set(ag.slot)
	} else {
		a.lumpy.clear(ag.slot)
	}
}

// recompute derives free from total and allocations.
func (a *Allocator) recompute(ag *agent) {
	free := ag.Total
	ag.over = false
	for i := range ag.allocs {
		used := ag.allocs[i].bag.NonShared().Unallocate()
		ag.over = ag.over || !free.Contains(used)
		free = free.Sub(used)
	}
	a.setFree(ag, free, true)
}

// setFree replaces what is free. more says that it may have more than before.
func (a *Allocator) setFree(ag *agent, free resource.Resources, more bool) {
	if ag.active && (more || !planted.Bug("quota headroom ignoring offered resources")) {
		a.available.sub(ag.plain)
	}
	ag.free = free
	clear(ag.plain)
	ag.simple, ag.useful, ag.common, ag.revocable = true, false, false, false
	ag.reservedF = ag.reservedF[:0]
	for it := range free.All() {
		if it.Shared() {
			ag.simple = false
		} else {
			ag.useful = true
		}
		ag.common = ag.common || !it.Reserved()
		switch {
		case it.Revocable():
			ag.simple, ag.revocable = false, true
		case it.Reserved():
			ag.simple = false
			for i := range ag.reserved {
				if n := ag.reserved[i].role; n.path == it.Role() && !slices.Contains(ag.reservedF, n) {
					ag.reservedF = append(ag.reservedF, n)
				}
			}
		case it.Kind() == resource.Scalar:
			ag.plain.gain(a.names.of(it.Name()), int64(it.Scalar()))
		}
	}
	if ag.active && (more || !planted.Bug("quota headroom ignoring offered resources")) {
		a.available.add(ag.plain)
	}
	a.stirred = a.stirred || a.quotas > 0
	if !more {
		ag.atHigh = false
		return
	}
	if !ag.high.Contains(free) {
		ag.settled.reset()
		ag.held.reset()
		ag.high, ag.atHigh = free, true
	} else {
		ag.atHigh = false
	}
	a.mark(ag)
}

// putSettled notes that the client gets nothing of what is free.
func (ag *agent) putSettled(slot int32) {
	if !ag.atHigh {
		// Other notes are true for more than what is free now, this one may not be.
		ag.high, ag.atHigh = ag.free, true
	}
	ag.settled.set(slot)
}

// eachRole splits a bag by allocation role.
func eachRole(r resource.Resources, f func(role string, r resource.Resources)) {
	for !r.Empty() {
		role, one := "", true
		first := true
		for it := range r.All() {
			if first {
				role, first = it.AllocatedTo(), false
			}
			one = one && it.AllocatedTo() == role
		}
		part := r
		if !one {
			part = r.AllocatedTo(role)
			r = r.Filter(func(it *resource.Resource) bool { return it.AllocatedTo() != role })
		} else {
			r = resource.Resources{}
		}
		if role == "" {
			role = "*"
			part = part.Allocate(role)
		}
		f(role, part)
	}
}
