package health

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/instance"
)

// drip writes text, then a byte each 900 ms for as long as somebody reads.
func drip(conn net.Conn, text, more string) {
	_, err := conn.Write([]byte(text))
	for n := 0; err == nil && more != ""; n++ {
		<-time.After(900 * time.Millisecond)
		_, err = conn.Write([]byte{more[n%len(more)]})
	}
}

// A server that is slow costs its timeout and nothing more, whatever it is slow with.
func TestSlowServers(t *testing.T) {
	const limit = 3 * time.Second
	long := strings.Repeat("x", 1<<20)
	for _, tt := range []struct {
		name       string
		text, more string // what it answers, and drips after that
		healthy    string // what is wrong with it, "" for nothing
		ready      string
		took       [2]time.Duration // by both
	}{
		{"at once", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell", "", "", "", [2]time.Duration{}},
		{"nothing", "", "", "did not answer within 3s", "did not answer within 3s", [2]time.Duration{limit, limit}},
		{"drips a header", "HTTP/1.1 200 OK\r\nX: ", "y", "did not answer within 3s", "did not answer within 3s", [2]time.Duration{limit, limit}},
		{"drips header after header", "HTTP/1.1 200 OK\r\n", "X: y\r\n", "did not answer within 3s", "did not answer within 3s", [2]time.Duration{limit, limit}},
		{"drips a body", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", "z", "", "answered 200 OK and did not end: web:31000 did not answer within 3s", [2]time.Duration{0, limit}},
		{"drips without a length", "HTTP/1.1 200 OK\r\n\r\n", "z", "", "did not end", [2]time.Duration{0, limit}},
		{"a body cut short", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nz", "", "", "unexpected EOF", [2]time.Duration{}},
		{"a long body", "HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n" + long, "", "", "", [2]time.Duration{}},
		{"a long header", "HTTP/1.1 200 OK\r\nX: " + long + "\r\n\r\n", "", "header", "header", [2]time.Duration{}},
		{"a redirect", "HTTP/1.1 302 Found\r\nLocation: http://nowhere/\r\nContent-Length: 0\r\n\r\n", "", "", "302", [2]time.Duration{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := New(1, nil)
				var servers sync.WaitGroup
				defer servers.Wait()
				p.dial = func(context.Context, string, string) (net.Conn, error) {
					ours, theirs := net.Pipe()
					servers.Go(func() {
						defer theirs.Close()
						if _, err := http.ReadRequest(bufio.NewReader(theirs)); err != nil || tt.text == "" {
							_, _ = theirs.Read(make([]byte, 1)) // until the other end goes
							return
						}
						drip(theirs, tt.text, tt.more)
					})
					return ours, nil
				}
				i := &instance.Instance{TaskID: "web.1", Agent: &instance.Agent{Host: "web"}, Ports: []int{31000}}
				zero, began := 0, time.Now()
				err := p.check(t.Context(), i, &marathon.HealthCheck{Protocol: "HTTP", PortIndex: &zero, TimeoutSeconds: 3})
				if said := fmt.Sprint(err); (err == nil) != (tt.healthy == "") || !strings.Contains(said, tt.healthy) {
					t.Errorf("the health check says %v, want %q", err, tt.healthy)
				}
				if took := time.Since(began); took != tt.took[0] {
					t.Errorf("the health check took %v, want %v", took, tt.took[0])
				}
				began = time.Now()
				r := p.ready(t.Context(), i, &marathon.App{PortDefinitions: []marathon.PortDefinition{{Name: "http"}}}, &marathon.ReadinessCheck{
					Protocol: "HTTP", PortName: "http", TimeoutSeconds: 3, HTTPStatusCodesForReady: []int{200}, PreserveLastResponse: true,
				})
				if said := fmt.Sprint(r.LastResponse.Status, " ", r.LastResponse.Body); r.Ready != (tt.ready == "") || !strings.Contains(said, tt.ready) {
					t.Errorf("the readiness check says %v, %s; want %q", r.Ready, said, tt.ready)
				}
				if len(r.LastResponse.Body) > maxKept {
					t.Errorf("%d bytes are kept", len(r.LastResponse.Body))
				}
				if took := time.Since(began); took != tt.took[1] {
					t.Errorf("the readiness check took %v, want %v", took, tt.took[1])
				}
			})
		})
	}
}
