package state

import (
	"encoding/hex"
	"fmt"
	"strings"

	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	executorpb "github.com/stoa-kernel/stoa/api/mesos/v1/executor"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/internal/loop"
	"github.com/stoa-kernel/stoa/kernel/clock"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

// bench holds one agent, its log and its timers, without anything around them.
type bench struct {
	t      rapid.TB
	cfg    Config
	agent  *Agent
	log    []*stoapb.LogRecord
	synced int // records that a power failure leaves
	timers loop.Timers[Timer]
	mono   time.Duration
	wall   time.Time
	out    Effects
	token  Token
}

func testConfig() Config {
	rs, err := resource.Parse("cpus:8;mem:8192;disk:10240;ports:[31000-32000]", "*")
	if err != nil {
		panic(err)
	}
	return Config{
		Seed:       1,
		Version:    "1",
		Info:       &mesos.AgentInfo{Hostname: proto.String("host"), Port: proto.Int32(5051)},
		IP:         "10.0.0.1",
		Resources:  rs,
		WorkDir:    "/var/stoa",
		Endpoint:   "10.0.0.1:5051",
		Path:       "/usr/bin:/bin",
		SwitchUser: true,
		AgentUser:  "root",
		PidsLimit:  1000,
	}
}

func newBench(t rapid.TB) *bench {
	b := &bench{t: t, cfg: testConfig(), wall: time.Unix(1_700_000_000, 0)}
	b.agent = New(b.cfg)
	return b
}

func (b *bench) now() clock.Now { return clock.Now{Mono: b.mono, Wall: b.wall.Add(b.mono)} }

// step feeds one input; timers and log are kept, all effects are returned.
func (b *bench) step(in Input) []Effect {
	b.out.Reset()
	b.agent.Step(b.now(), in, &b.out)
	list := append([]Effect(nil), b.out.List...)
	for _, x := range list {
		b.keep(x)
	}
	return list
}

func (b *bench) keep(x Effect) {
	switch x := x.(type) {
	case Persist:
		b.log = append(b.log, proto.CloneOf(x.Record))
		if x.Sync {
			b.synced = len(b.log)
		}
	case SetTimer:
		b.timers.Set(x.Timer, x.At)
	case StopTimer:
		b.timers.Stop(x.Timer)
	}
}

// advance lets time pass and feeds the timers that are due on the way.
func (b *bench) advance(d time.Duration) []Effect {
	var list []Effect
	end := b.mono + d
	for {
		at, ok := b.timers.Next()
		if !ok || at > end {
			break
		}
		b.mono = max(b.mono, at)
		t, _ := b.timers.Due(b.mono)
		list = append(list, b.step(Fired{t})...)
	}
	b.mono = end
	return list
}

// restart replays the log in a new agent; power cuts what was not on disk.
func (b *bench) restart(power bool) {
	if power {
		b.log = b.log[:b.synced]
	}
	b.timers = loop.Timers[Timer]{}
	b.agent = New(b.cfg)
	if err := b.agent.Replay(b.log); err != nil {
		b.t.Fatalf("replay: %v", err)
	}
}

// up starts the agent and registers it on link 1.
func (b *bench) up() *bench {
	b.step(Started{BootID: "boot1"})
	b.register(1, 1)
	return b
}

func (b *bench) register(l Link, epoch uint64) []Effect {
	list := b.step(LinkUp{l})
	return append(list, b.step(Frame{l, &stoapb.ToAgent{Body: &stoapb.ToAgent_Registered{Registered: &stoapb.Registered{
		AgentId: &mesos.AgentID{Value: proto.String("A0")}, Epoch: proto.Uint64(epoch), PingTimeoutSeconds: proto.Float64(75),
	}}}})...)
}

// frame sends a message of the master on the agent's link.
func (b *bench) frame(m *stoapb.ToAgent) []Effect { return b.step(Frame{b.agent.link, m}) }

func frameworkInfo(f string, capabilities ...mesos.FrameworkInfo_Capability_Type) *mesos.FrameworkInfo {
	info := &mesos.FrameworkInfo{User: proto.String("nobody"), Name: proto.String(f), Id: frameworkID(id.Framework(f))}
	for _, c := range capabilities {
		info.Capabilities = append(info.Capabilities, &mesos.FrameworkInfo_Capability{Type: c.Enum()})
	}
	return info
}

func scalar(name string, v float64) *mesos.Resource {
	return &mesos.Resource{
		Name: proto.String(name), Type: mesos.Value_SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: proto.Float64(v)},
		AllocationInfo: &mesos.Resource_AllocationInfo{Role: proto.String("dev")},
	}
}

func commandTask(tid string, change ...func(*mesos.TaskInfo)) *mesos.TaskInfo {
	t := &mesos.TaskInfo{
		Name: proto.String(tid), TaskId: taskID(id.Task(tid)), AgentId: &mesos.AgentID{Value: proto.String("A0")},
		Resources: []*mesos.Resource{scalar("cpus", 1), scalar("mem", 64)},
		Command:   &mesos.CommandInfo{Value: proto.String("run " + tid)},
	}
	for _, c := range change {
		c(t)
	}
	return t
}

func customTask(tid, eid string, change ...func(*mesos.TaskInfo)) *mesos.TaskInfo {
	t := commandTask(tid)
	t.Command = nil
	t.Executor = &mesos.ExecutorInfo{
		ExecutorId: executorID(id.Executor(eid)), Command: &mesos.CommandInfo{Value: proto.String("executor " + eid)},
		Resources: []*mesos.Resource{scalar("cpus", 0.5), scalar("mem", 32)},
	}
	for _, c := range change {
		c(t)
	}
	return t
}

func runTaskFrame(epoch uint64, f *mesos.FrameworkInfo, t *mesos.TaskInfo) *stoapb.ToAgent {
	return &stoapb.ToAgent{Body: &stoapb.ToAgent_RunTask{RunTask: &stoapb.RunTask{Epoch: proto.Uint64(epoch), Framework: f, Task: t}}}
}

func killTaskFrame(epoch uint64, f, t string, grace time.Duration) *stoapb.ToAgent {
	k := &stoapb.KillTask{Epoch: proto.Uint64(epoch), FrameworkId: frameworkID(id.Framework(f)), TaskId: taskID(id.Task(t))}
	if grace >= 0 {
		k.KillPolicy = &mesos.KillPolicy{GracePeriod: &mesos.DurationInfo{Nanoseconds: proto.Int64(int64(grace))}}
	}
	return &stoapb.ToAgent{Body: &stoapb.ToAgent_KillTask{KillTask: k}}
}

func acknowledgeFrame(epoch uint64, f string, t string, uuid []byte) *stoapb.ToAgent {
	return &stoapb.ToAgent{Body: &stoapb.ToAgent_Acknowledge{Acknowledge: &stoapb.Acknowledge{
		Epoch: proto.Uint64(epoch), FrameworkId: frameworkID(id.Framework(f)), TaskId: taskID(id.Task(t)), Uuid: uuid,
	}}}
}

func (b *bench) subscribe(f, e string, s Stream, change ...func(*executorpb.Call_Subscribe)) []Effect {
	b.token++
	c := &executorpb.Call{
		Type: executorpb.Call_SUBSCRIBE.Enum(), FrameworkId: frameworkID(id.Framework(f)), ExecutorId: executorID(id.Executor(e)),
		Subscribe: &executorpb.Call_Subscribe{},
	}
	for _, x := range change {
		x(c.Subscribe)
	}
	return b.step(ExecutorSubscribe{b.token, s, c})
}

func executorStatusOf(t string, s mesos.TaskState, uuid string) *mesos.TaskStatus {
	u := make([]byte, 16)
	copy(u, uuid)
	return &mesos.TaskStatus{TaskId: taskID(id.Task(t)), State: s.Enum(), Source: mesos.TaskStatus_SOURCE_EXECUTOR.Enum(), Uuid: u}
}

func (b *bench) executorUpdate(f, e string, u *mesos.TaskStatus) []Effect {
	b.token++
	return b.step(ExecutorCall{b.token, &executorpb.Call{
		Type: executorpb.Call_UPDATE.Enum(), FrameworkId: frameworkID(id.Framework(f)), ExecutorId: executorID(id.Executor(e)),
		Update: &executorpb.Call_Update{Status: u},
	}})
}

// task finds a task of the agent.
func (b *bench) task(f, t string) *task {
	b.t.Helper()
	if x := b.agent.frameworks[id.Framework(f)]; x != nil && x.tasks[id.Task(t)] != nil {
		return x.tasks[id.Task(t)]
	}
	b.t.Fatalf("task %s of %s is not known", t, f)
	return nil
}

// containerOf is the container a task was launched in last.
func (b *bench) containerOf(f, t string) id.Container { return b.task(f, t).executor.container }

// names shortens the ids the generator makes: containers are c1, c2, …, uuids u1, ….
type names struct {
	seen map[string]string
	c, u int
}

func (n *names) container(s string) string {
	if s == "" {
		return "-"
	}
	return n.name(s, "c", &n.c)
}

func (n *names) uuid(b []byte) string {
	if len(b) == 0 {
		return "-"
	}
	return n.name(hex.EncodeToString(b), "u", &n.u)
}

func (n *names) name(s, prefix string, count *int) string {
	if n.seen == nil {
		n.seen = make(map[string]string)
	}
	if _, ok := n.seen[s]; !ok {
		*count++
		n.seen[s] = fmt.Sprint(prefix, *count)
	}
	return n.seen[s]
}

func (n *names) lookup(short string) string {
	for long, s := range n.seen {
		if s == short {
			return long
		}
	}
	return short
}

// show prints an effect on one line.
func (n *names) show(x Effect) string {
	switch x := x.(type) {
	case Persist:
		sync := ""
		if x.Sync {
			sync = " on disk"
		}
		return "log " + n.record(x.Record) + sync
	case ToMaster:
		return fmt.Sprintf("master(%d) %s", x.Link, n.toMaster(x.Msg))
	case DropLink:
		return fmt.Sprintf("drop-link %d", x.Link)
	case ToExecutor:
		return fmt.Sprintf("executor(%d) %s", x.Stream, n.event(x.Event))
	case CloseExecutor:
		return fmt.Sprintf("close-executor %d", x.Stream)
	case Answer:
		return strings.TrimSpace(fmt.Sprintf("answer %d %s", x.Status, x.Message))
	case Launch:
		s := x.Spec
		return fmt.Sprintf("launch %s path=%s argv=%q user=%s uris=%d limits=%+v volumes=%+v", n.container(string(s.ID)), s.Path, s.Argv, s.User, len(s.URIs), s.Limits, s.Volumes)
	case Go:
		return "go " + n.container(string(x.Container))
	case Adopt:
		return fmt.Sprintf("adopt %s boot=%s pid=%d start=%d task=%d", n.container(string(x.Live.ID)), x.Live.BootID, x.Live.Pid, x.Live.StartTime, x.Live.TaskPid)
	case Signal:
		return fmt.Sprintf("signal %s %d", n.container(string(x.Container)), x.Signal)
	case Destroy:
		return "destroy " + n.container(string(x.Container))
	case Resize:
		return fmt.Sprintf("resize %s %+v", n.container(string(x.Container)), x.Limits)
	case Check:
		t, what := x.Target, ""
		if x.Spec != nil {
			what = fmt.Sprintf("%s %q in %s as %q with %s", x.Spec.Path, x.Spec.Argv, n.path(x.Spec.Sandbox), x.Spec.User, x.Spec.Env[0])
		} else {
			what = fmt.Sprintf("%s:%d%s", t.Address, t.Port, t.Path)
		}
		return fmt.Sprintf("check %s %s %d %s %s timeout=%s", n.container(string(x.Container)), x.Task, x.Check,
			[...]string{"command", "http", "https", "tcp"}[t.Type], what, t.Timeout)
	case StopChecks:
		return fmt.Sprintf("stop-checks %s %s", n.container(string(x.Container)), x.Task)
	case ApplyVolumes:
		if len(x.Restore) > 0 {
			return fmt.Sprintf("volumes restore=%d", len(x.Restore))
		}
		return fmt.Sprintf("volumes %s create=%d destroy=%d", x.Operation, len(x.Create), len(x.Destroy))
	case RemoveSandbox:
		return "remove-sandbox " + n.container(string(x.Container)) + " " + n.path(x.Path)
	case SetTimer:
		return fmt.Sprintf("timer %s %s at %s", timerNames[x.Timer.Kind], n.owner(x.Timer.Owner), x.At)
	case StopTimer:
		return fmt.Sprintf("stop-timer %s %s", timerNames[x.Timer.Kind], n.owner(x.Timer.Owner))
	case Exit:
		return "exit " + x.Message
	case Stopped:
		return "stopped"
	}
	return fmt.Sprintf("%T", x)
}

var timerNames = map[TimerKind]string{
	TimerRetry: "retry", TimerKill: "kill", TimerCompletion: "completion", TimerRegistration: "registration",
	TimerReregistration: "reregistration", TimerShutdown: "shutdown", TimerPing: "ping", TimerHeartbeat: "heartbeat",
	TimerGC: "gc", TimerStop: "stop", TimerOperation: "operation", TimerCheck: "check",
}

func (n *names) owner(s string) string {
	if short, ok := n.seen[s]; ok {
		return short
	}
	return s
}

func (n *names) path(s string) string {
	i := strings.LastIndexByte(s, '/')
	return s[:i+1] + n.container(s[i+1:])
}

func (n *names) status(s *mesos.TaskStatus) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s", s.GetTaskId().GetValue(), strings.TrimPrefix(s.GetState().String(), "TASK_"), n.uuid(s.Uuid))
	fmt.Fprintf(&b, " by %s", strings.ToLower(strings.TrimPrefix(s.GetSource().String(), "SOURCE_")))
	if s.Reason != nil {
		b.WriteString(" " + s.GetReason().String())
	}
	if s.Message != nil {
		fmt.Fprintf(&b, " %q", s.GetMessage())
	}
	if c := s.GetContainerStatus(); c != nil {
		fmt.Fprintf(&b, " in %s pid %d", n.container(c.GetContainerId().GetValue()), c.GetExecutorPid())
	}
	if s.Healthy != nil {
		fmt.Fprintf(&b, " healthy=%v", s.GetHealthy())
	}
	if c := s.GetCheckStatus(); c != nil {
		fmt.Fprintf(&b, " check=%s", strings.ReplaceAll(c.String(), "  ", " "))
	}
	for _, r := range s.GetProbeResults() {
		fmt.Fprintf(&b, " probe %d alive=%v failures=%d", r.GetIndex(), r.GetAlive(), r.GetConsecutiveFailures())
		since := func(what string, at *float64) {
			if at != nil {
				fmt.Fprintf(&b, " %s=%s", what, time.Unix(0, int64(*at*1e9)).UTC().Format("15:04:05"))
			}
		}
		since("first", r.FirstSuccess)
		since("success", r.LastSuccess)
		since("failure", r.LastFailure)
		if r.LastFailureCause != nil {
			fmt.Fprintf(&b, " %q", r.GetLastFailureCause())
		}
	}
	if l := s.GetLimitation(); l != nil {
		fmt.Fprintf(&b, " limitation %s %v", l.Resources[0].GetName(), l.Resources[0].GetScalar().GetValue())
	}
	return b.String()
}

func (n *names) record(r *stoapb.LogRecord) string {
	switch b := r.GetBody().(type) {
	case *stoapb.LogRecord_Admitted:
		return "admitted " + b.Admitted.GetInfo().GetId().GetValue() + " boot=" + b.Admitted.GetBootId()
	case *stoapb.LogRecord_Epoch:
		return fmt.Sprint("epoch ", b.Epoch.GetEpoch())
	case *stoapb.LogRecord_Resources:
		return "resources " + show(b.Resources.GetResources())
	case *stoapb.LogRecord_Framework:
		return "framework " + b.Framework.GetInfo().GetId().GetValue()
	case *stoapb.LogRecord_FrameworkGone:
		return "framework-gone " + b.FrameworkGone.GetFrameworkId().GetValue()
	case *stoapb.LogRecord_FrameworkShutdown:
		return "framework-shutdown " + b.FrameworkShutdown.GetFrameworkId().GetValue()
	case *stoapb.LogRecord_Container:
		return fmt.Sprintf("container %s executor=%s", n.container(b.Container.GetContainerId()), b.Container.GetExecutor().GetExecutorId().GetValue())
	case *stoapb.LogRecord_Forked:
		return fmt.Sprintf("forked %s boot=%s pid=%d start=%d task=%d", n.container(b.Forked.GetContainerId()), b.Forked.GetBootId(), b.Forked.GetPid(), b.Forked.GetStartTime(), b.Forked.GetTaskPid())
	case *stoapb.LogRecord_ContainerGone:
		return "container-gone " + n.container(b.ContainerGone.GetContainerId())
	case *stoapb.LogRecord_SandboxGone:
		return "sandbox-gone " + n.container(b.SandboxGone.GetContainerId())
	case *stoapb.LogRecord_Task:
		return fmt.Sprintf("task %s in %s", b.Task.GetInfo().GetTaskId().GetValue(), n.container(b.Task.GetContainerId()))
	case *stoapb.LogRecord_Update:
		return "update " + n.status(b.Update.GetStatus())
	case *stoapb.LogRecord_Acknowledged:
		return fmt.Sprintf("acknowledged %s %s", b.Acknowledged.GetTaskId().GetValue(), n.uuid(b.Acknowledged.GetUuid()))
	case *stoapb.LogRecord_TaskGone:
		return "task-gone " + b.TaskGone.GetTaskId().GetValue()
	case *stoapb.LogRecord_Operation:
		return "operation " + n.operation(b.Operation.GetStatus())
	case *stoapb.LogRecord_OperationDone:
		return "operation-done"
	case *stoapb.LogRecord_Kill:
		s := "kill " + b.Kill.GetTaskId().GetValue()
		if b.Kill.GetStep() != 0 {
			s += " " + b.Kill.GetStep().String()
		}
		return s
	}
	return "?"
}

func (n *names) operation(s *mesos.OperationStatus) string {
	return strings.TrimSpace(fmt.Sprintf("%s %s %s %s", s.GetOperationId().GetValue(), s.GetState(), n.uuid(s.GetUuid().GetValue()), s.GetMessage()))
}

func (n *names) toMaster(m *stoapb.ToMaster) string {
	switch b := m.GetBody().(type) {
	case *stoapb.ToMaster_Register:
		r := b.Register
		var s strings.Builder
		fmt.Fprintf(&s, "register id=%s boot=%s epoch=%d resources=%s", r.GetInfo().GetId().GetValue(), r.GetBootId(), r.GetEpoch(), show(r.GetResources()))
		for _, f := range r.GetFrameworks() {
			s.WriteString("\n  framework " + f.GetId().GetValue())
		}
		for _, e := range r.GetExecutors() {
			s.WriteString("\n  executor " + e.GetExecutorId().GetValue())
		}
		for _, t := range r.GetTasks() {
			fmt.Fprintf(&s, "\n  task %s %s shown %s %s", t.GetTask().GetTaskId().GetValue(), t.GetTask().GetState(), t.GetTask().GetStatusUpdateState(), n.uuid(t.GetTask().GetStatusUpdateUuid()))
		}
		for _, o := range r.GetOperations() {
			s.WriteString("\n  operation " + n.operation(o.GetLatestStatus()))
		}
		return s.String()
	case *stoapb.ToMaster_Update:
		return fmt.Sprintf("update %s latest %s", n.status(b.Update.GetStatus()), strings.TrimPrefix(b.Update.GetLatestState().String(), "TASK_"))
	case *stoapb.ToMaster_OperationUpdate:
		return "operation " + n.operation(b.OperationUpdate.GetStatus())
	case *stoapb.ToMaster_ExecutorExited:
		return fmt.Sprintf("executor-exited %s status %d", b.ExecutorExited.GetExecutorId().GetValue(), b.ExecutorExited.GetStatus())
	case *stoapb.ToMaster_ExecutorMessage:
		return fmt.Sprintf("message of %s %q", b.ExecutorMessage.GetExecutorId().GetValue(), b.ExecutorMessage.GetData())
	case *stoapb.ToMaster_Pong:
		return fmt.Sprint("pong ", b.Pong.GetSeq())
	case *stoapb.ToMaster_ResourcesChanged:
		return "resources-changed " + show(b.ResourcesChanged.GetResources())
	}
	return fmt.Sprintf("%T", m.GetBody())
}

func (n *names) event(e *executorpb.Event) string {
	switch e.GetType() {
	case executorpb.Event_LAUNCH:
		return "LAUNCH " + e.GetLaunch().GetTask().GetTaskId().GetValue()
	case executorpb.Event_KILL:
		s := "KILL " + e.GetKill().GetTaskId().GetValue()
		if p := e.GetKill().GetKillPolicy(); p != nil {
			s += " grace " + time.Duration(p.GetGracePeriod().GetNanoseconds()).String()
			if c := p.GetPreStop(); c != nil {
				s += " pre_stop " + c.GetValue()
			}
		}
		return s
	case executorpb.Event_ACKNOWLEDGED:
		return "ACKNOWLEDGED " + e.GetAcknowledged().GetTaskId().GetValue()
	case executorpb.Event_MESSAGE:
		return fmt.Sprintf("MESSAGE %q", e.GetMessage().GetData())
	case executorpb.Event_SUBSCRIBED:
		return "SUBSCRIBED " + e.GetSubscribed().GetExecutorInfo().GetExecutorId().GetValue() + " in " +
			n.container(e.GetSubscribed().GetContainerId().GetValue()) + " of " + e.GetSubscribed().GetAgentInfo().GetId().GetValue()
	}
	return e.GetType().String()
}

func show(rs []*mesos.Resource) string {
	r, err := resource.Of(rs...)
	if err != nil {
		return err.Error()
	}
	return r.String()
}
