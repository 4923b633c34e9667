package match

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/kernel/role"
	"github.com/stoa-kernel/stoa/service/instance"
)

// Pool is one agent's offers of one role, being cut up.
type Pool struct {
	Offers []*mesos.Offer // the first one describes the agent
	pool
}

type pool struct {
	host *instance.Agent
	role string // "" if the offers do not tell
	// free is what any task may use; disks are ones with a source; held is reserved with
	// this program's labels, of any framework, volumes among it. Revocable and shared
	// resources, and volumes of others, are in none.
	free, disks, held resource.Resources
	// total and ports are how much of free there is.
	total [scalars]resource.Milli
	ports uint64
	// next is the port to go on with, 0 before the first was drawn.
	next uint64
}

// NewPool parses the resources of offers, which are of one agent and one role.
func NewPool(offers []*mesos.Offer) (*Pool, error) {
	if len(offers) == 0 {
		return nil, errors.New("a pool needs at least one offer")
	}
	first := offers[0]
	p := &Pool{Offers: offers, pool: pool{role: first.GetAllocationInfo().GetRole(), host: hostOf(first)}}
	var all resource.Resources
	for _, o := range offers {
		if o.GetAgentId().GetValue() != p.host.ID || o.GetAllocationInfo().GetRole() != p.role {
			return nil, fmt.Errorf("offers %s and %s are of different agents or roles and cannot be used together",
				first.GetId().GetValue(), o.GetId().GetValue())
		}
		rs, err := resource.Of(o.GetResources()...)
		if err != nil {
			return nil, fmt.Errorf("offer %s: %w", o.GetId().GetValue(), err)
		}
		for _, g := range rs.RangesOf("ports") {
			if g.End > math.MaxUint16 {
				return nil, fmt.Errorf("offer %s: there is no port %d", o.GetId().GetValue(), g.End)
			}
		}
		all = all.Add(rs)
	}
	all = all.Filter(func(r *resource.Resource) bool { return !r.Revocable() && !r.Shared() })
	p.held = all.Filter(ours)
	rest := all.Filter(func(r *resource.Resource) bool { return !ours(r) && r.VolumeID() == "" })
	p.disks = rest.Filter(func(r *resource.Resource) bool { return r.Disk() != nil })
	p.setFree(rest.Filter(func(r *resource.Resource) bool { return r.Disk() == nil }))
	return p, nil
}

func hostOf(o *mesos.Offer) *instance.Agent {
	return Host(o.GetAgentId().GetValue(), o.GetHostname(), o.GetDomain(), o.GetAttributes())
}

// Host describes an agent as instances keep it.
func Host(id, hostname string, domain *mesos.DomainInfo, attributes []*mesos.Attribute) *instance.Agent {
	h := &instance.Agent{
		ID: id, Host: hostname,
		Region: domain.GetFaultDomain().GetRegion().GetName(),
		Zone:   domain.GetFaultDomain().GetZone().GetName(),
	}
	for _, a := range attributes {
		if h.Attributes == nil {
			h.Attributes = make(map[string]string, len(attributes))
		}
		if _, ok := h.Attributes[a.GetName()]; !ok { // the first of a name counts
			h.Attributes[a.GetName()] = attributeText(a)
		}
	}
	return h
}

// Host describes the pool's agent as instances keep it; shared by all, never changed.
func (p *Pool) Host() *instance.Agent { return p.host }

// Share makes known the pool's description of its agent if it says the same, so that all
// instances of an agent point to one value.
func (p *Pool) Share(known *instance.Agent) {
	h := p.host
	if known != nil && known.ID == h.ID && known.Host == h.Host && known.Region == h.Region && known.Zone == h.Zone &&
		maps.Equal(known.Attributes, h.Attributes) {
		p.host = known
	}
}

// Role the offers are for, "" if they do not tell.
func (p *Pool) Role() string { return p.role }

// Empty reports whether everything has been cut out that tasks could use.
func (p *Pool) Empty() bool { return p.free.Empty() && p.held.Empty() }

func (p *Pool) setFree(free resource.Resources) {
	p.free = free
	p.total, p.ports = sums(free, nil)
}

// sums adds up the scalars and ports that use allows (nil: all).
func sums(rs resource.Resources, use func(*resource.Resource) bool) (total [scalars]resource.Milli, ports uint64) {
	for r := range rs.All() {
		if use != nil && !use(r) {
			continue
		}
		if r.Kind() == resource.Ranges {
			if r.Name() == "ports" {
				for _, g := range r.Ranges() {
					ports += g.End - g.Begin + 1
				}
			}
			continue
		}
		if i := slices.Index(names[:], r.Name()); i >= 0 {
			total[i] += r.Scalar()
		}
	}
	return total, ports
}

// Room reports whether Fit is worth asking: false means that it would refuse for want of
// role, reservation, cpus, memory, disk, gpus or number of ports. It allocates nothing.
func (p *Pool) Room(w *Want) bool {
	if w.Placed == nil {
		return true
	}
	s := w.Placed.shape
	if s.capability != "" || p.role != "" && p.role != w.role(s) {
		return false
	}
	if w.Instance.Reservation != nil {
		return w.Instance.Agent != nil && w.Instance.Agent.ID == p.host.ID && !p.held.Empty()
	}
	need := &s.first
	return p.total[cpus] >= need[cpus] && p.total[mem] >= need[mem] && p.total[disk] >= need[disk] &&
		p.total[gpus] >= need[gpus] && p.ports >= uint64(s.ports())
}

// source is where an instance's resources come from.
type source struct {
	bag  resource.Resources
	use  func(*resource.Resource) bool // nil: all of bag
	need *[scalars]resource.Milli
	list resource.Quantities
	// have and ports are what of bag can be used.
	have  [scalars]resource.Milli
	ports uint64
}

// Fit cuts what the instance needs out of the pool, or says why not; the pool is then
// untouched.
func (p *Pool) Fit(w *Want) (*Outcome, *Refusal) {
	placed := w.Placed
	if placed == nil {
		placed = Count(w.App, nil)
	}
	s := placed.shape
	if s.refused != nil {
		return nil, s.refused
	}
	no := refusal{shape: s, host: p.host, need: &s.need, volume: -1}
	if p.role != "" && p.role != w.role(s) || s.resident && w.role(s) == role.Default {
		no.all, no.offered, no.wanted = noRole, p.role, w.role(s)
		return nil, no.finish()
	}
	from := p.source(w, s, &no)
	if no.all != 0 {
		return nil, no.finish()
	}
	before := placed.at[w.Instance.ID] // where it is counted itself, having a reservation
	if before != nil {
		placed.Drop(w.Instance.ID)
	}
	p.judge(w, placed, from, &no)
	var out *Outcome
	if no.all == 0 {
		out = p.cut(w, s, from, &no)
	}
	if no.all != 0 {
		if before != nil {
			placed.put(w.Instance.ID, before)
		}
		return nil, no.finish()
	}
	placed.put(w.Instance.ID, p.host)
	return out, nil
}

// role whose offers the instance is looking for: the app's, but a reservation keeps the
// one it was made for.
func (w *Want) role(s *shape) string {
	if i := w.Instance; i.Reservation != nil && i.Role != "" {
		return i.Role
	}
	return s.role
}

func unreserved(r *resource.Resource) bool { return !r.Reserved() }

// source finds the resources that w may use.
func (p *Pool) source(w *Want, s *shape, no *refusal) (from source) {
	from.bag, from.need, from.list = p.free, &s.need, s.needList
	from.have, from.ports = p.total, p.ports
	switch {
	case w.Instance.Reservation != nil:
		from.bag = p.heldBy(w, no)
		from.have, from.ports = sums(from.bag, noVolume)
		from.use = noVolume
		return from
	case s.resident:
		// Only what nobody has reserved can be reserved.
		from.use, from.need, from.list = unreserved, &s.first, s.firstList
		if !s.star {
			no.all |= noRole
			return from
		}
	case s.star && s.reserved:
		return from
	case s.star:
		from.use = unreserved
	default:
		from.use = (*resource.Resource).Reserved
	}
	from.have, from.ports = sums(p.free, from.use)
	if from.have == ([scalars]resource.Milli{}) && from.ports == 0 && !p.free.Empty() {
		no.all |= noRole
	}
	return from
}

// judge collects what is in the way of w.
func (p *Pool) judge(w *Want, placed *Placed, from source, no *refusal) {
	s := placed.shape
	no.need, no.have, no.ports = from.need, from.have, from.ports
	if w.Region != "" && p.host.Region != "" && p.host.Region != w.Region && !s.domain {
		no.all |= noConstraint
		no.bad, no.home = -1, w.Region
	}
	for i := range s.rules {
		r := &s.rules[i]
		t := &noTally
		if r.counts() {
			t = &placed.tallies[i]
		}
		if !r.allows(p.host, t) && no.all&noConstraint == 0 {
			no.all |= noConstraint
			value, _ := p.host.Value(r.field)
			no.bad, no.tally = i, t.of(value)
		}
	}
	if !w.Now.IsZero() && p.unavailable(w.Now, w.Draining) {
		no.all |= inMaintenance
	}
	for i, need := range from.need {
		if from.have[i] < need {
			no.all |= short[i]
		}
	}
	if from.ports < uint64(s.ports()) {
		no.all |= noPorts
	}
	if p.total[gpus] > 0 && s.need[gpus] == 0 && w.Instance.Reservation == nil && (s.frugalGPUs || !s.wasteGPUs && !w.WasteGPUs) {
		no.all |= scarce
	}
}

var noTally tally

// unavailable reports whether a maintenance window is open at now, or opens within
// draining (as Marathon, mesos/Availability.scala).
func (p *Pool) unavailable(now time.Time, draining time.Duration) bool {
	for _, o := range p.Offers {
		u := o.GetUnavailability()
		if u == nil {
			continue
		}
		start := time.Unix(0, u.GetStart().GetNanoseconds())
		if now.Before(start.Add(-draining)) {
			continue
		}
		if u.Duration == nil || now.Before(start.Add(time.Duration(u.GetDuration().GetNanoseconds()))) {
			return true
		}
	}
	return false
}

// cut takes what w needs; nothing of the pool changes if that fails after all.
func (p *Pool) cut(w *Want, s *shape, from source, no *refusal) *Outcome {
	start := p.next
	if w.Instance.Reservation != nil {
		start = 0
	}
	ports, next, ok := s.draw(from, start, w.Seed, no)
	if !ok {
		return nil
	}
	numbers := ranges(ports)
	// Both succeed: judge has seen the sums, draw the numbers.
	taken, left, _ := from.bag.Take(from.list, from.use)
	if len(numbers) > 0 {
		var cut resource.Resources
		cut, left, _ = left.TakeRanges("ports", numbers, from.use)
		taken = taken.Add(cut)
	}
	placed := *w.Instance
	placed.Agent, placed.Role, placed.Ports = p.host, w.role(s), ports
	switch {
	case w.Instance.Reservation != nil:
		return p.launchHeld(w, &placed, from, taken)
	case s.resident:
		placed.Ports = nil // drawn again from the reserved ones
		return p.reserve(w, s, &placed, taken, left, no)
	}
	p.setFree(left)
	p.next = next
	return &Outcome{Launch: &placed, Resources: taken.Proto()}
}
