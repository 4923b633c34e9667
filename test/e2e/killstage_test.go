package e2e

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/internal/failpoint"
	"github.com/stoa-kernel/stoa/sdk/scheduler"
)

// A task is killed at every stage of its life, the agent's deaths among them.
func TestKillStages(t *testing.T) {
	t.Parallel()
	c := newPair(t, "--resources", "cpus:4;mem:2048")
	a := play(t, c.addr, "stages", "*")
	started := func(id string) string { return filepath.Join(c.dir, id) }
	shell := func(id, rest string) *mesos.CommandInfo {
		return scheduler.Shell("echo >>" + started(id) + "; " + rest)
	}
	ran := func(id string) bool {
		_, err := os.Stat(started(id))
		return err == nil
	}

	// Pending: the kill follows the launch at once, wherever the launch is by then.
	a.launch("pending", shell("pending", "exec sleep 1000"))
	a.kill("pending", nil)
	a.await("pending", mesos.TaskState_TASK_KILLED)

	// Pending for long: the agent is away, and never hears of the task.
	c.agent.kill()
	a.launch("undelivered", shell("undelivered", "exec sleep 1000"))
	a.kill("undelivered", nil)
	c.startAgent()
	c.waitAgent()
	a.await("undelivered", mesos.TaskState_TASK_KILLED)
	if ran("undelivered") {
		t.Error("a task killed before its agent heard of it ran")
	}

	// Fetching, from a server that does not answer.
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	command := shell("fetching", "exec sleep 1000")
	command.Uris = []*mesos.CommandInfo_URI{{Value: proto.String("http://" + silent.Addr().String() + "/never")}}
	a.launch("fetching", command)
	asked, err := silent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer asked.Close()
	a.kill("fetching", nil)
	a.await("fetching", mesos.TaskState_TASK_KILLED)
	if ran("fetching") {
		t.Error("a task killed while it fetched ran")
	}

	// Before go: the agent dies between the fork and the order to execute.
	c.agent.kill()
	c.startAgent(failpoint.Variable + "=" + failpoint.BeforeGo)
	c.waitAgent()
	a.launch("before-go", shell("before-go", "exec sleep 1000"))
	c.agent.exit()
	a.kill("before-go", nil)
	c.startAgent()
	c.waitAgent()
	a.await("before-go", mesos.TaskState_TASK_KILLED)
	// The agent let it go before it heard of the kill, but not twice.
	if text, _ := os.ReadFile(started("before-go")); len(text) > 1 {
		t.Errorf("a task whose agent died before it let it go ran %d times", len(text))
	}

	// During adoption: the agent finds a running task and the kill at the same time.
	a.launch("adopted", shell("adopted", "trap 'exit 0' TERM; while :; do sleep 0.05; done"))
	a.await("adopted", mesos.TaskState_TASK_RUNNING)
	until(t, "its shell has begun", func() bool { return ran("adopted") })
	c.agent.kill()
	a.kill("adopted", nil)
	c.startAgent()
	c.waitAgent()
	a.await("adopted", mesos.TaskState_TASK_KILLED)
	if got := a.states("adopted"); got != "running killing killed" && got != "running killed" {
		t.Errorf("a task killed while its agent was away went through %s", got)
	}

	// Twice: the second kill shortens the first one's grace.
	a.launch("twice", shell("twice", "trap '' TERM; while :; do sleep 0.05; done"))
	a.await("twice", mesos.TaskState_TASK_RUNNING)
	until(t, "its shell has begun", func() bool { return ran("twice") })
	a.kill("twice", grace(1000))
	a.await("twice", mesos.TaskState_TASK_KILLING)
	began := time.Now()
	a.kill("twice", grace(0.1))
	a.await("twice", mesos.TaskState_TASK_KILLED)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("killed with less grace it took %v", took)
	}
	if got := a.states("twice"); got != "running killing killed" {
		t.Errorf("a task killed twice went through %s", got)
	}
	a.teardown()
}
