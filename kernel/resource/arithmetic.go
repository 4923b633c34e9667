package resource

import "slices"

// Equal reports whether both bags hold the same amounts of the same things.
func (r Resources) Equal(o Resources) bool {
	if len(r.items) != len(o.items) {
		return false
	}
	for i := range r.items {
		a, b := &r.items[i], &o.items[i]
		if compare(a, b) != 0 || a.milli != b.milli || a.shares != b.shares {
			return false
		}
		if a.values != b.values &&
			(!slices.Equal(a.values.ranges, b.values.ranges) || !slices.Equal(a.values.items, b.values.items)) {
			return false
		}
	}
	return true
}

// Contains reports whether o can be taken from r. Volumes and exclusive disks count
// one by one and only as a whole; a shared volume as often as it is held.
func (r Resources) Contains(o Resources) bool {
	a := r.items
	for j := range o.items {
		want := &o.items[j]
		found := false
		for len(a) > 0 {
			c := compare(&a[0], want)
			if c > 0 {
				return false
			}
			have := &a[0]
			a = a[1:]
			if c == 0 {
				if !have.covers(want) {
					return false
				}
				found = true
				break
			}
		}
		if !found {
			return false
		}
	}
	return true
}

func (r *Resource) covers(o *Resource) bool {
	switch {
	case r.id.atomic:
		return r.shares >= o.shares
	case r.id.kind == Scalar:
		return r.milli >= o.milli
	case r.values == o.values:
		return true
	case r.id.kind == Ranges:
		return covers(r.values.ranges, o.values.ranges)
	}
	return coversItems(r.values.items, o.values.items)
}

// Add is the sum of both. Ranges and sets are united; amounts stop at the type's end.
func (r Resources) Add(o Resources) Resources {
	a, b := r.items, o.items
	switch {
	case len(b) == 0:
		return r
	case len(a) == 0:
		return o
	}
	out := make([]Resource, 0, max(len(a), len(b)))
	for len(a) > 0 && len(b) > 0 {
		switch c := compare(&a[0], &b[0]); {
		case c < 0:
			out, a = append(out, a[0]), a[1:]
		case c > 0:
			out, b = append(out, b[0]), b[1:]
		case a[0].id.atomic && !a[0].id.shared:
			out = append(out, a[0], b[0])
			a, b = a[1:], b[1:]
		default:
			out = append(out, a[0])
			out[len(out)-1].gain(&b[0])
			a, b = a[1:], b[1:]
		}
	}
	return Resources{items: append(append(out, a...), b...)}
}

// gain adds o to r, which the caller has copied; compare(r, o) is 0.
func (r *Resource) gain(o *Resource) {
	switch {
	case r.id.shared:
		if s := r.shares + o.shares; s > r.shares {
			r.shares = s
		}
	case r.id.kind == Scalar:
		r.milli = r.milli.plus(o.milli)
	case r.values == o.values:
	case r.id.kind == Ranges:
		a, b := r.values.ranges, o.values.ranges
		sum := rangeValues(max(len(a), len(b)) + 1)
		sum.ranges = unite(sum.ranges, a, b)
		r.values = sum
	default:
		r.values = &values{items: uniteItems(r.values.items, o.values.items)}
	}
}

// Sub takes o from r; what r does not have is ignored, as Mesos does. If nothing of o
// is in r, r itself is returned.
func (r Resources) Sub(o Resources) Resources {
	a, b := r.items, o.items
	var out []Resource
	changed := false
	kept := 0 // items of r.items before the first change
	for len(a) > 0 && len(b) > 0 {
		c := compare(&a[0], &b[0])
		if c > 0 {
			b = b[1:]
			continue
		}
		if c < 0 {
			if changed {
				out = append(out, a[0])
			} else {
				kept++
			}
			a = a[1:]
			continue
		}
		left := a[0]
		if left.lose(&b[0]) {
			if !changed {
				changed = true
				out = append(make([]Resource, 0, len(r.items)), r.items[:kept]...)
			}
			if !left.empty() {
				out = append(out, left)
			}
		} else if changed {
			out = append(out, left)
		} else {
			kept++
		}
		a, b = a[1:], b[1:]
	}
	if !changed {
		return r
	}
	return bagOf(append(out, a...))
}

// bagOf makes the zero value of an empty list.
func bagOf(items []Resource) Resources {
	if len(items) == 0 {
		return Resources{}
	}
	return Resources{items: items}
}

// lose takes o from r, which the caller has copied, and reports whether r changed;
// compare(r, o) is 0.
func (r *Resource) lose(o *Resource) bool {
	switch {
	case r.id.atomic:
		r.shares -= o.shares
	case r.id.kind == Scalar:
		r.milli -= o.milli
	case r.values == o.values:
		r.values = nil
	case r.id.kind == Ranges:
		a, b := r.values.ranges, o.values.ranges
		if !overlap(a, b) {
			return false
		}
		left := rangeValues(len(a) + 1)
		left.ranges = without(left.ranges, a, b)
		r.values = left
	default:
		left := withoutItems(r.values.items, o.values.items)
		if len(left) == len(r.values.items) {
			return false
		}
		r.values = &values{items: left}
	}
	return true
}

// Sum is the total of the scalar resource name, whatever its role. A shared volume
// counts once.
func (r Resources) Sum(name string) Milli {
	var sum Milli
	for i := range r.items {
		if it := &r.items[i]; it.id.kind == Scalar && it.id.name == name {
			sum = sum.plus(it.milli)
		}
	}
	return sum
}

// RangesOf is the union of the ranges resource name, whatever its role; for ports:
// RangesOf("ports"). Do not modify.
func (r Resources) RangesOf(name string) []Range {
	var all []Range
	for i := range r.items {
		it := &r.items[i]
		if it.id.kind != Ranges || it.id.name != name {
			continue
		}
		if all == nil {
			all = it.values.ranges
		} else {
			all = unite(make([]Range, 0, len(all)+len(it.values.ranges)), all, it.values.ranges)
		}
	}
	return all
}

// Quantities is the total of each scalar. A shared volume counts once.
func (r Resources) Quantities() Quantities {
	var q Quantities
	for i := range r.items {
		if it := &r.items[i]; it.id.kind == Scalar {
			if q == nil {
				q = make(Quantities, 0, min(len(r.items), 4))
			}
			q = q.gain(it.id.name, it.milli)
		}
	}
	return q
}

// Covers reports whether the bag has at least q of each name, whatever the role. Of
// ranges and sets it counts the numbers and items (as Mesos compares an offer with
// minimum allocatable resources).
func (r Resources) Covers(q Quantities) bool {
	for _, want := range q {
		left := want.Value
		for i := 0; i < len(r.items) && left > 0; i++ {
			it := &r.items[i]
			if it.id.name != want.Name {
				continue
			}
			switch it.id.kind {
			case Scalar:
				left -= it.milli
			case Ranges:
				left -= units(count(it.values.ranges))
			default:
				left -= units(uint64(len(it.values.items)))
			}
		}
		if left > 0 {
			return false
		}
	}
	return true
}

func units(n uint64) Milli { return Milli(min(n, uint64(Max/1000))) * 1000 }
