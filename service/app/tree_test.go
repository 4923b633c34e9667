package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
)

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// bed is a tree and a clock that advances by a second with every write.
type bed struct {
	*Tree
	t   testing.TB
	now time.Time
}

func newBed(t testing.TB, edit ...func(*Options)) *bed {
	o := Options{Role: "*", PortMin: 10000, PortMax: 20000}
	for _, f := range edit {
		f(&o)
	}
	return &bed{NewTree(o), t, t0}
}

func (b *bed) tick() time.Time {
	b.now = b.now.Add(time.Second)
	return b.now
}

// must applies a change that is to be accepted.
func (b *bed) must(c Change, err error) Change {
	b.t.Helper()
	if err != nil {
		text, _ := json.Marshal(err.(*Fault).Body)
		b.t.Fatalf("refused: %s", text)
	}
	b.Apply(c)
	return c
}

func (b *bed) draft(doc string) *Draft {
	b.t.Helper()
	d, err := Decode([]byte(doc))
	if err != nil {
		b.t.Fatalf("%s: %v", doc, err)
	}
	return d
}

func (b *bed) drafts(doc string) []*Draft {
	b.t.Helper()
	d, err := DecodeList([]byte(doc))
	if err != nil {
		b.t.Fatalf("%s: %v", doc, err)
	}
	return d
}

func (b *bed) groupDraft(doc string) *GroupDraft {
	b.t.Helper()
	d, err := DecodeGroup([]byte(doc))
	if err != nil {
		b.t.Fatalf("%s: %v", doc, err)
	}
	return d
}

func (b *bed) create(doc string) (Change, error) { return b.Create(b.tick(), b.draft(doc)) }

func (b *bed) update(doc string, m Mode) (Change, error) {
	return b.Update(b.tick(), b.drafts(doc), m)
}

func (b *bed) put(id, doc string) (Change, error) {
	return b.UpdateGroup(b.tick(), id, b.groupDraft(doc), Mode{})
}

// app makes a small one below id, with more fields.
func app(id string, more ...string) string {
	fields := append([]string{fmt.Sprintf(`"id":%q`, id), `"cmd":"sleep 1"`}, more...)
	return "{" + strings.Join(fields, ",") + "}"
}

func (b *bed) ids() string {
	var ids []string
	b.Apps("/", func(a *marathon.App) bool {
		ids = append(ids, a.ID)
		return true
	})
	return strings.Join(ids, " ")
}

// groupIDs marks defined groups with a star.
func (b *bed) groupIDs() string {
	var ids []string
	b.Groups("/", func(g Group) bool {
		if b.groups[g.ID].def != nil {
			g.ID += "*"
		}
		ids = append(ids, g.ID)
		return true
	})
	return strings.Join(ids, " ")
}

// refused checks status and words of a refusal, and that it left no trace.
func (b *bed) refused(status int, words string) func(Change, error) {
	b.t.Helper()
	before := fingerprint(b.Tree)
	return func(_ Change, err error) {
		b.t.Helper()
		var f *Fault
		if !errors.As(err, &f) {
			b.t.Fatalf("not refused with %d %s: %v", status, words, err)
		}
		text, _ := json.Marshal(f.Body)
		if f.Status != status || !strings.Contains(strings.ReplaceAll(string(text), `\n`, "\n"), words) {
			b.t.Fatalf("refused with %d %s, want %d %s", f.Status, text, status, words)
		}
		if after := fingerprint(b.Tree); after != before {
			b.t.Fatalf("a refused write left a trace:\n%s\nbefore:\n%s", after, before)
		}
	}
}

// fingerprint has everything a tree knows, its indices included.
func fingerprint(t *Tree) string {
	var s strings.Builder
	fmt.Fprintln(&s, t.version)
	var walk func(n *branch)
	walk = func(n *branch) {
		fmt.Fprintln(&s, n.id, n.apps, n.defs, n == t.groups[n.id])
		if n.def != nil {
			fmt.Fprintf(&s, "%+v\n", *n.def)
		}
		for _, e := range n.below {
			if e.group != nil {
				walk(e.group)
				continue
			}
			fmt.Fprintf(&s, "%s %p %v\n", e.app.ID, e.app, t.apps[e.app.ID] == e.app)
		}
	}
	walk(t.groups["/"])
	fmt.Fprintln(&s, len(t.apps), len(t.groups), t.ports, t.wanted, t.volumes)
	return s.String()
}

func TestPath(t *testing.T) {
	for _, c := range []struct{ id, group, want string }{
		{"x", "/g", "/g/x"},
		{"../y", "/g/h", "/g/y"},
		{"/a/b", "/g", "/a/b"},
		{"//a//b/", "/g", "/a/b"},
		{"a/./b/../c", "/", "/a/c"},
		{"../../../x", "/g", "/x"},
		{"", "/g", "/g"},
		{"/", "/g", "/"},
		{"", "/", "/"},
		{"/a/../b", "/g", "/b"},
		{"/a.b/c", "/", "/a.b/c"},
	} {
		if got := Path(c.id, c.group); got != c.want {
			t.Errorf("Path(%q, %q) = %q, want %q", c.id, c.group, got, c.want)
		}
	}
}

func TestOrderIsThatOfIDs(t *testing.T) {
	b := newBed(t)
	for _, id := range []string{"/a/b", "/a-b/x", "/a.c", "/b", "/a/b-c", "/a0/z"} {
		b.must(b.create(app(id)))
	}
	got := strings.Fields(b.ids())
	if !slices.IsSorted(got) || len(got) != 6 {
		t.Errorf("apps in order %v", got)
	}
	if got, want := b.groupIDs(), "/ /a-b* /a* /a0*"; got != want {
		t.Errorf("groups %q, want %q", got, want)
	}
	n := 0
	b.Apps("/a", func(*marathon.App) bool { n++; return n < 1 })
	if n != 1 {
		t.Errorf("the walk went on after false: %d", n)
	}
}

func TestCreateAndDelete(t *testing.T) {
	b := newBed(t)
	c := b.must(b.create(app("/g/x")))
	if c.Version != marathon.VersionOf(b.now) || len(c.Apps) != 1 || c.Apps[0].Old != nil || c.Apps[0].Restart {
		t.Errorf("change %+v", c)
	}
	a := b.App("/g/x")
	if a.Version != c.Version || *a.VersionInfo != (marathon.VersionInfo{LastScalingAt: c.Version, LastConfigChangeAt: c.Version}) {
		t.Errorf("version %s, %+v", a.Version, a.VersionInfo)
	}
	b.refused(409, "An app with id [/g/x] already exists.")(b.create(app("g/x")))
	b.refused(404, "App '/none' does not exist")(b.Delete(b.tick(), "/none"))
	b.refused(422, "Groups and Applications may not have the same identifier.")(b.create(app("/g")))
	b.refused(422, "Groups and Applications may not have the same identifier.")(b.create(app("/g/x/y")))
	b.must(b.Delete(b.tick(), "/g/x"))
	if _, ok := b.Group("/g"); !ok || b.ids() != "" {
		t.Error("the app is still there, or its group is not")
	}
	// A group without apps gives way to an app.
	b.must(b.put("/g", `{"groups":[{"id":"inner"}]}`))
	b.must(b.create(app("/g")))
	if got, want := b.groupIDs(), "/"; got != want {
		t.Errorf("groups %q, want %q", got, want)
	}
}

func TestMaxApps(t *testing.T) {
	b := newBed(t, func(o *Options) { o.MaxApps = 2 })
	b.must(b.create(app("/a")))
	b.must(b.create(app("/b")))
	b.refused(422, "This Marathon instance may only handle up to 2 Apps!\n(Override with command line option --max_apps)")(b.create(app("/c")))
	b.must(b.update(`[{"id":"/a","instances":3}]`, Mode{}))
	b.o.MaxApps = 1 // a lower limit does not lock what is there
	b.must(b.update(`[{"id":"/a","instances":4}]`, Mode{}))
	b.must(b.Delete(b.tick(), "/a"))
}

func TestUpdate(t *testing.T) {
	b := newBed(t)
	first := b.must(b.create(app("/x", `"instances":2`))).Version
	b.refused(404, "App '/y' does not exist")(b.update(`[{"id":"/x","cmd":"b"},{"id":"/y","cmd":"c"}]`, Mode{MustExist: true}))

	scaled := b.must(b.update(`[{"id":"/x","instances":5}]`, Mode{}))
	a := b.App("/x")
	if scaled.Apps[0].Restart || a.Instances != 5 || *a.Cmd != "sleep 1" ||
		a.VersionInfo.LastConfigChangeAt != first || a.VersionInfo.LastScalingAt != scaled.Version {
		t.Errorf("scaled: %+v %+v", scaled.Apps[0].Restart, a.VersionInfo)
	}
	changed := b.must(b.update(`[{"id":"/x","cmd":"sleep 2","instances":6}]`, Mode{}))
	a = b.App("/x")
	if !changed.Apps[0].Restart || a.VersionInfo.LastConfigChangeAt != changed.Version || a.VersionInfo.LastScalingAt != changed.Version {
		t.Errorf("changed: %+v %+v", changed.Apps[0].Restart, a.VersionInfo)
	}
	restarted := b.must(b.Restart(b.tick(), []string{"/x"}))
	a = b.App("/x")
	if !restarted.Apps[0].Restart || a.VersionInfo.LastConfigChangeAt != restarted.Version || a.VersionInfo.LastScalingAt != changed.Version {
		t.Errorf("restarted: %+v %+v", restarted.Apps[0].Restart, a.VersionInfo)
	}
	same := b.must(b.update(`[{"id":"/x","cmd":"sleep 2"}]`, Mode{}))
	if len(same.Apps) != 0 || b.App("/x") != a || b.Version() != same.Version {
		t.Errorf("nothing changed, but %+v", same)
	}
	// Two documents of one app follow each other; unknown ones are created.
	b.must(b.update(`[{"id":"/x","instances":1},{"id":"/x","cmd":"sleep 3"},`+app("/y")+`]`, Mode{}))
	if a = b.App("/x"); a.Instances != 1 || *a.Cmd != "sleep 3" || b.App("/y") == nil {
		t.Errorf("after two documents: %+v", a)
	}
	// Replacing forgets what is left out.
	b.must(b.update("["+app("/x")+"]", Mode{Replace: true}))
	b.must(b.update(`[{"id":"/x","instances":3}]`, Mode{}))
	b.must(b.update("["+app("/x")+"]", Mode{Replace: true}))
	if a = b.App("/x"); a.Instances != 1 {
		t.Errorf("%d instances after replacing", a.Instances)
	}
	b.refused(422, "/v2/apps/x")(b.update(`[{"id":"/x","version":"2014-09-12T23:28:21.737Z"}]`, Mode{}))
	b.refused(404, "App '/none' does not exist")(b.Restart(b.tick(), []string{"/x", "/none"}))
	b.refused(404, "App '/none' does not exist")(b.Scale(b.tick(), map[string]int{"/x": 3, "/none": 1}))
	b.must(b.Scale(b.tick(), map[string]int{"/x": 3, "/y": 0}))
	if b.App("/x").Instances != 3 || b.App("/y").Instances != 0 {
		t.Error("not scaled")
	}
}

func TestRestartIfNeeded(t *testing.T) {
	for _, c := range []struct {
		name, have, change string
		mode               Mode
		restart            bool
	}{
		{"labels as ever", ``, `"labels":{"a":"b"}`, Mode{}, true},
		{"labels if needed", ``, `"labels":{"a":"b"}`, Mode{IfNeeded: true}, false},
		{"cmd if needed", ``, `"cmd":"other"`, Mode{IfNeeded: true}, true},
		{"labels by policy", `"restartPolicyOnChange":"if-needed"`, `"labels":{"a":"b"}`, Mode{}, false},
		{"cmd by policy", `"restartPolicyOnChange":"if-needed"`, `"cmd":"other"`, Mode{}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(t)
			more := []string{}
			if c.have != "" {
				more = append(more, c.have)
			}
			b.must(b.create(app("/x", more...)))
			got := b.must(b.update(`[{"id":"/x",`+c.change+`}]`, c.mode))
			if len(got.Apps) != 1 || got.Apps[0].Restart != c.restart {
				t.Errorf("restart: %+v", got.Apps)
			}
			if b.App("/x").VersionInfo.LastConfigChangeAt != got.Version {
				t.Error("the configuration did not change")
			}
		})
	}
}

// How many instances an app has that follows the agents is for the service to say.
func TestPerAgentInstances(t *testing.T) {
	b := newBed(t)
	doc := app("/g/a", `"scaling":{"kind":"per-agent"}`)
	b.must(b.create(doc))
	old := b.App("/g/a")
	b.must(b.Scale(b.tick(), map[string]int{"/g/a": 7}))
	b.must(b.update("["+doc+"]", Mode{Replace: true}))
	b.must(b.put("/g", `{"apps":[`+doc+`]}`))
	b.must(b.put("/g", `{"scaleBy":2}`))
	b.must(b.Rollback(b.tick(), old))
	if a := b.App("/g/a"); a.Instances != 7 {
		t.Errorf("%d instances", a.Instances)
	}
}

func TestVersionsGrow(t *testing.T) {
	b := newBed(t)
	last := b.must(b.Create(t0, b.draft(app("/a")))).Version
	for i, now := range []time.Time{t0, t0, t0.Add(-time.Hour), t0.Add(3 * time.Millisecond), t0} {
		v := b.must(b.Scale(now, map[string]int{"/a": 10 + i})).Version
		if v <= last {
			t.Errorf("version %s after %s", v, last)
		}
		last = v
	}
	if want := marathon.VersionOf(t0.Add(5 * time.Millisecond)); last != want {
		t.Errorf("last version %s, want %s", last, want)
	}
}

func TestRollback(t *testing.T) {
	b := newBed(t)
	b.must(b.create(app("/x", `"labels":{"v":"1"}`)))
	old := b.App("/x")
	b.must(b.update(`[{"id":"/x","labels":{"v":"2"},"instances":4}]`, Mode{}))
	c := b.must(b.Rollback(b.tick(), old))
	a := b.App("/x")
	if a == old || a.Labels["v"] != "1" || a.Instances != 1 || a.Version != c.Version || !c.Apps[0].Restart {
		t.Errorf("rolled back to %+v", a)
	}
	b.must(b.Delete(b.tick(), "/x"))
	b.refused(404, "App '/x' does not exist")(b.Rollback(b.tick(), old))
}

func TestServicePorts(t *testing.T) {
	ports := func(p ...int) string {
		var defs []string
		for _, n := range p {
			defs = append(defs, fmt.Sprintf(`{"port":%d}`, n))
		}
		return `"portDefinitions":[` + strings.Join(defs, ",") + `]`
	}
	b := newBed(t, func(o *Options) { o.PortMin, o.PortMax = 10000, 10008 })
	want := func(id string, p ...int) {
		t.Helper()
		if got := servicePorts(b.App(id)); !slices.Equal(got, p) {
			t.Errorf("%s has service ports %v, want %v", id, got, p)
		}
	}
	b.must(b.create(app("/a", ports(0, 10001, 0))))
	want("/a", 10000, 10001, 10002)
	// An explicit port may be anywhere, and even taken.
	b.must(b.create(app("/b", ports(80, 10003))))
	b.must(b.create(app("/c", ports(80))))
	want("/c", 80)
	// Zeros get what was there before, and only then something new.
	same := b.must(b.update(`[{"id":"/a",`+ports(0, 0, 0)+`}]`, Mode{}))
	if len(same.Apps) != 0 {
		t.Errorf("nothing changed, but %+v", same.Apps)
	}
	b.must(b.update(`[{"id":"/a",`+ports(10000, 0, 10001, 0)+`}]`, Mode{}))
	want("/a", 10000, 10002, 10001, 10004)
	// What a write frees is not given out in it.
	b.must(b.put("/", `{"apps":[`+app("b", ports(0))+`,`+app("n", ports(0, 0, 0))+`]}`))
	want("/b", 10003)
	want("/n", 10005, 10006, 10007)
	b.refused(500, "All ports in the range [10000-10008) are already in use")(b.create(app("/z", ports(0, 0, 0, 0, 0))))
	b.must(b.create(app("/z", ports(0))))
	want("/z", 10000)

	mapped := `"container":{"type":"MESOS","portMappings":[{"containerPort":80},{"containerPort":81,"servicePort":99}]},` +
		`"networks":[{"mode":"container","name":"net"}]`
	b.must(b.create(app("/m", mapped)))
	want("/m", 10001, 99)
	b.must(b.update(`[{"id":"/m",`+mapped+`}]`, Mode{}))
	want("/m", 10001, 99)
}

func TestNoServicePortsAtAll(t *testing.T) {
	b := newBed(t, func(o *Options) { o.PortMin, o.PortMax = 0, 0 })
	b.refused(500, "All ports in the range [0-0) are already in use")(b.create(app("/a")))
	b.must(b.create(app("/a", `"portDefinitions":[{"port":80}]`)))
}

// A version from before has a port that another app was given since.
func TestServicePortsOfThePast(t *testing.T) {
	b := newBed(t)
	created := b.must(b.create(app("/a")))
	removed := b.must(b.Delete(b.tick(), "/a"))
	b.must(b.create(app("/b")))
	if p := servicePorts(b.App("/b")); !slices.Equal(p, servicePorts(created.Apps[0].New)) {
		t.Fatalf("/b has %v", p)
	}
	b.must(b.Revert(b.tick(), removed.Apps, removed.Groups))
	if p := servicePorts(b.App("/a")); slices.Equal(p, servicePorts(b.App("/b"))) {
		t.Errorf("/a and /b both have %v", p)
	}
}

func TestDependencies(t *testing.T) {
	b := newBed(t)
	deps := func(ids ...string) string {
		text, _ := json.Marshal(append([]string{}, ids...))
		return `"dependencies":` + string(text)
	}
	b.must(b.create(app("/db/main")))
	b.must(b.create(app("/db/replica", deps("/db/main"))))
	b.must(b.create(app("/web/front", deps("/web/back", "/none"))))
	b.must(b.create(app("/web/back")))
	b.must(b.put("/web", `{"dependencies":["../db"]}`))
	if got := b.Depends("/web/front"); !slices.Equal(got, []string{"/db/main", "/db/replica", "/web/back"}) {
		t.Errorf("/web/front depends on %v", got)
	}
	if got := b.Depends("/none"); got != nil {
		t.Errorf("/none depends on %v", got)
	}
	cyclic := func() func(Change, error) {
		return b.refused(422, `{"path":"/","errors":["Dependency graph has cyclic dependencies."]}`)
	}
	cyclic()(b.update(`[{"id":"/web/back",`+deps("/web/front")+`}]`, Mode{}))
	cyclic()(b.update(`[{"id":"/db/main",`+deps("/web/front")+`}]`, Mode{}))
	cyclic()(b.put("/db", `{"dependencies":["/web"]}`))
	cyclic()(b.put("/web", `{"dependencies":["/web"]}`))
	cyclic()(b.create(app("/db/third", deps("/db"))))
	// Apps that were missing close a cycle when they come.
	cyclic()(b.create(app("/none", deps("/web/front"))))
	b.must(b.create(app("/none")))
	cyclic()(b.update(`[{"id":"/none",`+deps("/web/front")+`}]`, Mode{}))
	b.must(b.update(`[{"id":"/web/front",`+deps()+`},{"id":"/none",`+deps("/web/front")+`}]`, Mode{}))
}

func TestPreview(t *testing.T) {
	b := newBed(t)
	b.must(b.create(app("/a")))
	b.must(b.create(app("/b", `"dependencies":["/a"]`)))
	before := fingerprint(b.Tree)
	c, err := b.update("["+app("/c", `"dependencies":["/a"]`)+"]", Mode{})
	if err != nil {
		t.Fatal(err)
	}
	c.Apps = append([]AppChange{{Old: b.App("/b")}}, c.Apps...)
	b.Preview(c, func(depth func(string) int) {
		for id, want := range map[string]int{"/a": 1, "/b": 2, "/c": 2, "/none": 0} {
			if got := depth(id); got != want {
				t.Errorf("depth of %s is %d, want %d", id, got, want)
			}
		}
		if b.App("/b") != nil || b.App("/c") == nil {
			t.Error("the change is not in place")
		}
	})
	if fingerprint(b.Tree) != before {
		t.Error("the preview left a trace")
	}
}

func TestResidentApps(t *testing.T) {
	b := newBed(t, func(o *Options) { o.Role = "data" })
	volume := func(size int) string {
		return fmt.Sprintf(`"container":{"type":"MESOS","volumes":[{"containerPath":"data","mode":"RW","persistent":{"size":%d}}]}`, size)
	}
	b.must(b.create(app("/g/db", volume(100))))
	b.must(b.update(`[{"id":"/g/db","cmd":"other","portDefinitions":[{"port":0}]}]`, Mode{}))
	b.refused(422, `"path":"/mem","errors":["Services with persistent volumes configured may not change resource requirements. `+
		`If you need to make this change, please create a new service."]`)(b.update(`[{"id":"/g/db","mem":64}]`, Mode{}))
	b.refused(422, "Persistent volumes can not be changed!")(b.update(`[{"id":"/g/db",`+volume(200)+`}]`, Mode{}))
	b.refused(422, "may not change host ports")(b.update(`[{"id":"/g/db","portDefinitions":[{"port":81}]}]`, Mode{}))
	b.refused(422, "will continue to run under the previous role, data.")(b.update(`[{"id":"/g/db","role":"g"}]`, Mode{}))
	b.must(b.update(`[{"id":"/g/db","role":"g"}]`, Mode{Force: true}))
}

func TestExternalVolumeNames(t *testing.T) {
	b := newBed(t, func(o *Options) { o.Features = map[string]bool{"external_volumes": true} })
	volume := func(shared bool) string {
		return fmt.Sprintf(`"upgradeStrategy":{"minimumHealthCapacity":0.5,"maximumOverCapacity":0},"container":{"type":"MESOS","volumes":`+
			`[{"containerPath":"data","mode":"RW","external":{"name":"vol","provider":"dvdi","shared":%v,"size":1,"options":{"dvdi/driver":"rexray"}}}]}`, shared)
	}
	b.must(b.create(app("/a", volume(true))))
	b.must(b.create(app("/b", volume(true))))
	words := "Volume name 'vol' in /c conflicts with volume(s) of same name in app(s): /a, /b"
	b.refused(422, words)(b.create(app("/c", volume(false))))
	b.must(b.Delete(b.tick(), "/a"))
	b.must(b.Delete(b.tick(), "/b"))
	b.must(b.create(app("/c", volume(false))))
	b.refused(422, "conflicts with volume(s) of same name in app(s): /c")(b.create(app("/a", volume(true))))
}
