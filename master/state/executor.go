package state

import (
	"cmp"
	"slices"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
	lifecycle "github.com/stoa-kernel/stoa/kernel/task"
	"google.golang.org/protobuf/proto"
)

// executor is a custom executor; its resources are charged once while it lives, however
// many tasks it has. Command tasks have none that the master knows.
type executor struct {
	id        id.Executor
	fw        *framework
	agent     *agent
	info      *mesos.ExecutorInfo
	resources resource.Resources
	// doubt: it exited while tasks were on their way to it. The agent starts it again
	// for them, or they died with it; until one of them tells, it stays charged.
	doubt bool
}

// executorKey names an executor on an agent, executorAt one of a framework.
type (
	executorKey struct {
		fw id.Framework
		id id.Executor
	}
	executorAt struct {
		agent id.Agent
		id    id.Executor
	}
)

func (k executorKey) compare(o executorKey) int {
	return cmp.Or(cmp.Compare(k.fw, o.fw), cmp.Compare(k.id, o.id))
}

func (e *executor) key() executorKey { return executorKey{e.fw.id, e.id} }

// same compares ExecutorInfos; the order of resources does not matter.
func (e *executor) same(o *executor) bool {
	if proto.Equal(e.info, o.info) {
		return true
	}
	if !e.resources.Equal(o.resources) {
		return false
	}
	x, y := copyExecutor(e.info), copyExecutor(o.info)
	x.Resources, y.Resources = nil, nil
	return proto.Equal(x, y)
}

// addExecutor makes an executor known and accounts its resources; the allocator's books
// are the caller's.
func (m *Master) addExecutor(e *executor) {
	e.agent.executors[e.key()] = e
	e.fw.executors[executorAt{e.agent.id, e.id}] = e
	m.charge(e.fw, e.agent, e.resources)
}

func (m *Master) removeExecutor(e *executor) {
	delete(e.agent.executors, e.key())
	delete(e.fw.executors, executorAt{e.agent.id, e.id})
	m.uncharge(e.fw, e.agent, e.resources)
	m.settle(e.fw)
}

// executorsOf lists a framework's executors on the agent, for its offers.
func (a *agent) executorsOf(f id.Framework) []*mesos.ExecutorID {
	if len(a.executors) == 0 {
		return nil
	}
	var ids []*mesos.ExecutorID
	for _, e := range a.sortedExecutors() {
		if e.fw.id == f {
			ids = append(ids, e.info.ExecutorId)
		}
	}
	return ids
}

func (a *agent) sortedExecutors() []*executor {
	all := make([]*executor, 0, len(a.executors))
	for _, e := range a.executors {
		all = append(all, e)
	}
	slices.SortFunc(all, func(x, y *executor) int { return x.key().compare(y.key()) })
	return all
}

// executorExited frees an executor's resources and tells the framework; the status is the
// raw wait status. An exit that happens while the framework is away is not told again.
func (m *Master) executorExited(a *agent, x *stoapb.ExecutorExited) {
	f := m.find(id.Framework(x.GetFrameworkId().GetValue()))
	if f == nil {
		return
	}
	if e := a.executors[executorKey{f.id, id.Executor(x.GetExecutorId().GetValue())}]; e != nil {
		e.doubt = a.expects(e, func(t *task) bool { return !t.seen })
		if !e.doubt {
			m.removeExecutor(e)
		}
	}
	m.failure(f, a.protoID, x.ExecutorId, x.Status)
}

// expects reports whether a task of the executor that is not over satisfies is.
func (a *agent) expects(e *executor, is func(*task) bool) bool {
	for _, t := range a.tasks {
		if t.executor == e.id && t.fw == e.fw && !lifecycle.Terminal(t.state) && is(t) {
			return true
		}
	}
	return false
}

// resolveDoubt is called when a task's state is known anew.
func (m *Master) resolveDoubt(t *task) {
	if t.executor == "" {
		return
	}
	e := t.agent.executors[executorKey{t.fw.id, t.executor}]
	switch {
	case e == nil || !e.doubt:
	case !lifecycle.Terminal(t.state):
		e.doubt = false
	case !t.agent.expects(e, func(*task) bool { return true }):
		m.removeExecutor(e)
	}
}

// executorMessage forwards MESSAGE to the scheduler, best effort.
func (m *Master) executorMessage(a *agent, x *stoapb.ExecutorMessage) {
	if f := m.frameworks[id.Framework(x.GetFrameworkId().GetValue())]; f != nil {
		m.emit(f, &schedulerpb.Event{
			Type: schedulerpb.Event_MESSAGE.Enum(),
			Message: &schedulerpb.Event_Message{
				AgentId: a.protoID, ExecutorId: x.ExecutorId, Data: x.Data,
			},
		})
	}
}

// message is MESSAGE to an executor, best effort.
func (m *Master) message(f *framework, call *schedulerpb.Call_Message) {
	if a := m.agents[id.Agent(call.GetAgentId().GetValue())]; a != nil {
		m.toAgent(a, &stoapb.ToAgent{Body: &stoapb.ToAgent_FrameworkMessage{FrameworkMessage: &stoapb.FrameworkMessage{
			Epoch: &m.epoch, FrameworkId: f.protoID, ExecutorId: call.GetExecutorId(), Data: call.GetData(),
		}}})
	}
}

// shutdownExecutor is SHUTDOWN; like Mesos's, it is lost if the agent is away.
func (m *Master) shutdownExecutor(f *framework, call *schedulerpb.Call_Shutdown) {
	if a := m.agents[id.Agent(call.GetAgentId().GetValue())]; a != nil {
		m.toAgent(a, &stoapb.ToAgent{Body: &stoapb.ToAgent_ShutdownExecutor{ShutdownExecutor: &stoapb.ShutdownExecutor{
			Epoch: &m.epoch, FrameworkId: f.protoID, ExecutorId: call.GetExecutorId(),
		}}})
	}
}
