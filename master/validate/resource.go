package validate

import (
	"errors"
	"fmt"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/kernel/resource"
)

// used are the rules for what one task or executor, or a task with its executor, uses.
func used(r resource.Resources) error {
	if err := r.Validate(); err != nil {
		return err
	}
	if err := r.UniqueVolumes(); err != nil {
		return err
	}
	if name := r.MixedRevocable(); name != "" {
		return fmt.Errorf("revocable and non-revocable '%s' cannot be used together", name)
	}
	return nil
}

// oneRole checks that everything is allocated to one role.
func oneRole(r resource.Resources) error {
	role, any := "", false
	for x := range r.All() {
		switch {
		case x.AllocatedTo() == "":
			return fmt.Errorf("'%s' is not allocated to a role", x.Name())
		case any && x.AllocatedTo() != role:
			return fmt.Errorf("resources are allocated to several roles ('%s' and '%s'); only one is allowed", role, x.AllocatedTo())
		}
		role, any = x.AllocatedTo(), true
	}
	return nil
}

// persistentVolumes checks that every resource is a writable persistent volume.
func persistentVolumes(r resource.Resources) error {
	for x := range r.All() {
		switch {
		case x.Disk() == nil:
			return fmt.Errorf("'%s' has no DiskInfo", x.Name())
		case x.VolumeID() == "":
			return errors.New("'disk.persistence' is not set")
		case x.Disk().GetVolume().GetMode() == mesos.Volume_RO:
			return errors.New("a read-only persistent volume is not supported")
		}
	}
	return nil
}

// provider checks that no resource is a resource provider's: there are none yet.
func provider(rs []*mesos.Resource) error {
	for _, r := range rs {
		if r.ProviderId != nil {
			return fmt.Errorf("'%s' has a 'provider_id'; resource providers are not supported", r.GetName())
		}
	}
	return nil
}
