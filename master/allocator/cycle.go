package allocator

import (
	"cmp"
	"math/bits"
	"slices"
	"time"

	"github.com/stoa-kernel/stoa/kernel/resource"
)

// A cycle visits the agents that are due, in shuffled order, first for clients with an
// unmet guarantee, then for all, in DRF order. The first that may have something gets
// all it may have. What is found to be useless is noted (agent.settled), so that a
// refused, unfit or useless pair of agent and client costs one bit until something
// changes that matters to it:
//
//   - the agent's free resources outgrow what the notes are true for (agent.high),
//   - the client changes, revives or loses filters (Allocator.renewed),
//   - its filter on the agent expires,
//   - quota leaves more than it did (Allocator.woken, see settle).
//
// All rules are monotone: who gets nothing of some resources gets nothing of less, and
// nothing under tighter quota. Two things are not and are looked at again after each
// change: shared volumes, which are offered once a cycle, and disks that cannot be
// split under a quota (Allocator.lumpy).

// few is how many clients are sorted rather than found by walking the whole tree.
const few = 16

// Dirty reports whether Allocate has anything to look at.
func (a *Allocator) Dirty() bool {
	return !a.paused && (a.hasRenewed || a.hasWoken || len(a.touched) > 0 ||
		a.stirred && a.quotas > 0 && !a.lumpy.empty() || !a.dirty.empty())
}

// Pause holds allocation back, Resume lets it go. While paused nothing is dirty.
func (a *Allocator) Pause() { a.paused = true }

// Resume takes back Pause.
func (a *Allocator) Resume() { a.paused = false }

// Allocate offers what is free on dirty agents to the frameworks due, charging each
// grant, in a deterministic order. With full, every agent is looked at, as the
// simulator does to prove that nothing was forgotten. Filters due by now are dropped
// first. Dirty may be true afterwards; a grant is the only reason for that.
func (a *Allocator) Allocate(now time.Duration, full bool) []Grant {
	if a.paused {
		return nil
	}
	a.Expire(now)
	if full {
		a.forget()
	}
	if a.stirred && a.quotas > 0 {
		a.lumpy.each(func(slot int32) { a.agents[slot].forget(); a.dirty.set(slot) })
	}
	a.stirred = false
	a.rankAll()
	a.grants = nil
	for {
		a.spread()
		a.serve()
		a.settle()
		if !a.hasWoken {
			break
		}
	}
	for _, ag := range a.sharers {
		ag.shared = resource.Resources{}
		if ag.useful {
			a.mark(ag)
		}
	}
	a.sharers = a.sharers[:0]
	grants := a.grants
	a.grants = nil
	return grants
}

// forget drops all notes and makes everything due.
func (a *Allocator) forget() {
	for _, ag := range a.agents {
		if ag != nil {
			ag.forget()
			ag.never.reset()
			a.mark(ag)
		}
	}
}

func (ag *agent) forget() {
	ag.settled.reset()
	ag.held.reset()
	ag.high, ag.atHigh = ag.free, true
}

// word is one word of a mask that is mostly zero.
type word struct {
	i int
	w uint64
}

func words(b bitset, out []word) []word {
	for i, w := range b {
		if w != 0 {
			out = append(out, word{i, w})
		}
	}
	return out
}

// spread makes agents due on which a renewed or woken client may get something.
func (a *Allocator) spread() {
	if !a.hasRenewed && !a.hasWoken {
		return
	}
	renewed, woken := words(a.renewed, nil), words(a.woken, nil)
	for _, ag := range a.agents {
		if ag == nil {
			continue
		}
		due := false
		for _, m := range renewed {
			if m.i < len(ag.settled) {
				ag.settled[m.i] &^= m.w
			}
			if m.i < len(ag.held) {
				ag.held[m.i] &^= m.w
			}
			if m.i < len(ag.never) {
				ag.never[m.i] &^= m.w
			}
			due = due || m.w&a.active.word(m.i) != 0
		}
		for _, m := range woken {
			if m.i < len(ag.held) {
				both := ag.held[m.i] & m.w
				ag.held[m.i] &^= both
				if m.i < len(ag.settled) {
					ag.settled[m.i] &^= both
				}
			}
			due = due || m.w&a.active.word(m.i)&^ag.settled.word(m.i)&^ag.never.word(m.i) != 0
		}
		if due && ag.useful && ag.active {
			a.mark(ag)
		}
	}
	a.renewed.reset()
	a.woken.reset()
	a.hasRenewed, a.hasWoken = false, false
}

// serve visits the agents that are due.
func (a *Allocator) serve() {
	due := a.due[:0]
	a.dirty.each(func(slot int32) {
		if ag := a.agents[slot]; ag != nil && ag.active && ag.useful {
			due = append(due, ag)
		}
	})
	a.dirty.reset()
	a.due = due
	if len(due) > 0 && a.risen() {
		for _, ag := range due {
			ag.settled.remove(ag.held)
			ag.held.reset()
		}
	}
	if a.guaranteed() {
		a.shuffle(due)
		for _, ag := range due {
			a.visit(ag, true)
		}
	}
	a.shuffle(due)
	for _, ag := range due {
		a.visit(ag, false)
	}
	clear(due)
}

func (a *Allocator) shuffle(due []*agent) {
	a.rng.Shuffle(len(due), func(i, j int) { due[i], due[j] = due[j], due[i] })
}

// guaranteed reports whether some guarantee is unmet.
func (a *Allocator) guaranteed() bool {
	for _, x := range a.root.below {
		if x > 0 {
			return true
		}
	}
	return false
}

// visit offers what is free on the agent, in DRF order: to clients entitled by a
// guarantee, or to all.
func (a *Allocator) visit(ag *agent, entitled bool) {
	if a.trace != nil {
		a.trace(ag.ID, entitled)
	}
	if !ag.useful {
		return
	}
	n := a.candidates(ag, entitled)
	if n == 0 {
		return
	}
	a.walking = true
	if n <= few {
		some := a.some[:0]
		a.mask.each(func(slot int32) { some = append(some, a.at(slot)) })
		slices.SortFunc(some, compareClients)
		for _, c := range some {
			if a.offer(ag, c, entitled); !ag.useful {
				break
			}
		}
		a.some = some
	} else {
		a.root.walk(a.mask, func(c *client) bool {
			a.offer(ag, c, entitled)
			return ag.useful
		})
	}
	a.walking = false
	for _, c := range a.moved {
		a.rank(c)
	}
	a.moved = a.moved[:0]
}

// candidates sets mask to the clients that may get something and returns their number.
func (a *Allocator) candidates(ag *agent, entitled bool) int {
	// Clients whose quota leaves them less than the minimum can only get reserved or
	// revocable resources.
	tight := a.quotas > 0 && a.guaranteed() && !a.minima.metBy(a.surplus)
	special := !ag.simple
	if special {
		a.exempt.reset()
		for _, n := range ag.reservedF {
			a.exempt.or(n.under)
		}
	}
	a.mask = append(a.mask[:0], a.active...)
	n := 0
	for i, m := range a.mask {
		if m == 0 {
			continue
		}
		m &^= ag.settled.word(i) | ag.never.word(i)
		if special && !ag.common {
			m &= a.exempt.word(i)
		}
		if entitled {
			m &= a.hungry.word(i)
		}
		if a.quotas > 0 && !ag.revocable {
			skip := a.saturated.word(i)
			if tight {
				skip |= a.standard.word(i) &^ a.hungry.word(i)
			}
			if special {
				skip &^= a.exempt.word(i)
			}
			m &^= skip
		}
		a.mask[i] = m
		n += bits.OnesCount64(m)
	}
	return n
}

// offer grants the client what it may have of the agent, if it is worth an offer.
func (a *Allocator) offer(ag *agent, c *client, entitled bool) {
	if c.excluded(ag) {
		ag.never.set(c.slot)
		return
	}
	if entitled && !c.role.entitledOn(ag) {
		return
	}
	cut := a.quotas > 0 && a.cuts(ag.plain, c.role)
	if cut {
		ag.held.set(c.slot)
	} else {
		ag.held.clear(c.slot)
	}
	bag := a.offerable(ag, c, cut)
	if bag.Empty() || ag.filtered(c.slot, bag) != nil {
		if !entitled && ag.shared.Empty() {
			ag.putSettled(c.slot)
		}
		return
	}
	a.grant(ag, c, bag, ag.simple && !cut)
}

// excluded reports whether the agent, whatever is free on it, is not for the client.
func (c *client) excluded(ag *agent) bool {
	return ag.gpus && !c.fw.GPU || ag.remote && !c.fw.RegionAware ||
		c.constraint != nil && !c.constraint.Admits(ag.Hostname, ag.Domain, ag.Attributes)
}

// entitledOn reports whether a guarantee entitles the role to anything that is free.
func (n *node) entitledOn(ag *agent) bool {
	for i, x := range ag.plain {
		if x > 0 && n.entitled(i) > 0 {
			return true
		}
	}
	return false
}

// cuts finds what quota leaves the role of v: a.cut gets all amounts that are less. It
// reports whether there are any.
func (a *Allocator) cuts(v vec, n *node) bool {
	a.cut = a.cut[:0]
	for i, x := range v {
		if x > 0 {
			if most := a.allowed(n, i); most < x {
				a.cut = append(a.cut, amount{i, most})
			}
		}
	}
	return len(a.cut) > 0
}

// offerable is what the client may have of what is free, empty if it is less than the
// minimum. Of unreserved scalars it is what a.cut leaves, if cut.
func (a *Allocator) offerable(ag *agent, c *client, cut bool) resource.Resources {
	if ag.simple && c.minima.scalar && !c.minima.metBy(func(name int) int64 {
		if cut {
			for _, x := range a.cut {
				if x.name == name {
					return x.value
				}
			}
		}
		return ag.plain.at(name)
	}) {
		return resource.Resources{}
	}
	bag := ag.free
	if !ag.simple {
		bag = c.visible(bag)
		if !ag.shared.Empty() {
			bag = bag.Sub(ag.shared)
		}
	}
	if cut {
		bag = bag.Shrink(a.limits())
	}
	if ag.simple && c.minima.scalar && !(cut && ag.lumpy) {
		return bag
	}
	if !c.minima.metByBag(bag) || bag.NonShared().Empty() {
		return resource.Resources{}
	}
	return bag
}

// visible is what of a bag the client's role and the framework's capabilities allow it
// to see.
func (c *client) visible(r resource.Resources) resource.Resources {
	return r.AllocatableTo(c.role.path).Filter(func(it *resource.Resource) bool {
		return (c.fw.Revocable || !it.Revocable()) && (c.fw.Shared || !it.Shared()) &&
			(c.fw.Refinement || len(it.Reservations()) < 2)
	})
}

// limits is a.cut in the form Shrink takes.
func (a *Allocator) limits() resource.Quantities {
	a.quantities = a.quantities[:0]
	for _, x := range a.cut {
		a.quantities = append(a.quantities, resource.Quantity{Name: a.names.list[x.name], Value: resource.Milli(x.value)})
	}
	slices.SortFunc(a.quantities, func(x, y resource.Quantity) int { return cmp.Compare(x.Name, y.Name) })
	return a.quantities
}

// grant allocates the bag to the client. whole says that it is all of what is free,
// and unreserved.
func (a *Allocator) grant(ag *agent, c *client, bag resource.Resources, whole bool) {
	out := bag.Allocate(c.role.path)
	if whole && ag.alloc(c) == nil {
		a.account(c, ag.plain, ag.plain, +1)
		ag.allocs = append(ag.allocs, alloc{c, out})
		c.holds++
		a.setFree(ag, resource.Resources{}, false)
	} else {
		a.charge(ag, c, out)
		if shared := bag.SharedOnly(); !shared.Empty() {
			if ag.shared.Empty() {
				a.sharers = append(a.sharers, ag)
			}
			ag.shared = ag.shared.Add(shared)
			bag = bag.NonShared()
		}
		a.setFree(ag, ag.free.Sub(bag), false)
	}
	if a.grants == nil {
		a.grants = make([]Grant, 0, len(a.due))
	}
	a.grants = append(a.grants, Grant{Framework: c.fw.ID, Role: c.role.path, Agent: ag.ID, Resources: out})
}
