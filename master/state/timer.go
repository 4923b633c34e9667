package state

import "github.com/stoa-kernel/stoa/kernel/id"

// fired dispatches timers. Owners that are no more are no error: a timer may fire in the
// Step after it was stopped.
func (m *Master) fired(t Timer) {
	switch t.Kind {
	case TimerAllocate:
		m.allocate()
	case TimerFilter:
		m.filterArmed = false
		m.alloc.Expire(m.now.Mono)
	case TimerFailover:
		if f := m.frameworks[id.Framework(t.Owner)]; f != nil && f.failoverArmed {
			m.failoverExpired(f)
		}
	case TimerAgentPing:
		if a := m.agents[id.Agent(t.Owner)]; a != nil && a.pingArmed {
			m.pingDue(a)
		}
	case TimerAgentLink:
		if a := m.agents[id.Agent(t.Owner)]; a != nil && a.graceArmed {
			m.graceOver(a)
		}
	case TimerAgentReturn:
		if a := m.agents[id.Agent(t.Owner)]; a != nil && a.returnArmed {
			m.returnOver(a)
		}
	case TimerAgentRemoval:
		m.removalDue()
	case TimerOffer:
		m.offersExpired()
	case TimerRegistryGC:
		m.collectRegistry()
	case TimerRecovery:
		m.resumeAt = m.recovering
		m.resumeAllocation()
	}
}
