// Package memory is a store.Store for tests and simulations: it survives nothing but
// the closing of one of its handles.
package memory

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/stoa-kernel/stoa/store"
)

// Space is what several handles share, as processes share a cluster.
type Space struct {
	mu      sync.Mutex
	values  map[string][]byte
	epochs  map[string]uint64
	leaders map[string]*term
	changed chan struct{}
}

type term struct {
	epoch uint64
	value []byte
	lost  chan struct{}
}

// NewSpace returns an empty space.
func NewSpace() *Space {
	return &Space{
		values:  make(map[string][]byte),
		epochs:  make(map[string]uint64),
		leaders: make(map[string]*term),
		changed: make(chan struct{}),
	}
}

// Open returns a handle. Closing it ends the leaderships won through it.
func (s *Space) Open() store.Store { return &handle{space: s} }

// New is a handle on a space of its own.
func New() store.Store { return NewSpace().Open() }

type handle struct {
	space *Space
	terms []store.Leadership
}

func (h *handle) Load(ctx context.Context, prefix string) ([]store.Record, error) {
	s := h.space
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []store.Record
	for k, v := range s.values {
		if strings.HasPrefix(k, prefix) {
			out = append(out, store.Record{Key: k, Value: slices.Clone(v)})
		}
	}
	slices.SortFunc(out, func(a, b store.Record) int { return strings.Compare(a.Key, b.Key) })
	return out, ctx.Err()
}

func (h *handle) Commit(ctx context.Context, l store.Leadership, ops []store.Op) error {
	if err := store.CheckOps(ops); err != nil {
		return err
	}
	s := h.space
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epochs[l.Name] != l.Epoch {
		return fmt.Errorf("commit as %s of epoch %d, newest is %d: %w", l.Name, l.Epoch, s.epochs[l.Name], store.ErrFenced)
	}
	for _, op := range ops {
		if op.Value == nil {
			delete(s.values, op.Key)
		} else {
			s.values[op.Key] = slices.Clone(op.Value)
		}
	}
	return ctx.Err()
}

func (h *handle) Elect(ctx context.Context, name string, value []byte) (store.Leadership, error) {
	s := h.space
	for {
		s.mu.Lock()
		if s.leaders[name] == nil {
			s.epochs[name]++
			t := &term{epoch: s.epochs[name], value: slices.Clone(value), lost: make(chan struct{})}
			s.leaders[name] = t
			l := store.Leadership{Name: name, Epoch: t.epoch, Lost: t.lost}
			l.Resign = func(context.Context) error { s.end(name, t); return nil }
			h.terms = append(h.terms, l)
			s.mu.Unlock()
			return l, nil
		}
		wait := s.changed
		s.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return store.Leadership{}, ctx.Err()
		}
	}
}

func (s *Space) end(name string, t *term) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leaders[name] != t {
		return
	}
	delete(s.leaders, name)
	close(t.lost)
	close(s.changed)
	s.changed = make(chan struct{})
}

func (h *handle) Leader(ctx context.Context, name string) ([]byte, bool, error) {
	s := h.space
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.leaders[name]
	if t == nil {
		return nil, false, ctx.Err()
	}
	return slices.Clone(t.value), true, ctx.Err()
}

func (h *handle) Close() error {
	h.space.mu.Lock()
	terms := h.terms
	h.terms = nil
	h.space.mu.Unlock()
	for _, l := range terms {
		_ = l.Resign(context.Background())
	}
	return nil
}
