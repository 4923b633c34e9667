package vfs

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// TestBoth runs one story on both implementations: they must answer alike.
func TestBoth(t *testing.T) {
	for name, c := range map[string]struct {
		fs  FS
		dir string
	}{
		"os":     {OS{}, filepath.Join(t.TempDir(), "a", "b")},
		"memory": {NewMemory(), "/a/b"},
	} {
		t.Run(name, func(t *testing.T) {
			fsys, dir := c.fs, c.dir
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			if _, err := fsys.List(dir); !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("List of a missing directory: %v", err)
			}
			must(fsys.MkdirAll(dir))
			must(fsys.MkdirAll(dir))
			f, err := fsys.Create(dir + "/x")
			must(err)
			if _, err := fsys.Create(dir + "/x"); !errors.Is(err, fs.ErrExist) {
				t.Fatalf("Create of an existing file: %v", err)
			}
			must(f.Allocate(64))
			must(f.Allocate(8)) // never shrinks
			_, err = f.WriteAt([]byte("hello"), 2)
			must(err)
			must(f.Sync())
			must(f.Truncate(10))
			must(f.Close())
			if f.Close() == nil {
				t.Fatal("a second Close succeeded")
			}
			must(fsys.Rename(dir+"/x", dir+"/y"))
			must(fsys.SyncDir(dir))
			b, err := fsys.ReadFile(dir + "/y")
			must(err)
			if want := []byte("\x00\x00hello\x00\x00\x00"); !bytes.Equal(b, want) {
				t.Fatalf("read %q, want %q", b, want)
			}
			if _, err := fsys.Open(dir + "/x"); !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("Open of a renamed file: %v", err)
			}
			f, err = fsys.Open(dir + "/y")
			must(err)
			_, err = f.WriteAt([]byte("!"), 10)
			must(err)
			must(f.Close())
			names, err := fsys.List(dir)
			must(err)
			if !slices.Equal(names, []string{"y"}) {
				t.Fatalf("List: %v", names)
			}
			must(fsys.Remove(dir + "/y"))
			if err := fsys.Remove(dir + "/y"); !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("a second Remove: %v", err)
			}
		})
	}
}

// TestCrash looks at many crashes of one story: every outcome must be allowed, and each
// allowed kind of loss must occur.
func TestCrash(t *testing.T) {
	var kept, lost, torn, renamed, notRenamed int
	for seed := range uint64(300) {
		m := NewMemory()
		m.MkdirAll("/d")
		f, _ := m.Create("/d/f")
		f.WriteAt(bytes.Repeat([]byte{1}, 2048), 0)
		f.Sync()
		m.SyncDir("/d")
		f.WriteAt(bytes.Repeat([]byte{2}, 1024), 2048)
		m.Rename("/d/f", "/d/g")
		m.PowerOff()
		if _, err := m.ReadFile("/d/g"); !errors.Is(err, ErrDown) {
			t.Fatalf("read while off: %v", err)
		}
		m.Restart(rand.New(rand.NewPCG(seed, 1)))
		if _, err := f.WriteAt([]byte{3}, 0); !errors.Is(err, fs.ErrClosed) {
			t.Fatalf("write through a dead file: %v", err)
		}
		b, err := m.ReadFile("/d/f")
		if err == nil {
			notRenamed++
		} else if b, err = m.ReadFile("/d/g"); err == nil {
			renamed++
		} else {
			t.Fatalf("seed %d: the file is gone", seed)
		}
		if !bytes.Equal(b[:2048], bytes.Repeat([]byte{1}, 2048)) {
			t.Fatalf("seed %d: synced bytes changed", seed)
		}
		switch n := bytes.Count(b, []byte{2}); n {
		case 0:
			lost++
		case 512:
			torn++
		case 1024:
			kept++
		default:
			t.Fatalf("seed %d: torn inside a sector: %d bytes", seed, n)
		}
	}
	if kept*lost*torn*renamed*notRenamed == 0 {
		t.Fatalf("kept %d lost %d torn %d renamed %d not renamed %d: each must occur", kept, lost, torn, renamed, notRenamed)
	}
}

// TestKill: a process that dies loses nothing that it wrote.
func TestKill(t *testing.T) {
	m := NewMemory()
	f, _ := m.Create("f")
	f.WriteAt([]byte("abc"), 0)
	m.Kill()
	if b, err := m.ReadFile("f"); err != nil || string(b) != "abc" {
		t.Fatalf("%q, %v", b, err)
	}
}

func TestUnsyncedNameIsLost(t *testing.T) {
	gone := 0
	for seed := range uint64(50) {
		m := NewMemory()
		f, _ := m.Create("f")
		f.WriteAt([]byte("abc"), 0)
		f.Sync()
		m.Restart(rand.New(rand.NewPCG(seed, 1)))
		if _, err := m.ReadFile("f"); err != nil {
			gone++
		}
	}
	if gone == 0 || gone == 50 {
		t.Fatalf("the name was lost in %d of 50 crashes", gone)
	}
}

// TestFailedSync: what a failed Sync did not write, a later one does not either.
func TestFailedSync(t *testing.T) {
	m := NewMemory()
	f, _ := m.Create("f")
	m.SyncDir(".")
	f.WriteAt([]byte("abc"), 0)
	m.Hook = func(op Op) error {
		if op.Kind == Sync {
			return unix.EIO
		}
		return nil
	}
	if err := f.Sync(); !errors.Is(err, unix.EIO) {
		t.Fatal(err)
	}
	m.Hook = nil
	if b, _ := m.ReadFile("f"); string(b) != "abc" {
		t.Fatalf("before the crash: %q", b)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	m.Restart(rand.New(rand.NewPCG(1, 1)))
	if b, _ := m.ReadFile("f"); len(b) != 0 {
		t.Fatalf("after the crash: %q", b)
	}
}

func TestHookNamesTheFile(t *testing.T) {
	m := NewMemory()
	f, _ := m.Create("f")
	m.Hook = func(Op) error { return unix.ENOSPC }
	_, err := f.WriteAt([]byte{1}, 0)
	var pe *fs.PathError
	if !errors.As(err, &pe) || pe.Path != "f" || pe.Op != "write" || !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
}
