package resource

import (
	"math/rand/v2"
	"testing"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
)

const reservedText = "cpus(r):1;cpus:2;mem:100;ports(r):[10-19];ports:[30-39]"

func TestTake(t *testing.T) {
	b := mustParse(t, reservedText)
	taken, left, ok := b.Take(Quantities{{"cpus", 1500}, {"mem", 100000}}, nil)
	if !ok || !taken.Equal(mustParse(t, "cpus(r):1;cpus:0.5;mem:100")) {
		t.Errorf("took %v, %v; want the reserved cpu first", taken, ok)
	}
	if !left.Equal(mustParse(t, "cpus:1.5;ports(r):[10-19];ports:[30-39]")) {
		t.Errorf("left %v", left)
	}
	if _, left, ok := b.Take(Quantities{{"cpus", 1500}, {"mem", 100001}}, nil); ok || !left.Equal(b) {
		t.Errorf("took too much, or left %v", left)
	}
	free := func(r *Resource) bool { return !r.Reserved() }
	if taken, _, ok := b.Take(Quantities{{"cpus", 2000}}, free); !ok || taken.Reserved().Len() != 0 {
		t.Errorf("took %v of what is not reserved, %v", taken, ok)
	}
	if _, _, ok := b.Take(Quantities{{"cpus", 2001}}, free); ok {
		t.Error("took reserved cpus, which use does not allow")
	}
	if taken, left, ok := b.Take(nil, nil); !ok || !taken.Empty() || !left.Equal(b) {
		t.Errorf("took %v of nothing", taken)
	}
}

func TestTakeLeavesWholeDisksAlone(t *testing.T) {
	b, err := Of(source(scalar("disk", 100000), mesos.Resource_DiskInfo_Source_MOUNT, "/m"),
		source(scalar("disk", 50000), mesos.Resource_DiskInfo_Source_PATH, "/p"))
	if err != nil {
		t.Fatal(err)
	}
	if taken, _, ok := b.Take(Quantities{{"disk", 50000}}, nil); !ok || taken.Len() != 1 {
		t.Errorf("took %v", taken)
	}
	if _, _, ok := b.Take(Quantities{{"disk", 60000}}, nil); ok {
		t.Error("took a part of a mount disk")
	}
}

func TestTakeRanges(t *testing.T) {
	b := mustParse(t, reservedText)
	taken, left, ok := b.TakeRanges("ports", []Range{{10, 11}, {19, 19}, {33, 35}}, nil)
	if !ok || !taken.Equal(mustParse(t, "ports(r):[10-11,19-19];ports:[33-35]")) {
		t.Errorf("took %v, %v", taken, ok)
	}
	if !left.Equal(mustParse(t, "cpus(r):1;cpus:2;mem:100;ports(r):[12-18];ports:[30-32,36-39]")) {
		t.Errorf("left %v", left)
	}
	if _, left, ok := b.TakeRanges("ports", []Range{{10, 20}}, nil); ok || !left.Equal(b) {
		t.Errorf("took 20, which is not there; left %v", left)
	}
	if _, left, ok := b.TakeRanges("ports", []Range{{30, 39}}, (*Resource).Reserved); ok || !left.Equal(b) {
		t.Error("took unreserved ports, which use does not allow")
	}
	if taken, left, ok := b.TakeRanges("ports", nil, nil); !ok || !taken.Empty() || !left.Equal(b) {
		t.Errorf("took %v of nothing", taken)
	}
}

// What was taken and what is left are together what was there, however often.
func TestTakeLosesNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		b := mustParse(t, reservedText)
		whole, all := b, Resources{}
		for range 20 {
			var taken Resources
			if rng.IntN(2) == 0 {
				at := rng.Uint64N(45)
				taken, b, _ = b.TakeRanges("ports", []Range{{at, at + rng.Uint64N(3)}}, nil)
			} else {
				taken, b, _ = b.Take(Quantities{{"cpus", Milli(rng.IntN(1000))}, {"mem", Milli(rng.IntN(30000))}}, nil)
			}
			all = all.Add(taken)
		}
		if !all.Add(b).Equal(whole) {
			t.Fatalf("took %v, left %v, of %v", all, b, whole)
		}
	}
}

func TestReservationLabel(t *testing.T) {
	stack := func(t mesos.Resource_ReservationInfo_Type, role, key, value string) *mesos.Resource_ReservationInfo {
		return &mesos.Resource_ReservationInfo{Type: &t, Role: &role, Labels: &mesos.Labels{Labels: []*mesos.Label{{Key: &key, Value: &value}}}}
	}
	b, err := Of(withStack(scalar("cpus", 1000),
		stack(mesos.Resource_ReservationInfo_STATIC, "a", "k", "outer"), stack(mesos.Resource_ReservationInfo_DYNAMIC, "a/b", "l", "inner")))
	if err != nil {
		t.Fatal(err)
	}
	for r := range b.All() {
		if v, ok := r.ReservationLabel("l"); v != "inner" || !ok {
			t.Errorf("%q, %v", v, ok)
		}
		if v, ok := r.ReservationLabel("k"); ok {
			t.Errorf("%q of the outer reservation", v)
		}
	}
	for r := range mustParse(t, "cpus:1").All() {
		if _, ok := r.ReservationLabel("l"); ok {
			t.Error("an unreserved resource has a label")
		}
	}
}

func BenchmarkTake(b *testing.B) {
	agent, want := mustParse(b, agentText), Quantities{{"cpus", 500}, {"mem", 256000}}
	b.ReportAllocs()
	for b.Loop() {
		agent.Take(want, nil)
	}
}
