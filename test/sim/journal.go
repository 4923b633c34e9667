package main

import (
	"github.com/stoa-kernel/stoa/agent/state"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/kernel/resource"
)

// journal is what the simulator knows of an agent's log: which records were written
// and which are on disk.
type journal struct {
	m       *machine
	fresh   map[*stoapb.LogRecord]*updateTruth // not written yet
	written []*updateTruth                     // not known to be on disk
	owed    []*updateTruth                     // on disk and not acknowledged

	totals      []string // the agent's total resources, as records in the order made
	freshTotals map[*stoapb.LogRecord]int
	writtenAt   int // index of the newest written
	durableAt   int // index of the newest on disk, -1 for none
	answers     map[string]int

	writtenEpoch, durableEpoch uint64
}

// persisting is a record on its way to the log.
func (m *machine) persisting(e state.Persist) {
	j := &m.journal
	switch b := e.Record.GetBody().(type) {
	case *stoapb.LogRecord_Update:
		s := b.Update.GetStatus()
		t := m.w.truth.tasks[s.GetTaskId().GetValue()]
		if t == nil {
			return
		}
		u := &updateTruth{task: t, m: m, uuid: string(s.GetUuid()), state: s.GetState(), status: s}
		t.updates = append(t.updates, u)
		if j.fresh == nil {
			j.fresh = map[*stoapb.LogRecord]*updateTruth{}
		}
		j.fresh[e.Record] = u
	case *stoapb.LogRecord_Acknowledged:
		if t := m.w.truth.tasks[b.Acknowledged.GetTaskId().GetValue()]; t != nil {
			for _, u := range t.updates {
				if u.uuid == string(b.Acknowledged.GetUuid()) {
					u.settled = true
				}
			}
		}
	case *stoapb.LogRecord_Kill:
		// The next life of an agent told to stop goes on with it.
		if t := m.w.truth.tasks[b.Kill.GetTaskId().GetValue()]; t != nil {
			if m.stopping {
				t.killed = true
			}
			t.unhealthy(m, b.Kill)
		}
	case *stoapb.LogRecord_TaskGone:
		if t := m.w.truth.tasks[b.TaskGone.GetTaskId().GetValue()]; t != nil {
			for _, u := range t.updates {
				u.settled = true
			}
		}
	case *stoapb.LogRecord_Resources:
		r, err := resource.Of(b.Resources.GetResources()...)
		if err != nil {
			m.w.fail("reservations and volumes are conserved", "%s writes a total that cannot be read: %v", m.name, err)
		}
		if want, got := m.resources.Quantities(), r.Quantities(); !want.Contains(got) || !got.Contains(want) {
			m.w.fail("reservations and volumes are conserved", "%s has %s in all but writes down %s", m.name, want, r)
		}
		if j.freshTotals == nil {
			j.freshTotals = map[*stoapb.LogRecord]int{}
		}
		j.totals = append(j.totals, r.String())
		j.freshTotals[e.Record] = len(j.totals) // 1-based
	}
}

func (m *machine) written(records []*stoapb.LogRecord) {
	j := &m.journal
	for _, r := range records {
		j.writtenEpoch = max(j.writtenEpoch, r.GetEpoch().GetEpoch())
		if u := j.fresh[r]; u != nil {
			delete(j.fresh, r)
			j.written = append(j.written, u)
		}
		if n := j.freshTotals[r]; n != 0 {
			delete(j.freshTotals, r)
			j.writtenAt = n
		}
	}
}

// synced: all that was written is on disk.
func (m *machine) synced() {
	j := &m.journal
	for _, u := range j.written {
		u.durable = true
		j.owed = append(j.owed, u)
	}
	j.written = nil
	j.durableAt, j.durableEpoch = j.writtenAt, j.writtenEpoch
	n := 0
	for _, u := range j.owed {
		if !u.settled {
			j.owed[n] = u
			n++
		}
	}
	j.owed = j.owed[:n]
}

// recovered compares what a new life finds in its log with what must be there.
func (m *machine) recovered(records []*stoapb.LogRecord) {
	j := &m.journal
	found := map[string]bool{}
	total := ""
	m.epoch = 0
	for _, r := range records {
		m.epoch = max(m.epoch, r.GetEpoch().GetEpoch())
		if s := r.GetUpdate().GetStatus(); s != nil {
			found[string(s.GetUuid())] = true
		}
		if c := r.GetResources(); c != nil {
			bag, err := resource.Of(c.GetResources()...)
			if err != nil {
				m.w.fail("reservations and volumes are conserved", "%s reads a total that cannot be read: %v", m.name, err)
			}
			total = bag.String()
		}
	}
	if m.epoch < j.durableEpoch {
		m.w.fail("what is on disk is recovered", "%s forgot epoch %d and knows %d", m.name, j.durableEpoch, m.epoch)
	}
	j.writtenEpoch, j.durableEpoch = m.epoch, m.epoch
	for _, u := range j.owed {
		if !u.settled && !found[u.uuid] {
			m.w.fail("what is on disk is recovered", "%s forgot %s of %s", m.name, u.state, u.task.id)
		}
	}
	var maybe []*updateTruth
	maybe = append(maybe, j.written...)
	for _, u := range j.fresh {
		maybe = append(maybe, u)
	}
	for _, u := range maybe {
		if found[u.uuid] {
			u.durable = true
			j.owed = append(j.owed, u)
		} else {
			u.task.drop(u)
		}
	}
	j.fresh, j.written = nil, nil
	if j.durableAt > 0 {
		ok := false
		for i := j.durableAt; i <= j.writtenAt; i++ {
			if j.totals[i-1] == total {
				ok = true
			}
		}
		if !ok {
			m.w.fail("acknowledged operations survive", "%s recovers the total %q; on disk was %q", m.name, total, j.totals[j.durableAt-1])
		}
	}
	if total != "" {
		j.totals = append(j.totals, total)
		j.writtenAt = len(j.totals)
		j.durableAt = j.writtenAt
	}
	j.freshTotals = nil
}

// mustHave is an executor's update answered 202: it is on disk.
func (m *machine) mustHave(s *mesos.TaskStatus) {
	t := m.w.truth.tasks[s.GetTaskId().GetValue()]
	for _, u := range t.updates {
		if u.uuid == string(s.GetUuid()) {
			if !u.durable {
				m.w.fail("nothing is said before it is on disk", "%s answers 202 to %s of %s, which is not on disk", m.name, u.state, t.id)
			}
			return
		}
	}
}

// speaking is what the agent sends to a master.
func (a *agentProcess) speaking(msg *stoapb.ToMaster) {
	m := a.m
	switch b := msg.GetBody().(type) {
	case *stoapb.ToMaster_Update:
		s := b.Update.GetStatus()
		t := m.w.truth.tasks[s.GetTaskId().GetValue()]
		if t == nil {
			return
		}
		u := t.update(s.GetUuid())
		if u == nil || !u.durable {
			m.w.fail("nothing is said before it is on disk", "%s forwards %s of %s, which is not on disk", m.name, s.GetState(), t.id)
		}
	case *stoapb.ToMaster_OperationUpdate:
		s := b.OperationUpdate.GetStatus()
		m.w.count["operation: "+s.GetState().String()]++
		if n := m.journal.answers[string(b.OperationUpdate.GetOperationUuid())]; n > m.journal.durableAt && s.GetState() == mesos.OperationState_OPERATION_FINISHED {
			m.w.fail("acknowledged operations survive", "%s answers an operation that is not on disk", m.name)
		}
	}
}

// observe looks at what a step of the agent's core did.
func (a *agentProcess) observe(in state.Input) {
	m := a.m
	for _, e := range a.effects.List {
		to, ok := e.(state.ToMaster)
		if !ok {
			continue
		}
		if o := to.Msg.GetOperationUpdate(); o != nil {
			if m.journal.answers == nil {
				m.journal.answers = map[string]int{}
			}
			if k := string(o.GetOperationUuid()); m.journal.answers[k] == 0 {
				m.journal.answers[k] = len(m.journal.totals)
			}
		}
	}
	f, ok := in.(state.Frame)
	if !ok || f.Link != a.link {
		return
	}
	if r := f.Msg.GetRegistered(); r != nil {
		if r.GetEpoch() < m.epoch {
			for _, e := range a.effects.List {
				if _, ok := e.(state.DropLink); !ok {
					m.w.fail("older epochs have no effect", "%s, which obeyed epoch %d, is registered by a master of epoch %d: %T", m.name, m.epoch, r.GetEpoch(), e)
				}
			}
			m.w.count["epoch: old master refused by an agent"]++
			return
		}
		m.epoch = r.GetEpoch()
		a.registeredWith, a.registeredAt = r.GetEpoch(), m.w.now
	}
	if n := epochOf(f.Msg); n != 0 && n < m.epoch && len(a.effects.List) > 0 {
		m.w.fail("older epochs have no effect", "%s, which obeyed epoch %d, acts on %T of epoch %d", m.name, m.epoch, f.Msg.GetBody(), n)
	}
}

func epochOf(m *stoapb.ToAgent) uint64 {
	type from interface{ GetEpoch() uint64 }
	for _, b := range []from{
		m.GetRunTask(), m.GetKillTask(), m.GetAcknowledge(), m.GetShutdownFramework(), m.GetShutdownExecutor(),
		m.GetFrameworkMessage(), m.GetUpdateFramework(), m.GetApplyOperation(), m.GetAcknowledgeOperation(),
	} {
		if n := b.GetEpoch(); n != 0 {
			return n
		}
	}
	return 0
}

// has reports whether the agent knows the task, live or with its end unacknowledged.
func (m *machine) has(t *taskTruth) bool {
	for _, r := range m.proc.core.Snapshot() {
		if r.GetTask().GetInfo().GetTaskId().GetValue() == t.id {
			return true
		}
	}
	return false
}
