package sdktest

import (
	"context"
	"encoding/binary"
	"net/http"
	"slices"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"google.golang.org/protobuf/proto"
)

// task is a task and the updates about it that are not acknowledged; the first is sent.
type task struct {
	framework *framework
	agent     *agent
	info      *mesos.TaskInfo
	resources resource.Resources
	state     mesos.TaskState
	pending   []*mesos.TaskStatus
	kill      context.CancelFunc
	killed    bool
}

// call handles everything but SUBSCRIBE.
func (m *Master) call(c *schedulerpb.Call, streamID string) (status int, text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.record(c)
	f := m.find(c.GetFrameworkId().GetValue())
	switch {
	case f == nil:
		return http.StatusBadRequest, "Framework cannot be found"
	case f.sub == nil:
		return http.StatusForbidden, "Framework is not subscribed"
	case f.sub.id != streamID:
		return http.StatusBadRequest, "The stream ID included in this request is not that of the framework's subscription"
	}
	if m.Manual {
		return http.StatusAccepted, ""
	}
	switch c.GetType() {
	case schedulerpb.Call_TEARDOWN:
		f.removed = true
		for _, t := range f.tasks {
			t.kill()
		}
		m.disconnect(f, f.sub)
	case schedulerpb.Call_ACCEPT:
		m.accept(f, c.GetAccept())
	case schedulerpb.Call_DECLINE:
		for _, id := range c.GetDecline().GetOfferIds() {
			if o := m.takeOffer(f, id.GetValue()); o != nil {
				m.giveBack(o.agent, f, o.resources, c.GetDecline().GetFilters())
			}
		}
	case schedulerpb.Call_REVIVE:
		for _, a := range m.agents {
			delete(a.refused, f)
		}
		roles := c.GetRevive().GetRoles()
		f.suppressed = slices.DeleteFunc(f.suppressed, func(r string) bool {
			return len(roles) == 0 || slices.Contains(roles, r)
		})
	case schedulerpb.Call_SUPPRESS:
		f.suppressed = append(f.suppressed, c.GetSuppress().GetRoles()...)
		if len(c.GetSuppress().GetRoles()) == 0 {
			f.suppressed = append(slices.Clone(f.info.GetRoles()), f.info.GetRole())
		}
	case schedulerpb.Call_KILL:
		m.killTask(f, c.GetKill())
	case schedulerpb.Call_ACKNOWLEDGE:
		m.acknowledge(f, c.GetAcknowledge())
		for _, a := range c.GetAcknowledgements() {
			m.acknowledge(f, a)
		}
	case schedulerpb.Call_RECONCILE:
		m.reconcile(f, c.GetReconcile().GetTasks())
	case schedulerpb.Call_UPDATE_FRAMEWORK:
		f.info = proto.CloneOf(c.GetUpdateFramework().GetFrameworkInfo())
		f.info.Id = c.FrameworkId
		f.suppressed = slices.Clone(c.GetUpdateFramework().GetSuppressedRoles())
		m.allocate()
		return http.StatusOK, ""
	}
	m.allocate()
	return http.StatusAccepted, ""
}

func (m *Master) takeOffer(f *framework, id string) *offer {
	i := slices.IndexFunc(m.offers, func(o *offer) bool { return o.id == id && o.framework == f })
	if i < 0 {
		return nil
	}
	o := m.offers[i]
	m.offers = slices.Delete(m.offers, i, i+1)
	return o
}

// giveBack returns resources to an agent, which f is not offered again for a while.
func (m *Master) giveBack(a *agent, f *framework, rs resource.Resources, filters *mesos.Filters) {
	a.free = a.free.Add(rs)
	if refuse := time.Duration(filters.GetRefuseSeconds() * float64(time.Second)); refuse > 0 && !rs.Empty() {
		a.refused[f] = time.Now().Add(refuse)
		m.after(refuse)
	}
}

// after allocates again when d has passed.
func (m *Master) after(d time.Duration) {
	t := time.AfterFunc(d, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.allocate()
	})
	context.AfterFunc(m.ctx, func() { t.Stop() })
}

func (m *Master) accept(f *framework, c *schedulerpb.Call_Accept) {
	var at *agent
	rest := resource.Resources{}
	valid := len(c.GetOfferIds()) > 0
	for _, id := range c.GetOfferIds() {
		o := m.takeOffer(f, id.GetValue())
		if o == nil {
			valid = false
			continue
		}
		at, rest = o.agent, rest.Add(o.resources)
	}
	var launches []*mesos.TaskInfo
	for _, op := range c.GetOperations() {
		launches = append(launches, op.GetLaunch().GetTaskInfos()...)
	}
	for _, info := range launches {
		t := &task{framework: f, agent: at, info: info, state: mesos.TaskState_TASK_STAGING, kill: func() {}}
		used, err := resource.Of(info.GetResources()...)
		used = used.Unallocate()
		switch {
		case !valid:
			m.tell(t, mesos.TaskState_TASK_DROPPED, mesos.TaskStatus_REASON_INVALID_OFFERS, "one of the offers is not valid any more")
		case err != nil:
			m.tell(t, mesos.TaskState_TASK_ERROR, mesos.TaskStatus_REASON_TASK_INVALID, err.Error())
		case !rest.Contains(used):
			m.tell(t, mesos.TaskState_TASK_ERROR, mesos.TaskStatus_REASON_TASK_INVALID, "the task needs "+used.String()+", the offers have "+rest.String())
		case slices.ContainsFunc(f.tasks, func(o *task) bool { return o.info.GetTaskId().GetValue() == info.GetTaskId().GetValue() }):
			m.tell(t, mesos.TaskState_TASK_ERROR, mesos.TaskStatus_REASON_TASK_INVALID, "the task id was used before")
		default:
			rest = rest.Sub(used)
			t.resources = used
			f.tasks = append(f.tasks, t)
			m.start(t)
		}
	}
	if at != nil {
		m.giveBack(at, f, rest, c.GetFilters())
	}
}

func (m *Master) start(t *task) {
	var ctx context.Context
	ctx, t.kill = context.WithCancel(m.ctx)
	m.update(t, &mesos.TaskStatus{State: mesos.TaskState_TASK_RUNNING.Enum()})
	m.served.Go(func() {
		status := m.Run(ctx, t.info)
		if status == nil {
			<-ctx.Done()
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.ctx.Err() != nil {
			return
		}
		if status == nil || t.killed {
			status = &mesos.TaskStatus{
				State: mesos.TaskState_TASK_KILLED.Enum(), Message: proto.String("Command terminated with signal Terminated"),
			}
		}
		m.update(t, status)
		t.kill()
		t.agent.free = t.agent.free.Add(t.resources)
		clear(t.agent.refused) // there is more than what was refused
		m.allocate()
	})
}

// update queues a status of a task for the framework, which must acknowledge it.
func (m *Master) update(t *task, status *mesos.TaskStatus) {
	status = proto.CloneOf(status)
	m.next.uuid++
	status.Uuid = binary.BigEndian.AppendUint64(make([]byte, 8), uint64(m.next.uuid))
	status.Source = mesos.TaskStatus_SOURCE_EXECUTOR.Enum()
	status.ExecutorId = &mesos.ExecutorID{Value: t.info.GetTaskId().Value}
	m.fill(t, status)
	t.state = status.GetState()
	t.pending = append(t.pending, status)
	if len(t.pending) == 1 {
		t.sendFirst()
	}
}

func (m *Master) fill(t *task, status *mesos.TaskStatus) {
	status.TaskId = t.info.TaskId
	status.Timestamp = proto.Float64(float64(time.Now().UnixNano()) / 1e9)
	if t.agent != nil {
		status.AgentId = t.agent.id
	}
}

func (t *task) sendFirst() {
	if len(t.pending) > 0 {
		t.framework.send(updateEvent(t.pending[0]))
	}
}

func updateEvent(status *mesos.TaskStatus) *schedulerpb.Event {
	return &schedulerpb.Event{Type: schedulerpb.Event_UPDATE.Enum(), Update: &schedulerpb.Event_Update{Status: status}}
}

// tell reports a state that needs no acknowledgement, as a master does by itself.
func (m *Master) tell(t *task, state mesos.TaskState, reason mesos.TaskStatus_Reason, text string) {
	if !t.framework.capable(mesos.FrameworkInfo_Capability_PARTITION_AWARE) {
		switch state {
		case mesos.TaskState_TASK_DROPPED, mesos.TaskState_TASK_UNKNOWN, mesos.TaskState_TASK_GONE:
			state = mesos.TaskState_TASK_LOST
		}
	}
	status := &mesos.TaskStatus{State: &state, Reason: &reason, Source: mesos.TaskStatus_SOURCE_MASTER.Enum()}
	if text != "" {
		status.Message = &text
	}
	m.fill(t, status)
	t.framework.send(updateEvent(status))
}

func (m *Master) lookup(f *framework, id string) *task {
	i := slices.IndexFunc(f.tasks, func(t *task) bool { return t.info.GetTaskId().GetValue() == id })
	if i < 0 {
		return nil
	}
	return f.tasks[i]
}

func (m *Master) killTask(f *framework, c *schedulerpb.Call_Kill) {
	t := m.lookup(f, c.GetTaskId().GetValue())
	if t == nil {
		unknown := &task{framework: f, info: &mesos.TaskInfo{TaskId: c.TaskId}}
		m.tell(unknown, mesos.TaskState_TASK_UNKNOWN, mesos.TaskStatus_REASON_RECONCILIATION, "")
		return
	}
	t.killed = true
	t.kill()
}

func (m *Master) acknowledge(f *framework, c *schedulerpb.Call_Acknowledge) {
	t := m.lookup(f, c.GetTaskId().GetValue())
	if t == nil || len(t.pending) == 0 || string(t.pending[0].GetUuid()) != string(c.GetUuid()) {
		return
	}
	t.pending = t.pending[1:]
	t.sendFirst()
}

func (m *Master) reconcile(f *framework, tasks []*schedulerpb.Call_Reconcile_Task) {
	if len(tasks) == 0 {
		for _, t := range f.tasks {
			if !done(t.state) || len(t.pending) > 0 {
				m.tell(t, t.state, mesos.TaskStatus_REASON_RECONCILIATION, "")
			}
		}
		return
	}
	for _, q := range tasks {
		if t := m.lookup(f, q.GetTaskId().GetValue()); t != nil && (!done(t.state) || len(t.pending) > 0) {
			m.tell(t, t.state, mesos.TaskStatus_REASON_RECONCILIATION, "")
		} else {
			unknown := &task{framework: f, info: &mesos.TaskInfo{TaskId: q.TaskId}}
			m.tell(unknown, mesos.TaskState_TASK_UNKNOWN, mesos.TaskStatus_REASON_RECONCILIATION, "")
		}
	}
}

func done(s mesos.TaskState) bool {
	switch s {
	case mesos.TaskState_TASK_STAGING, mesos.TaskState_TASK_STARTING, mesos.TaskState_TASK_RUNNING, mesos.TaskState_TASK_KILLING:
		return false
	}
	return true
}
