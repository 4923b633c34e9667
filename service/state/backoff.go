package state

import (
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
)

// backOff delays the next launch of an app after a failure: backoffSeconds, then
// backoffFactor times as long each time, up to maxLaunchDelaySeconds (as Marathon 1.10,
// core/launchqueue/impl/RateLimiter). Without a failure for that long it begins anew.
func (s *Service) backOff(a *application, def *marathon.App) {
	most := duration(def.MaxLaunchDelaySeconds)
	b := Backoff{App: a.id, Config: configOf(def), Delay: duration(def.BackoffSeconds)}
	a.failures++
	if old := a.backoff; old != nil && old.Config == b.Config && s.now.Wall.Before(old.Until.Add(most)) {
		b.Delay = duration(old.Delay.Seconds() * def.BackoffFactor)
	} else {
		a.failures = 1
	}
	b.Delay = min(b.Delay, most)
	b.Until = s.now.Wall.Add(b.Delay)
	a.backoff = &b
	s.save(keyBackoff+key(a.id), b)
	s.at(b.Until, timerBackoff, a.id)
	s.showDelay(a)
}

// delayed is how long an app may not launch yet.
func (s *Service) delayed(a *application) time.Duration {
	if a.backoff == nil || a.def == nil || a.backoff.Config != configOf(a.def) {
		return 0
	}
	return max(0, a.backoff.Until.Sub(s.now.Wall))
}

func (s *Service) backedOff(id string) {
	if a := s.apps[id]; a != nil {
		s.showDelay(a)
		s.touch(id)
		s.want()
	}
}

// forgive drops the delay of an app.
func (s *Service) forgive(a *application) {
	a.failures = 0
	if a.backoff == nil {
		return
	}
	a.backoff = nil
	s.timers.Stop(timer{timerBackoff, a.id})
	s.save(keyBackoff+key(a.id), nil)
	s.showDelay(a)
	s.touch(a.id)
	s.want()
}

// showDelay brings the queue entry up to date.
func (s *Service) showDelay(a *application) {
	if a.queue == nil {
		return
	}
	q := *a.queue
	q.DelayUntil, q.Failures = time.Time{}, a.failures
	if s.delayed(a) > 0 {
		q.DelayUntil = a.backoff.Until
	}
	a.queue = &q
	s.emit(ChangedQueue{a.id, a.queue})
}
