package state

import (
	"testing"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/app"
)

// TestDrain: an instance that is killed is shown as TASK_KILLING for as long as the app now
// says, whichever version it runs itself.
func TestDrain(t *testing.T) {
	w := newWorld(t, 1, 3)
	w.run(time.Second)
	ask := func(in func(q Request) Input) {
		t.Helper()
		if r, ok := w.ask(in, false); !ok || r.Fault != nil {
			t.Fatalf("%+v", r.Fault)
		}
	}
	change := func(body string) {
		t.Helper()
		ask(func(q Request) Input {
			d := w.draft(body)
			d.ID = "/web"
			return UpdateApps{Request: q, Drafts: []*app.Draft{d}, Single: true}
		})
	}
	change(`{"cmd":"one","cpus":0.1,"mem":16,"instances":3}`)
	w.run(w.now + 3*time.Second)
	for _, one := range []struct {
		what  string
		do    func()
		drain time.Duration
		tasks int // that end
	}{
		{"an upgrade that brings draining", func() { change(`{"cmd":"two","upgradeStrategy":{"drainSeconds":5}}`) }, 5 * time.Second, 3},
		{"a kill", func() { ask(func(q Request) Input { return KillTasks{Request: q, App: "/web", All: true} }) }, 5 * time.Second, 3},
		{"scaling down", func() { change(`{"instances":2}`) }, 5 * time.Second, 1},
		{"an upgrade that ends draining", func() { change(`{"cmd":"three","upgradeStrategy":{}}`) }, 0, 2},
		{"draining that comes without a restart", func() { change(`{"restartPolicyOnChange":"if-needed","upgradeStrategy":{"drainSeconds":2}}`) }, 0, 0},
		{"an upgrade", func() { change(`{"cmd":"four"}`) }, 2 * time.Second, 2},
		{"removal", func() { ask(func(q Request) Input { return DeleteApp{q, "/web"} }) }, 2 * time.Second, 2},
	} {
		w.events = nil
		one.do()
		w.run(w.now + 20*time.Second)
		began, ended := make(map[string]time.Time), 0
		for _, e := range w.events {
			u, ok := e.(marathon.StatusUpdate)
			if !ok {
				continue
			}
			at, err := time.Parse(time.RFC3339, string(u.Timestamp))
			if err != nil {
				t.Fatal(err)
			}
			switch u.TaskStatus {
			case "TASK_KILLING":
				began[u.TaskID] = at
			case "TASK_KILLED":
				ended++
				if from, drained := began[u.TaskID]; drained != (one.drain > 0) {
					t.Errorf("%s: %s is killed, drained before: %v", one.what, u.TaskID, drained)
				} else if took := at.Sub(from); drained && (took < one.drain || took > one.drain+time.Second) {
					t.Errorf("%s: %s is killed %v after it was shown as TASK_KILLING; want %v", one.what, u.TaskID, took, one.drain)
				}
			}
		}
		if ended != one.tasks {
			t.Errorf("%s: %d tasks were killed; want %d", one.what, ended, one.tasks)
		}
	}
}
