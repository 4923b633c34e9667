package agent

import (
	"context"
	"errors"
	"sync"

	"github.com/stoa-kernel/stoa/agent/state"
)

// backlog is how many inputs from the network may wait; whoever brings more waits with
// them.
const backlog = 1024

var errEnded = errors.New("the agent is going down")

// mailbox is the loop's queue of inputs. What comes from the network waits for room
// (submit); what the machine tells never waits (post), so that no edge the loop calls
// can wait for the loop: there is at most a handful of it per container.
type mailbox struct {
	wake chan struct{} // has one element if there is something to look at
	room chan struct{} // an element for every input submitted and not taken
	done chan struct{} // closed at the end

	mu    sync.Mutex
	ended bool
	queue []input
}

type input struct {
	in        state.Input
	submitted bool
}

func newMailbox() *mailbox {
	return &mailbox{wake: make(chan struct{}, 1), room: make(chan struct{}, backlog), done: make(chan struct{})}
}

// poke makes the loop look.
func (m *mailbox) poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *mailbox) put(i input) error {
	m.mu.Lock()
	ended := m.ended
	if !ended {
		m.queue = append(m.queue, i)
	}
	m.mu.Unlock()
	if ended {
		return errEnded
	}
	m.poke()
	return nil
}

// submit waits until there is room, ctx ends or the loop has.
func (m *mailbox) submit(ctx context.Context, in state.Input) error {
	select {
	case m.room <- struct{}{}:
		return m.put(input{in, true})
	case <-m.done:
		return errEnded
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// post never waits. After the loop's end what is told is dropped.
func (m *mailbox) post(in state.Input) {
	_ = m.put(input{in, false}) // fails only when nobody is left to be told
}

// take removes up to n inputs; more says that others wait.
func (m *mailbox) take(n int) (inputs []state.Input, more bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n = min(n, len(m.queue))
	inputs = make([]state.Input, n)
	for i, e := range m.queue[:n] {
		inputs[i] = e.in
		if e.submitted {
			<-m.room
		}
	}
	m.queue = m.queue[n:]
	if len(m.queue) == 0 {
		m.queue = nil
	}
	return inputs, len(m.queue) > 0
}

// close makes submit fail.
func (m *mailbox) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.ended {
		m.ended = true
		m.queue = nil
		close(m.done)
	}
}

// chores are the loop's errands to the disk, in two lines: volumes, for which tasks
// wait, in order; and sandboxes to remove, which may take long and for which nobody
// waits.
type chores struct {
	wake chan struct{}
	slow chan struct{}

	mu    sync.Mutex
	first []func(context.Context)
	last  []func(context.Context)
}

func newChores() *chores {
	return &chores{wake: make(chan struct{}, 1), slow: make(chan struct{}, 1)}
}

func (c *chores) add(f func(context.Context)) {
	c.mu.Lock()
	c.first = append(c.first, f)
	c.mu.Unlock()
	poke(c.wake)
}

func (c *chores) later(f func(context.Context)) {
	c.mu.Lock()
	c.last = append(c.last, f)
	c.mu.Unlock()
	poke(c.slow)
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run does errands until ctx ends.
func (c *chores) run(ctx context.Context) {
	var both sync.WaitGroup
	both.Go(func() { c.line(ctx, c.wake, &c.first) })
	both.Go(func() { c.line(ctx, c.slow, &c.last) })
	both.Wait()
}

func (c *chores) line(ctx context.Context, wake <-chan struct{}, queue *[]func(context.Context)) {
	for {
		c.mu.Lock()
		todo := *queue
		*queue = nil
		c.mu.Unlock()
		for _, f := range todo {
			if ctx.Err() != nil {
				return
			}
			f(ctx)
		}
		if len(todo) > 0 {
			continue
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return
		}
	}
}
