package resource

import (
	"fmt"
	"slices"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
)

// rebuild makes a bag in which change has been applied to the identity of every
// resource for which it returns true.
func (r Resources) rebuild(change func(*identity) bool) Resources {
	var out []Resource
	for i := range r.items {
		id := *r.items[i].id
		if !change(&id) {
			continue
		}
		if out == nil {
			out = slices.Clone(r.items)
		}
		out[i].id = derive(id)
	}
	if out == nil {
		return r
	}
	for i := range out {
		if !out[i].id.shared {
			out[i].shares = 1
		}
	}
	return normalise(out)
}

// WithoutReservations returns the bag with all reservations (and volumes) taken off.
func (r Resources) WithoutReservations() Resources {
	return r.rebuild(func(id *identity) bool {
		if len(id.protos) == 0 && id.disk.GetPersistence() == nil {
			return false
		}
		id.protos = nil
		id.stripVolume()
		return true
	})
}

// popReservation takes the innermost reservation off every resource.
func (r Resources) popReservation() (Resources, error) {
	for it := range r.All() {
		if !it.DynamicallyReserved() {
			return r, fmt.Errorf("%v has no dynamic reservation", it)
		}
	}
	return r.rebuild(func(id *identity) bool {
		id.protos = id.protos[: len(id.protos)-1 : len(id.protos)-1]
		return true
	}), nil
}

// stripVolume makes of a persistent volume the disk it was created from.
func (id *identity) stripVolume() {
	id.shared = false
	if id.disk == nil {
		return
	}
	if id.disk.Source == nil {
		id.disk = nil
		return
	}
	id.disk = &mesos.Resource_DiskInfo{Source: id.disk.Source}
}

// stripVolumes makes disks of all volumes of the bag.
func (r Resources) stripVolumes() Resources {
	return r.rebuild(func(id *identity) bool {
		if id.disk.GetPersistence() == nil {
			return false
		}
		id.stripVolume()
		return true
	})
}

// Durable are the resources an agent has to remember by itself, since no flag of it
// names them: dynamic reservations and persistent volumes that belong to no resource
// provider.
func (r Resources) Durable() Resources {
	return r.Filter(func(it *Resource) bool {
		return it.id.provider == nil && (it.DynamicallyReserved() || it.id.disk.GetPersistence() != nil)
	})
}

// WithDurable is the bag of an agent that was started with r and remembers durable: of
// what each of durable was made is replaced by it. It fails if r has not got that any
// more, naming what is missing (as Mesos, applyCheckpointedResources).
func (r Resources) WithDurable(durable Resources) (Resources, error) {
	out := r
	for i := range durable.items {
		one := durable.items[i].Bag()
		base := one.rebuild(func(id *identity) bool {
			keep := 0
			if len(id.stack) > 0 && !id.stack[0].Dynamic {
				keep = 1
			}
			id.protos = id.protos[:keep:keep]
			if id.disk.GetPersistence() != nil {
				id.stripVolume()
			}
			return true
		})
		if !out.Contains(base) {
			return r, fmt.Errorf("the resources %v lack %v, of which %v was made: add it to --resources, or remove the reservation or volume first",
				r, base, one)
		}
		out = out.Sub(base).Add(one)
	}
	return out, nil
}
