package health

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/state"
)

// rig is a running prober and an instance whose first port is a test server's.
func rig(t *testing.T, handler http.HandlerFunc) (p *Prober, i *instance.Instance, told chan state.Input) {
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	told = make(chan state.Input, 100)
	p = New(1, func(in state.Input) { told <- in })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	i = &instance.Instance{
		ID: "web.instance-1", TaskID: "web.instance-1._app.1", Agent: &instance.Agent{Host: "127.0.0.1"},
		Ports: []int{server.Listener.Addr().(*net.TCPAddr).Port},
	}
	return p, i, told
}

func TestReadinessIsPolledUntilItIsReady(t *testing.T) {
	answers := make(chan int, 3)
	answers <- 503
	answers <- 200
	p, i, told := rig(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/x")
		w.WriteHeader(<-answers)
		w.Write([]byte("at " + r.URL.Path))
	})
	p.Watch(state.Watch{Instance: i, Ready: true, App: &marathon.App{
		PortDefinitions: []marathon.PortDefinition{{Name: "http-api"}},
		ReadinessChecks: []marathon.ReadinessCheck{{
			Name: "r", Protocol: "HTTP", Path: "/ready", PortName: "http-api", IntervalSeconds: 1, TimeoutSeconds: 10,
			HTTPStatusCodesForReady: []int{200}, PreserveLastResponse: true,
		}},
	}})
	for _, want := range []struct {
		ready  bool
		status int
	}{{false, 503}, {true, 200}} {
		in := (<-told).(state.ReadyProbed)
		if last := in.Result.LastResponse; in.Task != i.TaskID || in.Result.Ready != want.ready || last.Status != want.status || last.Body != "at /ready" || last.ContentType != "text/x" {
			t.Errorf("told %+v %+v, want %+v", in, last, want)
		}
	}
}

func TestHealthChecks(t *testing.T) {
	p, i, _ := rig(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/bad", http.StatusFound)
		case "/bad":
			w.WriteHeader(500)
		case "/early":
			w.WriteHeader(http.StatusSwitchingProtocols)
		case "/hangs":
			<-r.Context().Done()
		}
	})
	str := func(s string) *string { return &s }
	one := func(n int) *int { return &n }
	ignored := true
	for _, tt := range []struct {
		name  string
		check marathon.HealthCheck
		want  string // "" for success
	}{
		{"answers", marathon.HealthCheck{Protocol: "HTTP", Path: str("/"), PortIndex: one(0), TimeoutSeconds: 5}, ""},
		{"a redirect is an answer", marathon.HealthCheck{Protocol: "HTTP", Path: str("/moved"), PortIndex: one(0), TimeoutSeconds: 5}, ""},
		{"without a slash", marathon.HealthCheck{Protocol: "HTTP", Path: str("bad"), PortIndex: one(0), TimeoutSeconds: 5}, "500 Internal Server Error"},
		{"1xx", marathon.HealthCheck{Protocol: "HTTP", Path: str("/early"), PortIndex: one(0), TimeoutSeconds: 5}, "101 Switching Protocols"},
		{"1xx ignored", marathon.HealthCheck{Protocol: "HTTP", Path: str("/early"), PortIndex: one(0), TimeoutSeconds: 5, IgnoreHTTP1xx: &ignored}, errIgnored.Error()},
		{"hangs", marathon.HealthCheck{Protocol: "HTTP", Path: str("/hangs"), PortIndex: one(0), TimeoutSeconds: 1}, "did not answer within 1s"},
		{"TCP", marathon.HealthCheck{Protocol: "TCP", PortIndex: one(0), TimeoutSeconds: 5}, ""},
		{"nobody listens", marathon.HealthCheck{Protocol: "TCP", Port: one(1), TimeoutSeconds: 5}, "connection refused"},
		{"no such port", marathon.HealthCheck{Protocol: "TCP", PortIndex: one(3), TimeoutSeconds: 5}, "no such port"},
		{"not TLS", marathon.HealthCheck{Protocol: "HTTPS", PortIndex: one(0), TimeoutSeconds: 5}, "HTTP response to HTTPS client"},
	} {
		err := p.check(t.Context(), i, &tt.check)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestHealthIsToldAndUnwatched(t *testing.T) {
	p, i, told := rig(t, func(w http.ResponseWriter, r *http.Request) {})
	zero := 0
	app := &marathon.App{HealthChecks: []marathon.HealthCheck{
		{Protocol: marathon.COMMAND}, {Protocol: "HTTP", PortIndex: &zero, IntervalSeconds: 1, TimeoutSeconds: 5},
	}}
	p.Watch(state.Watch{Instance: i, Health: true, App: app})
	for range 2 {
		if in := (<-told).(state.Probed); in.Check != 1 || !in.OK || in.Task != i.TaskID {
			t.Errorf("told %+v", in)
		}
	}
	p.Unwatch(i.ID)
	p.mu.Lock()
	left := len(p.watched)
	p.mu.Unlock()
	if left != 0 {
		t.Errorf("%d are still watched", left)
	}
}

func TestPreStop(t *testing.T) {
	asked := make(chan string, 2)
	p, i, told := rig(t, func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.URL.Path
		if r.URL.Path == "/broken" {
			w.WriteHeader(500)
		}
	})
	for path, want := range map[string]string{"/drain": "", "/broken": "500"} {
		p.PreStop(state.PreStop{Instance: i, App: &marathon.App{PreStop: &marathon.PreStop{HTTP: &marathon.PreStopHTTP{Path: path}}}})
		if got := <-asked; got != "POST "+path {
			t.Errorf("asked %s", got)
		}
		if in := (<-told).(state.Stopped); in.Task != i.TaskID || !strings.Contains(in.Failure, want) || want == "" && in.Failure != "" {
			t.Errorf("told %+v", in)
		}
	}
}
