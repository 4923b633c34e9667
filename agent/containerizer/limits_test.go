package containerizer

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stoa-kernel/stoa/agent/container"
)

// controlled reads a file of a container's cgroup, under the controller's name on v1.
func (r *rig) controlled(s *container.Spec, controller, file string) string {
	r.t.Helper()
	entry := r.n.cgroups.Entry(string(s.ID))
	dirs := []string{entry.Dir}
	for _, tasks := range entry.Tasks {
		dirs = append(dirs, filepath.Dir(tasks))
	}
	for _, dir := range dirs {
		if strings.Contains(dir, "/"+controller+"/") || dir == entry.Dir && dir != "" {
			b, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				r.t.Fatal(err)
			}
			return strings.TrimSpace(string(b))
		}
	}
	r.t.Fatalf("no %s", controller)
	return ""
}

// unlimited is an agent without root; that its tasks run all the same is for other tests.
func unlimited(r *rig) bool {
	if os.Geteuid() == 0 && len(r.n.Limits()) != 3 {
		r.t.Fatalf("the machine bounds only %v", r.n.Limits())
	}
	return os.Geteuid() != 0
}

func TestOutOfMemoryIsToldApart(t *testing.T) {
	r := newRig(t)
	if unlimited(r) {
		return
	}
	limited := func(s *container.Spec) { s.Limits.MemoryHard = 32 << 20 }
	// tail keeps the last line, which has no end.
	e := r.run(r.spec("exec tail /dev/zero", limited))
	if !e.Known || !e.OOM || wait(e) != syscall.WaitStatus(syscall.SIGKILL) {
		t.Errorf("got %+v, want a kill for lack of memory", e)
	}
	if e.MemoryLimit != 32<<20 || e.MemoryUsage < 30<<20 || e.MemoryUsage > 33<<20 {
		t.Errorf("usage %d, limit %d, want about 32 MiB both", e.MemoryUsage, e.MemoryLimit)
	}
	if e := r.run(r.spec("kill -KILL $$", limited)); e.OOM {
		t.Errorf("an ordinary kill is called out of memory: %+v", e)
	}
}

func TestOutOfMemoryWhileTheAgentIsAway(t *testing.T) {
	r := newRig(t)
	if unlimited(r) {
		return
	}
	s := r.spec("read line <gate; exec tail /dev/zero", func(s *container.Spec) { s.Limits.MemoryHard = 32 << 20 })
	open := pipe(t, s)
	forked, started := r.begin(s)
	gone := pin(t, forked.Pid)
	if err := r.n.Close(); err != nil {
		t.Fatal(err)
	}
	open()
	finished(t, gone)
	r.start()
	r.n.Adopt(live(forked, started, s))
	if e := r.end(s.ID); !e.Known || !e.OOM || e.MemoryLimit != 32<<20 {
		t.Errorf("got %+v, want a kill for lack of memory", e)
	}
}

func TestForkBombIsBounded(t *testing.T) {
	r := newRig(t)
	if unlimited(r) {
		return
	}
	s := r.spec("b() { b | b & }; b; echo > full; sleep 1000", func(s *container.Spec) { s.Limits.Pids = 40 })
	r.begin(s)
	r.file(s, "full")
	if n, err := strconv.Atoi(r.controlled(s, "pids", "pids.current")); err != nil || n > 40 {
		t.Errorf("%d processes, %v", n, err)
	}
	r.n.Destroy(s.ID)
	if e := next[container.Exited](r, s.ID).Record; !e.Known {
		t.Errorf("got %+v", e)
	}
	next[container.Destroyed](r, s.ID)
	r.gone(s.ID)
}

func TestLimitsAreWrittenAndChanged(t *testing.T) {
	r := newRig(t)
	if unlimited(r) {
		return
	}
	if r.n.cgroups.Version() != 1 {
		t.Log("file names below are v1's")
		return
	}
	s := r.spec("sleep 1000", func(s *container.Spec) {
		s.Limits = container.Limits{CPUs: 0.5, CPUQuota: 1.5, MemorySoft: 64 << 20, MemoryHard: 128 << 20, Pids: 77}
	})
	r.begin(s)
	check := func(want map[string]string) {
		t.Helper()
		for file, value := range want {
			controller, _, _ := strings.Cut(file, ".")
			if got := r.controlled(s, controller, file); got != value {
				t.Errorf("%s is %s, want %s", file, got, value)
			}
		}
	}
	check(map[string]string{
		"cpu.shares": "512", "cpu.cfs_quota_us": "150000", "cpu.cfs_period_us": "100000",
		"memory.soft_limit_in_bytes": strconv.Itoa(64 << 20), "memory.limit_in_bytes": strconv.Itoa(128 << 20), "pids.max": "77",
	})
	for cpus := 1.0; cpus < 5; cpus++ {
		r.n.Resize(s.ID, container.Limits{CPUs: cpus, MemorySoft: 80 << 20, MemoryHard: 160 << 20})
	}
	r.idle()
	check(map[string]string{
		"cpu.shares": "4096", "cpu.cfs_quota_us": "-1",
		"memory.soft_limit_in_bytes": strconv.Itoa(80 << 20), "memory.limit_in_bytes": strconv.Itoa(160 << 20), "pids.max": "max",
	})
	r.n.Destroy(s.ID)
	r.end(s.ID)
}

// idle waits until no resize is under way.
func (r *rig) idle() {
	r.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		busy := false
		r.n.mu.Lock()
		for _, it := range r.n.items {
			busy = busy || it.resizing
		}
		r.n.mu.Unlock()
		if !busy {
			return
		}
	}
	r.t.Fatal("limits are never written")
}

func TestEveryProcessIsInTheCgroup(t *testing.T) {
	r := newRig(t)
	if unlimited(r) {
		return
	}
	s := r.spec("cat /proc/self/cgroup; (cat /proc/self/cgroup) & wait")
	text := r.output(s)
	for _, c := range r.n.Limits() {
		if n := strings.Count(text, ":"+c+":/"+r.cfg.CgroupRoot+"/"); n != 2 {
			t.Errorf("%d of 2 processes in the container's %s cgroup:\n%s", n, c, text)
		}
	}
}

// The init would lose the wait status if the OOM killer took it with the task.
func TestInitIsOutsideTheCgroup(t *testing.T) {
	r := newRig(t)
	if unlimited(r) {
		return
	}
	s := r.spec("sleep 1000")
	forked, _ := r.begin(s)
	b, err := os.ReadFile("/proc/" + strconv.Itoa(forked.Pid) + "/cgroup")
	if err != nil || strings.Contains(string(b), string(s.ID)) {
		t.Errorf("%v\n%s", err, b)
	}
	r.n.Destroy(s.ID)
	r.end(s.ID)
}

// TestWithoutCgroups: where the operator wants none, or the machine has none, tasks run
// all the same.
func TestWithoutCgroups(t *testing.T) {
	r := newRig(t, func(c *Config) { c.CgroupRoot = "" })
	if r.n.Limits() != nil {
		t.Errorf("limits %v", r.n.Limits())
	}
	s := r.spec("head -c 104857600 /dev/zero | tail | wc -c", func(s *container.Spec) { s.Limits.MemoryHard = 32 << 20 })
	r.n.Launch(s)
	next[container.Forked](r, s.ID)
	r.n.Resize(s.ID, container.Limits{MemoryHard: 64 << 20})
	r.n.Go(s.ID)
	next[container.Started](r, s.ID)
	if e := r.end(s.ID); !e.Known || wait(e) != 0 || e.OOM || strings.TrimSpace(r.read(s.ID, "stdout")) != "104857600" {
		t.Errorf("got %+v", e)
	}
}
