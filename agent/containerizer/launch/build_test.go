package launch

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestInitIsBuiltFromItsSources builds the init again. Under the release of Go it was
// built with, the bytes must be the same; under another one, the sources.
func TestInitIsBuiltFromItsSources(t *testing.T) {
	out := t.TempDir()
	build := exec.Command("sh", "build.sh")
	build.Env = append(os.Environ(), "OUT="+out)
	if b, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build.sh: %v\n%s", err, b)
	}
	from := func(dir string) []string {
		b, err := os.ReadFile(filepath.Join(dir, "built-from"))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(string(b))
	}
	was, is := from("bin"), from(out)
	if len(was) != 2 || len(is) != 2 || was[1] != is[1] {
		t.Fatalf("the init's sources changed (%v, now %v): run go generate in agent/containerizer/launch", was, is)
	}
	if was[0] != is[0] {
		t.Logf("built with %s, this is %s: the bytes are not compared", was[0], is[0])
		return
	}
	for _, arch := range []string{"amd64", "arm64"} {
		a, err := os.ReadFile("bin/init-linux-" + arch)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(out, "init-linux-"+arch))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("init-linux-%s is not what its sources give: run go generate in agent/containerizer/launch", arch)
		}
		if arch == runtime.GOARCH && program != string(b) {
			t.Errorf("what is embedded is not bin/init-linux-%s", arch)
		}
	}
}
