package failpoint

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// TestMain doubles as the process that dies: with an argument it passes two places and
// ends with status 7.
func TestMain(m *testing.M) {
	if os.Getenv("FAILPOINT_CHILD") == "" {
		os.Exit(m.Run())
	}
	for range 2 {
		Here(BeforeGo)
		Here(AfterGo)
	}
	os.Stdout.WriteString("passed")
	os.Exit(7)
}

func TestHere(t *testing.T) {
	for _, c := range []struct {
		value string
		dies  bool
	}{
		{"", false},
		{"before-go", true},
		{"after-go:2", true},
		{"after-go:3", false},
		{"after-fork", false},
	} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "FAILPOINT_CHILD=1", Variable+"="+c.value)
		out, err := cmd.Output()
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			t.Fatalf("%q: %v", c.value, err)
		}
		status := exit.Sys().(syscall.WaitStatus)
		if died := status.Signaled() && status.Signal() == syscall.SIGKILL; died != c.dies {
			t.Errorf("%q: %v, output %q; should it die: %v", c.value, status, out, c.dies)
		}
	}
}

func TestParse(t *testing.T) {
	for value, want := range map[string]string{
		"":              "",
		"before-go":     "",
		"before-go:12":  "",
		"before-go:0":   "positive number",
		"before-go:x":   "positive number",
		"beforego":      "no such failpoint; there are before-launch-record, ",
		"before-go:1:1": "positive number",
	} {
		_, err := parse(value)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", value, err, want)
		}
	}
}

func BenchmarkHere(b *testing.B) {
	for b.Loop() {
		Here(BeforeGo)
	}
}
