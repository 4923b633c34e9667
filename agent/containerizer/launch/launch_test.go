package launch

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stoa-kernel/stoa/agent/containerizer/launch/protocol"
)

// life takes an init of p through a container's life without namespaces and returns the
// record of its end.
func life(t *testing.T, p *Program, argv ...string) protocol.Record {
	t.Helper()
	d := Dir(filepath.Join(t.TempDir(), "c"))
	if err := d.Make(); err != nil {
		t.Fatal(err)
	}
	dir, control, err := d.Open()
	if err != nil {
		t.Fatal(err)
	}
	i, err := p.Spawn(0)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	err = i.Describe(&protocol.Description{Sandbox: t.TempDir(), Paths: argv[:1], Argv: argv}, dir, control)
	unix.Close(dir)
	unix.Close(control)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := d.Record(); ok || !d.Alive() {
		t.Errorf("before go: record %v, alive %v", ok, d.Alive())
	}
	if err := i.Go(); err != nil {
		t.Fatal(err)
	}
	await := func(fd int) {
		t.Helper()
		for {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 30_000)
			if n == 1 {
				return
			}
			if err != unix.EINTR {
				t.Fatalf("nothing happens: %v", err)
			}
		}
	}
	await(i.Socket)
	report, ok := i.Report()
	if !ok {
		t.Fatal("no report")
	}
	i.CloseSocket()
	await(i.PidFD)
	i.Reap()
	if unix.Kill(i.Pid, 0) == nil {
		t.Error("the init was not reaped")
	}
	if d.Alive() {
		t.Error("alive after its end")
	}
	if err := d.Signal(1); !errors.Is(err, ErrGone) {
		t.Errorf("signal after its end: %v", err)
	}
	record, ok := d.Record()
	if !ok || record.Stage != report.Stage || record.Errno != report.Errno {
		t.Errorf("report %+v, record %+v %v", report, record, ok)
	}
	if err := d.Remove(); err != nil {
		t.Error(err)
	}
	return record
}

func TestInitInMemoryAndInAFile(t *testing.T) {
	dir := t.TempDir()
	p, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if !p.InMemory() {
		t.Error("not in memory")
	}
	if r := life(t, p, "/bin/sh", "-c", "exit 3"); r.Kind != protocol.Exited || r.Wait != 3<<8 || r.End < r.Start || r.Start == 0 {
		t.Errorf("got %+v", r)
	}
	if r := life(t, p, "/not/there"); r.Kind != protocol.Failed || r.Stage != protocol.StageExec || r.Errno != uint32(syscall.ENOENT) {
		t.Errorf("got %+v", r)
	}

	// Where the kernel executes nothing from memory; what an older process left half
	// written is replaced.
	cause := errors.New("memory is not executed here")
	path, err := written(dir, cause)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(path), os.WriteFile(path, []byte("torn"), 0o500), os.WriteFile(path+".new", []byte("torn"), 0o500)); err != nil {
		t.Fatal(err)
	}
	if path, err = written(dir, cause); err != nil {
		t.Fatal(err)
	}
	file := &Program{path: path, memory: -1, null: p.null}
	if r := life(t, file, "/bin/sh", "-c", "exit 3"); r.Kind != protocol.Exited || r.Wait != 3<<8 {
		t.Errorf("got %+v", r)
	}
	if _, err := written(filepath.Join(dir, "not", "there"), cause); !errors.Is(err, cause) {
		t.Errorf("error %v", err)
	}
}

// TestSealed: what runs as root in every container cannot be changed through any of its
// descriptors.
func TestSealed(t *testing.T) {
	p, err := Load(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := unix.Pwrite(p.memory, []byte{0}, 0); err == nil {
		t.Error("written to")
	}
	if err := unix.Ftruncate(p.memory, 0); err == nil {
		t.Error("truncated")
	}
	if _, err := unix.Mmap(p.memory, 0, 4096, unix.PROT_WRITE, unix.MAP_SHARED); err == nil {
		t.Error("mapped for writing")
	}
}

// TestAgentThatNeverSaysGo leaves nothing running.
func TestAgentThatNeverSaysGo(t *testing.T) {
	p, err := Load(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	i, err := p.Spawn(0)
	if err != nil {
		t.Fatal(err)
	}
	i.CloseSocket()
	for {
		if n, err := unix.Poll([]unix.PollFd{{Fd: int32(i.PidFD), Events: unix.POLLIN}}, 30_000); n == 1 {
			break
		} else if err != unix.EINTR {
			t.Fatalf("it lives on: %v", err)
		}
	}
	i.Reap()
	i.Close()
	if err := i.Go(); err == nil {
		t.Error("said go to nobody")
	}
}

func TestSignalIsOne(t *testing.T) {
	d := Dir(t.TempDir())
	for _, bad := range []int{-1, 0, 65} {
		if err := d.Signal(bad); err == nil || errors.Is(err, ErrGone) {
			t.Errorf("signal %d: %v", bad, err)
		}
	}
	if err := d.Signal(15); !errors.Is(err, ErrGone) {
		t.Errorf("without an init: %v", err)
	}
	if err := d.Make(); err == nil {
		t.Error("made what exists")
	}
}

func TestInspect(t *testing.T) {
	s, err := Inspect(os.Getpid())
	if err != nil || s.StartTime == 0 || s.State == 0 || s.Name == "" {
		t.Errorf("this process: %+v %v", s, err)
	}
	if _, err := Inspect(1 << 30); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nobody: %v", err)
	}
	if child := Child(1 << 30); child != 0 {
		t.Errorf("nobody's child is %d", child)
	}
	boot, err := BootID()
	if err != nil || len(boot) != 36 {
		t.Errorf("boot id %q %v", boot, err)
	}
}

func TestExplanations(t *testing.T) {
	for _, c := range []struct {
		stage protocol.Stage
		errno syscall.Errno
		want  string
	}{
		{protocol.StageExec, syscall.ENOENT, `cannot execute "/bin/x": no such file or directory; is it installed`},
		{protocol.StageExec, syscall.EACCES, `cannot execute "/bin/x": permission denied; may the task's user`},
		{protocol.StageFork, syscall.EAGAIN, "cannot fork: resource temporarily unavailable; a bound on processes"},
		{protocol.StageProc, syscall.EPERM, "cannot mount a fresh /proc: operation not permitted"},
		{protocol.Stage(200), 9999, "cannot start: errno " + strconv.Itoa(9999)},
	} {
		if got := Explain(c.stage, uint32(c.errno), "/bin/x"); !strings.HasPrefix(got, c.want) {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	if got := Explain(protocol.StageExec, uint32(syscall.E2BIG), ""); got != "cannot execute the command: argument list too long" {
		t.Errorf("got %q", got)
	}
}
