package agent

import (
	"errors"
	"sync"

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
	work  string
	event func(container.Event)
	slots chan struct{}
	busy  sync.WaitGroup

	mu      sync.Mutex
	pending map[id.Container]*preparation
	closed  bool
}

// preparation is a container whose sandbox is being made.
type preparation struct{ destroyed bool }

func newLauncher(c *Config, post func(state.Input)) (*launcher, error) {
	l := &launcher{
		work:    c.WorkDir,
		event:   func(e container.Event) { post(state.Container{Event: e}) },
		slots:   make(chan struct{}, preparing),
		pending: map[id.Container]*preparation{},
	}
	var err error
	l.Containerizer, err = c.Containerizer(Hooks{Events: l.event, Fetch: c.Fetcher.Fetch})
	return l, err
}

// Launch implements Containerizer.
func (l *launcher) Launch(spec *container.Spec) {
	p := &preparation{}
	l.mu.Lock()
	l.pending[spec.ID] = p
	l.mu.Unlock()
	l.busy.Go(func() {
		l.slots <- struct{}{}
		err := prepare(l.work, spec)
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

func prepare(work string, spec *container.Spec) error {
	if err := sandbox.Create(work, spec.Sandbox, spec.User); err != nil {
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
	l.closed = true
	l.mu.Unlock()
	l.busy.Wait()
	return l.Containerizer.Close()
}
