package state

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/internal/planted"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
	lifecycle "github.com/stoa-kernel/stoa/kernel/task"
	"google.golang.org/protobuf/proto"
)

// report is what Register says, read and checked: nothing is changed before all of it is
// known to make sense.
type report struct {
	total      resource.Resources
	frameworks []*mesos.FrameworkInfo
	executors  []reportedExecutor
	tasks      []reportedTask
	operations []*mesos.Operation
}

type reportedExecutor struct {
	info      *mesos.ExecutorInfo
	resources resource.Resources
}

type reportedTask struct {
	task      *mesos.Task
	info      *mesos.TaskInfo
	resources resource.Resources
}

// readReport checks a Register. An agent refused here exits with the message and leaves
// its tasks running.
func (m *Master) readReport(r *stoapb.Register) (*report, error) {
	if p := r.GetProtocol(); p != LinkProtocol {
		return nil, fmt.Errorf("the agent speaks version %d of the agent link, this master version %d; upgrade the older of the two", p, LinkProtocol)
	}
	if r.GetInfo().GetHostname() == "" {
		return nil, errors.New("the registration names no hostname")
	}
	if aid := r.GetInfo().GetId().GetValue(); aid != "" {
		if err := id.Validate(aid); err != nil {
			return nil, fmt.Errorf("the agent's id is invalid: %w", err)
		}
	}
	total, err := resource.Of(r.GetResources()...)
	if err != nil {
		return nil, fmt.Errorf("the agent's resources are invalid: %w", err)
	}
	out := &report{total: total.Unallocate(), operations: r.GetOperations()}
	known := map[string]bool{}
	for _, f := range r.GetFrameworks() {
		fid := f.GetId().GetValue()
		if err := id.Validate(fid); err != nil {
			return nil, fmt.Errorf("reported framework '%s' is invalid: %w", fid, err)
		}
		known[fid] = true
		out.frameworks = append(out.frameworks, f)
	}
	for _, e := range r.GetExecutors() {
		resources, err := resource.Of(e.Resources...)
		if err == nil && !known[e.GetFrameworkId().GetValue()] {
			err = errors.New("its framework is not reported")
		}
		if err != nil {
			return nil, fmt.Errorf("reported executor '%s' is invalid: %w", e.GetExecutorId().GetValue(), err)
		}
		out.executors = append(out.executors, reportedExecutor{e, resources})
	}
	for _, t := range r.GetTasks() {
		read, err := readTask(t)
		if err == nil && !known[t.GetTask().GetFrameworkId().GetValue()] {
			err = errors.New("its framework is not reported")
		}
		if err != nil {
			return nil, fmt.Errorf("reported task '%s' is invalid: %w", t.GetTask().GetTaskId().GetValue(), err)
		}
		out.tasks = append(out.tasks, read)
	}
	return out, nil
}

func readTask(t *stoapb.TaskReport) (reportedTask, error) {
	p, info := t.GetTask(), t.GetInfo()
	if p == nil {
		return reportedTask{}, errors.New("it has no description")
	}
	if err := id.Validate(p.GetTaskId().GetValue()); err != nil {
		return reportedTask{}, err
	}
	if info == nil {
		info = &mesos.TaskInfo{
			Name: p.Name, TaskId: p.TaskId, AgentId: p.AgentId, Resources: p.Resources,
			Container: p.Container, HealthCheck: p.HealthCheck, KillPolicy: p.KillPolicy,
			Labels: p.Labels, Discovery: p.Discovery, Limits: p.Limits,
		}
	}
	resources, err := resource.Of(info.Resources...)
	return reportedTask{p, info, resources}, err
}

// takeReport brings the master's books and the agent's together. joins says that the
// allocator does not know the agent yet; announce, that frameworks were told the agent's
// tasks are unreachable; sameBoot, that what was sent to the agent before may still run.
func (m *Master) takeReport(a *agent, r *report, joins, announce, sameBoot bool) {
	used := map[id.Framework]resource.Resources{}
	for _, info := range r.frameworks {
		if f := m.find(id.Framework(info.GetId().GetValue())); f == nil {
			m.recoverFromReport(info)
		} else if f.removed {
			m.dying[f.id] = f
			m.shutdownFramework(a, f.protoID)
		}
	}
	reported := map[taskKey]bool{}
	for _, t := range r.tasks {
		m.takeTask(a, t, used, reported, announce)
	}
	m.missingTasks(a, reported, sameBoot)
	if announce {
		m.lostUnreachable(a)
	}
	m.takeExecutors(a, r.executors, used, reported)
	m.takeOperations(a, r.operations)
	for _, f := range r.frameworks {
		if fw := m.find(id.Framework(f.GetId().GetValue())); fw != nil {
			m.settle(fw)
			if !fw.removed && !proto.Equal(fw.info, f) {
				m.toAgent(a, &stoapb.ToAgent{Body: &stoapb.ToAgent_UpdateFramework{UpdateFramework: &stoapb.UpdateFramework{
					Epoch: &m.epoch, Framework: fw.info,
				}}})
			}
		}
	}

	total := m.withPending(a, r.total)
	changed := !a.total.Equal(total)
	a.total = total
	if joins {
		m.alloc.AddAgent(a.forAllocator(), used)
		return
	}
	if len(used) > 0 {
		// What the agent has beyond the books may be what is being offered.
		m.rescindAgent(a, nil)
	}
	ids := make([]id.Framework, 0, len(used))
	for fid := range used {
		ids = append(ids, fid)
	}
	slices.Sort(ids)
	for _, fid := range ids {
		m.alloc.Charge(fid, a.id, used[fid])
	}
	if changed {
		m.rescindAgent(a, nil)
	}
	m.alloc.UpdateAgent(a.forAllocator())
	m.alloc.ActivateAgent(a.id)
}

// recoverFromReport takes a framework over that only the agent knows.
func (m *Master) recoverFromReport(info *mesos.FrameworkInfo) {
	f := newFramework(info)
	f.recovered = true
	m.addFramework(f)
	m.alloc.DeactivateFramework(f.id)
	left := max(m.cfg.AgentReregisterTimeout, f.failoverTimeout())
	m.persistFramework(f, left)
	m.armFailover(f, left)
	m.publish(FrameworkAdded{f.snapshot()})
}

// takeTask takes one reported task over: known, new to this master, or back from the
// unreachable.
func (m *Master) takeTask(a *agent, r reportedTask, used map[id.Framework]resource.Resources, reported map[taskKey]bool, announce bool) {
	f := m.find(id.Framework(r.task.GetFrameworkId().GetValue()))
	tid := id.Task(r.task.GetTaskId().GetValue())
	key := taskKey{f.id, tid}
	reported[key] = true
	if t := a.tasks[key]; t != nil {
		before := t.state
		m.advance(t, r.task.GetState())
		if f.removed && lifecycle.Terminal(t.state) {
			m.forget(a, f, r)
			m.complete(t, nil)
			return
		}
		if t.state != before {
			m.publish(TaskUpdated{t.snapshot(), nil})
		}
		if t.killed && !lifecycle.Terminal(t.state) && !planted.Bug("KILL lost while the agent is away") {
			m.killTask(t)
		}
		return
	}
	// An acknowledged update that was not the last has others behind it.
	acked := f.ackedBefore(tid, r.task.GetStatusUpdateUuid())
	if (acked && lifecycle.Terminal(r.task.GetStatusUpdateState())) || (f.removed && lifecycle.Terminal(r.task.GetState())) {
		m.forget(a, f, r)
		return
	}
	if f.tasks[tid] != nil {
		return // the same id on another agent: that one was here first
	}
	t := &task{
		id: tid, fw: f, agent: a, agentID: a.protoID, info: r.info,
		executor: id.Executor(r.info.GetExecutor().GetExecutorId().GetValue()),
		user:     r.task.GetUser(), resources: r.resources,
		state: f.told(r.task.GetState()), sent: true, seen: true,
	}
	if t.user == "" {
		t.user = taskUser(f.info, r.info)
	}
	if len(r.task.StatusUpdateUuid) == 16 {
		t.statusState, t.statusUUID = f.told(r.task.GetStatusUpdateState()), r.task.StatusUpdateUuid
	}
	for _, s := range r.task.Statuses {
		t.record(s)
	}
	if back := f.unreachable[tid]; back != nil {
		delete(f.unreachable, tid)
		f.unreachableOrder = slices.DeleteFunc(f.unreachableOrder, func(x *task) bool { return x == back })
		t.kill, t.killed = back.kill, back.killed
		// Acknowledged while the agent was away: the framework is not to see it again.
		acked = back.acked && bytes.Equal(back.statusUUID, t.statusUUID)
	}
	t.acked = acked
	m.addTask(t)
	if lifecycle.Terminal(t.state) {
		t.released = true
	} else {
		m.charge(f, a, t.resources)
		used[f.id] = used[f.id].Add(t.resources)
	}
	m.publish(TaskAdded{t.snapshot()})
	if announce {
		s := m.status(f, t.info.TaskId, a.protoID, t.state, mesos.TaskStatus_REASON_AGENT_REREGISTERED, "Unreachable agent re-registered")
		t.decorate(s)
		m.send(f, s)
	}
	if t.killed && !lifecycle.Terminal(t.state) {
		m.killTask(t)
	}
}

// forget acknowledges the update in flight of a task nobody else will acknowledge.
func (m *Master) forget(a *agent, f *framework, r reportedTask) {
	if uuid := r.task.GetStatusUpdateUuid(); len(uuid) == 16 {
		m.ackTask(a, f.protoID, r.task.TaskId, uuid)
	}
}

// missingTasks settles the tasks the master has on an agent that does not report them
// (docs/adr/0001).
func (m *Master) missingTasks(a *agent, reported map[taskKey]bool, sameBoot bool) {
	for _, t := range a.sortedTasks() {
		if reported[t.key()] {
			continue
		}
		switch {
		case t.seen && lifecycle.Terminal(t.state):
			// It ended and the agent has nothing more to say. If the framework was not
			// told how it ended, it is now.
			if t.statusUUID != nil && t.statusState == t.state {
				m.complete(t, nil)
			} else {
				m.end(t, m.status(t.fw, t.info.TaskId, t.agentID, t.state, mesos.TaskStatus_REASON_RECONCILIATION, "Reconciliation: Latest task state"))
			}
		case t.fw.removed:
			m.end(t, m.removedStatus(t))
		case !t.seen && t.killed:
			m.killedBeforeDelivery(t)
		case !t.seen && (sameBoot || !t.sent):
			m.runTask(t)
		case !t.seen:
			m.end(t, m.status(t.fw, t.info.TaskId, t.agentID, mesos.TaskState_TASK_DROPPED,
				mesos.TaskStatus_REASON_AGENT_RESTARTED, "The agent's machine restarted before the task was known to have reached it"))
		default:
			m.end(t, m.status(t.fw, t.info.TaskId, t.agentID, mesos.TaskState_TASK_GONE,
				mesos.TaskStatus_REASON_RECONCILIATION, "Reconciliation: Task is unknown to the agent"))
		}
	}
}

// lostUnreachable settles tasks that were unreachable with the agent, and did not come
// back with it.
func (m *Master) lostUnreachable(a *agent) {
	for _, f := range m.sortedFrameworks() {
		var lost []*task
		for _, t := range f.unreachableOrder {
			if t.agentID.GetValue() == string(a.id) {
				lost = append(lost, t)
			}
		}
		if lost == nil {
			continue
		}
		f.unreachableOrder = slices.DeleteFunc(f.unreachableOrder, func(t *task) bool { return slices.Contains(lost, t) })
		for _, t := range lost {
			delete(f.unreachable, t.id)
			s := m.status(f, t.info.TaskId, t.agentID, mesos.TaskState_TASK_GONE,
				mesos.TaskStatus_REASON_RECONCILIATION, "Reconciliation: Task is unknown to the agent")
			if t.state != s.GetState() { // others read TASK_LOST already
				m.send(f, s)
			}
			t.state = s.GetState()
			t.record(s)
			m.complete(t, s)
		}
	}
}

// takeExecutors makes the agent's list of executors the master's, but for those of tasks
// that are on their way to it.
func (m *Master) takeExecutors(a *agent, list []reportedExecutor, used map[id.Framework]resource.Resources, reported map[taskKey]bool) {
	here := map[executorKey]bool{}
	for _, r := range list {
		f := m.find(id.Framework(r.info.GetFrameworkId().GetValue()))
		e := &executor{id: id.Executor(r.info.GetExecutorId().GetValue()), fw: f, agent: a, info: r.info, resources: r.resources}
		here[e.key()] = true
		if a.executors[e.key()] == nil {
			m.addExecutor(e)
			used[f.id] = used[f.id].Add(e.resources)
		}
	}
	for _, t := range a.tasks {
		if t.executor != "" && !reported[t.key()] {
			here[executorKey{t.fw.id, t.executor}] = true
		}
	}
	for _, e := range a.sortedExecutors() {
		if !here[e.key()] {
			m.removeExecutor(e)
		}
	}
}

// takeOperations takes over what the agent knows of operations, and applies those again
// that did not reach it.
func (m *Master) takeOperations(a *agent, list []*mesos.Operation) {
	here := map[id.UUID]bool{}
	for _, r := range list {
		if len(r.GetUuid().GetValue()) != len(id.UUID{}) || r.GetInfo() == nil || r.GetLatestStatus() == nil {
			continue
		}
		uuid := id.UUID(r.Uuid.Value)
		here[uuid] = true
		if known := m.operations[uuid]; known != nil {
			// The total it reports has what the operation did, or did not do: it is not
			// to be laid over it again. The framework is told by the agent's update.
			if known.agent == a && known.pending() {
				known.status = r.LatestStatus
			}
			continue
		}
		o := &operation{
			uuid: uuid, agent: a, info: r.Info, status: r.LatestStatus,
			fw: m.find(id.Framework(r.GetFrameworkId().GetValue())),
		}
		if oid := o.feedback(); o.fw != nil && oid != "" && o.fw.operations[oid] != nil {
			continue // the same id again: the one this master made stays
		}
		m.addOperation(o)
	}
	for _, o := range slices.Clone(a.operations) {
		if !here[o.uuid] && o.pending() {
			m.applyOperation(o)
		}
	}
}
