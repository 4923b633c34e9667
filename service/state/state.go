// Package state is the service framework as a value: the tree of apps, their instances,
// the deployments under way, the launch queue. Step(now, input) says what to do about
// each thing that happens.
//
// An instance's record is durable before its ACCEPT goes out; the tree's new version is
// written last, after the versions of its apps, so that a crash in between shows the old
// tree. Everything else can be worked out again: deployments look at instances, the queue
// is what is missing.
package state

import (
	"github.com/stoa-kernel/stoa/kernel/clock"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/match"
)

// Config are the settings; durations are Marathon's flags of those names.
type Config struct {
	App  app.Options
	Task match.TaskOptions
	// MaxDeployments that run at a time; 0 is 100.
	MaxDeployments int
	// MaxVersions kept of an app; 0 is 50.
	MaxVersions int
	// Seed of instance ids and host ports.
	Seed uint64
	// MaxPerOffer bounds launches from one offer; 0 is no bound of its own.
	MaxPerOffer int
}

// Service is the value.
type Service struct{ cfg Config }

// New makes an empty one; the first input is Recovered.
func New(cfg Config) *Service { return &Service{cfg: cfg} }

// Step changes the service by one input and returns what follows from it. The slice is
// valid until the next Step.
func (s *Service) Step(now clock.Now, in Input) []Effect { panic("contract") }
