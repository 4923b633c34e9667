package procfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadAndWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if _, err := Read(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("read what is not there: %v", err)
	}
	for _, text := range []string{"1", "", strings.Repeat("long ", 1000), "short"} {
		if err := Write(path, text); err != nil {
			t.Fatal(err)
		}
		if b, err := Read(path); err != nil || string(b) != text {
			t.Errorf("got %q %v, want %q", b, err, text)
		}
	}
	if err := Write(filepath.Join(path, "below"), "1"); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("wrote below a file: %v", err)
	}
	if _, err := Read(t.TempDir()); err == nil {
		t.Error("read a directory")
	}
	// Files that claim to be empty.
	want, err := os.ReadFile("/proc/self/limits")
	if b, err2 := Read("/proc/self/limits"); err != nil || err2 != nil || string(b) != string(want) {
		t.Errorf("got %q %v %v", b, err, err2)
	}
}
