package session

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/internal/codec"
	"github.com/stoa-kernel/stoa/internal/eventstream"
	"github.com/stoa-kernel/stoa/internal/listen"
	"github.com/stoa-kernel/stoa/master/state"
)

// maxOffers is how many offers one OFFERS event carries at most; more are split.
const maxOffers = 500

var heartbeat = &schedulerpb.Event{Type: schedulerpb.Event_HEARTBEAT.Enum()}

// Streams are the subscriptions of frameworks. Set the exported fields before use; all
// methods are safe for concurrent use.
type Streams struct {
	Submit Submit
	Log    *slog.Logger

	// Heartbeat, Stall and Limit are the defaults of those names if 0.
	Heartbeat time.Duration
	Stall     time.Duration
	Limit     int

	// CutOff counts streams cut off for being slow, Unacked status updates sent on a
	// living stream and not acknowledged on it yet.
	CutOff  atomic.Int64
	Unacked atomic.Int64

	mu     sync.Mutex
	closed bool
	all    map[state.Stream]*stream
}

// stream is one framework's, with what it was told on it.
type stream struct {
	*eventstream.Stream[*schedulerpb.Event]

	mu        sync.Mutex
	framework string            // once it was told that it is subscribed; "" again at the end
	unacked   map[string]string // nil when the stream is gone
}

// Serve answers a SUBSCRIBE with a stream and stays until it ends.
func (s *Streams) Serve(w http.ResponseWriter, r *http.Request, c codec.Codec, principal string, call *schedulerpb.Call) error {
	limit := s.Limit
	if limit == 0 {
		limit = DefaultStreamLimit
	}
	id := state.Stream(uuid.NewString())
	st := &stream{
		Stream:  eventstream.New[*schedulerpb.Event](w, c, orDefault(s.Stall, DefaultStall), limit),
		unacked: make(map[string]string),
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	if s.all == nil {
		s.all = make(map[state.Stream]*stream)
	}
	s.all[id] = st
	s.mu.Unlock()

	h := w.Header()
	h.Set("Content-Type", c.String())
	h.Set("Mesos-Stream-Id", string(id))
	h.Set(schedulerpb.ExtensionsHeader, schedulerpb.Acknowledgements)
	w.WriteHeader(http.StatusOK)
	err := http.NewResponseController(w).Flush()
	if err == nil {
		err = s.Submit(r.Context(), state.Subscribe{Stream: id, Principal: principal, Call: call})
	}
	if err == nil {
		err = s.write(r.Context(), st)
	}

	s.mu.Lock()
	delete(s.all, id)
	s.mu.Unlock()
	left := st.Close(err)
	st.mu.Lock()
	s.Unacked.Add(-int64(len(st.unacked)))
	st.framework, st.unacked = "", nil
	st.mu.Unlock()

	if left.Slow {
		s.CutOff.Add(1)
		s.Log.Warn("framework stream cut off: it reads too slowly",
			"framework", call.GetSubscribe().GetFrameworkInfo().GetName(), "stream", string(id), "waiting_bytes", left.Waiting)
	}
	if !left.Ended {
		// The request's context is over; only the loop's end makes this fail, and
		// then nobody is left to be told.
		_ = s.Submit(context.WithoutCancel(r.Context()), state.StreamClosed{Stream: id})
	}
	if err != nil {
		// No end-of-body mark: the client must not take this for an orderly end.
		panic(http.ErrAbortHandler)
	}
	return nil
}

// write writes events, and heartbeats from SUBSCRIBED on. It returns nil after an orderly
// end.
func (s *Streams) write(ctx context.Context, st *stream) error {
	pause := orDefault(s.Heartbeat, DefaultHeartbeat)
	tick := time.NewTicker(pause)
	defer tick.Stop()
	subscribed := false
	return st.Write(ctx, eventstream.Own[*schedulerpb.Event]{
		Expand: func(e *schedulerpb.Event, add func(*schedulerpb.Event) error) error {
			for part := range split(e) {
				if err := add(part); err != nil {
					return err
				}
			}
			if e.GetType() == schedulerpb.Event_SUBSCRIBED && !subscribed {
				subscribed = true
				listen.Keep(listen.Conn(ctx))
				tick.Reset(pause)
				return add(heartbeat)
			}
			return nil
		},
		Whole: func(e *schedulerpb.Event) bool { return e.GetType() == schedulerpb.Event_UPDATE },
		Tick:  tick.C,
		Ticked: func(add func(*schedulerpb.Event) error) error {
			if subscribed {
				return add(heartbeat)
			}
			return nil
		},
	})
}

// split yields e, or its offers in several events if there are many.
func split(e *schedulerpb.Event) func(func(*schedulerpb.Event) bool) {
	return func(yield func(*schedulerpb.Event) bool) {
		offers := e.GetOffers().GetOffers()
		if len(offers) <= maxOffers {
			yield(e)
			return
		}
		for len(offers) > 0 {
			n := min(len(offers), maxOffers)
			part := &schedulerpb.Event{Type: e.Type, Offers: &schedulerpb.Event_Offers{Offers: offers[:n]}}
			if !yield(part) {
				return
			}
			offers = offers[n:]
		}
	}
}

func (s *Streams) get(id state.Stream) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[id]
}

// Send queues an event, which must not change afterwards. It never waits; a stream that
// has more than Limit bytes waiting is cut off, one that is gone takes nothing.
func (s *Streams) Send(id state.Stream, e *schedulerpb.Event) {
	st := s.get(id)
	if st == nil {
		return
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if id := e.GetSubscribed().GetFrameworkId(); id != nil {
		st.framework = id.GetValue()
	}
	// Counted before it is sent, so that who has received it finds it counted.
	if status := e.GetUpdate().GetStatus(); len(status.GetUuid()) > 0 && st.unacked != nil {
		task := status.GetTaskId().GetValue()
		if _, ok := st.unacked[task]; !ok {
			s.Unacked.Add(1)
		}
		st.unacked[task] = string(status.GetUuid())
	}
	st.Send(e)
}

// Acknowledged notes an ACKNOWLEDGE on the stream. It returns false, and notes nothing, if
// this is not the subscription of the framework whose call it is, as far as that was told.
func (s *Streams) Acknowledged(id state.Stream, call *schedulerpb.Call) bool {
	st := s.get(id)
	if st == nil {
		return false
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.framework == "" || st.framework != call.GetFrameworkId().GetValue() {
		return false
	}
	if call.Acknowledge != nil {
		s.acknowledged(st, call.Acknowledge)
	}
	for _, a := range call.Acknowledgements {
		s.acknowledged(st, a)
	}
	return true
}

func (s *Streams) acknowledged(st *stream, a *schedulerpb.Call_Acknowledge) {
	task := a.GetTaskId().GetValue()
	if got, ok := st.unacked[task]; ok && got == string(a.GetUuid()) {
		delete(st.unacked, task)
		s.Unacked.Add(-1)
	}
}

// Close ends a stream in order: what is queued is sent, then the body ends. No
// StreamClosed follows, because the core knows.
func (s *Streams) Close(id state.Stream) {
	if st := s.get(id); st != nil {
		st.mu.Lock()
		st.framework = ""
		st.mu.Unlock()
		st.End()
	}
}

var errGoingDown = errors.New("the master is going down")

// CloseAll ends every stream at once, whatever is queued, and refuses new ones.
func (s *Streams) CloseAll() {
	s.mu.Lock()
	s.closed = true
	all := make([]*stream, 0, len(s.all))
	for _, st := range s.all {
		all = append(all, st)
	}
	s.mu.Unlock()
	for _, st := range all {
		st.Cut(errGoingDown)
	}
}

// Len is the number of open streams.
func (s *Streams) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

func orDefault(d, or time.Duration) time.Duration {
	if d == 0 {
		return or
	}
	return d
}
