package cgroup

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stoa-kernel/stoa/agent/container"
)

// TestOnThisMachine goes through a cgroup's life in the kernel. Without root the kernel
// has to refuse in words that say what to do about it.
func TestOnThisMachine(t *testing.T) {
	root := fmt.Sprintf("stoa-cgroup-test-%d", os.Getpid())
	h, err := Open(root + "/agent")
	if os.Geteuid() != 0 {
		if !errors.Is(err, os.ErrPermission) {
			t.Fatalf("not root: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.Create("c", all); err != nil {
		t.Fatal(err)
	}
	defer h.Remove("c")
	if names, err := h.List(); err != nil || !slices.Equal(names, []string{"c"}) {
		t.Fatalf("list %v %v", names, err)
	}
	// Both ways, so that memory and swap pass each other in both.
	for _, hard := range []int64{128 * mib, 256 * mib, 64 * mib, 0, 64 * mib} {
		if err := h.Update("c", container.Limits{MemoryHard: hard, CPUs: 1, CPUQuota: 0.5, Pids: 10}); err != nil {
			t.Fatal(err)
		}
		if m, err := h.Memory("c"); err != nil || !slices.Contains(h.Missing(), "memory") && m.Limit != hard {
			t.Errorf("memory %+v %v, want limit %d", m, err, hard)
		}
	}

	task := exec.Command("sleep", "1000")
	if err := task.Start(); err != nil {
		t.Fatal(err)
	}
	e := h.Entry("c")
	var doors []string
	for _, tasks := range e.Tasks {
		doors = append(doors, tasks)
	}
	if e.Dir != "" {
		doors = append(doors, filepath.Join(e.Dir, "cgroup.procs"))
	}
	for _, door := range doors {
		if err := os.WriteFile(door, []byte(strconv.Itoa(task.Process.Pid)), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Remove("c"); !errors.Is(err, ErrBusy) {
		t.Errorf("removed a cgroup in use: %v", err)
	}
	if err := task.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the task in it: %v", err)
	}
	if err := h.Remove("c"); err != nil {
		t.Fatal(err)
	}
	h.Close()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	one, two := find(string(mounts))
	if len(one) == 0 {
		one = map[string]string{"v2": two}
	}
	for _, mount := range one {
		if _, err := os.Stat(filepath.Join(mount, root)); !os.IsNotExist(err) {
			t.Errorf("%s is left in %s: %v", root, mount, err)
		}
	}
}
