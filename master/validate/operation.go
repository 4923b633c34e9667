package validate

import (
	"errors"
	"fmt"
	"slices"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/kernel/resource"
)

// Operation checks the form of a RESERVE, UNRESERVE, CREATE or DESTROY of a framework
// with the given roles and principal; r are the operation's resources as read, with
// their allocation role. GROW_VOLUME, SHRINK_VOLUME, CREATE_DISK and DESTROY_DISK are
// checked as far as their fields go, and refused by Unsupported afterwards.
func Operation(op *mesos.Offer_Operation, r resource.Resources, info *mesos.FrameworkInfo) error {
	switch op.GetType() {
	case mesos.Offer_Operation_RESERVE:
		return reserve(op.Reserve, r, info)
	case mesos.Offer_Operation_UNRESERVE:
		return unreserve(op.Unreserve, r)
	case mesos.Offer_Operation_CREATE:
		return create(op.Create, r, info)
	case mesos.Offer_Operation_DESTROY:
		return destroy(op.Destroy, r)
	case mesos.Offer_Operation_GROW_VOLUME:
		if op.GrowVolume.GetAddition().GetScalar().GetValue() <= 0 {
			return errors.New("'grow_volume.addition' must be greater than zero")
		}
	case mesos.Offer_Operation_SHRINK_VOLUME:
		s := op.ShrinkVolume
		if s.GetSubtract().GetValue() <= 0 {
			return errors.New("'shrink_volume.subtract' must be greater than zero")
		}
		if s.GetVolume().GetScalar().GetValue() <= s.GetSubtract().GetValue() {
			return errors.New("'shrink_volume.subtract' must be smaller than the volume")
		}
	case mesos.Offer_Operation_CREATE_DISK:
		if t := op.CreateDisk.GetTargetType(); t != mesos.Resource_DiskInfo_Source_MOUNT && t != mesos.Resource_DiskInfo_Source_BLOCK {
			return errors.New("'create_disk.target_type' must be MOUNT or BLOCK")
		}
	}
	return nil
}

// OperationBody checks that an operation has the message its type needs.
func OperationBody(op *mesos.Offer_Operation) error {
	field, present := "", true
	switch op.GetType() {
	case mesos.Offer_Operation_LAUNCH:
		field, present = "launch", op.Launch != nil
	case mesos.Offer_Operation_LAUNCH_GROUP:
		field, present = "launch_group", op.LaunchGroup != nil
	case mesos.Offer_Operation_RESERVE:
		field, present = "reserve", op.Reserve != nil
	case mesos.Offer_Operation_UNRESERVE:
		field, present = "unreserve", op.Unreserve != nil
	case mesos.Offer_Operation_CREATE:
		field, present = "create", op.Create != nil
	case mesos.Offer_Operation_DESTROY:
		field, present = "destroy", op.Destroy != nil
	case mesos.Offer_Operation_GROW_VOLUME:
		field, present = "grow_volume", op.GrowVolume != nil
	case mesos.Offer_Operation_SHRINK_VOLUME:
		field, present = "shrink_volume", op.ShrinkVolume != nil
	case mesos.Offer_Operation_CREATE_DISK:
		field, present = "create_disk", op.CreateDisk != nil
	case mesos.Offer_Operation_DESTROY_DISK:
		field, present = "destroy_disk", op.DestroyDisk != nil
	}
	if !present {
		return fmt.Errorf("an operation of type %s needs '%s'", op.GetType(), field)
	}
	return nil
}

func reserve(op *mesos.Offer_Operation_Reserve, r resource.Resources, info *mesos.FrameworkInfo) error {
	if len(op.Source) > 0 {
		return errors.New("'reserve.source' is not supported for frameworks: unreserve first")
	}
	if err := first(some(r), provider(op.Resources), r.Validate(), oneRole(r)); err != nil {
		return wrap("RESERVE of invalid resources", err)
	}
	roles := Roles(info)
	for x := range r.All() {
		if !x.DynamicallyReserved() {
			return fmt.Errorf("RESERVE: '%s' has no dynamic reservation", x.Name())
		}
		levels := x.Reservations()
		last := levels[len(levels)-1]
		if info.Principal != nil && last.Principal != info.GetPrincipal() {
			return fmt.Errorf("RESERVE: the reservation of '%s' names principal '%s', not the framework's '%s'", x.Name(), last.Principal, info.GetPrincipal())
		}
		if x.AllocatedTo() != x.Role() {
			return fmt.Errorf("RESERVE: '%s' is to be reserved to role '%s', but is allocated to role '%s'", x.Name(), x.Role(), x.AllocatedTo())
		}
		if !slices.Contains(roles, x.Role()) {
			return fmt.Errorf("RESERVE: role '%s' is not among the framework's roles %s", x.Role(), set(roles))
		}
	}
	return nil
}

func unreserve(op *mesos.Offer_Operation_Unreserve, r resource.Resources) error {
	if err := first(some(r), provider(op.Resources), r.Validate()); err != nil {
		return wrap("UNRESERVE of invalid resources", err)
	}
	for x := range r.All() {
		if !x.DynamicallyReserved() {
			return fmt.Errorf("UNRESERVE: '%s' is not dynamically reserved", x.Name())
		}
		if x.VolumeID() != "" {
			return fmt.Errorf("UNRESERVE: '%s' holds the persistent volume '%s'; destroy it first", x.Name(), x.VolumeID())
		}
	}
	return nil
}

func create(op *mesos.Offer_Operation_Create, r resource.Resources, info *mesos.FrameworkInfo) error {
	if err := first(some(r), provider(op.Volumes), r.Validate(), persistentVolumes(r), oneRole(r)); err != nil {
		return wrap("CREATE of invalid volumes", err)
	}
	for x := range r.All() {
		if x.Shared() && !Has(info, mesos.FrameworkInfo_Capability_SHARED_RESOURCES) {
			return fmt.Errorf("CREATE of the shared volume '%s' needs the capability SHARED_RESOURCES", x.VolumeID())
		}
		if p := x.Disk().GetPersistence().GetPrincipal(); info.Principal != nil && p != info.GetPrincipal() {
			return fmt.Errorf("CREATE: volume '%s' names principal '%s', not the framework's '%s'", x.VolumeID(), p, info.GetPrincipal())
		}
	}
	return nil
}

func destroy(op *mesos.Offer_Operation_Destroy, r resource.Resources) error {
	return wrap("DESTROY of invalid volumes", first(some(r), provider(op.Volumes), r.Validate(), persistentVolumes(r)))
}

func some(r resource.Resources) error {
	if r.Empty() {
		return errors.New("there are none")
	}
	return nil
}
