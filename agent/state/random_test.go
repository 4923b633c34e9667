package state

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stoa-kernel/stoa/agent/check"
	"github.com/stoa-kernel/stoa/agent/container"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	executorpb "github.com/stoa-kernel/stoa/api/mesos/v1/executor"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/kernel/id"
	tasks "github.com/stoa-kernel/stoa/kernel/task"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

// TestAnyInput feeds inputs in any order, sensible or not, with restarts between them:
// the agent never panics, answers each request once, and keeps its promises about
// order.
func TestAnyInput(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// rapid prefers small numbers, which would be the same few inputs again and again.
		d := dice{rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))}
		b := newBench(t)
		if d.n(10) > 0 {
			b.up()
		}
		p := promises{t: t, went: map[id.Container]bool{}, inFlight: map[string]string{}}
		for range rapid.IntRange(1, 400).Draw(t, "inputs") {
			if d.n(60) == 0 {
				if d.n(2) == 0 {
					b.log = b.agent.Snapshot()
					b.synced = len(b.log)
				}
				power := d.n(4) == 0
				b.restart(power)
				p.restarted(power)
				boot := "boot1"
				if power {
					boot = fmt.Sprint("boot", len(b.log))
				}
				p.check(b, b.step(Started{boot}), 0)
				continue
			}
			if d.n(12) == 0 {
				p.check(b, b.advance(time.Duration(d.n(100))*time.Second), 0)
				continue
			}
			b.token++
			in, asks := anyInput(d, b)
			n := 0
			if asks {
				n = 1
			}
			p.acknowledged(in)
			p.check(b, b.step(in), n)
		}
		p.conserved(b)
	})
}

// dice draws uniformly.
type dice struct{ *rand.Rand }

func (d dice) n(n int) int                { return d.IntN(n) }
func (d dice) pick(list ...string) string { return list[d.n(len(list))] }

// promises are checked over a whole run.
type promises struct {
	t        *rapid.T
	went     map[id.Container]bool // told to go
	inFlight map[string]string     // task -> uuid forwarded and not acknowledged
}

func (p *promises) restarted(power bool) {
	if power {
		// Ids of what the crash took from the log may come again.
		p.went = map[id.Container]bool{}
	}
	p.inFlight = map[string]string{}
}

// check looks at the effects of one step; n is how many answers there must be.
func (p *promises) check(b *bench, list []Effect, n int) {
	answers := 0
	for i, x := range list {
		switch x := x.(type) {
		case Answer:
			answers++
			if x.Status < 200 || x.Status > 599 {
				p.t.Fatalf("answer %+v", x)
			}
		case Go:
			if p.went[x.Container] {
				p.t.Fatalf("container %s was told to go twice", x.Container)
			}
			p.went[x.Container] = true
			if !slices.ContainsFunc(list[:i], func(x2 Effect) bool {
				r, ok := x2.(Persist)
				return ok && r.Record.GetForked().GetContainerId() == string(x.Container)
			}) {
				p.t.Fatalf("container %s was told to go before it was written down", x.Container)
			}
		case Launch:
			if !slices.ContainsFunc(list[:i], func(x2 Effect) bool {
				r, ok := x2.(Persist)
				return ok && r.Record.GetContainer().GetContainerId() == string(x.Spec.ID)
			}) {
				p.t.Fatalf("container %s was launched before it was written down", x.Spec.ID)
			}
		case ToMaster:
			p.dropped(x.Msg, list[i:]) // what was in flight before it
			p.toMaster(b, x.Msg)
			p.dropped(x.Msg, list[i:]) // and it
		}
	}
	if answers != n {
		p.t.Fatalf("%d answers, want %d: %v", answers, n, list)
	}
}

// dropped forgets what is in flight of a task whose end is told because it goes in this
// very step, with its framework: nobody will acknowledge it, and none follows.
func (p *promises) dropped(m *stoapb.ToMaster, after []Effect) {
	u := m.GetUpdate()
	if slices.ContainsFunc(after, func(x Effect) bool {
		r, ok := x.(Persist)
		g := r.Record.GetTaskGone()
		return ok && u != nil && g.GetFrameworkId().GetValue() == u.GetFrameworkId().GetValue() &&
			g.GetTaskId().GetValue() == u.GetStatus().GetTaskId().GetValue()
	}) {
		delete(p.inFlight, u.GetFrameworkId().GetValue()+"/"+u.GetStatus().GetTaskId().GetValue())
	}
}

func (p *promises) toMaster(b *bench, m *stoapb.ToMaster) {
	u := m.GetUpdate()
	if u == nil {
		return
	}
	key := u.GetFrameworkId().GetValue() + "/" + u.GetStatus().GetTaskId().GetValue()
	uuid := string(u.GetStatus().GetUuid())
	if !slices.ContainsFunc(b.log[:b.synced], func(r *stoapb.LogRecord) bool {
		// Old records may have been compacted away; their updates stay in the snapshot.
		return string(r.GetUpdate().GetStatus().GetUuid()) == uuid
	}) {
		p.t.Fatalf("update %v was forwarded and is not on disk", u.GetStatus())
	}
	if old := p.inFlight[key]; old != "" && old != uuid {
		p.t.Fatalf("two updates of %s are in flight", key)
	}
	p.inFlight[key] = uuid
	if len(uuid) != 16 {
		p.t.Fatalf("an update has a uuid of %d bytes", len(uuid))
	}
}

// acknowledged: the next update may follow.
func (p *promises) acknowledged(in Input) {
	if f, ok := in.(Frame); ok {
		if k := f.Msg.GetAcknowledge(); k != nil {
			key := k.GetFrameworkId().GetValue() + "/" + k.GetTaskId().GetValue()
			if p.inFlight[key] == string(k.GetUuid()) {
				delete(p.inFlight, key)
			}
		}
		if k := f.Msg.GetShutdownFramework(); k != nil {
			// It may drop what nobody acknowledges.
			for key := range p.inFlight {
				if strings.HasPrefix(key, k.GetFrameworkId().GetValue()+"/") {
					delete(p.inFlight, key)
				}
			}
		}
	}
}

// conserved holds at rest: the maps agree with one another.
func (p *promises) conserved(b *bench) {
	a := b.agent
	runs := 0
	for _, f := range a.frameworks {
		runs += len(f.runs)
		for cid, e := range f.runs {
			if a.runs[cid] != e || e.framework != f {
				p.t.Fatalf("container %s is not where it belongs", cid)
			}
			for tid, t := range e.tasks {
				if f.tasks[tid] != t || t.executor != e || t.terminal() {
					p.t.Fatalf("task %s of container %s: %+v", tid, cid, t)
				}
			}
		}
		for tid, t := range f.tasks {
			if t.terminal() != tasks.Terminal(t.state) {
				p.t.Fatalf("task %s is in state %v and its stream says terminal=%v", tid, t.state, t.terminal())
			}
			if !t.terminal() && (t.executor == nil || t.executor.tasks[tid] != t) {
				p.t.Fatalf("live task %s has no executor", tid)
			}
		}
		if len(f.runs) == 0 && len(f.tasks) == 0 && f.info != nil {
			p.t.Fatalf("framework %s is kept for nothing", f.id)
		}
	}
	if runs != len(a.runs) {
		p.t.Fatalf("%d containers, the frameworks have %d", len(a.runs), runs)
	}
	for s, e := range a.streams {
		if e.stream != s {
			p.t.Fatalf("stream %d is not its executor's", s)
		}
	}
	if !a.total.WithoutReservations().Equal(a.cfg.Resources) {
		p.t.Fatalf("resources are not conserved: %v of %v", a.total, a.cfg.Resources)
	}
}

// anyInput draws an input; asks says that it must be answered.
func anyInput(d dice, b *bench) (in Input, asks bool) {
	pick := d.pick
	fw := pick("f", "f", "f", "f", "f", "f", "f", "f", "g", "g", "")
	tid := pick("a", "b", "c", "d", "a", "b", "c", "d", "e", "", "..")
	eid := pick("x", "x", "x", "x", "y", "y", "a", "")
	cid := id.Container("nobody")
	var run *executor
	if list := ordered(b.agent.runs); len(list) > 0 && d.n(20) > 0 {
		run = list[d.n(len(list))]
		cid = run.container
	}
	state := mesos.TaskState(d.n(15))
	link := b.agent.link
	if d.n(20) == 0 {
		link--
	}
	epoch := uint64(d.n(4))
	uuid := []byte("0123456789abcdef")
	var heads []string
	for _, f := range ordered(b.agent.frameworks) {
		for _, x := range ordered(f.tasks) {
			if h := x.stream.Head(); h != nil {
				heads = append(heads, string(f.id)+"/"+string(x.id)+"/"+string(h.Uuid))
			}
		}
	}
	frame := func(m *stoapb.ToAgent) (Input, bool) { return Frame{link, m}, false }
	call := &executorpb.Call{FrameworkId: frameworkID(id.Framework(fw)), ExecutorId: executorID(id.Executor(eid))}
	switch d.n(37) {
	case 0:
		return LinkUp{b.agent.link + 1}, false
	case 1:
		return LinkDown{link}, false
	case 2, 3:
		return frame(&stoapb.ToAgent{Body: &stoapb.ToAgent_Registered{Registered: &stoapb.Registered{
			AgentId: &mesos.AgentID{Value: proto.String("A0")}, Epoch: proto.Uint64(max(epoch, b.agent.epoch)),
		}}})
	case 4, 5, 6:
		info := commandTask(tid)
		if d.n(2) == 0 {
			info = customTask(tid, eid)
		}
		if d.n(10) == 0 {
			info.HealthCheck = &mesos.HealthCheck{Command: &mesos.CommandInfo{User: proto.String("u")}}
		}
		if d.n(2) == 0 {
			info.HealthCheck = &mesos.HealthCheck{Type: mesos.HealthCheck_TCP.Enum(), Tcp: &mesos.HealthCheck_TCPCheckInfo{Port: proto.Uint32(1)}}
			info.Check = &mesos.CheckInfo{Type: mesos.CheckInfo_COMMAND.Enum(), Command: &mesos.CheckInfo_Command{Command: &mesos.CommandInfo{Value: proto.String("x")}}}
		}
		if d.n(2) == 0 {
			info.Probes = []*mesos.Probe{{Index: proto.Uint32(3), Port: proto.Uint32(1), Protocol: mesos.Probe_TCP.Enum()}}
		}
		if d.n(5) == 0 {
			info.MaxCompletionTime = &mesos.DurationInfo{Nanoseconds: proto.Int64(int64(time.Minute))}
		}
		return frame(runTaskFrame(max(epoch, b.agent.epoch), frameworkInfo(fw), info))
	case 7, 8:
		m := killTaskFrame(max(epoch, b.agent.epoch), fw, tid, time.Duration(d.n(12)-1)*time.Second)
		if p := m.GetKillTask().GetKillPolicy(); p != nil && d.n(3) == 0 {
			p.DrainPeriod = seconds(d.pick("0s", "5s"))
			p.PreStop = &mesos.CommandInfo{Value: proto.String(d.pick("bye", ""))}
		}
		return frame(m)
	case 9, 10:
		if len(heads) > 0 {
			var f, x string
			h := heads[d.n(len(heads))]
			for i := range h {
				if h[i] == '/' {
					f, h = h[:i], h[i+1:]
					break
				}
			}
			x, h = h[:len(h)-17], h[len(h)-16:]
			return frame(acknowledgeFrame(b.agent.epoch, f, x, []byte(h)))
		}
		return frame(acknowledgeFrame(b.agent.epoch, fw, tid, uuid))
	case 11:
		return frame(&stoapb.ToAgent{Body: &stoapb.ToAgent_ShutdownFramework{ShutdownFramework: &stoapb.ShutdownFramework{
			Epoch: proto.Uint64(epoch), FrameworkId: frameworkID(id.Framework(fw)),
		}}})
	case 12:
		return frame(&stoapb.ToAgent{Body: &stoapb.ToAgent_ShutdownExecutor{ShutdownExecutor: &stoapb.ShutdownExecutor{
			Epoch: proto.Uint64(b.agent.epoch), FrameworkId: frameworkID(id.Framework(fw)), ExecutorId: executorID(id.Executor(eid)),
		}}})
	case 13:
		kind := pick("RESERVE", "UNRESERVE", "CREATE", "DESTROY", "LAUNCH")
		op := operationOf(kind, map[string]string{"disk": "100", "volume": "v"})
		if d.n(2) == 0 {
			op.Id = &mesos.OperationID{Value: proto.String("op")}
		}
		return frame(&stoapb.ToAgent{Body: &stoapb.ToAgent_ApplyOperation{ApplyOperation: &stoapb.ApplyOperation{
			Epoch: proto.Uint64(b.agent.epoch), Operation: op, OperationUuid: []byte(pick("1", "2", "3", "4", "5")),
		}}})
	case 14:
		if x := b.agent.applying; x != nil {
			return VolumesApplied{Operation: fmt.Sprintf("%x", x.m.GetOperationUuid()), Err: pick("", "", "no")}, false
		}
		return VolumesApplied{Operation: "31"}, false
	case 15:
		return frame(&stoapb.ToAgent{})
	case 34, 35, 36:
		in := Checked{Container: cid, Task: id.Task(tid), Check: d.n(5) + preStopCheck, Result: check.Result{Connected: d.n(2) == 0, Code: int32(d.n(3)), None: d.n(5) == 0}}
		if run != nil && run.only() != nil {
			in.Task = run.only().id
		}
		return in, false
	case 25, 26, 27, 28, 29, 30, 31, 32, 33:
		// What a truthful containerizer would say next.
		if run == nil {
			return DiskUsage{0.5}, false
		}
		switch {
		case run.doomed && run.stage == preparing:
			return Container{container.Failed{ID: cid, Canceled: true}}, false
		case run.doomed && run.stage != ended:
			return Container{container.Exited{ID: cid, Record: container.Exit{Known: true, Wait: 9}}}, false
		case run.doomed:
			return Container{container.Destroyed{ID: cid}}, false
		case run.stage == preparing:
			return Container{container.Forked{ID: cid, BootID: b.agent.bootID, Pid: 1, StartTime: 2}}, false
		case run.stage == adopting && d.n(3) == 0:
			return Container{container.Failed{ID: cid, Canceled: true}}, false
		case run.stage == going, run.stage == adopting:
			return Container{container.Started{ID: cid, TaskPid: 3}}, false
		case d.n(3) == 0:
			return Container{container.Exited{ID: cid, Record: container.Exit{Known: true, Wait: int32(d.n(2)) << 8}}}, false
		}
		return DiskUsage{0.5}, false
	case 16, 17:
		return Container{container.Forked{ID: cid, BootID: b.agent.bootID, Pid: 1, StartTime: 2}}, false
	case 18:
		return Container{container.Started{ID: cid, TaskPid: 3}}, false
	case 19:
		switch pick("fetching", "failed", "exited", "destroyed") {
		case "fetching":
			return Container{container.Fetching{ID: cid}}, false
		case "failed":
			return Container{container.Failed{ID: cid, Canceled: d.n(2) == 0}}, false
		case "exited":
			return Container{container.Exited{ID: cid, Record: container.Exit{
				Known: d.n(4) > 0, OOM: d.n(4) == 0, Wait: int32(d.n(3) * d.n(1<<15)),
			}}}, false
		}
		return Container{container.Destroyed{ID: cid}}, false
	case 20:
		call.Type = executorpb.Call_SUBSCRIBE.Enum()
		call.Subscribe = &executorpb.Call_Subscribe{
			UnacknowledgedTasks:   []*mesos.TaskInfo{customTask(tid, eid)},
			UnacknowledgedUpdates: []*executorpb.Call_Update{{Status: executorStatusOf(tid, state, "s")}, {}},
		}
		return ExecutorSubscribe{b.token, Stream(b.token), call}, true
	case 21, 22:
		call.Type = executorpb.Call_Type(2 + d.n(4)%3*d.n(2)).Enum()
		if d.n(10) > 0 {
			s := executorStatusOf(tid, state, fmt.Sprint(d.n(60)))
			if d.n(10) == 0 {
				s.Uuid = s.Uuid[:d.n(17)]
			}
			call.Update = &executorpb.Call_Update{Status: s}
		}
		return ExecutorCall{b.token, call}, true
	case 23:
		return ExecutorGone{Stream(d.n(int(b.token) + 1))}, false
	}
	switch pick("disk", "removed", "fired", "shutdown") {
	case "disk":
		return DiskUsage{float64(d.n(100)) / 90}, false
	case "removed":
		return SandboxRemoved{Container: cid, Err: pick("", "no")}, false
	case "fired":
		owner := pick(string(cid), fw+"/"+tid, "", "1", "zz")
		if d.n(3) == 0 {
			return Fired{Timer{TimerCheck, fmt.Sprint(d.n(4)-1, "/", owner)}}, false
		}
		return Fired{Timer{TimerKind(d.n(13)), owner}}, false
	}
	if d.n(30) == 0 {
		return Shutdown{StopTasks: d.n(2) == 0, Now: d.n(2) == 0}, false
	}
	return DiskUsage{0.5}, false
}
