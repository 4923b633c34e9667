package state

import (
	"fmt"
	"slices"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/master/allocator"
	"github.com/stoa-kernel/stoa/master/validate"
)

// acceptance is one ACCEPT being worked off.
type acceptance struct {
	fw    *framework
	agent *agent
	role  string
	// offered is the sum of the offers, remaining what no operation has used yet, in
	// the form operations gave it. shared are the shared volumes: using one does not
	// use it up.
	offered, remaining, shared resource.Resources
}

// accept is ACCEPT (Mesos 1.11, docs/scheduler-http-api.md): the operations run in order on the sum of the offers,
// each invalid one is dropped alone, and the rest goes back.
func (m *Master) accept(f *framework, call *schedulerpb.Call_Accept) {
	offers, err := m.acceptable(f, call.GetOfferIds())
	if err != nil {
		m.acceptInvalid(f, call, err)
		return
	}
	acc := &acceptance{fw: f, agent: offers[0].agent, role: offers[0].role}
	for _, o := range offers {
		acc.offered = acc.offered.Add(o.resources)
		m.takeOffer(o, "accepted")
	}
	acc.remaining = acc.offered
	acc.shared = acc.offered.SharedOnly()
	for _, op := range call.GetOperations() {
		m.perform(acc, op)
	}
	// What operations made of the offer goes back without a filter: the framework
	// wants it back soon. The rest was not wanted.
	converted := acc.remaining.Sub(acc.offered)
	if !converted.Empty() {
		m.alloc.Recover(m.now.Mono, f.id, acc.agent.id, converted, nil)
	}
	if rest := acc.remaining.Sub(converted); !rest.Empty() {
		var refusal *allocator.Refusal
		if d := refuseFor(call.GetFilters()); d > 0 {
			refusal = &allocator.Refusal{For: max(d, leastRefusal)}
		}
		m.alloc.Recover(m.now.Mono, f.id, acc.agent.id, rest, refusal)
	}
}

// acceptable returns the offers of the ids, or why they cannot be accepted together.
func (m *Master) acceptable(f *framework, ids []*mesos.OfferID) ([]*offer, error) {
	if len(ids) == 0 {
		return nil, fmt.Errorf("No offers specified")
	}
	offers := make([]*offer, 0, len(ids))
	for _, p := range ids {
		o := m.offers[id.Offer(p.GetValue())]
		switch {
		case o == nil || o.fw != f:
			return nil, fmt.Errorf("Offer %s is no longer valid", p.GetValue())
		case slices.Contains(offers, o):
			return nil, fmt.Errorf("offer %s is listed twice", o.id)
		}
		offers = append(offers, o)
	}
	for _, o := range offers[1:] {
		switch {
		case o.role != offers[0].role:
			return nil, fmt.Errorf("offers accepted together must be for one role: %s is for '%s', %s for '%s'", offers[0].id, offers[0].role, o.id, o.role)
		case o.agent != offers[0].agent:
			return nil, fmt.Errorf("offers accepted together must be of one agent: %s is of %s, %s of %s", offers[0].id, offers[0].agent.id, o.id, o.agent.id)
		}
	}
	return offers, nil
}

// acceptInvalid discards every offer of the call that is this framework's and reports
// every task and operation as not done.
func (m *Master) acceptInvalid(f *framework, call *schedulerpb.Call_Accept, why error) {
	for _, p := range call.GetOfferIds() {
		if o := m.offers[id.Offer(p.GetValue())]; o != nil && o.fw == f {
			m.discard(o, "declined", nil)
		}
	}
	for _, op := range call.GetOperations() {
		tasks := op.GetLaunch().GetTaskInfos()
		switch op.GetType() {
		case mesos.Offer_Operation_LAUNCH_GROUP:
			tasks = op.GetLaunchGroup().GetTaskGroup().GetTasks()
		case mesos.Offer_Operation_LAUNCH:
		default:
			m.dropOperation(f, op, "Operation attempted with invalid offers: "+why.Error())
			continue
		}
		for _, t := range tasks {
			m.send(f, m.status(f, t.GetTaskId(), t.GetAgentId(), mesos.TaskState_TASK_DROPPED,
				mesos.TaskStatus_REASON_INVALID_OFFERS, "Task launched with invalid offers: "+why.Error()))
		}
	}
}

// perform does one operation of an ACCEPT.
func (m *Master) perform(acc *acceptance, op *mesos.Offer_Operation) {
	bodyErr := validate.OperationBody(op)
	switch op.GetType() {
	case mesos.Offer_Operation_UNKNOWN:
	case mesos.Offer_Operation_LAUNCH:
		for _, t := range op.GetLaunch().GetTaskInfos() {
			err := bodyErr
			if op.Id != nil {
				err = fmt.Errorf("The `id` field cannot be set on LAUNCH operations")
			}
			if err == nil {
				err = m.launch(acc, t)
			}
			if err != nil {
				m.taskError(acc.fw, t, mesos.TaskStatus_REASON_TASK_INVALID, err)
			}
		}
	case mesos.Offer_Operation_LAUNCH_GROUP:
		err := bodyErr
		if op.Id != nil {
			err = fmt.Errorf("The `id` field cannot be set on LAUNCH_GROUP operations")
		}
		if err == nil {
			err = validate.Group(op.LaunchGroup)
		}
		if err == nil {
			err = validate.OperationUnsupported(op)
		}
		for _, t := range op.GetLaunchGroup().GetTaskGroup().GetTasks() {
			m.taskError(acc.fw, t, mesos.TaskStatus_REASON_TASK_GROUP_INVALID, err)
		}
	default:
		if bodyErr == nil {
			bodyErr = m.operate(acc, op)
		}
		if bodyErr != nil {
			m.dropOperation(acc.fw, op, bodyErr.Error())
		}
	}
}

// taskError tells of a task that was never launched. A task of the same id that runs is
// not touched.
func (m *Master) taskError(f *framework, t *mesos.TaskInfo, reason mesos.TaskStatus_Reason, err error) {
	m.send(f, m.status(f, t.GetTaskId(), t.GetAgentId(), mesos.TaskState_TASK_ERROR, reason, err.Error()))
}

// launch checks and launches one task; the checks' order is Mesos's.
func (m *Master) launch(acc *acceptance, given *mesos.TaskInfo) error {
	f, a := acc.fw, acc.agent
	tid := id.Task(given.GetTaskId().GetValue())
	if err := id.Validate(string(tid)); err != nil {
		return fmt.Errorf("'task_id' is invalid: %w", err)
	}
	if f.tasks[tid] != nil {
		return fmt.Errorf("Task has duplicate ID: %s", tid)
	}
	if f.unreachable[tid] != nil {
		return fmt.Errorf("Task reuses the ID of an unreachable task: %s", tid)
	}
	if got := given.GetAgentId().GetValue(); got != string(a.id) {
		return fmt.Errorf("task names agent '%s', but the offer is of agent %s", got, a.id)
	}
	info, resources, err := prepareTask(given, acc.role)
	if err != nil {
		return fmt.Errorf("task uses invalid resources: %w", err)
	}
	if err := validate.Task(info, resources); err != nil {
		return err
	}
	if err := validate.CommandOrExecutor(info); err != nil {
		return err
	}
	total := resources
	var exec *executor
	if info.Executor != nil {
		exec, err = m.prepareExecutor(acc, info.Executor)
		if err != nil {
			return err
		}
		if err := validate.TaskAndExecutor(resources, exec.resources); err != nil {
			return err
		}
		if exec != a.executors[exec.key()] {
			total = total.Add(exec.resources)
		}
		if info.Executor != exec.info {
			if info == given {
				info = copyTask(given)
			}
			info.Executor = exec.info
		}
	}
	available := acc.remaining
	if !acc.shared.Empty() {
		available = available.NonShared().Add(acc.shared)
	}
	if !available.Contains(total) {
		return fmt.Errorf("Total resources %s required by task and its executor is more than available %s", total, available)
	}
	if err := validate.ShareCgroups(info); err != nil {
		return err
	}
	if err := validate.TaskUnsupported(info); err != nil {
		return err
	}

	if !acc.shared.Empty() {
		// A shared volume is used once more than it was offered.
		if more := total.SharedOnly().Sub(acc.remaining.SharedOnly()); !more.Empty() {
			m.alloc.Charge(f.id, a.id, more)
		}
	}
	acc.remaining = acc.remaining.Sub(total)
	t := &task{
		id: tid, fw: f, agent: a, agentID: a.protoID, info: info,
		user: taskUser(f.info, info), resources: resources,
		state: mesos.TaskState_TASK_STAGING,
	}
	if exec != nil {
		t.executor = exec.id
		if a.executors[exec.key()] == nil {
			m.addExecutor(exec)
		}
	}
	m.charge(f, a, resources)
	m.addTask(t)
	m.publish(TaskAdded{t.snapshot()})
	if a.link != 0 {
		m.runTask(t)
	} // else it is sent when the agent is back
	return nil
}

// prepareTask reads a task's resources, allocates those that are not, and returns the
// TaskInfo with them; the given one if nothing had to be added.
func prepareTask(given *mesos.TaskInfo, role string) (*mesos.TaskInfo, resource.Resources, error) {
	resources, err := allocated(given.Resources, role)
	if err != nil {
		return given, resources, err
	}
	info := given
	if !complete(given.Resources) {
		info = copyTask(given)
		info.Resources = resources.Proto()
	}
	if h := given.HealthCheck; h != nil && h.Type == nil {
		// Frameworks older than the field leave the type to be guessed.
		if info == given {
			info = copyTask(given)
		}
		info.HealthCheck = typedHealthCheck(h)
	}
	return info, resources, nil
}

// allocated reads resources and allocates those without allocation_info to role.
func allocated(rs []*mesos.Resource, role string) (resource.Resources, error) {
	r, err := resource.Of(rs...)
	if err != nil {
		return r, err
	}
	without := 0
	for x := range r.All() {
		if x.AllocatedTo() == "" {
			without++
		}
	}
	switch without {
	case 0:
		return r, nil
	case r.Len():
		return r.Allocate(role), nil
	}
	missing := r.Filter(func(x *resource.Resource) bool { return x.AllocatedTo() == "" })
	rest := r.Filter(func(x *resource.Resource) bool { return x.AllocatedTo() != "" })
	return rest.Add(missing.Allocate(role)), nil
}

// complete reports whether resources can be forwarded as they are: allocated, and in the
// format with reservations[].
func complete(rs []*mesos.Resource) bool {
	for _, r := range rs {
		if r.GetAllocationInfo().GetRole() == "" || r.Reservation != nil || (r.Role != nil && r.GetRole() != "*") {
			return false
		}
	}
	return true
}

func typedHealthCheck(h *mesos.HealthCheck) *mesos.HealthCheck {
	typed := copyHealthCheck(h)
	switch {
	case h.Command != nil && h.Http == nil:
		typed.Type = mesos.HealthCheck_COMMAND.Enum()
	case h.Http != nil && h.Command == nil:
		typed.Type = mesos.HealthCheck_HTTP.Enum()
	default:
		return h
	}
	return typed
}

// prepareExecutor returns the executor a task is to run in: the one the agent has under
// this id, if its ExecutorInfo is the same, else a new one.
func (m *Master) prepareExecutor(acc *acceptance, given *mesos.ExecutorInfo) (*executor, error) {
	f := acc.fw
	resources, err := allocated(given.Resources, acc.role)
	if err != nil {
		return nil, fmt.Errorf("executor uses invalid resources: %w", err)
	}
	info := given
	if given.FrameworkId == nil || !complete(given.Resources) {
		info = copyExecutor(given)
		info.Resources = resources.Proto()
		if info.FrameworkId == nil {
			info.FrameworkId = f.protoID
		}
	}
	if err := validate.Executor(info, resources, string(f.id)); err != nil {
		return nil, err
	}
	e := &executor{id: id.Executor(info.GetExecutorId().GetValue()), fw: f, agent: acc.agent, info: info, resources: resources}
	if old := acc.agent.executors[e.key()]; old != nil {
		if !old.same(e) {
			return nil, fmt.Errorf("ExecutorInfo of executor '%s' differs from the one it runs with on agent %s; use another executor_id", e.id, acc.agent.id)
		}
		return old, nil
	}
	return e, nil
}
