package eventstream

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/internal/codec"
	"github.com/stoa-kernel/stoa/internal/recordio"
)

// client is the other end: it takes what is written until it is full.
type client struct {
	bytes.Buffer
	room     int           // bytes it takes before it takes nothing any more
	past     chan struct{} // closed when the deadline is set into the past
	deadline time.Time
	longest  int // write
	flushed  int
}

func newClient(room int) *client { return &client{room: room, past: make(chan struct{})} }

func (c *client) Header() http.Header { return nil }
func (c *client) WriteHeader(int)     {}
func (c *client) Flush()              { c.flushed++ }

func (c *client) SetWriteDeadline(t time.Time) error {
	if t.Unix() == 1 {
		close(c.past)
		return nil
	}
	c.deadline = t
	return nil
}

func (c *client) Write(b []byte) (int, error) {
	c.longest = max(c.longest, len(b))
	if c.Len()+len(b) <= c.room {
		return c.Buffer.Write(b)
	}
	select {
	case <-c.past:
	case <-time.After(time.Until(c.deadline)):
	}
	return 0, os.ErrDeadlineExceeded
}

func (c *client) records(t *testing.T) (all []string) {
	t.Helper()
	r := recordio.NewReader(bytes.NewReader(c.Bytes()), 0)
	for {
		b, err := r.Read()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(b))
	}
}

func id(s string) *mesos.TaskID { return &mesos.TaskID{Value: proto.String(s)} }

type stream = Stream[*mesos.TaskID]

func start(c *client, stall time.Duration, limit int) *stream {
	return New[*mesos.TaskID](c, codec.JSON, stall, limit)
}

func TestWhatIsQueuedIsWrittenBeforeTheEnd(t *testing.T) {
	c := newClient(1 << 20)
	s := start(c, time.Second, 1<<20)
	long := strings.Repeat("x", 3*chunk)
	for _, v := range []string{"a", long, "b"} {
		if !s.Send(id(v)) {
			t.Fatal("not taken")
		}
	}
	s.End()
	if s.Send(id("late")) {
		t.Error("taken after the end")
	}
	if err := s.Write(t.Context(), Own[*mesos.TaskID]{}); err != nil {
		t.Fatal(err)
	}
	if left := s.Close(nil); left != (Left{Ended: true}) {
		t.Errorf("left %+v", left)
	}
	if got := c.records(t); len(got) != 3 || got[0] != `{"value":"a"}` || got[1] != `{"value":"`+long+`"}` || got[2] != `{"value":"b"}` {
		t.Errorf("%d records, %.100q", len(got), got)
	}
	if c.longest > chunk || c.flushed == 0 {
		t.Errorf("wrote %d bytes at once, flushed %d times", c.longest, c.flushed)
	}
}

// Clients in JavaScript take a chunk for an event (npm mesos-framework 0.5.3), and Mesos
// writes each record as one.
func TestRecordsOfJSONAreChunks(t *testing.T) {
	for c, want := range map[codec.Codec]int{codec.JSON: 3, codec.Protobuf: 1} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s := New[*mesos.TaskID](w, c, time.Minute, 1<<20)
			for _, v := range []string{"a", strings.Repeat("b", 3000), "c"} {
				s.Send(id(v))
			}
			s.End()
			if err := s.Write(r.Context(), Own[*mesos.TaskID]{}); err != nil {
				t.Error(err)
			}
		}))
		defer server.Close()
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		in := textproto.NewReader(bufio.NewReader(conn))
		if line, err := in.ReadLine(); err != nil || line != "HTTP/1.1 200 OK" {
			t.Fatal(line, err)
		}
		if _, err := in.ReadMIMEHeader(); err != nil {
			t.Fatal(err)
		}
		var chunks []string
		for {
			line, err := in.ReadLine()
			if err != nil {
				t.Fatal(err)
			}
			size, err := strconv.ParseInt(line, 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			if size == 0 {
				break
			}
			b := make([]byte, size+2)
			if _, err := io.ReadFull(in.R, b); err != nil {
				t.Fatal(err)
			}
			chunks = append(chunks, string(b[:size]))
		}
		if len(chunks) != want {
			t.Errorf("%v: %d chunks of %.60q", c, len(chunks), chunks)
		}
		for _, one := range chunks {
			if strings.Count(one, "\n") != 1 && c == codec.JSON {
				t.Errorf("a chunk is %.60q", one)
			}
		}
	}
}

func TestItsOwnEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(1 << 20)
		s := start(c, time.Second, 1<<20)
		tick := make(chan time.Time)
		done := make(chan error)
		go func() {
			done <- s.Write(t.Context(), Own[*mesos.TaskID]{
				Expand: func(e *mesos.TaskID, add func(*mesos.TaskID) error) error {
					return errors.Join(add(id(e.GetValue()+"1")), add(id(e.GetValue()+"2")))
				},
				Tick:   tick,
				Ticked: func(add func(*mesos.TaskID) error) error { return add(id("tick")) },
			})
		}()
		s.Send(id("a"))
		synctest.Wait()
		tick <- time.Time{}
		synctest.Wait()
		s.End()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(c.records(t), " "); got != `{"value":"a1"} {"value":"a2"} {"value":"tick"}` {
			t.Error(got)
		}
	})
}

func TestSlowClientsAreCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// One that takes nothing, in time.
		c := newClient(0)
		s := start(c, 10*time.Second, 100)
		s.Send(id("abc"))
		began := time.Now()
		err := s.Write(t.Context(), Own[*mesos.TaskID]{})
		if left := s.Close(err); !left.Slow || left.Ended || time.Since(began) != 10*time.Second {
			t.Errorf("after %v: %v, %+v", time.Since(began), err, left)
		}

		// One that leaves too much waiting, at once: the write that hangs is broken.
		s = start(newClient(0), time.Hour, 100)
		done := make(chan error)
		go func() { done <- s.Write(t.Context(), Own[*mesos.TaskID]{}) }()
		s.Send(id("abc"))
		synctest.Wait()
		taken := 0
		for s.Send(id(strings.Repeat("x", 10))) {
			taken++
		}
		if err = <-done; err == nil {
			t.Fatal("an orderly end")
		}
		if left := s.Close(err); !left.Slow || left.Waiting == 0 || left.Waiting > 100 || taken != 7 {
			t.Errorf("%d taken, %v, %+v", taken, err, left)
		}
		if s.Send(id("a")) {
			t.Error("taken after the cut")
		}
	})
}

func TestEndsThatAreNotTheClientsFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("going down")
		c := newClient(0)
		s := start(c, time.Hour, 100)
		done := make(chan error)
		go func() { done <- s.Write(t.Context(), Own[*mesos.TaskID]{}) }()
		s.Send(id("abc"))
		synctest.Wait()
		s.Cut(why)
		s.Cut(errors.New("twice")) // the deadline would be closed twice
		err := <-done
		if left := s.Close(err); err == nil || left.Slow {
			t.Errorf("%v, %+v", err, left)
		}

		s = start(newClient(0), time.Hour, 100)
		s.Cut(why)
		if err := s.Write(t.Context(), Own[*mesos.TaskID]{}); err != why {
			t.Errorf("%v", err)
		}

		c = newClient(0)
		s = start(c, time.Hour, 100)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err = s.Write(ctx, Own[*mesos.TaskID]{})
		if left := s.Close(err); err != context.Canceled || left != (Left{}) {
			t.Errorf("%v, %+v", err, left)
		}
		s.Cut(why) // the request must not be touched any more
		select {
		case <-c.past:
			t.Error("the deadline was set after the handler was through")
		default:
		}
	})
}
