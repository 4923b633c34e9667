package match_test

import (
	"testing"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/match"
)

func mappings(host ...int) *marathon.Container {
	c := &marathon.Container{Type: "MESOS"}
	for n, p := range host {
		m := marathon.PortMapping{ContainerPort: 80 + n, Protocol: "tcp"}
		if p >= 0 {
			m.HostPort = &p
		}
		c.PortMappings = append(c.PortMappings, m)
	}
	return c
}

func definitions(ports ...int) (all []marathon.PortDefinition) {
	for _, p := range ports {
		all = append(all, marathon.PortDefinition{Port: p, Protocol: "tcp"})
	}
	return all
}

// The cases are Marathon's, src/test/scala/mesosphere/marathon/tasks/PortsMatcherTest.scala,
// and more.
func TestPorts(t *testing.T) {
	for _, one := range []struct {
		name   string
		app    func(*marathon.App)
		offer  string
		fixed  []int // what must come out; -1 is any in the offer
		refuse string
	}{
		{"none", nil, "ports:[31000-31001]", nil, ""},
		{"none of none", nil, "", nil, ""},
		{"random", func(a *marathon.App) { a.PortDefinitions = definitions(80, 81) }, "ports:[31000-31001]", []int{-1, -1}, ""},
		{"random from two ranges", func(a *marathon.App) { a.PortDefinitions = definitions(1, 2, 3, 4, 5) }, "ports:[30000-30003,31000-31000]", []int{-1, -1, -1, -1, -1}, ""},
		{"too few", func(a *marathon.App) { a.PortDefinitions = definitions(1, 2, 3, 4, 5, 6) }, "ports:[30000-30003,31000-31000]", nil, "6 ports needed, 5 offered"},
		{"no ports", func(a *marathon.App) { a.PortDefinitions = definitions(0) }, "", nil, "1 ports needed, 0 offered"},
		{"required", func(a *marathon.App) { a.RequirePorts, a.PortDefinitions = true, definitions(80, 81, 82) }, "ports:[80-82]", []int{80, 81, 82}, ""},
		{"required in their order", func(a *marathon.App) { a.RequirePorts, a.PortDefinitions = true, definitions(25552, 25551) }, "ports:[25000-26000]", []int{25552, 25551}, ""},
		{"required, from two ranges", func(a *marathon.App) { a.RequirePorts, a.PortDefinitions = true, definitions(80, 81, 82, 83) }, "ports:[80-81,83-85,82-82]", []int{80, 81, 82, 83}, ""},
		{"required, reserved", func(a *marathon.App) { a.RequirePorts, a.PortDefinitions = true, definitions(80, 90) }, "ports:[80-82];ports(dev):[90-91]", []int{80, 90}, ""},
		{"required, not there", func(a *marathon.App) { a.RequirePorts, a.PortDefinitions = true, definitions(80, 86) }, "ports:[80-85]", nil, "port 86 is not in the offer"},
		{"mapped to any", func(a *marathon.App) { a.Container = mappings(0) }, "ports:[31000-31000]", []int{31000}, ""},
		{"mapped, some fixed", func(a *marathon.App) { a.Container = mappings(0, 31002, 0) }, "ports:[31000-31002]", []int{-1, 31002, -1}, ""},
		{"mapped, not on the host", func(a *marathon.App) { a.Container = mappings(-1, 0, -1) }, "ports:[31000-31000]", []int{0, 31000, 0}, ""},
		{"mapped, only inside", func(a *marathon.App) { a.Container = mappings(-1) }, "", []int{0}, ""},
		{"mapped, one twice", func(a *marathon.App) { a.Container = mappings(53, 53) }, "ports:[53-53]", []int{53, 53}, ""},
		{"mapped, fixed missing", func(a *marathon.App) { a.Container = mappings(0, 80) }, "ports:[31000-31002]", nil, "port 80 is not in the offer"},
		{"fixed leave too few", func(a *marathon.App) { a.Container = mappings(31000, 0, 0) }, "ports:[31000-31001]", nil, "3 ports needed, 2 offered"},
	} {
		t.Run(one.name, func(t *testing.T) {
			for seed := range uint64(30) {
				w := want(app(one.app), 1)
				w.Seed = seed
				p := pool(t, offer(t, "h", "cpus:1;mem:128;"+one.offer, "dev"))
				if one.refuse != "" {
					refused(t, p, w, match.InsufficientPorts, one.refuse)
					continue
				}
				out := fits(t, p, w)
				got := out.Launch.Ports
				if len(got) != len(one.fixed) {
					t.Fatalf("ports %v", got)
				}
				numbers := map[int]bool{}
				for n, p := range got {
					if one.fixed[n] >= 0 && p != one.fixed[n] {
						t.Errorf("ports %v, want %v", got, one.fixed)
					}
					if one.fixed[n] < 0 && numbers[p] {
						t.Errorf("ports %v: one twice", got)
					}
					numbers[p] = true
				}
				delete(numbers, 0)
				count := 0
				for _, g := range bag(t, out.Resources).RangesOf("ports") {
					for n := g.Begin; n <= g.End; n++ {
						count++
						if !numbers[int(n)] {
							t.Errorf("port %d is taken, the instance has %v", n, got)
						}
					}
				}
				if count != len(numbers) {
					t.Errorf("%d ports taken for %v", count, got)
				}
			}
		})
	}
}

func TestPortsAreRandomButSeeded(t *testing.T) {
	draw := func(seed uint64) int {
		w := want(app(func(a *marathon.App) { a.PortDefinitions = definitions(0) }), 1)
		w.Seed = seed
		return fits(t, pool(t, offer(t, "h", "cpus:1;mem:128;ports:[31000-31099]", "dev")), w).Launch.Ports[0]
	}
	seen := map[int]bool{}
	for seed := range uint64(200) {
		if draw(seed) != draw(seed) {
			t.Fatal("one seed, two ports")
		}
		seen[draw(seed)] = true
	}
	if len(seen) < 60 {
		t.Errorf("200 seeds draw only %d of 100 ports", len(seen))
	}
}

func TestReservedGoFirst(t *testing.T) {
	for _, one := range []struct {
		accept     []string
		res, plain int // milli cpus taken, 0 and 0 for a refusal
	}{
		{nil, 1000, 500},
		{[]string{"*", "dev"}, 1000, 500},
		{[]string{"*"}, 0, 1500},
		{[]string{"dev"}, 0, 0},
	} {
		p := pool(t, offer(t, "h", "cpus(dev):1;cpus:2;mem(dev):500;mem:500", "dev"))
		out, no := p.Fit(want(app(func(a *marathon.App) { a.CPUs, a.AcceptedResourceRoles = 1.5, one.accept }), 1))
		if one.res+one.plain == 0 {
			if no == nil || no.Reason != match.InsufficientCpus || no.Text() != "1.5 cpus needed, 1 offered" {
				t.Errorf("%v: %v", one.accept, no)
			}
			continue
		}
		got := bag(t, out.Resources)
		if int(got.Reserved().Sum("cpus")) != one.res || int(got.Unreserved().Sum("cpus")) != one.plain {
			t.Errorf("%v: %v", one.accept, got)
		}
	}
	w := want(app(func(a *marathon.App) { a.AcceptedResourceRoles = []string{"*"} }), 1)
	refused(t, pool(t, offer(t, "h", "cpus(dev):4;mem(dev):500", "dev")), w, match.UnfulfilledRole,
		`everything in the offer is reserved, and acceptedResourceRoles takes only what is not: add "dev"`)
}

func TestPoolErrors(t *testing.T) {
	if _, err := match.NewPool(nil); err == nil {
		t.Error("a pool of nothing")
	}
	a := offer(t, "a", machine, "dev")
	for name, offers := range map[string][]*mesos.Offer{
		"two agents": {a, offer(t, "b", machine, "dev")},
		"two roles":  {a, offer(t, "a", machine, "ops")},
		"a far port": {offer(t, "a", "ports:[1-70000]", "dev")},
	} {
		if _, err := match.NewPool(offers); err == nil {
			t.Errorf("a pool of %s", name)
		}
	}
}

func TestOffersOfOneAgentAreOnePool(t *testing.T) {
	p := pool(t, offer(t, "a", "cpus:1;mem:64;ports:[1-2]", "dev"), offer(t, "a", "cpus:1;mem:64;ports:[3-4]", "dev"))
	fits(t, p, want(app(func(a *marathon.App) { a.CPUs, a.PortDefinitions = 2, ports(4) }), 1))
	if !p.Empty() {
		t.Error("something is left")
	}
}

// Ports of one pool come in a row and around, so that what is left stays in few ranges.
func TestPortsOfAPoolAreInARow(t *testing.T) {
	p := pool(t, offer(t, "h", "cpus:10;mem:1280;ports:[100-102,200-203]", "dev"))
	seen := map[int]bool{}
	last := 0
	breaks := 0
	for n := range 7 {
		w := want(app(func(a *marathon.App) { a.PortDefinitions = definitions(0) }), n)
		got := fits(t, p, w).Launch.Ports[0]
		if seen[got] {
			t.Errorf("port %d twice", got)
		}
		seen[got] = true
		if last > 0 && got != last+1 {
			breaks++
		}
		last = got
	}
	if breaks > 2 {
		t.Errorf("%d breaks in %v", breaks, seen)
	}
	refused(t, p, want(app(func(a *marathon.App) { a.PortDefinitions = definitions(0) }), 9), match.InsufficientPorts, "1 ports needed, 0 offered")
}

func TestRoomIsNeverStricterThanFit(t *testing.T) {
	p := pool(t, offer(t, "h", "cpus:1;mem:128;ports:[1-2]", "dev"))
	for _, one := range []struct {
		change func(*marathon.App)
		room   bool
	}{
		{nil, true},
		{func(a *marathon.App) { a.CPUs = 1.001 }, false},
		{func(a *marathon.App) { a.Mem = 129 }, false},
		{func(a *marathon.App) { a.Disk = 1 }, false},
		{func(a *marathon.App) { a.GPUs = 1 }, false},
		{func(a *marathon.App) { a.PortDefinitions = definitions(0, 0, 0) }, false},
		{func(a *marathon.App) { a.Role = "ops" }, false},
		{func(a *marathon.App) { a.Networks[0].Mode = marathon.BridgeNetwork }, false},
		{func(a *marathon.App) { a.Constraints = [][]string{{"rack", "UNIQUE"}} }, true},
	} {
		a := app(one.change)
		w := want(a, 1)
		if !p.Room(w) {
			t.Error("no room for what nothing is known of")
		}
		w.Placed = match.Count(a, nil)
		if got := p.Room(w); got != one.room {
			t.Errorf("%+v: %v", a, got)
		}
		if !one.room {
			if _, no := p.Fit(w); no == nil {
				t.Errorf("%+v fits without room", a)
			}
		}
	}
	held := want(app(nil), 1)
	held.Placed, held.Instance.Reservation, held.Instance.Agent = match.Count(held.App, nil), new(instance.Reservation), &instance.Agent{ID: "elsewhere"}
	if p.Room(held) {
		t.Error("room where its reservation is not")
	}
}

func TestLacks(t *testing.T) {
	for _, one := range []struct {
		change func(*marathon.App)
		want   float64
	}{
		{func(a *marathon.App) { a.CPUs = 5 }, 0.2},
		{func(a *marathon.App) { a.CPUs, a.Mem = 5, 2048 }, 0.5},
		{func(a *marathon.App) { a.PortDefinitions = ports(20) }, 0.5},
		{func(a *marathon.App) { a.CPUs, a.Constraints = 5, [][]string{{"x", "IS", "y"}} }, 1},
		{func(a *marathon.App) { a.RequirePorts, a.PortDefinitions = true, ports(1) }, 1},
	} {
		_, no := pool(t, offer(t, "h", machine, "dev")).Fit(want(app(one.change), 1))
		if no == nil || no.Lacks < one.want-1e-9 || no.Lacks > one.want+1e-9 {
			t.Errorf("%+v, want %v", no, one.want)
		}
	}
}

func TestGPUs(t *testing.T) {
	text := "cpus:1;mem:128;gpus:2"
	for _, one := range []struct {
		label string
		waste bool
		gpus  int
		fits  bool
	}{
		{"", false, 0, false}, {"", true, 0, true}, {"restricted", true, 0, false}, {"unrestricted", false, 0, true},
		{"", false, 1, true}, {"", false, 3, false}, {"other", false, 0, false},
	} {
		w := want(app(func(a *marathon.App) {
			a.GPUs, a.Labels = one.gpus, map[string]string{"GPU_SCHEDULING_BEHAVIOR": one.label}
		}), 1)
		w.WasteGPUs = one.waste
		_, no := pool(t, offer(t, "h", text, "dev")).Fit(w)
		if (no == nil) != one.fits {
			t.Errorf("%+v: %v", one, no)
		}
		if one.gpus == 3 && (no.Reason != match.InsufficientGpus || no.Text() != "3 gpus needed, 2 offered") {
			t.Errorf("%s: %s", no.Reason, no.Text())
		}
	}
	// Once the GPUs are used, the agent is like any other.
	p := pool(t, offer(t, "h", text, "dev"))
	fits(t, p, want(app(func(a *marathon.App) { a.GPUs, a.CPUs, a.Mem = 2, 0.5, 64 }), 1))
	fits(t, p, want(app(func(a *marathon.App) { a.CPUs, a.Mem = 0.5, 64 }), 2))
}
