package e2e

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cluster is a master and an agent, in one process or two, on one data directory.
type cluster struct {
	t       testing.TB
	dir     string
	addr    string // of the master
	cgroups string // the cgroup its containers are below

	// One of them is what runs: up, or the other two.
	up            *process
	master, agent *process

	env     []string            // of commands
	as      *syscall.Credential // that runs up, nil for the test itself
	more    []*process          // agents beside
	cleaned bool

	args                                        []string // of up, or of the agent
	masterPort, agentPort, runPort, servicePort string
}

var root = os.Geteuid() == 0

func newCluster(t testing.TB, args ...string) *cluster {
	t.Helper()
	dir, err := os.MkdirTemp("", "stoa")
	if err != nil {
		t.Fatal(err)
	}
	// Tasks of other users pass through.
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, dir: dir, cgroups: filepath.Base(dir), args: args, masterPort: "0", agentPort: "0", runPort: "0", servicePort: "0"}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return c
}

// newUp is a cluster in one process, which serves.
func newUp(t testing.TB, args ...string) *cluster {
	t.Helper()
	c := newCluster(t, args...)
	c.startUp()
	c.waitUp()
	return c
}

// newPair is a cluster of two processes, which serve.
func newPair(t testing.TB, args ...string) *cluster {
	t.Helper()
	c := newCluster(t, args...)
	c.startMaster()
	c.waitMaster()
	c.startAgent()
	c.waitAgent()
	return c
}

func (c *cluster) startUp(env ...string) {
	c.t.Helper()
	c.up = startAs(c.t, c.as, env, "stoa", append([]string{"up", "--data-dir", c.dir + "/data", "--master-listen", "127.0.0.1:" + c.masterPort,
		"--agent-listen", "127.0.0.1:" + c.agentPort, "--run-listen", "127.0.0.1:" + c.runPort, "--service-listen", "127.0.0.1:" + c.servicePort, "--cgroups-root", c.cgroups}, c.args...)...)
	c.t.Cleanup(c.clean) // before the process is killed
}

var portOf = regexp.MustCompile(`(master|agent|run|service) http://127\.0\.0\.1:(\d+)`)

// note keeps the ports of a line that says ready, for the next start.
func (c *cluster) note(line string) {
	for _, m := range portOf.FindAllStringSubmatch(line, -1) {
		switch m[1] {
		case "master":
			c.masterPort, c.addr = m[2], "127.0.0.1:"+m[2]
		case "agent":
			c.agentPort = m[2]
		case "run":
			c.runPort = m[2]
		case "service":
			c.servicePort = m[2]
		}
	}
}

func (c *cluster) waitUp() { c.t.Helper(); c.note(c.up.says("ready  ")) }

func (c *cluster) startMaster() {
	c.t.Helper()
	c.master = start(c.t, nil, "stoa", "master", "--data-dir", c.dir+"/master", "--listen", "127.0.0.1:"+c.masterPort, "--max-completed-tasks-per-framework", "5000")
	c.t.Cleanup(c.clean)
}

func (c *cluster) waitMaster() { c.t.Helper(); c.note(c.master.says("ready  ")) }

func (c *cluster) startAgent(env ...string) {
	c.t.Helper()
	c.agent = start(c.t, env, "stoa", append([]string{"agent", "--data-dir", c.dir + "/agent", "--listen", "127.0.0.1:" + c.agentPort,
		"--master", c.addr, "--stop-tasks", "--cgroups-root", c.cgroups}, c.args...)...)
	c.t.Cleanup(c.clean)
}

func (c *cluster) waitAgent() { c.t.Helper(); c.note(c.agent.says("ready  ")) }

// stop ends the cluster as ctrl-C does, tasks first.
func (c *cluster) stop() {
	c.t.Helper()
	if c.up != nil {
		if c.up.over() {
			c.startUp() // its tasks may still run
			c.waitUp()
		}
		c.interrupt(c.up)
		return
	}
	if c.master.over() {
		c.startMaster()
		c.waitMaster()
	}
	agents := c.more
	if c.agent != nil {
		if c.agent.over() {
			c.startAgent()
			c.waitAgent()
		}
		agents = append(agents, c.agent)
	}
	for _, a := range agents {
		c.interrupt(a)
	}
	c.interrupt(c.master)
}

// interrupt is ctrl-C for a process, which then has to end well.
func (c *cluster) interrupt(p *process) {
	c.t.Helper()
	p.signal(os.Interrupt)
	if code := p.exit(); code != 0 {
		c.t.Errorf("%s ends with %d when interrupted", p, code)
	}
}

// clean makes sure that nothing of the cluster is left: after a test that passed because
// the cluster left nothing, after one that failed by removing it.
func (c *cluster) clean() {
	if c.cleaned {
		return
	}
	c.cleaned = true
	all := append(slices.Clone(c.more), c.up, c.agent, c.master)
	for _, p := range all {
		if p != nil && !p.over() && !c.t.Failed() {
			c.stop()
			break
		}
	}
	for _, p := range all {
		if p != nil {
			p.kill()
		}
	}
	if left := c.leftovers(); len(left) > 0 {
		if !c.t.Failed() {
			c.t.Errorf("the cluster left behind:\n%s", strings.Join(left, "\n"))
		}
		for _, pid := range c.processes() {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may just have ended
		}
		deadline := time.Now().Add(5 * time.Second)
		for len(c.processes()) > 0 && time.Now().Before(deadline) {
			<-time.After(10 * time.Millisecond)
		}
	}
	for _, m := range c.mounts() {
		_ = syscall.Unmount(m, syscall.MNT_DETACH)
	}
	groups := c.groups()
	for _, g := range slices.Backward(groups) {
		_ = os.Remove(g)
	}
}

// leftovers are processes, mounts and cgroups of the cluster.
func (c *cluster) leftovers() []string {
	var left []string
	for _, pid := range c.processes() {
		argv, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		left = append(left, fmt.Sprintf("process %d: %s", pid, bytes.ReplaceAll(argv, []byte{0}, []byte{' '})))
	}
	for _, m := range c.mounts() {
		left = append(left, "mount "+m)
	}
	for _, g := range c.groups() {
		if filepath.Base(g) != c.cgroups { // the empty parent stays for the next start
			left = append(left, "cgroup "+g)
		}
	}
	return left
}

// processes are those that name the cluster's directory in arguments or environment, as
// every task does with its sandbox.
func (c *cluster) processes() []int {
	var pids []int
	entries, err := os.ReadDir("/proc")
	if err != nil {
		c.t.Error(err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		// Processes end meanwhile: what cannot be read is not there.
		argv, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		env := environ(pid)
		cwd, _ := os.Readlink("/proc/" + e.Name() + "/cwd")
		if bytes.Contains(argv, []byte(c.dir+"/")) || strings.Contains(env, c.dir+"/") || strings.HasPrefix(cwd, c.dir+"/") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// environ is a process's environment; one that has ended has none.
func environ(pid int) string {
	env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return string(env)
}

func (c *cluster) mounts() []string {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		c.t.Error(err)
	}
	var found []string
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], c.dir+"/") {
			found = append(found, f[4])
		}
	}
	return found
}

// groups are the cluster's cgroups, parents before children.
func (c *cluster) groups() []string {
	var found []string
	roots, err := filepath.Glob("/sys/fs/cgroup/*/" + c.cgroups)
	if err != nil {
		c.t.Error(err)
	}
	for _, r := range append(roots, "/sys/fs/cgroup/"+c.cgroups) {
		_ = filepath.WalkDir(r, func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				found = append(found, path)
			}
			return nil // one that is gone meanwhile is what is wanted
		})
	}
	return found
}

// result is what a command said and how it ended.
type result struct {
	out, err string
	code     int
}

// stoa runs a command of the command line to its end.
func (c *cluster) stoa(args ...string) result {
	c.t.Helper()
	p := c.begin(args...)
	code := p.exit()
	return result{p.out.String(), p.err.String(), code}
}

// begin starts a command of the command line.
func (c *cluster) begin(args ...string) *process {
	c.t.Helper()
	return start(c.t, append([]string{"STOA_ADDR=" + c.addr}, c.env...), "stoa", args...)
}

// call makes an operator call with JSON.
func (c *cluster) call(body string) string {
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
	return string(raw)
}

// limits tells whether tasks have cgroups.
var limits = root
