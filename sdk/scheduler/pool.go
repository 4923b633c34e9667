package scheduler

import (
	"errors"
	"fmt"
	"slices"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"google.golang.org/protobuf/proto"
)

// Pool is what is left of one agent's offers while a scheduler cuts its tasks out of them:
//
//	pool, err := scheduler.NewPool(offer)
//	for pool.Fits(want) {
//		tasks = append(tasks, scheduler.Task(id(), pool, scheduler.Shell("…"), pool.Take(want)))
//	}
//	caller.Accept(ctx, pool.Offers, []*mesos.Offer_Operation{scheduler.Launch(tasks...)}, nil)
//
// It hands out reserved resources before unreserved ones, and never revocable or shared
// ones, persistent volumes or disks with a source; those are in the offers to be used by
// hand.
type Pool struct {
	// Agent is where the resources are.
	Agent *mesos.AgentID
	// Offers are the ids for ACCEPT or DECLINE.
	Offers []*mesos.OfferID
	// scalars and ranges are own copies, reserved ones first, in the format of the offer.
	scalars, ranges []*mesos.Resource
}

// NewPool takes the resources of offers, which must be of the same agent and role.
func NewPool(offers ...*mesos.Offer) (*Pool, error) {
	if len(offers) == 0 {
		return nil, errors.New("a pool needs at least one offer")
	}
	p := &Pool{Agent: offers[0].GetAgentId()}
	role := offers[0].GetAllocationInfo().GetRole()
	for _, o := range offers {
		if o.GetAgentId().GetValue() != p.Agent.GetValue() || o.GetAllocationInfo().GetRole() != role {
			return nil, errors.New("offers of different agents or roles cannot be used together")
		}
		p.Offers = append(p.Offers, o.GetId())
		for _, r := range o.GetResources() {
			if r.Revocable != nil || r.Shared != nil || r.GetDisk().GetPersistence() != nil || r.GetDisk().GetSource() != nil {
				continue
			}
			switch r.GetType() {
			case mesos.Value_SCALAR:
				if _, err := resource.MilliOf(r.GetScalar().GetValue()); err != nil {
					return nil, fmt.Errorf("resource %s of the offer: %w", r.GetName(), err)
				}
				p.scalars = append(p.scalars, proto.CloneOf(r))
			case mesos.Value_RANGES:
				p.ranges = append(p.ranges, proto.CloneOf(r))
			}
		}
	}
	for _, rs := range [][]*mesos.Resource{p.scalars, p.ranges} {
		slices.SortStableFunc(rs, func(a, b *mesos.Resource) int { return unreserved(a) - unreserved(b) })
	}
	return p, nil
}

func unreserved(r *mesos.Resource) int {
	if len(r.GetReservations()) > 0 || r.Role != nil && r.GetRole() != "*" {
		return 0
	}
	return 1
}

// amount is the value of a scalar that NewPool has checked.
func amount(r *mesos.Resource) resource.Milli {
	m, err := resource.MilliOf(r.GetScalar().GetValue())
	if err != nil {
		return 0
	}
	return m
}

// Quantities is what is left of each scalar.
func (p *Pool) Quantities() resource.Quantities {
	var q resource.Quantities
	for _, r := range p.scalars {
		if v := amount(r); v > 0 {
			q = q.Add(resource.Quantities{{Name: r.GetName(), Value: v}})
		}
	}
	return q
}

// Fits reports whether Take(want) would succeed.
func (p *Pool) Fits(want resource.Quantities) bool { return p.Quantities().Contains(want) }

// Take cuts want out of the pool, as resources for a task. It returns nil, and takes
// nothing, if want does not fit.
func (p *Pool) Take(want resource.Quantities) []*mesos.Resource {
	if !p.Fits(want) {
		return nil
	}
	var out []*mesos.Resource
	for _, w := range want {
		need := w.Value
		for _, r := range p.scalars {
			have := amount(r)
			if r.GetName() != w.Name || have == 0 || need == 0 {
				continue
			}
			cut := min(need, have)
			piece := proto.CloneOf(r)
			piece.Scalar = &mesos.Value_Scalar{Value: proto.Float64(cut.Float())}
			r.Scalar = &mesos.Value_Scalar{Value: proto.Float64((have - cut).Float())}
			need -= cut
			out = append(out, piece)
		}
	}
	return out
}

const maxPort = 1<<16 - 1

// TakePorts cuts n ports out of the pool, the lowest free ones, and returns them with the
// resources for a task. ok is false, and nothing is taken, if there are not as many.
func (p *Pool) TakePorts(n int) (ports []uint64, resources []*mesos.Resource, ok bool) {
	free := uint64(0)
	for _, r := range p.ranges {
		if r.GetName() == "ports" {
			for _, g := range r.GetRanges().GetRange() {
				if g.GetEnd() < g.GetBegin() || g.GetEnd() > maxPort {
					return nil, nil, false // nothing a port can be in
				}
				free += g.GetEnd() - g.GetBegin() + 1
			}
		}
	}
	if n < 0 || free < uint64(n) {
		return nil, nil, false
	}
	for _, r := range p.ranges {
		if r.GetName() != "ports" {
			continue
		}
		var taken, left []*mesos.Value_Range
		for _, g := range r.GetRanges().GetRange() {
			begin, end := g.GetBegin(), g.GetEnd()
			first := begin
			for ; len(ports) < n && begin <= end; begin++ {
				ports = append(ports, begin)
			}
			if begin > first {
				taken = append(taken, &mesos.Value_Range{Begin: proto.Uint64(first), End: proto.Uint64(begin - 1)})
			}
			if begin <= end {
				left = append(left, &mesos.Value_Range{Begin: proto.Uint64(begin), End: proto.Uint64(end)})
			}
		}
		if len(taken) > 0 {
			piece := proto.CloneOf(r)
			piece.Ranges = &mesos.Value_Ranges{Range: taken}
			resources = append(resources, piece)
		}
		r.Ranges = &mesos.Value_Ranges{Range: left}
	}
	return ports, resources, true
}
