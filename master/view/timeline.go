package view

import (
	"context"
	"errors"
	"sync"

	"github.com/stoa-kernel/stoa/master/state"
)

// DefaultEvents is how many events may wait for a subscriber.
const DefaultEvents = 100_000

// Errors of Subscription.Next.
var (
	ErrSlow   = errors.New("the subscriber reads too slowly and was cut off")
	ErrClosed = errors.New("the timeline has ended")
)

// Subscription is the timeline from one root on.
type Subscription struct {
	view  *View
	limit int
	wake  chan struct{}

	mu    sync.Mutex
	queue []state.Event
	err   error
}

// Subscribe returns the newest root and every event after it, without a gap. limit is
// how many events may wait, 0 for DefaultEvents. Close the subscription when done.
func (v *View) Subscribe(limit int) (*Root, *Subscription) {
	if limit == 0 {
		limit = DefaultEvents
	}
	s := &Subscription{view: v, limit: limit, wake: make(chan struct{}, 1)}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.subs[s] = struct{}{}
	return v.root.Load(), s
}

// Next waits for events and returns all there are, in order. After ErrSlow, whatever
// waited is lost and the subscriber starts again from a root.
func (s *Subscription) Next(ctx context.Context) ([]state.Event, error) {
	for {
		s.mu.Lock()
		events, err := s.queue, s.err
		s.queue = nil
		s.mu.Unlock()
		if err != nil {
			return nil, err
		}
		if len(events) > 0 {
			return events, nil
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Close ends the subscription; Next returns ErrClosed.
func (s *Subscription) Close() {
	s.view.mu.Lock()
	delete(s.view.subs, s)
	s.view.mu.Unlock()
	s.fail(ErrClosed)
}

// add is called by the owner and never waits.
func (s *Subscription) add(events []state.Event) {
	s.mu.Lock()
	full := s.err == nil && len(s.queue)+len(events) > s.limit
	if s.err == nil && !full {
		s.queue = append(s.queue, events...)
	}
	s.mu.Unlock()
	if full {
		s.fail(ErrSlow)
		return
	}
	s.poke()
}

func (s *Subscription) fail(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.err, s.queue = err, nil
	}
	s.mu.Unlock()
	s.poke()
}

func (s *Subscription) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
