package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	agentpb "github.com/stoa-kernel/stoa/api/mesos/v1/agent"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/internal/frame"
	"github.com/stoa-kernel/stoa/internal/listen"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/master/state"
	"google.golang.org/protobuf/proto"
)

// Errors of Links.Files and Links.Room.
var (
	ErrNoLink   = errors.New("the agent is not connected to this master")
	ErrLinkLost = errors.New("the agent's connection broke before it answered")
)

// Links are the connections of agents. Set the exported fields before use; all methods
// are safe for concurrent use.
type Links struct {
	Submit Submit
	Log    *slog.Logger

	// Stall, Silence, Hello, RoomBytes and Limit are the defaults of those names if 0.
	Stall     time.Duration
	Silence   time.Duration
	Hello     time.Duration
	RoomBytes int
	Limit     int

	// CutOff counts links broken because the agent took nothing.
	CutOff atomic.Int64

	mu     sync.Mutex
	closed bool
	last   state.Link
	all    map[state.Link]*link
	agents map[id.Agent]*link
	open   sync.WaitGroup
}

type link struct {
	id   state.Link
	conn net.Conn
	wake chan struct{}
	done chan struct{} // closed when the link is gone

	mu     sync.Mutex
	agent  id.Agent // once registered
	queue  []queued
	bytes  int
	ending bool          // by the core: close after what is queued
	gone   bool          // nothing more is taken
	room   chan struct{} // closed when there is room again; nil if nobody waits
	files  map[uint64]chan *stoapb.FilesReply
	asked  uint64
}

// queued is a frame and its size, measured once.
type queued struct {
	m    *stoapb.ToAgent
	size int
}

// Serve upgrades an agent's request to a link and reads it until it ends. A request
// that is not for a link is answered with an error.
func (l *Links) Serve(w http.ResponseWriter, r *http.Request) {
	if !tokenIn(r.Header.Values("Connection"), "upgrade") || !tokenIn(r.Header.Values("Upgrade"), frame.Protocol) {
		w.Header().Set("Upgrade", frame.Protocol)
		refuse(w, http.StatusUpgradeRequired, "This is where agents connect: expecting 'Connection: Upgrade' and 'Upgrade: "+frame.Protocol+"'")
		return
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		refuse(w, http.StatusServiceUnavailable, ErrClosed.Error())
		return
	}
	l.open.Add(1) // before CloseAll can be waiting
	l.mu.Unlock()
	defer l.open.Done()

	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		refuse(w, http.StatusHTTPVersionNotSupported, "This connection cannot be upgraded: "+err.Error())
		return
	}
	defer conn.Close()
	const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + frame.Protocol + "\r\n\r\n"
	if err := conn.SetDeadline(time.Now().Add(orDefault(l.Hello, DefaultHello))); err != nil {
		return
	}
	if _, err := io.WriteString(conn, switching); err != nil {
		return
	}
	l.serve(conn, frame.NewReader(buffered.Reader))
}

func refuse(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, message) // the agent may be gone
}

func (l *Links) serve(conn net.Conn, frames *frame.Reader) {
	var first stoapb.ToMaster
	if err := frames.Read(&first); err != nil {
		l.Log.Warn("agent link refused: no readable first frame", "peer", conn.RemoteAddr().String(), "error", err)
		return
	}
	if first.GetRegister() == nil {
		l.Log.Warn("agent link refused: the first frame is not Register", "peer", conn.RemoteAddr().String())
		return
	}
	lk := &link{conn: conn, wake: make(chan struct{}, 1), done: make(chan struct{})}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return
	}
	l.last++
	lk.id = l.last
	if l.all == nil {
		l.all = make(map[state.Link]*link)
		l.agents = make(map[id.Agent]*link)
	}
	l.all[lk.id] = lk
	l.mu.Unlock()

	var writer sync.WaitGroup
	writer.Go(func() { l.write(lk) })
	err := l.read(lk, frames, first.GetRegister())
	l.forget(lk)
	conn.Close()
	writer.Wait()

	lk.mu.Lock()
	ending := lk.ending
	lk.mu.Unlock()
	if ending {
		return
	}
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && !errors.Is(err, ErrClosed) {
		l.Log.Warn("agent link broke", "agent", lk.name(), "peer", conn.RemoteAddr().String(), "error", err)
	}
	_ = l.Submit(context.Background(), state.LinkClosed{Link: lk.id}) // fails only when nobody is left to be told
}

// read turns frames into inputs until the link ends.
func (l *Links) read(lk *link, frames *frame.Reader, register *stoapb.Register) error {
	silence := orDefault(l.Silence, DefaultSilence)
	var until time.Time
	ctx := context.Background() // ended by the loop's end alone
	if err := l.Submit(ctx, state.Hello{Link: lk.id, Register: register}); err != nil {
		return err
	}
	for {
		// A deadline per frame is dear where there are many.
		if now := time.Now(); until.Sub(now) < silence-silence/16 {
			until = now.Add(silence)
			if err := lk.conn.SetReadDeadline(until); err != nil {
				return err
			}
		}
		m := new(stoapb.ToMaster)
		if err := frames.Read(m); err != nil {
			if stalled(err) {
				err = fmt.Errorf("the agent said nothing for %v", silence)
			}
			return err
		}
		switch {
		case m.Body == nil: // of a newer agent; skipped, as an unknown field is
		case m.GetFilesReply() != nil:
			lk.reply(m.GetFilesReply())
		default:
			if err := l.Submit(ctx, state.Frame{Link: lk.id, Msg: m}); err != nil {
				return err
			}
		}
	}
}

// write is the link's one writer; it closes the connection when it returns.
func (l *Links) write(lk *link) {
	defer lk.conn.Close()
	w := frame.NewWriter(progress{lk.conn, orDefault(l.Stall, DefaultStall)})
	for {
		lk.mu.Lock()
		batch, ending, gone := lk.queue, lk.ending, lk.gone
		lk.queue = nil
		lk.mu.Unlock()
		if gone {
			return
		}
		var err error
		for _, q := range batch {
			if err = w.WriteSized(q.m); errors.Is(err, frame.ErrTooLong) {
				l.Log.Error("frame for an agent dropped: longer than 16 MiB", "agent", lk.name())
				err = nil
			}
			if err != nil {
				break
			}
			lk.sent(q.size, l.roomBytes())
		}
		if err == nil && len(batch) == 0 {
			if ending {
				return
			}
			select {
			case <-lk.wake:
				continue
			case <-lk.done:
				return
			}
		}
		if err == nil {
			lk.mu.Lock()
			empty := len(lk.queue) == 0
			lk.mu.Unlock()
			if empty {
				err = w.Flush()
			}
		}
		if err != nil {
			if stalled(err) {
				l.cutOff(lk, "it takes nothing")
			}
			return
		}
	}
}

func (l *Links) cutOff(lk *link, why string) {
	l.CutOff.Add(1)
	l.Log.Warn("agent link cut off: "+why, "agent", lk.name(), "peer", lk.conn.RemoteAddr().String())
}

func (lk *link) name() string {
	lk.mu.Lock()
	defer lk.mu.Unlock()
	return string(lk.agent)
}

func (l *Links) roomBytes() int {
	if l.RoomBytes == 0 {
		return DefaultLinkRoom
	}
	return l.RoomBytes
}

// sent takes bytes off the queue's account and lets launches in again.
func (lk *link) sent(n, room int) {
	lk.mu.Lock()
	defer lk.mu.Unlock()
	lk.bytes -= n
	if lk.room != nil && lk.bytes <= room {
		close(lk.room)
		lk.room = nil
	}
}

// forget takes the link out of the tables and fails what waits for it.
func (l *Links) forget(lk *link) {
	l.mu.Lock()
	delete(l.all, lk.id)
	if l.agents[lk.agent] == lk {
		delete(l.agents, lk.agent)
	}
	l.mu.Unlock()
	lk.mu.Lock()
	defer lk.mu.Unlock()
	if !lk.gone {
		lk.gone = true
		close(lk.done)
	}
	lk.queue = nil
}

func (l *Links) get(n state.Link) *link {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all[n]
}

// Send queues a frame, which must not change afterwards. It never waits. A Registered
// frame makes the link the agent's.
func (l *Links) Send(n state.Link, m *stoapb.ToAgent) {
	lk := l.get(n)
	if lk == nil {
		return
	}
	if agent := id.Agent(m.GetRegistered().GetAgentId().GetValue()); agent != "" {
		l.mu.Lock()
		if l.all[n] == lk {
			l.agents[agent] = lk
			lk.mu.Lock()
			lk.agent = agent
			lk.mu.Unlock()
			listen.Keep(lk.conn)
		}
		l.mu.Unlock()
	}
	if !lk.enqueue(m, l.limit()) {
		l.cutOff(lk, "its queue is full")
		lk.conn.Close()
	}
}

func (l *Links) limit() int {
	if l.Limit == 0 {
		return DefaultLinkLimit
	}
	return l.Limit
}

// enqueue reports false if the queue would be over the limit.
func (lk *link) enqueue(m *stoapb.ToAgent, limit int) bool {
	size := proto.Size(m)
	lk.mu.Lock()
	defer lk.mu.Unlock()
	if lk.gone || lk.ending {
		return true
	}
	if lk.bytes+size > limit {
		lk.gone = true
		lk.queue = nil
		close(lk.done)
		return false
	}
	lk.queue = append(lk.queue, queued{m, size})
	lk.bytes += size
	lk.poke()
	return true
}

func (lk *link) poke() {
	select {
	case lk.wake <- struct{}{}:
	default:
	}
}

// Close ends a link in order: what is queued is sent, then the connection is closed. No
// LinkClosed follows, because the core knows.
func (l *Links) Close(n state.Link) {
	if lk := l.get(n); lk != nil {
		lk.mu.Lock()
		lk.ending = true
		lk.poke()
		lk.mu.Unlock()
	}
}

// CloseAll breaks every link, refuses new ones and waits until all are gone. The loop
// may have ended before.
func (l *Links) CloseAll() {
	l.mu.Lock()
	l.closed = true
	for _, lk := range l.all {
		lk.conn.Close()
	}
	l.mu.Unlock()
	l.open.Wait()
}

// Len is the number of open links.
func (l *Links) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.all)
}

func (l *Links) of(agent id.Agent) *link {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.agents[agent]
}

// Room waits until the agent's queue has room for launches, or the agent is not
// connected: then the core decides. It fails only if ctx ends first.
func (l *Links) Room(ctx context.Context, agent id.Agent) error {
	for {
		lk := l.of(agent)
		if lk == nil {
			return nil
		}
		lk.mu.Lock()
		if lk.gone || lk.bytes <= l.roomBytes() {
			lk.mu.Unlock()
			return nil
		}
		if lk.room == nil {
			lk.room = make(chan struct{})
		}
		room := lk.room
		lk.mu.Unlock()
		select {
		case <-room:
		case <-lk.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Files puts an operator's LIST_FILES or READ_FILE to an agent and waits for its answer.
func (l *Links) Files(ctx context.Context, agent id.Agent, call *agentpb.Call) (*stoapb.FilesReply, error) {
	lk := l.of(agent)
	if lk == nil {
		return nil, ErrNoLink
	}
	answer := make(chan *stoapb.FilesReply, 1)
	lk.mu.Lock()
	lk.asked++
	n := lk.asked
	if lk.files == nil {
		lk.files = make(map[uint64]chan *stoapb.FilesReply)
	}
	lk.files[n] = answer
	lk.mu.Unlock()
	defer func() {
		lk.mu.Lock()
		delete(lk.files, n)
		lk.mu.Unlock()
	}()
	l.Send(lk.id, &stoapb.ToAgent{Body: &stoapb.ToAgent_FilesRequest{
		FilesRequest: &stoapb.FilesRequest{Id: proto.Uint64(n), Call: call},
	}})
	select {
	case reply := <-answer:
		return reply, nil
	case <-lk.done:
		return nil, ErrLinkLost
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// reply wakes the request a reply is for; one that nobody waits for is late.
func (lk *link) reply(r *stoapb.FilesReply) {
	lk.mu.Lock()
	answer := lk.files[r.GetId()]
	delete(lk.files, r.GetId())
	lk.mu.Unlock()
	if answer != nil {
		answer <- r
	}
}

// tokenIn reports whether a comma-separated header lists token.
func tokenIn(values []string, token string) bool {
	for _, v := range values {
		for t := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}
