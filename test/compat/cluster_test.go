// Package compat runs clients that others wrote, unmodified, against a live cluster.
package compat

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stoa-kernel/stoa/test/compat/process"
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
			if err := process.Build(bin, b.dir, b.pkgs...); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
		}
		return m.Run()
	}())
}

// cluster is a master and an agent in processes of their own.
type cluster struct {
	t      *testing.T
	dir    string
	addr   string // of the master
	master *process.Process
	agent  *process.Process
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
	c.master = process.Start(t, nil, filepath.Join(bin, "stoa"), "master", "--data-dir", dir+"/master", "--listen", "127.0.0.1:0", "--max-completed-tasks-per-framework", "5000")
	c.addr = strings.TrimPrefix(strings.TrimSpace(c.master.Wait("ready  master ", 20*time.Second)), "http://")
	c.startAgent()
	t.Cleanup(c.stopTasks)
	return c
}

func (c *cluster) startAgent() {
	c.t.Helper()
	// The port of the first start is kept.
	c.agent = process.Start(c.t, c.env, filepath.Join(bin, "stoa"), "agent", "--data-dir", c.dir+"/agent", "--listen", "127.0.0.1:0", "--master", c.addr, "--stop-tasks", "--resources", "cpus:8;mem:8192")
	c.agent.Wait("ready  agent ", 20*time.Second)
}

// stopTasks leaves nothing behind.
func (c *cluster) stopTasks() {
	select {
	case <-c.agent.Done:
		c.env = nil
		c.startAgent() // one that was killed: its tasks may still run
	default:
	}
	c.agent.Signal(os.Interrupt)
	select {
	case <-c.agent.Done:
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
