package state

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/stoa-kernel/stoa/agent/container"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
)

// started goes on from what the log said. Containers that may have been told to go are
// looked for; one that was not, on this boot, executed nothing and is launched anew.
func (a *Agent) started(bootID string) {
	a.bootID = bootID
	rebooted := a.recordedBoot != bootID
	if a.checkpoint {
		a.checkpoint = false
		a.persist(true, a.resourcesRecord())
	}
	if a.admitted != nil {
		a.restoreVolumes()
	}
	for _, cid := range sortedKeys(a.sandboxes) {
		s := a.sandboxes[cid]
		s.since = a.now.Mono - max(a.now.Wall.Sub(time.Unix(0, s.ended)), 0)
		a.queueSandbox(s)
	}
	for _, e := range ordered(a.runs) {
		if !e.empty() {
			// A container that a former agent had only begun to make does not count.
			e.framework.executors[e.id] = e
		}
	}
	for _, e := range ordered(a.runs) {
		a.recoverRun(e, rebooted)
	}
	if a.admitted != nil && rebooted {
		a.recordBoot()
	}
	for _, f := range ordered(a.frameworks) {
		for _, t := range ordered(f.tasks) {
			a.recoverTask(t)
		}
		a.collect(f)
	}
	if len(a.sandboxes) > 0 {
		a.armGC()
	}
}

// empty reports whether nothing more is to be learned of the container.
func (e *executor) empty() bool { return len(e.tasks) == 0 && (e.command || !e.recorded) }

func (a *Agent) recoverRun(e *executor, rebooted bool) {
	switch {
	case e.empty():
		// Its end is known; only what is left has to go.
		e.stage = ended
		a.destroy(e)
	case e.recorded:
		e.stage = adopting
		a.out.add(Adopt{a.live(e)})
		if e.command {
			return
		}
		if e.framework.terminating {
			e.terminating = true
		}
		a.setTimer(TimerReregistration, "", a.cfg.ExecutorReregistrationTimeout)
	case rebooted:
		// What the log lost in the crash may have executed it.
		a.exited(e, container.Exit{Rebooted: true})
		a.destroy(e)
	case a.wanted(e):
		e.recovered = false
		if !e.command {
			e.everSent = false
		}
		a.relaunch(e)
	default:
		e.stage = ended
		for _, t := range ordered(e.tasks) {
			a.update(t, a.killedDuringLaunch(t))
		}
		a.destroy(e)
	}
}

// recoverTask arms what waits for a time. A task whose container is gone although it
// never ended is ended here.
func (a *Agent) recoverTask(t *task) {
	if t.terminal() {
		return
	}
	e := t.executor
	switch {
	case e == nil:
		a.update(t, a.agentStatus(t, mesos.TaskState_TASK_FAILED, mesos.TaskStatus_REASON_EXECUTOR_TERMINATED, exitText(container.Exit{})))
	case e.command && t.kill != nil && e.stage != ended:
		a.resumeKill(t)
	case e.command && e.stage == adopting:
		a.armCompletion(t)
	}
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
