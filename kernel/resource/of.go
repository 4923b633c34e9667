package resource

import (
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/kernel/role"
)

// Bounds of one resource object; a port list in 65,536 pieces is the longest that
// means something.
const (
	maxName   = 255
	maxPieces = 1 << 16
)

// Of validates and merges protobuf resources. All three reservation formats are
// understood (role+reservation, reservations, both); zero quantities vanish. Nothing
// of rs is kept. What Mesos accepts only from operators or only from frameworks is not
// told apart here; see Validate for what tasks and operations must also obey.
func Of(rs ...*mesos.Resource) (Resources, error) {
	items := make([]Resource, 0, len(rs))
	for _, p := range rs {
		it, err := fromProto(p)
		if err != nil {
			return Resources{}, fmt.Errorf("resource %s: %w", nameOf(p), err)
		}
		if !it.empty() {
			items = append(items, it)
		}
	}
	bag := normalise(items)
	for it := range bag.All() {
		if it.milli > Max {
			return Resources{}, fmt.Errorf("resource %s: the amounts add up to more than %v", it.Name(), Max)
		}
	}
	return bag, nil
}

// nameOf shows a name that may be hostile.
func nameOf(p *mesos.Resource) string {
	name := p.GetName()
	if len(name) > 64 {
		name = name[:64] + "…"
	}
	return fmt.Sprintf("%q", name)
}

// normalise sorts items in place and merges what can be merged.
func normalise(items []Resource) Resources {
	if len(items) == 0 {
		return Resources{}
	}
	sorted := true
	for i := 1; i < len(items) && sorted; i++ {
		sorted = compare(&items[i-1], &items[i]) < 0
	}
	if sorted {
		return Resources{items: items}
	}
	slices.SortStableFunc(items, func(a, b Resource) int { return compare(&a, &b) })
	out := items[:1]
	for i := 1; i < len(items); i++ {
		last, next := &out[len(out)-1], &items[i]
		if compare(last, next) != 0 || next.id.atomic && !next.id.shared {
			out = append(out, *next)
			continue
		}
		last.gain(next)
	}
	return Resources{items: out}
}

// fromProto validates one object (as Resources::validate) and takes over its value.
func fromProto(p *mesos.Resource) (Resource, error) {
	it := Resource{shares: 1}
	id := identity{name: p.GetName(), revocable: p.GetRevocable() != nil, shared: p.GetShared() != nil}
	switch {
	case p == nil:
		return it, errors.New("is missing")
	case id.name == "":
		return it, errors.New("a resource needs a name")
	case len(id.name) > maxName:
		return it, fmt.Errorf("a name of %d bytes is too long: at most %d", len(id.name), maxName)
	}
	if err := it.readValue(p, &id); err != nil {
		return it, err
	}
	if err := checkDisk(p); err != nil {
		return it, err
	}
	if id.shared && p.GetDisk().GetPersistence() == nil {
		return it, errors.New("shared is set, but only persistent volumes can be shared")
	}
	if p.ProviderId != nil && p.ProviderId.GetValue() == "" {
		return it, errors.New("provider_id has no value")
	}
	stack, err := readStack(p)
	if err != nil {
		return it, err
	}
	if p.Disk != nil || p.ProviderId != nil || id.revocable || len(stack) > 0 {
		id.protos = stack
		if p.Disk != nil {
			id.disk = proto.CloneOf(p.Disk)
		}
		if p.ProviderId != nil {
			id.provider = proto.CloneOf(p.ProviderId)
		}
		it.id = derive(id)
	} else if it.id = wellKnown(id.name, id.kind); it.id == nil {
		it.id = derive(id)
	}
	it.allocated = p.GetAllocationInfo().GetRole()
	return it, nil
}

func (r *Resource) readValue(p *mesos.Resource, id *identity) error {
	if p.Type == nil {
		return errors.New("the type is not set: give SCALAR, RANGES or SET")
	}
	fits := false
	switch p.GetType() {
	case mesos.Value_SCALAR:
		id.kind, fits = Scalar, p.Scalar != nil && p.Ranges == nil && p.Set == nil
	case mesos.Value_RANGES:
		id.kind, fits = Ranges, p.Scalar == nil && p.Ranges != nil && p.Set == nil
	case mesos.Value_SET:
		id.kind, fits = Set, p.Scalar == nil && p.Ranges == nil && p.Set != nil
	default:
		return fmt.Errorf("type %v is not supported: give SCALAR, RANGES or SET", p.GetType())
	}
	if !fits {
		return fmt.Errorf("type is %v, so exactly that value must be set and no other", id.kind)
	}
	switch id.kind {
	case Scalar:
		v := p.GetScalar().GetValue()
		m, err := MilliOf(v)
		if err != nil {
			return err
		}
		if m < 0 || m == 0 && v != 0 {
			return fmt.Errorf("amount %v is not allowed: give 0.001 or more, or 0", v)
		}
		r.milli = m
	case Ranges:
		rs, err := readRanges(p.GetRanges())
		if err != nil {
			return err
		}
		r.values = &values{ranges: rs}
	default:
		items := p.GetSet().GetItem()
		if len(items) > maxPieces {
			return fmt.Errorf("a set of %d items is too long: at most %d", len(items), maxPieces)
		}
		items = slices.Clone(items)
		slices.Sort(items)
		for i := 1; i < len(items); i++ {
			if items[i] == items[i-1] {
				return fmt.Errorf("the set has %q twice", items[i])
			}
		}
		r.values = &values{items: items}
	}
	return nil
}

func readRanges(p *mesos.Value_Ranges) ([]Range, error) {
	in := p.GetRange()
	if len(in) > maxPieces {
		return nil, fmt.Errorf("a list of %d ranges is too long: at most %d", len(in), maxPieces)
	}
	rs := make([]Range, len(in))
	for i, one := range in {
		rs[i] = Range{one.GetBegin(), one.GetEnd()}
		if rs[i].Begin > rs[i].End {
			return nil, fmt.Errorf("range %d-%d begins after its end", rs[i].Begin, rs[i].End)
		}
	}
	slices.SortFunc(rs, func(a, b Range) int {
		if a.Begin < b.Begin {
			return -1
		}
		return 1
	})
	for i := 1; i < len(rs); i++ {
		if rs[i].Begin <= rs[i-1].End {
			return nil, fmt.Errorf("ranges %d-%d and %d-%d overlap", rs[i-1].Begin, rs[i-1].End, rs[i].Begin, rs[i].End)
		}
	}
	return coalesce(rs), nil
}

func checkDisk(p *mesos.Resource) error {
	d := p.GetDisk()
	if d == nil {
		return nil
	}
	if p.GetName() != "disk" || p.GetType() != mesos.Value_SCALAR {
		return errors.New("disk is set, but only the scalar resource disk can have one")
	}
	if err := proto.CheckInitialized(d); err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	if d.Persistence != nil && d.Persistence.GetId() == "" {
		return errors.New("disk.persistence has an empty id")
	}
	s := d.GetSource()
	if s == nil {
		return nil
	}
	switch s.GetType() {
	case mesos.Resource_DiskInfo_Source_PATH, mesos.Resource_DiskInfo_Source_MOUNT:
	case mesos.Resource_DiskInfo_Source_BLOCK, mesos.Resource_DiskInfo_Source_RAW:
		if s.Mount != nil || s.Path != nil {
			return fmt.Errorf("a disk source of type %v has neither mount nor path", s.GetType())
		}
	default:
		return fmt.Errorf("disk source type %v is not supported: give PATH, MOUNT, BLOCK or RAW", s.GetType())
	}
	return nil
}

// readStack brings the three reservation formats into one: the stack of reservations,
// outermost first, each with type and role.
func readStack(p *mesos.Resource) ([]*mesos.Resource_ReservationInfo, error) {
	if len(p.Reservations) == 0 {
		return readOldReservation(p)
	}
	stack := make([]*mesos.Resource_ReservationInfo, len(p.Reservations))
	for i, one := range p.Reservations {
		switch {
		case one == nil || one.Type == nil:
			return nil, errors.New("a reservation has no type: give STATIC or DYNAMIC")
		case one.GetType() != mesos.Resource_ReservationInfo_STATIC && one.GetType() != mesos.Resource_ReservationInfo_DYNAMIC:
			return nil, fmt.Errorf("reservation type %v is not supported: give STATIC or DYNAMIC", one.GetType())
		case one.Role == nil:
			return nil, errors.New("a reservation has no role")
		case one.GetRole() == "*":
			return nil, errors.New("nothing can be reserved to role *")
		}
		if err := role.Validate(one.GetRole()); err != nil {
			return nil, err
		}
		if err := proto.CheckInitialized(one); err != nil {
			return nil, fmt.Errorf("reservation: %w", err)
		}
		if i > 0 {
			outer := p.Reservations[i-1].GetRole()
			if one.GetType() == mesos.Resource_ReservationInfo_STATIC {
				return nil, fmt.Errorf("the reservation to %s refines the one to %s, so it must be DYNAMIC", one.GetRole(), outer)
			}
			if !role.IsStrictSubrole(one.GetRole(), outer) {
				return nil, fmt.Errorf("a reservation to %s cannot be refined to %s, which is not below it", outer, one.GetRole())
			}
		}
		stack[i] = reservation(one.GetType(), one.GetRole(), one)
	}
	if len(stack) > 1 {
		if p.Role != nil || p.Reservation != nil {
			return nil, errors.New("role and reservation must not be set beside several reservations")
		}
		return stack, nil
	}
	return stack, checkEndpointFormat(p, stack[0])
}

// reservation is a fresh message; a principal or labels that are empty are as good as
// none.
func reservation(t mesos.Resource_ReservationInfo_Type, to string, from *mesos.Resource_ReservationInfo) *mesos.Resource_ReservationInfo {
	r := &mesos.Resource_ReservationInfo{Type: &t, Role: &to}
	if s := from.GetPrincipal(); s != "" {
		r.Principal = &s
	}
	if len(from.GetLabels().GetLabels()) > 0 {
		r.Labels = proto.CloneOf(from.Labels)
	}
	return r
}

// checkEndpointFormat looks at role and reservation where reservations has one entry:
// they may say the same again.
func checkEndpointFormat(p *mesos.Resource, one *mesos.Resource_ReservationInfo) error {
	if p.Role != nil && p.GetRole() != one.GetRole() {
		return fmt.Errorf("role is %s, but reservations says %s", p.GetRole(), one.GetRole())
	}
	if one.GetType() == mesos.Resource_ReservationInfo_STATIC {
		if p.Reservation != nil {
			return errors.New("reservation is set, but the one in reservations is STATIC")
		}
		return nil
	}
	if (p.Role != nil) != (p.Reservation != nil) {
		return errors.New("beside a DYNAMIC reservation either both role and reservation are set or none")
	}
	if p.Reservation == nil {
		return nil
	}
	if p.Reservation.GetPrincipal() != one.GetPrincipal() {
		return fmt.Errorf("the principal of reservation is %q, but reservations says %q", p.Reservation.GetPrincipal(), one.GetPrincipal())
	}
	if canonicalLabels(p.Reservation.GetLabels()) != canonicalLabels(one.GetLabels()) {
		return errors.New("the labels of reservation are not those in reservations")
	}
	return nil
}

func readOldReservation(p *mesos.Resource) ([]*mesos.Resource_ReservationInfo, error) {
	to := p.GetRole()
	if err := role.Validate(to); err != nil {
		return nil, err
	}
	old := p.Reservation
	if old == nil {
		if to == "*" {
			return nil, nil
		}
		return []*mesos.Resource_ReservationInfo{reservation(mesos.Resource_ReservationInfo_STATIC, to, nil)}, nil
	}
	if err := proto.CheckInitialized(old); err != nil {
		return nil, fmt.Errorf("reservation: %w", err)
	}
	switch {
	case old.Type != nil:
		return nil, errors.New("reservation.type must not be set outside reservations")
	case old.Role != nil:
		return nil, errors.New("reservation.role must not be set outside reservations")
	case to == "*":
		return nil, errors.New("nothing can be reserved to role *")
	}
	return []*mesos.Resource_ReservationInfo{reservation(mesos.Resource_ReservationInfo_DYNAMIC, to, old)}, nil
}
