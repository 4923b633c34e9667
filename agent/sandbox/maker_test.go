package sandbox

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stoa-kernel/stoa/internal/account"
)

// TestMaker: a sandbox looks the same whether it was made in advance or not; nothing is
// left of what was.
func TestMaker(t *testing.T) {
	work := place(t)
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	owner, err := account.Lookup(someone())
	if err != nil {
		t.Fatal(err)
	}
	crashed := filepath.Join(work, stock, "7/runs")
	if err := os.MkdirAll(crashed, 0o755); err != nil {
		t.Fatal(err)
	}
	m, err := NewMaker(work)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(crashed); err == nil {
		t.Error("what a crashed agent had made is there")
	}
	if err := m.Fill(); err != nil {
		t.Fatal(err)
	}
	if len(m.ready) != ahead {
		t.Fatalf("ready are %v", m.ready)
	}
	executors := filepath.Join(work, "slaves/S0/frameworks/F1/executors")
	for _, c := range []struct {
		executor, container string
		advance             bool
	}{
		{"a", "c1", true},
		{"a", "c2", false}, // the executor's directory is there
		{"b", "c1", false}, // both are used
	} {
		path := filepath.Join(executors, c.executor, "runs", c.container)
		if err := m.Create(path, someone()); err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		st := info.Sys().(*syscall.Stat_t)
		if info.Mode() != fs.ModeDir|0o750 || st.Uid != owner.UID || st.Gid != owner.GID {
			t.Errorf("%s: %v, uid %d", path, info.Mode(), st.Uid)
		}
		if target, err := os.Readlink(filepath.Join(executors, c.executor, "runs/latest")); err != nil || target != c.container {
			t.Errorf("%s: latest is %q, %v", path, target, err)
		}
		if out, err := os.Lstat(filepath.Join(path, "stdout")); (err == nil) != c.advance || err == nil && (out.Mode() != 0o644 || out.Size() != 0) {
			t.Errorf("%s: stdout %v %v", path, out, err)
		}
	}
	if left, err := os.ReadDir(filepath.Join(work, stock)); err != nil || len(left) > 0 || len(m.ready) > 0 {
		t.Errorf("left are %v %v %v", left, m.ready, err)
	}
	for _, path := range []string{work + "/x", box(work, "latest")} {
		if err := m.Create(path, ""); err == nil {
			t.Errorf("made %s", path)
		}
	}
	if err := m.Create(box(work, "c"), "no-such-user"); err == nil {
		t.Error("made a sandbox of nobody's")
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(work, stock)); err == nil {
		t.Error("left the directory of what is ready")
	}
}
