package probe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/stoa-kernel/stoa/agent/check"
	"github.com/stoa-kernel/stoa/agent/container"
	"github.com/stoa-kernel/stoa/agent/state"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// once asks one target and returns the answer.
func once(p *Prober, t check.Target) check.Result {
	return p.ask(context.Background(), state.Check{Target: t})
}

// at makes a target of an address.
func at(kind check.Type, address net.Addr, path string) check.Target {
	a := netip.MustParseAddrPort(address.String())
	return check.Target{Type: kind, Address: a.Addr().String(), Port: uint32(a.Port()), Path: path, Timeout: time.Minute}
}

func TestRealServers(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/code/{code}", func(w http.ResponseWriter, r *http.Request) {
		var code int
		fmt.Sscan(r.PathValue("code"), &code)
		w.WriteHeader(code)
	})
	mux.HandleFunc("/to/", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, strings.TrimPrefix(r.URL.Path, "/to"), http.StatusFound)
	})
	mux.HandleFunc("/early", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusNoContent)
	})
	plain, secure := httptest.NewServer(mux), httptest.NewTLSServer(mux)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	p := New(nil, nil)
	for _, c := range []struct {
		kind    check.Type
		path    string
		outside bool
		want    check.Result
	}{
		{check.HTTP, "/code/204", true, check.Result{Code: 204}},
		{check.HTTP, "/code/503?x=y", true, check.Result{Code: 503}},
		{check.HTTPS, "/code/200", true, check.Result{Code: 200}},
		{check.HTTPS, "/code/200", false, check.Result{Code: 200}},
		{check.HTTP, "/to/code/500", true, check.Result{Code: 302}},
		{check.HTTP, "/to/code/500", false, check.Result{Code: 500}},
		{check.HTTP, "/early", true, check.Result{Code: 204}},
		{check.TCP, "", true, check.Result{Connected: true}},
	} {
		server := plain
		if c.kind == check.HTTPS {
			server = secure
		}
		target := at(c.kind, server.Listener.Addr(), c.path)
		target.Outside = c.outside
		if got := once(p, target); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.path, got, c.want)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr()
	l.Close()
	if got := once(p, at(check.TCP, nobody, "")); got.Connected || got.Error != "" || !strings.Contains(got.Output, "refused") {
		t.Errorf("nobody listens: %+v", got)
	}
	if got := once(p, at(check.HTTP, nobody, "/")); !strings.Contains(got.Error, "connection refused") || strings.Contains(got.Error, "Get ") {
		t.Errorf("nobody listens: %+v", got)
	}
	if got := once(p, at(check.HTTPS, plain.Listener.Addr(), "/")); got.Error == "" {
		t.Errorf("plain HTTP asked for TLS: %+v", got)
	}
	for _, kind := range []check.Type{check.HTTP, check.TCP} {
		if got := once(p, check.Target{Type: kind, Port: 80, Path: "/", Timeout: time.Second}); !strings.Contains(got.Error, "no address") {
			t.Errorf("without an address: %+v", got)
		}
	}
	if got := once(p, check.Target{Type: check.HTTP, Address: "127.0.0.1", Port: 80, Path: "/%zz", Timeout: time.Second}); !strings.Contains(got.Error, "/%zz") {
		t.Errorf("a path that is none: %+v", got)
	}
}

// TestSlowServers plays what a task may do with a connection, in virtual time.
func TestSlowServers(t *testing.T) {
	const timeout = 10 * time.Second
	write := func(c net.Conn, every time.Duration, parts ...string) {
		for _, s := range parts {
			if _, err := io.WriteString(c, s); err != nil {
				return
			}
			<-time.After(every)
		}
	}
	endless := func(c net.Conn, every time.Duration, part string) {
		for {
			if _, err := io.WriteString(c, part); err != nil {
				return
			}
			<-time.After(every)
		}
	}
	header := []string{"HTTP/1.1 200 OK\r\n", "A: b\r\n", "C: d\r\n", "Content-Length: 0\r\n", "\r\n"}
	for _, c := range []struct {
		name    string
		serve   func(net.Conn)
		outside bool
		ignore  bool
		want    check.Result
		took    time.Duration
	}{
		{"says nothing", func(net.Conn) {}, true, false, check.Result{Error: "no answer from http://10.0.0.1:80/ within 10s"}, timeout},
		{"says nothing, of a check", func(net.Conn) {}, false, false, check.Result{Error: "no answer from http://10.0.0.1:80/ within 10s"}, timeout},
		{"slow but awake", func(c net.Conn) { write(c, 4*time.Second, header...) }, true, false, check.Result{Code: 200}, 16 * time.Second},
		{"slow, of a check", func(c net.Conn) { write(c, 4*time.Second, header...) }, false, false, check.Result{Error: "no answer from http://10.0.0.1:80/ within 10s"}, timeout},
		{"slow without end", func(c net.Conn) { endless(c, 9*time.Second, "A") }, true, false, check.Result{Error: "no answer from http://10.0.0.1:80/ within 10s"}, patience * timeout},
		{"falls asleep", func(c net.Conn) { write(c, 4*time.Second, header[:2]...) }, true, false, check.Result{Error: "no answer from http://10.0.0.1:80/ within 10s"}, 4*time.Second + timeout},
		{"a body that does not come, for Marathon", func(c net.Conn) { write(c, 0, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n") }, true, false, check.Result{Code: 200}, 0},
		{"a body that does not come, for Mesos", func(c net.Conn) { write(c, 0, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n") }, false, false, check.Result{Error: "no answer from http://10.0.0.1:80/ within 10s"}, timeout},
		{"a body without end", func(c net.Conn) {
			write(c, 0, "HTTP/1.1 200 OK\r\n\r\n")
			endless(c, 0, strings.Repeat("x", 1<<10))
		}, false, false, check.Result{Code: 200}, 0},
		{"only early", func(c net.Conn) { write(c, 0, "HTTP/1.1 102 Processing\r\n\r\n"); c.Close() }, true, false, check.Result{Code: 102}, 0},
		{"only early, ignored", func(c net.Conn) { write(c, 0, "HTTP/1.1 102 Processing\r\n\r\n") }, true, true, check.Result{None: true}, timeout},
		{"switching", func(c net.Conn) {
			write(c, 0, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		}, true, true, check.Result{None: true}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := New(nil, nil)
				var served sync.WaitGroup
				p.dial = func(context.Context, string, string) (net.Conn, error) {
					ours, theirs := net.Pipe()
					served.Go(func() {
						defer theirs.Close()
						if _, err := http.ReadRequest(bufio.NewReader(theirs)); err != nil {
							return
						}
						c.serve(theirs)
						io.Copy(io.Discard, theirs)
					})
					return ours, nil
				}
				began := time.Now()
				got := once(p, check.Target{Type: check.HTTP, Address: "10.0.0.1", Port: 80, Path: "/", Timeout: timeout, Outside: c.outside, Ignore1xx: c.ignore})
				if took := time.Since(began); got != c.want || took != c.took {
					t.Errorf("%+v after %v, want %+v after %v", got, took, c.want, c.took)
				}
				served.Wait()
			})
		})
	}
	for _, text := range []string{"not HTTP at all\r\n\r\n", "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("x", 2*maxHeader)} {
		synctest.Test(t, func(t *testing.T) {
			p := New(nil, nil)
			p.dial = func(context.Context, string, string) (net.Conn, error) {
				ours, theirs := net.Pipe()
				go io.Copy(io.Discard, theirs)
				go write(theirs, 0, text)
				return ours, nil
			}
			if got := once(p, check.Target{Type: check.HTTP, Address: "10.0.0.1", Port: 80, Path: "/", Timeout: timeout, Outside: true}); got.Error == "" {
				t.Errorf("%.20q: %+v", text, got)
			}
		})
	}
}

func TestSlowConnections(t *testing.T) {
	for _, c := range []struct {
		kind    check.Type
		outside bool
		want    string
	}{
		{check.TCP, true, "no connection to 10.0.0.1:80 within 10s"},
		{check.TCP, false, "no connection to 10.0.0.1:80 within 10s"},
		{check.HTTP, true, "no answer from http://10.0.0.1:80/ within 10s"},
		{check.HTTPS, false, "no answer from https://10.0.0.1:80/ within 10s"},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := New(nil, nil)
			p.dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, fmt.Errorf("dial: %w", ctx.Err())
			}
			began := time.Now()
			got := once(p, check.Target{Type: c.kind, Address: "10.0.0.1", Port: 80, Path: "/", Timeout: 10 * time.Second, Outside: c.outside})
			if took := time.Since(began); got.Error != c.want || got.Connected || took != 10*time.Second {
				t.Errorf("%+v after %v, want %q", got, took, c.want)
			}
		})
	}
}

// runner executes nothing: each command waits for its end or ctx's.
type runner struct {
	wait    int32
	err     error
	forever bool
}

func (r *runner) Execute(ctx context.Context, _ id.Container, s *container.Spec) (int32, string, error) {
	if r.forever {
		<-ctx.Done()
		return 0, "so far", ctx.Err()
	}
	return r.wait, s.Path, r.err
}

func TestCommands(t *testing.T) {
	for _, c := range []struct {
		r    runner
		want check.Result
	}{
		{runner{}, check.Result{Output: "look"}},
		{runner{wait: int32(task.Exited(3))}, check.Result{Code: 3, Output: "look"}},
		{runner{wait: int32(task.Signaled(9, false))}, check.Result{Error: "the command terminated with signal Killed"}},
		{runner{err: errors.New("the container does not run")}, check.Result{Error: "the container does not run"}},
		{runner{forever: true}, check.Result{Error: "the command was not done after 3s: so far"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			got := New(&c.r, nil).ask(t.Context(), state.Check{Spec: &container.Spec{Path: "look"}, Target: check.Target{Type: check.Command, Timeout: 3 * time.Second}})
			if got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

// TestStop: checks of one task are broken off together, others are not, and nothing is
// left.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := make(chan state.Checked, 10)
		p := New(&runner{forever: true}, func(c state.Checked) { answers <- c })
		ask := func(c string, check int) {
			p.Ask(state.Check{Container: id.Container(c), Task: "t", Check: check, Target: forever})
		}
		ask("a", 0)
		ask("a", 1)
		ask("b", 0)
		synctest.Wait()
		if len(answers) != 0 {
			t.Fatal("a command that does not end was answered")
		}
		p.Stop(state.StopChecks{Container: "a", Task: "t"})
		p.Stop(state.StopChecks{Container: "a", Task: "t"})
		synctest.Wait()
		if len(answers) != 2 || (<-answers).Container != "a" || (<-answers).Container != "a" {
			t.Fatal("not both checks of a were broken off")
		}
		p.Close()
		if len(answers) != 1 || (<-answers).Container != "b" || len(p.asks) != 0 {
			t.Fatal("the check of b was not broken off by Close")
		}
		ask("c", 0)
		synctest.Wait()
		if len(answers) != 0 {
			t.Fatal("asked after Close")
		}
	})
}

// forever has no timeout.
var forever = check.Target{Type: check.Command}
