package deploy

import (
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/plan"
)

// rows of the table of docs/deployments.md that begins with these columns.
func rows(t *testing.T, columns ...string) (out [][]string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/deployments.md")
	if err != nil {
		t.Fatal(err)
	}
	in := false
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for n := range cells {
			cells[n] = strings.TrimSpace(cells[n])
		}
		switch {
		case slices.Equal(cells, columns):
			in = true
		case !strings.HasPrefix(line, "|"):
			in = false
		case in && !strings.HasPrefix(cells[0], "---"):
			out = append(out, cells)
		}
	}
	if len(out) < 10 {
		t.Fatalf("only %d rows with the columns %q", len(out), columns)
	}
	return out
}

func TestNumbersOfTheDocs(t *testing.T) {
	for _, row := range rows(t, "instances", "minimumHealthCapacity", "maximumOverCapacity", "volumes",
		"minHealthy", "maxCapacity", "killed at once", "started at once") {
		t.Run(strings.Join(row[:4], " "), func(t *testing.T) {
			n, _ := strconv.Atoi(row[0])
			least, _ := strconv.ParseFloat(row[1], 64)
			over, _ := strconv.ParseFloat(row[2], 64)
			opts := []func(*marathon.App){capacity(least, over)}
			if row[3] == "yes" {
				opts = append(opts, resident)
			}
			w := newWorld(1)
			old, next := definition(1, 1, n, opts...), definition(2, 2, n, opts...)
			w.add(old, n, instance.Running)
			w.start(planFor("a", plan.Restart, app.AppChange{Old: old, New: next, Restart: true}))
			d, effects, _, err := Step(w.now, w.d, Look, w)
			if err != nil {
				t.Fatal(err)
			}
			killed, started := 0, 0
			for _, e := range effects {
				switch e := e.(type) {
				case Kill:
					killed += len(e.Instances)
					if e.Keep != (row[3] == "yes") {
						t.Errorf("Kill with keep %t", e.Keep)
					}
				case Launch:
					started += e.N
				}
			}
			p := d.Progress.Of("/app")
			got := []string{strconv.Itoa(p.MinHealthy), strconv.Itoa(p.MaxCapacity), strconv.Itoa(killed), strconv.Itoa(started)}
			if !slices.Equal(got, row[4:]) {
				t.Errorf("got %v, the page says %v", got, row[4:])
			}
		})
	}
}

// stateTable is what docs/deployments.md calls States.
type stateTable struct {
	*world
	t         *testing.T
	old, next *marathon.App
}

func newStateTable(t *testing.T, strategy string) *stateTable {
	x := &stateTable{world: newWorld(1), t: t, old: definition(1, 1, 4), next: definition(2, 2, 4)}
	u := &x.next.UpgradeStrategy
	u.DeadlineSeconds = 600
	switch strategy {
	case "canary":
		u.Canary = &marathon.Canary{Instances: 1}
	case "canary 60 s":
		u.Canary = &marathon.Canary{Instances: 1, PauseSeconds: 60}
	case "canary auto":
		u.Canary = &marathon.Canary{Instances: 1, AutoRevert: true}
	case "blue-green":
		u.BlueGreen = &marathon.BlueGreen{Promotion: "manual"}
	case "blue-green auto":
		u.BlueGreen = &marathon.BlueGreen{Promotion: "auto"}
	case "blue-green keep 60 s":
		u.BlueGreen = &marathon.BlueGreen{Promotion: "manual", KeepOldSeconds: 60}
	default:
		t.Fatalf("strategy %q is unknown", strategy)
	}
	x.add(x.old, 4, instance.Running)
	x.start(planFor("a", plan.Restart, app.AppChange{Old: x.old, New: x.next, Restart: true}))
	return x
}

// state as the table writes it.
func (x *stateTable) state() string {
	s := "rolling"
	switch p := x.d.Progress.Of("/app"); {
	case x.d.Failed != "":
		return "back"
	case x.d.Step == len(x.d.Plan.Steps):
		return "done"
	case !x.d.Begun:
		s = "new"
	case p != nil && p.Phase != "":
		s = p.Phase
	}
	if x.d.Paused {
		s += " held"
	}
	return s
}

// reach a state from the beginning.
func (x *stateTable) reach(state string) {
	x.t.Helper()
	do := func(in Input) {
		if err := x.step(in); err != nil {
			x.t.Fatal(err)
		}
	}
	what, held := strings.CutSuffix(state, " held")
	switch what {
	case "new":
	case "back":
		x.reach(Starting)
		x.now = x.now.Add(time.Hour)
		do(Look)
	case Starting:
		do(Look)
	case Paused:
		x.reach(Starting)
		x.see("all ready")
		do(Look)
	case Promoted:
		x.reach(Paused)
		if held {
			do(Pause)
		}
		do(Promote)
	case "done":
		x.reach(Promoted)
		x.see("all ready, old gone")
		do(Look)
	default:
		x.t.Fatalf("state %q is unknown", state)
	}
	if held && what != Promoted {
		do(Pause)
	}
	if got := x.state(); got != state {
		x.t.Fatalf("reached %q instead of %q\n%s", got, state, x.dump())
	}
}

// of lists instances of a version that are to run.
func (x *stateTable) of(v marathon.Version) (out []*instance.Instance) {
	for _, i := range x.list["/app"] {
		if i.Version == v && i.Goal == instance.GoalRunning {
			out = append(out, i)
		}
	}
	return out
}

func (x *stateTable) run(i *instance.Instance, health instance.Health) {
	x.set(i, func(c *instance.Instance) {
		if c.Condition == instance.Scheduled {
			x.launch(c, x.next)
		}
		c.Condition = instance.Running
		x.world.healthy(c, x.next)
		c.Health[0] = health
	})
}

func (x *stateTable) see(what string) {
	x.t.Helper()
	good := instance.Health{Known: true, Alive: true, FirstSuccess: x.now}
	for _, one := range strings.Split(what, ", ") {
		fresh := x.of(x.next.Version)
		switch one {
		case "nothing":
		case "no old instance":
			x.see("old gone")
		case "canary ready":
			x.run(fresh[0], good)
		case "canary not healthy yet":
			x.run(fresh[0], instance.Health{Known: true, ConsecutiveFailures: 1})
		case "canary unhealthy":
			x.run(fresh[0], instance.Health{Known: true, ConsecutiveFailures: 1, FirstSuccess: x.now})
		case "canary ended":
			x.set(fresh[0], func(c *instance.Instance) {
				if c.Condition == instance.Scheduled {
					x.launch(c, x.next)
				}
				c.Condition = instance.Failed
			})
		case "canary relaunched": // quicker than anybody looked
			x.run(fresh[0], good)
			x.step(Look)
			x.set(x.of(x.next.Version)[0], func(c *instance.Instance) { x.launch(c, x.next) })
		case "canary gone":
			x.drop(fresh[0])
		case "all ready":
			for _, i := range fresh {
				x.run(i, good)
			}
		case "old ended": // its task failed, and it waits for another one
			x.set(x.of(x.old.Version)[0], func(c *instance.Instance) { c.Condition = instance.Scheduled })
		case "old gone":
			for _, i := range slices.Clone(x.list["/app"]) {
				if i.Version == x.old.Version {
					x.drop(i)
				}
			}
		case "60 s later":
			x.now = x.now.Add(time.Minute)
		case "600 s later":
			x.now = x.now.Add(10 * time.Minute)
		default:
			x.t.Fatalf("seen %q is unknown", one)
		}
	}
}

func TestStatesOfTheDocs(t *testing.T) {
	for _, row := range rows(t, "strategy", "state", "seen", "input", "then", "effects") {
		t.Run(strings.Join(row[:4], "/"), func(t *testing.T) {
			x := newStateTable(t, row[0])
			x.reach(row[1])
			x.see(row[2])
			in := Input(row[3])
			switch row[3] {
			case "look":
				in = Look
			case "DELETE", "force":
				in = Look
				target := definition(3, 1, 4)
				if row[3] == "force" {
					target = definition(3, 3, 4)
					target.UpgradeStrategy.DeadlineSeconds = 600
				} else {
					// It is a new version of the old content.
					target.VersionInfo.LastConfigChangeAt = target.Version
				}
				x.start(planFor("b", plan.Restart, app.AppChange{Old: x.next, New: target, Restart: true}))
				if row[3] == "DELETE" {
					x.d.Reverts = "a"
				}
			}
			before, _ := json.Marshal(x.d)
			next, effects, _, err := Step(x.now, x.d, in, x)
			got := words(effects)
			switch {
			case err != nil:
				got = "refused: " + err.Error()
				if after, _ := json.Marshal(next); string(after) != string(before) {
					t.Errorf("a refused input changed\n%s\ninto\n%s", before, after)
				}
			case got == "":
				got = "none"
			}
			x.d = next
			if got != row[5] || x.state() != row[4] {
				t.Errorf("then %q with %q, the page says %q with %q\n%s", x.state(), got, row[4], row[5], x.dump())
			}
			if err != nil {
				return
			}
			// The same input again changes nothing.
			for _, e := range effects {
				x.do(e)
			}
			if slices.ContainsFunc(effects, func(e Effect) bool { _, ok := e.(Finished); return ok }) {
				return
			}
			state := x.state()
			_, more, changed, err := Step(x.now, x.d, in, x)
			more = slices.DeleteFunc(more, func(e Effect) bool { _, ok := e.(Wake); return ok })
			if again := words(more); err == nil && (changed || again != "" && again != "GoBack") && again != "StepEnded 0, Finished" {
				t.Errorf("%s again: %q from state %q\n%s", row[3], again, state, x.dump())
			}
		})
	}
}
