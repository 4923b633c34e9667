// Package allocator decides which framework is offered what: hierarchical dominant
// resource fairness with weights, quota guarantees and limits, refusal filters,
// suppression and offer constraints, as Mesos 1.11 (src/master/allocator/mesos/
// hierarchical.cpp), but driven by what changed instead of by a tick. It is a value
// with one owner: no goroutine, no clock, no I/O.
package allocator

import (
	"math/rand/v2"
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
	// Domain of the master. Agents of other regions are offered to frameworks that
	// are region-aware only; nil knows no regions.
	Domain *mesos.DomainInfo
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
	// that agent again, at least 1 s, at most 365 days.
	For time.Duration
}

// Allocator is the value.
type Allocator struct {
	cfg    Config
	rng    *rand.Rand
	paused bool
	names  names
	minima minima // the default

	agents     []*agent // by slot, nil where free
	freeAgents []int32
	byID       map[id.Agent]*agent
	total      vec    // scalars of all agents
	excluded   []bool // by name: does not count for fairness
	available  vec    // unreserved, non-revocable scalars free on active agents

	frameworks  map[id.Framework]*framework
	clientTable table // the clients

	roles     map[string]*node
	roleTable table
	root      *node
	stale     bool // shares are to be computed anew

	filters  int // in force
	expiries []expiry

	quotas      int     // roles with quota
	touched     []*node // whose room or term may have changed since settle
	surplusMark vec
	stirred     bool   // something changed that lumpy agents must be looked at for
	lumpy       bitset // agents with unreserved disks that cannot be split

	// Clients, by slot.
	active    bitset
	standard  bitset // the default minimum is theirs
	hungry    bitset // a guarantee entitles them to something
	saturated bitset // a limit leaves them less than the default minimum
	renewed   bitset // due on every agent
	woken     bitset // due where quota held something back

	hasRenewed, hasWoken bool
	dirty                bitset // agents that are due

	// In a cycle.
	grants  []Grant
	due     []*agent
	sharers []*agent // with volumes offered
	walking bool     // in DRF order, which must not change now
	moved   []*client
	some    []*client
	mask    bitset
	exempt  bitset
	cut     []amount

	scratch    [2]vec
	quantities resource.Quantities
	trace      func(id.Agent, bool) // for tests: the visits, in order
}

// New is an allocator without agents and frameworks.
func New(cfg Config) *Allocator {
	a := &Allocator{
		cfg:        cfg,
		rng:        rand.New(rand.NewPCG(cfg.Seed, 0x5ca1ab1e)),
		names:      newNames(),
		byID:       map[id.Agent]*agent{},
		frameworks: map[id.Framework]*framework{},
		roles:      map[string]*node{},
		root:       &node{},
	}
	a.root.ranked.of = &a.roleTable
	least := cfg.MinAllocatable
	if least == nil {
		least = []resource.Quantities{{{Name: "cpus", Value: 10}}, {{Name: "mem", Value: 32_000}}}
	}
	a.minima = a.names.minima(least)
	return a
}
