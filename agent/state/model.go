package state

import (
	"time"

	"github.com/stoa-kernel/stoa/agent/check"
	"github.com/stoa-kernel/stoa/agent/container"
	"github.com/stoa-kernel/stoa/agent/status"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/kernel/id"
	tasks "github.com/stoa-kernel/stoa/kernel/task"
)

// framework is what the agent runs for one framework. It is forgotten when it has
// neither tasks nor containers.
type framework struct {
	seq  uint64
	id   id.Framework
	info *mesos.FrameworkInfo // nil if only an update for an unknown task is owed

	// executors that take tasks or may come back to; runs has the others as well.
	executors map[id.Executor]*executor
	runs      map[id.Container]*executor
	tasks     map[id.Task]*task // live, or terminal and not acknowledged

	// terminating: shut down by the master.
	terminating bool
}

func (f *framework) order() uint64 { return f.seq }

func (f *framework) has(c mesos.FrameworkInfo_Capability_Type) bool { return tasks.Has(f.info, c) }

// aware is the state as this framework reads it: one that is not PARTITION_AWARE
// knows only TASK_LOST.
func (f *framework) aware(s mesos.TaskState) mesos.TaskState {
	return tasks.For(s, f.has(mesos.FrameworkInfo_Capability_PARTITION_AWARE))
}

// stage is how far a container is.
type stage uint8

const (
	preparing stage = iota // Launch was sent: fetching, forking
	going                  // Go was sent
	adopting               // Adopt was sent
	running
	ended // its end is known; waits for Destroyed
)

// executor is one run of an executor in its container; a command task has one of its
// own, which nobody but the agent sees.
type executor struct {
	seq       uint64
	framework *framework
	id        id.Executor
	info      *mesos.ExecutorInfo
	command   bool // made up by the agent for a command task
	container id.Container
	user      string
	launched  int64 // Unix nanoseconds

	stage     stage
	recorded  bool // ContainerForked is written: it may have been told to go
	bootID    string
	pid       int
	startTime uint64
	taskPid   int
	doomed    bool // Destroy was sent
	gone      bool // Destroyed came

	tasks map[id.Task]*task // not terminal

	// Of custom executors only.
	stream      Stream // 0 while not subscribed
	subscribed  bool   // has been since the agent started
	recovered   bool   // from the log: a former agent launched it
	everSent    bool   // was given a task
	terminating bool
	// termination says how its tasks end if the agent ended it.
	termination *termination
}

func (e *executor) order() uint64 { return e.seq }

type termination struct {
	state   mesos.TaskState
	reason  mesos.TaskStatus_Reason
	message string
}

// task is one task, from RunTask until its terminal update is acknowledged.
type task struct {
	seq       uint64
	framework *framework
	id        id.Task
	info      *mesos.TaskInfo // nil if it was never ours, or refused in a former life
	executor  *executor       // nil if it has none (any more)
	state     mesos.TaskState // latest
	latest    *mesos.TaskStatus
	stream    status.Stream
	kill      *kill

	// delivered: LAUNCH was sent, or the executor says it has the task.
	delivered bool
	// startedAt is when TASK_RUNNING was first made.
	startedAt time.Time

	// checks run while the task does; untold is what the next update owes for them, cause
	// why the health check failed last.
	checks []*check.Check
	untold untold
	cause  string
	// failures in a row of the health check, and whether it succeeded before, as of the
	// last update that told of it.
	failures   uint32
	wasHealthy bool
}

func (t *task) order() uint64  { return t.seq }
func (t *task) terminal() bool { return t.stream.Terminal() }

// owner is the key of the task's timers.
func (t *task) owner() string { return string(t.framework.id) + "/" + string(t.id) }

// kill is a kill that was asked for.
type kill struct {
	requested time.Time
	reason    *mesos.TaskStatus_Reason // of the final status, nil for a plain kill
	custom    bool                     // of a custom executor's task
	policy    *mesos.KillPolicy        // custom executors only
	acted     bool                     // something was done that may end the task
	unhealthy uint32                   // after so many failures of its health check

	// Of command tasks: which step is under way since when, and how long each may take.
	step                  killStep
	began                 time.Time
	timeout, drain, grace time.Duration
	command               *mesos.CommandInfo // pre_stop, until it is begun
	asking                bool               // pre_stop runs
	failure               string             // of pre_stop, for the final status
}

func (k *kill) because(r mesos.TaskStatus_Reason) bool { return k.reason != nil && *k.reason == r }

// framework makes or finds a framework; info may be nil.
func (a *Agent) framework(fid id.Framework) *framework {
	f := a.frameworks[fid]
	if f == nil {
		f = &framework{
			seq:       a.nextSeq(),
			id:        fid,
			executors: make(map[id.Executor]*executor),
			runs:      make(map[id.Container]*executor),
			tasks:     make(map[id.Task]*task),
		}
		a.frameworks[fid] = f
	}
	return f
}

// addTask makes a task that is not bound to an executor yet.
func (a *Agent) addTask(f *framework, tid id.Task, info *mesos.TaskInfo) *task {
	t := &task{seq: a.nextSeq(), framework: f, id: tid, info: info, state: mesos.TaskState_TASK_STAGING}
	if a.registered {
		t.stream.Resume()
	}
	f.tasks[tid] = t
	return t
}

func (a *Agent) addRun(e *executor) {
	e.seq = a.nextSeq()
	e.tasks = make(map[id.Task]*task)
	a.runs[e.container] = e
	e.framework.runs[e.container] = e
	e.framework.executors[e.id] = e
}

// live is what Adopt needs.
func (a *Agent) live(e *executor) container.Live {
	return container.Live{
		ID:        e.container,
		Sandbox:   a.sandboxPath(e),
		BootID:    e.bootID,
		Pid:       e.pid,
		StartTime: e.startTime,
		TaskPid:   e.taskPid,
		Limits:    a.limits(e),
	}
}
