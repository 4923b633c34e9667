// Package compat runs clients that others wrote, unmodified, against a live cluster.
package compat

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// bin holds the programs, built once.
var bin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if bin, err = os.MkdirTemp("", "compat"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(bin)
		for _, b := range []struct {
			dir  string
			pkgs []string
		}{
			{"../..", []string{"./cmd/stoa"}},
			{".", []string{"github.com/mesos/mesos-go/api/v1/cmd/example-scheduler", "github.com/mesos/mesos-go/api/v1/cmd/example-executor"}},
			{"allegro", []string{"github.com/allegro/mesos-executor/cmd/executor"}},
		} {
			c := exec.Command("go", append([]string{"build", "-o", bin + "/"}, b.pkgs...)...)
			c.Dir, c.Stdout, c.Stderr = b.dir, os.Stdout, os.Stderr
			c.Env = append(os.Environ(), "CGO_ENABLED=0")
			if err := c.Run(); err != nil {
				fmt.Fprintf(os.Stderr, "%v: %v\n", c.Args, err)
				return 1
			}
		}
		// Tasks of other users and executors pass through.
		if err := os.Chmod(bin, 0o755); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// process is a running program and what it said.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // closed and replaced at every line
	done chan struct{} // closed when it ended
	err  error
}

// start runs a program until the test ends.
func start(t *testing.T, env []string, name string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(filepath.Join(bin, name), args...), more: make(chan struct{}), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = w, w
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer r.Close()
		lines := bufio.NewReader(r)
		for {
			line, err := lines.ReadString('\n')
			p.mu.Lock()
			p.text.WriteString(line)
			close(p.more)
			p.more = make(chan struct{})
			p.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s %s said:\n%s", name, strings.Join(args, " "), last(p.output(), 4000))
		}
	})
	return p
}

func last(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// kill is kill -9; it returns when the process is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	<-p.done
}

// wait waits for a line that holds want and returns the rest of it.
func (p *process) wait(want string, within time.Duration) string {
	p.t.Helper()
	deadline := time.After(within)
	for {
		p.mu.Lock()
		text, more := p.text.String(), p.more
		p.mu.Unlock()
		if _, rest, ok := strings.Cut(text, want); ok {
			if rest, _, ok := strings.Cut(rest, "\n"); ok {
				return rest
			}
		}
		select {
		case <-more:
		case <-p.done:
			if !strings.Contains(p.output(), want) {
				p.t.Fatalf("%s ended (%v) before it said %q:\n%s", p.cmd.Path, p.err, want, last(p.output(), 4000))
			}
		case <-deadline:
			p.t.Fatalf("%s did not say %q in %v:\n%s", p.cmd.Path, want, within, last(p.output(), 4000))
		}
	}
}

// cluster is a master and an agent in processes of their own.
type cluster struct {
	t      *testing.T
	dir    string
	addr   string // of the master
	master *process
	agent  *process
	env    []string // of the next agent
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	// Not t.TempDir: sandboxes hold files of other users, and names of tests are long.
	dir, err := os.MkdirTemp("", "stoa")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, dir: dir}
	t.Cleanup(func() { os.RemoveAll(dir) })
	c.master = start(t, nil, "stoa", "master", "--data-dir", dir+"/master", "--listen", "127.0.0.1:0", "--max-completed-tasks-per-framework", "5000")
	c.addr = strings.TrimPrefix(strings.TrimSpace(c.master.wait("ready  master ", 20*time.Second)), "http://")
	c.startAgent()
	t.Cleanup(c.stopTasks)
	return c
}

func (c *cluster) startAgent() {
	c.t.Helper()
	// The port of the first start is kept.
	c.agent = start(c.t, c.env, "stoa", "agent", "--data-dir", c.dir+"/agent", "--listen", "127.0.0.1:0", "--master", c.addr, "--stop-tasks", "--resources", "cpus:8;mem:8192")
	c.agent.wait("ready  agent ", 20*time.Second)
}

// stopTasks leaves nothing behind.
func (c *cluster) stopTasks() {
	select {
	case <-c.agent.done:
		c.env = nil
		c.startAgent() // one that was killed: its tasks may still run
	default:
	}
	_ = c.agent.cmd.Process.Signal(os.Interrupt)
	select {
	case <-c.agent.done:
	case <-time.After(20 * time.Second):
		c.t.Error("the agent does not stop its tasks")
	}
}

// call makes an operator call with JSON and decodes the answer.
func (c *cluster) call(body string, answer any) {
	c.t.Helper()
	resp, err := http.Post("http://"+c.addr+"/api/v1", "application/json", strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode/100 != 2 {
		c.t.Fatalf("%s: %d %s %v", body, resp.StatusCode, raw, err)
	}
	if answer != nil {
		if err := json.Unmarshal(raw, answer); err != nil {
			c.t.Fatal(err)
		}
	}
}

// task is what GET_TASKS says of one.
type task struct {
	TaskID   struct{ Value string } `json:"task_id"`
	State    string                 `json:"state"`
	Statuses []struct {
		State   string `json:"state"`
		Message string `json:"message"`
		Reason  string `json:"reason"`
	} `json:"statuses"`
}

func (c *cluster) tasks() []task {
	c.t.Helper()
	var answer struct {
		GetTasks struct {
			Tasks       []task `json:"tasks"`
			Unreachable []task `json:"unreachable_tasks"`
			Completed   []task `json:"completed_tasks"`
		} `json:"get_tasks"`
	}
	c.call(`{"type":"GET_TASKS"}`, &answer)
	return append(append(answer.GetTasks.Tasks, answer.GetTasks.Unreachable...), answer.GetTasks.Completed...)
}
