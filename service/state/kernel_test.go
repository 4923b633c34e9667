package state

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"google.golang.org/protobuf/proto"

	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/service/instance"
)

// kernel is a master with its agents.
type kernel struct {
	kills      []*schedulerpb.Call_Kill
	agents     []*machine
	tasks      map[string]*task
	launched   map[string]int // by task id
	offers     map[string]*offer
	operations map[string]*operation
	roles      []string
	connected  bool
	following  bool // the service wants to know of agents
	revived    bool
	nextID     int
}

type machine struct {
	id, rack    string
	total, used resource.Resources
	offered     *offer
	filters     map[string]filter // by role
	turn        int
	away, gone  bool
}

type filter struct {
	until   time.Duration
	refused resource.Resources
}

type offer struct {
	id, role string
	on       *machine
	res      resource.Resources
}

type operation struct{ status *mesos.OperationStatus }

type task struct {
	id      string
	on      *machine
	info    *mesos.TaskInfo
	res     resource.Resources
	state   mesos.TaskState
	killed  bool
	stops   time.Duration // when what its kill policy wants before SIGTERM is done
	healthy *bool
	probes  []*mesos.ProbeResult
	// updates not acknowledged, oldest first.
	updates []*mesos.TaskStatus
}

func (t *task) over() bool {
	switch t.state {
	case mesos.TaskState_TASK_STAGING, mesos.TaskState_TASK_RUNNING, mesos.TaskState_TASK_KILLING:
		return false
	}
	return true
}

func (t *task) runs() bool  { return t.state == mesos.TaskState_TASK_RUNNING }
func (t *task) cmd() string { return t.info.GetCommand().GetValue() }

// lives reports whether the task runs or may come back.
func (t *task) lives() bool { return !t.over() && !t.on.gone }

func newKernel(agents int) kernel {
	k := kernel{
		tasks: make(map[string]*task), launched: make(map[string]int), offers: make(map[string]*offer),
		operations: make(map[string]*operation), roles: []string{"*"},
	}
	for n := range agents {
		total, err := resource.Parse("cpus:16;mem:100000;disk:100000;ports:[31000-31400]", "*")
		if err != nil {
			panic(err)
		}
		k.agents = append(k.agents, &machine{id: fmt.Sprintf("a%d", n), rack: fmt.Sprintf("r%d", n%2), total: total, filters: make(map[string]filter)})
	}
	return k
}

// subscribe begins a subscription: everything not acknowledged is told again.
func (w *world) subscribe() {
	w.connected, w.revived = true, true
	for _, id := range slices.Sorted(maps.Keys(w.offers)) {
		w.take(w.offers[id])
	}
	for _, a := range w.agents {
		clear(a.filters)
	}
	w.step(Subscribed{FrameworkID: "f"})
	w.tellAgents()
	for _, id := range slices.Sorted(maps.Keys(w.tasks)) {
		w.resend(w.tasks[id])
	}
	for _, id := range slices.Sorted(maps.Keys(w.operations)) {
		w.tellOperation(w.operations[id])
	}
	w.offer()
}

// disconnect ends it for a while.
func (w *world) disconnect() {
	w.connected = false
	w.step(Disconnected{})
	w.soon(w.upTo(time.Second), w.subscribe)
}

// tell gives the service an input if the subscription lasts.
func (w *world) tell(d time.Duration, in func() Input) {
	w.soon(d, func() {
		if w.connected {
			if i := in(); i != nil {
				w.step(i)
			}
		}
	})
}

func (w *world) tellStatus(st *mesos.TaskStatus) {
	w.tell(time.Millisecond, func() Input { return Status{Status: st} })
}

func (w *world) tellAgents() {
	w.tell(w.upTo(20*time.Millisecond), func() Input {
		if !w.following {
			return nil
		}
		var all []*instance.Agent
		for _, a := range w.agents {
			if !a.away && !a.gone {
				all = append(all, &instance.Agent{ID: a.id, Host: "host-" + a.id, Attributes: map[string]string{"rack": a.rack}})
			}
		}
		return Agents{All: all}
	})
}

// send takes a call to the master. It may be lost, or be done without the caller knowing.
func (w *world) send(c Call) {
	if !w.connected {
		return
	}
	if c.Call.GetType() != schedulerpb.Call_ACCEPT || !w.chance(w.badCall) {
		w.call(c.Call)
		return
	}
	fate := w.rng.IntN(4)
	w.note("ACCEPT, fate %d", fate)
	if fate%2 == 0 {
		w.call(c.Call)
	}
	w.soon(w.upTo(50*time.Millisecond), func() {
		if len(c.Tasks) > 0 && fate < 2 {
			for _, id := range c.Call.GetAccept().GetOfferIds() {
				if o := w.offers[id.GetValue()]; o != nil {
					w.take(o)
				}
			}
			w.after(50*time.Millisecond, w.offer)
			w.step(Unsent{Tasks: c.Tasks})
			return
		}
		if w.connected {
			w.disconnect()
		}
	})
}

func (w *world) call(c *schedulerpb.Call) {
	w.note("%s", c.GetType())
	switch c.GetType() {
	case schedulerpb.Call_REVIVE:
		w.revived = true
		for _, a := range w.agents {
			clear(a.filters)
		}
		w.offer()
	case schedulerpb.Call_SUPPRESS:
		w.revived = false
	case schedulerpb.Call_DECLINE:
		for _, id := range c.GetDecline().GetOfferIds() {
			if o := w.offers[id.GetValue()]; o != nil {
				w.take(o)
				w.refuse(o, o.res, c.GetDecline().GetFilters())
			}
		}
		w.after(50*time.Millisecond, w.offer)
	case schedulerpb.Call_ACCEPT:
		w.accept(c.GetAccept())
	case schedulerpb.Call_KILL:
		w.kills = append(w.kills, c.GetKill())
		w.kill(c.GetKill().GetTaskId(), c.GetKill().GetKillPolicy())
	case schedulerpb.Call_RECONCILE:
		w.reconcile(c.GetReconcile().GetTasks())
	default:
		w.t.Fatalf("an unexpected call %v", c)
	}
}

func (w *world) take(o *offer) {
	delete(w.offers, o.id)
	o.on.offered = nil
}

func (w *world) refuse(o *offer, left resource.Resources, f *mesos.Filters) {
	if s := f.GetRefuseSeconds(); s > 0 {
		o.on.filters[o.role] = filter{w.now + time.Duration(s*float64(time.Second)), left}
	}
}

// accept does operations and launches with the resources of offers.
func (w *world) accept(a *schedulerpb.Call_Accept) {
	var on *machine
	var bag resource.Resources
	valid := true
	var last *offer
	for _, id := range a.GetOfferIds() {
		o := w.offers[id.GetValue()]
		if o == nil || o.on.away {
			valid = false
			continue
		}
		w.take(o)
		on, last = o.on, o
		bag = bag.Add(o.res.Allocate(o.role))
	}
	for _, op := range a.GetOperations() {
		if op.GetType() != mesos.Offer_Operation_LAUNCH {
			bag = w.operate(op, on, bag, valid)
			continue
		}
		for _, info := range op.GetLaunch().GetTaskInfos() {
			if !valid {
				w.tellStatus(&mesos.TaskStatus{TaskId: info.TaskId, State: mesos.TaskState_TASK_DROPPED.Enum(), Reason: mesos.TaskStatus_REASON_INVALID_OFFERS.Enum()})
				continue
			}
			bag = w.launch(on, info, bag)
		}
	}
	if valid {
		w.refuse(last, bag.Unallocate(), a.GetFilters())
	}
	w.after(50*time.Millisecond, w.offer)
}

func (w *world) launch(on *machine, info *mesos.TaskInfo, bag resource.Resources) resource.Resources {
	id := info.GetTaskId().GetValue()
	res, err := resource.Of(info.GetResources()...)
	if err != nil || !bag.Contains(res) {
		w.broken("task %s uses %v, which is not of %v (%v)", id, res, bag, err)
		return bag
	}
	w.note("launch %s %q on %s", id, info.GetCommand().GetValue(), on.id)
	if w.launched[id]++; w.launched[id] > 1 {
		w.broken("task %s was launched %d times", id, w.launched[id])
	}
	of, _, _ := instance.OfTask(id)
	for other, t := range w.tasks {
		if i, _, _ := instance.OfTask(other); i == of && t.lives() {
			w.broken("task %s is launched while %s of the same instance lives", id, other)
		}
	}
	on.used = on.used.Add(res.Unallocate())
	t := &task{id: id, on: on, info: info, res: res.Unallocate(), state: mesos.TaskState_TASK_STAGING}
	w.tasks[id] = t
	w.begin(t)
	return bag.Sub(res)
}

// operate does an operation, unless it cannot be done or is lost.
func (w *world) operate(op *mesos.Offer_Operation, on *machine, bag resource.Resources, valid bool) resource.Resources {
	w.nextID++
	st := &mesos.OperationStatus{OperationId: op.Id, State: mesos.OperationState_OPERATION_FINISHED.Enum(), Uuid: &mesos.UUID{Value: []byte(fmt.Sprint(w.nextID))}}
	if on != nil {
		st.AgentId = &mesos.AgentID{Value: &on.id}
	}
	switch {
	case !valid:
		st.State, st.Uuid = mesos.OperationState_OPERATION_ERROR.Enum(), nil
	case w.chance(w.badOp):
		st.State = mesos.OperationState_OPERATION_FAILED.Enum()
		if w.rng.IntN(2) == 0 {
			st.State = mesos.OperationState_OPERATION_DROPPED.Enum()
		}
	default:
		next, err := bag.Apply(op)
		if err != nil {
			w.note("%s: %v", op.GetId().GetValue(), err)
			st.State, st.Uuid = mesos.OperationState_OPERATION_ERROR.Enum(), nil
			break
		}
		on.total = on.total.Sub(bag.Unallocate()).Add(next.Unallocate())
		bag = next
	}
	w.note("%s %s", op.GetId().GetValue(), st.GetState())
	o := &operation{st}
	if st.Uuid == nil {
		w.tell(time.Millisecond, func() Input { return Operation{Status: st} })
		return bag
	}
	w.operations[op.GetId().GetValue()] = o
	w.after(w.upTo(200*time.Millisecond), func() { w.tellOperation(o) })
	return bag
}

func (w *world) tellOperation(o *operation) {
	w.tell(w.upTo(5*time.Millisecond), func() Input {
		if w.operations[o.status.GetOperationId().GetValue()] != o {
			return nil
		}
		return Operation{Status: o.status}
	})
}

func (w *world) acknowledgeOperation(st *mesos.OperationStatus) {
	if o := w.operations[st.GetOperationId().GetValue()]; o != nil && w.connected && string(o.status.GetUuid().GetValue()) == string(st.GetUuid().GetValue()) {
		delete(w.operations, st.GetOperationId().GetValue())
	}
}

// sick reports whether a task serves nobody: those of the command "sick", until the faults
// end.
func (w *world) sick(t *task) bool { return w.faulty && strings.HasPrefix(t.cmd(), "sick") }

// begin lets a task start.
func (w *world) begin(t *task) {
	job := strings.HasPrefix(t.cmd(), "job")
	w.after(20*time.Millisecond+w.upTo(300*time.Millisecond), func() {
		if t.over() || t.killed {
			return
		}
		if !job && w.chance(w.failLaunch) {
			w.end(t, mesos.TaskState_TASK_FAILED)
			return
		}
		t.state = mesos.TaskState_TASK_RUNNING
		w.update(t)
		for n := range t.info.GetProbes() {
			t.probes = append(t.probes, nil)
			w.probe(t, n, w.now)
		}
		if t.info.GetHealthCheck() != nil {
			w.after(w.upTo(500*time.Millisecond), func() {
				if t.runs() {
					healthy := !w.sick(t)
					t.healthy = &healthy
					w.update(t)
					if !healthy {
						w.after(time.Second, func() { w.end(t, mesos.TaskState_TASK_FAILED) })
					}
				}
			})
		}
		switch {
		case job:
			var done func()
			done = func() {
				if t.on.away {
					w.after(500*time.Millisecond, done)
					return
				}
				w.end(t, mesos.TaskState_TASK_FINISHED)
			}
			w.after(w.upTo(3*time.Second), done)
		case w.chance(w.failLater):
			w.after(w.upTo(20*time.Second), func() {
				if w.faulty && !t.on.away {
					w.end(t, mesos.TaskState_TASK_FAILED)
				}
			})
		}
	})
}

// probe makes the probes of one check, and tells of changes and of each failure.
func (w *world) probe(t *task, n int, began time.Duration) {
	w.after(w.upTo(700*time.Millisecond), func() {
		if !t.runs() {
			return
		}
		was, at := t.probes[n], float64(w.wall().UnixMilli())/1000
		next := &mesos.ProbeResult{Index: t.info.GetProbes()[n].Index, Alive: proto.Bool(true), FirstSuccess: &at, LastSuccess: &at}
		if was != nil && was.FirstSuccess != nil {
			next.FirstSuccess = was.FirstSuccess
		}
		switch {
		case w.sick(t), was.GetAlive() && w.chance(w.unhealthy), was.GetConsecutiveFailures() > 0 && w.chance(0.6):
			next.Alive, next.FirstSuccess, next.LastSuccess = proto.Bool(false), nil, nil
			next.LastFailure, next.LastFailureCause = &at, proto.String("as the seed has it")
			next.ConsecutiveFailures, next.FailuresInGrace = proto.Uint32(was.GetConsecutiveFailures()+1), proto.Uint32(was.GetFailuresInGrace())
			if was != nil {
				next.FirstSuccess, next.LastSuccess = was.FirstSuccess, was.LastSuccess
			}
			if next.FirstSuccess == nil && (w.now-began).Seconds() < t.info.GetProbes()[n].GetGracePeriodSeconds() {
				*next.FailuresInGrace++
			}
			t.probes[n] = next
			w.update(t)
		case !was.GetAlive():
			t.probes[n] = next
			w.update(t)
		}
		w.probe(t, n, began)
	})
}

func (w *world) end(t *task, s mesos.TaskState) {
	if t.over() {
		return
	}
	t.on.used = t.on.used.Sub(t.res)
	t.state = s
	w.update(t)
	w.after(time.Millisecond, w.offer)
}

func (w *world) status(t *task) *mesos.TaskStatus {
	st := &mesos.TaskStatus{
		TaskId: t.info.TaskId, State: t.state.Enum(), AgentId: &mesos.AgentID{Value: &t.on.id},
		Timestamp: proto.Float64(float64(w.wall().UnixMilli()) / 1000), Message: proto.String("as the seed has it"), Healthy: t.healthy,
	}
	for _, r := range t.probes {
		if r != nil {
			st.ProbeResults = append(st.ProbeResults, r)
		}
	}
	return st
}

func (w *world) update(t *task) {
	w.nextID++
	st := w.status(t)
	st.Uuid = []byte(fmt.Sprint(w.nextID))
	if t.updates = append(t.updates, st); len(t.updates) == 1 {
		w.resend(t)
	}
}

// resend sends the oldest update that is not acknowledged, sometimes twice or late.
func (w *world) resend(t *task) {
	if len(t.updates) == 0 || t.on.away {
		return
	}
	st := t.updates[0]
	late := 5 * time.Millisecond
	if w.chance(0.1) {
		late = 300 * time.Millisecond
	}
	w.tell(w.upTo(late), func() Input {
		if len(t.updates) == 0 || t.updates[0] != st {
			return nil
		}
		return Status{Status: st}
	})
	if w.chance(0.05) {
		w.tell(w.upTo(400*time.Millisecond), func() Input { return Status{Status: st} })
	}
}

func (w *world) acknowledge(st *mesos.TaskStatus) {
	if t := w.tasks[st.GetTaskId().GetValue()]; t != nil && w.connected {
		t.updates = slices.DeleteFunc(t.updates, func(u *mesos.TaskStatus) bool { return string(u.Uuid) == string(st.Uuid) })
		w.resend(t)
	}
}

func (w *world) kill(id *mesos.TaskID, p *mesos.KillPolicy) {
	t := w.tasks[id.GetValue()]
	if t == nil {
		w.tellStatus(&mesos.TaskStatus{TaskId: id, State: mesos.TaskState_TASK_UNKNOWN.Enum(), Reason: mesos.TaskStatus_REASON_RECONCILIATION.Enum()})
		return
	}
	if p.GetPreStop() != nil && !t.killed && t.runs() && !t.on.away {
		t.stops = w.now + w.upTo(time.Duration(p.GetPreStopTimeout().GetNanoseconds())) + time.Duration(p.GetDrainPeriod().GetNanoseconds())
		t.state = mesos.TaskState_TASK_KILLING
		w.update(t)
	}
	t.killed = true
	if p != nil && p.PreStop == nil {
		t.stops = 0
	}
	w.after(max(t.stops-w.now, 0)+5*time.Millisecond+w.upTo(200*time.Millisecond), func() {
		if !t.on.away {
			w.end(t, mesos.TaskState_TASK_KILLED)
		}
	})
}

func (w *world) reconcile(asked []*schedulerpb.Call_Reconcile_Task) {
	if len(asked) == 0 {
		for _, id := range slices.Sorted(maps.Keys(w.tasks)) {
			if w.tasks[id].lives() {
				asked = append(asked, &schedulerpb.Call_Reconcile_Task{TaskId: w.tasks[id].info.TaskId, AgentId: &mesos.AgentID{Value: &w.tasks[id].on.id}})
			}
		}
	}
	for _, q := range asked {
		t := w.tasks[q.GetTaskId().GetValue()]
		var st *mesos.TaskStatus
		at := slices.IndexFunc(w.agents, func(a *machine) bool { return a.id == q.GetAgentId().GetValue() })
		switch {
		case t != nil && (!t.over() || len(t.updates) > 0) && !t.on.gone:
			st = w.status(t)
			if t.on.away {
				st = &mesos.TaskStatus{TaskId: q.TaskId, AgentId: q.AgentId, State: mesos.TaskState_TASK_UNREACHABLE.Enum()}
			}
		case at >= 0 && w.agents[at].gone:
			st = &mesos.TaskStatus{TaskId: q.TaskId, AgentId: q.AgentId, State: mesos.TaskState_TASK_GONE_BY_OPERATOR.Enum()}
		case at >= 0 && w.agents[at].away:
			st = &mesos.TaskStatus{TaskId: q.TaskId, AgentId: q.AgentId, State: mesos.TaskState_TASK_UNREACHABLE.Enum()}
		default:
			st = &mesos.TaskStatus{TaskId: q.TaskId, AgentId: q.AgentId, State: mesos.TaskState_TASK_GONE.Enum()}
		}
		st.Reason = mesos.TaskStatus_REASON_RECONCILIATION.Enum()
		w.tellStatus(st)
	}
}

func (w *world) subscribeRoles(roles []string) {
	if w.connected {
		w.roles = roles
		w.after(time.Millisecond, w.offer)
	}
}

// offer offers what is free to a service that wants it, to one role at a time.
func (w *world) offer() {
	if !w.revived || !w.connected {
		return
	}
	var all []*mesos.Offer
	for _, a := range w.agents {
		if a.away || a.gone || a.offered != nil {
			continue
		}
		free := a.total.Sub(a.used)
		for range w.roles {
			role := w.roles[a.turn%len(w.roles)]
			a.turn++
			res := free.AllocatableTo(role)
			if f, ok := a.filters[role]; res.Empty() || ok && f.until > w.now && f.refused.Contains(res) {
				continue
			}
			w.nextID++
			o := &offer{id: fmt.Sprint("o", w.nextID), role: role, on: a, res: res}
			a.offered, w.offers[o.id] = o, o
			all = append(all, &mesos.Offer{
				Id: &mesos.OfferID{Value: &o.id}, FrameworkId: &mesos.FrameworkID{Value: proto.String("f")},
				AgentId: &mesos.AgentID{Value: &a.id}, Hostname: proto.String("host-" + a.id),
				Attributes:     []*mesos.Attribute{{Name: proto.String("rack"), Type: mesos.Value_TEXT.Enum(), Text: &mesos.Value_Text{Value: &a.rack}}},
				AllocationInfo: &mesos.Resource_AllocationInfo{Role: &role},
				Resources:      res.Allocate(role).Proto(),
			})
			if w.chance(0.03) {
				w.after(w.upTo(10*time.Millisecond), func() { w.rescind(o) })
			}
			break
		}
	}
	if len(all) > 0 {
		w.tell(2*time.Millisecond, func() Input { return Offers{Offers: all} })
	}
}

func (w *world) rescind(o *offer) {
	if w.offers[o.id] == o {
		w.take(o)
		w.tell(time.Millisecond, func() Input { return Rescinded{Offer: o.id} })
		w.after(20*time.Millisecond, w.offer)
	}
}

// What becomes of an agent that is away.
type fate int

const (
	back fate = iota
	// empty: it comes back without its tasks.
	empty
	// never: an operator says that it does not come back.
	never
)

// leave makes an agent unreachable for a while.
func (w *world) leave(a *machine, f fate, d time.Duration) {
	w.note("agent %s leaves, fate %d", a.id, f)
	a.away = true
	if a.offered != nil {
		w.rescind(a.offered)
	}
	tasks := func(do func(*task)) {
		for _, id := range slices.Sorted(maps.Keys(w.tasks)) {
			if t := w.tasks[id]; t.on == a && !t.over() {
				do(t)
			}
		}
	}
	tasks(func(t *task) {
		w.tellStatus(&mesos.TaskStatus{TaskId: t.info.TaskId, State: mesos.TaskState_TASK_UNREACHABLE.Enum(), AgentId: &mesos.AgentID{Value: &a.id}})
	})
	w.tell(time.Millisecond, func() Input { return AgentFailed{Agent: a.id} })
	w.tellAgents()
	w.after(d, func() {
		w.note("agent %s is back or not: fate %d", a.id, f)
		if f == never {
			a.gone = true
			tasks(func(t *task) {
				w.tellStatus(&mesos.TaskStatus{TaskId: t.info.TaskId, State: mesos.TaskState_TASK_GONE_BY_OPERATOR.Enum(), AgentId: &mesos.AgentID{Value: &a.id}})
			})
			return
		}
		a.away = false
		tasks(func(t *task) {
			if f == empty {
				t.updates = nil
				w.end(t, mesos.TaskState_TASK_GONE)
				return
			}
			st := w.status(t)
			st.Reason = mesos.TaskStatus_REASON_AGENT_REREGISTERED.Enum()
			w.tellStatus(st)
			if t.killed {
				w.kill(t.info.TaskId, nil)
			}
		})
		for _, id := range slices.Sorted(maps.Keys(w.tasks)) {
			if t := w.tasks[id]; t.on == a {
				w.resend(t)
			}
		}
		w.tellAgents()
		w.offer()
	})
}

// alive are the live tasks of an app, by command.
func (w *world) alive(id string) map[string]int {
	n := make(map[string]int)
	for _, t := range w.tasks {
		if t.lives() && strings.HasPrefix(t.id, instance.SafePath(id)+".instance-") {
			n[t.cmd()]++
		}
	}
	return n
}
