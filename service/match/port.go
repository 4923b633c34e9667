package match

import (
	"math/rand/v2"
	"slices"

	"github.com/stoa-kernel/stoa/kernel/resource"
)

// draw chooses host ports: the fixed ones, and for the others a run of free ones from a
// random place, so that a port is not used again soon and the ranges stay whole (as
// Marathon, tasks/PortsMatcher.scala). ports has 0 where none is wanted.
func (s *shape) draw(from source, seed uint64, no *refusal) (ports []int, numbers []resource.Range, ok bool) {
	if len(s.hosts) == 0 {
		return nil, nil, true
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
			return nil, nil, false
		}
	}
	var next run
	if s.random > 0 {
		next = newRun(free, seed)
	}
	ports = make([]int, len(s.hosts))
	for i, p := range s.hosts {
		switch p {
		case noPort:
			continue
		case anyPort:
			for p = next.take(); slices.Contains(s.fixed, p); {
				p = next.take()
			}
		}
		ports[i] = p
	}
	return ports, ranges(ports), true
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

// run yields the numbers of ranges one after the other, from a random one on and around.
type run struct {
	ranges []resource.Range
	at     int
	number uint64
}

func newRun(ranges []resource.Range, seed uint64) run {
	total := uint64(0)
	for _, g := range ranges {
		total += g.End - g.Begin + 1
	}
	r := run{ranges: ranges}
	skip := rand.NewPCG(seed, 0).Uint64() % total
	for r.at = range ranges {
		g := ranges[r.at]
		if n := g.End - g.Begin + 1; skip >= n {
			skip -= n
			continue
		}
		r.number = g.Begin + skip
		break
	}
	return r
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
