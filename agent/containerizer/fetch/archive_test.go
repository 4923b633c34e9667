package fetch

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ulikunitz/xz"
	"google.golang.org/protobuf/proto"
)

// bzipped is a tar with one file "b/file" of the six bytes "bzip2\n"; the standard
// library reads bzip2 and does not write it.
const bzipped = `QlpoOTFBWSZTWcbufn8AAHR7hMkQAERAAP2AABBzJN4QAACACCAAdQ1TRskPU0BkD0T1BJQmmQDQAaBP7WxzkIIPASL8IkJMeXMSQNUmjpt2c9EWACRAQ4fciuR5mL5lueEHDaTL161JiotqlGIMy0pIPxdyRThQkMbufn8=`

func tarOf(t testing.TB, headers ...*tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		content := h.PAXRecords["content"]
		h.PAXRecords = nil
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(content))
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil && h.Typeflag == tar.TypeReg {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func reg(name, content string) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, PAXRecords: map[string]string{"content": content}, ModTime: time.Unix(1_500_000_000, 0)}
}

func link(kind byte, name, target string) *tar.Header {
	return &tar.Header{Typeflag: kind, Name: name, Linkname: target}
}

func zipOf(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, content := range files {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		h.SetMode(0o644)
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			h.SetMode(fs.ModeSymlink | 0o777)
			content = target
		}
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(f, content)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gz(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func xzOf(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := xz.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(b)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// unpack runs a request in this process, in a fresh sandbox with a file beside it that
// must not change.
func unpack(t testing.TB, name string, content []byte, disk int64) (dir string, err error) {
	t.Helper()
	top := t.TempDir()
	dir = filepath.Join(top, "box")
	source := filepath.Join(top, name)
	outside := filepath.Join(top, "outside")
	if err := errors.Join(os.Mkdir(dir, 0o750), os.WriteFile(source, content, 0o644), os.WriteFile(outside, []byte("outside"), 0o600)); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if disk == 0 {
		disk = 1 << 30
	}
	f := &fetch{root: root, log: log.New(io.Discard, "", 0), disk: budget{disk, disk}, stall: time.Minute, free: 1 << 20}
	err = f.all(t.Context(), []uri{{Value: source, Extract: true}})
	if b, readErr := os.ReadFile(outside); readErr != nil || string(b) != "outside" {
		t.Fatalf("the file outside is %q, %v", b, readErr)
	}
	if entries, _ := os.ReadDir(top); len(entries) != 3 {
		t.Fatalf("beside the sandbox: %v", entries)
	}
	return dir, err
}

func TestExtract(t *testing.T) {
	tree := tarOf(t, &tar.Header{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o500}, reg("d/file", "content"), reg("/abs", "absolute"), reg("./dot", "dot"),
		link(tar.TypeSymlink, "sym", "d/file"), link(tar.TypeLink, "hard", "d/file"), link(tar.TypeSymlink, "out", "/etc/passwd"), reg("abs", "second"))
	bz, err := base64.StdEncoding.DecodeString(bzipped)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{"d/file": "content", "abs": "second", "dot": "dot", "sym": "content", "hard": "content"}
	for name, c := range map[string]struct {
		content []byte
		want    map[string]string
	}{
		"a.tar":      {tree, all},
		"a.tar.gz":   {gz(tree), all},
		"a.tgz":      {gz(tree), all},
		"a.tar.xz":   {xzOf(t, tree), all},
		"a.txz":      {xzOf(t, tree), all},
		"a.tar.bz2":  {bz, map[string]string{"b/file": "bzip2\n"}},
		"a.tbz2":     {bz, map[string]string{"b/file": "bzip2\n"}},
		"a.txt.gz":   {gz([]byte("text")), map[string]string{"a.txt": "text"}},
		"a.zip":      {zipOf(t, map[string]string{"z/file": "zipped", "z/sym": "-> file", "/abs": "absolute"}), map[string]string{"z/file": "zipped", "z/sym": "zipped", "abs": "absolute"}},
		"a.jar":      {zipOf(t, map[string]string{"x": "y"}), nil},
		"a.TAR":      {tree, nil},
		"tar":        {tree, nil},
		"a.tar.gz.b": {tree, nil},
	} {
		dir, err := unpack(t, name, c.content, 0)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for file, want := range c.want {
			if b, err := os.ReadFile(filepath.Join(dir, file)); err != nil || string(b) != want {
				t.Errorf("%s: %s is %q, %v", name, file, b, err)
			}
		}
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(b, c.content) {
			t.Errorf("%s: the archive itself is not there: %v", name, err)
		}
		if entries, _ := os.ReadDir(dir); c.want == nil && len(entries) != 1 {
			t.Errorf("%s was unpacked: %v", name, entries)
		}
	}
}

func TestModesAndTimes(t *testing.T) {
	run := reg("d/run", "x")
	run.Mode = 0o4751
	dir, err := unpack(t, "a.tar", tarOf(t, &tar.Header{Typeflag: tar.TypeDir, Name: "d", Mode: 0o500, ModTime: time.Unix(1_400_000_000, 0)}, run), 0)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(dir + "/d/run")
	if err != nil || info.Mode() != 0o751 || info.ModTime().Unix() != 1_500_000_000 {
		t.Errorf("file: %v %v %v: no set-user-ID bit, but the time", info.Mode(), info.ModTime(), err)
	}
	info, err = os.Lstat(dir + "/d")
	if err != nil || info.Mode() != fs.ModeDir|0o700 || info.ModTime().Unix() != 1_400_000_000 {
		t.Errorf("directory: %v %v %v: its owner can remove what is in it", info.Mode(), info.ModTime(), err)
	}
}

// TestHostileArchives: each is refused, and nothing outside of the sandbox changes.
func TestHostileArchives(t *testing.T) {
	for name, c := range map[string]struct {
		file    string
		content []byte
		want    string
	}{
		"climbs":                {"a.tar", tarOf(t, reg("../outside", "x")), "not a name inside"},
		"climbs later":          {"a.tar", tarOf(t, reg("a/../../outside", "x")), "not a name inside"},
		"climbs in a zip":       {"a.zip", zipOf(t, map[string]string{"../outside": "x"}), "not a name inside"},
		"through a link":        {"a.tar", tarOf(t, link(tar.TypeSymlink, "l", ".."), reg("l/outside", "x")), "escapes"},
		"through an absolute":   {"a.tar", tarOf(t, link(tar.TypeSymlink, "l", "/tmp"), reg("l/x", "x")), "escapes"},
		"through two links":     {"a.tar", tarOf(t, link(tar.TypeSymlink, "l", "m/.."), link(tar.TypeSymlink, "m", ".."), reg("l/outside", "x")), ""},
		"directory over a link": {"a.tar", tarOf(t, link(tar.TypeSymlink, "l", ".."), &tar.Header{Typeflag: tar.TypeDir, Name: "l/new", Mode: 0o755}), "escapes"},
		"hard link out":         {"a.tar", tarOf(t, link(tar.TypeLink, "l", "../outside")), "not inside the sandbox"},
		"hard link via link":    {"a.tar", tarOf(t, link(tar.TypeSymlink, "l", ".."), link(tar.TypeLink, "h", "l/outside")), "escapes"},
		"zip link":              {"a.zip", zipOf(t, map[string]string{"l": "-> " + strings.Repeat("x", 5000)}), "target is no path"},
		"character device":      {"a.tar", tarOf(t, &tar.Header{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3}), "devices"},
		"block device":          {"a.tar", tarOf(t, &tar.Header{Typeflag: tar.TypeBlock, Name: "sda", Devmajor: 8}), "devices"},
		"pipe":                  {"a.tar", tarOf(t, &tar.Header{Typeflag: tar.TypeFifo, Name: "p"}), "devices"},
		"task output":           {"a.tar", tarOf(t, link(tar.TypeSymlink, "stdout", "/etc/passwd")), "task's output"},
		"task output in a dir":  {"a.tar", tarOf(t, link(tar.TypeSymlink, "x/../stderr", "/etc/passwd")), "task's output"},
		"rotated output":        {"a.tar", tarOf(t, link(tar.TypeSymlink, "stdout.1", "/etc/passwd")), "task's output"},
		"stdout.gz":             {"stdout.gz", gz([]byte("x")), "task's output"},
		"no archive":            {"a.tar.gz", []byte("hello"), "extract a.tar.gz"},
		"cut":                   {"a.tar.gz", gz(tarOf(t, reg("x", strings.Repeat("x", 5000))))[:40], "EOF"},
		"no zip":                {"a.zip", []byte("hello"), "not a valid zip"},
		"no xz":                 {"a.tar.xz", []byte("hello"), "extract a.tar.xz"},
	} {
		_, err := unpack(t, c.file, c.content, 1<<20)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestBombs: what grows beyond all measure is stopped by the ratio, what is only big by
// the task's disk.
func TestBombs(t *testing.T) {
	zeroes := make([]byte, 4<<20) // which shrink a thousandfold
	bomb := gz(zeroes)
	for name, c := range map[string]struct {
		file    string
		content []byte
		disk    int64
		want    error
	}{
		"gz":            {"a.gz", bomb, 0, errBomb},
		"tar.gz":        {"a.tar.gz", gz(tarOf(t, reg("x", string(zeroes)))), 0, errBomb},
		"zip":           {"a.zip", zipOf(t, map[string]string{"x": string(zeroes)}), 0, errBomb},
		"disk":          {"a.gz", bomb, 512 << 10, errDisk},
		"disk by files": {"a.tar", tarOf(t, many(600)...), 2 << 20, errDisk},
	} {
		if _, err := unpack(t, c.file, c.content, c.disk); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func many(n int) []*tar.Header {
	var out []*tar.Header
	for i := range n {
		out = append(out, reg("f"+strings.Repeat("i", i%90)+string(rune('a'+i%26))+strings.Repeat("j", i/90), ""))
	}
	return out
}

// TestBigDictionary: an xz header may ask for a dictionary of 4 GiB; the child's memory
// limit answers, not the machine's.
func TestBigDictionary(t *testing.T) {
	b := xzOf(t, tarOf(t, reg("x", "y")))
	// The dictionary's size is the first property of the block header's LZMA2 filter,
	// behind the stream header (12), header size, flags, filter id and property size.
	const at = 12 + 4
	if b[at-2] != 0x21 || b[at-1] != 1 {
		t.Fatalf("not a block header: % x", b[12:24])
	}
	b[at] = 40
	fixCRC(b[12:24])
	spec := box(t)
	one := u(readable(t, "a.tar.xz", b))
	one.Extract = proto.Bool(true)
	err := (&Fetcher{}).Fetch(t.Context(), with(spec, one))
	// The race detector has its own words for it.
	if err == nil || !strings.Contains(err.Error(), "memory") && !strings.Contains(err.Error(), "failed to allocate") {
		t.Fatal(err)
	}
}

// FuzzExtract: no archive writes outside of the sandbox or beyond its budget.
func FuzzExtract(f *testing.F) {
	tree := tarOf(f, reg("a/b", "x"), link(tar.TypeSymlink, "l", ".."), link(tar.TypeLink, "h", "a/b"))
	f.Add(uint8(tarball), tree)
	f.Add(uint8(tarGzip), gz(tree))
	f.Add(uint8(tarXz), xzOf(f, tree))
	f.Add(uint8(zipped), zipOf(f, map[string]string{"a/b": "x", "l": "-> .."}))
	f.Fuzz(func(t *testing.T, k uint8, content []byte) {
		names := []string{"a.txt", "a.tar", "a.tgz", "a.tbz2", "a.gz", "a.zip"} // xz may take the fuzzer's memory
		dir, _ := unpack(t, names[int(k)%len(names)], content, 1<<20)
		var total int64
		filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				if info, err := d.Info(); err == nil {
					total += info.Size()
				}
			}
			return nil
		})
		// Hard links show a file's size twice.
		if total > 64<<20 {
			t.Fatalf("%d bytes", total)
		}
	})
}

// fixCRC corrects the CRC32 at the end of an xz block header.
func fixCRC(header []byte) {
	n := (int(header[0]) + 1) * 4
	binary.LittleEndian.PutUint32(header[n-4:n], crc32.ChecksumIEEE(header[:n-4]))
}
