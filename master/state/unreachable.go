package state

import (
	"cmp"
	"slices"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/kernel/id"
	lifecycle "github.com/stoa-kernel/stoa/kernel/task"
)

// Liveness of agents (Mesos 1.11, docs/high-availability-framework-guide.md): a ping every 15 s; five without a pong, and the
// agent is marked unreachable. A broken link alone changes little: offers stay for
// AgentLinkGrace, and the pings that cannot be sent count as missed.

func (m *Master) startPings(a *agent) {
	m.disarm(&a.graceArmed, TimerAgentLink, a)
	m.disarm(&a.returnArmed, TimerAgentReturn, a)
	a.missed = 0
	a.contested, a.defended = false, false
	m.unqueue(a)
	m.ping(a)
}

func (m *Master) ping(a *agent) {
	a.pingSeq++
	a.ponged = false
	seq := a.pingSeq
	m.toAgent(a, &stoapb.ToAgent{Body: &stoapb.ToAgent_Ping{Ping: &stoapb.Ping{Seq: &seq}}})
	a.pingArmed = true
	m.setTimer(TimerAgentPing, string(a.id), m.now.Mono+m.cfg.AgentPingInterval)
}

// pong counts only for the ping last sent, and cancels a removal that waits its turn.
func (m *Master) pong(a *agent, p *stoapb.Pong) {
	if p.GetSeq() != a.pingSeq {
		return
	}
	a.ponged = true
	a.missed = 0
	a.defended = a.contested
	m.unqueue(a)
}

func (m *Master) pingDue(a *agent) {
	a.pingArmed = false
	if !a.ponged {
		a.missed++
	}
	if a.missed >= m.cfg.MaxAgentPingTimeouts {
		m.lose(a)
	}
	if m.agents[a.id] == a {
		m.ping(a)
	}
}

// linkClosed is a broken link: no new offers, and the old ones only for the grace, so
// that a restart of the agent costs nobody anything.
func (m *Master) linkClosed(l Link) {
	a := m.links[l]
	delete(m.links, l)
	if a == nil || a.link != l {
		return
	}
	a.link = 0
	m.alloc.DeactivateAgent(a.id)
	a.graceArmed = true
	m.setTimer(TimerAgentLink, string(a.id), m.now.Mono+m.cfg.AgentLinkGrace)
	a.returnArmed = true
	m.setTimer(TimerAgentReturn, string(a.id), m.now.Mono+m.cfg.AgentReregisterTimeout)
	m.touchAgent(a)
}

func (m *Master) graceOver(a *agent) {
	a.graceArmed = false
	if a.link == 0 {
		m.rescindAgent(a, nil)
	}
}

// returnOver is the end of --agent-reregister-timeout.
func (m *Master) returnOver(a *agent) {
	a.returnArmed = false
	if a.link == 0 {
		m.lose(a)
	}
}

// removalQueue spaces removals out: one per AgentRemovalInterval.
type removalQueue struct {
	list  []*agent
	next  time.Duration // when the limit allows the next one
	armed bool
}

// lose marks an agent unreachable as soon as the rate limit allows.
func (m *Master) lose(a *agent) {
	if m.cfg.AgentRemovalInterval == 0 {
		m.markUnreachable(a)
		return
	}
	if a.queued {
		return
	}
	a.queued = true
	q := &m.removal
	q.list = append(q.list, a)
	if !q.armed {
		q.armed = true
		m.setTimer(TimerAgentRemoval, "", max(m.now.Mono, q.next))
	}
}

func (m *Master) unqueue(a *agent) {
	if a.queued {
		a.queued = false
		m.removal.list = slices.DeleteFunc(m.removal.list, func(x *agent) bool { return x == a })
	}
}

func (m *Master) removalDue() {
	q := &m.removal
	q.armed = false
	if len(q.list) == 0 {
		return
	}
	a := q.list[0]
	m.unqueue(a)
	m.markUnreachable(a)
	q.next = m.now.Mono + m.cfg.AgentRemovalInterval
	if len(q.list) > 0 {
		q.armed = true
		m.setTimer(TimerAgentRemoval, "", q.next)
	}
}

// markUnreachable writes the registry first; everything else follows from it.
func (m *Master) markUnreachable(a *agent) {
	m.persistAgent(a.id, a.info, stoapb.AgentRecord_UNREACHABLE)
	since := m.now.Wall.UnixNano()
	m.unreachable[a.id] = absent{a.info, since}
	m.rescindAgent(a, nil)
	for _, t := range a.sortedTasks() {
		m.taskUnreachable(t, since)
	}
	m.dropAgent(a, mesos.OperationState_OPERATION_UNREACHABLE, "unreachable")
}

func (m *Master) taskUnreachable(t *task, since int64) {
	f := t.fw
	switch {
	case lifecycle.Terminal(t.state):
		m.complete(t, nil)
		return
	case f.removed:
		m.end(t, m.removedStatus(t))
		return
	}
	s := m.status(f, t.info.TaskId, t.agentID, mesos.TaskState_TASK_UNREACHABLE,
		mesos.TaskStatus_REASON_AGENT_REMOVED, "Agent "+t.agent.info.GetHostname()+" is unreachable")
	s.UnreachableTime = &mesos.TimeInfo{Nanoseconds: &since}
	if t.executor != "" {
		s.ExecutorId = t.info.GetExecutor().GetExecutorId()
	}
	m.release(t)
	delete(t.agent.tasks, t.key())
	delete(f.tasks, t.id)
	t.agent, t.held = nil, nil
	t.state, t.unreachable = s.GetState(), true
	t.record(s)
	f.unreachable[t.id] = t
	f.unreachableOrder = append(f.unreachableOrder, t)
	m.send(f, s)
	m.publish(TaskUpdated{t.snapshot(), s})
	for len(f.unreachableOrder) > m.cfg.MaxUnreachableTasks {
		old := f.unreachableOrder[0]
		f.unreachableOrder = f.unreachableOrder[1:]
		delete(f.unreachable, old.id)
		m.publish(TaskRemoved{f.id, old.id})
	}
}

// replaceAgent removes an agent whose address a new one has: its work directory was
// wiped, and its tasks are gone.
func (m *Master) replaceAgent(a *agent) {
	m.out.add(Persist{Agents, string(a.id), nil})
	m.rescindAgent(a, nil)
	for _, t := range a.sortedTasks() {
		if lifecycle.Terminal(t.state) {
			m.complete(t, nil)
			continue
		}
		m.end(t, m.status(t.fw, t.info.TaskId, t.agentID, mesos.TaskState_TASK_GONE,
			mesos.TaskStatus_REASON_AGENT_REMOVED, "Agent "+a.info.GetHostname()+" was replaced by a new agent at "+a.address))
	}
	m.dropAgent(a, mesos.OperationState_OPERATION_GONE_BY_OPERATOR, "replaced")
}

// dropAgent takes an agent without tasks and offers off the books.
func (m *Master) dropAgent(a *agent, ops mesos.OperationState, reason string) {
	for _, e := range a.sortedExecutors() {
		m.removeExecutor(e)
	}
	for _, o := range slices.Clone(a.operations) {
		if o.feedback() != "" && o.fw != nil {
			m.operationStatus(o.fw, o.newStatus(ops, "Agent "+a.info.GetHostname()+" is "+reason))
		}
		m.removeOperation(o)
	}
	if a.recovered {
		m.recovering--
	} else {
		m.alloc.RemoveAgent(a.id)
	}
	for _, f := range m.sortedFrameworks() {
		m.failure(f, a.protoID, nil, nil)
	}
	m.disarm(&a.pingArmed, TimerAgentPing, a)
	m.disarm(&a.graceArmed, TimerAgentLink, a)
	m.disarm(&a.returnArmed, TimerAgentReturn, a)
	m.unqueue(a)
	if a.link != 0 {
		m.out.add(CloseLink{a.link})
		delete(m.links, a.link)
		a.link = 0
	}
	delete(m.agents, a.id)
	if m.addresses[a.address] == a {
		delete(m.addresses, a.address)
	}
	m.publish(AgentRemoved{a.id, reason})
	m.resumeAllocation()
}

func (m *Master) disarm(armed *bool, k TimerKind, a *agent) {
	if *armed {
		*armed = false
		m.stopTimer(k, string(a.id))
	}
}

// collectRegistry forgets unreachable and gone agents that are too old or too many.
func (m *Master) collectRegistry() {
	m.prune(m.unreachable)
	m.prune(m.gone)
	m.setTimer(TimerRegistryGC, "", m.now.Mono+m.cfg.RegistryGCInterval)
}

func (m *Master) prune(list map[id.Agent]absent) {
	ids := make([]id.Agent, 0, len(list))
	for aid := range list {
		ids = append(ids, aid)
	}
	slices.SortFunc(ids, func(a, b id.Agent) int {
		return cmp.Or(cmp.Compare(list[a].since, list[b].since), cmp.Compare(a, b))
	})
	oldest := m.now.Wall.Add(-m.cfg.RegistryMaxAgentAge).UnixNano()
	for i, aid := range ids {
		if len(ids)-i <= m.cfg.RegistryMaxAgentCount && list[aid].since >= oldest {
			break
		}
		delete(list, aid)
		m.out.add(Persist{Agents, string(aid), nil})
	}
}
