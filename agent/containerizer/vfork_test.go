package containerizer

import (
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const inVfork = "STOA_TEST_IN_VFORK"

// init makes this program the one that TestProcessInVfork runs: its main thread waits,
// not to be stopped by anything, for a child to execute or end, which it never does.
func init() {
	if os.Getenv(inVfork) == "" {
		return
	}
	pid, _, _ := syscall.RawSyscall6(syscall.SYS_CLONE, unix.CLONE_VFORK|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	for pid == 0 {
		syscall.RawSyscall6(syscall.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
	}
	os.Exit(1)
}

// TestProcessInVfork: a process between vfork and its child's exec takes no SIGSTOP, and
// if the child took one, never will. Shells are there for a moment with every command.
func TestProcessInVfork(t *testing.T) {
	r := newRig(t)
	s := r.spec(inVfork+"=1 "+os.Args[0]+` & while ! grep -q '^State:.D' /proc/$!/status; do :; done; exit 5`, mark)
	r.begin(s)
	if e := r.end(s.ID); !e.Known || wait(e) != 5<<8 {
		t.Errorf("got %+v", e)
	}
	if left := marked(t, s.ID); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
}
