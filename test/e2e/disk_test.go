package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// On a full disk the cluster ends with a clear error, tasks run on, and when there is room
// again nothing is lost.
func TestFullDisk(t *testing.T) {
	if !root {
		t.Log("only root can mount a small disk: the rest of the test is for root")
		return
	}
	c := newCluster(t, "--resources", "cpus:2;mem:1024;disk:100")
	disk := c.dir + "/data"
	if err := os.Mkdir(disk, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=160m,mode=0711"); err != nil {
		t.Fatalf("mount a small disk: %v", err)
	}
	mounted := true
	unmount := func() {
		if mounted {
			mounted = false
			if err := syscall.Unmount(disk, syscall.MNT_DETACH); err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(unmount)
	c.startUp()
	c.waitUp()
	c.stoa("run", "--name", "first", "--", "echo", "before").expect(t, 0, "before\n", "")
	id := strings.TrimSpace(c.stoa("run", "-d", "--name", "long", "--env", "MARK=outlives", "--", "sleep", "1000").out)
	until(t, "it runs", func() bool { return strings.Contains(c.stoa("ps").out, "running") })
	pid := c.task("MARK=outlives")

	filler := filepath.Join(disk, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 1<<16); err == nil; {
		_, err = f.Write(block)
		if errors.Is(err, syscall.ENOSPC) && len(block) > 1 {
			block, err = block[:1], nil // to the last byte
		}
	}
	f.Close()
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	until(t, "the full disk is noticed", func() bool {
		if !c.up.over() {
			c.stoa("run", "--name", "lost", "-d", "--", "true")
		}
		return c.up.over()
	})
	if code := c.up.exit(); code != 1 || !strings.Contains(c.up.err.String(), "no space left on device") || !strings.Contains(c.up.err.String(), "\ntry: ") {
		t.Errorf("exit code %d, %s", code, last(c.up.err.String()))
	}
	if !alive(pid) {
		t.Error("the task did not outlive it")
	}

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	c.startUp()
	c.waitUp()
	until(t, "it is found again", func() bool {
		out := c.stoa("ps").out
		return strings.Contains(out, id) && strings.Contains(out, "running")
	})
	if again := c.task("MARK=outlives"); again != pid {
		t.Errorf("process %d became %d", pid, again)
	}
	c.stoa("run", "--name", "last", "--", "echo", "after").expect(t, 0, "after\n", "")
	c.stop()
	unmount()
	c.none()
}
