package resource

// Take cuts amounts of scalars out of the bag, using what use allows (nil: anything):
// reserved resources before unreserved ones, never parts of what cannot be divided. If
// there is not enough, ok is false and nothing was taken.
func (r Resources) Take(want Quantities, use func(*Resource) bool) (taken, left Resources, ok bool) {
	for _, w := range want {
		have := Milli(0)
		for i := range r.items {
			if it := &r.items[i]; it.cuttable(w.Name) && (use == nil || use(it)) {
				have = have.plus(it.milli)
			}
		}
		if have < w.Value {
			return Resources{}, r, false
		}
	}
	rest := append(make([]Resource, 0, len(r.items)), r.items...)
	pieces := 0
	for _, w := range want {
		need := w.Value
		for _, reserved := range [...]bool{true, false} {
			for i := range rest {
				it := &rest[i]
				if need <= 0 || it.Reserved() != reserved || !it.cuttable(w.Name) || use != nil && !use(it) {
					continue
				}
				cut := min(need, it.milli)
				it.milli -= cut
				need -= cut
				pieces++
			}
		}
	}
	out := make([]Resource, 0, pieces)
	kept := rest[:0]
	for i := range rest {
		if cut := r.items[i].milli - rest[i].milli; cut > 0 {
			piece := r.items[i]
			piece.milli = cut
			out = append(out, piece)
		}
		if !rest[i].empty() {
			kept = append(kept, rest[i])
		}
	}
	return bagOf(out), bagOf(kept), true
}

func (r *Resource) cuttable(name string) bool {
	return r.id.kind == Scalar && !r.id.atomic && r.id.name == name
}

// TakeRanges cuts numbers, sorted and without overlaps, out of the ranges resource
// name, using what use allows (nil: anything). If one of them is not there, ok is false
// and nothing was taken.
func (r Resources) TakeRanges(name string, numbers []Range, use func(*Resource) bool) (taken, left Resources, ok bool) {
	missing := count(numbers)
	var out, rest []Resource
	for i := range r.items {
		it := &r.items[i]
		if missing == 0 || it.id.kind != Ranges || it.id.name != name || !overlap(it.values.ranges, numbers) || use != nil && !use(it) {
			continue
		}
		if rest == nil {
			rest = append(make([]Resource, 0, len(r.items)), r.items...)
		}
		cut, stay := rangeValues(len(numbers)), rangeValues(len(it.values.ranges)+len(numbers))
		cut.ranges = intersect(cut.ranges, it.values.ranges, numbers)
		stay.ranges = without(stay.ranges, it.values.ranges, numbers)
		missing -= min(missing, count(cut.ranges))
		piece := *it
		piece.values = cut
		out = append(out, piece)
		rest[i].values = stay
	}
	if missing > 0 {
		return Resources{}, r, false
	}
	if rest == nil {
		return Resources{}, r, true
	}
	kept := rest[:0]
	for i := range rest {
		if !rest[i].empty() {
			kept = append(kept, rest[i])
		}
	}
	return bagOf(out), bagOf(kept), true
}

// ReservationLabel is the value of a label of the innermost reservation; ok is false if
// there is no such label.
func (r *Resource) ReservationLabel(key string) (value string, ok bool) {
	n := len(r.id.protos)
	if n == 0 {
		return "", false
	}
	for _, l := range r.id.protos[n-1].GetLabels().GetLabels() {
		if l.GetKey() == key {
			return l.GetValue(), true
		}
	}
	return "", false
}

// intersect appends what is in both a and b to out, which is empty; both are sorted.
func intersect(out, a, b []Range) []Range {
	for len(a) > 0 && len(b) > 0 {
		if begin, end := max(a[0].Begin, b[0].Begin), min(a[0].End, b[0].End); begin <= end {
			out = appendRange(out, Range{begin, end})
		}
		if a[0].End < b[0].End {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return out
}
