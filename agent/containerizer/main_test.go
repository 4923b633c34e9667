package containerizer

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

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
	out, err := c.CombinedOutput()
	if err != nil {
		return fmt.Errorf("as nobody: %w\n%s", err, out)
	}
	if slices.Contains(args, "-test.v=true") {
		fmt.Printf("as nobody:\n%s", out)
	}
	return nil
}
