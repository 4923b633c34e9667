package state

import (
	"cmp"
	"fmt"
	"maps"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/reason"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/kernel/role"
	lifecycle "github.com/stoa-kernel/stoa/kernel/task"
	"github.com/stoa-kernel/stoa/master/allocator"
)

// explanation collects an answer to "why is it not running?": names, numbers, and a next
// step. What is about offers the allocator explains.
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
		m.whyOffers(e, "", r, in.Request, "")
		m.out.add(Answer{Token: in.Token, Status: 200, Body: &e.Explanation})
		return
	}
	f := m.find(in.Framework)
	if f == nil {
		m.answer(in.Token, 404, fmt.Sprintf("no framework has the id '%s'; 'stoa frameworks' lists them", in.Framework))
		return
	}
	if in.Task == "" {
		m.whyFramework(e, f, in.Role, in.Request)
	} else if !m.whyTask(e, f, in.Task) {
		m.answer(in.Token, 404, fmt.Sprintf("framework %s has no task '%s', and had none among its last %d; if it has not accepted an offer for it yet, ask about the framework", f.id, in.Task, m.cfg.MaxCompletedTasks))
		return
	}
	m.out.add(Answer{Token: in.Token, Status: 200, Body: &e.Explanation})
}

// whyOffers asks the allocator; prefix tells the facts of several roles apart.
func (m *Master) whyOffers(e *explanation, f id.Framework, r string, request resource.Resources, prefix string) {
	// "ports:2" asks for two, whichever; "ports:[8080-8081]" for these.
	ports := int(request.Sum("ports") / 1000)
	request = request.Filter(func(it *resource.Resource) bool { return it.Name() != "ports" || it.Kind() != resource.Scalar })
	x := m.alloc.Explain(allocator.Request{Now: m.now.Mono, Role: r, Framework: f, Resources: request, Ports: ports})
	e.Lines = append(e.Lines, x.Lines(m.now.Mono)...)
	if prefix == "" {
		if e.Facts == nil {
			e.Facts = map[string]string{}
		}
		maps.Copy(e.Facts, x.Facts())
		return
	}
	for name, value := range x.Facts() {
		e.fact(prefix+name, value)
	}
}

// whyFramework explains why a framework gets no offers, or not the one it needs.
func (m *Master) whyFramework(e *explanation, f *framework, only string, request resource.Resources) {
	e.fact("framework_id", f.id)
	e.fact("offers", len(f.offers))
	switch {
	case f.removed:
		e.fact("blocked", reason.Unknown)
		e.say("framework %s (%s) was removed at %s; its id cannot be used again", f.info.GetName(), f.id, f.unregistered.UTC().Format("2006-01-02 15:04:05 UTC"))
		return
	case !f.connected():
		e.fact("blocked", reason.Disconnected)
		e.say("framework %s (%s) is not connected, so it is offered nothing; its tasks run on", f.info.GetName(), f.id)
		e.say("  next: start its scheduler again before its failover_timeout of %v is over", f.failoverTimeout())
		return
	}
	if n := len(f.offers); n > 0 {
		e.say("framework %s (%s) has %d offers in hand that it has not answered", f.info.GetName(), f.id, n)
	}
	for _, r := range f.roles {
		if only != "" && only != r {
			continue
		}
		prefix := ""
		if len(f.roles) > 1 {
			prefix = "role." + r + "."
		}
		m.whyOffers(e, f.id, r, request, prefix)
	}
}

// whyTask explains a task that was launched once; false if there is none.
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
	e.fact("framework_id", f.id)
	e.fact("state", t.state)
	e.fact("agent_id", t.agentID.GetValue())
	a := t.agent
	switch {
	case t.unreachable:
		e.fact("blocked", reason.AgentInactive)
		e.say("task %s is on agent %s, which is unreachable: it did not answer for %v", t.id, t.agentID.GetValue(), m.cfg.AgentPingInterval*time.Duration(m.cfg.MaxAgentPingTimeouts))
		e.say("  next: look at the agent's machine; the task may still run, and is back when the agent is")
	case t.completed || lifecycle.Terminal(t.state):
		e.fact("blocked", reason.None)
		e.say("task %s is over: %s", t.id, lifecycle.Word(t.state))
		if s := t.last(); s != nil {
			if s.Reason != nil {
				e.fact("status_reason", s.GetReason())
			}
			if s.GetMessage() != "" {
				e.say("  its last status says: %s", s.GetMessage())
			}
		}
	case a.link == 0:
		e.fact("blocked", reason.AgentInactive)
		e.say("task %s is %s on agent %s (%s), which is not connected", t.id, lifecycle.Word(t.state), a.info.GetHostname(), a.id)
		if t.seen {
			e.say("  next: nothing needs to be done to the task; it runs on without the link")
		} else {
			e.say("  next: wait for the agent; the task is sent to it when it is back")
		}
	case t.state != mesos.TaskState_TASK_STAGING:
		e.fact("blocked", reason.None)
		e.say("task %s is %s on agent %s (%s)", t.id, lifecycle.Word(t.state), a.info.GetHostname(), a.id)
	case t.executor != "":
		e.fact("blocked", reason.NoExecutor)
		e.fact("executor_id", t.executor)
		e.say("task %s was sent to agent %s (%s) and waits for its executor %s to register", t.id, a.info.GetHostname(), a.id, t.executor)
		e.say("  next: look at what the executor says: stoa logs %s", t.id)
	default:
		e.fact("blocked", reason.None)
		e.say("task %s was sent to agent %s (%s), which prepares it: fetching, then starting", t.id, a.info.GetHostname(), a.id)
		e.say("  next: look at what it says: stoa logs %s", t.id)
	}
	return true
}
