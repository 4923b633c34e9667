package compat

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stoa-kernel/stoa/test/compat/process"
)

const tasks = 1000

// runExample runs mesos-go's example framework with its example executor to its end and
// counts what became of its tasks.
func runExample(t *testing.T, c *cluster, codec, cpus string, meanwhile func(*process.Process)) {
	t.Helper()
	s := process.Start(t, nil, filepath.Join(bin, "example-scheduler"),
		"-url", "http://"+c.addr+"/api/v1/scheduler", "-codec", codec, "-verbose",
		"-executor", filepath.Join(bin, "example-executor"),
		"-tasks", fmt.Sprint(tasks), "-cpu", cpus, "-memory", "16", "-metrics.port", "0")
	meanwhile(s)
	s.Wait("mission accomplished", 2*time.Minute)
	<-s.Done

	said := s.Output()
	counts, launched := map[string]int{}, map[string]bool{}
	for line := range strings.Lines(said) {
		var id, state string
		if _, rest, ok := strings.Cut(line, " Task "); ok {
			if _, err := fmt.Sscanf(rest, "%s is in state %s", &id, &state); err == nil {
				counts[state]++
				launched[id] = true
			}
		}
	}
	t.Logf("%s: updates seen by the scheduler: %v, of %d tasks", codec, counts, len(launched))
	for _, bad := range []string{"TASK_LOST", "TASK_DROPPED", "TASK_FAILED", "TASK_ERROR", "TASK_KILLED", "TASK_GONE"} {
		if counts[bad] > 0 {
			t.Errorf("%d updates of %s", counts[bad], bad)
		}
	}
	finished := map[string]int{}
	for _, task := range c.tasks() {
		if task.State == "TASK_FINISHED" {
			finished[task.TaskID.Value]++
		} else {
			t.Errorf("task %s is %s", task.TaskID.Value, task.State)
		}
	}
	if len(finished) != tasks {
		t.Errorf("the master knows %d tasks that finished, want %d", len(finished), tasks)
	}
	// The executor gives every execution updates of its own; a second one would show here.
	for id, n := range finished {
		if n != 1 {
			t.Errorf("task %s is there %d times", id, n)
		}
	}
}

func TestExampleScheduler(t *testing.T) {
	for _, codec := range []string{"protobuf", "json"} {
		t.Run(codec, func(t *testing.T) {
			runExample(t, newCluster(t), codec, "0.5", func(*process.Process) {})
		})
	}
}

// The agent dies as by kill -9 when it has recorded the acknowledgement that ends the
// n-th task, tasks running one at a time. At an instant in which the executor is posting
// an update mesos-go's example gives the task up, and tells TASK_FAILED under the uuid of
// the update that may have arrived: then it ends on Mesos as little as here.
func TestExampleSchedulerWhileTheAgentIsKilled(t *testing.T) {
	for _, codec := range []string{"protobuf", "json"} {
		t.Run(codec, func(t *testing.T) {
			c := newCluster(t)
			c.agent.Kill()
			// Two acknowledgements a task: after about 150, 400 and 650 of them.
			for _, at := range []int{300, 500, 500} {
				c.env = append(c.env, fmt.Sprint(at))
			}
			kills := c.env
			c.env = []string{"STOA_FAILPOINT=after-ack-record:" + kills[0]}
			c.startAgent()
			runExample(t, c, codec, "7.5", func(*process.Process) {
				for i := range kills {
					select {
					case <-c.agent.Done:
					case <-time.After(time.Minute):
						t.Fatalf("the agent did not die the %d. time", i+1)
					}
					if c.env = nil; i+1 < len(kills) {
						c.env = []string{"STOA_FAILPOINT=after-ack-record:" + kills[i+1]}
					}
					c.startAgent()
				}
			})
			if n := len(executors(t, c)); n != 1 {
				t.Errorf("%d executors were started, want the one that lives through it all", n)
			}
		})
	}
}

// executors are the sandboxes of the example's executor.
func executors(t *testing.T, c *cluster) []string {
	t.Helper()
	runs, err := filepath.Glob(c.dir + "/agent/slaves/*/frameworks/*/executors/default/runs/*")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, r := range runs {
		if s, err := os.Lstat(r); err == nil && s.IsDir() {
			found = append(found, r)
		}
	}
	return found
}
