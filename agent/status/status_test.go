package status_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stoa-kernel/stoa/agent/status"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/kernel/task"
	"pgregory.net/rapid"
)

var retry = status.Retry{Min: 10 * time.Second, Max: 10 * time.Minute}

func update(uuid string, s mesos.TaskState) *mesos.TaskStatus {
	return &mesos.TaskStatus{State: s.Enum(), Uuid: []byte(uuid)}
}

const (
	runningState  = mesos.TaskState_TASK_RUNNING
	finishedState = mesos.TaskState_TASK_FINISHED
)

// TestStream walks one stream through each table's steps. A step is "add UUID",
// "end UUID" (a terminal update), "ack UUID", "pause", "resume", "at SECONDS" (asks
// what to send); want is what it says.
func TestStream(t *testing.T) {
	type step struct{ do, want string }
	tests := []struct {
		name  string
		steps []step
	}{
		{"nothing flows before resume", []step{
			{"add a", "new"}, {"at 0", "none"}, {"resume", ""}, {"at 0", "a again 10s"},
		}},
		{"one in flight", []step{
			{"resume", ""}, {"add a", "new"}, {"add b", "new"}, {"at 0", "a again 10s"}, {"at 1", "none again 10s"},
			{"ack a", "yes"}, {"at 2", "b again 12s"}, {"ack b", "yes"}, {"at 3", "none"},
		}},
		{"retry doubles to the maximum", []step{
			{"resume", ""}, {"add a", "new"},
			{"at 0", "a again 10s"}, {"at 10", "a again 30s"}, {"at 30", "a again 1m10s"}, {"at 70", "a again 2m30s"},
			{"at 150", "a again 5m10s"}, {"at 310", "a again 10m30s"}, {"at 630", "a again 20m30s"}, {"at 1230", "a again 30m30s"},
		}},
		{"an early timer sends nothing", []step{
			{"resume", ""}, {"add a", "new"}, {"at 0", "a again 10s"}, {"at 9", "none again 10s"}, {"at 10", "a again 30s"},
		}},
		{"the interval starts anew after each acknowledgement", []step{
			{"resume", ""}, {"add a", "new"}, {"add b", "new"}, {"at 0", "a again 10s"}, {"at 10", "a again 30s"},
			{"ack a", "yes"}, {"at 11", "b again 21s"},
		}},
		{"pause and resume send the head again at once", []step{
			{"resume", ""}, {"add a", "new"}, {"at 0", "a again 10s"}, {"pause", ""}, {"at 100", "none"},
			{"resume", ""}, {"at 101", "a again 1m51s"},
		}},
		{"duplicates", []step{
			{"resume", ""}, {"add a", "new"}, {"add a", "old"}, {"add b", "new"}, {"add b", "old"}, {"ack a", "yes"}, {"add a", "old"},
		}},
		{"nothing after the terminal update", []step{
			{"resume", ""}, {"add a", "new"}, {"end b", "new"}, {"add c", "old"}, {"end d", "old"}, {"ack a", "yes"}, {"open", "open"},
			{"ack b", "yes"}, {"open", "closed"}, {"ack b", "no"},
		}},
		{"wrong uuids acknowledge nothing", []step{
			{"resume", ""}, {"ack a", "no"}, {"add a", "new"}, {"add b", "new"}, {"ack b", "no"}, {"ack x", "no"}, {"at 0", "a again 10s"},
			{"ack a", "yes"}, {"ack a", "no"}, {"at 1", "b again 11s"},
		}},
		{"an acknowledgement while paused counts", []step{
			{"resume", ""}, {"add a", "new"}, {"add b", "new"}, {"at 0", "a again 10s"}, {"pause", ""}, {"ack a", "yes"}, {"resume", ""}, {"at 5", "b again 15s"},
		}},
		{"forgotten uuids are duplicates", []step{
			{"forget a", ""}, {"add a", "old"}, {"add b", "new"}, {"forget b", ""}, {"ack b", "yes"},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s status.Stream
			for i, step := range tt.steps {
				if got := do(&s, step.do); got != step.want {
					t.Fatalf("step %d, %s: %q, want %q", i, step.do, got, step.want)
				}
			}
		})
	}
}

func do(s *status.Stream, step string) string {
	var verb, arg string
	fmt.Sscan(step, &verb, &arg)
	yes := func(ok bool, y, n string) string {
		if ok {
			return y
		}
		return n
	}
	switch verb {
	case "add":
		return yes(s.Add(update(arg, runningState)), "new", "old")
	case "end":
		return yes(s.Add(update(arg, finishedState)), "new", "old")
	case "ack":
		return yes(s.Acknowledge([]byte(arg)), "yes", "no")
	case "forget":
		s.Forget([]byte(arg))
	case "pause":
		s.Pause()
	case "resume":
		s.Resume()
	case "open":
		return yes(s.Closed(), "closed", "open")
	case "at":
		var n int
		fmt.Sscan(arg, &n)
		u, again := s.Forward(time.Duration(n)*time.Second, retry)
		text := "none"
		if u != nil {
			text = string(u.Uuid)
		}
		if again != 0 {
			text += " again " + again.String()
		}
		return text
	}
	return ""
}

func TestShown(t *testing.T) {
	var s status.Stream
	if s.Shown() != nil {
		t.Error("an empty stream shows an update")
	}
	s.Add(update("a", runningState))
	s.Add(update("b", finishedState))
	if got := string(s.Shown().Uuid); got != "a" {
		t.Errorf("shows %s while a is in flight", got)
	}
	s.Acknowledge([]byte("a"))
	s.Acknowledge([]byte("b"))
	if got := string(s.Shown().Uuid); got != "b" {
		t.Errorf("shows %s, want the last one acknowledged", got)
	}
	if uuids, last := s.Acknowledged(); len(uuids) != 2 || string(last.Uuid) != "b" {
		t.Errorf("acknowledged %q, last %v", uuids, last)
	}
}

// TestMemoryIsBounded: an executor that reports for ever costs no more for it.
func TestMemoryIsBounded(t *testing.T) {
	var s status.Stream
	for i := range 1000 {
		uuid := fmt.Sprint(i)
		s.Add(update(uuid, runningState))
		s.Acknowledge([]byte(uuid))
	}
	if uuids, _ := s.Acknowledged(); len(uuids) > 64 {
		t.Errorf("%d acknowledged uuids are kept", len(uuids))
	}
	if s.Add(update("999", runningState)) {
		t.Error("the newest acknowledged update is taken again")
	}
}

// TestDelivery drives a stream with a lossy receiver and a restartless sender: what
// arrives is every update, in order, each at least once, whatever is lost on the way.
func TestDelivery(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s status.Stream
		var sent, got []string
		now, next := time.Duration(0), 0
		inFlight := "" // delivered and not acknowledged
		terminal := false
		check := func(u *mesos.TaskStatus) {
			uuid := string(u.Uuid)
			if len(got) == 0 || got[len(got)-1] != uuid {
				got = append(got, uuid)
			}
			if len(got) > len(sent) || got[len(got)-1] != sent[len(got)-1] {
				t.Fatalf("received %v of %v", got, sent)
			}
		}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch rapid.IntRange(0, 6).Draw(t, "step") {
			case 0:
				u := update(fmt.Sprint(next), runningState)
				if rapid.IntRange(0, 20).Draw(t, "end") == 0 {
					u.State = finishedState.Enum()
				}
				if s.Add(u) == terminal {
					t.Fatal("an update was taken after the terminal one, or refused before")
				}
				if !terminal {
					sent = append(sent, string(u.Uuid))
					terminal = task.Terminal(u.GetState())
				}
				next++
			case 1:
				now += time.Duration(rapid.IntRange(0, 700).Draw(t, "seconds")) * time.Second
			case 2:
				s.Pause()
			case 3:
				s.Resume()
			case 4, 5:
				if u, _ := s.Forward(now, retry); u != nil && rapid.Bool().Draw(t, "arrives") {
					check(u)
					inFlight = string(u.Uuid)
				}
			case 6:
				uuid := inFlight
				if rapid.IntRange(0, 3).Draw(t, "forged") == 0 {
					uuid = fmt.Sprint(rapid.IntRange(0, 20).Draw(t, "uuid"))
					if len(got) == 0 || uuid != got[len(got)-1] {
						// It may acknowledge only what is in flight.
						if h := s.Head(); h == nil || string(h.Uuid) != uuid {
							if s.Acknowledge([]byte(uuid)) {
								t.Fatal("a forged acknowledgement counted")
							}
						}
						continue
					}
				}
				s.Acknowledge([]byte(uuid))
			}
		}
		// The network heals: everything arrives.
		s.Resume()
		for s.Head() != nil {
			u, again := s.Forward(now, retry)
			if u == nil {
				if again <= now {
					t.Fatal("an update waits for nothing")
				}
				now = again
				continue
			}
			check(u)
			s.Acknowledge(u.Uuid)
		}
		if len(got) != len(sent) {
			t.Fatalf("received %v of %v", got, sent)
		}
		if s.Closed() != terminal {
			t.Fatalf("closed %v, terminal update sent %v", s.Closed(), terminal)
		}
	})
}
