package state

import (
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/kernel/id"
)

// reconcile is RECONCILE (Mesos 1.11, docs/reconciliation.md): every known task, or the tasks asked for.
func (m *Master) reconcile(f *framework, tasks []*schedulerpb.Call_Reconcile_Task) {
	if len(tasks) == 0 {
		for _, t := range f.sortedTasks() {
			m.send(f, m.latestStatus(t))
		}
		return
	}
	for _, t := range tasks {
		m.reconcileTask(f, t)
	}
}

// reconcileTask answers for one task, in Mesos's order; for agents that may still come
// back it says nothing.
func (m *Master) reconcileTask(f *framework, q *schedulerpb.Call_Reconcile_Task) {
	if t := f.tasks[id.Task(q.GetTaskId().GetValue())]; t != nil {
		m.send(f, m.latestStatus(t))
		return
	}
	aid := id.Agent(q.GetAgentId().GetValue())
	a := m.agents[aid]
	named := q.AgentId != nil
	if (named && a != nil && a.recovered) || (!named && m.recovering > 0) {
		return
	}
	state, message := mesos.TaskState_TASK_UNKNOWN, "Reconciliation: Task is unknown"
	var since int64
	if named {
		if gone, ok := m.unreachable[aid]; ok {
			state, message, since = mesos.TaskState_TASK_UNREACHABLE, "Reconciliation: Task is unreachable", gone.since
		} else if _, ok := m.gone[aid]; ok {
			state, message = mesos.TaskState_TASK_GONE_BY_OPERATOR, "Reconciliation: Task is gone"
		} else if a != nil {
			state, message = mesos.TaskState_TASK_GONE, "Reconciliation: Task is unknown to the agent"
		}
	}
	s := m.status(f, q.GetTaskId(), q.GetAgentId(), state, mesos.TaskStatus_REASON_RECONCILIATION, message)
	if since != 0 {
		s.UnreachableTime = &mesos.TimeInfo{Nanoseconds: &since}
	}
	m.send(f, s)
}

// latestStatus is a task as the framework was last told: no uuid, nothing to acknowledge.
func (m *Master) latestStatus(t *task) *mesos.TaskStatus {
	s := m.status(t.fw, t.info.TaskId, t.agentID, t.sentState(), mesos.TaskStatus_REASON_RECONCILIATION, "Reconciliation: Latest task state")
	t.decorate(s)
	return s
}

// decorate adds what the master remembers of the task's last status.
func (t *task) decorate(s *mesos.TaskStatus) {
	if t.executor != "" {
		s.ExecutorId = t.info.GetExecutor().GetExecutorId()
	}
	if l := t.last(); l != nil {
		s.Healthy, s.CheckStatus, s.ContainerStatus = l.Healthy, l.CheckStatus, l.ContainerStatus
		s.ProbeResults = l.ProbeResults
	}
}
