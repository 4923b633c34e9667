package containerizer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stoa-kernel/stoa/agent/container"
)

// check is the spec of a check's command in the container of s.
func check(s *container.Spec, script string) *container.Spec {
	c := *s
	c.Argv = []string{"sh", "-c", script}
	c.Env = append([]string{"CHECKED=yes"}, s.Env...)
	return &c
}

// sleepers counts the processes that sleep for a time of their own, which marks them.
func sleepers(t *testing.T, mark string) (n int) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if b, err := os.ReadFile(f); err == nil && strings.HasPrefix(string(b), "sleep\x00"+mark+"\x00") {
			n++
		}
	}
	return n
}

func TestCheckRunsWhereTheTaskDoes(t *testing.T) {
	r := newRig(t)
	const look = `for n in pid ipc uts mnt net; do readlink /proc/self/ns/$n; done; cat /proc/self/cgroup; pwd; id -u; `
	s := r.spec("(" + look + ") >writing; mv writing seen; exec sleep 1000")
	if os.Geteuid() == 0 {
		as("nobody")(s)
	}
	r.begin(s)
	task := r.file(s, "seen")
	wait, _, err := r.n.Execute(t.Context(), s.ID, check(s, "("+look+") > checked; echo out; echo $CHECKED >&2; exit 3"))
	if err != nil || syscall.WaitStatus(wait).ExitStatus() != 3 {
		t.Fatalf("wait %#x, %v", wait, err)
	}
	if got := strings.TrimSpace(r.read(s.ID, "checked")); got != task {
		t.Errorf("the task sees\n%s\nits check\n%s", task, got)
	}
	if _, output, err := r.n.Execute(t.Context(), s.ID, check(s, "echo out; echo $CHECKED >&2")); err != nil || output != "out\nyes" {
		t.Errorf("output %q, %v", output, err)
	}
	r.n.Signal(s.ID, int(syscall.SIGKILL))
	r.end(s.ID)
	if _, _, err := r.n.Execute(t.Context(), s.ID, check(s, "true")); err == nil {
		t.Error("a check was executed in a container that is gone")
	}
}

// TestCheckCostsOnlyItself: whatever a check's command does, it is gone afterwards, with
// all that it started, and the task runs on.
func TestCheckCostsOnlyItself(t *testing.T) {
	r := newRig(t)
	s := r.spec("exec sleep 1000")
	_, started := r.begin(s)
	task := pin(t, started.TaskPid)
	for i, c := range []struct {
		name, script string
		timeout      time.Duration
		ends         bool
	}{
		{"hangs", "sleep %s", 100 * time.Millisecond, false},
		{"ignores signals", "trap '' TERM INT HUP; sleep %s; sleep %[1]s", 100 * time.Millisecond, false},
		{"forks and hangs", "for i in 1 2 3 4 5; do (setsid sleep %s &) & done; sleep %[1]s", 200 * time.Millisecond, false},
		{"forks and ends", "for i in 1 2 3 4 5; do (setsid sleep %s >/dev/null &) & done", patience, true},
		{"leaves its output open", "setsid sleep %s & echo done", patience, true},
		{"floods", "sleep %s & exec yes flood", 200 * time.Millisecond, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			mark := fmt.Sprintf("%d.%d", 1000+i, os.Getpid())
			ctx, cancel := context.WithTimeout(t.Context(), c.timeout)
			defer cancel()
			wait, output, err := r.n.Execute(ctx, s.ID, check(s, fmt.Sprintf(c.script, mark)))
			switch {
			case c.ends && (err != nil || wait != 0):
				t.Errorf("wait %#x, %v", wait, err)
			case !c.ends && !errors.Is(err, context.DeadlineExceeded):
				t.Errorf("wait %#x, %v: want the deadline", wait, err)
			}
			if len(output) > 200 {
				t.Errorf("%d bytes of output", len(output))
			}
			if n := sleepers(t, mark); n != 0 {
				t.Errorf("%d processes of the check are left", n)
			}
		})
	}
	if _, output, err := r.n.Execute(t.Context(), s.ID, check(s, "yes flood | head -c 3000000; echo; echo the end")); err != nil || !strings.HasSuffix(output, "flood\n\nthe end") && !strings.HasSuffix(output, "the end") {
		t.Errorf("output %q, %v", output, err)
	}
	if _, _, err := r.n.Execute(t.Context(), s.ID, &container.Spec{ID: s.ID, Sandbox: s.Sandbox, Path: "/does/not/exist"}); err == nil || !strings.Contains(err.Error(), `cannot execute "/does/not/exist"`) {
		t.Errorf("%v", err)
	}
	r.silent(s.ID)
	r.n.Signal(s.ID, int(syscall.SIGTERM))
	finished(t, task)
	r.end(s.ID)
}

// TestCheckEndsWithTheContainer: the end of a container is not kept from being told by a
// check that is under way.
func TestCheckEndsWithTheContainer(t *testing.T) {
	r := newRig(t)
	s := r.spec("exec sleep 1000")
	r.begin(s)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	mark := fmt.Sprintf("2000.%d", os.Getpid())
	done := make(chan error, 1)
	go func() {
		_, _, err := r.n.Execute(ctx, s.ID, check(s, "echo > there; exec sleep "+mark))
		done <- err
	}()
	r.file(s, "there")
	r.n.Signal(s.ID, int(syscall.SIGKILL))
	r.end(s.ID)
	if os.Geteuid() != 0 {
		cancel() // no namespace that would end with the task
	}
	select {
	case err := <-done:
		if err == nil {
			t.Error("the check ended well")
		}
	case <-time.After(patience):
		t.Fatal("the check goes on")
	}
	if n := sleepers(t, mark); n != 0 {
		t.Errorf("%d processes are left", n)
	}
}

// BenchmarkCheck is one command of a check, one after the other and 200 at a time.
func BenchmarkCheck(b *testing.B) {
	r := newRig(b)
	s := r.spec("exec sleep 1000")
	r.begin(s)
	once := func(b *testing.B) {
		if wait, output, err := r.n.Execute(b.Context(), s.ID, check(s, "exit 0")); err != nil || wait != 0 {
			b.Errorf("%#x %s %v", wait, output, err)
		}
	}
	b.Run("alone", func(b *testing.B) {
		for b.Loop() {
			once(b)
		}
	})
	b.Run("crowd", func(b *testing.B) {
		b.SetParallelism(100)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				once(b)
			}
		})
	})
	r.n.Signal(s.ID, int(syscall.SIGKILL))
	r.end(s.ID)
}
