package http

import (
	"bufio"
	"bytes"
	"context"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/internal/codec"
	"github.com/stoa-kernel/stoa/master/state"
	"github.com/stoa-kernel/stoa/master/validate"
)

// IdleTimeout is for how long a connection may be quiet between two requests: a framework's
// second one may be for long.
const IdleTimeout = 30 * time.Minute

// partial is how long the rest of a request is waited for before net/http has to.
const partial = time.Second

// acknowledge answers an ACKNOWLEDGE of the framework that subscribed on the stream as soon
// as the loop has it: nothing but that could be refused, and 202 promises no more. There is
// one for every status update, so waiting for the loop is dear. It returns false if it is
// for the core to judge.
func (s *Server) acknowledge(w http.ResponseWriter, r *http.Request, stream state.Stream, call *schedulerpb.Call) bool {
	if !s.Streams.Acknowledged(stream, call) {
		return false
	}
	if err := s.desk.tell(r.Context(), s.Submit, state.Call{Stream: stream, Call: call}); err != nil {
		s.unanswered(r.Context(), w, err)
		return true
	}
	if !s.more(w, r, stream) {
		w.WriteHeader(http.StatusAccepted) // and with it a Content-Length of 0
	}
	return true
}

// more takes the connection of an ACKNOWLEDGE that was received, answers it, and serves
// those that follow, as long as nothing but them comes. Frameworks made for Mesos post one
// for each update with the same header, and net/http takes several times as long over each
// as the master does. All else, and whatever is in doubt, goes back to net/http as it came.
// It returns false if it did not take the connection.
func (s *Server) more(w http.ResponseWriter, r *http.Request, stream state.Stream) bool {
	if r.TLS != nil || r.Close || !r.ProtoAtLeast(1, 1) || r.ContentLength < 0 {
		return false
	}
	for _, header := range []string{"Expect", "Trailer", "Upgrade"} {
		if _, ok := r.Header[header]; ok {
			return false
		}
	}
	for _, value := range r.Header["Connection"] {
		if !strings.EqualFold(value, "keep-alive") { // which says nothing
			return false
		}
	}
	kind, ok := codec.Of(r.Header.Get("Content-Type"))
	if !ok {
		return false
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return false
	}
	if !s.taken.add(conn) {
		conn.Close() // the process ends
		return true
	}
	f := &follower{server: s, conn: conn, in: buffered.Reader, like: r, codec: kind, stream: stream}
	f.answer()
	back := f.serve(r.Context()) && conn.SetDeadline(time.Time{}) == nil
	s.taken.remove(conn)
	if !back {
		conn.Close()
		return true
	}
	rest, _ := f.in.Peek(f.in.Buffered()) // no error: so much is there
	s.Back(conn, bytes.Clone(rest))
	return true
}

// follower serves acknowledgements on one connection.
type follower struct {
	server *Server
	conn   net.Conn
	in     *bufio.Reader
	codec  codec.Codec
	stream state.Stream

	// like is the request that net/http let pass. Once another was found to have the same
	// header, before and after are its bytes around the digits of Content-Length.
	like          *http.Request
	before, after []byte

	out    []byte // answers that are not sent yet
	text   []byte // an answer in this second
	second int64
}

// serve answers acknowledgements. It returns true if what comes next is for net/http, false if the connection has ended.
func (f *follower) serve(ctx context.Context) (back bool) {
	var late time.Time // for the rest of a request, once it has begun
	for {
		have, _ := f.in.Peek(f.in.Buffered()) // no error: so much is there
		head, length, ok := f.header(have)
		switch {
		case !ok || head+length > f.in.Size():
			return f.flush()
		case head > 0 && len(have) >= head+length:
			if !f.take(ctx, have[head:head+length]) {
				return f.flush()
			}
			_, _ = f.in.Discard(head + length) // no error: so much is there
			late = time.Time{}
			if f.answer(); len(f.out) > chunk && !f.flush() {
				return false
			}
		default:
			until := late
			switch now := time.Now(); {
			case len(have) == 0:
				until = now.Add(IdleTimeout)
			case late.IsZero():
				late = now.Add(partial)
				until = late
			}
			if !f.flush() || f.conn.SetReadDeadline(until) != nil {
				return false
			}
			if _, err := f.in.Peek(len(have) + 1); err != nil {
				return len(have) > 0
			}
		}
	}
}

// chunk is how much of answers is held back while there are more requests.
const chunk = 4 << 10

// header measures the request that have begins with: its header, 0 if that is not all there
// yet, and its body. ok is false if the header is not like those before.
func (f *follower) header(have []byte) (head, length int, ok bool) {
	end := bytes.Index(have, blankLine)
	if end < 0 {
		return 0, 0, len(have) < f.in.Size()
	}
	h := have[:end+len(blankLine)]
	if f.before == nil && !f.learn(h) {
		return 0, 0, false
	}
	digits := len(h) - len(f.before) - len(f.after)
	if digits < 1 || digits > 4 || !bytes.HasPrefix(h, f.before) || !bytes.HasSuffix(h, f.after) {
		return 0, 0, false
	}
	for _, d := range h[len(f.before) : len(f.before)+digits] {
		if d < '0' || d > '9' {
			return 0, 0, false
		}
		length = 10*length + int(d-'0')
	}
	return len(h), length, true
}

var (
	blankLine     = []byte("\r\n\r\n")
	contentLength = []byte("\r\nContent-Length: ")
)

// learn keeps the bytes of a header that says what the first request's did, but for the
// length of the body.
func (f *follower) learn(head []byte) bool {
	at := bytes.Index(head, contentLength)
	// net/http passes over a second length that is the same; the next one's may not be.
	if at < 0 || bytes.Count(bytes.ToLower(head), []byte("content-length")) > 1 {
		return false
	}
	at += len(contentLength)
	in := bufio.NewReader(bytes.NewReader(head))
	r, err := http.ReadRequest(in)
	if err != nil || in.Buffered() > 0 {
		return false
	}
	first := f.like
	same := r.Method == first.Method && r.RequestURI == first.RequestURI && r.Proto == first.Proto && r.Host == first.Host &&
		len(r.TransferEncoding) == 0 && len(first.TransferEncoding) == 0 && len(r.Header["Content-Length"]) == 1
	ours, theirs := first.Header.Clone(), r.Header
	delete(ours, "Content-Length")
	delete(theirs, "Content-Length")
	if !same || !maps.EqualFunc(ours, theirs, slices.Equal[[]string]) {
		return false
	}
	digits := bytes.IndexByte(head[at:], '\r')
	f.before, f.after = bytes.Clone(head[:at]), bytes.Clone(head[at+digits:])
	return true
}

// take hands a call to the loop. It returns false if net/http has to see it: it is another
// call, a wrong one, or the loop has ended.
func (f *follower) take(ctx context.Context, body []byte) bool {
	s := f.server
	if status := s.Status(); !status.Leading || !status.Recovered {
		return false
	}
	call := new(schedulerpb.Call)
	if f.codec.Unmarshal(body, call) != nil || call.GetType() != schedulerpb.Call_ACKNOWLEDGE || validate.Call(call) != nil {
		return false
	}
	return s.Streams.Acknowledged(f.stream, call) &&
		s.desk.tell(ctx, s.Submit, state.Call{Stream: f.stream, Call: call}) == nil
}

// answer says 202 as net/http does.
func (f *follower) answer() {
	if now := time.Now(); now.Unix() != f.second {
		f.second = now.Unix()
		f.text = now.UTC().AppendFormat(append(f.text[:0], "HTTP/1.1 202 Accepted\r\nDate: "...), http.TimeFormat)
		f.text = append(f.text, "\r\nContent-Length: 0\r\n\r\n"...)
	}
	f.out = append(f.out, f.text...)
}

// flush sends the answers; it returns false if the client does not take them.
func (f *follower) flush() bool {
	if len(f.out) == 0 {
		return true
	}
	err := f.conn.SetWriteDeadline(time.Now().Add(f.server.Limits.WriteTimeout))
	if err == nil {
		_, err = f.conn.Write(f.out)
	}
	f.out = f.out[:0]
	return err == nil
}

// taken are the connections that were taken from net/http, which does not close them.
type taken struct {
	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]struct{}
	open   sync.WaitGroup
}

// add returns false if there are to be none any more.
func (t *taken) add(c net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	if t.conns == nil {
		t.conns = make(map[net.Conn]struct{})
	}
	t.conns[c] = struct{}{}
	t.open.Add(1)
	return true
}

func (t *taken) remove(c net.Conn) {
	t.mu.Lock()
	delete(t.conns, c)
	t.mu.Unlock()
	t.open.Done()
}

// CloseTaken ends what http.Server.Shutdown does not know of: connections on which
// acknowledgements follow each other. It waits until all are gone.
func (s *Server) CloseTaken() {
	s.taken.mu.Lock()
	s.taken.closed = true
	for c := range s.taken.conns {
		c.Close()
	}
	s.taken.mu.Unlock()
	s.taken.open.Wait()
}
