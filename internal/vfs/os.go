package vfs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// OS is the machine's file system.
type OS struct{}

// MkdirAll implements FS.
func (OS) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o700) }

// Create implements FS.
func (OS) Create(name string) (File, error) {
	return openOS(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

// Open implements FS.
func (OS) Open(name string) (File, error) { return openOS(name, os.O_RDWR) }

func openOS(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// ReadFile implements FS.
func (OS) ReadFile(name string) ([]byte, error) { return os.ReadFile(name) }

// List implements FS.
func (OS) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

// Rename implements FS.
func (OS) Rename(oldname, newname string) error { return os.Rename(oldname, newname) }

// Remove implements FS.
func (OS) Remove(name string) error { return os.Remove(name) }

// SyncDir implements FS.
func (OS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

type osFile struct{ f *os.File }

func (f osFile) WriteAt(p []byte, off int64) (int, error) { return f.f.WriteAt(p, off) }
func (f osFile) Truncate(size int64) error                { return f.f.Truncate(size) }
func (f osFile) Close() error                             { return f.f.Close() }

func (f osFile) Allocate(size int64) error {
	err := retry(func() error { return unix.Fallocate(int(f.f.Fd()), 0, 0, size) })
	if err == unix.EOPNOTSUPP {
		// Some file systems (NFS, ZFS) cannot reserve: the file still gets its size.
		if info, statErr := f.f.Stat(); statErr != nil || info.Size() >= size {
			return statErr
		}
		return f.f.Truncate(size)
	}
	if err != nil {
		return pathError(Allocate, f.f.Name(), err)
	}
	return nil
}

// Sync uses fdatasync: the times it leaves out are not needed to read the data back.
func (f osFile) Sync() error {
	if err := retry(func() error { return unix.Fdatasync(int(f.f.Fd())) }); err != nil {
		return pathError(Sync, f.f.Name(), err)
	}
	return nil
}

// retry repeats a call that a signal interrupted; no other error is ever retried.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
