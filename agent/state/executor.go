package state

import (
	"fmt"
	"strconv"
	"time"

	"github.com/stoa-kernel/stoa/agent/container"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	executorpb "github.com/stoa-kernel/stoa/api/mesos/v1/executor"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/kernel/id"
	"google.golang.org/protobuf/proto"
)

// unsure reports whether the agent restarted and has not heard from the executor yet:
// it cannot know which of its tasks reached the executor.
func (e *executor) unsure() bool { return e.recovered && !e.subscribed }

// over reports whether the executor takes no more tasks.
func (e *executor) over() bool { return e.terminating || e.doomed || e.stage == ended }

// runCustom gives a task to its executor, which is started if it is not there.
func (a *Agent) runCustom(t *task) {
	f, eid := t.framework, id.Executor(t.info.GetExecutor().GetExecutorId().GetValue())
	e := f.executors[eid]
	if e != nil && (e.over() || e.command) {
		a.refuse(t, a.agentStatus(t, f.aware(mesos.TaskState_TASK_DROPPED), mesos.TaskStatus_REASON_EXECUTOR_TERMINATED,
			"Executor terminating"))
		return
	}
	if e != nil {
		e.tasks[t.id], t.executor = t, e
		a.persist(false, t.record())
		if e.stream != 0 {
			a.resize(e)
			a.deliver(t)
		}
		return
	}
	info := proto.CloneOf(t.info.GetExecutor())
	info.FrameworkId = frameworkID(f.id)
	e = &executor{
		framework: f,
		id:        eid,
		info:      info,
		container: a.newContainer(),
		user:      a.runUser(f, info.GetCommand()),
	}
	a.addRun(e)
	e.tasks[t.id], t.executor = t, e
	a.launch(e)
}

// deliver sends a task to its subscribed executor.
func (a *Agent) deliver(t *task) {
	t.delivered, t.executor.everSent = true, true
	a.toExecutor(t.executor, &executorpb.Event{
		Type:   executorpb.Event_LAUNCH.Enum(),
		Launch: &executorpb.Event_Launch{Task: t.info},
	})
}

func (a *Agent) toExecutor(e *executor, ev *executorpb.Event) {
	if e.stream != 0 {
		a.out.add(ToExecutor{e.stream, ev})
	}
}

// resize fits the limits of a custom executor's container to its tasks.
func (a *Agent) resize(e *executor) {
	if e.stage == running && !e.doomed {
		a.out.add(Resize{e.container, a.limits(e)})
	}
}

func (a *Agent) answer(t Token, status int, message string) {
	a.out.add(Answer{Token: t, Status: status, Message: message})
}

// caller finds the executor a call is of; the refusals are those of Mesos 1.11
// (src/slave/http.cpp), in its order.
func (a *Agent) caller(c *executorpb.Call) (*executor, string) {
	f := a.frameworks[id.Framework(c.GetFrameworkId().GetValue())]
	if f == nil {
		return nil, "Framework cannot be found"
	}
	e := f.executors[id.Executor(c.GetExecutorId().GetValue())]
	if e == nil || e.command {
		return nil, "Executor cannot be found"
	}
	return e, ""
}

// subscribe connects an executor, for the first time or again. What it had not been
// acknowledged is taken first; tasks it does not say it has are sent (again).
func (a *Agent) subscribe(in ExecutorSubscribe) {
	e, why := a.caller(in.Call)
	if e == nil {
		a.answer(in.Token, 400, why)
		return
	}
	a.answer(in.Token, 200, "")
	if e.over() || e.framework.terminating || a.stopping {
		a.out.add(ToExecutor{in.Stream, &executorpb.Event{Type: executorpb.Event_SHUTDOWN.Enum()}})
		a.out.add(CloseExecutor{in.Stream})
		return
	}
	a.closeStream(e)
	e.stream = in.Stream
	a.streams[in.Stream] = e
	a.stopTimer(TimerRegistration, string(e.container))
	if !e.everSent && len(e.tasks) == 0 {
		// All its tasks were killed before it came: an executor that was never given
		// one may wait for ever (as Mesos 1.11, MESOS-8411).
		e.subscribed = true
		a.shutdownRun(e, a.shutdownGrace(e))
		return
	}
	a.setTimer(TimerHeartbeat, streamKey(e.stream), a.cfg.HeartbeatInterval)
	info := proto.CloneOf(a.admitted)
	a.toExecutor(e, &executorpb.Event{
		Type: executorpb.Event_SUBSCRIBED.Enum(),
		Subscribed: &executorpb.Event_Subscribed{
			ExecutorInfo:  e.info,
			FrameworkInfo: e.framework.info,
			AgentInfo:     info,
			ContainerId:   &mesos.ContainerID{Value: proto.String(string(e.container))},
		},
	})
	for _, u := range in.Call.GetSubscribe().GetUnacknowledgedUpdates() {
		if updateRefusal(in.Call, u.GetStatus()) == "" {
			a.executorUpdate(e, u.GetStatus())
		}
	}
	a.compare(e, in.Call.GetSubscribe().GetUnacknowledgedTasks())
	e.subscribed = true
	for _, t := range ordered(e.tasks) {
		if t.delivered && t.kill != nil {
			a.sendKill(t)
		}
	}
}

// compare finds out which tasks reached the executor. It acknowledges a task by its
// first update, so one without any that it does not name never arrived, and is sent.
// (Mesos reports such a task as lost, having not kept what to send.)
func (a *Agent) compare(e *executor, has []*mesos.TaskInfo) {
	named := make(map[id.Task]bool, len(has))
	for _, t := range has {
		named[id.Task(t.GetTaskId().GetValue())] = true
	}
	resized := false
	for _, t := range ordered(e.tasks) {
		switch {
		case t.state != mesos.TaskState_TASK_STAGING || named[t.id]:
			t.delivered, e.everSent = true, true
		case t.kill != nil:
			a.update(t, a.killedDuringLaunch(t))
		default:
			if !resized {
				a.resize(e)
				resized = true
			}
			a.deliver(t)
		}
	}
}

func (a *Agent) sendKill(t *task) {
	a.toExecutor(t.executor, &executorpb.Event{
		Type: executorpb.Event_KILL.Enum(),
		Kill: &executorpb.Event_Kill{TaskId: taskID(t.id), KillPolicy: t.kill.policy},
	})
}

// executorCall answers any call but SUBSCRIBE.
func (a *Agent) executorCall(in ExecutorCall) {
	c := in.Call
	if c.GetType() == executorpb.Call_HEARTBEAT {
		// Accepted whatever its ids are (as Mesos 1.11).
		a.answer(in.Token, 202, "")
		return
	}
	if c.GetType() == executorpb.Call_UPDATE {
		if why := updateRefusal(c, c.GetUpdate().GetStatus()); why != "" {
			a.answer(in.Token, 400, "Failed to validate Executor::Call: "+why)
			return
		}
	}
	e, why := a.caller(c)
	switch {
	case e == nil:
		a.answer(in.Token, 400, why)
	case !e.subscribed:
		a.answer(in.Token, 403, "Executor is not subscribed")
	case c.GetType() == executorpb.Call_UPDATE:
		// The answer follows the update's record: 202 means that it is on disk.
		a.executorUpdate(e, c.GetUpdate().GetStatus())
		a.answer(in.Token, 202, "")
	case c.GetType() == executorpb.Call_MESSAGE:
		if a.registered {
			a.toMaster(&stoapb.ToMaster{Body: &stoapb.ToMaster_ExecutorMessage{ExecutorMessage: &stoapb.ExecutorMessage{
				FrameworkId: frameworkID(e.framework.id), ExecutorId: executorID(e.id), Data: c.GetMessage().GetData(),
			}}})
		}
		a.answer(in.Token, 202, "")
	default:
		a.answer(in.Token, 501, "Executor calls of type "+c.GetType().String()+" are not known")
	}
}

// updateRefusal says what is wrong with an executor's update (as Mesos 1.11,
// validateExecutorCall).
func updateRefusal(c *executorpb.Call, s *mesos.TaskStatus) string {
	from := "Received Call from executor " + c.GetExecutorId().GetValue() + " of framework " + c.GetFrameworkId().GetValue()
	switch {
	case s == nil:
		return "Expecting 'update' to be present"
	case s.Uuid == nil:
		return "Expecting 'uuid' to be present"
	case len(s.Uuid) != 16:
		return fmt.Sprintf("Expecting 'uuid' to be 16 bytes, not %d", len(s.Uuid))
	case s.ExecutorId != nil && s.ExecutorId.GetValue() != c.GetExecutorId().GetValue():
		return "ExecutorID in Call: " + c.GetExecutorId().GetValue() + " does not match ExecutorID in TaskStatus: " + s.ExecutorId.GetValue()
	case s.GetSource() != mesos.TaskStatus_SOURCE_EXECUTOR:
		return from + " with invalid source, expecting 'SOURCE_EXECUTOR'"
	case s.GetState() == mesos.TaskState_TASK_STAGING:
		return "Received TASK_STAGING from executor " + c.GetExecutorId().GetValue() + " of framework " +
			c.GetFrameworkId().GetValue() + " which is not allowed"
	}
	return ""
}

// executorUpdate takes an executor's update. One for a task that is over, or that the
// agent does not have, is acknowledged and dropped: its sender would repeat it for
// ever, and the framework has seen the task's end.
func (a *Agent) executorUpdate(e *executor, s *mesos.TaskStatus) {
	if t := e.framework.tasks[id.Task(s.GetTaskId().GetValue())]; t != nil {
		u := proto.CloneOf(s)
		u.Source = mesos.TaskStatus_SOURCE_EXECUTOR.Enum()
		u.AgentId = a.admitted.GetId()
		u.ExecutorId = executorID(e.id)
		if u.Timestamp == nil {
			u.Timestamp = proto.Float64(a.now.Seconds())
		}
		own := a.containerStatus(e)
		switch c := u.ContainerStatus; {
		case c == nil:
			u.ContainerStatus = own
		case c.ContainerId == nil:
			c.ContainerId = own.ContainerId
			if c.ExecutorPid == nil {
				c.ExecutorPid = own.ExecutorPid
			}
			fallthrough
		default:
			if len(c.NetworkInfos) == 0 {
				c.NetworkInfos = own.NetworkInfos
			}
		}
		t.delivered = true
		u.ProbeResults = nil // the agent's, not the executor's
		if u.GetState() == mesos.TaskState_TASK_RUNNING {
			a.found(t, u)
		}
		if a.update(t, u) && u.GetState() == mesos.TaskState_TASK_RUNNING {
			t.untold = 0
			if t.startedAt.IsZero() {
				t.startedAt = a.now.Wall
			}
			a.startChecks(t)
		}
	}
	a.toExecutor(e, &executorpb.Event{
		Type:         executorpb.Event_ACKNOWLEDGED.Enum(),
		Acknowledged: &executorpb.Event_Acknowledged{TaskId: s.TaskId, Uuid: s.Uuid},
	})
}

// frameworkMessage is best effort, as everything called a message.
func (a *Agent) frameworkMessage(m *stoapb.FrameworkMessage) {
	f := a.frameworks[id.Framework(m.GetFrameworkId().GetValue())]
	if f == nil {
		return
	}
	if e := f.executors[id.Executor(m.GetExecutorId().GetValue())]; e != nil {
		a.toExecutor(e, &executorpb.Event{
			Type:    executorpb.Event_MESSAGE.Enum(),
			Message: &executorpb.Event_Message{Data: m.GetData()},
		})
	}
}

// streamGone: the executor may come back for as long as its container lives.
func (a *Agent) streamGone(s Stream) {
	if e := a.streams[s]; e != nil {
		delete(a.streams, s)
		e.stream = 0
		a.stopTimer(TimerHeartbeat, streamKey(s))
	}
}

func (a *Agent) closeStream(e *executor) {
	if s := e.stream; s != 0 {
		a.out.add(CloseExecutor{s})
		a.streamGone(s)
	}
}

func streamKey(s Stream) string { return strconv.FormatUint(uint64(s), 10) }

func (a *Agent) heartbeatFired(owner string) {
	n, _ := strconv.ParseUint(owner, 10, 64)
	if e := a.streams[Stream(n)]; e != nil {
		a.toExecutor(e, &executorpb.Event{Type: executorpb.Event_HEARTBEAT.Enum()})
		a.setTimer(TimerHeartbeat, owner, a.cfg.HeartbeatInterval)
	}
}

// shutdownExecutor is the scheduler's SHUTDOWN.
func (a *Agent) shutdownExecutor(m *stoapb.ShutdownExecutor) {
	f := a.frameworks[id.Framework(m.GetFrameworkId().GetValue())]
	if f == nil || f.terminating {
		return
	}
	e := f.executors[id.Executor(m.GetExecutorId().GetValue())]
	switch {
	case e == nil || e.over():
	case !e.command:
		a.shutdownRun(e, a.shutdownGrace(e))
	default:
		if t := e.only(); t != nil {
			a.killCommand(t, manner{grace: a.grace(t, nil)}, nil)
		}
	}
}

func (a *Agent) shutdownGrace(e *executor) time.Duration {
	if g := e.info.GetShutdownGracePeriod(); g != nil {
		return max(time.Duration(g.GetNanoseconds()), 0)
	}
	return a.cfg.ExecutorShutdownGrace
}

// shutdownRun asks a custom executor to end, and ends it when the grace is over.
func (a *Agent) shutdownRun(e *executor, grace time.Duration) {
	if e.over() {
		return
	}
	e.terminating = true
	if e.stage == preparing || grace <= 0 {
		a.destroy(e)
		return
	}
	a.toExecutor(e, &executorpb.Event{Type: executorpb.Event_SHUTDOWN.Enum()})
	a.setTimer(TimerShutdown, string(e.container), grace)
}

func (a *Agent) shutdownFired(cid id.Container) {
	if e := a.runs[cid]; e != nil && e.stage != ended {
		a.destroy(e)
	}
}

func (a *Agent) registrationFired(cid id.Container) {
	e := a.runs[cid]
	if e == nil || e.command || e.subscribed || e.over() {
		return
	}
	a.endRun(e, termination{mesos.TaskState_TASK_FAILED, mesos.TaskStatus_REASON_EXECUTOR_REGISTRATION_TIMEOUT,
		"Executor did not register within " + durationText(a.cfg.ExecutorRegistrationTimeout)})
}

// reregistrationFired ends the executors that did not come back after a restart of
// the agent.
func (a *Agent) reregistrationFired() {
	for _, e := range ordered(a.runs) {
		if e.command || !e.unsure() || e.over() {
			continue
		}
		a.endRun(e, termination{e.framework.aware(mesos.TaskState_TASK_GONE), mesos.TaskStatus_REASON_EXECUTOR_REREGISTRATION_TIMEOUT,
			"Executor did not reregister within " + durationText(a.cfg.ExecutorReregistrationTimeout)})
	}
}

func (a *Agent) endRun(e *executor, t termination) {
	e.terminating, e.termination = true, &t
	a.destroy(e)
}

// customFailed: the executor's process was never executed.
func (a *Agent) customFailed(e *executor, ev container.Failed) {
	t := termination{mesos.TaskState_TASK_FAILED, mesos.TaskStatus_REASON_CONTAINER_LAUNCH_FAILED, launchMessage(ev.Message)}
	if ev.Reason != 0 {
		t.reason = ev.Reason
	}
	if ev.Canceled {
		t.reason, t.message = mesos.TaskStatus_REASON_EXECUTOR_TERMINATED, "Executor terminated"
	}
	a.endTasks(e, t, nil)
	a.executorExited(e, -1)
}

// customExited ends every task the executor still had.
func (a *Agent) customExited(e *executor, x container.Exit) {
	t := termination{mesos.TaskState_TASK_FAILED, mesos.TaskStatus_REASON_EXECUTOR_TERMINATED, "Executor terminated"}
	var limitation *mesos.TaskResourceLimitation
	wait := x.Wait
	switch {
	case x.Rebooted || !x.Known:
		t.message, wait = exitText(x), -1
	case x.OOM:
		t.reason, t.message = mesos.TaskStatus_REASON_CONTAINER_LIMITATION_MEMORY, memoryText(x)
		limitation = memoryLimitation(x)
	}
	a.endTasks(e, t, limitation)
	a.executorExited(e, wait)
}

func (a *Agent) endTasks(e *executor, t termination, limitation *mesos.TaskResourceLimitation) {
	switch {
	case e.termination != nil:
		t = *e.termination
	case e.framework.terminating:
		t = termination{mesos.TaskState_TASK_KILLED, mesos.TaskStatus_REASON_FRAMEWORK_REMOVED, "The framework was removed"}
	case a.stopping:
		t = termination{mesos.TaskState_TASK_KILLED, mesos.TaskStatus_REASON_EXECUTOR_TERMINATED, "The agent was told to stop its tasks"}
	}
	for _, x := range ordered(e.tasks) {
		s := a.agentStatus(x, t.state, t.reason, t.message)
		s.Limitation = limitation
		a.update(x, s)
	}
}

// executorExited is best effort: the next Register shows that the executor is gone.
func (a *Agent) executorExited(e *executor, wait int32) {
	a.closeStream(e)
	// Also before Registered: the Register on its way says that the executor lives.
	a.toMaster(&stoapb.ToMaster{Body: &stoapb.ToMaster_ExecutorExited{ExecutorExited: &stoapb.ExecutorExited{
		FrameworkId: frameworkID(e.framework.id), ExecutorId: executorID(e.id), Status: proto.Int32(wait),
	}}})
}
