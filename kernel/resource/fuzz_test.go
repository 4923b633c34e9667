package resource

import (
	"testing"

	"google.golang.org/protobuf/proto"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
)

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"cpus:4;mem:1024;ports:[31000-32000];disk(role):10;bugs:{a,b}",
		"ports:[0-18446744073709551615,5-5];cpus:1e-3",
		`[{"name":"disk","type":"SCALAR","scalar":{"value":"8"},"role":"r","disk":{"source":{"type":"MOUNT","mount":{"root":"/m"}}}}]`,
		`[{"name":"p","type":"RANGES","ranges":{"range":[{"begin":1,"end":2}]},"reservations":[{"type":"STATIC","role":"r","labels":{"labels":[{"key":"k"}]}}]}]`,
	} {
		f.Add(seed, "*")
	}
	f.Fuzz(func(t *testing.T, text, role string) {
		r, err := Parse(text, role)
		if err != nil {
			return
		}
		exercise(t, r)
	})
}

func FuzzOf(f *testing.F) {
	for _, p := range []*mesos.Resource{
		scalar("cpus", 4000),
		withStack(scalar("mem", 1), static("a"), dynamic("a/b", "p")),
		sharedVolume(withStack(scalar("disk", 64000), labelled(dynamic("a", "p"), "k", "v")), "v"),
		allocated(source(scalar("disk", 1), mesos.Resource_DiskInfo_Source_MOUNT, "/m"), "r"),
	} {
		b, err := proto.Marshal(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, b)
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var p, q mesos.Resource
		if proto.Unmarshal(a, &p) != nil || proto.Unmarshal(b, &q) != nil {
			return
		}
		if one, err := Of(&p); err == nil {
			exercise(t, one)
			if two, err := Of(&q); err == nil {
				sum := one.Add(two)
				checkForm(t, sum)
				if !sum.Contains(one) || !sum.Contains(two) || !sum.Sub(two).Sub(one).Empty() {
					t.Fatalf("%v + %v is %v", one, two, sum)
				}
				one.Apply(reserveOp(&q))
				one.Apply(createOp(&q))
				one.Apply(unreserveOp(&q))
				one.Apply(destroyOp(&q))
			}
		}
	})
}

// exercise does with a bag whatever can be done with any.
func exercise(t *testing.T, r Resources) {
	checkForm(t, r)
	if !r.Sub(r).Empty() || !r.Contains(r) || !r.Equal(r) {
		t.Fatalf("%v is not equal to itself", r)
	}
	again, err := Of(r.Proto()...)
	if err != nil || !again.Equal(r) {
		t.Fatalf("%v reads as %v, %v", r, again, err)
	}
	for _, p := range r.ProtoFor(false, false) {
		if _, err := proto.Marshal(p); err != nil {
			t.Fatalf("%v: %v", r, err)
		}
	}
	checkForm(t, r.Allocate("x").WithoutReservations())
	if r.String() == "" || r.Quantities() == nil && r.Scalars().Len() > 0 {
		t.Fatalf("%v has no form", r)
	}
}
