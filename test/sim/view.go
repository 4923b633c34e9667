package main

import (
	"cmp"
	"slices"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	masterpb "github.com/stoa-kernel/stoa/api/mesos/v1/master"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/kernel/role"
	lifecycle "github.com/stoa-kernel/stoa/kernel/task"
	"github.com/stoa-kernel/stoa/master/state"
)

// view is what a master's timeline says: what readers see and the checks compare.
type view struct {
	m      *masterProcess
	agents map[id.Agent]*agentView
	roles  []state.Role

	// Of the step under way.
	touched  []*agentView
	removed  []*state.Framework
	offered  []*state.Offer
	answered int
}

type agentView struct {
	*state.Agent
	tasks   map[string]*state.Task // not terminal
	touched bool
	sum     sum
	// failed: an operation the master took for done was not, and what was made of its
	// result may be on the books for a moment.
	failed bool
}

func newView(m *masterProcess) *view {
	return &view{m: m, agents: map[id.Agent]*agentView{}}
}

func (v *view) touch(a *agentView) {
	if a != nil && !a.touched {
		a.touched = true
		v.touched = append(v.touched, a)
	}
}

func (v *view) apply(e state.Event) {
	switch e := e.(type) {
	case state.AgentAdded:
		a := &agentView{Agent: e.Agent, tasks: map[string]*state.Task{}}
		if old := v.agents[e.Agent.ID]; old != nil {
			a.tasks, a.failed = old.tasks, old.failed
		}
		v.agents[e.Agent.ID] = a
		v.touch(a)
	case state.AgentUpdated:
		a := v.agents[e.Agent.ID]
		if a == nil {
			v.m.w.fail("the timeline makes sense", "agent %s is updated, but was never added", e.Agent.ID)
		}
		a.Agent = e.Agent
		v.touch(a)
	case state.AgentRemoved:
		if a := v.agents[e.Agent]; a != nil {
			delete(v.agents, e.Agent)
		}
	case state.TaskAdded:
		v.task(e.Task)
	case state.TaskUpdated:
		v.task(e.Task)
	case state.FrameworkRemoved:
		v.removed = append(v.removed, e.Framework)
	case state.OfferAdded:
		v.offered = append(v.offered, e.Offer)
	case state.RolesChanged:
		v.roles = e.Roles
	}
}

// runs reports whether the master knows the task as living.
func (v *view) runs(t *taskTruth) bool {
	for _, a := range v.agents {
		if a.tasks[t.owner+"/"+t.id] != nil {
			return true
		}
	}
	return false
}

func (v *view) task(t *state.Task) {
	a := v.agents[t.Agent]
	if a == nil {
		return
	}
	key := string(t.Framework) + "/" + string(t.Info.GetTaskId().GetValue())
	if t.Completed || t.Unreachable || lifecycle.Terminal(t.State) {
		delete(a.tasks, key)
	} else {
		a.tasks[key] = t
	}
	v.touch(a)
}

// scalars are what quotas count, in thousandths.
var scalars = [...]string{"cpus", "mem", "disk"}

type amounts [len(scalars)]resource.Milli

func (a *amounts) add(name string, m resource.Milli) {
	for i, n := range scalars {
		if n == name {
			a[i] += m
		}
	}
}

// share is what counts against a role's quota on an agent: its reservations, and what is
// allocated and offered to it of the rest.
type share struct {
	role string
	amounts
}

// sum is an agent's part of what quotas are about.
type sum struct {
	of     *state.Agent // as of this snapshot
	shares []share
	free   amounts
}

func (a *agentView) total() *sum {
	s := &a.sum
	if s.of == a.Agent {
		return s
	}
	s.of, s.shares, s.free = a.Agent, s.shares[:0], amounts{}
	get := func(role string) *amounts {
		for i := range s.shares {
			if s.shares[i].role == role {
				return &s.shares[i].amounts
			}
		}
		s.shares = append(s.shares, share{role: role})
		return &s.shares[len(s.shares)-1].amounts
	}
	for it := range a.Total.All() {
		switch {
		case it.Kind() != resource.Scalar || it.Revocable():
		case it.Reserved():
			get(it.Role()).add(it.Name(), it.Scalar())
		default:
			s.free.add(it.Name(), it.Scalar())
		}
	}
	for _, bag := range []resource.Resources{a.Allocated, a.Offered} {
		for it := range bag.All() {
			if it.Kind() == resource.Scalar && !it.Reserved() && !it.Revocable() {
				get(it.AllocatedTo()).add(it.Name(), it.Scalar())
				s.free.add(it.Name(), -it.Scalar())
			}
		}
	}
	return s
}

// headroom is what guarantees lack and what is left for them.
type headroom struct{ need, available amounts }

func (h *headroom) short(i int) resource.Milli { return max(0, h.need[i]-h.available[i]) }

// before is what has to be known before a step.
func (v *view) before(in state.Input) *headroom {
	for _, a := range v.touched {
		a.touched = false
	}
	v.touched, v.removed, v.offered = v.touched[:0], v.removed[:0], v.offered[:0]
	f, ok := in.(state.Fired)
	if !ok || f.Timer.Kind != state.TimerAllocate {
		return nil
	}
	for _, r := range v.roles {
		if len(r.Guarantee) > 0 {
			h := v.headroom()
			return &h
		}
	}
	return nil
}

func (v *view) sorted() []*agentView {
	list := make([]*agentView, 0, len(v.agents))
	for _, a := range v.agents {
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b *agentView) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

func below(r, top string) bool { return r == top || role.IsStrictSubrole(r, top) }

// consumed is what a role and those below it have of its quota.
func (v *view) consumed(name string) amounts {
	var out amounts
	for _, a := range v.agents {
		for _, s := range a.total().shares {
			if below(s.role, name) {
				for i, m := range s.amounts {
					out[i] += m
				}
			}
		}
	}
	return out
}

func (v *view) headroom() headroom {
	var h headroom
	for _, r := range v.roles {
		if len(r.Guarantee) == 0 || role.Parent(r.Name) != "" {
			continue
		}
		have := v.consumed(r.Name)
		for i, name := range scalars {
			if g, ok := r.Guarantee.Get(name); ok {
				h.need[i] += max(0, g-have[i])
			}
		}
	}
	for _, a := range v.agents {
		if a.Connected {
			for i, m := range a.total().free {
				h.available[i] += m
			}
		}
	}
	return h
}

// check looks at what the step changed.
func (v *view) check(in state.Input, before *headroom) {
	w := v.m.w
	for _, a := range v.touched {
		if v.agents[a.ID] != a || a.Recovered && !a.Connected {
			continue
		}
		used := a.Allocated.Unallocate().Add(a.Offered.Unallocate())
		if a.failed = a.failed || v.m.failed[a.ID]; a.failed && !a.Total.Contains(a.Allocated.Unallocate()) {
			continue // until the agent has dropped them
		}
		if !a.Total.Contains(used) {
			w.fail("nothing is over-allocated", "%s: agent %s has %s; allocated are %s and offered %s", v.m.name, a.ID, a.Total, a.Allocated, a.Offered)
		}
		var tasks resource.Quantities
		for _, t := range a.tasks {
			tasks = tasks.Add(v.quantities(t))
		}
		if have := a.Allocated.Quantities(); !have.Contains(tasks) {
			w.fail("the books are right", "%s: agent %s has %s allocated, but its tasks have %s", v.m.name, a.ID, have, tasks)
		}
	}
	for _, f := range v.removed {
		v.m.mayRemove(f, in)
	}
	if len(v.offered) == 0 {
		return
	}
	w.count["offer"] += len(v.offered)
	for _, r := range v.roles {
		if len(r.Limit) == 0 {
			continue
		}
		have := v.consumed(r.Name)
		for _, o := range v.offered {
			if !below(o.Role, r.Name) {
				continue
			}
			for it := range o.Resources.All() {
				limit, ok := r.Limit.Get(it.Name())
				if !ok || it.Kind() != resource.Scalar || it.Reserved() || it.Revocable() {
					continue
				}
				for i, name := range scalars {
					if name == it.Name() && have[i] > limit {
						w.fail("quota limits are kept", "%s offers %s to role %s, which then has %v of %s; its limit is %s", v.m.name, o.Resources, o.Role, have[i], name, r.Limit)
					}
				}
			}
			w.count["quota: offer under a limit"]++
		}
	}
	if before != nil {
		after := v.headroom()
		for i, name := range scalars {
			if after.short(i) > before.short(i) {
				w.fail("guarantees keep their headroom", "%s: of %s, %v is lacking after the offers and %v before", v.m.name, name, after.short(i), before.short(i))
			}
		}
		w.count["quota: offers beside a guarantee"]++
	}
}

func (v *view) quantities(t *state.Task) resource.Quantities {
	if x := v.m.w.truth.tasks[t.Info.GetTaskId().GetValue()]; x != nil {
		return x.resources
	}
	r, err := resource.Of(t.Info.GetResources()...)
	if err != nil {
		v.m.w.fail("the timeline makes sense", "task %s has resources that cannot be read: %v", t.Info.GetTaskId().GetValue(), err)
	}
	return r.Quantities()
}

// subscription is what a master heard of a framework's connection.
type subscription struct {
	stream    state.Stream
	connected bool
	since     time.Duration
}

// observe notes what the checks need to know of a step.
func (m *masterProcess) observe(in state.Input) {
	w := m.w
	status := 0
	for _, e := range m.effects.List {
		switch e := e.(type) {
		case state.Answer:
			status = e.Status
		case state.ToFramework:
			if s := e.Event.GetSubscribed(); s != nil {
				m.subs[s.GetFrameworkId().GetValue()] = &subscription{stream: e.Stream, connected: true, since: w.now}
			}
		}
	}
	switch in := in.(type) {
	case state.Hello:
		for _, o := range in.Register.GetOperations() {
			m.mayFail(o.GetLatestStatus())
		}
	case state.Frame:
		m.mayFail(in.Msg.GetOperationUpdate().GetStatus())
	case state.StreamClosed:
		for _, f := range w.fws {
			if s := m.subs[f.id]; s != nil && s.stream == in.Stream && s.connected {
				s.connected, s.since = false, w.now
			}
		}
	case state.Call:
		if status == 202 {
			m.took(in.Call)
		}
	}
}

func (m *masterProcess) mayFail(s *mesos.OperationStatus) {
	if s.GetState() == mesos.OperationState_OPERATION_FAILED {
		m.failed[id.Agent(s.GetAgentId().GetValue())] = true
	}
}

// took is a call that was answered 202.
func (m *masterProcess) took(c *schedulerpb.Call) {
	w := m.w
	switch c.GetType() {
	case schedulerpb.Call_ACKNOWLEDGE:
		for a := range acknowledgements(c) {
			if m.view.agents[id.Agent(a.GetAgentId().GetValue())] == nil {
				continue // it goes nowhere: the agent is taken for lost, and tells it again when it is back
			}
			t := w.truth.tasks[a.GetTaskId().GetValue()]
			if t == nil || t.owner != c.GetFrameworkId().GetValue() {
				continue
			}
			if u := t.update(a.GetUuid()); u != nil && u.delivered && u.ackedAt == 0 {
				u.ackedAt, u.ackEpoch, u.ackBoots = w.now, m.epoch, u.m.boots
			}
		}
	case schedulerpb.Call_KILL:
		t := w.truth.tasks[c.GetKill().GetTaskId().GetValue()]
		if t != nil && t.owner == c.GetFrameworkId().GetValue() {
			t.killed = true
			// A master that does not know the task answers as for RECONCILE.
			if m.view.runs(t) && t.killEpoch != m.epoch {
				t.killAt, t.killEpoch = w.now, m.epoch
			}
		}
	}
}

// mayRemove: a framework goes by its own deadline or a teardown.
func (m *masterProcess) mayRemove(f *state.Framework, in state.Input) {
	w := m.w
	fid := f.Info.GetId().GetValue()
	s := m.subs[fid]
	w.count["framework removed"]++
	timeout := time.Duration(f.Info.GetFailoverTimeout() * float64(time.Second))
	switch in := in.(type) {
	case state.Recovered:
		return
	case state.Call:
		if in.Call.GetType() == schedulerpb.Call_TEARDOWN && in.Call.GetFrameworkId().GetValue() == fid {
			return
		}
	case state.Operate:
		if in.Call.GetType() == masterpb.Call_TEARDOWN && in.Call.GetTeardown().GetFrameworkId().GetValue() == fid {
			return
		}
	case state.StreamClosed:
		if timeout == 0 && s != nil && s.stream == in.Stream {
			return
		}
	case state.Fired:
		if in.Timer.Kind != state.TimerFailover || in.Timer.Owner != fid {
			break
		}
		switch {
		case s != nil && s.connected:
			w.fail("frameworks are removed by their own deadline only", "%s removes %s, connected since %v", m.name, fid, s.since)
		case s != nil && w.now-s.since >= timeout:
			w.count["framework removed by its deadline"]++
			return
		case s == nil && w.now-m.began >= w.timing.reregister:
			w.count["framework removed by its deadline after an election"]++
			return
		}
	}
	w.fail("frameworks are removed by their own deadline only", "%s removes %s (timeout %v) on %T; %+v", m.name, fid, timeout, in, s)
}

func (m *masterProcess) sending(e state.ToFramework) {
	m.w.count["event: "+e.Event.GetType().String()]++
	if s := e.Event.GetUpdate().GetStatus(); s != nil {
		m.w.count["update: "+s.GetState().String()]++
	}
}

// sweep is checked now and then.
func (w *world) sweep() {
	for _, m := range w.masters {
		n, quiet := m.core.Forgotten(w.now - m.began)
		if !quiet {
			continue
		}
		w.count["check: full cycle at a quiet point"]++
		if n > 0 {
			w.fail("at a quiet point nothing is left to offer", "%s makes %d offers in a full cycle", m.name, n)
		}
	}
	m := w.leader
	if m == nil {
		return
	}
	for _, t := range w.truth.order {
		// A KILL the leader took ends a task within its grace once the agent is there.
		if !t.alive || t.killEpoch != m.epoch || t.m.proc == nil || t.m.proc.registeredWith != m.epoch || !t.m.proc.conn.sound() {
			continue
		}
		if calm := w.now - max(t.killAt, t.m.proc.registeredAt); calm > time.Minute && w.now-t.m.lastSlow() > time.Minute {
			w.fail("a KILL is not lost", "%s on %s lives %v after its KILL was taken and its agent was there", t.id, t.m.name, calm)
		}
	}
}

func (m *machine) lastSlow() time.Duration { return max(m.slow, m.lag, m.cut) }
