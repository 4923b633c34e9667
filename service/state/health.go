package state

import (
	"slices"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"

	"github.com/stoa-kernel/stoa/api/marathon"
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
		all[n] = probeHealth(all[n], r, graceEnd(def, n, i), &kill, def.HealthChecks[n].MaxConsecutiveFailures)
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

// probeHealth takes a result as the agent counts it: failures in a row since the last
// success, those in the grace period among them.
func probeHealth(h instance.Health, r *mesos.ProbeResult, grace time.Time, kill *bool, most int) instance.Health {
	count := int(r.GetConsecutiveFailures())
	h.FirstSuccess, h.LastSuccess, h.LastFailure = unix(r.GetFirstSuccess()), unix(r.GetLastSuccess()), unix(r.GetLastFailure())
	h.LastFailureCause = r.GetLastFailureCause()
	if count == 0 {
		h.Known, h.Alive, h.ConsecutiveFailures, h.Ignored = true, r.GetAlive(), 0, 0
		return h
	}
	if h.FirstSuccess.IsZero() && h.LastFailure.Before(grace) {
		h.Ignored, h.ConsecutiveFailures = count, 0
		return h // ends when the grace period does, or at the first success
	}
	h.Known, h.Alive = true, false
	h.ConsecutiveFailures = count - min(h.Ignored, count)
	if most > 0 && h.ConsecutiveFailures > most {
		*kill = true
	}
	return h
}

func unix(seconds float64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(seconds * 1000)).UTC()
}

// probed takes the result of a check that the service made itself, as if the agent had
// counted it.
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
	h, kill := all[in.Check], false
	index, at := uint32(in.Check), float64(s.now.Wall.UnixMilli())/1000
	first, success, failure := seconds(h.FirstSuccess), seconds(h.LastSuccess), seconds(h.LastFailure)
	r := &mesos.ProbeResult{Index: &index, FirstSuccess: &first, LastSuccess: &success, LastFailure: &failure}
	alive, count := in.OK, uint32(0)
	if in.OK {
		r.LastSuccess = &at
		if first == 0 {
			r.FirstSuccess = &at
		}
	} else {
		r.LastFailure, r.LastFailureCause = &at, &in.Cause
		count = uint32(h.ConsecutiveFailures + h.Ignored + 1)
	}
	r.Alive, r.ConsecutiveFailures = &alive, &count
	all[in.Check] = probeHealth(h, r, graceEnd(def, in.Check, i), &kill, def.HealthChecks[in.Check].MaxConsecutiveFailures)
	changed := with(i, func(c *instance.Instance) { c.Health = all })
	s.set(changed, saved)
	s.publishHealth(def, i, changed)
	if kill {
		s.unhealthyKill(changed)
	}
}

func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
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
