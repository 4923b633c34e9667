// Package allocator decides which framework is offered what: hierarchical dominant
// resource fairness with weights, quota guarantees and limits, refusal filters,
// suppression and offer constraints, as Mesos 1.11 (src/master/allocator/mesos/
// hierarchical.cpp), but driven by what changed instead of by a tick. It is a value
// with one owner: no goroutine, no clock, no I/O.
package allocator

import (
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
)

// Config is fixed for the allocator's life.
type Config struct {
	// MinAllocatable is the global any-of list of minima; nil means cpus:0.01|mem:32.
	MinAllocatable []resource.Quantities
	// Excluded names do not count for fairness.
	Excluded []string
	// Seed of the order in which agents are visited.
	Seed uint64
	// RecoveryFactor of the expected agents must be back before the first allocation
	// when a quota is set (0.8); see Pause.
}

// Agent describes an agent to the allocator.
type Agent struct {
	ID         id.Agent
	Hostname   string
	Attributes []*mesos.Attribute
	Domain     *mesos.DomainInfo
	// Total with reservations and volumes, unallocated.
	Total resource.Resources
}

// Framework describes a framework to the allocator.
type Framework struct {
	ID         id.Framework
	Name       string
	Roles      []string
	Suppressed []string
	// Capabilities that matter here.
	Revocable, Shared, GPU, Refinement, MultiRole, RegionAware bool
	// OfferFilters is FrameworkInfo.offer_filters: per role the any-of minima that
	// replace Config.MinAllocatable; an empty list means no minimum.
	OfferFilters map[string][]resource.Quantities
	Constraints  *schedulerpb.OfferConstraints
}

// Grant is resources of one agent allocated to a framework's role, to be offered.
// They are charged already; Resources carry the allocation role.
type Grant struct {
	Framework id.Framework
	Role      string
	Agent     id.Agent
	Resources resource.Resources
}

// Refusal says how recovered resources are filtered. A nil *Refusal sets no filter.
type Refusal struct {
	// For is how long the framework's role is not offered the refused resources of
	// that agent again, at least 1 s (see decisions 9), at most 365 days.
	For time.Duration
}

// Allocator is the value.
type Allocator struct{ _ byte }

func New(cfg Config) *Allocator { panic("contract") }

// AddAgent adds an active agent. used are resources already allocated on it (running
// tasks a re-registering agent reports), by framework; frameworks that are not known
// yet are charged all the same.
func (a *Allocator) AddAgent(agent Agent, used map[id.Framework]resource.Resources) {
	panic("contract")
}

// UpdateAgent replaces total and attributes; filters on the agent are dropped if either
// changed.
func (a *Allocator) UpdateAgent(agent Agent)        { panic("contract") }
func (a *Allocator) RemoveAgent(agent id.Agent)     { panic("contract") }
func (a *Allocator) ActivateAgent(agent id.Agent)   { panic("contract") }
func (a *Allocator) DeactivateAgent(agent id.Agent) { panic("contract") }

// AddFramework adds an active framework; UpdateFramework replaces its description,
// keeping its filters for roles it still has.
func (a *Allocator) AddFramework(f Framework)         { panic("contract") }
func (a *Allocator) UpdateFramework(f Framework)      { panic("contract") }
func (a *Allocator) RemoveFramework(f id.Framework)   { panic("contract") }
func (a *Allocator) ActivateFramework(f id.Framework) { panic("contract") }

// DeactivateFramework stops offers and drops its filters.
func (a *Allocator) DeactivateFramework(f id.Framework) { panic("contract") }

// Suppress and Revive take the framework's roles; none means all of them. Revive also
// drops the filters of those roles.
func (a *Allocator) Suppress(f id.Framework, roles []string) { panic("contract") }
func (a *Allocator) Revive(f id.Framework, roles []string)   { panic("contract") }

// Recover takes back resources (carrying their allocation role) from a framework on an
// agent.
func (a *Allocator) Recover(now time.Duration, f id.Framework, agent id.Agent, r resource.Resources, refusal *Refusal) {
	panic("contract")
}

// Convert replaces allocated resources by what an operation made of them, in the
// framework's allocation and in the agent's total.
func (a *Allocator) Convert(f id.Framework, agent id.Agent, from, to resource.Resources) {
	panic("contract")
}

// Charge accounts an allocation that exists without an offer (a task found on an agent).
func (a *Allocator) Charge(f id.Framework, agent id.Agent, r resource.Resources) { panic("contract") }

// SetQuota replaces a role's guarantee and limit; both nil removes it. SetWeight sets a
// role's weight, 1 being the default.
func (a *Allocator) SetQuota(role string, guarantee, limit resource.Quantities) { panic("contract") }
func (a *Allocator) SetWeight(role string, weight float64)                      { panic("contract") }

// Pause holds allocation back, Resume lets it go.
func (a *Allocator) Pause()  { panic("contract") }
func (a *Allocator) Resume() { panic("contract") }

// Dirty reports whether Allocate has anything to look at.
func (a *Allocator) Dirty() bool { panic("contract") }

// Expire drops the filters due by now, which makes their (agent, role) dirty; next is
// when to call it again.
func (a *Allocator) Expire(now time.Duration) (next time.Duration, ok bool) { panic("contract") }

// NextExpiry is when the earliest filter ends.
func (a *Allocator) NextExpiry() (at time.Duration, ok bool) { panic("contract") }

// Allocate offers what is free on dirty agents to the frameworks due, charging each
// grant, in a deterministic order. With full, every agent is looked at, as the
// simulator does to prove that nothing was forgotten.
func (a *Allocator) Allocate(now time.Duration, full bool) []Grant { panic("contract") }
