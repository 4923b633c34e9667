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
	slot  int32 // in its table

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

// table finds entries by number, so that what is sorted are small numbers without
// pointers: moving them costs the garbage collector nothing. One has the clients, by
// slot, another the roles.
type table struct {
	list []*entry // nil where free
	free []int32
}

func (t *table) add(e *entry) int32 {
	if l := len(t.free); l > 0 {
		i := t.free[l-1]
		t.free = t.free[:l-1]
		t.list[i] = e
		return i
	}
	t.list = append(t.list, e)
	return int32(len(t.list) - 1)
}

func (t *table) remove(i int32) {
	t.list[i] = nil
	t.free = append(t.free, i)
}

// order is a sorted list of contenders. A grant moves one of them: a binary search
// and a short move of numbers, never a sort. Members are the ones that may get
// something; a suppressed framework costs nothing.
type order struct {
	list []int32
	of   *table
}

// find is the place of e, or where it belongs, in a sorted list.
func (t *table) find(list []int32, e *entry) int {
	from, to := 0, len(list)
	for from < to {
		if mid := int(uint(from+to) >> 1); t.list[list[mid]].compare(e) < 0 {
			from = mid + 1
		} else {
			to = mid
		}
	}
	return from
}

// place is where e is, -1 if it is not a member.
func (o *order) place(e *entry) int {
	if i := o.of.find(o.list, e); i < len(o.list) && o.list[i] == e.slot {
		return i
	}
	return -1
}

func (o *order) insert(e *entry) {
	o.list = slices.Insert(o.list, o.of.find(o.list, e), e.slot)
}

func (o *order) remove(e *entry) {
	i := o.place(e)
	o.list = slices.Delete(o.list, i, i+1)
}

// move gives e another key. An entry that is not a member only changes.
func (o *order) move(e *entry, share float64, count uint64) {
	if e.share == share && e.count == count {
		return
	}
	at := o.place(e)
	e.share, e.count = share, count
	if at < 0 {
		return
	}
	// Only the stretch between the two places moves.
	switch t := o.of; {
	case at+1 < len(o.list) && t.list[o.list[at+1]].compare(e) < 0:
		n := t.find(o.list[at+1:], e)
		copy(o.list[at:], o.list[at+1:at+1+n])
		o.list[at+n] = e.slot
	case at > 0 && t.list[o.list[at-1]].compare(e) > 0:
		to := t.find(o.list[:at], e)
		copy(o.list[to+1:at+1], o.list[to:at])
		o.list[to] = e.slot
	}
}

// sort restores the order after many keys were changed in place.
func (o *order) sort() {
	less := func(x, y int32) int { return o.of.list[x].compare(o.of.list[y]) }
	if !slices.IsSortedFunc(o.list, less) {
		slices.SortFunc(o.list, less)
	}
}
