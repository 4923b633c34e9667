package allocator

import (
	"cmp"
	"math"
	"slices"

	"github.com/stoa-kernel/stoa/kernel/resource"
)

// unlimited stands for "no limit"; nothing real comes near it.
const unlimited = math.MaxInt64 / 4

// names interns scalar resource names, so that amounts are vectors and comparing two
// of them touches no string.
type names struct {
	index map[string]int
	list  []string
}

// wellKnown is how many names are interned from the start: scalars on every agent.
const wellKnown = 4

func newNames() names {
	n := names{index: map[string]int{}}
	for _, s := range []string{"cpus", "mem", "disk", "gpus"} {
		n.of(s)
	}
	return n
}

func (n *names) of(s string) int {
	if i, ok := n.index[s]; ok {
		return i
	}
	i := len(n.list)
	n.index[s] = i
	n.list = append(n.list, s)
	return i
}

// vec is an amount in thousandths per interned name; what is beyond its end is zero.
type vec []int64

func (v vec) at(i int) int64 {
	if i < len(v) {
		return v[i]
	}
	return 0
}

func (v *vec) gain(i int, x int64) {
	for len(*v) <= i {
		*v = append(*v, 0)
	}
	(*v)[i] += x
}

func (v *vec) add(o vec) {
	for len(*v) < len(o) {
		*v = append(*v, 0)
	}
	for i, x := range o {
		(*v)[i] += x
	}
}

func (v *vec) sub(o vec) {
	for len(*v) < len(o) {
		*v = append(*v, 0)
	}
	for i, x := range o {
		(*v)[i] -= x
	}
}

func (v vec) equal(o vec) bool {
	for i := range max(len(v), len(o)) {
		if v.at(i) != o.at(i) {
			return false
		}
	}
	return true
}

// amount is one entry of a sparse vector: a quota names few resources.
type amount struct {
	name  int
	value int64
}

func (n *names) amounts(q resource.Quantities) []amount {
	out := make([]amount, 0, len(q))
	for _, e := range q {
		out = append(out, amount{n.of(e.Name), int64(e.Value)})
	}
	slices.SortFunc(out, func(x, y amount) int { return cmp.Compare(x.name, y.name) })
	return out
}

// minima is an any-of list of amounts; an empty one asks for nothing.
type minima struct {
	quantities []resource.Quantities // for bags with more than plain scalars
	amounts    [][]amount
	scalar     bool // only names that are scalars everywhere, so that amounts suffice
}

func (n *names) minima(qs []resource.Quantities) minima {
	m := minima{quantities: qs, scalar: true}
	for _, q := range qs {
		m.amounts = append(m.amounts, n.amounts(q))
		for _, e := range q {
			m.scalar = m.scalar && n.of(e.Name) < wellKnown
		}
	}
	return m
}

// metBy reports whether the amounts that at gives are enough.
func (m *minima) metBy(at func(name int) int64) bool {
	for _, all := range m.amounts {
		ok := true
		for _, x := range all {
			ok = ok && at(x.name) >= x.value
		}
		if ok {
			return true
		}
	}
	return len(m.amounts) == 0
}

// metByBag reports whether the bag is enough.
func (m *minima) metByBag(r resource.Resources) bool {
	for _, q := range m.quantities {
		if r.Covers(q) {
			return true
		}
	}
	return len(m.quantities) == 0
}
