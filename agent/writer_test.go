package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/stoa-kernel/stoa/agent/checkpoint"
	"github.com/stoa-kernel/stoa/agent/container"
	"github.com/stoa-kernel/stoa/agent/state"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/internal/loop"
	"github.com/stoa-kernel/stoa/internal/vfs"
	"github.com/stoa-kernel/stoa/kernel/id"
)

func gone(n, size int) *stoapb.LogRecord {
	return &stoapb.LogRecord{Body: &stoapb.LogRecord_SandboxGone{SandboxGone: &stoapb.SandboxGone{
		ContainerId: proto.String(fmt.Sprint(n, strings.Repeat("x", size)))}}}
}

// written is a writer on a disk in memory, with what it told.
type written struct {
	*writer
	disk  *vfs.Memory
	mu    sync.Mutex
	steps []string // operations on the disk and positions told, in order
}

func newWritten(t *testing.T, hook func(vfs.Op) error) *written {
	t.Helper()
	w := &written{disk: vfs.NewMemory()}
	log, _, err := checkpoint.Open(w.disk, "/log", checkpoint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w.writer = newWriter(log, func() { w.note(fmt.Sprint("durable ", w.durable())) }, func(time.Duration) {})
	w.disk.Hook = func(op vfs.Op) error {
		w.note(string(op.Kind))
		if hook != nil {
			return hook(op)
		}
		return nil
	}
	return w
}

func (w *written) note(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.steps = append(w.steps, s)
}

func (w *written) group(t *testing.T, first loop.Position, sync ...bool) *group {
	t.Helper()
	g := &group{}
	for i, s := range sync {
		if err := g.put(gone(i, 10), s, first+loop.Position(i)); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

// finish runs the writer over what is queued.
func (w *written) finish() {
	w.mu.Lock()
	w.steps = nil
	w.mu.Unlock()
	go w.run()
	w.close()
}

// TestGroupCommit: one sync for all that came up, and what needs none does not wait.
func TestGroupCommit(t *testing.T) {
	w := newWritten(t, nil)
	w.add(w.group(t, 1, false, false))
	w.add(w.group(t, 3, false, true, false))
	w.add(w.group(t, 6, true))
	w.finish()
	if want := []string{"write", "write", "write", "durable 3", "sync", "durable 6"}; !slices.Equal(w.steps, want) {
		t.Errorf("%v, want %v", w.steps, want)
	}

	w = newWritten(t, nil)
	w.add(w.group(t, 1, false, false))
	w.finish()
	if want := []string{"write", "durable 2"}; !slices.Equal(w.steps, want) {
		t.Errorf("%v, want %v", w.steps, want)
	}
}

// TestFailedSync: nothing that follows from a record is done whose sync failed, and it
// is not tried again.
func TestFailedSync(t *testing.T) {
	w := newWritten(t, func(op vfs.Op) error {
		if op.Kind == vfs.Sync {
			return unix.EIO
		}
		return nil
	})
	w.add(w.group(t, 1, false, true))
	w.finish()
	<-w.broken
	if want := []string{"write", "durable 1", "sync"}; !slices.Equal(w.steps, want) || !errors.Is(w.failed(), unix.EIO) {
		t.Errorf("%v, want %v; %v", w.steps, want, w.failed())
	}
}

// TestCompaction: the snapshot takes the place of what was before it, and a lack of
// room for it is no failure.
func TestCompaction(t *testing.T) {
	full := false
	w := newWritten(t, func(op vfs.Op) error {
		if op.Kind == vfs.Create && full {
			return unix.ENOSPC
		}
		return nil
	})
	w.limit = 1000
	snapshot := func() *checkpoint.Batch {
		b := &checkpoint.Batch{}
		if err := b.Add(gone(100, 300)); err != nil {
			t.Fatal(err)
		}
		return b
	}
	g := w.group(t, 1, true)
	if w.grown(g.size()) {
		t.Fatal("grown from the start")
	}
	if !w.grown(1001) {
		t.Fatal("never grows")
	}
	g.snapshot = snapshot()
	w.add(g)
	w.add(w.group(t, 2, true))
	w.finish()
	if w.failed() != nil || w.durable() != 2 {
		t.Fatal(w.failed(), w.durable())
	}
	if w.grown(900) || !w.grown(1000) { // the ratio would allow 3 x 312
		t.Fatal("does not count from the snapshot")
	}
	full = true
	w.disk.Hook = nil
	log, records, err := checkpoint.Open(w.disk, "/log", checkpoint.Options{})
	if err != nil || len(records) != 2 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	w.disk.Hook = func(op vfs.Op) error {
		if op.Kind == vfs.Create {
			return unix.ENOSPC
		}
		return nil
	}
	v := newWriter(log, func() {}, func(time.Duration) {})
	v.limit = 1
	g = w.group(t, 1, true)
	g.snapshot = snapshot()
	v.add(g)
	go v.run()
	v.close()
	if v.failed() != nil || v.durable() != 1 {
		t.Fatal(v.failed(), v.durable())
	}
	if v.grown(0) || !v.grown(1<<20) {
		t.Fatal("tries again at once, or never")
	}
	if _, records, err := checkpoint.Open(w.disk, "/log", checkpoint.Options{}); err != nil || len(records) != 3 {
		t.Fatalf("%d records, %v", len(records), err)
	}
}

// TestGroup: what the failpoints tell apart.
func TestGroup(t *testing.T) {
	update := func(s mesos.TaskState) *stoapb.LogRecord {
		return &stoapb.LogRecord{Body: &stoapb.LogRecord_Update{Update: &stoapb.TaskUpdate{Status: &mesos.TaskStatus{TaskId: &mesos.TaskID{Value: proto.String("t")}, State: &s}}}}
	}
	g := &group{}
	for i, r := range []*stoapb.LogRecord{
		{Body: &stoapb.LogRecord_Container{Container: &stoapb.ContainerLaunch{}}},
		{Body: &stoapb.LogRecord_Acknowledged{Acknowledged: &stoapb.TaskAcknowledged{}}},
		update(mesos.TaskState_TASK_STARTING), update(mesos.TaskState_TASK_RUNNING), update(mesos.TaskState_TASK_KILLING),
		update(mesos.TaskState_TASK_FAILED), update(mesos.TaskState_TASK_KILLED),
	} {
		if err := g.put(proto.CloneOf(r), i > 1, loop.Position(i+1)); err != nil {
			t.Fatal(err)
		}
	}
	if g.launches != 1 || g.acks != 1 || g.running != 1 || g.terminal != 2 || g.sync != 3 || g.last != 7 {
		t.Fatalf("%+v", g)
	}
	if (&group{}).put(&stoapb.LogRecord{}, false, 1) == nil {
		t.Fatal("took a record without a body")
	}
}

// TestPreparation: what fails before a launch ends the container, and what is destroyed
// meanwhile is never launched.
func TestPreparation(t *testing.T) {
	work := t.TempDir()
	inner := &containers{dir: t.TempDir()}
	events := make(chan container.Event, 16)
	l, err := newLauncher(&Config{WorkDir: work, Containerizer: func(h Hooks) (Containerizer, error) {
		inner.hooks = h
		return inner, nil
	}}, func(in state.Input) { events <- in.(state.Container).Event })
	if err != nil {
		t.Fatal(err)
	}
	spec := func(name id.Container) *container.Spec {
		return &container.Spec{ID: name, Argv: []string{string(name)},
			Sandbox: filepath.Join(work, "slaves/S/frameworks/F/executors/E/runs", string(name))}
	}

	s := spec("nobody")
	s.User = "no-such-user"
	l.Launch(s)
	if f, ok := (<-events).(container.Failed); !ok || f.Canceled || !strings.Contains(f.Message, `user "no-such-user" does not exist`) {
		t.Fatalf("%#v", f)
	}

	s = spec("early")
	for range preparing {
		l.slots <- struct{}{} // preparations wait
	}
	l.Launch(s)
	l.Destroy(s.ID)
	for range preparing {
		<-l.slots
	}
	if f, ok := (<-events).(container.Failed); !ok || !f.Canceled {
		t.Fatalf("%#v", f)
	}
	if d, ok := (<-events).(container.Destroyed); !ok || d.ID != "early" {
		t.Fatalf("%#v", d)
	}

	s = spec("good")
	volume := filepath.Join(work, "volume")
	if err := os.Mkdir(volume, 0o755); err != nil {
		t.Fatal(err)
	}
	s.Volumes = []container.Mount{{Source: volume, Target: "v"}}
	l.Launch(s)
	if f, ok := (<-events).(container.Forked); !ok || f.ID != "good" {
		t.Fatalf("%#v", f)
	}
	if os.Geteuid() == 0 { // only root gives volumes away
		s = spec("late")
		s.User = "nobody"
		s.Volumes = []container.Mount{{Source: volume + "/nothing", Target: "v"}}
		l.Launch(s)
		if f, ok := (<-events).(container.Failed); !ok || !strings.Contains(f.Message, "give volume") {
			t.Fatalf("%#v", f)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
