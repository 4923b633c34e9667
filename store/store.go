// Package store is where a role keeps what must survive it: a small ordered
// key-value space with leadership. Implementations are in etcd and memory, and
// storetest proves that they behave alike.
package store

import (
	"context"
	"errors"
	"fmt"
)

// Record is one key and its value.
type Record struct {
	Key   string
	Value []byte
}

// Op puts a value, or with a nil Value deletes the key.
type Op struct {
	Key   string
	Value []byte
}

// ErrFenced is returned by Commit when the epoch is no longer the newest: another
// process was elected, and this one must stop at once.
var ErrFenced = errors.New("store: another process was elected since")

// ErrCorrupt is returned when what was read cannot have been written by Stoa.
var ErrCorrupt = errors.New("store: corrupt")

// MaxValue is the largest value Commit takes, in bytes.
const MaxValue = 256 << 10

// Store is safe for concurrent use.
type Store interface {
	// Load returns all records whose key begins with prefix, in key order, from one
	// consistent state.
	Load(ctx context.Context, prefix string) ([]Record, error)
	// Commit applies ops in order, all or (up to 128 and 1 MiB at a time) none, and returns
	// when they are durable on a majority. It fails with ErrFenced if leadership's
	// epoch is not the newest of its name.
	Commit(ctx context.Context, l Leadership, ops []Op) error
	// Elect blocks until this process leads under name ("master", "service"), or ctx
	// ends. value is what others see of the leader (its address).
	Elect(ctx context.Context, name string, value []byte) (Leadership, error)
	// Leader returns the current leader's value, or ok false.
	Leader(ctx context.Context, name string) (value []byte, ok bool, err error)
	Close() error
}

// Leadership is one term of leading.
type Leadership struct {
	Name string
	// Epoch grows with every election under the name.
	Epoch uint64
	// Lost is closed when the term ends or can no longer be renewed.
	Lost <-chan struct{}
	// Resign ends the term.
	Resign func(context.Context) error
}

// MaxOps is how many operations one transaction takes; Commit splits longer lists.
const MaxOps = 128

// CheckOps refuses what no implementation takes: empty keys and values over MaxValue.
func CheckOps(ops []Op) error {
	for _, op := range ops {
		if op.Key == "" {
			return errors.New("store: an operation has an empty key")
		}
		if len(op.Value) > MaxValue {
			return fmt.Errorf("store: the value of %s has %d bytes, more than %d", op.Key, len(op.Value), MaxValue)
		}
	}
	return nil
}
