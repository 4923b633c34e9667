package agent

import (
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stoa-kernel/stoa/agent/container"
	"github.com/stoa-kernel/stoa/agent/containerizer/volume"
	"github.com/stoa-kernel/stoa/agent/sandbox"
	"github.com/stoa-kernel/stoa/agent/state"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/kernel/id"
)

// preparing is how many sandboxes are made at a time.
const preparing = 16

// launcher is the containerizer with what has to be done on the disk before a launch:
// the sandbox is made and volumes are given to the task's user, off the loop. It calls
// one method of the containerizer at a time.
type launcher struct {
	Containerizer
	boxes *sandbox.Maker
	log   *slog.Logger
	event func(container.Event)
	slots chan struct{}
	busy  sync.WaitGroup
	done  chan struct{} // closed by Close

	filling atomic.Bool // somebody is about to

	mu      sync.Mutex
	pending map[id.Container]*preparation
	closed  bool
}

// refill is how long after a launch sandboxes are made for the next: not at once, when
// the processors are busy with that one.
const refill = 2 * time.Millisecond

// preparation is a container whose sandbox is being made.
type preparation struct{ destroyed bool }

func newLauncher(c *Config, post func(state.Input)) (*launcher, error) {
	l := &launcher{
		log:     c.Log,
		event:   func(e container.Event) { post(state.Container{Event: e}) },
		slots:   make(chan struct{}, preparing),
		done:    make(chan struct{}),
		pending: map[id.Container]*preparation{},
	}
	var err error
	if l.boxes, err = sandbox.NewMaker(c.WorkDir); err != nil {
		return nil, err
	}
	if err = l.boxes.Fill(); err == nil {
		l.Containerizer, err = c.Containerizer(Hooks{Fetch: c.Fetcher.Fetch, Events: func(e container.Event) {
			l.event(e)
			if _, ok := e.(container.Started); ok {
				l.fill()
			}
		}})
	}
	if err != nil {
		return nil, errors.Join(err, l.boxes.Close())
	}
	return l, nil
}

// fill has sandboxes made in advance, in a moment.
func (l *launcher) fill() {
	if !l.filling.CompareAndSwap(false, true) {
		return
	}
	l.busy.Go(func() {
		t := time.NewTimer(refill)
		defer t.Stop()
		select {
		case <-t.C:
		case <-l.done:
			return
		}
		l.filling.Store(false)
		if err := l.boxes.Fill(); err != nil {
			l.log.Warn("cannot make sandboxes in advance", "err", err) // the next launch fails
		}
	})
}

// Launch implements Containerizer.
func (l *launcher) Launch(spec *container.Spec) {
	p := &preparation{}
	l.mu.Lock()
	l.pending[spec.ID] = p
	l.mu.Unlock()
	l.busy.Go(func() {
		l.slots <- struct{}{}
		err := l.prepare(spec)
		<-l.slots
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.pending, spec.ID)
		switch {
		case l.closed:
		case p.destroyed:
			l.event(container.Failed{ID: spec.ID, Reason: mesos.TaskStatus_REASON_CONTAINER_LAUNCH_FAILED, Message: "Destroyed before it was launched", Canceled: true})
			l.Containerizer.Destroy(spec.ID) // says Destroyed
		case err != nil:
			l.event(container.Failed{ID: spec.ID, Reason: mesos.TaskStatus_REASON_CONTAINER_LAUNCH_FAILED, Message: "Failed to launch container: " + err.Error()})
		default:
			l.Containerizer.Launch(spec)
		}
	})
}

func (l *launcher) prepare(spec *container.Spec) error {
	if err := l.boxes.Create(spec.Sandbox, spec.User); err != nil {
		return err
	}
	var errs []error
	for _, v := range spec.Volumes {
		if !v.ReadOnly {
			errs = append(errs, volume.Own(v.Source, spec.User))
		}
	}
	return errors.Join(errs...)
}

// Go implements Containerizer.
func (l *launcher) Go(c id.Container) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.Containerizer.Go(c)
}

// Adopt implements Containerizer.
func (l *launcher) Adopt(live container.Live) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.Containerizer.Adopt(live)
}

// Signal implements Containerizer.
func (l *launcher) Signal(c id.Container, signal int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.Containerizer.Signal(c, signal)
}

// Resize implements Containerizer.
func (l *launcher) Resize(c id.Container, limits container.Limits) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.Containerizer.Resize(c, limits)
}

// Destroy implements Containerizer.
func (l *launcher) Destroy(c id.Container) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.pending[c]; p != nil {
		p.destroyed = true
		return
	}
	l.Containerizer.Destroy(c)
}

// Close implements Containerizer.
func (l *launcher) Close() error {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.done)
	}
	l.mu.Unlock()
	err := l.Containerizer.Close() // nothing is told afterwards
	l.busy.Wait()
	return errors.Join(err, l.boxes.Close())
}
