package state

import (
	"maps"
	"slices"
	"time"

	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"

	"github.com/stoa-kernel/stoa/internal/planted"
	"github.com/stoa-kernel/stoa/service/instance"
)

const (
	// reconcileBatch bounds one call.
	reconcileBatch = 1000
	// firstPause and longestPause are between two questions about the same task, which
	// double (as Mesos, docs/reconciliation.md).
	firstPause, longestPause = 250 * time.Millisecond, 30 * time.Second
)

// asking is what the kernel was asked about and has not answered: of tasks on agents that
// may still come back it says nothing.
type asking struct {
	open  map[string]bool // instances
	pause time.Duration
}

// reconcile asks about every task that is thought to live, and about all others that the
// kernel knows of.
func (s *Service) reconcile() {
	s.after(s.cfg.Reconcile, timerReconcile, "")
	s.asking = asking{open: make(map[string]bool)}
	if !s.connected {
		return
	}
	for id, i := range s.instances { // a set: its order does not show
		if asks(i) {
			s.asking.open[id] = true
		}
	}
	s.ask()
	s.emit(Call{Call: reconcileCall(nil)})
}

// asks reports whether the kernel is asked about an instance: it has a task, or a
// reservation on an agent that may be gone for good.
func asks(i *instance.Instance) bool {
	return i.Active() || i.Condition == instance.UnreachableInactive || i.Reservation != nil
}

// ask asks about what is not answered yet, and again after a while.
func (s *Service) ask() {
	if !s.connected {
		return
	}
	var batch []*schedulerpb.Call_Reconcile_Task
	for _, id := range slices.Sorted(maps.Keys(s.asking.open)) {
		i := s.instances[id]
		if i == nil || !asks(i) {
			delete(s.asking.open, id)
			continue
		}
		batch = append(batch, reconcileTask(i))
		if len(batch) == reconcileBatch {
			s.emit(Call{Call: reconcileCall(batch)})
			batch = nil
		}
	}
	if len(batch) > 0 {
		s.emit(Call{Call: reconcileCall(batch)})
	}
	if len(s.asking.open) > 0 {
		s.asking.pause = min(max(2*s.asking.pause, firstPause), longestPause)
		s.after(s.asking.pause, timerAsk, "")
	}
}

// answered takes note that the kernel knows of a task again. A KILL from before may have
// been lost with whoever had to pass it on.
func (s *Service) answered(i *instance.Instance) {
	if !s.asking.open[i.ID] {
		return
	}
	delete(s.asking.open, i.ID)
	if len(s.asking.open) == 0 {
		s.timers.Stop(timer{timerAsk, ""})
	}
	if i = s.instances[i.ID]; i != nil && i.Active() && i.Condition != instance.Unreachable && !i.KillingSince.IsZero() {
		s.sendKillOf(i)
	}
}

// unsent settles launches whose ACCEPT was refused.
func (s *Service) unsent(tasks []string) {
	if !s.connected {
		return // the next subscription asks about all
	}
	for _, t := range tasks {
		if i := s.instanceOf(t); i != nil && i.TaskID == t && i.Condition == instance.Provisioned {
			if planted.Bug("double launch after ambiguous ACCEPT") {
				s.again(i, s.of(i.App).definition(i))
				continue
			}
			s.asking.open[i.ID] = true
			s.asking.pause = 0
		}
	}
	s.ask()
}
