package link

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	agentpb "github.com/stoa-kernel/stoa/api/mesos/v1/agent"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"go.uber.org/goleak"

	"github.com/stoa-kernel/stoa/agent/state"
	"github.com/stoa-kernel/stoa/internal/frame"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// master accepts links.
type master struct {
	*httptest.Server
	links chan *peer

	mu  sync.Mutex
	all []net.Conn // a connection nobody refers to would be closed
}

// kept refers to a connection until the test ends.
func (m *master) kept(c net.Conn) net.Conn {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, c)
	return c
}

func (m *master) closeAll() {
	m.Server.Close()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.all {
		c.Close()
	}
}

// peer is the master's end of a link.
type peer struct {
	net.Conn
	*frame.Reader
	*frame.Writer
}

func (p *peer) send(t *testing.T, m *stoapb.ToAgent) {
	t.Helper()
	if err := errors.Join(p.Writer.Write(m), p.Flush()); err != nil {
		t.Fatal(err)
	}
}

func (p *peer) receive(t *testing.T) *stoapb.ToMaster {
	t.Helper()
	m := &stoapb.ToMaster{}
	if err := p.Reader.Read(m); err != nil {
		t.Fatal(err)
	}
	return m
}

func newMaster(t *testing.T) *master {
	m := &master{links: make(chan *peer, 8)}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "POST" || r.URL.Path != frame.Path || r.Header.Get("Upgrade") != frame.Protocol {
			t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
		}
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+frame.Protocol+"\r\n\r\n")
		m.links <- &peer{m.kept(conn), frame.NewReader(rw.Reader), frame.NewWriter(conn)}
	}))
	t.Cleanup(m.closeAll)
	return m
}

func address(s *httptest.Server) string { return strings.TrimPrefix(s.URL, "http://") }

// agent is a client whose loop is the test.
type agent struct {
	*Client
	inputs chan state.Input
	stop   func()
}

func start(t *testing.T, c *Client) *agent {
	t.Helper()
	a := &agent{Client: c, inputs: make(chan state.Input, 1024)}
	c.Log = slog.New(slog.DiscardHandler)
	c.Submit = func(ctx context.Context, in state.Input) error {
		select {
		case a.inputs <- in:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if c.Files == nil {
		c.Files = func(*agentpb.Call) (int, *agentpb.Response, string) { return 404, nil, "nothing here" }
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { c.Run(ctx) })
	a.stop = func() {
		cancel()
		running.Wait()
	}
	t.Cleanup(a.stop)
	return a
}

func next[T state.Input](t *testing.T, a *agent) T {
	t.Helper()
	in := <-a.inputs
	got, ok := in.(T)
	if !ok {
		t.Fatalf("input %#v, want %T", in, got)
	}
	return got
}

func pong(n uint64) *stoapb.ToMaster {
	return &stoapb.ToMaster{Body: &stoapb.ToMaster_Pong{Pong: &stoapb.Pong{Seq: &n}}}
}

func ping(n uint64) *stoapb.ToAgent {
	return &stoapb.ToAgent{Body: &stoapb.ToAgent_Ping{Ping: &stoapb.Ping{Seq: &n}}}
}

func TestFrames(t *testing.T) {
	m := newMaster(t)
	a := start(t, &Client{Masters: []string{address(m.Server)}})
	p := <-m.links
	up := next[state.LinkUp](t, a)
	if !a.Up.Load() {
		t.Error("not up")
	}
	for n := range uint64(500) {
		a.Send(up.Link, pong(n))
		p.send(t, ping(n))
	}
	p.send(t, &stoapb.ToAgent{}) // of a kind this version does not know
	a.Send(up.Link+1, pong(999)) // another connection's
	for n := range uint64(500) {
		if got := p.receive(t).GetPong().GetSeq(); got != n {
			t.Fatalf("master got %d, want %d", got, n)
		}
		if f := next[state.Frame](t, a); f.Link != up.Link || f.Msg.GetPing().GetSeq() != n {
			t.Fatalf("agent got %v, want %d", f, n)
		}
	}
	p.Close()
	if down := next[state.LinkDown](t, a); down.Link != up.Link {
		t.Fatalf("%v down, %v was up", down, up)
	}
	// It comes again, as another link.
	p = <-m.links
	again := next[state.LinkUp](t, a)
	if again.Link <= up.Link {
		t.Fatalf("link %d after %d", again.Link, up.Link)
	}
	a.Send(up.Link, pong(1)) // of the old link: dropped
	a.Send(again.Link, pong(2))
	if got := p.receive(t).GetPong().GetSeq(); got != 2 {
		t.Fatalf("got %d", got)
	}
	a.Drop(up.Link) // the old link: nothing happens
	a.Drop(again.Link)
	next[state.LinkDown](t, a)
	<-m.links
	up = next[state.LinkUp](t, a)
	a.stop()
	if down := next[state.LinkDown](t, a); down.Link != up.Link {
		t.Fatalf("%v down, %v was up", down, up)
	}
}

// TestRedirect: any master leads to the leader; one that is dead is passed over.
func TestRedirect(t *testing.T) {
	leader := newMaster(t)
	follower := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "//"+address(leader.Server)+r.URL.Path)
		w.WriteHeader(http.StatusTemporaryRedirect)
	}))
	defer follower.Close()
	dead := httptest.NewServer(nil)
	dead.Close()
	a := start(t, &Client{Masters: []string{address(dead), address(follower)}})
	<-leader.links
	next[state.LinkUp](t, a)
}

// TestRefusals: whatever a master answers, the next attempt may succeed.
func TestRefusals(t *testing.T) {
	good := newMaster(t)
	answers := []string{
		"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 17\r\n\r\nNo leader elected",
		"HTTP/1.1 307 Temporary Redirect\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 307 Temporary Redirect\r\nLocation: %%%\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: stoa-link/2\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nX: " + strings.Repeat("x", maxHead) + "\r\n\r\n",
		"SSH-2.0-OpenSSH\r\n",
		"",
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var serving sync.WaitGroup
	defer serving.Wait()
	serving.Go(func() {
		for n := 0; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
				t.Error(err)
			}
			if n < len(answers) {
				io.WriteString(conn, answers[n])
			} else {
				fmt.Fprintf(conn, "HTTP/1.1 307 Temporary Redirect\r\nLocation: //%s/\r\nContent-Length: 0\r\n\r\n", address(good.Server))
			}
			conn.Close()
		}
	})
	a := start(t, &Client{Masters: []string{l.Addr().String()}})
	<-good.links
	next[state.LinkUp](t, a)
	a.stop()
	l.Close()
}

// A master that vanishes without a word must not be taken for a quiet one.
func TestUnacknowledgedBytesBreakTheConnection(t *testing.T) {
	m := newMaster(t)
	c := &Client{}
	conn, _, _, err := c.upgrade(t.Context(), address(m.Server))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		const tcpUserTimeout = 0x12 // linux/tcp.h
		if got, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout); err != nil || got != 30_000 {
			t.Errorf("TCP_USER_TIMEOUT is %d ms, %v", got, err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestRedirectLoop(t *testing.T) {
	var loop *httptest.Server
	loop = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "//"+address(loop)+r.URL.Path)
		w.WriteHeader(http.StatusTemporaryRedirect)
	}))
	defer loop.Close()
	_, _, err := (&Client{}).dial(t.Context(), address(loop))
	if err == nil || !strings.Contains(err.Error(), "more than 5 redirects") {
		t.Fatal(err)
	}
}

// TestSilentMaster: one that accepts and says nothing costs the timeout.
func TestSilentMaster(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := &Client{Timeout: 20 * time.Millisecond}
	if _, _, err := c.dial(t.Context(), l.Addr().String()); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Fatal(err)
	}
}

// TestSlowMaster: one that takes nothing loses the link, by the queue or by time.
func TestSlowMaster(t *testing.T) {
	big := &stoapb.ToMaster{Body: &stoapb.ToMaster_ExecutorMessage{ExecutorMessage: &stoapb.ExecutorMessage{Data: make([]byte, 1<<20)}}}
	for name, c := range map[string]*Client{
		"queue": {Limit: 4 << 20},
		"time":  {Limit: 1 << 30, Timeout: 50 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMaster(t)
			c.Masters = []string{address(m.Server)}
			a := start(t, c)
			defer (<-m.links).Close() // and never read
			up := next[state.LinkUp](t, a)
			for range 60 {
				a.Send(up.Link, big)
			}
			if down := next[state.LinkDown](t, a); down.Link != up.Link {
				t.Fatalf("%v down", down)
			}
		})
	}
}

// TestTooLong: a frame that fits nowhere is dropped, the others arrive.
func TestTooLong(t *testing.T) {
	m := newMaster(t)
	a := start(t, &Client{Masters: []string{address(m.Server)}})
	p := <-m.links
	up := next[state.LinkUp](t, a)
	a.Send(up.Link, &stoapb.ToMaster{Body: &stoapb.ToMaster_ExecutorMessage{ExecutorMessage: &stoapb.ExecutorMessage{Data: make([]byte, frame.Max)}}})
	a.Send(up.Link, pong(7))
	if got := p.receive(t).GetPong().GetSeq(); got != 7 {
		t.Fatal(got)
	}
}

// TestFiles: operators are answered without the loop, in any order, and not without
// bound.
func TestFiles(t *testing.T) {
	m := newMaster(t)
	release := make(chan struct{})
	a := start(t, &Client{Masters: []string{address(m.Server)}, Files: func(call *agentpb.Call) (int, *agentpb.Response, string) {
		if call.GetType() == agentpb.Call_GET_HEALTH {
			return 501, nil, "not about files"
		}
		<-release
		return 200, &agentpb.Response{Type: agentpb.Response_LIST_FILES.Enum()}, ""
	}})
	p := <-m.links
	next[state.LinkUp](t, a)
	ask := func(id uint64, kind agentpb.Call_Type) {
		p.send(t, &stoapb.ToAgent{Body: &stoapb.ToAgent_FilesRequest{FilesRequest: &stoapb.FilesRequest{Id: &id, Call: &agentpb.Call{Type: kind.Enum()}}}})
	}
	ask(1, agentpb.Call_GET_HEALTH)
	if r := p.receive(t).GetFilesReply(); r.GetId() != 1 || r.GetStatus() != 501 || r.GetMessage() != "not about files" {
		t.Fatal(r)
	}
	const most = files + waiting
	for id := range uint64(most + 10) {
		ask(id, agentpb.Call_LIST_FILES)
	}
	// Readers take theirs from the queue sooner or later, so that of the ten too many
	// at least six find it full.
	for range 10 - files {
		if r := p.receive(t).GetFilesReply(); r.GetStatus() != 503 {
			t.Fatal(r)
		}
	}
	p.send(t, ping(1)) // the loop's frames pass by those that wait
	next[state.Frame](t, a)
	close(release)
	got := map[uint64]bool{}
	for range most + files { // all that is still to come
		r := p.receive(t).GetFilesReply()
		if r.GetStatus() == 503 {
			continue
		}
		if r.GetStatus() != 200 || got[r.GetId()] || r.GetResponse().GetType() != agentpb.Response_LIST_FILES {
			t.Fatal(r)
		}
		got[r.GetId()] = true
	}
	if len(got) < waiting {
		t.Fatalf("%d answers", len(got))
	}
}
