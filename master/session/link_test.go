package session_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/internal/frame"
	"github.com/stoa-kernel/stoa/master/session"
	"github.com/stoa-kernel/stoa/master/state"
	"google.golang.org/protobuf/proto"
)

func links(t *testing.T) (*session.Links, *httptest.Server, inputs, *log) {
	t.Helper()
	in, out := make(inputs, 16), new(log)
	l := &session.Links{Submit: in.submit, Log: out.logger()}
	server := serve(t, l.Serve)
	t.Cleanup(l.CloseAll)
	return l, server, in, out
}

// peer is an agent's end.
type peer struct {
	t    *testing.T
	conn net.Conn
	*frame.Reader
	w *frame.Writer
}

func upgrade(t *testing.T, server *httptest.Server) *peer {
	t.Helper()
	conn := dial(t, server)
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: m\r\nConnection: keep-alive, Upgrade\r\nUpgrade: %s\r\nContent-Length: 0\r\n\r\n", frame.Path, frame.Protocol)
	r := bufio.NewReader(conn)
	w, err := http.ReadResponse(r, nil)
	if err != nil || w.StatusCode != http.StatusSwitchingProtocols || w.Header.Get("Upgrade") != frame.Protocol {
		t.Fatalf("upgrade: %v %v", w, err)
	}
	return &peer{t, conn, frame.NewReader(r), frame.NewWriter(conn)}
}

func (p *peer) send(m *stoapb.ToMaster) {
	p.t.Helper()
	if err := errors.Join(p.w.Write(m), p.w.Flush()); err != nil {
		p.t.Fatal(err)
	}
}

func register() *stoapb.ToMaster {
	return &stoapb.ToMaster{Body: &stoapb.ToMaster_Register{Register: &stoapb.Register{BootId: proto.String("b")}}}
}

func pong(n uint64) *stoapb.ToMaster {
	return &stoapb.ToMaster{Body: &stoapb.ToMaster_Pong{Pong: &stoapb.Pong{Seq: proto.Uint64(n)}}}
}

func registered(agent string) *stoapb.ToAgent {
	return &stoapb.ToAgent{Body: &stoapb.ToAgent_Registered{Registered: &stoapb.Registered{AgentId: &mesos.AgentID{Value: proto.String(agent)}}}}
}

func work(n int) *stoapb.ToAgent {
	return &stoapb.ToAgent{Body: &stoapb.ToAgent_FrameworkMessage{FrameworkMessage: &stoapb.FrameworkMessage{Data: make([]byte, n)}}}
}

func connect(t *testing.T, server *httptest.Server, in inputs) (*peer, state.Link) {
	t.Helper()
	p := upgrade(t, server)
	p.send(register())
	hello, ok := in.next(t).(state.Hello)
	if !ok || hello.Register.GetBootId() != "b" {
		t.Fatalf("the core was told %v", hello)
	}
	return p, hello.Link
}

func wantClosed(t *testing.T, in inputs, link state.Link) {
	t.Helper()
	if closed, ok := in.next(t).(state.LinkClosed); !ok || closed.Link != link {
		t.Errorf("the core was told %v, want that link %d closed", closed, link)
	}
}

func TestFramesGoBothWaysInOrder(t *testing.T) {
	l, server, in, _ := links(t)
	p, link := connect(t, server, in)
	q, other := connect(t, server, in)
	if link == other {
		t.Fatal("two links with one number")
	}
	for i := range uint64(100) {
		l.Send(link, &stoapb.ToAgent{Body: &stoapb.ToAgent_Ping{Ping: &stoapb.Ping{Seq: proto.Uint64(i)}}})
	}
	l.Send(other, work(1))
	for i := range uint64(100) {
		var m stoapb.ToAgent
		if err := p.Read(&m); err != nil || m.GetPing().GetSeq() != i {
			t.Fatalf("frame %d: %v %v", i, &m, err)
		}
		p.send(pong(i))
		if f, ok := in.next(t).(state.Frame); !ok || f.Link != link || f.Msg.GetPong().GetSeq() != i {
			t.Fatalf("the core was told %v", f)
		}
	}
	var m stoapb.ToAgent
	if err := q.Read(&m); err != nil || m.GetFrameworkMessage() == nil {
		t.Fatalf("the other link got %v %v", &m, err)
	}
	p.conn.Close()
	wantClosed(t, in, link)
	l.Send(link, work(1)) // to nobody
	if l.Len() != 1 {
		t.Errorf("%d links, want 1", l.Len())
	}
}

func TestOnlyAnUpgradeIsALink(t *testing.T) {
	_, server, in, _ := links(t)
	for _, headers := range []string{
		"", "Upgrade: " + frame.Protocol + "\r\n", "Connection: Upgrade\r\nUpgrade: websocket\r\n", "Connection: Upgrade\r\nUpgrade: stoa-link/2\r\n",
	} {
		conn := dial(t, server)
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: m\r\n%sContent-Length: 0\r\n\r\n", frame.Path, headers)
		w, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		w.Body.Close()
		if w.StatusCode != http.StatusUpgradeRequired || w.Header.Get("Upgrade") != frame.Protocol {
			t.Errorf("%q: %d, want 426", headers, w.StatusCode)
		}
	}
	if len(in) != 0 {
		t.Errorf("the core was told %T", <-in)
	}
}

func TestABadFirstFrameEndsTheLink(t *testing.T) {
	l, server, in, _ := links(t)
	l.Hello = 50 * time.Millisecond
	for name, say := range map[string]func(*peer){
		"not Register": func(p *peer) { p.send(pong(1)) },
		"garbage":      func(p *peer) { io.WriteString(p.conn, "\x00\x00\x00\x03\xff\xff\xff") },
		"too long":     func(p *peer) { io.WriteString(p.conn, "\xff\xff\xff\xff") },
		"half a frame": func(p *peer) { io.WriteString(p.conn, "\x00\x00\x01\x00abc") }, // and then silence
		"silence":      func(*peer) {},
	} {
		p := upgrade(t, server)
		say(p)
		if err := p.Read(&stoapb.ToAgent{}); err == nil {
			t.Errorf("%s: the link goes on", name)
		}
	}
	if len(in) != 0 {
		t.Errorf("the core was told %T", <-in)
	}
}

func TestGarbageAndSilenceEndALink(t *testing.T) {
	l, server, in, out := links(t)
	p, link := connect(t, server, in)
	p.send(&stoapb.ToMaster{}) // of a newer agent: skipped
	if _, err := io.WriteString(p.conn, "\x00\x00\x00\x03\xff\xff\xff"); err != nil {
		t.Fatal(err)
	}
	wantClosed(t, in, link)
	if out.count("agent link broke") != 1 {
		t.Errorf("logged %d times, want once", out.count("agent link broke"))
	}
	l.CloseAll()

	l, server, in, out = links(t)
	l.Silence = 30 * time.Millisecond
	_, link = connect(t, server, in)
	wantClosed(t, in, link)
	if out.count("said nothing") != 1 {
		t.Errorf("logged %d times, want once", out.count("said nothing"))
	}
}

func TestCloseSendsWhatIsQueuedFirst(t *testing.T) {
	l, server, in, _ := links(t)
	p, link := connect(t, server, in)
	for range 20 {
		l.Send(link, work(50_000))
	}
	l.Send(link, &stoapb.ToAgent{Body: &stoapb.ToAgent_Refused{Refused: &stoapb.Refused{Message: proto.String("go away")}}})
	l.Close(link)
	l.Send(link, work(1)) // too late
	for range 20 {
		if err := p.Read(&stoapb.ToAgent{}); err != nil {
			t.Fatal(err)
		}
	}
	var m stoapb.ToAgent
	if err := p.Read(&m); err != nil || m.GetRefused().GetMessage() != "go away" {
		t.Fatalf("got %v %v", &m, err)
	}
	if err := p.Read(&m); err != io.EOF {
		t.Errorf("after the last frame: %v", err)
	}
	l.CloseAll()
	if len(in) != 0 {
		t.Errorf("the core was told %T of a link it closed itself", <-in)
	}
}

// fill sends until an agent that does not read has n bytes waiting.
func fill(l *session.Links, link state.Link, n int) {
	for sent := 0; sent < n; sent += 100_000 {
		l.Send(link, work(100_000))
	}
}

func TestLaunchesWaitForRoom(t *testing.T) {
	l, server, in, _ := links(t)
	l.RoomBytes, l.Limit, l.Stall = 1<<20, 1<<30, time.Hour
	p, link := connect(t, server, in)
	l.Send(link, registered("S0"))
	if err := l.Room(t.Context(), "S0"); err != nil {
		t.Fatalf("an idle agent has no room: %v", err)
	}
	if err := l.Room(t.Context(), "nobody"); err != nil {
		t.Fatalf("an unknown agent: %v, want no waiting", err)
	}
	fill(l, link, buffers)
	short, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if err := l.Room(short, "S0"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a full agent has room: %v", err)
	}
	waiting := make(chan error, 2)
	for range 2 {
		go func() { waiting <- l.Room(context.Background(), "S0") }()
	}
	for n := 0; n < buffers; n += 100_000 {
		if err := p.Read(&stoapb.ToAgent{}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := <-waiting; err != nil {
			t.Error(err)
		}
	}
	// And when the link breaks, the core decides.
	fill(l, link, buffers)
	go func() { waiting <- l.Room(context.Background(), "S0") }()
	p.conn.Close()
	if err := <-waiting; err != nil {
		t.Error(err)
	}
	wantClosed(t, in, link)
}

func TestAnAgentThatTakesNothingIsCutOff(t *testing.T) {
	for name, set := range map[string]func(*session.Links){
		"queue": func(l *session.Links) { l.Limit, l.Stall = 8<<20, time.Hour },
		"stall": func(l *session.Links) { l.Limit, l.Stall = 1<<30, 50*time.Millisecond },
	} {
		l, server, in, out := links(t)
		set(l)
		_, link := connect(t, server, in)
		l.Send(link, registered("S0"))
		fill(l, link, buffers)
		wantClosed(t, in, link)
		if l.CutOff.Load() != 1 || out.count("cut off") != 1 || out.count("agent=S0") == 0 {
			t.Errorf("%s: counted %d, logged %d times; want once each, with the agent", name, l.CutOff.Load(), out.count("cut off"))
		}
	}
}

func TestFilesNeedALink(t *testing.T) {
	l, server, in, _ := links(t)
	if _, err := l.Files(t.Context(), "S0", nil); !errors.Is(err, session.ErrNoLink) {
		t.Errorf("without a link: %v", err)
	}
	p, link := connect(t, server, in)
	l.Send(link, registered("S0"))
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := l.Files(short, "S0", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an agent that does not answer: %v", err)
	}
	broken := make(chan error, 1)
	go func() {
		_, err := l.Files(context.Background(), "S0", nil)
		broken <- err
	}()
	for range 3 { // Registered and both questions
		if err := p.Read(&stoapb.ToAgent{}); err != nil {
			t.Fatal(err)
		}
	}
	p.conn.Close()
	if err := <-broken; !errors.Is(err, session.ErrLinkLost) {
		t.Errorf("with the link broken: %v", err)
	}
	wantClosed(t, in, link)
}

// The newest link of an agent is the one that counts.
func TestAReconnectedAgentIsReachedOnItsNewLink(t *testing.T) {
	l, server, in, _ := links(t)
	old, first := connect(t, server, in)
	l.Send(first, registered("S0"))
	now, second := connect(t, server, in)
	l.Send(second, registered("S0"))
	old.conn.Close()
	wantClosed(t, in, first)
	done := make(chan *stoapb.FilesReply, 1)
	go func() {
		r, err := l.Files(context.Background(), "S0", nil)
		if err != nil {
			t.Error(err)
		}
		done <- r
	}()
	var m stoapb.ToAgent
	for m.GetFilesRequest() == nil {
		if err := now.Read(&m); err != nil {
			t.Fatal(err)
		}
	}
	now.send(&stoapb.ToMaster{Body: &stoapb.ToMaster_FilesReply{FilesReply: &stoapb.FilesReply{Id: m.GetFilesRequest().Id, Status: proto.Int32(404), Message: proto.String("none")}}})
	if r := <-done; !strings.Contains(r.GetMessage(), "none") {
		t.Errorf("reply %v", r)
	}
}
