// Package check is one check of a running task as a value: when it is due, what a result
// changes, what has to be told of it, and whether the task must die. It knows three kinds:
//
//	Health  HealthCheck: failures in a row kill the task (as Mesos 1.11,
//	        src/checks/health_checker.cpp)
//	Status  CheckInfo: the result is reported as it is, and means nothing
//	        (src/checks/checker.cpp)
//	Outside Probe: Stoa's extension, for frameworks that judge themselves
//
// What is asked, and how, is a Target; package probe does it.
package check

import (
	"math"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/kernel/clock"
	"google.golang.org/protobuf/proto"
)

// Kind says what results are for.
type Kind uint8

const (
	Health Kind = iota
	Status
	Outside
)

// Plan is what is fixed for the check's life.
type Plan struct {
	Kind   Kind
	Target Target
	// Index of a Probe.
	Index uint32
	// Delay from the task's start to the first time. Interval from the end of one to the
	// next; for a Probe from beginning to beginning.
	Delay, Interval time.Duration
	// Grace from the task's start, in which failures before the first success do not
	// count; of an Outside they are counted apart.
	Grace time.Duration
	// Failures in a row kill the task. Of Health only.
	Failures uint32
}

// minInterval bounds from below how often one check is performed: Mesos lets a framework
// ask for 0, which is as often as the machine can.
const minInterval = 100 * time.Millisecond

// firstProbe bounds how long a Probe waits for its first time (as Marathon 1.10).
const firstProbe = 5 * time.Second

// State is what outlives the agent, so that no check starts anew after a restart.
type State struct {
	// Succeeded once, and Failures since the last success: of Health.
	Succeeded bool
	Failures  uint32
	// Status is the last result of a Status, empty but for its type before the first.
	Status *mesos.CheckStatusInfo
	// Result of an Outside, nil before the first.
	Result *mesos.ProbeResult
}

// Check is the value. Start it once, then Step it.
type Check struct {
	Plan
	State

	began  time.Duration // when the task's process did, on the monotonic clock
	asked  time.Duration
	asking bool
}

// Outcome is what follows from a Step.
type Outcome struct {
	// Ask says that the target is to be asked now; Step is told the answer.
	Ask bool
	// Due, if Timed, is when to call Fire.
	Timed bool
	Due   time.Duration
	// Report says that State has something new that others must hear of.
	Report bool
	// Kill says that the task has failed often enough.
	Kill bool
	// Cause of a failure that counts, for people.
	Cause string
}

// New makes a check of what is known of it, the zero State at first.
func New(p Plan, s State) *Check {
	p.Interval = max(p.Interval, minInterval)
	if p.Kind == Status && s.Status == nil {
		s.Status = Empty(p.Target.Type)
	}
	return &Check{Plan: p, State: s}
}

// Start says when the check is due first. began is when the task's process did, before
// now if another life of the agent started it; then it waits as long as it would for a
// new one, within its interval, so that an agent that comes back does not ask everything
// at once.
func (c *Check) Start(now clock.Now, began time.Duration) Outcome {
	c.began = min(began, now.Mono)
	due := c.began + c.Delay
	if now.Mono > c.began {
		due = max(due, now.Mono+min(c.Interval, firstProbe))
	}
	return Outcome{Timed: true, Due: due}
}

// Fire performs the check if it is due.
func (c *Check) Fire(now clock.Now) Outcome {
	if c.asking {
		return Outcome{}
	}
	c.asking, c.asked = true, now.Mono
	return Outcome{Ask: true}
}

// Answer takes a result; one that was not asked for changes nothing.
func (c *Check) Answer(now clock.Now, r Result) Outcome {
	if !c.asking {
		return Outcome{}
	}
	c.asking = false
	var o Outcome
	switch {
	case r.None:
	case c.Kind == Health:
		o = c.health(now, r)
	case c.Kind == Status:
		o = c.status(r)
	default:
		o = c.outside(now, r)
	}
	o.Timed, o.Due = true, now.Mono+c.Interval
	if c.Kind == Outside {
		o.Due = max(c.asked+c.Interval, now.Mono)
	}
	return o
}

func (c *Check) health(now clock.Now, r Result) Outcome {
	if cause := r.Failure(c.Target.Type); cause != "" {
		if !c.Succeeded && c.Grace > 0 && now.Mono-c.began <= c.Grace {
			return Outcome{}
		}
		if c.State.Failures < math.MaxUint32 {
			c.State.Failures++
		}
		return Outcome{Report: true, Kill: c.State.Failures >= c.Plan.Failures, Cause: cause}
	}
	changed := !c.Succeeded || c.State.Failures > 0
	c.Succeeded, c.State.Failures = true, 0
	return Outcome{Report: changed}
}

// Healthy is what a status says, nil before the first result that counts.
func (c *Check) Healthy() *bool {
	if c.State.Failures > 0 || c.Succeeded {
		return proto.Bool(c.State.Failures == 0)
	}
	return nil
}

func (c *Check) status(r Result) Outcome {
	is := r.info(c.Target.Type)
	if proto.Equal(is, c.State.Status) {
		return Outcome{}
	}
	c.State.Status = is
	return Outcome{Report: true}
}

// outside counts as Marathon does (core/health/Health.scala), but leaves it to the
// framework what grace means: every failure is told, and a success that follows another is not.
func (c *Check) outside(now clock.Now, r Result) Outcome {
	is := &mesos.ProbeResult{Index: proto.Uint32(c.Index), Alive: proto.Bool(false)}
	if was := c.Result; was != nil {
		is.FirstSuccess, is.LastSuccess = was.FirstSuccess, was.LastSuccess
		is.LastFailure, is.LastFailureCause = was.LastFailure, was.LastFailureCause
		is.ConsecutiveFailures, is.FailuresInGrace = was.ConsecutiveFailures, was.FailuresInGrace
	}
	at := proto.Float64(now.Seconds())
	if cause := r.Failure(c.Target.Type); cause != "" {
		is.LastFailure, is.LastFailureCause = at, proto.String(cause)
		is.ConsecutiveFailures = increased(is.ConsecutiveFailures)
		if is.FirstSuccess == nil && now.Mono-c.began < c.Grace {
			is.FailuresInGrace = increased(is.FailuresInGrace)
		}
		c.Result = is
		return Outcome{Report: true, Cause: cause}
	}
	changed := !c.Result.GetAlive()
	is.Alive, is.ConsecutiveFailures, is.LastSuccess, is.FailuresInGrace = proto.Bool(true), proto.Uint32(0), at, nil
	if is.FirstSuccess == nil {
		is.FirstSuccess = at
	}
	c.Result = is
	return Outcome{Report: changed}
}

func increased(n *uint32) *uint32 {
	if n == nil {
		return proto.Uint32(1)
	}
	return proto.Uint32(*n + min(1, math.MaxUint32-*n))
}
