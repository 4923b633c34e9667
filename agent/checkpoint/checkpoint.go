// Package checkpoint is the agent's durable log: what the agent must not forget, as
// records appended to one preallocated file, replaced by a snapshot of the state when
// it has grown.
//
//	<dir>/log-0000000007      header | records of the snapshot | records since | zeroes
//	<dir>/log-0000000008.tmp  a snapshot being written when the process died
//
// A file gets its name only when its snapshot is on disk, and the file before it goes
// only when the name is; so there is always one that is whole. A write becomes durable
// by Sync. After a crash the log ends at the first record that is not whole; if that
// record was known to be on disk, the log is damaged and Open says where, never passing
// over it in silence.
//
// The package starts no goroutine and draws no random number, so that the simulator
// can lose power under it at every operation. One goroutine owns a Log.
package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/internal/vfs"
)

// Options of Open.
type Options struct {
	// Salt makes the frames of this log unguessable; random, or the simulator's.
	Salt uint64
	// Chunk is how much space is reserved at a time, in bytes; 0 means 4 MiB.
	Chunk int64
	// Logger is told of a torn tail; nil means nobody.
	Logger *slog.Logger
}

// Log is an open log.
type Log struct {
	fs    vfs.FS
	dir   string
	chunk int64
	salt  uint64

	generation uint64
	file       vfs.File
	fileSalt   uint64
	base       int64 // end of the snapshot
	end        int64 // where the next record goes
	synced     int64 // everything before it is on disk
	allocated  int64

	buf    []byte
	failed error
}

// Open recovers the log in dir, making it if there is none, and returns its records in
// the order they were written. All of them are on disk when it returns.
func Open(fsys vfs.FS, dir string, opt Options) (*Log, []*stoapb.LogRecord, error) {
	if opt.Chunk == 0 {
		opt.Chunk = 4 << 20
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	l := &Log{fs: fsys, dir: dir, chunk: opt.Chunk, salt: opt.Salt}
	newest, err := l.tidy()
	if err != nil {
		return nil, nil, fmt.Errorf("open the agent's log in %s: %w", dir, err)
	}
	if newest == 0 {
		if err := l.replace(1, &Batch{}); err != nil {
			return nil, nil, fmt.Errorf("begin the agent's log in %s: %w", dir, err)
		}
		return l, nil, nil
	}
	records, err := l.recover(newest, opt.Logger)
	if err != nil {
		return nil, nil, fmt.Errorf("recover the agent's log %s: %w", l.name(newest), err)
	}
	return l, records, nil
}

func (l *Log) name(generation uint64) string {
	return path.Join(l.dir, fmt.Sprintf("log-%010d", generation))
}

// tidy makes the directory, removes what a crash left and returns the newest
// generation, 0 if there is none.
func (l *Log) tidy() (newest uint64, err error) {
	names, err := l.fs.List(l.dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := l.fs.MkdirAll(l.dir); err != nil {
			return 0, err
		}
		return 0, l.fs.SyncDir(path.Dir(l.dir))
	}
	if err != nil {
		return 0, err
	}
	var stale []string
	for _, name := range names {
		digits, ok := strings.CutPrefix(name, "log-")
		if !ok {
			continue
		}
		if strings.HasSuffix(name, ".tmp") {
			stale = append(stale, name)
			continue
		}
		generation, err := strconv.ParseUint(digits, 10, 64)
		if err != nil || generation == 0 {
			return 0, fmt.Errorf("%s: not a name this version gives a log", name)
		}
		if generation > newest {
			if newest != 0 {
				stale = append(stale, path.Base(l.name(newest)))
			}
			newest = generation
		} else {
			stale = append(stale, name)
		}
	}
	// A process may have died before it synced the newest name; that must be durable
	// before the file it replaced goes, and before anything is written to it.
	if err := l.fs.SyncDir(l.dir); err != nil {
		return 0, err
	}
	for _, name := range stale {
		if err := l.fs.Remove(path.Join(l.dir, name)); err != nil {
			return 0, err
		}
	}
	return newest, nil
}

func (l *Log) recover(generation uint64, logger *slog.Logger) ([]*stoapb.LogRecord, error) {
	name := l.name(generation)
	b, err := l.fs.ReadFile(name)
	if err != nil {
		return nil, err
	}
	h, err := parseHeader(b)
	if err != nil {
		return nil, err
	}
	if h.generation != generation {
		return nil, fmt.Errorf("offset 0: the file was written as %s", path.Base(l.name(h.generation)))
	}
	encoded, end, err := scan(b, h)
	if err != nil {
		return nil, err
	}
	records, err := decode(encoded)
	if err != nil {
		return nil, err
	}
	l.generation, l.fileSalt, l.base = generation, h.salt, int64(h.base)
	l.end, l.allocated = end, int64(len(b))
	if l.file, err = l.fs.Open(name); err != nil {
		return nil, err
	}
	err = l.cut(b, logger)
	if whole := min(l.end, int64(len(b))); err == nil && whole > l.base {
		// What was read may be in the machine's memory only, and if the last process
		// ended because a sync failed, no sync writes those pages again: they are made
		// dirty anew, with what they hold, so that a crash meanwhile harms nothing.
		_, err = l.file.WriteAt(b[l.base:whole], l.base)
	}
	if err == nil {
		err = l.Sync()
	}
	if err != nil {
		return nil, errors.Join(err, l.file.Close())
	}
	return records, nil
}

// cut clears what is beyond the end, so that no record of the past comes back behind
// one of the future.
func (l *Log) cut(b []byte, logger *slog.Logger) error {
	rest := b[min(int64(len(b)), l.end):]
	torn := len(rest)
	for torn > 0 && rest[torn-1] == 0 {
		torn--
	}
	if torn == 0 {
		return nil
	}
	logger.Warn("the log's end was torn by a crash and is cut; nothing that was confirmed is lost",
		"file", l.name(l.generation), "offset", l.end, "bytes", torn)
	if err := l.file.Truncate(l.end); err != nil {
		return err
	}
	l.allocated = l.end
	return nil
}

func decode(encoded [][]byte) ([]*stoapb.LogRecord, error) {
	records := make([]*stoapb.LogRecord, len(encoded))
	off := int64(headerSize)
	for i, b := range encoded {
		r := &stoapb.LogRecord{}
		if err := proto.Unmarshal(b, r); err != nil {
			return nil, fmt.Errorf("offset %d: record %d does not decode: %w", off, i, err)
		}
		if r.GetBody() == nil {
			return nil, fmt.Errorf("offset %d: record %d is of a kind this version of Stoa does not know: start the version that wrote it, or a newer one", off, i)
		}
		records[i] = r
		off += recordSize(len(b))
	}
	return records, nil
}

// Batch is encoded records, in order. The zero value is empty. Filling it touches no
// file, so that the owner of the records can fill it and another goroutine write it.
type Batch struct {
	bytes []byte
	ends  []int
}

// Add appends a record.
func (b *Batch) Add(r *stoapb.LogRecord) error {
	if r.GetBody() == nil {
		return errors.New("a log record without a body")
	}
	begin := len(b.bytes)
	bytes, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(b.bytes, r)
	if err != nil {
		return fmt.Errorf("encode a log record: %w", err)
	}
	if len(bytes)-begin > MaxRecord {
		return fmt.Errorf("a log record of %d bytes: at most %d fit", len(bytes)-begin, MaxRecord)
	}
	b.bytes = bytes
	b.ends = append(b.ends, len(bytes))
	return nil
}

// Len is the number of records.
func (b *Batch) Len() int { return len(b.ends) }

// Size is what the records take encoded, in bytes.
func (b *Batch) Size() int { return len(b.bytes) }

// Reset empties the batch, keeping its memory.
func (b *Batch) Reset() { b.bytes, b.ends = b.bytes[:0], b.ends[:0] }

func (b *Batch) each(yield func(record []byte)) {
	begin := 0
	for _, end := range b.ends {
		yield(b.bytes[begin:end])
		begin = end
	}
}

// Write appends the batch; it survives the process, and after Sync the machine.
// An error is final: the process must end.
func (l *Log) Write(b *Batch) error {
	if l.failed != nil {
		return l.failed
	}
	if b.Len() == 0 {
		return nil
	}
	l.buf = l.buf[:0]
	b.each(func(record []byte) {
		l.buf = appendRecord(l.buf, record, l.fileSalt, uint64(l.end)+uint64(len(l.buf)), uint64(l.synced))
	})
	end := l.end + int64(len(l.buf))
	if end > l.allocated {
		if err := l.file.Allocate(end + l.chunk); err != nil {
			return l.fail("reserve space for", err)
		}
		l.allocated = end + l.chunk
	}
	if _, err := l.file.WriteAt(l.buf, l.end); err != nil {
		return l.fail("write", err)
	}
	l.end = end
	if cap(l.buf) > 4<<20 {
		l.buf = nil
	}
	return nil
}

// Sync makes everything written durable. An error is final: what the disk holds is
// then unknown, and the process must end.
func (l *Log) Sync() error {
	if l.failed != nil {
		return l.failed
	}
	if err := l.file.Sync(); err != nil {
		return l.fail("sync", err)
	}
	l.synced = l.end
	return nil
}

func (l *Log) fail(doing string, err error) error {
	l.failed = fmt.Errorf("%s the agent's log: %w", doing, err)
	return l.failed
}

// Failed is the error that made the log unusable, or nil.
func (l *Log) Failed() error { return l.failed }

// Grown is how many bytes of records came since the snapshot, and how many the
// snapshot has: the caller compacts when the first is large against the second.
func (l *Log) Grown() (since, snapshot int64) {
	return l.end - l.base, l.base - headerSize
}

// Compact replaces the log by snapshot, which must contain all that was written; it is
// durable when Compact returns. If that fails for lack of space, the log goes on as it
// was and Failed is nil.
func (l *Log) Compact(snapshot *Batch) error {
	if l.failed != nil {
		return l.failed
	}
	old, oldName := l.file, l.name(l.generation)
	if err := l.replace(l.generation+1, snapshot); err != nil {
		return fmt.Errorf("compact the agent's log: %w", err)
	}
	if err := errors.Join(old.Close(), l.fs.Remove(oldName)); err != nil {
		return l.fail("remove the old file of", err)
	}
	return nil
}

// replace writes a new file and switches to it.
func (l *Log) replace(generation uint64, snapshot *Batch) error {
	h := header{version: Version, generation: generation, salt: mix(l.salt, generation), base: headerSize}
	snapshot.each(func(record []byte) { h.base += uint64(recordSize(len(record))) })

	name := l.name(generation)
	f, err := l.fs.Create(name + ".tmp")
	if err != nil {
		return err
	}
	allocated := int64(h.base) + l.chunk
	if err := fill(f, h, snapshot, allocated); err != nil {
		return errors.Join(err, f.Close(), l.fs.Remove(name+".tmp"))
	}
	if err := f.Sync(); err != nil {
		return errors.Join(l.fail("sync the snapshot of", err), f.Close())
	}
	if err := l.fs.Rename(name+".tmp", name); err != nil {
		return errors.Join(l.fail("name the snapshot of", err), f.Close())
	}
	if err := l.fs.SyncDir(l.dir); err != nil {
		return errors.Join(l.fail("sync the directory of", err), f.Close())
	}
	l.generation, l.file, l.fileSalt = generation, f, h.salt
	l.base, l.end, l.synced, l.allocated = int64(h.base), int64(h.base), int64(h.base), allocated
	return nil
}

func fill(f vfs.File, h header, snapshot *Batch, allocate int64) error {
	if err := f.Allocate(allocate); err != nil {
		return err
	}
	var off int64
	buf := h.append(nil)
	var err error
	flush := func() {
		if err == nil {
			_, err = f.WriteAt(buf, off)
		}
		off += int64(len(buf))
		buf = buf[:0]
	}
	snapshot.each(func(record []byte) {
		if len(buf) > 1<<20 {
			flush()
		}
		at := uint64(off) + uint64(len(buf))
		buf = appendRecord(buf, record, h.salt, at, headerSize)
	})
	flush()
	return err
}

// mix gives every generation its own salt (the finisher of SplitMix64).
func mix(salt, generation uint64) uint64 {
	x := salt + generation*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Close closes the file without syncing it.
func (l *Log) Close() error {
	if l.failed == nil {
		l.failed = errors.New("the agent's log is closed")
	}
	return l.file.Close()
}
