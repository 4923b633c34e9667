package resource

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
)

// thing is what the property tests draw: one resource object, spelled out.
type thing struct {
	what   what
	amount int64 // thousandths
	ports  map[uint64]bool
	items  map[string]bool
}

// what tells things apart, in the plainest way.
type what struct {
	Name, Kind, Allocated, Stack string
	Disk, Volume                 string
	Revocable, Shared            bool
}

func (w what) atomic() bool { return w.Volume != "" || strings.HasPrefix(w.Disk, "MOUNT") }

// twin is the dumb model of a bag: a map from the spelled-out identity to an amount or
// to sets of single numbers. Atomic things have their amount in the key and a count.
type twin map[string]*thing

func (t twin) key(x thing) string {
	if x.what.atomic() {
		return fmt.Sprintf("%+v %d", x.what, x.amount)
	}
	return fmt.Sprintf("%+v", x.what)
}

// put adds one drawn thing; of atomic ones the amount is in the key and the count in amount.
func (t twin) put(x thing) {
	k := t.key(x)
	if x.amount == 0 && len(x.ports) == 0 && len(x.items) == 0 {
		return // nothing is in no bag
	}
	if x.what.atomic() {
		if t[k] == nil {
			t[k] = &thing{what: x.what}
		}
		t[k].amount++
		return
	}
	if t[k] == nil {
		t[k] = &thing{what: x.what, ports: map[uint64]bool{}, items: map[string]bool{}}
	}
	t[k].amount += x.amount
	maps.Copy(t[k].ports, x.ports)
	maps.Copy(t[k].items, x.items)
}

func (t twin) add(o twin) twin {
	out := t.clone()
	for k, x := range o {
		if out[k] == nil {
			out[k] = x.clone()
			continue
		}
		out[k].amount += x.amount
		maps.Copy(out[k].ports, x.ports)
		maps.Copy(out[k].items, x.items)
	}
	return out
}

func (t twin) sub(o twin) twin {
	out := t.clone()
	for k, x := range o {
		have := out[k]
		if have == nil {
			continue
		}
		have.amount = max(have.amount-x.amount, 0)
		maps.DeleteFunc(have.ports, func(p uint64, _ bool) bool { return x.ports[p] })
		maps.DeleteFunc(have.items, func(s string, _ bool) bool { return x.items[s] })
		if have.amount == 0 && len(have.ports) == 0 && len(have.items) == 0 {
			delete(out, k)
		}
	}
	return out
}

func (t twin) contains(o twin) bool {
	for k, x := range o {
		have := t[k]
		if have == nil || have.amount < x.amount {
			return false
		}
		for p := range x.ports {
			if !have.ports[p] {
				return false
			}
		}
		for s := range x.items {
			if !have.items[s] {
				return false
			}
		}
	}
	return true
}

func (x *thing) clone() *thing {
	return &thing{what: x.what, amount: x.amount, ports: maps.Clone(x.ports), items: maps.Clone(x.items)}
}

func (t twin) clone() twin {
	out := twin{}
	for k, x := range t {
		out[k] = x.clone()
	}
	return out
}

func (t twin) String() string {
	var lines []string
	for k, x := range t {
		lines = append(lines, fmt.Sprintf("%s = %d %v %v", k, x.amount,
			slices.Sorted(maps.Keys(x.ports)), slices.Sorted(maps.Keys(x.items))))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// twinOf reads a bag through its accessors only.
func twinOf(r Resources) twin {
	t := twin{}
	for it := range r.All() {
		w := what{
			Name: it.Name(), Kind: it.Kind().String(), Allocated: it.AllocatedTo(),
			Volume: it.VolumeID(), Revocable: it.Revocable(), Shared: it.Shared(),
		}
		for _, s := range it.Reservations() {
			w.Stack += fmt.Sprintf("%v/%s/%s/%s;", s.Dynamic, s.Role, s.Principal, s.Labels)
		}
		if s := it.Disk().GetSource(); s != nil {
			w.Disk = s.GetType().String() + s.GetMount().GetRoot() + s.GetPath().GetRoot()
		}
		x := thing{what: w, amount: int64(it.Scalar()), ports: map[uint64]bool{}, items: map[string]bool{}}
		for _, rg := range it.Ranges() {
			for p := rg.Begin; p <= rg.End; p++ {
				x.ports[p] = true
			}
		}
		for _, s := range it.Items() {
			x.items[s] = true
		}
		for range it.Shares() {
			t.put(x)
		}
	}
	return t
}

// stacks are the reservations drawn, as protos and as the model spells them.
var stacks = []struct {
	spelled string
	protos  []*mesos.Resource_ReservationInfo
}{
	{"", nil},
	{"", nil},
	{"false/a//;", []*mesos.Resource_ReservationInfo{static("a")}},
	{"true/a/p/;", []*mesos.Resource_ReservationInfo{dynamic("a", "p")}},
	{"false/a//;true/a/b/p/;", []*mesos.Resource_ReservationInfo{static("a"), dynamic("a/b", "p")}},
	{`true/a/p/"k"="v";`, []*mesos.Resource_ReservationInfo{labelled(dynamic("a", "p"), "k", "v")}},
}

func static(role string) *mesos.Resource_ReservationInfo {
	return &mesos.Resource_ReservationInfo{Type: mesos.Resource_ReservationInfo_STATIC.Enum(), Role: &role}
}

func dynamic(role, principal string) *mesos.Resource_ReservationInfo {
	r := &mesos.Resource_ReservationInfo{Type: mesos.Resource_ReservationInfo_DYNAMIC.Enum(), Role: &role}
	if principal != "" {
		r.Principal = &principal
	}
	return r
}

func labelled(r *mesos.Resource_ReservationInfo, key, value string) *mesos.Resource_ReservationInfo {
	r = proto.CloneOf(r)
	if r.Labels == nil {
		r.Labels = &mesos.Labels{}
	}
	r.Labels.Labels = append(r.Labels.Labels, &mesos.Label{Key: &key, Value: &value})
	return r
}

// drawBag draws protos and, independently of the code under test, their model.
func drawBag(t *rapid.T, label string) ([]*mesos.Resource, twin) {
	var protos []*mesos.Resource
	model := twin{}
	for range rapid.IntRange(0, 6).Draw(t, label+" objects") {
		p, x := drawThing(t)
		protos = append(protos, p)
		model.put(x)
	}
	return protos, model
}

func drawThing(t *rapid.T) (*mesos.Resource, thing) {
	x := thing{ports: map[uint64]bool{}, items: map[string]bool{}}
	p := &mesos.Resource{}
	x.what.Name = rapid.SampledFrom([]string{"cpus", "mem", "disk", "ports", "zoo"}).Draw(t, "name")
	p.Name = &x.what.Name
	switch x.what.Name {
	case "ports":
		x.what.Kind, p.Type, p.Ranges = "RANGES", typeRanges, &mesos.Value_Ranges{}
		for at := uint64(0); at < 12; at++ {
			b := at + uint64(rapid.IntRange(0, 4).Draw(t, "gap"))
			e := b + uint64(rapid.IntRange(0, 3).Draw(t, "span"))
			if e > 12 {
				break
			}
			for port := b; port <= e; port++ {
				x.ports[port] = true
			}
			p.Ranges.Range = append(p.Ranges.Range, &mesos.Value_Range{Begin: &b, End: &e})
			at = e
		}
	case "zoo":
		x.what.Kind, p.Type, p.Set = "SET", typeSet, &mesos.Value_Set{}
		for _, s := range []string{"ape", "bee", "cat"} {
			if rapid.Bool().Draw(t, s) {
				x.items[s] = true
				p.Set.Item = append([]string{s}, p.Set.Item...)
			}
		}
	default:
		x.what.Kind, p.Type = "SCALAR", typeScalar
		x.amount = rapid.SampledFrom([]int64{0, 1, 100, 999, 1000, 2500}).Draw(t, "amount")
		v := float64(x.amount) / 1000
		p.Scalar = &mesos.Value_Scalar{Value: &v}
	}
	if to := rapid.SampledFrom([]string{"", "", "r"}).Draw(t, "allocated"); to != "" {
		x.what.Allocated = to
		p.AllocationInfo = &mesos.Resource_AllocationInfo{Role: &to}
	}
	s := rapid.SampledFrom(stacks).Draw(t, "stack")
	x.what.Stack, p.Reservations = s.spelled, s.protos
	if x.what.Revocable = rapid.IntRange(0, 5).Draw(t, "revocable") == 0; x.what.Revocable {
		p.Revocable = &mesos.Resource_RevocableInfo{}
	}
	if x.what.Name == "disk" {
		drawDisk(t, p, &x)
	}
	return p, x
}

func drawDisk(t *rapid.T, p *mesos.Resource, x *thing) {
	root := rapid.SampledFrom([]string{"/1", "/2"}).Draw(t, "root")
	d := &mesos.Resource_DiskInfo{}
	switch rapid.IntRange(0, 3).Draw(t, "source") {
	case 1:
		x.what.Disk = "PATH" + root
		d.Source = &mesos.Resource_DiskInfo_Source{
			Type: mesos.Resource_DiskInfo_Source_PATH.Enum(), Path: &mesos.Resource_DiskInfo_Source_Path{Root: &root},
		}
	case 2:
		x.what.Disk = "MOUNT" + root
		d.Source = &mesos.Resource_DiskInfo_Source{
			Type: mesos.Resource_DiskInfo_Source_MOUNT.Enum(), Mount: &mesos.Resource_DiskInfo_Source_Mount{Root: &root},
		}
	}
	if id := rapid.SampledFrom([]string{"", "", "v", "w"}).Draw(t, "volume"); id != "" {
		x.what.Volume = id
		path := rapid.SampledFrom([]string{"x", "y"}).Draw(t, "path")
		d.Persistence = &mesos.Resource_DiskInfo_Persistence{Id: &id}
		d.Volume = &mesos.Volume{Mode: mesos.Volume_RW.Enum(), ContainerPath: &path}
		if x.what.Shared = rapid.Bool().Draw(t, "shared"); x.what.Shared {
			p.Shared = &mesos.Resource_SharedInfo{}
		}
	}
	if d.Source != nil || d.Persistence != nil {
		p.Disk = d
	}
}

func mustOf(t rapid.TB, rs ...*mesos.Resource) Resources {
	t.Helper()
	r, err := Of(rs...)
	if err != nil {
		t.Fatalf("Of: %v", err)
	}
	return r
}

// checkForm fails if a bag is not in canonical form.
func checkForm(t rapid.TB, r Resources) {
	t.Helper()
	if r.items != nil && len(r.items) == 0 {
		t.Fatalf("an empty bag is not the zero value")
	}
	for i := range r.items {
		it := &r.items[i]
		if it.empty() {
			t.Fatalf("%v has the empty %v", r, it)
		}
		if i == 0 {
			continue
		}
		if c := compare(&r.items[i-1], it); c > 0 || c == 0 && (!it.id.atomic || it.id.shared) {
			t.Fatalf("%v: objects %d and %d are not in order", r, i-1, i)
		}
	}
}

func TestTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pa, ma := drawBag(t, "a")
		pb, mb := drawBag(t, "b")
		a, b := mustOf(t, pa...), mustOf(t, pb...)
		before := a.String() + b.String()
		same := func(what string, got Resources, want twin) {
			t.Helper()
			checkForm(t, got)
			if g, w := twinOf(got).String(), want.String(); g != w {
				t.Fatalf("%s of\n %v\n %v\ngot\n%s\nwant\n%s", what, a, b, g, w)
			}
		}
		same("a", a, ma)
		same("b", b, mb)
		sum, diff := a.Add(b), a.Sub(b)
		same("a+b", sum, ma.add(mb))
		same("a-b", diff, ma.sub(mb))
		if got, want := a.Contains(b), ma.contains(mb); got != want {
			t.Fatalf("%v contains %v: %v, want %v", a, b, got, want)
		}
		if got, want := a.Equal(b), ma.String() == mb.String(); got != want {
			t.Fatalf("%v equals %v: %v, want %v", a, b, got, want)
		}
		if !sum.Contains(a) || !sum.Contains(b) || !a.Contains(diff) {
			t.Fatalf("%v and %v: a sum lacks a part of it, or a difference has more", a, b)
		}
		if !sum.Equal(b.Add(a)) {
			t.Fatalf("%v + %v is not the same both ways", a, b)
		}
		if a.Contains(b) && !diff.Add(b).Equal(a) {
			t.Fatalf("%v - %v + the same is %v", a, b, diff.Add(b))
		}
		if a.String()+b.String() != before {
			t.Fatalf("an operand was changed: %v %v, before %s", a, b, before)
		}
		allocated := a.Allocate("q")
		checkForm(t, allocated)
		for it := range allocated.All() {
			if it.AllocatedTo() != "q" {
				t.Fatalf("%v is not allocated to q", it)
			}
		}
		if !allocated.Unallocate().Equal(a.Unallocate()) {
			t.Fatalf("%v: allocating changes amounts", a)
		}
	})
}

// What a bag writes, in each format, it reads again.
func TestTwinFormats(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		protos, _ := drawBag(t, "a")
		a := mustOf(t, protos...)
		once := a // the wire has no counts of shared volumes
		once.items = slices.Clone(a.items)
		for i := range once.items {
			once.items[i].shares = 1
		}
		for name, out := range map[string][]*mesos.Resource{
			"Proto": a.Proto(), "old": a.ProtoFor(false, true), "endpoint": a.ProtoEndpoint(),
		} {
			var wire []*mesos.Resource
			for _, p := range out {
				b, err := proto.Marshal(p)
				if err != nil {
					t.Fatal(err)
				}
				var q mesos.Resource
				if err := proto.Unmarshal(b, &q); err != nil {
					t.Fatal(err)
				}
				wire = append(wire, &q)
			}
			if got := mustOf(t, wire...); !got.Equal(once) {
				t.Fatalf("%s of %v reads as %v", name, once, got)
			}
		}
		for _, p := range a.ProtoFor(true, false) {
			if p.AllocationInfo != nil {
				t.Fatalf("%v has an allocation", p)
			}
		}
	})
}

// Reserving, creating volumes and going all the way back gives the same bag, and no
// step changes an amount.
func TestTwinApply(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cpus := rapid.Int64Range(1, 5000).Draw(t, "cpus")
		disk := rapid.Int64Range(2, 9000).Draw(t, "disk")
		cut := rapid.Int64Range(1, disk).Draw(t, "cut")
		bag := mustOf(t, scalar("cpus", cpus), scalar("disk", disk))
		steps := []*mesos.Offer_Operation{
			reserveOp(withStack(scalar("disk", cut), dynamic("a", "p"))),
			reserveOp(withStack(scalar("disk", cut), dynamic("a", "p"), dynamic("a/b", "p"))),
			createOp(volume(withStack(scalar("disk", cut), dynamic("a", "p"), dynamic("a/b", "p")), "v")),
			destroyOp(volume(withStack(scalar("disk", cut), dynamic("a", "p"), dynamic("a/b", "p")), "v")),
			unreserveOp(withStack(scalar("disk", cut), dynamic("a", "p"), dynamic("a/b", "p"))),
			unreserveOp(withStack(scalar("disk", cut), dynamic("a", "p"))),
		}
		now := bag
		for _, op := range steps {
			next, err := now.Apply(op)
			if err != nil {
				t.Fatalf("%v on %v: %v", op.GetType(), now, err)
			}
			checkForm(t, next)
			if next.Quantities().String() != bag.Quantities().String() {
				t.Fatalf("%v changed amounts: %v, before %v", op.GetType(), next, now)
			}
			if _, err := next.Apply(op); err == nil && cut*2 > disk {
				t.Fatalf("%v applies twice to %v", op.GetType(), now)
			}
			now = next
		}
		if !now.Equal(bag) {
			t.Fatalf("after the way back: %v, at first %v", now, bag)
		}
	})
}

// Shrinking never leaves more than the limit, never makes anything up, and only drops
// whole what cannot be split.
func TestTwinShrink(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		protos, _ := drawBag(t, "a")
		a := mustOf(t, protos...)
		var limit Quantities
		for _, name := range []string{"cpus", "disk", "mem"} {
			if v := rapid.SampledFrom([]Milli{-1, 0, 1, 500, 1000, 3000}).Draw(t, name); v >= 0 {
				limit = limit.Set(name, v)
			}
		}
		got := a.Shrink(limit)
		checkForm(t, got)
		if !a.Contains(got) {
			t.Fatalf("%v shrunk to %v has more than before", a, got)
		}
		free := func(r Resources) Resources { return r.Unreserved().NonRevocable().Scalars() }
		rest := func(r Resources) Resources {
			return r.Filter(func(it *Resource) bool { return it.Reserved() || it.Revocable() || it.Kind() != Scalar })
		}
		if !rest(a).Equal(rest(got)) {
			t.Fatalf("%v shrunk by %v to %v: what is reserved, revocable or no scalar changed", a, limit, got)
		}
		for _, name := range []string{"cpus", "disk", "mem"} {
			v, ok := limit.Get(name)
			before, after := free(a).Sum(name), free(got).Sum(name)
			switch {
			case !ok && before != after:
				t.Fatalf("%v shrunk by %v to %v: %s has no limit", a, limit, got, name)
			case ok && after > v:
				t.Fatalf("%v shrunk by %v to %v: too much %s", a, limit, got, name)
			case ok && name != "disk" && after != min(before, v):
				t.Fatalf("%v shrunk by %v to %v: too little %s", a, limit, got, name)
			}
		}
	})
}
