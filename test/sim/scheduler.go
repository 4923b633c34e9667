package main

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/kernel/resource"
	lifecycle "github.com/stoa-kernel/stoa/kernel/task"
	"github.com/stoa-kernel/stoa/master/state"
	"google.golang.org/protobuf/proto"
)

// executorResources is what every custom executor has.
var executorResources = resource.Quantities{{Name: "cpus", Value: 100}, {Name: "mem", Value: 32_000}}

// scheduler is a framework: what it knows of its tasks survives its crashes, as if it
// had a database; its connections do not.
type scheduler struct {
	w     *world
	index int
	name  string
	info  *mesos.FrameworkInfo
	id    string
	old   map[string]bool // ids of former lives, removed

	aware, multi, refine, killing bool
	hoards, lazy                  bool
	customs                       float64

	up         bool
	conn       *conn
	calls      *conn
	stream     state.Stream
	epoch      uint64 // of the master subscribed to
	subscribed bool
	cut        time.Duration

	seq     int
	pending map[int]*schedulerpb.Call
	// later are acknowledgements that go out with the next one.
	later []*schedulerpb.Call_Acknowledge

	offers    map[string]*mesos.Offer
	offered   time.Duration // when the last offer came
	left      int           // tasks still to launch
	serial    int
	tasks     []*work
	byID      map[string]*work
	execs     map[string][]*mesos.ExecutorInfo // by agent
	shutdowns map[string]bool
	leaving   bool // tears itself down
}

// work is a task as its framework knows it.
type work struct {
	id, agent string
	state     mesos.TaskState
	terminal  bool
	killing   bool // wants it dead
	lastUUID  []byte
	exec      string
}

func (w *world) framework(id string) *scheduler {
	for _, f := range w.fws {
		if f.id == id || f.old[id] {
			return f
		}
	}
	return nil
}

// gone reports whether the framework of this id is over.
func (f *scheduler) gone(id string) bool { return f.old[id] || f.leaving || f.w.truth.removed[id] }

func (w *world) addFramework(i, tasks int) {
	f := &scheduler{
		w: w, index: i, name: fmt.Sprintf("f%d", i), old: map[string]bool{}, left: tasks,
		aware: w.chance(0.6), multi: w.chance(0.6), refine: w.chance(0.7), killing: w.chance(0.5),
		hoards: w.chance(0.25), lazy: w.chance(0.3), customs: pick(w, []float64{0, 0, 0.2, 0.6}),
		offers: map[string]*mesos.Offer{}, byID: map[string]*work{}, pending: map[int]*schedulerpb.Call{},
		execs: map[string][]*mesos.ExecutorInfo{}, shutdowns: map[string]bool{},
	}
	timeout := pick(w, []float64{5, 60, 600, 3600, 3600, 3600})
	if w.chance(0.05) {
		timeout = 0
	}
	f.info = &mesos.FrameworkInfo{
		Name: &f.name, User: proto.String("root"), FailoverTimeout: &timeout, Checkpoint: proto.Bool(true),
	}
	can := func(yes bool, c mesos.FrameworkInfo_Capability_Type) {
		if yes {
			f.info.Capabilities = append(f.info.Capabilities, &mesos.FrameworkInfo_Capability{Type: c.Enum()})
		}
	}
	can(f.aware, mesos.FrameworkInfo_Capability_PARTITION_AWARE)
	can(f.multi, mesos.FrameworkInfo_Capability_MULTI_ROLE)
	can(f.refine, mesos.FrameworkInfo_Capability_RESERVATION_REFINEMENT)
	can(f.killing, mesos.FrameworkInfo_Capability_TASK_KILLING_STATE)
	names := []string{"red", "green", "blue", "red/dark"}
	if f.multi {
		f.info.Roles = []string{pick(w, names)}
		if r := pick(w, names); w.chance(0.5) && r != f.info.Roles[0] {
			f.info.Roles = append(f.info.Roles, r)
		}
	} else if w.chance(0.8) {
		f.info.Role = proto.String(pick(w, names))
	}
	w.fws = append(w.fws, f)
	w.at(w.between(0, 10*time.Second), func() { f.up = true; f.connect() })
}

// connect subscribes to the leader, now or when there is one.
func (f *scheduler) connect() {
	w := f.w
	if !f.up || f.conn != nil || f.leaving && w.truth.removed[f.id] {
		return
	}
	again := func() { w.at(w.between(100*time.Millisecond, 3*time.Second), f.connect) }
	m := w.leader
	if m == nil || !m.ready || f.cut > w.now {
		again()
		return
	}
	c, calls := &conn{w: w}, &conn{w: w}
	f.conn, f.calls, f.stream, f.subscribed, f.epoch = c, calls, "", false, m.epoch
	f.offers, f.later = map[string]*mesos.Offer{}, nil
	c.ends[0].recv = func(msg any) {
		switch msg := msg.(type) {
		case state.Stream:
			if f.conn == c {
				f.stream = msg
			}
		case *schedulerpb.Event:
			if f.conn == c && f.up {
				f.event(msg)
			}
		}
	}
	c.ends[0].gone = func() {
		if f.conn == c {
			f.drop()
			again()
		}
	}
	calls.ends[0].recv = func(msg any) {
		r := msg.(reply)
		f.answered(r)
	}
	calls.ends[0].gone = func() {
		if f.calls == calls && f.conn == c {
			f.recall(m)
		}
	}
	m.acceptStream(c)
	m.acceptCalls(calls)
	call := &schedulerpb.Call{
		Type:      schedulerpb.Call_SUBSCRIBE.Enum(),
		Subscribe: &schedulerpb.Call_Subscribe{FrameworkInfo: f.whole()},
	}
	if f.id != "" {
		call.FrameworkId = &mesos.FrameworkID{Value: proto.String(f.id)}
	}
	c.send(0, call)
}

// whole is the FrameworkInfo with the id.
func (f *scheduler) whole() *mesos.FrameworkInfo {
	info := proto.CloneOf(f.info)
	if f.id != "" {
		info.Id = &mesos.FrameworkID{Value: proto.String(f.id)}
	}
	return info
}

// recall opens a new connection for calls after the old one broke; what was not
// answered may be said again.
func (f *scheduler) recall(m *masterProcess) {
	w := f.w
	stream := f.conn
	w.at(w.between(10*time.Millisecond, time.Second), func() {
		if f.conn != stream || !f.up || !m.alive {
			return
		}
		calls := &conn{w: w}
		f.calls = calls
		calls.ends[0].recv = func(msg any) { f.answered(msg.(reply)) }
		calls.ends[0].gone = func() {
			if f.calls == calls && f.conn == stream {
				f.recall(m)
			}
		}
		m.acceptCalls(calls)
		seqs := make([]int, 0, len(f.pending))
		for s := range f.pending {
			seqs = append(seqs, s)
		}
		slices.Sort(seqs)
		for _, s := range seqs {
			call := f.pending[s]
			delete(f.pending, s)
			if w.chance(0.7) {
				w.count["fault: call sent again"]++
				f.call(call)
			}
		}
	})
}

// drop forgets the connections.
func (f *scheduler) drop() {
	if f.conn != nil {
		f.conn.close(0)
		f.calls.close(0)
	}
	f.conn, f.calls, f.subscribed = nil, nil, false
	f.pending = map[int]*schedulerpb.Call{}
	f.offers, f.later = map[string]*mesos.Offer{}, nil
}

// crash ends the scheduler's process; another takes over with the id.
func (f *scheduler) crash(back time.Duration) {
	if !f.up {
		return
	}
	f.w.say("%s crashes", f.name)
	f.up = false
	if f.conn != nil && f.w.chance(0.3) {
		f.conn.sever(20 * time.Second)
		f.calls.sever(20 * time.Second)
	}
	f.drop()
	f.w.at(back, func() { f.up = true; f.connect() })
}

// usurp subscribes anew while the old subscription stands.
func (f *scheduler) usurp() {
	if f.conn == nil || !f.up {
		return
	}
	f.w.say("%s fails over while it is connected", f.name)
	f.conn, f.calls, f.subscribed = nil, nil, false
	f.pending = map[int]*schedulerpb.Call{}
	f.connect()
}

func (f *scheduler) call(c *schedulerpb.Call) {
	if f.calls == nil || f.stream == "" || !f.up {
		return
	}
	c.FrameworkId = &mesos.FrameworkID{Value: proto.String(f.id)}
	f.seq++
	f.pending[f.seq] = c
	f.w.count["call: "+c.GetType().String()]++
	f.calls.send(0, request{f.stream, c, f.seq})
}

func (f *scheduler) answered(r reply) {
	c := f.pending[r.seq]
	delete(f.pending, r.seq)
	if c != nil && r.status >= 400 && f.subscribed {
		f.w.count[fmt.Sprintf("call refused: %d", r.status)]++
	}
}

// soon does something if the subscription still stands then.
func (f *scheduler) soon(after time.Duration, do func()) {
	c := f.conn
	f.w.at(after, func() {
		if f.up && f.conn == c && c != nil && f.subscribed {
			do()
		}
	})
}

func (f *scheduler) event(e *schedulerpb.Event) {
	w := f.w
	switch e.GetType() {
	case schedulerpb.Event_SUBSCRIBED:
		f.isSubscribed(e.GetSubscribed())
	case schedulerpb.Event_OFFERS:
		f.offered = w.now
		for _, o := range e.GetOffers().GetOffers() {
			id := o.GetId().GetValue()
			f.offers[id] = o
			think := w.between(time.Millisecond, 500*time.Millisecond)
			if f.lazy && w.chance(0.3) {
				think = w.between(time.Second, 15*time.Second)
			}
			f.soon(think, func() { f.consider(id) })
		}
	case schedulerpb.Event_RESCIND:
		id := e.GetRescind().GetOfferId().GetValue()
		if w.chance(0.3) && f.offers[id] != nil {
			// The decision to use it was made already.
			o := f.offers[id]
			f.soon(w.between(0, 5*time.Millisecond), func() { f.use(o) })
			w.count["race: ACCEPT of a rescinded offer"]++
		}
		delete(f.offers, id)
	case schedulerpb.Event_UPDATE:
		f.update(e.GetUpdate().GetStatus())
	case schedulerpb.Event_UPDATE_OPERATION_STATUS:
		f.operationStatus(e.GetUpdateOperationStatus().GetStatus())
	case schedulerpb.Event_MESSAGE:
		f.greeted(e.GetMessage())
	case schedulerpb.Event_ERROR:
		f.errored(e.GetError().GetMessage())
	}
}

func (f *scheduler) errored(message string) {
	w := f.w
	w.say("%s reads ERROR %s", f.name, message)
	w.count["framework error: "+message]++
	switch message {
	case "Framework failed over":
	case "Framework has been removed":
		if f.leaving {
			f.drop()
			return
		}
		// It begins a new life as another framework.
		f.old[f.id] = true
		f.id, f.tasks, f.byID = "", nil, map[string]*work{}
		f.execs, f.shutdowns = map[string][]*mesos.ExecutorInfo{}, map[string]bool{}
		f.drop()
		w.at(w.between(time.Second, 5*time.Second), f.connect)
	default:
		w.fail("only what is wrong is refused", "%s reads ERROR %q", f.name, message)
	}
}

func (f *scheduler) isSubscribed(s *schedulerpb.Event_Subscribed) {
	w := f.w
	f.id = s.GetFrameworkId().GetValue()
	f.subscribed = true
	w.say("%s is subscribed as %s", f.name, f.id)
	if f.leaving {
		f.call(&schedulerpb.Call{Type: schedulerpb.Call_TEARDOWN.Enum()})
		return
	}
	if w.chance(0.5) {
		f.call(&schedulerpb.Call{Type: schedulerpb.Call_RECONCILE.Enum(), Reconcile: &schedulerpb.Call_Reconcile{}})
	}
	for _, t := range f.tasks {
		if t.killing && !t.terminal {
			f.kill(t)
		}
	}
	f.soon(w.between(20*time.Second, time.Minute), f.routine)
}

// routine is what a scheduler does now and then.
func (f *scheduler) routine() {
	w := f.w
	switch w.rng.IntN(7) {
	case 0:
		f.reconcile()
	case 1:
		f.call(&schedulerpb.Call{Type: schedulerpb.Call_RECONCILE.Enum(), Reconcile: &schedulerpb.Call_Reconcile{}})
		f.call(&schedulerpb.Call{Type: schedulerpb.Call_RECONCILE_OPERATIONS.Enum(), ReconcileOperations: &schedulerpb.Call_ReconcileOperations{}})
	case 2:
		if !w.calm {
			f.call(&schedulerpb.Call{Type: schedulerpb.Call_SUPPRESS.Enum()})
			f.soon(w.between(5*time.Second, 40*time.Second), f.revive)
		}
	case 3:
		f.revive()
	case 4:
		if !w.calm && len(f.tasks) > 0 {
			t := pick(w, f.tasks)
			if t.exec != "" && !t.terminal && !f.shutdowns[t.exec] {
				f.shutdowns[t.exec] = true
				f.call(&schedulerpb.Call{Type: schedulerpb.Call_SHUTDOWN.Enum(), Shutdown: &schedulerpb.Call_Shutdown{
					ExecutorId: &mesos.ExecutorID{Value: proto.String(t.exec)}, AgentId: &mesos.AgentID{Value: proto.String(t.agent)},
				}})
			}
		}
	case 5:
		f.call(&schedulerpb.Call{Type: schedulerpb.Call_UPDATE_FRAMEWORK.Enum(), UpdateFramework: &schedulerpb.Call_UpdateFramework{FrameworkInfo: f.whole()}})
	case 6:
		f.greet()
	}
	f.soon(w.between(20*time.Second, time.Minute), f.routine)
}

// greet sends a message to every executor that may live; those that do answer. Messages
// may be lost, but reach nobody else.
func (f *scheduler) greet() {
	for _, t := range f.tasks {
		if t.exec != "" && !t.terminal {
			f.call(&schedulerpb.Call{Type: schedulerpb.Call_MESSAGE.Enum(), Message: &schedulerpb.Call_Message{
				AgentId:    &mesos.AgentID{Value: proto.String(t.agent)},
				ExecutorId: &mesos.ExecutorID{Value: proto.String(t.exec)},
				Data:       []byte(f.id + " greets " + t.exec),
			}})
		}
	}
}

func (f *scheduler) greeted(m *schedulerpb.Event_Message) {
	if want := m.GetExecutorId().GetValue() + " greets " + f.id; string(m.GetData()) != want {
		f.w.fail("messages reach whom they are for", "%s reads %q from executor %s", f.id, m.GetData(), m.GetExecutorId().GetValue())
	}
}

func (f *scheduler) revive() {
	f.call(&schedulerpb.Call{Type: schedulerpb.Call_REVIVE.Enum()})
}

// reconcile asks for every task not known to have ended.
func (f *scheduler) reconcile() {
	r := &schedulerpb.Call_Reconcile{}
	for _, t := range f.tasks {
		if !t.terminal {
			q := &schedulerpb.Call_Reconcile_Task{TaskId: &mesos.TaskID{Value: proto.String(t.id)}}
			if f.w.calm || f.w.chance(0.7) {
				q.AgentId = &mesos.AgentID{Value: proto.String(t.agent)}
			}
			r.Tasks = append(r.Tasks, q)
		}
	}
	if len(r.Tasks) > 0 {
		f.call(&schedulerpb.Call{Type: schedulerpb.Call_RECONCILE.Enum(), Reconcile: r})
	}
}

func (f *scheduler) kill(t *work) {
	t.killing = true
	f.w.truth.get(t.id).killed = true
	k := &schedulerpb.Call_Kill{TaskId: &mesos.TaskID{Value: proto.String(t.id)}}
	if f.w.chance(0.6) {
		k.AgentId = &mesos.AgentID{Value: proto.String(t.agent)}
	}
	if f.w.chance(0.3) {
		k.KillPolicy = f.w.killPolicy(20 * time.Second)
	}
	f.call(&schedulerpb.Call{Type: schedulerpb.Call_KILL.Enum(), Kill: k})
}

// update reads a status and acknowledges it, now, late, or when it comes again.
func (f *scheduler) update(s *mesos.TaskStatus) {
	w := f.w
	f.seen(s)
	t := f.byID[s.GetTaskId().GetValue()]
	if t == nil {
		if len(s.GetUuid()) > 0 {
			w.fail("updates reach their framework", "%s reads %s of %s, which it never launched", f.name, s.GetState(), s.GetTaskId().GetValue())
		}
		return
	}
	f.learn(t, s)
	if len(s.GetUuid()) == 0 {
		return
	}
	late := time.Duration(0)
	switch p := w.rng.Float64(); {
	case w.calm:
		late = w.between(0, 100*time.Millisecond)
	case p < 0.6:
		late = w.between(0, 100*time.Millisecond)
	case p < 0.9:
		late = w.between(0, 15*time.Second)
	case p < 0.93:
		w.count["framework: acknowledgement left out"]++
		return
	default:
		f.forge(t, s)
		late = w.between(0, 2*time.Second)
	}
	f.soon(late, func() {
		if !w.calm && s.AgentId != nil && w.chance(0.2) {
			f.later = append(f.later, &schedulerpb.Call_Acknowledge{AgentId: s.AgentId, TaskId: s.TaskId, Uuid: s.Uuid})
			return
		}
		f.acknowledge(s.GetAgentId(), s.GetTaskId(), s.GetUuid())
		if w.chance(0.05) {
			f.acknowledge(s.GetAgentId(), s.GetTaskId(), s.GetUuid())
		}
	})
	t.lastUUID = s.GetUuid()
}

func (f *scheduler) learn(t *work, s *mesos.TaskStatus) {
	w := f.w
	if s.GetReason() == mesos.TaskStatus_REASON_INVALID_OFFERS && t.state != mesos.TaskState_TASK_STAGING {
		return // of an ACCEPT sent twice
	}
	switch s.GetState() {
	case mesos.TaskState_TASK_UNREACHABLE, mesos.TaskState_TASK_UNKNOWN:
		t.state = s.GetState()
		if s.GetState() == mesos.TaskState_TASK_UNKNOWN {
			t.terminal = true
		}
		return
	case mesos.TaskState_TASK_LOST:
		// Of a framework that is not partition aware: it may come back.
	}
	t.state = s.GetState()
	t.terminal = lifecycle.Terminal(s.GetState())
	if t.terminal {
		w.count["framework: end read"]++
	}
}

// forge acknowledges what it must not: with a made-up uuid, with the one before, or an
// update of somebody else's task.
func (f *scheduler) forge(t *work, s *mesos.TaskStatus) {
	w := f.w
	w.count["framework: forged acknowledgement"]++
	uuid := make([]byte, 16)
	for i := range uuid {
		uuid[i] = byte(w.rng.Uint32())
	}
	if t.lastUUID != nil && w.chance(0.5) {
		uuid = t.lastUUID
	}
	f.acknowledge(s.GetAgentId(), s.GetTaskId(), uuid)
	other := pick(w, w.truth.order)
	if n := len(other.updates); n > 0 && other.fw != f {
		u := other.updates[n-1]
		f.acknowledge(u.status.GetAgentId(), u.status.GetTaskId(), u.status.GetUuid())
	}
}

func (f *scheduler) acknowledge(agent *mesos.AgentID, task *mesos.TaskID, uuid []byte) {
	if agent == nil {
		return
	}
	one := &schedulerpb.Call_Acknowledge{AgentId: agent, TaskId: task, Uuid: uuid}
	c := &schedulerpb.Call{Type: schedulerpb.Call_ACKNOWLEDGE.Enum()}
	if len(f.later) > 0 {
		c.Acknowledgements = append(f.later, one)
		f.later = nil
		f.w.count["framework: acknowledged many at once"]++
	} else {
		c.Acknowledge = one
	}
	for a := range acknowledgements(c) {
		if t := f.w.truth.tasks[a.GetTaskId().GetValue()]; t != nil && t.owner == f.id {
			if u := t.update(a.GetUuid()); u != nil {
				u.ackSent = true
			}
		}
	}
	f.call(c)
}

// acknowledgements are all of an ACKNOWLEDGE.
func acknowledgements(c *schedulerpb.Call) iter.Seq[*schedulerpb.Call_Acknowledge] {
	return func(yield func(*schedulerpb.Call_Acknowledge) bool) {
		if c.Acknowledge != nil && !yield(c.Acknowledge) {
			return
		}
		for _, a := range c.Acknowledgements {
			if !yield(a) {
				return
			}
		}
	}
}

func (f *scheduler) operationStatus(s *mesos.OperationStatus) {
	w := f.w
	w.count["operation read: "+s.GetState().String()]++
	if s.Uuid == nil || s.AgentId == nil {
		return
	}
	f.soon(w.between(0, time.Second), func() {
		f.call(&schedulerpb.Call{
			Type: schedulerpb.Call_ACKNOWLEDGE_OPERATION_STATUS.Enum(),
			AcknowledgeOperationStatus: &schedulerpb.Call_AcknowledgeOperationStatus{
				AgentId: s.AgentId, Uuid: s.Uuid.Value, OperationId: s.OperationId,
			},
		})
	})
}

// consider decides about an offer that still stands.
func (f *scheduler) consider(id string) {
	w := f.w
	o := f.offers[id]
	if o == nil {
		return
	}
	if f.hoards && w.chance(0.5) && !w.calm {
		w.count["framework: offer hoarded"]++
		f.soon(w.between(10*time.Second, 2*time.Minute), func() {
			if f.offers[id] != nil {
				f.use(o)
			}
		})
		return
	}
	f.use(o)
}

// use accepts an offer, or declines it.
func (f *scheduler) use(o *mesos.Offer) {
	w := f.w
	id := o.GetId().GetValue()
	delete(f.offers, id)
	filters := &mesos.Filters{RefuseSeconds: proto.Float64(pick(w, []float64{0, 5, 30, 120, 120}))}
	switch {
	case w.calm:
		filters.RefuseSeconds = proto.Float64(60)
	case f.left <= 0:
		filters.RefuseSeconds = proto.Float64(180)
	}
	ops := f.plan(o)
	if len(ops) == 0 {
		f.call(&schedulerpb.Call{Type: schedulerpb.Call_DECLINE.Enum(), Decline: &schedulerpb.Call_Decline{
			OfferIds: []*mesos.OfferID{o.GetId()}, Filters: filters,
		}})
		return
	}
	f.call(&schedulerpb.Call{Type: schedulerpb.Call_ACCEPT.Enum(), Accept: &schedulerpb.Call_Accept{
		OfferIds: []*mesos.OfferID{o.GetId()}, Operations: ops, Filters: filters,
	}})
}

func (f *scheduler) role(o *mesos.Offer) string {
	if f.multi {
		return o.GetAllocationInfo().GetRole()
	}
	if r := f.info.GetRole(); r != "" {
		return r
	}
	return "*"
}

// plan is what to do with an offer.
func (f *scheduler) plan(o *mesos.Offer) []*mesos.Offer_Operation {
	w := f.w
	bag, err := resource.Of(o.GetResources()...)
	if err != nil {
		w.fail("offers can be read", "%s: %v", f.name, err)
	}
	var ops []*mesos.Offer_Operation
	role := f.role(o)
	if role != "*" && !w.calm {
		ops, bag = f.operate(o, bag, role)
	}
	if w.calm || f.left <= 0 {
		return ops
	}
	var infos []*mesos.TaskInfo
	for n := 1 + w.rng.IntN(5); n > 0 && f.left > 0; n-- {
		var info *mesos.TaskInfo
		if info, bag = f.task(o, bag); info == nil {
			break
		}
		infos = append(infos, info)
	}
	if len(infos) > 0 {
		ops = append(ops, &mesos.Offer_Operation{
			Type: mesos.Offer_Operation_LAUNCH.Enum(), Launch: &mesos.Offer_Operation_Launch{TaskInfos: infos},
		})
	}
	return ops
}

// take takes an amount of a scalar out of one item of a bag.
func take(bag resource.Resources, name string, amount resource.Milli, keep func(*resource.Resource) bool) (*mesos.Resource, resource.Resources) {
	for it := range bag.All() {
		if it.Name() != name || it.Kind() != resource.Scalar || it.VolumeID() != "" || it.Scalar() < amount || keep != nil && !keep(it) {
			continue
		}
		r := it.Proto()
		r.Scalar = &mesos.Value_Scalar{Value: proto.Float64(amount.Float())}
		used, err := resource.Of(r)
		if err != nil {
			panic(err)
		}
		return r, bag.Sub(used)
	}
	return nil, bag
}

// task makes a task out of what is left of an offer, nil if nothing fits.
func (f *scheduler) task(o *mesos.Offer, bag resource.Resources) (*mesos.TaskInfo, resource.Resources) {
	w := f.w
	cpus, rest := take(bag, "cpus", pick(w, []resource.Milli{100, 250, 500, 1000}), nil)
	mem, rest := take(rest, "mem", pick(w, []resource.Milli{32, 64, 128, 256})*1000, nil)
	if cpus == nil || mem == nil {
		return nil, bag
	}
	f.serial++
	id := fmt.Sprintf("%s.%d", f.name, f.serial)
	info := &mesos.TaskInfo{
		Name: &id, TaskId: &mesos.TaskID{Value: &id}, AgentId: o.GetAgentId(), Resources: []*mesos.Resource{cpus, mem},
	}
	for it := range rest.All() {
		if it.VolumeID() != "" && w.chance(0.6) {
			info.Resources = append(info.Resources, it.Proto())
			rest = rest.Sub(it.Bag())
			w.count["task with a volume"]++
			break
		}
	}
	if w.chance(0.01) {
		info.Resources[0] = proto.CloneOf(cpus)
		info.Resources[0].Scalar.Value = proto.Float64(1000)
		w.count["task that asks too much"]++
	}
	t := &work{id: id, agent: o.GetAgentId().GetValue(), state: mesos.TaskState_TASK_STAGING}
	custom := f.customs > 0 && w.chance(f.customs)
	if custom {
		var x *mesos.ExecutorInfo
		if x, rest = f.executor(o, rest); x == nil {
			custom = false
		} else {
			info.Executor = x
			t.exec = x.GetExecutorId().GetValue()
		}
	}
	if !custom {
		info.Command = &mesos.CommandInfo{Value: proto.String("work " + id)}
		if w.chance(0.15) {
			info.Command.Uris = []*mesos.CommandInfo_URI{{Value: proto.String("http://files/" + id)}}
		}
	}
	if w.chance(0.2) {
		info.KillPolicy = w.killPolicy(10 * time.Second)
	}
	truth := &taskTruth{id: id, fw: f, owner: f.id, custom: custom}
	if !custom {
		f.checked(info, truth)
	}
	p := &truth.plan
	p.stubborn = w.chance(0.2)
	switch x := w.rng.Float64(); {
	case x < 0.3:
		p.life = w.between(10*time.Millisecond, 2*time.Second)
	case x < 0.6:
		p.life = w.between(2*time.Second, 60*time.Second)
	case x < 0.85:
		p.life = w.between(30*time.Second, 4*time.Minute)
	}
	switch x := w.rng.Float64(); {
	case x < 0.1:
		p.wait = int32(lifecycle.Exited(3))
	case x < 0.15:
		p.wait = int32(lifecycle.Signaled(11, true))
	case x < 0.2 && !custom:
		p.wait, p.oom = int32(lifecycle.Signaled(9, false)), true
	}
	if !custom && w.chance(0.05) {
		info.MaxCompletionTime = &mesos.DurationInfo{Nanoseconds: proto.Int64(int64(w.between(time.Second, 30*time.Second)))}
		truth.killed = true // it may be
	}
	all, err := resource.Of(info.Resources...)
	if err != nil {
		panic(err)
	}
	truth.resources = all.Quantities()
	w.truth.tasks[id] = truth
	w.truth.order = append(w.truth.order, truth)
	f.tasks = append(f.tasks, t)
	f.byID[id] = t
	f.left--
	if p.life == 0 || w.chance(0.1) {
		f.w.at(w.between(100*time.Millisecond, 4*time.Minute), func() {
			if f.byID[id] == t && !t.terminal {
				f.kill(t)
			}
		})
	}
	return info, rest
}

// executor is one that runs on the offer's agent, or a new one.
func (f *scheduler) executor(o *mesos.Offer, bag resource.Resources) (*mesos.ExecutorInfo, resource.Resources) {
	w := f.w
	agent := o.GetAgentId().GetValue()
	for _, have := range o.GetExecutorIds() {
		for _, x := range f.execs[agent] {
			if x.GetExecutorId().GetValue() == have.GetValue() && !f.shutdowns[have.GetValue()] && w.chance(0.7) {
				w.count["executor reused"]++
				return x, bag
			}
		}
	}
	cpus, rest := take(bag, "cpus", 100, nil)
	mem, rest := take(rest, "mem", 32_000, nil)
	if cpus == nil || mem == nil {
		return nil, bag
	}
	f.serial++
	id := fmt.Sprintf("x-%s-%d", f.name, f.serial)
	x := &mesos.ExecutorInfo{
		ExecutorId: &mesos.ExecutorID{Value: &id},
		Command:    &mesos.CommandInfo{Value: proto.String("executor")},
		Resources:  []*mesos.Resource{cpus, mem},
	}
	f.execs[agent] = append(f.execs[agent], x)
	return x, rest
}

// operate reserves and makes volumes, or undoes it.
func (f *scheduler) operate(o *mesos.Offer, bag resource.Resources, role string) ([]*mesos.Offer_Operation, resource.Resources) {
	w := f.w
	var ops []*mesos.Offer_Operation
	add := func(op *mesos.Offer_Operation) {
		next, err := bag.Apply(op)
		if err != nil {
			w.fail("offers can be read", "%s cannot apply %v to %s: %v", f.name, op, bag, err)
		}
		bag = next
		if w.chance(0.5) {
			f.serial++
			op.Id = &mesos.OperationID{Value: proto.String(fmt.Sprintf("op-%s-%d", f.name, f.serial))}
		}
		ops = append(ops, op)
		w.count["operation asked: "+op.GetType().String()]++
	}
	if w.chance(0.2) {
		for it := range bag.All() {
			if it.VolumeID() != "" && it.Role() == role {
				w.truth.destroy(it.VolumeID())
				add(&mesos.Offer_Operation{Type: mesos.Offer_Operation_DESTROY.Enum(), Destroy: &mesos.Offer_Operation_Destroy{Volumes: []*mesos.Resource{it.Proto()}}})
			}
		}
		for it := range bag.All() {
			if it.DynamicallyReserved() && it.Role() == role && it.VolumeID() == "" {
				add(&mesos.Offer_Operation{Type: mesos.Offer_Operation_UNRESERVE.Enum(), Unreserve: &mesos.Offer_Operation_Unreserve{Resources: []*mesos.Resource{it.Proto()}}})
			}
		}
		return ops, bag
	}
	if !w.chance(0.1) || strings.Contains(role, "/") && !f.refine {
		return nil, bag
	}
	free := func(it *resource.Resource) bool { return !it.Reserved() }
	cpus, rest := take(bag, "cpus", 500, free)
	mem, rest := take(rest, "mem", 64_000, free)
	disk, _ := take(rest, "disk", 128_000, free)
	if cpus == nil || mem == nil || disk == nil {
		return nil, bag
	}
	var reserved []*mesos.Resource
	for _, r := range []*mesos.Resource{cpus, mem, disk} {
		r = proto.CloneOf(r)
		r.Role = nil
		r.Reservations = []*mesos.Resource_ReservationInfo{{Type: mesos.Resource_ReservationInfo_DYNAMIC.Enum(), Role: proto.String(role)}}
		reserved = append(reserved, r)
	}
	add(&mesos.Offer_Operation{Type: mesos.Offer_Operation_RESERVE.Enum(), Reserve: &mesos.Offer_Operation_Reserve{Resources: reserved}})
	if w.chance(0.7) {
		f.serial++
		volume := proto.CloneOf(reserved[2])
		volume.Disk = &mesos.Resource_DiskInfo{
			Persistence: &mesos.Resource_DiskInfo_Persistence{Id: proto.String(fmt.Sprintf("v-%s-%d", f.name, f.serial))},
			Volume:      &mesos.Volume{ContainerPath: proto.String("data"), Mode: mesos.Volume_RW.Enum()},
		}
		add(&mesos.Offer_Operation{Type: mesos.Offer_Operation_CREATE.Enum(), Create: &mesos.Offer_Operation_Create{Volumes: []*mesos.Resource{volume}}})
	}
	return ops, bag
}

func (l *ledger) destroy(volume string) {
	if l.destroyed == nil {
		l.destroyed = map[string]bool{}
	}
	l.destroyed[volume] = true
}

// leave is a framework's own TEARDOWN.
func (f *scheduler) leave() {
	if !f.subscribed {
		return
	}
	f.w.say("%s tears itself down", f.name)
	f.w.count["framework: teardown"]++
	f.leaving = true
	for _, t := range f.tasks {
		f.w.truth.get(t.id).killed = true
	}
	f.call(&schedulerpb.Call{Type: schedulerpb.Call_TEARDOWN.Enum()})
}
