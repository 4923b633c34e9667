package sdktest

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	executorpb "github.com/stoa-kernel/stoa/api/mesos/v1/executor"
	"github.com/stoa-kernel/stoa/sdk/internal/stream"
	"google.golang.org/protobuf/proto"
)

// Agent is an agent in memory, for one executor. It records updates and acknowledges them.
// Set its fields before the executor subscribes; its methods are for any goroutine.
type Agent struct {
	// Hold keeps updates unacknowledged.
	Hold bool

	net    *memory
	server *http.Server
	served sync.WaitGroup

	mu      sync.Mutex
	sub     *subscription
	calls   []*executorpb.Call
	updates []*mesos.TaskStatus
	changed chan struct{} // closed and replaced on every call and subscription
	answer  int
}

// NewAgent starts an agent.
func NewAgent() *Agent {
	a := &Agent{net: newMemory("agent.test:5051"), changed: make(chan struct{})}
	a.server = &http.Server{Handler: a}
	a.served.Go(func() { a.server.Serve(a.net) })
	return a
}

// Close ends the agent.
func (a *Agent) Close() {
	a.Break()
	a.server.Close()
	a.net.Close()
	a.served.Wait()
}

// Addr is what executor.Config.Agent takes.
func (a *Agent) Addr() string { return string(a.net.addr) }

// Client reaches the agent in memory.
func (a *Agent) Client() *http.Client { return client(a.net) }

// Launch gives the executor a task of this id, when it has subscribed.
func (a *Agent) Launch(ctx context.Context, id string) error {
	return a.send(ctx, &executorpb.Event{
		Type: executorpb.Event_LAUNCH.Enum(),
		Launch: &executorpb.Event_Launch{Task: &mesos.TaskInfo{
			Name: &id, TaskId: &mesos.TaskID{Value: &id}, AgentId: &mesos.AgentID{Value: proto.String("test-S0")},
		}},
	})
}

// Kill asks the executor to end a task.
func (a *Agent) Kill(ctx context.Context, id string) error {
	return a.send(ctx, &executorpb.Event{
		Type: executorpb.Event_KILL.Enum(), Kill: &executorpb.Event_Kill{TaskId: &mesos.TaskID{Value: &id}},
	})
}

// Shutdown asks the executor to end.
func (a *Agent) Shutdown(ctx context.Context) error {
	return a.send(ctx, &executorpb.Event{Type: executorpb.Event_SHUTDOWN.Enum()})
}

// Send sends any event, when the executor has subscribed.
func (a *Agent) Send(ctx context.Context, e *executorpb.Event) error { return a.send(ctx, e) }

func (a *Agent) send(ctx context.Context, e *executorpb.Event) error {
	return a.wait(ctx, func() bool {
		if a.sub != nil {
			a.sub.send(e)
		}
		return a.sub != nil
	})
}

// wait calls ready, with the lock held, after every change until it says true.
func (a *Agent) wait(ctx context.Context, ready func() bool) error {
	for {
		a.mu.Lock()
		ok, changed := ready(), a.changed
		a.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// AwaitUpdate returns the first update, past or to come, of this task and state.
func (a *Agent) AwaitUpdate(ctx context.Context, task string, state mesos.TaskState) (*mesos.TaskStatus, error) {
	var found *mesos.TaskStatus
	err := a.wait(ctx, func() bool {
		for _, s := range a.updates {
			if s.GetTaskId().GetValue() == task && s.GetState() == state {
				found = s
				return true
			}
		}
		return false
	})
	return found, err
}

// Calls are all calls so far, in order.
func (a *Agent) Calls() []*executorpb.Call {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.calls)
}

// Updates are the updates so far, each once, in order.
func (a *Agent) Updates() []*mesos.TaskStatus {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.updates)
}

// Break cuts the stream, as an agent does that dies.
func (a *Agent) Break() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sub != nil {
		a.sub.end()
		a.sub = nil
	}
}

// Answer makes the agent answer every request with this status, like 503, until it is set
// to 0 again.
func (a *Agent) Answer(status int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer = status
}

// ServeHTTP serves the executor API.
func (a *Agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.URL.Path, "/api/v1/executor") {
		http.NotFound(w, r)
		return
	}
	codec, ok := stream.ForContentType(r.Header.Get("Content-Type"))
	if r.Method != http.MethodPost || !ok {
		http.Error(w, "POST a call as application/json or application/x-protobuf", http.StatusUnsupportedMediaType)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyLimit))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	call := new(executorpb.Call)
	if err := codec.Unmarshal(body, call); err != nil {
		http.Error(w, "Failed to parse body into Call: "+err.Error(), http.StatusBadRequest)
		return
	}
	status, sub := a.take(call, codec)
	switch {
	case status != http.StatusOK:
		w.WriteHeader(status)
	case sub != nil:
		sub.serve(r.Context(), w, &executorpb.Event{Type: executorpb.Event_HEARTBEAT.Enum()}, 30*time.Minute)
		a.mu.Lock()
		if a.sub == sub {
			a.sub = nil
		}
		a.mu.Unlock()
	}
}

func (a *Agent) take(call *executorpb.Call, codec stream.Codec) (int, *subscription) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.answer != 0 {
		return a.answer, nil
	}
	a.calls = append(a.calls, call)
	defer func() {
		close(a.changed)
		a.changed = make(chan struct{})
	}()
	if call.GetType() != executorpb.Call_SUBSCRIBE {
		if a.sub == nil {
			return http.StatusForbidden, nil
		}
		if call.GetType() == executorpb.Call_UPDATE {
			a.update(call.GetUpdate().GetStatus())
		}
		return http.StatusAccepted, nil
	}
	if a.sub != nil {
		a.sub.end()
	}
	a.sub = newSubscription("", codec)
	a.sub.send(&executorpb.Event{
		Type: executorpb.Event_SUBSCRIBED.Enum(),
		Subscribed: &executorpb.Event_Subscribed{
			ExecutorInfo:  &mesos.ExecutorInfo{ExecutorId: call.ExecutorId, FrameworkId: call.FrameworkId},
			FrameworkInfo: &mesos.FrameworkInfo{User: proto.String(""), Name: proto.String("test"), Id: call.FrameworkId},
			AgentInfo:     &mesos.AgentInfo{Hostname: proto.String("agent.test"), Id: &mesos.AgentID{Value: proto.String("test-S0")}},
		},
	})
	for _, u := range call.GetSubscribe().GetUnacknowledgedUpdates() {
		a.update(u.GetStatus())
	}
	return http.StatusOK, a.sub
}

func (a *Agent) update(s *mesos.TaskStatus) {
	if !slices.ContainsFunc(a.updates, func(o *mesos.TaskStatus) bool { return string(o.GetUuid()) == string(s.GetUuid()) }) {
		a.updates = append(a.updates, s)
	}
	if !a.Hold {
		a.sub.send(&executorpb.Event{
			Type:         executorpb.Event_ACKNOWLEDGED.Enum(),
			Acknowledged: &executorpb.Event_Acknowledged{TaskId: s.TaskId, Uuid: s.Uuid},
		})
	}
}
