// Package match finds a place for instances: offers against what apps need. What does
// not fit leaves its reason, in the order of Marathon's funnel.
package match

import (
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/instance"
)

// Reason why an offer does not fit, first match counts (A9), then ours.
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

// Refusal is why one offer does not fit one app.
type Refusal struct {
	Reason Reason
	// All that do not fit, the first among them (lastUnusedOffers shows them all).
	All []Reason
	// Text has names and numbers: "4 cpus needed, 1.5 offered".
	Text string
	// Lacks is how far the offer is from fitting, 0..1, for naming the nearest agents.
	Lacks float64
}

// Pool is one agent's offers of one role, being cut up.
type Pool struct {
	Offers []*mesos.Offer // the first one describes the agent
	pool
}

// NewPool parses the resources of offers, which are of one agent and one role.
func NewPool(offers []*mesos.Offer) (*Pool, error) { panic("contract") }

// Want is an instance looking for a place.
type Want struct {
	App      *marathon.App
	Instance *instance.Instance
	// Placed are the app's instances that constraints count, kept up by the matcher
	// over a round.
	Placed *Placed
	// FrameworkID and Region are the service's own: reservations are labelled with the
	// first, apps without a region constraint stay in the second ("" is any).
	FrameworkID, Region string
	// Seed draws host ports.
	Seed uint64
}

// Placed counts the instances of one app by constraint value, so that a launch costs no
// walk over all instances.
type Placed struct{ placed }

// Count the instances that constraints of app must take into account.
func Count(app *marathon.App, instances []*instance.Instance) *Placed { panic("contract") }

// Outcome of a Want that fits.
type Outcome struct {
	// Launch is set if a task can be launched, with Agent, Ports, Role filled in on the
	// instance; Resources are the task's.
	Launch    *instance.Instance
	Resources []*mesos.Resource
	// Reserve: operations that must come before (RESERVE, CREATE with operation ids);
	// for a resident instance without reservation they come alone, and the task is
	// launched from the offer that brings them back.
	Operations []*mesos.Offer_Operation
}

// Fit cuts what the instance needs out of the pool, or says why not; the pool is then
// untouched.
func (p *Pool) Fit(w *Want) (*Outcome, *Refusal) { panic("contract") }

// Host describes the pool's agent as instances keep it.
func (p *Pool) Host() *instance.Agent { panic("contract") }

// Task builds the TaskInfo of a placed instance (A6.5, A6.6; probes and checks).
func Task(app *marathon.App, i *instance.Instance, resources []*mesos.Resource, o TaskOptions) *mesos.TaskInfo {
	panic("contract")
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
}

// Destroy are the operations that give back what a resident instance holds (DESTROY,
// UNRESERVE), out of this pool; nil if the pool does not have it.
func (p *Pool) Destroy(i *instance.Instance) []*mesos.Offer_Operation { panic("contract") }

// Capability returns "" or what app needs that no agent of this version has, in words:
// "container type DOCKER".
func Capability(app *marathon.App) string { panic("contract") }

type (
	pool   struct{}
	placed struct{}
)
