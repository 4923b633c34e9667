package view

import "iter"

// pageSize is how many rows a page has: what one changed row copies, and how coarse the
// list of pages is that every publication copies.
const pageSize = 256

type page[T any] [pageSize]*T

// rows is a published table: pages that are never changed again.
type rows[T any] struct {
	pages []*page[T]
	len   int
}

// all yields the rows, oldest first where none was removed between.
func (r rows[T]) all() iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for _, p := range r.pages {
			for _, row := range p {
				if row != nil && !yield(row) {
					return
				}
			}
		}
	}
}

// table is the owner's side: rows by slot, with pages shared with what was published
// until a row in them changes.
type table[T any] struct {
	pages []*page[T]
	own   []bool // pages copied since the last publication
	owned []int  // their numbers
	free  []int
	next  int // the first slot never used
	len   int
	// shared says that a reader may hold pages, the slice itself.
	shared bool
}

func (t *table[T]) writable(n int) *page[T] {
	if t.shared {
		t.pages = append(make([]*page[T], 0, len(t.pages)+1), t.pages...)
		t.shared = false
	}
	if !t.own[n] {
		p := *t.pages[n]
		t.pages[n] = &p
		t.own[n] = true
		t.owned = append(t.owned, n)
	}
	return t.pages[n]
}

// add puts a row into a free slot and returns it.
func (t *table[T]) add(row *T) int {
	slot := t.next
	if n := len(t.free); n > 0 {
		slot = t.free[n-1]
		t.free = t.free[:n-1]
	} else {
		t.next++
		if slot/pageSize == len(t.pages) {
			if t.shared {
				t.pages = append(make([]*page[T], 0, len(t.pages)+1), t.pages...)
				t.shared = false
			}
			t.pages = append(t.pages, new(page[T]))
			t.own = append(t.own, true)
			t.owned = append(t.owned, len(t.pages)-1)
		}
	}
	t.len++
	t.writable(slot / pageSize)[slot%pageSize] = row
	return slot
}

func (t *table[T]) at(slot int) *T { return t.pages[slot/pageSize][slot%pageSize] }

func (t *table[T]) set(slot int, row *T) { t.writable(slot / pageSize)[slot%pageSize] = row }

func (t *table[T]) remove(slot int) {
	t.set(slot, nil)
	t.free = append(t.free, slot)
	t.len--
}

// publish returns the table as it is now; later changes copy what they touch.
func (t *table[T]) publish() rows[T] {
	for _, n := range t.owned {
		t.own[n] = false
	}
	t.owned = t.owned[:0]
	t.shared = true
	return rows[T]{t.pages, t.len}
}
