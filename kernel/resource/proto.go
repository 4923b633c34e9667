package resource

import (
	"slices"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
)

var (
	typeScalar = mesos.Value_SCALAR.Enum()
	typeRanges = mesos.Value_RANGES.Enum()
	typeSet    = mesos.Value_SET.Enum()
	revocable  = &mesos.Resource_RevocableInfo{}
	shared     = &mesos.Resource_SharedInfo{}
	star       = "*"
)

// scalarMessage is a scalar resource in one piece of memory.
type scalarMessage struct {
	resource mesos.Resource
	scalar   mesos.Value_Scalar
	value    float64
}

// Proto is the resource in the format with reservations[]. The message is fresh, what
// it points to may be shared with others: set its fields, do not change them inside.
func (r *Resource) Proto() *mesos.Resource { return r.Bag().Proto()[0] }

// fill writes all but reservations and allocation into p.
func (r *Resource) fill(p *scalarMessage) *mesos.Resource {
	id, m := r.id, &p.resource
	switch id.kind {
	case Scalar:
		p.value = r.milli.Float()
		p.scalar.Value = &p.value
		m.Type, m.Scalar = typeScalar, &p.scalar
	case Ranges:
		m.Type, m.Ranges = typeRanges, protoRanges(r.values.ranges)
	default:
		m.Type, m.Set = typeSet, &mesos.Value_Set{Item: slices.Clone(r.values.items)}
	}
	m.Name = &id.name
	m.ProviderId = id.provider
	m.Disk = id.disk
	if id.revocable {
		m.Revocable = revocable
	}
	if id.shared {
		m.Shared = shared
	}
	return m
}

func protoRanges(rs []Range) *mesos.Value_Ranges {
	all := make([]struct {
		message    mesos.Value_Range
		begin, end uint64
	}, len(rs))
	list := make([]*mesos.Value_Range, len(rs))
	for i, r := range rs {
		one := &all[i]
		one.begin, one.end = r.Begin, r.End
		one.message.Begin, one.message.End = &one.begin, &one.end
		list[i] = &one.message
	}
	return &mesos.Value_Ranges{Range: list}
}

// addOldFormat sets role and, for a dynamic reservation, reservation.
func (r *Resource) addOldFormat(p *mesos.Resource) {
	switch len(r.id.protos) {
	case 0:
		p.Role = &star
	case 1:
		one := r.id.protos[0]
		p.Role = one.Role
		if r.id.stack[0].Dynamic {
			p.Reservation = &mesos.Resource_ReservationInfo{Principal: one.Principal, Labels: one.Labels}
		}
	}
}

// Proto is the bag in the format with reservations[]; unreserved resources have no
// role set. A shared volume comes once, whatever its count. See Resource.Proto for
// what of it may be changed.
func (r Resources) Proto() []*mesos.Resource { return r.ProtoFor(true, true) }

// ProtoFor is the bag as a framework with or without RESERVATION_REFINEMENT reads it:
// without, role and reservation instead of reservations[] ("role":"*" for unreserved
// ones); with, as Proto. Refined reservations have no old format and keep
// reservations[]; they are never offered to a framework that cannot read them. Without
// multiRole, allocation_info is stripped.
func (r Resources) ProtoFor(refinement, multiRole bool) []*mesos.Resource {
	if len(r.items) == 0 {
		return nil
	}
	out := make([]*mesos.Resource, len(r.items))
	messages := make([]scalarMessage, len(r.items))
	var to *mesos.Resource_AllocationInfo
	for i := range r.items {
		it := &r.items[i]
		p := it.fill(&messages[i])
		if multiRole && it.allocated != "" {
			if to.GetRole() != it.allocated {
				to = &mesos.Resource_AllocationInfo{Role: &it.allocated}
			}
			p.AllocationInfo = to
		}
		if refinement || len(it.id.protos) > 1 {
			p.Reservations = it.id.protos
		} else {
			it.addOldFormat(p)
		}
		out[i] = p
	}
	return out
}

// ProtoEndpoint is the bag as operator endpoints show it: reservations[] and, where it
// says the same, role and reservation too, "role":"*" for unreserved resources.
func (r Resources) ProtoEndpoint() []*mesos.Resource {
	out := r.Proto()
	for i, p := range out {
		r.items[i].addOldFormat(p)
	}
	return out
}
