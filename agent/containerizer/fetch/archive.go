package fetch

import (
	"archive/tar"
	"archive/zip"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/ulikunitz/xz"
)

// kind is what a file's name says it is; content is not looked at, as in Mesos.
type kind uint8

const (
	plain kind = iota
	tarball
	tarGzip
	tarBzip2
	tarXz
	gzipped
	zipped
)

func kindOf(name string) kind {
	for _, k := range []struct {
		suffix string
		kind   kind
	}{
		{".tar", tarball}, {".tar.gz", tarGzip}, {".tgz", tarGzip}, {".tar.bz2", tarBzip2}, {".tbz2", tarBzip2},
		{".tar.xz", tarXz}, {".txz", tarXz}, {".zip", zipped}, {".gz", gzipped},
	} {
		if strings.HasSuffix(name, k.suffix) {
			return k.kind
		}
	}
	return plain
}

const (
	// maxRatio and freeBytes bound an archive: unpacked it may have freeBytes, or
	// maxRatio times its own size. Real archives have ratios below 50.
	maxRatio  = 250
	freeBytes = 64 << 20
	// entryCost is charged to the task's disk for every entry, empty ones too.
	entryCost = 4096
)

var errBomb = fmt.Errorf("it unpacks to more than %d times its size, as decompression bombs do", maxRatio)

// meter ends a stream that has become too long for its archive.
type meter struct {
	r    io.Reader
	left int64
}

func (m *meter) Read(b []byte) (int, error) {
	n, err := m.r.Read(b)
	if m.left -= int64(n); m.left < 0 {
		return 0, errBomb
	}
	return n, err
}

// extract unpacks an archive of the given size into the sandbox and returns how many
// entries it had. The archive stays beside what was in it, as in Mesos.
func (f *fetch) extract(s source, size int64) (entries int, err error) {
	file, err := f.root.Open(s.output)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	limit := max(f.free, size*maxRatio)
	u := &unpacker{fetch: f}
	switch s.kind {
	case zipped:
		err = u.zip(file, size, limit)
	case gzipped:
		name := strings.TrimSuffix(path.Base(s.output), ".gz")
		if !filepath.IsLocal(name) || name == "." || reserved(name) {
			return 0, fmt.Errorf("%q is not a file name to unpack to", name)
		}
		var r io.Reader
		if r, err = gzip.NewReader(file); err == nil {
			u.entries = 1
			_, err = f.store(name, &meter{r, limit})
		}
	default:
		var r io.Reader = file
		switch s.kind {
		case tarGzip:
			r, err = gzip.NewReader(file)
		case tarBzip2:
			r = bzip2.NewReader(file)
		case tarXz:
			r, err = xz.NewReader(file)
		}
		if err == nil {
			err = u.tar(&meter{r, limit})
		}
	}
	if err == nil {
		err = u.finish()
	}
	return u.entries, err
}

// unpacker makes the entries of one archive. Everything goes through os.Root: a link
// may point anywhere, since the task could make such a link itself, but nothing is
// written through one that leaves the sandbox.
type unpacker struct {
	*fetch
	entries int
	dirs    []entry // their modes and times are set last
}

type entry struct {
	name string
	mode fs.FileMode
	time time.Time
}

func (u *unpacker) tar(r io.Reader) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		e := entry{name: h.Name, mode: h.FileInfo().Mode(), time: h.ModTime}
		if err := u.begin(&e, h.Typeflag == tar.TypeDir); err != nil {
			return err
		}
		switch h.Typeflag {
		case tar.TypeDir:
			err = u.dir(e)
		case tar.TypeReg, tar.TypeGNUSparse:
			err = u.file(e, t)
		case tar.TypeSymlink:
			err = u.symlink(e, h.Linkname)
		case tar.TypeLink:
			err = u.link(e, h.Linkname)
		case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
			err = errors.New("devices and pipes are not unpacked")
		default:
			err = fmt.Errorf("unknown type of entry %q", h.Typeflag)
		}
		if err != nil {
			return fmt.Errorf("%q: %w", h.Name, err)
		}
	}
}

func (u *unpacker) zip(file *os.File, size, limit int64) error {
	z, err := zip.NewReader(file, size)
	if err != nil {
		return err
	}
	left := limit
	for _, f := range z.File {
		e := entry{name: f.Name, mode: f.Mode(), time: f.Modified}
		if err := u.begin(&e, f.Mode().IsDir()); err != nil {
			return err
		}
		if f.Mode().IsDir() {
			err = u.dir(e)
		} else if left, err = u.zipped(e, f, left); err != nil {
			err = fmt.Errorf("%q: %w", f.Name, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (u *unpacker) zipped(e entry, f *zip.File, left int64) (int64, error) {
	r, err := f.Open()
	if err != nil {
		return left, err
	}
	defer r.Close()
	m := &meter{r, left}
	switch {
	case f.Mode().IsRegular():
		err = u.file(e, m)
	case f.Mode()&fs.ModeSymlink != 0:
		var target []byte
		if target, err = io.ReadAll(io.LimitReader(m, 4097)); err == nil {
			err = u.symlink(e, string(target))
		}
	default:
		err = errors.New("devices and pipes are not unpacked")
	}
	return m.left, err
}

// begin checks and charges an entry and makes what is above it.
func (u *unpacker) begin(e *entry, dir bool) error {
	u.entries++
	if err := u.disk.take(entryCost); err != nil {
		return err
	}
	// tar takes the slash off an absolute name; a name that climbs is refused by both.
	name := path.Clean(strings.TrimLeft(e.name, "/"))
	if !filepath.IsLocal(name) || strings.ContainsRune(name, 0) || name == "." && !dir {
		return fmt.Errorf("%q is not a name inside the sandbox", e.name)
	}
	if reserved(name) {
		return fmt.Errorf("%q is where the task's output goes", e.name)
	}
	e.name = name
	if parent := path.Dir(name); parent != "." {
		return u.root.MkdirAll(parent, 0o755)
	}
	return nil
}

func (u *unpacker) dir(e entry) error {
	if e.name == "." {
		return nil
	}
	if err := u.root.MkdirAll(e.name, 0o755); err != nil {
		return err
	}
	u.dirs = append(u.dirs, e)
	return nil
}

func (u *unpacker) file(e entry, r io.Reader) error {
	out, err := u.create(e.name, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(spend{out, &u.disk}, r)
	if err == nil {
		// Through the descriptor: the name may be anything by now.
		err = out.Chmod(e.mode.Perm())
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	return u.stamp(e)
}

func (u *unpacker) stamp(e entry) error {
	if e.time.IsZero() || e.time.Unix() < 0 {
		return nil
	}
	return u.root.Chtimes(e.name, e.time, e.time)
}

func (u *unpacker) symlink(e entry, target string) error {
	if target == "" || len(target) > 4096 || strings.ContainsRune(target, 0) {
		return errors.New("the link's target is no path")
	}
	if err := u.clear(e.name); err != nil {
		return err
	}
	return u.root.Symlink(target, e.name)
}

func (u *unpacker) link(e entry, target string) error {
	target = path.Clean(strings.TrimLeft(target, "/"))
	if !filepath.IsLocal(target) || reserved(target) || target == e.name {
		return fmt.Errorf("the link's target %q is not inside the sandbox", target)
	}
	if err := u.clear(e.name); err != nil {
		return err
	}
	return u.root.Link(target, e.name)
}

// finish gives directories their modes and times, deepest last made first, when nothing
// is put into them any more.
func (u *unpacker) finish() error {
	for i := len(u.dirs) - 1; i >= 0; i-- {
		e := u.dirs[i]
		// What a later entry put in its place is left as it is.
		info, err := u.root.Lstat(e.name)
		if err != nil || !info.IsDir() {
			continue
		}
		if err := errors.Join(u.stamp(e), u.root.Chmod(e.name, e.mode.Perm()|0o700)); err != nil {
			return err
		}
	}
	return nil
}
