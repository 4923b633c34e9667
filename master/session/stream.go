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
	"github.com/stoa-kernel/stoa/internal/recordio"
	"github.com/stoa-kernel/stoa/master/state"
	"google.golang.org/protobuf/proto"
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

type stream struct {
	id    state.Stream
	codec codec.Codec
	name  string // the framework's, for the log
	wake  chan struct{}
	abort func() // unblocks a write; only under mu and before gone

	mu      sync.Mutex
	queue   []waiting
	bytes   int
	ending  bool   // by the core: close after what is queued
	cut     string // why it must end at once, "" if it need not
	slow    bool   // cut because the peer is slow
	gone    bool   // the handler has returned
	unacked map[string]string
}

// waiting is an event in a queue and what it counts for there.
type waiting struct {
	event *schedulerpb.Event
	size  int
}

// Serve answers a SUBSCRIBE with a stream and stays until it ends.
func (s *Streams) Serve(w http.ResponseWriter, r *http.Request, c codec.Codec, principal string, call *schedulerpb.Call) error {
	control := http.NewResponseController(w)
	st := &stream{
		id:      state.Stream(uuid.NewString()),
		codec:   c,
		name:    call.GetSubscribe().GetFrameworkInfo().GetName(),
		wake:    make(chan struct{}, 1),
		unacked: make(map[string]string),
		abort:   func() { _ = control.SetWriteDeadline(time.Unix(1, 0)) },
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	if s.all == nil {
		s.all = make(map[state.Stream]*stream)
	}
	s.all[st.id] = st
	s.mu.Unlock()

	h := w.Header()
	h.Set("Content-Type", c.String())
	h.Set("Mesos-Stream-Id", string(st.id))
	w.WriteHeader(http.StatusOK)
	err := control.Flush()
	if err == nil {
		err = s.Submit(r.Context(), state.Subscribe{Stream: st.id, Principal: principal, Call: call})
	}
	if err == nil {
		err = s.write(w, r, control, st)
	}

	s.mu.Lock()
	delete(s.all, st.id)
	s.mu.Unlock()
	st.mu.Lock()
	st.gone = true
	slow, cut, ending, waiting := st.slow, st.cut, st.ending, st.bytes
	s.Unacked.Add(-int64(len(st.unacked)))
	st.unacked, st.queue = nil, nil
	st.mu.Unlock()

	if slow || stalled(err) && cut == "" {
		s.CutOff.Add(1)
		s.Log.Warn("framework stream cut off: it reads too slowly",
			"framework", st.name, "stream", string(st.id), "waiting_bytes", waiting)
	}
	if !ending {
		// The request's context is over; only the loop's end makes this fail, and
		// then nobody is left to be told.
		_ = s.Submit(context.WithoutCancel(r.Context()), state.StreamClosed{Stream: st.id})
	}
	if err != nil {
		// No end-of-body mark: the client must not take this for an orderly end.
		panic(http.ErrAbortHandler)
	}
	return nil
}

// write is the stream's one writer. It returns nil after an orderly end.
func (s *Streams) write(w http.ResponseWriter, r *http.Request, control *http.ResponseController, st *stream) error {
	stall := orDefault(s.Stall, DefaultStall)
	tick := time.NewTicker(orDefault(s.Heartbeat, DefaultHeartbeat))
	defer tick.Stop()
	subscribed := false
	var out, record []byte

	send := func(b []byte) error {
		for len(b) > 0 {
			st.mu.Lock()
			if st.cut != "" {
				st.mu.Unlock()
				return errors.New(st.cut)
			}
			err := control.SetWriteDeadline(time.Now().Add(stall))
			st.mu.Unlock()
			if err != nil {
				return err
			}
			n, err := w.Write(b[:min(len(b), chunk)])
			if err != nil {
				return err
			}
			b = b[n:]
		}
		return nil
	}
	add := func(e *schedulerpb.Event) error {
		var err error
		if record, err = st.codec.Append(record[:0], e); err != nil {
			return err
		}
		out = recordio.Append(out, record)
		if len(out) < chunk {
			return nil
		}
		err = send(out)
		out = out[:0]
		return err
	}

	for {
		st.mu.Lock()
		batch, cut, ending := st.queue, st.cut, st.ending
		st.queue = nil
		st.mu.Unlock()
		if cut != "" {
			return errors.New(cut)
		}
		for _, q := range batch {
			e := q.event
			for part := range split(e) {
				if err := add(part); err != nil {
					return err
				}
			}
			if e.GetType() == schedulerpb.Event_SUBSCRIBED && !subscribed {
				subscribed = true
				tick.Reset(orDefault(s.Heartbeat, DefaultHeartbeat))
				if err := add(heartbeat); err != nil {
					return err
				}
			}
			st.mu.Lock()
			st.bytes -= q.size
			st.mu.Unlock()
		}
		if len(batch) > 0 {
			continue // more may have come; flush when the queue is empty
		}
		if len(out) > 0 {
			if err := send(out); err != nil {
				return err
			}
			if out = out[:0]; cap(out) > 1<<20 {
				out, record = nil, nil // one huge event must not be paid for until the end
			}
			if err := control.Flush(); err != nil {
				return err
			}
			continue
		}
		if ending {
			return nil
		}
		select {
		case <-st.wake:
		case <-tick.C:
			if subscribed {
				if err := add(heartbeat); err != nil {
					return err
				}
			}
		case <-r.Context().Done():
			return r.Context().Err()
		}
	}
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
	limit := s.Limit
	if limit == 0 {
		limit = DefaultStreamLimit
	}
	size := proto.Size(e)
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.gone || st.ending || st.cut != "" {
		return
	}
	if st.bytes+size > limit {
		st.slow = true
		st.end("the stream's queue is full")
		return
	}
	st.queue = append(st.queue, waiting{e, size})
	st.bytes += size
	if status := e.GetUpdate().GetStatus(); len(status.GetUuid()) > 0 {
		task := status.GetTaskId().GetValue()
		if _, ok := st.unacked[task]; !ok {
			s.Unacked.Add(1)
		}
		st.unacked[task] = string(status.GetUuid())
	}
	st.poke()
}

// Acknowledged notes that an ACKNOWLEDGE on the stream was taken.
func (s *Streams) Acknowledged(id state.Stream, task string, uuid []byte) {
	st := s.get(id)
	if st == nil {
		return
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if got, ok := st.unacked[task]; ok && got == string(uuid) {
		delete(st.unacked, task)
		s.Unacked.Add(-1)
	}
}

// Close ends a stream in order: what is queued is sent, then the body ends. No
// StreamClosed follows, because the core knows.
func (s *Streams) Close(id state.Stream) {
	if st := s.get(id); st != nil {
		st.mu.Lock()
		st.ending = true
		st.poke()
		st.mu.Unlock()
	}
}

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
		st.mu.Lock()
		st.end("the master is going down")
		st.mu.Unlock()
	}
}

// Len is the number of open streams.
func (s *Streams) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// end makes the writer return; mu is held.
func (st *stream) end(why string) {
	if st.cut == "" && !st.gone {
		st.cut = why
		st.queue = nil
		st.abort()
		st.poke()
	}
}

func (st *stream) poke() {
	select {
	case st.wake <- struct{}{}:
	default:
	}
}

func orDefault(d, or time.Duration) time.Duration {
	if d == 0 {
		return or
	}
	return d
}
