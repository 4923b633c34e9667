package state

import (
	"flag"
	"os/exec"
	"strings"
	"testing"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
)

var seeds = flag.Int("seeds", 200, "how many seeds TestConverges runs")
var seed = flag.Int("seed", 0, "the only seed TestConverges runs, with its log")

// TestConverges: whatever is asked while tasks fail, agents come and go, calls and
// operations are lost and the service dies between any two effects, the rules hold after
// every step, and 30 s after that ends every deployment is done, every app has the
// instances it should have, of its last configuration, and nothing else runs or is
// reserved.
func TestConverges(t *testing.T) {
	first, last := 1, *seeds
	if *seed != 0 {
		first, last = *seed, *seed
	}
	crashes := 0
	var all tallyOfSeeds
	for n := first; n <= last; n++ {
		w := converge(t, uint64(n))
		if w.wrong != "" {
			from := max(0, len(w.log)-400)
			if *seed != 0 {
				from = 0
			}
			t.Fatalf("seed %d: %s\n%s", n, w.wrong, strings.Join(w.log[from:], "\n"))
		}
		crashes += w.crashes
		all.add(w)
	}
	t.Logf("%d seeds, %d crashes of the service, %+v", last-first+1, crashes, all)
	if *seed == 0 && (crashes < last || all.success < last || all.failed < last || all.most < 3) {
		t.Errorf("too little happened")
	}
}

// tallyOfSeeds says how much happened.
type tallyOfSeeds struct{ steps, success, failed, launches, refused, most int }

func (n *tallyOfSeeds) add(w *world) {
	n.steps += w.steps
	n.launches += len(w.launched)
	n.refused += w.refused
	n.most = max(n.most, w.most)
	for _, e := range w.ended {
		if e == "deployment_success" {
			n.success++
		} else {
			n.failed++
		}
	}
}

// converge runs a seed.
func converge(t *testing.T, n uint64) *world {
	w := newWorld(t, n, 3+int(n%4))
	w.run(time.Second)
	w.faulty = true
	w.crash, w.failLaunch, w.failLater, w.unhealthy, w.badCall, w.badOp = 0.003, 0.1, 0.1, 0.1, 0.05, 0.1
	if n%5 == 0 {
		w.whole = 8 // writes are large beside what is written at once
	}
	ids, pause, writes := appIDs[:8], 8*time.Second, 14
	switch {
	case n%25 == 0:
		ids, pause, writes = appIDs, 2*time.Second, 40
	case n%3 == 0:
		pause, writes = time.Second, 30
	}
	for range writes {
		w.request(ids[w.rng.IntN(len(ids))])
		w.run(w.now + w.upTo(pause))
		w.most = max(w.most, len(w.core.deployments))
		if w.rng.IntN(4) == 0 {
			w.leaveOne()
		}
		if w.rng.IntN(12) == 0 && w.connected && !w.down {
			w.disconnect()
		}
		if w.wrong != "" {
			return w
		}
	}
	w.faulty = false
	w.settled(12 * time.Second) // the last agents are back, the last crash is over
	w.settled(30 * time.Second)
	if w.wrong == "" {
		w.converged()
	}
	return w
}

// leaveOne lets an agent leave. Three stay for good, in two racks.
func (w *world) leaveOne() {
	n := w.rng.IntN(len(w.agents))
	if a := w.agents[n]; !a.away {
		f := fate(w.rng.IntN(3))
		if f == never && n < 3 {
			f = back
		}
		w.leave(a, f, w.upTo(10*time.Second))
	}
}

// The whole cluster goes down and comes back: apps start in the order of dependencies.
func TestDependenciesHoldWhenAllTasksDie(t *testing.T) {
	for n := range uint64(20) {
		w := newWorld(t, n, 3)
		w.run(time.Second)
		check := `"healthChecks":[{"protocol":"TCP","gracePeriodSeconds":5,"intervalSeconds":1,"timeoutSeconds":1}],"backoffSeconds":1`
		for _, body := range []string{
			`{"id":"/db/one","cmd":"run","cpus":0.1,"instances":2,` + check + `}`,
			`{"id":"/db/two","cmd":"run","cpus":0.1,"instances":2,` + check + `}`,
			`{"id":"/api","cmd":"run","cpus":0.1,"instances":3,"dependencies":["/db"],` + check + `}`,
			`{"id":"/web/a","cmd":"run","cpus":0.1,"instances":3,"dependencies":["/api"]}`,
			`{"id":"/web/b","cmd":"run","cpus":0.1,"instances":3,"dependencies":["../api"]}`,
		} {
			if r, ok := w.ask(func(q Request) Input { return CreateApp{q, w.draft(body)} }, false); !ok || r.Fault != nil {
				t.Fatalf("%s: %+v", body, r.Fault)
			}
			w.run(w.now + 3*time.Second)
		}
		if n%2 == 0 { // the service too
			w.die("on purpose")
		}
		before := len(w.launched)
		for _, x := range w.tasks {
			w.end(x, mesos.TaskState_TASK_FAILED)
		}
		w.run(w.now + 40*time.Second)
		if w.wrong == "" {
			w.converged()
		}
		if w.wrong != "" || len(w.launched) != before+13 {
			t.Fatalf("seed %d: %d launches; %s\n%s", n, len(w.launched)-before, w.wrong, strings.Join(w.log, "\n"))
		}
	}
}

// bugs are planted by the build tag "planted"; the seeds must find each.
var bugs = []string{
	"lock not released on cancel", "max instead of max+1", "deployment forgotten on restart", "double launch after ambiguous ACCEPT",
	"unreachable return over-scales", "collection removes a live version", "backoff reset by scaling",
}

func TestPlantedBugsAreFound(t *testing.T) {
	out, err := exec.Command("go", "test", "-tags", "planted", "-count=1", "-run", "^TestPlanted$", "-v", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, bug := range bugs {
		if name := "--- PASS: TestPlanted/" + strings.ReplaceAll(bug, " ", "_"); !strings.Contains(string(out), name) {
			t.Errorf("%q was not looked for:\n%s", bug, out)
		}
	}
}

// A seed is worth something only if it always goes the same way.
func TestSeedsRepeat(t *testing.T) {
	for n := uint64(1); n <= 15; n++ {
		a, b := converge(t, n).log, converge(t, n).log
		for at := range min(len(a), len(b)) {
			if a[at] != b[at] {
				t.Fatalf("seed %d, line %d: %s\nand then %s", n, at, a[at], b[at])
			}
		}
	}
}
