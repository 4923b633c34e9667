package e2e

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/sdk/scheduler"
)

// Every reason, with the agents' names and numbers.
func TestWhy(t *testing.T) {
	c := newCluster(t)
	c.startMaster()
	c.waitMaster()
	why := func(name string, args ...string) {
		t.Helper()
		r := c.stoa(append([]string{"why"}, args...)...)
		if r.code != 0 {
			t.Errorf("%s: exit code %d: %s", name, r.code, r.err)
		}
		golden(t, "why/"+name, r)
	}
	why("no-agents", "--cpus", "1")

	c.addAgent("small", "cpus:2;mem:1024;disk:512;ports:[31000-31001]")
	c.addAgent("medium", "cpus:4;mem:2048;disk:1024;ports:[31000-31002]")
	c.addAgent("large", "cpus:6;mem:4096;disk:4096;ports:[31000-31003]")
	until(t, "3 agents", func() bool {
		return strings.Count(c.stoa("agents", "--no-headers").out, "active") == 3
	})
	why("fits", "--cpus", "4", "--mem", "1G", "--ports", "2")
	why("cpus", "--cpus", "8")
	why("mem", "--mem", "8G")
	why("disk", "--disk", "10G")
	why("ports", "--ports", "6")
	why("what-if", "--cpus", "4", "--mem", "8G")

	c.call(`{"type":"UPDATE_QUOTA","update_quota":{"quota_configs":[{"role":"team","limits":{"cpus":{"value":1}}}]}}`)
	why("quota", "--role", "team", "--cpus", "2")

	ctx := context.Background()
	quiet := play(t, c.addr, "quiet", "*")
	quiet.do("SUPPRESS", quiet.caller.Suppress(ctx))
	for range 3 { // what came before
		quiet.decline()
	}
	why("suppressed", "quiet")
	quiet.teardown()

	picky := play(t, c.addr, "picky", "*")
	for range 3 {
		picky.decline()
	}
	why("filtered", "picky")
	picky.teardown()

	lonely := play(t, c.addr, "lonely", "*")
	lonely.launchOn(lonely.offered("large"), "waiting-for-godot", nil, func(task *mesos.TaskInfo) {
		task.Command = nil
		task.Executor = &mesos.ExecutorInfo{
			Type: mesos.ExecutorInfo_CUSTOM.Enum(), ExecutorId: &mesos.ExecutorID{Value: proto.String("godot")},
			FrameworkId: &mesos.FrameworkID{Value: proto.String(lonely.caller.FrameworkID())},
			Command:     scheduler.Exec("/bin/sleep", "1000"),
		}
	})
	until(t, "the executor runs", func() bool { return len(c.having("godot")) > 0 })
	why("executor", "waiting-for-godot")
	lonely.teardown()
	until(t, "the executor is gone", func() bool { return len(c.having("godot")) == 0 })
}

// having are the cluster's processes with a word in their environment.
func (c *cluster) having(word string) (pids []int) {
	for _, pid := range c.processes() {
		if strings.Contains(environ(pid), word) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// addAgent starts one more agent, for clusters whose master is a process of its own.
func (c *cluster) addAgent(hostname, resources string) {
	c.t.Helper()
	a := start(c.t, nil, "stoa", "agent", "--data-dir", filepath.Join(c.dir, hostname), "--listen", "127.0.0.1:0", "--master", c.addr,
		"--stop-tasks", "--cgroups-root", c.cgroups, "--hostname", hostname, "--resources", resources)
	c.more = append(c.more, a)
	c.t.Cleanup(c.clean)
	a.says("ready  ")
}
