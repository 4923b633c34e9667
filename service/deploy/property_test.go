package deploy

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/plan"
)

// shapes are the ways to restart that must hold their bounds.
var shapes = []struct {
	min, over float64
	resident  bool
}{{1, 1, false}, {1, 0, false}, {0.9, 0.1, false}, {0, 0, false}, {0.5, 0, true}, {0.5, 0, false}, {1, 0, true}}

var sizes = []int{1, 2, 20}

func options(seed uint64, min, over float64, isResident bool) []func(*marathon.App) {
	out := []func(*marathon.App){capacity(min, over)}
	if isResident {
		out = append(out, resident)
	}
	switch seed % 4 {
	case 1:
		out = append(out, readiness)
	case 2:
		out = append(out, func(a *marathon.App) { a.HealthChecks = nil })
	case 3:
		out = append(out, func(a *marathon.App) { a.UpgradeStrategy.MaxParallel = 2 })
	}
	return out
}

// restartSeed upgrades an app while things fail and the service restarts, with another
// deployment over it, and reports what rule was broken.
func restartSeed(seed uint64) string {
	shape, size := shapes[seed%uint64(len(shapes))], sizes[seed/7%3]
	w := newWorld(seed)
	opts := options(seed, shape.min, shape.over, shape.resident)
	old := definition(1, 1, size, opts...)
	w.add(old, size, instance.Running)
	next := definition(2, 2, size, opts...)
	switch seed % 5 {
	case 1:
		next = definition(2, 2, max(1, size/2), opts...)
	case 2:
		next = definition(2, 2, size+2, opts...)
	case 3:
		next.UpgradeStrategy.Canary = &marathon.Canary{Instances: 1 + size/4, PauseSeconds: 1}
	}
	w.start(planFor("a", plan.Restart, app.AppChange{Old: old, New: next, Restart: true}))
	w.crash = 0.05
	for range w.rng.IntN(40 * (size + 2)) {
		if w.step(Look); w.ended != "" || w.wrong != "" {
			break
		}
		w.turn(true)
	}
	if w.ended == "" && seed%3 > 0 { // force over it, mixed versions are there
		target := definition(3, 3, max(1, size-int(seed%4)+1), opts...)
		if seed%3 == 2 {
			target = definition(3, 2, target.Instances, opts...) // scaled only, the restart goes on
		}
		w.start(planFor("b", plan.Restart, app.AppChange{Old: next, New: target, Restart: true}))
		for range w.rng.IntN(40 * (size + 2)) {
			if w.step(Look); w.ended != "" || w.wrong != "" {
				break
			}
			w.turn(true)
		}
	}
	if w.ended == "" {
		w.settle()
	}
	if w.wrong == "" && (w.ended != "finished" || w.reached != w.d.Plan.Version) {
		return "ended: " + w.ended
	}
	return w.wrong
}

// reached says what is not as the target has it when a deployment has finished.
func reached(w *world, target *marathon.App) string {
	s := newStepper(w.now, w.d, w)
	live := 0
	for _, i := range w.list["/app"] {
		switch {
		case i.Goal != instance.GoalRunning || i.Condition == instance.UnreachableInactive:
		case !s.fresh(i.Version, target):
			return "an instance of another version is left\n" + w.dump()
		case i.Preview:
			return "a preview is left\n" + w.dump()
		default:
			live++
		}
	}
	if live != target.Instances {
		return fmt.Sprintf("%d instances, not %d\n%s", live, target.Instances, w.dump())
	}
	return ""
}

func TestRestartsKeepTheirBounds(t *testing.T) {
	for seed := range uint64(1260) {
		if wrong := restartSeed(seed); wrong != "" {
			t.Fatalf("seed %d: %s", seed, wrong)
		}
	}
}

// bugs are planted by the build tag "planted"; the seeds must find each.
var bugs = []string{"old killed before new is ready", "`+= 1` forgotten"}

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
