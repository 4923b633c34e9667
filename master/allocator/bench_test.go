package allocator

import (
	"fmt"
	"testing"
	"time"

	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
)

// The grid of Mesos's HierarchicalAllocator benchmarks. One operation is one cycle over
// all agents; ns/agent is what must stay level.
var grid = func() (g []struct{ agents, frameworks int }) {
	for _, agents := range []int{1000, 5000, 10000, 20000} {
		for _, frameworks := range []int{100, 500, 1000, 2000} {
			g = append(g, struct{ agents, frameworks int }{agents, frameworks})
		}
	}
	return g
}()

var machine = must("cpus:24;mem:4096;disk:4096;ports:[31000-32000]")

// cluster is agents with everything free, and frameworks in one role each or all in "*".
func cluster(agents, frameworks int, ownRoles bool) *Allocator {
	a := New(Config{Seed: 1})
	for i := range frameworks {
		role := "*"
		if ownRoles {
			role = fmt.Sprintf("role-%d", i)
		}
		a.AddFramework(Framework{ID: id.Framework(fmt.Sprintf("framework-%d", i)), Roles: []string{role}, MultiRole: true})
	}
	for i := range agents {
		a.AddAgent(Agent{ID: id.Agent(fmt.Sprintf("agent-%d", i)), Hostname: fmt.Sprintf("host-%d", i), Total: machine}, nil)
	}
	return a
}

func giveBack(a *Allocator, now time.Duration, grants []Grant, refusal *Refusal) {
	for _, g := range grants {
		a.Recover(now, g.Framework, g.Agent, g.Resources, refusal)
	}
}

func onGrid(b *testing.B, run func(b *testing.B, agents, frameworks int)) {
	for _, g := range grid {
		b.Run(fmt.Sprintf("agents=%d/frameworks=%d", g.agents, g.frameworks), func(b *testing.B) {
			b.ReportAllocs()
			run(b, g.agents, g.frameworks)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(g.agents), "ns/agent")
		})
	}
}

func benchmarkFull(b *testing.B, ownRoles bool) {
	onGrid(b, func(b *testing.B, agents, frameworks int) {
		a := cluster(agents, frameworks, ownRoles)
		for b.Loop() {
			grants := a.Allocate(0, true)
			b.StopTimer()
			if len(grants) != agents {
				b.Fatalf("%d grants", len(grants))
			}
			giveBack(a, 0, grants, nil)
			b.StartTimer()
		}
	})
}

// BenchmarkFullOneRole is all agents free, all frameworks in one role.
func BenchmarkFullOneRole(b *testing.B) { benchmarkFull(b, false) }

// BenchmarkFullOwnRoles is the same with a role for each framework.
func BenchmarkFullOwnRoles(b *testing.B) { benchmarkFull(b, true) }

// BenchmarkDecline is Mesos's DeclineOffers: two thirds of each agent are in use, each
// cycle offers the rest, and all offers are declined for good. It measures a cycle over
// all agents after 20 rounds of that.
func BenchmarkDecline(b *testing.B) {
	used := must("cpus:16;mem:2014;disk:1024;ports:[31000-31000,31002-31002,31004-31004,31006-31006,31008-31008,31010-31010]")
	onGrid(b, func(b *testing.B, agents, frameworks int) {
		a := New(Config{Seed: 1})
		for i := range frameworks {
			a.AddFramework(Framework{ID: id.Framework(fmt.Sprintf("framework-%d", i)), Roles: []string{"*"}})
		}
		for i := range agents {
			f := id.Framework(fmt.Sprintf("framework-%d", i%frameworks))
			a.AddAgent(Agent{ID: id.Agent(fmt.Sprintf("agent-%d", i)), Total: machine},
				map[id.Framework]resource.Resources{f: used.Allocate("*")})
		}
		for range 20 {
			giveBack(a, 0, a.Allocate(0, false), &Refusal{For: maxRefusal})
		}
		for b.Loop() {
			grants := a.Allocate(0, false)
			b.StopTimer()
			if len(grants) != agents {
				b.Fatalf("%d grants", len(grants))
			}
			giveBack(a, 0, grants, nil)
			b.StartTimer()
		}
	})
}

// BenchmarkAllFiltered is a full cycle without notes when every framework has refused
// every agent: no grant, and every filter is looked at.
func BenchmarkAllFiltered(b *testing.B) {
	for _, g := range []struct{ agents, frameworks int }{{1000, 100}, {1000, 1000}, {5000, 100}} {
		b.Run(fmt.Sprintf("agents=%d/frameworks=%d", g.agents, g.frameworks), func(b *testing.B) {
			a := cluster(g.agents, g.frameworks, false)
			for a.Dirty() {
				giveBack(a, 0, a.Allocate(0, false), &Refusal{For: maxRefusal})
			}
			for _, full := range []bool{true, false} {
				b.Run(fmt.Sprintf("forgetting=%t", full), func(b *testing.B) {
					for b.Loop() {
						for _, ag := range a.agents {
							a.mark(ag)
						}
						if n := len(a.Allocate(0, full)); n > 0 {
							b.Fatalf("%d grants", n)
						}
					}
				})
			}
		})
	}
}

// BenchmarkQuota is own roles of which all have a guarantee and a limit that together
// fill half of the cluster.
func BenchmarkQuota(b *testing.B) {
	onGrid(b, func(b *testing.B, agents, frameworks int) {
		a := cluster(agents, frameworks, true)
		for i := range frameworks {
			part := func(per int64) resource.Milli {
				return resource.Milli(per * 1000 * int64(agents) / int64(frameworks) / 2)
			}
			q := resource.Quantities{{Name: "cpus", Value: part(24)}, {Name: "disk", Value: part(4096)}, {Name: "mem", Value: part(4096)}}
			a.SetQuota(fmt.Sprintf("role-%d", i), q, q)
		}
		for b.Loop() {
			grants := a.Allocate(0, true)
			b.StopTimer()
			var cpus resource.Milli
			for _, g := range grants {
				cpus += g.Resources.Sum("cpus")
			}
			if want := resource.Milli(agents) * 12_000; cpus > want || cpus < want-resource.Milli(frameworks) {
				b.Fatalf("%v cpus were granted, quotas are for %v", cpus, want)
			}
			giveBack(a, 0, grants, nil)
			b.StartTimer()
		}
	})
}

// BenchmarkHeadroom is a cluster in which quota holds back almost all: one role with a
// guarantee nobody uses, the others compete for what is beyond it.
func BenchmarkHeadroom(b *testing.B) {
	onGrid(b, func(b *testing.B, agents, frameworks int) {
		a := cluster(agents, frameworks, true)
		n := int64(agents) * 1000
		a.SetQuota("idle", resource.Quantities{{Name: "cpus", Value: resource.Milli(23 * n)}, {Name: "mem", Value: resource.Milli(4000 * n)}}, nil)
		for b.Loop() {
			grants := a.Allocate(0, true)
			b.StopTimer()
			giveBack(a, 0, grants, nil)
			b.StartTimer()
		}
	})
}

// BenchmarkOneAgentChange is an offer declined in a busy cluster: the refusal, the
// cycle that follows, and what it costs to find out who is next.
func BenchmarkOneAgentChange(b *testing.B) {
	onGrid(b, func(b *testing.B, agents, frameworks int) {
		a := cluster(agents, frameworks, false)
		grants := a.Allocate(0, false)
		i, now := 0, time.Duration(0)
		for b.Loop() {
			now += time.Millisecond
			g := &grants[i%len(grants)]
			a.Recover(now, g.Framework, g.Agent, g.Resources, &Refusal{For: time.Second})
			next := a.Allocate(now, false)
			if len(next) != 1 {
				b.Fatalf("%d grants", len(next))
			}
			*g = next[0]
			i++
		}
	})
}

// BenchmarkRevive is one framework's REVIVE when nothing is free.
func BenchmarkRevive(b *testing.B) {
	onGrid(b, func(b *testing.B, agents, frameworks int) {
		a := cluster(agents, frameworks, false)
		a.Allocate(0, false)
		for b.Loop() {
			a.Revive("framework-1", nil)
			a.Allocate(0, false)
		}
	})
}

// BenchmarkExplain asks about every agent of a cluster in which nothing is free.
func BenchmarkExplain(b *testing.B) {
	onGrid(b, func(b *testing.B, agents, frameworks int) {
		a := cluster(agents, frameworks, false)
		a.Allocate(0, false)
		q := Request{Role: "*", Framework: "framework-1", Resources: must("cpus:4;mem:512")}
		for b.Loop() {
			if e := a.Explain(q); e.Fit > 0 {
				b.Fatal(e.Fit)
			}
		}
	})
}
