package state

import (
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
)

// Event is one entry of the timeline. What it points at is never changed afterwards, so
// readers on other goroutines may keep it. The set is closed.
type Event interface{ event() }

type (
	TaskAdded struct{ Task *Task }
	// TaskUpdated carries the status that changed the task; nil if no status did, but
	// its being acknowledged (Completed) or reported.
	TaskUpdated struct {
		Task   *Task
		Status *mesos.TaskStatus
	}
	// TaskRemoved forgets a completed or unreachable task (the oldest beyond the limits).
	TaskRemoved struct {
		Framework id.Framework
		Task      id.Task
	}
	AgentAdded   struct{ Agent *Agent }
	AgentUpdated struct{ Agent *Agent }
	AgentRemoved struct {
		Agent id.Agent
		// Reason is for people: "unreachable", "gone", "replaced".
		Reason string
	}
	FrameworkAdded   struct{ Framework *Framework }
	FrameworkUpdated struct{ Framework *Framework }
	// FrameworkRemoved leaves the framework among the completed ones.
	FrameworkRemoved struct{ Framework *Framework }
	// FrameworkForgotten takes it off the list of completed ones, with its tasks.
	FrameworkForgotten struct{ Framework id.Framework }
	OfferAdded         struct{ Offer *Offer }
	OfferRemoved       struct {
		Offer id.Offer
		// How it ended: "accepted", "declined", "rescinded".
		How string
	}
	// RolesChanged carries every role that is known, with weight and quota, when one of
	// these changed.
	RolesChanged struct{ Roles []Role }
)

// Task is a task as published.
type Task struct {
	Framework id.Framework
	Agent     id.Agent
	// Info as launched, with allocation_info injected.
	Info *mesos.TaskInfo
	// Executor is empty for command tasks.
	Executor id.Executor
	State    mesos.TaskState
	// StatusState and StatusUUID are of the update last forwarded.
	StatusState mesos.TaskState
	StatusUUID  []byte
	// Statuses without data; consecutive ones of one state collapsed.
	Statuses []*mesos.TaskStatus
	// Completed is true once the terminal update was acknowledged, or the task can send
	// no more.
	Completed   bool
	Unreachable bool
	// User is whom it runs as.
	User string
}

// Agent is an agent as published.
type Agent struct {
	ID           id.Agent
	Info         *mesos.AgentInfo
	Address      string // ip:port
	Version      string
	Connected    bool
	Recovered    bool // in the registry, not back since the master started
	Unreachable  bool
	Registered   time.Time
	Reregistered time.Time
	Total        resource.Resources
	Allocated    resource.Resources
	Offered      resource.Resources
}

// Framework is a framework as published.
type Framework struct {
	Info         *mesos.FrameworkInfo
	Connected    bool
	Recovered    bool
	Removed      bool
	Registered   time.Time
	Reregistered time.Time
	Unregistered time.Time
	Suppressed   []string
	Constraints  *schedulerpb.OfferConstraints
	// Allocated and Offered are scalars only: ports of several agents do not add up.
	Allocated resource.Resources
	Offered   resource.Resources
}

// Offer is an offer as published.
type Offer struct {
	ID        id.Offer
	Framework id.Framework
	Agent     id.Agent
	Role      string
	Resources resource.Resources
	Made      time.Time
}

// Role is a role as published.
type Role struct {
	Name   string
	Weight float64 // 1 unless set
	// Weighted says that UPDATE_WEIGHTS set the weight, perhaps to 1.
	Weighted   bool
	Guarantee  resource.Quantities
	Limit      resource.Quantities
	Frameworks []id.Framework
	Allocated  resource.Resources
}

func (TaskAdded) event()          {}
func (TaskUpdated) event()        {}
func (TaskRemoved) event()        {}
func (AgentAdded) event()         {}
func (AgentUpdated) event()       {}
func (AgentRemoved) event()       {}
func (FrameworkAdded) event()     {}
func (FrameworkUpdated) event()   {}
func (FrameworkRemoved) event()   {}
func (FrameworkForgotten) event() {}
func (OfferAdded) event()         {}
func (OfferRemoved) event()       {}
func (RolesChanged) event()       {}
