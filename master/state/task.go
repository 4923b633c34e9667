package state

import (
	"bytes"
	"cmp"
	"slices"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/internal/planted"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
	lifecycle "github.com/stoa-kernel/stoa/kernel/task"
)

// task is a task the master knows: live, or terminal with an update that is not
// acknowledged. Afterwards it is among its framework's completed ones.
type task struct {
	id        id.Task
	fw        *framework
	agent     *agent // nil when unreachable or completed
	agentID   *mesos.AgentID
	info      *mesos.TaskInfo
	executor  id.Executor // "" for command tasks
	user      string
	resources resource.Resources

	state mesos.TaskState
	// statusState and statusUUID are of the update last forwarded to the framework.
	statusState mesos.TaskState
	statusUUID  []byte
	statuses    []*mesos.TaskStatus
	// held is an update that came while the framework was away.
	held *mesos.TaskStatus

	released    bool // its resources were given back
	sent        bool // RunTask went out, on whatever link
	seen        bool // the agent said something about it
	acked       bool // the framework acknowledged statusUUID
	killed      bool // a KILL came
	completed   bool
	unreachable bool
	kill        *mesos.KillPolicy
}

// taskKey names a task on an agent.
type taskKey struct {
	fw   id.Framework
	task id.Task
}

func (k taskKey) compare(o taskKey) int {
	return cmp.Or(cmp.Compare(k.fw, o.fw), cmp.Compare(k.task, o.task))
}

func (t *task) key() taskKey { return taskKey{t.fw.id, t.id} }

// sentState is what reconciliation answers: the state the framework was told last, not
// what the agent knows since.
func (t *task) sentState() mesos.TaskState {
	if t.statusUUID != nil {
		return t.statusState
	}
	return mesos.TaskState_TASK_STAGING
}

func (t *task) snapshot() *Task {
	return &Task{
		Framework:   t.fw.id,
		Agent:       id.Agent(t.agentID.GetValue()),
		Info:        t.info,
		Executor:    t.executor,
		State:       t.state,
		StatusState: t.sentState(),
		StatusUUID:  t.statusUUID,
		Statuses:    t.statuses,
		Completed:   t.completed,
		Unreachable: t.unreachable,
		User:        t.user,
	}
}

// record appends a status without its data; of consecutive ones of one state the last
// stays, as in Mesos.
func (t *task) record(s *mesos.TaskStatus) {
	n := len(t.statuses)
	if n > 0 && t.statuses[n-1].GetState() == s.GetState() {
		n--
	}
	// Snapshots share the array: never write into it.
	t.statuses = append(t.statuses[:n:n], withoutData(s))
}

// last is the newest status with a field, for reconciliation.
func (t *task) last() *mesos.TaskStatus {
	if len(t.statuses) == 0 {
		return nil
	}
	return t.statuses[len(t.statuses)-1]
}

// taskUser is whom a task runs as.
func taskUser(f *mesos.FrameworkInfo, t *mesos.TaskInfo) string {
	if u := t.GetCommand().GetUser(); u != "" {
		return u
	}
	if u := t.GetExecutor().GetCommand().GetUser(); u != "" {
		return u
	}
	return f.GetUser()
}

// addTask makes a task known; its resources are charged by the caller.
func (m *Master) addTask(t *task) {
	delete(t.fw.completedByID, t.id)
	t.fw.tasks[t.id] = t
	t.agent.tasks[t.key()] = t
}

// release gives a task's resources back, once.
func (m *Master) release(t *task) {
	if t.released {
		return
	}
	t.released = true
	if t.agent != nil {
		m.uncharge(t.fw, t.agent, t.resources)
	}
}

// charge accounts resources of a task or executor; uncharge gives them back. The
// allocator's books are the caller's for charge: an accepted offer is charged already.
func (m *Master) charge(f *framework, a *agent, r resource.Resources) {
	a.allocated = a.allocated.Add(r)
	f.allocated = f.allocated.Add(r.Scalars())
	m.touchAgent(a)
	m.touchFramework(f)
}

func (m *Master) uncharge(f *framework, a *agent, r resource.Resources) {
	a.allocated = a.allocated.Sub(r)
	f.allocated = f.allocated.Sub(r.Scalars())
	m.alloc.Recover(m.now.Mono, f.id, a.id, r, nil)
	m.touchAgent(a)
	m.touchFramework(f)
}

// end moves a task to a terminal state the master itself knows of, tells the framework,
// and completes it: no update of the agent will follow.
func (m *Master) end(t *task, s *mesos.TaskStatus) {
	if !lifecycle.Terminal(t.state) {
		t.state = s.GetState()
	}
	t.record(s)
	m.release(t)
	m.send(t.fw, s)
	m.complete(t, s)
}

// complete forgets a task but for the framework's list of completed ones.
func (m *Master) complete(t *task, s *mesos.TaskStatus) {
	f := t.fw
	if t.agent != nil {
		if planted.Bug("resources released both at terminal and at ack") {
			t.released = false
		}
		m.release(t)
		delete(t.agent.tasks, t.key())
	}
	if f.tasks[t.id] == t {
		delete(f.tasks, t.id)
	}
	t.agent, t.held = nil, nil
	t.completed, t.unreachable = true, false
	m.publish(TaskUpdated{t.snapshot(), s})
	f.completed = append(f.completed, t)
	f.completedByID[t.id] = t
	for len(f.completed)-f.completedFrom > m.cfg.MaxCompletedTasks {
		old := f.completed[f.completedFrom]
		f.completed[f.completedFrom] = nil
		f.completedFrom++
		if f.completedByID[old.id] == old {
			delete(f.completedByID, old.id)
			m.publish(TaskRemoved{f.id, old.id})
		}
	}
	if f.completedFrom > m.cfg.MaxCompletedTasks {
		f.completed = slices.Delete(f.completed, 0, f.completedFrom)
		f.completedFrom = 0
	}
	m.settle(f)
}

// ackedBefore reports whether a completed task ended with this update acknowledged: the
// agent did not get the acknowledgement, and may have it again.
func (f *framework) ackedBefore(task id.Task, uuid []byte) bool {
	t := f.completedByID[task]
	return t != nil && t.acked && len(uuid) > 0 && bytes.Equal(t.statusUUID, uuid)
}

func (m *Master) runTask(t *task) {
	t.sent = true
	m.toAgent(t.agent, &stoapb.ToAgent{Body: &stoapb.ToAgent_RunTask{RunTask: &stoapb.RunTask{
		Epoch: &m.epoch, Framework: t.fw.info, Task: t.info,
	}}})
}

func (m *Master) killTask(t *task) {
	m.toAgent(t.agent, &stoapb.ToAgent{Body: &stoapb.ToAgent_KillTask{KillTask: &stoapb.KillTask{
		Epoch: &m.epoch, FrameworkId: t.fw.protoID, TaskId: t.info.TaskId, KillPolicy: t.kill,
	}}})
}

func (m *Master) ackTask(a *agent, f *mesos.FrameworkID, task *mesos.TaskID, uuid []byte) {
	// There is one for every update: one piece of memory instead of three.
	var frame struct {
		ack  stoapb.Acknowledge
		body stoapb.ToAgent_Acknowledge
		out  stoapb.ToAgent
	}
	frame.ack.Epoch, frame.ack.FrameworkId, frame.ack.TaskId, frame.ack.Uuid = &m.epoch, f, task, uuid
	frame.body.Acknowledge = &frame.ack
	frame.out.Body = &frame.body
	m.toAgent(a, &frame.out)
}

// toAgent sends on the agent's link, if there is one.
func (m *Master) toAgent(a *agent, msg *stoapb.ToAgent) {
	if a.link != 0 {
		m.out.add(ToAgent{a.link, msg})
	}
}
