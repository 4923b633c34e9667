// Package state is the master as a value: agents, frameworks, tasks, offers and
// operations, changed by Step and by nothing else. One file per verb.
//
// Who owns what: an offer's resources are charged to its framework in the allocator from
// the moment they are granted. ACCEPT moves them from the offer to tasks, executors and
// operations, or gives them back; a task gives its resources back once, at its first
// terminal state, not when that is acknowledged. So on every agent
//
//	allocated (tasks, executors) + offered + free = total
//
// holds after every Step. Messages that come in are not changed and may be kept: they
// must not be changed by whoever gave them. What goes out is never changed afterwards.
package state

import (
	"math/rand/v2"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/kernel/clock"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/master/allocator"
)

// Config is fixed for the master's life; zero values mean the defaults named.
type Config struct {
	// MasterID is this process's UUID, the prefix of the ids it makes.
	MasterID string
	// Seed of everything random in the core.
	Seed uint64
	// Version is Stoa's.
	Version string

	AgentPingInterval      time.Duration // 15 s
	MaxAgentPingTimeouts   int           // 5
	AgentReregisterTimeout time.Duration // 10 min
	AgentLinkGrace         time.Duration // 5 s
	AgentRemovalInterval   time.Duration // 0: no rate limit on marking agents unreachable
	OfferTimeout           time.Duration // 5 min
	MaxCompletedFrameworks int           // 50
	MaxCompletedTasks      int           // 1000 per framework
	MaxUnreachableTasks    int           // 1000 per framework
	MinAllocatable         []resource.Quantities
	Roles                  []string      // whitelist, nil for any
	RegistryGCInterval     time.Duration // 15 min
	RegistryMaxAgentAge    time.Duration // 2 weeks
	RegistryMaxAgentCount  int           // 102400
}

func (c *Config) defaults() {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&c.AgentPingInterval, 15*time.Second)
	set(&c.AgentReregisterTimeout, 10*time.Minute)
	set(&c.AgentLinkGrace, 5*time.Second)
	set(&c.OfferTimeout, 5*time.Minute)
	set(&c.RegistryGCInterval, 15*time.Minute)
	set(&c.RegistryMaxAgentAge, 14*24*time.Hour)
	count := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	count(&c.MaxAgentPingTimeouts, 5)
	count(&c.MaxCompletedFrameworks, 50)
	count(&c.MaxCompletedTasks, 1000)
	count(&c.MaxUnreachableTasks, 1000)
	count(&c.RegistryMaxAgentCount, 102400)
}

// Master is the value.
type Master struct {
	cfg   Config
	epoch uint64
	ready bool // Recovered was seen
	// info is what schedulers read in SUBSCRIBED.
	info *mesos.MasterInfo

	// now and out are of the Step that runs.
	now clock.Now
	out *Effects

	rand  *rand.Rand
	alloc *allocator.Allocator

	agents      map[id.Agent]*agent // admitted: registered or recovered
	addresses   map[string]*agent   // of those that were here, by ip:port
	links       map[Link]*agent
	unreachable map[id.Agent]absent
	gone        map[id.Agent]absent
	// recovering counts agents in the registry that were not back since the start.
	recovering int

	frameworks map[id.Framework]*framework // not removed
	streams    map[Stream]*framework
	removed    map[id.Framework]*framework // removed ones, as long as they are in removedOrder
	// removedOrder are the last MaxCompletedFrameworks removed frameworks, oldest first.
	removedOrder []*framework
	// dying are removed frameworks whose tasks or executors are not all dead.
	dying map[id.Framework]*framework

	offers     map[id.Offer]*offer
	offerQueue offerQueue
	operations map[id.UUID]*operation

	weights map[string]float64
	quotas  map[string]quota

	frameworkCount, agentCount, offerCount uint64

	removal removalQueue

	// paused while quotas wait for agents after a failover; resumeAt is how many of
	// them must still be recovering at most.
	paused   bool
	resumeAt int

	allocateArmed bool
	filterArmed   bool
	filterAt      time.Duration

	dirtyAgents     []*agent
	dirtyFrameworks []*framework
	rolesDirty      bool
}

// absent is an agent that is in the registry as unreachable or gone.
type absent struct {
	info  *mesos.AgentInfo
	since int64 // Unix nanoseconds
}

type quota struct{ guarantee, limit resource.Quantities }

// New makes a master that waits for Recovered.
func New(cfg Config) *Master {
	cfg.defaults()
	return &Master{
		cfg: cfg,
		// With the id, so that two masters of one seed make different operation uuids.
		rand:        rand.New(rand.NewPCG(cfg.Seed, hashOf(cfg.MasterID))),
		agents:      map[id.Agent]*agent{},
		addresses:   map[string]*agent{},
		links:       map[Link]*agent{},
		unreachable: map[id.Agent]absent{},
		gone:        map[id.Agent]absent{},
		frameworks:  map[id.Framework]*framework{},
		streams:     map[Stream]*framework{},
		removed:     map[id.Framework]*framework{},
		dying:       map[id.Framework]*framework{},
		offers:      map[id.Offer]*offer{},
		operations:  map[id.UUID]*operation{},
		weights:     map[string]float64{},
		quotas:      map[string]quota{},
	}
}

// Step changes the master by one input and appends what follows from it.
func (m *Master) Step(now clock.Now, in Input, out *Effects) {
	m.now, m.out = now, out
	if r, ok := in.(Recovered); ok || !m.ready {
		m.begin(r, ok && !m.ready, in)
	} else {
		m.handle(in)
	}
	m.finish()
	m.out = nil
}

func (m *Master) handle(in Input) {
	switch in := in.(type) {
	case Subscribe:
		m.subscribe(in)
	case Call:
		m.call(in)
	case StreamClosed:
		m.streamClosed(in.Stream)
	case Hello:
		m.hello(in)
	case Frame:
		m.frame(in)
	case LinkClosed:
		m.linkClosed(in.Link)
	case Operate:
		m.operator(in)
	case Kill:
		m.operatorKill(in)
	case Why:
		m.why(in)
	case Fired:
		m.fired(in.Timer)
	}
}

// begin takes Recovered, and refuses everything that comes before it.
func (m *Master) begin(r Recovered, first bool, in Input) {
	const message = "the master has not recovered its registry yet; try again"
	switch in := in.(type) {
	case Recovered:
		if first {
			m.recover(r)
		}
	case Subscribe:
		m.refuse(in.Stream, message)
	case Call:
		m.answer(in.Token, 503, message)
	case Operate:
		m.answer(in.Token, 503, message)
	case Kill:
		m.answer(in.Token, 503, message)
	case Why:
		m.answer(in.Token, 503, message)
	case Hello:
		m.out.add(CloseLink{in.Link})
	}
}

// finish publishes what changed, once per object, and arms the allocator's timers.
func (m *Master) finish() {
	for _, a := range m.dirtyAgents {
		if a.dirty && m.agents[a.id] == a {
			m.publish(AgentUpdated{a.snapshot()})
		}
		a.dirty = false
	}
	m.dirtyAgents = m.dirtyAgents[:0]
	for _, f := range m.dirtyFrameworks {
		if f.dirty && m.frameworks[f.id] == f {
			m.publish(FrameworkUpdated{f.snapshot()})
		}
		f.dirty = false
	}
	m.dirtyFrameworks = m.dirtyFrameworks[:0]
	if m.rolesDirty {
		m.rolesDirty = false
		m.publish(RolesChanged{m.roleList()})
	}
	if !m.ready {
		return
	}
	if !m.allocateArmed && m.alloc.Dirty() {
		m.allocateArmed = true
		m.setTimer(TimerAllocate, "", m.now.Mono)
	}
	if at, ok := m.alloc.NextExpiry(); ok && (!m.filterArmed || at < m.filterAt) {
		m.filterArmed, m.filterAt = true, at
		m.setTimer(TimerFilter, "", at)
	}
}

func (m *Master) publish(e Event) { m.out.add(Publish{e}) }

func (m *Master) answer(t Token, status int, message string) {
	if t == 0 {
		return
	}
	m.out.add(Answer{Token: t, Status: status, Message: message})
}

func (m *Master) setTimer(k TimerKind, owner string, at time.Duration) {
	m.out.add(SetTimer{Timer{k, owner}, at})
}

func (m *Master) stopTimer(k TimerKind, owner string) { m.out.add(StopTimer{Timer{k, owner}}) }

// touch marks a framework or agent as changed, to be published at the end of the Step.
func (m *Master) touchFramework(f *framework) {
	if !f.dirty && m.frameworks[f.id] == f {
		f.dirty = true
		m.dirtyFrameworks = append(m.dirtyFrameworks, f)
	}
}

func (m *Master) touchAgent(a *agent) {
	if !a.dirty && m.agents[a.id] == a {
		a.dirty = true
		m.dirtyAgents = append(m.dirtyAgents, a)
	}
}

// Explanation answers Why.
type Explanation struct {
	// Lines is for people, Facts for programs.
	Lines []string          `json:"lines"`
	Facts map[string]string `json:"facts,omitempty"`
}
