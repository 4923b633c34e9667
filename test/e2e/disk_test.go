package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
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
	label := func(n int) string {
		return fmt.Sprintf(`{"cmd":"exec sleep 1000","cpus":0.1,"mem":32,"portDefinitions":[],"restartPolicyOnChange":"if-needed","env":{"MARK":"serves"},"labels":{"n":"%d"}}`, n)
	}
	c.deploy("/v2/apps/web", label(0))
	until(t, "the app runs", func() bool { return c.running("/web") == 1 })
	serving := c.task("MARK=serves")

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
	asked, answered := 0, 0 // the labels of the app
	until(t, "the full disk is noticed", func() bool {
		if !c.up.over() {
			c.stoa("run", "--name", "lost", "-d", "--", "true")
			asked++
			if c.puts("/v2/apps/web?force=true", label(asked)) {
				answered = asked
			}
		}
		return c.up.over()
	})
	if code := c.up.exit(); code != 1 || !strings.Contains(c.up.err.String(), "no space left on device") || !strings.Contains(c.up.err.String(), "\ntry: ") {
		t.Errorf("exit code %d, %s", code, last(c.up.err.String()))
	}
	if !alive(pid) || !alive(serving) {
		t.Error("the tasks did not outlive it")
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

	// Of the app what was answered is there, and at most what was under way.
	var app struct {
		App struct{ Labels map[string]string }
	}
	if status := c.marathon("GET", "/v2/apps/web", "", &app); status != 200 {
		t.Fatalf("the app: %d", status)
	}
	if n, err := strconv.Atoi(app.App.Labels["n"]); err != nil || n < answered || n > asked {
		t.Errorf("the app is the one of change %q; %d were answered, %d made", app.App.Labels["n"], answered, asked)
	}
	until(t, "the app runs", func() bool { return c.running("/web") == 1 })
	if again := c.task("MARK=serves"); again != serving {
		t.Errorf("process %d of the app became %d", serving, again)
	}
	if !c.puts("/v2/apps/web?force=true", label(asked+1)) {
		t.Error("the app cannot be changed any more")
	}
	c.stop()
	unmount()
	c.none()
}

// puts reports whether a PUT succeeded; the service may end meanwhile.
func (c *cluster) puts(path, body string) bool {
	c.t.Helper()
	r, err := http.NewRequest(http.MethodPut, "http://127.0.0.1:"+c.servicePort+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode/100 == 2
}

// running is how many tasks of an app run.
func (c *cluster) running(app string) int {
	c.t.Helper()
	var now struct{ App appNow }
	if status := c.marathon(http.MethodGet, "/v2/apps"+app, "", &now); status != http.StatusOK {
		c.t.Fatalf("%s: %d", app, status)
	}
	return now.App.TasksRunning
}
