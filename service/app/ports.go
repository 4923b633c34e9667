package app

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/stoa-kernel/stoa/api/marathon"
)

// ports counts how many apps use each service port.
type ports struct {
	used map[int]int
	// taken has a bit for each automatic port, from min.
	min, max int
	taken    []uint64
}

func newPorts(low, high int) ports {
	return ports{used: map[int]int{}, min: low, max: high, taken: make([]uint64, (max(high-low, 0)+63)/64)}
}

// automatic reports whether a port is one of those that are given out.
func (p *ports) automatic(port int) bool { return port >= p.min && port < p.max }

func (p *ports) add(port, by int) {
	p.used[port] += by
	in := p.used[port] > 0
	if !in {
		delete(p.used, port)
	}
	if p.automatic(port) {
		i := port - p.min
		p.taken[i/64] &^= 1 << (i % 64)
		if in {
			p.taken[i/64] |= 1 << (i % 64)
		}
	}
}

// free is the first automatic port at or above from that nobody uses, or max.
func (p *ports) free(from int) int {
	for from < p.max {
		i := from - p.min
		if rest := ^p.taken[i/64] >> (i % 64); rest != 0 {
			return min(from+bits.TrailingZeros64(rest), p.max)
		}
		from += 64 - i%64
	}
	return p.max
}

// servicePorts of an app, in order: its container's mappings, else its definitions.
func servicePorts(a *marathon.App) []int { return a.ServicePorts() }

// setServicePorts on a, which is nobody else's; what it points to may be.
func setServicePorts(a *marathon.App, ports []int) {
	if c := a.Container; c != nil && len(c.PortMappings) > 0 {
		own := *c
		own.PortMappings = slices.Clone(c.PortMappings)
		for i := range own.PortMappings {
			own.PortMappings[i].ServicePort = ports[i]
		}
		a.Container = &own
		return
	}
	a.PortDefinitions = slices.Clone(a.PortDefinitions)
	for i := range a.PortDefinitions {
		a.PortDefinitions[i].Port = ports[i]
	}
}

// allotment gives out service ports in one write. Ports that the write frees are not
// given out in it, nor are those that it sets explicitly (as Marathon 1.10,
// AssignDynamicServiceLogic).
type allotment struct {
	t        *Tree
	explicit map[int]bool
	next     int
	// past says that definitions come from an earlier version: a port of theirs that has
	// been given to another app since is theirs no longer. freed counts the ports that the
	// apps written use now, kept are those that they go on using or were given back.
	past  bool
	freed map[int]int
	kept  map[int]bool
}

func (w *write) allot() *allotment {
	l := &allotment{t: w.t, explicit: map[int]bool{}, next: w.t.o.PortMin,
		past: w.past, freed: map[int]int{}, kept: map[int]bool{}}
	for id, a := range w.apps {
		var want []int
		if a != nil {
			want = servicePorts(a)
			for _, p := range want {
				l.explicit[p] = true
			}
		}
		if old := w.t.apps[id]; old != nil && w.past {
			for _, p := range servicePorts(old) {
				l.freed[p]++
				l.kept[p] = l.kept[p] || slices.Contains(want, p)
			}
		}
	}
	return l
}

// assign replaces every 0 of a, which is the write's own: by the port that old had in
// its place, by another of old's that is left, by one that nobody uses.
func (l *allotment) assign(a, old *marathon.App) error {
	want := servicePorts(a)
	var had []int
	if old != nil {
		had = servicePorts(old)
	}
	if l.past {
		for i, p := range want {
			if l.t.ports.automatic(p) && !slices.Contains(had, p) {
				if l.t.ports.used[p] > l.freed[p] || l.kept[p] {
					want[i] = 0
				}
				l.kept[p] = true
			}
		}
	}
	if !slices.Contains(want, 0) {
		return nil
	}
	again := func(p int) bool { return l.t.ports.automatic(p) && !slices.Contains(want, p) }
	for i, p := range want {
		if p == 0 && i < len(had) && again(had[i]) {
			want[i] = had[i]
		}
	}
	for i, p := range want {
		if p != 0 {
			continue
		}
		if j := slices.IndexFunc(had, again); j >= 0 {
			want[i] = had[j]
			continue
		}
		l.next = l.t.ports.free(l.next)
		for l.next < l.t.o.PortMax && l.explicit[l.next] {
			l.next = l.t.ports.free(l.next + 1)
		}
		if l.next >= l.t.o.PortMax {
			return &Fault{500, marathon.Error{Message: fmt.Sprintf(
				"All ports in the range [%d-%d) are already in use", l.t.o.PortMin, l.t.o.PortMax)}}
		}
		want[i] = l.next
		l.next++
	}
	setServicePorts(a, want)
	return nil
}
