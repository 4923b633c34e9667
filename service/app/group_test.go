package app

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stoa-kernel/stoa/api/marathon"
)

func TestCreateGroup(t *testing.T) {
	b := newBed(t)
	create := func(id, doc string) (Change, error) {
		return b.CreateGroup(b.tick(), id, b.groupDraft(doc), Mode{})
	}
	c := b.must(create("/", `{"id":"prod","apps":[`+app("web", `"dependencies":["db/main"]`)+`],
		"groups":[{"id":"db","apps":[`+app("main")+`],"dependencies":["../none"]}]}`))
	if len(c.Apps) != 2 || len(c.Groups) != 2 || c.Groups[0].Old != nil || c.Groups[0].New.Version != c.Version {
		t.Errorf("change %+v", c)
	}
	if got := b.App("/prod/web").Dependencies; !slices.Equal(got, []string{"/prod/db/main"}) {
		t.Errorf("dependencies %v", got)
	}
	if g, _ := b.Group("/prod/db"); !slices.Equal(g.Dependencies, []string{"/prod/none"}) || g.Version != c.Version {
		t.Errorf("group %+v", g)
	}
	b.refused(409, "Group / is already created. Use PUT to change this group.")(create("/", `{}`))
	b.refused(409, "Group /prod is already created. Use PUT to change this group.")(create("/", `{"id":"/prod"}`))
	b.refused(409, "An app with the path /prod/web already exists.")(create("/prod", `{"id":"web"}`))
	b.refused(422, "Groups and Applications may not have the same identifier.")(b.put("/prod/web", `{}`))
	b.refused(422, "Groups and Applications may not have the same identifier.")(b.put("/x",
		`{"apps":[`+app("y")+`],"groups":[{"id":"y"}]}`))
	b.refused(422, `{"path":"/apps(0)/id","errors":["Identifier is not child of '/foo/sub'"]}`)(create("/foo",
		`{"id":"sub","apps":[`+app("lol/bibi")+`]}`))
	b.refused(422, `{"path":"/groups(0)/groups(1)/id","errors":["Identifier is not child of '/foo/a'"]}`)(create("/foo",
		`{"groups":[{"id":"a","groups":[{"id":"b"},{"id":"/elsewhere"}]}]}`))
	b.refused(422, `"path":"/id","errors":["must fully match regular expression`)(create("/FOO", `{}`))
	b.refused(422, "reserved keywords: restart, tasks, versions")(create("/a/tasks", `{}`))
	b.refused(422, "must not have more than 64 path elements")(create(strings.Repeat("/a", 65), `{}`))
	b.refused(422, "must not have more than 64 path elements")(b.create(app(strings.Repeat("/a", 65))))
}

func TestUpdateGroup(t *testing.T) {
	b := newBed(t)
	b.must(b.put("/g", `{"apps":[`+app("a")+`,`+app("b")+`],"groups":[{"id":"h","apps":[`+app("c")+`]},{"id":"i"}],"dependencies":["/x"]}`))
	if got := b.ids(); got != "/g/a /g/b /g/h/c" {
		t.Fatal(got)
	}
	a := b.App("/g/a")
	// Lists that are given replace, those left out are kept; apps are whole definitions.
	c := b.must(b.put("/g", `{"apps":[`+app("a")+`,`+app("d")+`]}`))
	if got := b.ids(); got != "/g/a /g/d /g/h/c" || b.App("/g/a") != a || len(c.Apps) != 2 || len(c.Groups) != 0 {
		t.Errorf("apps %s, change %+v", got, c)
	}
	c = b.must(b.put("/g", `{"groups":[{"id":"h","dependencies":["/y"]}],"dependencies":[]}`))
	if got := b.ids() + "; " + b.groupIDs(); got != "/g/a /g/d /g/h/c; / /g* /g/h*" {
		t.Error(got)
	}
	if h, _ := b.Group("/g/h"); !slices.Equal(h.Dependencies, []string{"/y"}) {
		t.Errorf("group %+v", h)
	}
	if len(c.Groups) != 3 || c.Groups[2].New != nil || c.Groups[2].Old.ID != "/g/i" {
		t.Errorf("group changes %+v", c.Groups)
	}
	b.refused(404, "Group '/none' does not exist")(b.UpdateGroup(b.tick(), "/none", b.groupDraft(`{}`), Mode{MustExist: true}))
	b.refused(422, "Group /g not available in version 2014-09-12T23:28:21.737Z")(b.put("/g", `{"version":"2014-09-12T23:28:21.737Z"}`))
	b.refused(422, `"path":"/groups(0)"`)(b.put("/g", `{"groups":[{"id":"h","scaleBy":2}]}`))
	b.refused(422, `'/g/a' is there twice`)(b.put("/g", `{"apps":[`+app("a")+`,`+app("/g/a")+`]}`))
	b.refused(422, `'/g/h' is there twice`)(b.put("/g", `{"groups":[{"id":"h"},{"id":"../g/h"}]}`))
	// A document's id resolves against that of the request.
	b.must(b.put("/g", `{"id":"new","apps":[`+app("/g/new/z")+`]}`))
	if b.App("/g/new/z") == nil {
		t.Error(b.ids())
	}
	// All of it.
	b.must(b.put("/", `{"apps":[],"groups":[]}`))
	if got := b.ids() + ";" + b.groupIDs(); got != ";/*" {
		t.Error(got)
	}
}

func TestScaleGroup(t *testing.T) {
	b := newBed(t)
	b.must(b.put("/g", `{"apps":[`+app("a", `"instances":3`)+`],"groups":[{"id":"h","apps":[`+app("b", `"instances":1`)+`,`+app("c", `"instances":0`)+`]}]}`))
	b.must(b.create(app("/other")))
	c := b.must(b.put("/g", `{"scaleBy":1.5}`))
	var got []string
	for _, a := range c.Apps {
		got = append(got, fmt.Sprint(a.ID(), a.New.Instances, a.Restart))
	}
	if want := []string{"/g/a5 false", "/g/h/b2 false"}; !slices.Equal(got, want) {
		t.Errorf("scaled %v, want %v", got, want)
	}
	b.refused(404, "Group '/none' does not exist")(b.put("/none", `{"scaleBy":2}`))
	b.refused(422, `"path":"/scaleBy"`)(b.put("/g", `{"scaleBy":1e300}`))
	b.must(b.put("/g", `{"scaleBy":0}`))
	if b.App("/g/a").Instances != 0 || b.App("/other").Instances != 1 {
		t.Error("not scaled to 0, or too much was")
	}
}

func TestDeleteGroup(t *testing.T) {
	b := newBed(t)
	b.must(b.put("/g/h", `{"apps":[`+app("a")+`],"groups":[{"id":"i"}]}`))
	b.must(b.create(app("/x")))
	b.refused(404, "Group '/none' does not exist")(b.DeleteGroup(b.tick(), "/none"))
	b.refused(404, "Group '/x' does not exist")(b.DeleteGroup(b.tick(), "/x"))
	b.must(b.DeleteGroup(b.tick(), "/g"))
	if got := b.ids() + "; " + b.groupIDs(); got != "/x; /" {
		t.Error(got)
	}
	b.must(b.DeleteGroup(b.tick(), "/"))
	if b.ids() != "" {
		t.Error(b.ids())
	}
}

func TestRoles(t *testing.T) {
	for _, c := range []struct {
		name    string
		option  string
		before  []string // group documents
		app     string
		want    string
		refused string
	}{
		{"the default", "off", nil, app("/dev/x"), "*", ""},
		{"the group's", "off", nil, app("/dev/a/x", `"role":"dev"`), "dev", ""},
		{"another's", "off", nil, app("/dev/x", `"role":"prod"`), "", `{"path":"/role","errors":["got prod, expected one of: [*, dev]"]}`},
		{"in no group", "off", nil, app("/x", `"role":"x"`), "", "got x, expected one of: [*]"},
		{"enforced", "off", []string{`{"id":"/dev","enforceRole":true}`}, app("/dev/a/x"), "dev", ""},
		{"enforced, another's", "off", []string{`{"id":"/dev","enforceRole":true}`}, app("/dev/x", `"role":"*"`), "", "got *, expected one of: [dev]"},
		{"new groups enforce", "top", nil, app("/dev/a/x"), "dev", ""},
		{"new groups enforce, not this one", "top", []string{`{"id":"/dev","enforceRole":false}`}, app("/dev/x"), "*", ""},
		{"a group that was new", "top", []string{`{"id":"/dev/a"}`}, app("/dev/x"), "dev", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(t, func(o *Options) { o.NewGroupEnforceRole = c.option })
			for _, doc := range c.before {
				b.must(b.put("/", doc))
			}
			if c.refused != "" {
				b.refused(422, c.refused)(b.create(c.app))
				return
			}
			a := b.must(b.create(c.app)).Apps[0].New
			if a.Role != c.want {
				t.Errorf("role %s, want %s", a.Role, c.want)
			}
			// It may stay when the group begins to enforce another one.
			b.must(b.EnforceRole(b.tick(), "/dev", true))
			b.must(b.update(fmt.Sprintf(`[{"id":%q,"cmd":"other"}]`, a.ID), Mode{}))
			if got := b.App(a.ID).Role; got != c.want {
				t.Errorf("role %s after an update, want %s", got, c.want)
			}
		})
	}
}

func TestEnforceRole(t *testing.T) {
	b := newBed(t)
	b.must(b.put("/", `{"groups":[{"id":"prod","enforceRole":true,"groups":[{"id":"sleep","apps":[`+app("night")+`]}]},{"id":"dev"}]}`))
	if got := b.App("/prod/sleep/night").Role; got != "prod" {
		t.Errorf("role %s", got)
	}
	const separate = "enforceRole cannot be modified in a request that adds, removes or modifies services; " +
		"please make these changes in separate requests."
	b.refused(422, `{"path":"/groups(1)/enforceRole","errors":["`+separate+`"]}`)(b.put("/",
		`{"groups":[{"id":"unrelated","apps":[`+app("x")+`]},{"id":"/dev","enforceRole":true}]}`))
	b.refused(422, "got *, expected one of: [prod]")(b.put("/prod", `{"apps":[`+app("x", `"role":"*"`)+`]}`))
	b.refused(422, "enforceRole can only be set for top-level groups, and /dev/a is not top-level")(b.put("/dev", `{"id":"a","enforceRole":true}`))
	b.must(b.put("/dev", `{"enforceRole":true}`))
	b.must(b.put("/dev", `{"apps":[`+app("x")+`]}`)) // what is not said is kept
	if g, _ := b.Group("/dev"); !g.EnforceRole || b.App("/dev/x").Role != "dev" {
		t.Errorf("group %+v", g)
	}
	c := b.must(b.EnforceRole(b.tick(), "/dev", false))
	if g, _ := b.Group("/dev"); g.EnforceRole || len(c.Apps) != 0 || len(c.Groups) != 1 {
		t.Errorf("group %+v, change %+v", g, c)
	}
	b.refused(404, "Group '/none' does not exist")(b.EnforceRole(b.tick(), "/none", true))
	b.refused(422, "Path needs to be top-level")(b.EnforceRole(b.tick(), "/prod/sleep", true))
}

func TestRestoreGroup(t *testing.T) {
	b := newBed(t)
	b.must(b.put("/g", `{"apps":[`+app("a")+`,`+app("b")+`],"groups":[{"id":"h","dependencies":["/x"]}]}`))
	b.must(b.create(app("/x")))
	var apps []*marathon.App
	var groups []*Group
	b.Apps("/", func(a *marathon.App) bool { apps = append(apps, a); return true })
	b.Groups("/", func(g Group) bool { groups = append(groups, &g); return true })
	before := contents(b.Tree, "/g")

	b.must(b.put("/g", `{"apps":[`+app("a", `"cpus":2`)+`,`+app("c")+`],"groups":[{"id":"i"}],"dependencies":["/y"]}`))
	b.must(b.Delete(b.tick(), "/x"))
	c := b.must(b.RestoreGroup(b.tick(), "/g", apps, groups))
	if got := contents(b.Tree, "/g"); got != before {
		t.Errorf("restored to %s, want %s", got, before)
	}
	if b.App("/x") != nil {
		t.Error("what is outside of the group came back too")
	}
	if b.App("/g/b").Version != c.Version || c.Apps[0].ID() != "/g/a" || !c.Apps[0].Restart {
		t.Errorf("change %+v", c)
	}
}

// contents are definitions without versions.
func contents(t *Tree, group string) string {
	var s strings.Builder
	t.Apps(group, func(a *marathon.App) bool {
		c := *a
		c.Version, c.VersionInfo = "", nil
		text, _ := json.Marshal(&c)
		fmt.Fprintf(&s, "%s\n", text)
		return true
	})
	t.Groups(group, func(g Group) bool {
		if t.groups[g.ID].def != nil {
			fmt.Fprintln(&s, g.ID, g.Dependencies, g.EnforceRole)
		}
		return true
	})
	return s.String()
}

// The cases of Marathon's DeploymentPlanRevertTest: the first write is taken back after
// the others, and the result is as if only they had been done.
func TestRevertAfterOtherWrites(t *testing.T) {
	type step func(*bed) (Change, error)
	remove := func(id string) step {
		return func(b *bed) (Change, error) { return b.Delete(b.tick(), id) }
	}
	add := func(id string) step {
		return func(b *bed) (Change, error) { return b.create(app(id, `"portDefinitions":[]`)) }
	}
	put := func(id, doc string) step {
		return func(b *bed) (Change, error) { return b.put(id, doc) }
	}
	removeGroup := func(id string) step {
		return func(b *bed) (Change, error) { return b.DeleteGroup(b.tick(), id) }
	}
	// depend changes the dependencies of a group relative to what they are.
	depend := func(id string, minus, plus []string) step {
		return func(b *bed) (Change, error) {
			g, _ := b.Group(id)
			text, _ := json.Marshal(difference(g.Dependencies, minus, plus))
			return b.put(id, fmt.Sprintf(`{"dependencies":%s}`, text))
		}
	}
	base := func(t *testing.T) *bed {
		b := newBed(t)
		for _, id := range []string{"/othergroup1", "/othergroup2", "/othergroup3"} {
			b.must(b.put(id, `{}`))
		}
		b.must(b.put("/changeme", `{"dependencies":["/othergroup1","/othergroup2"],"apps":[`+
			app("app1", `"portDefinitions":[]`)+`,`+app("app2", `"portDefinitions":[]`)+`]}`))
		return b
	}
	for _, c := range []struct {
		name  string
		setup []step
		steps []step
		also  []step // what cannot be done without the first write, done instead of it
	}{
		{name: "an app is added", steps: []step{add("/test")}},
		{name: "an app is removed", steps: []step{remove("/changeme/app1")}},
		{name: "a group without apps is removed", steps: []step{removeGroup("/othergroup1")}},
		{name: "a group with apps is removed", steps: []step{removeGroup("/changeme")}},
		{name: "dependencies of a group are changed", steps: []step{depend("/changeme", []string{"/othergroup1"}, []string{"/othergroup3"})}},
		{name: "other apps come and go", steps: []step{
			remove("/changeme/app1"), add("/changeme/app3"), add("/other/app4"), remove("/changeme/app2")}},
		{name: "a new group with dependencies has got a group", steps: []step{
			put("/withdeps", `{"dependencies":["/a","/b","/c"]}`), put("/withdeps/some", `{}`)},
			also: []step{put("/withdeps", `{}`)}},
		{name: "dependencies are changed by both", steps: []step{
			depend("/changeme", []string{"/othergroup1"}, []string{"/othergroup3"}),
			depend("/changeme", []string{"/othergroup2"}, []string{"/othergroup4"})}},
		{name: "a group is removed, dependencies of another changed", steps: []step{
			removeGroup("/othergroup3"), depend("/changeme", []string{"/othergroup2"}, []string{"/othergroup4"})}},
		{name: "groups beside each other", setup: []step{put("/changeme/some", `{}`)}, steps: []step{
			put("/changeme/some/a", `{}`), put("/changeme/some/b", `{}`)}},
		{name: "apps below where one was added", steps: []step{
			add("/changeme/some/a"), add("/changeme/some/b/a"), add("/changeme/some/b/b"), add("/changeme/some/b/c")}},
		{name: "an app is changed, then by somebody else", steps: []step{
			put("/changeme", `{"apps":[`+app("app1", `"portDefinitions":[]`, `"cpus":2`)+`,`+app("app2", `"portDefinitions":[]`)+`]}`),
			put("/changeme", `{"apps":[`+app("app1", `"portDefinitions":[]`, `"cpus":3`)+`,`+app("app2", `"portDefinitions":[]`)+`]}`)}},
		{name: "roles are enforced", steps: []step{put("/changeme", `{"enforceRole":true}`)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, want := base(t), base(t)
			for _, s := range c.setup {
				b.must(s(b))
				want.must(s(want))
			}
			for _, s := range c.also {
				want.must(s(want))
			}
			first := b.must(c.steps[0](b))
			for _, s := range c.steps[1:] {
				b.must(s(b))
				want.must(s(want))
			}
			reverted := b.must(b.Revert(b.tick(), first.Apps, first.Groups))
			if got := contents(b.Tree, "/"); got != contents(want.Tree, "/") {
				t.Errorf("reverted to\n%s\nwant\n%s", got, contents(want.Tree, "/"))
			}
			for _, a := range reverted.Apps {
				if a.New != nil && a.New.Version != reverted.Version {
					t.Errorf("%s has version %s", a.ID(), a.New.Version)
				}
			}
		})
	}
}

// What a restart or a scaling launched has to go again, so the app is in the change.
func TestRevertOfARestart(t *testing.T) {
	b := newBed(t)
	b.must(b.create(app("/a")))
	before := contents(b.Tree, "/")
	c := b.must(b.Restart(b.tick(), []string{"/a"}))
	r := b.must(b.Revert(b.tick(), c.Apps, c.Groups))
	if len(r.Apps) != 1 || r.Apps[0].Restart || contents(b.Tree, "/") != before {
		t.Errorf("change %+v", r)
	}
	b.must(b.update(`[{"id":"/a","instances":7}]`, Mode{}))
	if again, err := b.Revert(b.tick(), c.Apps, c.Groups); err != nil || len(again.Apps) != 0 {
		t.Errorf("somebody else's change is taken back: %+v, %v", again, err)
	}
}

func TestChangesSurviveJSON(t *testing.T) {
	b := newBed(t)
	b.must(b.create(app("/g/a")))
	c := b.must(b.put("/g", `{"dependencies":["/x"]}`))
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var back Change
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back, c) {
		t.Errorf("%+v, %v", back, err)
	}
}
