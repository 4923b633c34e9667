package state

import (
	"strconv"
	"time"

	"github.com/stoa-kernel/stoa/agent/container"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/kernel/id"
	tasks "github.com/stoa-kernel/stoa/kernel/task"
	"google.golang.org/protobuf/proto"
)

// A command task has a container of its own and no executor process: the agent sends
// the updates Mesos's command executor would (src/launcher/executor.cpp), the
// executor's id being the task's.

func (a *Agent) runCommand(t *task) {
	e := &executor{
		framework: t.framework,
		id:        id.Executor(t.id),
		info: &mesos.ExecutorInfo{
			ExecutorId:  executorID(id.Executor(t.id)),
			FrameworkId: frameworkID(t.framework.id),
			Name:        proto.String(commandName(t.info)),
			Source:      proto.String(string(t.id)),
		},
		command:   true,
		container: a.newContainer(),
		user:      a.runUser(t.framework, t.info.GetCommand()),
	}
	a.addRun(e)
	e.tasks[t.id], t.executor = t, e
	a.launch(e)
}

func (a *Agent) runUser(f *framework, c *mesos.CommandInfo) string {
	if !a.cfg.SwitchUser {
		return ""
	}
	return a.user(f, c)
}

// commandFetching: TASK_STARTING is sent only for a task that has something to fetch;
// all others go from TASK_STAGING to TASK_RUNNING.
func (a *Agent) commandFetching(t *task) {
	if t.state == mesos.TaskState_TASK_STAGING && t.kill == nil {
		a.update(t, a.executorStatus(t, mesos.TaskState_TASK_STARTING, ""))
	}
}

func (a *Agent) commandStarted(t *task) {
	if t.state == mesos.TaskState_TASK_STAGING || t.state == mesos.TaskState_TASK_STARTING {
		t.startedAt = a.now.Wall
		a.update(t, a.executorStatus(t, mesos.TaskState_TASK_RUNNING, ""))
	}
	if t.kill != nil {
		a.proceed(t)
	} else {
		a.armCompletion(t)
		a.startChecks(t)
	}
}

// armCompletion counts max_completion_time from the process's start, over restarts of
// the agent too.
func (a *Agent) armCompletion(t *task) {
	limit := time.Duration(t.info.GetMaxCompletionTime().GetNanoseconds())
	if limit > 0 && !t.startedAt.IsZero() {
		// Set back, the wall clock does not prolong it.
		a.setTimer(TimerCompletion, t.owner(), min(t.startedAt.Add(limit).Sub(a.now.Wall), limit))
	}
}

// commandFailed ends a task whose process was never executed.
func (a *Agent) commandFailed(t *task, ev container.Failed) {
	switch {
	case t.kill != nil:
		a.update(t, a.killedDuringLaunch(t))
	case ev.Canceled:
		a.update(t, a.agentStatus(t, mesos.TaskState_TASK_FAILED, mesos.TaskStatus_REASON_CONTAINER_LAUNCH_FAILED,
			"Failed to launch container: "+orElse(ev.Message, "it was destroyed before its process was executed")))
	default:
		reason := ev.Reason
		if reason == 0 {
			reason = mesos.TaskStatus_REASON_CONTAINER_LAUNCH_FAILED
		}
		a.update(t, a.agentStatus(t, mesos.TaskState_TASK_FAILED, reason, launchMessage(ev.Message)))
	}
}

// commandExited turns the end of the process into the task's terminal update. A kill
// that nothing was done about yet did not cause it.
func (a *Agent) commandExited(t *task, x container.Exit) {
	killed := t.kill != nil && t.kill.acted
	var s *mesos.TaskStatus
	switch {
	case killed && t.kill.because(mesos.TaskStatus_REASON_MAX_COMPLETION_TIME_REACHED):
		s = a.executorStatus(t, mesos.TaskState_TASK_FAILED, exitText(x))
		s.Reason = t.kill.reason
	case killed:
		s = a.executorStatus(t, mesos.TaskState_TASK_KILLED, exitText(x))
		s.Reason = t.kill.reason
		if t.kill.failure != "" {
			s.Message = proto.String(s.GetMessage() + "; pre_stop before it: " + t.kill.failure)
		}
		if n := t.kill.unhealthy; n > 0 {
			// As Mesos 1.11's command executor, without a reason; the text is Stoa's.
			s.Healthy = proto.Bool(false)
			s.Message = proto.String(s.GetMessage() + "; killed because its health check had failed " + strconv.FormatUint(uint64(n), 10) + " times in a row")
		}
	case !x.Known || x.Rebooted:
		s = a.agentStatus(t, mesos.TaskState_TASK_FAILED, mesos.TaskStatus_REASON_EXECUTOR_TERMINATED, exitText(x))
	case x.OOM:
		s = a.agentStatus(t, mesos.TaskState_TASK_FAILED, mesos.TaskStatus_REASON_CONTAINER_LIMITATION_MEMORY, memoryText(x))
		s.Limitation = memoryLimitation(x)
	case x.Wait == 0:
		s = a.executorStatus(t, mesos.TaskState_TASK_FINISHED, exitText(x))
	default:
		s = a.executorStatus(t, mesos.TaskState_TASK_FAILED, exitText(x))
	}
	if x.Known && x.Time.Unix() > 0 {
		s.Timestamp = proto.Float64(float64(x.Time.UnixNano()) / 1e9)
	}
	a.update(t, s)
}

// completionFired kills a task that ran for max_completion_time, without any grace
// and without TASK_KILLING (as Mesos 1.11).
func (a *Agent) completionFired(owner string) {
	t := a.taskOf(owner)
	if t == nil || t.terminal() || t.kill != nil || t.executor == nil || !t.executor.command {
		return
	}
	a.killCommand(t, manner{}, mesos.TaskStatus_REASON_MAX_COMPLETION_TIME_REACHED.Enum())
}

func exitText(x container.Exit) string {
	switch {
	case x.Rebooted:
		return "The machine was restarted while the task ran; its exit status is unknown"
	case !x.Known:
		return "The task's process is gone and its exit status is unknown"
	}
	return tasks.WaitStatus(x.Wait).Message()
}

// memoryText and memoryLimitation tell of a container that ran out of memory (as
// Mesos 1.11, cgroups/mem).
func memoryText(x container.Exit) string {
	return "Memory limit exceeded: Requested: " + bytesText(x.MemoryLimit) + " Maximum Used: " + bytesText(x.MemoryUsage)
}

func memoryLimitation(x container.Exit) *mesos.TaskResourceLimitation {
	return &mesos.TaskResourceLimitation{Resources: []*mesos.Resource{{
		Name:   proto.String("mem"),
		Type:   mesos.Value_SCALAR.Enum(),
		Scalar: &mesos.Value_Scalar{Value: proto.Float64(float64(x.MemoryUsage) / mebibyte)},
	}}}
}

func launchMessage(m string) string {
	switch {
	case m == "":
		return "Failed to launch container"
	case hasAnyPrefix(m, "Failed to launch", "Failed to fetch"):
		return m
	}
	return "Failed to launch container: " + m
}
