// Package vfs is the small part of a file system that a log needs, so that the log runs
// on a disk in a process and on a disk that loses power in the simulator.
//
// OS is the real one; Memory models a crash: what was not synced may be there, missing
// or torn when the machine comes back, and a name is only as durable as the last sync
// of its directory.
package vfs

import "io/fs"

// FS is a directory tree. Names are slash-separated paths. Errors wrap fs.ErrNotExist
// and fs.ErrExist as os does.
type FS interface {
	// MkdirAll makes dir and its parents, mode 0700; that dir exists is not an error.
	MkdirAll(dir string) error
	// Create makes a new file of mode 0600; one that exists is an error.
	Create(name string) (File, error)
	// Open opens an existing file for reading and writing.
	Open(name string) (File, error)
	// ReadFile returns a whole file.
	ReadFile(name string) ([]byte, error)
	// List returns the names in dir, sorted.
	List(dir string) ([]string, error)
	// Rename replaces newname by oldname atomically; durable after SyncDir.
	Rename(oldname, newname string) error
	// Remove deletes a file; durable after SyncDir.
	Remove(name string) error
	// SyncDir makes creations, renames and removals in dir durable.
	SyncDir(dir string) error
}

// File is an open file. It is not safe for concurrent use.
type File interface {
	// WriteAt writes p at off; the file grows as needed. It is durable after Sync.
	WriteAt(p []byte, off int64) (int, error)
	// Allocate reserves space up to size and extends the file with zeroes to it, so
	// that later writes change no metadata and cannot fail for lack of space.
	Allocate(size int64) error
	// Truncate cuts the file to size.
	Truncate(size int64) error
	// Sync makes the file's content and size durable. After an error nothing is known
	// of what was written since the last success, and a further Sync says nothing
	// about it either: the caller must give up.
	Sync() error
	Close() error
}

// Kind is the kind of an operation on a file system.
type Kind string

// The kinds of operations Memory asks its Hook about.
const (
	MkdirAll Kind = "mkdir"
	Create   Kind = "create"
	Open     Kind = "open"
	Read     Kind = "read"
	List     Kind = "list"
	Rename   Kind = "rename"
	Remove   Kind = "remove"
	SyncDir  Kind = "syncdir"
	Write    Kind = "write"
	Allocate Kind = "allocate"
	Truncate Kind = "truncate"
	Sync     Kind = "sync"
)

// Op is one operation about to be done.
type Op struct {
	Kind Kind
	Name string
}

func pathError(op Kind, name string, err error) error {
	return &fs.PathError{Op: string(op), Path: name, Err: err}
}
