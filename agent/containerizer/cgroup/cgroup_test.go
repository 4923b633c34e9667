package cgroup

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stoa-kernel/stoa/agent/container"
)

const mib = 1 << 20

func TestFindMounts(t *testing.T) {
	const mountinfo = `22 1 0:20 / /sys rw - sysfs sysfs rw
30 22 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw,nsdelegate
35 30 0:31 / /sys/fs/cgroup/cpu,cpuacct rw shared:14 master:1 - cgroup cgroup rw,cpu,cpuacct
36 30 0:32 / /sys/fs/cgroup/with\040space rw - cgroup cgroup rw,memory
37 30 0:32 / /elsewhere rw - cgroup cgroup rw,memory
38 30 0:33 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
torn line
`
	one, two := find(mountinfo)
	want := map[string]string{"cpu": "/sys/fs/cgroup/cpu,cpuacct", "memory": "/sys/fs/cgroup/with space"}
	if !maps.Equal(one, want) || two != "/sys/fs/cgroup/unified" {
		t.Errorf("v1 %v, v2 %q", one, two)
	}
	if one, two := find("29 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"); len(one) != 0 || two != "/sys/fs/cgroup" {
		t.Errorf("v1 %v, v2 %q", one, two)
	}
	for in, want := range map[string]string{
		"9:memory:/a\n0::/system.slice/stoa.service\n": "/system.slice/stoa.service", "0::/\n": "/", "": "/",
	} {
		if got := ownV2(in); got != want {
			t.Errorf("%q: own cgroup %q, want %q", in, got, want)
		}
	}
}

func TestRootMustBeRelative(t *testing.T) {
	for _, bad := range []string{"", "/stoa", "..", "../stoa", "stoa/..", "stoa//a", "stoa/", "./stoa"} {
		if _, err := Open(bad); err == nil || !strings.Contains(err.Error(), "relative path") {
			t.Errorf("root %q: error %v", bad, err)
		}
	}
}

// text is settings as file=value, in their order.
func text(list []setting) string {
	var b strings.Builder
	for _, s := range list {
		b.WriteString(s.file + "=" + s.value + " ")
	}
	return strings.TrimSpace(b.String())
}

var all = container.Limits{CPUs: 1.5, CPUQuota: 2, MemorySoft: 64 * mib, MemoryHard: 128 * mib, Pids: 50}

func TestSettings(t *testing.T) {
	for _, c := range []struct {
		name  string
		l     container.Limits
		fresh bool
		v1    string // memory, cpu, pids
		v2    string
	}{
		{"all, new", all, true,
			"memory.soft_limit_in_bytes=67108864 memory.limit_in_bytes=134217728 cpu.shares=1536 cpu.cfs_period_us=100000 cpu.cfs_quota_us=200000 pids.max=50",
			"memory.low=67108864 memory.max=134217728 memory.swap.max=0 cpu.weight=59 cpu.max=200000 100000 pids.max=50"},
		{"none, new", container.Limits{}, true,
			"cpu.shares=2", "cpu.weight=1"},
		{"none, in use", container.Limits{}, false,
			"memory.soft_limit_in_bytes=-1 memory.limit_in_bytes=-1 cpu.shares=2 cpu.cfs_quota_us=-1 pids.max=max",
			"memory.low=0 memory.max=max memory.swap.max=max cpu.weight=1 cpu.max=max 100000 pids.max=max"},
		{"below the least", container.Limits{CPUs: 0.0001, CPUQuota: 0.0001, MemorySoft: 1, MemoryHard: 1, Pids: 1}, true,
			"memory.soft_limit_in_bytes=33554432 memory.limit_in_bytes=33554432 cpu.shares=2 cpu.cfs_period_us=100000 cpu.cfs_quota_us=1000 pids.max=2",
			"memory.low=33554432 memory.max=33554432 memory.swap.max=0 cpu.weight=1 cpu.max=1000 100000 pids.max=2"},
		{"one cpu and a thousand", container.Limits{CPUs: 1}, true, "cpu.shares=1024", "cpu.weight=39"},
		{"beyond the most", container.Limits{CPUs: 1e6}, true, "cpu.shares=1024000000", "cpu.weight=10000"},
	} {
		var v1 []setting
		for _, controller := range Controllers {
			v1 = append(v1, settingsV1(controller, c.l, c.fresh)...)
		}
		if got := text(v1); got != c.v1 {
			t.Errorf("%s: v1\n %s, want\n %s", c.name, got, c.v1)
		}
		if got := text((&v2{swap: true}).settings(c.l, c.fresh)); got != c.v2 {
			t.Errorf("%s: v2\n %s, want\n %s", c.name, got, c.v2)
		}
	}
	only := (&v2{missing: []string{"memory", "pids"}}).settings(all, true)
	if got := text(only); got != "cpu.weight=59 cpu.max=200000 100000" {
		t.Errorf("without memory and pids: %s", got)
	}
}

// TestSwapIsNoWayOut: the limit of memory and swap together is never below that of
// memory, whichever way both go.
func TestSwapIsNoWayOut(t *testing.T) {
	for _, c := range []struct {
		name  string
		now   int64
		hard  int64
		fresh bool
		want  string
	}{
		{"new", 0, 64 * mib, true, "memory.limit_in_bytes=67108864 memory.memsw.limit_in_bytes=67108864"},
		{"new without", 0, 0, true, ""},
		{"raised", 64 * mib, 128 * mib, false, "memory.memsw.limit_in_bytes=134217728 memory.limit_in_bytes=134217728"},
		{"lowered", 128 * mib, 64 * mib, false, "memory.limit_in_bytes=67108864 memory.memsw.limit_in_bytes=67108864"},
		{"lifted", 64 * mib, 0, false, "memory.memsw.limit_in_bytes=-1 memory.limit_in_bytes=-1"},
		{"imposed", 0, 64 * mib, false, "memory.limit_in_bytes=67108864 memory.memsw.limit_in_bytes=67108864"},
	} {
		l := container.Limits{MemoryHard: c.hard}
		list := withSwap(settingsV1("memory", l, c.fresh), l, c.now)
		list = slices.DeleteFunc(list, func(s setting) bool { return s.file == "memory.soft_limit_in_bytes" })
		if got := text(list); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// files of a fake cgroup, as the kernel would have made them.
func files(t *testing.T, dir string, list map[string]string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, value := range list {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(value), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func has(t *testing.T, dir, file, want string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, file))
	if got := strings.TrimSpace(string(b)); err != nil || got != want {
		t.Errorf("%s of %s: %q %v, want %q", file, dir, got, err, want)
	}
}

// fakeRmdir removes a fake cgroup as the kernel does: with its files, but not with
// children or processes.
func fakeRmdir(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			return unix.EBUSY
		}
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs")); len(b) > 0 {
		return unix.EBUSY
	}
	return os.RemoveAll(dir)
}

func TestV1OnAFakeTree(t *testing.T) {
	base := t.TempDir()
	mounts := map[string]string{"memory": base + "/memory", "pids": base + "/pids"}
	files(t, base+"/memory/stoa/a", map[string]string{memsw: "9223372036854771712\n"})
	h, err := openV1(mounts, "stoa/a")
	if err != nil {
		t.Fatal(err)
	}
	h.rmdir = fakeRmdir
	if got := h.Missing(); !slices.Equal(got, []string{"cpu"}) || h.Version() != 1 || !h.swap {
		t.Errorf("missing %v, version %d, swap %v", got, h.Version(), h.swap)
	}
	c := base + "/memory/stoa/a/c"
	files(t, c, map[string]string{memsw: "9223372036854771712\n"})
	if err := h.Create("c", all); err != nil {
		t.Fatal(err)
	}
	has(t, c, memory, "134217728")
	has(t, c, memsw, "134217728")
	has(t, base+"/pids/stoa/a/c", "pids.max", "50")
	if e := h.Entry("c"); e.Dir != "" || !slices.Equal(e.Tasks, []string{c + "/tasks", base + "/pids/stoa/a/c/tasks"}) {
		t.Errorf("entry %+v", e)
	}
	if err := h.Update("c", container.Limits{MemoryHard: 256 * mib}); err != nil {
		t.Fatal(err)
	}
	has(t, c, memory, "268435456")
	has(t, base+"/pids/stoa/a/c", "pids.max", "max")

	files(t, c, map[string]string{
		"memory.oom_control":        "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
		"memory.max_usage_in_bytes": "268435456\n",
	})
	if m, err := h.Memory("c"); err != nil || m != (Memory{OOM: true, Peak: 256 * mib, Limit: 256 * mib}) {
		t.Errorf("memory %+v %v", m, err)
	}
	if m, err := h.Memory("never"); err != nil || m != (Memory{}) {
		t.Errorf("of a container that is not there: %+v %v", m, err)
	}
	if names, err := h.List(); err != nil || !slices.Equal(names, []string{"c"}) {
		t.Errorf("list %v %v", names, err)
	}

	h.Close() // leaves what is not empty
	has(t, base+"/pids/stoa/a/c", "pids.max", "max")
	if err := h.Remove("c"); err != nil {
		t.Fatal(err)
	}
	if err := h.Remove("c"); err != nil {
		t.Errorf("removed again: %v", err)
	}
	h.Close()
	for _, dir := range mounts {
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
			t.Errorf("%s: left %v %v", dir, entries, err)
		}
	}
	// Its parents are made anew if another agent has removed them.
	files(t, c, map[string]string{memsw: "9223372036854771712\n"})
	if err := h.Create("c", all); err != nil {
		t.Error(err)
	}
}

func TestV2OnAFakeTree(t *testing.T) {
	for _, c := range []struct{ name, own, base string }{
		{"a delegated unit", "/system.slice/stoa.service", "/system.slice/stoa.service"},
		{"started again in its leaf", "/system.slice/stoa.service/" + leaf, "/system.slice/stoa.service"},
		{"the root of all", "/", "/"},
	} {
		t.Run(c.name, func(t *testing.T) {
			mount := t.TempDir()
			base := filepath.Join(mount, c.base)
			root := filepath.Join(base, "stoa/a")
			files(t, base, map[string]string{"cgroup.controllers": "cpuset cpu memory\n"})
			files(t, root, map[string]string{"memory.swap.max": "max\n"})
			h, err := openV2(mount, c.own, "stoa/a", 77)
			if err != nil {
				t.Fatal(err)
			}
			h.rmdir = fakeRmdir
			if c.base != "/" {
				has(t, filepath.Join(base, leaf), "cgroup.procs", "77")
			} else if _, err := os.Stat(filepath.Join(base, leaf)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a leaf where none is needed: %v", err)
			}
			for _, dir := range []string{base, filepath.Join(base, "stoa"), root} {
				has(t, dir, "cgroup.subtree_control", "+memory +cpu")
			}
			if got := h.Missing(); !slices.Equal(got, []string{"pids"}) || h.Version() != 2 {
				t.Errorf("missing %v, version %d", got, h.Version())
			}

			if err := h.Create("c", all); err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(root, "c")
			if e := h.Entry("c"); e.Dir != dir || e.Tasks != nil {
				t.Errorf("entry %+v", e)
			}
			has(t, dir, "memory.max", "134217728")
			has(t, dir, "memory.swap.max", "0")
			if _, err := os.Stat(filepath.Join(dir, "pids.max")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a limit of a missing controller: %v", err)
			}

			// Lowering the limit below what is used would kill.
			files(t, dir, map[string]string{"memory.current": "100000000\n"})
			if err := h.Update("c", container.Limits{MemoryHard: 64 * mib, CPUs: 1}); err == nil || !strings.Contains(err.Error(), "100000000 bytes are in use") {
				t.Errorf("error %v", err)
			}
			has(t, dir, "memory.max", "134217728")
			has(t, dir, "cpu.weight", "39")
			if err := h.Update("c", container.Limits{MemoryHard: 96 * mib}); err != nil {
				t.Error(err)
			}
			has(t, dir, "memory.max", "100663296")

			files(t, dir, map[string]string{"memory.events": "low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\n"})
			if m, err := h.Memory("c"); err != nil || m != (Memory{OOM: true, Peak: 96 * mib, Limit: 96 * mib}) {
				t.Errorf("before 5.19: %+v %v", m, err)
			}
			files(t, dir, map[string]string{"memory.events": "oom_kill 0\n", "memory.peak": "5\n", "memory.max": "max\n"})
			if m, err := h.Memory("c"); err != nil || m != (Memory{Peak: 5}) {
				t.Errorf("memory %+v %v", m, err)
			}
			if m, err := h.Memory("never"); err != nil || m != (Memory{}) {
				t.Errorf("of a container that is not there: %+v %v", m, err)
			}

			// What a task made below goes too, and what is inside is killed whole.
			files(t, dir, map[string]string{"cgroup.kill": "", "cgroup.procs": ""})
			files(t, filepath.Join(dir, "of", "the task"), map[string]string{"cgroup.procs": "0\n"})
			if err := h.Remove("c"); !errors.Is(err, ErrBusy) {
				t.Fatalf("removed a cgroup with a process: %v", err)
			}
			has(t, dir, "cgroup.kill", "1")
			files(t, filepath.Join(dir, "of", "the task"), map[string]string{"cgroup.procs": ""})
			if names, err := h.List(); err != nil || !slices.Equal(names, []string{"c"}) {
				t.Errorf("list %v %v", names, err)
			}
			if err := h.Remove("c"); err != nil {
				t.Fatal(err)
			}
			h.Close()
			if _, err := os.Stat(filepath.Join(base, "stoa")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the root is left: %v", err)
			}
		})
	}
}
