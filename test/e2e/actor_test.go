package e2e

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/sdk/scheduler"
)

// actor is a framework that a test plays: it hoards offers and remembers updates.
type actor struct {
	t     testing.TB
	ended chan error

	mu      sync.Mutex
	caller  *scheduler.Caller
	offers  []*mesos.Offer
	updates map[string][]*mesos.TaskStatus
}

// play subscribes a framework of a name in a role until the test ends.
func play(t testing.TB, addr, name, role string) *actor {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	a := &actor{t: t, ended: make(chan error, 1), updates: map[string][]*mesos.TaskStatus{}}
	go func() {
		a.ended <- scheduler.Run(ctx, scheduler.Config{
			Masters: []string{addr},
			Framework: &mesos.FrameworkInfo{
				User: proto.String(""), Name: &name, Roles: []string{role}, FailoverTimeout: proto.Float64(600),
				Capabilities: []*mesos.FrameworkInfo_Capability{
					{Type: mesos.FrameworkInfo_Capability_MULTI_ROLE.Enum()},
					{Type: mesos.FrameworkInfo_Capability_TASK_KILLING_STATE.Enum()},
				},
			},
			Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		}, scheduler.Handler{
			Subscribed: func(_ context.Context, c *scheduler.Caller, _ *schedulerpb.Event_Subscribed) error {
				a.mu.Lock()
				defer a.mu.Unlock()
				a.caller, a.offers = c, nil
				return nil
			},
			Offers: func(_ context.Context, _ *scheduler.Caller, offers []*mesos.Offer) error {
				a.mu.Lock()
				defer a.mu.Unlock()
				a.offers = append(a.offers, offers...)
				return nil
			},
			Rescinded: func(_ context.Context, _ *scheduler.Caller, id *mesos.OfferID) error {
				a.mu.Lock()
				defer a.mu.Unlock()
				a.offers = slices.DeleteFunc(a.offers, func(o *mesos.Offer) bool { return o.GetId().GetValue() == id.GetValue() })
				return nil
			},
			Update: func(_ context.Context, _ *scheduler.Caller, s *mesos.TaskStatus) error {
				a.mu.Lock()
				defer a.mu.Unlock()
				id := s.GetTaskId().GetValue()
				a.updates[id] = append(a.updates[id], s)
				return nil
			},
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-a.ended
	})
	until(t, name+" is subscribed", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.caller != nil
	})
	return a
}

// do makes a call that has to succeed.
func (a *actor) do(what string, err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatalf("%s: %v", what, err)
	}
}

// offered waits for an offer, of any host if that is "", and takes it out of the hoard.
func (a *actor) offered(host string) (o *mesos.Offer) {
	a.t.Helper()
	until(a.t, "an offer", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		i := slices.IndexFunc(a.offers, func(o *mesos.Offer) bool { return host == "" || o.GetHostname() == host })
		if i >= 0 {
			o = a.offers[i]
			a.offers = slices.Delete(a.offers, i, i+1)
		}
		return o != nil
	})
	return o
}

// launch starts a task on the next offer, changed by some functions; what the offer has
// left over comes back.
func (a *actor) launch(id string, command *mesos.CommandInfo, change ...func(*mesos.TaskInfo)) {
	a.t.Helper()
	a.launchOn(a.offered(""), id, command, change...)
}

func (a *actor) launchOn(o *mesos.Offer, id string, command *mesos.CommandInfo, change ...func(*mesos.TaskInfo)) {
	a.t.Helper()
	pool, err := scheduler.NewPool(o)
	a.do("offer", err)
	want := resource.Quantities{{Name: "cpus", Value: 100}, {Name: "mem", Value: 32_000}}
	task := scheduler.Task(id, pool, command, pool.Take(want))
	for _, f := range change {
		f(task)
	}
	a.do("ACCEPT", a.caller.Accept(a.t.Context(), pool.Offers, []*mesos.Offer_Operation{scheduler.Launch(task)}, scheduler.Refuse(0)))
}

// decline gives every offer back for a long time.
func (a *actor) decline() {
	a.t.Helper()
	a.do("DECLINE", a.caller.Decline(a.t.Context(), []*mesos.OfferID{a.offered("").GetId()}, scheduler.Refuse(1000)))
}

func (a *actor) kill(id string, policy *mesos.KillPolicy) {
	a.t.Helper()
	a.do("KILL", a.caller.Kill(a.t.Context(), id, "", policy))
}

// grace is a kill policy.
func grace(seconds float64) *mesos.KillPolicy {
	return &mesos.KillPolicy{GracePeriod: &mesos.DurationInfo{Nanoseconds: proto.Int64(int64(seconds * 1e9))}}
}

// await waits for a state of a task and returns its status.
func (a *actor) await(id string, state mesos.TaskState) (found *mesos.TaskStatus) {
	a.t.Helper()
	until(a.t, fmt.Sprintf("%s of %s", state, id), func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, s := range a.updates[id] {
			if s.GetState() == state {
				found = s
				return true
			}
			if scheduler.Terminal(s.GetState()) {
				a.t.Fatalf("waiting for %s of %s: it ended: %s %s", state, id, s.GetState(), scheduler.Describe(s))
			}
		}
		return false
	})
	return found
}

// states are those a task went through, without repetitions.
func (a *actor) states(id string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []string
	for _, s := range a.updates[id] {
		all = append(all, strings.ToLower(strings.TrimPrefix(s.GetState().String(), "TASK_")))
	}
	return strings.Join(slices.Compact(all), " ")
}

func (a *actor) teardown() {
	a.t.Helper()
	a.do("TEARDOWN", a.caller.Teardown(a.t.Context()))
	err := <-a.ended
	a.ended <- err
	a.do("the end", err)
}
