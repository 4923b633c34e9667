package resource

import (
	"cmp"
	"math"
	"slices"
)

// coalesce sorts rs in place and merges what overlaps or touches. Every interval has
// Begin <= End.
func coalesce(rs []Range) []Range {
	if len(rs) < 2 {
		return rs
	}
	slices.SortFunc(rs, func(a, b Range) int { return cmp.Compare(a.Begin, b.Begin) })
	out := rs[:1]
	for _, r := range rs[1:] {
		out = appendRange(out, r)
	}
	return out
}

// appendRange adds an interval that begins nowhere before the last one.
func appendRange(out []Range, r Range) []Range {
	if n := len(out); n > 0 {
		last := &out[n-1]
		if last.End == math.MaxUint64 || r.Begin <= last.End+1 {
			last.End = max(last.End, r.End)
			return out
		}
	}
	return append(out, r)
}

// rangeValues has room for n intervals; few, as almost always, come in one allocation.
func rangeValues(n int) *values {
	if n > 4 {
		return &values{ranges: make([]Range, 0, n)}
	}
	v := &struct {
		values
		room [4]Range
	}{}
	v.ranges = v.room[:0]
	return &v.values
}

// unite appends the union of two coalesced lists to out, which is empty.
func unite(out, a, b []Range) []Range {
	for len(a) > 0 && len(b) > 0 {
		if a[0].Begin <= b[0].Begin {
			out, a = appendRange(out, a[0]), a[1:]
		} else {
			out, b = appendRange(out, b[0]), b[1:]
		}
	}
	for _, r := range a {
		out = appendRange(out, r)
	}
	for _, r := range b {
		out = appendRange(out, r)
	}
	return out
}

// without appends what of a is not in b to out, which is empty; both are coalesced.
func without(out, a, b []Range) []Range {
	for _, r := range a {
		left := true
		for left && len(b) > 0 && b[0].Begin <= r.End {
			cut := b[0]
			if cut.Begin > r.Begin {
				out = append(out, Range{r.Begin, cut.Begin - 1})
			}
			if cut.End >= r.End {
				left = false // cut may reach into the next interval too
				break
			}
			if cut.End >= r.Begin {
				r.Begin = cut.End + 1
			}
			b = b[1:]
		}
		if left {
			out = append(out, r)
		}
	}
	return out
}

func overlap(a, b []Range) bool {
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0].End < b[0].Begin:
			a = a[1:]
		case b[0].End < a[0].Begin:
			b = b[1:]
		default:
			return true
		}
	}
	return false
}

// covers reports whether every number of b is in a; both are coalesced.
func covers(a, b []Range) bool {
	for _, r := range b {
		for len(a) > 0 && a[0].End < r.Begin {
			a = a[1:]
		}
		if len(a) == 0 || a[0].Begin > r.Begin || a[0].End < r.End {
			return false
		}
	}
	return true
}

// count is how many numbers the intervals hold, stopping at the end of the type.
func count(rs []Range) uint64 {
	var n uint64
	for _, r := range rs {
		span := r.End - r.Begin
		if span == math.MaxUint64 || n+span+1 < n {
			return math.MaxUint64
		}
		n += span + 1
	}
	return n
}

// The same three operations on sorted lists of distinct strings.

func uniteItems(a, b []string) []string {
	out := make([]string, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] < b[0]:
			out, a = append(out, a[0]), a[1:]
		case a[0] > b[0]:
			out, b = append(out, b[0]), b[1:]
		default:
			out, a, b = append(out, a[0]), a[1:], b[1:]
		}
	}
	return append(append(out, a...), b...)
}

func withoutItems(a, b []string) []string {
	out := make([]string, 0, len(a))
	for _, s := range a {
		for len(b) > 0 && b[0] < s {
			b = b[1:]
		}
		if len(b) == 0 || b[0] != s {
			out = append(out, s)
		}
	}
	return out
}

func coversItems(a, b []string) bool {
	for _, s := range b {
		for len(a) > 0 && a[0] < s {
			a = a[1:]
		}
		if len(a) == 0 || a[0] != s {
			return false
		}
	}
	return true
}
