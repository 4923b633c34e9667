package match

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"google.golang.org/protobuf/proto"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/service/instance"
)

// Labels of reservations (as Marathon, core/launcher/impl/TaskLabels.scala; the second
// holds the id of the instance).
const (
	frameworkLabel = "marathon_framework_id"
	instanceLabel  = "marathon_task_id"
)

func ours(r *resource.Resource) bool {
	_, ok := r.ReservationLabel(frameworkLabel)
	return ok
}

func noVolume(r *resource.Resource) bool { return r.Disk() == nil }

// Kinds of disk that volumes are made on.
const (
	rootDisk  = "root"
	pathDisk  = "path"
	mountDisk = "mount"
)

// volume is one persistent volume of an app.
type volume struct {
	path, kind, profile string
	// size at least, of a mount disk most at most (0: no bound).
	size, most resource.Milli
	rules      []pathRule
}

// pathRule is a constraint on where a disk is on its agent.
type pathRule struct {
	pattern string
	re      *regexp.Regexp // nil if the pattern is none, which then allows nothing
	unlike  bool
}

func volumesOf(app *marathon.App) []volume {
	var all []volume
	for i := range app.Container.Volumes {
		v := &app.Container.Volumes[i]
		if v.Persistent == nil {
			continue
		}
		one := volume{
			path: v.ContainerPath, kind: v.Persistent.Type, profile: v.Persistent.ProfileName,
			size: milli(float64(v.Persistent.Size)), most: milli(float64(v.Persistent.MaxSize)),
		}
		if one.kind == "" {
			one.kind = rootDisk
		}
		for _, c := range v.Persistent.Constraints {
			if len(c) < 3 || c[0] != "path" {
				continue
			}
			one.rules = append(one.rules, pathRule{c[2], whole(c[2]), strings.EqualFold(c[1], "UNLIKE")})
		}
		all = append(all, one)
	}
	return all
}

// why no disk will do, in words.
func (v *volume) why() string {
	size := fmt.Sprintf("%v MiB", v.size)
	if v.most > 0 {
		size = fmt.Sprintf("%v to %v MiB", v.size, v.most)
	}
	text := fmt.Sprintf("no unreserved disk of type %s with %s is offered for volume %s", v.kind, size, v.path)
	if v.profile != "" {
		text += " with profile " + v.profile
	}
	for _, r := range v.rules {
		if r.unlike {
			text += ", path unlike " + r.pattern
		} else {
			text += ", path like " + r.pattern
		}
	}
	return text
}

// on reports whether the volume can be made on the disk.
func (v *volume) on(r *resource.Resource) bool {
	s := r.Disk().GetSource()
	var root string
	switch {
	case v.kind == pathDisk && s.GetType() == mesos.Resource_DiskInfo_Source_PATH:
		root = s.GetPath().GetRoot()
	case v.kind == mountDisk && s.GetType() == mesos.Resource_DiskInfo_Source_MOUNT:
		root = s.GetMount().GetRoot()
		if v.most > 0 && r.Scalar() > v.most {
			return false
		}
	default:
		return false
	}
	if r.Scalar() < v.size || s.GetProfile() != v.profile || r.Reserved() || r.ProviderID() != "" {
		return false
	}
	for _, rule := range v.rules {
		if rule.re == nil || rule.re.MatchString(root) == rule.unlike {
			return false
		}
	}
	return true
}

// place finds disks for the volumes that are not on the root disk, big ones first: the
// smallest mount disk that will do, which is used whole, and the path disk with most room.
// disks[i] is what volume i is made of.
func (s *shape) place(free resource.Resources) (disks []resource.Resources, left resource.Resources, missing int) {
	disks = make([]resource.Resources, len(s.volumes))
	order := make([]int, 0, len(s.volumes))
	for i, v := range s.volumes {
		if v.kind != rootDisk {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return int(s.volumes[b].size - s.volumes[a].size) })
	for _, i := range order {
		v := &s.volumes[i]
		var best *resource.Resource
		for r := range free.All() {
			if v.on(r) && (best == nil || (v.kind == mountDisk) == (r.Scalar() < best.Scalar()) && r.Scalar() != best.Scalar()) {
				best = r
			}
		}
		switch {
		case best == nil:
			return nil, free, i
		case v.kind == mountDisk:
			disks[i] = best.Bag()
			free = free.Sub(disks[i])
		default:
			on := best.Disk()
			disks[i], free, _ = free.Take(resource.Quantities{{Name: "disk", Value: v.size}},
				func(r *resource.Resource) bool { return r.Disk() == on })
		}
	}
	return disks, free, -1
}

// reserve makes the operations that give an instance its reservation and volumes.
func (p *Pool) reserve(w *Want, s *shape, i *instance.Instance, taken, left resource.Resources, no *refusal) *Outcome {
	disks, disksLeft, missing := s.place(p.disks)
	if missing >= 0 {
		no.all |= short[disk]
		no.volume = missing
		return nil
	}
	by := &mesos.Resource_ReservationInfo{
		Type: mesos.Resource_ReservationInfo_DYNAMIC.Enum(), Role: &s.role, Principal: text(w.Principal),
		Labels: &mesos.Labels{Labels: []*mesos.Label{label(frameworkLabel, w.FrameworkID), label(instanceLabel, i.ID)}},
	}
	reservation := []*mesos.Resource_ReservationInfo{by}
	reserved, volumes := taken.Proto(), make([]*mesos.Resource, len(s.volumes))
	var to *mesos.Resource_AllocationInfo
	if p.role != "" {
		to = &mesos.Resource_AllocationInfo{Role: &p.role}
	}
	rng := rand.New(rand.NewPCG(w.Seed, 1))
	i.Reservation = &instance.Reservation{Since: w.Now}
	for n, v := range s.volumes {
		size, info := v.size, &mesos.Resource_DiskInfo{}
		if v.kind != rootDisk {
			piece := disks[n].Proto()[0]
			reserved = append(reserved, piece)
			size, info.Source = milli(piece.GetScalar().GetValue()), piece.GetDisk().GetSource()
		}
		uuid := id.NewUUID(rng).String()
		local := marathon.LocalVolume{
			RunSpecID: w.App.ID, ContainerPath: v.path, UUID: uuid,
			PersistenceID: instance.SafePath(w.App.ID) + "#" + v.path + "#" + uuid,
		}
		i.Reservation.Volumes = append(i.Reservation.Volumes, local)
		info.Persistence = &mesos.Resource_DiskInfo_Persistence{Id: &local.PersistenceID, Principal: text(w.Principal)}
		info.Volume = &mesos.Volume{ContainerPath: proto.String(v.path), Mode: mesos.Volume_RW.Enum()}
		volumes[n] = &mesos.Resource{
			Name: proto.String("disk"), Type: mesos.Value_SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: proto.Float64(size.Float())},
			Reservations: reservation, Disk: info, AllocationInfo: to,
		}
	}
	for _, r := range reserved {
		r.Reservations = reservation
	}
	p.setFree(left)
	p.disks = disksLeft
	return &Outcome{Reserve: i, Operations: []*mesos.Offer_Operation{
		p.operation(i.ID, "reserve", &mesos.Offer_Operation{
			Type: mesos.Offer_Operation_RESERVE.Enum(), Reserve: &mesos.Offer_Operation_Reserve{Resources: reserved},
		}),
		p.operation(i.ID, "create", &mesos.Offer_Operation{
			Type: mesos.Offer_Operation_CREATE.Enum(), Create: &mesos.Offer_Operation_Create{Volumes: volumes},
		}),
	}}
}

// heldBy is what the instance holds in this pool, all of it or no.
func (p *Pool) heldBy(w *Want, no *refusal) resource.Resources {
	i := w.Instance
	if i.Agent == nil || i.Agent.ID != p.host.ID {
		no.all |= noReservation
		no.holds = i.Agent
		return resource.Resources{}
	}
	bag := p.held.Filter(func(r *resource.Resource) bool {
		of, _ := r.ReservationLabel(instanceLabel)
		by, _ := r.ReservationLabel(frameworkLabel)
		return of == i.ID && by == w.FrameworkID
	})
	for _, v := range i.Reservation.Volumes {
		if !hasVolume(bag, v.PersistenceID) {
			no.all |= noReservation
			return resource.Resources{}
		}
	}
	return bag
}

func hasVolume(bag resource.Resources, persistence string) bool {
	for r := range bag.All() {
		if r.VolumeID() == persistence {
			return true
		}
	}
	return false
}

// launchHeld launches on the reservation: taken and the volumes.
func (p *Pool) launchHeld(w *Want, i *instance.Instance, from source, taken resource.Resources) *Outcome {
	taken = taken.Add(from.bag.Filter(func(r *resource.Resource) bool {
		return slices.ContainsFunc(w.Instance.Reservation.Volumes, func(v marathon.LocalVolume) bool {
			return v.PersistenceID == r.VolumeID()
		})
	}))
	p.held = p.held.Sub(taken)
	return &Outcome{Launch: i, Resources: taken.Proto()}
}

// Destroy are the operations that give back what a resident instance holds (DESTROY,
// UNRESERVE), out of this pool; nil if the pool does not have it.
func (p *Pool) Destroy(i *instance.Instance) []*mesos.Offer_Operation { return p.release("", i.ID) }

// Orphans are the operations that give back what is reserved for instances of framework
// that are not known.
func (p *Pool) Orphans(framework string, known func(instance string) bool) []*mesos.Offer_Operation {
	var lost []string
	for r := range p.held.All() {
		by, _ := r.ReservationLabel(frameworkLabel)
		of, ok := r.ReservationLabel(instanceLabel)
		if ok && by == framework && !slices.Contains(lost, of) && !known(of) {
			lost = append(lost, of)
		}
	}
	var ops []*mesos.Offer_Operation
	for _, one := range lost {
		ops = append(ops, p.release(framework, one)...)
	}
	return ops
}

// release gives back what is held for an instance, by framework ("": whichever).
func (p *Pool) release(framework, of string) []*mesos.Offer_Operation {
	bag := p.held.Filter(func(r *resource.Resource) bool {
		i, _ := r.ReservationLabel(instanceLabel)
		by, _ := r.ReservationLabel(frameworkLabel)
		return i == of && (framework == "" || by == framework) && r.DynamicallyReserved()
	})
	if bag.Empty() {
		return nil
	}
	p.held = p.held.Sub(bag)
	var ops []*mesos.Offer_Operation
	if volumes := bag.PersistentVolumes(); !volumes.Empty() {
		op := &mesos.Offer_Operation{
			Type: mesos.Offer_Operation_DESTROY.Enum(), Destroy: &mesos.Offer_Operation_Destroy{Volumes: volumes.Proto()},
		}
		after, err := bag.Apply(op)
		if err != nil {
			return nil // not as volumes can be: nothing that operations could mend
		}
		bag = after
		ops = append(ops, p.operation(of, "destroy", op))
	}
	return append(ops, p.operation(of, "unreserve", &mesos.Offer_Operation{
		Type: mesos.Offer_Operation_UNRESERVE.Enum(), Unreserve: &mesos.Offer_Operation_Unreserve{Resources: bag.Proto()},
	}))
}

// operation gives op an id that tells of which instance it is, and is used only once since
// an offer is.
func (p *Pool) operation(of, kind string, op *mesos.Offer_Operation) *mesos.Offer_Operation {
	name := kind + "#" + of + "#"
	offer := p.Offers[0].GetId().GetValue()
	if over := len(name) + len(offer) - id.MaxLen; over > 0 {
		offer = offer[min(over, len(offer)):] // its end is what differs
	}
	op.Id = &mesos.OperationID{Value: proto.String(name + offer)}
	return op
}

// InstanceOf is the instance that an operation made by a Pool is of, "" if none made it.
func InstanceOf(operation string) string {
	if parts := strings.Split(operation, "#"); len(parts) == 3 {
		return parts[1]
	}
	return ""
}

// Creates reports whether an operation is the last of those that make a reservation: with
// it all is there.
func Creates(operation string) bool { return strings.HasPrefix(operation, "create#") }

// Destroys reports whether an operation is the last of those that give back what an
// instance holds: after it nothing is left.
func Destroys(operation string) bool { return strings.HasPrefix(operation, "unreserve#") }

func label(key, value string) *mesos.Label { return &mesos.Label{Key: &key, Value: &value} }

// text is an optional string, absent if empty.
func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
