// Package process runs programs for the tests of the modules at and below this one.
package process

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Build builds Go packages, as seen from the module in dir, into the directory bin, which
// other users may pass through: tasks and executors run as them.
func Build(bin, dir string, pkgs ...string) error {
	c := exec.Command("go", append([]string{"build", "-o", bin + "/"}, pkgs...)...)
	c.Dir, c.Stdout, c.Stderr = dir, os.Stdout, os.Stderr
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if err := c.Run(); err != nil {
		return fmt.Errorf("%v: %w", c.Args, err)
	}
	return os.Chmod(bin, 0o755)
}

// Process is a running program and what it said.
type Process struct {
	t    *testing.T
	cmd  *exec.Cmd
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // closed and replaced at every line
	err  error
	// Done is closed when it has ended.
	Done chan struct{}
}

// Start runs a program until the test ends; env comes on top of the test's own.
func Start(t *testing.T, env []string, path string, args ...string) *Process {
	t.Helper()
	p := &Process{t: t, cmd: exec.Command(path, args...), more: make(chan struct{}), Done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = w, w
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer r.Close()
		lines := bufio.NewReader(r)
		for {
			line, err := lines.ReadString('\n')
			p.mu.Lock()
			p.text.WriteString(line)
			close(p.more)
			p.more = make(chan struct{})
			p.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	go func() {
		p.err = p.cmd.Wait()
		select { // its last words count, unless something it left behind holds the pipe open
		case <-read:
		case <-time.After(5 * time.Second):
		}
		close(p.Done)
	}()
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%s %s said:\n%s", filepath.Base(path), strings.Join(args, " "), last(p.Output(), 4000))
		}
	})
	return p
}

func last(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}

// Output is all that it said so far, on stdout and stderr.
func (p *Process) Output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// Kill is kill -9; it returns when the process is gone.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.Done
}

// Signal asks the process; one that has ended takes no notice.
func (p *Process) Signal(s os.Signal) { _ = p.cmd.Process.Signal(s) }

// Wait waits for a line that holds want and returns the rest of it.
func (p *Process) Wait(want string, within time.Duration) string {
	p.t.Helper()
	deadline := time.After(within)
	for {
		p.mu.Lock()
		text, more := p.text.String(), p.more
		p.mu.Unlock()
		if _, rest, ok := strings.Cut(text, want); ok {
			if rest, _, ok := strings.Cut(rest, "\n"); ok {
				return rest
			}
		}
		select {
		case <-more:
		case <-p.Done:
			if !strings.Contains(p.Output(), want) {
				p.t.Fatalf("%s ended (%v) before it said %q:\n%s", p.cmd.Path, p.err, want, last(p.Output(), 4000))
			}
		case <-deadline:
			p.t.Fatalf("%s did not say %q in %v:\n%s", p.cmd.Path, want, within, last(p.Output(), 4000))
		}
	}
}
