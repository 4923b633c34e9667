package sdktest_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
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

// play runs a framework until its handler stops it.
func play(t *testing.T, m *sdktest.Master, h scheduler.Handler) {
	t.Helper()
	err := scheduler.Run(t.Context(), scheduler.Config{
		Masters: []string{m.Addr()}, HTTPClient: m.Client(), Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Framework: &mesos.FrameworkInfo{User: proto.String(""), Name: proto.String("t"), Capabilities: []*mesos.FrameworkInfo_Capability{
			{Type: mesos.FrameworkInfo_Capability_PARTITION_AWARE.Enum()},
		}},
	}, h)
	if err != nil {
		t.Error(err)
	}
}

func task(t *testing.T, id string, o *mesos.Offer, cpus resource.Milli) *mesos.TaskInfo {
	t.Helper()
	pool, err := scheduler.NewPool(o)
	if err != nil {
		t.Fatal(err)
	}
	return scheduler.Task(id, pool, scheduler.Shell("true"), pool.Take(resource.Quantities{{Name: "cpus", Value: cpus}}))
}

func TestStatesOfTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := sdktest.NewMaster()
		defer m.Close()
		m.AddAgent("cpus:1")
		m.Run = func(context.Context, *mesos.TaskInfo) *mesos.TaskStatus { return nil }
		var got []string
		var first []*mesos.OfferID
		play(t, m, scheduler.Handler{
			Offers: func(ctx context.Context, c *scheduler.Caller, offers []*mesos.Offer) error {
				if first != nil {
					return nil
				}
				o := offers[0]
				first = []*mesos.OfferID{o.GetId()}
				big := task(t, "big", o, 1000)
				big.Resources[0].Scalar.Value = proto.Float64(2)
				launch := scheduler.Launch(task(t, "one", o, 300), task(t, "one", o, 300), big)
				return errors.Join(
					c.Accept(ctx, first, []*mesos.Offer_Operation{launch}, nil),
					c.Accept(ctx, first, []*mesos.Offer_Operation{scheduler.Launch(task(t, "late", o, 300))}, nil),
					c.Kill(ctx, "nobody", "", nil),
					c.Reconcile(ctx, &schedulerpb.Call_Reconcile_Task{TaskId: &mesos.TaskID{Value: proto.String("ghost")}}),
					c.Reconcile(ctx),
					c.Kill(ctx, "one", "", nil),
				)
			},
			Update: func(_ context.Context, _ *scheduler.Caller, s *mesos.TaskStatus) error {
				got = append(got, s.GetTaskId().GetValue()+" "+s.GetState().String())
				if s.GetState() == mesos.TaskState_TASK_KILLED {
					return scheduler.Stop
				}
				return nil
			},
		})
		slices.Sort(got)
		want := []string{
			"big TASK_ERROR", "ghost TASK_UNKNOWN", "late TASK_DROPPED", "nobody TASK_UNKNOWN",
			"one TASK_ERROR", "one TASK_KILLED", "one TASK_RUNNING", "one TASK_RUNNING",
		}
		if !slices.Equal(got, want) {
			t.Errorf("updates %q\nwant %q", got, want)
		}
	})
}

func TestOffersComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := sdktest.NewMaster()
		defer m.Close()
		m.AddAgent("cpus:1")
		start := time.Now()
		var at []time.Duration
		play(t, m, scheduler.Handler{
			Offers: func(ctx context.Context, c *scheduler.Caller, offers []*mesos.Offer) error {
				at = append(at, time.Since(start).Round(time.Second))
				switch len(at) {
				case 1:
					return c.Decline(ctx, []*mesos.OfferID{offers[0].GetId()}, nil) // 5 s
				case 2:
					return c.Decline(ctx, []*mesos.OfferID{offers[0].GetId()}, scheduler.Refuse(0))
				case 3:
					time.AfterFunc(10*time.Second, func() {
						_ = c.Revive(ctx) // the offer may end Run before the answer is here
					})
					return errors.Join(c.Suppress(ctx), c.Decline(ctx, []*mesos.OfferID{offers[0].GetId()}, nil))
				}
				return scheduler.Stop
			},
		})
		if want := []time.Duration{0, 5 * time.Second, 5 * time.Second, 15 * time.Second}; !slices.Equal(at, want) {
			t.Errorf("offers after %v, want %v", at, want)
		}
	})
}
