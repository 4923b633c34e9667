package containerizer

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stoa-kernel/stoa/agent/container"
	"github.com/stoa-kernel/stoa/kernel/id"
)

// patience is how long an event may take before a test gives up; it is never waited for
// in a test that passes.
const patience = 30 * time.Second

// rig is a containerizer with the events of each container in a queue of its own.
type rig struct {
	t    testing.TB
	cfg  Config
	n    *Native
	root string // directory of sandboxes

	mu     sync.Mutex
	queues map[id.Container]chan container.Event
}

const asNobody = "STOA_TEST_AS_NOBODY"

var ids atomic.Int64

// newRig starts a containerizer; change may adjust its configuration.
func newRig(t testing.TB, change ...func(*Config)) *rig {
	t.Helper()
	if os.Geteuid() != 0 && os.Getenv(asNobody) == "" {
		t.Fatal("these tests make namespaces and cgroups: run them as root")
	}
	r := &rig{t: t, root: t.TempDir(), queues: map[id.Container]chan container.Event{}}
	r.cfg = Config{
		WorkDir:    filepath.Join(r.root, "work"),
		CgroupRoot: fmt.Sprintf("stoa-test-%d", os.Getpid()),
		Root:       os.Geteuid() == 0,
		Log:        slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	for _, f := range change {
		f(&r.cfg)
	}
	r.start()
	t.Cleanup(func() { r.n.Close() })
	return r
}

func (r *rig) start() {
	r.t.Helper()
	r.cfg.Events = func(e container.Event) { r.queue(containerOf(e)) <- e }
	n, err := New(r.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.n = n
}

// restart is what a new process of the agent does; queues start empty.
func (r *rig) restart() {
	r.t.Helper()
	if err := r.n.Close(); err != nil {
		r.t.Fatal(err)
	}
	r.mu.Lock()
	clear(r.queues)
	r.mu.Unlock()
	r.start()
}

func (r *rig) queue(c id.Container) chan container.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	q := r.queues[c]
	if q == nil {
		q = make(chan container.Event, 100)
		r.queues[c] = q
	}
	return q
}

func containerOf(e container.Event) id.Container {
	switch e := e.(type) {
	case container.Fetching:
		return e.ID
	case container.Forked:
		return e.ID
	case container.Started:
		return e.ID
	case container.Failed:
		return e.ID
	case container.Exited:
		return e.ID
	case container.Destroyed:
		return e.ID
	}
	panic(fmt.Sprintf("unknown event %T", e))
}

// next waits for the container's next event, which must be an E.
func next[E container.Event](r *rig, c id.Container) E {
	r.t.Helper()
	select {
	case e := <-r.queue(c):
		if want, ok := e.(E); ok {
			return want
		}
		r.t.Fatalf("container %s: got %T %+v, want %T\nstderr: %s", c, e, e, *new(E), r.read(c, "stderr"))
	case <-time.After(patience):
		r.t.Fatalf("container %s: no %T", c, *new(E))
	}
	panic("not reached")
}

// silent fails if there is an event already.
func (r *rig) silent(c id.Container) {
	r.t.Helper()
	select {
	case e := <-r.queue(c):
		r.t.Fatalf("container %s: unexpected %T %+v", c, e, e)
	default:
	}
}

// spec is a shell script in a new sandbox.
func (r *rig) spec(script string, change ...func(*container.Spec)) *container.Spec {
	r.t.Helper()
	name := fmt.Sprintf("c%d-%d", os.Getpid(), ids.Add(1))
	s := &container.Spec{
		ID:      id.Container(name),
		Sandbox: filepath.Join(r.root, name),
		Path:    "/bin/sh",
		Argv:    []string{"sh", "-c", script},
		Env:     []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"},
		Limits:  container.Limits{CPUs: 0.1, MemorySoft: 32 << 20, Pids: 100},
	}
	if err := os.Mkdir(s.Sandbox, 0o755); err != nil {
		r.t.Fatal(err)
	}
	for _, f := range change {
		f(s)
	}
	return s
}

// run goes through a container's whole life.
func (r *rig) run(s *container.Spec) container.Exit {
	r.t.Helper()
	r.begin(s)
	return r.end(s.ID)
}

// begin returns when the task runs.
func (r *rig) begin(s *container.Spec) (container.Forked, container.Started) {
	r.t.Helper()
	r.n.Launch(s)
	forked := next[container.Forked](r, s.ID)
	r.n.Go(s.ID)
	return forked, next[container.Started](r, s.ID)
}

// end waits for the task's end and removes the container.
func (r *rig) end(c id.Container) container.Exit {
	r.t.Helper()
	exit := next[container.Exited](r, c).Record
	r.n.Destroy(c)
	next[container.Destroyed](r, c)
	r.gone(c)
	return exit
}

// output runs a script that succeeds and returns what it wrote.
func (r *rig) output(s *container.Spec) string {
	r.t.Helper()
	if e := r.run(s); !e.Known || e.Wait != 0 {
		r.t.Fatalf("exit %+v; stderr: %s", e, r.read(s.ID, "stderr"))
	}
	return strings.TrimSpace(r.read(s.ID, "stdout"))
}

func (r *rig) read(c id.Container, file string) string {
	b, err := os.ReadFile(filepath.Join(r.root, string(c), file))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// gone fails if something of a destroyed container is left.
func (r *rig) gone(c id.Container) {
	r.t.Helper()
	if _, err := os.Lstat(string(r.n.recordsOf(c))); !missing(err) {
		r.t.Errorf("container %s: its directory is left: %v", c, err)
	}
	if r.n.cgroups == nil {
		return
	}
	names, err := r.n.cgroups.List()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, name := range names {
		if name == string(c) {
			r.t.Errorf("container %s: its cgroup is left", c)
		}
	}
}

// file waits until a task has made a file in its sandbox, and returns what is in it. The
// task must make it whole, by renaming.
func (r *rig) file(s *container.Spec, name string) string {
	r.t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		r.t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := unix.InotifyAddWatch(fd, s.Sandbox, unix.IN_CREATE|unix.IN_MOVED_TO); err != nil {
		r.t.Fatal(err)
	}
	var b [4096]byte
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if text, err := os.ReadFile(filepath.Join(s.Sandbox, name)); err == nil {
			return strings.TrimSpace(string(text))
		}
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if n, _ := unix.Poll(fds, int(patience/time.Millisecond)); n > 0 {
			unix.Read(fd, b[:])
		}
	}
	r.t.Fatalf("no file %s", name)
	return ""
}

// finished waits until a process is gone; the pidfd must have been opened while it lived.
func finished(t testing.TB, pidfd int) {
	t.Helper()
	defer unix.Close(pidfd)
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, int(patience/time.Millisecond))
		if err == unix.EINTR {
			continue
		}
		if n != 1 {
			t.Fatal("the process lives on")
		}
		return
	}
}

func pin(t testing.TB, pid int) int {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatalf("pid %d: %v", pid, err)
	}
	return fd
}

func wait(e container.Exit) syscall.WaitStatus { return syscall.WaitStatus(e.Wait) }

func as(user string) func(*container.Spec) {
	return func(s *container.Spec) {
		s.User = user
		if err := os.Chown(s.Sandbox, 65534, 65534); err != nil {
			panic(err)
		}
	}
}
