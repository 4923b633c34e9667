package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// alive tells whether a process runs.
func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

// task is the pid of the one process of the cluster with a word in its environment.
func (c *cluster) task(word string) int {
	c.t.Helper()
	var pids []int
	until(c.t, "a process with "+word, func() bool {
		pids = c.having(word)
		return len(pids) == 1
	})
	return pids[0]
}

// none fails the test if the cluster has left anything.
func (c *cluster) none() {
	c.t.Helper()
	if left := c.leftovers(); len(left) > 0 {
		c.t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
}

// Who is in the way is named.
func TestUpTwice(t *testing.T) {
	t.Parallel()
	c := newUp(t, "--resources", "cpus:1;mem:512")
	other := func(args ...string) result {
		t.Helper()
		return c.stoa(append([]string{"up", "--cgroups-root", c.cgroups, "--resources", "cpus:1;mem:512"}, args...)...)
	}
	free := []string{"--master-listen", "127.0.0.1:0", "--agent-listen", "127.0.0.1:0", "--run-listen", "127.0.0.1:0", "--service-listen", "127.0.0.1:0"}
	r := other(append(free, "--data-dir", c.dir+"/data")...)
	if r.code != 5 || !strings.Contains(r.err, c.dir+"/data is in use") || !strings.Contains(r.err, fmt.Sprintf("process %d", c.up.cmd.Process.Pid)) || !strings.Contains(r.err, "try: ") {
		t.Errorf("the same data directory: exit code %d\n%s", r.code, r.err)
	}
	for flag, port := range map[string]string{"master-listen": c.masterPort, "agent-listen": c.agentPort, "run-listen": c.runPort, "service-listen": c.servicePort} {
		r := other(append(free, "--data-dir", filepath.Join(c.dir, flag), "--"+flag, net.JoinHostPort("127.0.0.1", port))...)
		if r.code != 5 || !strings.Contains(r.err, "--"+flag+" 127.0.0.1:"+port+" is taken") ||
			!strings.Contains(r.err, fmt.Sprintf("process %d (", c.up.cmd.Process.Pid)) || !strings.Contains(r.err, "stoa up") || !strings.Contains(r.err, "try: ") {
			t.Errorf("a taken --%s: exit code %d\n%s", flag, r.code, r.err)
		}
	}
	if r := c.stoa("run", "--", "echo", "unharmed"); r.out != "unharmed\n" {
		t.Errorf("the first cluster: %+v", r)
	}
}

// Ctrl-C ends tasks as their kill policy says, and leaves nothing but what happened.
func TestCtrlC(t *testing.T) {
	t.Parallel()
	c := newUp(t, "--resources", "cpus:2;mem:1024")
	said := filepath.Join(c.dir, "said")
	id := strings.TrimSpace(c.stoa("run", "-d", "--", "sh", "-c", "trap 'echo goodbye >"+said+"; exit 0' TERM; echo up; while :; do sleep 0.1; done").out)
	logs := c.begin("logs", "-f", id)
	logs.says("up")
	c.up.signal(os.Interrupt)
	if code := c.up.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	logs.exit() // nobody is there to ask any more
	if text, err := os.ReadFile(said); err != nil || string(text) != "goodbye\n" {
		t.Errorf("the task was not asked to end: %q %v", text, err)
	}
	c.none()

	c.startUp()
	c.waitUp()
	until(t, "the task's end is known", func() bool { return strings.Contains(c.stoa("ps", "-a").out, "killed") })
	if out := c.stoa("ps", "-a").out; !strings.Contains(out, id+".0.1") {
		t.Errorf("another task's end is known:\n%s", out)
	}
	if r := c.stoa("logs", id); r.out != "up\n" {
		t.Errorf("its output is not there any more: %+v", r)
	}

	// One that will not: the second ctrl-C does not ask.
	id = strings.TrimSpace(c.stoa("run", "-d", "--", "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done").out)
	logs = c.begin("logs", "-f", id)
	logs.says("up")
	began := time.Now()
	c.up.signal(os.Interrupt)
	c.up.line(c.up.err, "ctrl-C again kills them at once")
	c.up.signal(os.Interrupt)
	if code := c.up.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("at once took %v", took)
	}
	logs.exit()
	c.none()
}

// SIGTERM is for a new version of the program: tasks run on, and it finds them.
func TestTasksOutliveUp(t *testing.T) {
	t.Parallel()
	c := newUp(t, "--resources", "cpus:2;mem:1024")
	id := strings.TrimSpace(c.stoa("run", "-d", "--env", "MARK=outlives", "--", "sleep", "1000").out)
	until(t, "it runs", func() bool { return strings.Contains(c.stoa("ps").out, "running") })
	pid := c.task("MARK=outlives")
	for _, s := range []os.Signal{syscall.SIGTERM, syscall.SIGHUP, os.Kill} {
		c.up.signal(s)
		if code := c.up.exit(); code != 0 && s != os.Kill {
			t.Errorf("%v: exit code %d", s, code)
		}
		if !alive(pid) {
			t.Fatalf("%v: the task is gone", s)
		}
		c.startUp()
		c.waitUp()
		until(t, "it is found again", func() bool {
			out := c.stoa("ps").out
			return strings.Contains(out, id) && strings.Contains(out, "running")
		})
		if again := c.task("MARK=outlives"); again != pid {
			t.Fatalf("%v: process %d became %d", s, pid, again)
		}
	}
	c.stoa("kill", id)
	until(t, "it is killed", func() bool { return !alive(pid) })
	c.stop()
	c.none()
}

// A user who is not root has a cluster without limits, which says so.
func TestUpAsNobody(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "--resources", "cpus:1;mem:512", "--hostname", "box")
	if root {
		const nobody = 65534
		c.as = &syscall.Credential{Uid: nobody, Gid: nobody}
		if err := os.Chown(c.dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	c.startUp()
	c.waitUp()
	if r := c.stoa("run", "--", "echo", "hello"); r.code != 0 || r.out != "hello\n" {
		t.Errorf("run: %+v", r)
	}
	if r := c.stoa("agents", "-o", "json"); !strings.Contains(r.out, `"limits": "none"`) {
		t.Errorf("agents: %+v", r)
	}
	c.up.line(c.up.err, "not root: tasks run without limits")
	if r := c.stoa("run", "--user", "games", "--", "true"); r.code == 0 || !strings.Contains(r.err, "error: ") || !strings.Contains(r.err, "games") {
		t.Errorf("as another user: %+v", r)
	}
	c.stop()
	c.none()
}
