package resource

import (
	"errors"
	"fmt"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/kernel/id"
)

// Apply converts the bag by RESERVE, UNRESERVE, CREATE or DESTROY; an operation that
// does not apply leaves the bag and returns why. The operation's resources are taken
// as they are: allocation_info must match the bag's. Whose principal and roles they
// may name is for the caller to check, and so is whether a persistence id is already
// used on the agent outside the bag. The amount of each name never changes.
func (r Resources) Apply(op *mesos.Offer_Operation) (Resources, error) {
	var out Resources
	var err error
	switch op.GetType() {
	case mesos.Offer_Operation_RESERVE:
		out, err = r.reserve(op.GetReserve())
	case mesos.Offer_Operation_UNRESERVE:
		out, err = r.unreserve(op.GetUnreserve())
	case mesos.Offer_Operation_CREATE:
		out, err = r.create(op.GetCreate())
	case mesos.Offer_Operation_DESTROY:
		out, err = r.destroy(op.GetDestroy())
	default:
		return r, fmt.Errorf("%v does not convert resources: only RESERVE, UNRESERVE, CREATE and DESTROY do", op.GetType())
	}
	if err != nil {
		return r, fmt.Errorf("%v: %w", op.GetType(), err)
	}
	return out, nil
}

// operand reads the resources an operation names and checks what holds for all of them.
func operand(rs []*mesos.Resource) (Resources, error) {
	bag, err := Of(rs...)
	if err != nil {
		return bag, err
	}
	if bag.Empty() {
		return bag, errors.New("it names no resources")
	}
	for it := range bag.All() {
		if it.ProviderID() != bag.items[0].ProviderID() {
			return bag, errors.New("it names resources of different resource providers: use one operation for each")
		}
	}
	return bag, bag.Validate()
}

// convert replaces from by to.
func (r Resources) convert(from, to Resources) (Resources, error) {
	if !r.Contains(from) {
		return r, fmt.Errorf("needs %v, of which %v is missing in %v", from, from.missing(r), r)
	}
	return r.Sub(from).Add(to), nil
}

// missing is what of r is not in o, each resource seen alone.
func (r Resources) missing(o Resources) Resources {
	return r.Filter(func(it *Resource) bool { return !o.Contains(it.Bag()) })
}

func (r Resources) reserve(op *mesos.Offer_Operation_Reserve) (Resources, error) {
	to, err := operand(op.GetResources())
	if err != nil {
		return r, err
	}
	for it := range to.All() {
		switch {
		case !it.DynamicallyReserved():
			return r, fmt.Errorf("%v has no dynamic reservation to make", it)
		case it.VolumeID() != "":
			return r, fmt.Errorf("%v is a persistent volume, whose reservation is fixed: destroy it first", it)
		}
	}
	if len(op.GetSource()) == 0 {
		from, err := to.popReservation()
		if err != nil {
			return r, err
		}
		return r.convert(from, to)
	}
	from, err := operand(op.GetSource())
	if err != nil {
		return r, fmt.Errorf("source: %w", err)
	}
	if err := oneStack(from); err != nil {
		return r, fmt.Errorf("source: %w", err)
	}
	if err := oneStack(to); err != nil {
		return r, err
	}
	if from.PersistentVolumes().Len() > 0 || !from.WithoutReservations().Equal(to.WithoutReservations()) {
		return r, fmt.Errorf("source %v and resources %v are not the same amounts of the same resources", from, to)
	}
	return r.convert(from, to)
}

// oneStack refuses a bag of resources with different reservations.
func oneStack(r Resources) error {
	first := r.items[0].id
	for it := range r.All() {
		same := len(it.id.stack) == len(first.stack)
		for i := 0; same && i < len(first.stack); i++ {
			same = it.id.stack[i] == first.stack[i]
		}
		if !same {
			return errors.New("the resources have different reservations: use one operation for each")
		}
	}
	return nil
}

func (r Resources) unreserve(op *mesos.Offer_Operation_Unreserve) (Resources, error) {
	from, err := operand(op.GetResources())
	if err != nil {
		return r, err
	}
	for it := range from.All() {
		if it.DynamicallyReserved() && it.VolumeID() != "" {
			return r, fmt.Errorf("%v is a persistent volume: destroy it before taking its reservation off", it)
		}
	}
	to, err := from.popReservation()
	if err != nil {
		return r, err
	}
	return r.convert(from, to)
}

// volumes reads the operand of CREATE and DESTROY.
func volumes(rs []*mesos.Resource) (Resources, error) {
	bag, err := operand(rs)
	if err != nil {
		return bag, err
	}
	for it := range bag.All() {
		switch {
		case it.VolumeID() == "":
			return bag, fmt.Errorf("%v is not a persistent volume: set disk.persistence and disk.volume", it)
		case it.Disk().GetVolume().GetMode() == mesos.Volume_RO:
			return bag, fmt.Errorf("%v is read-only: a persistent volume has mode RW", it)
		}
	}
	return bag, nil
}

func (r Resources) create(op *mesos.Offer_Operation_Create) (Resources, error) {
	made, err := volumes(op.GetVolumes())
	if err != nil {
		return r, err
	}
	for it := range made.All() {
		if it.shares > 1 {
			return r, fmt.Errorf("%v is created twice", it)
		}
	}
	out, err := r.convert(made.stripVolumes(), made)
	if err != nil {
		return r, err
	}
	return out, out.UniqueVolumes()
}

// UniqueVolumes fails if two volumes of the bag have the same role and persistence id:
// they would be one directory on the agent.
func (r Resources) UniqueVolumes() error {
	type place struct{ role, id string }
	var seen map[place]bool
	for it := range r.All() {
		if it.VolumeID() == "" {
			continue
		}
		at := place{it.Role(), it.VolumeID()}
		if seen[at] {
			return fmt.Errorf("persistence id %q is already used by another volume of role %s", at.id, at.role)
		}
		if seen == nil {
			seen = map[place]bool{}
		}
		seen[at] = true
	}
	return nil
}

func (r Resources) destroy(op *mesos.Offer_Operation_Destroy) (Resources, error) {
	gone, err := volumes(op.GetVolumes())
	if err != nil {
		return r, err
	}
	if !r.Contains(gone) {
		return r, fmt.Errorf("needs %v, of which %v is missing in %v", gone, gone.missing(r), r)
	}
	left := r.Sub(gone)
	for it := range gone.All() {
		if left.Contains(it.Bag()) {
			return r, fmt.Errorf("%v is shared and has other users", it)
		}
	}
	return left.Add(gone.stripVolumes()), nil
}

// Validate says what is wrong with resources that a task, executor or operation names,
// beyond their form: GPUs in parts, disks that are no volume and have no source,
// malformed volumes, and reservations of revocable resources (as Mesos,
// master/validation.cpp).
func (r Resources) Validate() error {
	for it := range r.All() {
		if it.Name() == "gpus" && it.Kind() == Scalar && it.milli%1000 != 0 {
			return fmt.Errorf("%v: GPUs are given as whole numbers", it)
		}
		if it.DynamicallyReserved() && it.Revocable() {
			return fmt.Errorf("%v: revocable resources cannot be reserved", it)
		}
		if it.Disk() == nil {
			continue
		}
		if err := it.validateDisk(); err != nil {
			return fmt.Errorf("%v: %w", it, err)
		}
	}
	return nil
}

func (r *Resource) validateDisk() error {
	d := r.Disk()
	switch {
	case d.Persistence == nil && d.Volume != nil:
		return errors.New("disk.volume is set, but only persistent volumes are supported: set disk.persistence too")
	case d.Persistence == nil && d.Source == nil:
		return errors.New("disk is set, but has neither persistence nor source")
	case d.Persistence == nil:
		return nil
	case r.Revocable():
		return errors.New("a persistent volume cannot be revocable")
	case !r.Reserved():
		return errors.New("a persistent volume must be reserved: RESERVE the disk first")
	case d.Volume == nil:
		return errors.New("a persistent volume needs disk.volume")
	case d.Volume.HostPath != nil:
		return errors.New("disk.volume.host_path must not be set for a persistent volume")
	}
	if err := id.Validate(d.Persistence.GetId()); err != nil {
		return fmt.Errorf("persistence id: %w", err)
	}
	return nil
}

// MixedRevocable is the first name of which the bag has both revocable and other
// resources, "" if there is none. No task or executor may use such a mix.
func (r Resources) MixedRevocable() string {
	for i := range r.items {
		for j := i + 1; j < len(r.items) && r.items[j].id.name == r.items[i].id.name; j++ {
			if r.items[i].id.revocable != r.items[j].id.revocable {
				return r.items[i].id.name
			}
		}
	}
	return ""
}
