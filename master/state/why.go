package state

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/kernel/role"
	lifecycle "github.com/stoa-kernel/stoa/kernel/task"
)

// nearest is how many agents an explanation names.
const nearest = 3

// explanation collects an answer to "why is it not running?": names, numbers, and a next
// step.
type explanation struct{ Explanation }

func (e *explanation) say(format string, args ...any) {
	e.Lines = append(e.Lines, fmt.Sprintf(format, args...))
}

func (e *explanation) fact(name string, value any) {
	if e.Facts == nil {
		e.Facts = map[string]string{}
	}
	e.Facts[name] = fmt.Sprint(value)
}

// why explains a task, a framework, or what would have to fit. It changes nothing.
func (m *Master) why(in Why) {
	e := &explanation{}
	if in.Framework == "" {
		r := cmp.Or(in.Role, role.Default)
		if err := role.Validate(r); err != nil {
			m.answer(in.Token, 400, err.Error())
			return
		}
		m.whyQuota(e, r, in.Request)
		m.whyAgents(e, r, in.Request)
		m.out.add(Answer{Token: in.Token, Status: 200, Body: &e.Explanation})
		return
	}
	f := m.find(in.Framework)
	if f == nil {
		m.answer(in.Token, 404, fmt.Sprintf("no framework has the id '%s'; 'stoa frameworks' lists them", in.Framework))
		return
	}
	if in.Task != "" {
		if !m.whyTask(e, f, in.Task) {
			m.answer(in.Token, 404, fmt.Sprintf("framework %s has no task '%s', and had none among its last %d; if it has not accepted an offer for it yet, ask why the framework gets none: 'stoa why --framework %s'", f.id, in.Task, m.cfg.MaxCompletedTasks, f.id))
			return
		}
	} else {
		m.whyFramework(e, f, in.Request)
	}
	m.out.add(Answer{Token: in.Token, Status: 200, Body: &e.Explanation})
}

func (m *Master) whyTask(e *explanation, f *framework, tid id.Task) bool {
	t := f.tasks[tid]
	if t == nil {
		t = f.unreachable[tid]
	}
	if t == nil {
		t = f.completedByID[tid]
	}
	if t == nil {
		return false
	}
	e.fact("state", t.state)
	e.fact("agent", t.agentID.GetValue())
	switch a := t.agent; {
	case t.unreachable:
		e.fact("reason", "agent-unreachable")
		e.say("Task %s is on agent %s, which is unreachable: it did not answer for %v.", t.id, t.agentID.GetValue(), m.cfg.AgentPingInterval*time.Duration(m.cfg.MaxAgentPingTimeouts))
		e.say("The task may still run. Look at the agent's machine; the task is back when the agent is.")
	case t.completed || a == nil || lifecycle.Terminal(t.state):
		e.fact("reason", "ended")
		e.say("Task %s is over: %s.", t.id, lifecycle.Word(t.state))
		if s := t.last(); s != nil {
			if s.Reason != nil {
				e.fact("status.reason", s.GetReason())
			}
			if s.GetMessage() != "" {
				e.say("Its last status says: %s", s.GetMessage())
			}
		}
	case a.link == 0:
		e.fact("reason", "agent-away")
		e.say("Task %s is %s on agent %s (%s), which is not connected.", t.id, lifecycle.Word(t.state), a.id, a.info.GetHostname())
		if !t.seen {
			e.say("It is sent to the agent when that returns; if it does not, the task becomes unreachable.")
		}
	case t.state != mesos.TaskState_TASK_STAGING:
		e.fact("reason", "none")
		e.say("Task %s is %s on agent %s (%s).", t.id, lifecycle.Word(t.state), a.id, a.info.GetHostname())
	case t.executor != "":
		e.fact("reason", "waiting-for-executor")
		e.fact("executor", t.executor)
		e.say("Task %s was sent to agent %s (%s) and waits for its executor %s to start and to register.", t.id, a.id, a.info.GetHostname(), t.executor)
		e.say("Look at the executor's stderr: 'stoa logs %s --stderr'.", t.id)
	default:
		e.fact("reason", "launching")
		e.say("Task %s was sent to agent %s (%s), which prepares it: fetching, then starting.", t.id, a.id, a.info.GetHostname())
	}
	return true
}

// whyFramework explains why a framework gets no offers, or not the one it needs.
func (m *Master) whyFramework(e *explanation, f *framework, request resource.Resources) {
	e.fact("framework", f.id)
	switch {
	case f.removed:
		e.fact("reason", "removed")
		e.say("Framework %s (%s) was removed at %s; its id cannot be used again.", f.info.GetName(), f.id, f.unregistered.UTC().Format("2006-01-02 15:04:05 UTC"))
		return
	case !f.connected():
		e.fact("reason", "disconnected")
		e.say("Framework %s (%s) is not connected, so it is offered nothing.", f.info.GetName(), f.id)
		e.say("Its tasks run on. Start its scheduler again before its failover_timeout of %v is over.", f.failoverTimeout())
		return
	}
	if len(f.suppressed) > 0 {
		e.fact("reason", "suppressed")
		e.fact("suppressed", strings.Join(f.suppressed, ","))
		e.say("Framework %s (%s) suppressed offers for %s: it said it needs none.", f.info.GetName(), f.id, roleNames(f.suppressed))
		e.say("It is offered resources again when its scheduler sends REVIVE.")
		if len(f.suppressed) == len(f.roles) {
			return
		}
	}
	if n := m.alloc.Filters(f.id); n > 0 {
		e.fact("filters", n)
		e.say("Framework %s (%s) declined the resources of %s and is not offered them again until its filters end (refuse_seconds) or it sends REVIVE.", f.info.GetName(), f.id, count(n, "agent"))
	}
	if n := len(f.offers); n > 0 {
		e.fact("offers", n)
		e.say("It has %s in hand that it has not answered.", count(n, "offer"))
	}
	for _, r := range f.roles {
		if !slices.Contains(f.suppressed, r) {
			m.whyQuota(e, r, request)
			m.whyAgents(e, r, request)
		}
	}
}

// whyQuota tells what a limit leaves to a role.
func (m *Master) whyQuota(e *explanation, r string, request resource.Resources) {
	for _, name := range append([]string{r}, role.Ancestors(r)...) {
		q, ok := m.quotas[name]
		if !ok || q.limit == nil {
			continue
		}
		used := m.consumedQuota(name, true)
		for _, l := range q.limit {
			have, _ := used.Get(l.Name)
			left := max(l.Value-have, 0)
			want := request.Sum(l.Name)
			if left < want || (request.Empty() && left == 0) {
				e.fact("reason", "quota")
				e.fact("quota."+name+"."+l.Name, fmt.Sprintf("%v of %v", have, l.Value))
				e.say("Role %s has %v of its quota limit of %v %s in use or on offer; %v is left.", name, have, l.Value, l.Name, left)
				e.say("Raise the limit with UPDATE_QUOTA, or free some of what the role has.")
			}
		}
	}
}

// candidate is an agent and what it lacks for a request.
type candidate struct {
	agent   *agent
	lacks   []string // "cpus 1.5 of 4"
	missing float64  // how much of the request, relative, to order by
	held    bool     // would fit without other frameworks' offers
	could   bool     // would fit if it were empty
}

// whyAgents compares a request with what is free on every agent, and names the nearest.
func (m *Master) whyAgents(e *explanation, r string, request resource.Resources) {
	var all []candidate
	fit, held, could, away := 0, 0, 0, 0
	for _, a := range m.sortedAgents() {
		if a.link == 0 {
			away++
			continue
		}
		c := m.compare(a, r, request)
		all = append(all, c)
		switch {
		case len(c.lacks) == 0:
			fit++
		case c.held:
			held++
		case c.could:
			could++
		}
	}
	e.fact("agents", len(all))
	e.fact("agents.away", away)
	if len(all) == 0 {
		e.fact("reason", "no-agents")
		e.say("No agent is connected%s.", awayNote(away))
		e.say("Start one: 'stoa agent --master <host>:<port>'.")
		return
	}
	if request.Empty() {
		e.say("%s %s connected%s.", count(len(all), "agent"), be(len(all)), awayNote(away))
		return
	}
	e.fact("agents.fit", fit)
	e.fact("agents.held", held)
	e.fact("agents.could", could)
	want := request.Unallocate()
	if fit > 0 {
		e.say("%v fits on %d of %s now, for role %s.", want, fit, count(len(all), "agent"), r)
		return
	}
	if e.Facts["reason"] == "" {
		e.fact("reason", "no-room")
	}
	e.say("No agent has %v free for role %s.", want, r)
	if held > 0 {
		e.say("%d would, without what is offered to frameworks at the moment.", held)
	}
	slices.SortStableFunc(all, func(x, y candidate) int { return cmp.Compare(x.missing, y.missing) })
	for i, c := range all[:min(nearest, len(all))] {
		lacks := strings.Join(c.lacks, ", ")
		e.fact("nearest."+strconv.Itoa(i+1), fmt.Sprintf("%s %s lacks %s", c.agent.id, c.agent.info.GetHostname(), lacks))
		e.say("  %s (%s) lacks %s", c.agent.info.GetHostname(), c.agent.id, lacks)
	}
	switch {
	case could > 0:
		e.say("%s large enough when empty: free some, or wait.", count(could, "agent")+" "+be(could))
	case held == 0:
		e.say("None is large enough even when empty: ask for less, or add a larger machine.")
	}
}

// compare is what an agent lacks for a request of a role. Reservations for the role count
// as free for it.
func (m *Master) compare(a *agent, r string, request resource.Resources) candidate {
	c := candidate{agent: a}
	total := a.total.AllocatableTo(r)
	unheld := total.Sub(a.allocated.Unallocate())
	free := unheld.Sub(a.offered.Unallocate())
	seen := map[string]bool{}
	for x := range request.All() {
		if seen[x.Name()] {
			continue
		}
		seen[x.Name()] = true
		want, have := amount(request, x), amount(free, x)
		if have < want {
			c.lacks = append(c.lacks, fmt.Sprintf("%s %v of %v", x.Name(), want-have, want))
			c.missing += float64(want-have) / float64(want)
		}
	}
	enough := func(bag resource.Resources) bool {
		for x := range request.All() {
			if amount(bag, x) < amount(request, x) {
				return false
			}
		}
		return true
	}
	c.held, c.could = enough(unheld), enough(total)
	return c
}

// amount is a scalar, or how many of the numbers or items that x names a bag has; for a
// bag the request itself came from, all of them.
func amount(bag resource.Resources, x *resource.Resource) resource.Milli {
	switch x.Kind() {
	case resource.Ranges:
		var n uint64
		for _, want := range x.Ranges() {
			for _, have := range bag.RangesOf(x.Name()) {
				lo, hi := max(want.Begin, have.Begin), min(want.End, have.End)
				if lo <= hi {
					n += hi - lo + 1
				}
			}
		}
		return resource.Milli(n) * 1000
	case resource.Set:
		n := 0
		for y := range bag.All() {
			for _, item := range y.Items() {
				if y.Name() == x.Name() && slices.Contains(x.Items(), item) {
					n++
				}
			}
		}
		return resource.Milli(n) * 1000
	}
	return bag.Sum(x.Name())
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

func be(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

func awayNote(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" (%s known, but not connected)", count(n, "more agent"))
}

func roleNames(roles []string) string {
	if len(roles) == 1 {
		return "role " + roles[0]
	}
	return "the roles " + strings.Join(roles, ", ")
}
