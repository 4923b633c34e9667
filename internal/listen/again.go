package listen

import (
	"net"
	"sync"
)

// Again is a listener for connections that a handler took from its server (http.Hijacker)
// and gives back: whoever serves it finds them as if they had just come.
type Again struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// NewAgain listens until it is closed.
func NewAgain() *Again {
	return &Again{conns: make(chan net.Conn), done: make(chan struct{})}
}

// Give hands over a connection, of which read was read and is to be read again. It closes
// it if nobody listens any more.
func (a *Again) Give(c net.Conn, read []byte) {
	if before, ok := c.(*resumed); ok { // given for the second time
		c, read = before.Conn, append(read, before.read...)
	}
	select {
	case a.conns <- &resumed{c, read}:
	case <-a.done:
		c.Close()
	}
}

// Accept implements net.Listener.
func (a *Again) Accept() (net.Conn, error) {
	select {
	case c := <-a.conns:
		return c, nil
	case <-a.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (a *Again) Close() error {
	a.once.Do(func() { close(a.done) })
	return nil
}

// Addr implements net.Listener.
func (a *Again) Addr() net.Addr { return inside{} }

type inside struct{}

func (inside) Network() string { return "inside" }
func (inside) String() string  { return "connections given back" }

// resumed is a connection with what was read of it.
type resumed struct {
	net.Conn
	read []byte
}

// Read implements net.Conn.
func (r *resumed) Read(b []byte) (int, error) {
	if len(r.read) == 0 {
		return r.Conn.Read(b)
	}
	n := copy(b, r.read)
	r.read = r.read[n:]
	return n, nil
}
