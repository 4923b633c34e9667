// Package e2e runs the built program as a user does: real processes, real sandboxes, kill -9.
package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// bin holds the programs, built once.
var bin string

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(func() int {
		var err error
		// Not t.TempDir: tasks of other users pass through, and paths of sockets are short.
		if bin, err = os.MkdirTemp("", "e2e"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(bin)
		build := exec.Command("go", "build", "-o", bin+"/", "./cmd/stoa", "./examples/wordcount", "./test/e2e/victim", "./test/e2e/webserver", "./test/e2e/checked")
		build.Dir, build.Stdout, build.Stderr = "../..", os.Stdout, os.Stderr
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if err := build.Run(); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", strings.Join(build.Args, " "), err)
			return 1
		}
		if err := os.Chmod(bin, 0o755); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}
