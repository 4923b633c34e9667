package state

import (
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/kernel/clock"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
)

// Input is one thing that happened outside. The set is closed.
type Input interface{ input() }

// Token names a request waiting at the edge; it gets exactly one Answer.
type Token uint64

type (
	// Recovered is the first input: the stored runs.
	Recovered struct{ Runs []*Run }
	// Subscribed says that the framework is connected, anew or again.
	Subscribed   struct{ Framework id.Framework }
	Disconnected struct{}
	Offers       struct{ Offers []*mesos.Offer }
	// Status is a status update; Exit is its exit code where the message tells one.
	Status struct {
		Status *mesos.TaskStatus
		Exit   *int
	}
	Submit struct {
		Token Token
		Spec  Spec
	}
	// Cancel kills what runs of a run and launches nothing more of it.
	Cancel struct {
		Token Token
		ID    string
	}
	// Fired is the backoff timer.
	Fired struct{}
)

func (Recovered) input()    {}
func (Subscribed) input()   {}
func (Disconnected) input() {}
func (Offers) input()       {}
func (Status) input()       {}
func (Submit) input()       {}
func (Cancel) input()       {}
func (Fired) input()        {}

// Effect is one thing the loop must do, in order; what comes after a Persist waits
// until it is durable. The set is closed.
type Effect interface{ effect() }

type (
	// Persist stores a run, or deletes it.
	Persist struct {
		ID  string
		Run *Run // nil: delete
	}
	// Publish tells readers of a run's new state; nil: it is gone.
	Publish struct {
		ID  string
		Run *Run
	}
	// Call goes to the master.
	Call struct{ Call *schedulerpb.Call }
	// Answer completes a request. A Status of 200 carries Run.
	Answer struct {
		Token   Token
		Status  int
		Message string
		Run     *Run
	}
	// SetTimer asks for Fired at a monotonic time, replacing an earlier one.
	SetTimer struct{ At time.Duration }
)

func (Persist) effect()  {}
func (Publish) effect()  {}
func (Call) effect()     {}
func (Answer) effect()   {}
func (SetTimer) effect() {}

const (
	backoffMin = time.Second
	backoffMax = time.Minute
	// keepDone is how many finished runs are remembered.
	keepDone = 100
	// refuse is how long an offer that fits nothing is not wanted again.
	refuse = 5.0
)

// Framework is the value.
type Framework struct {
	rng        *rand.Rand
	id         id.Framework
	connected  bool
	suppressed bool
	runs       map[string]*Run
	order      []string // by submission
}

// New makes one that knows no runs; ids are drawn from seed.
func New(seed uint64) *Framework {
	return &Framework{rng: rand.New(rand.NewPCG(seed, 0)), runs: make(map[string]*Run)}
}

// Step changes the framework by one input and returns what follows from it.
func (f *Framework) Step(now clock.Now, in Input) []Effect {
	s := step{f: f, now: now}
	switch in := in.(type) {
	case Recovered:
		for _, r := range in.Runs {
			f.runs[r.ID] = r.clone()
			f.order = append(f.order, r.ID)
			s.emit(Publish{r.ID, r})
		}
		slices.SortFunc(f.order, func(a, b string) int {
			if c := f.runs[a].Created.Compare(f.runs[b].Created); c != 0 {
				return c
			}
			return strings.Compare(a, b)
		})
		s.arm()
	case Subscribed:
		s.subscribed(in)
	case Disconnected:
		f.connected = false
	case Offers:
		s.offers(in.Offers)
	case Status:
		s.status(in)
	case Submit:
		s.submit(in)
	case Cancel:
		s.cancel(in)
	case Fired:
		s.revive(true)
		s.arm()
	}
	return s.out
}

// step is one Step under way.
type step struct {
	f   *Framework
	now clock.Now
	out []Effect
}

func (s *step) emit(e Effect) { s.out = append(s.out, e) }

func (s *step) call(c *schedulerpb.Call) {
	c.FrameworkId = &mesos.FrameworkID{Value: ptr(string(s.f.id))}
	s.emit(Call{c})
}

// save stores and publishes a run as it is now.
func (s *step) save(r *Run) {
	c := r.clone()
	s.emit(Persist{r.ID, c})
	s.emit(Publish{r.ID, c})
}

func (s *step) submit(in Submit) {
	spec, err := in.Spec.Defaults()
	if err != nil {
		s.emit(Answer{Token: in.Token, Status: 422, Message: err.Error()})
		return
	}
	r := &Run{ID: s.newID(spec.Name), Framework: string(s.f.id), Spec: spec, Created: s.now.Wall.UTC()}
	for i := range spec.Instances {
		r.Instances = append(r.Instances, Instance{Index: i, State: Waiting})
	}
	s.f.runs[r.ID] = r
	s.f.order = append(s.f.order, r.ID)
	s.save(r)
	s.emit(Answer{Token: in.Token, Status: 200, Run: r.clone()})
	s.revive(true)
}

// newID is the name and eight random digits, unique among the runs known.
func (s *step) newID(name string) string {
	for {
		var b [4]byte
		for i := range b {
			b[i] = byte(s.f.rng.Uint32())
		}
		id := name + "-" + hex.EncodeToString(b[:])
		if s.f.runs[id] == nil {
			return id
		}
	}
}

func (s *step) subscribed(in Subscribed) {
	s.f.id, s.f.connected, s.f.suppressed = in.Framework, true, false
	// What was accepted before the connection broke may or may not have been launched:
	// the master says, before anything is launched again.
	ask := &schedulerpb.Call_Reconcile{}
	for _, id := range s.f.order {
		r := s.f.runs[id]
		for i := range r.Instances {
			n := &r.Instances[i]
			if n.State != Staging && n.State != Running {
				continue
			}
			task := &schedulerpb.Call_Reconcile_Task{TaskId: &mesos.TaskID{Value: ptr(string(n.Task))}}
			if n.Agent != "" {
				task.AgentId = &mesos.AgentID{Value: ptr(string(n.Agent))}
			}
			ask.Tasks = append(ask.Tasks, task)
			if r.Canceled {
				s.kill(n)
			}
		}
	}
	// No tasks would ask for all of them.
	if len(ask.Tasks) > 0 {
		s.call(&schedulerpb.Call{Type: schedulerpb.Call_RECONCILE.Enum(), Reconcile: ask})
	}
	s.suppress()
}

func (s *step) kill(n *Instance) {
	k := &schedulerpb.Call_Kill{TaskId: &mesos.TaskID{Value: ptr(string(n.Task))}}
	if n.Agent != "" {
		k.AgentId = &mesos.AgentID{Value: ptr(string(n.Agent))}
	}
	s.call(&schedulerpb.Call{Type: schedulerpb.Call_KILL.Enum(), Kill: k})
}

// wanting yields the instances that wait for an offer now, oldest run first.
func (s *step) wanting(yield func(*Run, *Instance) bool) {
	for _, id := range s.f.order {
		r := s.f.runs[id]
		for i := range r.Instances {
			n := &r.Instances[i]
			if n.State == Waiting && !r.Canceled && (n.NotBefore == nil || !n.NotBefore.After(s.now.Wall)) {
				if !yield(r, n) {
					return
				}
			}
		}
	}
}

// revive asks for offers if anything wants one; anew also if offers come already: what was
// declined for something larger is wanted now.
func (s *step) revive(anew bool) {
	if !s.f.connected || !s.f.suppressed && !anew {
		return
	}
	for range s.wanting {
		s.f.suppressed = false
		s.call(&schedulerpb.Call{Type: schedulerpb.Call_REVIVE.Enum(), Revive: &schedulerpb.Call_Revive{}})
		return
	}
}

// suppress asks for no more offers if nothing wants one.
func (s *step) suppress() {
	if !s.f.connected || s.f.suppressed {
		return
	}
	for range s.wanting {
		return
	}
	s.f.suppressed = true
	s.call(&schedulerpb.Call{Type: schedulerpb.Call_SUPPRESS.Enum(), Suppress: &schedulerpb.Call_Suppress{}})
}

func (s *step) offers(offers []*mesos.Offer) {
	decline := &schedulerpb.Call_Decline{Filters: &mesos.Filters{RefuseSeconds: ptr(refuse)}}
	for _, o := range offers {
		if !s.accept(o) {
			decline.OfferIds = append(decline.OfferIds, o.GetId())
		}
	}
	if len(decline.OfferIds) > 0 {
		s.call(&schedulerpb.Call{Type: schedulerpb.Call_DECLINE.Enum(), Decline: decline})
	}
	s.suppress()
}

// accept launches on an offer whatever waits and fits.
func (s *step) accept(o *mesos.Offer) bool {
	free, err := resource.Of(o.GetResources()...)
	if err != nil {
		return false
	}
	launch := &mesos.Offer_Operation_Launch{}
	var changed []*Run
	for r, n := range s.wanting {
		take, rest, ok := take(free, &r.Spec)
		if !ok {
			continue
		}
		free = rest
		n.Attempt++
		n.Task = taskID(r.ID, n.Index, n.Attempt)
		n.Agent = id.Agent(o.GetAgentId().GetValue())
		n.State, n.Reported, n.Message, n.Exit, n.Started, n.Ended, n.NotBefore = Staging, "", "", nil, nil, nil, nil
		info := r.taskInfo(n, o.GetAgentId())
		info.Resources = take.Proto()
		launch.TaskInfos = append(launch.TaskInfos, info)
		if len(changed) == 0 || changed[len(changed)-1] != r {
			changed = append(changed, r)
		}
	}
	if len(changed) == 0 {
		return false
	}
	// The ids are durable before they are used, so that no other attempt takes them.
	for _, r := range changed {
		s.save(r)
	}
	s.call(&schedulerpb.Call{Type: schedulerpb.Call_ACCEPT.Enum(), Accept: &schedulerpb.Call_Accept{
		OfferIds:   []*mesos.OfferID{o.GetId()},
		Operations: []*mesos.Offer_Operation{{Type: mesos.Offer_Operation_LAUNCH.Enum(), Launch: launch}},
		Filters:    &mesos.Filters{RefuseSeconds: ptr(refuse)},
	}})
	return true
}

// take cuts what one instance needs out of an offer's resources.
func take(free resource.Resources, spec *Spec) (taken, rest resource.Resources, ok bool) {
	for _, want := range []struct {
		name  string
		value float64
	}{{"cpus", spec.CPUs}, {"mem", spec.Mem}, {"disk", spec.Disk}} {
		need, err := resource.MilliOf(want.value)
		if err != nil {
			return taken, free, false
		}
		for r := range free.All() {
			if need == 0 {
				break
			}
			// Volumes and revocable resources are not for plain commands.
			if r.Name() != want.name || r.Kind() != resource.Scalar || r.Disk() != nil || r.Revocable() || r.Shared() {
				continue
			}
			part := min(need, r.Scalar())
			p := r.Proto()
			p.Scalar = &mesos.Value_Scalar{Value: ptr(part.Float())}
			one, err := resource.Of(p)
			if err != nil {
				return taken, free, false
			}
			taken = taken.Add(one)
			need -= part
		}
		if need > 0 {
			return taken, free, false
		}
	}
	return taken, free.Sub(taken), true
}

func (s *step) status(in Status) {
	st := in.Status
	run, index, attempt, ok := parseTask(id.Task(st.GetTaskId().GetValue()))
	r := s.f.runs[run]
	if !ok || r == nil || index < 0 || index >= len(r.Instances) {
		return
	}
	n := &r.Instances[index]
	if n.Attempt != attempt || n.State.Ended() || n.State == Waiting {
		return // of an earlier attempt, or told again
	}
	n.Reported, n.Message = st.GetState().String(), st.GetMessage()
	told := st.GetState()
	if n.State == Staging && (told == mesos.TaskState_TASK_UNKNOWN || told == mesos.TaskState_TASK_GONE) {
		// An ACCEPT that the master lost before the agent had the task.
		told = mesos.TaskState_TASK_DROPPED
	}
	switch told {
	case mesos.TaskState_TASK_STAGING, mesos.TaskState_TASK_UNREACHABLE:
		// Unreachable is no end: the agent may come back with it.
	case mesos.TaskState_TASK_STARTING, mesos.TaskState_TASK_RUNNING, mesos.TaskState_TASK_KILLING:
		n.State = Running
		if n.Started == nil && told == mesos.TaskState_TASK_RUNNING {
			n.Started = ptr(s.now.Wall.UTC())
		}
		if r.Canceled {
			s.kill(n)
		}
	case mesos.TaskState_TASK_DROPPED:
		// It never ran: the attempt does not count as the command's.
		n.State = Waiting
		if r.Canceled {
			s.end(r, n, Killed, 130)
		}
	case mesos.TaskState_TASK_FINISHED:
		s.ended(r, n, Finished, 0)
	case mesos.TaskState_TASK_KILLED:
		exit := 137
		if in.Exit != nil && *in.Exit != 0 {
			exit = *in.Exit
		}
		s.ended(r, n, Killed, exit)
	default:
		exit := 1
		if in.Exit != nil && *in.Exit != 0 {
			exit = *in.Exit
		}
		s.ended(r, n, Failed, exit)
	}
	s.settle(r)
	s.save(r)
	s.revive(false)
	s.arm()
}

// ended takes the end of an attempt, and starts the next one if the run's policy says so.
func (s *step) ended(r *Run, n *Instance, state State, exit int) {
	again := !r.Canceled && n.Reported != mesos.TaskState_TASK_ERROR.String() &&
		(r.Spec.Restart == Always || r.Spec.Restart == OnFailure && state != Finished)
	if !again {
		s.end(r, n, state, exit)
		return
	}
	if state == Finished {
		n.Failures = 0
	} else {
		n.Failures++
	}
	n.State, n.Exit, n.Ended = Waiting, &exit, ptr(s.now.Wall.UTC())
	wait := min(backoffMin<<min(max(n.Failures-1, 0), 10), backoffMax)
	n.NotBefore = ptr(s.now.Wall.UTC().Add(wait))
}

func (s *step) end(r *Run, n *Instance, state State, exit int) {
	n.State, n.Exit, n.Ended = state, &exit, ptr(s.now.Wall.UTC())
	if r.Exit == 0 {
		r.Exit = exit
	}
}

// settle marks a run done when all its instances ended, and forgets the oldest done ones.
func (s *step) settle(r *Run) {
	for i := range r.Instances {
		if !r.Instances[i].State.Ended() {
			return
		}
	}
	if r.Done == nil {
		r.Done = ptr(s.now.Wall.UTC())
	}
	var done []string
	for _, id := range s.f.order {
		if s.f.runs[id].Done != nil {
			done = append(done, id)
		}
	}
	for len(done) > keepDone {
		old := done[0]
		done = done[1:]
		delete(s.f.runs, old)
		s.f.order = slices.DeleteFunc(s.f.order, func(id string) bool { return id == old })
		s.emit(Persist{ID: old})
		s.emit(Publish{ID: old})
	}
}

func (s *step) cancel(in Cancel) {
	r := s.f.runs[in.ID]
	if r == nil {
		s.emit(Answer{Token: in.Token, Status: 404, Message: "no run " + in.ID + " is known; `stoa ps -a` lists them"})
		return
	}
	r.Canceled = true
	for i := range r.Instances {
		n := &r.Instances[i]
		switch n.State {
		case Waiting:
			s.end(r, n, Killed, 130)
		case Staging, Running:
			if s.f.connected {
				s.kill(n)
			}
		}
	}
	s.settle(r)
	s.save(r)
	s.emit(Answer{Token: in.Token, Status: 200, Run: r.clone()})
	s.suppress()
}

// arm sets the timer for the next backoff that ends.
func (s *step) arm() {
	var next time.Time
	for _, id := range s.f.order {
		r := s.f.runs[id]
		for i := range r.Instances {
			n := &r.Instances[i]
			if n.State == Waiting && !r.Canceled && n.NotBefore != nil && n.NotBefore.After(s.now.Wall) &&
				(next.IsZero() || n.NotBefore.Before(next)) {
				next = *n.NotBefore
			}
		}
	}
	if !next.IsZero() {
		s.emit(SetTimer{s.now.Mono + next.Sub(s.now.Wall)})
	}
}
