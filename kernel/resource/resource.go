// Package resource is the arithmetic of what machines have and tasks use: scalars in
// thousandths, ranges and sets, with roles, reservations, volumes, shared and
// revocable resources. Semantics are those of Mesos 1.11 (src/common/resources.cpp,
// docs/attributes-resources.md); the representation is ours.
//
// A bag is one sorted slice of small values. What tells two resources apart (name,
// kind, reservations, disk, …) is an identity that is built once and shared by every
// bag that descends from it, so that sums and differences are one merge over two
// sorted lists, allocate one slice, and mostly compare pointers.
package resource

import (
	"iter"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
)

// Range is an inclusive interval.
type Range struct{ Begin, End uint64 }

// Kind is the type of a resource's value.
type Kind uint8

const (
	Scalar Kind = iota
	Ranges
	Set
)

// String is the name of the kind as the API writes it.
func (k Kind) String() string {
	switch k {
	case Ranges:
		return "RANGES"
	case Set:
		return "SET"
	}
	return "SCALAR"
}

// Reservation is one level of a reservation stack.
type Reservation struct {
	Dynamic   bool
	Role      string
	Principal string
	Labels    string // canonical encoding, "" for none
}

// Resource is one object of a bag. It is immutable: a change makes a new one.
type Resource struct {
	id        *identity
	allocated string // allocation_info.role
	milli     Milli  // scalars
	values    *values
	shares    int32 // copies of a shared volume in this bag; 1 for anything else
}

// values are the intervals or items of a resource that is not a scalar. Both are
// sorted; intervals neither touch nor overlap, items are distinct. Never changed.
type values struct {
	ranges []Range
	items  []string
}

// Name is "cpus", "mem", "ports", …
func (r *Resource) Name() string { return r.id.name }

// Kind says which of Scalar, Ranges and Items has the value.
func (r *Resource) Kind() Kind { return r.id.kind }

// Scalar is the amount of a scalar resource, 0 for others.
func (r *Resource) Scalar() Milli { return r.milli }

// Ranges are the intervals of a ranges resource, sorted and coalesced. Do not modify.
func (r *Resource) Ranges() []Range {
	if r.values == nil {
		return nil
	}
	return r.values.ranges
}

// Items are the elements of a set resource, sorted. Do not modify.
func (r *Resource) Items() []string {
	if r.values == nil {
		return nil
	}
	return r.values.items
}

// Role is the role of the innermost reservation, "*" for unreserved resources.
func (r *Resource) Role() string { return r.id.role }

// AllocatedTo is allocation_info.role, "" if there is none.
func (r *Resource) AllocatedTo() string { return r.allocated }

// Reservations is the stack of reservations, outermost first. Do not modify.
func (r *Resource) Reservations() []Reservation { return r.id.stack }

// Reserved reports whether the resource is reserved at all.
func (r *Resource) Reserved() bool { return len(r.id.stack) > 0 }

// DynamicallyReserved reports whether the innermost reservation was made by RESERVE.
func (r *Resource) DynamicallyReserved() bool {
	n := len(r.id.stack)
	return n > 0 && r.id.stack[n-1].Dynamic
}

// Revocable reports whether the resource may be taken away at any time.
func (r *Resource) Revocable() bool { return r.id.revocable }

// Shared reports whether several tasks may use the volume at once.
func (r *Resource) Shared() bool { return r.id.shared }

// Shares is how many copies of a shared volume the bag holds; 1 for other resources.
func (r *Resource) Shares() int { return int(r.shares) }

// VolumeID is the persistence id, "" if the resource is not a persistent volume.
func (r *Resource) VolumeID() string { return r.id.disk.GetPersistence().GetId() }

// ProviderID is the id of the resource provider, "" for the agent's own resources.
func (r *Resource) ProviderID() string { return r.id.provider.GetValue() }

// Disk is the disk's source, persistence and volume, nil if it has none. Do not modify.
func (r *Resource) Disk() *mesos.Resource_DiskInfo { return r.id.disk }

// Divisible reports whether a part of the resource can be used and the rest left:
// false for persistent volumes and for MOUNT, BLOCK and identified RAW disks.
func (r *Resource) Divisible() bool { return !r.id.atomic }

// Bag is the resource alone in a bag.
func (r *Resource) Bag() Resources { return Resources{items: []Resource{*r}} }

func (r *Resource) empty() bool {
	switch {
	case r.shares <= 0:
		return true
	case r.id.kind == Scalar:
		return r.milli <= 0
	case r.values == nil:
		return true
	case r.id.kind == Ranges:
		return len(r.values.ranges) == 0
	}
	return len(r.values.items) == 0
}

// Resources is a bag of resources: normalised, in a canonical order, immutable. The
// zero value is empty. Copying is cheap; no operation changes its operands.
type Resources struct{ items []Resource }

// All yields the objects of the bag in canonical order: cpus, gpus, mem, disk, ports,
// then by name; of one name the unreserved first. A shared volume comes once,
// whatever its count.
func (r Resources) All() iter.Seq[*Resource] {
	return func(yield func(*Resource) bool) {
		for i := range r.items {
			if !yield(&r.items[i]) {
				return
			}
		}
	}
}

// Len is the number of objects.
func (r Resources) Len() int { return len(r.items) }

// Empty reports whether nothing is in the bag.
func (r Resources) Empty() bool { return len(r.items) == 0 }
