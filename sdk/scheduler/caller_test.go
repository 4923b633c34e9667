package scheduler_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/sdk/scheduler"
	"github.com/stoa-kernel/stoa/sdk/sdktest"
	"google.golang.org/protobuf/proto"
)

func TestEveryCall(t *testing.T) {
	id := []*mesos.OfferID{{Value: proto.String("o")}}
	status := &mesos.TaskStatus{
		TaskId: &mesos.TaskID{Value: proto.String("t")}, State: mesos.TaskState_TASK_RUNNING.Enum(),
		AgentId: &mesos.AgentID{Value: proto.String("s")}, Uuid: []byte("0123456789abcdef"),
	}
	operation := &mesos.OperationStatus{
		State: mesos.OperationState_OPERATION_FINISHED.Enum(), OperationId: &mesos.OperationID{Value: proto.String("op")},
		AgentId: &mesos.AgentID{Value: proto.String("s")}, Uuid: &mesos.UUID{Value: []byte("0123456789abcdef")},
	}
	calls := []struct {
		want string
		call func(ctx context.Context, c *scheduler.Caller) error
	}{
		{`type:ACCEPT accept:{offer_ids:{value:"o"} operations:{type:LAUNCH launch:{}} filters:{refuse_seconds:0}}`,
			func(ctx context.Context, c *scheduler.Caller) error {
				return c.Accept(ctx, id, []*mesos.Offer_Operation{scheduler.Launch()}, scheduler.Refuse(0))
			}},
		{`type:DECLINE decline:{offer_ids:{value:"o"}}`,
			func(ctx context.Context, c *scheduler.Caller) error { return c.Decline(ctx, id, nil) }},
		{`type:REVIVE revive:{roles:"a"}`,
			func(ctx context.Context, c *scheduler.Caller) error { return c.Revive(ctx, "a") }},
		{`type:SUPPRESS suppress:{}`,
			func(ctx context.Context, c *scheduler.Caller) error { return c.Suppress(ctx) }},
		{`type:KILL kill:{task_id:{value:"t"}}`,
			func(ctx context.Context, c *scheduler.Caller) error { return c.Kill(ctx, "t", "", nil) }},
		{`type:SHUTDOWN shutdown:{executor_id:{value:"e"} agent_id:{value:"s"}}`,
			func(ctx context.Context, c *scheduler.Caller) error { return c.Shutdown(ctx, "e", "s") }},
		{`type:ACKNOWLEDGE acknowledge:{agent_id:{value:"s"} task_id:{value:"t"} uuid:"0123456789abcdef"}`,
			func(ctx context.Context, c *scheduler.Caller) error { return c.Acknowledge(ctx, status) }},
		{`type:ACKNOWLEDGE_OPERATION_STATUS acknowledge_operation_status:{agent_id:{value:"s"} uuid:"0123456789abcdef" operation_id:{value:"op"}}`,
			func(ctx context.Context, c *scheduler.Caller) error { return c.AcknowledgeOperation(ctx, operation) }},
		{`type:RECONCILE reconcile:{tasks:{task_id:{value:"t"}}}`,
			func(ctx context.Context, c *scheduler.Caller) error {
				return c.Reconcile(ctx, &schedulerpb.Call_Reconcile_Task{TaskId: status.TaskId})
			}},
		{`type:RECONCILE_OPERATIONS reconcile_operations:{operations:{operation_id:{value:"op"}}}`,
			func(ctx context.Context, c *scheduler.Caller) error {
				return c.ReconcileOperations(ctx, &schedulerpb.Call_ReconcileOperations_Operation{OperationId: operation.OperationId})
			}},
		{`type:MESSAGE message:{agent_id:{value:"s"} executor_id:{value:"e"} data:"hi"}`,
			func(ctx context.Context, c *scheduler.Caller) error { return c.Message(ctx, "e", "s", []byte("hi")) }},
		{`type:REQUEST request:{requests:{agent_id:{value:"s"}}}`,
			func(ctx context.Context, c *scheduler.Caller) error {
				return c.Request(ctx, &mesos.Request{AgentId: status.AgentId})
			}},
		{`type:ACCEPT_INVERSE_OFFERS accept_inverse_offers:{inverse_offer_ids:{value:"o"}}`,
			func(ctx context.Context, c *scheduler.Caller) error { return c.AcceptInverseOffers(ctx, id, nil) }},
		{`type:DECLINE_INVERSE_OFFERS decline_inverse_offers:{inverse_offer_ids:{value:"o"} filters:{refuse_seconds:9}}`,
			func(ctx context.Context, c *scheduler.Caller) error {
				return c.DeclineInverseOffers(ctx, id, scheduler.Refuse(9))
			}},
		{`type:UPDATE_FRAMEWORK update_framework:{framework_info:{user:"u" name:"n" id:{value:"test-0000"}}}`,
			func(ctx context.Context, c *scheduler.Caller) error {
				return c.UpdateFramework(ctx, &mesos.FrameworkInfo{User: proto.String("u"), Name: proto.String("n")}, nil, nil)
			}},
		{`type:TEARDOWN`, func(ctx context.Context, c *scheduler.Caller) error { return c.Teardown(ctx) }},
	}
	for name, codec := range map[string]scheduler.Codec{"protobuf": scheduler.Protobuf, "json": scheduler.JSON} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, m *sdktest.Master) {
				m.Manual = true
				cfg := config(m)
				cfg.Codec = codec
				err := scheduler.Run(t.Context(), cfg, scheduler.Handler{
					Subscribed: func(ctx context.Context, c *scheduler.Caller, _ *schedulerpb.Event_Subscribed) error {
						for _, x := range calls {
							if err := x.call(ctx, c); err != nil {
								t.Errorf("%s: %v", x.want, err)
							}
						}
						return nil
					},
				})
				if err != nil {
					t.Fatal(err)
				}
				got := m.Calls()
				if len(got) != 1+len(calls) {
					t.Fatalf("%d calls, want SUBSCRIBE and %d", len(got), len(calls))
				}
				for i, x := range calls {
					want := new(schedulerpb.Call)
					if err := unmarshalText(x.want, want); err != nil {
						t.Fatal(err)
					}
					want.FrameworkId = &mesos.FrameworkID{Value: proto.String("test-0000")}
					if codec == scheduler.JSON {
						// The dialect writes defaults of what is not set.
						if fi := want.GetUpdateFramework().GetFrameworkInfo(); fi != nil {
							fi.FailoverTimeout, fi.Checkpoint = proto.Float64(0), proto.Bool(false)
							if got[i+1].GetUpdateFramework().GetFrameworkInfo().Role != nil {
								fi.Role = proto.String("*")
							}
						}
					}
					if !proto.Equal(got[i+1], want) {
						t.Errorf("call %d is %v\nwant %v", i, got[i+1], want)
					}
				}
			})
		})
	}
}

func TestCallsKeepTheirOrder(t *testing.T) {
	bubble(t, func(t *testing.T, m *sdktest.Master) {
		m.Manual = true
		const n = 50
		err := scheduler.Run(t.Context(), config(m), scheduler.Handler{
			Subscribed: func(ctx context.Context, c *scheduler.Caller, _ *schedulerpb.Event_Subscribed) error {
				var wg sync.WaitGroup
				for range n { // in any order, but one at a time
					wg.Go(func() {
						if err := c.Kill(ctx, "x", "", nil); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				for i := range n {
					if err := c.Kill(ctx, string(rune('A'+i)), "", nil); err != nil {
						t.Error(err)
					}
				}
				return scheduler.Stop
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		calls := m.Calls()
		if len(calls) != 1+2*n {
			t.Fatalf("%d calls, want %d", len(calls), 1+2*n)
		}
		for i, c := range calls[1+n:] {
			if got := c.GetKill().GetTaskId().GetValue(); got != string(rune('A'+i)) {
				t.Fatalf("call %d is about %s", i, got)
			}
		}
	})
}

func TestCallErrors(t *testing.T) {
	bubble(t, func(t *testing.T, m *sdktest.Master) {
		subscribed := 0
		err := scheduler.Run(t.Context(), config(m), scheduler.Handler{
			Subscribed: func(ctx context.Context, c *scheduler.Caller, _ *schedulerpb.Event_Subscribed) error {
				subscribed++
				if subscribed == 2 {
					return scheduler.Stop
				}
				// A call that cannot be encoded is the caller's mistake: the subscription stays.
				err := c.Call(ctx, &schedulerpb.Call{Type: schedulerpb.Call_KILL.Enum(), Kill: &schedulerpb.Call_Kill{}})
				if err == nil || errors.Is(err, scheduler.ErrDisconnected) {
					t.Errorf("incomplete call: %v", err)
				}
				// So is one that the master refuses.
				m.Answer(http.StatusBadRequest)
				var se *scheduler.StatusError
				if err := c.Revive(ctx); !errors.As(err, &se) || se.Status != 400 || errors.Is(err, scheduler.ErrDisconnected) {
					t.Errorf("refused call: %v", err)
				}
				// A context that has ended ends the call only.
				m.Answer(0)
				own, cancel := context.WithCancel(ctx)
				cancel()
				if err := c.Revive(own); !errors.Is(err, context.Canceled) || errors.Is(err, scheduler.ErrDisconnected) {
					t.Errorf("canceled call: %v", err)
				}
				if err := c.Revive(ctx); err != nil {
					t.Errorf("after mistakes: %v", err)
				}
				// A master that steps down ends the subscription.
				m.Answer(http.StatusServiceUnavailable)
				err = c.Revive(ctx)
				if !errors.Is(err, scheduler.ErrDisconnected) {
					t.Errorf("call to a master that does not lead: %v", err)
				}
				if err := c.Revive(ctx); !errors.Is(err, scheduler.ErrDisconnected) {
					t.Errorf("call after the end of the subscription: %v", err)
				}
				m.Answer(0)
				return err
			},
		})
		if err != nil || subscribed != 2 {
			t.Errorf("%v after %d subscriptions", err, subscribed)
		}
	})
}

// A restarted master does not know the framework yet and answers 400 to its calls.
func TestCallToARestartedMaster(t *testing.T) {
	synctestMasters(t, func(t *testing.T, m, other *sdktest.Master) {
		cfg := config(m, other)
		n := 0
		err := scheduler.Run(t.Context(), cfg, scheduler.Handler{
			Subscribed: func(ctx context.Context, c *scheduler.Caller, _ *schedulerpb.Event_Subscribed) error {
				if n++; n == 2 {
					return scheduler.Stop
				}
				m.Break() // the stream id of the call to come is void
				err := c.Revive(ctx)
				if !errors.Is(err, scheduler.ErrDisconnected) {
					t.Errorf("%v, want ErrDisconnected", err)
				}
				return err
			},
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}
