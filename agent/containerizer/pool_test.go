package containerizer

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stoa-kernel/stoa/agent/container"
)

func (r *rig) pooled() []int {
	r.t.Helper()
	if err := r.n.pool.fill(); err != nil {
		r.t.Fatal(err)
	}
	r.n.pool.mu.Lock()
	defer r.n.pool.mu.Unlock()
	var pids []int
	for _, i := range r.n.pool.waiting {
		pids = append(pids, i.Pid)
	}
	return pids
}

func TestInitsWaitInAdvance(t *testing.T) {
	r := newRig(t)
	pids := r.pooled()
	if len(pids) != spare {
		t.Fatalf("%d inits wait, want %d", len(pids), spare)
	}
	s := r.spec("exit 0")
	r.n.Launch(s)
	if f := next[container.Forked](r, s.ID); f.Pid != pids[0] || f.StartTime == 0 {
		t.Errorf("got %+v, want the first of %v, which has had most time to come up", f, pids)
	}
	r.n.Go(s.ID)
	next[container.Started](r, s.ID)
	r.end(s.ID)
}

// More launches at once than inits wait, after somebody has killed those.
func TestKilledInitsInAdvanceAreNotUsed(t *testing.T) {
	r := newRig(t)
	for _, pid := range r.pooled() {
		fd := pin(t, pid)
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		finished(t, fd)
	}
	var specs []*container.Spec
	for range 3 * spare {
		s := r.spec("exit 4")
		specs = append(specs, s)
		r.n.Launch(s)
	}
	for _, s := range specs {
		next[container.Forked](r, s.ID)
		r.n.Go(s.ID)
		next[container.Started](r, s.ID)
		if e := r.end(s.ID); wait(e).ExitStatus() != 4 {
			t.Errorf("got %+v", e)
		}
	}
}

// An init that has waited for long must not show a task the mounts of back then.
func TestTaskSeesMountsOfToday(t *testing.T) {
	r := newRig(t)
	r.pooled()
	dir := filepath.Join(r.root, "later")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 { // who is not root shares the host's mounts
		if err := unix.Mount("none", dir, "tmpfs", 0, "size=64k,mode=755"); err != nil {
			t.Fatal(err)
		}
		defer unix.Unmount(dir, unix.MNT_DETACH)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("there"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out := r.output(r.spec("cat " + dir + "/file")); out != "there" {
		t.Errorf("got %q", out)
	}
}

func TestWaitingInitsEndWithTheAgent(t *testing.T) {
	r := newRig(t)
	var fds []int
	for _, pid := range r.pooled() {
		fds = append(fds, pin(t, pid))
	}
	if err := r.n.Close(); err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		finished(t, fd)
	}
}

// made lists what is ready for containers, directories and cgroups.
func (r *rig) made() []string {
	r.t.Helper()
	entries, err := os.ReadDir(r.n.dir)
	if err != nil {
		r.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if r.n.cgroups != nil {
		groups, err := r.n.cgroups.List()
		if err != nil {
			r.t.Fatal(err)
		}
		names = append(names, groups...)
	}
	return slices.DeleteFunc(names, func(s string) bool { return !isReady(s) })
}

// A launch uses what was made in advance; the end of the agent, or the start of the one
// after a crash, removes it, and no container is found in it.
func TestWhatIsMadeInAdvance(t *testing.T) {
	r := newRig(t)
	r.pooled()
	before := r.made()
	if len(before) < spare {
		t.Fatalf("made %v", before)
	}
	s := r.spec("exit 0")
	r.n.Launch(s)
	next[container.Forked](r, s.ID)
	if after := r.made(); len(after) != len(before)*(spare-1)/spare {
		t.Errorf("of %v are left %v", before, after)
	}
	r.n.Go(s.ID)
	next[container.Started](r, s.ID)
	r.end(s.ID)

	crashed := readyPrefix + "1000"
	if err := r.n.pool.prepare(crashed); err != nil {
		t.Fatal(err)
	}
	r.restart()
	if left := r.made(); slices.Contains(left, crashed) || len(left) != len(before) {
		t.Errorf("left are %v", left)
	}
	if n := len(r.n.leftovers); n > 0 {
		t.Errorf("%d are taken for containers", n)
	}
}
