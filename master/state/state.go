// Package state is the master as a value: agents, frameworks, tasks, offers and
// operations, changed by Step and by nothing else.
package state

import (
	"time"

	"github.com/stoa-kernel/stoa/kernel/clock"
	"github.com/stoa-kernel/stoa/kernel/resource"
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

// Master is the value.
type Master struct{ _ byte }

func New(cfg Config) *Master { panic("contract") }

// Step changes the master by one input and appends what follows from it.
func (m *Master) Step(now clock.Now, in Input, out *Effects) { panic("contract") }

// Hash is of all that Step can observe; equal states have equal hashes.
func (m *Master) Hash() uint64 { panic("contract") }

// Explanation answers Why.
type Explanation struct {
	// Lines is for people, Facts for programs.
	Lines []string          `json:"lines"`
	Facts map[string]string `json:"facts,omitempty"`
}
