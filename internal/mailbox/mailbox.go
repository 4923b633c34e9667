// Package mailbox is the queue in front of a role's loop.
package mailbox

import (
	"context"
	"errors"
	"sync"
)

// ErrClosed is returned when the loop has ended.
var ErrClosed = errors.New("this process is going down")

// Mailbox is a loop's queue of inputs. What comes from the network waits for room
// (Submit); what the process itself tells never waits (Post), so that no edge the loop
// calls can wait for the loop: there must be a bounded amount of it.
type Mailbox[I any] struct {
	// Wake has an element if there is something to look at.
	Wake chan struct{}
	room chan struct{} // an element for every input submitted and not taken
	done chan struct{} // closed at the end

	mu    sync.Mutex
	ended bool
	queue []input[I]
}

type input[I any] struct {
	in        I
	submitted bool
}

// New makes one with room for so many submitted inputs; whoever brings more waits with
// them.
func New[I any](room int) *Mailbox[I] {
	return &Mailbox[I]{Wake: make(chan struct{}, 1), room: make(chan struct{}, room), done: make(chan struct{})}
}

// Poke makes the loop look.
func (m *Mailbox[I]) Poke() {
	select {
	case m.Wake <- struct{}{}:
	default:
	}
}

func (m *Mailbox[I]) put(i input[I]) error {
	m.mu.Lock()
	ended := m.ended
	if !ended {
		m.queue = append(m.queue, i)
	}
	m.mu.Unlock()
	if ended {
		return ErrClosed
	}
	m.Poke()
	return nil
}

// Submit waits until there is room, ctx ends or the loop has.
func (m *Mailbox[I]) Submit(ctx context.Context, in I) error {
	select {
	case m.room <- struct{}{}:
		return m.put(input[I]{in, true})
	case <-m.done:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Post never waits. After the loop's end what is told is dropped.
func (m *Mailbox[I]) Post(in I) {
	_ = m.put(input[I]{in, false}) // fails only when nobody is left to be told
}

// Take removes up to n inputs; more says that others wait.
func (m *Mailbox[I]) Take(n int) (inputs []I, more bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n = min(n, len(m.queue))
	inputs = make([]I, n)
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

// Close makes Submit fail and drops what waits.
func (m *Mailbox[I]) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.ended {
		m.ended = true
		m.queue = nil
		close(m.done)
	}
}
