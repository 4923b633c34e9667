package main

import (
	"fmt"
	"math"
	"runtime"
	"time"

	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/master/allocator"
)

// perOperation is the time one call of f takes, over about the given time.
func perOperation(about time.Duration, f func()) time.Duration {
	for n := 1; ; n *= 4 {
		began := time.Now()
		for range n {
			f()
		}
		if took := time.Since(began); took >= about {
			return took / time.Duration(n)
		}
	}
}

// resources is the arithmetic every offer and every task costs several times.
func resources(b *bench) error {
	machine, err := resource.Parse("cpus:32;mem:131072;disk:1048576;ports:[31000-31499,31600-32000]", "*")
	if err != nil {
		return err
	}
	task, err := resource.Parse("cpus:0.5;mem:256;disk:10;ports:[31700-31701]", "*")
	if err != nil {
		return err
	}
	rest := machine.Sub(task)
	about := 200 * time.Millisecond
	if b.quick {
		about = time.Millisecond
	}
	for range b.runs {
		for _, op := range []struct {
			name string
			f    func()
		}{
			{"Add", func() { rest.Add(task) }},
			{"Sub", func() { machine.Sub(task) }},
			{"Contains", func() { machine.Contains(task) }},
		} {
			b.table.add(row{what: "resources: " + op.name + " of two bags of 4", unit: "ns", goal: "-", peer: "-"},
				float64(perOperation(about, op.f)))
		}
	}
	return nil
}

// allocation is one cycle in which every agent is free and offered, on the grid of
// Mesos's benchmarks (src/tests/hierarchical_allocator_benchmarks.cpp).
func allocation(b *bench) error {
	agents, frameworks, cycles := []int{1000, 5000, 10000, 20000}, []int{100, 500, 1000, 2000}, 5
	if b.quick {
		agents, frameworks, cycles = []int{100, 200}, []int{10, 20}, 1
	}
	goals := map[[2]int][2]string{
		{1000, 100}:   {"-", "Mesos 0.1 s"},
		{5000, 500}:   {"-", "Mesos 0.4 s"},
		{10000, 1000}: {"30 ms", "Mesos 1.06 s"},
		{20000, 2000}: {"60 ms", "Mesos 3.8 s"},
	}
	for range b.runs {
		times := map[[2]int]float64{}
		for _, n := range agents {
			for _, f := range frameworks {
				took, err := cycle(n, f, cycles)
				if err != nil {
					return err
				}
				g, ok := goals[[2]int{n, f}]
				if !ok {
					g = [2]string{"-", "-"}
				}
				times[[2]int{n, f}] = millis(took)
				b.table.add(row{what: fmt.Sprintf("allocation cycle, %d agents x %d frameworks", n, f),
					unit: "ms", goal: g[0], peer: g[1]}, millis(took))
			}
		}
		last := len(agents) - 1
		for _, f := range frameworks {
			slope := math.Log(times[[2]int{agents[last], f}]/times[[2]int{agents[0], f}]) /
				math.Log(float64(agents[last])/float64(agents[0]))
			b.table.add(row{what: fmt.Sprintf("allocation, slope over agents at %d frameworks", f), unit: "(1 is linear)",
				goal: "1.1", peer: "-"}, slope)
		}
	}
	return nil
}

// cycle is the mean time of some cycles, after one that grows what grows.
func cycle(agents, frameworks, cycles int) (time.Duration, error) {
	machine, err := resource.Parse("cpus:24;mem:4096;disk:4096;ports:[31000-32000]", "*")
	if err != nil {
		return 0, err
	}
	a := allocator.New(allocator.Config{Seed: 1})
	for i := range frameworks {
		a.AddFramework(allocator.Framework{ID: id.Framework(fmt.Sprintf("framework-%d", i)), Roles: []string{"*"}, MultiRole: true})
	}
	for i := range agents {
		a.AddAgent(allocator.Agent{ID: id.Agent(fmt.Sprintf("agent-%d", i)), Hostname: fmt.Sprintf("host-%d", i), Total: machine}, nil)
	}
	var took time.Duration
	for i := range cycles + 1 {
		runtime.GC()
		began := time.Now()
		grants := a.Allocate(0, true)
		if i > 0 {
			took += time.Since(began)
		}
		if len(grants) != agents {
			return 0, fmt.Errorf("%d agents got %d grants", agents, len(grants))
		}
		for _, g := range grants {
			a.Recover(0, g.Framework, g.Agent, g.Resources, nil)
		}
	}
	return took / time.Duration(cycles), nil
}
