package state

import (
	"github.com/stoa-kernel/stoa/agent/container"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/internal/planted"
	"github.com/stoa-kernel/stoa/kernel/id"
	"google.golang.org/protobuf/proto"
)

// containerEvent takes what the containerizer tells.
func (a *Agent) containerEvent(ev container.Event) {
	switch ev := ev.(type) {
	case container.Fetching:
		if e := a.runs[ev.ID]; e != nil && e.command && e.stage == preparing && !e.doomed {
			if t := e.only(); t != nil {
				a.commandFetching(t)
			}
		}
	case container.Forked:
		a.forked(ev)
	case container.Started:
		a.containerStarted(ev)
	case container.Failed:
		a.containerFailed(ev)
	case container.Exited:
		if e := a.runs[ev.ID]; e != nil && e.stage != ended {
			a.exited(e, ev.Record)
			a.destroy(e)
		}
	case container.Destroyed:
		a.destroyed(ev.ID)
	}
}

// forked writes down which process waits before it is told to go: from here on the
// container is looked for after a restart, and never launched again.
func (a *Agent) forked(ev container.Forked) {
	e := a.runs[ev.ID]
	if e == nil {
		a.out.add(Destroy{ev.ID})
		return
	}
	if e.stage != preparing || e.doomed {
		return
	}
	e.recorded, e.bootID, e.pid, e.startTime = true, ev.BootID, ev.Pid, ev.StartTime
	if planted.Bug("go sent before the record") {
		a.out.add(Go{e.container})
	}
	a.persist(false, e.forkedRecord())
	a.out.add(Go{e.container})
	e.stage = going
}

func (a *Agent) containerStarted(ev container.Started) {
	e := a.runs[ev.ID]
	if e == nil || (e.stage != going && e.stage != adopting) {
		return
	}
	adopted := e.stage == adopting
	e.stage = running
	if ev.TaskPid != 0 && ev.TaskPid != e.taskPid {
		e.taskPid = ev.TaskPid
		a.persist(false, e.forkedRecord())
	}
	switch {
	case e.doomed:
	case e.command:
		if t := e.only(); t != nil {
			a.commandStarted(t)
		} else {
			a.destroy(e)
		}
	case adopted && e.framework.terminating:
		a.destroy(e)
	case adopted:
		// The former agent may have died between a task's record and its resize.
		a.resize(e)
		for _, t := range ordered(e.tasks) {
			a.startChecks(t)
		}
	}
}

func (a *Agent) containerFailed(ev container.Failed) {
	e := a.runs[ev.ID]
	if e == nil || e.stage == ended {
		return
	}
	if ev.Canceled && e.stage == adopting && !e.doomed && a.wanted(e) {
		// Its init ended without having been told to go, so nothing was executed.
		a.relaunch(e)
		return
	}
	e.stage = ended
	if e.command {
		if t := e.only(); t != nil {
			a.commandFailed(t, ev)
		}
	} else {
		a.customFailed(e, ev)
	}
	a.destroy(e)
}

// wanted reports whether a container that executed nothing should be launched again
// after a restart: on the same boot, and with something left to do.
func (a *Agent) wanted(e *executor) bool {
	if e.framework.terminating || a.stopping || (e.bootID != "" && e.bootID != a.bootID) {
		return false
	}
	if !e.command {
		return len(e.tasks) > 0 && !e.terminating
	}
	t := e.only()
	return t != nil && t.kill == nil
}

func (a *Agent) exited(e *executor, x container.Exit) {
	e.stage = ended
	if !e.command {
		a.customExited(e, x)
	} else if t := e.only(); t != nil {
		a.commandExited(t, x)
	}
}

// destroy removes what is left of a container, once.
func (a *Agent) destroy(e *executor) {
	if !e.doomed {
		e.doomed = true
		a.out.add(Destroy{e.container})
	}
}

// destroyed forgets the container; its sandbox stays for a while.
func (a *Agent) destroyed(cid id.Container) {
	e := a.runs[cid]
	if e == nil {
		return
	}
	if e.stage != ended {
		// The containerizer must have told the end; without it nothing is guessed.
		if e.stage == preparing {
			a.containerFailed(container.Failed{ID: cid, Canceled: true})
		} else {
			a.exited(e, container.Exit{})
		}
	}
	e.gone = true
	f := e.framework
	delete(a.runs, cid)
	delete(f.runs, cid)
	if f.executors[e.id] == e {
		delete(f.executors, e.id)
	}
	a.closeStream(e)
	for _, k := range []TimerKind{TimerKill, TimerRegistration, TimerReregistration, TimerShutdown} {
		a.stopTimer(k, string(cid))
	}
	s := &sandbox{container: cid, path: a.sandboxPath(e), ended: a.now.Wall.UnixNano(), since: a.now.Mono}
	a.persist(false, s.record())
	a.keepSandbox(s)
	a.collect(f)
	a.stopIfDone()
}

func (s *sandbox) record() *stoapb.LogRecord {
	return &stoapb.LogRecord{Body: &stoapb.LogRecord_ContainerGone{ContainerGone: &stoapb.ContainerGone{
		ContainerId: proto.String(string(s.container)),
		Sandbox:     proto.String(s.path),
		Time:        proto.Int64(s.ended),
	}}}
}

// collect forgets a framework that has nothing here any more.
func (a *Agent) collect(f *framework) {
	if len(f.tasks) > 0 || len(f.runs) > 0 || a.frameworks[f.id] != f {
		return
	}
	delete(a.frameworks, f.id)
	a.persist(false, &stoapb.LogRecord{Body: &stoapb.LogRecord_FrameworkGone{FrameworkGone: &stoapb.FrameworkGone{FrameworkId: frameworkID(f.id)}}})
}

// containerStatus is what updates show of the task's container.
func (a *Agent) containerStatus(e *executor) *mesos.ContainerStatus {
	s := &mesos.ContainerStatus{
		ContainerId:  &mesos.ContainerID{Value: proto.String(string(e.container))},
		NetworkInfos: a.networkInfos(),
	}
	if pid := e.shownPid(); pid != 0 {
		s.ExecutorPid = proto.Uint32(uint32(pid))
	}
	return s
}

// shownPid is the pid, in the host's namespace, of what runs in the container.
func (e *executor) shownPid() int {
	if e.taskPid != 0 {
		return e.taskPid
	}
	return e.pid
}

// networkInfos of a container in the host's network: the agent's address.
func (a *Agent) networkInfos() []*mesos.NetworkInfo {
	return []*mesos.NetworkInfo{{IpAddresses: []*mesos.NetworkInfo_IPAddress{{IpAddress: proto.String(a.cfg.IP)}}}}
}
