package main

import (
	"errors"
	"time"

	"github.com/stoa-kernel/stoa/agent/state"
	"github.com/stoa-kernel/stoa/internal/vfs"
)

// nemesis brings a fault every few seconds until the chaos is over.
func (w *world) nemesis() {
	w.at(w.between(2*time.Second, 16*time.Second), func() {
		if w.calm {
			return
		}
		w.fault()
		w.nemesis()
	})
}

func (w *world) fault() {
	if w.now < 15*time.Second {
		return // let it come up first
	}
	w.faults++
	name := func(s string) {
		w.count["fault: "+s]++
		w.say("fault: %s", s)
	}
	m := pick(w, w.machines)
	f := pick(w, w.fws)
	lead := w.leader
	switch n := w.rng.IntN(100); {
	case n < 20:
		if m.proc != nil {
			kinds := []string{"before write", "before sync", "after sync", "send", "go"}
			m.proc.doomed = &doom{pick(w, kinds), 1 + w.rng.IntN(6)}
			if m.proc.doomed.kind == "go" {
				m.proc.doomed.n = 1
			}
			name("agent doomed")
		}
	case n < 26:
		if m.proc != nil {
			name("agent killed")
			m.proc.die("by kill -9")
		}
	case n < 28:
		if m.proc != nil && m.proc.started {
			name("agent told to stop")
			m.proc.stop(w.chance(0.2))
		}
	case n < 36:
		if m.up {
			name("machine loses power")
			off := w.between(2*time.Second, 30*time.Second)
			if w.chance(0.2) {
				off = w.between(30*time.Second, 3*time.Minute)
			}
			m.reboot(off)
		}
	case n < 39:
		if lead != nil {
			lead.doomed = &doom{pick(w, []string{"before commit", "after commit"}), 1 + w.rng.IntN(4)}
			if w.chance(0.4) {
				lead.doomed = &doom{"send", 1 + w.rng.IntN(30)}
			}
			name("master doomed")
		}
	case n < 40:
		if lead != nil {
			name("master killed")
			lead.die("by kill -9")
		}
	case n < 43:
		if lead != nil && lead.ready {
			name("master outlives its lease")
			lead.retire()
		}
	case n < 56:
		name("agent cut off")
		m.part(w.partition())
	case n < 58:
		name("half of the agents cut off")
		long := w.partition()
		for _, m := range w.machines {
			if w.chance(0.5) {
				m.part(long)
			}
		}
	case n < 65:
		name("link broken")
		if m.proc != nil && m.proc.conn != nil {
			m.proc.conn.sever(2 * time.Second)
		}
	case n < 71:
		name("framework crashes")
		f.crash(w.between(100*time.Millisecond, 40*time.Second))
	case n < 74:
		name("framework fails over while connected")
		f.usurp()
	case n < 79:
		name("framework cut off")
		f.cut = w.now + w.between(time.Second, 40*time.Second)
		if f.conn != nil {
			f.conn.sever(30 * time.Second)
			f.calls.sever(30 * time.Second)
		}
	case n < 83:
		name("call connection broken")
		if f.calls != nil {
			f.calls.sever(time.Second)
		}
	case n < 88:
		name("slow disk")
		m.slow = w.now + w.between(5*time.Second, 40*time.Second)
	case n < 91:
		name("slow registry")
		if lead != nil {
			lead.slow = w.now + w.between(5*time.Second, 20*time.Second)
		}
	case n < 95:
		name("clock jump")
		jump := w.between(-2*time.Hour, 2*time.Hour)
		if lead != nil && w.chance(0.3) {
			lead.skew += jump
		} else {
			m.skew += jump
		}
	case n < 98:
		name("slow link")
		m.lag = w.now + w.between(5*time.Second, 60*time.Second)
		if m.proc != nil && m.proc.conn != nil {
			m.proc.conn.lag = w.between(50*time.Millisecond, 3*time.Second)
		}
	default:
		name("disk error")
		left := 1 + w.rng.IntN(4)
		m.disk.Hook = func(op vfs.Op) error {
			if op.Kind != vfs.Sync || m.proc == nil {
				return nil
			}
			if left--; left > 0 {
				return nil
			}
			m.disk.Hook = nil
			return errors.New("planned input/output error")
		}
	}
}

func (w *world) partition() time.Duration {
	if w.chance(0.3) {
		return w.between(time.Minute, 4*time.Minute)
	}
	return w.between(time.Second, 40*time.Second)
}

// part cuts a machine off from the masters for a while. Nobody is told: both sides find
// out, or do not.
func (m *machine) part(long time.Duration) {
	m.cut = m.w.now + long
	if m.proc != nil && m.proc.conn != nil {
		m.proc.conn.sever(100 * time.Second)
	}
}

// heal ends all faults.
func (w *world) heal() {
	w.say("the faults end")
	w.calm = true
	for _, m := range w.machines {
		m.cut, m.slow, m.lag = 0, min(m.slow, w.now), 0
		m.disk.Hook = nil
		if m.proc != nil {
			m.proc.doomed = nil
			if m.proc.conn != nil {
				m.proc.conn.lag = 0
			}
		}
	}
	for i := len(w.masters) - 1; i >= 0; i-- {
		m := w.masters[i]
		m.doomed, m.slow = nil, 0
		if m != w.leader {
			m.die("after a life too long")
		}
	}
	w.operator.calm(w)
	for _, f := range w.fws {
		f.left, f.cut = 0, 0
		f.soothe()
	}
}

// stop is the signal that tells the agent to end its tasks, then itself. Who sends it
// grows impatient at times.
func (a *agentProcess) stop(now bool) {
	a.m.stopping = true
	a.step(state.Shutdown{StopTasks: true, Now: now})
	if a.w.chance(0.2) {
		a.w.at(a.w.between(0, 5*time.Second), func() { a.step(state.Shutdown{StopTasks: true, Now: true}) })
	}
}

// soothe makes a framework end what it runs, and ask until it knows.
func (f *scheduler) soothe() {
	w := f.w
	w.at(w.between(5*time.Second, 30*time.Second), func() {
		if f.subscribed && f.up {
			f.call(reconcileAll())
			f.reconcile()
			for _, t := range f.tasks {
				if !t.terminal && w.chance(0.5) {
					f.kill(t)
				}
			}
			if w.chance(0.3) {
				f.revive()
			}
		}
		f.soothe()
	})
}

// quiesce runs on until the cluster has come to rest, and checks that it did.
func (w *world) quiesce() {
	calm := w.now
	for {
		w.until(w.now + 10*time.Second)
		restless := w.restless(calm)
		if restless == "" && w.now-calm > 3*time.Minute {
			break
		}
		if w.now-calm > 30*time.Minute {
			w.fail("the cluster comes to rest", "%v after the last fault: %s", w.now-calm, restless)
		}
	}
	w.sweep()
	w.rest()
}
