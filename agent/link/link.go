// Package link keeps the agent connected to the master that leads: it dials, asks for
// the upgrade (POST frame.Path), follows redirects to the leader, and carries frames
// both ways until the connection breaks; then it begins anew.
//
// One goroutine dials and reads, a second writes, a few answer operators' requests for
// files. What comes in waits for the loop, and
// so holds back the master; what goes out is queued up to a limit, beyond which the
// connection is given up: the Register on the next one says everything anyway.
package link

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	agentpb "github.com/stoa-kernel/stoa/api/mesos/v1/agent"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"

	"github.com/stoa-kernel/stoa/agent/state"
	"github.com/stoa-kernel/stoa/internal/frame"
	"github.com/stoa-kernel/stoa/internal/listen"
)

// Defaults of Client's fields.
const (
	DefaultTimeout = 10 * time.Second
	DefaultLimit   = 64 << 20
)

const (
	// After a break the first attempts are quick, for most often a master or the next
	// leader is there at once: at a random time in the first quick, then in twice
	// that, and so on, up to slow.
	quick = 50 * time.Millisecond
	// slow is the longest pause. Mesos goes to a minute, but there ZooKeeper tells
	// agents of a new leader; here asking is the only way to learn of one.
	slow = 10 * time.Second
	// redirects followed in one attempt.
	redirects = 5
	// files is how many operators' requests are answered at a time.
	files = 4
	// waiting is how many of them may wait; more are refused.
	waiting = 64
	// unacknowledged is for how long sent bytes may stay unacknowledged: a master that
	// vanished without a word is noticed by the first frame after it, long before TCP
	// gives up by itself. An idle connection is probed after 15 s and ends as late.
	unacknowledged = 30 * time.Second
	// maxHead bounds the answer to the upgrade request.
	maxHead = 64 << 10
)

// Client connects to the masters. Set the exported fields before Run.
type Client struct {
	// Masters are asked in turn, each host:port.
	Masters []string
	// Submit hands an input to the loop; it waits while the loop is behind, and fails
	// only when ctx ends or the loop has.
	Submit func(context.Context, state.Input) error
	// Files answers operators' requests put through by the master.
	Files func(*agentpb.Call) (status int, response *agentpb.Response, message string)
	Log   *slog.Logger

	// Timeout is for dialing, for the answer to the upgrade, and for how long the
	// master may take nothing of what is written; 0 means DefaultTimeout.
	Timeout time.Duration
	// Limit is how many bytes of frames may wait to be written; 0 means DefaultLimit.
	Limit int

	// Up says whether a connection stands.
	Up atomic.Bool

	// readers of files may outlast their connection, if a disk hangs.
	readers sync.WaitGroup

	mu   sync.Mutex
	last state.Link
	conn *conn // the one that stands, or nil
}

// conn is one connection.
type conn struct {
	id    state.Link
	net   net.Conn
	limit int
	wake  chan struct{}

	mu     sync.Mutex
	queue  []*stoapb.ToMaster
	bytes  int
	closed error // why it was given up
}

// Run connects again and again until ctx ends. The loop hears LinkUp, frames, and
// LinkDown of each connection, in this order and of one connection at a time.
func (c *Client) Run(ctx context.Context) {
	defer c.readers.Wait()
	said := map[string]string{} // the trouble of each master that was logged, to log it once
	for failures := 0; ; {
		up, began := false, time.Now()
		for _, master := range c.Masters {
			err := c.once(ctx, master, func() { up = true })
			if ctx.Err() != nil {
				return
			}
			if up {
				c.Log.Info("the connection to the master broke", "master", master, "error", err)
				clear(said)
				break
			}
			if said[master] != err.Error() {
				c.Log.Warn("no master to connect to yet", "master", master, "error", err)
				said[master] = err.Error()
			}
		}
		if up && time.Since(began) > time.Second { // and not one that takes agents to throw them out
			failures = 0
		}
		if !sleep(ctx, rand.N(min(quick<<min(failures, 16), slow))) {
			return
		}
		failures++
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// once is one connection, from dialing to its end; up is called when it stands.
func (c *Client) once(ctx context.Context, master string, up func()) error {
	nc, in, err := c.dial(ctx, master)
	if err != nil {
		return err
	}
	// What waits on the connection ends with ctx.
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	defer stop()
	defer nc.Close()

	limit := c.Limit
	if limit == 0 {
		limit = DefaultLimit
	}
	cn := &conn{net: nc, limit: limit, wake: make(chan struct{}, 1)}
	c.mu.Lock()
	c.last++
	cn.id = c.last
	c.conn = cn
	c.mu.Unlock()
	up()
	c.Up.Store(true)
	c.Log.Info("connected to the master", "master", nc.RemoteAddr().String())

	var writer sync.WaitGroup
	writer.Go(func() { c.write(cn) })
	err = c.read(ctx, cn, in)

	c.Up.Store(false)
	c.mu.Lock()
	c.conn = nil
	c.mu.Unlock()
	if why := cn.end(errors.New("the agent is going down")); why != nil {
		err = why // better than "use of closed network connection"
	}
	writer.Wait()
	// Fails only when nobody is left to be told.
	_ = c.Submit(context.WithoutCancel(ctx), state.LinkDown{Link: cn.id})
	return err
}

func (c *Client) timeout() time.Duration {
	if c.Timeout == 0 {
		return DefaultTimeout
	}
	return c.Timeout
}

// dial connects to the master that leads, by way of redirects.
func (c *Client) dial(ctx context.Context, master string) (net.Conn, io.Reader, error) {
	for range redirects {
		nc, in, next, err := c.upgrade(ctx, master)
		if err != nil {
			return nil, nil, err
		}
		if nc != nil {
			return nc, in, nil
		}
		master = next
	}
	return nil, nil, fmt.Errorf("more than %d redirects: the masters do not agree on who leads", redirects)
}

// upgrade asks one master; it returns a connection, or another master to ask.
func (c *Client) upgrade(ctx context.Context, master string) (_ net.Conn, _ io.Reader, next string, err error) {
	dialer := net.Dialer{Timeout: c.timeout(), Control: listen.Unacknowledged(unacknowledged), KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}}
	nc, err := dialer.DialContext(ctx, "tcp", master)
	if err != nil {
		return nil, nil, "", err
	}
	keep := false
	defer func() {
		if !keep {
			nc.Close()
		}
	}()
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	defer stop()
	if err := nc.SetDeadline(time.Now().Add(c.timeout())); err != nil {
		return nil, nil, "", err
	}
	const ask = "POST %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: %s\r\nContent-Length: 0\r\n\r\n"
	if _, err := fmt.Fprintf(nc, ask, frame.Path, master, frame.Protocol); err != nil {
		return nil, nil, "", err
	}
	head := &io.LimitedReader{R: nc, N: maxHead}
	in := bufio.NewReader(head)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return nil, nil, "", fmt.Errorf("the answer to the upgrade: %w", err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusSwitchingProtocols:
		if got := resp.Header.Get("Upgrade"); got != frame.Protocol {
			return nil, nil, "", fmt.Errorf("the master upgrades to %q, this agent speaks %s: run the same version of both", got, frame.Protocol)
		}
		if err := nc.SetDeadline(time.Time{}); err != nil {
			return nil, nil, "", err
		}
		head.N = 1<<63 - 1 // frames have their own bound
		keep = true
		return nc, in, "", nil
	case http.StatusTemporaryRedirect:
		// As from a Mesos master, without a scheme.
		u, err := url.Parse(resp.Header.Get("Location"))
		if err != nil || u.Host == "" {
			return nil, nil, "", fmt.Errorf("a redirect to %q, which is no master", resp.Header.Get("Location"))
		}
		return nil, nil, u.Host, nil
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 200)) // only to say more
	return nil, nil, "", fmt.Errorf("the master answered %s: %s", resp.Status, strings.TrimSpace(string(text)))
}

// read turns frames into inputs until the connection ends.
func (c *Client) read(ctx context.Context, cn *conn, in io.Reader) error {
	if err := c.Submit(ctx, state.LinkUp{Link: cn.id}); err != nil {
		return err
	}
	requests := make(chan *stoapb.FilesRequest, waiting)
	defer close(requests)
	for range files {
		c.readers.Go(func() {
			for r := range requests {
				c.answer(cn, r)
			}
		})
	}
	frames := frame.NewReader(in)
	for {
		m := &stoapb.ToAgent{}
		if err := frames.Read(m); err != nil {
			if err == io.EOF {
				err = errors.New("closed by the master")
			}
			return err
		}
		switch {
		case m.Body == nil: // of a newer master; skipped, as an unknown field is
		case m.GetFilesRequest() != nil:
			// Answered here: no reader of logs waits for the loop, nor it for him.
			select {
			case requests <- m.GetFilesRequest():
			default:
				cn.send(filesReply(m.GetFilesRequest(), http.StatusServiceUnavailable, nil, "Too many requests for files at once: try again later"))
			}
		default:
			if err := c.Submit(ctx, state.Frame{Link: cn.id, Msg: m}); err != nil {
				return err
			}
		}
	}
}

func (c *Client) answer(cn *conn, r *stoapb.FilesRequest) {
	if cn.over() != nil {
		return
	}
	status, response, message := c.Files(r.GetCall())
	cn.send(filesReply(r, status, response, message))
}

func filesReply(r *stoapb.FilesRequest, status int, response *agentpb.Response, message string) *stoapb.ToMaster {
	reply := &stoapb.FilesReply{Id: r.Id, Status: proto.Int32(int32(status)), Response: response}
	if message != "" {
		reply.Message = &message
	}
	return &stoapb.ToMaster{Body: &stoapb.ToMaster_FilesReply{FilesReply: reply}}
}

// Send queues a frame for a connection; m must not change afterwards. It never waits. A
// connection that is gone takes nothing.
func (c *Client) Send(link state.Link, m *stoapb.ToMaster) {
	if cn := c.current(link); cn != nil {
		cn.send(m)
	}
}

// Drop gives a connection up; LinkDown follows.
func (c *Client) Drop(link state.Link) {
	if cn := c.current(link); cn != nil {
		cn.end(errors.New("given up by the agent"))
	}
}

func (c *Client) current(link state.Link) *conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil || c.conn.id != link {
		return nil
	}
	return c.conn
}

func (cn *conn) send(m *stoapb.ToMaster) {
	size := proto.Size(m)
	cn.mu.Lock()
	full := cn.bytes+size > cn.limit && len(cn.queue) > 0
	if cn.closed == nil && !full {
		cn.queue = append(cn.queue, m)
		cn.bytes += size
	}
	cn.mu.Unlock()
	if full {
		cn.end(fmt.Errorf("the master takes nothing: %d bytes wait", cn.limit))
		return
	}
	cn.poke()
}

func (cn *conn) poke() {
	select {
	case cn.wake <- struct{}{}:
	default:
	}
}

// end closes the connection and returns why that was done earlier, if it was.
func (cn *conn) end(why error) (earlier error) {
	cn.mu.Lock()
	earlier = cn.closed
	if earlier == nil {
		cn.closed = why
		cn.queue = nil
	}
	cn.mu.Unlock()
	cn.net.Close()
	cn.poke()
	return earlier
}

func (cn *conn) over() error {
	cn.mu.Lock()
	defer cn.mu.Unlock()
	return cn.closed
}

// write is the connection's one writer.
func (c *Client) write(cn *conn) {
	w := frame.NewWriter(progress{cn.net, c.timeout()})
	for {
		cn.mu.Lock()
		batch, closed := cn.queue, cn.closed
		cn.queue = nil
		cn.mu.Unlock()
		if closed != nil {
			return
		}
		if len(batch) == 0 {
			if err := w.Flush(); err != nil {
				cn.end(err)
				return
			}
			// More may have come while that was written.
			<-cn.wake
			continue
		}
		for _, m := range batch {
			err := w.Write(m)
			if errors.Is(err, frame.ErrTooLong) && m.GetRegister() == nil {
				// Of its own length it will never fit, on no connection; the rest must.
				c.Log.Error("a frame for the master is too long and was dropped", "bytes", proto.Size(m))
				err = nil
			}
			if err != nil {
				cn.end(err)
				return
			}
			cn.mu.Lock()
			cn.bytes -= proto.Size(m)
			cn.mu.Unlock()
		}
	}
}

// progress sets a new deadline for every 64 KiB written.
type progress struct {
	net.Conn
	stall time.Duration
}

func (p progress) Write(b []byte) (written int, err error) {
	for len(b) > 0 {
		if err := p.SetWriteDeadline(time.Now().Add(p.stall)); err != nil {
			return written, err
		}
		n, err := p.Conn.Write(b[:min(len(b), 64<<10)])
		written += n
		if err != nil {
			return written, err
		}
		b = b[n:]
	}
	return written, nil
}
