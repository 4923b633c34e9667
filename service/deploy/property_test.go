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
	for range w.rng.IntN(12 * (size + 4)) {
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
		for range w.rng.IntN(12 * (size + 4)) {
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
		case w.d.Plan.Changes[0].Restart && !s.fresh(i.Version, target):
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

// rolloutSeed tries canaries and blue-green sets with every input at any time, scaling
// and forced returns among them, while things fail; it reports what rule was broken.
func rolloutSeed(seed uint64) string {
	w := newWorld(seed)
	size := sizes[seed%3]
	opts := options(seed/3, 1, float64(seed%2), false)
	now := definition(1, 1, size, opts...)
	w.add(now, size, instance.Running)
	var before *marathon.App // what w.d leads away from
	made := 1
	begin := func() {
		made++
		next := definition(made, made, 1+w.rng.IntN(size), opts...)
		u := &next.UpgradeStrategy
		switch w.rng.IntN(4) {
		case 0:
			u.Canary = &marathon.Canary{Instances: 1 + w.rng.IntN(3), PauseSeconds: float64(w.rng.IntN(2)), AutoRevert: w.rng.IntN(2) == 0}
		case 1:
			u.BlueGreen = &marathon.BlueGreen{Promotion: "manual", KeepOldSeconds: float64(w.rng.IntN(2))}
		case 2:
			u.BlueGreen = &marathon.BlueGreen{Promotion: "auto", KeepOldSeconds: float64(w.rng.IntN(2))}
		}
		if w.rng.IntN(3) == 0 {
			u.DeadlineSeconds = 1
		}
		c := app.AppChange{Old: now, New: next, Restart: true}
		kind := plan.Restart
		if w.rng.IntN(5) == 0 { // scaled only
			next.VersionInfo.LastConfigChangeAt, c.Restart, kind = now.VersionInfo.LastConfigChangeAt, w.d != nil && w.ended == "", plan.Scale
			if c.Restart { // over a restart, which it goes on with
				kind = plan.Restart
			}
		}
		before, now = now, next
		w.start(planFor(fmt.Sprint(made), kind, c))
	}
	back := func() {
		made++
		target := *before
		target.Version, target.VersionInfo = version(made), &marathon.VersionInfo{LastScalingAt: version(made), LastConfigChangeAt: version(made)}
		if seed%2 == 0 {
			target.VersionInfo = before.VersionInfo
		}
		id := w.d.Plan.ID
		w.start(planFor(fmt.Sprint(made), plan.Restart, app.AppChange{Old: now, New: &target, Restart: true}))
		w.d.Reverts = id
		before, now = now, &target
	}
	begin()
	w.crash = 0.05
	for range w.rng.IntN(20 * (size + 2)) {
		in := Look
		switch w.rng.IntN(30) {
		case 0:
			in = Promote
		case 1:
			in = Pause
		case 2, 3:
			in = Resume
		case 4:
			if w.rng.IntN(4) == 0 && w.d.Reverts == "" {
				back()
			}
		case 5:
			if w.rng.IntN(4) == 0 {
				begin()
			}
		}
		if w.step(in); w.wrong != "" {
			return w.wrong
		}
		switch {
		case w.ended == "finished":
			begin()
		case w.ended != "":
			back()
		}
		w.turn(true)
	}
	w.crash = 0
	for range 5 {
		if w.ended == "" {
			w.step(Resume)
		}
		if w.ended == "" {
			w.settleWith(Promote)
		}
		if w.wrong != "" || w.ended == "finished" {
			return w.wrong
		}
		back()
	}
	return "it goes back for ever: " + w.ended
}

func TestRollouts(t *testing.T) {
	for seed := range uint64(1000) {
		if wrong := rolloutSeed(seed); wrong != "" {
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
