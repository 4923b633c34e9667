package containerizer

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stoa-kernel/stoa/agent/container"
	"github.com/stoa-kernel/stoa/agent/containerizer/launch"
)

// live is what the agent's log has of a container.
func live(f container.Forked, s container.Started, spec *container.Spec) container.Live {
	return container.Live{ID: f.ID, Sandbox: spec.Sandbox, BootID: f.BootID, Pid: f.Pid, StartTime: f.StartTime,
		TaskPid: s.TaskPid, Limits: spec.Limits}
}

// pipe makes a FIFO in the sandbox that a script can wait at; open lets it go on.
func pipe(t *testing.T, s *container.Spec) (open func()) {
	t.Helper()
	path := filepath.Join(s.Sandbox, "gate")
	if err := unix.Mkfifo(path, 0o666); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
}

func TestAdoptedAlive(t *testing.T) {
	r := newRig(t)
	s := r.spec("trap 'exit 9' TERM; touch new; mv new ready; while :; do sleep 1000 & wait; done", mark)
	forked, started := r.begin(s)
	r.file(s, "ready")
	for range 2 { // and again, by the next agent
		r.restart()
		r.n.Adopt(live(forked, started, s))
		if again := next[container.Started](r, s.ID); again != started {
			t.Errorf("got %+v, want %+v", again, started)
		}
	}
	// The agent may have died before it had written down the task's pid.
	r.restart()
	r.n.Adopt(live(forked, container.Started{}, s))
	if again := next[container.Started](r, s.ID); again != started {
		t.Errorf("got %+v, want %+v", again, started)
	}
	r.n.Signal(s.ID, int(unix.SIGTERM))
	if e := r.end(s.ID); !e.Known || wait(e).ExitStatus() != 9 {
		t.Errorf("got %+v", e)
	}
	if left := marked(t, s.ID); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
}

func TestAdoptedAndDestroyed(t *testing.T) {
	r := newRig(t)
	s := r.spec(tree+stay, mark)
	forked, started := r.begin(s)
	r.file(s, "ready")
	r.restart()
	r.n.Adopt(live(forked, started, s))
	r.n.Destroy(s.ID) // before the answer
	var e container.Event = next[container.Event](r, s.ID)
	if _, ok := e.(container.Started); ok {
		e = next[container.Exited](r, s.ID)
	}
	if e, ok := e.(container.Exited); !ok || !e.Record.Known || wait(e.Record).Signal() != unix.SIGKILL {
		t.Errorf("got %T %+v", e, e)
	}
	next[container.Destroyed](r, s.ID)
	r.silent(s.ID)
	r.gone(s.ID)
	if left := marked(t, s.ID); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
}

// TestEndedMeanwhile: the record says how, as often as it is asked for, until Destroy.
func TestEndedMeanwhile(t *testing.T) {
	r := newRig(t)
	s := r.spec("read x <gate; exit 4")
	open := pipe(t, s)
	forked, started := r.begin(s)
	fd := pin(t, forked.Pid)
	if err := r.n.Close(); err != nil {
		t.Fatal(err)
	}
	open()
	finished(t, fd)
	clear(r.queues)
	r.start()
	for range 2 {
		r.n.Adopt(live(forked, started, s))
		if e := next[container.Exited](r, s.ID).Record; !e.Known || wait(e) != 4<<8 || e.Time.IsZero() {
			t.Errorf("got %+v", e)
		}
		r.restart()
	}
	// The number belongs to another process now: this one.
	other := live(forked, started, s)
	other.Pid = os.Getpid()
	r.n.Adopt(other)
	if e := r.end(s.ID); !e.Known || wait(e) != 4<<8 {
		t.Errorf("got %+v", e)
	}
}

func TestFailedMeanwhile(t *testing.T) {
	r := newRig(t)
	s := r.spec("", func(s *container.Spec) { s.Path = "/not/there" })
	r.n.Launch(s)
	forked := next[container.Forked](r, s.ID)
	fd := pin(t, forked.Pid)
	r.n.Go(s.ID)
	if err := r.n.Close(); err != nil {
		t.Fatal(err)
	}
	finished(t, fd)
	clear(r.queues)
	r.start()
	r.n.Adopt(live(forked, container.Started{}, s))
	if f := next[container.Failed](r, s.ID); f.Canceled || f.Reason != failedReason || f.Message == "" {
		t.Errorf("got %+v", f)
	}
	r.n.Destroy(s.ID)
	next[container.Destroyed](r, s.ID)
	r.gone(s.ID)
}

// TestNeverToldToGo: nothing was executed, so it may be launched again.
func TestNeverToldToGo(t *testing.T) {
	r := newRig(t)
	s := r.spec("touch executed")
	r.n.Launch(s)
	forked := next[container.Forked](r, s.ID)
	r.restart()
	r.n.Adopt(live(forked, container.Started{}, s))
	if f := next[container.Failed](r, s.ID); !f.Canceled {
		t.Errorf("got %+v", f)
	}
	r.n.Destroy(s.ID)
	next[container.Destroyed](r, s.ID)
	r.gone(s.ID)
	if _, err := os.Stat(filepath.Join(s.Sandbox, "executed")); err == nil {
		t.Error("it was executed")
	}
}

// TestToldToGoAtDeath: the agent's last act was go.
func TestToldToGoAtDeath(t *testing.T) {
	r := newRig(t)
	for range 10 {
		s := r.spec("read x <gate; exit 6")
		open := pipe(t, s)
		r.n.Launch(s)
		forked := next[container.Forked](r, s.ID)
		r.n.Go(s.ID)
		r.restart()
		r.n.Adopt(live(forked, container.Started{}, s))
		if started := next[container.Started](r, s.ID); started.TaskPid == 0 || started.TaskPid == forked.Pid {
			t.Errorf("got %+v", started)
		}
		open()
		if e := r.end(s.ID); !e.Known || wait(e) != 6<<8 {
			t.Errorf("got %+v", e)
		}
	}
}

func TestNothingIsLeftToAdopt(t *testing.T) {
	r := newRig(t)
	boot, err := launch.BootID()
	if err != nil {
		t.Fatal(err)
	}
	me, err := launch.Inspect(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		live container.Live
		want container.Exit
	}{
		{"rebooted", container.Live{ID: "rebooted", BootID: "another", Pid: os.Getpid(), StartTime: me.StartTime}, container.Exit{Rebooted: true}},
		{"pid of another", container.Live{ID: "other", BootID: boot, Pid: os.Getpid(), StartTime: me.StartTime - 1}, container.Exit{}},
		{"pid of nobody", container.Live{ID: "nobody", BootID: boot, Pid: 1 << 22, StartTime: 1}, container.Exit{}},
	} {
		r.n.Adopt(c.live)
		if e := r.end(c.live.ID); e != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, e, c.want)
		}
	}
}

// TestInitGoneWithoutRecord: killed while there was no agent.
func TestInitGoneWithoutRecord(t *testing.T) {
	r := newRig(t)
	s := r.spec("sleep 1000", mark)
	forked, started := r.begin(s)
	fd := pin(t, forked.Pid)
	if err := r.n.Close(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(forked.Pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	finished(t, fd)
	clear(r.queues)
	r.start()
	r.n.Adopt(live(forked, started, s))
	if e := r.end(s.ID); e != (container.Exit{}) {
		t.Errorf("got %+v", e)
	}
}

// TestDestroyOfAFormerLife: nobody wants to know how it ended.
func TestDestroyOfAFormerLife(t *testing.T) {
	r := newRig(t)
	s := r.spec(tree+stay, mark)
	r.begin(s)
	r.file(s, "ready")
	r.restart()
	r.n.Destroy(s.ID)
	next[container.Destroyed](r, s.ID)
	r.silent(s.ID)
	r.gone(s.ID)
	if left := marked(t, s.ID); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
}

// TestSweep: what was claimed stays, the rest goes without a word.
func TestSweep(t *testing.T) {
	r := newRig(t)
	kept, lost := r.spec(tree+stay, mark), r.spec(tree+stay, mark)
	forked, started := r.begin(kept)
	r.begin(lost)
	r.file(kept, "ready")
	r.file(lost, "ready")
	r.restart()
	r.n.Adopt(live(forked, started, kept))
	r.n.Sweep()
	r.silent(lost.ID)
	r.gone(lost.ID)
	if left := marked(t, lost.ID); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	next[container.Started](r, kept.ID)
	r.n.Destroy(kept.ID)
	r.endDestroyed(kept)
}

// endDestroyed is the end of a container that was destroyed already.
func (r *rig) endDestroyed(s *container.Spec) {
	r.t.Helper()
	if e := next[container.Exited](r, s.ID).Record; !e.Known || wait(e).Signal() != unix.SIGKILL {
		r.t.Errorf("got %+v", e)
	}
	next[container.Destroyed](r, s.ID)
	r.silent(s.ID)
	r.gone(s.ID)
}
