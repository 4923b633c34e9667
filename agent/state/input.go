package state

import (
	"github.com/stoa-kernel/stoa/agent/check"
	"github.com/stoa-kernel/stoa/agent/container"
	executorpb "github.com/stoa-kernel/stoa/api/mesos/v1/executor"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/kernel/id"
)

// Input is one thing that happened outside. The set is closed.
type Input interface{ input() }

// Token names a request waiting at the edge; it gets exactly one Answer.
type Token uint64

// Stream is one executor's subscription, never reused in a process.
type Stream uint64

// Link is one connection to a master, never reused in a process.
type Link uint64

type (
	// Started is the first input, after Replay of the log: what the containerizer found
	// of the containers in Live is still to come as events.
	Started struct {
		BootID string
	}

	// LinkUp says that a connection to a master stands; the core answers with Register.
	LinkUp struct{ Link Link }
	// Frame is a message of the master.
	Frame struct {
		Link Link
		Msg  *stoapb.ToAgent
	}
	LinkDown struct{ Link Link }

	// ExecutorSubscribe is a SUBSCRIBE whose stream stands (200 is sent only with the
	// Answer; a refusal is an Answer of another status).
	ExecutorSubscribe struct {
		Token  Token
		Stream Stream
		Call   *executorpb.Call
	}
	// ExecutorCall is any other executor call.
	ExecutorCall struct {
		Token Token
		Call  *executorpb.Call
	}
	ExecutorGone struct{ Stream Stream }

	// Container is something the containerizer tells.
	Container struct{ Event container.Event }

	// Checked answers a Check.
	Checked struct {
		Container id.Container
		Task      id.Task
		Check     int
		Result    check.Result
	}

	// VolumesApplied completes an ApplyVolumes.
	VolumesApplied struct {
		Operation string
		Err       string // "" when done
	}

	// DiskUsage is the used fraction (0 to 1) of the work directory's file system,
	// measured every disk watch interval.
	DiskUsage struct{ Used float64 }
	// SandboxRemoved completes a RemoveSandbox.
	SandboxRemoved struct {
		Container id.Container
		Err       string
	}

	// Shutdown asks to stop: with StopTasks every task is killed by its kill policy
	// (never longer than 10 s), then Stopped comes; without, Stopped comes at once.
	Shutdown struct {
		StopTasks bool
		Now       bool // kill at once
	}

	// Fired is a timer set by SetTimer.
	Fired struct{ Timer Timer }
)

// TimerKind tells timers of one owner apart.
type TimerKind uint8

const (
	TimerRetry          TimerKind = iota // Owner: framework/task; resend the update in flight
	TimerKill                            // Owner: container; the kill grace is over
	TimerCompletion                      // Owner: framework/task; max_completion_time
	TimerRegistration                    // Owner: container; executor_registration_timeout
	TimerReregistration                  // executor_reregistration_timeout after a restart
	TimerShutdown                        // Owner: container; executor_shutdown_grace_period
	TimerPing                            // no ping from the master
	TimerHeartbeat                       // Owner: stream; executor HEARTBEAT
	TimerGC                              // next sandbox due
	TimerStop                            // Shutdown's bound
	TimerOperation                       // Owner: operation uuid in hex; resend its status
	TimerCheck                           // Owner: number/framework/task; a check is due
)

// Timer is a key: setting it again replaces the deadline.
type Timer struct {
	Kind  TimerKind
	Owner string
}

func (Started) input()           {}
func (LinkUp) input()            {}
func (Frame) input()             {}
func (LinkDown) input()          {}
func (ExecutorSubscribe) input() {}
func (ExecutorCall) input()      {}
func (ExecutorGone) input()      {}
func (Container) input()         {}
func (Checked) input()           {}
func (VolumesApplied) input()    {}
func (DiskUsage) input()         {}
func (SandboxRemoved) input()    {}
func (Shutdown) input()          {}
func (Fired) input()             {}
