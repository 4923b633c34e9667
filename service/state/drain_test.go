package state

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/stoa-kernel/stoa/api/marathon"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
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

// TestPreStopCommand: what is to be run before an instance is killed is the kernel's affair,
// which is told of it by every KILL, at once, and the instance is shown as TASK_KILLING once.
func TestPreStopCommand(t *testing.T) {
	w := newWorld(t, 1, 3)
	w.run(time.Second)
	put := func(body string) {
		t.Helper()
		r, ok := w.ask(func(q Request) Input {
			d := w.draft(body)
			d.ID = "/web"
			return UpdateApps{Request: q, Drafts: []*app.Draft{d}, Single: true}
		}, true)
		if !ok || r.Fault != nil {
			t.Fatalf("%+v", r.Fault)
		}
	}
	put(`{"cmd":"one","cpus":0.1,"mem":16,"instances":3,"taskKillGracePeriodSeconds":7,"restartPolicyOnChange":"if-needed",
		"preStop":{"command":"bye","timeoutSeconds":0.5},"upgradeStrategy":{"drainSeconds":40}}`)
	w.run(w.now + 3*time.Second)
	w.events, w.kills = nil, nil
	put(`{"instances":2}`)
	asked := w.wall()
	w.run(w.now + 10*time.Second)
	put(`{"upgradeStrategy":{"drainSeconds":1}}`) // too late for it
	w.run(w.now + 50*time.Second)

	nanoseconds := func(d time.Duration) *mesos.DurationInfo {
		return &mesos.DurationInfo{Nanoseconds: proto.Int64(int64(d))}
	}
	want := &mesos.KillPolicy{
		GracePeriod: nanoseconds(7 * time.Second), PreStop: &mesos.CommandInfo{Value: proto.String("bye")},
		PreStopTimeout: nanoseconds(time.Second / 2), DrainPeriod: nanoseconds(40 * time.Second),
	}
	if len(w.kills) < 2 {
		t.Errorf("%d times killed; it is repeated after 30 s", len(w.kills))
	}
	for _, k := range w.kills {
		if !proto.Equal(k.GetKillPolicy(), want) {
			t.Errorf("killed with %v; want %v", k.GetKillPolicy(), want)
		}
	}
	var states []string
	for _, e := range w.events {
		u, ok := e.(marathon.StatusUpdate)
		if !ok {
			continue
		}
		states = append(states, u.TaskStatus)
		at, err := time.Parse(time.RFC3339, string(u.Timestamp))
		if took := at.Sub(asked); err != nil || u.TaskStatus == "TASK_KILLING" && took > time.Second || u.TaskStatus == "TASK_KILLED" && took < 40*time.Second {
			t.Errorf("%s after %v (%v)", u.TaskStatus, took, err)
		}
	}
	if got := strings.Join(states, " "); got != "TASK_KILLING TASK_KILLED" {
		t.Errorf("told of %s", got)
	}
}

// TestPreStopCommandOfAnotherExecutor: where the default executor is a program of the
// user's, apps cannot have a command, and those that have it from before are told of.
func TestPreStopCommandOfAnotherExecutor(t *testing.T) {
	const body = `{"cmd":"one","cpus":0.1,"mem":16,"preStop":{"command":"bye"},"upgradeStrategy":{"drainSeconds":3}}`
	w := newWorld(t, 1, 3)
	w.run(time.Second)
	put := func(id string) Result {
		t.Helper()
		r, _ := w.ask(func(q Request) Input {
			d := w.draft(body)
			d.ID = id
			return UpdateApps{Request: q, Drafts: []*app.Draft{d}, Single: true}
		}, false)
		return r
	}
	if r := put("/web"); r.Fault != nil {
		t.Fatal(r.Fault)
	}
	w.run(w.now + 3*time.Second)
	w.executor = "/bin/mine"
	w.die("for another executor")
	w.run(w.now + 5*time.Second)
	if r := put("/other"); r.Fault == nil || r.Fault.Status != 422 {
		t.Errorf("answered %+v", r)
	}
	w.events = nil
	if r, ok := w.ask(func(q Request) Input { return KillTasks{Request: q, App: "/web", All: true} }, false); !ok || r.Fault != nil {
		t.Fatal(r.Fault)
	}
	w.run(w.now + 20*time.Second)
	var told []string
	for _, e := range w.events {
		if u, ok := e.(marathon.StatusUpdate); ok && u.TaskStatus == "TASK_KILLING" {
			told = append(told, u.Message)
		}
	}
	if len(told) != 1 || !strings.Contains(told[0], "preStop.command is not run") {
		t.Errorf("told %q", told)
	}
}
