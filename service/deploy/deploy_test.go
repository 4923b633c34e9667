package deploy

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/plan"
)

// expect does one step and compares what it says, Wake left out.
func (w *world) expect(t *testing.T, want string) {
	t.Helper()
	next, effects, _, err := Step(w.now, w.d, Look, w.view())
	if err != nil {
		t.Fatal(err)
	}
	w.d = next
	effects = slices.DeleteFunc(effects, func(e Effect) bool { _, ok := e.(Wake); return ok })
	if got := words(effects); got != want {
		t.Fatalf("got %q, want %q\n%s", got, want, w.dump())
	}
	for _, e := range effects {
		w.do(e)
	}
}

func (w *world) waits(t *testing.T, want string) {
	t.Helper()
	if got := Waiting(w.now, w.d, w.view())["/app"]; got != want {
		t.Fatalf("waits for %q, want %q", got, want)
	}
}

// all makes every instance of a version run, healthy or not.
func (w *world) all(v marathon.Version, healthy bool) {
	for _, i := range slices.Clone(w.list["/app"]) {
		if i.Version == v && i.Goal == instance.GoalRunning {
			w.set(i, func(c *instance.Instance) {
				if c.TaskID == "" {
					w.launch(c, w.defs["/app"][v])
				}
				c.Condition = instance.Running
				w.healthy(c, w.defs["/app"][v])
				if !healthy {
					c.Health = nil
				}
			})
		}
	}
}

// end ends the tasks that are being killed.
func (w *world) end() {
	for _, i := range slices.Clone(w.list["/app"]) {
		if ending(i) {
			w.over(i, instance.Killed)
		}
	}
}

func TestStartingAnApp(t *testing.T) {
	w := newWorld(1)
	def := definition(1, 1, 20)
	w.start(planFor("a", plan.Scale, app.AppChange{New: def, Restart: true}))
	w.expect(t, "StepBegan 0, StepEnded 0, StepBegan 1, Launch 20")
	w.expect(t, "")
	w.waits(t, "20 of 20 instances are waiting for an offer")
	w.all(def.Version, false)
	w.expect(t, "")
	w.waits(t, "20 of 20 instances are not healthy")
	w.all(def.Version, true)
	w.set(w.list["/app"][3], func(c *instance.Instance) { c.Health = nil })
	w.expect(t, "")
	w.waits(t, "1 of 20 instances are not healthy")
	w.drop(w.list["/app"][3])
	w.waits(t, "1 of 20 instances are to be launched")
	w.expect(t, "Launch 1")
	w.all(def.Version, true)
	w.expect(t, "StepEnded 1, Finished")
	w.expect(t, "Finished")
	if got := Waiting(w.now, w.d, w); len(got) != 0 {
		t.Errorf("a finished deployment waits for %v", got)
	}
}

func TestScalingWaitsForReadiness(t *testing.T) {
	w := newWorld(1)
	old := definition(1, 1, 1, readiness)
	w.add(old, 1, instance.Running)
	def := definition(2, 1, 2, readiness)
	w.start(planFor("a", plan.Scale, app.AppChange{Old: old, New: def}))
	w.expect(t, "StepBegan 0, Adopt, Launch 1")
	w.all(def.Version, true)
	fresh := w.set(w.list["/app"][1], func(c *instance.Instance) { c.Ready = false })
	w.expect(t, "")
	w.waits(t, "1 of 2 instances are not healthy or not ready")
	w.set(fresh, func(c *instance.Instance) { c.Ready = true })
	w.expect(t, "StepEnded 0, Finished")
}

func TestScalingDown(t *testing.T) {
	w := newWorld(1)
	old, def := definition(1, 1, 8), definition(2, 1, 2)
	running := w.add(old, 3, instance.Running)
	order := []*instance.Instance{
		w.add(old, 1, instance.Scheduled)[0],
		w.add(old, 1, instance.Unreachable)[0],
		w.add(old, 1, instance.Staging)[0],
		w.add(old, 1, instance.Starting)[0],
		w.add(old, 1, instance.Running)[0],
	}
	w.set(order[4], func(c *instance.Instance) { c.Health[0].Alive = false })
	w.set(running[1], func(c *instance.Instance) { c.StartedAt = w.now.Add(time.Second) })
	order = append(order, running[1], running[2], running[0]) // the youngest first
	p := planFor("a", plan.Scale, app.AppChange{Old: old, New: def})
	w.start(p)
	s := newStepper(w.now, w.d, w)
	var ids, want []string
	for _, i := range s.first(def, w.list["/app"], 7, before(def, false)) {
		ids = append(ids, i.ID)
	}
	order[6], order[7] = running[0], running[2] // of the same age, by id
	for _, i := range order[:7] {
		want = append(want, i.ID)
	}
	if !slices.Equal(ids, want) {
		t.Errorf("killed in the order %v, want %v", ids, want)
	}
	w.expect(t, "StepBegan 0, Adopt, Kill 6")
	w.waits(t, "4 instances are still to end")
	w.end()
	// Those that stay need not be healthy.
	w.set(w.list["/app"][0], func(c *instance.Instance) { c.Health = nil })
	w.expect(t, "StepEnded 0, Finished")
}

func TestOldestFirst(t *testing.T) {
	w := newWorld(1)
	def := definition(1, 1, 3, func(a *marathon.App) { a.KillSelection = marathon.OldestFirst })
	list := w.add(def, 3, instance.Running)
	w.set(list[2], func(c *instance.Instance) { c.StartedAt = w.now.Add(-time.Hour) })
	w.start(planFor("a", plan.Scale, app.AppChange{Old: def, New: def}))
	if got := newStepper(w.now, w.d, w).first(def, w.list["/app"], 1, before(def, false)); got[0].ID != list[2].ID {
		t.Errorf("%s goes first", got[0].ID)
	}
}

func TestScalingDownKillsTheNamedOnesFirst(t *testing.T) {
	w := newWorld(1)
	old, def := definition(1, 1, 4), definition(2, 1, 3)
	list := w.add(old, 4, instance.Running)
	p := planFor("a", plan.Scale, app.AppChange{Old: old, New: def})
	p.Steps[0].Actions[0].Kill = []string{list[2].ID, "app.instance-gone"}
	w.start(p)
	w.expect(t, "StepBegan 0, Adopt, Kill 1")
	if got := w.list["/app"][2]; got.Goal != instance.GoalDecommissioned {
		t.Errorf("%s was not killed", got.ID)
	}
	w.end()
	w.expect(t, "StepEnded 0, Finished")
}

func TestAKilledInstanceThatComesBackIsSurplusFirst(t *testing.T) {
	w := newWorld(1)
	old, def := definition(1, 1, 3), definition(2, 1, 2)
	list := w.add(old, 3, instance.Running)
	w.set(list[0], func(c *instance.Instance) { c.KillingSince = w.now }) // by a user, to restart it
	w.start(planFor("a", plan.Scale, app.AppChange{Old: old, New: def}))
	w.expect(t, "StepBegan 0, Adopt") // nobody else dies for it
	w.end()
	w.expect(t, "Kill 1")
	w.expect(t, "StepEnded 0, Finished")
}

func TestResidentAppsKeepTheirReservations(t *testing.T) {
	w := newWorld(1)
	two, none, again := definition(1, 1, 2, resident), definition(2, 1, 0, resident), definition(3, 1, 2, resident)
	w.add(two, 2, instance.Running)
	w.start(planFor("a", plan.Scale, app.AppChange{Old: two, New: none}))
	w.expect(t, "StepBegan 0, Adopt, Kill 2 keep")
	w.end()
	w.expect(t, "StepEnded 0, Finished")
	w.start(planFor("b", plan.Scale, app.AppChange{Old: none, New: again}))
	w.expect(t, "StepBegan 0, Adopt, Launch 2")
	if len(w.list["/app"]) != 2 {
		t.Errorf("%d instances: the stopped ones were not used again", len(w.list["/app"]))
	}
	w.all(again.Version, true)
	w.expect(t, "StepEnded 0, Finished")
	w.start(planFor("c", plan.Stop, app.AppChange{Old: again}))
	w.expect(t, "StepBegan 0, Kill 2")
}

func TestStopping(t *testing.T) {
	w := newWorld(1)
	old := definition(1, 1, 4, resident)
	w.add(old, 2, instance.Running)
	w.add(old, 1, instance.Scheduled)
	stopped := w.add(old, 1, instance.Killed)[0]
	w.set(stopped, func(c *instance.Instance) { c.Goal = instance.GoalStopped })
	dying := w.add(old, 1, instance.Running)[0]
	w.set(dying, func(c *instance.Instance) { c.Goal, c.DrainUntil = instance.GoalStopped, w.now.Add(time.Minute) })
	w.start(planFor("a", plan.Stop, app.AppChange{Old: old}))
	w.expect(t, "StepBegan 0, Kill 4")
	w.waits(t, "3 instances are still to end")
	w.end()
	w.expect(t, "Kill 1") // the one that was being stopped already
	w.expect(t, "StepEnded 0, Finished")
}

func TestStoppingDoesNotWaitForLostAgents(t *testing.T) {
	w := newWorld(1)
	old := definition(1, 1, 1, resident)
	w.add(old, 1, instance.Unreachable)
	w.start(planFor("a", plan.Stop, app.AppChange{Old: old}))
	w.expect(t, "StepBegan 0, Kill 1")
	w.expect(t, "StepEnded 0, Finished")
}

func TestScalingShowsWhatABlueGreenSetLeft(t *testing.T) {
	w := newWorld(1)
	old, def := definition(1, 1, 2), definition(2, 1, 1)
	for _, i := range w.add(old, 2, instance.Running) {
		w.set(i, func(c *instance.Instance) { c.Preview = true })
	}
	w.start(planFor("a", plan.Scale, app.AppChange{Old: old, New: def}))
	w.expect(t, "StepBegan 0, Adopt, Kill 1")
	w.end()
	w.expect(t, "Swap 1 for 0")
	w.expect(t, "StepEnded 0, Finished")
}

func TestGroupsStayEven(t *testing.T) {
	w := newWorld(1)
	group := func(a *marathon.App) { a.Constraints = [][]string{{"rack", "GROUP_BY"}} }
	old, def := definition(1, 1, 9, group), definition(2, 1, 4, group)
	for n, i := range w.add(old, 9, instance.Running) {
		rack := "abc"[max(0, n-4)/2:][:1] // a: 6, b: 2, c: 1
		w.set(i, func(c *instance.Instance) {
			c.Agent = &instance.Agent{ID: rack, Host: rack, Attributes: map[string]string{"rack": rack}}
			c.StartedAt = w.now.Add(time.Duration(n) * time.Second) // c's are the youngest
		})
	}
	w.start(planFor("a", plan.Scale, app.AppChange{Old: old, New: def}))
	w.expect(t, "StepBegan 0, Adopt, Kill 5")
	w.end()
	left := make(map[string]int)
	for _, i := range w.list["/app"] {
		left[i.Agent.Host]++
	}
	if want := map[string]int{"a": 2, "b": 1, "c": 1}; !reflect.DeepEqual(left, want) && !reflect.DeepEqual(left, map[string]int{"a": 1, "b": 2, "c": 1}) {
		t.Errorf("left %v, want about %v", left, want)
	}
}

func TestFinishedAppsSatisfy(t *testing.T) {
	for _, c := range []struct {
		policy    marathon.RestartPolicy
		condition instance.Condition
		done      bool
	}{
		{marathon.Never, instance.Finished, true},
		{marathon.OnFailure, instance.Finished, true},
		{marathon.Always, instance.Finished, false},
		{"", instance.Finished, false},
		{marathon.Never, instance.Failed, false},
	} {
		t.Run(fmt.Sprintf("%s %s", c.policy, c.condition), func(t *testing.T) {
			w := newWorld(1)
			def := definition(1, 1, 1, func(a *marathon.App) { a.RestartPolicy = c.policy })
			w.start(planFor("a", plan.Scale, app.AppChange{New: def}))
			w.expect(t, "StepBegan 0, StepEnded 0, StepBegan 1, Launch 1")
			w.set(w.list["/app"][0], func(i *instance.Instance) { w.launch(i, def); i.Condition = c.condition })
			if c.done {
				w.expect(t, "StepEnded 1, Finished")
				return
			}
			w.expect(t, "")
			if c.policy == marathon.Never {
				w.waits(t, "1 of 1 instance is waiting for an offer, or failed and not started again (restartPolicy NEVER)")
			}
		})
	}
	// A restart of one replaces what has finished, and is done when that has.
	w := newWorld(1)
	never := func(a *marathon.App) { a.RestartPolicy = marathon.Never }
	old, def := definition(1, 1, 1, never), definition(2, 2, 1, never)
	w.add(old, 1, instance.Finished)
	w.start(planFor("a", plan.Restart, app.AppChange{Old: old, New: def, Restart: true}))
	w.expect(t, "StepBegan 0, ResetBackoff, Kill 1, Launch 1")
	w.set(w.list["/app"][0], func(i *instance.Instance) { w.launch(i, def); i.Condition = instance.Finished })
	w.expect(t, "StepEnded 0, Finished")
}

func TestPerAgentApps(t *testing.T) {
	w := newWorld(1)
	per := func(a *marathon.App) { a.Scaling = &marathon.Scaling{Kind: "per-agent"} }
	old, def := definition(1, 1, 1, per), definition(2, 2, 1, per)
	w.start(planFor("a", plan.Scale, app.AppChange{New: old}))
	w.expect(t, "StepBegan 0, StepEnded 0, StepBegan 1, Launch 3")
	w.agents = 4
	w.expect(t, "Launch 1")
	w.all(old.Version, true)
	w.expect(t, "StepEnded 1, Finished")
	// An old instance goes first: there is one place on an agent.
	w.start(planFor("b", plan.Restart, app.AppChange{Old: old, New: def, Restart: true}))
	w.expect(t, "StepBegan 0, ResetBackoff, Kill 1")
	w.end()
	w.expect(t, "Launch 1")
	w.all(def.Version, true)
	w.agents = 5
	w.expect(t, "Launch 1")
	w.all(def.Version, true)
	w.agents = 2
	w.expect(t, "Kill 3") // 5 live, 2 places: all old ones may go
	w.end()
	w.expect(t, "StepEnded 0, Finished")
}

func TestAChangeThatNeedsNoRestart(t *testing.T) {
	w := newWorld(1)
	old, def := definition(1, 1, 2), definition(2, 2, 2)
	w.add(old, 2, instance.Running)
	w.start(planFor("a", plan.Restart, app.AppChange{Old: old, New: def}))
	w.expect(t, "StepBegan 0, Adopt, StepEnded 0, Finished")
}

func TestUnhealthyInstancesDoNotHoldUpARestart(t *testing.T) {
	// Marathon would wait for ever: nothing may be killed, nothing started.
	w := newWorld(1)
	old, def := definition(1, 1, 4, capacity(1, 0)), definition(2, 2, 4, capacity(1, 0))
	w.add(old, 4, instance.Running)
	w.all(old.Version, false)
	w.start(planFor("a", plan.Restart, app.AppChange{Old: old, New: def, Restart: true}))
	w.expect(t, "StepBegan 0, ResetBackoff, Kill 4")
	w.waits(t, "0 of 4 new instances are ready, 4 old left")
	w.end()
	w.expect(t, "Launch 4")
	w.all(def.Version, true)
	w.expect(t, "StepEnded 0, Finished")
}

func TestMaxParallel(t *testing.T) {
	w := newWorld(1)
	two := func(a *marathon.App) { a.UpgradeStrategy.MaxParallel = 2 }
	old, def := definition(1, 1, 6, capacity(0, 0), two), definition(2, 2, 6, capacity(0, 0), two)
	w.add(old, 6, instance.Running)
	w.start(planFor("a", plan.Restart, app.AppChange{Old: old, New: def, Restart: true}))
	w.expect(t, "StepBegan 0, ResetBackoff, Kill 2")
	for range 2 {
		w.end()
		w.expect(t, "Launch 2")
		w.all(def.Version, true)
		w.expect(t, "Kill 2")
	}
	w.end()
	w.expect(t, "Launch 2")
	w.all(def.Version, true)
	w.expect(t, "StepEnded 0, Finished")
}

func TestDeadlineIsTheEarliest(t *testing.T) {
	soon, late, none := definition(1, 1, 1), definition(1, 1, 1), definition(1, 1, 1)
	soon.ID, late.ID, none.ID = "/soon", "/late", "/none"
	soon.UpgradeStrategy.DeadlineSeconds, late.UpgradeStrategy.DeadlineSeconds = 1.5, 60
	d := New(epoch, &plan.Plan{Changes: []app.AppChange{{New: late}, {New: none}, {New: soon}, {Old: none}}}, "me")
	if want := epoch.Add(1500 * time.Millisecond); !d.Deadline.Equal(want) {
		t.Errorf("deadline %v, want %v", d.Deadline, want)
	}
	if d := New(epoch, &plan.Plan{Changes: []app.AppChange{{New: none}}}, "me"); !d.Deadline.IsZero() {
		t.Errorf("deadline %v without one", d.Deadline)
	}
}

func TestGoingBackHasNoDeadline(t *testing.T) {
	w := newWorld(1)
	old := definition(2, 2, 1, func(a *marathon.App) { a.UpgradeStrategy.Canary = &marathon.Canary{Instances: 1} })
	def := definition(3, 3, 1, func(a *marathon.App) {
		a.UpgradeStrategy.DeadlineSeconds = 1
		a.UpgradeStrategy.Canary = &marathon.Canary{Instances: 1}
	})
	w.add(old, 1, instance.Running)
	w.start(planFor("b", plan.Restart, app.AppChange{Old: old, New: def, Restart: true}))
	w.d.Reverts = "a"
	w.expect(t, "StepBegan 0, ResetBackoff, Launch 1")
	w.now = w.now.Add(time.Hour)
	w.expect(t, "")
	w.all(def.Version, true)
	w.expect(t, "Kill 1")
}

func TestAPlanWithoutStepsIsDone(t *testing.T) {
	w := newWorld(1)
	w.start(&plan.Plan{ID: "a"})
	w.expect(t, "Finished")
}

func TestInputsInWords(t *testing.T) {
	w := newWorld(1)
	def := definition(1, 1, 1)
	w.start(planFor("a", plan.Scale, app.AppChange{New: def}))
	if _, _, _, err := Step(w.now, w.d, "dance", w); err == nil || !strings.Contains(err.Error(), "promote, pause and resume") {
		t.Errorf("an unknown input: %v", err)
	}
	w.expect(t, "StepBegan 0, StepEnded 0, StepBegan 1, Launch 1")
	w.step(Pause)
	w.waits(t, "paused by an operator; resume the deployment to go on: 1 of 1 instance is waiting for an offer")
	w.drop(w.list["/app"][0])
	w.expect(t, "")
	w.step(Resume)
	if len(w.list["/app"]) != 1 {
		t.Error("it does not go on after the pause")
	}
}

func TestWaitingForARollout(t *testing.T) {
	for _, row := range []struct{ strategy, state, seen, want string }{
		{"canary", "starting", "nothing", "0 of 1 canary ready"},
		{"canary", "paused", "nothing", "paused for promotion: 1 canary ready"},
		{"canary", "paused", "canary unhealthy", "paused: 0 of 1 canary ready"},
		{"canary 60 s", "paused", "nothing", "paused until 2024-01-01T01:01:00.000Z or promotion: 1 canary ready"},
		{"canary", "promoted", "nothing", "1 of 4 new instances are ready, 4 old left"},
		{"canary", "promoted", "all ready", "4 old instances are still to end"},
		{"canary", "back", "nothing", "going back: the deployment was not done within its deadline, 10m0s after it began"},
		{"blue-green", "starting", "nothing", "the new set beside the old one: 4 of 4 instances are waiting for an offer"},
		{"blue-green", "paused", "nothing", "paused for promotion: the new set of 4 is ready"},
		{"blue-green", "paused", "canary unhealthy", "paused: 1 of 4 instances are not healthy"},
		{"blue-green keep 60 s", "promoted", "nothing", "the old set of 4 is kept until 2024-01-01T01:01:00.000Z"},
		{"blue-green keep 60 s", "promoted", "60 s later", "4 old instances are still to end"},
	} {
		t.Run(row.strategy+"/"+row.state+"/"+row.seen, func(t *testing.T) {
			x := newStateTable(t, row.strategy)
			x.reach(row.state)
			x.see(row.seen)
			x.waits(t, row.want)
		})
	}
}

// TestStepsOfSeveralApps also compares StepApps with Step.
func TestStepsOfSeveralApps(t *testing.T) {
	named := func(id string) *marathon.App { a := definition(1, 1, 2); a.ID = id; return a }
	a, b, c := named("/a"), named("/b"), named("/c")
	p := &plan.Plan{ID: "p", Changes: []app.AppChange{{New: a}, {New: b}, {New: c}}, Steps: []plan.Step{
		{Actions: []plan.Action{{Kind: plan.Start, App: "/a"}, {Kind: plan.Start, App: "/b"}, {Kind: plan.Start, App: "/c"}}},
		{Actions: []plan.Action{{Kind: plan.Scale, App: "/a"}, {Kind: plan.Scale, App: "/b"}}},
		{Actions: []plan.Action{{Kind: plan.Scale, App: "/c"}}},
	}}
	w := newWorld(1)
	w.start(p)
	w.expect(t, "StepBegan 0, StepEnded 0, StepBegan 1, Launch 2, Launch 2")
	for id, want := range map[string]bool{"/a": true, "/b": true, "/c": false} {
		if wanted, decides, ok := w.d.Decides(id); decides != want || wanted != nil || !ok {
			t.Errorf("Decides %s: %v %t %t", id, wanted, decides, ok)
		}
	}
	if _, _, ok := w.d.Decides("/d"); ok {
		t.Error("it decides about an app that it does not touch")
	}
	run := func(id string, good bool) {
		for _, i := range slices.Clone(w.list[id]) {
			w.set(i, func(c *instance.Instance) {
				if c.TaskID == "" {
					w.launch(c, w.defs[id][c.Version])
				}
				c.Condition = instance.Running
				w.healthy(c, w.defs[id][c.Version])
				if !good {
					c.Health = nil
				}
			})
		}
	}
	only := func(id, want string) {
		t.Helper()
		next, effects, changed := StepApps(w.now, w.d, w, []string{id})
		if got := words(effects); got != want || changed == (next == w.d) {
			t.Fatalf("after a change of %s: %q, want %q (changed %t)", id, got, want, changed)
		}
		w.d = next
		for _, e := range effects {
			w.do(e)
		}
	}
	only("/c", "")
	run("/a", true)
	only("/a", "")
	run("/a", false) // once done it stays done
	only("/a", "")
	if data, err := json.Marshal(w.d); err != nil || strings.Contains(string(data), "memo") {
		t.Errorf("%s %v", data, err)
	}
	run("/b", true)
	only("/b", "StepEnded 1, StepBegan 2, Launch 2")
	if wanted, decides, ok := w.d.Decides("/a"); wanted != a || decides || !ok {
		t.Errorf("Decides /a afterwards: %v %t %t", wanted, decides, ok)
	}
	run("/c", true)
	only("/c", "StepEnded 2, Finished")
}

func BenchmarkStep(b *testing.B) {
	const n = 100_000
	for _, kind := range []plan.Kind{plan.Scale, plan.Restart} {
		for _, counted := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/tallied=%t", kind, counted), func(b *testing.B) {
				w := newWorld(1)
				old, def := definition(1, 1, n/2), definition(2, 1, n)
				if kind == plan.Restart {
					old, def = definition(1, 1, n), definition(2, 2, n)
				}
				w.know(old, def)
				for k := range n {
					i := &instance.Instance{ID: fmt.Sprint(k), App: "/app", Version: old.Version, Goal: instance.GoalRunning}
					w.launch(i, old)
					i.Condition = instance.Running
					w.healthy(i, old)
					i.Health[0].Alive = k > 0
					w.list["/app"] = append(w.list["/app"], i)
					w.count(i, 1)
				}
				w.start(planFor("a", kind, app.AppChange{Old: old, New: def, Restart: kind == plan.Restart}))
				var view World = w
				if counted {
					view = tallied{w}
				}
				w.d, _, _, _ = Step(w.now, w.d, Look, view)
				b.ReportAllocs()
				for b.Loop() {
					StepApps(w.now, w.d, view, []string{"/app"})
				}
			})
		}
	}
}
