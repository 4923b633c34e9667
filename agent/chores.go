package agent

import (
	"context"
	"sync"
)

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
