// Package probe asks what agent/check wants to know: over the network here, by a command
// in the task's container through the containerizer. Each question is a goroutine of its
// own, of which there is at most one for every check of every task; whatever it meets
// costs that check its timeout and nobody else anything.
package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/stoa-kernel/stoa/agent/check"
	"github.com/stoa-kernel/stoa/agent/container"
	"github.com/stoa-kernel/stoa/agent/state"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/task"
)

// Runner executes a command in a running container and returns when nothing of it is
// left: its wait status and the last of its output. When ctx ends it is killed, with all
// it started. Execute is called from many goroutines.
type Runner interface {
	Execute(ctx context.Context, c id.Container, spec *container.Spec) (wait int32, output string, err error)
}

// Prober carries out state.Check and state.StopChecks. Its methods never wait, but for
// Close.
type Prober struct {
	runner Runner
	answer func(state.Checked)
	dial   dial
	busy   sync.WaitGroup

	mu     sync.Mutex
	closed bool
	asks   map[owner]map[int]context.CancelFunc
}

// dial is net.Dialer's, but in tests.
type dial func(ctx context.Context, network, address string) (net.Conn, error)

type owner struct {
	container id.Container
	task      id.Task
}

// New makes a prober. answer is called once for every check, from any goroutine.
func New(r Runner, answer func(state.Checked)) *Prober {
	return &Prober{runner: r, answer: answer, dial: (&net.Dialer{}).DialContext, asks: map[owner]map[int]context.CancelFunc{}}
}

// Ask begins a check; the core has no two under way for one number.
func (p *Prober) Ask(c state.Check) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	o := owner{c.Container, c.Task}
	if p.asks[o] == nil {
		p.asks[o] = map[int]context.CancelFunc{}
	}
	p.asks[o][c.Check] = cancel
	p.busy.Go(func() {
		r := p.ask(ctx, c)
		p.mu.Lock()
		if list := p.asks[o]; ctx.Err() == nil {
			delete(list, c.Check)
			if len(list) == 0 {
				delete(p.asks, o)
			}
		}
		cancel()
		p.mu.Unlock()
		p.answer(state.Checked{Container: c.Container, Task: c.Task, Check: c.Check, Result: r})
	})
}

// Stop breaks off all checks of a task.
func (p *Prober) Stop(c state.StopChecks) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stop(owner{c.Container, c.Task})
}

func (p *Prober) stop(o owner) {
	for _, cancel := range p.asks[o] {
		cancel()
	}
	delete(p.asks, o)
}

// Close breaks everything off and returns when all is over.
func (p *Prober) Close() {
	p.mu.Lock()
	p.closed = true
	for o := range p.asks {
		p.stop(o)
	}
	p.mu.Unlock()
	p.busy.Wait()
}

// patience is how many times a Probe's timeout an answer may take that makes progress.
const patience = 10

func (p *Prober) ask(ctx context.Context, c state.Check) check.Result {
	t := &c.Target
	switch limit := t.Timeout; {
	case limit > 0 && t.Outside && t.Type != check.TCP:
		limit *= patience
		fallthrough
	case limit > 0:
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	switch t.Type {
	case check.Command:
		return p.command(ctx, c)
	case check.TCP:
		return p.connect(ctx, t)
	}
	return p.get(ctx, t)
}

func (p *Prober) command(ctx context.Context, c state.Check) check.Result {
	wait, output, err := p.runner.Execute(ctx, c.Container, c.Spec)
	code, exited := task.WaitStatus(wait).ExitCode()
	switch {
	case ctx.Err() != nil:
		return check.Result{Error: tooLong("the command", c.Target.Timeout, output)}
	case err != nil:
		return check.Result{Error: err.Error()}
	case !exited:
		return check.Result{Error: "the command " + task.WaitStatus(wait).String()}
	}
	return check.Result{Code: int32(code), Output: output}
}

func tooLong(what string, timeout time.Duration, output string) string {
	text := fmt.Sprintf("%s was not done after %v", what, timeout)
	if output != "" {
		text += ": " + output
	}
	return text
}

func address(t *check.Target) (string, error) {
	if t.Address == "" {
		return "", errors.New("the agent has no address of the probe's ip_protocol")
	}
	return net.JoinHostPort(t.Address, strconv.FormatUint(uint64(t.Port), 10)), nil
}

func (p *Prober) connect(ctx context.Context, t *check.Target) check.Result {
	to, err := address(t)
	if err != nil {
		return check.Result{Error: err.Error()}
	}
	c, err := p.dial(ctx, "tcp", to)
	switch {
	case err == nil:
		c.Close()
		return check.Result{Connected: true}
	case timedOut(err):
		return check.Result{Error: fmt.Sprintf("no connection to %s within %v", to, t.Timeout)}
	}
	return check.Result{Output: err.Error()}
}

func timedOut(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}
