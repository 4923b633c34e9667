package listen

import (
	"errors"
	"io"
	"net"
	"testing"
)

// pipes is a listener whose connections are made by the test.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (pipes) Close() error   { return nil }
func (pipes) Addr() net.Addr { return nil }

// arrive is a new connection as both sides see it.
func arrive(t *testing.T, p pipes, l *Limited) (client, server net.Conn) {
	t.Helper()
	client, other := net.Pipe()
	p <- other
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// say sends a byte from one side to the other, or reports that the connection is closed.
func say(from, to net.Conn) error {
	sent := make(chan error, 1)
	go func() {
		_, err := from.Write([]byte("x"))
		sent <- err
	}()
	_, err := to.Read(make([]byte, 1))
	return errors.Join(err, <-sent)
}

func TestTheQuietestConnectionMakesRoom(t *testing.T) {
	p := make(pipes, 1)
	l := Limit(p, 3)
	type pair struct{ client, server net.Conn }
	var all []pair
	open := func() {
		c, s := arrive(t, p, l)
		all = append(all, pair{c, s})
	}
	for range 3 {
		open()
	}
	// 0 and 1 are used, either way; 2 is not.
	if err := errors.Join(say(all[0].client, all[0].server), say(all[1].server, all[1].client)); err != nil {
		t.Fatal(err)
	}
	open()
	if err := say(all[2].client, all[2].server); !errors.Is(err, io.ErrClosedPipe) && !errors.Is(err, io.EOF) {
		t.Errorf("the one that was never used is open: %v", err)
	}
	open() // 0 was used before 1, and 3 came after both
	for i, closed := range []bool{true, false, true, false, false} {
		if err := say(all[i].client, all[i].server); (err != nil) != closed {
			t.Errorf("connection %d: %v", i, err)
		}
	}
	if n := l.Closed.Load(); n != 2 || l.open != 3 || len(l.loose) != 3 {
		t.Errorf("%d closed to make room, %d open, %d loose", n, l.open, len(l.loose))
	}
	for _, c := range all {
		c.server.Close()
		c.server.Close() // as servers do
	}
	if l.open != 0 || len(l.loose) != 0 {
		t.Errorf("after all: %d open, %d loose", l.open, len(l.loose))
	}
}

func TestKeptConnectionsOutlastAFlood(t *testing.T) {
	p := make(pipes, 1)
	l := Limit(p, 4)
	var kept [][2]net.Conn
	for range 6 { // more than the limit: they do not count
		client, server := arrive(t, p, l)
		Keep(server)
		kept = append(kept, [2]net.Conn{client, server})
	}
	for range 100 {
		arrive(t, p, l)
	}
	for i, c := range kept {
		if err := say(c[0], c[1]); err != nil {
			t.Errorf("kept connection %d: %v", i, err)
		}
	}
	if l.open != 6+4 || l.Closed.Load() != 96 {
		t.Errorf("%d open, %d closed", l.open, l.Closed.Load())
	}
	Keep(nil)
	Keep(kept[0][0]) // of no Limited
	Keep(kept[0][1]) // again
	kept[0][1].Close()
	if l.open != 6+4-1 {
		t.Errorf("%d open after one was closed", l.open)
	}
}

func TestDescriptorsAreLeftWhenAllAreKept(t *testing.T) {
	p := make(pipes, 3)
	l := Limit(p, 4)
	l.all = 2
	for range 2 {
		_, server := arrive(t, p, l)
		Keep(server)
	}
	client, refused := net.Pipe()
	p <- refused
	close(p)
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("a connection there was no room for was let in: %v", err)
	}
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("it was not closed: %v", err)
	}
}

func TestTheLimitFitsTheDescriptors(t *testing.T) {
	l := Limit(make(pipes), 1<<30)
	if l.most > l.all/2 || l.all < 1 {
		t.Errorf("%d of %d", l.most, l.all)
	}
	if l := Limit(make(pipes), 0); l.most > DefaultConnections || l.most < 1 {
		t.Errorf("by default %d", l.most)
	}
}
