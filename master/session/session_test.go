package session_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/stoa-kernel/stoa/master/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inputs is a loop that only takes note.
type inputs chan state.Input

func (c inputs) submit(ctx context.Context, in state.Input) error {
	select {
	case c <- in:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c inputs) next(t *testing.T) state.Input {
	t.Helper()
	select {
	case in := <-c:
		return in
	case <-time.After(20 * time.Second):
		t.Fatal("no input came")
		return nil
	}
}

// log collects the lines of a logger.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *log) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *log) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), part)
}

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		s.Close()
	})
	return s
}

func dial(t *testing.T, s *httptest.Server) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// buffers is more than the kernel takes in for a peer that does not read.
const buffers = 16 << 20
