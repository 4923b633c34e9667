package state

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"

	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/deploy"
)

var seeds = flag.Int("seeds", 150, "how many seeds TestConverges runs")
var seed = flag.Int("seed", 0, "the only seed TestConverges runs, with its log")

// TestConverges: whatever is asked while tasks fail, agents come and go and the service
// dies between any two effects, 30 s after that ends every deployment is done, every app
// has the instances it should have, of its last configuration, and nothing else runs.
func TestConverges(t *testing.T) {
	first, last := 1, *seeds
	if *seed != 0 {
		first, last = *seed, *seed
	}
	total := 0
	for n := first; n <= last && !t.Failed(); n++ {
		total += converge(t, uint64(n))
	}
	t.Logf("%d seeds, %d crashes of the service", last-first+1, total)
	if *seed == 0 && total < last {
		t.Errorf("the service crashed only %d times", total)
	}
}

func converge(t *testing.T, n uint64) (crashes int) {
	w := newWorld(t, n, 3+int(n%4))
	defer func() {
		if t.Failed() {
			from := max(0, len(w.log)-400)
			if *seed != 0 {
				from = 0
			}
			t.Logf("seed %d:\n%s", n, strings.Join(w.log[from:], "\n"))
		}
	}()
	w.run(time.Second)
	w.faulty = true
	w.crash, w.failLaunch, w.failLater, w.unhealthy = 0.004, 0.1, 0.1, 0.1
	ids := []string{"/a", "/b", "/g/c", "/g/d", "/g/h/e"}
	for range 12 {
		w.request(ids[w.rng.IntN(len(ids))])
		w.run(w.now + time.Duration(w.rng.IntN(8000))*time.Millisecond)
		if w.rng.IntN(4) == 0 {
			a := w.agents[w.rng.IntN(len(w.agents))]
			if !a.away {
				w.leave(a, w.rng.IntN(2) == 0, time.Duration(w.rng.IntN(10_000))*time.Millisecond)
			}
		}
	}
	w.faulty = false
	w.run(w.now + 12*time.Second) // the last agents are back, the last crash is over
	w.run(w.now + 30*time.Second)
	w.converged()
	return w.crashes
}

// request asks for something at random.
func (w *world) request(id string) {
	force := w.rng.IntN(2) == 0
	some := func(list ...string) string { return list[w.rng.IntN(len(list))] }
	health := some("", `,"healthChecks":[{"protocol":"TCP","gracePeriodSeconds":5,"intervalSeconds":1,"timeoutSeconds":1}]`)
	strategy := some("", `,"upgradeStrategy":{"minimumHealthCapacity":0.5,"maximumOverCapacity":0}`,
		`,"upgradeStrategy":{"minimumHealthCapacity":1,"maximumOverCapacity":0}`,
		`,"upgradeStrategy":{"minimumHealthCapacity":0,"maximumOverCapacity":0}`,
		`,"upgradeStrategy":{"minimumHealthCapacity":1,"maximumOverCapacity":1,"drainSeconds":1}`)
	depends := some("", "", `,"dependencies":["/b"]`)
	if id == "/b" {
		depends = ""
	}
	body := fmt.Sprintf(`{"id":%q,"cmd":"run %d","cpus":0.1,"mem":16,"backoffSeconds":1,"maxLaunchDelaySeconds":4,"instances":%d%s%s%s}`,
		id, w.rng.IntN(1000), w.rng.IntN(6), health, strategy, depends)
	w.note("request %s force %v", body, force)
	in := func(q Request) Input {
		switch w.rng.IntN(8) {
		case 0, 1, 2:
			return UpdateApps{Request: q, Drafts: []*app.Draft{w.draft(body)}, Single: true}
		case 3:
			return UpdateApps{Request: q, Drafts: []*app.Draft{w.draft(fmt.Sprintf(`{"id":%q,"instances":%d}`, id, w.rng.IntN(8)))}, Mode: app.Mode{MustExist: true}, Single: true}
		case 4:
			return RestartApp{q, id}
		case 5:
			if w.rng.IntN(3) == 0 {
				return DeleteGroup{q, "/g"}
			}
			return DeleteApp{q, id}
		case 6:
			for _, d := range slices.Sorted(maps.Keys(w.core.deployments)) {
				q.Force = false // with force it would leave things as they are
				return CancelDeployment{q, d}
			}
			fallthrough
		default:
			return KillTasks{Request: q, App: id, All: true, Scale: w.rng.IntN(3) == 0, Wipe: false}
		}
	}
	r, answered := w.ask(in, force)
	switch {
	case !answered:
	case r.Fault != nil:
		w.note("refused: %d %s %v", r.Fault.Status, r.Fault.Body.Message, r.Fault.Body.Details)
		if s := r.Fault.Status; s != 404 && s != 409 && s != 422 {
			w.t.Errorf("%d %s", s, r.Fault.Body.Message)
		}
	default:
		w.note("answered %s", r.Deployment)
	}
}

func (w *world) converged() {
	t := w.t
	for _, id := range w.core.order {
		d := w.core.deployments[id]
		t.Errorf("deployment %s is not done: step %d of %d, %v", id, d.Step, len(d.Plan.Steps), deploy.Waiting(w.wall(), d, w.core))
	}
	wanted := 0
	for _, id := range slices.Sorted(maps.Keys(w.core.apps)) {
		a := w.core.apps[id]
		if a.def == nil {
			t.Errorf("%s was removed and is still there with %d instances", id, len(a.list))
			continue
		}
		wanted += a.def.Instances
		if got := w.alive(id); len(got) > 1 || got[*a.def.Cmd] != a.def.Instances {
			t.Errorf("%s should have %d tasks of %q, and has %v", id, a.def.Instances, *a.def.Cmd, got)
			for _, i := range a.list {
				t.Logf("  %+v", *i)
			}
		}
		if len(a.list) != a.def.Instances || a.healthy() != a.def.Instances {
			t.Errorf("%s should have %d instances, and has %d, of which %d are healthy", id, a.def.Instances, len(a.list), a.healthy())
		}
		if stored := w.store[keyRoot]; len(stored) == 0 {
			t.Error("the tree's version is not stored")
		}
	}
	live := 0
	for _, x := range w.tasks {
		if !x.over() {
			live++
		}
		if len(x.updates) > 0 && x.state != mesos.TaskState_TASK_RUNNING {
			t.Errorf("%s: an update is not acknowledged: %v", x.id, x.updates[0])
		}
	}
	if live != wanted {
		t.Errorf("%d tasks run, the apps want %d", live, wanted)
	}
	for id, n := range w.ever {
		if n > 1 {
			t.Errorf("task %s was launched %d times", id, n)
		}
	}
	// What is stored is what there is.
	again := w.recovered()
	if len(again.Deployments) != 0 || len(again.Instances) != wanted {
		t.Errorf("stored are %d deployments and %d instances; want none and %d", len(again.Deployments), len(again.Instances), wanted)
	}
}
