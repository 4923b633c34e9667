package state

import (
	"time"

	"github.com/stoa-kernel/stoa/service/instance"
)

const (
	// big is from how many instances on an app is looked at only every lookEvery, not for
	// every update: a look costs a walk over them.
	big       = 500
	lookEvery = 50 * time.Millisecond
)

// settle looks at every app that changed: its deployment goes on, or without one the
// number of instances is made what it should be.
func (s *Service) settle() {
	for len(s.dirty) > 0 {
		id := s.dirty[0]
		s.dirty = s.dirty[1:]
		delete(s.isDue, id)
		a := s.apps[id]
		if a == nil {
			continue
		}
		if len(a.list) > big && s.now.Mono < a.looked+lookEvery && a.looked > 0 {
			if !a.inDue {
				a.inDue = true
				s.timers.Set(timer{timerLook, id}, a.looked+lookEvery)
			}
			continue
		}
		a.looked, a.inDue = s.now.Mono, false
		s.look(a)
	}
	s.dirty = nil
	s.call()
}

func (s *Service) look(a *application) {
	if d := s.locks[a.id]; d != "" {
		s.stepDeployment(d, "")
	} else {
		s.ensure(a)
	}
	for _, id := range a.holds { // who waits for this app may go on now
		s.touch(id)
	}
	a.holds = nil
	s.unqueue(a)
	s.unused(a)
}

// ensure makes an app without a deployment have as many instances as it should.
func (s *Service) ensure(a *application) {
	if a.def == nil {
		for _, i := range append([]*instance.Instance(nil), a.list...) {
			if i.Goal != instance.GoalDecommissioned {
				s.kill(i, instance.GoalDecommissioned, true)
			}
		}
		return
	}
	want := a.def.Instances
	if a.def.PerAgent() {
		want = s.AgentsFor(a.def)
	}
	live := 0
	for _, i := range a.list {
		if lives(i) {
			live++
		}
	}
	switch {
	case live < want:
		s.add(a.def, want-live, false)
	case live > want:
		var list []*instance.Instance
		for _, i := range a.list {
			if lives(i) {
				list = append(list, i)
			}
		}
		for _, i := range surplus(a.def, list, live-want) {
			s.kill(i, instance.GoalDecommissioned, false)
		}
	}
}

// lives reports whether an instance counts as one of those an app should have: one that
// has run to its end and stays does, one that was replaced does not.
func lives(i *instance.Instance) bool {
	return i.Goal == instance.GoalRunning && i.Condition != instance.UnreachableInactive && !i.Preview ||
		i.Goal == instance.GoalStopped
}

// unqueue takes an app out of the queue when nothing of it waits, and keeps the count.
func (s *Service) unqueue(a *application) {
	if a.queue == nil {
		return
	}
	if a.waits == 0 {
		a.queue = nil
		for n, id := range s.waiting {
			if id == a.id {
				s.waiting = append(s.waiting[:n], s.waiting[n+1:]...)
				break
			}
		}
		s.tell(ChangedQueue{a.id, nil})
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
