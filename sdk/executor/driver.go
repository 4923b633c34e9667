package executor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	executorpb "github.com/stoa-kernel/stoa/api/mesos/v1/executor"
	"github.com/stoa-kernel/stoa/sdk/internal/stream"
	"google.golang.org/protobuf/proto"
)

// Driver is how an executor talks to its agent. It is good for the whole of a Run and for
// several goroutines.
type Driver struct {
	cfg Config
	at  *stream.Endpoint

	mu sync.Mutex
	// tasks are those of which no update was acknowledged yet; updates those that were
	// not. Both are in order, and told to the agent on every new subscription.
	tasks   []*mesos.TaskInfo
	updates []*update
	st      *stream.Stream // nil while not subscribed
	sending sync.WaitGroup
	// wake has room for one signal that there is an update to send.
	wake chan struct{}
	// stopping means that Run ends with the last acknowledgement, or when flush fires;
	// ended that it may end now, which done, a closed channel then, tells too.
	stopping, ended bool
	flush           *time.Timer
	done            chan struct{}
}

var (
	errStopped = errors.New("the executor stopped")
	errRefused = errors.New("the agent refuses a call")
)

type update struct {
	status *mesos.TaskStatus
	sent   bool // on this subscription
}

func newDriver(cfg Config, at *stream.Endpoint) *Driver {
	return &Driver{cfg: cfg, at: at, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// Update reports a task's state; message may be "". It returns at once: the update reaches
// the agent in its turn, on a later subscription if need be.
func (d *Driver) Update(task string, state mesos.TaskState, message string) {
	status := &mesos.TaskStatus{TaskId: &mesos.TaskID{Value: &task}, State: &state}
	if message != "" {
		status.Message = &message
	}
	d.UpdateStatus(status)
}

// UpdateStatus is Update for statuses with more in them, such as data, reason or labels.
// It fills in uuid, source, executor and timestamp, in a copy.
func (d *Driver) UpdateStatus(status *mesos.TaskStatus) {
	status = proto.CloneOf(status)
	id := uuid.New()
	status.Uuid = id[:]
	status.Source = mesos.TaskStatus_SOURCE_EXECUTOR.Enum()
	status.ExecutorId = &mesos.ExecutorID{Value: proto.String(d.cfg.ExecutorID)}
	if d.cfg.AgentID != "" {
		status.AgentId = &mesos.AgentID{Value: proto.String(d.cfg.AgentID)}
	}
	if status.Timestamp == nil {
		status.Timestamp = proto.Float64(float64(time.Now().UnixNano()) / 1e9)
	}
	d.mu.Lock()
	d.updates = append(d.updates, &update{status: status})
	d.mu.Unlock()
	d.signal()
}

func (d *Driver) signal() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Message sends data to the scheduler; it may be lost.
func (d *Driver) Message(ctx context.Context, data []byte) error {
	d.mu.Lock()
	st := d.st
	d.mu.Unlock()
	if st == nil {
		return fmt.Errorf("%w: the message is lost", errDisconnected)
	}
	call := d.cfg.call(executorpb.Call_MESSAGE)
	call.Message = &executorpb.Call_Message{Data: data}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return d.at.Call(ctx, call, nil)
}

// Stop ends Run when all updates so far are acknowledged, or after a minute.
func (d *Driver) Stop() { d.stop(flushTimeout) }

func (d *Driver) stop(patience time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.updates) == 0 {
		d.end()
		return
	}
	d.stopping = true
	if d.flush != nil {
		d.flush.Stop()
	}
	d.flush = time.AfterFunc(max(patience, 0), func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.end()
	})
}

// end lets Run return.
func (d *Driver) end() {
	if d.ended {
		return
	}
	d.ended = true
	close(d.done)
	if d.flush != nil {
		d.flush.Stop()
	}
	if d.st != nil {
		d.st.Close(errStopped)
	}
}

func (d *Driver) stopped() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ended
}

// subscribeCall tells the agent what it has not acknowledged.
func (d *Driver) subscribeCall() (*executorpb.Call, []*update) {
	d.mu.Lock()
	defer d.mu.Unlock()
	call := d.cfg.call(executorpb.Call_SUBSCRIBE)
	call.Subscribe = &executorpb.Call_Subscribe{UnacknowledgedTasks: slices.Clone(d.tasks)}
	for _, u := range d.updates {
		u.sent = false
		call.Subscribe.UnacknowledgedUpdates = append(call.Subscribe.UnacknowledgedUpdates,
			&executorpb.Call_Update{Status: u.status})
	}
	return call, slices.Clone(d.updates)
}

// attach begins to send on a subscription, which told the agent what is in included.
func (d *Driver) attach(st *stream.Stream, included []*update) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, u := range included {
		u.sent = true
	}
	d.st = st
	d.sending.Go(func() { d.send(st) })
	if d.ended {
		st.Close(errStopped)
	}
}

// detach waits until nothing is sent on the subscription any more.
func (d *Driver) detach() {
	d.mu.Lock()
	d.st = nil
	d.mu.Unlock()
	d.sending.Wait()
}

func (d *Driver) subscribed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.st != nil
}

func (d *Driver) launched(task *mesos.TaskInfo) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tasks = append(d.tasks, task)
}

func (d *Driver) acknowledged(a *executorpb.Event_Acknowledged) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.updates = slices.DeleteFunc(d.updates, func(u *update) bool { return string(u.status.GetUuid()) == string(a.GetUuid()) })
	d.tasks = slices.DeleteFunc(d.tasks, func(t *mesos.TaskInfo) bool { return t.GetTaskId().GetValue() == a.GetTaskId().GetValue() })
	if d.stopping && len(d.updates) == 0 {
		d.end()
	}
}

// send posts updates in order, and heartbeats, until the subscription ends.
func (d *Driver) send(st *stream.Stream) {
	ctx := st.Context()
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		var call *executorpb.Call
		u := d.unsent()
		if u != nil {
			call = d.cfg.call(executorpb.Call_UPDATE)
			call.Update = &executorpb.Call_Update{Status: u.status}
		} else {
			select {
			case <-d.wake:
				continue
			case <-tick.C:
				call = d.cfg.call(executorpb.Call_HEARTBEAT)
			case <-ctx.Done():
				return
			}
		}
		if err := d.post(ctx, call); err != nil {
			st.Close(err)
			return
		}
		if u != nil {
			d.mu.Lock()
			u.sent = true
			d.mu.Unlock()
		}
	}
}

func (d *Driver) unsent() *update {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, u := range d.updates {
		if !u.sent {
			return u
		}
	}
	return nil
}

// post makes a call. A refusal that another subscription cannot cure is an errRefused.
func (d *Driver) post(ctx context.Context, call *executorpb.Call) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := d.at.Call(ctx, call, nil)
	var se *stream.StatusError
	if errors.Is(err, stream.ErrEncoding) || errors.As(err, &se) && se.Status < 500 && se.Status != http.StatusForbidden {
		return fmt.Errorf("%w: %s: %w", errRefused, call.GetType(), err)
	}
	return err
}
