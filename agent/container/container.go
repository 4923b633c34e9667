// Package container describes a container as a value: what the pure core asks for, and
// what the containerizer and the init carry out.
package container

import (
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/internal/planted"
	"github.com/stoa-kernel/stoa/kernel/id"
)

// Spec is all that is needed to launch a container.
type Spec struct {
	ID id.Container
	// Sandbox is the directory the process starts in, absolute on the host.
	Sandbox string
	// Argv is executed; Path is looked up in the environment's PATH if it has no slash.
	Path string
	Argv []string
	// Env in KEY=VALUE form, complete: nothing is inherited.
	Env []string
	// User runs it; "" keeps the agent's user.
	User string
	URIs []*mesos.CommandInfo_URI
	// Limits of the cgroup.
	Limits Limits
	// Volumes to bind-mount.
	Volumes []Mount
	Rlimits []*mesos.RLimitInfo_RLimit
	// Capabilities: nil means the agent's default.
	Bounding, Effective *mesos.CapabilityInfo
	// DiskLimit bounds what fetching may write, in bytes; 0 means unbounded.
	DiskLimit int64
}

// Limits in the terms of the cgroup files' meaning, not their units' names.
type Limits struct {
	// CPUs requested; shares are 1024 per cpu, at least 2.
	CPUs float64
	// CPUQuota is a hard bound in cpus; 0 is none.
	CPUQuota float64
	// Memory soft (request) and hard (limit) bound in bytes; hard 0 is none.
	MemorySoft, MemoryHard int64
	// Pids is a bound on tasks; 0 is none.
	Pids int64
}

// Mount is a directory bind-mounted into the sandbox.
type Mount struct {
	Source   string // absolute on the host
	Target   string // relative to the sandbox
	ReadOnly bool
}

// Event is what a containerizer tells of a container. The set is closed.
type Event interface{ event() }

type (
	// Fetching says that URIs are being downloaded; it does not come without URIs.
	Fetching struct{ ID id.Container }
	// Forked says that the init waits for Go.
	Forked struct {
		ID        id.Container
		BootID    string
		Pid       int
		StartTime uint64
	}
	// Started says that the process was executed. It is also the answer to Adopt for
	// a container that lives.
	Started struct {
		ID      id.Container
		TaskPid int
	}
	// Failed ends a container that never started. It is also sent after Destroy during
	// fetching or before Go, and after Adopt for a container whose init ended without
	// having been told to go; both with Canceled.
	Failed struct {
		ID       id.Container
		Reason   mesos.TaskStatus_Reason
		Message  string
		Canceled bool
	}
	// Exited ends a container that was started (or adopted). What is left of it, the
	// exit record too, stays until Destroy: the core may die before it has written down
	// how the container ended, and asks again with Adopt.
	Exited struct {
		ID     id.Container
		Record Exit
	}
	// Destroyed says that no process, cgroup or mount of the container is left. It
	// answers Destroy, for a container nobody knows too, and is the last event of every
	// container.
	Destroyed struct{ ID id.Container }
)

// Exit is how a container's process ended.
type Exit struct {
	// Known is false when the init left no record: the status is then not guessed.
	Known bool
	// Rebooted says that the machine was restarted under the container.
	Rebooted bool
	// Wait is the raw wait status.
	Wait int32
	Time time.Time
	// OOM is set if the kernel killed in the container's cgroup for lack of memory.
	OOM         bool
	MemoryUsage int64 // peak, in bytes, with OOM
	MemoryLimit int64
}

// Live identifies a container recorded before a restart of the agent. Adopt is
// answered with exactly one of Started, Exited or Failed.
type Live struct {
	ID        id.Container
	Sandbox   string
	BootID    string
	Pid       int
	StartTime uint64
	TaskPid   int
	Limits    Limits
}

// Is decides whether a process is the recorded one: a pid alone is not enough, since
// after a process's end another gets its pid. Every launcher asks this before it adopts.
func (l Live) Is(bootID string, pid int, startTime uint64) bool {
	if planted.Bug("reused pid adopted") {
		return l.BootID == bootID && l.Pid == pid
	}
	return l.BootID == bootID && l.Pid == pid && l.StartTime == startTime
}

func (Fetching) event()  {}
func (Forked) event()    {}
func (Started) event()   {}
func (Failed) event()    {}
func (Exited) event()    {}
func (Destroyed) event() {}
