package sdktest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"

	"github.com/stoa-kernel/stoa/sdk/internal/stream"
)

// memory is a network of one server: connections are pipes, which work inside the bubbles
// of testing/synctest where real sockets do not.
type memory struct {
	addr   pipeAddr
	accept chan net.Conn
	done   chan struct{}
	once   sync.Once
}

func newMemory(addr string) *memory {
	return &memory{addr: pipeAddr(addr), accept: make(chan net.Conn), done: make(chan struct{})}
}

type pipeAddr string

func (a pipeAddr) Network() string { return "memory" }
func (a pipeAddr) String() string  { return string(a) }

var errNoServer = errors.New("nothing listens there")

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.accept:
		return c, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error {
	m.once.Do(func() { close(m.done) })
	return nil
}

func (m *memory) Addr() net.Addr { return m.addr }

func (m *memory) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	if addr != string(m.addr) {
		return nil, &net.OpError{Op: "dial", Net: "memory", Addr: pipeAddr(addr), Err: errNoServer}
	}
	ours, theirs := net.Pipe()
	select {
	case m.accept <- theirs:
		return ours, nil
	case <-m.done:
		return nil, &net.OpError{Op: "dial", Net: "memory", Addr: m.addr, Err: errNoServer}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// client reaches the servers of networks by their addresses.
func client(networks ...*memory) *http.Client {
	return stream.NewClient(func(ctx context.Context, network, addr string) (net.Conn, error) {
		for _, m := range networks {
			if addr == string(m.addr) {
				return m.dial(ctx, network, addr)
			}
		}
		return nil, &net.OpError{Op: "dial", Net: "memory", Addr: pipeAddr(addr), Err: errNoServer}
	})
}
