package match_test

import (
	"slices"
	"strings"
	"testing"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"google.golang.org/protobuf/proto"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/service/match"
)

func persistent(path, kind string, size int64, change func(*marathon.PersistentVolume)) marathon.Volume {
	v := &marathon.PersistentVolume{Type: kind, Size: size}
	if change != nil {
		change(v)
	}
	return marathon.Volume{ContainerPath: path, Mode: "RW", Persistent: v}
}

func resident(volumes ...marathon.Volume) *marathon.App {
	return app(func(a *marathon.App) {
		a.Disk, a.PortDefinitions = 10, ports(1)
		a.Container = &marathon.Container{Type: "MESOS", Volumes: volumes}
	})
}

// disks adds disks with a source to an offer: "path:/a:100".
func disks(t *testing.T, o *mesos.Offer, texts ...string) *mesos.Offer {
	for _, text := range texts {
		kind, rest, _ := strings.Cut(text, ":")
		root, size, _ := strings.Cut(rest, ":")
		root, profile, _ := strings.Cut(root, "@")
		m, err := resource.ParseQuantities("disk:" + size)
		if err != nil {
			t.Fatal(err)
		}
		s := &mesos.Resource_DiskInfo_Source{Type: mesos.Resource_DiskInfo_Source_PATH.Enum(), Path: &mesos.Resource_DiskInfo_Source_Path{Root: &root}}
		if kind == "mount" {
			s = &mesos.Resource_DiskInfo_Source{Type: mesos.Resource_DiskInfo_Source_MOUNT.Enum(), Mount: &mesos.Resource_DiskInfo_Source_Mount{Root: &root}}
		}
		if profile != "" {
			s.Profile = &profile
		}
		o.Resources = append(o.Resources, &mesos.Resource{
			Name: proto.String("disk"), Type: mesos.Value_SCALAR.Enum(), AllocationInfo: o.AllocationInfo,
			Scalar: &mesos.Value_Scalar{Value: proto.Float64(m[0].Value.Float())}, Disk: &mesos.Resource_DiskInfo{Source: s},
		})
	}
	return o
}

// apply does operations to what a master would hold, and offers the result again.
func apply(t *testing.T, o *mesos.Offer, ops []*mesos.Offer_Operation) *mesos.Offer {
	t.Helper()
	all := bag(t, o.Resources)
	for _, op := range ops {
		after, err := all.Apply(op)
		if err != nil {
			t.Fatal(err)
		}
		all = after
	}
	return &mesos.Offer{
		Id: &mesos.OfferID{Value: proto.String(o.Id.GetValue() + "'")}, AgentId: o.AgentId, FrameworkId: o.FrameworkId,
		Hostname: o.Hostname, AllocationInfo: o.AllocationInfo, Resources: all.Proto(),
	}
}

func TestResidentLife(t *testing.T) {
	a := resident(persistent("data", "root", 100, nil), persistent("logs", "root", 50, nil))
	first := offer(t, "h", machine, "dev")
	w := want(a, 1)
	w.Principal, w.Now = "me", at(77)
	out := fits(t, pool(t, first), w)
	if out.Launch != nil || out.Reserve == nil || len(out.Operations) != 2 {
		t.Fatalf("%+v", out)
	}
	i := out.Reserve
	if i.Agent.Host != "h" || i.Role != "dev" || i.Reservation == nil || !i.Reservation.Since.Equal(at(77)) || len(i.Reservation.Volumes) != 2 {
		t.Fatalf("%+v %+v", i, i.Reservation)
	}
	for n, path := range []string{"data", "logs"} {
		v := i.Reservation.Volumes[n]
		if v.RunSpecID != "/prod/web" || v.ContainerPath != path || v.PersistenceID != "prod_web#"+path+"#"+v.UUID || len(v.UUID) != 36 {
			t.Errorf("%+v", v)
		}
	}
	for n, kind := range []string{"reserve", "create"} {
		id := out.Operations[n].GetId().GetValue()
		if !strings.HasPrefix(id, kind) || match.InstanceOf(id) != i.ID || match.Destroys(id) {
			t.Errorf("operation %s", id)
		}
	}
	if r := out.Operations[0].GetReserve().GetResources()[0].GetReservations()[0]; r.GetPrincipal() != "me" || r.GetRole() != "dev" ||
		r.GetLabels().String() != (&mesos.Labels{Labels: []*mesos.Label{
			{Key: proto.String("marathon_framework_id"), Value: proto.String("f")}, {Key: proto.String("marathon_task_id"), Value: &i.ID},
		}}).String() {
		t.Errorf("reservation %v", r)
	}
	second := apply(t, first, out.Operations)

	// Nobody else gets what is reserved.
	greedy := want(app(func(a *marathon.App) { a.CPUs = 4 }), 9)
	refused(t, pool(t, second), greedy, match.InsufficientCpus, "4 cpus needed, 3 offered")

	// Another of the app's makes its own.
	other := want(a, 2)
	if out := fits(t, pool(t, second), other); out.Reserve == nil {
		t.Errorf("%+v", out)
	}

	// The task is launched on it, wherever else there is room.
	elsewhere := *w
	elsewhere.Instance = i
	refused(t, pool(t, offer(t, "g", machine, "dev")), &elsewhere, match.NoCorrespondingReservationFound, "its reservation and volumes are on h")
	refused(t, pool(t, offer(t, "h", machine, "dev")), &elsewhere, match.NoCorrespondingReservationFound, "its reservation and volumes are not in the offer")
	p := pool(t, second)
	launch := fits(t, p, &elsewhere)
	got := bag(t, launch.Resources)
	if launch.Launch == nil || launch.Operations != nil || got.PersistentVolumes().Len() != 2 || got.Sum("cpus") != 1000 ||
		got.Sum("disk") != 160_000 || got.Unreserved().Len() != 0 || len(launch.Launch.Ports) != 1 || launch.Launch.Ports[0] == 0 {
		t.Errorf("%+v with %v", launch, got)
	}
	if !bag(t, second.Resources).Contains(got) {
		t.Errorf("%v is not in the offer", got)
	}
	// Only once.
	refused(t, p, &elsewhere, match.NoCorrespondingReservationFound, "its reservation and volumes are not in the offer")

	// Given back, everything is as it was.
	p = pool(t, second)
	if ops := p.Destroy(next(a, 3)); ops != nil {
		t.Errorf("%v for an instance that holds nothing", ops)
	}
	ops := p.Destroy(i)
	if len(ops) != 2 || match.Destroys(ops[0].GetId().GetValue()) || !match.Destroys(ops[1].GetId().GetValue()) || match.InstanceOf(ops[1].GetId().GetValue()) != i.ID {
		t.Fatalf("%v", ops)
	}
	if third := apply(t, second, ops); !bag(t, third.Resources).Equal(bag(t, first.Resources)) {
		t.Errorf("left %v", bag(t, third.Resources))
	}
	if p.Destroy(i) != nil {
		t.Error("given back twice")
	}
}

func TestOrphans(t *testing.T) {
	a := resident(persistent("data", "root", 100, nil))
	first := offer(t, "h", machine, "dev")
	now := first
	var ids []string
	for n := range 3 {
		w := want(a, n)
		if n == 2 {
			w.FrameworkID = "another"
		}
		out := fits(t, pool(t, now), w)
		now = apply(t, now, out.Operations)
		ids = append(ids, out.Reserve.ID)
	}
	p := pool(t, now)
	ops := p.Orphans("f", func(id string) bool { return id == ids[0] })
	if len(ops) != 2 || match.InstanceOf(ops[0].GetId().GetValue()) != ids[1] {
		t.Fatalf("%v", ops)
	}
	if again := p.Orphans("f", func(string) bool { return true }); again != nil {
		t.Errorf("%v", again)
	}
	left := bag(t, apply(t, now, ops).Resources)
	if left.PersistentVolumes().Len() != 2 || left.Reserved().Sum("cpus") != 2000 {
		t.Errorf("left %v", left)
	}
	// A reservation of which the volumes never came to be.
	out := fits(t, pool(t, first), want(a, 7))
	half := apply(t, first, out.Operations[:1])
	ops = pool(t, half).Orphans("f", func(string) bool { return false })
	if len(ops) != 1 || !match.Destroys(ops[0].GetId().GetValue()) {
		t.Fatalf("%v", ops)
	}
	if !bag(t, apply(t, half, ops).Resources).Equal(bag(t, first.Resources)) {
		t.Error("something is left")
	}
}

func TestDisks(t *testing.T) {
	like := func(op, re string) func(*marathon.PersistentVolume) {
		return func(v *marathon.PersistentVolume) { v.Constraints = [][]string{{"path", op, re}} }
	}
	for _, one := range []struct {
		name    string
		volumes []marathon.Volume
		disks   []string
		roots   string // of the volumes, with their sizes
		why     string
	}{
		{"root", []marathon.Volume{persistent("d", "root", 100, nil)}, nil, ":100", ""},
		{"root too small", []marathon.Volume{persistent("d", "root", 991, nil)}, nil, "", "1001 MiB of disk needed, 1000 offered"},
		{"path, the roomiest", []marathon.Volume{persistent("d", "path", 100, nil)}, []string{"path:/a:200", "path:/b:500", "mount:/m:900"}, "/b:100", ""},
		{"paths share", []marathon.Volume{persistent("d", "path", 100, nil), persistent("e", "path", 300, nil)}, []string{"path:/a:400"}, "/a:100 /a:300", ""},
		{"path too small", []marathon.Volume{persistent("d", "path", 100, nil)}, []string{"path:/a:99"}, "", "no unreserved disk of type path with 100 MiB is offered for volume d"},
		{"mount, the smallest", []marathon.Volume{persistent("d", "mount", 100, nil)}, []string{"mount:/a:900", "mount:/b:500", "mount:/c:99"}, "/b:500", ""},
		{"mounts are whole", []marathon.Volume{persistent("d", "mount", 100, nil), persistent("e", "mount", 200, nil)}, []string{"mount:/a:900"}, "",
			"no unreserved disk of type mount with 100 MiB is offered for volume d"},
		{"mount not too big", []marathon.Volume{persistent("d", "mount", 100, func(v *marathon.PersistentVolume) { v.MaxSize = 300 })}, []string{"mount:/a:900"}, "",
			"no unreserved disk of type mount with 100 to 300 MiB is offered for volume d"},
		{"path like", []marathon.Volume{persistent("d", "path", 100, like("LIKE", "/ssd.*"))}, []string{"path:/hdd1:900", "path:/ssd1:200"}, "/ssd1:100", ""},
		{"path unlike", []marathon.Volume{persistent("d", "path", 100, like("UNLIKE", "/hdd.*"))}, []string{"path:/hdd1:900", "path:/ssd1:200"}, "/ssd1:100", ""},
		{"none like", []marathon.Volume{persistent("d", "path", 100, like("LIKE", "/ssd"))}, []string{"path:/ssd1:200"}, "",
			"no unreserved disk of type path with 100 MiB is offered for volume d, path like /ssd"},
		{"unlike, none left", []marathon.Volume{persistent("d", "mount", 100, func(v *marathon.PersistentVolume) {
			v.ProfileName, v.Constraints = "fast", [][]string{{"path", "UNLIKE", "/a"}}
		})}, []string{"mount:/a@fast:200"}, "", "no unreserved disk of type mount with 100 MiB is offered for volume d with profile fast, path unlike /a"},
		{"no pattern", []marathon.Volume{persistent("d", "path", 100, like("UNLIKE", "("))}, []string{"path:/a:200"}, "",
			"no unreserved disk of type path with 100 MiB is offered for volume d, path unlike ("},
		{"without a type", []marathon.Volume{persistent("d", "", 100, nil)}, nil, ":100", ""},
		{"profile", []marathon.Volume{persistent("d", "mount", 100, func(v *marathon.PersistentVolume) { v.ProfileName = "fast" })}, []string{"mount:/a:200", "mount:/b@fast:300"}, "/b:300", ""},
		{"no profile", []marathon.Volume{persistent("d", "mount", 100, nil)}, []string{"mount:/b@fast:300"}, "", "no unreserved disk of type mount with 100 MiB is offered for volume d"},
	} {
		t.Run(one.name, func(t *testing.T) {
			o := disks(t, offer(t, "h", machine, "dev"), one.disks...)
			w := want(resident(one.volumes...), 1)
			p := pool(t, o)
			if one.why != "" {
				refused(t, p, w, match.InsufficientDisk, one.why)
				return
			}
			out := fits(t, p, w)
			var roots []string
			for _, v := range out.Operations[1].GetCreate().GetVolumes() {
				s := v.GetDisk().GetSource()
				size := resource.Milli(v.GetScalar().GetValue() * 1000)
				roots = append(roots, s.GetPath().GetRoot()+s.GetMount().GetRoot()+":"+size.String())
			}
			if got := strings.Join(roots, " "); got != one.roots {
				t.Errorf("volumes on %s, want %s", got, one.roots)
			}
			// What comes back launches it, and what it gives back is what was there.
			second := apply(t, o, out.Operations)
			again := *w
			again.Instance = out.Reserve
			launch := fits(t, pool(t, second), &again)
			if n := bag(t, launch.Resources).PersistentVolumes().Len(); n != len(one.volumes) {
				t.Errorf("launched with %d volumes", n)
			}
			third := apply(t, second, pool(t, second).Destroy(out.Reserve))
			if !bag(t, third.Resources).Equal(bag(t, o.Resources)) {
				t.Errorf("left %v", bag(t, third.Resources))
			}
		})
	}
}

func TestResidentRefusals(t *testing.T) {
	root := persistent("d", "root", 100, nil)
	star := resident(root)
	star.Role = "*"
	refused(t, pool(t, offer(t, "h", machine, "*")), want(star, 1), match.UnfulfilledRole,
		"nothing can be reserved for role *, and the app has persistent volumes: give it a role")
	strict := resident(root)
	strict.AcceptedResourceRoles = []string{"dev"}
	refused(t, pool(t, offer(t, "h", machine, "dev")), want(strict, 1), match.UnfulfilledRole,
		`volumes are made of unreserved resources, which acceptedResourceRoles leaves out: add "*"`)
	// Static reservations do not help to make dynamic ones.
	refused(t, pool(t, offer(t, "h", "cpus(dev):4;cpus:0.5;mem:1024;disk:1000;ports:[1-9]", "dev")), want(resident(root), 1),
		match.InsufficientCpus, "1 cpus needed, 0.5 offered")
}

func TestUniqueResidentComesBackToItsHost(t *testing.T) {
	a := resident(persistent("d", "root", 100, nil))
	a.Constraints = [][]string{{"hostname", "UNIQUE"}}
	o := offer(t, "h", machine, "dev")
	w := want(a, 1)
	w.Placed = match.Count(a, nil)
	out := fits(t, pool(t, o), w)
	w.Placed.Update(out.Reserve)
	o = apply(t, o, out.Operations)
	other := want(a, 2)
	other.Placed = w.Placed
	refused(t, pool(t, o), other, match.UnfulfilledConstraint, `hostname is "h"; another instance is there`)
	w.Instance = out.Reserve
	if out := fits(t, pool(t, o), w); out.Launch == nil {
		t.Error("not launched")
	}
	refused(t, pool(t, o), other, match.UnfulfilledConstraint, `hostname is "h"; another instance is there`)
	// A refusal forgets nothing.
	again := *w
	refused(t, pool(t, offer(t, "h", machine, "dev")), &again, match.NoCorrespondingReservationFound, "its reservation and volumes are not in the offer")
	refused(t, pool(t, o), other, match.UnfulfilledConstraint, `hostname is "h"; another instance is there`)
}

func TestReservationKeepsItsRole(t *testing.T) {
	a := resident(persistent("d", "root", 100, nil))
	o := offer(t, "h", machine, "dev")
	w := want(a, 1)
	out := fits(t, pool(t, o), w)
	moved := resident(persistent("d", "root", 100, nil))
	moved.Role = "ops"
	w.App, w.Instance = moved, out.Reserve
	if got := fits(t, pool(t, apply(t, o, out.Operations)), w).Launch; got.Role != "dev" {
		t.Errorf("role %s", got.Role)
	}
	refused(t, pool(t, offer(t, "h", machine, "ops")), w, match.UnfulfilledRole, "offered to role ops, the app's role is dev")
}

func TestLongIDs(t *testing.T) {
	a := resident(persistent("d", "root", 100, nil))
	a.ID = "/" + strings.Repeat("a", 180)
	out := fits(t, pool(t, offer(t, "host", machine, "dev")), want(a, 1))
	for _, op := range out.Operations {
		if id := op.GetId().GetValue(); len(id) > 255 || match.InstanceOf(id) != out.Reserve.ID {
			t.Errorf("%d bytes: %s", len(id), id)
		}
	}
}

func TestOtherOperations(t *testing.T) {
	if got := match.InstanceOf("something-else"); got != "" || match.Destroys("something-else") {
		t.Errorf("%q", got)
	}
	if !slices.Equal(match.Roles(app(nil)), []string{"dev"}) || !slices.Equal(match.Roles(&marathon.App{}), []string{"*"}) {
		t.Error("roles")
	}
}
