package http

import (
	"context"
	"errors"
	"net/http"
	"time"

	executorpb "github.com/stoa-kernel/stoa/api/mesos/v1/executor"

	"github.com/stoa-kernel/stoa/agent/state"
	"github.com/stoa-kernel/stoa/internal/codec"
	"github.com/stoa-kernel/stoa/internal/eventstream"
	"github.com/stoa-kernel/stoa/internal/listen"
	"github.com/stoa-kernel/stoa/internal/request"
)

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
type stream = eventstream.Stream[*executorpb.Event]

var errClosed = errors.New("the agent is going down")

// open registers a stream, before its SUBSCRIBE reaches the loop.
func (s *Server) open(w http.ResponseWriter, c codec.Codec) (state.Stream, *stream, error) {
	st := eventstream.New[*executorpb.Event](w, c, s.Limits.WriteTimeout, s.Limits.Stream)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, nil, errClosed
	}
	s.last++
	s.streams[state.Stream(s.last)] = st
	return state.Stream(s.last), st, nil
}

func (s *Server) subscribe(w http.ResponseWriter, r *http.Request, c codec.Codec, call *executorpb.Call, release func()) {
	id, st, err := s.open(w, c)
	if err != nil {
		request.Refuse(w, http.StatusServiceUnavailable, "The agent is going down")
		return
	}
	a := s.ask(r.Context(), func(t state.Token) state.Input {
		return state.ExecutorSubscribe{Token: t, Stream: id, Call: call}
	})
	release() // the call was taken; the stream may last
	if a.status != http.StatusOK {
		s.tell(r.Context(), id, s.drop(id, st, nil))
		s.reply(w, a)
		return
	}
	listen.Keep(listen.Conn(r.Context()))
	// As on the master, the type of the stream is the type of its messages.
	w.Header().Set("Content-Type", c.String())
	w.WriteHeader(http.StatusOK)
	if err = http.NewResponseController(w).Flush(); err == nil {
		err = st.Write(r.Context(), eventstream.Own[*executorpb.Event]{})
	}
	left := s.drop(id, st, err)
	if left.Slow {
		s.CutOff.Add(1)
		s.Log.Warn("executor stream cut off: it reads too slowly", "framework", call.GetFrameworkId().GetValue(),
			"executor", call.GetExecutorId().GetValue(), "waiting_bytes", left.Waiting)
	}
	// What is logged and counted comes first: whoever hears that the stream is gone may
	// look for it.
	s.tell(r.Context(), id, left)
	if err != nil {
		// No end-of-body mark: the executor must not take this for an orderly end.
		panic(http.ErrAbortHandler)
	}
}

// drop forgets a stream that ended with err.
func (s *Server) drop(id state.Stream, st *stream, err error) eventstream.Left {
	s.mu.Lock()
	delete(s.streams, id)
	s.mu.Unlock()
	return st.Close(err)
}

// tell lets the loop know of a stream's end, unless the loop ended it.
func (s *Server) tell(ctx context.Context, id state.Stream, left eventstream.Left) {
	if !left.Ended {
		// Fails only when the loop has ended and nobody is left to be told.
		_ = s.Submit(context.WithoutCancel(ctx), state.ExecutorGone{Stream: id})
	}
}

// Send queues an event, which must not change afterwards. A stream that has more than
// Limits.Stream bytes waiting is cut off; one that is gone takes nothing.
func (s *Server) Send(id state.Stream, e *executorpb.Event) {
	if st := s.stream(id); st != nil {
		st.Send(e)
	}
}

// CloseStream ends a stream in order: what is queued is sent, then the body ends. No
// ExecutorGone follows, because the core knows.
func (s *Server) CloseStream(id state.Stream) {
	if st := s.stream(id); st != nil {
		st.End()
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
		st.Cut(errClosed)
	}
}
