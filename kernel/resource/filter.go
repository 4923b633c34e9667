package resource

import "github.com/stoa-kernel/stoa/kernel/role"

// Filter keeps the resources for which keep is true; a bag of which nothing is
// dropped is returned as it is.
func (r Resources) Filter(keep func(*Resource) bool) Resources {
	for i := range r.items {
		if keep(&r.items[i]) {
			continue
		}
		rest := r.items[i+1:]
		out := append(make([]Resource, 0, len(r.items)-1), r.items[:i]...)
		for j := range rest {
			if keep(&rest[j]) {
				out = append(out, rest[j])
			}
		}
		return bagOf(out)
	}
	return r
}

// Unreserved are the resources any role may use.
func (r Resources) Unreserved() Resources {
	return r.Filter(func(it *Resource) bool { return len(it.id.stack) == 0 })
}

// Reserved are the resources reserved to any role.
func (r Resources) Reserved() Resources { return r.Filter((*Resource).Reserved) }

// ReservedTo are the resources whose innermost reservation is to role.
func (r Resources) ReservedTo(role string) Resources {
	return r.Filter(func(it *Resource) bool { return len(it.id.stack) > 0 && it.id.role == role })
}

// AllocatableTo are the resources that may be offered to to: unreserved, or reserved
// to it or to an ancestor of it.
func (r Resources) AllocatableTo(to string) Resources {
	return r.Filter(func(it *Resource) bool {
		return len(it.id.stack) == 0 || it.id.role == to || role.IsStrictSubrole(to, it.id.role)
	})
}

// AllocatedTo are the resources whose allocation_info has role.
func (r Resources) AllocatedTo(role string) Resources {
	return r.Filter(func(it *Resource) bool { return it.allocated == role })
}

// Named are the resources of that name.
func (r Resources) Named(name string) Resources {
	return r.Filter(func(it *Resource) bool { return it.id.name == name })
}

// Scalars are the resources that are numbers.
func (r Resources) Scalars() Resources {
	return r.Filter(func(it *Resource) bool { return it.id.kind == Scalar })
}

// RevocableOnly are the resources that may be taken away at any time.
func (r Resources) RevocableOnly() Resources { return r.Filter((*Resource).Revocable) }

// NonRevocable are the resources that are not revocable.
func (r Resources) NonRevocable() Resources {
	return r.Filter(func(it *Resource) bool { return !it.id.revocable })
}

// SharedOnly are the shared volumes.
func (r Resources) SharedOnly() Resources { return r.Filter((*Resource).Shared) }

// NonShared are the resources that are not shared.
func (r Resources) NonShared() Resources {
	return r.Filter(func(it *Resource) bool { return !it.id.shared })
}

// PersistentVolumes are the volumes, shared or not.
func (r Resources) PersistentVolumes() Resources {
	return r.Filter(func(it *Resource) bool { return it.id.disk.GetPersistence() != nil })
}

// Allocate marks every resource as allocated to role.
func (r Resources) Allocate(role string) Resources { return r.allocate(role) }

// Unallocate removes the marks of Allocate.
func (r Resources) Unallocate() Resources { return r.allocate("") }

func (r Resources) allocate(to string) Resources {
	same, mixed := true, false
	for i := range r.items {
		same = same && r.items[i].allocated == to
		mixed = mixed || r.items[i].allocated != r.items[0].allocated
	}
	if same {
		return r
	}
	out := make([]Resource, len(r.items))
	copy(out, r.items)
	for i := range out {
		out[i].allocated = to
	}
	if mixed { // what was allocated to two roles becomes one
		return normalise(out)
	}
	return Resources{items: out}
}
