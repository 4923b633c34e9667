package match

import (
	"math/rand/v2"
	"slices"

	"github.com/stoa-kernel/stoa/kernel/resource"
)

// draw chooses host ports: the fixed ones, and for the others free ones in a row. The row
// begins at a random place, for tasks that follow from the same pool behind those before, so
// that a port is not used again soon and ranges stay whole (as Marathon,
// tasks/PortsMatcher.scala). ports has 0 where none is wanted; next is where to go on.
func (s *shape) draw(from source, start uint64, seed uint64, no *refusal) (ports []int, next uint64, ok bool) {
	if len(s.hosts) == 0 {
		return nil, start, true
	}
	bag := from.bag
	if from.use != nil {
		bag = bag.Filter(from.use)
	}
	free := bag.RangesOf("ports")
	for _, p := range s.fixed {
		if !slices.ContainsFunc(free, func(g resource.Range) bool { return g.Begin <= uint64(p) && uint64(p) <= g.End }) {
			no.all |= noPorts
			no.port = p
			return nil, start, false
		}
	}
	row := run{ranges: free}
	if s.random > 0 {
		row.begin(start, seed)
	}
	ports = make([]int, len(s.hosts))
	for i, p := range s.hosts {
		switch p {
		case noPort:
			continue
		case anyPort:
			for p = row.take(); slices.Contains(s.fixed, p); {
				p = row.take()
			}
			start = uint64(p) + 1
		}
		ports[i] = p
	}
	return ports, start, true
}

// ranges are the ports without zeros, sorted and joined.
func ranges(ports []int) []resource.Range {
	var room [8]int
	all := append(room[:0], ports...)
	slices.Sort(all)
	out := make([]resource.Range, 0, len(all))
	for _, one := range all {
		p := uint64(one)
		switch n := len(out); {
		case p == 0:
		case n > 0 && p <= out[n-1].End+1:
			out[n-1].End = p
		default:
			out = append(out, resource.Range{Begin: p, End: p})
		}
	}
	return out
}

// run yields the numbers of ranges one after the other, on and around.
type run struct {
	ranges []resource.Range
	at     int
	number uint64
}

// begin at the first number from start on; 0 is a random place.
func (r *run) begin(start, seed uint64) {
	if start == 0 {
		total := uint64(0)
		for _, g := range r.ranges {
			total += g.End - g.Begin + 1
		}
		skip := rand.NewPCG(seed, 0).Uint64() % total
		for _, g := range r.ranges {
			if n := g.End - g.Begin + 1; skip >= n {
				skip -= n
				continue
			}
			start = g.Begin + skip
			break
		}
	}
	for r.at = range r.ranges {
		if g := r.ranges[r.at]; start <= g.End {
			r.number = max(start, g.Begin)
			return
		}
	}
	r.at, r.number = 0, r.ranges[0].Begin
}

func (r *run) take() int {
	p := r.number
	if p < r.ranges[r.at].End {
		r.number++
	} else {
		r.at = (r.at + 1) % len(r.ranges)
		r.number = r.ranges[r.at].Begin
	}
	return int(p)
}
