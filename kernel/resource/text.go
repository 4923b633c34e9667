package resource

import (
	"strconv"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
)

// String is as Mesos prints resources: "cpus(allocated: r):1; mem:32", "{}" if the bag
// is empty. A shared volume has its count behind it.
func (r Resources) String() string {
	if len(r.items) == 0 {
		return "{}"
	}
	var b []byte
	for i := range r.items {
		if i > 0 {
			b = append(b, "; "...)
		}
		b = r.items[i].append(b)
		if r.items[i].id.shared {
			b = append(b, '<')
			b = strconv.AppendInt(b, int64(r.items[i].shares), 10)
			b = append(b, '>')
		}
	}
	return string(b)
}

// String is as Mesos prints one resource.
func (r *Resource) String() string { return string(r.append(nil)) }

func (r *Resource) append(b []byte) []byte {
	id := r.id
	b = append(b, id.name...)
	if r.allocated != "" {
		b = append(append(append(b, "(allocated: "...), r.allocated...), ')')
	}
	if len(id.protos) > 0 {
		b = append(b, "(reservations: ["...)
		for i, p := range id.protos {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendReservation(append(b, '('), p), ')')
		}
		b = append(b, "])"...)
	}
	if id.disk != nil {
		b = append(appendDisk(append(b, '['), id.disk), ']')
	}
	if id.revocable {
		b = append(b, "{REV}"...)
	}
	if id.shared {
		b = append(b, "<SHARED>"...)
	}
	b = append(b, ':')
	switch id.kind {
	case Scalar:
		return r.milli.append(b)
	case Ranges:
		return AppendRanges(b, r.values.ranges)
	}
	b = append(b, '{')
	for i, item := range r.values.items {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(b, item...)
	}
	return append(b, '}')
}

// AppendRanges writes intervals as Mesos prints them: "[1-3, 5-5]".
func AppendRanges(b []byte, rs []Range) []byte {
	b = append(b, '[')
	for i, r := range rs {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = strconv.AppendUint(b, r.Begin, 10)
		b = append(b, '-')
		b = strconv.AppendUint(b, r.End, 10)
	}
	return append(b, ']')
}

func appendReservation(b []byte, p *mesos.Resource_ReservationInfo) []byte {
	b = append(append(append(b, p.GetType().String()...), ','), p.GetRole()...)
	if p.Principal != nil {
		b = append(append(b, ','), p.GetPrincipal()...)
	}
	if p.Labels == nil {
		return b
	}
	b = append(b, ",{"...)
	for i, l := range p.Labels.GetLabels() {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(b, l.GetKey()...)
		if l.Value != nil {
			b = append(append(b, ": "...), l.GetValue()...)
		}
	}
	return append(b, '}')
}

func appendDisk(b []byte, d *mesos.Resource_DiskInfo) []byte {
	if d.Source != nil {
		b = appendSource(b, d.Source)
	}
	if d.Persistence != nil {
		if d.Source != nil {
			b = append(b, ',')
		}
		b = append(b, d.Persistence.GetId()...)
	}
	v := d.Volume
	if v == nil {
		return b
	}
	b = append(b, ':')
	if v.HostPath != nil {
		b = append(append(b, v.GetHostPath()...), ':')
	}
	b = append(b, v.GetContainerPath()...)
	if v.HostPath != nil && v.Mode != nil {
		if v.GetMode() == mesos.Volume_RO {
			return append(b, ":ro"...)
		}
		return append(b, ":rw"...)
	}
	return b
}

func appendSource(b []byte, s *mesos.Resource_DiskInfo_Source) []byte {
	b = append(b, s.GetType().String()...)
	if s.Id != nil || s.Profile != nil {
		b = append(append(b, '('), s.GetVendor()...)
		b = append(append(b, ','), s.GetId()...)
		b = append(append(b, ','), s.GetProfile()...)
		return append(b, ')')
	}
	switch {
	case s.GetType() == mesos.Resource_DiskInfo_Source_MOUNT && s.GetMount().GetRoot() != "":
		b = append(append(b, ':'), s.Mount.GetRoot()...)
	case s.GetType() == mesos.Resource_DiskInfo_Source_PATH && s.GetPath().GetRoot() != "":
		b = append(append(b, ':'), s.Path.GetRoot()...)
	}
	return b
}
