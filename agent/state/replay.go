package state

import (
	"fmt"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/internal/planted"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"google.golang.org/protobuf/proto"
)

// Replay takes the log's records in order, before the first Step. A record that is
// already contained in what came before, as after a snapshot, changes nothing. It
// fails if the log cannot be understood, and if the configured resources or
// attributes are not those of the log plus more: the agent must then not run, and
// leaves its tasks as they are.
func (a *Agent) Replay(records []*stoapb.LogRecord) error {
	var base []*mesos.Resource
	var total *stoapb.ResourcesCheckpoint
	for i, r := range records {
		switch b := r.GetBody().(type) {
		case *stoapb.LogRecord_Admitted:
			a.admitted = b.Admitted.GetInfo()
			a.recordedBoot = b.Admitted.GetBootId()
			if total == nil {
				base = a.admitted.GetResources()
			}
		case *stoapb.LogRecord_Epoch:
			a.epoch = max(a.epoch, b.Epoch.GetEpoch())
		case *stoapb.LogRecord_Resources:
			total = b.Resources
			base = total.GetConfigured()
		case *stoapb.LogRecord_Framework:
			a.framework(id.Framework(b.Framework.GetInfo().GetId().GetValue())).info = b.Framework.GetInfo()
		case *stoapb.LogRecord_FrameworkGone:
			a.replayFrameworkGone(id.Framework(b.FrameworkGone.GetFrameworkId().GetValue()))
		case *stoapb.LogRecord_FrameworkShutdown:
			a.framework(id.Framework(b.FrameworkShutdown.GetFrameworkId().GetValue())).terminating = true
		case *stoapb.LogRecord_Container:
			a.replayContainer(b.Container)
		case *stoapb.LogRecord_Forked:
			a.replayForked(b.Forked)
		case *stoapb.LogRecord_ContainerGone:
			a.replayContainerGone(b.ContainerGone)
		case *stoapb.LogRecord_SandboxGone:
			delete(a.sandboxes, id.Container(b.SandboxGone.GetContainerId()))
		case *stoapb.LogRecord_Task:
			a.replayTask(b.Task)
		case *stoapb.LogRecord_Update:
			a.replayUpdate(b.Update)
		case *stoapb.LogRecord_Acknowledged:
			a.replayAcknowledged(b.Acknowledged)
		case *stoapb.LogRecord_TaskGone:
			if f := a.frameworks[id.Framework(b.TaskGone.GetFrameworkId().GetValue())]; f != nil {
				a.forgetTask(f.tasks[id.Task(b.TaskGone.GetTaskId().GetValue())])
			}
		case *stoapb.LogRecord_Kill:
			a.replayKill(b.Kill)
		case *stoapb.LogRecord_Operation:
			o := b.Operation
			a.operations[string(o.GetOperationUuid())] = &operation{
				seq: a.nextSeq(), uuid: o.GetOperationUuid(), framework: o.GetFrameworkId(), info: o.GetInfo(), status: o.GetStatus(),
			}
		case *stoapb.LogRecord_OperationDone:
			delete(a.operations, string(b.OperationDone.GetOperationUuid()))
		default:
			return fmt.Errorf("record %d of the agent's log is of a kind this version does not know; "+
				"run the version that wrote it, or a newer one", i)
		}
	}
	if planted.Bug("recovered update order swapped") {
		for _, f := range a.frameworks {
			for _, t := range f.tasks {
				if p := t.stream.Pending(); len(p) > 1 {
					p[0], p[1] = p[1], p[0]
				}
			}
		}
	}
	if n := len(records); n > 0 {
		// The last records differ between any two lives of an agent.
		for _, r := range records[max(0, n-8):] {
			text, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
			if err != nil {
				return fmt.Errorf("encoding record of the agent's log: %w", err)
			}
			a.stir(text)
		}
		a.stir(fmt.Append(nil, n))
	}
	if a.admitted == nil && total == nil {
		return nil
	}
	return a.reconfigure(base, total)
}

// reconfigure lays what the log says of the resources over the configured ones. They
// may have grown since; anything else is refused (as Mesos 1.11 with
// --reconfiguration_policy=additive).
func (a *Agent) reconfigure(base []*mesos.Resource, total *stoapb.ResourcesCheckpoint) error {
	old, err := resource.Of(base...)
	if err != nil {
		return fmt.Errorf("reading the configured resources in the agent's log: %w", err)
	}
	if !a.cfg.Resources.Contains(old) {
		return fmt.Errorf("the agent's resources were %q and are now configured as %q: they may grow but not shrink or change "+
			"while the agent keeps its id; configure at least the old ones, or start with an empty data directory to join as a new agent",
			old, a.cfg.Resources)
	}
	for _, x := range a.admitted.GetAttributes() {
		if !hasAttribute(a.cfg.Info.GetAttributes(), x) {
			return fmt.Errorf("the agent's attribute %s was changed or removed: attributes may be added but not changed "+
				"while the agent keeps its id; configure it as it was, or start with an empty data directory to join as a new agent", x.GetName())
		}
	}
	if total == nil {
		return nil
	}
	if a.total, err = resource.Of(total.GetResources()...); err != nil {
		return fmt.Errorf("reading the total resources in the agent's log: %w", err)
	}
	if !a.cfg.Resources.Equal(old) {
		a.total = a.total.Add(a.cfg.Resources.Sub(old))
		a.checkpoint = true
	}
	return nil
}

func hasAttribute(list []*mesos.Attribute, want *mesos.Attribute) bool {
	for _, x := range list {
		if proto.Equal(x, want) {
			return true
		}
	}
	return false
}

func (a *Agent) replayContainer(c *stoapb.ContainerLaunch) {
	cid := id.Container(c.GetContainerId())
	if a.runs[cid] != nil {
		return
	}
	delete(a.sandboxes, cid)
	a.addRun(&executor{
		framework: a.framework(id.Framework(c.GetFrameworkId().GetValue())),
		id:        id.Executor(c.GetExecutor().GetExecutorId().GetValue()),
		info:      c.GetExecutor(),
		command:   c.GetCommandTask(),
		container: cid,
		user:      c.GetUser(),
		launched:  c.GetTime(),
		recovered: true,
		everSent:  true,
	})
}

func (a *Agent) replayForked(m *stoapb.ContainerForked) {
	if e := a.runs[id.Container(m.GetContainerId())]; e != nil {
		e.recorded = true
		e.bootID, e.pid, e.startTime = m.GetBootId(), int(m.GetPid()), m.GetStartTime()
		if p := int(m.GetTaskPid()); p != 0 {
			e.taskPid = p
		}
	}
}

func (a *Agent) replayContainerGone(m *stoapb.ContainerGone) {
	cid := id.Container(m.GetContainerId())
	if e := a.runs[cid]; e != nil {
		e.gone = true
		delete(a.runs, cid)
		delete(e.framework.runs, cid)
		if e.framework.executors[e.id] == e {
			delete(e.framework.executors, e.id)
		}
		for _, t := range e.tasks {
			t.executor = nil
		}
	}
	if m.GetSandbox() != "" {
		a.sandboxes[cid] = &sandbox{container: cid, path: m.GetSandbox(), ended: m.GetTime()}
	}
}

// replayTask binds a task to its container, if it has one that is not gone; a later
// record binds it to the container made in place of one that was never told to go.
func (a *Agent) replayTask(m *stoapb.TaskLaunch) {
	f, tid := a.framework(id.Framework(m.GetFrameworkId().GetValue())), id.Task(m.GetInfo().GetTaskId().GetValue())
	t := f.tasks[tid]
	if t == nil {
		t = a.addTask(f, tid, nil)
	}
	t.info = m.GetInfo()
	e := a.runs[id.Container(m.GetContainerId())]
	if e == nil || t.terminal() {
		return
	}
	if t.executor != nil {
		delete(t.executor.tasks, tid)
	}
	t.executor, e.tasks[tid] = e, t
}

func (a *Agent) replayUpdate(m *stoapb.TaskUpdate) {
	f := a.framework(id.Framework(m.GetFrameworkId().GetValue()))
	u := m.GetStatus()
	tid := id.Task(u.GetTaskId().GetValue())
	t := f.tasks[tid]
	if t == nil {
		t = a.addTask(f, tid, nil)
	}
	if !t.stream.Add(u) {
		return
	}
	t.state, t.latest, t.delivered = u.GetState(), u, true
	if u.Healthy != nil {
		t.failures, t.wasHealthy = m.GetHealthFailures(), m.GetWasHealthy()
	}
	if m.Started != nil {
		t.startedAt = time.Unix(0, m.GetStarted())
	} else if u.GetState() == mesos.TaskState_TASK_RUNNING && t.startedAt.IsZero() {
		t.startedAt = time.Unix(0, int64(u.GetTimestamp()*1e9))
	}
	if t.terminal() && t.executor != nil {
		delete(t.executor.tasks, tid)
	}
}

func (a *Agent) replayAcknowledged(m *stoapb.TaskAcknowledged) {
	f := a.frameworks[id.Framework(m.GetFrameworkId().GetValue())]
	if f == nil {
		return
	}
	t := f.tasks[id.Task(m.GetTaskId().GetValue())]
	if t == nil {
		return
	}
	if !t.stream.Acknowledge(m.GetUuid()) {
		t.stream.Forget(m.GetUuid())
	}
	if t.stream.Closed() {
		a.forgetTask(t)
	}
}

func (a *Agent) replayKill(m *stoapb.KillRequested) {
	f := a.frameworks[id.Framework(m.GetFrameworkId().GetValue())]
	if f == nil {
		return
	}
	t := f.tasks[id.Task(m.GetTaskId().GetValue())]
	if t == nil {
		return
	}
	t.kill = killOf(m)
}

func (a *Agent) forgetTask(t *task) {
	if t == nil {
		return
	}
	delete(t.framework.tasks, t.id)
	if t.executor != nil {
		delete(t.executor.tasks, t.id)
	}
}

func (a *Agent) replayFrameworkGone(fid id.Framework) {
	f := a.frameworks[fid]
	if f == nil || len(f.tasks) > 0 || len(f.runs) > 0 {
		return
	}
	delete(a.frameworks, fid)
}
