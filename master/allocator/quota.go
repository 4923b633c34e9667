package allocator

import (
	"github.com/stoa-kernel/stoa/kernel/resource"
)

// How quota works on a tree of roles.
//
// A limit bounds what the role and its descendants consume together; a client is bound
// by the limits of its role and of all ancestors.
//
// A guarantee of a role is met by what the role and its descendants consume. What a
// node needs held back, required, is the larger of what its own guarantee lacks and
// what its children require: a child's guarantee is a share of its parent's, and more
// only where it is larger. What the roots' children require together must stay
// available, in unreserved, non-revocable resources nobody has or was offered.
//
// A client may take, of each scalar, what its guarantees entitle it to and the surplus:
// what is available beyond what is required. It is entitled to what it can take without
// touching the surplus: for each node of its path, what the node's guarantee lacks
// beyond what its children require.
//
// With guarantees and limits at the top level only, this is what Mesos does.

// consume adds sign times q to what the role and its ancestors consume.
func (a *Allocator) consume(n *node, q vec, sign int64) {
	guarded := false
	for m := n; !m.isRoot(); m = m.parent {
		if sign > 0 {
			m.consumed.add(q)
		} else {
			m.consumed.sub(q)
		}
		if len(m.limit) > 0 || len(m.guarantee) > 0 {
			a.touch(m)
			a.checkLimit(m)
		}
		guarded = guarded || m.guarded
	}
	if guarded {
		a.require(n)
	}
}

// require brings required up to date from n to the root, and who is hungry below.
func (a *Allocator) require(n *node) {
	top := n
	for m := n; !m.isRoot(); m = m.parent {
		top = m
		for i := range max(len(m.required), len(m.below)) {
			a.setRequired(m, i, m.lacks(i))
		}
		for _, g := range m.guarantee {
			a.setRequired(m, g.name, m.lacks(g.name))
		}
	}
	a.feed(top)
}

// lacks is what must be held back of a name for the node.
func (n *node) lacks(name int) int64 { return max(n.unmet(name), n.below.at(name)) }

// unmet is what the node's own guarantee lacks.
func (n *node) unmet(name int) int64 {
	for _, g := range n.guarantee {
		if g.name == name {
			return max(0, g.value-n.consumed.at(name))
		}
	}
	return 0
}

// term is what the node's guarantee lacks beyond what its children require.
func (n *node) term(name int) int64 { return max(0, n.unmet(name)-n.below.at(name)) }

func (a *Allocator) setRequired(n *node, name int, x int64) {
	if d := x - n.required.at(name); d != 0 {
		n.required.gain(name, d)
		n.parent.below.gain(name, d)
	}
}

// feed brings hungry up to date for the tree below a top-level role.
func (a *Allocator) feed(top *node) {
	a.hungry.remove(top.under)
	a.feedBelow(top)
}

// feedBelow: a client is entitled to what any node of its path lacks.
func (a *Allocator) feedBelow(n *node) {
	if n.short() {
		a.hungry.or(n.under)
		return
	}
	for _, c := range n.children {
		if c.guarded {
			a.feedBelow(c)
		}
	}
}

// short reports whether the node's guarantee entitles its clients to anything.
func (n *node) short() bool {
	for _, g := range n.guarantee {
		if n.term(g.name) > 0 {
			return true
		}
	}
	return false
}

// entitled is what a client of the role can take of a name without touching surplus.
func (n *node) entitled(name int) int64 {
	var sum int64
	for ; !n.isRoot(); n = n.parent {
		if len(n.guarantee) > 0 {
			sum += n.term(name)
		}
	}
	return sum
}

// surplus is what is available beyond what guarantees require; of a name that no
// guarantee requires nothing is held back.
func (a *Allocator) surplus(name int) int64 {
	need := a.root.below.at(name)
	if need == 0 {
		return unlimited
	}
	return max(0, a.available.at(name)-need)
}

// room is what limits leave of a name.
func (n *node) room(name int) int64 {
	left := int64(unlimited)
	for _, l := range n.limits {
		left = min(left, l.ownRoom(name))
	}
	return left
}

func (n *node) ownRoom(name int) int64 {
	for _, l := range n.limit {
		if l.name == name {
			return max(0, l.value-n.consumed.at(name))
		}
	}
	return unlimited
}

// allowed is how much of an unreserved, non-revocable scalar a client of the role may
// have.
func (a *Allocator) allowed(n *node, name int) int64 {
	most := n.room(name)
	if s := a.surplus(name); s < most {
		most = min(most, s+n.entitled(name))
	}
	return most
}

// checkLimit notes whether the node's own limit leaves its clients less than the
// default minimum: they need not be looked at where only unreserved resources are.
func (a *Allocator) checkLimit(n *node) {
	blocked := len(n.limit) > 0 && !a.minima.metBy(n.ownRoom)
	if blocked == n.blocked {
		return
	}
	n.blocked = blocked
	n.under.each(a.checkSaturated)
}

func (a *Allocator) checkSaturated(slot int32) {
	c := a.at(slot)
	a.saturated.clear(slot)
	a.standard.clear(slot)
	if c.minima != &a.minima {
		return
	}
	a.standard.set(slot)
	for _, l := range c.role.limits {
		if l.blocked {
			a.saturated.set(slot)
			return
		}
	}
}

// SetQuota replaces a role's guarantee and limit; both nil removes it. Unlike Mesos,
// a role at any depth can have one: limits bind all below, and the guarantee of a role
// is part of its parent's where that has one. A guarantee above the limit is useless,
// not an error.
func (a *Allocator) SetQuota(role string, guarantee, limit resource.Quantities) {
	n := a.role(role)
	a.quotas += sign(len(guarantee)+len(limit)) - sign(len(n.guarantee)+len(n.limit))
	n.guarantee, n.limit = a.names.amounts(guarantee), a.names.amounts(limit)
	n.limitMark, n.termMark = make([]int64, len(n.limit)), nil
	for m := n; !m.isRoot(); m = m.parent {
		m.guarded = len(m.guarantee) > 0
		for _, c := range m.children {
			m.guarded = m.guarded || c.guarded
		}
	}
	n.relimit()
	n.blocked = len(n.limit) > 0 && !a.minima.metBy(n.ownRoom)
	n.under.each(a.checkSaturated)
	a.require(n)
	a.touch(n)
	a.woken.or(n.under)
	a.hasWoken = true
	a.prune(n)
}

func sign(n int) int { return min(n, 1) }

// relimit rebuilds the list of binding nodes in the subtree.
func (n *node) relimit() {
	n.limits = append([]*node(nil), n.parent.limits...)
	if len(n.limit) > 0 {
		n.limits = append(n.limits, n)
	}
	for _, c := range n.children {
		c.relimit()
	}
}

// SetWeight sets a role's weight among its siblings; 1 is the default, and what is not
// positive counts as 1.
func (a *Allocator) SetWeight(role string, weight float64) {
	if !(weight > 0) {
		weight = 1
	}
	n := a.role(role)
	if n.weight != weight {
		n.weight = weight
		a.stale = true
	}
	a.prune(n)
}

func (a *Allocator) touch(n *node) {
	if !n.touched {
		n.touched = true
		a.touched = append(a.touched, n)
	}
	a.stirred = true
}

// settle compares what quota leaves with what it left when pairs of client and agent
// were last found to get nothing because of it. Where it is more, those pairs are due
// again. It is asked after the dirty agents were served: in a full cluster what comes
// free is taken at once, and nothing else needs a look.
func (a *Allocator) settle() {
	for _, n := range a.touched {
		if n.risen() {
			a.woken.or(n.under)
			a.hasWoken = true
		}
		n.touched = false
		n.mark()
	}
	a.touched = a.touched[:0]
	for i := range a.names.list {
		s := a.surplus(i)
		if s > a.surplusAt(i) {
			a.woken.or(a.active)
			a.hasWoken = true
		}
		if i == len(a.surplusMark) {
			a.surplusMark = append(a.surplusMark, 0)
		}
		a.surplusMark[i] = s
	}
}

// surplusAt is the surplus settle saw last; nothing was held yet of a name it never saw.
func (a *Allocator) surplusAt(name int) int64 {
	if name < len(a.surplusMark) {
		return a.surplusMark[name]
	}
	return unlimited
}

// risen reports whether quota leaves more anywhere than when settle looked last. Then
// what it held back on the agents that are due is asked for again at once.
func (a *Allocator) risen() bool {
	for _, n := range a.touched {
		if n.risen() {
			return true
		}
	}
	for i := range a.names.list {
		if a.surplus(i) > a.surplusAt(i) {
			return true
		}
	}
	return false
}

// risen reports whether the node's own limit or guarantee leaves more than marked.
func (n *node) risen() bool {
	for i, l := range n.limit {
		if max(0, l.value-n.consumed.at(l.name)) > n.limitMark[i] {
			return true
		}
	}
	for _, g := range n.guarantee {
		if n.term(g.name) > n.termMark.at(g.name) {
			return true
		}
	}
	return false
}

func (n *node) mark() {
	for i, l := range n.limit {
		n.limitMark[i] = max(0, l.value-n.consumed.at(l.name))
	}
	for _, g := range n.guarantee {
		n.termMark.gain(g.name, n.term(g.name)-n.termMark.at(g.name))
	}
}
