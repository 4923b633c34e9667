package listen

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// A handler takes the connection at /take and gives it back with what followed.
func TestAConnectionGoesBackToItsServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	limited, again := Limit(l, 4), NewAgain()
	server := &http.Server{ConnContext: Context}
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := Conn(r.Context()).(*conn); !ok {
			t.Errorf("%s on a %T", r.URL.Path, Conn(r.Context()))
		}
		if r.URL.Path != "/take" {
			io.WriteString(w, r.URL.Path)
			return
		}
		c, in, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		rest, err := in.Reader.Peek(in.Reader.Buffered())
		if err != nil {
			t.Error(err)
		}
		again.Give(c, append([]byte(nil), rest...))
	})
	served := make(chan error, 2)
	for _, l := range []net.Listener{limited, again} {
		go func() { served <- server.Serve(l) }()
	}
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	get := func(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n" }
	text := get("/take") + get("/one") + get("/take") + get("/take") + get("/two") + strings.Replace(get("/three"), "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1)
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if got := string(b); err != nil || strings.Count(got, "200 OK") != 3 || !strings.HasSuffix(got, "/three") || strings.Index(got, "/one") > strings.Index(got, "/two") {
		t.Errorf("%v; got %q", err, got)
	}
	if err := server.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}
	ours, theirs := net.Pipe()
	again.Give(theirs, nil)
	if _, err := ours.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("a connection that nobody wants any more: %v", err)
	}
}
