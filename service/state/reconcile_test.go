package state

import (
	"testing"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"google.golang.org/protobuf/proto"

	"github.com/stoa-kernel/stoa/kernel/clock"
	"github.com/stoa-kernel/stoa/service/instance"
)

// The kernel says nothing about tasks of agents that are still to come back, and forgets
// what it was to kill there: both are asked for until there is an answer.
func TestTasksAreAskedAboutUntilTheKernelAnswers(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := New(Config{Seed: 1})
	now := time.Duration(0)
	var due time.Duration
	asked, kills := map[string]int{}, map[string]int{}
	step := func(in Input) {
		for _, e := range s.Step(clock.Now{Mono: now, Wall: start.Add(now)}, in) {
			switch e := e.(type) {
			case SetTimer:
				due = e.At
			case Call:
				for _, q := range e.Call.GetReconcile().GetTasks() {
					asked[q.GetTaskId().GetValue()]++
				}
				if k := e.Call.GetKill(); k != nil {
					kills[k.GetTaskId().GetValue()]++
				}
			}
		}
	}
	of := func(name string, c instance.Condition, goal instance.Goal, killing time.Time) *instance.Instance {
		id := instance.NewID("/web", name)
		return &instance.Instance{
			ID: id, App: "/web", TaskID: instance.TaskID(id, 1), Incarnation: 1, Condition: c, Goal: goal,
			Since: start, StagedAt: start, KillingSince: killing, Agent: &instance.Agent{ID: "A", Host: "a"},
		}
	}
	launched := of("launched", instance.Provisioned, instance.GoalRunning, time.Time{})
	dying := of("dying", instance.Running, instance.GoalDecommissioned, start)
	step(Recovered{Instances: []*instance.Instance{launched, dying}})
	step(Subscribed{FrameworkID: "F"})
	for now < 10*time.Second {
		now = due
		step(Fired{})
	}
	if n := asked[launched.TaskID]; n < 4 || n > 8 || asked[dying.TaskID] != n {
		t.Fatalf("in 10 s the kernel was asked %v", asked)
	}
	tell := func(i *instance.Instance, state mesos.TaskState) {
		step(Status{Status: &mesos.TaskStatus{
			TaskId: &mesos.TaskID{Value: proto.String(i.TaskID)}, State: state.Enum(),
			Source: mesos.TaskStatus_SOURCE_MASTER.Enum(), Reason: mesos.TaskStatus_REASON_RECONCILIATION.Enum(),
		}})
	}
	clear(kills)
	tell(dying, mesos.TaskState_TASK_RUNNING)
	if kills[dying.TaskID] != 1 {
		t.Errorf("a task that lives though it was killed: %v", kills)
	}
	clear(asked)
	now = due
	step(Fired{})
	for range 3 {
		now = due
		step(Fired{})
	}
	if asked[dying.TaskID] != 0 || asked[launched.TaskID] == 0 {
		t.Errorf("with one answer the kernel is asked %v", asked)
	}
	tell(launched, mesos.TaskState_TASK_GONE)
	if i := s.instances[launched.ID]; i != nil && i.TaskID == launched.TaskID && i.Active() {
		t.Errorf("a launch that was lost: %+v", i)
	}
}
