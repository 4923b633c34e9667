package view

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/state"
)

// The number of groups is kept as they come and go; it is that of a walk over all.
func TestGroupsAreCounted(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 0))
	v := New()
	apps, groups := make(map[string]bool), make(map[string]bool)
	for step := range 2000 {
		id := ""
		for range 1 + rng.IntN(4) {
			id += fmt.Sprintf("/%c", 'a'+rng.IntN(3))
		}
		there := rng.IntN(2) == 0
		if rng.IntN(2) == 0 {
			e := state.ChangedApp{ID: id}
			if there {
				e.App = &marathon.App{ID: id}
			}
			apps[id] = there
			v.Apply(e)
		} else {
			e := state.ChangedGroup{ID: id}
			if there {
				e.Group = &app.Group{ID: id}
			}
			groups[id] = there
			v.Apply(e)
		}
		want := make(map[string]bool)
		add := func(id string) {
			for ; id != "/"; id = parent(id) {
				want[id] = true
			}
		}
		for id, there := range apps {
			if there {
				add(parent(id))
			}
		}
		for id, there := range groups {
			if there {
				add(id)
			}
		}
		if n := v.Totals().Groups; n != len(want) {
			t.Fatalf("step %d: %d groups are counted, there are %d", step, n, len(want))
		}
		if v.HasGroup(id) != want[id] || v.HasGroup(id) != (v.Group(id) != nil) || v.HasGroup(id+"/x") {
			t.Fatalf("step %d: whether %s is a group is not known", step, id)
		}
	}
}

// BenchmarkTotals is what GET /metrics asks of the view, with 10,000 apps in 100 groups.
func BenchmarkTotals(b *testing.B) {
	v := New()
	for n := range 10_000 {
		id := fmt.Sprintf("/g%d/app-%d", n%100, n)
		v.Apply(state.ChangedApp{ID: id, App: &marathon.App{ID: id}})
	}
	for b.Loop() {
		if t := v.Totals(); t.Groups != 100 {
			b.Fatal(t)
		}
	}
}
