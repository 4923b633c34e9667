package http

import (
	"context"
	"errors"
	"net/http"
	"os"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	executorpb "github.com/stoa-kernel/stoa/api/mesos/v1/executor"

	"github.com/stoa-kernel/stoa/agent/state"
	"github.com/stoa-kernel/stoa/internal/codec"
	"github.com/stoa-kernel/stoa/internal/recordio"
	"github.com/stoa-kernel/stoa/internal/request"
)

// chunk is the most that is written with one deadline.
const chunk = 64 << 10

// executor serves POST /api/v1/executor.
func (s *Server) executor(w http.ResponseWriter, r *http.Request) {
	if !s.ready(w, r) {
		return
	}
	call := &executorpb.Call{}
	release, refused := s.bodies.Call(w, r, call)
	defer release()
	if refused != nil {
		refused.Write(w)
		return
	}
	if missing := missing(call); missing != "" {
		request.Refuse(w, http.StatusBadRequest, "Failed to validate Executor::Call: Expecting '"+missing+"' to be present")
		return
	}
	switch call.GetType() {
	case executorpb.Call_SUBSCRIBE:
		c, ok := codec.Accept(r.Header.Values("Accept"))
		if !ok {
			request.Refuse(w, http.StatusNotAcceptable, "Expecting 'Accept' to allow '"+codec.Protobuf.String()+"' or '"+codec.JSON.String()+"'")
			return
		}
		s.subscribe(w, r, c, call, release)
	case executorpb.Call_HEARTBEAT:
		// Accepted whoever it names: executors send dummy ids, as Mesos's own does.
		w.WriteHeader(http.StatusAccepted)
	case executorpb.Call_UPDATE, executorpb.Call_MESSAGE:
		a := s.ask(r.Context(), func(t state.Token) state.Input { return state.ExecutorCall{Token: t, Call: call} })
		s.reply(w, a)
	default:
		request.Refuse(w, http.StatusNotImplemented, "Received an executor call of an unknown type")
	}
}

// missing names the field that the call's form demands. What an UPDATE must have inside
// is the core's business.
func missing(call *executorpb.Call) string {
	switch {
	case call.Type == nil:
		return "type"
	case call.GetType() == executorpb.Call_SUBSCRIBE && call.Subscribe == nil:
		return "subscribe"
	case call.GetType() == executorpb.Call_UPDATE && call.Update == nil:
		return "update"
	case call.GetType() == executorpb.Call_MESSAGE && call.Message == nil:
		return "message"
	}
	return ""
}

// ask submits an input and waits for its answer.
func (s *Server) ask(ctx context.Context, input func(state.Token) state.Input) answer {
	t, c := s.token()
	defer s.forget(t)
	if err := s.Submit(ctx, input(t)); err != nil {
		return answer{http.StatusServiceUnavailable, "The agent is going down"}
	}
	return s.await(ctx, c)
}

// reply writes the loop's answer. The time the loop took is not the client's.
func (s *Server) reply(w http.ResponseWriter, a answer) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.Limits.WriteTimeout))
	if a.message != "" {
		request.Refuse(w, a.status, a.message)
		return
	}
	w.WriteHeader(a.status)
}

// stream is one executor's subscription.
type stream struct {
	id    state.Stream
	wake  chan struct{}
	abort func() // unblocks a write; only under mu and before gone

	mu     sync.Mutex
	queue  []*executorpb.Event
	bytes  int
	ending bool  // by the core: close after what is queued
	cut    error // why it must end at once, nil if it need not
	gone   bool  // the handler has returned
}

func (st *stream) poke() {
	select {
	case st.wake <- struct{}{}:
	default:
	}
}

// end makes the writer return; mu is held.
func (st *stream) end(why error) {
	if st.cut == nil && !st.gone {
		st.cut, st.queue = why, nil
		st.abort()
		st.poke()
	}
}

var errClosed = errors.New("the agent is going down")

// open registers a stream, before its SUBSCRIBE reaches the loop.
func (s *Server) open(control *http.ResponseController) (*stream, error) {
	st := &stream{wake: make(chan struct{}, 1), abort: func() { _ = control.SetWriteDeadline(time.Unix(1, 0)) }}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	s.last++
	st.id = state.Stream(s.last)
	s.streams[st.id] = st
	return st, nil
}

func (s *Server) subscribe(w http.ResponseWriter, r *http.Request, c codec.Codec, call *executorpb.Call, release func()) {
	control := http.NewResponseController(w)
	st, err := s.open(control)
	if err != nil {
		request.Refuse(w, http.StatusServiceUnavailable, "The agent is going down")
		return
	}
	a := s.ask(r.Context(), func(t state.Token) state.Input {
		return state.ExecutorSubscribe{Token: t, Stream: st.id, Call: call}
	})
	release() // the call was taken; the stream may last
	if a.status != http.StatusOK {
		s.tell(r.Context(), st, s.drop(st))
		s.reply(w, a)
		return
	}
	// As on the master, the type of the stream is the type of its messages.
	w.Header().Set("Content-Type", c.String())
	w.WriteHeader(http.StatusOK)
	if err = control.Flush(); err == nil {
		err = s.write(r.Context(), w, control, st, c)
	}
	left := s.drop(st)
	if left.cut == errSlow || left.cut == nil && errors.Is(err, os.ErrDeadlineExceeded) {
		s.CutOff.Add(1)
		s.Log.Warn("executor stream cut off: it reads too slowly", "framework", call.GetFrameworkId().GetValue(),
			"executor", call.GetExecutorId().GetValue(), "waiting_bytes", left.bytes)
	}
	// What is logged and counted comes first: whoever hears that the stream is gone may
	// look for it.
	s.tell(r.Context(), st, left)
	if err != nil {
		// No end-of-body mark: the executor must not take this for an orderly end.
		panic(http.ErrAbortHandler)
	}
}

// remains are what was left of a stream when it ended.
type remains struct {
	bytes  int
	cut    error
	ending bool
}

// drop forgets a stream.
func (s *Server) drop(st *stream) remains {
	s.mu.Lock()
	delete(s.streams, st.id)
	s.mu.Unlock()
	st.mu.Lock()
	defer st.mu.Unlock()
	left := remains{st.bytes, st.cut, st.ending}
	st.gone, st.queue = true, nil
	return left
}

// tell lets the loop know of a stream's end, unless the loop ended it.
func (s *Server) tell(ctx context.Context, st *stream, left remains) {
	if !left.ending {
		// Fails only when the loop has ended and nobody is left to be told.
		_ = s.Submit(context.WithoutCancel(ctx), state.ExecutorGone{Stream: st.id})
	}
}

var errSlow = errors.New("the stream's queue is full")

// write is the stream's one writer. It returns nil after an orderly end.
func (s *Server) write(ctx context.Context, w http.ResponseWriter, control *http.ResponseController, st *stream, c codec.Codec) error {
	send := func(b []byte) error {
		for len(b) > 0 {
			// The deadline of one that is cut is in the past, and stays there.
			st.mu.Lock()
			err := st.cut
			if err == nil {
				err = control.SetWriteDeadline(time.Now().Add(s.Limits.WriteTimeout))
			}
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
	var out, record []byte
	for {
		st.mu.Lock()
		batch, cut, ending := st.queue, st.cut, st.ending
		st.queue = nil
		st.mu.Unlock()
		if cut != nil {
			return cut
		}
		for _, e := range batch {
			var err error
			if record, err = c.Append(record[:0], e); err != nil {
				return err
			}
			out = recordio.Append(out, record)
			if len(out) >= chunk {
				if err := send(out); err != nil {
					return err
				}
				out = out[:0]
			}
			st.mu.Lock()
			st.bytes -= proto.Size(e)
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
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Send queues an event, which must not change afterwards. A stream that has more than
// Limits.Stream bytes waiting is cut off; one that is gone takes nothing.
func (s *Server) Send(id state.Stream, e *executorpb.Event) {
	st := s.stream(id)
	if st == nil {
		return
	}
	size := proto.Size(e)
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case st.gone || st.ending || st.cut != nil:
	case st.bytes+size > s.Limits.Stream:
		st.end(errSlow)
	default:
		st.queue = append(st.queue, e)
		st.bytes += size
		st.poke()
	}
}

// CloseStream ends a stream in order: what is queued is sent, then the body ends. No
// ExecutorGone follows, because the core knows.
func (s *Server) CloseStream(id state.Stream) {
	if st := s.stream(id); st != nil {
		st.mu.Lock()
		st.ending = true
		st.poke()
		st.mu.Unlock()
	}
}

func (s *Server) stream(id state.Stream) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams[id]
}

// Streams is the number of open ones.
func (s *Server) Streams() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.streams)
}

// Close ends every stream at once and refuses new ones; requests that wait for the loop
// are answered 503. Executors take it for the end of the agent, and come back.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	all := make([]*stream, 0, len(s.streams))
	for _, st := range s.streams {
		all = append(all, st)
	}
	for t, c := range s.waiting {
		c <- answer{http.StatusServiceUnavailable, "The agent is going down"}
		delete(s.waiting, t)
	}
	s.mu.Unlock()
	for _, st := range all {
		st.mu.Lock()
		st.end(errClosed)
		st.mu.Unlock()
	}
}
