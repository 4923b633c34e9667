package state

import (
	"fmt"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/kernel/id"
	lifecycle "github.com/stoa-kernel/stoa/kernel/task"
)

// kill is KILL: an unknown task is answered as RECONCILE would, a wrong agent_id ignores
// the call, and an agent that is away is told when it is back.
func (m *Master) kill(f *framework, call *schedulerpb.Call_Kill) {
	t := f.tasks[id.Task(call.GetTaskId().GetValue())]
	if t == nil {
		m.reconcileTask(f, &schedulerpb.Call_Reconcile_Task{TaskId: call.GetTaskId(), AgentId: call.GetAgentId()})
		return
	}
	if call.AgentId != nil && call.AgentId.GetValue() != string(t.agent.id) {
		return
	}
	m.killNow(t, call.GetKillPolicy())
}

// killNow marks a task as killed and tells its agent; a task the agent was never sent
// ends here.
func (m *Master) killNow(t *task, policy *mesos.KillPolicy) {
	t.killed = true
	if policy != nil {
		t.kill = policy
	}
	switch {
	case !t.sent && !t.seen:
		m.killedBeforeDelivery(t)
	case !lifecycle.Terminal(t.state):
		m.killTask(t)
	}
}

func (m *Master) killedBeforeDelivery(t *task) {
	m.end(t, m.status(t.fw, t.info.TaskId, t.agentID, mesos.TaskState_TASK_KILLED,
		mesos.TaskStatus_REASON_TASK_KILLED_DURING_LAUNCH, "Killed before it was delivered to the agent"))
}

// operatorKill is the kill of /stoa/v1; Mesos has no call for it.
func (m *Master) operatorKill(in Kill) {
	f := m.frameworks[in.Framework]
	if f == nil {
		m.answer(in.Token, 404, fmt.Sprintf("no framework has the id '%s'", in.Framework))
		return
	}
	t := f.tasks[in.Task]
	switch {
	case t == nil && f.unreachable[in.Task] != nil:
		m.answer(in.Token, 409, fmt.Sprintf("task '%s' is on agent %s, which is unreachable; it can be killed when the agent is back", in.Task, f.unreachable[in.Task].agentID.GetValue()))
	case t == nil && f.completedByID[in.Task] != nil:
		m.answer(in.Token, 409, fmt.Sprintf("task '%s' is over already (%s)", in.Task, f.completedByID[in.Task].state))
	case t == nil:
		m.answer(in.Token, 404, fmt.Sprintf("framework %s has no task '%s'", in.Framework, in.Task))
	default:
		m.killNow(t, in.Policy)
		m.answer(in.Token, 202, "")
	}
}
