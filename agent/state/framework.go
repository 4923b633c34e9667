package state

import (
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/kernel/id"
)

// updateFramework takes over a changed FrameworkInfo of a framework that runs here.
func (a *Agent) updateFramework(info *mesos.FrameworkInfo) {
	if f := a.frameworks[id.Framework(info.GetId().GetValue())]; f != nil {
		a.setFramework(f, info)
	}
}

// shutdownFramework ends all of a framework's tasks and executors. Their updates go to
// the master as before, the terminal ones when the tasks are dead. Asked for a
// framework of which nothing lives, the agent drops what nobody will acknowledge.
func (a *Agent) shutdownFramework(fid id.Framework) {
	alive := a.killBacklog(fid, "")
	f := a.frameworks[fid]
	if f == nil {
		return
	}
	if !f.terminating {
		f.terminating = true
		a.persist(false, &stoapb.LogRecord{Body: &stoapb.LogRecord_FrameworkShutdown{
			FrameworkShutdown: &stoapb.FrameworkShutdown{FrameworkId: frameworkID(fid)},
		}})
	}
	for _, e := range ordered(f.runs) {
		if e.stage == ended {
			continue
		}
		alive = true
		a.endFrameworkRun(e)
	}
	if alive {
		return
	}
	for _, t := range ordered(f.tasks) {
		if t.terminal() {
			// The update in flight may be an earlier one: the master is not to wait for
			// an end that was dropped.
			a.toMaster(&stoapb.ToMaster{Body: &stoapb.ToMaster_Update{Update: &stoapb.Update{
				FrameworkId: frameworkID(fid), Status: t.latest, LatestState: t.state.Enum(),
			}}})
		}
		a.stopTimer(TimerRetry, t.owner())
		delete(f.tasks, t.id)
		a.persist(false, &stoapb.LogRecord{Body: &stoapb.LogRecord_TaskGone{TaskGone: &stoapb.TaskGone{
			FrameworkId: frameworkID(fid), TaskId: taskID(t.id),
		}}})
	}
	a.collect(f)
}

func (a *Agent) endFrameworkRun(e *executor) {
	if !e.command {
		a.shutdownRun(e, a.shutdownGrace(e))
		return
	}
	if t := e.only(); t != nil {
		a.killCommand(t, manner{grace: min(a.grace(t, nil), a.cfg.ExecutorShutdownGrace)}, mesos.TaskStatus_REASON_FRAMEWORK_REMOVED.Enum())
	} else {
		a.destroy(e)
	}
}

// killBacklog ends tasks that wait behind an operation, the framework's or one of them,
// as killed during launch; it reports whether there were any.
func (a *Agent) killBacklog(fid id.Framework, tid id.Task) bool {
	var found []*stoapb.RunTask
	kept := a.backlog[:0]
	for _, m := range a.backlog {
		r := m.GetRunTask()
		if r != nil && id.Framework(r.GetFramework().GetId().GetValue()) == fid &&
			(tid == "" || id.Task(r.GetTask().GetTaskId().GetValue()) == tid) {
			found = append(found, r)
			continue
		}
		kept = append(kept, m)
	}
	clear(a.backlog[len(kept):])
	a.backlog = kept
	for _, r := range found {
		f, tid := a.framework(fid), id.Task(r.GetTask().GetTaskId().GetValue())
		if f.tasks[tid] == nil {
			a.setFramework(f, r.GetFramework())
			t := a.addTask(f, tid, r.GetTask())
			a.refuse(t, a.killedDuringLaunch(t))
		}
	}
	return len(found) > 0
}
