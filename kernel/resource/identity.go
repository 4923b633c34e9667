package resource

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
)

// identity is everything of a resource but its amount and its allocation: two
// resources can be summed only if it is the same. It is built once and never changed,
// so bags on different goroutines share it.
type identity struct {
	rank      uint8 // place of well-known names in the canonical order
	kind      Kind
	atomic    bool // never merged nor split: volumes, MOUNT, BLOCK and identified RAW disks
	revocable bool
	shared    bool
	name      string
	role      string // of the innermost reservation, "*" if unreserved
	key       string // canonical encoding of all that follows; "" for a plain resource
	stack     []Reservation
	protos    []*mesos.Resource_ReservationInfo // stack as the wire has it
	disk      *mesos.Resource_DiskInfo
	provider  *mesos.ResourceProviderID
}

// The plain resources every agent has: one identity each, so that comparing them is
// comparing pointers.
var (
	plainCPUs  = plain(0, Scalar, "cpus")
	plainGPUs  = plain(1, Scalar, "gpus")
	plainMem   = plain(2, Scalar, "mem")
	plainDisk  = plain(3, Scalar, "disk")
	plainPorts = plain(4, Ranges, "ports")
)

func plain(rank uint8, kind Kind, name string) *identity {
	return &identity{rank: rank, kind: kind, name: name, role: "*"}
}

func rankOf(name string) uint8 {
	switch name {
	case "cpus":
		return 0
	case "gpus":
		return 1
	case "mem":
		return 2
	case "disk":
		return 3
	case "ports":
		return 4
	}
	return 5
}

func wellKnown(name string, kind Kind) *identity {
	for _, id := range [...]*identity{plainCPUs, plainGPUs, plainMem, plainDisk, plainPorts} {
		if id.name == name && id.kind == kind {
			return id
		}
	}
	return nil
}

// derive completes an identity of which name, kind, protos, disk, provider, revocable
// and shared are set.
func derive(id identity) *identity {
	id.rank, id.role, id.stack, id.key, id.atomic = rankOf(id.name), "*", nil, "", false
	if len(id.protos) == 0 && id.disk == nil && id.provider == nil && !id.revocable && !id.shared {
		if known := wellKnown(id.name, id.kind); known != nil {
			return known
		}
		id.protos = nil
		return &id
	}
	if n := len(id.protos); n > 0 {
		id.stack = make([]Reservation, n)
		for i, p := range id.protos {
			id.stack[i] = Reservation{
				Dynamic:   p.GetType() == mesos.Resource_ReservationInfo_DYNAMIC,
				Role:      p.GetRole(),
				Principal: p.GetPrincipal(),
				Labels:    canonicalLabels(p.GetLabels()),
			}
		}
		id.role = id.stack[n-1].Role
	}
	id.atomic = indivisible(id.disk)
	id.key = id.encode()
	return &id
}

func indivisible(d *mesos.Resource_DiskInfo) bool {
	if d.GetPersistence() != nil {
		return true
	}
	switch d.GetSource().GetType() {
	case mesos.Resource_DiskInfo_Source_MOUNT, mesos.Resource_DiskInfo_Source_BLOCK:
		return true
	case mesos.Resource_DiskInfo_Source_RAW:
		return d.GetSource().Id != nil
	}
	return false
}

// encode writes all that tells two resources of one name apart. Of the disk's volume
// nothing is written: it says how a task uses the disk, not what the disk is. The
// principal of a persistence does not tell volumes apart either (as Mesos).
func (id *identity) encode() string {
	b := make([]byte, 0, 64)
	for _, s := range id.stack {
		kind := byte('s')
		if s.Dynamic {
			kind = 'd'
		}
		b = append(b, 'r', kind)
		b = appendText(b, s.Role)
		b = appendText(b, s.Principal)
		b = appendText(b, s.Labels)
	}
	if id.disk != nil {
		b = append(b, 'k')
		if s := id.disk.Source; s != nil {
			b = append(b, 's', byte(s.GetType()))
			if s.Path != nil {
				b = appendOptional(append(b, 'p'), s.Path.Root)
			}
			if s.Mount != nil {
				b = appendOptional(append(b, 'm'), s.Mount.Root)
			}
			b = appendOptional(b, s.Vendor)
			b = appendOptional(b, s.Id)
			b = appendOptional(b, s.Profile)
			b = appendText(b, canonicalLabels(s.Metadata))
		}
		if p := id.disk.Persistence; p != nil {
			b = appendText(append(b, 'v'), p.GetId())
		}
	}
	if id.provider != nil {
		b = appendText(append(b, 'o'), id.provider.GetValue())
	}
	if id.revocable {
		b = append(b, 'R')
	}
	if id.shared {
		b = append(b, 'S')
	}
	return string(b)
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendOptional(b []byte, s *string) []byte {
	if s == nil {
		return append(b, 0)
	}
	return appendText(append(b, 1), *s)
}

// canonicalLabels writes labels so that equal sets of them are equal strings,
// whatever their order: sorted, quoted `"key"="value"` or `"key"`, comma-separated.
func canonicalLabels(l *mesos.Labels) string {
	if len(l.GetLabels()) == 0 {
		return ""
	}
	all := make([]string, 0, len(l.GetLabels()))
	for _, one := range l.GetLabels() {
		s := strconv.Quote(one.GetKey())
		if one.Value != nil {
			s += "=" + strconv.Quote(one.GetValue())
		}
		all = append(all, s)
	}
	slices.Sort(all)
	return strings.Join(all, ",")
}

func (id *identity) compare(o *identity) int {
	if id == o {
		return 0
	}
	if id.rank != o.rank {
		return int(id.rank) - int(o.rank)
	}
	if id.name != o.name {
		return strings.Compare(id.name, o.name)
	}
	if id.kind != o.kind {
		return int(id.kind) - int(o.kind)
	}
	return strings.Compare(id.key, o.key)
}

// compare is the canonical order. 0 means that the two are one kind of thing: sums
// merge them, or, if atomic, they are exactly equal.
func compare(a, b *Resource) int {
	if a.id != b.id {
		if c := a.id.compare(b.id); c != 0 {
			return c
		}
	}
	if a.allocated != b.allocated {
		return strings.Compare(a.allocated, b.allocated)
	}
	if a.id.atomic {
		return cmp.Compare(a.milli, b.milli)
	}
	return 0
}
