package state

import (
	"bytes"

	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/internal/planted"
	"github.com/stoa-kernel/stoa/kernel/id"
	lifecycle "github.com/stoa-kernel/stoa/kernel/task"
)

// acknowledge is ACKNOWLEDGE: it counts only for the update last forwarded. One that
// comes while the agent is away is remembered, so that the agent is told when it sends
// the update again, and the framework does not see it twice (Mesos drops it).
func (m *Master) acknowledge(f *framework, call *schedulerpb.Call_Acknowledge) {
	a := m.agents[id.Agent(call.GetAgentId().GetValue())]
	if a == nil {
		return
	}
	tid := id.Task(call.GetTaskId().GetValue())
	t := f.tasks[tid]
	if t == nil {
		// An update of a task this master does not know, or took for completed, was
		// forwarded all the same, and so is its acknowledgement: the agent checks the uuid.
		if !f.ackedBefore(tid, call.GetUuid()) {
			m.ackTask(a, f.protoID, call.TaskId, call.Uuid)
		}
		return
	}
	if t.agent != a || t.acked || t.statusUUID == nil || !bytes.Equal(t.statusUUID, call.GetUuid()) && !planted.Bug("ack with a wrong uuid advancing the stream") {
		return
	}
	t.acked = true
	m.ackTask(a, f.protoID, call.TaskId, call.Uuid)
	if lifecycle.Terminal(t.statusState) {
		m.complete(t, nil)
	}
}
