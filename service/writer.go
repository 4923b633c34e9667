package service

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/stoa-kernel/stoa/internal/loop"
	"github.com/stoa-kernel/stoa/service/state"
	"github.com/stoa-kernel/stoa/store"
)

// writer commits what the core wants kept, in order: all that came up while it wrote the
// last goes into the next commit.
type writer struct {
	store store.Store
	lead  store.Leadership
	tell  func() // there are news in durable
	wake  chan struct{}

	mu    sync.Mutex
	queue []state.Put
	last  loop.Position // of what is in the queue
	upTo  loop.Position
	err   error
}

func newWriter(s store.Store, lead store.Leadership, tell func()) *writer {
	return &writer{store: s, lead: lead, tell: tell, wake: make(chan struct{}, 1)}
}

// add queues puts; p is the position that is durable with them.
func (w *writer) add(puts []state.Put, p loop.Position) {
	w.mu.Lock()
	w.queue = append(w.queue, puts...)
	w.last = max(w.last, p)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *writer) durable() (loop.Position, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.upTo, w.err
}

// run commits until ctx ends or a commit fails; then nothing is written any more.
func (w *writer) run(ctx context.Context) error {
	for {
		select {
		case <-w.wake:
		case <-ctx.Done():
			return nil
		}
		w.mu.Lock()
		queue, last := w.queue, w.last
		w.queue = nil
		w.mu.Unlock()
		err := w.commit(ctx, queue)
		w.mu.Lock()
		if err == nil {
			w.upTo = last
		}
		w.err = err
		w.mu.Unlock()
		w.tell()
		if err != nil {
			return err
		}
	}
}

func (w *writer) commit(ctx context.Context, puts []state.Put) error {
	puts = state.Compact(puts)
	if len(puts) == 0 {
		return nil
	}
	ops := make([]store.Op, len(puts))
	for n, p := range puts {
		ops[n].Key = p.Key
		if p.Value == nil {
			continue
		}
		raw, err := json.Marshal(p.Value)
		if err != nil {
			return fmt.Errorf("service: %s: %w", p.Key, err)
		}
		ops[n].Value = raw
	}
	if err := w.store.Commit(ctx, w.lead, ops); err != nil {
		return fmt.Errorf("service: the store does not take what must be kept: %w", err)
	}
	return nil
}
