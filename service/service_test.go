package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/sdk/sdktest"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/state"
	"github.com/stoa-kernel/stoa/store"
	"github.com/stoa-kernel/stoa/store/memory"
)

// pipes is a listener in memory, which works on virtual time.
type pipes struct {
	accept chan net.Conn
	done   chan struct{}
	once   sync.Once
}

func listenPipes() *pipes { return &pipes{accept: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accept:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.accept <- theirs:
		return ours, nil
	case <-p.done:
		return nil, errors.New("nothing listens there")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// cluster is a service with a master, a store and a client, on virtual time.
type cluster struct {
	t      *testing.T
	master *sdktest.Master
	space  *memory.Space
	// watched, if not nil, sees every commit; wrapped is around the store.
	watched func([]store.Op)
	wrapped func(store.Store) store.Store
	// ends is the error that the service ends with.
	ends   error
	config Config

	stop   func()
	client *http.Client
}

// bubble runs f with a service that has begun.
func bubble(t *testing.T, f func(t *testing.T, c *cluster)) {
	synctest.Test(t, func(t *testing.T) {
		m := sdktest.NewMaster()
		defer m.Close()
		m.Run = func(ctx context.Context, _ *mesos.TaskInfo) *mesos.TaskStatus {
			<-ctx.Done()
			return nil
		}
		c := &cluster{t: t, master: m, space: memory.NewSpace(), config: Config{
			Masters: []string{m.Addr()}, URL: "http://127.0.0.1:8080", Client: m.Client(),
			Core: state.Config{Seed: 1, App: app.Options{PortMin: 10000, PortMax: 20000}},
			Log:  slog.New(slog.NewTextHandler(io.Discard, nil)),
		}}
		m.AddAgent("cpus:8;mem:8192;ports:[31000-31100]")
		c.begin()
		defer func() { c.stop() }()
		f(t, c)
	})
}

// begin starts a service on the store.
func (c *cluster) begin() {
	l := listenPipes()
	ctx, cancel := context.WithCancel(c.t.Context())
	cfg := c.config
	cfg.Listener, cfg.Store = l, c.space.Open()
	if c.watched != nil {
		cfg.Store = watchedStore{cfg.Store, c.watched}
	}
	if c.wrapped != nil {
		cfg.Store = c.wrapped(cfg.Store)
	}
	done := make(chan error, 1)
	go func() { done <- Run(ctx, cfg) }()
	c.client = &http.Client{Transport: &http.Transport{DialContext: l.dial}, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	c.stop = func() {
		c.client.CloseIdleConnections()
		cancel()
		if err := <-done; !errors.Is(err, c.ends) {
			c.t.Errorf("the service ended with %v, want %v", err, c.ends)
		}
		cfg.Store.Close()
	}
	c.until("the service leads", func() bool { return c.call("GET", "/ping", "", nil).StatusCode == 200 })
}

// call makes a request and decodes its answer into out, if it is not nil.
func (c *cluster) call(method, path, body string, out any) *http.Response {
	c.t.Helper()
	r, err := http.NewRequest(method, "http://127.0.0.1:8080"+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := c.client.Do(r)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(text))
	if out != nil {
		if err := json.Unmarshal(text, out); err != nil {
			c.t.Fatalf("%s %s: %d %s: %v", method, path, resp.StatusCode, text, err)
		}
	}
	return resp
}

// expect is call with the status that must come.
func (c *cluster) expect(status int, method, path, body string, out any) *http.Response {
	c.t.Helper()
	resp := c.call(method, path, body, out)
	if resp.StatusCode != status {
		text, _ := io.ReadAll(resp.Body)
		c.t.Fatalf("%s %s: %d instead of %d: %s", method, path, resp.StatusCode, status, text)
	}
	return resp
}

// until waits for something to be true, up to a minute of virtual time.
func (c *cluster) until(what string, holds func() bool) {
	c.t.Helper()
	for range 600 {
		if holds() {
			return
		}
		<-time.After(100 * time.Millisecond)
	}
	var apps, deployments, queue any
	c.call("GET", "/v2/apps?embed=apps.tasks", "", &apps)
	c.call("GET", "/v2/deployments?embed=waiting", "", &deployments)
	c.call("GET", "/v2/queue", "", &queue)
	text, _ := json.MarshalIndent([]any{apps, deployments, queue}, "", "  ")
	c.t.Fatalf("a minute has passed, and it is not true that %s:\n%s", what, text)
}

// settled waits for all deployments to be over.
func (c *cluster) settled() {
	c.t.Helper()
	c.until("no deployment is under way", func() bool {
		var all []marathon.Deployment
		c.expect(200, "GET", "/v2/deployments", "", &all)
		return len(all) == 0
	})
}

func (c *cluster) app(id string) marathon.AppInfo {
	c.t.Helper()
	var out struct{ App marathon.AppInfo }
	c.expect(200, "GET", "/v2/apps"+id, "", &out)
	return out.App
}

const sleeper = `{"id":"/web","cmd":"sleep 1000","cpus":0.5,"mem":64,"instances":2}`

// TestLifeOfAnApp is the first hour of everybody who tries it.
func TestLifeOfAnApp(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		var created marathon.AppInfo
		resp := c.expect(201, "POST", "/v2/apps", sleeper, &created)
		if len(created.Deployments) != 1 || resp.Header.Get("Marathon-Deployment-Id") != created.Deployments[0].ID {
			t.Errorf("the deployment of a new app: %+v, header %v", created.Deployments, resp.Header)
		}
		c.settled()
		web := c.app("/web")
		if web.TasksRunning != 2 || len(web.Tasks) != 2 || web.Tasks[0].State != "TASK_RUNNING" || len(web.Tasks[0].Ports) != 1 {
			t.Fatalf("running: %+v %+v", web.TaskCounts, web.Tasks)
		}

		c.expect(409, "POST", "/v2/apps", sleeper, nil)

		var result marathon.DeploymentResult
		c.expect(200, "PUT", "/v2/apps/web", `{"instances":3}`, &result)
		if result.DeploymentID == "" || result.Version <= web.Version {
			t.Errorf("scaling: %+v", result)
		}
		c.settled()
		first := web.Tasks[0].ID
		web = c.app("/web")
		if web.TasksRunning != 3 || web.Tasks[0].ID != first {
			t.Errorf("scaled to 3: %+v %+v", web.TaskCounts, web.Tasks)
		}

		c.expect(200, "POST", "/v2/apps/web/restart", "", &result)
		c.settled()
		web = c.app("/web")
		if web.TasksRunning != 3 {
			t.Errorf("restarted: %+v", web.TaskCounts)
		}
		for _, task := range web.Tasks {
			if task.ID == first || task.Version != result.Version {
				t.Errorf("%s of version %s is left after a restart", task.ID, task.Version)
			}
		}

		var versions struct{ Versions []marathon.Version }
		c.expect(200, "GET", "/v2/apps/web/versions", "", &versions)
		if len(versions.Versions) != 3 || versions.Versions[0] != web.Version {
			t.Errorf("versions %v, now %s", versions.Versions, web.Version)
		}
		c.expect(200, "PUT", "/v2/apps/web", `{"version":"`+string(versions.Versions[2])+`"}`, &result)
		c.settled()
		if web = c.app("/web"); web.Instances != 2 || web.TasksRunning != 2 {
			t.Errorf("back at the first version: %d instances, %+v", web.Instances, web.TaskCounts)
		}

		c.expect(200, "DELETE", "/v2/apps/web", "", &result)
		c.settled()
		c.expect(404, "GET", "/v2/apps/web", "", nil)
		var tasks struct{ Tasks []marathon.Task }
		c.expect(200, "GET", "/v2/tasks", "", &tasks)
		if len(tasks.Tasks) != 0 {
			t.Errorf("left behind: %+v", tasks.Tasks)
		}
	})
}

// TestKilledTasksComeBack: with scale they do not.
func TestKilledTasksComeBack(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		c.expect(201, "POST", "/v2/apps", sleeper, nil)
		c.settled()
		task := c.app("/web").Tasks[0].ID
		var one struct{ Task marathon.Task }
		// As go-marathon addresses it: the app is cut from the id at its last dot.
		c.expect(200, "DELETE", "/v2/apps/"+strings.ReplaceAll(task[:strings.LastIndex(task, ".")], "_", "/")+"/tasks/"+task, "", &one)
		if one.Task.ID != task {
			t.Errorf("killed %+v", one.Task)
		}
		c.until("the task was replaced", func() bool {
			web := c.app("/web")
			gone := true
			for _, t := range web.Tasks {
				gone = gone && t.ID != task
			}
			return gone && web.TasksRunning == 2
		})
		task = c.app("/web").Tasks[0].ID
		var result marathon.DeploymentResult
		c.expect(200, "POST", "/v2/tasks/delete?scale=true", `{"ids":["`+task+`"]}`, &result)
		c.settled()
		if web := c.app("/web"); web.Instances != 1 || web.TasksRunning != 1 || web.Tasks[0].ID == task {
			t.Errorf("after a kill with scale: %d instances, %+v", web.Instances, web.Tasks)
		}
	})
}

// TestLocked: an app that waits for offers holds its lock.
func TestLocked(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		c.expect(201, "POST", "/v2/apps", `{"id":"/big","cmd":"sleep 1000","cpus":100}`, nil)
		c.until("the offers were looked at", func() bool {
			var q marathon.Queue
			c.expect(200, "GET", "/v2/queue?embed=lastUnusedOffers", "", &q)
			return len(q.Queue) == 1 && len(q.Queue[0].LastUnusedOffers) > 0 &&
				q.Queue[0].LastUnusedOffers[0].Reason[0] == "InsufficientCpus"
		})
		var refused marathon.Error
		c.expect(409, "PUT", "/v2/apps/big", `{"cpus":50}`, &refused)
		if len(refused.Deployments) != 1 {
			t.Errorf("locked: %+v", refused)
		}
		c.expect(200, "PUT", "/v2/apps/big?force=true", `{"cpus":1}`, nil)
		c.settled()
		if big := c.app("/big"); big.TasksRunning != 1 {
			t.Errorf("after force: %+v", big.TaskCounts)
		}
	})
}

func TestGroups(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		c.expect(201, "POST", "/v2/groups", `{"id":"/shop","apps":[
			{"id":"db","cmd":"sleep 1000","cpus":0.1,"mem":32},
			{"id":"web","cmd":"sleep 1000","cpus":0.1,"mem":32,"dependencies":["db"]}]}`, nil)
		c.settled()
		var shop struct {
			ID   string
			Apps []marathon.AppInfo
		}
		c.expect(200, "GET", "/v2/groups/shop?embed=group.apps&embed=group.apps.counts", "", &shop)
		if len(shop.Apps) != 2 || shop.Apps[0].TasksRunning != 1 || shop.Apps[1].TasksRunning != 1 {
			t.Errorf("%+v", shop)
		}
		c.expect(409, "POST", "/v2/groups", `{"id":"/shop"}`, nil)
		c.expect(200, "DELETE", "/v2/groups/shop", "", nil)
		c.settled()
		c.expect(404, "GET", "/v2/groups/shop", "", nil)
	})
}

// TestRestartOfTheService: another process finds everything as it was, and keeps it.
func TestRestartOfTheService(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		c.expect(201, "POST", "/v2/groups", `{"id":"/a","apps":[{"id":"web","cmd":"sleep 1000","instances":2,"cpus":0.1,"mem":32}]}`, nil)
		c.settled()
		before := c.app("/a/web")
		c.stop()
		c.begin()
		after := c.app("/a/web")
		if after.Version != before.Version || len(after.Tasks) != 2 || after.Tasks[0].ID != before.Tasks[0].ID {
			t.Errorf("before %+v, after %+v", before, after)
		}
		c.expect(200, "PUT", "/v2/apps/a/web", `{"instances":1}`, nil)
		c.settled()
		if web := c.app("/a/web"); web.TasksRunning != 1 {
			t.Errorf("after scaling: %+v", web.TaskCounts)
		}
		c.expect(200, "DELETE", "/v2/groups/a", "", nil)
		c.settled()
		c.expect(404, "GET", "/v2/groups/a", "", nil)
	})
}
