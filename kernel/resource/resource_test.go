package resource

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
)

func str(s string) *string { return &s }

func num(v float64) *float64 { return &v }

// As Mesos prints resources; the texts are those of its messages and of the captures.
func TestString(t *testing.T) {
	hostPath := change(volume(withStack(scalar("disk", 64000), static("r")), "v"), func(p *mesos.Resource) {
		p.Disk.Volume.HostPath = str("/h")
	})
	for _, c := range []struct {
		in   []*mesos.Resource
		want string
	}{
		{nil, "{}"},
		{[]*mesos.Resource{allocated(scalar("cpus", 9999000), "cap"), allocated(scalar("mem", 1000), "cap")}, "cpus(allocated: cap):9999; mem(allocated: cap):1"},
		{[]*mesos.Resource{scalar("cpus", 3800), scalar("mem", 8128000)}, "cpus:3.8; mem:8128"},
		{[]*mesos.Resource{withStack(scalar("cpus", 1000), static("a"), dynamic("a/b", "p"))}, "cpus(reservations: [(STATIC,a),(DYNAMIC,a/b,p)]):1"},
		{[]*mesos.Resource{withStack(scalar("cpus", 1000), labelled(labelled(dynamic("a", ""), "k", "v"), "l", "w"))}, "cpus(reservations: [(DYNAMIC,a,{k: v, l: w})]):1"},
		{[]*mesos.Resource{withStack(scalar("cpus", 1000), change2(labelled(dynamic("a", "p"), "k", "")))}, "cpus(reservations: [(DYNAMIC,a,p,{k})]):1"},
		{[]*mesos.Resource{volume(withStack(scalar("disk", 64000), dynamic("role", "principal")), "id")}, "disk(reservations: [(DYNAMIC,role,principal)])[id:data]:64"},
		{[]*mesos.Resource{hostPath}, "disk(reservations: [(STATIC,r)])[v:/h:data:rw]:64"},
		{[]*mesos.Resource{sharedVolume(withStack(scalar("disk", 64000), static("r")), "v")}, "disk(reservations: [(STATIC,r)])[v:data]<SHARED>:64<1>"},
		{[]*mesos.Resource{withRevocable(scalar("cpus", 1500))}, "cpus{REV}:1.5"},
		{[]*mesos.Resource{source(scalar("disk", 1000), mesos.Resource_DiskInfo_Source_PATH, "/p")}, "disk[PATH:/p]:1"},
		{[]*mesos.Resource{volume(source(withStack(scalar("disk", 1000), static("r")), mesos.Resource_DiskInfo_Source_MOUNT, "/m"), "v")}, "disk(reservations: [(STATIC,r)])[MOUNT:/m,v:data]:1"},
		{[]*mesos.Resource{source(scalar("disk", 1000), mesos.Resource_DiskInfo_Source_RAW, "i")}, "disk[RAW(,i,)]:1"},
		{[]*mesos.Resource{source(scalar("disk", 1000), mesos.Resource_DiskInfo_Source_BLOCK, "")}, "disk[BLOCK]:1"},
	} {
		if got := mustOf(t, c.in...).String(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
	two := mustOf(t, sharedVolume(withStack(scalar("disk", 64000), static("r")), "v"))
	if got, want := two.Add(two).String(), "disk(reservations: [(STATIC,r)])[v:data]<SHARED>:64<2>"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for it := range two.All() {
		if got, want := it.String(), "disk(reservations: [(STATIC,r)])[v:data]<SHARED>:64"; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// change2 takes the value off a reservation's only label.
func change2(r *mesos.Resource_ReservationInfo) *mesos.Resource_ReservationInfo {
	r.Labels.Labels[0].Value = nil
	return r
}

// The three ways to write a reservation are one.
func TestReservationFormats(t *testing.T) {
	old := func(to string, r *mesos.Resource_ReservationInfo) *mesos.Resource {
		return change(scalar("cpus", 1000), func(p *mesos.Resource) { p.Role, p.Reservation = &to, r })
	}
	both := func(p *mesos.Resource, to string, r *mesos.Resource_ReservationInfo) *mesos.Resource {
		return change(p, func(p *mesos.Resource) { p.Role, p.Reservation = &to, r })
	}
	for _, c := range []struct {
		name string
		in   *mesos.Resource
		want string
	}{
		{"nothing", scalar("cpus", 1000), "cpus:1"},
		{"old star", old("*", nil), "cpus:1"},
		{"old static", old("r", nil), "cpus(reservations: [(STATIC,r)]):1"},
		{"old dynamic", old("r", &mesos.Resource_ReservationInfo{Principal: str("p")}), "cpus(reservations: [(DYNAMIC,r,p)]):1"},
		{"old dynamic, nobody's", old("r", &mesos.Resource_ReservationInfo{}), "cpus(reservations: [(DYNAMIC,r)]):1"},
		{"new static", withStack(scalar("cpus", 1000), static("r")), "cpus(reservations: [(STATIC,r)]):1"},
		{"both static", both(withStack(scalar("cpus", 1000), static("r")), "r", nil), "cpus(reservations: [(STATIC,r)]):1"},
		{"both dynamic", both(withStack(scalar("cpus", 1000), dynamic("r", "p")), "r", &mesos.Resource_ReservationInfo{Principal: str("p")}), "cpus(reservations: [(DYNAMIC,r,p)]):1"},
		{"refined", withStack(scalar("cpus", 1000), dynamic("r", "p"), dynamic("r/s", "q"), dynamic("r/s/t/u", "")), "cpus(reservations: [(DYNAMIC,r,p),(DYNAMIC,r/s,q),(DYNAMIC,r/s/t/u)]):1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := mustOf(t, c.in)
			if got.String() != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			for _, p := range got.Proto() {
				if p.Role != nil || p.Reservation != nil {
					t.Errorf("the new format has role or reservation: %v", p)
				}
			}
		})
	}
}

func TestOfRefuses(t *testing.T) {
	set := func(f func(*mesos.Resource)) *mesos.Resource { return change(scalar("cpus", 1000), f) }
	disk := func(f func(*mesos.Resource)) *mesos.Resource {
		return change(volume(withStack(scalar("disk", 1000), static("r")), "v"), f)
	}
	ranges := func(rs ...uint64) *mesos.Resource {
		p := &mesos.Resource{Name: str("ports"), Type: typeRanges, Ranges: &mesos.Value_Ranges{}}
		for i := 0; i < len(rs); i += 2 {
			p.Ranges.Range = append(p.Ranges.Range, &mesos.Value_Range{Begin: &rs[i], End: &rs[i+1]})
		}
		return p
	}
	for _, c := range []struct {
		name string
		in   *mesos.Resource
		want string
	}{
		{"nil", nil, "missing"},
		{"no name", set(func(p *mesos.Resource) { p.Name = str("") }), "name"},
		{"long name", set(func(p *mesos.Resource) { p.Name = str(strings.Repeat("n", 256)) }), "too long"},
		{"no type", set(func(p *mesos.Resource) { p.Type = nil }), "type is not set"},
		{"text", set(func(p *mesos.Resource) { p.Type = mesos.Value_TEXT.Enum() }), "TEXT is not supported"},
		{"type from the future", set(func(p *mesos.Resource) { p.Type = mesos.Value_Type(77).Enum() }), "77 is not supported"},
		{"no value", set(func(p *mesos.Resource) { p.Scalar = nil }), "exactly that value"},
		{"two values", set(func(p *mesos.Resource) { p.Set = &mesos.Value_Set{} }), "exactly that value"},
		{"wrong value", set(func(p *mesos.Resource) { p.Type = typeSet }), "exactly that value"},
		{"negative", scalar("cpus", -1), "not allowed"},
		{"too small", set(func(p *mesos.Resource) { p.Scalar.Value = num(1e-9) }), "not allowed"},
		{"NaN", set(func(p *mesos.Resource) { p.Scalar.Value = num(math.NaN()) }), "finite"},
		{"infinite", set(func(p *mesos.Resource) { p.Scalar.Value = num(math.Inf(1)) }), "finite"},
		{"too large", set(func(p *mesos.Resource) { p.Scalar.Value = num(1e300) }), "out of range"},
		{"inverted range", ranges(5, 3), "begins after"},
		{"overlap", ranges(1, 5, 7, 9, 5, 6), "overlap"},
		{"same range twice", ranges(1, 5, 1, 5), "overlap"},
		{"overlap at the end of numbers", ranges(0, math.MaxUint64, 7, 9), "overlap"},
		{"huge list", ranges(make([]uint64, 2*(maxPieces+1))...), "too long"},
		{"huge set", &mesos.Resource{Name: str("s"), Type: typeSet, Set: &mesos.Value_Set{Item: make([]string, maxPieces+1)}}, "too long"},
		{"item twice", &mesos.Resource{Name: str("s"), Type: typeSet, Set: &mesos.Value_Set{Item: []string{"a", "b", "a"}}}, "twice"},
		{"bad role", set(func(p *mesos.Resource) { p.Role = str("a//b") }), "slashes"},
		{"dynamic star", set(func(p *mesos.Resource) { p.Reservation = &mesos.Resource_ReservationInfo{} }), "role *"},
		{"old with type", set(func(p *mesos.Resource) { p.Role, p.Reservation = str("r"), dynamic("r", "") }), "reservation.type"},
		{"old with role", set(func(p *mesos.Resource) {
			p.Role, p.Reservation = str("r"), &mesos.Resource_ReservationInfo{Role: str("r")}
		}), "reservation.role"},
		{"reserved to star", withStack(scalar("cpus", 1), static("*")), "role *"},
		{"reservation without a role", withStack(scalar("cpus", 1), &mesos.Resource_ReservationInfo{Type: mesos.Resource_ReservationInfo_STATIC.Enum()}), "no role"},
		{"reservation without a type", withStack(scalar("cpus", 1), &mesos.Resource_ReservationInfo{Role: str("r")}), "no type"},
		{"nil reservation", withStack(scalar("cpus", 1), nil), "no type"},
		{"unknown type", withStack(scalar("cpus", 1), &mesos.Resource_ReservationInfo{Role: str("r"), Type: mesos.Resource_ReservationInfo_UNKNOWN.Enum()}), "UNKNOWN"},
		{"reservation of a bad role", withStack(scalar("cpus", 1), static("a/.")), "component"},
		{"static refinement", withStack(scalar("cpus", 1), dynamic("a", ""), static("a/b")), "must be DYNAMIC"},
		{"refined to another", withStack(scalar("cpus", 1), dynamic("a", ""), dynamic("b", "")), "not below"},
		{"refined to itself", withStack(scalar("cpus", 1), dynamic("a", ""), dynamic("a", "")), "not below"},
		{"refined upwards", withStack(scalar("cpus", 1), dynamic("a/b", ""), dynamic("a", "")), "not below"},
		{"both, roles differ", change(withStack(scalar("cpus", 1), static("a")), func(p *mesos.Resource) { p.Role = str("b") }), "but reservations says"},
		{"both, static and dynamic", change(withStack(scalar("cpus", 1), static("a")), func(p *mesos.Resource) {
			p.Role, p.Reservation = str("a"), &mesos.Resource_ReservationInfo{}
		}), "STATIC"},
		{"both, half", change(withStack(scalar("cpus", 1), dynamic("a", "")), func(p *mesos.Resource) { p.Role = str("a") }), "both role and reservation"},
		{"both, principals differ", change(withStack(scalar("cpus", 1), dynamic("a", "p")), func(p *mesos.Resource) {
			p.Role, p.Reservation = str("a"), &mesos.Resource_ReservationInfo{Principal: str("q")}
		}), "principal"},
		{"both, labels differ", change(withStack(scalar("cpus", 1), labelled(dynamic("a", ""), "k", "v")), func(p *mesos.Resource) {
			p.Role, p.Reservation = str("a"), &mesos.Resource_ReservationInfo{}
		}), "labels"},
		{"both, refined", change(withStack(scalar("cpus", 1), static("a"), dynamic("a/b", "")), func(p *mesos.Resource) { p.Role = str("a/b") }), "several reservations"},
		{"disk of cpus", set(func(p *mesos.Resource) { p.Disk = &mesos.Resource_DiskInfo{} }), "only the scalar resource disk"},
		{"unknown source", source(scalar("disk", 1), mesos.Resource_DiskInfo_Source_UNKNOWN, ""), "UNKNOWN"},
		{"raw with a mount", change(source(scalar("disk", 1), mesos.Resource_DiskInfo_Source_RAW, ""), func(p *mesos.Resource) {
			p.Disk.Source.Mount = &mesos.Resource_DiskInfo_Source_Mount{}
		}), "neither mount nor path"},
		{"volume without an id", disk(func(p *mesos.Resource) { p.Disk.Persistence.Id = str("") }), "empty id"},
		{"volume without a mode", disk(func(p *mesos.Resource) { p.Disk.Volume.Mode = nil }), "mode"},
		{"shared cpus", set(func(p *mesos.Resource) { p.Shared = &mesos.Resource_SharedInfo{} }), "only persistent volumes"},
		{"shared disk", change(scalar("disk", 1), func(p *mesos.Resource) { p.Shared = &mesos.Resource_SharedInfo{} }), "only persistent volumes"},
		{"provider without an id", set(func(p *mesos.Resource) { p.ProviderId = &mesos.ResourceProviderID{} }), "provider_id"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Of(scalar("mem", 1000), c.in)
			if err == nil {
				t.Fatalf("taken as %v", got)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q does not say %q", err, c.want)
			}
		})
	}
}

// One row for each rule of what merges with what.
func TestMerge(t *testing.T) {
	disk := func() *mesos.Resource { return withStack(scalar("disk", 1000), static("r")) }
	for _, c := range []struct {
		name string
		a, b *mesos.Resource
		want int // objects in the sum
	}{
		{"same scalars", scalar("cpus", 1), scalar("cpus", 2), 1},
		{"other names", scalar("cpus", 1), scalar("mem", 2), 2},
		{"allocated and not", scalar("cpus", 1), allocated(scalar("cpus", 1), "r"), 2},
		{"allocated to two roles", allocated(scalar("cpus", 1), "r"), allocated(scalar("cpus", 1), "s"), 2},
		{"reserved and not", disk(), scalar("disk", 1), 2},
		{"static and dynamic", disk(), withStack(scalar("disk", 1), dynamic("r", "")), 2},
		{"two principals", withStack(scalar("disk", 1), dynamic("r", "p")), withStack(scalar("disk", 1), dynamic("r", "q")), 2},
		{"labels", withStack(scalar("disk", 1), labelled(dynamic("r", ""), "k", "v")), withStack(scalar("disk", 1), dynamic("r", "")), 2},
		{"labels in another order", withStack(scalar("disk", 1), labelled(labelled(dynamic("r", ""), "k", "v"), "l", "w")),
			withStack(scalar("disk", 1), labelled(labelled(dynamic("r", ""), "l", "w"), "k", "v")), 1},
		{"refined and not", disk(), withStack(scalar("disk", 1), static("r"), dynamic("r/s", "")), 2},
		{"revocable and not", scalar("cpus", 1), withRevocable(scalar("cpus", 1)), 2},
		{"revocable", withRevocable(scalar("cpus", 1)), withRevocable(scalar("cpus", 1)), 1},
		{"of a provider and not", scalar("disk", 1), change(scalar("disk", 1), func(p *mesos.Resource) {
			p.ProviderId = &mesos.ResourceProviderID{Value: str("x")}
		}), 2},
		{"one path", source(scalar("disk", 1), mesos.Resource_DiskInfo_Source_PATH, "/a"), source(scalar("disk", 1), mesos.Resource_DiskInfo_Source_PATH, "/a"), 1},
		{"two paths", source(scalar("disk", 1), mesos.Resource_DiskInfo_Source_PATH, "/a"), source(scalar("disk", 1), mesos.Resource_DiskInfo_Source_PATH, "/b"), 2},
		{"one mount", source(scalar("disk", 1), mesos.Resource_DiskInfo_Source_MOUNT, "/a"), source(scalar("disk", 1), mesos.Resource_DiskInfo_Source_MOUNT, "/a"), 2},
		{"blocks", source(scalar("disk", 1), mesos.Resource_DiskInfo_Source_BLOCK, ""), source(scalar("disk", 1), mesos.Resource_DiskInfo_Source_BLOCK, ""), 2},
		{"raw without id", source(scalar("disk", 1), mesos.Resource_DiskInfo_Source_RAW, ""), source(scalar("disk", 1), mesos.Resource_DiskInfo_Source_RAW, ""), 1},
		{"raw with id", source(scalar("disk", 1), mesos.Resource_DiskInfo_Source_RAW, "i"), source(scalar("disk", 1), mesos.Resource_DiskInfo_Source_RAW, "i"), 2},
		{"volume and disk", volume(disk(), "v"), disk(), 2},
		{"one volume", volume(disk(), "v"), volume(disk(), "v"), 2},
		{"shared and not", sharedVolume(disk(), "v"), volume(disk(), "v"), 2},
		{"shared", sharedVolume(disk(), "v"), sharedVolume(disk(), "v"), 1},
		{"shared of two sizes", sharedVolume(disk(), "v"), sharedVolume(withStack(scalar("disk", 2), static("r")), "v"), 2},
		{"shared seen at another path", sharedVolume(disk(), "v"), change(sharedVolume(disk(), "v"), func(p *mesos.Resource) {
			p.Disk.Volume.ContainerPath = str("elsewhere")
		}), 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := mustOf(t, c.a), mustOf(t, c.b)
			sum := a.Add(b)
			checkForm(t, sum)
			if sum.Len() != c.want {
				t.Errorf("%v + %v is %v: %d objects, want %d", a, b, sum, sum.Len(), c.want)
			}
			if together := mustOf(t, c.a, c.b); !together.Equal(sum) {
				t.Errorf("read together they are %v, added %v", together, sum)
			}
			if back := sum.Sub(b); !back.Equal(a) {
				t.Errorf("%v - %v is %v", sum, b, back)
			}
		})
	}
}

// What cannot be split can be taken only whole.
func TestAtomic(t *testing.T) {
	disk := func(milli int64) *mesos.Resource { return withStack(scalar("disk", milli), static("r")) }
	for _, c := range []struct {
		name        string
		whole, part *mesos.Resource
		splits      bool
	}{
		{"plain", disk(2000), disk(1000), true},
		{"path", source(disk(2000), mesos.Resource_DiskInfo_Source_PATH, "/a"), source(disk(1000), mesos.Resource_DiskInfo_Source_PATH, "/a"), true},
		{"raw", source(disk(2000), mesos.Resource_DiskInfo_Source_RAW, ""), source(disk(1000), mesos.Resource_DiskInfo_Source_RAW, ""), true},
		{"raw with id", source(disk(2000), mesos.Resource_DiskInfo_Source_RAW, "i"), source(disk(1000), mesos.Resource_DiskInfo_Source_RAW, "i"), false},
		{"mount", source(disk(2000), mesos.Resource_DiskInfo_Source_MOUNT, "/a"), source(disk(1000), mesos.Resource_DiskInfo_Source_MOUNT, "/a"), false},
		{"block", source(disk(2000), mesos.Resource_DiskInfo_Source_BLOCK, ""), source(disk(1000), mesos.Resource_DiskInfo_Source_BLOCK, ""), false},
		{"volume", volume(disk(2000), "v"), volume(disk(1000), "v"), false},
		{"shared", sharedVolume(disk(2000), "v"), sharedVolume(disk(1000), "v"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			whole, part := mustOf(t, c.whole), mustOf(t, c.part)
			if got := whole.Contains(part); got != c.splits {
				t.Errorf("%v contains %v: %v", whole, part, got)
			}
			if changed := !whole.Sub(part).Equal(whole); changed != c.splits {
				t.Errorf("%v - %v is %v", whole, part, whole.Sub(part))
			}
			if !whole.Contains(whole) || !whole.Sub(whole).Empty() {
				t.Errorf("%v cannot be taken whole", whole)
			}
			for it := range whole.All() {
				if it.Divisible() != c.splits {
					t.Errorf("%v divisible: %v", it, it.Divisible())
				}
			}
			if twice := whole.Add(whole); whole.Contains(twice) {
				t.Errorf("%v contains itself twice, %v", whole, twice)
			}
		})
	}
}

func TestRangesAndSets(t *testing.T) {
	for _, c := range []struct{ a, b, sum, diff string }{
		{"[1-10]", "[11-20]", "[1-20]", "[1-10]"},
		{"[1-10]", "[12-20]", "[1-10, 12-20]", "[1-10]"},
		{"[1-10]", "[5-5]", "[1-10]", "[1-4, 6-10]"},
		{"[1-10]", "[1-10]", "[1-10]", ""},
		{"[1-10]", "[0-100]", "[0-100]", ""},
		{"[1-10,20-30]", "[5-25]", "[1-30]", "[1-4, 26-30]"},
		{"[1-10,20-30,40-50]", "[10-10,20-20,45-45]", "[1-10, 20-30, 40-50]", "[1-9, 21-30, 40-44, 46-50]"},
		{"[1-10]", "[1-1,3-3,5-5,7-7,9-9]", "[1-10]", "[2-2, 4-4, 6-6, 8-8, 10-10]"},
		{"[0-18446744073709551615]", "[0-0,18446744073709551615-18446744073709551615]", "[0-18446744073709551615]", "[1-18446744073709551614]"},
		{"[18446744073709551615-18446744073709551615]", "[0-0]", "[0-0, 18446744073709551615-18446744073709551615]", "[18446744073709551615-18446744073709551615]"},
		{"{a,b}", "{b,c}", "{a, b, c}", "{a}"},
		{"{a,b}", "{a,b}", "{a, b}", ""},
		{"{a}", "{c}", "{a, c}", "{a}"},
	} {
		a, b := mustParse(t, "x:"+c.a), mustParse(t, "x:"+c.b)
		if got := a.Add(b).String(); got != "x:"+c.sum {
			t.Errorf("%s + %s is %s, want %s", c.a, c.b, got, c.sum)
		}
		want := "x:" + c.diff
		if c.diff == "" {
			want = "{}"
		}
		if got := a.Sub(b).String(); got != want {
			t.Errorf("%s - %s is %s, want %s", c.a, c.b, got, want)
		}
	}
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"[1-10]", "[1-10]", true}, {"[1-10]", "[2-3,5-10]", true}, {"[1-10,20-30]", "[25-25]", true}, {"[1-10]", "[0-1]", false},
		{"[1-10]", "[10-11]", false}, {"[1-10,20-30]", "[9-21]", false}, {"[1-10]", "[15-16]", false}, {"[20-30]", "[1-2]", false},
		{"{a,b,c}", "{a,c}", true}, {"{a,c}", "{b}", false}, {"{a,c}", "{d}", false}, {"{b}", "{a}", false},
	} {
		a, b := mustParse(t, "x:"+c.a), mustParse(t, "x:"+c.b)
		if a.Contains(b) != c.want {
			t.Errorf("%s contains %s: %v", c.a, c.b, !c.want)
		}
		if equal := c.a == c.b; a.Equal(b) != equal {
			t.Errorf("%s equals %s: %v", c.a, c.b, !equal)
		}
	}
	all := mustParse(t, "ports:[1-5];ports(r):[4-9];cpus:1")
	if got := string(AppendRanges(nil, all.RangesOf("ports"))); got != "[1-9]" {
		t.Errorf("the ports of %v are %s", all, got)
	}
	if got := all.RangesOf("cpus"); got != nil {
		t.Errorf("cpus have the ranges %v", got)
	}
	same := mustParse(t, "cpus:1;ports:[1-5];bugs:{a}")
	if got := same.Sub(mustParse(t, "mem:1;ports:[7-8];bugs:{b}")); &got.items[0] != &same.items[0] {
		t.Errorf("%v was copied though nothing was taken", same)
	}
}

func TestFilters(t *testing.T) {
	r := mustOf(t,
		scalar("cpus", 1000), scalar("mem", 2000), withRevocable(scalar("cpus", 3000)),
		withStack(scalar("cpus", 4000), static("a")), withStack(scalar("cpus", 5000), static("a"), dynamic("a/b", "p")),
		withStack(scalar("cpus", 6000), dynamic("ab", "")),
		volume(withStack(scalar("disk", 7000), static("a")), "v"), sharedVolume(withStack(scalar("disk", 8000), static("a")), "s"),
	).Add(mustParse(t, "ports:[1-2]"))
	cpus := func(r Resources) Milli { return r.Sum("cpus") / 1000 }
	for _, c := range []struct {
		name string
		got  Resources
		cpus Milli
		len  int
	}{
		{"all", r, 19, 9},
		{"unreserved", r.Unreserved(), 4, 4},
		{"reserved", r.Reserved(), 15, 5},
		{"to a", r.ReservedTo("a"), 4, 3},
		{"to a/b", r.ReservedTo("a/b"), 5, 1},
		{"to *", r.ReservedTo("*"), 0, 0},
		{"for a", r.AllocatableTo("a"), 8, 7},
		{"for a/b", r.AllocatableTo("a/b"), 13, 8},
		{"for a/b/c", r.AllocatableTo("a/b/c"), 13, 8},
		{"for a/c", r.AllocatableTo("a/c"), 8, 7},
		{"for ab", r.AllocatableTo("ab"), 10, 5},
		{"for nobody", r.AllocatableTo("x"), 4, 4},
		{"scalars", r.Scalars(), 19, 8},
		{"revocable", r.RevocableOnly(), 3, 1},
		{"not revocable", r.NonRevocable(), 16, 8},
		{"shared", r.SharedOnly(), 0, 1},
		{"not shared", r.NonShared(), 19, 8},
		{"volumes", r.PersistentVolumes(), 0, 2},
		{"named", r.Named("cpus"), 19, 5},
		{"durable", r.Durable(), 11, 4},
		{"no reservations", r.WithoutReservations(), 19, 5},
		{"allocated", r.Allocate("z").AllocatedTo("z"), 19, 9},
		{"allocated to others", r.Allocate("z").AllocatedTo("y"), 0, 0},
	} {
		checkForm(t, c.got)
		if cpus(c.got) != c.cpus || c.got.Len() != c.len {
			t.Errorf("%s: %v has %v cpus in %d objects, want %v in %d", c.name, c.got, cpus(c.got), c.got.Len(), c.cpus, c.len)
		}
	}
	if got := r.WithoutReservations().String(); got != "cpus:16; cpus{REV}:3; mem:2; disk:15; ports:[1-2]" {
		t.Errorf("without reservations: %s", got)
	}
	if got, want := r.Quantities().String(), "cpus:19; disk:15; mem:2"; got != want {
		t.Errorf("quantities are %s, want %s", got, want)
	}
	if r.MixedRevocable() != "cpus" || r.Named("mem").MixedRevocable() != "" || r.RevocableOnly().MixedRevocable() != "" {
		t.Errorf("the mix of revocable and other cpus is not seen")
	}
	two := r.Named("mem").Allocate("x").Add(r.Named("mem").Allocate("y"))
	if got := two.Allocate("z").String(); got != "mem(allocated: z):4" {
		t.Errorf("what was allocated to two roles is %s", got)
	}
}

func TestCovers(t *testing.T) {
	r := mustParse(t, "cpus:1;cpus(a):1;ports:[1-10];all:[0-18446744073709551615];zoo:{a,b}")
	for text, want := range map[string]bool{
		"": true, "cpus:2": true, "cpus:2.001": false, "mem:0.001": false, "ports:10": true, "ports:11": false,
		"zoo:2": true, "zoo:2.5": false, "all:1000000000000000": true, "cpus:1;ports:1;zoo:1": true,
	} {
		q, err := ParseQuantities(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Covers(q); got != want {
			t.Errorf("%v covers %v: %v", r, q, got)
		}
	}
}

func TestOverflow(t *testing.T) {
	r := mustParse(t, "cpus:1e15")
	for range 20 {
		r = r.Add(r)
	}
	if r.Sum("cpus") != math.MaxInt64 {
		t.Errorf("the sum is %v", r)
	}
	v := mustOf(t, sharedVolume(withStack(scalar("disk", 1), static("r")), "v"))
	for range 40 {
		v = v.Add(v)
	}
	for it := range v.All() {
		if it.Shares() <= 0 {
			t.Errorf("%d copies", it.Shares())
		}
	}
}

// As the captures have it: agents' totals, and offers for a framework without
// RESERVATION_REFINEMENT.
func TestProtoAsMesosWritesIt(t *testing.T) {
	bag := mustParse(t, "cpus:3;ports:[31000-32000]").Add(mustOf(t,
		withStack(scalar("cpus", 1000), dynamic("cap", "op")),
		change(volume(withStack(scalar("disk", 64000), dynamic("cap", "op")), "v1"), func(p *mesos.Resource) {
			p.Disk.Persistence.Principal, p.Disk.Volume.ContainerPath = str("op"), str("vol")
		}),
	))
	for name, c := range map[string]struct {
		got  []*mesos.Resource
		want string
	}{
		"endpoint": {bag.ProtoEndpoint(), `[
			{"name":"cpus","type":"SCALAR","scalar":{"value":3},"role":"*"},
			{"name":"cpus","type":"SCALAR","scalar":{"value":1},"role":"cap","reservation":{"principal":"op"},"reservations":[{"type":"DYNAMIC","role":"cap","principal":"op"}]},
			{"name":"disk","type":"SCALAR","scalar":{"value":64},"role":"cap","reservation":{"principal":"op"},"reservations":[{"type":"DYNAMIC","role":"cap","principal":"op"}],"disk":{"persistence":{"id":"v1","principal":"op"},"volume":{"mode":"RW","container_path":"vol"}}},
			{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":"31000","end":"32000"}]},"role":"*"}]`},
		"offer, old": {bag.Allocate("cap").ProtoFor(false, true), `[
			{"name":"cpus","type":"SCALAR","scalar":{"value":3},"role":"*","allocation_info":{"role":"cap"}},
			{"name":"cpus","type":"SCALAR","scalar":{"value":1},"role":"cap","allocation_info":{"role":"cap"},"reservation":{"principal":"op"}},
			{"name":"disk","type":"SCALAR","scalar":{"value":64},"role":"cap","allocation_info":{"role":"cap"},"reservation":{"principal":"op"},"disk":{"persistence":{"id":"v1","principal":"op"},"volume":{"mode":"RW","container_path":"vol"}}},
			{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":"31000","end":"32000"}]},"role":"*","allocation_info":{"role":"cap"}}]`},
		"offer, new, one role": {bag.Allocate("cap").ProtoFor(true, false), `[
			{"name":"cpus","type":"SCALAR","scalar":{"value":3}},
			{"name":"cpus","type":"SCALAR","scalar":{"value":1},"reservations":[{"type":"DYNAMIC","role":"cap","principal":"op"}]},
			{"name":"disk","type":"SCALAR","scalar":{"value":64},"reservations":[{"type":"DYNAMIC","role":"cap","principal":"op"}],"disk":{"persistence":{"id":"v1","principal":"op"},"volume":{"mode":"RW","container_path":"vol"}}},
			{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":"31000","end":"32000"}]}}]`},
		"refined, old": {mustOf(t, withStack(scalar("cpus", 1), static("a"), dynamic("a/b", ""))).ProtoFor(false, false), `[
			{"name":"cpus","type":"SCALAR","scalar":{"value":0.001},"reservations":[{"type":"STATIC","role":"a"},{"type":"DYNAMIC","role":"a/b"}]}]`},
	} {
		t.Run(name, func(t *testing.T) {
			var want []json.RawMessage
			if err := json.Unmarshal([]byte(c.want), &want); err != nil {
				t.Fatal(err)
			}
			if len(want) != len(c.got) {
				t.Fatalf("%d messages, want %d", len(c.got), len(want))
			}
			for i, p := range c.got {
				var w mesos.Resource
				if err := protojson.Unmarshal(want[i], &w); err != nil {
					t.Fatal(err)
				}
				if !proto.Equal(p, &w) {
					t.Errorf("got  %v\nwant %v", p, &w)
				}
			}
		})
	}
}

// Of keeps nothing of its arguments, and what Proto gives can be changed at the top.
func TestNoAliases(t *testing.T) {
	in := volume(withStack(scalar("disk", 1000), dynamic("r", "p")), "v")
	bag := mustOf(t, in)
	before := bag.String()
	*in.Name, *in.Scalar.Value, *in.Disk.Persistence.Id, *in.Reservations[0].Role = "x", 7, "y", "z"
	in.Disk.Volume.ContainerPath = str("w")
	out := bag.Proto()[0]
	out.Name, out.Disk, out.AllocationInfo = str("x"), nil, &mesos.Resource_AllocationInfo{}
	out.Reservations = append(out.Reservations, dynamic("q", ""))
	for it := range bag.All() {
		if one := mustOf(t, it.Proto()); !one.Equal(it.Bag()) {
			t.Errorf("%v alone is written as %v", it, one)
		}
	}
	if bag.String() != before || len(bag.Proto()[0].Reservations) != 1 {
		t.Errorf("the bag was changed from outside: %v, before %s", bag, before)
	}
}

// Bags on different goroutines share parts of the messages they give.
func TestProtoFromManyGoroutines(t *testing.T) {
	bag := mustOf(t, sharedVolume(withStack(scalar("disk", 1000), static("a"), dynamic("a/b", "p")), "v"),
		withRevocable(scalar("cpus", 1000))).Allocate("a/b")
	want, err := proto.Marshal(bag.Proto()[0])
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	for range 8 {
		done.Go(func() {
			for range 100 {
				if got, err := proto.Marshal(bag.Proto()[0]); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%x, %v, want %x", got, err, want)
					return
				}
			}
		})
	}
	done.Wait()
}
