// Package state is the agent as a value: frameworks, executors, tasks, containers and
// their status updates, changed by Step and by nothing else.
package state

import (
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/kernel/clock"
	"github.com/stoa-kernel/stoa/kernel/resource"
)

// Config is fixed for the agent's life; zero durations mean Mesos's defaults
// (src/slave/constants.hpp).
type Config struct {
	Seed    uint64
	Version string
	// Info: hostname, port, attributes; no id.
	Info *mesos.AgentInfo
	IP   string
	// Resources as configured; checkpointed reservations and volumes are laid over them.
	Resources resource.Resources
	// WorkDir is the root of sandboxes and volumes, absolute.
	WorkDir string
	// Endpoint is what MESOS_AGENT_ENDPOINT says, ip:port.
	Endpoint string
	// Path is the PATH given to tasks that set none.
	Path string
	// SwitchUser: tasks run as CommandInfo.user or FrameworkInfo.user; without it
	// (an agent that is not root) another user than AgentUser is TASK_ERROR.
	SwitchUser bool
	AgentUser  string
	// CFS makes the cpus request a hard quota too (--cgroups-enable-cfs).
	CFS bool

	ExecutorRegistrationTimeout   time.Duration // 1 min
	ExecutorReregistrationTimeout time.Duration // 2 s
	ExecutorShutdownGrace         time.Duration // 5 s
	KillGrace                     time.Duration // 3 s
	RecoveryTimeout               time.Duration // 15 min
	UpdateRetryMin                time.Duration // 10 s
	UpdateRetryMax                time.Duration // 10 min
	GCDelay                       time.Duration // 1 week
	GCDiskHeadroom                float64       // 0.1
	HeartbeatInterval             time.Duration // 30 min, to executors
	PidsLimit                     int64         // per container; 0 none
}

// Agent is the value.
type Agent struct{ _ byte }

func New(cfg Config) *Agent { panic("contract") }

// Replay takes the log's records in order, before the first Step.
func (a *Agent) Replay(records []*stoapb.LogRecord) error { panic("contract") }

// Snapshot is the state as records: what replaces the log at compaction.
func (a *Agent) Snapshot() []*stoapb.LogRecord { panic("contract") }

// Step changes the agent by one input and appends what follows from it.
func (a *Agent) Step(now clock.Now, in Input, out *Effects) { panic("contract") }
