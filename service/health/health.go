// Package health does what the service itself asks instances: readiness checks, health
// checks with --health-checks=service, preStop requests.
package health

import (
	"context"

	"github.com/stoa-kernel/stoa/service/state"
)

// Prober asks instances. It is safe for concurrent use.
type Prober struct{ prober }

// New makes one that reports with tell (state.Probed, state.ReadyProbed, state.Stopped),
// which must not block, and has at most most requests under way (256,
// --max-concurrent-marathon-health-checks).
func New(most int, tell func(state.Input)) *Prober { panic("contract") }

// Run probes until ctx ends.
func (p *Prober) Run(ctx context.Context) { panic("contract") }

// Watch an instance as the effect says; it replaces an earlier one.
func (p *Prober) Watch(w state.Watch) { panic("contract") }

// Unwatch stops it.
func (p *Prober) Unwatch(instance string) { panic("contract") }

// PreStop makes the request of the effect.
func (p *Prober) PreStop(e state.PreStop) { panic("contract") }

type prober struct{}
