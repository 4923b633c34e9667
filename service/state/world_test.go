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

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/internal/loop"
	"github.com/stoa-kernel/stoa/kernel/clock"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/deploy"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/match"
)

// world is a kernel, a store and the service on them, in virtual time from one seed.
type world struct {
	t     *testing.T
	rng   *rand.Rand
	start time.Time
	now   time.Duration
	queue []pending // by time
	seq   int

	core *Service
	// executor is the default one, "" for the kernel's.
	executor string
	term     int // counts restarts of the service: what was for an earlier one is dropped
	down     bool
	timer    int
	token    Token
	answer   map[Token]Result
	events   []marathon.Event
	// watched are the tasks whose readiness is asked for, by instance.
	watched map[string]string
	storage
	kernel
	rules
	requests

	// faults, while they last.
	faulty                    bool
	crash                     float64 // at each effect and each write
	failLaunch, failLater     float64
	unhealthy, badCall, badOp float64
	crashes                   int

	// wrong is the first rule that was broken.
	wrong string
	log   []string
}

type pending struct {
	at  time.Duration
	seq int
	do  func()
}

// storage is the store and the way there, as the service's loop and writer have it.
type storage struct {
	store map[string][]byte
	hold  loop.Hold[Effect]
	// unwritten puts, the position that is durable with the last of them, and whether
	// they are being written.
	unwritten []Put
	last      loop.Position
	writing   bool
	// whole is how many puts are written all or none.
	whole int
}

func newWorld(t *testing.T, seed uint64, agents int) *world {
	w := &world{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		answer: make(map[Token]Result), watched: make(map[string]string),
		storage: storage{store: make(map[string][]byte), whole: 128},
		kernel:  newKernel(agents), rules: newRules(),
	}
	w.boot()
	return w
}

// broken notes that a rule was broken.
func (w *world) broken(format string, args ...any) {
	if w.wrong == "" {
		w.wrong = fmt.Sprintf(format, args...)
		w.note("BROKEN: %s", w.wrong)
	}
}

func (w *world) note(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%8.3f ", w.now.Seconds())+fmt.Sprintf(format, args...))
	if len(w.log) > 4000 && *seed == 0 {
		w.log = slices.Clone(w.log[2000:])
	}
}

func (w *world) wall() time.Time { return w.start.Add(w.now) }

// chance is true with a probability while there are faults.
func (w *world) chance(p float64) bool { return w.faulty && w.rng.Float64() < p }

// upTo is a random time below d.
func (w *world) upTo(d time.Duration) time.Duration {
	return time.Duration(w.rng.Int64N(int64(d/time.Millisecond)+1)) * time.Millisecond
}

// after runs do in d.
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

// soon runs do in d, unless the service has been restarted since.
func (w *world) soon(d time.Duration, do func()) {
	term := w.term
	w.after(d, func() {
		if term == w.term && !w.down {
			do()
		}
	})
}

// run until a time, or until a rule is broken.
func (w *world) run(until time.Duration) {
	for len(w.queue) > 0 && w.queue[0].at <= until && w.wrong == "" {
		p := w.queue[0]
		w.queue = w.queue[1:]
		w.now = p.at
		p.do()
	}
	w.now = until
}

func (w *world) config() Config {
	return Config{
		Seed: w.rng.Uint64(), App: app.Options{PortMin: 10000, PortMax: 20000, Role: "*"},
		KillRetry: 5 * time.Second, MaxVersions: 3, ReservationTimeout: 3 * time.Second, Reconcile: 10 * time.Second,
		Task: match.TaskOptions{Executor: w.executor},
	}
}

// boot starts the service from what the store has.
func (w *world) boot() {
	w.term++
	w.down, w.connected, w.following = false, false, false
	w.core = New(w.config())
	w.hold, w.unwritten, w.last, w.writing = loop.Hold[Effect]{}, nil, 0, false
	clear(w.watched)
	w.step(w.recovered())
	if v := w.core.tree.Version(); v < w.root {
		w.broken("the tree is at %s, and %s was answered", v, w.root)
	}
	w.soon(10*time.Millisecond, w.subscribe)
}

// die stops the service at once; of what is being written a beginning may be kept.
func (w *world) die(why string) {
	if w.down {
		return
	}
	w.note("crash: %s", why)
	w.crashes++
	w.term++
	w.down, w.connected = true, false
	if w.rng.IntN(2) == 0 {
		w.keep(w.unwritten, true)
	}
	w.after(w.upTo(2*time.Second), w.boot)
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

// step gives the service an input. What it says is done when what it wants kept is
// durable, in order, as in the service's loop.
func (w *world) step(in Input) {
	switch in := in.(type) {
	case Status:
		w.note("status %s %s %s", in.Status.GetTaskId().GetValue(), in.Status.GetState(), in.Status.GetReason())
	case Operation:
		w.note("operation %s %s", in.Status.GetOperationId().GetValue(), in.Status.GetState())
	default:
		w.note("%T", in)
	}
	position := w.last
	for _, e := range w.core.Step(clock.Now{Mono: w.now, Wall: w.wall()}, in) {
		switch e := e.(type) {
		case Save:
			w.unwritten = append(w.unwritten, e.Puts...)
		case Persist:
			position = w.hold.Persist()
			w.last = position
			w.unwritten = append(w.unwritten, e.Puts...)
		case SetTimer:
			w.timer++
			n := w.timer
			w.soon(max(0, e.At-w.now), func() {
				if n == w.timer {
					w.step(Fired{})
				}
			})
		default:
			w.judge(in, e)
			w.hold.Add(e)
		}
	}
	w.check(in)
	w.write()
	w.release()
}

// write commits what is to be kept; while there are faults that takes its time.
func (w *world) write() {
	if w.writing || len(w.unwritten) == 0 {
		return
	}
	if !w.faulty {
		puts, position := w.unwritten, w.last
		w.unwritten = nil
		w.keep(puts, false)
		w.hold.Durable(position)
		return
	}
	w.writing = true
	puts, position := w.unwritten, w.last
	w.soon(w.upTo(8*time.Millisecond), func() {
		if w.chance(w.crash) {
			w.die("while writing")
			return
		}
		w.unwritten = w.unwritten[len(puts):]
		w.keep(puts, false)
		w.writing = false
		w.hold.Durable(position)
		w.write()
		w.release()
	})
}

// keep puts, or if cut a beginning of them, which ends where a write of its own does.
func (w *world) keep(puts []Put, cut bool) {
	puts = Compact(puts)
	if cut {
		n := len(puts) / w.whole
		puts = puts[:w.rng.IntN(n+1)*w.whole]
		if len(puts) > 0 {
			w.note("the first %d puts were kept", len(puts))
		}
	}
	for _, p := range puts {
		if p.Value == nil {
			delete(w.store, p.Key)
			continue
		}
		raw, err := json.Marshal(p.Value)
		if err != nil {
			w.t.Fatal(err)
		}
		if len(raw) > 256<<10 {
			w.broken("the value of %s has %d bytes", p.Key, len(raw))
		}
		w.store[p.Key] = raw
	}
}

// release does what nothing holds back any more.
func (w *world) release() {
	term := w.term
	for {
		e, ok := w.hold.Next()
		if !ok {
			return
		}
		if w.chance(w.crash) {
			w.die(fmt.Sprintf("before %T", e))
			return
		}
		if w.do(e); term != w.term {
			return
		}
	}
}

func (w *world) do(e Effect) {
	switch e := e.(type) {
	case Answer:
		w.answer[e.Token] = e.Result
	case Acknowledge:
		w.acknowledge(e.Status)
	case AcknowledgeOperation:
		w.acknowledgeOperation(e.Status)
	case UpdateFramework:
		w.subscribeRoles(e.Roles)
	case Call:
		w.send(e)
	case FollowAgents:
		w.following = e.On
		w.tellAgents()
	case Publish:
		w.events = append(w.events, e.Event)
		w.note("%s", e.Event.EventType())
		if p, ok := e.Event.(marathon.DeploymentEnd); ok {
			if was := w.ended[p.ID]; was != "" {
				w.broken("deployment %s ended twice: %s, %s", p.ID, was, p.Type)
			}
			w.ended[p.ID] = p.Type
		}
	case PreStop:
		w.soon(w.upTo(2*time.Second), func() {
			if !w.chance(0.2) { // else the time set for it ends it
				w.step(Stopped{Instance: e.Instance.ID, Task: e.Instance.TaskID})
			}
		})
	case Watch:
		if e.Ready {
			w.watched[e.Instance.ID] = e.Instance.TaskID
			w.ready(e.Instance.ID, e.Instance.TaskID)
		}
	case Unwatch:
		delete(w.watched, e.Instance)
	}
}

// ready asks a task whether it is ready, until it is.
func (w *world) ready(id, name string) {
	w.soon(w.upTo(600*time.Millisecond), func() {
		t := w.tasks[name]
		if w.watched[id] != name || t == nil {
			return
		}
		ready := t.runs() && !w.sick(t)
		w.step(ReadyProbed{Instance: id, Task: name, Result: marathon.ReadinessResult{Ready: ready, TaskID: name}})
		if !ready {
			w.ready(id, name)
		}
	})
}

// ask makes a request and waits for its answer, which does not come if the service dies.
func (w *world) ask(in func(Request) Input, force bool) (Result, bool) {
	w.token++
	token := w.token
	if w.down {
		return Result{}, false
	}
	w.step(in(Request{Token: token, Force: force, Who: "test"}))
	for term := w.term; w.term == term && w.wrong == ""; w.run(w.now + time.Millisecond) {
		if r, ok := w.answer[token]; ok {
			return r, true
		}
		if !w.faulty {
			break
		}
	}
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
