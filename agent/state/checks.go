package state

import (
	"strconv"
	"strings"

	"github.com/stoa-kernel/stoa/agent/check"
	"github.com/stoa-kernel/stoa/agent/container"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"google.golang.org/protobuf/proto"
)

// Checks of a task run from its TASK_RUNNING until it is to be killed or has ended (as
// Mesos 1.11's command executor). HealthCheck and CheckInfo are those of command tasks; a
// custom executor gets them with its task. Probes are the agent's own, for every task.
//
// What they find goes the way of all status updates. An update for a check is made only
// when the framework has acknowledged all before it: until then what is found changes
// only the value here, and one update tells of it then. So a task owes at most one such
// update, its end never waits behind more than that, and a check that fails all the time
// costs no more than the framework can take. It is then told the latest counts and times;
// what a restart of the agent loses is what no update had told.

// untold says which reason the update that is owed has; 0 is none.
type untold uint8

const (
	untoldCheck untold = 1 + iota
	untoldHealth
)

// startChecks begins what the task asks for to be checked, once it runs.
func (a *Agent) startChecks(t *task) {
	if t.checks != nil || t.kill != nil || t.state != mesos.TaskState_TASK_RUNNING || t.executor == nil {
		return
	}
	if t.executor.command {
		if h := t.info.GetHealthCheck(); h != nil {
			t.checks = append(t.checks, check.New(check.OfHealth(h), t.health()))
		}
		if c := t.info.GetCheck(); c != nil {
			t.checks = append(t.checks, check.New(check.OfCheck(c), check.State{Status: t.latest.GetCheckStatus()}))
		}
	}
	for _, p := range t.info.GetProbes() {
		t.checks = append(t.checks, check.New(check.OfProbe(p, a.cfg.IP), check.State{Result: t.probeResult(p.GetIndex())}))
	}
	began := a.now.Mono - max(a.now.Wall.Sub(t.startedAt), 0)
	for i, c := range t.checks {
		a.follow(t, i, c.Start(a.now, began))
	}
}

// health is what is known of a task's health after a restart: what the framework was
// told, with the count that is only in the log.
func (t *task) health() check.State {
	switch {
	case t.latest == nil || t.latest.Healthy == nil:
		return check.State{}
	case t.latest.GetHealthy():
		return check.State{Succeeded: true}
	}
	return check.State{Succeeded: t.wasHealthy, Failures: max(t.failures, 1)}
}

func (t *task) probeResult(index uint32) *mesos.ProbeResult {
	for _, r := range t.latest.GetProbeResults() {
		if r.GetIndex() == index {
			return r
		}
	}
	return nil
}

// stopChecks ends all checks; what is under way is broken off.
func (a *Agent) stopChecks(t *task) {
	if t.checks == nil {
		return
	}
	for i := range t.checks {
		a.stopTimer(TimerCheck, checkOwner(t, i))
	}
	t.checks, t.untold = nil, 0
	a.out.add(StopChecks{t.executor.container, t.id})
}

func checkOwner(t *task, i int) string { return strconv.Itoa(i) + "/" + t.owner() }

func (a *Agent) checkFired(owner string) {
	number, owner, _ := strings.Cut(owner, "/")
	i, err := strconv.Atoi(number)
	if t := a.taskOf(owner); err == nil && t != nil && i >= 0 && i < len(t.checks) && !t.executor.doomed {
		a.follow(t, i, t.checks[i].Fire(a.now))
	}
}

// checked takes a result. It may be late: of a task that is being killed, or has ended.
func (a *Agent) checked(in Checked) {
	e := a.runs[in.Container]
	if e == nil || e.doomed {
		return
	}
	switch t := e.tasks[in.Task]; {
	case t == nil:
	case in.Check == preStopCheck:
		a.preStopped(t, in.Result)
	case in.Check >= 0 && in.Check < len(t.checks):
		a.follow(t, in.Check, t.checks[in.Check].Answer(a.now, in.Result))
	}
}

// follow does what follows from a step of a check.
func (a *Agent) follow(t *task, i int, o check.Outcome) {
	c := t.checks[i]
	if o.Ask {
		ask := Check{Container: t.executor.container, Task: t.id, Check: i, Target: c.Target}
		if c.Target.Type == check.Command {
			ask.Spec = a.checkSpec(t, c.Target.Command)
		}
		a.out.add(ask)
	}
	if o.Timed {
		a.setTimer(TimerCheck, checkOwner(t, i), o.Due-a.now.Mono)
	}
	if o.Report {
		why := untoldHealth
		if c.Kind == check.Status {
			why = untoldCheck
		}
		t.untold = max(t.untold, why)
		if c.Kind == check.Health {
			t.cause = o.Cause
		}
		a.tell(t)
	}
	if o.Kill {
		a.killUnhealthy(t, c)
	}
}

// tell makes the update that is owed for checks, if it is its turn. It is the last status
// with what is new (as Mesos 1.11).
func (a *Agent) tell(t *task) {
	if t.untold == 0 || t.stream.Head() != nil || t.state != mesos.TaskState_TASK_RUNNING || t.kill != nil {
		return
	}
	reason := mesos.TaskStatus_REASON_TASK_HEALTH_CHECK_STATUS_UPDATED
	if t.untold == untoldCheck {
		reason = mesos.TaskStatus_REASON_TASK_CHECK_STATUS_UPDATED
	}
	t.untold = 0
	u := a.status(t, t.state, "")
	u.Reason = reason.Enum()
	u.Source, u.Labels = t.latest.Source, t.latest.Labels
	a.found(t, u)
	if h := u.Healthy; h != nil && !*h && t.cause != "" {
		u.Message = proto.String("The health check failed: " + t.cause)
	}
	a.update(t, u)
}

// found puts into an update what the checks have found, and notes what is told with it.
func (a *Agent) found(t *task, u *mesos.TaskStatus) {
	for _, c := range t.checks {
		switch c.Kind {
		case check.Health:
			u.Healthy = c.Healthy()
			t.failures, t.wasHealthy = c.State.Failures, c.Succeeded
		case check.Status:
			u.CheckStatus = c.Status
		case check.Outside:
			if c.Result != nil {
				u.ProbeResults = append(u.ProbeResults, c.Result)
			}
		}
	}
}

// killUnhealthy kills a task by its kill policy because its health check failed too often.
func (a *Agent) killUnhealthy(t *task, c *check.Check) {
	t.kill = &kill{requested: a.now.Wall, began: a.now.Wall, grace: a.grace(t, nil), unhealthy: c.State.Failures}
	a.persist(false, t.killRecord())
	a.stopTimer(TimerCompletion, t.owner())
	a.stopChecks(t)
	a.proceed(t)
}

// checkSpec is the task's container with the check's command in place of its own, and the
// check's variables over its environment.
func (a *Agent) checkSpec(t *task, c *mesos.CommandInfo) *container.Spec {
	s := a.spec(t.executor)
	own := t.info.GetCommand().GetEnvironment().GetVariables()
	s.Env = a.environment(t.executor, &mesos.CommandInfo{Environment: &mesos.Environment{
		Variables: append(own[:len(own):len(own)], c.GetEnvironment().GetVariables()...),
	}}, allocationRole(t.info.GetResources()))
	s.Path, s.Argv = program(c)
	s.URIs, s.Volumes = nil, nil
	return s
}

// checkRefusal says which check or pre_stop of a task cannot be made here, "" if all can. What a custom
// executor's task has is the executor's business.
func checkRefusal(t *mesos.TaskInfo) string {
	if t.GetCommand() == nil {
		return ""
	}
	if why := checkCommandRefusal("health_check.command", t.GetHealthCheck().GetCommand()); why != "" {
		return why
	}
	if why := checkCommandRefusal("kill_policy.pre_stop", t.GetKillPolicy().GetPreStop()); why != "" {
		return why
	}
	return checkCommandRefusal("check.command.command", t.GetCheck().GetCommand().GetCommand())
}

func checkCommandRefusal(field string, c *mesos.CommandInfo) string {
	switch {
	case c == nil:
		return ""
	case c.User != nil:
		return unsupported(field + ".user")
	case len(c.GetUris()) > 0:
		return unsupported(field + ".uris")
	}
	return commandRefusal(field, c)
}
