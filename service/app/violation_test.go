package app

import (
	"encoding/json"
	"os"
	"reflect"
	"testing"

	"github.com/stoa-kernel/stoa/api/marathon"
)

// row of the table of every rule: a document and all that is wrong with it.
type row struct {
	Section  string          `json:"section"`
	Features []string        `json:"features"`
	Old      json.RawMessage `json:"old"` // what the document updates
	JSON     json.RawMessage `json:"json"`
	Status   int             `json:"status"` // 422 unless given
	Path     string          `json:"path"`
	Message  string          `json:"message"`
	All      []problem       `json:"all"` // if there is more than one
}

type problem struct {
	Path    string `json:"path"`
	Message string `json:"message"`
}

func TestViolations(t *testing.T) {
	b, err := os.ReadFile("testdata/violations.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []row
	if err := json.Unmarshal(b, &rows); err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if r.Section != "" {
			continue
		}
		want := r.All
		if r.Path != "" {
			want = []problem{{r.Path, r.Message}}
		}
		status := r.Status
		if status == 0 {
			status = 422
		}
		f := r.judge(t)
		if f == nil {
			t.Errorf("%s: nothing is wrong with it", r.JSON)
			continue
		}
		var got []problem
		for _, v := range f.Body.Details.([]marathon.Violation) {
			for _, e := range v.Errors {
				got = append(got, problem{v.Path, e})
			}
		}
		if f.Status != status || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %d %s\nwant %d %s", r.JSON, f.Status, asJSON(got), status, asJSON(want))
		}
	}
}

// judge does what the tree does with a document.
func (r row) judge(t *testing.T) *Fault {
	o := settings(r.Features)
	if o.Features["no-default-network"] {
		o.DefaultNetwork = ""
	}
	if o.Features["executor"] {
		o.Executor = "/bin/mine"
	}
	d, err := Decode(r.JSON)
	if err != nil {
		return err.(*Fault)
	}
	var a *marathon.App
	var wrong []marathon.Violation
	if r.Old == nil {
		a, wrong = d.build(Path(d.ID, "/"), o)
	} else {
		a, wrong = d.merge(definition(t, r.Old, o), o)
	}
	all := violations{}
	all.below("", wrong)
	all.below("", validate(withRoot(a), o))
	if len(all.list) == 0 {
		return nil
	}
	return invalid(all.list)
}

// A rule that is new says nothing of what was stored before it: such an app is loaded, and
// goes or is mended.
func TestStoredBeforeTheRule(t *testing.T) {
	b := newBed(t)
	stored := definition(t, []byte(app("/old")), b.o)
	stored.Fetch = []marathon.Artifact{{URI: "http://a/b", DestPath: "../b"}}
	b.Load("2020-01-01T00:00:00.000Z", []*marathon.App{stored}, nil)
	if a := b.App("/old"); a == nil || a.Fetch[0].DestPath != "../b" {
		t.Fatalf("%+v", a)
	}
	b.refused(422, "must name a file in the sandbox")(b.update(`[{"id":"/old","instances":3}]`, Mode{}))
	b.must(b.update(`[{"id":"/old","fetch":[{"uri":"http://a/b","destPath":"b"}]}]`, Mode{}))
	b.must(b.Delete(b.tick(), "/old"))
}
