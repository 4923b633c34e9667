package state

import (
	"bytes"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/kernel/id"
	lifecycle "github.com/stoa-kernel/stoa/kernel/task"
)

// statusUpdate is an update an agent forwards (Mesos 1.11, src/status_update_manager): the task's latest state is
// accounted, the status goes to the scheduler, which acknowledges it.
func (m *Master) statusUpdate(a *agent, u *stoapb.Update) {
	s := u.GetStatus()
	if s.GetTaskId() == nil || len(s.GetUuid()) != 16 {
		return
	}
	f := m.find(id.Framework(u.GetFrameworkId().GetValue()))
	if f == nil {
		return // the agent's next registration makes it known
	}
	tid := id.Task(s.TaskId.GetValue())
	t := a.tasks[taskKey{f.id, tid}]
	switch {
	case t == nil && (f.removed || f.ackedBefore(tid, s.Uuid)):
		// Nobody else will acknowledge it, or somebody did and the agent does not know.
		m.ackTask(a, f.protoID, s.TaskId, s.Uuid)
		return
	case t == nil:
		m.send(f, f.translate(s))
		return
	case t.acked && bytes.Equal(t.statusUUID, s.Uuid):
		m.ackTask(a, f.protoID, s.TaskId, s.Uuid)
		return
	}
	retry := bytes.Equal(t.statusUUID, s.Uuid) || (t.held != nil && bytes.Equal(t.held.Uuid, s.Uuid))
	latest := s.GetState()
	if u.LatestState != nil {
		latest = u.GetLatestState()
	}
	before := t.state
	m.advance(t, latest)
	m.resolveDoubt(t)
	if !retry {
		t.record(s)
		m.publish(TaskUpdated{t.snapshot(), s})
	} else if t.state != before {
		m.publish(TaskUpdated{t.snapshot(), nil})
	}
	switch {
	case f.removed:
		m.ackTask(a, f.protoID, s.TaskId, s.Uuid)
		if lifecycle.Terminal(s.GetState()) {
			m.complete(t, nil)
		}
	case !lifecycle.Told(s.GetState(), lifecycle.Has(f.info, mesos.FrameworkInfo_Capability_TASK_KILLING_STATE)):
		m.ackTask(a, f.protoID, s.TaskId, s.Uuid)
	case f.connected():
		m.forward(t, s)
	default:
		t.held = s
	}
}

// advance takes over a task's latest state. At the first terminal one its resources are
// free, whatever the framework was told and has acknowledged.
func (m *Master) advance(t *task, latest mesos.TaskState) {
	t.seen = true
	if lifecycle.Terminal(t.state) {
		return
	}
	t.state = t.fw.told(latest)
	if lifecycle.Terminal(t.state) {
		m.release(t)
	}
}

// forward sends an agent's update; only now the framework can be asked to acknowledge it.
func (m *Master) forward(t *task, s *mesos.TaskStatus) {
	t.held = nil
	t.statusState, t.statusUUID, t.acked = t.fw.told(s.GetState()), s.Uuid, false
	m.send(t.fw, t.fw.translate(s))
}

// told is a state as the framework reads it.
func (f *framework) told(s mesos.TaskState) mesos.TaskState {
	return lifecycle.For(s, f.partitionAware)
}

func (f *framework) translate(s *mesos.TaskStatus) *mesos.TaskStatus {
	state := f.told(s.GetState())
	if state == s.GetState() {
		return s
	}
	c := copyStatus(s)
	c.State = &state
	return c
}
