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

// order is a sorted list of contenders, in blocks of bounded length. A grant moves one
// of them: two binary searches and two short moves of numbers, never a sort. Members
// are the ones that may get something; a suppressed framework costs nothing.
type order struct {
	blocks [][]int32 // none is empty
	n      int
	of     *table
}

// maxBlock keeps what a move has to shift within 1 KiB.
const maxBlock = 256

// less reports whether the entry with that number is before e.
func (t *table) less(i int32, e *entry) bool { return t.list[i].compare(e) < 0 }

// find is the place of e, or where it belongs, in a sorted list.
func (t *table) find(list []int32, e *entry) int {
	from, to := 0, len(list)
	for from < to {
		if mid := int(uint(from+to) >> 1); t.less(list[mid], e) {
			from = mid + 1
		} else {
			to = mid
		}
	}
	return from
}

// block is the block that e is in or belongs in; there is at least one.
func (o *order) block(e *entry) int {
	from, to := 0, len(o.blocks)-1
	for from < to {
		mid := int(uint(from+to) >> 1)
		if b := o.blocks[mid]; o.of.less(b[len(b)-1], e) {
			from = mid + 1
		} else {
			to = mid
		}
	}
	return from
}

// place is where e is; ok is false if it is not a member.
func (o *order) place(e *entry) (b, i int, ok bool) {
	if o.n == 0 {
		return 0, 0, false
	}
	b = o.block(e)
	i = o.of.find(o.blocks[b], e)
	return b, i, i < len(o.blocks[b]) && o.blocks[b][i] == e.slot
}

func (o *order) insert(e *entry) {
	o.n++
	if len(o.blocks) == 0 {
		o.blocks = append(o.blocks, []int32{e.slot})
		return
	}
	b := o.block(e)
	list := o.blocks[b]
	list = slices.Insert(list, o.of.find(list, e), e.slot)
	o.blocks[b] = list
	if len(list) > maxBlock {
		half := slices.Clone(list[maxBlock/2:])
		o.blocks[b] = list[:maxBlock/2]
		o.blocks = slices.Insert(o.blocks, b+1, half)
	}
}

func (o *order) remove(e *entry) {
	if b, i, ok := o.place(e); ok {
		o.cut(b, i)
	}
}

func (o *order) cut(b, i int) {
	o.n--
	o.blocks[b] = slices.Delete(o.blocks[b], i, i+1)
	if len(o.blocks[b]) == 0 {
		o.blocks = slices.Delete(o.blocks, b, b+1)
	}
}

// move gives e another key. An entry that is not a member only changes.
func (o *order) move(e *entry, share float64, count uint64) {
	if e.share == share && e.count == count {
		return
	}
	b, i, ok := o.place(e)
	e.share, e.count = share, count
	if !ok || o.n == 1 {
		return
	}
	o.cut(b, i)
	o.insert(e)
}

// sort restores the order after many keys were changed in place.
func (o *order) sort() {
	compare := func(x, y int32) int { return o.of.list[x].compare(o.of.list[y]) }
	all := slices.Concat(o.blocks...)
	if slices.IsSortedFunc(all, compare) {
		return
	}
	slices.SortFunc(all, compare)
	o.blocks = o.blocks[:0]
	for part := range slices.Chunk(all, maxBlock/2) {
		o.blocks = append(o.blocks, slices.Clone(part))
	}
}
