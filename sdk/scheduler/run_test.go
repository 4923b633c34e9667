package scheduler_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/sdk/scheduler"
	"github.com/stoa-kernel/stoa/sdk/sdktest"
	"google.golang.org/protobuf/proto"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func framework() *mesos.FrameworkInfo {
	return &mesos.FrameworkInfo{
		User: proto.String("root"), Name: proto.String("test"), Roles: []string{"a", "b"},
		FailoverTimeout: proto.Float64(3600),
		Capabilities: []*mesos.FrameworkInfo_Capability{
			{Type: mesos.FrameworkInfo_Capability_MULTI_ROLE.Enum()},
			{Type: mesos.FrameworkInfo_Capability_PARTITION_AWARE.Enum()},
		},
	}
}

func config(m *sdktest.Master, others ...*sdktest.Master) scheduler.Config {
	return scheduler.Config{
		Masters: []string{m.Addr()}, Framework: framework(), HTTPClient: m.Client(others...), Logger: quiet,
	}
}

// bubble runs f with a master on virtual time.
func bubble(t *testing.T, f func(t *testing.T, m *sdktest.Master)) {
	synctest.Test(t, func(t *testing.T) {
		m := sdktest.NewMaster()
		defer m.Close()
		f(t, m)
	})
}

// launch is an Offers function that starts one task per id, once each.
func launch(t *testing.T, ids ...string) func(context.Context, *scheduler.Caller, []*mesos.Offer) error {
	want := resource.Quantities{{Name: "cpus", Value: 100}, {Name: "mem", Value: 32000}}
	return func(ctx context.Context, c *scheduler.Caller, offers []*mesos.Offer) error {
		for _, o := range offers {
			pool, err := scheduler.NewPool(o)
			if err != nil {
				t.Error(err)
			}
			var tasks []*mesos.TaskInfo
			for len(ids) > 0 && pool.Fits(want) {
				tasks = append(tasks, scheduler.Task(ids[0], pool, scheduler.Shell("true"), pool.Take(want)))
				ids = ids[1:]
			}
			if err := c.Accept(ctx, pool.Offers, []*mesos.Offer_Operation{scheduler.Launch(tasks...)}, nil); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestTasksRunAndAreAcknowledged(t *testing.T) {
	for name, codec := range map[string]scheduler.Codec{"protobuf": scheduler.Protobuf, "json": scheduler.JSON} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, m *sdktest.Master) {
				m.AddAgent("cpus:4;mem:4096;ports:[31000-31010]")
				m.AddAgent("cpus:4;mem:4096")
				m.Run = func(_ context.Context, task *mesos.TaskInfo) *mesos.TaskStatus {
					if task.GetTaskId().GetValue() == "two" {
						return sdktest.Exit(3)
					}
					return sdktest.Exit(0)
				}
				var states []string
				cfg := config(m)
				cfg.Codec = codec
				done := 0
				err := scheduler.Run(t.Context(), cfg, scheduler.Handler{
					Offers: launch(t, "one", "two"),
					Update: func(_ context.Context, _ *scheduler.Caller, s *mesos.TaskStatus) error {
						states = append(states, s.GetTaskId().GetValue()+" "+scheduler.Describe(s))
						if scheduler.Terminal(s.GetState()) {
							done++
						}
						if done == 2 {
							return scheduler.Stop
						}
						return nil
					},
				})
				if err != nil {
					t.Fatal(err)
				}
				slices.Sort(states)
				want := []string{
					"one finished: Command exited with status 0", "one running",
					"two failed: Command exited with status 3", "two running",
				}
				if !slices.Equal(states, want) {
					t.Errorf("updates %q, want %q", states, want)
				}
				acks := 0
				for _, c := range m.Calls() {
					if c.GetType() == schedulerpb.Call_ACKNOWLEDGE {
						acks++
					}
				}
				if acks != 4 {
					t.Errorf("%d acknowledgements, want 4, the one of the last update too", acks)
				}
			})
		})
	}
}

func TestResubscribesWithItsID(t *testing.T) {
	bubble(t, func(t *testing.T, m *sdktest.Master) {
		m.AddAgent("cpus:4;mem:4096")
		m.Run = func(context.Context, *mesos.TaskInfo) *mesos.TaskStatus { return nil }
		var ids []string
		var lost []error
		running := 0
		err := scheduler.Run(t.Context(), config(m), scheduler.Handler{
			Offers: launch(t, "one"),
			Subscribed: func(ctx context.Context, c *scheduler.Caller, _ *schedulerpb.Event_Subscribed) error {
				ids = append(ids, c.FrameworkID())
				return nil
			},
			Disconnected: func(cause error) { lost = append(lost, cause) },
			Update: func(_ context.Context, _ *scheduler.Caller, s *mesos.TaskStatus) error {
				if running++; running < 3 {
					m.Break() // before the acknowledgement: the update comes again
					return nil
				}
				return scheduler.Stop
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{"test-0000", "test-0000", "test-0000"}; !slices.Equal(ids, want) {
			t.Errorf("subscribed as %q, want %q", ids, want)
		}
		if len(lost) != 2 || !errors.Is(lost[0], scheduler.ErrDisconnected) {
			t.Errorf("disconnected %v", lost)
		}
	})
}

// Five heartbeats may be missed, not six.
func TestSilentMasterIsGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T, m *sdktest.Master) {
		var at []time.Time
		err := scheduler.Run(t.Context(), config(m), scheduler.Handler{
			Subscribed: func(context.Context, *scheduler.Caller, *schedulerpb.Event_Subscribed) error {
				at = append(at, time.Now())
				if len(at) == 2 {
					return scheduler.Stop
				}
				time.AfterFunc(10*time.Minute, m.Mute)
				return nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if d := at[1].Sub(at[0]); d < 10*time.Minute+60*time.Second || d > 10*time.Minute+76*time.Second {
			t.Errorf("subscribed again after %v, want 75 s after the last heartbeat at 10 min", d)
		}
	})
}

func TestFollowsTheLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := sdktest.NewMasterAt("one.test:5050"), sdktest.NewMasterAt("two.test:5050")
		defer one.Close()
		defer two.Close()
		one.Redirect("two.test:5050")
		subscribed := 0
		cfg := config(one, two)
		err := scheduler.Run(t.Context(), cfg, scheduler.Handler{
			Subscribed: func(_ context.Context, c *scheduler.Caller, _ *schedulerpb.Event_Subscribed) error {
				if subscribed++; subscribed == 2 {
					return scheduler.Stop
				}
				// The lead changes: two still answers, but no longer leads.
				two.Redirect("one.test:5050")
				one.Redirect("")
				two.Break()
				return nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if n, o := len(two.Calls()), len(one.Calls()); n != 1 || o != 1 {
			t.Errorf("two got %d calls and one %d, want one SUBSCRIBE each", n, o)
		}
		if id := one.Calls()[0].GetSubscribe().GetFrameworkInfo().GetId().GetValue(); id != "test-0000" {
			t.Errorf("resubscribed as %q, want the id the first master gave", id)
		}
	})
}

func TestRedirectLoopEnds(t *testing.T) {
	bubble(t, func(t *testing.T, m *sdktest.Master) {
		m.Redirect(m.Addr())
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := scheduler.Run(ctx, config(m), scheduler.Handler{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want the deadline", err)
		}
	})
}

func TestWaitsForAMaster(t *testing.T) {
	bubble(t, func(t *testing.T, m *sdktest.Master) {
		m.Answer(http.StatusServiceUnavailable)
		time.AfterFunc(time.Hour, func() { m.Answer(0) })
		cfg := config(m)
		cfg.Masters = []string{"nobody.test:5050", m.Addr()}
		start := time.Now()
		if err := scheduler.Run(t.Context(), cfg, stopWhenSubscribed); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d < time.Hour || d > time.Hour+11*time.Second {
			t.Errorf("subscribed after %v, want within two pauses of 5 s after an hour", d)
		}
	})
}

var stopWhenSubscribed = scheduler.Handler{
	Subscribed: func(context.Context, *scheduler.Caller, *schedulerpb.Event_Subscribed) error { return scheduler.Stop },
}

func TestRefusedForGood(t *testing.T) {
	bubble(t, func(t *testing.T, m *sdktest.Master) {
		m.Answer(http.StatusUnauthorized)
		err := scheduler.Run(t.Context(), config(m), scheduler.Handler{})
		var se *scheduler.StatusError
		if !errors.As(err, &se) || se.Status != http.StatusUnauthorized {
			t.Errorf("%v, want status 401", err)
		}
	})
	bubble(t, func(t *testing.T, m *sdktest.Master) {
		err := scheduler.Run(t.Context(), config(m), scheduler.Handler{
			Subscribed: func(context.Context, *scheduler.Caller, *schedulerpb.Event_Subscribed) error {
				m.Send(&schedulerpb.Event{
					Type: schedulerpb.Event_ERROR.Enum(), Error: &schedulerpb.Event_Error{Message: proto.String("Framework failed over")},
				})
				return nil
			},
		})
		var fe *scheduler.FrameworkError
		if !errors.As(err, &fe) || fe.Message != "Framework failed over" {
			t.Errorf("%v, want a FrameworkError", err)
		}
	})
}

func TestHandlerErrorEndsRunUnacknowledged(t *testing.T) {
	bubble(t, func(t *testing.T, m *sdktest.Master) {
		m.AddAgent("cpus:4;mem:4096")
		broken := errors.New("database is down")
		err := scheduler.Run(t.Context(), config(m), scheduler.Handler{
			Offers: launch(t, "one"),
			Update: func(context.Context, *scheduler.Caller, *mesos.TaskStatus) error { return broken },
		})
		if err != broken {
			t.Errorf("%v, want the handler's error", err)
		}
		for _, c := range m.Calls() {
			if c.GetType() == schedulerpb.Call_ACKNOWLEDGE {
				t.Error("an update was acknowledged that the handler failed on")
			}
		}
	})
}

func TestManualAcknowledge(t *testing.T) {
	bubble(t, func(t *testing.T, m *sdktest.Master) {
		m.AddAgent("cpus:4;mem:4096")
		cfg := config(m)
		cfg.ManualAcknowledge = true
		var states []mesos.TaskState
		err := scheduler.Run(t.Context(), cfg, scheduler.Handler{
			Offers: launch(t, "one"),
			Update: func(ctx context.Context, c *scheduler.Caller, s *mesos.TaskStatus) error {
				states = append(states, s.GetState())
				if scheduler.Terminal(s.GetState()) {
					return scheduler.Stop
				}
				return c.Acknowledge(ctx, s)
			},
		})
		if err != nil || len(states) != 2 {
			t.Errorf("%v; states %v, want RUNNING and FINISHED", err, states)
		}
		n := 0
		for _, c := range m.Calls() {
			if c.GetType() == schedulerpb.Call_ACKNOWLEDGE {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d acknowledgements, want only the handler's own", n)
		}
	})
}

func TestAcknowledgesManyAtOnce(t *testing.T) {
	for _, together := range []bool{false, true} {
		bubble(t, func(t *testing.T, m *sdktest.Master) {
			m.Acknowledgements = together
			m.AddAgent("cpus:4;mem:4096")
			cfg := config(m)
			cfg.ManualAcknowledge = true
			var want []string
			var all []*mesos.TaskStatus
			err := scheduler.Run(t.Context(), cfg, scheduler.Handler{
				Offers: launch(t, "one", "two", "three", "four"),
				Update: func(ctx context.Context, c *scheduler.Caller, s *mesos.TaskStatus) error {
					if s.GetState() == mesos.TaskState_TASK_FINISHED {
						return scheduler.Stop // the master took what came before it for acknowledged
					}
					all = append(all, s)
					want = append(want, s.GetTaskId().GetValue())
					if len(all) < 4 {
						return nil
					}
					return c.AcknowledgeAll(ctx, append(all, &mesos.TaskStatus{TaskId: s.TaskId, State: s.State})) // one needs none
				},
			})
			var got []string
			calls := 0
			for _, c := range m.Calls() {
				if c.GetType() == schedulerpb.Call_ACKNOWLEDGE {
					calls++
				}
				if a := c.GetAcknowledge(); a != nil {
					got = append(got, a.GetTaskId().GetValue())
				}
				for _, a := range c.GetAcknowledgements() {
					got = append(got, a.GetTaskId().GetValue())
				}
			}
			if err != nil || !slices.Equal(got, want) || (calls == 1) != together {
				t.Errorf("together %v: %v; %d calls acknowledged %v, want %v", together, err, calls, got, want)
			}
		})
	}
}

func TestAcknowledgesNoMoreThanAMasterTakes(t *testing.T) {
	bubble(t, func(t *testing.T, m *sdktest.Master) {
		m.Manual, m.Acknowledgements = true, true
		all := make([]*mesos.TaskStatus, schedulerpb.MaxAcknowledgements+1)
		for i := range all {
			all[i] = &mesos.TaskStatus{
				TaskId: &mesos.TaskID{Value: proto.String(strconv.Itoa(i))}, AgentId: &mesos.AgentID{Value: proto.String("a")},
				State: mesos.TaskState_TASK_RUNNING.Enum(), Uuid: make([]byte, 16),
			}
		}
		err := scheduler.Run(t.Context(), config(m), scheduler.Handler{
			Subscribed: func(ctx context.Context, c *scheduler.Caller, _ *schedulerpb.Event_Subscribed) error {
				if err := c.AcknowledgeAll(ctx, all); err != nil {
					return err
				}
				return scheduler.Stop
			},
		})
		var sizes []int
		for _, c := range m.Calls() {
			if c.GetType() == schedulerpb.Call_ACKNOWLEDGE {
				sizes = append(sizes, len(c.Acknowledgements))
			}
		}
		if err != nil || !slices.Equal(sizes, []int{1000, 1}) {
			t.Errorf("%v; calls of %v, want 1000 and 1", err, sizes)
		}
	})
}

func TestTeardownForgetsTheID(t *testing.T) {
	bubble(t, func(t *testing.T, m *sdktest.Master) {
		cfg := config(m)
		store := new(scheduler.MemoryStore)
		cfg.Store = store
		if err := scheduler.Run(t.Context(), cfg, stopWhenSubscribed); err != nil {
			t.Fatal(err)
		}
		if id, _ := store.Load(t.Context()); id != "test-0000" {
			t.Fatalf("id %q is stored, want test-0000", id)
		}
		err := scheduler.Run(t.Context(), cfg, scheduler.Handler{
			Subscribed: func(ctx context.Context, c *scheduler.Caller, _ *schedulerpb.Event_Subscribed) error {
				if c.FrameworkID() != "test-0000" {
					t.Errorf("second run subscribed as %q", c.FrameworkID())
				}
				return c.Teardown(ctx)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if id, _ := store.Load(t.Context()); id != "" {
			t.Errorf("id %q is stored after a teardown", id)
		}
		// Another instance that did not hear of it is told.
		cfg.Framework.Id = &mesos.FrameworkID{Value: proto.String("test-0000")}
		var fe *scheduler.FrameworkError
		if err := scheduler.Run(t.Context(), cfg, scheduler.Handler{}); !errors.As(err, &fe) {
			t.Errorf("%v, want that the framework was removed", err)
		}
	})
}

// Suppressed roles and an updated description are told again to the next master, which
// may have forgotten them.
func TestNextSubscriptionKnowsWhatChanged(t *testing.T) {
	bubble(t, func(t *testing.T, m *sdktest.Master) {
		n := 0
		err := scheduler.Run(t.Context(), config(m), scheduler.Handler{
			Subscribed: func(ctx context.Context, c *scheduler.Caller, _ *schedulerpb.Event_Subscribed) error {
				n++
				var err error
				switch n {
				case 1:
					err = errors.Join(c.Suppress(ctx), c.Revive(ctx, "b"))
				case 2:
					info := framework()
					info.Roles = []string{"c"}
					err = c.UpdateFramework(ctx, info, []string{"c"}, nil)
				case 3:
					err = c.Revive(ctx)
				case 4:
					return scheduler.Stop
				}
				m.Break()
				return err
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		var roles, suppressed [][]string
		for _, c := range m.Calls() {
			if s := c.GetSubscribe(); s != nil {
				roles = append(roles, s.GetFrameworkInfo().GetRoles())
				suppressed = append(suppressed, s.GetSuppressedRoles())
			}
		}
		wantRoles := [][]string{{"a", "b"}, {"a", "b"}, {"c"}, {"c"}}
		wantSuppressed := [][]string{nil, {"a"}, {"c"}, nil}
		if !slices.EqualFunc(roles, wantRoles, slices.Equal) || !slices.EqualFunc(suppressed, wantSuppressed, slices.Equal) {
			t.Errorf("subscribed with roles %q, suppressed %q; want %q and %q", roles, suppressed, wantRoles, wantSuppressed)
		}
	})
}

func TestWithoutOffersFunctionDeclines(t *testing.T) {
	bubble(t, func(t *testing.T, m *sdktest.Master) {
		agent := m.AddAgent("cpus:4;mem:4096")
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			defer cancel()
			c, err := m.Await(ctx, func(c *schedulerpb.Call) bool { return c.GetDecline() != nil })
			if err != nil || len(c.GetDecline().GetOfferIds()) != 1 {
				t.Errorf("%v, %v; want the offer of %s declined", c, err, agent)
			}
		}()
		if err := scheduler.Run(ctx, config(m), scheduler.Handler{}); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestConfigErrors(t *testing.T) {
	for _, cfg := range []scheduler.Config{
		{},
		{Masters: []string{" , "}, Framework: framework()},
		{Masters: []string{"zk://a:2181/mesos"}, Framework: framework()},
		{Masters: []string{"http://"}, Framework: framework()},
		{Masters: []string{"a:5050"}},
	} {
		if err := scheduler.Run(t.Context(), cfg, scheduler.Handler{}); err == nil {
			t.Errorf("%v runs", cfg)
		}
	}
}
