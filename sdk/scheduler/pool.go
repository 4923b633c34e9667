package scheduler

import (
	"errors"
	"fmt"
	"slices"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/kernel/resource"
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
	free   resource.Resources
	// old is whether the offers have the format before reservations[].
	old bool
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
		rs, err := resource.Of(o.GetResources()...)
		if err != nil {
			return nil, fmt.Errorf("offer %s: %w", o.GetId().GetValue(), err)
		}
		p.free = p.free.Add(rs.Filter(func(r *resource.Resource) bool {
			return !r.Revocable() && !r.Shared() && r.Disk() == nil
		}))
		for _, r := range o.GetResources() {
			p.old = p.old || r.Role != nil && len(r.GetReservations()) == 0
		}
	}
	return p, nil
}

// Quantities is what is left of each scalar.
func (p *Pool) Quantities() resource.Quantities { return p.free.Quantities() }

// Fits reports whether Take(want) would succeed.
func (p *Pool) Fits(want resource.Quantities) bool { return p.Quantities().Contains(want) }

// Take cuts want out of the pool, as resources for a task. It returns nil, and takes
// nothing, if want does not fit.
func (p *Pool) Take(want resource.Quantities) []*mesos.Resource {
	taken, left, ok := p.free.Take(want, nil)
	if !ok {
		return nil
	}
	p.free = left
	return taken.ProtoFor(!p.old, true)
}

const maxPort = 1<<16 - 1

// TakePorts cuts n ports out of the pool, the lowest free ones (reserved ones first), and
// returns them with the resources for a task. ok is false, and nothing is taken, if there
// are not as many.
func (p *Pool) TakePorts(n int) (ports []uint64, resources []*mesos.Resource, ok bool) {
	all := p.free.Named("ports")
	if n < 0 {
		return nil, nil, false
	}
	for _, some := range []resource.Resources{all.Reserved(), all.Unreserved()} {
		for _, g := range some.RangesOf("ports") {
			if g.End > maxPort {
				return nil, nil, false // nothing a port can be in
			}
			for port := g.Begin; len(ports) < n && port <= g.End; port++ {
				ports = append(ports, port)
			}
		}
	}
	if len(ports) < n {
		return nil, nil, false
	}
	numbers := make([]resource.Range, len(ports))
	for i, port := range slices.Sorted(slices.Values(ports)) {
		numbers[i] = resource.Range{Begin: port, End: port}
	}
	taken, left, ok := p.free.TakeRanges("ports", numbers, nil)
	if ok {
		p.free = left
	}
	return ports, taken.ProtoFor(!p.old, true), ok
}
