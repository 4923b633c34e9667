package state

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
	lifecycle "github.com/stoa-kernel/stoa/kernel/task"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

// TestProperty gives the master random inputs, sensible and not: after every Step the
// books balance (see invariants), a full cycle of the allocator at a quiet point offers
// nothing that was forgotten, and the same inputs give the same effects and hash.
func TestProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dice := rapid.SliceOfN(rapid.Uint16(), 50, 600).Draw(t, "dice")
		log1, hash1 := chaos(t, dice)
		log2, hash2 := chaos(t, dice)
		for i := range log1 {
			if i >= len(log2) || log1[i] != log2[i] {
				t.Fatalf("effect %d differs between two runs: %s / %s", i, log1[i], log2[min(i, len(log2)-1)])
			}
		}
		if hash1 != hash2 || len(log1) != len(log2) {
			t.Fatalf("two runs: hashes %x and %x, %d and %d effects", hash1, hash2, len(log1), len(log2))
		}
	})
}

// TestChaosReaches fails if the random inputs stopped reaching what they are for.
func TestChaosReaches(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(120) {
		r := rand.New(rand.NewPCG(seed, 1))
		dice := make([]uint16, 1500)
		for i := range dice {
			dice[i] = uint16(r.Uint32())
		}
		log, _ := chaos(t, dice)
		for _, line := range log {
			if strings.Contains(line, "RunTask") && strings.Contains(line, "<SHARED>") {
				seen["a task with a shared volume"]++
			}
			for _, word := range strings.Fields(line) {
				word, _, _ = strings.Cut(word, "@")
				seen[word]++
			}
		}
	}
	for _, want := range []string{
		"OFFERS", "RESCIND", "ERROR", "FAILURE", "RunTask", "KillTask", "Acknowledge", "ShutdownFramework",
		"UpdateFramework", "ApplyOperation", "AcknowledgeOperation", "Registered", "Refused",
		"OPERATION_FINISHED", "OPERATION_ERROR", "TASK_UNREACHABLE", "TASK_GONE", "TASK_LOST", "TASK_DROPPED",
		"TASK_ERROR", "TASK_KILLED", "TASK_RUNNING", "AGENT_REREGISTERED", "AGENT_RESTARTED", "INVALID_OFFERS",
		"UNREACHABLE", "removed", "FrameworkForgotten", "TaskRemoved", "completed", "a task with a shared volume",
	} {
		if seen[want] == 0 {
			t.Errorf("%s never occurred", want)
		}
	}
}

// player drives a cluster by dice.
type player struct {
	*cluster
	dice  []uint16
	tasks int
	uuids int
	// model is what the fake agents know of their tasks, by agent and framework/task.
	model map[string]map[string]*modelTask
	// totals and operations are what the fake agents made of their resources.
	totals     map[string]resource.Resources
	operations map[string][]*mesos.Operation
	// deaf links lose what is sent on them in either direction, until they break.
	deaf map[Link]bool
	// dead are executors that exited, by agent, framework and id.
	dead map[string]bool
}

type modelTask struct {
	run   *stoapb.RunTask
	state mesos.TaskState
	uuid  []byte // in flight
	acked bool
}

func (p *player) roll(n int) int {
	if len(p.dice) == 0 || n <= 0 {
		return 0
	}
	v := int(p.dice[0]) % n
	p.dice = p.dice[1:]
	return v
}

func pick[T any](p *player, list []T) (T, bool) {
	var zero T
	if len(list) == 0 {
		return zero, false
	}
	return list[p.roll(len(list))], true
}

func chaos(t failer, dice []uint16) ([]string, uint64) {
	c := newCluster(t, Config{MaxCompletedTasks: 2, MaxUnreachableTasks: 2, MaxCompletedFrameworks: 3})
	c.events = true
	p := &player{
		cluster: c, dice: dice, model: map[string]map[string]*modelTask{},
		totals: map[string]resource.Resources{}, operations: map[string][]*mesos.Operation{},
		dead: map[string]bool{}, deaf: map[Link]bool{},
	}
	c.sink = p.watch
	c.start()
	for len(p.dice) > 0 {
		p.act()
		c.settleTimers()
		if p.roll(8) == 0 {
			p.quiet()
		}
	}
	c.advance(time.Hour)
	p.quiet()
	return c.log, c.m.Hash()
}

// quiet looks at every agent once more: what the allocator would offer now, it forgot.
func (p *player) quiet() {
	if p.m.paused {
		return
	}
	if grants := p.m.alloc.Allocate(p.now, true); len(grants) > 0 {
		p.t.Fatalf("a full cycle found what was forgotten: %v %v %v", grants[0].Framework, grants[0].Agent, grants[0].Resources)
	}
}

func (p *player) watch(e Effect) {
	to, ok := e.(ToAgent)
	if !ok {
		return
	}
	a := p.links[to.Link]
	if a == nil || p.deaf[to.Link] {
		return
	}
	m := p.model[a.name]
	switch b := to.Msg.Body.(type) {
	case *stoapb.ToAgent_RunTask:
		key := b.RunTask.Framework.Id.GetValue() + "/" + b.RunTask.Task.TaskId.GetValue()
		if old := m[key]; old != nil && !old.acked {
			return // RunTask again: ignored, as the agent does
		}
		delete(p.dead, a.name+execKey(b.RunTask.Task))
		m[key] = &modelTask{run: b.RunTask, state: mesos.TaskState_TASK_STAGING}
	case *stoapb.ToAgent_ApplyOperation:
		p.apply(a, b.ApplyOperation)
	case *stoapb.ToAgent_AcknowledgeOperation:
		p.operations[a.name] = slices.DeleteFunc(slices.Clone(p.operations[a.name]), func(o *mesos.Operation) bool {
			return string(o.LatestStatus.Uuid.Value) == string(b.AcknowledgeOperation.StatusUuid)
		})
	case *stoapb.ToAgent_Acknowledge:
		key := b.Acknowledge.FrameworkId.GetValue() + "/" + b.Acknowledge.TaskId.GetValue()
		if t := m[key]; t != nil && string(t.uuid) == string(b.Acknowledge.Uuid) {
			t.acked = lifecycle.Terminal(t.state)
			if t.acked {
				delete(m, key)
			}
		}
	}
}

// apply makes an operation true on a fake agent, once, with an answer to be acknowledged.
func (p *player) apply(a *fakeAgent, op *stoapb.ApplyOperation) {
	for _, o := range p.operations[a.name] {
		if string(o.Uuid.Value) == string(op.OperationUuid) {
			return
		}
	}
	info := proto.CloneOf(op.Operation)
	for _, list := range [][]*mesos.Resource{
		info.GetReserve().GetResources(), info.GetUnreserve().GetResources(),
		info.GetCreate().GetVolumes(), info.GetDestroy().GetVolumes(),
	} {
		for _, r := range list {
			r.AllocationInfo = nil
		}
	}
	state := mesos.OperationState_OPERATION_FINISHED
	total, err := p.totals[a.name].Apply(info)
	if err != nil {
		state = mesos.OperationState_OPERATION_FAILED
	}
	p.totals[a.name] = total
	p.uuids++
	p.operations[a.name] = append(slices.Clone(p.operations[a.name]), &mesos.Operation{
		FrameworkId: op.FrameworkId, Info: op.Operation, Uuid: &mesos.UUID{Value: op.OperationUuid},
		LatestStatus: &mesos.OperationStatus{State: &state, Uuid: &mesos.UUID{Value: uuid(fmt.Sprint("o", p.uuids))}},
	})
}

// answerOperation sends a fake agent's answer, sometimes again.
func (p *player) answerOperation() {
	a := p.someAgent()
	if a == nil || a.link == 0 || p.deaf[a.link] {
		return
	}
	if o, ok := pick(p, p.operations[a.name]); ok {
		p.step(Frame{a.link, &stoapb.ToMaster{Body: &stoapb.ToMaster_OperationUpdate{OperationUpdate: &stoapb.OperationUpdate{
			FrameworkId: o.FrameworkId, Status: o.LatestStatus, OperationUuid: o.Uuid.Value,
		}}}})
	}
}

func (p *player) someAgent() *fakeAgent {
	name, ok := pick(p, sortedKeys(p.agents))
	if !ok {
		return nil
	}
	return p.agents[name]
}

func (p *player) someFramework() *fakeFramework {
	name, ok := pick(p, sortedKeys(p.fws))
	if !ok {
		return nil
	}
	return p.fws[name]
}

func (p *player) someTask() (*fakeAgent, string, *modelTask) {
	a := p.someAgent()
	if a == nil {
		return nil, "", nil
	}
	key, ok := pick(p, sortedKeys(p.model[a.name]))
	if !ok {
		return nil, "", nil
	}
	return a, key, p.model[a.name][key]
}

func (p *player) act() {
	switch p.roll(24) {
	case 0:
		if len(p.agents) < 4 {
			name := fmt.Sprintf("a%d", len(p.agents)+1)
			p.model[name] = map[string]*modelTask{}
			p.totals[name] = p.bag("cpus:8;mem:2048;disk:500;ports:[100-119]")
			p.do("agent " + name + " cpus:8;mem:2048;disk:500;ports:[100-119]")
		}
	case 1, 2:
		if len(p.fws) < 5 {
			caps := []string{"caps=PA", "caps=PA,MR roles=r,s/t", "role=r", "caps=PA,RR role=s", "caps=SHARED,RR,PA role=r", "caps=SHARED,RR role=s"}
			p.do(fmt.Sprintf("subscribe f%d %s failover=%d", len(p.fws)+1, caps[p.roll(len(caps))], min(p.roll(6), 1)*300))
			return
		}
		if f := p.someFramework(); f != nil && f.stream == "" {
			p.subscribeAgain(f)
		}
	case 3:
		if a := p.someAgent(); a != nil && a.link != 0 {
			if p.roll(2) == 0 {
				p.deaf[a.link] = true
			} else {
				p.do("unlink " + a.name)
			}
		}
	case 4, 5:
		if a := p.someAgent(); a != nil && a.id != "" {
			p.rejoin(a)
		}
	case 6:
		if f := p.someFramework(); f != nil && f.stream != "" {
			if p.roll(3) == 0 {
				p.subscribeAgain(f)
			} else {
				p.do("drop " + f.name)
			}
		}
	case 7, 8, 9, 10:
		p.acceptSomething()
	case 11:
		if f := p.someFramework(); f != nil {
			p.do(fmt.Sprintf("decline %s %s refuse=%d", f.name, p.someOffers(f), p.roll(3)*7))
		}
	case 12, 13, 14:
		p.updateSomething()
	case 15:
		p.ackSomething()
	case 16:
		if f := p.someFramework(); f != nil {
			_, key, _ := p.someTask()
			_, tid, _ := strings.Cut(key, "/")
			p.do("kill " + f.name + " " + cmpOr(tid, "nothing"))
		}
	case 17:
		if f := p.someFramework(); f != nil {
			p.do([]string{"revive ", "revive ", "reconcile ", "reconcile-ops ", "revive ", "suppress ", "teardown "}[p.roll(7)] + f.name)
		}
	case 18:
		p.advance(time.Duration(1+p.roll(100)) * time.Second)
	case 19:
		if p.roll(3) > 0 {
			return
		}
		roles := []string{"r", "s", "s/t"}
		p.do([]string{
			fmt.Sprintf("quota %s limit=cpus:%d force=1", roles[p.roll(3)], 1+p.roll(9)),
			fmt.Sprintf("quota %s guarantee=cpus:%d", roles[p.roll(3)], p.roll(5)),
			"quota " + roles[p.roll(3)], fmt.Sprintf("weights r=%d", 1+p.roll(5)),
		}[p.roll(4)])
	case 20:
		p.nonsense()
	case 21:
		p.answerOperation()
	case 22:
		p.ackOperation()
	case 23:
		if p.roll(4) == 0 {
			p.do("restart")
		}
	}
}

func cmpOr(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

func (p *player) subscribeAgain(f *fakeFramework) {
	info := proto.CloneOf(f.info)
	if f.id != "" {
		info.Id = &mesos.FrameworkID{Value: proto.String(f.id)}
	}
	f.subs++
	f.stream = Stream(fmt.Sprintf("%s.%d", f.name, f.subs))
	p.streams[f.stream] = f
	p.step(Subscribe{Stream: f.stream, Call: &schedulerpb.Call{
		Type: schedulerpb.Call_SUBSCRIBE.Enum(), FrameworkId: info.Id,
		Subscribe: &schedulerpb.Call_Subscribe{FrameworkInfo: info},
	}})
}

// rejoin reports what the agent knows, or sometimes forgets half of it.
func (p *player) rejoin(a *fakeAgent) {
	reg := proto.CloneOf(a.register)
	reg.Info.Id = &mesos.AgentID{Value: proto.String(a.id)}
	if p.roll(4) == 0 {
		reg.BootId = proto.String(fmt.Sprint("boot", p.roll(3)))
	}
	reg.Resources = p.totals[a.name].Proto()
	reg.Operations = p.operations[a.name]
	forget := p.roll(4) == 0
	seen := map[string]bool{}
	execs := map[string]bool{}
	for _, key := range sortedKeys(p.model[a.name]) {
		t := p.model[a.name][key]
		if forget && p.roll(2) == 0 {
			delete(p.model[a.name], key)
			continue
		}
		if info := t.run.Framework; !seen[info.Id.GetValue()] {
			seen[info.Id.GetValue()] = true
			reg.Frameworks = append(reg.Frameworks, info)
		}
		task := &mesos.Task{
			Name: t.run.Task.Name, TaskId: t.run.Task.TaskId, FrameworkId: t.run.Framework.Id,
			AgentId: t.run.Task.AgentId, State: &t.state, Resources: t.run.Task.Resources,
		}
		if t.uuid != nil {
			task.StatusUpdateState, task.StatusUpdateUuid = &t.state, t.uuid
		}
		reg.Tasks = append(reg.Tasks, &stoapb.TaskReport{Task: task, Info: t.run.Task})
		if x, k := t.run.Task.Executor, execKey(t.run.Task); x != nil && !execs[k] && !p.dead[a.name+k] {
			execs[k] = true
			reg.Executors = append(reg.Executors, x)
		}
	}
	p.hello(a, reg)
	if p.roll(2) == 0 {
		p.resend(a)
	}
}

func execKey(t *mesos.TaskInfo) string {
	return "/" + t.GetExecutor().GetFrameworkId().GetValue() + "/" + t.GetExecutor().GetExecutorId().GetValue()
}

func (p *player) someOffers(f *fakeFramework) string {
	var ids []string
	for oid := range p.m.offers {
		ids = append(ids, string(oid))
	}
	slices.Sort(ids)
	var mine []string
	for _, oid := range ids {
		if string(p.m.offers[id.Offer(oid)].fw.id) == f.id || p.roll(40) == 0 {
			mine = append(mine, oid)
		}
	}
	first, ok := pick(p, mine)
	if !ok {
		return "M-O999"
	}
	if second, _ := pick(p, mine); p.roll(3) == 0 {
		return first + "," + second
	}
	return first
}

func (p *player) acceptSomething() {
	f := p.someFramework()
	if p.roll(8) > 0 { // mostly one that has offers
		var rich []*fakeFramework
		for _, name := range sortedKeys(p.fws) {
			if x := p.fws[name]; x.stream != "" && p.m.frameworks[id.Framework(x.id)] != nil && len(p.m.frameworks[id.Framework(x.id)].offers) > 0 {
				rich = append(rich, x)
			}
		}
		f, _ = pick(p, rich)
	}
	if f == nil {
		return
	}
	ops := ""
	role := "r"
	if len(f.info.Roles) == 0 {
		role = f.info.GetRole()
	}
	for range 1 + p.roll(3) {
		p.tasks++
		ops += []string{
			fmt.Sprintf(" | launch t%d cpus:%d;mem:64", p.tasks%40, 1+p.roll(3)),
			fmt.Sprintf(" | launch t%d cpus:0.5;ports:[%d-%d]", p.tasks, 100+p.roll(10), 110+p.roll(10)),
			fmt.Sprintf(" | launch t%d cpus:1;mem:32 exec=e%d", p.tasks, p.roll(2)),
			fmt.Sprintf(" | reserve cpus(%s):%d;disk(%s):10", role, 1+p.roll(3), role),
			fmt.Sprintf(" | unreserve cpus(%s):1 id=op%d", role, p.tasks),
			fmt.Sprintf(" | reserve disk(%s):10 | create disk(%s):10 vol=v%d id=op%d", role, role, p.roll(3), p.tasks),
			fmt.Sprintf(" | reserve disk(%s):10 | create disk(%s):10 vol=w shared=1 | launch t%d cpus:0.1;disk(%s):10 vol=w shared=1", role, role, p.tasks, role),
			fmt.Sprintf(" | destroy disk(%s):10 vol=w shared=1", role),
			fmt.Sprintf(" | launch t%d cpus:0.1;disk(%s):10 vol=w shared=1", p.tasks, role),
			fmt.Sprintf(" | launch t%d cpus:0.1;disk(%s):10 vol=v%d", p.tasks, role, p.roll(3)),
			fmt.Sprintf(" | destroy disk(%s):10 vol=v%d", role, p.roll(3)),
		}[p.roll(11)]
	}
	p.do(fmt.Sprintf("accept %s %s refuse=%d%s", f.name, p.someOffers(f), p.roll(2)*5, ops))
}

func (p *player) updateSomething() {
	a, _, t := p.someTask()
	if t == nil || lifecycle.Terminal(t.state) {
		return
	}
	t.state = []mesos.TaskState{
		mesos.TaskState_TASK_RUNNING, mesos.TaskState_TASK_RUNNING, mesos.TaskState_TASK_KILLING,
		mesos.TaskState_TASK_FINISHED, mesos.TaskState_TASK_FAILED, mesos.TaskState_TASK_KILLED,
	}[p.roll(6)]
	p.uuids++
	t.uuid = uuid(fmt.Sprint("u", p.uuids))
	u := &stoapb.Update{FrameworkId: t.run.Framework.Id, LatestState: &t.state, Status: &mesos.TaskStatus{
		TaskId: t.run.Task.TaskId, AgentId: t.run.Task.AgentId, State: &t.state, Uuid: t.uuid, Data: []byte("x"),
	}}
	s := t.state
	u.LatestState, u.Status.State = &s, &s
	p.tell(a, &stoapb.ToMaster{Body: &stoapb.ToMaster_Update{Update: u}})
	if x := t.run.Task.Executor; x != nil && lifecycle.Terminal(s) && p.roll(2) == 0 && !p.busy(a, t) {
		p.dead[a.name+execKey(t.run.Task)] = true
		p.tell(a, &stoapb.ToMaster{Body: &stoapb.ToMaster_ExecutorExited{ExecutorExited: &stoapb.ExecutorExited{
			FrameworkId: t.run.Framework.Id, ExecutorId: x.ExecutorId,
		}}})
	}
}

// tell sends a frame, if the link is not broken, known or not.
func (p *player) tell(a *fakeAgent, msg *stoapb.ToMaster) {
	if a.link != 0 && !p.deaf[a.link] {
		p.step(Frame{a.link, msg})
	}
}

// resend sends the updates in flight again, as an agent does when it is admitted.
func (p *player) resend(a *fakeAgent) {
	for _, key := range sortedKeys(p.model[a.name]) {
		if t := p.model[a.name][key]; t != nil && t.uuid != nil {
			s := t.state
			p.tell(a, &stoapb.ToMaster{Body: &stoapb.ToMaster_Update{Update: &stoapb.Update{
				FrameworkId: t.run.Framework.Id, LatestState: &s,
				Status: &mesos.TaskStatus{TaskId: t.run.Task.TaskId, AgentId: t.run.Task.AgentId, State: &s, Uuid: t.uuid},
			}}})
		}
	}
}

// busy reports whether the task's executor has another task that is not over.
func (p *player) busy(a *fakeAgent, t *modelTask) bool {
	for _, other := range p.model[a.name] {
		if other != t && other.run.Task.Executor != nil && execKey(other.run.Task) == execKey(t.run.Task) && !lifecycle.Terminal(other.state) {
			return true
		}
	}
	return false
}

func (p *player) ackSomething() {
	a, key, t := p.someTask()
	f := p.someFramework()
	if t == nil || f == nil {
		return
	}
	fid, tid, _ := strings.Cut(key, "/")
	for _, name := range sortedKeys(p.fws) {
		if p.fws[name].id == fid && p.roll(8) > 0 {
			f = p.fws[name]
		}
	}
	u := t.uuid
	if u == nil || p.roll(8) == 0 {
		u = uuid("wrong")
	}
	p.step(Call{Token: 1, Stream: f.stream, Call: &schedulerpb.Call{
		FrameworkId: &mesos.FrameworkID{Value: proto.String(f.id)}, Type: schedulerpb.Call_ACKNOWLEDGE.Enum(),
		Acknowledge: &schedulerpb.Call_Acknowledge{AgentId: &mesos.AgentID{Value: proto.String(a.id)}, TaskId: &mesos.TaskID{Value: &tid}, Uuid: u},
	}})
}

func (p *player) ackOperation() {
	a, f := p.someAgent(), p.someFramework()
	if a == nil || f == nil {
		return
	}
	if o, ok := pick(p, p.operations[a.name]); ok && o.Info.Id != nil {
		p.step(Call{Token: 1, Stream: f.stream, Call: &schedulerpb.Call{
			FrameworkId: &mesos.FrameworkID{Value: proto.String(f.id)}, Type: schedulerpb.Call_ACKNOWLEDGE_OPERATION_STATUS.Enum(),
			AcknowledgeOperationStatus: &schedulerpb.Call_AcknowledgeOperationStatus{
				AgentId: &mesos.AgentID{Value: proto.String(a.id)}, OperationId: o.Info.Id, Uuid: o.LatestStatus.Uuid.Value,
			},
		}})
	}
}

// nonsense are inputs that nobody well-behaved sends.
func (p *player) nonsense() {
	switch p.roll(7) {
	case 0:
		p.step(Frame{Link(p.roll(20)), &stoapb.ToMaster{}})
	case 1:
		p.step(Frame{Link(p.roll(20)), &stoapb.ToMaster{Body: &stoapb.ToMaster_Update{Update: &stoapb.Update{}}}})
	case 2:
		p.step(Hello{Link(1000 + p.roll(9)), &stoapb.Register{}})
	case 3:
		p.step(Call{Token: 1, Call: &schedulerpb.Call{}})
	case 4:
		p.step(StreamClosed{"nobody's"})
	case 5:
		p.step(LinkClosed{Link(p.roll(3))})
	case 6:
		p.step(Fired{Timer{TimerKind(p.roll(10)), "nobody"}})
	}
}
