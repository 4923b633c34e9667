package state

import (
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"google.golang.org/protobuf/proto"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/instance"
)

// conditions of task states; those missing depend on more than the state.
var conditions = map[mesos.TaskState]instance.Condition{
	mesos.TaskState_TASK_STAGING:          instance.Staging,
	mesos.TaskState_TASK_STARTING:         instance.Starting,
	mesos.TaskState_TASK_RUNNING:          instance.Running,
	mesos.TaskState_TASK_KILLING:          instance.Killing,
	mesos.TaskState_TASK_FINISHED:         instance.Finished,
	mesos.TaskState_TASK_FAILED:           instance.Failed,
	mesos.TaskState_TASK_KILLED:           instance.Killed,
	mesos.TaskState_TASK_ERROR:            instance.Error,
	mesos.TaskState_TASK_DROPPED:          instance.Dropped,
	mesos.TaskState_TASK_GONE:             instance.Gone,
	mesos.TaskState_TASK_GONE_BY_OPERATOR: instance.Gone,
	mesos.TaskState_TASK_UNKNOWN:          instance.Unknown,
	mesos.TaskState_TASK_UNREACHABLE:      instance.Unreachable,
}

// conditionOf maps a status; TASK_LOST by its reason (as Marathon 1.10,
// core/task/TaskConditionMapping).
func conditionOf(st *mesos.TaskStatus) instance.Condition {
	if st.GetState() == mesos.TaskState_TASK_LOST {
		switch st.GetReason() {
		case mesos.TaskStatus_REASON_RECONCILIATION, mesos.TaskStatus_REASON_AGENT_DISCONNECTED, mesos.TaskStatus_REASON_AGENT_REMOVED:
			return instance.Unreachable
		case mesos.TaskStatus_REASON_TASK_UNKNOWN:
			return instance.Unknown
		}
		return instance.Gone
	}
	if c, ok := conditions[st.GetState()]; ok {
		return c
	}
	return instance.Unknown
}

// rank of the conditions a task passes; a status never leads back.
var rank = map[instance.Condition]int{
	instance.Provisioned: 0, instance.Staging: 1, instance.Starting: 2, instance.Running: 3, instance.Killing: 4,
}

func (s *Service) status(in Status) {
	defer s.acknowledge(in.Status)
	task := in.Status.GetTaskId().GetValue()
	i, condition := s.instanceOf(task), conditionOf(in.Status)
	gone := in.Status.GetState() == mesos.TaskState_TASK_GONE_BY_OPERATOR
	switch {
	case gone && i != nil && i.Reservation != nil && !i.Active() && i.Agent.ID == in.Status.GetAgentId().GetValue():
		s.abandon(i)
	case i == nil && condition.Terminal():
		s.publishUnknownTerminated(task, condition)
	case i == nil || i.TaskID != task:
		// A task that came back after it was given up.
		if !condition.Terminal() && condition != instance.Unreachable {
			s.emit(killCall(task, in.Status.GetAgentId().GetValue(), nil))
		}
	case i.Condition.Terminal() || i.Condition == instance.Scheduled:
		// Told twice: the task is over, and perhaps another one is to come.
	case condition == instance.Unreachable:
		s.unreachable(i, in.Status)
	case condition.Terminal():
		s.ended(i, condition, in)
	default:
		s.alive(i, condition, in.Status)
	}
	if i != nil && (i.TaskID == task || i.TaskID == "") {
		s.answered(i)
	}
}

// acknowledge goes out behind what the status led to.
func (s *Service) acknowledge(st *mesos.TaskStatus) {
	if len(st.GetUuid()) > 0 {
		s.emit(Acknowledge{st})
	}
}

// alive takes a status of a task that lives.
func (s *Service) alive(i *instance.Instance, condition instance.Condition, st *mesos.TaskStatus) {
	back := i.Condition == instance.Unreachable || i.Condition == instance.UnreachableInactive
	if !back && rank[condition] < rank[i.Condition] {
		condition = i.Condition
	}
	if back {
		s.timers.Stop(timer{timerInactive, i.ID})
		s.timers.Stop(timer{timerExpunge, i.ID})
	}
	keep := forget
	changed := with(i, func(c *instance.Instance) {
		if condition != i.Condition {
			c.Condition, c.Since = condition, s.now.Wall
			c.TaskState = st.GetState().String()
			keep = saved
		}
		if condition == instance.Running && c.StartedAt.IsZero() {
			c.StartedAt = timestamp(st, s.now.Wall)
		}
		if a := addresses(st); a != nil {
			c.IPAddresses = a
		}
		if check := st.GetCheckStatus(); check != nil {
			c.CheckResult = checkResult(check)
			keep = saved
		}
	})
	a := s.of(i.App)
	def := a.definition(i)
	if condition == instance.Running && i.Condition != instance.Running && !changed.Ready && def != nil && len(def.ReadinessChecks) == 0 {
		changed.Ready = true
	}
	unhealthy := false
	if def != nil {
		next, fail := s.takeHealth(def, changed, st)
		if unhealthy = fail; next != nil {
			changed.Health, keep = next, saved
		}
	}
	if keep == forget {
		if unhealthy {
			s.unhealthyKill(i) // known already, but not done
		}
		return
	}
	if len(st.GetUuid()) > 0 {
		keep = safe // it is told once only, when it is acknowledged
	}
	if condition != i.Condition && (condition != instance.Killing || i.DrainUntil.IsZero() && i.Drain == nil) {
		s.publishStatus(changed, st.GetState().String(), st.GetMessage()) // TASK_KILLING is told once
	}
	s.set(changed, keep)
	if condition != i.Condition {
		s.reached(changed)
	}
	if def != nil {
		s.publishHealth(def, i, changed)
	}
	if unhealthy {
		s.unhealthyKill(changed)
	}
}

// reached does what a new condition of a living task asks for.
func (s *Service) reached(i *instance.Instance) {
	switch i.Condition {
	case instance.Running:
		s.timers.Stop(timer{timerOverdue, i.ID})
		s.watch(i)
	case instance.Staging, instance.Starting:
		s.after(s.cfg.LaunchTimeout, timerOverdue, i.ID)
	}
	if i.Goal == instance.GoalDecommissioned && i.KillingSince.IsZero() && i.DrainUntil.IsZero() {
		s.sendKill(i)
	}
}

// watch asks for the probes that the service makes itself.
func (s *Service) watch(i *instance.Instance) {
	def := s.of(i.App).definition(i)
	if def == nil || i.Condition != instance.Running {
		return
	}
	ready := !i.Ready && len(def.ReadinessChecks) > 0
	health := false
	if s.cfg.Task.ServiceProbes {
		for n := range def.HealthChecks {
			health = health || !def.HealthChecks[n].ByKernel()
		}
	}
	if ready || health {
		s.emit(Watch{Instance: i, App: def, Ready: ready, Health: health})
	}
}

// ended takes the last status of a task.
func (s *Service) ended(i *instance.Instance, condition instance.Condition, in Status) {
	for _, kind := range instanceTimers {
		s.timers.Stop(timer{kind, i.ID})
	}
	a := s.of(i.App)
	def := a.definition(i)
	ours := !i.KillingSince.IsZero()
	dead := with(i, func(c *instance.Instance) {
		c.Condition, c.Since, c.TaskState = condition, s.now.Wall, in.Status.GetState().String()
		c.Health, c.Ready, c.Readiness = nil, false, nil
		if in.Status.GetState() == mesos.TaskState_TASK_GONE_BY_OPERATOR {
			c.Reservation = nil // its agent will not be back
		}
	})
	s.publishStatus(dead, dead.TaskState, in.Status.GetMessage())
	s.set(dead, safe)
	s.emit(Unwatch{i.ID})
	s.attempt(a, dead, in, ours)
	if !ours && i.Goal == instance.GoalRunning && def != nil && counts(in.Status) {
		s.backOff(a, def)
	}
	s.follow(a, dead, ours)
}

// follow decides what comes after the end of an instance's task.
func (s *Service) follow(a *application, i *instance.Instance, ours bool) {
	def := a.definition(i)
	switch {
	case i.Goal == instance.GoalDecommissioned || a.def == nil:
		s.decommissioned(i)
	case i.Goal == instance.GoalStopped:
		// Its reservation waits for the launch that comes, if one does.
	case !ours && stays(def, i.Condition):
		// It has run to its end and is kept to show so.
	default:
		want, ours := s.target(a)
		switch {
		case ours && want == nil:
			s.decommissioned(i)
			return
		case !ours: // it stays what it is until the deployment replaces it
			if want = def; want == nil || configOf(want) == configOf(a.def) {
				want = a.def
			}
		}
		s.again(i, want)
	}
}

// stays reports whether an app's restart policy leaves an ended task alone.
func stays(def *marathon.App, c instance.Condition) bool {
	if def == nil {
		return false
	}
	switch def.RestartPolicy {
	case marathon.Never:
		return c == instance.Finished || c == instance.Failed
	case marathon.OnFailure:
		return c == instance.Finished
	}
	return false
}

// configOf is the version of an app's last configuration change.
func configOf(def *marathon.App) marathon.Version {
	if def.VersionInfo != nil {
		return def.VersionInfo.LastConfigChangeAt
	}
	return def.Version
}

// counts reports whether an end says something about the app, rather than about a
// launch that the kernel refused or an agent that went.
func counts(st *mesos.TaskStatus) bool {
	switch st.GetReason() {
	case mesos.TaskStatus_REASON_INVALID_OFFERS, mesos.TaskStatus_REASON_RECONCILIATION,
		mesos.TaskStatus_REASON_AGENT_RESTARTED, mesos.TaskStatus_REASON_AGENT_REMOVED:
		return false
	}
	return st.GetState() != mesos.TaskState_TASK_DROPPED
}

// unreachable takes the word that an agent with the task is away.
func (s *Service) unreachable(i *instance.Instance, st *mesos.TaskStatus) {
	if i.Condition == instance.Unreachable || i.Condition == instance.UnreachableInactive {
		return
	}
	changed := with(i, func(c *instance.Instance) {
		c.Condition, c.Since, c.TaskState = instance.Unreachable, s.now.Wall, st.GetState().String()
	})
	s.publishStatus(changed, changed.TaskState, st.GetMessage())
	s.set(changed, safe)
	s.emit(Unwatch{i.ID})
	s.awaitReturn(changed)
}

// awaitReturn arms what an unreachable instance's strategy says.
func (s *Service) awaitReturn(i *instance.Instance) {
	if i.Goal != instance.GoalRunning && i.Reservation == nil {
		s.drop(i)
		return
	}
	def := s.of(i.App).definition(i)
	if def == nil || def.UnreachableStrategy == nil || def.UnreachableStrategy.Disabled || i.Reservation != nil {
		return
	}
	u := def.UnreachableStrategy
	s.at(i.Since.Add(time.Duration(u.InactiveAfterSeconds)*time.Second), timerInactive, i.ID)
	s.at(i.Since.Add(time.Duration(u.ExpungeAfterSeconds)*time.Second), timerExpunge, i.ID)
}

// inactive lets a replacement start.
func (s *Service) inactive(id string) {
	if i := s.instances[id]; i != nil && i.Condition == instance.Unreachable {
		s.set(with(i, func(c *instance.Instance) { c.Condition = instance.UnreachableInactive }), saved)
	}
}

// expunge forgets an unreachable instance; should its task come back, it is killed.
func (s *Service) expunge(id string) {
	if i := s.instances[id]; i != nil && (i.Condition == instance.Unreachable || i.Condition == instance.UnreachableInactive) {
		s.drop(i)
	}
}

// agentFailed hastens nothing: the kernel tells each task's state itself.
func (s *Service) agentFailed(agent string) {
	if _, ok := s.agents[agent]; ok {
		delete(s.agents, agent)
		s.touchPerAgent()
	}
}

// overdue kills a task that never got anywhere.
func (s *Service) overdue(id string) {
	i := s.instances[id]
	if i == nil || !i.KillingSince.IsZero() {
		return
	}
	switch i.Condition {
	case instance.Provisioned, instance.Staging, instance.Starting:
		s.sendKill(i)
	}
}

func timestamp(st *mesos.TaskStatus, now time.Time) time.Time {
	if st.Timestamp == nil {
		return now
	}
	return time.UnixMilli(int64(st.GetTimestamp() * 1000)).UTC()
}

func addresses(st *mesos.TaskStatus) []marathon.IPAddress {
	var all []marathon.IPAddress
	for _, n := range st.GetContainerStatus().GetNetworkInfos() {
		for _, ip := range n.GetIpAddresses() {
			protocol := "IPv4"
			if ip.GetProtocol() == mesos.NetworkInfo_IPv6 {
				protocol = "IPv6"
			}
			all = append(all, marathon.IPAddress{IPAddress: ip.GetIpAddress(), Protocol: protocol})
		}
	}
	return all
}

// checkResult is the checkResult of the API.
func checkResult(c *mesos.CheckStatusInfo) any {
	switch {
	case c.GetCommand() != nil:
		return map[string]any{"command": map[string]any{"exitCode": c.GetCommand().GetExitCode()}}
	case c.GetHttp() != nil:
		return map[string]any{"http": map[string]any{"statusCode": c.GetHttp().GetStatusCode()}}
	case c.GetTcp() != nil:
		return map[string]any{"tcp": map[string]any{"succeeded": c.GetTcp().GetSucceeded()}}
	}
	return nil
}

func killCall(task, agent string, policy *mesos.KillPolicy) Call {
	kill := &schedulerpb.Call_Kill{TaskId: &mesos.TaskID{Value: proto.String(task)}, KillPolicy: policy}
	if agent != "" {
		kill.AgentId = &mesos.AgentID{Value: proto.String(agent)}
	}
	return Call{Call: &schedulerpb.Call{Type: schedulerpb.Call_KILL.Enum(), Kill: kill}}
}

func reconcileCall(tasks []*schedulerpb.Call_Reconcile_Task) *schedulerpb.Call {
	return &schedulerpb.Call{Type: schedulerpb.Call_RECONCILE.Enum(), Reconcile: &schedulerpb.Call_Reconcile{Tasks: tasks}}
}
