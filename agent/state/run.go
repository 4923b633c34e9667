package state

import (
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/internal/planted"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"google.golang.org/protobuf/proto"
)

// runTask launches a task, or hands it to the custom executor it asks for. A task the
// agent has, live or terminal and not acknowledged, is left alone: the master sends
// RunTask again when it does not know whether the first arrived. An id whose last
// task was acknowledged as terminal is free again, as frameworks may reuse it
// (include/mesos/v1/mesos.proto, TaskID).
func (a *Agent) runTask(m *stoapb.RunTask) {
	fid := id.Framework(m.GetFramework().GetId().GetValue())
	tid := id.Task(m.GetTask().GetTaskId().GetValue())
	if a.stopping || fid == "" || tid == "" || !pathSafe(string(fid)) {
		return
	}
	f := a.framework(fid)
	// A framework that is shut down cannot acknowledge what would come of it.
	if f.terminating || f.tasks[tid] != nil && !planted.Bug("duplicate RunTask after reconnect launched again") {
		return
	}
	a.setFramework(f, m.GetFramework())
	info := m.GetTask()
	t := a.addTask(f, tid, info)
	if why := a.refusal(f, info); why != "" {
		a.refuse(t, a.agentStatus(t, mesos.TaskState_TASK_ERROR, mesos.TaskStatus_REASON_TASK_INVALID, why))
		return
	}
	if !a.knows(info) {
		a.refuse(t, a.agentStatus(t, f.aware(mesos.TaskState_TASK_DROPPED), mesos.TaskStatus_REASON_RESOURCES_UNKNOWN,
			"The reservations or persistent volumes the task uses are not on this agent"))
		return
	}
	if info.GetCommand() != nil {
		a.runCommand(t)
	} else {
		a.runCustom(t)
	}
}

// hasTask reports whether the agent has the task of a RunTask already.
func (a *Agent) hasTask(m *stoapb.RunTask) bool {
	f := a.frameworks[id.Framework(m.GetFramework().GetId().GetValue())]
	return f != nil && f.tasks[id.Task(m.GetTask().GetTaskId().GetValue())] != nil
}

// knows reports whether the reservations and volumes a task uses exist: the operation
// that was to make them may have failed here after the master took it for done.
func (a *Agent) knows(t *mesos.TaskInfo) bool {
	for _, list := range [][]*mesos.Resource{t.GetResources(), t.GetExecutor().GetResources()} {
		used, err := resource.Of(list...)
		if err != nil || !a.total.Contains(used.Unallocate().Durable()) {
			return false
		}
	}
	return true
}

// refuse ends a task that gets no container. What it was is written after its end: of
// the two, the end must not be missing.
func (a *Agent) refuse(t *task, u *mesos.TaskStatus) {
	a.update(t, u)
	a.persist(false, t.record())
}

// setFramework takes over a FrameworkInfo, writing it down if it is new.
func (a *Agent) setFramework(f *framework, info *mesos.FrameworkInfo) {
	if info == nil || proto.Equal(f.info, info) {
		return
	}
	f.info = info
	a.persist(false, &stoapb.LogRecord{Body: &stoapb.LogRecord_Framework{Framework: &stoapb.FrameworkCheckpoint{Info: info}}})
}

// launch starts the container of an executor that has its tasks: what is needed to
// know of it after a restart is written first.
func (a *Agent) launch(e *executor) {
	e.launched = a.now.Wall.UnixNano()
	a.persist(false, e.record())
	for _, t := range ordered(e.tasks) {
		a.persist(false, t.record())
	}
	a.out.add(Launch{a.spec(e)})
	if !e.command {
		a.setTimer(TimerRegistration, string(e.container), a.cfg.ExecutorRegistrationTimeout)
	}
}

// relaunch gives an executor whose container was never told to go a new one; what may
// be left of the old is removed.
func (a *Agent) relaunch(e *executor) {
	old := *e
	old.tasks, old.stage, old.doomed = nil, ended, true
	a.runs[old.container], e.framework.runs[old.container] = &old, &old
	a.out.add(Destroy{old.container})

	e.container = a.newContainer()
	e.stage, e.recorded, e.bootID = preparing, false, ""
	e.pid, e.startTime, e.taskPid, e.doomed = 0, 0, 0, false
	e.seq = a.nextSeq()
	a.runs[e.container], e.framework.runs[e.container] = e, e
	e.framework.executors[e.id] = e
	a.launch(e)
}

func (e *executor) record() *stoapb.LogRecord {
	return &stoapb.LogRecord{Body: &stoapb.LogRecord_Container{Container: &stoapb.ContainerLaunch{
		ContainerId: proto.String(string(e.container)),
		FrameworkId: frameworkID(e.framework.id),
		Executor:    e.info,
		CommandTask: proto.Bool(e.command),
		Time:        proto.Int64(e.launched),
		User:        proto.String(e.user),
	}}}
}

func (e *executor) forkedRecord() *stoapb.LogRecord {
	return &stoapb.LogRecord{Body: &stoapb.LogRecord_Forked{Forked: &stoapb.ContainerForked{
		ContainerId: proto.String(string(e.container)),
		BootId:      proto.String(e.bootID),
		Pid:         proto.Int32(int32(e.pid)),
		StartTime:   proto.Uint64(e.startTime),
		TaskPid:     proto.Int32(int32(e.taskPid)),
	}}}
}

func (t *task) record() *stoapb.LogRecord {
	r := &stoapb.TaskLaunch{FrameworkId: frameworkID(t.framework.id), Info: t.info}
	if t.executor != nil && !t.executor.gone {
		r.ContainerId = proto.String(string(t.executor.container))
	}
	return &stoapb.LogRecord{Body: &stoapb.LogRecord_Task{Task: r}}
}
