// Package loop has the two queues every role's loop is made of: timers by key, and
// effects held until what they follow from is durable. Neither starts a goroutine
// or reads a clock, so that the simulator runs the same code as a process.
package loop

import (
	"container/heap"
	"time"
)

// Timers holds at most one deadline per key.
type Timers[K comparable] struct {
	heap timerHeap[K]
	at   map[K]*timer[K]
	seq  uint64
}

type timer[K comparable] struct {
	key   K
	at    time.Duration
	seq   uint64
	index int
}

// Set arms key for at (monotonic time), replacing an earlier deadline of the key.
func (t *Timers[K]) Set(key K, at time.Duration) {
	t.seq++
	if e := t.at[key]; e != nil {
		e.at, e.seq = at, t.seq
		heap.Fix(&t.heap, e.index)
		return
	}
	if t.at == nil {
		t.at = make(map[K]*timer[K])
	}
	e := &timer[K]{key: key, at: at, seq: t.seq}
	t.at[key] = e
	heap.Push(&t.heap, e)
}

// Stop disarms key; a key that is not armed is left alone.
func (t *Timers[K]) Stop(key K) {
	if e := t.at[key]; e != nil {
		heap.Remove(&t.heap, e.index)
		delete(t.at, key)
	}
}

// Next is the earliest deadline.
func (t *Timers[K]) Next() (at time.Duration, ok bool) {
	if len(t.heap) == 0 {
		return 0, false
	}
	return t.heap[0].at, true
}

// Due removes and returns one key whose deadline is not after now, earliest first;
// equal deadlines come in the order they were set.
func (t *Timers[K]) Due(now time.Duration) (key K, ok bool) {
	if len(t.heap) == 0 || t.heap[0].at > now {
		return key, false
	}
	e := heap.Pop(&t.heap).(*timer[K])
	delete(t.at, e.key)
	return e.key, true
}

// Len is the number of armed keys.
func (t *Timers[K]) Len() int { return len(t.heap) }

type timerHeap[K comparable] []*timer[K]

func (h timerHeap[K]) Len() int { return len(h) }
func (h timerHeap[K]) Less(i, j int) bool {
	if h[i].at != h[j].at {
		return h[i].at < h[j].at
	}
	return h[i].seq < h[j].seq
}
func (h timerHeap[K]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *timerHeap[K]) Push(x any) {
	e := x.(*timer[K])
	e.index = len(*h)
	*h = append(*h, e)
}
func (h *timerHeap[K]) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return e
}

// Position numbers the persists of a process, from 1; 0 is durable from the start.
type Position uint64

// Hold keeps effects in order behind the persists they follow from: an effect is
// released once every position handed out before it is durable, and never before
// an effect that was added earlier.
type Hold[E any] struct {
	queue   []held[E]
	head    int
	issued  Position
	durable Position
}

type held[E any] struct {
	after  Position
	effect E
}

// Persist hands out the position of the next persist. Effects added from now on
// wait for it.
func (h *Hold[E]) Persist() Position {
	h.issued++
	return h.issued
}

// Add queues an effect behind the persists so far.
func (h *Hold[E]) Add(effect E) {
	h.queue = append(h.queue, held[E]{h.issued, effect})
}

// Durable says that every persist up to p is on disk.
func (h *Hold[E]) Durable(p Position) {
	if p > h.durable {
		h.durable = p
	}
}

// Next removes and returns the oldest effect that may go out now.
func (h *Hold[E]) Next() (effect E, ok bool) {
	if h.head == len(h.queue) || h.queue[h.head].after > h.durable {
		return effect, false
	}
	effect = h.queue[h.head].effect
	h.queue[h.head] = held[E]{}
	h.head++
	switch {
	case h.head == len(h.queue):
		h.queue, h.head = h.queue[:0], 0
	case h.head > 1024 && h.head*2 > len(h.queue):
		// Shift down so that a queue which never quite empties does not grow.
		n := copy(h.queue, h.queue[h.head:])
		clear(h.queue[n:])
		h.queue, h.head = h.queue[:n], 0
	}
	return effect, true
}

// Len is the number of effects waiting.
func (h *Hold[E]) Len() int { return len(h.queue) - h.head }
