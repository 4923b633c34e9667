package executor_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	executorpb "github.com/stoa-kernel/stoa/api/mesos/v1/executor"
	"github.com/stoa-kernel/stoa/sdk/executor"
	"github.com/stoa-kernel/stoa/sdk/sdktest"
	"google.golang.org/protobuf/proto"
)

func config(a *sdktest.Agent) executor.Config {
	return executor.Config{
		Agent: a.Addr(), HTTPClient: a.Client(), FrameworkID: "f", ExecutorID: "e", AgentID: "test-S0",
		Checkpoint: true, RecoveryTimeout: 15 * time.Minute, MaxBackoff: 2 * time.Second, ShutdownGrace: 5 * time.Second,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
}

// bubble runs an executor against an agent on virtual time, and play beside it. It returns
// what Run did.
func bubble(t *testing.T, change func(*executor.Config, *sdktest.Agent), h executor.Handler, play func(t *testing.T, a *sdktest.Agent)) (err error) {
	synctest.Test(t, func(t *testing.T) {
		a := sdktest.NewAgent()
		defer a.Close()
		cfg := config(a)
		if change != nil {
			change(&cfg, a)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			play(t, a)
		}()
		err = executor.Run(t.Context(), cfg, h)
		<-done
	})
	return err
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func finishAtOnce(ctx context.Context, d *executor.Driver, task *mesos.TaskInfo) error {
	id := task.GetTaskId().GetValue()
	d.Update(id, mesos.TaskState_TASK_RUNNING, "")
	d.Update(id, mesos.TaskState_TASK_FINISHED, "done")
	d.Stop()
	return nil
}

func TestTaskRunsAndExecutorEnds(t *testing.T) {
	for name, codec := range map[string]executor.Codec{"protobuf": executor.Protobuf, "json": executor.JSON} {
		t.Run(name, func(t *testing.T) {
			err := bubble(t, func(c *executor.Config, _ *sdktest.Agent) { c.Codec = codec },
				executor.Handler{Launch: finishAtOnce},
				func(t *testing.T, a *sdktest.Agent) {
					must(t, a.Launch(t.Context(), "one"))
					s, err := a.AwaitUpdate(t.Context(), "one", mesos.TaskState_TASK_FINISHED)
					must(t, err)
					if len(s.GetUuid()) != 16 || s.GetSource() != mesos.TaskStatus_SOURCE_EXECUTOR ||
						s.GetExecutorId().GetValue() != "e" || s.GetAgentId().GetValue() != "test-S0" || s.GetMessage() != "done" || s.Timestamp == nil {
						t.Errorf("incomplete status %v", s)
					}
					if u := a.Updates(); len(u) != 2 || u[0].GetState() != mesos.TaskState_TASK_RUNNING {
						t.Errorf("updates %v, want RUNNING first", u)
					}
				})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// What the agent had not acknowledged when it died is told again, in order, and what
// happened while it was away follows.
func TestAgentRestart(t *testing.T) {
	again := make(chan *executor.Driver, 1)
	err := bubble(t, func(_ *executor.Config, a *sdktest.Agent) { a.Hold = true },
		executor.Handler{
			Launch: func(_ context.Context, d *executor.Driver, task *mesos.TaskInfo) error {
				d.Update(task.GetTaskId().GetValue(), mesos.TaskState_TASK_RUNNING, "")
				again <- d
				return nil
			},
		},
		func(t *testing.T, a *sdktest.Agent) {
			must(t, a.Launch(t.Context(), "one"))
			_, err := a.AwaitUpdate(t.Context(), "one", mesos.TaskState_TASK_RUNNING)
			must(t, err)
			a.Answer(http.StatusServiceUnavailable)
			a.Break()
			d := <-again
			d.Update("one", mesos.TaskState_TASK_FINISHED, "while away")
			if err := stall(t, 5*time.Minute); err != nil {
				return
			}
			a.Hold = false
			a.Answer(0)
			d.Stop()
			_, err = a.AwaitUpdate(t.Context(), "one", mesos.TaskState_TASK_FINISHED)
			must(t, err)
			calls := a.Calls()
			last := calls[len(calls)-1].GetSubscribe()
			if last == nil {
				t.Errorf("the last call is %v, want a SUBSCRIBE with everything in it", calls[len(calls)-1])
				return
			}
			if len(last.GetUnacknowledgedTasks()) != 1 || len(last.GetUnacknowledgedUpdates()) != 2 {
				t.Errorf("resubscribed with %v", last)
			}
			if u := a.Updates(); len(u) != 2 || u[1].GetMessage() != "while away" {
				t.Errorf("updates %v", u)
			}
		})
	if err != nil {
		t.Error(err)
	}
}

// stall lets virtual time pass.
func stall(t *testing.T, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-t.Context().Done():
		return t.Context().Err()
	}
}

func TestAgentLost(t *testing.T) {
	for name, c := range map[string]struct {
		checkpoint bool
		least      time.Duration
		most       time.Duration
	}{
		"with checkpoint":    {true, 15 * time.Minute, 15*time.Minute + time.Second},
		"without checkpoint": {false, 0, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			var lost, ended time.Time
			shut := false
			err := bubble(t, func(cfg *executor.Config, _ *sdktest.Agent) { cfg.Checkpoint = c.checkpoint },
				executor.Handler{Shutdown: func(ctx context.Context, _ *executor.Driver) error {
					_, shut = ctx.Deadline()
					ended = time.Now()
					return nil
				}},
				func(t *testing.T, a *sdktest.Agent) {
					must(t, a.Send(t.Context(), &executorpb.Event{Type: executorpb.Event_HEARTBEAT.Enum()}))
					synctest.Wait()
					lost = time.Now()
					a.Answer(http.StatusServiceUnavailable)
					a.Break()
				})
			if !errors.Is(err, executor.ErrAgentLost) || !shut {
				t.Errorf("%v, shut down %v", err, shut)
			}
			if d := ended.Sub(lost); d < c.least || d > c.most {
				t.Errorf("gave up after %v, want between %v and %v", d, c.least, c.most)
			}
		})
	}
}

func TestShutdown(t *testing.T) {
	var a0 *sdktest.Agent
	err := bubble(t, func(_ *executor.Config, a *sdktest.Agent) { a0 = a },
		executor.Handler{
			Launch: func(_ context.Context, d *executor.Driver, task *mesos.TaskInfo) error {
				d.Update(task.GetTaskId().GetValue(), mesos.TaskState_TASK_RUNNING, "")
				return nil
			},
			Shutdown: func(_ context.Context, d *executor.Driver) error {
				d.Update("one", mesos.TaskState_TASK_KILLED, "")
				return nil
			},
		},
		func(t *testing.T, a *sdktest.Agent) {
			must(t, a.Launch(t.Context(), "one"))
			must(t, a.Shutdown(t.Context()))
			_, err := a.AwaitUpdate(t.Context(), "one", mesos.TaskState_TASK_KILLED)
			must(t, err)
		})
	if err != nil {
		t.Error(err)
	}
	if n := len(a0.Updates()); n != 2 {
		t.Errorf("%d updates, want 2", n)
	}
}

// An agent that never acknowledges holds an executor up for a minute, and one that
// shuts it down for the grace only.
func TestStopWithoutAcknowledgement(t *testing.T) {
	for name, c := range map[string]struct {
		shutdown bool
		want     time.Duration
	}{"stop": {false, time.Minute}, "shutdown": {true, 5 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			var begun time.Time
			var took time.Duration
			synctest.Test(t, func(t *testing.T) {
				a := sdktest.NewAgent()
				defer a.Close()
				a.Hold = true
				go func() {
					must(t, a.Launch(t.Context(), "one"))
					if c.shutdown {
						must(t, a.Shutdown(t.Context()))
					}
				}()
				err := executor.Run(t.Context(), config(a), executor.Handler{
					Launch: func(_ context.Context, d *executor.Driver, task *mesos.TaskInfo) error {
						begun = time.Now()
						d.Update("one", mesos.TaskState_TASK_FINISHED, "")
						if !c.shutdown {
							d.Stop()
						}
						return nil
					},
				})
				took = time.Since(begun)
				must(t, err)
			})
			if took < c.want || took > c.want+time.Second {
				t.Errorf("ended after %v, want %v", took, c.want)
			}
		})
	}
}

func TestEvents(t *testing.T) {
	var got []string
	err := bubble(t, nil,
		executor.Handler{
			Subscribed: func(_ context.Context, _ *executor.Driver, e *executorpb.Event_Subscribed) error {
				got = append(got, "subscribed "+e.GetAgentInfo().GetHostname())
				return nil
			},
			Kill: func(_ context.Context, _ *executor.Driver, id string, p *mesos.KillPolicy) error {
				got = append(got, "kill "+id)
				return nil
			},
			Message: func(ctx context.Context, d *executor.Driver, data []byte) error {
				got = append(got, "message "+string(data))
				if err := d.Message(ctx, []byte("back")); err != nil {
					return err
				}
				d.Stop()
				return nil
			},
		},
		func(t *testing.T, a *sdktest.Agent) {
			must(t, a.Kill(t.Context(), "one"))
			must(t, a.Launch(t.Context(), "two"))
			_, err := a.AwaitUpdate(t.Context(), "two", mesos.TaskState_TASK_FAILED)
			must(t, err)
			must(t, a.Send(t.Context(), &executorpb.Event{
				Type: executorpb.Event_LAUNCH_GROUP.Enum(),
				LaunchGroup: &executorpb.Event_LaunchGroup{TaskGroup: &mesos.TaskGroupInfo{Tasks: []*mesos.TaskInfo{{
					Name: proto.String("g"), TaskId: &mesos.TaskID{Value: proto.String("g")}, AgentId: &mesos.AgentID{Value: proto.String("s")},
				}}}},
			}))
			_, err = a.AwaitUpdate(t.Context(), "g", mesos.TaskState_TASK_FAILED)
			must(t, err)
			must(t, a.Send(t.Context(), &executorpb.Event{
				Type: executorpb.Event_MESSAGE.Enum(), Message: &executorpb.Event_Message{Data: []byte("hi")},
			}))
		})
	if err != nil {
		t.Error(err)
	}
	if want := []string{"subscribed agent.test", "kill one", "message hi"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestEndings(t *testing.T) {
	broken := errors.New("broken")
	err := bubble(t, nil, executor.Handler{
		Kill: func(context.Context, *executor.Driver, string, *mesos.KillPolicy) error { return broken },
	}, func(t *testing.T, a *sdktest.Agent) { must(t, a.Kill(t.Context(), "x")) })
	if err != broken {
		t.Errorf("%v, want the handler's error", err)
	}
	err = bubble(t, nil, executor.Handler{}, func(t *testing.T, a *sdktest.Agent) {
		must(t, a.Send(t.Context(), &executorpb.Event{
			Type: executorpb.Event_ERROR.Enum(), Error: &executorpb.Event_Error{Message: proto.String("no")},
		}))
	})
	var refused *executor.Error
	if !errors.As(err, &refused) || refused.Message != "no" {
		t.Errorf("%v, want the agent's error", err)
	}
	err = bubble(t, func(_ *executor.Config, a *sdktest.Agent) { a.Answer(http.StatusUnauthorized) },
		executor.Handler{}, func(*testing.T, *sdktest.Agent) {})
	if err == nil || errors.Is(err, executor.ErrAgentLost) {
		t.Errorf("%v, want status 401", err)
	}
	if err := executor.Run(t.Context(), executor.Config{}, executor.Handler{}); err == nil {
		t.Error("an empty configuration runs")
	}
}
