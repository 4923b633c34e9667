package main

import (
	"time"

	"github.com/stoa-kernel/stoa/agent/check"
	"github.com/stoa-kernel/stoa/agent/state"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"google.golang.org/protobuf/proto"
)

// checked gives a command task a health check, a check and a probe; some fall sick at
// some time after their start and do not get well again.
func (f *scheduler) checked(info *mesos.TaskInfo, t *taskTruth) {
	w := f.w
	if !w.chance(0.15) {
		return
	}
	if w.chance(0.4) {
		t.sickAfter = w.between(time.Millisecond, time.Minute)
	}
	interval := w.between(time.Second, 10*time.Second).Seconds()
	port := proto.Uint32(31000)
	info.HealthCheck = &mesos.HealthCheck{
		Type: mesos.HealthCheck_TCP.Enum(), Tcp: &mesos.HealthCheck_TCPCheckInfo{Port: port},
		DelaySeconds: proto.Float64(0), IntervalSeconds: &interval, GracePeriodSeconds: proto.Float64(w.between(0, 10*time.Second).Seconds()),
	}
	info.Check = &mesos.CheckInfo{Type: mesos.CheckInfo_TCP.Enum(), Tcp: &mesos.CheckInfo_Tcp{Port: port}, IntervalSeconds: &interval}
	info.Probes = []*mesos.Probe{{Index: proto.Uint32(4), Protocol: mesos.Probe_TCP.Enum(), Port: port, IntervalSeconds: &interval}}
}

// killPolicy has a grace of at most most; some do more before SIGTERM.
func (w *world) killPolicy(most time.Duration) *mesos.KillPolicy {
	p := &mesos.KillPolicy{GracePeriod: &mesos.DurationInfo{Nanoseconds: proto.Int64(int64(w.between(0, most)))}}
	if w.chance(0.3) {
		p.PreStop = &mesos.CommandInfo{Value: proto.String("bye")}
		p.PreStopTimeout = &mesos.DurationInfo{Nanoseconds: proto.Int64(int64(w.between(500*time.Millisecond, 5*time.Second)))}
	}
	if w.chance(0.2) {
		p.DrainPeriod = &mesos.DurationInfo{Nanoseconds: proto.Int64(int64(w.between(0, 10*time.Second)))}
	}
	return p
}

// preStop is begun once at most in the life of a task, for a KILL that somebody sent; it
// may hang, and fail.
func (a *agentProcess) preStop(e state.Check, t *taskTruth) {
	w := a.w
	if t.preStops++; t.preStops > 1 || !t.killed {
		w.fail("pre_stop is run once, before a kill", "%s on %s: it is begun for the %d. time, killed: %t", t.id, a.m.name, t.preStops, t.killed)
	}
	w.count["pre_stop: begun"]++
	if w.chance(0.2) {
		return
	}
	code := pick(w, []int32{0, 0, 3})
	w.at(w.between(time.Millisecond, 5*time.Second), func() {
		if a.alive {
			w.count["pre_stop: ended"]++
			a.step(state.Checked{Container: e.Container, Task: e.Task, Check: e.Check, Result: check.Result{Code: code}})
		}
	})
}

// sick reports whether checks of a task fail by now.
func (t *taskTruth) sick(now time.Duration) bool {
	return t.sickAfter != 0 && t.starts > 0 && now >= t.startedAt+t.sickAfter
}

// ask carries out a check; what comes after the check was broken off must do no harm.
func (a *agentProcess) ask(e state.Check) {
	t := a.w.truth.get(string(e.Task))
	if e.Check < 0 {
		a.preStop(e, t)
		return
	}
	a.w.at(a.w.between(time.Millisecond, 2*time.Second), func() {
		if a.alive {
			a.step(state.Checked{Container: e.Container, Task: e.Task, Check: e.Check, Result: check.Result{Connected: !t.sick(a.w.now)}})
		}
	})
}

// unhealthy is the record of a kill for a failed health check.
func (t *taskTruth) unhealthy(m *machine, k *stoapb.KillRequested) {
	if k.GetUnhealthy() == 0 {
		return
	}
	m.w.count["check: kills"]++
	if !t.sick(m.w.now) {
		m.w.fail("nothing dies without a cause", "%s of %s is killed for its health check, but is well", t.id, m.name)
	}
	t.killed = true
}

// health compares what a framework reads of checks with how its task is.
func (f *scheduler) health(t *taskTruth, s *mesos.TaskStatus) {
	w := f.w
	well := func(yes bool, what string) {
		if !yes && !t.sick(w.now) {
			w.fail("checks are told as they were", "%s reads of %s, which is well, that its %s failed", f.name, t.id, what)
		}
		if s.GetState() == mesos.TaskState_TASK_RUNNING && yes {
			w.count["check: success told of a "+what]++
		} else if !yes {
			w.count["check: failure told of a "+what]++
		}
	}
	if s.Healthy != nil {
		well(s.GetHealthy(), "health check")
	}
	if c := s.GetCheckStatus().GetTcp(); c != nil && c.Succeeded != nil {
		well(c.GetSucceeded(), "check")
	}
	for _, r := range s.GetProbeResults() {
		well(r.GetAlive(), "probe")
		// A task does not get well again.
		if n := r.GetConsecutiveFailures(); n < t.failures {
			w.fail("checks are told as they were", "%s reads of %s that it failed %d times in a row, after %d", f.name, t.id, n, t.failures)
		} else {
			t.failures = n
		}
	}
}
