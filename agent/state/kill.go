package state

import (
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/kernel/id"
	"google.golang.org/protobuf/proto"
)

const sigterm = 15

// killTask carries out a KILL of the master. What it does depends on how far the task
// is; a task nobody knows is answered with TASK_DROPPED or TASK_LOST, so that the
// master can forget it.
func (a *Agent) killTask(m *stoapb.KillTask) {
	fid, tid := id.Framework(m.GetFrameworkId().GetValue()), id.Task(m.GetTaskId().GetValue())
	if fid == "" || tid == "" {
		return
	}
	if a.killBacklog(fid, tid) {
		return
	}
	f := a.framework(fid)
	if f.terminating {
		return
	}
	t := f.tasks[tid]
	switch {
	case t == nil:
		t = a.addTask(f, tid, nil)
		a.update(t, a.agentStatus(t, f.aware(mesos.TaskState_TASK_DROPPED), mesos.TaskStatus_REASON_EXECUTOR_TERMINATED, "Cannot find executor"))
	case t.terminal() || t.executor == nil:
		// Its terminal update is on the way.
	case t.executor.command:
		a.killCommand(t, a.manner(t, m.GetKillPolicy()), nil)
	default:
		a.killCustom(t, m.GetKillPolicy())
	}
}

// grace between SIGTERM and SIGKILL: of the call, else of the task, else the default.
func (a *Agent) grace(t *task, p *mesos.KillPolicy) time.Duration {
	for _, p := range []*mesos.KillPolicy{p, t.info.GetKillPolicy()} {
		if g := p.GetGracePeriod(); g != nil {
			return lasting(g)
		}
	}
	return a.cfg.KillGrace
}

// killCommand asks a command task to end in the manner of m. A second request can only
// shorten what the first one has still to wait for, whose grace counts from the first (as
// Mesos 1.11's command executor).
func (a *Agent) killCommand(t *task, m manner, reason *mesos.TaskStatus_Reason) {
	e, k := t.executor, t.kill
	if k == nil {
		t.kill = a.killed(t, m)
		t.kill.reason = reason
		a.persist(false, t.killRecord())
		a.stopTimer(TimerCompletion, t.owner())
		a.stopChecks(t)
	} else {
		if !k.hasten(m) {
			return
		}
		a.persist(false, t.killRecord())
	}
	switch {
	case e.stage == preparing:
		t.kill.acted = true
		a.destroy(e)
	case e.stage == running && (k == nil || !k.acted):
		a.proceed(t)
	case e.stage != ended:
		// Going or adopting: the signal is sent once it is known to run, but its
		// time is counted from now. Or it was sent, and only the time is shorter.
		a.armKill(t)
	}
}

func (a *Agent) killFired(cid id.Container) {
	e := a.runs[cid]
	if e == nil || e.stage == ended || e.doomed {
		return
	}
	if t := e.only(); e.command && t != nil && t.kill != nil {
		a.nextStep(t)
		return
	}
	a.destroy(e)
}

// killCustom: the executor kills; a task it was not given yet is simply not launched.
func (a *Agent) killCustom(t *task, p *mesos.KillPolicy) {
	e := t.executor
	if !t.delivered && !e.unsure() {
		a.update(t, a.killedDuringLaunch(t))
		return
	}
	if e.terminating {
		return
	}
	t.kill = &kill{requested: a.now.Wall, began: a.now.Wall, custom: true, policy: p, acted: true}
	a.persist(false, t.killRecord())
	a.sendKill(t)
}

func (t *task) killRecord() *stoapb.LogRecord {
	k := &stoapb.KillRequested{
		FrameworkId: frameworkID(t.framework.id),
		TaskId:      taskID(t.id),
		Reason:      t.kill.reason,
		Requested:   proto.Int64(t.kill.requested.UnixNano()),
		KillPolicy:  t.kill.policy,
	}
	if t.kill.unhealthy > 0 {
		k.Unhealthy = proto.Uint32(t.kill.unhealthy)
	}
	t.kill.steps(k)
	return &stoapb.LogRecord{Body: &stoapb.LogRecord_Kill{Kill: k}}
}

// killedDuringLaunch is the end of a task that was killed before its process or its
// executor saw it.
func (a *Agent) killedDuringLaunch(t *task) *mesos.TaskStatus {
	s := a.agentStatus(t, mesos.TaskState_TASK_KILLED, mesos.TaskStatus_REASON_TASK_KILLED_DURING_LAUNCH,
		"Killed before delivery to the executor")
	if t.kill != nil && t.kill.reason != nil {
		s.Reason = t.kill.reason
	}
	return s
}
