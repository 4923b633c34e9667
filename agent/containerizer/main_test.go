package containerizer

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/stoa-kernel/stoa/internal/account"
)

// TestMain runs all tests as nobody too, in a process of its own: an agent that is not
// root has neither namespaces nor cgroups, and must do all else.
func TestMain(m *testing.M) {
	if os.Geteuid() == 0 && os.Getenv(asNobody) == "" {
		if err := testAsNobody(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	goleak.VerifyTestMain(m)
}

// testAsNobody does what the command line asks of this process, except benchmarks.
func testAsNobody() error {
	nobody, err := account.Lookup("nobody")
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "containerizer-nobody-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary, err := os.ReadFile(os.Args[0])
	if err == nil {
		err = errors.Join(os.Chmod(dir, 0o755), os.WriteFile(dir+"/test", binary, 0o755), os.Mkdir(dir+"/tmp", 0o777), os.Chmod(dir+"/tmp", 0o777))
	}
	if err != nil {
		return err
	}
	args := []string{"-test.bench="}
	for _, a := range os.Args[1:] {
		for _, passed := range []string{"-test.v=", "-test.run=", "-test.count=", "-test.timeout="} {
			if strings.HasPrefix(a, passed) {
				args = append(args, a)
			}
		}
	}
	c := exec.Command(dir+"/test", args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "TMPDIR="+dir+"/tmp", "GOCOVERDIR="+dir+"/tmp", asNobody+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{Credential: nobody.Credential()}
	// Without namespaces a task outlives an init that a test kills: what is left comes to
	// this process, and ends here.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return err
	}
	out, err := c.CombinedOutput()
	if err := errors.Join(endChildren(), unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)); err != nil {
		return err
	}
	if err != nil {
		return fmt.Errorf("as nobody: %w\n%s", err, out)
	}
	if slices.Contains(args, "-test.v=true") {
		fmt.Printf("as nobody:\n%s", out)
	}
	return nil
}

// endChildren kills every child of this process, and what they leave behind.
func endChildren() error {
	for {
		lists, err := filepath.Glob("/proc/self/task/*/children")
		if err != nil {
			return err
		}
		for _, list := range lists {
			pids, err := os.ReadFile(list)
			if err != nil {
				continue // the thread has ended
			}
			for _, pid := range strings.Fields(string(pids)) {
				n, err := strconv.Atoi(pid)
				if err != nil {
					return err
				}
				_ = unix.Kill(n, unix.SIGKILL) // a child: nobody else can have its number
			}
		}
		switch _, err := unix.Wait4(-1, nil, 0, nil); err {
		case nil, unix.EINTR:
		case unix.ECHILD:
			return nil
		default:
			return err
		}
	}
}
