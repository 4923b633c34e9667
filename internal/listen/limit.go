package listen

import (
	"container/heap"
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
)

// DefaultConnections is for how many connections there is room besides those that are
// kept. Idle ones cost about 15 KiB each, so all of them less than 64 MiB.
const DefaultConnections = 4096

// Limited is a listener whose connections cannot use up memory and descriptors. Over its
// limit, the connection on which nothing was read or written for the longest time is
// closed to let a new one in: whoever only holds connections loses them to whoever uses
// them. Connections that were kept are not closed and not counted, except that all
// together leave an eighth of the process's descriptors for files.
type Limited struct {
	net.Listener
	// Closed counts connections closed to make room, and those there was no room for.
	Closed atomic.Int64

	most, all int
	clock     atomic.Int64 // counts reads and writes: which came last

	mu    sync.Mutex
	open  int
	loose quietest // those that are not kept
}

// Limit lets most connections stand at a time besides those that are kept; 0 means
// DefaultConnections.
func Limit(l net.Listener, most int) *Limited {
	if most == 0 {
		most = DefaultConnections
	}
	all := most
	// The runtime has raised the limit to the hard one.
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err == nil {
		all = int(min(files.Cur, 1<<30)) / 8 * 7
		most = max(1, min(most, all/2))
	}
	return &Limited{Listener: l, most: most, all: all}
}

// Accept waits for the next connection there is room for.
func (l *Limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if admitted := l.admit(c); admitted != nil {
			return admitted, nil
		}
		c.Close()
	}
}

// admit makes room for a connection; it returns nil if all others are kept.
func (l *Limited) admit(nc net.Conn) net.Conn {
	c := &conn{Conn: nc, of: l}
	l.mu.Lock()
	var quiet *conn
	if len(l.loose) >= l.most || l.open >= l.all {
		l.Closed.Add(1)
		if quiet = l.makeRoom(); quiet == nil {
			l.mu.Unlock()
			return nil
		}
	}
	c.used()
	c.since = c.last.Load()
	heap.Push(&l.loose, c)
	l.open++
	l.mu.Unlock()
	if quiet != nil {
		quiet.Close()
	}
	return c
}

// makeRoom takes out the loose connection that was used before all others, nil if there
// is none. Their order is that of when they were looked at; one used since then is put
// back in its place.
func (l *Limited) makeRoom() *conn {
	for len(l.loose) > 0 {
		c := l.loose[0]
		last := c.last.Load()
		if last == c.since {
			heap.Pop(&l.loose)
			return c
		}
		c.since = last
		heap.Fix(&l.loose, 0)
	}
	return nil
}

// conn is a connection and when it was last used.
type conn struct {
	net.Conn
	of   *Limited
	last atomic.Int64

	// These are of's.
	since  int64
	at     int // among the loose, -1 if it is not one
	closed bool
}

func (c *conn) used() { c.last.Store(c.of.clock.Add(1)) }

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.used()
	}
	return n, err
}

// Write implements net.Conn.
func (c *conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if n > 0 {
		c.used()
	}
	return n, err
}

// Close implements net.Conn.
func (c *conn) Close() error {
	l := c.of
	l.mu.Lock()
	if !c.closed {
		c.closed = true
		l.open--
		l.keep(c)
	}
	l.mu.Unlock()
	return c.Conn.Close()
}

func (l *Limited) keep(c *conn) {
	if c.at >= 0 {
		heap.Remove(&l.loose, c.at)
	}
}

// Keep protects a connection accepted by a Limited until it ends: it is of somebody known,
// and may be quiet. Others are let be, nil too.
func Keep(nc net.Conn) {
	if c, ok := nc.(*conn); ok {
		c.of.mu.Lock()
		defer c.of.mu.Unlock()
		c.of.keep(c)
	}
}

type contextKey struct{}

// Context is for http.Server.ConnContext: handlers find their connection with Conn.
// Behind TLS it is the one below.
func Context(ctx context.Context, c net.Conn) context.Context {
	if secured, ok := c.(*tls.Conn); ok {
		c = secured.NetConn()
	}
	if back, ok := c.(*resumed); ok {
		c = back.Conn
	}
	return context.WithValue(ctx, contextKey{}, c)
}

// Conn is the connection of a request's context, nil if Context was not asked.
func Conn(ctx context.Context) net.Conn {
	c, _ := ctx.Value(contextKey{}).(net.Conn)
	return c
}

// quietest is a heap of connections by since.
type quietest []*conn

func (q quietest) Len() int           { return len(q) }
func (q quietest) Less(i, j int) bool { return q[i].since < q[j].since }
func (q quietest) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].at, q[j].at = i, j
}

// Push implements heap.Interface.
func (q *quietest) Push(x any) {
	c := x.(*conn)
	c.at = len(*q)
	*q = append(*q, c)
}

// Pop implements heap.Interface.
func (q *quietest) Pop() any {
	last := len(*q) - 1
	c := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	c.at = -1
	return c
}
