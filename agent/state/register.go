package state

import (
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/internal/planted"
	"github.com/stoa-kernel/stoa/kernel/id"
	"google.golang.org/protobuf/proto"
)

const (
	protocolVersion = 1

	// defaultPingTimeout counts until a master has said its own: 5 pings of 15 s
	// (as Mesos 1.11, agent_ping_timeout and max_agent_ping_timeouts).
	defaultPingTimeout = 75 * time.Second
)

// linkIsUp introduces the agent on a new connection. Frames of earlier ones count no
// more.
func (a *Agent) linkIsUp(l Link) {
	if a.linkUp {
		a.pause()
	}
	a.link, a.linkUp, a.registered = l, true, false
	// The snapshot does not have what waits there: the master will send it again.
	a.backlog = nil
	a.out.add(ToMaster{l, &stoapb.ToMaster{Body: &stoapb.ToMaster_Register{Register: a.register()}}})
	// A master that never answers is as good as none.
	a.setTimer(TimerPing, "", a.pingTimeout)
}

func (a *Agent) linkIsDown(l Link) {
	if !a.linkUp || l != a.link {
		return
	}
	a.linkUp, a.registered = false, false
	a.stopTimer(TimerPing, "")
	a.pause()
}

// pause holds every update back until a master has admitted the agent again.
func (a *Agent) pause() {
	for _, f := range ordered(a.frameworks) {
		for _, t := range ordered(f.tasks) {
			if t.stream.Head() != nil {
				a.stopTimer(TimerRetry, t.owner())
			}
			t.stream.Pause()
		}
	}
	a.pauseOperations()
}

// register is a snapshot of all the master must know.
func (a *Agent) register() *stoapb.Register {
	info := proto.CloneOf(a.cfg.Info)
	info.Resources = a.cfg.Resources.Proto()
	info.Id = a.admitted.GetId()
	r := &stoapb.Register{
		Protocol:    proto.Uint32(protocolVersion),
		StoaVersion: proto.String(a.cfg.Version),
		Info:        info,
		Ip:          proto.String(a.cfg.IP),
		BootId:      proto.String(a.bootID),
		Epoch:       proto.Uint64(a.epoch),
		Resources:   a.total.Proto(),
	}
	for _, f := range ordered(a.frameworks) {
		if f.info == nil {
			continue
		}
		r.Frameworks = append(r.Frameworks, f.info)
		for _, e := range ordered(f.runs) {
			if !e.command && e.stage != ended && (e.stage != adopting || e.bootID == a.bootID) {
				r.Executors = append(r.Executors, e.info)
			}
		}
		for _, t := range ordered(f.tasks) {
			if t.info != nil {
				r.Tasks = append(r.Tasks, a.report(t))
			}
		}
	}
	for _, o := range a.orderedOperations() {
		r.Operations = append(r.Operations, a.operationReport(o))
	}
	return r
}

// report is a task as the master's views show it; the executor of a command task is
// nobody's business (as Mesos 1.11).
func (a *Agent) report(t *task) *stoapb.TaskReport {
	m := &mesos.Task{
		Name:        proto.String(t.info.GetName()),
		TaskId:      t.info.TaskId,
		FrameworkId: frameworkID(t.framework.id),
		AgentId:     a.admitted.GetId(),
		State:       t.state.Enum(),
		Resources:   t.info.Resources,
		Labels:      t.info.Labels,
		Discovery:   t.info.Discovery,
		Container:   t.info.Container,
		KillPolicy:  t.info.KillPolicy,
		Limits:      t.info.Limits,
	}
	if e := t.info.GetExecutor(); e != nil {
		m.ExecutorId = e.ExecutorId
	}
	command := t.info.GetCommand()
	if command == nil {
		command = t.info.GetExecutor().GetCommand()
	}
	if u := a.runUser(t.framework, command); u != "" {
		m.User = proto.String(u)
	}
	if t.latest != nil {
		m.Statuses = []*mesos.TaskStatus{t.latest}
	}
	if s := t.stream.Shown(); s != nil {
		m.StatusUpdateState = s.State
		m.StatusUpdateUuid = s.Uuid
	}
	return &stoapb.TaskReport{Task: m, Info: t.info}
}

// frame obeys a message of the master, if it is the one the agent is linked to now.
func (a *Agent) frame(l Link, m *stoapb.ToAgent) {
	if !a.linkUp || l != a.link {
		return
	}
	switch m.GetBody().(type) {
	case *stoapb.ToAgent_Registered:
		a.isRegistered(m.GetRegistered())
		return
	case *stoapb.ToAgent_Refused:
		a.isRefused(m.GetRefused())
		return
	case *stoapb.ToAgent_Ping:
		a.setTimer(TimerPing, "", a.pingTimeout)
		a.toMaster(&stoapb.ToMaster{Body: &stoapb.ToMaster_Pong{Pong: &stoapb.Pong{Seq: proto.Uint64(m.GetPing().GetSeq())}}})
		return
	}
	if !a.registered || !a.obeys(epochOf(m)) {
		return
	}
	if a.applying != nil && behindOperations(m) {
		if r := m.GetRunTask(); r != nil && a.hasTask(r) {
			return // it may be over, and forgotten, once its turn comes
		}
		a.backlog = append(a.backlog, m)
		return
	}
	a.command(m)
}

// command carries out a message of the admitted master.
func (a *Agent) command(m *stoapb.ToAgent) {
	switch b := m.GetBody().(type) {
	case *stoapb.ToAgent_RunTask:
		a.runTask(b.RunTask)
	case *stoapb.ToAgent_KillTask:
		a.killTask(b.KillTask)
	case *stoapb.ToAgent_Acknowledge:
		a.acknowledge(b.Acknowledge)
	case *stoapb.ToAgent_ShutdownFramework:
		a.shutdownFramework(id.Framework(b.ShutdownFramework.GetFrameworkId().GetValue()))
	case *stoapb.ToAgent_ShutdownExecutor:
		a.shutdownExecutor(b.ShutdownExecutor)
	case *stoapb.ToAgent_FrameworkMessage:
		a.frameworkMessage(b.FrameworkMessage)
	case *stoapb.ToAgent_UpdateFramework:
		a.updateFramework(b.UpdateFramework.GetFramework())
	case *stoapb.ToAgent_ApplyOperation:
		a.applyOperation(b.ApplyOperation)
	case *stoapb.ToAgent_AcknowledgeOperation:
		a.acknowledgeOperation(b.AcknowledgeOperation)
	}
}

func epochOf(m *stoapb.ToAgent) uint64 {
	switch b := m.GetBody().(type) {
	case *stoapb.ToAgent_RunTask:
		return b.RunTask.GetEpoch()
	case *stoapb.ToAgent_KillTask:
		return b.KillTask.GetEpoch()
	case *stoapb.ToAgent_Acknowledge:
		return b.Acknowledge.GetEpoch()
	case *stoapb.ToAgent_ShutdownFramework:
		return b.ShutdownFramework.GetEpoch()
	case *stoapb.ToAgent_ShutdownExecutor:
		return b.ShutdownExecutor.GetEpoch()
	case *stoapb.ToAgent_FrameworkMessage:
		return b.FrameworkMessage.GetEpoch()
	case *stoapb.ToAgent_UpdateFramework:
		return b.UpdateFramework.GetEpoch()
	case *stoapb.ToAgent_ApplyOperation:
		return b.ApplyOperation.GetEpoch()
	case *stoapb.ToAgent_AcknowledgeOperation:
		return b.AcknowledgeOperation.GetEpoch()
	}
	return 0
}

// obeys reports whether a message of this epoch counts; a greater one than before is
// written down first, so that a deposed master stays deposed after a restart.
func (a *Agent) obeys(epoch uint64) bool {
	if epoch < a.epoch && !planted.Bug("older epoch obeyed") {
		return false
	}
	if epoch > a.epoch {
		a.epoch = epoch
		a.persist(true, &stoapb.LogRecord{Body: &stoapb.LogRecord_Epoch{Epoch: &stoapb.EpochSeen{Epoch: proto.Uint64(epoch)}}})
	}
	return true
}

func (a *Agent) isRegistered(m *stoapb.Registered) {
	if m.GetEpoch() < a.epoch && !planted.Bug("older epoch obeyed") {
		a.out.add(DropLink{a.link})
		return
	}
	if old := a.ID(); old != "" && id.Agent(m.GetAgentId().GetValue()) != old {
		a.out.add(Exit{"the master admitted this agent as " + m.GetAgentId().GetValue() + ", but its data directory is that of agent " +
			string(old) + "; stop what runs here and start with an empty data directory to join as a new agent"})
		return
	}
	info := proto.CloneOf(a.cfg.Info)
	info.Resources = a.cfg.Resources.Proto()
	info.Id = m.GetAgentId()
	if !proto.Equal(info, a.admitted) || a.recordedBoot != a.bootID {
		a.admitted = info
		a.recordBoot()
	}
	a.obeys(m.GetEpoch())
	a.registered = true
	a.pingTimeout = defaultPingTimeout
	if s := m.GetPingTimeoutSeconds(); s > 0 && s < 24*3600 {
		a.pingTimeout = time.Duration(s * float64(time.Second))
	}
	a.setTimer(TimerPing, "", a.pingTimeout)
	for _, f := range ordered(a.frameworks) {
		for _, t := range ordered(f.tasks) {
			t.stream.Resume()
			a.forward(t)
		}
	}
	a.resumeOperations()
}

// recordBoot writes the agent's identity and the boot that the log is of.
func (a *Agent) recordBoot() {
	a.recordedBoot = a.bootID
	a.persist(true, &stoapb.LogRecord{Body: &stoapb.LogRecord_Admitted{Admitted: &stoapb.AgentAdmitted{
		Info: a.admitted, BootId: proto.String(a.bootID),
	}}})
}

func (a *Agent) isRefused(m *stoapb.Refused) {
	message := m.GetMessage()
	if message == "" {
		message = "the master refused this agent without saying why"
	}
	if !m.GetShutdown() {
		a.out.add(Exit{message})
		return
	}
	a.exit = message
	a.shutdown(Shutdown{StopTasks: true})
}

// toMaster sends on the link if there is one.
func (a *Agent) toMaster(m *stoapb.ToMaster) {
	if a.linkUp {
		a.out.add(ToMaster{a.link, m})
	}
}

func frameworkID(f id.Framework) *mesos.FrameworkID {
	return &mesos.FrameworkID{Value: proto.String(string(f))}
}

func taskID(t id.Task) *mesos.TaskID { return &mesos.TaskID{Value: proto.String(string(t))} }

func executorID(e id.Executor) *mesos.ExecutorID {
	return &mesos.ExecutorID{Value: proto.String(string(e))}
}
