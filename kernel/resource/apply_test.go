package resource

import (
	"strings"
	"testing"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
)

func TestApply(t *testing.T) {
	d := func(milli int64, stack ...*mesos.Resource_ReservationInfo) *mesos.Resource {
		return withStack(scalar("disk", milli), stack...)
	}
	st, dy, sub := static("a"), dynamic("a", "p"), dynamic("a/b", "p")
	mount := func(p *mesos.Resource) *mesos.Resource {
		return source(p, mesos.Resource_DiskInfo_Source_MOUNT, "/m")
	}
	old := change(scalar("disk", 4000), func(p *mesos.Resource) {
		p.Role, p.Reservation = str("a"), &mesos.Resource_ReservationInfo{Principal: str("p")}
	})
	from := func(op *mesos.Offer_Operation, source ...*mesos.Resource) *mesos.Offer_Operation {
		op.Reserve.Source = source
		return op
	}
	readOnly := change(volume(d(1000, st), "v"), func(p *mesos.Resource) { p.Disk.Volume.Mode = mesos.Volume_RO.Enum() })
	for _, c := range []struct {
		name string
		bag  []*mesos.Resource
		op   *mesos.Offer_Operation
		want string // the bag afterwards, or, after a !, what the error says
	}{
		{"reserve a part", []*mesos.Resource{d(10000), scalar("cpus", 2000)}, reserveOp(d(4000, dy)),
			"cpus:2; disk:6; disk(reservations: [(DYNAMIC,a,p)]):4"},
		{"reserve all", []*mesos.Resource{d(4000)}, reserveOp(d(4000, dy)), "disk(reservations: [(DYNAMIC,a,p)]):4"},
		{"reserve in the old format", []*mesos.Resource{d(4000)}, reserveOp(old), "disk(reservations: [(DYNAMIC,a,p)]):4"},
		{"reserve more of it", []*mesos.Resource{d(4000), d(1000, dy)}, reserveOp(d(4000, dy)), "disk(reservations: [(DYNAMIC,a,p)]):5"},
		{"reserve two kinds", []*mesos.Resource{d(4000), scalar("cpus", 1000)}, reserveOp(d(4000, dy), withStack(scalar("cpus", 500), dy)),
			"cpus:0.5; cpus(reservations: [(DYNAMIC,a,p)]):0.5; disk(reservations: [(DYNAMIC,a,p)]):4"},
		{"refine a static", []*mesos.Resource{d(4000, st)}, reserveOp(d(1000, st, sub)),
			"disk(reservations: [(STATIC,a)]):3; disk(reservations: [(STATIC,a),(DYNAMIC,a/b,p)]):1"},
		{"reserve allocated", []*mesos.Resource{allocated(d(4000), "a")}, reserveOp(allocated(d(1000, dy), "a")),
			"disk(allocated: a):3; disk(allocated: a)(reservations: [(DYNAMIC,a,p)]):1"},
		{"reserve a whole mount", []*mesos.Resource{mount(d(4000))}, reserveOp(mount(d(4000, dy))), "disk(reservations: [(DYNAMIC,a,p)])[MOUNT:/m]:4"},
		{"reserve ports", []*mesos.Resource{mustParse(t, "ports:[1-9]").Proto()[0]}, reserveOp(withStack(mustParse(t, "ports:[3-4]").Proto()[0], dy)),
			"ports:[1-2, 5-9]; ports(reservations: [(DYNAMIC,a,p)]):[3-4]"},
		{"re-reserve", []*mesos.Resource{d(4000, dy)}, from(reserveOp(d(4000, dynamic("c", "q"))), d(4000, dy)), "disk(reservations: [(DYNAMIC,c,q)]):4"},

		{"reserve nothing", []*mesos.Resource{d(4000)}, reserveOp(), "!names no resources"},
		{"reserve zero", []*mesos.Resource{d(4000)}, reserveOp(d(0, dy)), "!names no resources"},
		{"reserve unallocated of allocated", []*mesos.Resource{allocated(d(4000), "a")}, reserveOp(d(1000, dy)), "!disk:1 is missing"},
		{"reserve too much", []*mesos.Resource{d(4000)}, reserveOp(d(4001, dy)), "!disk:4.001 is missing"},
		{"reserve what is reserved", []*mesos.Resource{d(4000, dy)}, reserveOp(d(4000, dy)), "!missing"},
		{"reserve half a mount", []*mesos.Resource{mount(d(4000))}, reserveOp(mount(d(2000, dy))), "!missing"},
		{"reserve statically", []*mesos.Resource{d(4000)}, reserveOp(d(4000, st)), "!no dynamic reservation"},
		{"reserve to nobody", []*mesos.Resource{d(4000)}, reserveOp(d(4000)), "!no dynamic reservation"},
		{"reserve to *", []*mesos.Resource{d(4000)}, reserveOp(d(4000, dynamic("*", ""))), "!role *"},
		{"reserve revocable", []*mesos.Resource{withRevocable(scalar("cpus", 1000))}, reserveOp(withRevocable(withStack(scalar("cpus", 1000), dy))), "!revocable"},
		{"reserve a volume", []*mesos.Resource{volume(d(4000, st), "v")}, reserveOp(volume(d(4000, st, sub), "v")), "!persistent volume"},
		{"reserve half a GPU", []*mesos.Resource{scalar("gpus", 1000)}, reserveOp(withStack(scalar("gpus", 500), dy)), "!whole numbers"},
		{"reserve of two providers", []*mesos.Resource{d(4000)}, reserveOp(d(1000, dy), change(d(1000, dy), func(p *mesos.Resource) {
			p.ProviderId = &mesos.ResourceProviderID{Value: str("x")}
		})), "!different resource providers"},
		{"re-reserve more", []*mesos.Resource{d(4000, dy)}, from(reserveOp(d(4000, dynamic("c", "q"))), d(3000, dy)), "!same amounts"},
		{"re-reserve a mix", []*mesos.Resource{d(4000, dy), d(4000)}, from(reserveOp(d(4000, dynamic("c", "q"))), d(3000, dy), d(1000)), "!source: the resources have different reservations"},
		{"re-reserve to a mix", []*mesos.Resource{d(4000)}, from(reserveOp(d(2000, dy), d(2000, dynamic("c", "q"))), d(4000)), "!different reservations"},
		{"re-reserve from nothing", []*mesos.Resource{d(4000)}, from(reserveOp(d(4000, dy)), d(0)), "!source: it names no resources"},

		{"unreserve", []*mesos.Resource{d(1000), d(4000, dy)}, unreserveOp(d(3000, dy)), "disk:4; disk(reservations: [(DYNAMIC,a,p)]):1"},
		{"unreserve one level", []*mesos.Resource{d(4000, st, sub)}, unreserveOp(d(4000, st, sub)), "disk(reservations: [(STATIC,a)]):4"},
		{"unreserve static", []*mesos.Resource{d(4000, st)}, unreserveOp(d(4000, st)), "!no dynamic reservation"},
		{"unreserve unreserved", []*mesos.Resource{d(4000)}, unreserveOp(d(4000)), "!no dynamic reservation"},
		{"unreserve another's", []*mesos.Resource{d(4000, dy)}, unreserveOp(d(4000, dynamic("a", "q"))), "!missing"},
		{"unreserve a volume", []*mesos.Resource{volume(d(4000, dy), "v")}, unreserveOp(volume(d(4000, dy), "v")), "!destroy it before"},
		{"unreserve under a volume", []*mesos.Resource{volume(d(4000, dy), "v")}, unreserveOp(d(4000, dy)), "!missing"},
		{"unreserve nothing", []*mesos.Resource{d(4000, dy)}, unreserveOp(), "!names no resources"},

		{"create", []*mesos.Resource{d(10000, st)}, createOp(volume(d(4000, st), "v")), "disk(reservations: [(STATIC,a)]):6; disk(reservations: [(STATIC,a)])[v:data]:4"},
		{"create two", []*mesos.Resource{d(10000, st)}, createOp(volume(d(4000, st), "v"), volume(d(6000, st), "w")),
			"disk(reservations: [(STATIC,a)])[v:data]:4; disk(reservations: [(STATIC,a)])[w:data]:6"},
		{"create shared", []*mesos.Resource{d(4000, dy)}, createOp(sharedVolume(d(4000, dy), "v")), "disk(reservations: [(DYNAMIC,a,p)])[v:data]<SHARED>:4<1>"},
		{"create on a mount", []*mesos.Resource{mount(d(4000, st))}, createOp(volume(mount(d(4000, st)), "v")), "disk(reservations: [(STATIC,a)])[MOUNT:/m,v:data]:4"},
		{"create, one id in two roles", []*mesos.Resource{d(4000, st), volume(d(1000, dynamic("b", "")), "v")}, createOp(volume(d(4000, st), "v")),
			"disk(reservations: [(DYNAMIC,b)])[v:data]:1; disk(reservations: [(STATIC,a)])[v:data]:4"},
		{"create on unreserved", []*mesos.Resource{d(4000)}, createOp(volume(d(4000), "v")), "!must be reserved"},
		{"create revocable", []*mesos.Resource{withRevocable(d(4000, st))}, createOp(withRevocable(volume(d(4000, st), "v"))), "!revocable"},
		{"create too much", []*mesos.Resource{d(4000, st)}, createOp(volume(d(5000, st), "v")), "!missing"},
		{"create on half a mount", []*mesos.Resource{mount(d(4000, st))}, createOp(volume(mount(d(2000, st)), "v")), "!missing"},
		{"create no volume", []*mesos.Resource{d(4000, st)}, createOp(d(4000, st)), "!not a persistent volume"},
		{"create read-only", []*mesos.Resource{d(4000, st)}, createOp(readOnly), "!read-only"},
		{"create an id twice", []*mesos.Resource{d(4000, st), volume(d(1000, st), "v")}, createOp(volume(d(4000, st), "v")), "!already used"},
		{"create a double", []*mesos.Resource{d(4000, st)}, createOp(volume(d(2000, st), "v"), volume(d(2000, st), "v")), "!already used"},
		{"create a shared double", []*mesos.Resource{d(4000, st)}, createOp(sharedVolume(d(2000, st), "v"), sharedVolume(d(2000, st), "v")), "!created twice"},
		{"create with a bad id", []*mesos.Resource{d(4000, st)}, createOp(volume(d(4000, st), "../v")), "!persistence id"},
		{"create with host_path", []*mesos.Resource{d(4000, st)}, createOp(change(volume(d(4000, st), "v"), func(p *mesos.Resource) {
			p.Disk.Volume.HostPath = str("/etc")
		})), "!host_path"},
		{"create without volume", []*mesos.Resource{d(4000, st)}, createOp(change(volume(d(4000, st), "v"), func(p *mesos.Resource) {
			p.Disk.Volume = nil
		})), "!needs disk.volume"},
		{"create without persistence", []*mesos.Resource{d(4000, st)}, createOp(change(volume(d(4000, st), "v"), func(p *mesos.Resource) {
			p.Disk.Persistence = nil
		})), "!set disk.persistence too"},
		{"create with an empty disk", []*mesos.Resource{d(4000, st)}, createOp(change(d(4000, st), func(p *mesos.Resource) {
			p.Disk = &mesos.Resource_DiskInfo{}
		})), "!neither persistence nor source"},

		{"destroy", []*mesos.Resource{d(1000, st), volume(d(4000, st), "v")}, destroyOp(volume(d(4000, st), "v")), "disk(reservations: [(STATIC,a)]):5"},
		{"destroy on a mount", []*mesos.Resource{volume(mount(d(4000, st)), "v")}, destroyOp(volume(mount(d(4000, st)), "v")), "disk(reservations: [(STATIC,a)])[MOUNT:/m]:4"},
		{"destroy shared", []*mesos.Resource{sharedVolume(d(4000, st), "v")}, destroyOp(sharedVolume(d(4000, st), "v")), "disk(reservations: [(STATIC,a)]):4"},
		{"destroy what others use", []*mesos.Resource{sharedVolume(d(4000, st), "v"), sharedVolume(d(4000, st), "v")}, destroyOp(sharedVolume(d(4000, st), "v")), "!other users"},
		{"destroy another", []*mesos.Resource{volume(d(4000, st), "v")}, destroyOp(volume(d(4000, st), "w")), "!missing"},
		{"destroy a part", []*mesos.Resource{volume(d(4000, st), "v")}, destroyOp(volume(d(1000, st), "v")), "!missing"},
		{"destroy a disk", []*mesos.Resource{d(4000, st)}, destroyOp(d(4000, st)), "!not a persistent volume"},

		{"launch", []*mesos.Resource{d(4000)}, &mesos.Offer_Operation{Type: mesos.Offer_Operation_LAUNCH.Enum()}, "!LAUNCH does not convert"},
		{"nothing set", []*mesos.Resource{d(4000)}, &mesos.Offer_Operation{Type: mesos.Offer_Operation_RESERVE.Enum()}, "!names no resources"},
		{"nil", []*mesos.Resource{d(4000)}, nil, "!does not convert"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bag := mustOf(t, c.bag...)
			before := bag.String()
			got, err := bag.Apply(c.op)
			checkForm(t, got)
			if say, refused := strings.CutPrefix(c.want, "!"); refused {
				if err == nil {
					t.Fatalf("applied: %v", got)
				}
				if !strings.Contains(err.Error(), say) {
					t.Errorf("error %q does not say %q", err, say)
				}
				if got.String() != before {
					t.Errorf("with the error comes %v, not the bag as it was, %s", got, before)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if g, w := got.Quantities().String(), bag.Quantities().String(); g != w {
				t.Errorf("amounts changed from %s to %s", w, g)
			}
			if bag.String() != before {
				t.Errorf("the bag itself changed to %v", bag)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	good := mustOf(t, scalar("cpus", 1500), scalar("gpus", 2000), withRevocable(scalar("mem", 5)),
		volume(withStack(scalar("disk", 1000), static("r")), "v"), source(scalar("disk", 1), mesos.Resource_DiskInfo_Source_PATH, "/a"))
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	bad := mustOf(t, withRevocable(withStack(scalar("cpus", 5), dynamic("r", ""))))
	if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), "cannot be reserved") {
		t.Errorf("%v: %v", bad, err)
	}
}

func TestDurable(t *testing.T) {
	flags := mustParse(t, "cpus:4;disk:100;disk(a):50").Add(mustOf(t, source(scalar("disk", 7000), mesos.Resource_DiskInfo_Source_MOUNT, "/m")))
	dy, st, sub := dynamic("b", "p"), static("a"), dynamic("a/b", "p")
	for _, c := range []struct {
		name    string
		durable []*mesos.Resource
		want    string
	}{
		{"nothing", nil, flags.String()},
		{"reservation", []*mesos.Resource{withStack(scalar("cpus", 1000), dy)},
			"cpus:3; cpus(reservations: [(DYNAMIC,b,p)]):1; disk:100; disk[MOUNT:/m]:7; disk(reservations: [(STATIC,a)]):50"},
		{"refined volume", []*mesos.Resource{volume(withStack(scalar("disk", 20000), st, sub), "v")},
			"cpus:4; disk:100; disk[MOUNT:/m]:7; disk(reservations: [(STATIC,a)]):30; disk(reservations: [(STATIC,a),(DYNAMIC,a/b,p)])[v:data]:20"},
		{"shared volume on a mount", []*mesos.Resource{sharedVolume(source(withStack(scalar("disk", 7000), dy), mesos.Resource_DiskInfo_Source_MOUNT, "/m"), "v")},
			"cpus:4; disk:100; disk(reservations: [(DYNAMIC,b,p)])[MOUNT:/m,v:data]<SHARED>:7<1>; disk(reservations: [(STATIC,a)]):50"},
		{"more than there is", []*mesos.Resource{withStack(scalar("cpus", 5000), dy)}, "!lack cpus:5"},
		{"of a role that has none", []*mesos.Resource{volume(withStack(scalar("disk", 1000), static("c")), "v")}, "!lack disk(reservations: [(STATIC,c)]):1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			durable := mustOf(t, c.durable...)
			got, err := flags.WithDurable(durable)
			if say, refused := strings.CutPrefix(c.want, "!"); refused {
				if err == nil || !strings.Contains(err.Error(), say) {
					t.Errorf("%v, error %v, want one that says %q", got, err, say)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !got.Durable().Equal(durable) || got.Quantities().String() != flags.Quantities().String() || got.String() != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}
