package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// registry is an etcd such as operators have, of one member in the test's process.
func registry(t *testing.T, quota int64) (endpoint string, c *clientv3.Client) {
	t.Helper()
	cfg := embed.NewConfig()
	cfg.Dir, cfg.QuotaBackendBytes = t.TempDir(), quota
	cfg.LogLevel, cfg.LogOutputs = "error", []string{filepath.Join(cfg.Dir, "log")}
	cfg.ListenPeerUrls = nil
	cfg.ListenClientUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	cfg.TickMs, cfg.ElectionMs = 20, 100
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	<-e.Server.ReadyNotify()
	endpoint = "http://" + e.Clients[0].Addr().String()
	c, err = clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return endpoint, c
}

// candidate is one of several services on one store.
type candidate struct {
	t testing.TB
	*process
	url string
}

// stand starts a service; says is what it says of itself, in a line with its URL.
func (c *cluster) stand(name, store, says string) *candidate {
	c.t.Helper()
	p := start(c.t, nil, "stoa", "service", "--data-dir", filepath.Join(c.dir, name), "--listen", "127.0.0.1:0", "--master", c.addr, "--store", store)
	line := p.line(p.err, says)
	_, url, ok := strings.Cut(line, "url=")
	if !ok {
		c.t.Fatalf("no URL in %q", line)
	}
	return &candidate{c.t, p, strings.TrimSpace(url)}
}

// ask makes a request and follows no redirect.
func (c *candidate) ask(method, path, body string) (status int, header http.Header, answer string) {
	c.t.Helper()
	r, err := http.NewRequest(method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp.StatusCode, resp.Header, string(raw)
}

func (c *candidate) expect(status int, method, path, body string) string {
	c.t.Helper()
	got, _, answer := c.ask(method, path, body)
	if got != status {
		c.t.Fatalf("%s %s: %d %s; want %d", method, path, got, answer, status)
	}
	return answer
}

// leads waits until everybody says that c leads.
func (c *candidate) leads(all ...*candidate) {
	c.t.Helper()
	want := fmt.Sprintf(`{"leader":%q}`, strings.TrimPrefix(c.url, "http://"))
	for _, other := range all {
		until(c.t, other.url+" says that "+c.url+" leads", func() bool {
			status, _, answer := other.ask("GET", "/v2/leader", "")
			return status == 200 && strings.TrimSpace(answer) == want
		})
	}
}

// running waits until so many tasks of an app run.
func (c *candidate) running(app string, n int) {
	c.t.Helper()
	until(c.t, fmt.Sprintf("%d tasks of %s run", n, app), func() bool {
		var answer struct{ App appNow }
		if err := get(c.t.Context(), c.url+"/v2/apps"+app, &answer); err != nil {
			c.t.Fatal(err)
		}
		return answer.App.TasksRunning == n
	})
}

const sleepers = `{"id":"/web","cmd":"exec sleep 100000","cpus":0.05,"mem":32,"instances":2,"portDefinitions":[]}`

// Of two services one leads. The other one passes requests on, takes over when the leader
// is killed, and goes on with what that one was doing.
func TestStandby(t *testing.T) {
	t.Parallel()
	c := newPair(t, "--resources", "cpus:4;mem:2048;disk:1024")
	store, _ := registry(t, 0)
	first := c.stand("first", store, "service: leads")
	second := c.stand("second", store, "another process leads")
	first.leads(first, second)
	events := listenTo(t, first.url, second.url)
	until(t, "the events are listened to", func() bool { return len(events.events()) > 0 })

	// Who leads does not matter to clients.
	status, header, answer := second.ask("POST", "/v2/apps", sleepers)
	if status != 201 || header.Get("X-Marathon-Leader") != first.url {
		t.Fatalf("through the standby: %d %s %v", status, answer, header)
	}
	second.running("/web", 2)
	first.running("/web", 2)
	if answer := second.expect(409, "POST", "/v2/apps", sleepers); !strings.Contains(answer, "already exists") {
		t.Errorf("a refusal through the standby: %s", answer)
	}
	if status, header, _ := second.ask("GET", "/v2/events?event_type=a", ""); status != 302 || header.Get("Location") != first.url+"/v2/events?event_type=a" {
		t.Errorf("the events of the standby: %d %v", status, header)
	}
	second.expect(200, "GET", "/ping", "")

	// In the middle of a deployment.
	_, header, _ = second.ask("PUT", "/v2/apps/web", `{"instances":6}`)
	deployment := header.Get("Marathon-Deployment-Id")
	first.signal(syscall.SIGKILL)
	first.exit()
	if status, _, answer := second.ask("PUT", "/v2/apps/web?force=true", `{"instances":1}`); status != 502 || !strings.Contains(answer, "leader") {
		t.Errorf("with a dead leader: %d %s", status, answer)
	}
	second.leads(second)
	second.running("/web", 6)
	until(t, "the deployment is over", func() bool { return events.ends()[deployment] == 1 })
	launched := strings.Count(c.call(`{"type":"GET_TASKS"}`), `"executor_id"`)
	if launched != 6 {
		t.Errorf("%d tasks were launched, want 6", launched)
	}

	// The first one comes back as the standby, and leads when the other one is asked to end.
	first = c.stand("first", store, "another process leads")
	second.leads(first, second)
	first.running("/web", 6)
	second.signal(os.Interrupt)
	if code := second.exit(); code != 0 {
		t.Errorf("the leader ends with %d when interrupted", code)
	}
	first.leads(first)
	first.running("/web", 6)
	first.expect(200, "PUT", "/v2/apps/web", `{"instances":1}`)
	first.running("/web", 1)
	events.end()
	if terms, wrong := judgeEvents(events.events()); terms != 2 || len(wrong) > 0 {
		t.Errorf("%d terms were seen, want 2; %s", terms, strings.Join(wrong, "\n"))
	}
}

// Without space in the store nothing is changed and all can be read; when there is some
// again, the service goes on by itself.
func TestStoreWithoutSpace(t *testing.T) {
	t.Parallel()
	c := newPair(t, "--resources", "cpus:4;mem:2048;disk:1024")
	store, etcd := registry(t, 16<<20)
	s := c.stand("service", store, "service: leads")
	s.leads(s)
	s.expect(201, "POST", "/v2/apps", sleepers)
	s.running("/web", 2)
	until(t, "no deployment runs", func() bool { return strings.TrimSpace(s.expect(200, "GET", "/v2/deployments", "")) == "[]" })

	ctx := t.Context()
	var err error
	for n := 0; err == nil; n++ {
		_, err = etcd.Put(ctx, fmt.Sprintf("filler/%d", n), strings.Repeat("x", 1<<20))
	}
	if !errors.Is(err, rpctypes.ErrNoSpace) {
		t.Fatal(err)
	}
	if answer := s.expect(503, "PUT", "/v2/apps/web", `{"instances":3}`); !strings.Contains(answer, "may or may not have been carried out") || !strings.Contains(answer, "NOSPACE") {
		t.Errorf("the first write: %s", answer)
	}
	for _, write := range [][3]string{
		{"PUT", "/v2/apps/web?force=true", `{"instances":7}`}, {"DELETE", "/v2/apps/web", ""}, {"POST", "/v2/apps", `{"id":"/other","cmd":"sleep 1"}`},
	} {
		if answer := s.expect(503, write[0], write[1], write[2]); !strings.Contains(answer, "Nothing was changed") || !strings.Contains(answer, "NOSPACE") {
			t.Errorf("%s %s: %s", write[0], write[1], answer)
		}
	}
	s.running("/web", 2)
	if answer := s.expect(200, "GET", "/v2/apps/web", ""); !strings.Contains(answer, `"instances":2,`) {
		t.Errorf("meanwhile: %s", answer)
	}
	s.expect(404, "GET", "/v2/apps/other", "")

	room(t, ctx, etcd, store)
	s.running("/web", 3)
	s.expect(201, "POST", "/v2/apps", `{"id":"/other","cmd":"exec sleep 100000","cpus":0.05,"mem":32,"portDefinitions":[]}`)
	s.running("/other", 1)
	if launched := strings.Count(c.call(`{"type":"GET_TASKS"}`), `"executor_id"`); launched != 4 {
		t.Errorf("%d tasks were launched, want 4", launched)
	}
	// What was said to be done is what the next one knows.
	s.signal(os.Interrupt)
	if code := s.exit(); code != 0 {
		t.Errorf("the service ends with %d when interrupted", code)
	}
	s = c.stand("service", store, "service: leads")
	s.leads(s)
	s.running("/web", 3)
	s.running("/other", 1)
}

// room is what an operator makes in an etcd that has none.
func room(t *testing.T, ctx context.Context, c *clientv3.Client, endpoint string) {
	t.Helper()
	gone, err := c.Delete(ctx, "filler/", clientv3.WithPrefix())
	if err == nil {
		_, err = c.Compact(ctx, gone.Header.Revision, clientv3.WithCompactPhysical())
	}
	if err == nil {
		_, err = c.Defragment(ctx, endpoint)
	}
	if err == nil {
		_, err = c.AlarmDisarm(ctx, &clientv3.AlarmMember{})
	}
	if err != nil {
		t.Fatal(err)
	}
}
