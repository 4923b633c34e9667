package app

import (
	"encoding/json"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/stoa-kernel/stoa/api/marathon"
)

func refused(t *testing.T, err error) *Fault {
	t.Helper()
	f, ok := err.(*Fault)
	if !ok {
		t.Fatalf("not refused: %v", err)
	}
	return f
}

func TestNotJSON(t *testing.T) {
	for doc, details := range map[string]string{
		``:                             "unexpected end of JSON input at line 1, column 1",
		`{`:                            "unexpected end of JSON input at line 1, column 1",
		"{\n \"id\": x}":               "invalid character 'x' looking for beginning of value at line 2, column 8",
		`{"id":"/a"} {}`:               "invalid character '{' after top-level value at line 1, column 13",
		`{"id":"/a`:                    "unexpected end of JSON input at line 1, column 9",
		`{"cpus":01}`:                  "invalid character '1' after object key:value pair at line 1, column 10",
		strings.Repeat(`{"a":[`, 1000): "nested more than 64 levels deep at line 1, column 193",
	} {
		_, err := Decode([]byte(doc))
		f := refused(t, err)
		if f.Status != 400 || f.Body.Message != "Invalid JSON" || f.Body.Details != details {
			t.Errorf("%.40s: %d %s", doc, f.Status, asJSON(f.Body))
		}
	}
}

func TestDepth(t *testing.T) {
	nested := func(levels int) []byte {
		return []byte(`{"id":"/a","cmd":"[[[[[","x":` + strings.Repeat("[", levels-1) + strings.Repeat("]", levels-1) + `}`)
	}
	if _, err := Decode(nested(64)); err != nil {
		t.Errorf("64 levels: %v", err)
	}
	if _, err := Decode(nested(65)); refused(t, err).Status != 400 {
		t.Errorf("65 levels: %v", err)
	}
}

func TestText(t *testing.T) {
	d := decode(t, []byte("\xef\xbb\xbf { \"\\u0069d\" : \"/a\\u002fb\" , \"cmd\":\"\\ud83d\\ude00 \\\"[{\\\\\", \"user\":\"\xff\", \"cmd\" : \"last\" , \"nothing\":[{}] }"))
	if d.ID != "/a/b" || *d.cmd != "last" || *d.user != "\ufffd" {
		t.Errorf("%q %q %q", d.ID, *d.cmd, *d.user)
	}
}

func TestDecodeList(t *testing.T) {
	drafts, err := DecodeList([]byte(` [ {"id":"/a"}, {"id":"b","cpus":2} ] `))
	if err != nil || len(drafts) != 2 || drafts[1].ID != "b" || *drafts[1].cpus != 2 {
		t.Errorf("%v %v", drafts, err)
	}
	for doc, want := range map[string]string{
		`{}`:             "/ error.expected.jsarray",
		`[{"cmd":"a"}]`:  "(0)/id error.path.missing",
		`[{"id":"a"},5]`: "(1) error.expected.jsobject",
		`[{"id":"a"},{"id":"b",` + `"healthChecks":[{"port":""}]}]`: "(1)/healthChecks(0)/port error.expected.jsnumber",
	} {
		_, err := DecodeList([]byte(doc))
		if f := refused(t, err); f.Status != 400 || problems(f) != want {
			t.Errorf("%s: %d %s", doc, f.Status, problems(f))
		}
	}
}

func problems(f *Fault) string {
	var all []string
	list, _ := f.Body.Details.([]marathon.Violation)
	for _, v := range list {
		all = append(all, v.Path+" "+strings.Join(v.Errors, "; "))
	}
	return strings.Join(all, ", ")
}

func TestDecodeGroup(t *testing.T) {
	g, err := DecodeGroup([]byte(`{"id":"/g","dependencies":["/h","/h"],"enforceRole":true,
		"apps":[{"id":"a","cmd":"x"}],"groups":[{"id":"sub","apps":[]},{"id":"empty"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if g.ID != "/g" || !g.HasApps || !g.HasGroups || !g.HasDeps || !*g.EnforceRole || len(g.Dependencies) != 1 {
		t.Errorf("%+v", g)
	}
	if len(g.Apps) != 1 || *g.Apps[0].cmd != "x" || len(g.Groups) != 2 {
		t.Errorf("%+v", g)
	}
	if sub, empty := g.Groups[0], g.Groups[1]; !sub.HasApps || sub.HasGroups || empty.HasApps || empty.HasDeps {
		t.Errorf("%+v %+v", sub, empty)
	}
	if g, err := DecodeGroup([]byte(`{"scaleBy":1.5}`)); err != nil || *g.ScaleBy != 1.5 {
		t.Errorf("%+v %v", g, err)
	}
	if g, err := DecodeGroup([]byte(`{"version":"2020-01-02T04:00:00.1234+01:00"}`)); err != nil || g.Version != "2020-01-02T03:00:00.123Z" {
		t.Errorf("%+v %v", g, err)
	}
	const alone = "not allowed in conjunction with other properties."
	for doc, want := range map[string]string{
		`{"scaleBy":2,"apps":[]}`:                           "422 /scaleBy " + alone,
		`{"scaleBy":-1}`:                                    "422 /scaleBy is less than 0.0",
		`{"version":"2020-01-01T00:00:00Z","groups":[]}`:    "422 /version " + alone,
		`{"groups":[{"id":"a","scaleBy":1,"apps":[]}]}`:     "422 /groups(0)/scaleBy " + alone,
		`{"scaleBy":"2"}`:                                   "400 /scaleBy error.expected.jsnumber",
		`{"groups":[{}]}`:                                   "400 /groups(0)/id error.path.missing",
		`{"groups":[{"id":"a","apps":[{"id":1}]}]}`:         "400 /groups(0)/apps(0)/id error.expected.jsstring, /groups(0)/apps(0)/id error.path.missing",
		`{"apps":[{}],"enforceRole":1}`:                     "400 /enforceRole error.expected.jsboolean, /apps(0)/id error.path.missing",
		`[]`:                                                "400 / error.expected.jsobject",
		`{"version":"2020-01-01T00:00:00Z","scaleBy":1}`:    "422 /version " + alone + ", /scaleBy " + alone,
		`{"dependencies":"/a","groups":5,"apps":{"a":"b"}}`: "400 /dependencies error.expected.jsarray, /apps error.expected.jsarray, /groups error.expected.jsarray",
	} {
		_, err := DecodeGroup([]byte(doc))
		if f := refused(t, err); fmt.Sprint(f.Status, " ", problems(f)) != want {
			t.Errorf("%s: %d %s", doc, f.Status, problems(f))
		}
	}
}

func TestVersion(t *testing.T) {
	for doc, want := range map[string]marathon.Version{
		`{"version":"2014-09-12T23:28:21.737Z"}`:             "2014-09-12T23:28:21.737Z",
		`{"id":"/a","version":"2014-09-12T23:28:21Z"}`:       "2014-09-12T23:28:21.000Z",
		`{"version":"2014-09-12T23:28:21.737Z","x":1}`:       "2014-09-12T23:28:21.737Z",
		`{"version":"2014-09-12T23:28:21.737Z","cpus":null}`: "2014-09-12T23:28:21.737Z",
		`{"version":"2014-09-12T23:28:21.737Z","cpus":1}`:    "",
		`{"version":null}`: "",
	} {
		if d := decode(t, []byte(doc)); d.Version != want {
			t.Errorf("%s: %q", doc, d.Version)
		}
	}
	// What GET answered may come back as a whole.
	d := decode(t, []byte(`{"id":"/a","cmd":"x","version":"2014-09-12T23:28:21.737Z"}`))
	if _, wrong := d.build("/a", Options{}); len(wrong) > 0 {
		t.Errorf("%v", wrong)
	}
}

// What is hostile costs no more than it may.
func TestMemory(t *testing.T) {
	const size = 3 << 20
	const most = freeCost + (costPerByte+3)*size
	long := func(head, body, tail string) []byte {
		return []byte(head + strings.Repeat(body, (size-len(head)-len(tail))/len(body)) + tail)
	}
	each := map[string][]byte{
		"unknown objects": long(`{"id":"/a","cmd":"x","u":[{}`, `,{"a":[]}`, `]}`),
		"unknown fields":  long(`{"id":"/a","cmd":"x"`, `,"zzzzz":1`, `}`),
		"wrong elements":  long(`{"args":[1`, `,1`, `]}`),
		"arguments":       long(`{"args":[""`, `,""`, `]}`),
		"constraints":     long(`{"constraints":[[]`, `,[]`, `]}`),
		"checks":          long(`{"healthChecks":[{}`, `,{}`, `]}`),
		"volumes":         long(`{"container":{"volumes":[{}`, `,{}`, `]}}`),
		"mappings":        long(`{"container":{"portMappings":[{}`, `,{}`, `]}}`),
		"nested":          long(``, `[`, ``),
		"a string":        long(`{"cmd":"`, `x`, `"}`),
		"a number":        long(`{"cpus":1`, `0`, `}`),
		"blank":           long(`{"cmd":`, ` `, `1}`),
		"backslashes":     long(`{"x":"`, `\\`, `"}`),
		"open":            long(`{"x":"`, `\"`, ``),
	}
	each["apps"] = long(`{"apps":[{"id":"a"}`, `,{"id":"a"}`, `]}`)
	each["groups"] = long(`{"groups":[{"id":"a"}`, `,{"id":"a"}`, `]}`)
	each["labels"] = func() []byte {
		b := []byte(`{"labels":{"":""`)
		for i := 0; len(b) < size; i++ {
			b = fmt.Appendf(b, `,"%x":""`, i)
		}
		return append(b, '}', '}')
	}()
	for name, doc := range each {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Decode(doc)
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > most {
				t.Errorf("%d MiB for an app (%v)", used>>20, err)
			}
			_, err = DecodeGroup(doc)
			runtime.ReadMemStats(&before)
			if used := before.TotalAlloc - after.TotalAlloc; used > most {
				t.Errorf("%d MiB for a group (%v)", used>>20, err)
			}
		})
	}
}

func TestTooMuch(t *testing.T) {
	_, err := DecodeGroup([]byte(`{"apps":[` + strings.Repeat(`{},`, 1_000_000) + `{}]}`))
	if f := refused(t, err); f.Status != 422 || f.Body.Message != "the document has too many entries for its size; send it in parts" {
		t.Errorf("%d %s", f.Status, asJSON(f.Body))
	}
	_, err = Decode([]byte(`{"args":[` + strings.Repeat(`1,`, 1000) + `1]}`))
	if f := refused(t, err); len(f.Body.Details.([]marathon.Violation)) != maxProblems {
		t.Errorf("%d problems", len(f.Body.Details.([]marathon.Violation)))
	}
	a, _ := decode(t, []byte(`{"cmd":"`+strings.Repeat("x", maxSize)+`"}`)).build("/a", Options{})
	if wrong := validate(a, Options{}); len(wrong) != 1 || !strings.Contains(wrong[0].Errors[0], "larger than 245760 bytes") {
		t.Errorf("%v", wrong)
	}
	a, _ = decode(t, []byte(`{"cmd":"x","fetch":[`+strings.Repeat(`{"uri":"%"},`, 1000)+`{"uri":"a"}]}`)).build("/a", Options{})
	if wrong := validate(a, Options{}); len(wrong) != maxViolations {
		t.Errorf("%d violations", len(wrong))
	}
	// 10,000 apps of ordinary size fit.
	one := `{"id":"a","cmd":"x","labels":{"a":"b","c":"d"},"env":{"a":"b"},"constraints":[["a","UNIQUE"]],"healthChecks":[{}]}`
	if _, err := DecodeGroup([]byte(`{"apps":[` + strings.Repeat(one+",", 9999) + one + `]}`)); err != nil {
		t.Error(err)
	}
}

func TestArchive(t *testing.T) {
	for uri, want := range map[string]bool{
		"http://a/b.tar": true, "http://a/b.tar.gz": true, "http://a/b.tar.bz2": true, "http://a/b.tar.xz": true,
		"http://a/b.gz": true, "http://a/b.tgz": true, "http://a/b.tbz2": true, "http://a/b.txz": true,
		"http://a/b.zip?v=1#x": true, "http://a/b.bz2": false, "http://a/b": false, "http://a/b?c=d.zip": false,
		"http://a/zip": false, "%": false,
	} {
		if archive(uri) != want {
			t.Errorf("%s: %v", uri, !want)
		}
	}
}

func TestURI(t *testing.T) {
	for uri, want := range map[string]bool{
		"http://a/b": true, "http://u:p@a:80/b?c=d#e": true, "hdfs://a/b%20c": true, "file:///etc/x": true,
		"/etc/x": true, "x.tgz": true, "mailto:a": true, "http://[::1]:80/x": true, "s3n://b/ö": true, "a/b:c": true,
		"http://a/?x=[1]": true, "svn+ssh://a": true, "//a/b": true, "#x": true, "docker:///x": true,
		"http://a b": false, "http://a/b c": false, "http://a/%zz": false, "http://a/%2": false, "::": false, ":a": false,
		"1:2": false, "http:": false, "http://": false, "http://?": false, "http://[::1/x": false, "http://a]/x": false,
		"http://a/[x]": false, "a{b}": false, "a|b": false, `a\b`: false, "a\tb": false, "a#b#c": false, "http://[]": false,
		"http://x[::1]": false, "-a:b": false, "http://u@[::1": false,
	} {
		if validURI(uri) != want {
			t.Errorf("%q: %v", uri, !want)
		}
	}
}

func TestNeedsRestart(t *testing.T) {
	o := settings([]string{"gpu_resources"})
	old := definition(t, []byte(`{"id":"/a","cmd":"x","healthChecks":[{"path":"/h"},{"protocol":"MESOS_TCP"}],"resourceLimits":{"mem":256}}`), o)
	for update, want := range map[string]bool{
		`{}`:                               false,
		`{"instances":5}`:                  false,
		`{"labels":{"a":"b"}}`:             false,
		`{"constraints":[["a","UNIQUE"]]}`: false,
		`{"dependencies":["/b"]}`:          false,
		`{"backoffSeconds":5,"backoffFactor":2,"maxLaunchDelaySeconds":7}`:                                 false,
		`{"upgradeStrategy":{"drainSeconds":3}}`:                                                           false,
		`{"killSelection":"OLDEST_FIRST"}`:                                                                 false,
		`{"unreachableStrategy":"disabled"}`:                                                               false,
		`{"readinessChecks":[{"portName":"default"}]}`:                                                     false,
		`{"healthChecks":[{"path":"/i","intervalSeconds":1},{"protocol":"TCP"},{"protocol":"MESOS_TCP"}]}`: false,
		`{"restartPolicy":"NEVER","restartPolicyOnChange":"if-needed"}`:                                    false,
		`{"scaling":{"kind":"per-agent"}}`:                                                                 false,

		`{"healthChecks":[{"protocol":"MESOS_TCP","intervalSeconds":1}]}`: true,
		`{"cmd":"y"}`:                             true,
		`{"cpus":2}`:                              true,
		`{"mem":1}`:                               true,
		`{"env":{"a":"b"}}`:                       true,
		`{"fetch":[{"uri":"http://a"}]}`:          true,
		`{"portDefinitions":[{},{}]}`:             true,
		`{"requirePorts":true}`:                   true,
		`{"taskKillGracePeriodSeconds":5}`:        true,
		`{"user":"nobody"}`:                       true,
		`{"container":{"type":"MESOS"}}`:          true,
		`{"check":{"tcp":{}}}`:                    true,
		`{"resourceLimits":{}}`:                   true,
		`{"preStop":{"command":"x"}}`:             true,
		`{"labels":{"a":"b"},"cmd":"z"}`:          true,
		`{"networks":[{"name":"n"}]}`:             true,
		`{"acceptedResourceRoles":["*"]}`:         true,
		`{"executorResources":{}}`:                true,
		`{"tty":true,"labels":{"a":"b"}}`:         true,
		`{"executor":"//cmd"}`:                    true,
		`{"uris":["http://a/b.tgz"],"gpus":1}`:    true,
		`{"role":"dev","unreachableStrategy":{}}`: true,
	} {
		a, wrong := decode(t, []byte(update)).merge(old, o)
		if wrong = append(wrong, validate(a, o)...); len(wrong) > 0 {
			t.Errorf("%s: %v", update, wrong)
		}
		if got := needsRestart(old, a); got != want {
			t.Errorf("%s: %v", update, got)
		}
	}
}

// A draft may be used again, for instance when the tree moved on meanwhile.
func TestDraftIsNotUsedUp(t *testing.T) {
	d := decode(t, []byte(`{"id":"/a","cmd":"x","env":{"a":"b"},"networks":[{"mode":"container/bridge"}],
		"container":{"type":"MESOS","portMappings":[{}],"volumes":[{"containerPath":"/a","hostPath":"/b","mode":"RO"}]},
		"healthChecks":[{}],"check":{"tcp":{}},"dependencies":["b"]}`))
	first, _ := d.build("/a", Options{})
	kept := first.Clone()
	first.Env["a"] = marathon.EnvValue{Value: "changed by somebody"}
	first.Container.PortMappings[0].ServicePort = 10000
	first.Networks[0].Name = "x"
	first.HealthChecks[0].Protocol = "y"
	first.Check.TCP.PortIndex = nil
	first.Dependencies[0] = "/z"
	if again, _ := d.build("/a", Options{}); !reflect.DeepEqual(again, kept) {
		t.Errorf("%s", asJSON(again))
	}
}

func TestOptions(t *testing.T) {
	o := Options{Role: "dev", Unreachable: marathon.UnreachableStrategy{InactiveAfterSeconds: 300, ExpungeAfterSeconds: 600}}
	a := definition(t, []byte(`{"id":"/a","cmd":"x"}`), o)
	if a.Role != "dev" || *a.UnreachableStrategy != o.Unreachable {
		t.Errorf("%s", asJSON(a))
	}
	a = definition(t, []byte(`{"id":"/a","cmd":"x","unreachableStrategy":{"inactiveAfterSeconds":60}}`), o)
	if a.UnreachableStrategy.InactiveAfterSeconds != 60 || a.UnreachableStrategy.ExpungeAfterSeconds != 600 {
		t.Errorf("%s", asJSON(a))
	}
}

func FuzzDecode(f *testing.F) {
	for _, doc := range []string{
		`{"id":"/a","cmd":"sleep 1","cpus":0.1,"env":{"A":"1","B":{"secret":"s"}},"labels":{"a":"b"}}`,
		`{"id":"a","container":{"docker":{"image":"i","network":"BRIDGE","portMappings":[{"containerPort":80}]}},"uris":["http://a/b.zip"]}`,
		`{"ipAddress":{"networkName":"n","discovery":{"ports":[{"name":"a","number":1}]}},"ports":[0,8080],"args":["a"]}`,
		`{"healthChecks":[{"protocol":"COMMAND","command":{"value":"x"}}],"check":{"tcp":{}},"readinessChecks":[{"portName":"default"}],"cmd":"a"}`,
		`{"cmd":"a","container":{"type":"MESOS","volumes":[{"containerPath":"d","persistent":{"size":1}},{"containerPath":"e","mode":"RO","external":{"provider":"csi","name":"n","options":{"pluginName":"p","capability":{"accessMode":"SINGLE_NODE_WRITER","accessType":"block"}}}}]},"role":"dev"}`,
		`{"cmd":"a","upgradeStrategy":{"drainSeconds":3,"canary":{}},"unreachableStrategy":"disabled","resourceLimits":{"cpus":"unlimited"},"preStop":{"command":"x"},"scaling":{"kind":"per-agent"}}`,
		`{"apps":[{"id":"a","cmd":"b"}],"groups":[{"id":"c","dependencies":["/d"]}],"scaleBy":1}`,
		`[{"id":"a","version":"2020-01-01T00:00:00Z"}]`, `{"cmd":"\ud800","x":[[[]]]}`, `{"cpus":1e999}`, ``,
	} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		scanner := scanner{doc, ends{}}
		if end := scanner.scan(blank(doc, 0), 0); end > tooDeep {
			if got := end >= 0 && blank(doc, end) == len(doc); got != json.Valid(doc) {
				t.Fatalf("well-formed: %v", got)
			}
		}
		if _, err := DecodeList(doc); err != nil {
			refused(t, err)
		}
		if _, err := DecodeGroup(doc); err != nil {
			refused(t, err)
		}
		d, err := Decode(doc)
		if err != nil {
			refused(t, err)
			return
		}
		o := settings([]string{"secrets", "gpu_resources", "external_volumes"})
		a, wrong := d.build("/fuzz/app", o)
		if wrong = append(wrong, validate(withRoot(a), o)...); len(wrong) == 0 {
			stays(t, a, o)
		}
		old := definition(t, []byte(`{"id":"/fuzz/app","cmd":"x"}`), o)
		if a, wrong = d.merge(old, o); len(wrong) == 0 && len(validate(withRoot(a), o)) == 0 {
			stays(t, a, o)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for name, doc := range map[string]string{
		"app":     `{"id":"/a","cmd":"sleep 1","cpus":0.1,"mem":32,"instances":10,"labels":{"a":"b"},"portDefinitions":[{"name":"http"}],"healthChecks":[{"path":"/"}]}`,
		"unknown": `{"id":"/a","cmd":"x","u":[` + strings.Repeat(`{"some":"thing","else":1.5},`, 10<<20/28) + `0]}`,
		"deep":    strings.Repeat(`[`, 10<<20),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(doc)))
			b.ReportAllocs()
			for b.Loop() {
				_, _ = Decode([]byte(doc))
			}
		})
	}
}
