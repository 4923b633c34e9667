package match_test

import (
	"fmt"
	"testing"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/match"
)

// plain is the app of the figures: cpus, memory and a port.
func plain() *marathon.App {
	return app(func(a *marathon.App) { a.CPUs, a.Mem, a.PortDefinitions = 0.1, 32, ports(1) })
}

// BenchmarkFit is a launch of a plain app from an agent of 320 places.
func BenchmarkFit(b *testing.B) {
	o := offer(b, "h", "cpus:32;mem:131072;disk:1048576;ports:[31000-32000]", "dev")
	a := plain()
	w := want(a, 1)
	w.Placed = match.Count(a, nil)
	var p *match.Pool
	b.ReportAllocs()
	n := 320
	for b.Loop() {
		if n == 320 {
			p, n = pool(b, o), 0
		}
		n++
		w.Seed++
		if _, no := p.Fit(w); no != nil {
			b.Fatal(no.Text())
		}
	}
}

func BenchmarkFitUnique(b *testing.B) {
	a := plain()
	a.Constraints = [][]string{{"hostname", "MAX_PER", "1000000000"}, {"rack", "LIKE", "r.*"}}
	o := attributes(b, offer(b, "h", "cpus:32;mem:131072;disk:1048576;ports:[31000-32000]", "dev"), "rack:r1")
	w := want(a, 1)
	w.Placed = match.Count(a, nil)
	var p *match.Pool
	b.ReportAllocs()
	n := 320
	for b.Loop() {
		if n == 320 {
			p, n = pool(b, o), 0
		}
		n++
		w.Seed++
		if _, no := p.Fit(w); no != nil {
			b.Fatal(no.Text())
		}
	}
}

func BenchmarkRefusal(b *testing.B) {
	p := pool(b, offer(b, "h", "cpus:0.05;mem:131072;disk:1048576;ports:[31000-32000]", "dev"))
	a := plain()
	w := want(a, 1)
	w.Placed = match.Count(a, nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, no := p.Fit(w); no == nil {
			b.Fatal("fits")
		}
	}
}

func BenchmarkRoom(b *testing.B) {
	p := pool(b, offer(b, "h", "cpus:0.05;mem:131072;disk:1048576;ports:[31000-32000]", "dev"))
	a := plain()
	w := want(a, 1)
	w.Placed = match.Count(a, nil)
	b.ReportAllocs()
	for b.Loop() {
		if p.Room(w) {
			b.Fatal("room")
		}
	}
}

func BenchmarkNewPool(b *testing.B) {
	o := attributes(b, offer(b, "h", "cpus:32;mem:131072;disk:1048576;ports:[31000-32000]", "dev"), "rack:r1;os:linux")
	b.ReportAllocs()
	for b.Loop() {
		pool(b, o)
	}
}

func BenchmarkTask(b *testing.B) {
	a := plain()
	a.Labels = map[string]string{"HAPROXY_GROUP": "external", "team": "web"}
	a.Env = map[string]marathon.EnvValue{}
	for n := range 5 {
		a.Env[fmt.Sprint("VARIABLE_", n)] = marathon.EnvValue{Value: "value"}
	}
	a.HealthChecks = []marathon.HealthCheck{health(marathon.HTTP, nil)}
	i := on(a, 31005)
	b.ReportAllocs()
	for b.Loop() {
		match.Task(a, i, nil, match.TaskOptions{})
	}
}

func BenchmarkText(b *testing.B) {
	p := pool(b, offer(b, "h", "cpus:0.05;mem:131072", "dev"))
	_, no := p.Fit(want(plain(), 1))
	b.ReportAllocs()
	for b.Loop() {
		_ = no.Text()
	}
}

// BenchmarkCount of an app whose constraints look at all its instances.
func BenchmarkCount(b *testing.B) {
	a := plain()
	a.Constraints = [][]string{{"hostname", "GROUP_BY"}}
	all := make([]*instance.Instance, 10_000)
	for n := range all {
		all[n] = on(a)
		all[n].ID, all[n].Condition = fmt.Sprint(n), "Running"
		all[n].Agent.Host = fmt.Sprint("h", n%100)
	}
	b.ReportAllocs()
	for b.Loop() {
		match.Count(a, all)
	}
}
