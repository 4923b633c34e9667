package containerizer

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stoa-kernel/stoa/agent/container"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/kernel/id"
)

// mark lets a container's processes be found from outside, wherever they hide.
func mark(s *container.Spec) { s.Env = append(s.Env, "STOA_TEST_MARK="+string(s.ID)) }

// marked finds the living processes of a marked container.
func marked(t testing.TB, c id.Container) (pids []int) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// Gone meanwhile, or another user's: not the container's either way.
		env, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if bytes.Contains(append(env, 0), []byte("STOA_TEST_MARK="+string(c)+"\x00")) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// A tree with children, orphans and daemons that left session and process group and
// ignore every signal they can.
const tree = `
trap '' TERM HUP INT
sleep 1000 &
sh -c 'sleep 1000 & sleep 1000' &
setsid sh -c 'trap "" TERM HUP INT; sleep 1000' &
(setsid sh -c 'setsid sleep 1000 & echo $! >daemon.new; mv daemon.new daemon' &)
`

const stay = `touch new; mv new ready; while :; do sleep 1000; done`

func TestDestroyKillsTheWholeTree(t *testing.T) {
	r := newRig(t)
	s := r.spec(tree+stay, mark)
	r.begin(s)
	r.file(s, "daemon")
	r.file(s, "ready")
	if n := len(marked(t, s.ID)); n < 7 {
		t.Fatalf("%d processes run", n)
	}
	r.n.Destroy(s.ID)
	r.n.Destroy(s.ID)
	e := next[container.Exited](r, s.ID).Record
	if !e.Known || wait(e) != syscall.WaitStatus(syscall.SIGKILL) {
		t.Errorf("got %+v", e)
	}
	next[container.Destroyed](r, s.ID)
	r.silent(s.ID)
	r.gone(s.ID)
	if left := marked(t, s.ID); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
}

func TestDaemonsEndWithTheTask(t *testing.T) {
	r := newRig(t)
	s := r.spec(tree+`while ! [ -e daemon ]; do :; done; exit 5`, mark)
	r.begin(s)
	e := next[container.Exited](r, s.ID).Record
	if !e.Known || wait(e).ExitStatus() != 5 {
		t.Errorf("got %+v", e)
	}
	if left := marked(t, s.ID); len(left) > 0 {
		t.Errorf("processes are left before Destroy: %v", left)
	}
	r.n.Destroy(s.ID)
	next[container.Destroyed](r, s.ID)
	r.gone(s.ID)
}

func TestOrphansAreReaped(t *testing.T) {
	r := newRig(t)
	// Each of 50 orphans ends before the task does.
	s := r.spec(`for i in $(seq 50); do (sh -c 'exit 1' & ) ; done
		while ps -eo stat=,args= | grep -q '^Z'; do :; done; exit 0`, mark)
	if os.Geteuid() != 0 {
		// The host's zombies are seen too: only the task's own count.
		s = r.spec(`for i in $(seq 50); do (sh -c 'exit 1' & ) ; done
			while ps -o stat= --ppid $PPID | grep -q '^Z'; do :; done; exit 0`)
	}
	if e := r.run(s); wait(e) != 0 {
		t.Errorf("got %+v", e)
	}
}

func TestSignalReachesEveryProcess(t *testing.T) {
	r := newRig(t)
	s := r.spec(`
		sh -c 'trap "echo child >child.new; mv child.new child; exit" TERM; touch a.new; mv a.new a; while :; do sleep 1000 & wait; done' &
		trap 'while ! [ -e child ]; do :; done; exit 7' TERM
		while ! [ -e a ]; do :; done
		touch new; mv new ready; while :; do sleep 1000 & wait; done`, mark)
	r.begin(s)
	r.file(s, "ready")
	r.n.Signal(s.ID, int(unix.SIGTERM))
	if e := r.end(s.ID); !e.Known || wait(e).ExitStatus() != 7 {
		t.Errorf("got %+v, stderr %s", e, r.read(s.ID, "stderr"))
	}
	if left := marked(t, s.ID); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	r.n.Signal(s.ID, int(unix.SIGTERM)) // of a container that is gone
	r.silent(s.ID)
}

// TestDestroyAtEveryStage: the end is told, then Destroyed, then nothing.
func TestDestroyAtEveryStage(t *testing.T) {
	fetches := make(chan struct{}, 1)
	r := newRig(t, func(c *Config) {
		c.Fetch = func(ctx context.Context, _ *container.Spec) error {
			fetches <- struct{}{}
			<-ctx.Done()
			return context.Cause(ctx)
		}
	})
	canceled := func(c id.Container) {
		t.Helper()
		if f := next[container.Failed](r, c); !f.Canceled || f.Reason != failedReason {
			t.Errorf("got %+v", f)
		}
	}
	gone := func(c id.Container) {
		t.Helper()
		next[container.Destroyed](r, c)
		r.silent(c)
		r.gone(c)
	}

	s := r.spec("exit 0", func(s *container.Spec) { s.URIs = []*mesos.CommandInfo_URI{{}} })
	r.n.Launch(s)
	next[container.Fetching](r, s.ID)
	<-fetches
	r.n.Destroy(s.ID)
	canceled(s.ID)
	gone(s.ID)

	s = r.spec("exit 0")
	r.n.Launch(s)
	r.n.Destroy(s.ID)
	select { // whether it was far enough is a race
	case e := <-r.queue(s.ID):
		switch e := e.(type) {
		case container.Forked:
			canceled(s.ID)
		case container.Failed:
			if !e.Canceled {
				t.Errorf("got %+v", e)
			}
		default:
			t.Errorf("got %T %+v", e, e)
		}
	case <-t.Context().Done():
	}
	gone(s.ID)

	s = r.spec("touch executed")
	r.n.Launch(s)
	next[container.Forked](r, s.ID)
	r.n.Destroy(s.ID)
	r.n.Go(s.ID) // too late
	canceled(s.ID)
	gone(s.ID)
	if _, err := os.Stat(filepath.Join(s.Sandbox, "executed")); err == nil {
		t.Error("a destroyed container was executed")
	}

	s = r.spec("sleep 1000")
	r.n.Launch(s)
	next[container.Forked](r, s.ID)
	r.n.Go(s.ID)
	r.n.Destroy(s.ID)
	next[container.Started](r, s.ID)
	if e := next[container.Exited](r, s.ID).Record; !e.Known || wait(e).Signal() != unix.SIGKILL {
		t.Errorf("got %+v", e)
	}
	gone(s.ID)

	s = r.spec("exit 0")
	r.begin(s)
	next[container.Exited](r, s.ID)
	r.n.Destroy(s.ID)
	gone(s.ID)

	for _, unknown := range []id.Container{"never-there", "..", "a/b", ""} {
		r.n.Destroy(unknown)
		next[container.Destroyed](r, unknown)
		r.silent(unknown)
	}
}

// TestDestroyAtAnyInstant has destruction race with everything; whatever wins, the
// events are in order and nothing is left.
func TestDestroyAtAnyInstant(t *testing.T) {
	r := newRig(t)
	random := rand.New(rand.NewPCG(1, 2))
	var specs []*container.Spec
	turns := map[id.Container]int{}
	for i := range 60 {
		s := r.spec([]string{"exit 0", "sleep 1000", "sleep 1000 & exit 3"}[i%3], mark)
		specs = append(specs, s)
		turns[s.ID] = random.IntN(200)
		r.n.Launch(s)
	}
	stages := map[string][]string{
		"":                {"Forked", "Failed"},
		"Forked":          {"Started", "Failed"},
		"Started":         {"Exited"},
		"Exited":          {"Destroyed"},
		"Failed":          {"Destroyed"},
		"Destroyed":       nil,
		"unknown at last": nil,
	}
	last := map[id.Container]string{}
	destroyed := map[id.Container]bool{}
	for turn, left := 0, len(specs); left > 0; turn++ {
		for _, s := range specs {
			if turn >= turns[s.ID] && !destroyed[s.ID] {
				destroyed[s.ID] = true
				r.n.Destroy(s.ID)
			}
			var e container.Event
			if destroyed[s.ID] && last[s.ID] != "Destroyed" && turn > 250 {
				e = <-r.queue(s.ID) // nothing else is to be done
			} else {
				select {
				case e = <-r.queue(s.ID):
				default:
					continue
				}
			}
			name := fmt.Sprintf("%T", e)[len("container."):]
			allowed := false
			for _, a := range stages[last[s.ID]] {
				allowed = allowed || a == name
			}
			if !allowed {
				t.Fatalf("%s: %s after %q", s.ID, name, last[s.ID])
			}
			last[s.ID] = name
			switch name {
			case "Forked":
				r.n.Go(s.ID)
			case "Destroyed":
				left--
			}
		}
	}
	for _, s := range specs {
		r.silent(s.ID)
		r.gone(s.ID)
		if pids := marked(t, s.ID); len(pids) > 0 {
			t.Errorf("%s: processes are left: %v", s.ID, pids)
		}
	}
}

// TestInitKilled: whoever kills the init takes the exit status with it, and it is not
// guessed.
func TestInitKilled(t *testing.T) {
	r := newRig(t)
	s := r.spec("sleep 1000", mark)
	forked, _ := r.begin(s)
	if err := unix.Kill(forked.Pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if e := r.end(s.ID); e.Known || e.Rebooted {
		t.Errorf("got %+v", e)
	}

	s = r.spec("sleep 1000")
	r.n.Launch(s)
	forked = next[container.Forked](r, s.ID)
	if err := unix.Kill(forked.Pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	next[container.Failed](r, s.ID)
	r.n.Destroy(s.ID)
	next[container.Destroyed](r, s.ID)
	r.gone(s.ID)
}

func TestNoDescriptorIsLeaked(t *testing.T) {
	r := newRig(t)
	count := func() int {
		if err := r.n.pool.fill(); err != nil { // it may not be full yet
			t.Fatal(err)
		}
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	r.run(r.spec("exit 0")) // what is opened once is open
	before := count()
	for range 20 {
		r.run(r.spec("exit 1"))
		s := r.spec("exit 0", func(s *container.Spec) { s.Path = "/not/there" })
		r.n.Launch(s)
		next[container.Forked](r, s.ID)
		r.n.Go(s.ID)
		next[container.Failed](r, s.ID)
		r.n.Destroy(s.ID)
		next[container.Destroyed](r, s.ID)
	}
	if after := count(); after > before {
		t.Errorf("%d descriptors, then %d", before, after)
	}
	if err := r.n.Close(); err != nil {
		t.Fatal(err)
	}
	r.start()
	if after := count(); after > before {
		t.Errorf("%d descriptors, %d after Close and New", before, after)
	}
}

// TestSignalBeforeGo: what would end the task ends its launch, at every stage of it.
func TestSignalBeforeGo(t *testing.T) {
	fetches := make(chan struct{}, 1)
	r := newRig(t, func(c *Config) {
		c.Fetch = func(ctx context.Context, _ *container.Spec) error {
			fetches <- struct{}{}
			<-ctx.Done()
			return context.Cause(ctx)
		}
	})
	fetching := r.spec("exit 0", func(s *container.Spec) { s.URIs = []*mesos.CommandInfo_URI{{}} })
	r.n.Launch(fetching)
	next[container.Fetching](r, fetching.ID)
	<-fetches
	waiting := r.spec("exit 0")
	r.n.Launch(waiting)
	forked := next[container.Forked](r, waiting.ID)
	for _, s := range []*container.Spec{fetching, waiting} {
		r.n.Signal(s.ID, int(unix.SIGHUP))
		r.silent(s.ID)
		r.n.Signal(s.ID, int(unix.SIGTERM))
		r.n.Go(s.ID) // too late
		if f := next[container.Failed](r, s.ID); !f.Canceled {
			t.Errorf("got %+v", f)
		}
	}
	// The next agent would know too that nothing was executed.
	r.restart()
	r.n.Adopt(live(forked, container.Started{}, waiting))
	if f := next[container.Failed](r, waiting.ID); !f.Canceled {
		t.Errorf("got %+v", f)
	}
	for _, s := range []*container.Spec{fetching, waiting} {
		r.n.Destroy(s.ID)
		next[container.Destroyed](r, s.ID)
		r.gone(s.ID)
	}
}

// TestManyAtOnce: more than are launched at a time.
func TestManyAtOnce(t *testing.T) {
	r := newRig(t)
	var specs []*container.Spec
	for range 3 * launching {
		s := r.spec("exit 2")
		specs = append(specs, s)
		r.n.Launch(s)
	}
	for _, s := range specs {
		next[container.Forked](r, s.ID)
		r.n.Go(s.ID)
	}
	for _, s := range specs {
		next[container.Started](r, s.ID)
		if e := r.end(s.ID); !e.Known || wait(e) != 2<<8 {
			t.Errorf("got %+v", e)
		}
	}
}
