package state

import (
	"cmp"
	"math"
	"slices"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/internal/planted"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/master/allocator"
)

// maxOffersPerEvent bounds one OFFERS event.
const maxOffersPerEvent = 500

// offer is resources of one agent for one role of one framework, until it is answered,
// rescinded or times out.
type offer struct {
	id        id.Offer
	seq       uint64
	fw        *framework
	agent     *agent
	role      string
	resources resource.Resources
	made      time.Duration // monotonic
	wall      time.Time
	ended     bool
}

func (o *offer) snapshot() *Offer {
	return &Offer{ID: o.id, Framework: o.fw.id, Agent: o.agent.id, Role: o.role, Resources: o.resources, Made: o.wall}
}

// offerQueue is the offers in the order they were made, for the timeout; ended ones stay
// until they are in front or the queue is mostly dead.
type offerQueue struct {
	list  []*offer
	from  int
	armed bool
}

func (q *offerQueue) push(o *offer, live int) {
	if len(q.list)-q.from > 2*live+1024 {
		q.list = slices.DeleteFunc(q.list[q.from:], func(o *offer) bool { return o.ended })
		q.from = 0
	}
	q.list = append(q.list, o)
}

// front drops ended offers and returns the oldest that is not.
func (q *offerQueue) front() *offer {
	for q.from < len(q.list) {
		if o := q.list[q.from]; !o.ended {
			return o
		}
		q.list[q.from] = nil
		q.from++
	}
	q.list, q.from = q.list[:0], 0
	return nil
}

// allocate asks the allocator for grants and offers them: one OFFERS event per framework,
// or several if there are more than 500 offers.
func (m *Master) allocate() {
	m.allocateArmed = false
	grants := m.alloc.Allocate(m.now.Mono, false)
	if len(grants) == 0 {
		return
	}
	var order []*framework
	made := map[*framework][]*mesos.Offer{}
	for _, g := range grants {
		f, a := m.frameworks[g.Framework], m.agents[g.Agent]
		if f == nil || !f.connected() || a == nil || a.link == 0 {
			// Deactivated between the grant and now: nothing is lost but the cycle.
			m.alloc.Recover(m.now.Mono, g.Framework, g.Agent, g.Resources, nil)
			continue
		}
		o := m.newOffer(f, a, g)
		if made[f] == nil {
			order = append(order, f)
		}
		made[f] = append(made[f], m.offerProto(o))
	}
	for _, f := range order {
		for chunk := range slices.Chunk(made[f], maxOffersPerEvent) {
			m.emit(f, &schedulerpb.Event{
				Type:   schedulerpb.Event_OFFERS.Enum(),
				Offers: &schedulerpb.Event_Offers{Offers: chunk},
			})
		}
	}
}

func (m *Master) newOffer(f *framework, a *agent, g allocator.Grant) *offer {
	o := &offer{
		id: id.NewOffer(m.cfg.MasterID, m.offerCount), seq: m.offerCount,
		fw: f, agent: a, role: g.Role, resources: g.Resources,
		made: m.now.Mono, wall: m.now.Wall,
	}
	m.offerCount++
	m.offers[o.id] = o
	f.offers[o.id] = o
	a.offers = append(a.offers, o)
	a.offered = a.offered.Add(o.resources)
	f.offered = f.offered.Add(o.resources.Scalars())
	m.touchAgent(a)
	m.touchFramework(f)
	m.publish(OfferAdded{o.snapshot()})
	m.offerQueue.push(o, len(m.offers))
	if !m.offerQueue.armed {
		m.offerQueue.armed = true
		m.setTimer(TimerOffer, "", m.now.Mono+m.cfg.OfferTimeout)
	}
	return o
}

// offerProto is the offer as its framework reads it (as Mesos 1.11, src/common/http.cpp).
func (m *Master) offerProto(o *offer) *mesos.Offer {
	a, f := o.agent, o.fw
	value := string(o.id)
	p := &mesos.Offer{
		Id:          &mesos.OfferID{Value: &value},
		FrameworkId: f.protoID,
		AgentId:     a.protoID,
		Hostname:    a.info.Hostname,
		Url:         a.url,
		Domain:      a.info.Domain,
		Attributes:  a.info.Attributes,
		Resources:   visible(o.resources).ProtoFor(f.refinement, f.multiRole),
		ExecutorIds: a.executorsOf(f.id),
	}
	if f.multiRole {
		p.AllocationInfo = &mesos.Resource_AllocationInfo{Role: &o.role}
	}
	return p
}

// visible leaves out what no framework may see.
func visible(r resource.Resources) resource.Resources {
	return r.Filter(func(x *resource.Resource) bool { return x.Name() != "ephemeral_ports" })
}

// takeOffer ends an offer; its resources are the caller's to give back.
func (m *Master) takeOffer(o *offer, how string) {
	o.ended = true
	delete(m.offers, o.id)
	delete(o.fw.offers, o.id)
	a := o.agent
	if i := slices.Index(a.offers, o); i >= 0 {
		a.offers = slices.Delete(a.offers, i, i+1)
	}
	a.offered = a.offered.Sub(o.resources)
	o.fw.offered = o.fw.offered.Sub(o.resources.Scalars())
	m.touchAgent(a)
	m.touchFramework(o.fw)
	m.publish(OfferRemoved{o.id, how})
}

// rescind takes an offer back and tells the framework.
func (m *Master) rescind(o *offer, refusal *allocator.Refusal) {
	m.discard(o, "rescinded", refusal)
	if planted.Bug("offer counted twice when RESCIND races ACCEPT") {
		m.offers[o.id] = o
	}
	value := string(o.id)
	m.emit(o.fw, &schedulerpb.Event{
		Type:    schedulerpb.Event_RESCIND.Enum(),
		Rescind: &schedulerpb.Event_Rescind{OfferId: &mesos.OfferID{Value: &value}},
	})
}

// discard takes an offer back without telling.
func (m *Master) discard(o *offer, how string, refusal *allocator.Refusal) {
	m.takeOffer(o, how)
	m.alloc.Recover(m.now.Mono, o.fw.id, o.agent.id, o.resources, refusal)
}

// takeBackOffers recovers all offers of a framework, in the order they were made.
func (m *Master) takeBackOffers(f *framework, tell bool) {
	for _, o := range f.sortedOffers() {
		if tell {
			m.rescind(o, nil)
		} else {
			m.discard(o, "rescinded", nil)
		}
	}
}

func (f *framework) sortedOffers() []*offer {
	if len(f.offers) == 0 {
		return nil
	}
	all := make([]*offer, 0, len(f.offers))
	for _, o := range f.offers {
		all = append(all, o)
	}
	slices.SortFunc(all, func(a, b *offer) int { return cmp.Compare(a.seq, b.seq) })
	return all
}

// rescindAgent rescinds every offer of an agent.
func (m *Master) rescindAgent(a *agent, refusal *allocator.Refusal) {
	for _, o := range slices.Clone(a.offers) {
		m.rescind(o, refusal)
	}
}

// offersExpired rescinds what nobody answered within --offer-timeout.
func (m *Master) offersExpired() {
	q := &m.offerQueue
	q.armed = false
	for o := q.front(); o != nil; o = q.front() {
		due := o.made + m.cfg.OfferTimeout
		if due > m.now.Mono {
			q.armed = true
			m.setTimer(TimerOffer, "", due)
			return
		}
		m.rescind(o, nil)
	}
}

const (
	defaultRefusal = 5 * time.Second
	leastRefusal   = time.Second
	mostRefusal    = 365 * 24 * time.Hour
)

// refuseFor is Filters.refuse_seconds: 5 s by default and for what makes no sense, at
// most a year.
func refuseFor(f *mesos.Filters) time.Duration {
	s := f.GetRefuseSeconds()
	switch {
	case math.IsNaN(s) || s < 0:
		return defaultRefusal
	case s >= mostRefusal.Seconds():
		return mostRefusal
	}
	return time.Duration(s * float64(time.Second))
}

// decline is DECLINE: the resources go back with a filter. With refuse_seconds 0 it
// still lasts a second, or the decliner would be offered the same at once for ever.
func (m *Master) decline(f *framework, call *schedulerpb.Call_Decline) {
	refusal := &allocator.Refusal{For: max(refuseFor(call.GetFilters()), leastRefusal)}
	for _, p := range call.GetOfferIds() {
		if o := m.offers[id.Offer(p.GetValue())]; o != nil && o.fw == f {
			m.discard(o, "declined", refusal)
		}
	}
}
