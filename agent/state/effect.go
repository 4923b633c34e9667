package state

import (
	"time"

	"github.com/stoa-kernel/stoa/agent/check"
	"github.com/stoa-kernel/stoa/agent/container"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	executorpb "github.com/stoa-kernel/stoa/api/mesos/v1/executor"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/kernel/id"
)

// Effect is one thing the loop must do. Effects are done in order; those after a
// Persist wait until it is written, and with Sync until it is on disk. The set is closed.
type Effect interface{ effect() }

// Effects is the buffer Step appends to.
type Effects struct{ List []Effect }

func (e *Effects) add(x Effect) { e.List = append(e.List, x) }

// Reset empties the buffer, keeping its memory.
func (e *Effects) Reset() { clear(e.List); e.List = e.List[:0] }

type (
	// Persist appends to the agent's log.
	Persist struct {
		Record *stoapb.LogRecord
		Sync   bool
	}

	ToMaster struct {
		Link Link
		Msg  *stoapb.ToMaster
	}
	// DropLink closes the connection; the edge connects anew with backoff.
	DropLink struct{ Link Link }

	ToExecutor struct {
		Stream Stream
		Event  *executorpb.Event
	}
	CloseExecutor struct{ Stream Stream }

	// Answer completes an executor's request.
	Answer struct {
		Token   Token
		Status  int
		Message string
	}

	// Launch prepares a container up to the waiting init; Go executes its process. The
	// events come back as Container inputs.
	Launch struct{ Spec *container.Spec }
	Go     struct{ Container id.Container }
	// Adopt looks for a container recorded before a restart and watches it; the answer
	// is one of Started, Exited and Failed.
	Adopt struct{ Live container.Live }
	// Signal sends to every process of the container but its init.
	Signal struct {
		Container id.Container
		Signal    int
	}
	// Destroy kills what is left, in whatever stage, and removes cgroup, mounts and
	// records. A container that had not ended yet says Failed or Exited first; the last
	// answer is Destroyed, for an unknown container too.
	Destroy struct{ Container id.Container }
	// Resize changes a running container's limits.
	Resize struct {
		Container id.Container
		Limits    container.Limits
	}

	// Check asks a target how a task is, and is answered with Checked, unless StopChecks
	// comes first. Spec is what to execute for a command, in the running container.
	Check struct {
		Container id.Container
		Task      id.Task
		Check     int
		Target    check.Target
		Spec      *container.Spec
	}
	// StopChecks breaks off all checks of a task, which may still be answered.
	StopChecks struct {
		Container id.Container
		Task      id.Task
	}

	// ApplyVolumes makes and removes directories of persistent volumes, answered with
	// VolumesApplied.
	ApplyVolumes struct {
		Operation string // "" with Restore
		Create    []*mesos.Resource
		Destroy   []*mesos.Resource
		Restore   []*mesos.Resource // volumes on record: what is missing of them
	}

	// RemoveSandbox deletes a sandbox for good.
	RemoveSandbox struct {
		Container id.Container
		Path      string
	}

	SetTimer struct {
		Timer Timer
		At    time.Duration
	}
	StopTimer struct{ Timer Timer }

	// Exit ends the process: the master refused the agent.
	Exit struct{ Message string }
	// Stopped answers Shutdown: the loop may end.
	Stopped struct{}
)

func (Persist) effect()       {}
func (ToMaster) effect()      {}
func (DropLink) effect()      {}
func (ToExecutor) effect()    {}
func (CloseExecutor) effect() {}
func (Answer) effect()        {}
func (Launch) effect()        {}
func (Go) effect()            {}
func (Adopt) effect()         {}
func (Signal) effect()        {}
func (Destroy) effect()       {}
func (Resize) effect()        {}
func (Check) effect()         {}
func (StopChecks) effect()    {}
func (ApplyVolumes) effect()  {}
func (RemoveSandbox) effect() {}
func (SetTimer) effect()      {}
func (StopTimer) effect()     {}
func (Exit) effect()          {}
func (Stopped) effect()       {}
