package scheduler

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Store keeps a framework's id between runs. "" means that there is none.
type Store interface {
	Load(ctx context.Context) (id string, err error)
	// Save returns when the id is safe. It is called with the same id again after each
	// subscription, and with "" after a teardown.
	Save(ctx context.Context, id string) error
}

// MemoryStore forgets the id with the process. The zero value is ready.
type MemoryStore struct {
	mu sync.Mutex
	id string
}

// Load returns the id saved last.
func (s *MemoryStore) Load(context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id, nil
}

// Save keeps the id.
func (s *MemoryStore) Save(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.id = id
	return nil
}

// FileStore keeps the id in the file of this name, whose directory must exist.
type FileStore string

// Load reads the file; no file is no id.
func (s FileStore) Load(context.Context) (string, error) {
	b, err := os.ReadFile(string(s))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(b)), err
}

// Save replaces the file in one step, or removes it. An id that is there already is not
// written again.
func (s FileStore) Save(ctx context.Context, id string) error {
	if old, err := s.Load(ctx); err == nil && old == id {
		return nil
	}
	dir := filepath.Dir(string(s))
	if id == "" {
		if err := os.Remove(string(s)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return syncDir(dir)
	}
	f, err := os.CreateTemp(dir, filepath.Base(string(s))+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = fmt.Fprintln(f, id)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), string(s)); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
