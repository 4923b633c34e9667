// Package resource is the arithmetic of what machines have and tasks use: scalars in
// thousandths, ranges and sets, with roles, reservations, volumes, shared and
// revocable resources. Semantics are those of Mesos 1.11 (src/common/resources.cpp,
// docs/attributes-resources.md); the representation is ours.
package resource

import (
	"iter"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
)

// Milli is a scalar quantity in thousandths, the precision Mesos computes with.
type Milli int64

// MilliOf rounds to three digits. NaN, infinite and out-of-range values are refused.
func MilliOf(v float64) (Milli, error) { panic("contract") }

func (m Milli) Float() float64 { return float64(m) / 1000 }

// Range is an inclusive interval.
type Range struct{ Begin, End uint64 }

// Kind is the type of a resource's value.
type Kind uint8

const (
	Scalar Kind = iota
	Ranges
	Set
)

// Reservation is one level of a reservation stack.
type Reservation struct {
	Dynamic   bool
	Role      string
	Principal string
	Labels    string // canonical encoding, "" for none
}

// Resource is one object of a bag. It is immutable: a change makes a new one.
type Resource struct{ _ byte }

func (r *Resource) Name() string                   { panic("contract") }
func (r *Resource) Kind() Kind                     { panic("contract") }
func (r *Resource) Scalar() Milli                  { panic("contract") }
func (r *Resource) Ranges() []Range                { panic("contract") }
func (r *Resource) Items() []string                { panic("contract") }
func (r *Resource) Role() string                   { panic("contract") } // innermost reservation's role, "*" if unreserved
func (r *Resource) AllocatedTo() string            { panic("contract") } // allocation_info.role, "" if none
func (r *Resource) Reservations() []Reservation    { panic("contract") }
func (r *Resource) Reserved() bool                 { panic("contract") }
func (r *Resource) DynamicallyReserved() bool      { panic("contract") }
func (r *Resource) Revocable() bool                { panic("contract") }
func (r *Resource) Shared() bool                   { panic("contract") }
func (r *Resource) VolumeID() string               { panic("contract") } // persistence id, "" if not a persistent volume
func (r *Resource) Disk() *mesos.Resource_DiskInfo { panic("contract") } // do not modify
func (r *Resource) Proto() *mesos.Resource         { panic("contract") }

// Resources is a bag of resources: normalised, in a canonical order, immutable. The
// zero value is empty. Copying is cheap; no operation changes its operands.
type Resources struct{ items []*Resource }

// Of validates and merges protobuf resources. All three reservation formats are
// understood (role+reservation, reservations, both); zero quantities vanish.
func Of(rs ...*mesos.Resource) (Resources, error) { panic("contract") }

// Parse reads "cpus:4;mem:1024;ports:[31000-32000];disk(role):10" or a JSON array of
// Resource. Resources without a role get defaultRole.
func Parse(text, defaultRole string) (Resources, error) { panic("contract") }

// Proto is the bag in the format with reservations[]; unreserved resources have no
// role set.
func (r Resources) Proto() []*mesos.Resource { panic("contract") }

// ProtoFor is the bag as a framework with or without RESERVATION_REFINEMENT reads it:
// without, role and reservation instead of reservations[]; both with "role":"*" where
// Mesos writes it. Without multiRole, allocation_info is stripped.
func (r Resources) ProtoFor(refinement, multiRole bool) []*mesos.Resource { panic("contract") }

func (r Resources) All() iter.Seq[*Resource] { panic("contract") }
func (r Resources) Len() int                 { panic("contract") }
func (r Resources) Empty() bool              { panic("contract") }
func (r Resources) Equal(o Resources) bool   { panic("contract") }

// Contains reports whether o can be taken from r.
func (r Resources) Contains(o Resources) bool { panic("contract") }
func (r Resources) Add(o Resources) Resources { panic("contract") }

// Sub takes o from r; what r does not have is ignored, as Mesos does.
func (r Resources) Sub(o Resources) Resources { panic("contract") }

// Filter keeps the resources for which keep is true; a bag of which nothing is
// dropped is returned as it is.
func (r Resources) Filter(keep func(*Resource) bool) Resources { panic("contract") }

func (r Resources) Unreserved() Resources               { panic("contract") }
func (r Resources) ReservedTo(role string) Resources    { panic("contract") } // Role() == role
func (r Resources) AllocatableTo(role string) Resources { panic("contract") } // unreserved, or reserved to role or an ancestor
func (r Resources) Scalars() Resources                  { panic("contract") }
func (r Resources) RevocableOnly() Resources            { panic("contract") }
func (r Resources) NonRevocable() Resources             { panic("contract") }
func (r Resources) SharedOnly() Resources               { panic("contract") }
func (r Resources) NonShared() Resources                { panic("contract") }
func (r Resources) PersistentVolumes() Resources        { panic("contract") }

// Allocate marks every resource as allocated to role; Unallocate removes the mark.
func (r Resources) Allocate(role string) Resources { panic("contract") }
func (r Resources) Unallocate() Resources          { panic("contract") }

// Unreserve returns the bag with all reservations (and volumes) taken off.
func (r Resources) WithoutReservations() Resources { panic("contract") }

// Sum is the total of the scalar resource name, whatever its role.
func (r Resources) Sum(name string) Milli { panic("contract") }

// Ports is the union of the ranges resource name.
func (r Resources) RangesOf(name string) []Range { panic("contract") }

// Quantities is the total of each scalar.
func (r Resources) Quantities() Quantities { panic("contract") }

// String is as Mesos prints resources: "cpus(allocated: r):1; mem:32".
func (r Resources) String() string { panic("contract") }

// Apply converts the bag by RESERVE, UNRESERVE, CREATE or DESTROY; an operation that
// does not apply leaves the bag and returns why.
func (r Resources) Apply(op *mesos.Offer_Operation) (Resources, error) { panic("contract") }

// Shrink cuts the unreserved, non-revocable scalars of the bag so that no name exceeds
// its entry in limit; names without an entry are not cut. Disks that cannot be split are
// dropped whole.
func (r Resources) Shrink(limit Quantities) Resources { panic("contract") }

// Quantities is an amount per scalar name, sorted by name, without zero entries unless
// put there by Set. The zero value is empty.
type Quantities []Quantity

type Quantity struct {
	Name  string
	Value Milli
}

// ParseQuantities reads "cpus:0.01;mem:32".
func ParseQuantities(text string) (Quantities, error)                   { panic("contract") }
func QuantitiesOf(m map[string]*mesos.Value_Scalar) (Quantities, error) { panic("contract") }
func (q Quantities) Get(name string) (Milli, bool)                      { panic("contract") }
func (q Quantities) Add(o Quantities) Quantities                        { panic("contract") }
func (q Quantities) Sub(o Quantities) Quantities                        { panic("contract") } // saturates at 0
func (q Quantities) Contains(o Quantities) bool                         { panic("contract") }
func (q Quantities) Set(name string, v Milli) Quantities                { panic("contract") }
func (q Quantities) Proto() map[string]*mesos.Value_Scalar              { panic("contract") }
func (q Quantities) String() string                                     { panic("contract") }
