package allocator

import (
	"slices"
	"time"

	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
)

// count splits a bag into the scalars that make a share, shared volumes apart, and
// those of them that consume quota. The vectors are valid until the next count.
func (a *Allocator) count(r resource.Resources) (scalars, quota vec) {
	clear(a.scratch[0])
	clear(a.scratch[1])
	for it := range r.All() {
		if it.Kind() != resource.Scalar || it.Shared() {
			continue
		}
		i := a.names.of(it.Name())
		a.scratch[0].gain(i, int64(it.Scalar()))
		if !it.Reserved() && !it.Revocable() {
			a.scratch[1].gain(i, int64(it.Scalar()))
		}
	}
	return a.scratch[0], a.scratch[1]
}

// charge adds r, which carries the client's role, to its allocation on the agent. What
// is free is the caller's to set.
func (a *Allocator) charge(ag *agent, c *client, r resource.Resources) {
	a.shareVolumes(ag, c, r, +1)
	scalars, quota := a.count(r)
	a.account(c, scalars, quota, +1)
	if al := ag.alloc(c); al != nil {
		al.bag = al.bag.Add(r)
		return
	}
	ag.allocs = append(ag.allocs, alloc{c, r})
	c.holds++
}

// discharge takes r off the client's allocation on the agent; r must be in it.
func (a *Allocator) discharge(ag *agent, c *client, r resource.Resources) {
	al := ag.alloc(c)
	if al.bag.Equal(r) {
		al.bag = resource.Resources{}
	} else {
		al.bag = al.bag.Sub(r)
	}
	scalars, quota := a.count(r)
	a.account(c, scalars, quota, -1)
	a.shareVolumes(ag, c, r, -1)
	if al.bag.Empty() {
		ag.allocs = slices.DeleteFunc(ag.allocs, func(x alloc) bool { return x.client == c })
		c.holds--
		a.rank(c)
		a.discard(c)
	}
}

// account adds sign times the amounts to the client and its roles.
func (a *Allocator) account(c *client, scalars, quota vec, sign int64) {
	if sign > 0 {
		c.alloc.add(scalars)
		c.chosen++
		c.role.ownAlloc.add(scalars)
		c.role.ownChosen++
		for n := c.role; !n.isRoot(); n = n.parent {
			n.alloc.add(scalars)
			n.chosen++
		}
	} else {
		c.alloc.sub(scalars)
		c.role.ownAlloc.sub(scalars)
		for n := c.role; !n.isRoot(); n = n.parent {
			n.alloc.sub(scalars)
		}
	}
	a.consume(c.role, quota, sign)
	if a.walking {
		a.moved = append(a.moved, c)
	} else {
		a.rank(c)
	}
}

// shareVolumes counts the shared volumes of r: for each of the client, its role and the
// roles above once, however many copies there are. It is called while r is not in the
// client's allocation.
func (a *Allocator) shareVolumes(ag *agent, c *client, r resource.Resources, sign int64) {
	for it := range r.All() {
		if !it.Shared() || it.Kind() != resource.Scalar {
			continue
		}
		held := func(by func(*client) bool) bool {
			for i := range ag.allocs {
				if !by(ag.allocs[i].client) {
					continue
				}
				for o := range ag.allocs[i].bag.All() {
					if o.Shared() && o.VolumeID() == it.VolumeID() && o.Role() == it.Role() && o.Name() == it.Name() {
						return true
					}
				}
			}
			return false
		}
		name, x := a.names.of(it.Name()), sign*int64(it.Scalar())
		if !held(func(o *client) bool { return o == c }) {
			c.alloc.gain(name, x)
		}
		if !held(func(o *client) bool { return o.role == c.role }) {
			c.role.ownAlloc.gain(name, x)
		}
		for n := c.role; !n.isRoot(); n = n.parent {
			if !held(func(o *client) bool { return n.covers(o.role) }) {
				n.alloc.gain(name, x)
			}
		}
	}
}

// Recover takes back resources (carrying their allocation role) from a framework on an
// agent. What the framework does not have is passed over, and so are agents and
// frameworks that are not known. The refusal of a framework that gets no offers for
// the role sets no filter.
func (a *Allocator) Recover(now time.Duration, f id.Framework, agent id.Agent, r resource.Resources, refusal *Refusal) {
	ag, fw := a.byID[agent], a.frameworks[f]
	if ag == nil || fw == nil {
		return
	}
	eachRole(r, func(role string, r resource.Resources) {
		c := fw.client(role)
		if c == nil {
			return
		}
		al := ag.alloc(c)
		if al == nil {
			return
		}
		if !al.bag.Contains(r) {
			r = al.bag.Sub(al.bag.Sub(r))
		}
		if r.Empty() {
			return
		}
		back := r.Unallocate()
		a.discharge(ag, c, r)
		switch {
		case ag.over:
			a.recompute(ag)
		case len(ag.allocs) == 0:
			a.setFree(ag, ag.Total, true)
		default:
			a.setFree(ag, ag.free.Add(back.NonShared()), true)
		}
		if refusal != nil && fw.known && fw.active && c.subscribed {
			a.refuse(now, ag, c, back, refusal.For)
		}
	})
}

// Convert replaces allocated resources by what an operation made of them, in the
// framework's allocation and in the agent's total.
func (a *Allocator) Convert(f id.Framework, agent id.Agent, from, to resource.Resources) {
	ag, fw := a.byID[agent], a.frameworks[f]
	if ag == nil || fw == nil {
		return
	}
	role := "*"
	for it := range from.All() {
		if it.AllocatedTo() != "" {
			role = it.AllocatedTo()
		}
	}
	c := fw.client(role)
	if c == nil || ag.alloc(c) == nil {
		return
	}
	from, to = from.Allocate(role), to.Allocate(role)
	bag := ag.alloc(c).bag
	if !bag.Contains(from) {
		return
	}
	// The new is charged first: a client without any allocation would be forgotten.
	if !to.Empty() {
		a.charge(ag, c, to)
		c.chosen-- // nothing was granted
		c.role.ownChosen--
		for n := c.role; !n.isRoot(); n = n.parent {
			n.chosen--
		}
		a.rank(c)
	}
	a.discharge(ag, c, from)
	a.setTotal(ag, ag.Total.Sub(from.Unallocate()).Add(to.Unallocate()))
	a.recompute(ag)
}

// Charge accounts an allocation that exists without an offer (a task found on an agent).
func (a *Allocator) Charge(f id.Framework, agent id.Agent, r resource.Resources) {
	ag := a.byID[agent]
	if ag == nil {
		return
	}
	eachRole(r, func(role string, r resource.Resources) {
		a.charge(ag, a.client(a.framework(f), role), r)
	})
	// Free can only shrink, but what is left of a volume's copies is recomputed.
	a.recompute(ag)
}
