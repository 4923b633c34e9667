package containerizer

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stoa-kernel/stoa/agent/container"
)

func TestExitStatusIsTheKernels(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		script string
		want   syscall.WaitStatus
	}{
		{"exit 0", 0},
		{"exit 3", 3 << 8},
		{"exit 255", 255 << 8},
		{"kill -SEGV $$", syscall.WaitStatus(syscall.SIGSEGV)},
		{"kill -KILL $$", syscall.WaitStatus(syscall.SIGKILL)},
		{"kill -TERM $$", syscall.WaitStatus(syscall.SIGTERM)},
	} {
		before := time.Now()
		e := r.run(r.spec(c.script))
		// The core bit depends on the machine's limits.
		if !e.Known || wait(e)&^0x80 != c.want || e.OOM || e.Rebooted {
			t.Errorf("%s: got %+v, want wait status %#x", c.script, e, uint32(c.want))
		}
		if e.Time.Before(before.Add(-time.Second)) || e.Time.After(time.Now().Add(time.Second)) {
			t.Errorf("%s: ended at %v, now is %v", c.script, e.Time, time.Now())
		}
	}
}

func TestCannotBeExecuted(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		name   string
		change func(*container.Spec)
		want   []string
	}{
		{"absolute", func(s *container.Spec) { s.Path = "/does/not/exist" }, []string{`cannot execute "/does/not/exist"`, "no such file", "installed"}},
		{"in PATH", func(s *container.Spec) { s.Path = "does-not-exist" }, []string{`cannot execute "does-not-exist"`, "no such file"}},
		{"directory", func(s *container.Spec) { s.Path = "/tmp" }, []string{"permission denied", "user"}},
		{"user", func(s *container.Spec) { s.User = "nobody-of-that-name" }, []string{`user "nobody-of-that-name"`}},
		{"sandbox", func(s *container.Spec) { s.Sandbox += "-not" }, []string{"open the sandbox"}},
		{"environment", func(s *container.Spec) { s.Env = []string{"A=\x00"} }, []string{"zero byte"}},
		{"too long", func(s *container.Spec) { s.Argv = []string{strings.Repeat("x", 9<<20)} }, []string{"at most"}},
		{"too long for exec", func(s *container.Spec) { s.Argv = []string{strings.Repeat("x", 1<<20)} }, []string{"argument list too long"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := r.spec("exit 0", c.change)
			r.n.Launch(s)
			var failed container.Failed
			for failed.ID == "" {
				switch e := (<-r.queue(s.ID)).(type) {
				case container.Forked:
					r.n.Go(s.ID)
				case container.Failed:
					failed = e
				default:
					t.Fatalf("got %T %+v", e, e)
				}
			}
			if failed.Reason != failedReason || failed.Canceled {
				t.Errorf("got %+v", failed)
			}
			for _, part := range c.want {
				if !strings.Contains(failed.Message, part) {
					t.Errorf("message %q lacks %q", failed.Message, part)
				}
			}
			r.n.Destroy(s.ID)
			next[container.Destroyed](r, s.ID)
			r.gone(s.ID)
		})
	}
}
