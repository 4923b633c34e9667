package master

import (
	"context"
	"sync"
	"time"

	"github.com/stoa-kernel/stoa/internal/loop"
	"github.com/stoa-kernel/stoa/kernel/clock"
	"github.com/stoa-kernel/stoa/master/http"
	"github.com/stoa-kernel/stoa/master/session"
	"github.com/stoa-kernel/stoa/master/state"
	"github.com/stoa-kernel/stoa/master/view"
)

// core is what the loop needs of state.Master.
type core interface {
	Step(now clock.Now, in state.Input, out *state.Effects)
}

const (
	// backlog is how many inputs may wait; whoever brings more waits with them.
	backlog = 1024
	// turnInputs is how many of them one turn takes before readers get a new view.
	turnInputs = 256
)

// runner is the loop: it owns the core, makes writes durable before it says what follows
// from them, and is the only one to wait for several things at once.
type runner struct {
	core    core
	commits *committer
	streams *session.Streams
	links   *session.Links
	server  *http.Server
	view    *view.View
	metrics *metrics

	began  time.Time
	inputs chan state.Input
	done   chan struct{} // closed when run has returned

	timers  loop.Timers[state.Timer]
	hold    loop.Hold[state.Effect]
	effects state.Effects
	// released are effects on their way out, in order.
	released []state.Effect

	issued, durable loop.Position

	hash   func() uint64
	hashes <-chan chan<- uint64
}

// submit is session.Submit.
func (l *runner) submit(ctx context.Context, in state.Input) error {
	select {
	case <-l.done:
		return session.ErrClosed
	default:
	}
	select {
	case l.inputs <- in: // most find room, and wait for nothing
		return nil
	default:
	}
	select {
	case l.inputs <- in:
		return nil
	case <-l.done:
		return session.ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// run turns until ctx ends (nil), leadership is lost or a commit fails. first is taken
// before any input; recovered is called when what follows from it is out.
func (l *runner) run(ctx context.Context, lost <-chan struct{}, first state.Input, recovered func()) error {
	defer close(l.done)
	committing, stop := context.WithCancel(ctx)
	failed := make(chan error, 1)
	durable := make(chan loop.Position, 1)
	var writer sync.WaitGroup
	writer.Go(func() {
		if err := l.commits.run(committing, durable); err != nil {
			failed <- err
		}
	})
	defer writer.Wait()
	defer stop()

	alarm := time.NewTimer(time.Hour)
	defer alarm.Stop()
	l.turn(first)
	start := l.issued
	for {
		if recovered != nil && l.durable >= start {
			recovered()
			recovered = nil
		}
		if at, ok := l.timers.Next(); ok {
			alarm.Reset(at - time.Since(l.began))
		} else {
			alarm.Stop()
		}
		// Losing leadership comes before everything that waits.
		select {
		case <-lost:
			return errLost
		default:
		}
		select {
		case in := <-l.inputs:
			l.turn(in)
		case p := <-durable:
			l.durable = p
			l.hold.Durable(p)
			l.release()
		case <-alarm.C:
			l.turn(nil)
		case answer := <-l.hashes:
			answer <- l.hash()
		case err := <-failed:
			return err
		case <-lost:
			return errLost
		case <-ctx.Done():
			return nil
		}
	}
}

// turn takes in (nil if only timers are due), some of what else is waiting, and due
// timers.
func (l *runner) turn(in state.Input) {
	began := time.Now()
	if in != nil {
		l.step(in)
	more:
		for range turnInputs - 1 {
			select {
			case in := <-l.inputs:
				l.step(in)
			default:
				break more
			}
		}
	}
	for range turnInputs {
		key, ok := l.timers.Due(time.Since(l.began))
		if !ok {
			break
		}
		l.step(state.Fired{Timer: key})
	}
	l.commits.start()
	l.release()
	l.metrics.turn.Observe(time.Since(began).Seconds())
}

func (l *runner) step(in state.Input) {
	began := time.Now()
	l.effects.Reset()
	l.core.Step(clock.Now{Mono: began.Sub(l.began), Wall: began}, in, &l.effects)
	for _, e := range l.effects.List {
		switch e := e.(type) {
		case state.Persist:
			l.issued = l.hold.Persist()
			l.commits.add(l.issued, e)
		case state.SetTimer:
			// Timers are the core's own business and wait for no disk.
			l.timers.Set(e.Timer, e.At)
		case state.StopTimer:
			l.timers.Stop(e.Timer)
		default:
			l.hold.Add(e)
		}
	}
	l.metrics.stepped(in, began)
}

// release does the effects whose turn has come. Readers get their view first: whoever
// hears of a change and then asks must find it.
func (l *runner) release() {
	for {
		e, ok := l.hold.Next()
		if !ok {
			break
		}
		if p, ok := e.(state.Publish); ok {
			l.view.Apply(p.Event)
			l.metrics.published(p.Event)
		} else {
			l.released = append(l.released, e)
		}
	}
	l.metrics.held.Set(float64(l.hold.Len()))
	l.view.Publish()
	for _, e := range l.released {
		switch e := e.(type) {
		case state.ToFramework:
			l.streams.Send(e.Stream, e.Event)
		case state.CloseStream:
			l.streams.Close(e.Stream)
		case state.ToAgent:
			l.links.Send(e.Link, e.Msg)
		case state.CloseLink:
			l.links.Close(e.Link)
		case state.Answer:
			l.server.Answer(e)
		}
	}
	clear(l.released)
	l.released = l.released[:0]
}

// committer makes persists durable, all that have come up while the last were written in
// one commit.
type committer struct {
	commit  func(context.Context, []state.Persist) error
	observe func(time.Duration)
	wake    chan struct{}

	mu    sync.Mutex
	queue []state.Persist
	last  loop.Position
}

func newCommitter(commit func(context.Context, []state.Persist) error, observe func(time.Duration)) *committer {
	return &committer{commit: commit, observe: observe, wake: make(chan struct{}, 1)}
}

// add queues a persist; start lets the writer see it.
func (c *committer) add(p loop.Position, e state.Persist) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = append(c.queue, e)
	c.last = p
}

func (c *committer) start() {
	c.mu.Lock()
	idle := len(c.queue) == 0
	c.mu.Unlock()
	if idle {
		return // most turns write nothing
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// run returns nil when ctx ends and an error when a commit failed: it is not retried,
// because nobody knows what of it is on disk.
func (c *committer) run(ctx context.Context, durable chan<- loop.Position) error {
	for {
		c.mu.Lock()
		batch, last := c.queue, c.last
		c.queue = nil
		c.mu.Unlock()
		if len(batch) == 0 {
			select {
			case <-c.wake:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		began := time.Now()
		if err := c.commit(ctx, batch); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		c.observe(time.Since(began))
		select {
		case durable <- last:
		case <-ctx.Done():
			return nil
		}
	}
}
