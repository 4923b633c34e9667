package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/app"
)

// field is a random tree, what runs of it, and the plans that led there.
type field struct {
	t    *testing.T
	rng  *rand.Rand
	tree *app.Tree
	now  time.Time
	// running are the definitions whose instances run.
	running map[string]*marathon.App
	plans   []*Plan
}

// id is up to four levels deep; apps are x0..x3, groups a..c, so that they seldom clash.
func (f *field) group() string {
	id := ""
	for range f.rng.IntN(4) {
		id += "/" + string(rune('a'+f.rng.IntN(3)))
	}
	return id
}

func (f *field) app() string { return f.group() + fmt.Sprintf("/x%d", f.rng.IntN(4)) }

func (f *field) deps() []string {
	deps := []string{}
	for f.rng.IntN(5) < 2 {
		if f.rng.IntN(3) == 0 {
			if g := f.group(); g != "" {
				deps = append(deps, g)
			}
			continue
		}
		deps = append(deps, f.app())
	}
	return deps
}

func (f *field) document(id string) map[string]any {
	return map[string]any{"id": id, "cmd": fmt.Sprint("run ", f.rng.IntN(3)), "instances": f.rng.IntN(4),
		"dependencies": f.deps(), "portDefinitions": []any{}}
}

// change is a random write; an error is a refusal.
func (f *field) change() (app.Change, error) {
	f.now = f.now.Add(time.Second)
	must := func(err error) {
		if err != nil {
			f.t.Fatal(err)
		}
	}
	switch f.rng.IntN(8) {
	case 0, 1, 2: // many apps in one write, up to 30 in all
		var docs []any
		for range f.rng.IntN(10) {
			if id := f.app(); f.tree.App(id) != nil || len(docs)+len(f.running) < 30 {
				docs = append(docs, f.document(id))
			}
		}
		text, err := json.Marshal(append([]any{}, docs...))
		must(err)
		drafts, err := app.DecodeList(text)
		must(err)
		return f.tree.Update(f.now, drafts, app.Mode{Replace: true, IfNeeded: f.rng.IntN(3) == 0})
	case 3, 4: // a group anew
		doc := map[string]any{"dependencies": f.deps()}
		if f.rng.IntN(2) == 0 {
			var apps []any
			for i := range f.rng.IntN(4) {
				apps = append(apps, f.document(fmt.Sprint("x", i)))
			}
			doc["apps"] = append([]any{}, apps...)
		}
		if f.rng.IntN(4) == 0 {
			doc["groups"] = []any{map[string]any{"id": "a", "dependencies": f.deps()}}
		}
		text, err := json.Marshal(doc)
		must(err)
		d, err := app.DecodeGroup(text)
		must(err)
		return f.tree.UpdateGroup(f.now, "/"+strings.TrimPrefix(f.group(), "/"), d, app.Mode{})
	case 5:
		return f.tree.DeleteGroup(f.now, "/"+strings.TrimPrefix(f.group(), "/"))
	case 6:
		var ids []string
		for _, id := range slices.Sorted(maps.Keys(f.running)) {
			if f.rng.IntN(3) == 0 {
				ids = append(ids, id)
			}
		}
		return f.tree.Restart(f.now, ids)
	default: // a deployment is taken back, the last one or one before it
		if len(f.plans) == 0 {
			return f.tree.Scale(f.now, nil)
		}
		p := f.plans[len(f.plans)-1-f.rng.IntN(min(3, len(f.plans)))]
		return f.tree.Revert(f.now, p.Changes, p.Groups)
	}
}

// Random trees, changed at random: every plan reaches the target, each app once, stops
// first and dependents before what they depend on, then everything after what it waits
// for, be that through apps that do not change.
func TestEveryPlanReachesItsTarget(t *testing.T) {
	deep, stops := 0, 0
	for seed := range uint64(150) {
		plans, wrong := walk(seed, t)
		if wrong != nil {
			t.Fatalf("seed %d: %v", seed, wrong)
		}
		for _, p := range plans {
			deep = max(deep, len(p.Steps))
			if len(p.Steps) > 1 && p.Steps[1].Actions[0].Kind == Stop {
				stops++
			}
		}
	}
	if deep < 6 || stops < 20 {
		t.Errorf("the plans were too simple: at most %d steps, %d with more than one to stop", deep, stops)
	}
}

// walk makes the writes of a seed and carries out their plans.
func walk(seed uint64, t *testing.T) ([]*Plan, error) {
	f := &field{t: t, rng: rand.New(rand.NewPCG(seed, 7)), tree: newTree(), now: now, running: map[string]*marathon.App{}}
	for i := range 25 {
		c, err := f.change()
		if err != nil {
			continue
		}
		before := graph(f.tree)
		p := of(f.tree, c, nil)
		f.tree.Apply(c)
		if err := f.carryOut(p, before, graph(f.tree)); err != nil {
			return nil, fmt.Errorf("write %d: %v\nplan: %s", i, err, text(p))
		}
		f.plans = append(f.plans, p)
	}
	return f.plans, nil
}

// The bug is planted by the build tag "planted"; the seeds must find it.
func TestPlantedBugIsFound(t *testing.T) {
	out, err := exec.Command("go", "test", "-tags", "planted", "-count=1", "-run", "^TestPlanted$", "-v", ".").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "that depends on it") {
		t.Errorf("found something else:\n%s", out)
	}
}

func graph(tree *app.Tree) map[string][]string {
	g := map[string][]string{}
	tree.Apps("/", func(a *marathon.App) bool {
		g[a.ID] = tree.Depends(a.ID)
		return true
	})
	return g
}

// reachable are all apps that id waits for.
func reachable(g map[string][]string, id string, seen map[string]bool) {
	for _, d := range g[id] {
		if !seen[d] {
			seen[d] = true
			reachable(g, d, seen)
		}
	}
}

func (f *field) carryOut(p *Plan, before, after map[string][]string) error {
	step := map[string]int{} // of what changes instances
	started := false
	for i, s := range p.Steps {
		if len(s.Actions) == 0 {
			return fmt.Errorf("step %d is empty", i)
		}
		for _, a := range s.Actions {
			c := p.Change(a.App)
			if c == nil {
				return fmt.Errorf("%s does not change", a.App)
			}
			if _, twice := step[a.App]; twice {
				return fmt.Errorf("%s has two actions", a.App)
			}
			old := f.running[a.App]
			if a.Kind == Start {
				started = true
				if c.Old != nil {
					return fmt.Errorf("%s is started and was there", a.App)
				}
				continue
			}
			step[a.App] = i
			switch {
			case a.Kind == Stop:
				if c.New != nil || started {
					return fmt.Errorf("%s is stopped in step %d", a.App, i)
				}
				delete(f.running, a.App)
				continue
			case c.New == nil:
				return fmt.Errorf("%s is not stopped", a.App)
			case a.Kind == Restart && (old == nil || !c.Restart):
				return fmt.Errorf("%s is restarted", a.App)
			case a.Kind == Scale && old != nil && c.Restart && c.New.Instances > 0:
				return fmt.Errorf("%s is only scaled", a.App)
			}
			f.running[a.App] = c.New
		}
	}
	for id, i := range step {
		c := p.Change(id)
		if c.New == nil {
			for _, d := range before[id] {
				if j, removed := step[d]; removed && p.Change(d).New == nil && j <= i {
					return fmt.Errorf("%s is stopped in step %d, %s that depends on it in %d", d, j, id, i)
				}
			}
			continue
		}
		waits := map[string]bool{}
		reachable(after, id, waits)
		for d := range waits {
			if j, changed := step[d]; changed && j >= i {
				return fmt.Errorf("%s goes in step %d, %s that it waits for in %d", id, i, d, j)
			}
		}
	}
	n := 0
	var wrong error
	f.tree.Apps("/", func(a *marathon.App) bool {
		n++
		if f.running[a.ID] != a {
			wrong = fmt.Errorf("%s does not run as it should", a.ID)
		}
		return wrong == nil
	})
	if wrong == nil && n != len(f.running) {
		wrong = fmt.Errorf("%d apps run, there are %d", len(f.running), n)
	}
	return wrong
}
