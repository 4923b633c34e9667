package state

import (
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	lifecycle "github.com/stoa-kernel/stoa/kernel/task"
)

// removeFramework is TEARDOWN, or the end of failover_timeout: the id is unusable from
// now on and the agents shut everything of it down. Its tasks stay on the books until
// their agents say that they are dead.
func (m *Master) removeFramework(f *framework) {
	m.takeBackOffers(f, false)
	m.stopFailover(f)
	stream := f.stream
	if f.connected() {
		delete(m.streams, stream)
		f.stream = ""
	}
	f.removed = true
	f.unregistered = m.now.Wall
	m.persistFramework(f, 0)
	if stream != "" {
		m.out.add(CloseStream{stream})
	}
	m.alloc.DeactivateFramework(f.id)
	delete(m.frameworks, f.id)
	m.dying[f.id] = f
	m.removed[f.id] = f
	m.removedOrder = append(m.removedOrder, f)
	m.rolesDirty = true
	m.publish(FrameworkRemoved{f.snapshot()})
	for _, a := range f.agentsOf() {
		m.shutdownFramework(a, f.protoID)
	}
	for _, t := range f.sortedTasks() {
		switch {
		case lifecycle.Terminal(t.state): // nobody is left to acknowledge it
			m.complete(t, nil)
		case !t.sent && !t.seen:
			m.end(t, m.removedStatus(t))
		}
	}
	for _, t := range f.unreachableOrder {
		if f.unreachable[t.id] == t {
			delete(f.unreachable, t.id)
			t.state = mesos.TaskState_TASK_KILLED
			s := m.removedStatus(t)
			t.record(s)
			m.complete(t, s)
		}
	}
	f.unreachableOrder = nil
	for len(m.removedOrder) > m.cfg.MaxCompletedFrameworks {
		old := m.removedOrder[0]
		m.removedOrder = m.removedOrder[1:]
		delete(m.removed, old.id)
		m.out.add(Persist{Frameworks, string(old.id), nil})
		m.publish(FrameworkForgotten{old.id})
	}
	m.settle(f)
}

func (m *Master) removedStatus(t *task) *mesos.TaskStatus {
	return m.status(t.fw, t.info.TaskId, t.agentID, mesos.TaskState_TASK_KILLED,
		mesos.TaskStatus_REASON_FRAMEWORK_REMOVED, "Framework "+string(t.fw.id)+" removed")
}

func (m *Master) shutdownFramework(a *agent, f *mesos.FrameworkID) {
	m.toAgent(a, &stoapb.ToAgent{Body: &stoapb.ToAgent_ShutdownFramework{ShutdownFramework: &stoapb.ShutdownFramework{
		Epoch: &m.epoch, FrameworkId: f,
	}}})
}

// settle forgets a removed framework when nothing of it is alive any more.
func (m *Master) settle(f *framework) {
	if !f.removed || len(f.tasks) > 0 || len(f.executors) > 0 {
		return
	}
	delete(m.dying, f.id)
	if f.inAllocator {
		f.inAllocator = false
		m.alloc.RemoveFramework(f.id)
	}
}
