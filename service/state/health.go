package state

import (
	"slices"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/internal/planted"
	"github.com/stoa-kernel/stoa/service/instance"
)

// takeHealth merges what a status tells of health into an instance's results. next is
// nil if it tells nothing new; kill says that a probe has failed once too often (A6.1:
// on failure number maxConsecutiveFailures + 1, 0 is never).
func (s *Service) takeHealth(def *marathon.App, i *instance.Instance, st *mesos.TaskStatus) (next []instance.Health, kill bool) {
	if len(def.HealthChecks) == 0 || i.Condition != instance.Running {
		return nil, false
	}
	results := func() []instance.Health {
		if next == nil {
			next = slices.Clone(i.Health)
			for len(next) < len(def.HealthChecks) {
				next = append(next, instance.Health{})
			}
		}
		return next
	}
	if st.Healthy != nil {
		for n := range def.HealthChecks {
			if def.HealthChecks[n].ByKernel() {
				all := results()
				all[n] = kernelHealth(all[n], st.GetHealthy(), timestamp(st, s.now.Wall), st.GetMessage())
			}
		}
	}
	for _, r := range st.GetProbeResults() {
		n := int(r.GetIndex())
		if n < 0 || n >= len(def.HealthChecks) {
			continue
		}
		all := results()
		all[n] = probeHealth(r)
		kill = kill || fatal(&all[n], &def.HealthChecks[n])
	}
	if next != nil && slices.Equal(next, i.Health) {
		return nil, kill
	}
	return next, kill
}

// graceEnd is until when failures before the first success do not count.
func graceEnd(def *marathon.App, check int, i *instance.Instance) time.Time {
	start := i.StartedAt
	if start.IsZero() {
		start = i.StagedAt
	}
	return start.Add(time.Duration(def.HealthChecks[check].GracePeriodSeconds) * time.Second)
}

// kernelHealth takes the kernel's own verdict; it also kills by itself.
func kernelHealth(h instance.Health, healthy bool, at time.Time, message string) instance.Health {
	h.Known, h.Alive = true, healthy
	if healthy {
		h.ConsecutiveFailures, h.LastSuccess = 0, at
		if h.FirstSuccess.IsZero() {
			h.FirstSuccess = at
		}
		return h
	}
	h.ConsecutiveFailures++
	h.LastFailure, h.LastFailureCause = at, message
	return h
}

// probeHealth is a result as the agent counts it: failures in a row since the last
// success, those of the grace period among them, which do not count.
func probeHealth(r *mesos.ProbeResult) instance.Health {
	h := instance.Health{
		FirstSuccess: unix(r.GetFirstSuccess()), LastSuccess: unix(r.GetLastSuccess()),
		LastFailure: unix(r.GetLastFailure()), LastFailureCause: r.GetLastFailureCause(),
		Alive: r.GetAlive(),
	}
	all := r.GetConsecutiveFailures()
	ignored := min(all, r.GetFailuresInGrace())
	h.ConsecutiveFailures, h.Ignored = int(all-ignored), int(ignored)
	h.Known = h.Alive || h.ConsecutiveFailures > 0
	return h
}

// fatal reports whether a probe has failed once too often.
func fatal(h *instance.Health, c *marathon.HealthCheck) bool {
	most := c.MaxConsecutiveFailures
	if planted.Bug("max instead of max+1") {
		return most > 0 && h.ConsecutiveFailures >= most
	}
	return most > 0 && h.ConsecutiveFailures > most
}

func unix(seconds float64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(seconds * 1000)).UTC()
}

// probed takes the result of a check that the service made itself, and counts as the
// agent would.
func (s *Service) probed(in Probed) {
	i := s.instances[in.Instance]
	if i == nil || i.TaskID != in.Task || i.Condition != instance.Running {
		return
	}
	def := s.of(i.App).definition(i)
	if def == nil || in.Check < 0 || in.Check >= len(def.HealthChecks) {
		return
	}
	all := slices.Clone(i.Health)
	for len(all) < len(def.HealthChecks) {
		all = append(all, instance.Health{})
	}
	h, now := &all[in.Check], s.now.Wall
	switch {
	case in.OK:
		h.Known, h.Alive, h.LastSuccess = true, true, now
		h.ConsecutiveFailures, h.Ignored = 0, 0
		if h.FirstSuccess.IsZero() {
			h.FirstSuccess = now
		}
	case h.FirstSuccess.IsZero() && now.Before(graceEnd(def, in.Check, i)):
		h.Ignored++
	default:
		h.Known, h.Alive = true, false
		h.ConsecutiveFailures++
	}
	if !in.OK {
		h.LastFailure, h.LastFailureCause = now, in.Cause
	}
	changed := with(i, func(c *instance.Instance) { c.Health = all })
	s.set(changed, saved)
	s.publishHealth(def, i, changed)
	if fatal(h, &def.HealthChecks[in.Check]) {
		s.unhealthyKill(changed)
	}
}

// readyProbed takes the result of a readiness check.
func (s *Service) readyProbed(in ReadyProbed) {
	i := s.instances[in.Instance]
	if i == nil || i.TaskID != in.Task || i.Condition != instance.Running {
		return
	}
	def := s.of(i.App).definition(i)
	if def == nil {
		return
	}
	changed := with(i, func(c *instance.Instance) {
		c.Readiness = []marathon.ReadinessResult{in.Result}
		c.Ready = c.Ready || in.Result.Ready
	})
	s.set(changed, saved)
	if changed.Ready && !i.Ready {
		s.emit(Unwatch{i.ID})
		s.watch(changed)
	}
}

// unhealthyKill ends a task that failed a check too often; the instance goes on with
// another one. An instance that is away or ending already is left alone.
func (s *Service) unhealthyKill(i *instance.Instance) {
	if i.Condition != instance.Running || !i.KillingSince.IsZero() || !i.DrainUntil.IsZero() {
		return
	}
	a := s.of(i.App)
	def := a.definition(i)
	s.publishUnhealthyKill(i)
	if def != nil {
		s.backOff(a, def)
	}
	s.sendKill(i)
}
