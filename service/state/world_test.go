package state

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"google.golang.org/protobuf/proto"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/kernel/clock"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/deploy"
	"github.com/stoa-kernel/stoa/service/instance"
)

// world is a kernel, a store and the service on them, in virtual time from one seed.
type world struct {
	t     *testing.T
	rng   *rand.Rand
	start time.Time
	now   time.Duration
	queue []pending // by time
	seq   int

	store  map[string][]byte
	core   *Service
	term   int // counts restarts of the service: what was for an earlier one is dropped
	timer  int
	token  Token
	answer map[Token]Result
	events []marathon.Event

	agents  []*machine
	tasks   map[string]*task
	ever    map[string]int // launches by task id
	offers  map[string]*machine
	nextID  int
	revived bool
	reviver int

	// faults, while they last.
	faulty       bool
	crash        float64 // at each effect
	failLaunch   float64
	failLater    float64
	unhealthy    float64
	crashes      int
	down         bool
	deadLaunches int
	lastEffect   string
	log          []string
}

type pending struct {
	at  time.Duration
	seq int
	do  func()
}

type machine struct {
	id        string
	cpus      float64
	away      bool
	refused   time.Duration // offers are filtered until then
	offered   string
	ports     map[int]bool
	attribute string
}

type task struct {
	id      string
	on      *machine
	info    *mesos.TaskInfo
	state   mesos.TaskState
	healthy bool
	killed  bool
	// updates not acknowledged, oldest first.
	updates []*mesos.TaskStatus
}

func (t *task) over() bool {
	switch t.state {
	case mesos.TaskState_TASK_STAGING, mesos.TaskState_TASK_RUNNING, mesos.TaskState_TASK_UNREACHABLE:
		return false
	}
	return true
}

func newWorld(t *testing.T, seed uint64, agents int) *world {
	w := &world{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		store: make(map[string][]byte), answer: make(map[Token]Result), tasks: make(map[string]*task),
		ever: make(map[string]int), offers: make(map[string]*machine),
	}
	for n := range agents {
		w.agents = append(w.agents, &machine{id: fmt.Sprintf("a%d", n), cpus: 16, ports: make(map[int]bool)})
	}
	w.boot()
	return w
}

func (w *world) wall() time.Time { return w.start.Add(w.now) }

// after runs do in d, unless the service has been restarted since (of a term) or not.
func (w *world) after(d time.Duration, do func()) {
	w.seq++
	p := pending{w.now + d, w.seq, do}
	at, _ := slices.BinarySearchFunc(w.queue, p, func(a, b pending) int {
		if a.at != b.at {
			return int(a.at - b.at)
		}
		return a.seq - b.seq
	})
	w.queue = slices.Insert(w.queue, at, p)
}

func (w *world) tellService(d time.Duration, in func() Input) {
	term := w.term
	w.after(d, func() {
		if term == w.term && !w.down {
			if i := in(); i != nil {
				w.step(i)
			}
		}
	})
}

// run until a time.
func (w *world) run(until time.Duration) {
	for len(w.queue) > 0 && w.queue[0].at <= until {
		p := w.queue[0]
		w.queue = w.queue[1:]
		w.now = p.at
		p.do()
	}
	w.now = until
}

// boot starts the service from what the store has.
func (w *world) boot() {
	w.term++
	w.down = false
	w.core = New(Config{Seed: w.rng.Uint64(), App: app.Options{PortMin: 10000, PortMax: 20000, Role: "*"}, KillRetry: 5 * time.Second})
	w.revived = false
	clear(w.offers)
	for _, a := range w.agents {
		a.offered, a.refused = "", 0
	}
	term := w.term
	w.step(w.recovered())
	if term != w.term {
		return // it crashed again
	}
	w.tellService(10*time.Millisecond, func() Input {
		w.revived = true
		w.offer()
		for _, id := range slices.Sorted(maps.Keys(w.tasks)) {
			w.resend(w.tasks[id])
		}
		return Subscribed{FrameworkID: "f"}
	})
}

func (w *world) recovered() Recovered {
	var in Recovered
	for _, k := range slices.Sorted(maps.Keys(w.store)) {
		kind, _, _ := strings.Cut(strings.TrimPrefix(k, "service/"), "/")
		var err error
		raw := w.store[k]
		switch kind {
		case "root":
			err = json.Unmarshal(raw, &in.Version)
		case "roots":
			err = more(raw, &in.Roots)
		case "apps":
			err = more(raw, &in.Apps)
		case "groups":
			err = more(raw, &in.Groups)
		case "backoff":
			err = more(raw, &in.Backoffs)
		case "attempts":
			err = more(raw, &in.Attempts)
		case "instances":
			i := new(instance.Instance)
			err = json.Unmarshal(raw, i)
			in.Instances = append(in.Instances, i)
		case "plans":
			err = more(raw, &in.Plans)
		case "progress":
			err = more(raw, &in.Progress)
		case "deployments":
			d := new(deploy.Deployment)
			err = json.Unmarshal(raw, d)
			in.Deployments = append(in.Deployments, d)
		default:
			w.t.Fatalf("key %s", k)
		}
		if err != nil {
			w.t.Fatalf("%s: %v", k, err)
		}
	}
	return in
}

func more[T any](raw []byte, to *[]T) error {
	*to = append(*to, *new(T))
	return json.Unmarshal(raw, &(*to)[len(*to)-1])
}

// step gives the service an input and does what it says, unless it dies in between.
func (w *world) step(in Input) {
	if st, ok := in.(Status); ok {
		w.note("status %s %s %s", st.Status.GetTaskId().GetValue(), st.Status.GetState(), st.Status.GetReason())
	} else {
		w.note("%T", in)
	}
	effects := slices.Clone(w.core.Step(clock.Now{Mono: w.now, Wall: w.wall()}, in))
	var saves []Put
	for _, e := range effects {
		if w.faulty && w.rng.Float64() < w.crash {
			w.note("crash before %T", e)
			w.crashes++
			w.restart()
			return
		}
		switch e := e.(type) {
		case Save:
			saves = append(saves, e.Puts...)
		case Persist:
			w.keep(saves)
			saves = nil
			w.keep(e.Puts)
		default:
			w.do(e)
		}
	}
	w.keep(saves)
}

func (w *world) restart() {
	w.term++
	w.down = true
	w.after(time.Duration(w.rng.IntN(2000))*time.Millisecond, func() { w.boot() })
}

func (w *world) keep(puts []Put) {
	for _, p := range puts {
		if p.Value == nil {
			delete(w.store, p.Key)
			continue
		}
		raw, err := json.Marshal(p.Value)
		if err != nil {
			w.t.Fatal(err)
		}
		w.store[p.Key] = raw
	}
}

func (w *world) note(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%8.3f ", w.now.Seconds())+fmt.Sprintf(format, args...))
	if len(w.log) > 4000 {
		w.log = slices.Clone(w.log[2000:])
	}
}

func (w *world) do(e Effect) {
	switch e := e.(type) {
	case Answer:
		w.answer[e.Token] = e.Result
	case SetTimer:
		w.timer++
		n, term := w.timer, w.term
		w.after(max(0, e.At-w.now), func() {
			if n == w.timer && term == w.term && !w.down {
				w.step(Fired{})
			}
		})
	case Acknowledge:
		if t := w.tasks[e.Status.GetTaskId().GetValue()]; t != nil {
			t.updates = slices.DeleteFunc(t.updates, func(u *mesos.TaskStatus) bool { return string(u.Uuid) == string(e.Status.Uuid) })
			w.resend(t)
		}
	case Call:
		w.call(e.Call)
	case Publish:
		w.events = append(w.events, e.Event)
		w.note("%s", e.Event.EventType())
	case PreStop:
		w.tellService(time.Second, func() Input { return Stopped{Instance: e.Instance.ID, Task: e.Instance.TaskID} })
	case Watch:
		if e.Ready {
			w.tellService(300*time.Millisecond, func() Input {
				return ReadyProbed{Instance: e.Instance.ID, Task: e.Instance.TaskID, Result: marathon.ReadinessResult{Ready: true, TaskID: e.Instance.TaskID}}
			})
		}
	}
}

func (w *world) call(c *schedulerpb.Call) {
	w.note("%s", c.GetType())
	switch c.GetType() {
	case schedulerpb.Call_REVIVE:
		w.revived = true
		for _, a := range w.agents {
			a.refused = 0
		}
		w.offer()
	case schedulerpb.Call_SUPPRESS:
		w.revived = false
	case schedulerpb.Call_DECLINE:
		for _, id := range c.GetDecline().GetOfferIds() {
			if a := w.offers[id.GetValue()]; a != nil {
				a.offered = ""
				a.refused = w.now + time.Duration(c.GetDecline().GetFilters().GetRefuseSeconds()*float64(time.Second))
				delete(w.offers, id.GetValue())
			}
		}
	case schedulerpb.Call_ACCEPT:
		w.accept(c.GetAccept())
	case schedulerpb.Call_KILL:
		w.kill(c.GetKill().GetTaskId().GetValue())
	case schedulerpb.Call_RECONCILE:
		w.reconcile(c.GetReconcile().GetTasks())
	default:
		w.t.Fatalf("an unexpected call %v", c)
	}
}

func (w *world) accept(a *schedulerpb.Call_Accept) {
	on := w.offers[a.GetOfferIds()[0].GetValue()]
	for _, id := range a.GetOfferIds() {
		delete(w.offers, id.GetValue())
	}
	if on != nil {
		on.offered = ""
	}
	for _, op := range a.GetOperations() {
		for _, info := range op.GetLaunch().GetTaskInfos() {
			id := info.GetTaskId().GetValue()
			if on == nil || on.away {
				st := &mesos.TaskStatus{TaskId: info.TaskId, State: mesos.TaskState_TASK_DROPPED.Enum(), Reason: mesos.TaskStatus_REASON_INVALID_OFFERS.Enum()}
				w.tellService(time.Millisecond, func() Input { return Status{Status: st} })
				continue
			}
			w.ever[id]++
			w.note("launch %s", id)
			t := &task{id: id, on: on, info: info, state: mesos.TaskState_TASK_STAGING}
			w.tasks[id] = t
			for _, r := range info.GetResources() {
				if r.GetName() == "cpus" {
					on.cpus -= r.GetScalar().GetValue()
				}
				for _, p := range r.GetRanges().GetRange() {
					for n := p.GetBegin(); r.GetName() == "ports" && n <= p.GetEnd(); n++ {
						if on.ports[int(n)] {
							w.t.Fatalf("port %d of %s was given to two tasks", n, on.id)
						}
						on.ports[int(n)] = true
					}
				}
			}
			if on.cpus < -1e-9 {
				w.t.Fatalf("%s is over-allocated", on.id)
			}
			w.begin(t)
		}
	}
	w.after(50*time.Millisecond, w.offer)
}

func (w *world) begin(t *task) {
	w.after(time.Duration(20+w.rng.IntN(300))*time.Millisecond, func() {
		if t.over() || t.killed {
			return
		}
		if w.faulty && w.rng.Float64() < w.failLaunch {
			w.deadLaunches++
			w.end(t, mesos.TaskState_TASK_FAILED)
			return
		}
		w.update(t, mesos.TaskState_TASK_RUNNING, nil)
		if len(t.info.GetProbes()) > 0 {
			w.after(200*time.Millisecond, func() {
				if !t.over() {
					w.probe(t)
				}
			})
		}
		if w.faulty && w.rng.Float64() < w.failLater {
			w.after(time.Duration(w.rng.IntN(20_000))*time.Millisecond, func() {
				if w.faulty {
					w.end(t, mesos.TaskState_TASK_FAILED)
				}
			})
		}
	})
}

func (w *world) probe(t *task) {
	sick := w.faulty && w.rng.Float64() < w.unhealthy
	at := float64(w.wall().UnixMilli()) / 1000
	r := &mesos.ProbeResult{Index: proto.Uint32(0), Alive: proto.Bool(!sick), LastSuccess: &at, FirstSuccess: &at}
	if sick {
		r = &mesos.ProbeResult{Index: proto.Uint32(0), Alive: proto.Bool(false), LastFailure: &at, ConsecutiveFailures: proto.Uint32(9), FirstSuccess: &at}
	}
	t.healthy = !sick
	w.update(t, mesos.TaskState_TASK_RUNNING, r)
}

func (w *world) end(t *task, s mesos.TaskState) {
	if t.over() {
		return
	}
	for _, r := range t.info.GetResources() {
		if r.GetName() == "cpus" {
			t.on.cpus += r.GetScalar().GetValue()
		}
		for _, p := range r.GetRanges().GetRange() {
			for n := p.GetBegin(); n <= p.GetEnd(); n++ {
				delete(t.on.ports, int(n))
			}
		}
	}
	w.update(t, s, nil)
	w.after(time.Millisecond, w.offer)
}

func (w *world) update(t *task, s mesos.TaskState, probe *mesos.ProbeResult) {
	w.nextID++
	t.state = s
	st := &mesos.TaskStatus{
		TaskId: t.info.TaskId, State: s.Enum(), AgentId: &mesos.AgentID{Value: &t.on.id}, Uuid: []byte(fmt.Sprint(w.nextID)),
		Timestamp: proto.Float64(float64(w.wall().UnixMilli()) / 1000), Message: proto.String("as the seed has it"),
	}
	if probe != nil {
		st.ProbeResults = []*mesos.ProbeResult{probe}
	}
	t.updates = append(t.updates, st)
	if len(t.updates) == 1 {
		w.resend(t)
	}
}

// resend sends the oldest update that is not acknowledged.
func (w *world) resend(t *task) {
	if len(t.updates) == 0 || t.on.away {
		return
	}
	st := t.updates[0]
	w.tellService(time.Duration(1+w.rng.IntN(5))*time.Millisecond, func() Input {
		if len(t.updates) == 0 || t.updates[0] != st {
			return nil
		}
		return Status{Status: st}
	})
}

func (w *world) kill(id string) {
	t := w.tasks[id]
	if t == nil {
		w.tellService(time.Millisecond, func() Input { return Status{Status: w.unknown(id)} })
		return
	}
	t.killed = true
	w.after(time.Duration(5+w.rng.IntN(200))*time.Millisecond, func() {
		if !t.on.away {
			w.end(t, mesos.TaskState_TASK_KILLED)
		}
	})
}

func (w *world) unknown(id string) *mesos.TaskStatus {
	return &mesos.TaskStatus{
		TaskId: &mesos.TaskID{Value: &id}, State: mesos.TaskState_TASK_GONE.Enum(), Reason: mesos.TaskStatus_REASON_RECONCILIATION.Enum(),
	}
}

func (w *world) reconcile(asked []*schedulerpb.Call_Reconcile_Task) {
	answer := func(id string) {
		w.tellService(time.Millisecond, func() Input {
			t := w.tasks[id]
			if t == nil || t.over() && len(t.updates) == 0 {
				return Status{Status: w.unknown(id)}
			}
			st := &mesos.TaskStatus{
				TaskId: t.info.TaskId, State: t.state.Enum(), AgentId: &mesos.AgentID{Value: &t.on.id},
				Reason: mesos.TaskStatus_REASON_RECONCILIATION.Enum(),
			}
			if t.on.away {
				st.State = mesos.TaskState_TASK_UNREACHABLE.Enum()
			}
			return Status{Status: st}
		})
	}
	if len(asked) == 0 {
		for _, id := range slices.Sorted(maps.Keys(w.tasks)) {
			if !w.tasks[id].over() {
				answer(id)
			}
		}
	}
	for _, t := range asked {
		answer(t.GetTaskId().GetValue())
	}
}

// offer offers what is free to a service that wants it.
func (w *world) offer() {
	if !w.revived {
		return
	}
	var all []*mesos.Offer
	for _, a := range w.agents {
		if a.away || a.offered != "" || a.refused > w.now || a.cpus < 0.01 {
			continue
		}
		w.nextID++
		a.offered = fmt.Sprint("o", w.nextID)
		w.offers[a.offered] = a
		role := "*"
		ranges := &mesos.Value_Ranges{}
		for p := 31000; p < 31400; p++ {
			if !a.ports[p] {
				ranges.Range = append(ranges.Range, &mesos.Value_Range{Begin: proto.Uint64(uint64(p)), End: proto.Uint64(uint64(p))})
			}
		}
		scalar := func(name string, v float64) *mesos.Resource {
			return &mesos.Resource{Name: &name, Type: mesos.Value_SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: &v}, Role: &role,
				AllocationInfo: &mesos.Resource_AllocationInfo{Role: &role}}
		}
		ports := &mesos.Resource{Name: proto.String("ports"), Type: mesos.Value_RANGES.Enum(), Ranges: ranges, Role: &role,
			AllocationInfo: &mesos.Resource_AllocationInfo{Role: &role}}
		all = append(all, &mesos.Offer{
			Id: &mesos.OfferID{Value: proto.String(a.offered)}, FrameworkId: &mesos.FrameworkID{Value: proto.String("f")},
			AgentId: &mesos.AgentID{Value: &a.id}, Hostname: proto.String("host-" + a.id),
			AllocationInfo: &mesos.Resource_AllocationInfo{Role: &role},
			Resources:      []*mesos.Resource{scalar("cpus", a.cpus), scalar("mem", 1e6), scalar("disk", 1e6), ports},
		})
	}
	if len(all) > 0 {
		w.tellService(2*time.Millisecond, func() Input { return Offers{Offers: all} })
	}
}

// leave makes an agent unreachable; back or gone follows.
func (w *world) leave(a *machine, back bool, after time.Duration) {
	a.away = true
	if a.offered != "" {
		delete(w.offers, a.offered)
		a.offered = ""
	}
	for _, id := range slices.Sorted(maps.Keys(w.tasks)) {
		if t := w.tasks[id]; t.on == a && !t.over() {
			st := &mesos.TaskStatus{TaskId: t.info.TaskId, State: mesos.TaskState_TASK_UNREACHABLE.Enum(), AgentId: &mesos.AgentID{Value: &a.id}}
			w.tellService(time.Millisecond, func() Input { return Status{Status: st} })
		}
	}
	w.after(after, func() {
		a.away = false
		for _, id := range slices.Sorted(maps.Keys(w.tasks)) {
			t := w.tasks[id]
			switch {
			case t.on != a || t.over():
			case !back:
				t.updates = nil
				w.end(t, mesos.TaskState_TASK_GONE)
			default:
				st := &mesos.TaskStatus{TaskId: t.info.TaskId, State: t.state.Enum(), AgentId: &mesos.AgentID{Value: &a.id}, Reason: mesos.TaskStatus_REASON_AGENT_REREGISTERED.Enum()}
				w.tellService(time.Millisecond, func() Input { return Status{Status: st} })
				if t.killed {
					w.kill(t.id)
				}
			}
			w.resend(t)
		}
		w.offer()
	})
}

// ask makes a request; its answer comes with the step, unless the service dies first.
func (w *world) ask(in func(Request) Input, force bool) (Result, bool) {
	w.token++
	token := w.token
	if w.down {
		return Result{}, false
	}
	w.step(in(Request{Token: token, Force: force, Who: "test"}))
	r, ok := w.answer[token]
	return r, ok
}

func (w *world) draft(body string) *app.Draft {
	d, err := app.Decode([]byte(body))
	if err != nil {
		w.t.Fatalf("%s: %v", body, err)
	}
	return d
}

// alive are the live tasks of an app, by version.
func (w *world) alive(id string) map[string]int {
	n := make(map[string]int)
	for _, t := range w.tasks {
		if !t.over() && strings.HasPrefix(t.id, strings.TrimPrefix(strings.ReplaceAll(id, "/", "_"), "_")+".instance-") {
			n[t.info.GetCommand().GetValue()]++
		}
	}
	return n
}
