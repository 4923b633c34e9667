package state

import (
	"time"

	"github.com/stoa-kernel/stoa/agent/check"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"google.golang.org/protobuf/proto"
)

// A kill of a command task goes through steps, each of which ends by itself or when its
// time is over:
//
//	PRE_STOP     KillPolicy.pre_stop runs in the container (Stoa's extension)
//	DRAINING     drain_period is waited for (Stoa's extension)
//	TERMINATING  SIGTERM, and SIGKILL at the end of the grace
//
// A kill without the extension begins with the last. The log has the step before anything
// is done for it. What a restart of the agent finds under way has been broken off by it, as
// all commands that an agent executes in containers end with the agent; so pre_stop is run
// once at most, and the wait after it begins.
type killStep = stoapb.KillRequested_Step

const (
	preStop     = stoapb.KillRequested_PRE_STOP
	draining    = stoapb.KillRequested_DRAINING
	terminating = stoapb.KillRequested_TERMINATING
)

const (
	// preStopTimeout is KillPolicy.pre_stop_timeout if it is not set.
	preStopTimeout = 10 * time.Second
	// longestStep bounds what a policy can ask for, so that no deadline leaves the range
	// of times in the log.
	longestStep = 10 * 365 * 24 * time.Hour
	// preStopCheck is the number of pre_stop among a task's checks.
	preStopCheck = -1
)

// manner is how a task is to be killed.
type manner struct {
	preStop               *mesos.CommandInfo
	timeout, drain, grace time.Duration
	// patient: said by nobody for this kill, so that it does not shorten what comes
	// before SIGTERM in a kill under way.
	patient bool
}

// manner of a KILL: its policy's, else the task's.
func (a *Agent) manner(t *task, p *mesos.KillPolicy) manner {
	m := manner{grace: a.grace(t, p), patient: p == nil}
	if p == nil {
		p = t.info.GetKillPolicy()
	}
	m.preStop, m.drain = p.GetPreStop(), lasting(p.GetDrainPeriod())
	if m.preStop != nil {
		m.timeout = preStopTimeout
		if d := p.GetPreStopTimeout(); d != nil {
			m.timeout = lasting(d)
		}
	}
	return m
}

func lasting(d *mesos.DurationInfo) time.Duration {
	return min(max(time.Duration(d.GetNanoseconds()), 0), longestStep)
}

// killed is the kill that a first request begins. A task that does not run yet has nothing
// to end well.
func (a *Agent) killed(t *task, m manner) *kill {
	k := &kill{requested: a.now.Wall, began: a.now.Wall, grace: m.grace}
	if t.state != mesos.TaskState_TASK_RUNNING {
		return k
	}
	k.drain = m.drain
	if k.drain > 0 {
		k.step = draining
	}
	if m.preStop == nil {
		return k
	}
	if why := checkCommandRefusal("kill_policy.pre_stop", m.preStop); why != "" {
		k.failure = why
		return k
	}
	k.step, k.command, k.timeout = preStop, m.preStop, m.timeout
	return k
}

// hasten shortens what is still to come; it reports whether anything was.
func (k *kill) hasten(m manner) bool {
	before := [3]time.Duration{k.timeout, k.drain, k.grace}
	if !m.patient {
		k.timeout, k.drain = min(k.timeout, m.timeout), min(k.drain, m.drain)
	}
	k.grace = min(k.grace, m.grace)
	return before != [3]time.Duration{k.timeout, k.drain, k.grace}
}

// lasts is how long the step under way may take.
func (k *kill) lasts() time.Duration {
	switch k.step {
	case preStop:
		return k.timeout
	case draining:
		return k.drain
	}
	return k.grace
}

// proceed does what the step under way asks for in a task that runs: it was just begun, or
// the task only now came to run, or was found running after a restart.
func (a *Agent) proceed(t *task) {
	k := t.kill
	if t.framework.has(mesos.FrameworkInfo_Capability_TASK_KILLING_STATE) && t.state != mesos.TaskState_TASK_KILLING &&
		!k.because(mesos.TaskStatus_REASON_MAX_COMPLETION_TIME_REACHED) {
		a.update(t, a.executorStatus(t, mesos.TaskState_TASK_KILLING, ""))
	}
	k.acted = true
	switch {
	case k.step == terminating:
		a.out.add(Signal{t.executor.container, sigterm})
	case k.step == preStop && k.command != nil && k.timeout > 0:
		k.asking = true
		a.out.add(Check{
			Container: t.executor.container, Task: t.id, Check: preStopCheck, Spec: a.checkSpec(t, k.command),
			Target: check.Target{Type: check.Command, Command: k.command, Timeout: k.timeout},
		})
		k.command = nil
	}
	a.armKill(t)
}

// armKill ends the step under way if its time is over, else when it will be.
func (a *Agent) armKill(t *task) {
	k := t.kill
	// The wall clock may have been set back since, which makes nothing longer.
	if left := min(k.began.Add(k.lasts()).Sub(a.now.Wall), k.lasts()); left > 0 {
		a.setTimer(TimerKill, string(t.executor.container), left)
		return
	}
	a.nextStep(t)
}

// nextStep ends the step under way; the last one with all that is left of the task.
func (a *Agent) nextStep(t *task) {
	k := t.kill
	switch {
	case k.step == terminating:
		k.acted = true
		a.destroy(t.executor)
		return
	case k.step == preStop && k.drain > 0:
		k.step = draining
	default:
		k.step = terminating
	}
	if k.asking {
		k.failure = "was not done in its time"
		a.breakOff(t)
	}
	k.began = a.now.Wall
	a.persist(false, t.killRecord())
	if t.executor.stage == running {
		a.proceed(t)
	} else {
		a.armKill(t)
	}
}

// preStopped takes pre_stop's result, which changes nothing.
func (a *Agent) preStopped(t *task, r check.Result) {
	if t.kill == nil || !t.kill.asking {
		return
	}
	t.kill.asking = false
	t.kill.failure = r.Failure(check.Command)
	a.nextStep(t)
}

// breakOff ends pre_stop if it runs.
func (a *Agent) breakOff(t *task) {
	if t.kill != nil && t.kill.asking {
		t.kill.asking = false
		a.out.add(StopChecks{t.executor.container, t.id})
	}
}

// resumeKill goes on after a restart of the agent.
func (a *Agent) resumeKill(t *task) {
	if k := t.kill; k.step == preStop {
		// It ended with the former agent, at some time until now.
		over := k.began.Add(k.timeout)
		if over.After(a.now.Wall) {
			over = a.now.Wall
		}
		k.step, k.began = draining, over
		a.persist(false, t.killRecord())
	}
	a.armKill(t)
}

// steps writes a kill's steps into its record.
func (k *kill) steps(r *stoapb.KillRequested) {
	if k.custom {
		return
	}
	end := k.began.Add(k.grace)
	if k.step >= draining {
		end = end.Add(k.drain)
		r.Step, r.DrainPeriod = k.step.Enum(), proto.Int64(int64(k.drain))
	}
	if k.step == preStop {
		end = end.Add(k.timeout)
		r.PreStopTimeout = proto.Int64(int64(k.timeout))
	}
	if !k.began.Equal(k.requested) {
		r.Began = proto.Int64(k.began.UnixNano())
	}
	r.Deadline = proto.Int64(end.UnixNano())
}

// killOf is the kill that a record tells of. Whether a signal was sent is not in the log;
// it may have been.
func killOf(r *stoapb.KillRequested) *kill {
	k := &kill{
		requested: time.Unix(0, r.GetRequested()), reason: r.Reason, custom: r.Deadline == nil, policy: r.GetKillPolicy(),
		acted: true, unhealthy: r.GetUnhealthy(),
		step: r.GetStep(), timeout: time.Duration(r.GetPreStopTimeout()), drain: time.Duration(r.GetDrainPeriod()),
	}
	k.began = k.requested
	if r.Began != nil {
		k.began = time.Unix(0, r.GetBegan())
	}
	if !k.custom {
		k.grace = time.Unix(0, r.GetDeadline()).Sub(k.began) - k.timeout - k.drain
	}
	return k
}
