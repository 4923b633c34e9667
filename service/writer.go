package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/stoa-kernel/stoa/internal/loop"
	"github.com/stoa-kernel/stoa/service/state"
	"github.com/stoa-kernel/stoa/store"
)

// writer commits what the core wants kept, in order: all that came up while it wrote the
// last goes into the next commit. A store that refuses, as one without space does, is asked
// again and again: nothing that follows from the commit happens meanwhile.
type writer struct {
	store store.Store
	lead  store.Leadership
	packs *packs
	tell  func() // there are news in durable
	log   *slog.Logger
	wake  chan struct{}

	mu    sync.Mutex
	queue []state.Put
	last  loop.Position // of what is in the queue
	upTo  loop.Position
	err   error
	// refusal is why the store has refused for longer than a moment, nil if it has not;
	// refused is closed with it.
	refusal error
	refused chan struct{}
}

const (
	// moment is how long a store may refuse before that is told to those who wait.
	moment = 2 * time.Second
	// A commit is tried again after firstRetry, and at most every lastRetry.
	firstRetry, lastRetry = 100 * time.Millisecond, 2 * time.Second
)

func newWriter(s store.Store, lead store.Leadership, p *packs, tell func(), log *slog.Logger) *writer {
	return &writer{store: s, lead: lead, packs: p, tell: tell, log: log, wake: make(chan struct{}, 1), refused: make(chan struct{})}
}

// refusing returns why the store refuses, nil if it does not, and what is closed when it
// does.
func (w *writer) refusing() (error, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refusal, w.refused
}

func (w *writer) refuse(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil && w.refusal == nil {
		close(w.refused)
	} else if err == nil && w.refusal != nil {
		w.refused = make(chan struct{})
	}
	w.refusal = err
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

// run commits until ctx ends or a commit fails for good; then nothing is written any more.
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
	ops, err := w.packs.encode(puts)
	if err != nil {
		return err
	}
	if err := store.CheckOps(ops); err != nil {
		return fmt.Errorf("service: the store does not take what must be kept: %w", err)
	}
	return w.insist(ctx, ops)
}

// insist commits until it succeeds, ctx ends or another process leads. A commit that failed
// may have been done, all of it or its first transactions: as nobody else writes, doing it
// again is harmless.
func (w *writer) insist(ctx context.Context, ops []store.Op) error {
	began, told := time.Now(), false
	for pause := firstRetry; ; pause = min(2*pause, lastRetry) {
		err := w.store.Commit(ctx, w.lead, ops)
		if err != nil {
			err = fmt.Errorf("service: the store does not take what must be kept: %w", err)
		}
		switch {
		case err == nil:
			if told {
				w.refuse(nil)
				w.log.Info("service: the store takes writes again", "after", time.Since(began).Round(time.Second))
			}
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, store.ErrFenced):
			return err
		case !told && time.Since(began) >= moment:
			told = true
			w.refuse(err)
			w.log.Error("service: writes are refused until the store takes what must be kept; readers and apps go on", "error", err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
