package allocator

import (
	"cmp"
	"slices"
)

// entry is one contender among siblings: a client in its role, a role among roles, or
// a role's own clients ("." in Mesos) beside its children. Its key is that of
// Mesos's DRF sorter: share, then how often it was chosen, then name.
type entry struct {
	share float64
	count uint64
	name  string

	client *client // exactly one of client and node is set
	node   *node
	own    bool // node's own clients, not its subtree
}

func (e *entry) compare(o *entry) int {
	switch {
	case e.share < o.share:
		return -1
	case e.share > o.share:
		return 1
	case e.count != o.count:
		return cmp.Compare(e.count, o.count)
	}
	return cmp.Compare(e.name, o.name)
}

// order is a sorted list of contenders. A grant moves one of them: a binary search
// and a short move of pointers, never a sort. Members are the ones that may get
// something; a suppressed framework costs nothing.
type order struct{ list []*entry }

func (o *order) find(e *entry) (int, bool) {
	return slices.BinarySearchFunc(o.list, e, (*entry).compare)
}

func (o *order) insert(e *entry) {
	if i, ok := o.find(e); !ok {
		o.list = slices.Insert(o.list, i, e)
	}
}

func (o *order) remove(e *entry) {
	if i, ok := o.find(e); ok {
		o.list = slices.Delete(o.list, i, i+1)
	}
}

// move gives e another key. An entry that is not a member only changes.
func (o *order) move(e *entry, share float64, count uint64) {
	if e.share == share && e.count == count {
		return
	}
	from, member := o.find(e)
	e.share, e.count = share, count
	if !member {
		return
	}
	// Only the stretch between the two places moves.
	switch {
	case from+1 < len(o.list) && o.list[from+1].compare(e) < 0:
		rest := o.list[from+1:]
		n, _ := slices.BinarySearchFunc(rest, e, (*entry).compare)
		copy(o.list[from:], rest[:n])
		o.list[from+n] = e
	case from > 0 && o.list[from-1].compare(e) > 0:
		to, _ := slices.BinarySearchFunc(o.list[:from], e, (*entry).compare)
		copy(o.list[to+1:from+1], o.list[to:from])
		o.list[to] = e
	}
}

// sort restores the order after many keys were changed in place.
func (o *order) sort() {
	if !slices.IsSortedFunc(o.list, (*entry).compare) {
		slices.SortFunc(o.list, (*entry).compare)
	}
}
