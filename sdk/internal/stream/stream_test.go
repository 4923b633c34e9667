package stream

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"google.golang.org/protobuf/proto"
)

func TestBackoff(t *testing.T) {
	b := Backoff{Min: 100 * time.Millisecond, Max: 5 * time.Second}
	for i := range 100 {
		full := min(b.Min<<min(i, 20), b.Max)
		if d := b.Next(); d < full/2 || d > full {
			t.Errorf("wait %d is %v, want between half and all of %v", i, d, full)
		}
	}
	b.Reset()
	if d := b.Next(); d > b.Min {
		t.Errorf("after a success %v, want at most %v", d, b.Min)
	}
}

// endpoint is one whose server is the other end of a pipe.
func endpoint(t *testing.T, server func(net.Conn)) *Endpoint {
	client := NewClient(func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go server(theirs)
		return ours, nil
	})
	t.Cleanup(client.CloseIdleConnections)
	return &Endpoint{URL: &url.URL{Scheme: "http", Host: "x", Path: "/"}, Client: client}
}

// A server that takes the connection and says nothing is given up.
func TestSubscribeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := endpoint(t, func(c net.Conn) {
			defer c.Close()
			io.Copy(io.Discard, c)
		})
		start := time.Now()
		_, err := at.Subscribe(t.Context(), new(schedulerpb.Call), 15*time.Second)
		if err != ErrSilent || time.Since(start) != 15*time.Second {
			t.Errorf("%v after %v, want ErrSilent after 15 s", err, time.Since(start))
		}
	})
}

func answer(text string) func(net.Conn) {
	return func(c net.Conn) {
		defer c.Close()
		req, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		io.Copy(io.Discard, req.Body)
		io.WriteString(c, text)
	}
}

func TestNextErrors(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		want error
	}{
		"end":          {"", io.EOF},
		"within one":   {"10\nabc", io.ErrUnexpectedEOF},
		"not a record": {"abc", nil},
		"not an event": {"3\nabc", nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			at := endpoint(t, answer("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"+c.body))
			st, err := at.Subscribe(t.Context(), new(schedulerpb.Call), time.Second)
			if err != nil {
				t.Fatal(err)
			}
			var e schedulerpb.Event
			err = st.Next(&e, time.Minute)
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
			if again := st.Next(&e, time.Minute); again == nil {
				t.Errorf("%s: goes on after an error", name)
			}
			if st.Context().Err() == nil {
				t.Errorf("%s: the stream's context goes on", name)
			}
		})
	}
}

func TestStatusError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := endpoint(t, answer("HTTP/1.1 307 Temporary Redirect\r\nConnection: close\r\nLocation: //leader:5050/api/v1/scheduler\r\n\r\n"))
		err := at.Call(t.Context(), new(schedulerpb.Call), nil)
		var se *StatusError
		if !errors.As(err, &se) || se.Status != http.StatusTemporaryRedirect || se.Location.String() != "http://leader:5050/api/v1/scheduler" {
			t.Errorf("%v", err)
		}
	})
}

func TestCodecs(t *testing.T) {
	for _, c := range []Codec{Protobuf, JSON} {
		if got, ok := ForContentType(c.ContentType() + "; charset=utf-8"); !ok || got != c {
			t.Errorf("%s is not its own content type", c.ContentType())
		}
		if _, err := c.Marshal(&schedulerpb.Call{Kill: new(schedulerpb.Call_Kill)}); err == nil {
			t.Errorf("%s: encodes a message without a required field", c.ContentType())
		}
		b, err := c.Marshal(&mesos.TaskID{Value: proto.String("t")})
		if err != nil {
			t.Fatal(err)
		}
		var id mesos.TaskID
		if err := c.Unmarshal(b, &id); err != nil || id.GetValue() != "t" {
			t.Errorf("%s: %v, %v", c.ContentType(), &id, err)
		}
	}
	if _, ok := ForContentType("text/plain"); ok {
		t.Error("text/plain is a codec")
	}
}
