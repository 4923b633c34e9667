package main

import (
	"fmt"
	"time"

	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/kernel/resource"
	lifecycle "github.com/stoa-kernel/stoa/kernel/task"
)

func reconcileAll() *schedulerpb.Call {
	return &schedulerpb.Call{Type: schedulerpb.Call_RECONCILE.Enum(), Reconcile: &schedulerpb.Call_Reconcile{}}
}

// restless says what is still going on, "" if nothing is.
func (w *world) restless(calm time.Duration) string {
	if w.leader == nil || !w.leader.ready {
		return "no master leads"
	}
	for _, m := range w.machines {
		switch {
		case m.proc == nil:
			return m.name + " has no agent"
		case m.proc.registeredWith != w.leader.epoch:
			return m.name + " is not registered"
		case m.proc.hold.Len() > 0:
			return fmt.Sprintf("%s holds %d effects", m.name, m.proc.hold.Len())
		}
		for _, r := range m.proc.core.Snapshot() {
			if t := r.GetTask(); t != nil {
				id := t.GetInfo().GetTaskId().GetValue()
				truth := w.truth.tasks[id]
				return fmt.Sprintf("%s still has task %s of %s (alive %t, %d updates)", m.name, id, truth.owner, truth.alive, len(truth.updates))
			}
			if o := r.GetOperation(); o != nil && o.GetInfo() != nil {
				if f := w.framework(o.GetFrameworkId().GetValue()); f != nil && !f.gone(o.GetFrameworkId().GetValue()) {
					return fmt.Sprintf("%s still has operation %s", m.name, o.GetInfo().GetId().GetValue())
				}
			}
		}
	}
	for _, t := range w.truth.order {
		if t.alive {
			return fmt.Sprintf("task %s of %s lives on %s", t.id, t.owner, t.m.name)
		}
	}
	for _, f := range w.fws {
		if f.leaving {
			continue
		}
		if !f.subscribed {
			return f.name + " is not subscribed"
		}
		if f.offered < calm+30*time.Second {
			return f.name + " gets no offers"
		}
		for _, t := range f.tasks {
			if !t.terminal {
				return fmt.Sprintf("%s knows no end of its task %s on %s (%s)", f.name, t.id, t.agent, t.state)
			}
		}
	}
	return ""
}

// rest checks what must be true in the end.
func (w *world) rest() {
	live := map[string]*scheduler{}
	connected := 0
	for _, f := range w.fws {
		if !f.leaving {
			live[f.id] = f
			connected++
		}
	}
	for _, t := range w.truth.order {
		f := live[t.owner]
		if f == nil {
			continue
		}
		for _, u := range t.updates {
			if u.durable && !u.delivered && lifecycle.Terminal(u.state) {
				w.fail("every end is reported", "%s never read %s of %s", f.name, u.state, t.id)
			}
		}
	}
	m := w.leader
	for _, a := range m.view.sorted() {
		var alive resource.Quantities // executors that wait for more
		for _, x := range w.machines {
			for _, b := range x.order {
				if x.name == a.Info.GetHostname() && b.custom && b.alive() {
					alive = alive.Add(executorResources)
				}
			}
		}
		if have := a.Allocated.Quantities(); !alive.Contains(have) || !have.Contains(alive) {
			w.fail("the books are right", "no task runs, and executors have %s, but %s has %s allocated on %s", alive, m.name, a.Allocated, a.ID)
		}
	}
	// Pings of every agent, deadlines of frameworks that are away, and one each of
	// allocation, filters, offers, the registry's collection and recovery.
	if most := len(w.machines) + len(w.fws) + 5; m.timers.Len() > most+w.away() {
		w.fail("no timer leaks", "%s has %d timers, at most %d make sense", m.name, m.timers.Len(), most)
	}
	for _, a := range w.machines {
		// The master's ping and the collection of sandboxes, and what waits for
		// operations whose framework is gone.
		most := 2 + len(a.order) // and a heartbeat, or a shutdown, of every executor
		for _, r := range a.proc.core.Snapshot() {
			if r.GetOperation() != nil {
				most++
			}
		}
		if n := a.proc.timers.Len(); n > most {
			w.fail("no timer leaks", "%s's agent has %d timers, at most %d make sense", a.name, n, most)
		}
	}
}

// away is how many agents' ids the master still expects back.
func (w *world) away() int {
	n := 0
	for _, a := range w.leader.view.sorted() {
		if !a.Connected {
			n++
		}
	}
	return n
}
