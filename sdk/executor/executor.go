// Package executor is for authors of custom executors: it keeps an executor subscribed to
// its agent over the v1 executor API (Mesos 1.11, docs/executor-http-api.md), hands events
// to functions, and sees to it that every status update reaches the agent.
//
//	cfg, err := executor.FromEnv()
//	…
//	err = executor.Run(ctx, cfg, executor.Handler{
//		Launch: func(ctx context.Context, d *executor.Driver, task *mesos.TaskInfo) error {
//			d.Update(task.GetTaskId().GetValue(), mesos.TaskState_TASK_RUNNING, "")
//			go work(ctx, d, task) // ends with d.Update(…, TASK_FINISHED, "") and d.Stop()
//			return nil
//		},
//	})
package executor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	executorpb "github.com/stoa-kernel/stoa/api/mesos/v1/executor"
	"github.com/stoa-kernel/stoa/sdk/internal/stream"
	"google.golang.org/protobuf/proto"
)

// Codec is an encoding of calls and events.
type Codec = stream.Codec

// The encodings.
const (
	Protobuf = stream.Protobuf
	JSON     = stream.JSON
)

// Config is what Run needs to know; FromEnv fills it in.
type Config struct {
	// Agent is the agent's "host:port".
	Agent string
	// FrameworkID and ExecutorID say who this is.
	FrameworkID, ExecutorID string
	// AgentID is the agent's id, "" if the agent does not tell.
	AgentID string
	// Sandbox is the working directory as the executor sees it.
	Sandbox string
	// DomainSocket is the path of a socket to reach the agent by, instead of TCP.
	DomainSocket string
	// Token authenticates the executor; "" for none.
	Token string
	// Checkpoint says that the executor lives on while its agent is away, for at most
	// RecoveryTimeout, trying to subscribe after random pauses of at most MaxBackoff.
	Checkpoint                  bool
	RecoveryTimeout, MaxBackoff time.Duration
	// ShutdownGrace is the time between the agent's SHUTDOWN and its kill.
	ShutdownGrace time.Duration
	// Codec defaults to Protobuf.
	Codec Codec
	// HTTPClient replaces the client made for Agent or DomainSocket.
	HTTPClient *http.Client
	// Logger gets one line when a subscription begins or ends; default slog.Default().
	Logger *slog.Logger
}

// Handler has a function per event. They are called one at a time, in the order of the
// events; work that takes long belongs in a goroutine. ctx lives as long as Run, over lost
// connections too. An error ends Run with it.
type Handler struct {
	// Subscribed comes first on every subscription.
	Subscribed func(ctx context.Context, d *Driver, e *executorpb.Event_Subscribed) error
	// Launch starts a task. Without it tasks fail.
	Launch func(ctx context.Context, d *Driver, task *mesos.TaskInfo) error
	// LaunchGroup starts tasks that live and die together. Without it they fail.
	LaunchGroup func(ctx context.Context, d *Driver, tasks []*mesos.TaskInfo) error
	// Kill ends a task: TASK_KILLED is to follow. policy is nil unless the framework
	// overrides that of the task.
	Kill func(ctx context.Context, d *Driver, task string, policy *mesos.KillPolicy) error
	// Message is data the scheduler sent.
	Message func(ctx context.Context, d *Driver, data []byte) error
	// Shutdown ends all tasks; ctx ends when the agent's grace does. Run ends when the
	// updates of the last moments are acknowledged, or with ctx.
	Shutdown func(ctx context.Context, d *Driver) error
}

// Error is an ERROR event: the agent refuses the executor.
type Error struct{ Message string }

func (e *Error) Error() string { return "the agent refuses the executor: " + e.Message }

// ErrAgentLost ends Run when the agent did not come back in time.
var ErrAgentLost = errors.New("the agent is gone")

const (
	heartbeat        = 30 * time.Minute
	missedHeartbeats = 5
	subscribeTimeout = 15 * time.Second
	callTimeout      = 30 * time.Second
	// flushTimeout is how long Stop waits for the last acknowledgements, as Mesos's
	// own executors do.
	flushTimeout = 60 * time.Second
)

// Run subscribes and handles events until Driver.Stop or a shutdown (nil), the agent is
// lost (ErrAgentLost), it refuses the executor (*Error), a handler fails, or ctx ends (its
// cause). When the agent is lost, Handler.Shutdown is called first.
func Run(ctx context.Context, cfg Config, h Handler) error {
	if cfg.Agent == "" && cfg.DomainSocket == "" || cfg.FrameworkID == "" || cfg.ExecutorID == "" {
		return errors.New("executor: Config needs Agent or DomainSocket, FrameworkID and ExecutorID; FromEnv has them")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	client := cfg.HTTPClient
	if client == nil {
		client = stream.NewClient(dialer(cfg.DomainSocket))
		defer client.CloseIdleConnections()
	} else {
		client = stream.Prepare(client)
	}
	host := cfg.Agent
	if host == "" {
		host = "agent"
	}
	at := &stream.Endpoint{
		URL:    &url.URL{Scheme: "http", Host: host, Path: "/api/v1/executor"},
		Client: client, Codec: cfg.Codec,
	}
	if cfg.Token != "" {
		at.Header = http.Header{"Authorization": {"Bearer " + cfg.Token}}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // tasks that were started with it
	x := &session{cfg: cfg, h: h, at: at, d: newDriver(cfg, at)}
	return x.run(ctx)
}

func dialer(socket string) func(context.Context, string, string) (net.Conn, error) {
	if socket == "" {
		return nil
	}
	d := net.Dialer{Timeout: 5 * time.Second}
	return func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", socket) }
}

type session struct {
	cfg Config
	h   Handler
	at  *stream.Endpoint
	d   *Driver
	// since is when the agent was last known to be there.
	since time.Time
}

func (x *session) run(ctx context.Context) error {
	x.since = time.Now()
	for {
		err := x.subscription(ctx)
		switch {
		case x.d.stopped():
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !errors.Is(err, errDisconnected):
			return err
		}
		left := x.cfg.RecoveryTimeout - time.Since(x.since)
		if !x.cfg.Checkpoint || left <= 0 {
			if failed := x.shutdown(ctx); failed != nil {
				return failed
			}
			return fmt.Errorf("%w: %w", ErrAgentLost, err)
		}
		pause := min(left, rand.N(max(x.cfg.MaxBackoff, 10*time.Millisecond)))
		x.cfg.Logger.Warn("not subscribed to the agent", "err", err, "retry", pause.Round(time.Millisecond))
		select {
		case <-x.d.done:
			return nil
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

var errDisconnected = errors.New("not subscribed to the agent")

func (x *session) shutdown(ctx context.Context) error {
	if x.h.Shutdown == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, x.cfg.ShutdownGrace)
	defer cancel()
	return x.h.Shutdown(ctx, x.d)
}

func (x *session) subscription(ctx context.Context) error {
	call, included := x.d.subscribeCall()
	st, err := x.at.Subscribe(ctx, call, subscribeTimeout)
	if err != nil {
		var se *stream.StatusError
		if errors.As(err, &se) && se.Status < 500 {
			return fmt.Errorf("subscribing at the agent: %w", se)
		}
		return fmt.Errorf("%w: %w", errDisconnected, err)
	}
	defer func() {
		if x.d.subscribed() {
			x.since = time.Now()
		}
		st.Close(errDisconnected)
		x.d.detach()
	}()
	for {
		var e executorpb.Event
		if err := st.Next(&e, missedHeartbeats*heartbeat); err != nil {
			if errors.Is(err, errRefused) {
				return err
			}
			return fmt.Errorf("%w: %w", errDisconnected, err)
		}
		if e.GetSubscribed() != nil {
			x.cfg.Logger.Info("subscribed to the agent", "executor_id", x.cfg.ExecutorID)
			x.d.attach(st, included)
		} else if !x.d.subscribed() && e.GetError() == nil {
			return fmt.Errorf("%w: the agent sent %s before SUBSCRIBED", errDisconnected, e.GetType())
		}
		if err := x.dispatch(ctx, &e); err != nil {
			return err
		}
	}
}

func (x *session) dispatch(ctx context.Context, e *executorpb.Event) error {
	h, d := x.h, x.d
	switch e.GetType() {
	case executorpb.Event_SUBSCRIBED:
		return handle(ctx, d, h.Subscribed, e.GetSubscribed())
	case executorpb.Event_LAUNCH:
		task := e.GetLaunch().GetTask()
		d.launched(task)
		if h.Launch == nil {
			d.Update(task.GetTaskId().GetValue(), mesos.TaskState_TASK_FAILED, "this executor takes no single tasks")
		}
		return handle(ctx, d, h.Launch, task)
	case executorpb.Event_LAUNCH_GROUP:
		tasks := e.GetLaunchGroup().GetTaskGroup().GetTasks()
		for _, task := range tasks {
			d.launched(task)
			if h.LaunchGroup == nil {
				d.Update(task.GetTaskId().GetValue(), mesos.TaskState_TASK_FAILED, "this executor takes no groups of tasks")
			}
		}
		return handle(ctx, d, h.LaunchGroup, tasks)
	case executorpb.Event_KILL:
		if h.Kill == nil {
			return nil
		}
		return h.Kill(ctx, d, e.GetKill().GetTaskId().GetValue(), e.GetKill().GetKillPolicy())
	case executorpb.Event_ACKNOWLEDGED:
		d.acknowledged(e.GetAcknowledged())
	case executorpb.Event_MESSAGE:
		return handle(ctx, d, h.Message, e.GetMessage().GetData())
	case executorpb.Event_ERROR:
		return &Error{e.GetError().GetMessage()}
	case executorpb.Event_SHUTDOWN:
		begun := time.Now()
		if err := x.shutdown(ctx); err != nil {
			return err
		}
		d.stop(x.cfg.ShutdownGrace - time.Since(begun))
	}
	return nil // HEARTBEAT, and what later versions add
}

func handle[T any](ctx context.Context, d *Driver, f func(context.Context, *Driver, T) error, v T) error {
	if f == nil {
		return nil
	}
	return f(ctx, d, v)
}

// call is the envelope of a call.
func (cfg *Config) call(t executorpb.Call_Type) *executorpb.Call {
	return &executorpb.Call{
		Type:        t.Enum(),
		ExecutorId:  &mesos.ExecutorID{Value: proto.String(cfg.ExecutorID)},
		FrameworkId: &mesos.FrameworkID{Value: proto.String(cfg.FrameworkID)},
	}
}
