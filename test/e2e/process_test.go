package e2e

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything may take on a machine that is busy with other tests.
const patience = 40 * time.Second

// output is what a process has written so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // closed and replaced at every write
}

func newOutput() *output { return &output{more: make(chan struct{})} }

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.more)
	o.more = make(chan struct{})
	return o.text.Write(b)
}

func (o *output) get() (text string, more <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String(), o.more
}

func (o *output) String() string {
	text, _ := o.get()
	return text
}

// process is a running program and what it said.
type process struct {
	t        testing.TB
	cmd      *exec.Cmd
	out, err *output
	done     chan struct{} // closed when it has ended
	ended    error
}

// start runs a program until the test ends. env comes on top of the test's own.
func start(t testing.TB, env []string, name string, args ...string) *process {
	t.Helper()
	return startAs(t, nil, env, name, args...)
}

func startAs(t testing.TB, as *syscall.Credential, env []string, name string, args ...string) *process {
	t.Helper()
	if !filepath.IsAbs(name) {
		name = filepath.Join(bin, name)
	}
	p := &process{t: t, cmd: exec.Command(name, args...), out: newOutput(), err: newOutput(), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.err
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	p.cmd.WaitDelay = 5 * time.Second
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.ended = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		daemon := !p.over() // what has ended is for the test to report
		p.kill()
		if errors.Is(p.ended, exec.ErrWaitDelay) {
			t.Errorf("%s is gone, but something it started holds its output", p)
		}
		if t.Failed() && daemon {
			t.Logf("%s said:\n%s\nand on stderr:\n%s", p, last(p.out.String()), last(p.err.String()))
		}
	})
	return p
}

// last is the end of a long text.
func last(s string) string {
	const most = 6000
	if len(s) > most {
		return "…" + s[len(s)-most:]
	}
	return s
}

func (p *process) String() string {
	return filepath.Base(p.cmd.Path) + " " + strings.Join(p.cmd.Args[1:], " ")
}

// signal asks the process; one that has ended takes no notice.
func (p *process) signal(s os.Signal) { _ = p.cmd.Process.Signal(s) }

// kill is kill -9; it returns when the process is gone.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

// over tells whether the process has ended.
func (p *process) over() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// exit waits for the end and returns the exit code, 128 and more for a signal.
func (p *process) exit() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("%s does not end", p)
	}
	status := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// says waits for a line on stdout that holds want and returns the line.
func (p *process) says(want string) string {
	p.t.Helper()
	return p.line(p.out, want)
}

// line is says for either output.
func (p *process) line(o *output, want string) string {
	p.t.Helper()
	deadline := time.After(patience)
	for {
		ended := p.over() // before looking, so that its last words count
		text, more := o.get()
		for line := range strings.Lines(text) {
			if strings.Contains(line, want) && strings.HasSuffix(line, "\n") {
				return strings.TrimSuffix(line, "\n")
			}
		}
		if ended {
			p.t.Fatalf("%s ended (%v) and did not say %q:\n%s%s", p, p.ended, want, last(p.out.String()), last(p.err.String()))
		}
		select {
		case <-more:
		case <-p.done:
		case <-deadline:
			p.t.Fatalf("%s does not say %q:\n%s%s", p, want, last(p.out.String()), last(p.err.String()))
		}
	}
}

// until polls for a condition that no output tells of. what describes it for the failure.
func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	untilWithin(t, patience, what, holds)
}

func untilWithin(t testing.TB, within time.Duration, what string, holds func() bool) {
	t.Helper()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	for !holds() {
		select {
		case <-poll.C:
		case <-ctx.Done():
			t.Fatalf("after %v still not: %s", within, what)
		}
	}
}
