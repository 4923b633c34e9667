// Package gomarathon drives a live cluster with go-marathon, unmodified, and with the calls
// of zdd.py.
package gomarathon

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	marathon "github.com/gambol99/go-marathon"

	"github.com/stoa-kernel/stoa/test/compat/process"
)

// patience is how long anything may take on a machine that is busy with other tests.
const patience = 40 * time.Second

// bin holds the programs, built once.
var bin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if bin, err = os.MkdirTemp("", "gomarathon"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(bin)
		if err := errors.Join(process.Build(bin, "../../..", "./cmd/stoa"), process.Build(bin, ".", "./web")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// cluster is a live `stoa up` and go-marathon's client of it.
type cluster struct {
	marathon.Marathon
	t   *testing.T
	url string // of the API
	up  *process.Process
}

func up(t *testing.T, args ...string) *cluster {
	t.Helper()
	// Not t.TempDir: sandboxes hold files of other users, and names of tests are long.
	dir, err := os.MkdirTemp("", "stoa")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	c := &cluster{t: t}
	// The ports are none that other tests' agents offer.
	c.up = process.Start(t, nil, filepath.Join(bin, "stoa"), append([]string{"up", "--data-dir", dir,
		"--master-listen", "127.0.0.1:0", "--agent-listen", "127.0.0.1:0", "--run-listen", "127.0.0.1:0", "--service-listen", "127.0.0.1:0",
		"--hostname", "127.0.0.1", "--resources", "cpus:8;mem:8192;disk:8192;ports:[27000-27999]"}, args...)...)
	ready := strings.Fields(c.up.Wait("ready  ", patience))
	c.url = ready[slices.Index(ready, "service")+1]
	t.Cleanup(func() {
		c.up.Signal(os.Interrupt)
		select {
		case <-c.up.Done:
		case <-time.After(patience):
			t.Error("the cluster does not stop its tasks")
		}
	})
	c.Marathon = c.client(func(*marathon.Config) {})
	return c
}

// client is another client; what it sent and got is shown when the test fails.
func (c *cluster) client(set func(*marathon.Config)) marathon.Marathon {
	c.t.Helper()
	var log journal
	cfg := marathon.NewDefaultConfig()
	cfg.URL, cfg.EventsTransport, cfg.LogOutput = c.url, marathon.EventsTransportSSE, &log
	cfg.HTTPClient, cfg.PollingWaitTime = &http.Client{}, 50*time.Millisecond
	set(&cfg)
	m, err := marathon.NewClient(cfg)
	c.t.Cleanup(func() {
		if c.t.Failed() {
			c.t.Logf("the client says:\n%s", log.last(8000))
		}
	})
	return must(m, err)(c.t)
}

// journal keeps what a client logs.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) last(n int) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	b := j.text.Bytes()
	return string(b[max(0, len(b)-n):])
}

// must is for calls that have to work.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// refused tells whether an error is the API's, of a kind of go-marathon's and in the words
// given.
func refused(t *testing.T, err error, code int, words string) {
	t.Helper()
	var api *marathon.APIError
	switch {
	case !errors.As(err, &api):
		t.Errorf("%v instead of an error of the API with %q", err, words)
	case api.ErrCode != code || !strings.Contains(api.Error(), words):
		t.Errorf("error %d, %q; want %d with %q", api.ErrCode, api.Error(), code, words)
	}
}

// until asks again and again.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			t.Fatalf("%v are over and not yet: %s", patience, what)
		case <-tick.C:
		}
	}
}

// web is an app of the web server with a health check.
func web(id, version string, instances int) *marathon.Application {
	check := marathon.NewDefaultHealthCheck()
	*check.Path = "/health"
	check.IntervalSeconds, check.TimeoutSeconds = 1, 1
	return plain(id, filepath.Join(bin, "web"), instances).AddEnv("VERSION", version).AddHealthCheck(*check)
}

// plain is an app without checks.
func plain(id, command string, instances int) *marathon.Application {
	return new(marathon.Application).Name(id).Command(command).CPU(0.05).Memory(32).Count(instances)
}

// create makes an app and waits for its deployment.
func (c *cluster) create(a *marathon.Application) *marathon.Application {
	c.t.Helper()
	made := must(c.CreateApplication(a))(c.t)
	ids := made.DeploymentIDs()
	if len(ids) != 1 || made.Version == "" {
		c.t.Fatalf("created with deployments %v, version %q", made.Deployments, made.Version)
	}
	c.wait(ids[0], nil)
	return made
}

// wait for the deployment that a call started.
func (c *cluster) wait(d *marathon.DeploymentID, err error) {
	c.t.Helper()
	if must(d, err)(c.t).DeploymentID == "" {
		c.t.Fatal("no deployment was started")
	}
	if err := c.WaitOnDeployment(d.DeploymentID, patience); err != nil {
		c.t.Fatalf("deployment %s: %v", d.DeploymentID, err)
	}
}

// ids of an app's tasks.
func (c *cluster) ids(app string) []string {
	c.t.Helper()
	var ids []string
	for _, task := range must(c.Tasks(app))(c.t).Tasks {
		ids = append(ids, task.ID)
	}
	slices.Sort(ids)
	return ids
}

// says is what each of an app's tasks answers: its version.
func (c *cluster) says(app string) string {
	c.t.Helper()
	var all []string
	for _, task := range must(c.Tasks(app))(c.t).Tasks {
		if len(task.Ports) == 0 {
			c.t.Fatalf("task %s has no port", task.ID)
		}
		resp := must(http.Get(fmt.Sprintf("http://%s:%d/", task.Host, task.Ports[0])))(c.t)
		version, id, _ := strings.Cut(string(must(io.ReadAll(resp.Body))(c.t)), " ")
		resp.Body.Close()
		if id != task.ID {
			c.t.Errorf("at the port of %s answers %s", task.ID, id)
		}
		all = append(all, version)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}
