package deploy

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/plan"
)

// Notes have what a map has, old ones do not change, and Since finds every difference.
func TestNotesAgainstAMap(t *testing.T) {
	for seed := range uint64(5) {
		rng := rand.New(rand.NewPCG(seed, 0))
		type kept struct {
			notes Notes
			model map[string]*Progress
		}
		all := []kept{{Notes{}, map[string]*Progress{}}}
		for step := range 2000 {
			last := all[len(all)-1]
			id := fmt.Sprintf("/app-%03d", rng.IntN(500))
			if seed == 0 {
				id = fmt.Sprintf("/app-%04d", step)
			}
			p := &Progress{Instances: step}
			model := maps.Clone(last.model)
			model[id] = p
			next := kept{last.notes.With(id, p), model}
			if rng.IntN(20) == 0 {
				all = append(all, next)
			} else {
				all[len(all)-1] = next
			}
		}
		for n, k := range all {
			if got := maps.Collect(k.notes.All()); !maps.Equal(got, k.model) || k.notes.Len() != len(k.model) {
				t.Fatalf("seed %d, notes %d: %d of %d", seed, n, len(got), len(k.model))
			}
			for id, p := range k.model {
				if k.notes.Of(id) != p || k.notes.Of(id+"x") != nil {
					t.Fatalf("seed %d, notes %d: %s is not found", seed, n, id)
				}
			}
			old := all[rng.IntN(len(all))]
			var want []string
			for id, p := range k.model {
				if old.model[id] != p {
					want = append(want, id)
				}
			}
			for id := range old.model {
				if k.model[id] == nil {
					want = append(want, id)
				}
			}
			slices.Sort(want)
			if got := slices.Collect(k.notes.Since(old.notes)); !slices.Equal(got, want) {
				t.Fatalf("seed %d, notes %d: since others are %d, want %d", seed, n, len(got), len(want))
			}
		}
		raw, err := json.Marshal(all[len(all)-1].notes)
		var back Notes
		if err != nil || json.Unmarshal(raw, &back) != nil || !reflect.DeepEqual(values(back), values(all[len(all)-1].notes)) {
			t.Fatalf("seed %d: the JSON is not the notes: %v, %.200s", seed, err, raw)
		}
	}
}

func values(n Notes) map[string]Progress {
	all := make(map[string]Progress)
	for id, p := range n.All() {
		all[id] = *p
	}
	return all
}

// busy is a world in which nothing but a tally changes.
type busy struct{ tallies map[string][]Tally }

func (b busy) Instances(string) []*instance.Instance             { return nil }
func (b busy) Definition(string, marathon.Version) *marathon.App { return nil }
func (b busy) AgentsFor(*marathon.App) int                       { return 0 }
func (b busy) Tallies(app string) []Tally                        { return b.tallies[app] }

// BenchmarkEachAppsProgress is a restart of so many apps in one step, in which each makes
// its progress at a time of its own: the time is that of one app's.
func BenchmarkEachAppsProgress(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := &plan.Plan{ID: "d", Version: "2"}
			w := busy{make(map[string][]Tally)}
			var step plan.Step
			for k := range n {
				id := fmt.Sprintf("/app-%05d", k)
				def := marathon.App{ID: id, Version: "2", Instances: 1}
				def.UpgradeStrategy.MinimumHealthCapacity = 1
				old := def
				old.Version = "1"
				p.Changes = append(p.Changes, app.AppChange{Old: &old, New: &def, Restart: true})
				step.Actions = append(step.Actions, plan.Action{Kind: plan.Restart, App: id})
				w.tallies[id] = []Tally{{Version: "1", All: 1, Live: 1}}
			}
			p.Steps = []plan.Step{step}
			p.Index()
			now := time.Unix(0, 0)
			d, _, _, err := Step(now, New(now, p, ""), Look, w)
			if err != nil {
				b.Fatal(err)
			}
			k := 0
			for b.Loop() {
				id := step.Actions[k%n].App
				size := 1 + k/n%2 // scaled meanwhile: its bounds are others
				p.Changes[k%n].New.Instances = 1 + size
				next, _, changed := StepApps(now, d, w, []string{id})
				if !changed {
					b.Fatal("nothing was to be remembered")
				}
				for range next.Progress.Since(d.Progress) {
				}
				d, k = next, k+1
			}
		})
	}
}
