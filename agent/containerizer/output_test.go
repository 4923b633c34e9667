package containerizer

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOutputIsRotated(t *testing.T) {
	const size = 64 << 10
	r := newRig(t, func(c *Config) { c.LogSize, c.LogCount = size, 4 })
	const last = 100_000
	s := r.spec(fmt.Sprintf("seq 1 %d; echo once >&2", last))
	if e := r.run(s); wait(e) != 0 {
		t.Fatalf("got %+v", e)
	}
	var text strings.Builder
	for _, name := range []string{"stdout.3", "stdout.2", "stdout.1", "stdout"} {
		part := r.read(s.ID, name)
		if len(part) > size || name != "stdout" && len(part) != size {
			t.Errorf("%s has %d bytes", name, len(part))
		}
		text.WriteString(part)
	}
	// The parts are one text, from somewhere to the end.
	lines := strings.Split(strings.TrimSpace(text.String()), "\n")[1:]
	for i, line := range lines {
		if want := strconv.Itoa(last - len(lines) + 1 + i); line != want {
			t.Fatalf("line %d of the last %d: %q, want %q", i, len(lines), line, want)
		}
	}
	if _, err := os.Stat(filepath.Join(s.Sandbox, "stdout.4")); !missing(err) {
		t.Errorf("a fifth file: %v", err)
	}
	if got := r.read(s.ID, "stderr"); got != "once\n" {
		t.Errorf("stderr %q", got)
	}
}

func TestOutputBelowTheBoundIsWhole(t *testing.T) {
	r := newRig(t, func(c *Config) { c.LogSize, c.LogCount = 64<<20, 1 })
	s := r.spec("head -c 30000000 /dev/zero; head -c 10000000 /dev/zero >&2 & wait")
	if e := r.run(s); wait(e) != 0 {
		t.Fatalf("got %+v", e)
	}
	for name, want := range map[string]int64{"stdout": 30_000_000, "stderr": 10_000_000} {
		if st, err := os.Stat(filepath.Join(s.Sandbox, name)); err != nil || st.Size() != want {
			t.Errorf("%s: %+v %v, want %d bytes", name, st, err, want)
		}
	}
}

func TestOneFileIsBoundedToo(t *testing.T) {
	r := newRig(t, func(c *Config) { c.LogSize, c.LogCount = 4096, 1 })
	s := r.spec("head -c 1000000 /dev/zero; echo last")
	if e := r.run(s); wait(e) != 0 {
		t.Fatalf("got %+v", e)
	}
	out := r.read(s.ID, "stdout")
	if len(out) > 4096 || !strings.HasSuffix(out, "last\n") {
		t.Errorf("%d bytes, the last %q", len(out), out[max(0, len(out)-10):])
	}
	entries, err := os.ReadDir(s.Sandbox)
	if err != nil || len(entries) != 2 {
		t.Errorf("files %v %v", entries, err)
	}
}

// TestOutputFollowsNoLink: what a fetched archive put under the names of the output is
// not written to.
func TestOutputFollowsNoLink(t *testing.T) {
	r := newRig(t)
	precious := filepath.Join(r.root, "precious")
	if err := os.WriteFile(precious, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := r.spec("echo out; echo err >&2")
	if err := os.Symlink(precious, filepath.Join(s.Sandbox, "stdout")); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(precious, filepath.Join(s.Sandbox, "stderr")); err != nil {
		t.Fatal(err)
	}
	if e := r.run(s); wait(e) != 0 {
		t.Fatalf("got %+v", e)
	}
	if b, err := os.ReadFile(precious); err != nil || string(b) != "precious" {
		t.Errorf("a file outside the sandbox was written to: %q %v", b, err)
	}
	if out, err := r.read(s.ID, "stdout"), r.read(s.ID, "stderr"); out != "out\n" || err != "err\n" {
		t.Errorf("stdout %q, stderr %q", out, err)
	}

	// A pipe nobody reads must not hold the task up.
	s = r.spec("echo out")
	if err := unix.Mkfifo(filepath.Join(s.Sandbox, "stdout"), 0o666); err != nil {
		t.Fatal(err)
	}
	if out := r.output(s); out != "out" {
		t.Errorf("stdout %q", out)
	}
}

// TestFetchersLinesStay: the files may be there before the task.
func TestFetchersLinesStay(t *testing.T) {
	r := newRig(t)
	s := r.spec("echo task >&2")
	if err := os.WriteFile(filepath.Join(s.Sandbox, "stderr"), []byte("fetch: done\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if e := r.run(s); wait(e) != 0 {
		t.Fatalf("got %+v", e)
	}
	if got := r.read(s.ID, "stderr"); got != "fetch: done\ntask\n" {
		t.Errorf("stderr %q", got)
	}
}

// TestFullDisk: it stops neither the task nor the record. Without root there is no disk
// to fill, and the same has to hold for one with room.
func TestFullDisk(t *testing.T) {
	r := newRig(t)
	s := r.spec("head -c 5000000 /dev/zero; exit 3")
	if os.Geteuid() == 0 {
		if err := unix.Mount("none", s.Sandbox, "tmpfs", 0, "size=1m,mode=755"); err != nil {
			t.Fatal(err)
		}
		defer unix.Unmount(s.Sandbox, unix.MNT_DETACH)
	}
	if e := r.run(s); !e.Known || wait(e) != 3<<8 {
		t.Errorf("got %+v", e)
	}
}

func TestOutputOutlivesTheAgent(t *testing.T) {
	r := newRig(t)
	s := r.spec("echo before; read x <gate; echo after; head -c 300000 /dev/zero | tr '\\0' x >&2")
	open := pipe(t, s)
	forked, started := r.begin(s)
	if err := r.n.Close(); err != nil {
		t.Fatal(err)
	}
	fd := pin(t, forked.Pid)
	open()
	finished(t, fd)
	clear(r.queues)
	r.start()
	r.n.Adopt(live(forked, started, s))
	if e := r.end(s.ID); wait(e) != 0 {
		t.Errorf("got %+v", e)
	}
	if out, err := r.read(s.ID, "stdout"), r.read(s.ID, "stderr"); out != "before\nafter\n" || len(err) != 300000 {
		t.Errorf("stdout %q, %d bytes of stderr", out, len(err))
	}
}
