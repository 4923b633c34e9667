package allocator

import (
	"slices"

	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/master/allocator/constraint"
)

// at is the client in a slot, nil if there is none.
func (a *Allocator) at(slot int32) *client {
	if e := a.clientTable.list[slot]; e != nil {
		return e.client
	}
	return nil
}

// framework is a framework, or what is left of one: its allocations outlive it.
type framework struct {
	Framework
	known   bool // added and not removed
	active  bool
	clients []*client // of its roles and of those it only has allocations in
}

// client is a framework in one of its roles: what offers are made to.
type client struct {
	entry
	fw         *framework
	role       *node
	subscribed bool
	suppressed bool
	active     bool // gets offers

	alloc  vec // scalars allocated to it, offers included
	chosen uint64
	holds  int // agents it has allocations on

	minima     *minima
	constraint *constraint.Role // nil for none
	filters    int              // on all agents
}

func (f *framework) client(role string) *client {
	for _, c := range f.clients {
		if c.role.path == role {
			return c
		}
	}
	return nil
}

func (a *Allocator) framework(f id.Framework) *framework {
	fw := a.frameworks[f]
	if fw == nil {
		fw = &framework{Framework: Framework{ID: f}}
		a.frameworks[f] = fw
	}
	return fw
}

func (a *Allocator) client(fw *framework, role string) *client {
	if c := fw.client(role); c != nil {
		return c
	}
	n := a.role(role)
	c := &client{fw: fw, role: n, minima: &a.minima}
	c.entry = entry{name: string(fw.ID), client: c}
	c.slot = a.clientTable.add(&c.entry)
	fw.clients = append(fw.clients, c)
	n.clients++
	for m := n; m != nil; m = m.parent {
		m.under.set(c.slot)
	}
	for m := n; !m.isRoot(); m = m.parent {
		if m.short() {
			a.hungry.set(c.slot)
		}
	}
	a.checkSaturated(c.slot)
	return c
}

// discard forgets a client that has neither a subscription nor an allocation.
func (a *Allocator) discard(c *client) {
	if c.subscribed || c.holds > 0 {
		return
	}
	a.dropClientFilters(c)
	a.activate(c)
	for m := c.role; m != nil; m = m.parent {
		m.under.clear(c.slot)
	}
	a.saturated.clear(c.slot)
	a.hungry.clear(c.slot)
	a.clientTable.remove(c.slot)
	c.role.clients--
	a.prune(c.role)
	c.fw.clients = slices.DeleteFunc(c.fw.clients, func(o *client) bool { return o == c })
	if !c.fw.known && len(c.fw.clients) == 0 {
		delete(a.frameworks, c.fw.ID)
	}
}

// activate puts the client in or out of the orders, as its state says.
func (a *Allocator) activate(c *client) {
	on := c.fw.known && c.fw.active && c.subscribed && !c.suppressed
	if on == c.active {
		return
	}
	c.active = on
	r := c.role
	if on {
		a.active.set(c.slot)
		a.renew(c)
		r.fair.insert(&c.entry)
		if r.fair.n == 1 {
			r.ranked.insert(&r.own)
		}
		for n := r; !n.isRoot(); n = n.parent {
			if n.active++; n.active == 1 {
				n.parent.ranked.insert(&n.self)
			}
		}
		return
	}
	a.active.clear(c.slot)
	r.fair.remove(&c.entry)
	if r.fair.n == 0 {
		r.ranked.remove(&r.own)
	}
	for n := r; !n.isRoot(); n = n.parent {
		if n.active--; n.active == 0 {
			n.parent.ranked.remove(&n.self)
		}
	}
}

// renew makes the client due on every agent.
func (a *Allocator) renew(c *client) {
	a.renewed.set(c.slot)
	a.hasRenewed = true
}

// AddFramework adds an active framework; UpdateFramework replaces its description,
// keeping its filters for roles it still has, except those of roles that were
// suppressed and are not any more (as Mesos). Constraints must have passed
// constraint.Compile; a framework whose constraints do not compile is offered nothing.
func (a *Allocator) AddFramework(f Framework) {
	fw := a.framework(f.ID)
	fw.known, fw.active = true, true
	a.describe(fw, f)
}

// UpdateFramework replaces the description of a framework, see AddFramework.
func (a *Allocator) UpdateFramework(f Framework) {
	if fw := a.frameworks[f.ID]; fw != nil && fw.known {
		a.describe(fw, f)
	}
}

func (a *Allocator) describe(fw *framework, f Framework) {
	fw.Framework = f
	set, err := constraint.Compile(f.Constraints, f.Roles)
	for _, role := range f.Roles {
		c := a.client(fw, role)
		c.subscribed = true
		suppressed := slices.Contains(f.Suppressed, role)
		if c.suppressed && !suppressed {
			a.dropClientFilters(c)
		}
		c.suppressed = suppressed
		c.constraint = set.Role(role)
		if err != nil {
			c.constraint = constraint.Nowhere
		}
		c.minima = &a.minima
		if own, ok := f.OfferFilters[role]; ok {
			m := a.names.minima(own)
			c.minima = &m
		}
		a.checkSaturated(c.slot)
		a.activate(c)
		a.renew(c)
	}
	for _, c := range slices.Clone(fw.clients) {
		if !slices.Contains(f.Roles, c.role.path) {
			a.unsubscribe(c)
		}
	}
}

func (a *Allocator) unsubscribe(c *client) {
	c.subscribed, c.suppressed = false, false
	a.dropClientFilters(c)
	a.activate(c)
	a.discard(c)
}

// RemoveFramework ends the framework's subscriptions. What is allocated to it stays
// charged until it is recovered.
func (a *Allocator) RemoveFramework(f id.Framework) {
	fw := a.frameworks[f]
	if fw == nil {
		return
	}
	fw.known, fw.active = false, false
	for _, c := range slices.Clone(fw.clients) {
		a.unsubscribe(c)
	}
	if len(fw.clients) == 0 {
		delete(a.frameworks, f)
	}
}

// ActivateFramework lets offers to a framework go on.
func (a *Allocator) ActivateFramework(f id.Framework) { a.setFrameworkActive(f, true) }

// DeactivateFramework stops offers and drops its filters. Suppressed roles stay
// suppressed.
func (a *Allocator) DeactivateFramework(f id.Framework) { a.setFrameworkActive(f, false) }

func (a *Allocator) setFrameworkActive(f id.Framework, on bool) {
	fw := a.frameworks[f]
	if fw == nil || !fw.known {
		return
	}
	fw.active = on
	for _, c := range fw.clients {
		if !on {
			a.dropClientFilters(c)
		}
		a.activate(c)
	}
}

// Suppress and Revive take the framework's roles; none means all of them. Roles it is
// not subscribed to are passed over. Revive also drops the filters of those roles.
func (a *Allocator) Suppress(f id.Framework, roles []string) {
	a.eachClient(f, roles, func(c *client) { c.suppressed = true })
}

// Revive takes back Suppress, see there.
func (a *Allocator) Revive(f id.Framework, roles []string) {
	a.eachClient(f, roles, func(c *client) {
		c.suppressed = false
		a.dropClientFilters(c)
		a.renew(c)
	})
}

func (a *Allocator) eachClient(f id.Framework, roles []string, do func(*client)) {
	fw := a.frameworks[f]
	if fw == nil || !fw.known {
		return
	}
	for _, c := range fw.clients {
		if c.subscribed && (len(roles) == 0 || slices.Contains(roles, c.role.path)) {
			do(c)
			a.activate(c)
		}
	}
}

// Suppressed reports whether the framework suppressed offers for the role.
func (a *Allocator) Suppressed(f id.Framework, role string) bool {
	if fw := a.frameworks[f]; fw != nil {
		if c := fw.client(role); c != nil {
			return c.suppressed
		}
	}
	return false
}
