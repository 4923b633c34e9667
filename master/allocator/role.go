package allocator

import (
	"strings"
)

// node is a role in the tree of roles. It exists while anything names it: frameworks,
// allocations, reservations, quota, a weight, or a descendant.
type node struct {
	path     string
	parent   *node // nil for the root, which is no role
	children []*node
	clients  int     // clients of exactly this role
	reserved int     // agents with a reservation to exactly this role
	under    bitset  // slots of the clients of the role and of its descendants
	weight   float64 // 1 by default

	// Fair share. alloc and chosen are of the role with its descendants, as self
	// shows it among its siblings; ownAlloc and ownChosen of its own clients, as own
	// shows them among the role's children.
	alloc, ownAlloc   vec
	chosen, ownChosen uint64
	self, own         entry
	ranked            order // children and own, those with an active client
	fair              order // own clients, the active ones
	active            int   // active clients of the role and its descendants

	// Quota. consumed is what counts against it: reservations to the role and its
	// descendants, allocated or not, and their unreserved, non-revocable allocation,
	// offers included. required is what must be held back for the guarantees of the
	// role and its descendants; below is the sum of the children's.
	consumed        vec
	guarantee       []amount
	limit           []amount
	guarded         bool // a guarantee here or below
	required, below vec
	blocked         bool    // its own limit leaves less than the default minimum
	touched         bool    // in Allocator.touched
	limitMark       []int64 // see quota.go
	termMark        vec
	limits          []*node // itself and ancestors that have a limit
}

func (n *node) isRoot() bool { return n.parent == nil }

// covers reports whether n is o or an ancestor of it.
func (n *node) covers(o *node) bool {
	for ; o != nil; o = o.parent {
		if o == n {
			return true
		}
	}
	return false
}

// role finds or makes the node of a role, and its ancestors.
func (a *Allocator) role(path string) *node {
	if n := a.roles[path]; n != nil {
		return n
	}
	parent := a.root
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		parent = a.role(path[:i])
	}
	n := &node{path: path, parent: parent, weight: 1}
	n.self = entry{name: path, node: n}
	n.own = entry{name: path + "/.", node: n, own: true}
	n.self.slot, n.own.slot = a.roleTable.add(&n.self), a.roleTable.add(&n.own)
	n.ranked.of, n.fair.of = &a.roleTable, &a.clientTable
	parent.children = append(parent.children, n)
	a.roles[path] = n
	for _, w := range parent.limits {
		n.limits = append(n.limits, w)
	}
	return n
}

// prune removes the node and the ancestors that nothing names any more.
func (a *Allocator) prune(n *node) {
	for !n.isRoot() && len(n.children) == 0 && n.clients == 0 && n.reserved == 0 &&
		len(n.guarantee) == 0 && len(n.limit) == 0 && n.weight == 1 {
		parent := n.parent
		for i, c := range parent.children {
			if c == n {
				parent.children = append(parent.children[:i], parent.children[i+1:]...)
				break
			}
		}
		delete(a.roles, n.path)
		a.roleTable.remove(n.self.slot)
		a.roleTable.remove(n.own.slot)
		n = parent
	}
}

// share is the dominant share of an amount: the largest part of the cluster it is in
// any scalar that counts.
func (a *Allocator) share(v vec) float64 {
	share := 0.0
	for i, x := range v {
		if x > 0 && i < len(a.total) && a.total[i] > 0 && !a.excluded[i] {
			share = max(share, float64(x)/float64(a.total[i]))
		}
	}
	return share
}

// rank moves a client and its roles to where their shares now belong.
func (a *Allocator) rank(c *client) {
	if a.stale {
		return // all will be ranked anew
	}
	r := c.role
	r.fair.move(&c.entry, a.share(c.alloc), c.chosen)
	r.ranked.move(&r.own, a.share(r.ownAlloc), r.ownChosen)
	for n := r; !n.isRoot(); n = n.parent {
		n.parent.ranked.move(&n.self, a.share(n.alloc)/n.weight, n.chosen)
	}
}

// rankAll computes every share, after the cluster's total or a weight changed.
func (a *Allocator) rankAll() {
	if !a.stale {
		return
	}
	a.stale = false
	for _, e := range a.clientTable.list {
		if e != nil {
			e.share, e.count = a.share(e.client.alloc), e.client.chosen
		}
	}
	a.rankBelow(a.root)
}

func (a *Allocator) rankBelow(n *node) {
	for _, c := range n.children {
		c.self.share, c.self.count = a.share(c.alloc)/c.weight, c.chosen
		a.rankBelow(c)
	}
	n.own.share, n.own.count = a.share(n.ownAlloc), n.ownChosen
	n.ranked.sort()
	n.fair.sort()
}

// compareClients is the order of the walk through the tree: where the two paths part,
// the keys of the branches decide.
func compareClients(x, y *client) int {
	p, q := x.role, y.role
	if p == q {
		return x.entry.compare(&y.entry)
	}
	e, f := &p.own, &q.own
	dp, dq := p.depth(), q.depth()
	for ; dp > dq; dp-- {
		e, p = &p.self, p.parent
	}
	for ; dq > dp; dq-- {
		f, q = &q.self, q.parent
	}
	for p != q {
		e, p = &p.self, p.parent
		f, q = &q.self, q.parent
	}
	return e.compare(f)
}

func (n *node) depth() int {
	d := 0
	for ; n.parent != nil; n = n.parent {
		d++
	}
	return d
}

// walk visits the active clients below n that are in mask, in DRF order, until f
// returns false. The order must not change meanwhile.
func (n *node) walk(mask bitset, f func(*client) bool) bool {
	for _, block := range n.ranked.blocks {
		for _, i := range block {
			e := n.ranked.of.list[i]
			if e.own && !e.node.walkOwn(mask, f) || !e.own && !e.node.walk(mask, f) {
				return false
			}
		}
	}
	return true
}

func (n *node) walkOwn(mask bitset, f func(*client) bool) bool {
	for _, block := range n.fair.blocks {
		for _, slot := range block {
			if mask.has(slot) && !f(n.fair.of.list[slot].client) {
				return false
			}
		}
	}
	return true
}
