package vfs

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
)

// ErrDown is what every operation answers after PowerOff.
var ErrDown = errors.New("vfs: the machine is off")

// sector is the unit a disk writes as a whole: a torn write has some and lacks others.
const sector = 512

// Memory is a file system in memory that can lose power. It is not safe for concurrent
// use: the simulator and the tests drive it from one goroutine.
//
// Content: every write since the last Sync of the file is, sector by sector, there or
// not after a crash; a file's size is either one it had since then. Names: creations,
// renames and removals since the last SyncDir of their directory are kept up to a
// random point and lost beyond it, in the order they were done, as a journalling file
// system does. Directories themselves are durable at once.
type Memory struct {
	// Hook, if set, is asked before every operation; an error is returned in its
	// place. An error from a Sync loses, as Linux does, what was to be synced: later
	// reads see it, later Syncs do not make it durable.
	Hook func(Op) error

	off     bool
	handles int // distinguishes handles from before a crash
	dirs    map[string]*directory
}

type directory struct {
	names   map[string]*inode // as the running system sees it
	durable map[string]*inode // as the disk has it
	journal []change          // since the last SyncDir
}

// change is one entry of a directory's journal: name is bound to node, or unbound.
// A rename is two bindings in one change.
type change struct {
	bind   string
	node   *inode
	unbind string
}

type inode struct {
	data    []byte // as the running system sees it
	disk    []byte // as of the last Sync
	pending []write
}

// write is a change of content not yet synced: bytes at off, or a new size.
type write struct {
	off  int64
	data []byte
	size int64 // with data nil
}

// NewMemory returns an empty file system.
func NewMemory() *Memory {
	return &Memory{dirs: map[string]*directory{"/": newDirectory(), ".": newDirectory()}}
}

func newDirectory() *directory {
	return &directory{names: map[string]*inode{}, durable: map[string]*inode{}}
}

// PowerOff makes every operation fail with ErrDown until Restart.
func (m *Memory) PowerOff() { m.off = true }

// Restart is the machine coming back after a crash: what was not durable is kept, lost
// or torn as rng says. Files opened before are dead.
func (m *Memory) Restart(rng *rand.Rand) {
	m.off = false
	m.handles++
	seen := map[*inode]bool{}
	for _, name := range slices.Sorted(maps.Keys(m.dirs)) {
		d := m.dirs[name]
		for _, c := range d.journal[:rng.IntN(len(d.journal)+1)] {
			c.apply(d.durable)
		}
		d.journal = nil
		d.names = maps.Clone(d.durable)
		for _, file := range slices.Sorted(maps.Keys(d.names)) {
			if n := d.names[file]; !seen[n] {
				seen[n] = true
				n.crash(rng)
			}
		}
	}
}

// Kill is the process dying while the machine runs on: nothing is lost. Files opened
// before are dead.
func (m *Memory) Kill() {
	m.off = false
	m.handles++
}

func (c change) apply(names map[string]*inode) {
	if c.unbind != "" {
		delete(names, c.unbind)
	}
	if c.bind != "" {
		names[c.bind] = c.node
	}
}

func (w write) apply(b []byte) []byte {
	if w.data == nil {
		return resize(b, w.size)
	}
	return store(b, w.data, w.off)
}

func (n *inode) crash(rng *rand.Rand) {
	for _, w := range n.pending {
		if w.data == nil {
			if rng.IntN(2) == 0 {
				n.disk = w.apply(n.disk)
			}
			continue
		}
		for begin := 0; begin < len(w.data); {
			// Cut at the disk's sectors, not the write's.
			end := min(len(w.data), begin+sector-int((w.off+int64(begin))%sector))
			if rng.IntN(2) == 0 {
				n.disk = store(n.disk, w.data[begin:end], w.off+int64(begin))
			}
			begin = end
		}
	}
	n.pending = nil
	n.data = bytes.Clone(n.disk)
}

func resize(b []byte, size int64) []byte {
	if size <= int64(len(b)) {
		return b[:size:size]
	}
	return append(b, make([]byte, size-int64(len(b)))...)
}

func store(b, p []byte, off int64) []byte {
	if end := off + int64(len(p)); end > int64(len(b)) {
		b = resize(b, end)
	}
	copy(b[off:], p)
	return b
}

func (m *Memory) ask(kind Kind, name string) error {
	if m.off {
		return pathError(kind, name, ErrDown)
	}
	if m.Hook != nil {
		if err := m.Hook(Op{kind, name}); err != nil {
			return pathError(kind, name, err)
		}
	}
	return nil
}

func (m *Memory) dir(kind Kind, name string) (*directory, string, error) {
	dir, base := path.Split(path.Clean(name))
	d := m.dirs[path.Clean(dir)]
	if dir == "" {
		d = m.dirs["."]
	}
	if d == nil {
		return nil, "", pathError(kind, name, fs.ErrNotExist)
	}
	return d, base, nil
}

func (m *Memory) find(kind Kind, name string) (*inode, error) {
	d, base, err := m.dir(kind, name)
	if err != nil {
		return nil, err
	}
	n := d.names[base]
	if n == nil {
		return nil, pathError(kind, name, fs.ErrNotExist)
	}
	return n, nil
}

func (d *directory) change(c change) {
	c.apply(d.names)
	d.journal = append(d.journal, c)
}

// MkdirAll implements FS.
func (m *Memory) MkdirAll(dir string) error {
	if err := m.ask(MkdirAll, dir); err != nil {
		return err
	}
	for dir = path.Clean(dir); m.dirs[dir] == nil; dir = path.Dir(dir) {
		m.dirs[dir] = newDirectory()
	}
	return nil
}

// Create implements FS.
func (m *Memory) Create(name string) (File, error) {
	if err := m.ask(Create, name); err != nil {
		return nil, err
	}
	d, base, err := m.dir(Create, name)
	if err != nil {
		return nil, err
	}
	if d.names[base] != nil {
		return nil, pathError(Create, name, fs.ErrExist)
	}
	n := &inode{}
	d.change(change{bind: base, node: n})
	return &memFile{m: m, n: n, name: name, handle: m.handles}, nil
}

// Open implements FS.
func (m *Memory) Open(name string) (File, error) {
	if err := m.ask(Open, name); err != nil {
		return nil, err
	}
	n, err := m.find(Open, name)
	if err != nil {
		return nil, err
	}
	return &memFile{m: m, n: n, name: name, handle: m.handles}, nil
}

// ReadFile implements FS.
func (m *Memory) ReadFile(name string) ([]byte, error) {
	if err := m.ask(Read, name); err != nil {
		return nil, err
	}
	n, err := m.find(Read, name)
	if err != nil {
		return nil, err
	}
	return bytes.Clone(n.data), nil
}

// List implements FS. Only files are listed, and directories made by MkdirAll.
func (m *Memory) List(dir string) ([]string, error) {
	if err := m.ask(List, dir); err != nil {
		return nil, err
	}
	dir = path.Clean(dir)
	d := m.dirs[dir]
	if d == nil {
		return nil, pathError(List, dir, fs.ErrNotExist)
	}
	names := slices.Collect(maps.Keys(d.names))
	for sub := range m.dirs {
		if sub != dir && path.Dir(sub) == dir {
			names = append(names, path.Base(sub))
		}
	}
	slices.Sort(names)
	return names, nil
}

// Rename implements FS; both names must be in one directory, which is what a log needs.
func (m *Memory) Rename(oldname, newname string) error {
	if err := m.ask(Rename, newname); err != nil {
		return err
	}
	n, err := m.find(Rename, oldname)
	if err != nil {
		return err
	}
	d, oldbase, _ := m.dir(Rename, oldname)
	nd, newbase, err := m.dir(Rename, newname)
	if err != nil {
		return err
	}
	if nd != d {
		return pathError(Rename, newname, errors.New("vfs: rename across directories"))
	}
	d.change(change{bind: newbase, node: n, unbind: oldbase})
	return nil
}

// Remove implements FS.
func (m *Memory) Remove(name string) error {
	if err := m.ask(Remove, name); err != nil {
		return err
	}
	if _, err := m.find(Remove, name); err != nil {
		return err
	}
	d, base, _ := m.dir(Remove, name)
	d.change(change{unbind: base})
	return nil
}

// SyncDir implements FS.
func (m *Memory) SyncDir(dir string) error {
	if err := m.ask(SyncDir, dir); err != nil {
		return err
	}
	d := m.dirs[path.Clean(dir)]
	if d == nil {
		return pathError(SyncDir, dir, fs.ErrNotExist)
	}
	d.durable, d.journal = maps.Clone(d.names), nil
	return nil
}

type memFile struct {
	m      *Memory
	n      *inode
	name   string
	handle int
	closed bool
}

func (f *memFile) ask(kind Kind) error {
	if f.closed || f.handle != f.m.handles {
		return pathError(kind, f.name, fs.ErrClosed)
	}
	return f.m.ask(kind, f.name)
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.ask(Write); err != nil {
		return 0, err
	}
	p = bytes.Clone(p)
	f.n.data = store(f.n.data, p, off)
	f.n.pending = append(f.n.pending, write{off: off, data: p})
	return len(p), nil
}

func (f *memFile) Allocate(size int64) error {
	if err := f.ask(Allocate); err != nil {
		return err
	}
	if size > int64(len(f.n.data)) {
		f.resize(size)
	}
	return nil
}

func (f *memFile) Truncate(size int64) error {
	if err := f.ask(Truncate); err != nil {
		return err
	}
	f.resize(size)
	return nil
}

func (f *memFile) resize(size int64) {
	f.n.data = resize(f.n.data, size)
	f.n.pending = append(f.n.pending, write{size: size})
}

func (f *memFile) Sync() error {
	if err := f.ask(Sync); err != nil {
		// The pages are marked clean though they never reached the disk: what a later
		// Sync will not write again is forgotten here.
		f.n.pending = nil
		return err
	}
	for _, w := range f.n.pending {
		f.n.disk = w.apply(f.n.disk)
	}
	f.n.pending = nil
	return nil
}

func (f *memFile) Close() error {
	if f.closed {
		return pathError(Open, f.name, fs.ErrClosed)
	}
	f.closed = true
	return nil
}
