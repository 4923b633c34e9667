package allocator

import (
	"cmp"
	"slices"
	"time"

	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
)

const (
	// minRefusal is how long resources stay away from who declined them, at least, so
	// that a framework that declines everything at once cannot keep the allocator busy.
	// Mesos has its allocation interval here, by default also 1 s.
	minRefusal = time.Second
	// maxRefusal is Mesos's.
	maxRefusal = 365 * 24 * time.Hour
)

// filter is a refusal: the client is not offered, on this agent, what the refused
// resources contain. More resources break through it, as in Mesos.
type filter struct {
	slot    int32 // the client's
	refused resource.Resources
	until   time.Duration
}

// expiry is a due time in the heap. It may be of a filter that is gone: what is due is
// looked up in the agent.
type expiry struct {
	at    time.Duration
	agent int32
	slot  int32
}

// refuse filters the resources for the client on the agent.
func (a *Allocator) refuse(now time.Duration, ag *agent, c *client, r resource.Resources, d time.Duration) {
	if r.Equal(ag.free) {
		r = ag.free // usual, and one copy is enough
	}
	f := filter{slot: c.slot, refused: r, until: now + min(max(d, minRefusal), maxRefusal)}
	from, to := ag.filtersOf(c.slot)
	for _, old := range ag.filters[from:to] {
		if old.until >= f.until && old.refused.Contains(f.refused) {
			return
		}
	}
	// What the new one contains and outlives is of no more use.
	kept := from
	for i := from; i < to; i++ {
		if old := ag.filters[i]; old.until > f.until || !f.refused.Contains(old.refused) {
			ag.filters[kept] = old
			kept++
		}
	}
	gone := to - kept
	ag.filters = slices.Delete(ag.filters, kept, to)
	ag.filters = slices.Insert(ag.filters, kept, f)
	c.filters += 1 - gone
	a.filters += 1 - gone
	a.pushExpiry(expiry{f.until, ag.slot, c.slot})
}

// filtersOf is where in the agent's filters the client's are.
func (ag *agent) filtersOf(slot int32) (from, to int) {
	if len(ag.filters) == 0 {
		return 0, 0
	}
	from, _ = slices.BinarySearchFunc(ag.filters, slot, func(f filter, s int32) int { return cmp.Compare(f.slot, s) })
	for to = from; to < len(ag.filters) && ag.filters[to].slot == slot; to++ {
	}
	return from, to
}

// filtered is the filter that keeps r from the client, nil if none does.
func (ag *agent) filtered(slot int32, r resource.Resources) *filter {
	from, to := ag.filtersOf(slot)
	var last *filter
	for i := from; i < to; i++ {
		if f := &ag.filters[i]; (last == nil || f.until > last.until) && f.refused.Contains(r) {
			last = f
		}
	}
	return last
}

// dropFilters removes the client's filters on one agent that are due by then.
func (a *Allocator) dropFilters(ag *agent, c *client, due time.Duration) bool {
	from, to := ag.filtersOf(c.slot)
	kept := from
	for i := from; i < to; i++ {
		if ag.filters[i].until > due {
			ag.filters[kept] = ag.filters[i]
			kept++
		}
	}
	if kept == to {
		return false
	}
	ag.filters = slices.Delete(ag.filters, kept, to)
	c.filters -= to - kept
	a.filters -= to - kept
	return true
}

const forever = time.Duration(1<<63 - 1)

// dropClientFilters removes the client's filters everywhere and makes it due there.
func (a *Allocator) dropClientFilters(c *client) {
	if c.filters == 0 {
		return
	}
	for _, ag := range a.agents {
		if ag != nil {
			a.dropFilters(ag, c, forever)
		}
	}
	a.renew(c)
}

// dropAgentFilters removes all filters on the agent.
func (a *Allocator) dropAgentFilters(ag *agent) {
	for i := range ag.filters {
		a.at(ag.filters[i].slot).filters--
	}
	a.filters -= len(ag.filters)
	ag.filters = nil
}

// Expire drops the filters due by now, which makes their (agent, role) dirty; next is
// when to call it again.
func (a *Allocator) Expire(now time.Duration) (next time.Duration, ok bool) {
	for len(a.expiries) > 0 && a.expiries[0].at <= now {
		e := a.popExpiry()
		ag, c := a.agents[e.agent], a.at(e.slot)
		if ag != nil && c != nil && a.dropFilters(ag, c, now) {
			ag.settled.clear(c.slot)
			ag.held.clear(c.slot)
			a.mark(ag)
		}
	}
	return a.NextExpiry()
}

// NextExpiry is when the earliest filter ends.
func (a *Allocator) NextExpiry() (at time.Duration, ok bool) {
	for len(a.expiries) > 0 {
		e := a.expiries[0]
		if ag := a.agents[e.agent]; ag != nil {
			from, to := ag.filtersOf(e.slot)
			for _, f := range ag.filters[from:to] {
				if f.until == e.at {
					return e.at, true
				}
			}
		}
		a.popExpiry() // its filter is gone
	}
	return 0, false
}

// Filters is how many refusals are in force for a framework, as Mesos's metric
// allocator/mesos/offer_filters counts them.
func (a *Allocator) Filters(f id.Framework) int {
	n := 0
	if fw := a.frameworks[f]; fw != nil {
		for _, c := range fw.clients {
			n += c.filters
		}
	}
	return n
}

// pushExpiry adds to the heap. Filters are also dropped before they are due; when most
// of the heap is of such, it is built anew.
func (a *Allocator) pushExpiry(e expiry) {
	if len(a.expiries) > 2*a.filters+1024 {
		a.expiries = a.expiries[:0]
		for _, ag := range a.agents {
			if ag == nil {
				continue
			}
			for _, f := range ag.filters {
				a.expiries = append(a.expiries, expiry{f.until, ag.slot, f.slot})
			}
		}
		slices.SortFunc(a.expiries, func(x, y expiry) int { return cmp.Compare(x.at, y.at) }) // sorted is a heap
		return
	}
	h := append(a.expiries, e)
	i := len(h) - 1
	for ; i > 0 && h[(i-1)/2].at > e.at; i = (i - 1) / 2 {
		h[i] = h[(i-1)/2]
	}
	h[i] = e
	a.expiries = h
}

func (a *Allocator) popExpiry() expiry {
	h := a.expiries
	top, last := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	if len(h) > 0 {
		i := 0
		for {
			child := 2*i + 1
			if child >= len(h) {
				break
			}
			if child+1 < len(h) && h[child+1].at < h[child].at {
				child++
			}
			if h[child].at >= last.at {
				break
			}
			h[i] = h[child]
			i = child
		}
		h[i] = last
	}
	a.expiries = h
	return top
}
