package resource

// Shrink cuts the unreserved, non-revocable scalars of the bag so that no name exceeds
// its entry in limit; names without an entry are not cut. Disks that cannot be split
// are dropped whole. Reserved and revocable resources stay and do not count.
func (r Resources) Shrink(limit Quantities) Resources {
	if len(limit) == 0 {
		return r
	}
	var out []Resource
	changed := false
	var name string
	var left Milli // of limit, for name
	bounded := false
	for i := range r.items {
		it := r.items[i]
		if it.id.kind != Scalar || len(it.id.stack) > 0 || it.id.revocable {
			if changed {
				out = append(out, it)
			}
			continue
		}
		if it.id.name != name { // resources of one name are neighbours
			name = it.id.name
			left, bounded = limit.Get(name)
		}
		cut := bounded && it.milli > left
		if cut && !changed {
			changed = true
			out = append(make([]Resource, 0, len(r.items)), r.items[:i]...)
		}
		if cut {
			if it.id.atomic || left <= 0 {
				continue
			}
			it.milli = left
		}
		if bounded {
			left -= it.milli
		}
		if changed {
			out = append(out, it)
		}
	}
	if !changed {
		return r
	}
	return bagOf(out)
}
