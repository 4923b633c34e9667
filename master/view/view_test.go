package view_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	masterpb "github.com/stoa-kernel/stoa/api/mesos/v1/master"
	"github.com/stoa-kernel/stoa/internal/codec"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/master/state"
	"github.com/stoa-kernel/stoa/master/view"
	"google.golang.org/protobuf/proto"
)

func task(framework id.Framework, name string, s mesos.TaskState) *state.Task {
	return &state.Task{
		Framework: framework, Agent: "m-S0", State: s,
		Info: &mesos.TaskInfo{
			Name: proto.String(name), TaskId: &mesos.TaskID{Value: proto.String(name)},
			AgentId: &mesos.AgentID{Value: proto.String("m-S0")},
		},
	}
}

func completed(t *state.Task) *state.Task { t.Completed = true; return t }

func unreachable(t *state.Task) *state.Task { t.Unreachable = true; return t }

func framework(name id.Framework) *state.Framework {
	return &state.Framework{
		Info: &mesos.FrameworkInfo{
			User: proto.String("u"), Name: proto.String(string(name)),
			Id: &mesos.FrameworkID{Value: proto.String(string(name))},
		},
		Connected: true, Registered: time.Unix(100, 5),
	}
}

func agent(name id.Agent) *state.Agent {
	return &state.Agent{
		ID: name, Address: "127.0.0.1:5051", Version: "v", Connected: true, Registered: time.Unix(100, 0),
		Info: &mesos.AgentInfo{Hostname: proto.String("h"), Id: &mesos.AgentID{Value: proto.String(string(name))}},
	}
}

func names(seq func(func(*view.Task) bool)) string {
	var out []string
	for t := range seq {
		out = append(out, t.Info.GetName()+"="+strings.TrimPrefix(t.State.String(), "TASK_"))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func tables(r *view.Root) string {
	return fmt.Sprintf("[%s] [%s] [%s]", names(r.Tasks()), names(r.Unreachable()), names(r.Completed()))
}

func TestTasksMoveBetweenTheLists(t *testing.T) {
	const running, finished, lost = mesos.TaskState_TASK_RUNNING, mesos.TaskState_TASK_FINISHED, mesos.TaskState_TASK_UNREACHABLE
	added := func(t *state.Task) state.Event { return state.TaskAdded{Task: t} }
	updated := func(t *state.Task) state.Event { return state.TaskUpdated{Task: t} }
	removed := func(name string) state.Event { return state.TaskRemoved{Framework: "f", Task: id.Task(name)} }
	steps := []struct {
		event state.Event
		want  string // live, unreachable, completed
	}{
		{added(task("f", "a", mesos.TaskState_TASK_STAGING)), "[a=STAGING] [] []"},
		{updated(task("f", "a", running)), "[a=RUNNING] [] []"},
		{added(task("g", "a", running)), "[a=RUNNING a=RUNNING] [] []"},
		{updated(unreachable(task("f", "a", lost))), "[a=RUNNING] [a=UNREACHABLE] []"},
		{updated(task("f", "a", running)), "[a=RUNNING a=RUNNING] [] []"},
		{updated(task("f", "a", finished)), "[a=FINISHED a=RUNNING] [] []"},
		{updated(completed(task("f", "a", finished))), "[a=RUNNING] [] [a=FINISHED]"},
		// The id is used again, and ends again: two ends of it are remembered.
		{added(task("f", "a", running)), "[a=RUNNING a=RUNNING] [] [a=FINISHED]"},
		{updated(completed(task("f", "a", mesos.TaskState_TASK_FAILED))), "[a=RUNNING] [] [a=FAILED]"},
		{removed("a"), "[a=RUNNING] [] [a=FAILED]"},
		{removed("a"), "[a=RUNNING] [] []"},
		{removed("a"), "[a=RUNNING] [] []"},
		// A task may come up in any list, as after a master's restart.
		{added(completed(task("f", "b", finished))), "[a=RUNNING] [] [b=FINISHED]"},
		{added(unreachable(task("f", "c", lost))), "[a=RUNNING] [c=UNREACHABLE] [b=FINISHED]"},
		{updated(completed(task("f", "c", finished))), "[a=RUNNING] [] [b=FINISHED c=FINISHED]"},
		{removed("b"), "[a=RUNNING] [] [c=FINISHED]"},
	}
	v := view.New(view.Config{})
	for i, s := range steps {
		before := v.Root()
		was := tables(before)
		v.Apply(s.event)
		if got := tables(v.Root()); got != was {
			t.Fatalf("step %d: visible before it was published: %s", i, got)
		}
		v.Publish()
		if got := tables(v.Root()); got != s.want {
			t.Fatalf("step %d: %s, want %s", i, got, s.want)
		}
		if got := tables(before); got != was {
			t.Fatalf("step %d changed the root before it: %s, was %s", i, got, was)
		}
	}
}

func TestCompletedFrameworksAreBoundedAndTakeTheirTasks(t *testing.T) {
	v := view.New(view.Config{CompletedFrameworks: 2})
	for i := range 4 {
		f := framework(id.Framework(fmt.Sprint("f", i)))
		v.Apply(state.FrameworkAdded{Framework: f})
		v.Apply(state.TaskAdded{Task: completed(task(id.Framework(f.Info.GetName()), fmt.Sprint("t", i), mesos.TaskState_TASK_KILLED))})
		v.Apply(state.FrameworkRemoved{Framework: f})
	}
	v.Publish()
	if got, want := tables(v.Root()), "[] [] [t2=KILLED t3=KILLED]"; got != want {
		t.Errorf("tasks %s, want %s", got, want)
	}
	want := view.Counts{CompletedTasks: 2, CompletedFrameworks: 2}
	if got := v.Root().Counts(); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
}

func TestAgentsAndOffersComeAndGo(t *testing.T) {
	v := view.New(view.Config{})
	for i := range 3 {
		v.Apply(state.AgentAdded{Agent: agent(id.Agent(fmt.Sprint("S", i)))})
		v.Apply(state.OfferAdded{Offer: &state.Offer{ID: id.Offer(fmt.Sprint("O", i)), Framework: "f", Agent: "S0"}})
	}
	gone := agent("S1")
	gone.Recovered, gone.Connected = true, false
	v.Apply(state.AgentUpdated{Agent: gone})
	v.Apply(state.AgentRemoved{Agent: "S2", Reason: "gone"})
	v.Apply(state.AgentRemoved{Agent: "S2", Reason: "gone"})
	v.Apply(state.OfferRemoved{Offer: "O0", How: "accepted"})
	v.Apply(state.OfferRemoved{Offer: "O0", How: "accepted"})
	v.Publish()
	if got, want := v.Root().Counts(), (view.Counts{Agents: 2, Offers: 2}); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
	answer := get(t, v.Root(), codec.JSON, (*view.Root).GetAgents)
	if n, m := len(answer.GetGetAgents().GetAgents()), len(answer.GetGetAgents().GetRecoveredAgents()); n != 1 || m != 1 {
		t.Errorf("%d agents and %d recovered ones, want one each", n, m)
	}
}

// write is one of Root's answers.
type write = func(*view.Root, io.Writer, codec.Codec) error

func get(t *testing.T, r *view.Root, c codec.Codec, w write) *masterpb.Response {
	t.Helper()
	var b bytes.Buffer
	if err := w(r, &b, c); err != nil {
		t.Fatal(err)
	}
	var m masterpb.Response
	if err := c.Unmarshal(b.Bytes(), &m); err != nil {
		t.Fatalf("%v does not parse: %v\n%s", c, err, b.Bytes())
	}
	return &m
}

func crowd(t *testing.T, tasks int) *view.View {
	t.Helper()
	total, err := resource.Parse("cpus:4;mem:1024;ports:[1-2]", "*")
	if err != nil {
		t.Fatal(err)
	}
	v := view.New(view.Config{})
	v.Apply(state.FrameworkAdded{Framework: framework("f")})
	a := agent("m-S0")
	a.Total, a.Allocated = total, total.Allocate("r")
	v.Apply(state.AgentAdded{Agent: a})
	v.Apply(state.OfferAdded{Offer: &state.Offer{ID: "o", Framework: "f", Agent: "m-S0", Role: "r", Resources: total.Allocate("r")}})
	v.Apply(state.RolesChanged{Roles: []state.Role{{Name: "r", Weight: 2, Frameworks: []id.Framework{"f"}}}})
	for i := range tasks {
		s := task("f", fmt.Sprint("t", i), mesos.TaskState_TASK_RUNNING)
		if i%3 == 0 {
			s.Executor, s.Info.Executor = "e", &mesos.ExecutorInfo{ExecutorId: &mesos.ExecutorID{Value: proto.String("e")}}
		}
		s.Completed = i%5 == 0
		v.Apply(state.TaskAdded{Task: s})
	}
	v.Publish()
	return v
}

// What is assembled from fragments must parse as the message it claims to be, the same
// in both codecs, from the cache or not, and in protobuf byte for byte as long as said.
func TestFragmentsMakeWholeMessages(t *testing.T) {
	r := crowd(t, 700).Root()
	for name, w := range map[string]write{
		"state":      (*view.Root).GetState,
		"tasks":      (*view.Root).GetTasks,
		"agents":     (*view.Root).GetAgents,
		"frameworks": (*view.Root).GetFrameworks,
		"executors":  (*view.Root).GetExecutors,
	} {
		first := get(t, r, codec.JSON, w)
		for range 2 {
			for c := range codec.Count {
				// JSON shows defaults that are not set; bring both to that form.
				b, err := codec.JSON.Append(nil, get(t, r, c, w))
				if err != nil {
					t.Fatal(err)
				}
				var got masterpb.Response
				if err := codec.JSON.Unmarshal(b, &got); err != nil {
					t.Fatal(err)
				}
				if !proto.Equal(&got, first) {
					t.Errorf("%s: %v differs from the first answer", name, c)
				}
			}
		}
	}
	all := get(t, r, codec.Protobuf, (*view.Root).GetState).GetGetState()
	if n := len(all.GetGetTasks().GetTasks()); n != 560 {
		t.Errorf("%d live tasks, want 560", n)
	}
	if n := len(all.GetGetExecutors().GetExecutors()); n != 1 {
		t.Errorf("%d executors, want the one that many tasks share", n)
	}
	if n := len(all.GetGetFrameworks().GetFrameworks()[0].GetOffers()); n != 1 {
		t.Errorf("%d offers of the framework, want 1", n)
	}
}

func TestRolesShowWhatIsAllocatedAndOffered(t *testing.T) {
	role := crowd(t, 0).Root().GetRoles().GetGetRoles().GetRoles()[0]
	got := map[string]float64{}
	for _, r := range role.GetResources() {
		got[r.GetName()] = r.GetScalar().GetValue()
	}
	if len(got) != 2 || got["cpus"] != 8 || got["mem"] != 2048 || role.GetWeight() != 2 {
		t.Errorf("role %v, want 8 cpus, 2048 mem, weight 2", role)
	}
}

// Readers on other goroutines while the owner goes on, under the race detector, with a
// cache too small for all.
func TestReadersDoNotDisturbTheOwner(t *testing.T) {
	v := view.New(view.Config{Cache: 4 << 10})
	ctx, stop := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for ctx.Err() == nil {
				for c := range codec.Count {
					var b bytes.Buffer
					r := v.Root()
					if err := r.GetState(&b, c); err != nil {
						t.Error(err)
						return
					}
					var m masterpb.Response
					if err := c.Unmarshal(b.Bytes(), &m); err != nil {
						t.Errorf("%v: %v", c, err)
						return
					}
					if n := len(m.GetGetState().GetGetTasks().GetTasks()); n != r.Counts().Tasks {
						t.Errorf("%d tasks read of %d in the root", n, r.Counts().Tasks)
						return
					}
				}
			}
		})
	}
	for i := range 3000 {
		name := fmt.Sprint("t", i%400)
		switch i % 4 {
		case 0, 1:
			v.Apply(state.TaskAdded{Task: task("f", name, mesos.TaskState_TASK_RUNNING)})
		case 2:
			v.Apply(state.TaskUpdated{Task: completed(task("f", name, mesos.TaskState_TASK_FINISHED))})
		case 3:
			v.Apply(state.TaskRemoved{Framework: "f", Task: id.Task(name)})
		}
		v.Publish()
	}
	stop()
	readers.Wait()
}

func TestSubscribersSeeEveryEventAfterTheirRoot(t *testing.T) {
	v := crowd(t, 3)
	root, s := v.Subscribe(100)
	defer s.Close()
	if root.Counts().Tasks != 2 {
		t.Fatalf("%d tasks in the root, want 2", root.Counts().Tasks)
	}
	var got []string
	for i := range 50 {
		v.Apply(state.TaskAdded{Task: task("f", fmt.Sprint("n", i), mesos.TaskState_TASK_STAGING)})
		if i%7 != 0 {
			continue
		}
		v.Publish()
		events, err := s.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			got = append(got, e.(state.TaskAdded).Task.Info.GetName())
		}
	}
	for i, name := range got {
		if name != fmt.Sprint("n", i) {
			t.Fatalf("event %d is about %s", i, name)
		}
	}
	if len(got) != 50 {
		t.Errorf("%d events, want 50", len(got))
	}
}

func TestSlowSubscribersAreCutOff(t *testing.T) {
	v := view.New(view.Config{})
	_, slow := v.Subscribe(3)
	_, quick := v.Subscribe(0)
	defer quick.Close()
	for i := range 4 {
		v.Apply(state.TaskAdded{Task: task("f", fmt.Sprint(i), mesos.TaskState_TASK_STAGING)})
		v.Publish()
	}
	if _, err := slow.Next(t.Context()); !errors.Is(err, view.ErrSlow) {
		t.Errorf("slow subscriber: %v, want ErrSlow", err)
	}
	if events, err := quick.Next(t.Context()); err != nil || len(events) != 4 {
		t.Errorf("quick subscriber: %d events, %v", len(events), err)
	}
	slow.Close()
	quick.Close()
	if _, err := quick.Next(t.Context()); !errors.Is(err, view.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, third := v.Subscribe(0)
	defer third.Close()
	if _, err := third.Next(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
}

func BenchmarkPublish(b *testing.B) {
	v := view.New(view.Config{})
	const tasks = 400_000
	for i := range tasks {
		v.Apply(state.TaskAdded{Task: task("f", fmt.Sprint("t", i), mesos.TaskState_TASK_RUNNING)})
	}
	v.Publish()
	b.ResetTimer()
	for i := range b.N {
		for k := range 100 { // a batch of 100 changes all over the place
			v.Apply(state.TaskUpdated{Task: task("f", fmt.Sprint("t", (i*7919+k*104729)%tasks), mesos.TaskState_TASK_RUNNING)})
		}
		v.Publish()
	}
}

func BenchmarkGetState(b *testing.B) {
	for _, c := range []codec.Codec{codec.JSON, codec.Protobuf} {
		b.Run(c.String(), func(b *testing.B) {
			v := view.New(view.Config{})
			for i := range 100_000 {
				v.Apply(state.TaskAdded{Task: task("f", fmt.Sprint("t", i), mesos.TaskState_TASK_RUNNING)})
			}
			v.Publish()
			b.ReportAllocs()
			for b.Loop() {
				var n counter
				if err := v.Root().GetState(&n, c); err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(n))
			}
		})
	}
}

type counter int

func (c *counter) Write(b []byte) (int, error) { *c += counter(len(b)); return len(b), nil }

// Mesos lists the weights that were set, whatever to, and no others.
func TestWeightsThatWereSetAreListed(t *testing.T) {
	v := view.New(view.Config{})
	v.Apply(state.RolesChanged{Roles: []state.Role{
		{Name: "one", Weight: 1, Weighted: true}, {Name: "two", Weight: 2, Weighted: true}, {Name: "unset", Weight: 1},
	}})
	v.Publish()
	var got []string
	for _, w := range v.Root().GetWeights().GetGetWeights().GetWeightInfos() {
		got = append(got, fmt.Sprint(w.GetRole(), "=", w.GetWeight()))
	}
	if strings.Join(got, " ") != "one=1 two=2" {
		t.Errorf("GET_WEIGHTS lists %v", got)
	}
}
