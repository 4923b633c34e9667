package e2e

import (
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// volatile is what differs from run to run, and what golden files have instead.
var volatile = []struct {
	what *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "UUID"},
	{regexp.MustCompile(`\b([a-z]+)-[0-9a-f]{8}\b`), "$1-ID"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "127.0.0.1:PORT"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z`), "TIME"},
	{regexp.MustCompile(`\b(\d+(\.\d+)?[hms])+\b`), "AGE"},
	{regexp.MustCompile(`process \d+`), "process PID"},
	{regexp.MustCompile(`/tmp/(stoa|e2e)\d+`), "/TMP"},
	{regexp.MustCompile(`(?m) +$`), ""},
	{regexp.MustCompile(`(\S) {2,}`), "$1  "}, // columns are as wide as what is in them
}

func normal(text string) string {
	for _, v := range volatile {
		text = v.what.ReplaceAllString(text, v.with)
	}
	return text
}

// me is the user of the test, for golden files that were made by root.
func me(t *testing.T) string {
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return u.Username
}

// golden compares what a command said with a file below testdata.
func golden(t *testing.T, name string, r result) {
	t.Helper()
	got := normal(r.out)
	if !root {
		got = strings.NewReplacer("LIMITS  none", "LIMITS  cgroups", "  none  ", "  cgroups  ", "limits: none", "limits: cgroups", `"limits": "none"`, `"limits": "cgroups"`, me(t), "root").Replace(got)
	}
	if r.err != "" {
		got += "--- stderr\n" + normal(r.err)
	}
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (go test ./test/e2e -update writes it)", err)
	}
	if got != string(want) {
		t.Errorf("%s is not as in %s:\n%s\nwant\n%s", name, file, strings.TrimSpace(got), strings.TrimSpace(string(want)))
	}
}
