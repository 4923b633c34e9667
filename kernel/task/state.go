// Package task has the tables of task states all roles agree on, and the texts a
// command task's end is reported with. Rules are those of Mesos 1.11
// (docs/task-state-reasons.md).
package task

import (
	"strings"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
)

// Terminal reports whether a task in that state is over: its resources are free and no
// other state follows. TASK_UNREACHABLE and TASK_UNKNOWN are not terminal, TASK_LOST
// is, though a task may come back from it.
func Terminal(s mesos.TaskState) bool {
	switch s {
	case mesos.TaskState_TASK_FINISHED, mesos.TaskState_TASK_FAILED, mesos.TaskState_TASK_KILLED,
		mesos.TaskState_TASK_ERROR, mesos.TaskState_TASK_LOST, mesos.TaskState_TASK_DROPPED,
		mesos.TaskState_TASK_GONE, mesos.TaskState_TASK_GONE_BY_OPERATOR:
		return true
	}
	return false
}

// Live reports whether a task in that state has, or will have, a process on an agent
// that the master can reach.
func Live(s mesos.TaskState) bool {
	switch s {
	case mesos.TaskState_TASK_STAGING, mesos.TaskState_TASK_STARTING,
		mesos.TaskState_TASK_RUNNING, mesos.TaskState_TASK_KILLING:
		return true
	}
	return false
}

// FromExecutor reports whether an executor may report that state. TASK_STAGING and
// those that tell of partitions are for master and agent.
func FromExecutor(s mesos.TaskState) bool {
	switch s {
	case mesos.TaskState_TASK_STARTING, mesos.TaskState_TASK_RUNNING, mesos.TaskState_TASK_KILLING,
		mesos.TaskState_TASK_FINISHED, mesos.TaskState_TASK_FAILED, mesos.TaskState_TASK_KILLED,
		mesos.TaskState_TASK_ERROR, mesos.TaskState_TASK_LOST, mesos.TaskState_TASK_DROPPED,
		mesos.TaskState_TASK_GONE:
		return true
	}
	return false
}

// For is the state a framework reads: TASK_DROPPED, TASK_UNREACHABLE, TASK_GONE,
// TASK_GONE_BY_OPERATOR and TASK_UNKNOWN are TASK_LOST to those that are not
// PARTITION_AWARE.
func For(s mesos.TaskState, partitionAware bool) mesos.TaskState {
	if partitionAware {
		return s
	}
	switch s {
	case mesos.TaskState_TASK_DROPPED, mesos.TaskState_TASK_UNREACHABLE, mesos.TaskState_TASK_GONE,
		mesos.TaskState_TASK_GONE_BY_OPERATOR, mesos.TaskState_TASK_UNKNOWN:
		return mesos.TaskState_TASK_LOST
	}
	return s
}

// Told reports whether a framework is sent updates with that state at all: only those
// with TASK_KILLING_STATE read TASK_KILLING.
func Told(s mesos.TaskState, killingState bool) bool {
	return killingState || s != mesos.TaskState_TASK_KILLING
}

// Has reports whether the framework has that capability.
func Has(info *mesos.FrameworkInfo, want mesos.FrameworkInfo_Capability_Type) bool {
	for _, c := range info.GetCapabilities() {
		if c.GetType() == want {
			return true
		}
	}
	return false
}

// Word is the state as people read it: "running", "gone by operator".
func Word(s mesos.TaskState) string {
	name := strings.TrimPrefix(s.String(), "TASK_")
	return strings.ToLower(strings.ReplaceAll(name, "_", " "))
}
