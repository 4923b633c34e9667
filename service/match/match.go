// Package match finds a place for instances: offers against what apps need. What does
// not fit leaves its reason, in the order of Marathon's funnel.
package match

import (
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/kernel/role"
	"github.com/stoa-kernel/stoa/service/instance"
)

// Reason why an offer does not fit: Marathon's, then ours.
type Reason string

const (
	UnfulfilledRole                 Reason = "UnfulfilledRole"
	UnfulfilledConstraint           Reason = "UnfulfilledConstraint"
	NoCorrespondingReservationFound Reason = "NoCorrespondingReservationFound"
	AgentMaintenance                Reason = "AgentMaintenance"
	InsufficientCpus                Reason = "InsufficientCpus"
	InsufficientMemory              Reason = "InsufficientMemory"
	InsufficientDisk                Reason = "InsufficientDisk"
	InsufficientGpus                Reason = "InsufficientGpus"
	InsufficientPorts               Reason = "InsufficientPorts"
	DeclinedScarceResources         Reason = "DeclinedScarceResources"
	// NoCapability is ours: no agent can run it (an image, Docker).
	NoCapability Reason = "NoCapability"
)

// Reasons in the order of the funnel.
var Reasons = []Reason{
	UnfulfilledRole, UnfulfilledConstraint, NoCorrespondingReservationFound, AgentMaintenance,
	InsufficientCpus, InsufficientMemory, InsufficientDisk, InsufficientGpus, InsufficientPorts,
	DeclinedScarceResources, NoCapability,
}

// Want is an instance looking for a place.
type Want struct {
	App      *marathon.App
	Instance *instance.Instance
	// Placed are the app's instances that constraints count; Fit adds what it places. Of
	// nil, everything that is worked out once per app is worked out again.
	Placed *Placed
	// FrameworkID and Region are the service's own: reservations are labelled with the
	// first, apps without a region or zone constraint stay in the second ("" is any).
	FrameworkID, Region string
	// Principal of the framework, which its reservations and volumes carry; "" is none.
	Principal string
	// Seed draws host ports and the UUIDs of volumes.
	Seed uint64
	// Now is the wall time that maintenance windows are compared with; zero: they do not
	// matter (--maintenance_mode=false). Draining is how long before its window an agent
	// is avoided (--draining_seconds).
	Now      time.Time
	Draining time.Duration
	// WasteGPUs lets apps that need no GPU use agents that have some
	// (--gpu_scheduling_behavior=unrestricted); the label GPU_SCHEDULING_BEHAVIOR decides
	// for one app.
	WasteGPUs bool
}

// Outcome of a Want that fits: a launch, or operations.
type Outcome struct {
	// Launch is set if a task can be launched: a copy of the instance with Agent, Ports
	// and Role filled in. Resources are the task's (and its executor's).
	Launch    *instance.Instance
	Resources []*mesos.Resource
	// Reserve is set instead if the instance is resident and has no reservation yet: a
	// copy with Agent, Role and Reservation (whose Since is Want.Now). Operations, RESERVE
	// and CREATE, make it; the task is launched from the offer that brings them back.
	Reserve    *instance.Instance
	Operations []*mesos.Offer_Operation
}

// TaskOptions are the settings of the service that tasks depend on.
type TaskOptions struct {
	// EnvPrefix goes before generated variables but MESOS_* and MARATHON_*.
	EnvPrefix string
	// User for apps that name none; "" leaves it to FrameworkInfo.
	User string
	// Executor for apps that name none, "//cmd" by default.
	Executor string
	// ServiceProbes: HTTP, HTTPS and TCP checks are not sent to the agent, the service
	// probes itself (--health-checks=service).
	ServiceProbes bool
	// FrameworkID goes into the ExecutorInfo of custom executors, which need it.
	FrameworkID string
	// EnforceRole of the app's top-level group, for MARATHON_APP_ENFORCE_GROUP_ROLE.
	EnforceRole bool
}

// Roles are those to subscribe with for app: its own alone. What nobody reserved is
// offered to it too; a second subscription as "*" would only have the tasks charged to
// another role.
func Roles(app *marathon.App) []string { return []string{roleOf(app)} }

func roleOf(app *marathon.App) string {
	if app.Role == "" {
		return role.Default
	}
	return app.Role
}
