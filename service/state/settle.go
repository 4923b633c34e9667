package state

import (
	"maps"
	"slices"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/internal/planted"
	"github.com/stoa-kernel/stoa/service/instance"
)

// settle looks at every app that changed: its deployment goes on, or without one the
// number of instances is made what it should be.
func (s *Service) settle() {
	for len(s.dirty) > 0 {
		dirty := s.dirty
		s.dirty = nil
		clear(s.isDue)
		var order []string // deployments
		of := make(map[string][]string)
		for _, id := range dirty {
			if s.apps[id] == nil {
				continue
			}
			d := s.locks[id]
			if d == "" {
				continue
			}
			if of[d] == nil {
				order = append(order, d)
			}
			of[d] = append(of[d], id)
		}
		for _, d := range order {
			s.stepApps(d, of[d])
		}
		for _, id := range dirty {
			if a := s.apps[id]; a != nil {
				s.look(a)
			}
		}
	}
	s.unlist()
	s.call()
}

// unlist takes those out of the waiting list that no longer wait, all in one go.
func (s *Service) unlist() {
	if !s.left {
		return
	}
	s.left = false
	s.waiting = slices.DeleteFunc(s.waiting, func(a *application) bool {
		a.listed = a.queue != nil
		return !a.listed
	})
}

// look is what is due when an app has changed, beside its deployment.
func (s *Service) look(a *application) {
	if want, ours := s.target(a); ours {
		s.ensure(a, want)
	}
	serves := s.satisfied(a)
	if !serves || !a.serves {
		for _, id := range slices.Sorted(maps.Keys(a.holds)) { // they may go on now, or not any more
			s.touch(id)
		}
		a.holds = nil
	}
	a.serves = serves
	s.unqueue(a)
	s.unused(a)
}

// target is the definition that an app's instances are to be kept up with; ours is false
// while a deployment decides about them.
func (s *Service) target(a *application) (want *marathon.App, ours bool) {
	if d := s.deployments[s.locks[a.id]]; d != nil {
		if wanted, decides, ok := d.Decides(a.id); ok {
			return wanted, !decides
		}
	}
	return a.def, true
}

// ensure makes an app have as many instances as a definition says.
func (s *Service) ensure(a *application, def *marathon.App) {
	if def == nil {
		for _, i := range slices.Clone(a.list) {
			if i.Goal != instance.GoalDecommissioned {
				s.kill(i, instance.GoalDecommissioned, true)
			}
		}
		return
	}
	want := def.Instances
	if def.PerAgent() {
		want = s.AgentsFor(def)
	}
	live := 0
	for n := range a.tallies {
		live += a.tallies[n].Live - a.tallies[n].Hidden
	}
	switch {
	case live < want:
		s.launchMore(def, want-live, false)
	case live > want && !planted.Bug("unreachable return over-scales"):
		var list []*instance.Instance
		for _, i := range a.list {
			if i.Goal == instance.GoalRunning && i.Condition != instance.UnreachableInactive && !i.Preview {
				list = append(list, i)
			}
		}
		for _, i := range surplus(def, list, live-want) {
			s.kill(i, instance.GoalDecommissioned, false)
		}
	}
}

// unqueue takes an app out of the queue when nothing of it waits, and keeps the count.
func (s *Service) unqueue(a *application) {
	if a.queue == nil {
		return
	}
	if a.waits == 0 {
		a.queue, s.left = nil, true
		s.emit(ChangedQueue{a.id, nil})
		return
	}
	blocked := s.blocked(a)
	if blocked == "" && a.queue.Blocked != "" {
		s.want()
	}
	if a.queue.Count != a.waits || a.queue.Blocked != blocked || a.queue.App != a.def {
		q := *a.queue
		q.Count, q.Blocked, q.App, q.Role = a.waits, blocked, a.def, roleOf(a)
		a.queue = &q
		s.showDelay(a)
	}
}
