package app

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/stoa-kernel/stoa/api/marathon"
)

// fill is a document of about size bytes: tail ends it, and part, or part with a number in
// it, is repeated between.
func fill(size int, head, part, tail string) []byte {
	b := append(make([]byte, 0, size+len(part)+20), head...)
	for i := 0; len(b)+len(part)+len(tail)+10 < size; i++ {
		if strings.Contains(part, "%") {
			b = fmt.Appendf(b, part, i)
		} else {
			b = append(b, part...)
		}
	}
	return append(b, tail...)
}

// TestHostileDocuments: a refusal says what is wrong, says little back, and allocates
// little: of what is too large nothing is built.
func TestHostileDocuments(t *testing.T) {
	const (
		size  = 2 << 20
		large = "is larger than 245760 bytes"
		many  = "the document has too many entries for its size"
	)
	for _, tt := range []struct {
		head, part, tail string
		status           int // 0: it is taken
		says             string
	}{
		{`{"id":"/a","cmd":"`, `x`, `"}`, 422, large},
		{`{"id":"/a","cmd":"`, `\n`, `"}`, 422, large},
		{`{"id":"/a","cmd":"`, "\xff", `"}`, 422, large},
		{`{"id":"/`, `x`, `","cmd":"x"}`, 422, "is longer than 4096 characters"},
		{`{"id":"`, `../`, `","cmd":"x"}`, 422, "is longer than 4096 characters"},
		{`{"id":"`, `a/`, `","cmd":"x"}`, 422, "is longer than 4096 characters"},
		{`{"id":"/a","cmd":"x","user":"`, `x`, `"}`, 422, large},
		{`{"id":"/a","cmd":"x","role":"`, `x`, `"}`, 422, large},
		{`{"id":"/a","cmd":"x","executor":"`, `/a`, `/"}`, 422, large},
		{`{"id":"/a","cmd":"x","cpus":1`, `0`, `}`, 422, large},
		{`{"id":"/a","cmd":"x","version":"`, `x`, `"}`, 422, large},
		{`{"id":"/a","cmd":"x","resourceLimits":{"cpus":"`, `x`, `"}}`, 422, large},
		{`{"id":"/a","cmd":"x","constraints":[["a","LIKE","`, `x{1000}`, `"]]}`, 422, large},
		{`{"id":"/a","cmd":"x","constraints":[["a","x"]`, `,["a%d","LIKE","(x+x+)+"]`, `]}`, 422, large},
		{`{"id":"/a","cmd":"x","env":{"":""`, `,"%x":{"secret":"a"}`, `}}`, 422, large},
		{`{"id":"/a","cmd":"x","secrets":{"":{}`, `,"%x":{"source":""}`, `}}`, 422, large},
		{`{"id":"/a","cmd":"x","labels":{"":""`, `,"%x":""`, `}}`, 422, large},
		{`{"id":"/a","args":["a"`, `,""`, `]}`, 422, large},
		{`{"id":"/a","cmd":"x","ports":[0`, `,%d`, `]}`, 422, large},
		{`{"id":"/a","cmd":"x","uris":["a"`, `,"http://%d"`, `]}`, 422, large},
		{`{"id":"/a","cmd":"x","dependencies":["a"`, `,"b%d"`, `]}`, 422, large},
		{`{"id":"/a","cmd":"x","acceptedResourceRoles":["a"`, `,"b%d"`, `]}`, 422, large},
		{`{"id":"/a","cmd":"x","healthChecks":[{}`, `,{"path":"%d"}`, `]}`, 422, large},
		{`{"id":"/a","cmd":"x","portDefinitions":[{}`, `,{"name":"n%d"}`, `]}`, 422, large},
		{`{"id":"/a","cmd":"x","container":{"volumes":[{}`, `,{"containerPath":"%d"}`, `]}}`, 422, large},
		{`{"id":"/a","cmd":"x","container":{"portMappings":[{}`, `,{"containerPort":%d}`, `]}}`, 422, large},
		{`{"id":"/a","cmd":"x","u":[{}`, `,{"a":[]}`, `]}`, 0, ""},
		{`{"id":"/b","cmd":"x"`, `,"zzzzz":1`, `}`, 0, ""},
		{`{"id":"/c","cmd":"x"`, `,"\u0061":1`, `}`, 0, ""},
		{`{"id":"/d","cmd":"x"`, `,"cmd":"a"`, `}`, 0, ""},
		{`{"id":"/a","cmd":"x","u":[0`, `,1`, ``, 400, "unexpected end of JSON input at line 1, column 20971"},
		{`{"id":"/a","cmd":"x","u":`, "\n", ``, 400, "unexpected end of JSON input at line 2097"},
		{``, `[`, ``, 400, "nested more than 64 levels deep"},
		{`{"apps":[{"id":"a"}`, `,{}`, `]}`, 422, many},
		{`{"apps":[{"id":"a"}`, `,{"id":"a%d"}`, `]}`, 422, many},
		{`{"apps":[{"id":"a"}`, `,{"id":"a%d","cmd":"x","instances":1000000}`, `]}`, 422, many},
		{`{"groups":[{"id":"a"}`, `,{"id":"a"}`, `]}`, 422, many},
		{`{"dependencies":["a"`, `,"b%d"`, `]}`, 422, "is larger than 245760 bytes"},
		{`{"id":"`, `x`, `","apps":[]}`, 422, "is longer than 4096 characters"},
		{`{"apps":[{"id":"a","cmd":"`, `x`, `"},{"id":"B"}]}`, 422, large},
		{`{"version":"`, `x`, `"}`, 400, "error.expected.date.isoformat"},
		{`{"scaleBy":1`, `0`, `}`, 400, "error.expected.jsnumber"},
		{strings.Repeat(`{"groups":[{"id":"a","x":0},`, 30) + `0,[0`, `,0`, `]` + strings.Repeat(`]}`, 30), 400, "error.expected.jsobject"},
	} {
		doc := fill(size, tt.head, tt.part, tt.tail)
		b := newBed(t, wide)
		group := strings.Contains(tt.head, `{"apps"`) || strings.Contains(tt.head, `{"groups"`) ||
			strings.HasPrefix(tt.head, `{"dep`) || strings.HasPrefix(tt.head, `{"scale`) || strings.HasPrefix(tt.head, `{"version`) || strings.Contains(tt.tail, `"apps"`)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		var err error
		if group {
			var d *GroupDraft
			if d, err = DecodeGroup(doc); err == nil {
				_, err = b.UpdateGroup(b.tick(), "/", d, Mode{})
			}
		} else {
			var d *Draft
			if d, err = Decode(doc); err == nil {
				_, err = b.Create(b.tick(), d)
			}
		}
		runtime.ReadMemStats(&after)
		name := tt.head[:min(len(tt.head), 60)] + tt.part
		if took := after.TotalAlloc - before.TotalAlloc; took > 2<<20 {
			t.Errorf("%s: %d KiB for a document of %d", name, took>>10, len(doc)>>10)
		}
		if tt.status == 0 {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		f := refused(t, err)
		if said := string(asJSON(f.Body)); f.Status != tt.status || !strings.Contains(said, tt.says) || len(said) > 8<<10 {
			t.Errorf("%s: %d with %d bytes: %.500s", name, f.Status, len(said), said)
		}
	}
}

// TestLongWords: what is as long as an app may be costs no more than to read it, and is
// not said back.
func TestLongWords(t *testing.T) {
	x := strings.Repeat("x", 200<<10)
	var networks, names []string
	for i := range 2000 {
		networks = append(networks, fmt.Sprintf(`{"mode":"container","name":"n%d%s"}`, i, x[:50]))
		names = append(names, `"a"`)
	}
	var patterns []string
	for i := range 9 {
		patterns = append(patterns, fmt.Sprintf(`["h%d","LIKE","x{999}y{900}"]`, i))
	}
	for _, tt := range []struct{ doc, path, says string }{
		{`"role":"` + x + `"`, "/acceptedResourceRoles", "acceptedResourceRoles can only contain * and xxx"},
		{`"executor":"/` + x + `/"`, "/executor", "is longer than 1024 characters"},
		{`"networks":[{"name":"` + x + `"}]`, "/networks(0)/name", "is longer than 1024 characters"},
		{`"portDefinitions":[{"name":"` + x + `-"}]`, "/portDefinitions(0)/name", "is longer than 1024 characters"},
		{`"uris":["http://` + x + `"]`, "/fetch(0)/uri", "is longer than 1024 characters"},
		{`"constraints":[["a","IS","` + x + `"]]`, "/constraints(0)", "is longer than 1024 characters"},
		{`"constraints":[["a","` + x + `","b"]]`, "/constraints(0)", "is longer than 1024 characters"},
		{`"constraints":[["a","LIKE","` + x + `"]]`, "/constraints(0)", "is longer than 1024 characters"},
		{`"constraints":[` + strings.Join(patterns, ",") + `]`, "/constraints(6)", "the regular expressions come to more than 10000 steps together"},
		{`"constraints":[["0","x"]` + strings.Repeat(`,["a","x"]`, 1) + func() (s string) {
			for i := range 99 {
				s += fmt.Sprintf(`,["%d","UNIQUE"]`, i)
			}
			return s
		}() + `]`, "/constraints", "are more than 100"},
		{`"container":{"type":"MESOS","volumes":[{"containerPath":"a","mode":"RW","persistent":{"type":"mount","size":1,"constraints":[["path","LIKE","` + x + `"]]}}]}`,
			"/container/volumes(0)/persistent/constraints(0)", "is longer than 1024 characters"},
		{`"env":{"` + x + `":{"secret":"s"}}`, "/env/" + x[:995] + "…", "references an undefined secret"},
		{`"resourceLimits":{"cpus":"` + x + `"}`, "/resourceLimits/cpus", "xxx…"},
		{`"networks":[` + strings.Join(networks, ",") + `],"container":{"portMappings":[{"networkNames":[` + strings.Join(names, ",") + `]}]}`,
			"/container/portMappings(0)/networkNames(7)", "is not one of (n0xxx"},
	} {
		b := newBed(t, wide)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		var err error
		d, err := Decode([]byte(`{"id":"/a","cmd":"x","acceptedResourceRoles":["y"],` + tt.doc + `}`))
		if err == nil {
			_, err = b.Create(b.tick(), d)
		}
		runtime.ReadMemStats(&after)
		name := tt.doc[:min(len(tt.doc), 50)]
		if took := after.TotalAlloc - before.TotalAlloc; took > 32<<20 {
			t.Errorf("%s: %d KiB", name, took>>10)
		}
		found, said := false, 0
		for _, v := range refused(t, err).Body.Details.([]marathon.Violation) {
			found = found || v.Path == tt.path && strings.Contains(strings.Join(v.Errors, "\n"), tt.says)
			said = max(said, len(v.Path))
			for _, e := range v.Errors {
				said = max(said, len(e))
			}
		}
		if !found || said > maxSaid+len("…") {
			t.Errorf("%s: %d bytes: %.2000s", name, said, asJSON(err.(*Fault).Body))
		}
	}
}

// TestTheBodyIsNotKept: its memory is gone once it is decoded.
func TestTheBodyIsNotKept(t *testing.T) {
	files, _ := filepath.Glob("testdata/canonical/*.json")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var g golden
		if err := json.Unmarshal(text, &g); err != nil {
			t.Fatal(err)
		}
		o := settings(g.Features)
		body := []byte(`{"apps":[` + string(g.In) + `],"id":"/g","dependencies":["/x"]}`)
		want, err1 := DecodeGroup([]byte(string(body)))
		got, err2 := DecodeGroup(body)
		clear(body)
		if err1 != nil || err2 != nil {
			continue // an app without an id of its own
		}
		a, _ := want.Apps[0].build("/g/a", o)
		b, _ := got.Apps[0].build("/g/a", o)
		if !reflect.DeepEqual(a, b) || got.ID != "/g" || got.Dependencies[0] != "/x" || got.Apps[0].ID != want.Apps[0].ID {
			t.Errorf("%s: %s\nbefore the body was cleared: %s", file, asJSON(b), asJSON(a))
		}
	}
}

func TestAllInstances(t *testing.T) {
	b := newBed(t, wide)
	b.must(b.create(`{"id":"/a","cmd":"x","instances":1000000}`))
	b.must(b.create(`{"id":"/b","cmd":"x","instances":1000000}`))
	b.must(b.create(`{"id":"/agents","cmd":"x","scaling":{"kind":"per-agent"}}`))
	b.must(b.Scale(b.tick(), map[string]int{"/agents": 5000})) // theirs do not count
	b.refused(422, "makes 2000001 instances of all apps, which is more than 2000000")(b.create(`{"id":"/c","cmd":"x","instances":1}`))
	b.must(b.Scale(b.tick(), map[string]int{"/a": 0}))
	b.must(b.create(`{"id":"/c","cmd":"x","instances":1}`))
	b.refused(422, "makes 2000001 instances")(b.Scale(b.tick(), map[string]int{"/a": 1_000_000}))
	b.must(b.Delete(b.tick(), "/b"))
	if b.instances != 1 {
		t.Errorf("%d instances are counted", b.instances)
	}
	// What was stored before the rule may shrink.
	b.Load(b.Version(), []*marathon.App{
		{ID: "/old", Instances: 3_000_000, UpgradeStrategy: marathon.UpgradeStrategy{}, UnreachableStrategy: unreachableDefault(&marathon.App{}, b.o), Cmd: new(string), CPUs: 1, BackoffFactor: 1, Role: "*"},
	}, nil)
	b.must(b.Scale(b.tick(), map[string]int{"/c": 0}))
	b.must(b.Delete(b.tick(), "/old"))
	if b.instances != 0 {
		t.Errorf("%d instances are counted", b.instances)
	}
}
