package containerizer

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// inChroot names the directory that is a file system of its own in the chroot of
// TestCheckInAChroot.
const inChroot = "STOA_TEST_IN_CHROOT"

// TestCheckInAChroot: the check of a container whose agent lives in a chroot has the
// chroot's root directory, as the task has, not that of the agent's mount namespace.
func TestCheckInAChroot(t *testing.T) {
	if os.Geteuid() != 0 {
		return // has no containers with namespaces
	}
	if dir := os.Getenv(inChroot); dir != "" {
		r := newRig(t)
		s := r.spec("cat " + dir + "/mark >writing; mv writing seen; exec sleep 1000")
		r.begin(s)
		if seen := r.file(s, "seen"); seen != "of the chroot" {
			t.Errorf("the task reads %q", seen)
		}
		wait, output, err := r.n.Execute(t.Context(), s.ID, check(s, "cat "+dir+"/mark; pwd"))
		if want := "of the chroot" + s.Sandbox; err != nil || wait != 0 || output != want {
			t.Errorf("the check's wait status is %#x, its output %q, %v; want %q", wait, output, err, want)
		}
		r.n.Signal(s.ID, 9)
		r.end(s.ID)
		return
	}
	dir := t.TempDir()
	c := exec.Command("/proc/self/exe", "-test.run=^TestCheckInAChroot$")
	c.Env = append(os.Environ(), inChroot+"="+dir, asNobody+"=1")
	c.SysProcAttr = &unix.SysProcAttr{Chroot: dir, Pdeathsig: unix.SIGKILL}
	c.Dir = "/"
	var out []byte
	done := make(chan error)
	go func() {
		// The thread ends with this goroutine, and its mounts with it.
		runtime.LockOSThread()
		err := errors.Join(
			unix.Unshare(unix.CLONE_FS|unix.CLONE_NEWNS),
			unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount("/", dir, "", unix.MS_BIND|unix.MS_REC, ""),
			unix.Mount("tmpfs", filepath.Join(dir, dir), "tmpfs", 0, "size=1m"),
			os.WriteFile(filepath.Join(dir, dir, "mark"), []byte("of the chroot"), 0o644),
		)
		if err == nil {
			out, err = c.CombinedOutput()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
