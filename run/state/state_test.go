package state

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/kernel/clock"
)

// world drives a framework and keeps what its loop would.
type world struct {
	t      *testing.T
	f      *Framework
	now    clock.Now
	stored map[string]*Run
	timer  time.Duration
	calls  []*schedulerpb.Call
	answer *Answer
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, f: New(1), stored: map[string]*Run{}, now: clock.Now{Wall: time.Unix(1e9, 0)}}
	w.step(Recovered{})
	w.step(Subscribed{"F"})
	return w
}

func (w *world) step(in Input) string {
	w.calls = nil
	var said []string
	for _, e := range w.f.Step(w.now, in) {
		switch e := e.(type) {
		case Persist:
			if e.Run == nil {
				delete(w.stored, e.ID)
			} else {
				w.stored[e.ID] = e.Run
			}
			said = append(said, "persist")
		case Call:
			w.calls = append(w.calls, e.Call)
			said = append(said, strings.ToLower(e.Call.GetType().String()))
		case Answer:
			w.answer = &e
			said = append(said, fmt.Sprint(e.Status))
		case SetTimer:
			w.timer = e.At
		}
	}
	return strings.Join(said, " ")
}

func (w *world) submit(s Spec) *Run {
	w.t.Helper()
	w.step(Submit{Spec: s})
	if w.answer.Status != 200 {
		w.t.Fatalf("submit: %d %s", w.answer.Status, w.answer.Message)
	}
	return w.answer.Run
}

func (w *world) offer(cpus, mem float64) string {
	scalar := func(name string, v float64) *mesos.Resource {
		return &mesos.Resource{Name: &name, Type: mesos.Value_SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: &v},
			AllocationInfo: &mesos.Resource_AllocationInfo{Role: proto.String("*")}}
	}
	return w.step(Offers{[]*mesos.Offer{{
		Id: &mesos.OfferID{Value: proto.String("O")}, AgentId: &mesos.AgentID{Value: proto.String("A")},
		FrameworkId: &mesos.FrameworkID{Value: proto.String("F")}, Hostname: proto.String("h"),
		Resources: []*mesos.Resource{scalar("cpus", cpus), scalar("mem", mem)},
	}}})
}

func (w *world) launched() []*mesos.TaskInfo {
	var out []*mesos.TaskInfo
	for _, c := range w.calls {
		for _, op := range c.GetAccept().GetOperations() {
			out = append(out, op.GetLaunch().GetTaskInfos()...)
		}
	}
	return out
}

func (w *world) status(task string, state mesos.TaskState, exit ...int) string {
	in := Status{Status: &mesos.TaskStatus{TaskId: &mesos.TaskID{Value: &task}, State: state.Enum()}}
	if len(exit) > 0 {
		in.Exit = &exit[0]
	}
	return w.step(in)
}

func TestARunFromSubmissionToItsExitCode(t *testing.T) {
	w := newWorld(t)
	r := w.submit(Spec{Argv: []string{"/bin/sh", "-c", "exit 3"}, Instances: 2, CPUs: 1, Mem: 100})
	if got := w.calls[0].GetType(); got != schedulerpb.Call_REVIVE {
		t.Errorf("after submitting: %v", got)
	}
	// Room for one: the id is stored before it is used.
	if got := w.offer(1.5, 1000); got != "persist accept" {
		t.Errorf("first offer: %s", got)
	}
	first := w.launched()
	if len(first) != 1 || first[0].GetTaskId().GetValue() != r.ID+".0.1" || first[0].GetCommand().GetShell() || len(first[0].GetCommand().GetArguments()) != 3 {
		t.Fatalf("launched %v", first)
	}
	if got := first[0].GetResources(); len(got) != 2 || got[0].GetAllocationInfo().GetRole() != "*" {
		t.Errorf("resources %v", got)
	}
	if got := w.offer(0.5, 1000); got != "decline" {
		t.Errorf("too small an offer: %s", got)
	}
	if got := w.offer(1, 1000); got != "persist accept suppress" {
		t.Errorf("last offer: %s", got)
	}
	w.status(r.ID+".0.1", mesos.TaskState_TASK_RUNNING)
	w.status(r.ID+".1.1", mesos.TaskState_TASK_FINISHED)
	w.status(r.ID+".0.1", mesos.TaskState_TASK_FAILED, 3)
	end := w.stored[r.ID]
	if end.Done == nil || end.Exit != 3 || end.Instances[0].State != Failed || end.Instances[1].State != Finished {
		t.Errorf("ended as %+v", end)
	}
	if got := w.status(r.ID+".0.1", mesos.TaskState_TASK_FAILED, 3); got != "" {
		t.Errorf("told again: %s", got)
	}
}

// What is too large for every agent must not make the small wait for its filters' end.
func TestASmallRunDoesNotWaitBehindALargeOne(t *testing.T) {
	w := newWorld(t)
	w.submit(Spec{Argv: []string{"x"}, CPUs: 64})
	if got := w.offer(4, 1000); got != "decline" {
		t.Fatalf("too small an offer: %s", got)
	}
	w.submit(Spec{Argv: []string{"x"}})
	if len(w.calls) != 1 || w.calls[0].GetType() != schedulerpb.Call_REVIVE {
		t.Errorf("submitting a small one: %v", w.calls)
	}
}

func TestRestartPolicies(t *testing.T) {
	for _, c := range []struct {
		restart Restart
		end     mesos.TaskState
		again   bool
	}{
		{Never, mesos.TaskState_TASK_FAILED, false},
		{Never, mesos.TaskState_TASK_FINISHED, false},
		{Never, mesos.TaskState_TASK_DROPPED, true}, // it never ran
		{Never, mesos.TaskState_TASK_GONE, true},    // nothing was seen of it
		{OnFailure, mesos.TaskState_TASK_FAILED, true},
		{OnFailure, mesos.TaskState_TASK_LOST, true},
		{OnFailure, mesos.TaskState_TASK_FINISHED, false},
		{OnFailure, mesos.TaskState_TASK_ERROR, false}, // would only fail again
		{Always, mesos.TaskState_TASK_FINISHED, true},
		{Always, mesos.TaskState_TASK_KILLED, true},
	} {
		w := newWorld(t)
		r := w.submit(Spec{Argv: []string{"x"}, Restart: c.restart})
		w.offer(1, 1000)
		w.status(r.ID+".0.1", c.end)
		if again := w.stored[r.ID].Instances[0].State == Waiting; again != c.again {
			t.Errorf("%s after %s: started again %v, want %v", c.restart, c.end, again, c.again)
		}
	}
}

func TestBackoffGrowsAndEnds(t *testing.T) {
	w := newWorld(t)
	r := w.submit(Spec{Argv: []string{"x"}, Restart: OnFailure})
	var waits []time.Duration
	for i := 1; i <= 8; i++ {
		if got := w.offer(1, 1000); got != "persist accept suppress" {
			t.Fatalf("attempt %d: %s", i, got)
		}
		w.status(fmt.Sprintf("%s.0.%d", r.ID, i), mesos.TaskState_TASK_FAILED, 1)
		if got := w.offer(1, 1000); got != "decline" {
			t.Fatalf("an offer during the backoff: %s", got)
		}
		wait := w.timer - w.now.Mono
		waits = append(waits, wait)
		w.now.Mono, w.now.Wall = w.now.Mono+wait, w.now.Wall.Add(wait)
		if got := w.step(Fired{}); got != "revive" {
			t.Fatalf("when the backoff ended: %q", got)
		}
	}
	if got := fmt.Sprint(waits); got != "[1s 2s 4s 8s 16s 32s 1m0s 1m0s]" {
		t.Errorf("backoffs %s", got)
	}
}

func TestCancel(t *testing.T) {
	w := newWorld(t)
	r := w.submit(Spec{Argv: []string{"x"}, Instances: 2, Restart: Always, CPUs: 1})
	w.offer(1, 1000)
	if got := w.step(Cancel{ID: r.ID}); got != "kill persist 200 suppress" {
		t.Errorf("cancel: %s", got)
	}
	w.status(r.ID+".0.1", mesos.TaskState_TASK_KILLED)
	if end := w.stored[r.ID]; end.Done == nil || end.Instances[0].State != Killed || end.Instances[1].State != Killed {
		t.Errorf("ended as %+v", end)
	}
	if w.step(Cancel{ID: "nobody"}); w.answer.Status != 404 {
		t.Errorf("canceling what is not there: %d", w.answer.Status)
	}
}

func TestAfterARestartTheMasterIsAskedFirst(t *testing.T) {
	w := newWorld(t)
	r := w.submit(Spec{Argv: []string{"x"}, Instances: 2, CPUs: 1})
	w.offer(1, 1000)
	var kept []*Run
	for _, s := range w.stored {
		kept = append(kept, s)
	}
	w.f = New(2)
	w.step(Recovered{Runs: kept})
	if got := w.step(Subscribed{"F"}); got != "reconcile" {
		t.Errorf("subscribed again: %s", got)
	}
	if tasks := w.calls[0].GetReconcile().GetTasks(); len(tasks) != 1 || tasks[0].GetTaskId().GetValue() != r.ID+".0.1" {
		t.Errorf("asked for %v", tasks)
	}
	w.status(r.ID+".0.1", mesos.TaskState_TASK_UNKNOWN)
	w.offer(4, 1000)
	ids := []string{}
	for _, l := range w.launched() {
		ids = append(ids, l.GetTaskId().GetValue())
	}
	if got := fmt.Sprint(ids); got != fmt.Sprintf("[%s.0.2 %s.1.1]", r.ID, r.ID) {
		t.Errorf("launched %s", got)
	}
}

func TestOldRunsAreForgotten(t *testing.T) {
	w := newWorld(t)
	for range keepDone + 5 {
		r := w.submit(Spec{Argv: []string{"x"}})
		w.offer(1, 1000)
		w.status(r.ID+".0.1", mesos.TaskState_TASK_FINISHED)
	}
	if len(w.stored) != keepDone || len(w.f.runs) != keepDone || len(w.f.order) != keepDone {
		t.Errorf("%d stored, %d known", len(w.stored), len(w.f.runs))
	}
}

func TestSpecsThatCannotBe(t *testing.T) {
	for says, s := range map[string]Spec{
		"argv is empty":          {},
		"at most 100 bytes":      {Argv: []string{"x"}, Name: "a/b"},
		"instances is 501":       {Argv: []string{"x"}, Instances: 501},
		"cpus must be at least":  {Argv: []string{"x"}, CPUs: -1},
		"must be never, on-fail": {Argv: []string{"x"}, Restart: "sometimes"},
	} {
		if _, err := s.Defaults(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want %q", s, err, says)
		}
	}
}
