package app

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stoa-kernel/stoa/api/marathon"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden is a document and the definition it makes, alone or on top of an old one.
type golden struct {
	Why      string          `json:"why"`
	Features []string        `json:"features,omitempty"`
	Old      json.RawMessage `json:"old,omitempty"`
	In       json.RawMessage `json:"in"`
	Out      json.RawMessage `json:"out,omitempty"`
}

func settings(features []string) Options {
	o := Options{DefaultNetwork: "default-net", Features: map[string]bool{}}
	for _, f := range features {
		o.Features[f] = true
	}
	return o
}

func decode(t testing.TB, doc []byte) *Draft {
	t.Helper()
	d, err := Decode(doc)
	if err != nil {
		t.Fatalf("%s: %s", doc, asJSON(err.(*Fault).Body))
	}
	return d
}

func asJSON(v any) []byte {
	b, _ := json.MarshalIndent(v, "", "  ")
	return b
}

// definition builds a document that is to be right.
func definition(t testing.TB, doc []byte, o Options) *marathon.App {
	t.Helper()
	d := decode(t, doc)
	a, wrong := d.build(Path(d.ID, "/"), o)
	if wrong = append(wrong, validate(withRoot(a), o)...); len(wrong) > 0 {
		t.Fatalf("%s: %s", doc, asJSON(wrong))
	}
	return a
}

// withRoot is a with its dependencies made absolute, as the tree does.
func withRoot(a *marathon.App) *marathon.App {
	resolve(a, "/")
	return a
}

func TestCanonical(t *testing.T) {
	files, _ := filepath.Glob("testdata/canonical/*.json")
	if len(files) < 30 {
		t.Fatalf("%d files", len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var g golden
			if err := json.Unmarshal(b, &g); err != nil {
				t.Fatal(err)
			}
			o := settings(g.Features)
			var a *marathon.App
			if g.Old == nil {
				a = definition(t, g.In, o)
			} else {
				old := definition(t, g.Old, o)
				before := old.Clone()
				var wrong []marathon.Violation
				a, wrong = decode(t, g.In).merge(old, o)
				if wrong = append(wrong, validate(a, o)...); len(wrong) > 0 {
					t.Fatalf("%s", asJSON(wrong))
				}
				if !reflect.DeepEqual(old, before) {
					t.Error("merging changed what was there")
				}
			}
			out := asJSON(a)
			if *update {
				g.Out = out
				var b bytes.Buffer
				e := json.NewEncoder(&b)
				e.SetEscapeHTML(false)
				e.SetIndent("", "  ")
				if err := e.Encode(g); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if want := indented(t, g.Out); string(out) != want {
				t.Errorf("%s: got\n%s\nwant\n%s", g.Why, out, want)
			}
			stays(t, a, o)
		})
	}
}

func indented(t *testing.T, raw []byte) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// stays checks that a definition survives being copied, stored, and sent back.
func stays(t testing.TB, a *marathon.App, o Options) {
	t.Helper()
	if c := a.Clone(); !reflect.DeepEqual(a, c) || !sameConfig(a, c) || needsRestart(a, c) {
		t.Error("a copy differs")
	}
	b := asJSON(a)
	var stored marathon.App
	if err := json.Unmarshal(b, &stored); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a, &stored) {
		t.Errorf("stored: %s\nread: %s", b, asJSON(&stored))
	}
	sent := decode(t, b)
	if again, wrong := sent.build(a.ID, o); len(wrong) > 0 || !sameConfig(withRoot(again), a) {
		t.Errorf("sent back as a whole: %s\n%s", asJSON(again), asJSON(wrong))
	}
	if again, wrong := sent.merge(a, o); len(wrong) > 0 || !reflect.DeepEqual(again, a) {
		t.Errorf("sent back as an update: %s\n%s", asJSON(again), asJSON(wrong))
	}
}
