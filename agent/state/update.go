package state

import (
	"strings"

	"github.com/stoa-kernel/stoa/agent/check"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/internal/planted"
	"github.com/stoa-kernel/stoa/kernel/id"
	"google.golang.org/protobuf/proto"
)

// agentStatus is an update the agent makes on its own account.
func (a *Agent) agentStatus(t *task, s mesos.TaskState, reason mesos.TaskStatus_Reason, message string) *mesos.TaskStatus {
	u := a.status(t, s, message)
	u.Source = mesos.TaskStatus_SOURCE_AGENT.Enum()
	u.Reason = reason.Enum()
	return u
}

// executorStatus is an update the agent makes in place of a command executor.
func (a *Agent) executorStatus(t *task, s mesos.TaskState, message string) *mesos.TaskStatus {
	u := a.status(t, s, message)
	u.Source = mesos.TaskStatus_SOURCE_EXECUTOR.Enum()
	u.ContainerStatus = a.containerStatus(t.executor)
	if c := t.info.GetCheck(); c != nil {
		// There at all times for those who asked for it, as Mesos 1.11 has it.
		u.CheckStatus = check.Empty(check.OfCheck(c).Target.Type)
	}
	return u
}

func (a *Agent) status(t *task, s mesos.TaskState, message string) *mesos.TaskStatus {
	u := &mesos.TaskStatus{
		TaskId:    taskID(t.id),
		State:     s.Enum(),
		AgentId:   a.admitted.GetId(),
		Timestamp: proto.Float64(a.now.Seconds()),
		Uuid:      a.uuid(),
	}
	if message != "" {
		u.Message = proto.String(message)
	}
	if e := t.info.GetExecutor(); e != nil {
		u.ExecutorId = e.ExecutorId
	} else if t.info != nil {
		u.ExecutorId = executorID(id.Executor(t.id))
	}
	if e := t.executor; e != nil && e.recorded {
		u.ContainerStatus = a.containerStatus(e)
	}
	return u
}

// update takes a new update of a task: it is on disk before anyone hears of it. It
// reports false for a duplicate and for one that follows the terminal update.
func (a *Agent) update(t *task, u *mesos.TaskStatus) bool {
	if !t.stream.Add(u) {
		return false
	}
	t.state, t.latest = u.GetState(), u
	if planted.Bug("update forwarded before durable") {
		a.forward(t)
	}
	a.persist(true, t.updateRecord(u))
	if t.terminal() {
		a.leave(t)
	}
	a.forward(t)
	return true
}

func (t *task) updateRecord(u *mesos.TaskStatus) *stoapb.LogRecord {
	r := &stoapb.TaskUpdate{FrameworkId: frameworkID(t.framework.id), Status: u}
	if !t.startedAt.IsZero() {
		r.Started = proto.Int64(t.startedAt.UnixNano())
	}
	if u.Healthy != nil {
		r.HealthFailures, r.WasHealthy = proto.Uint32(t.failures), proto.Bool(t.wasHealthy)
	}
	return &stoapb.LogRecord{Body: &stoapb.LogRecord_Update{Update: r}}
}

// leave takes a task that has ended out of its executor, whose container shrinks.
func (a *Agent) leave(t *task) {
	e := t.executor
	if e == nil {
		return
	}
	a.stopChecks(t)
	a.breakOff(t)
	delete(e.tasks, t.id)
	if e.command {
		a.stopTimer(TimerCompletion, t.owner())
		a.stopTimer(TimerKill, string(e.container))
	} else {
		a.resize(e)
	}
}

// forward sends the update that is due, if any, and arms its retry.
func (a *Agent) forward(t *task) {
	u, again := t.stream.Forward(a.now.Mono, a.retry())
	if u != nil {
		a.toMaster(&stoapb.ToMaster{Body: &stoapb.ToMaster_Update{Update: &stoapb.Update{
			FrameworkId: frameworkID(t.framework.id),
			Status:      u,
			LatestState: t.state.Enum(),
		}}})
		a.out.add(SetTimer{Timer{TimerRetry, t.owner()}, again})
	}
}

// acknowledge lets the task's next update go. A uuid that is not the head's is a late
// or forged one and changes nothing.
func (a *Agent) acknowledge(m *stoapb.Acknowledge) {
	f := a.frameworks[id.Framework(m.GetFrameworkId().GetValue())]
	if f == nil {
		return
	}
	t := f.tasks[id.Task(m.GetTaskId().GetValue())]
	if t == nil || !t.stream.Acknowledge(m.GetUuid()) {
		return
	}
	a.persist(false, &stoapb.LogRecord{Body: &stoapb.LogRecord_Acknowledged{Acknowledged: &stoapb.TaskAcknowledged{
		FrameworkId: frameworkID(f.id), TaskId: taskID(t.id), Uuid: m.GetUuid(),
	}}})
	if t.stream.Head() == nil {
		a.stopTimer(TimerRetry, t.owner())
	}
	if t.stream.Closed() {
		delete(f.tasks, t.id)
		a.collect(f)
		return
	}
	a.forward(t)
	a.tell(t)
}

// taskOf finds the task a timer belongs to.
func (a *Agent) taskOf(owner string) *task {
	fid, tid, _ := strings.Cut(owner, "/")
	if f := a.frameworks[id.Framework(fid)]; f != nil {
		return f.tasks[id.Task(tid)]
	}
	return nil
}

// fired runs the timer's subject; one that is no longer armed finds nothing to do.
func (a *Agent) fired(t Timer) {
	switch t.Kind {
	case TimerRetry:
		if x := a.taskOf(t.Owner); x != nil {
			a.forward(x)
		}
	case TimerKill:
		a.killFired(id.Container(t.Owner))
	case TimerCompletion:
		a.completionFired(t.Owner)
	case TimerRegistration:
		a.registrationFired(id.Container(t.Owner))
	case TimerReregistration:
		a.reregistrationFired()
	case TimerShutdown:
		a.shutdownFired(id.Container(t.Owner))
	case TimerPing:
		if a.linkUp {
			a.out.add(DropLink{a.link})
		}
	case TimerHeartbeat:
		a.heartbeatFired(t.Owner)
	case TimerGC:
		a.prune()
	case TimerStop:
		a.stopFired()
	case TimerOperation:
		a.operationFired(t.Owner)
	case TimerCheck:
		a.checkFired(t.Owner)
	}
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func hasAnyPrefix(s string, prefixes ...string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}
