package plan

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/app"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func newTree() *app.Tree {
	return app.NewTree(app.Options{Role: "*", PortMin: 10000, PortMax: 20000})
}

// definitions of lines "id cmd instances dependency...".
func definitions(t *testing.T, lines string) []*marathon.App {
	t.Helper()
	tree := newTree()
	var docs []map[string]any
	for line := range strings.Lines(lines) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		docs = append(docs, map[string]any{"id": f[0], "cmd": f[1], "instances": json.Number(f[2]),
			"dependencies": f[3:], "portDefinitions": []any{}})
	}
	text, err := json.Marshal(docs)
	if err != nil {
		t.Fatal(err)
	}
	if docs == nil {
		return nil
	}
	drafts, err := app.DecodeList(text)
	if err != nil {
		t.Fatal(err)
	}
	c, err := tree.Update(now, drafts, app.Mode{})
	if err != nil {
		t.Fatal(err.(*app.Fault).Body)
	}
	var apps []*marathon.App
	for _, a := range c.Apps {
		apps = append(apps, a.New)
	}
	return apps
}

// of plans a change of a tree.
func of(tree *app.Tree, c app.Change, kill map[string][]string) (p *Plan) {
	tree.Preview(c, func(depth func(string) int) { p = New("id", c, depth, kill) })
	return p
}

// text of a plan's steps: "Stop /a | Start /b | Scale /b, Restart /c".
func text(p *Plan) string {
	var steps []string
	for _, s := range p.Steps {
		var actions []string
		for _, a := range s.Actions {
			actions = append(actions, strings.TrimSpace(fmt.Sprintf("%s %s %s",
				strings.TrimSuffix(string(a.Kind), "Application"), a.App, strings.Join(a.Kill, "+"))))
		}
		steps = append(steps, strings.Join(actions, ", "))
	}
	return strings.Join(steps, " | ")
}

// The facts of Marathon's DeploymentPlanTest, and of what is ours.
func TestPlan(t *testing.T) {
	for _, c := range []struct {
		name, from, to string
		kill           map[string][]string
		want           string
	}{
		{name: "nothing", from: "/a x 1", to: "/a x 1"},
		{
			name: "simple layers",
			to: `/test/database/a x 1
			     /test/service/b x 1 /test/database/a
			     /test/c x 1 /test/database/a
			     /test/d x 1 /test/service/b`,
			want: "Start /test/c, Start /test/d, Start /test/database/a, Start /test/service/b | " +
				"Scale /test/database/a | Scale /test/c, Scale /test/service/b | Scale /test/d",
		},
		{
			name: "layers by the longest path",
			to: `/a x 1 /b /c
			     /b x 1 /c
			     /c x 1 /d
			     /d x 1
			     /e x 1`,
			want: "Start /a, Start /b, Start /c, Start /d, Start /e | Scale /d, Scale /e | Scale /c | Scale /b | Scale /a",
		},
		{name: "from empty", to: "/group/app x 2", want: "Start /group/app | Scale /group/app"},
		{
			name: "from a running group",
			from: "/group/app x 1\n/group/app2 x 1\n/group/app3 x 1",
			to:   "/group/app y 1\n/group/app2 x 10\n/group/app4 x 1",
			want: "Stop /group/app3 | Start /group/app4 | Restart /group/app, Scale /group/app2, Scale /group/app4",
		},
		{
			name: "dependent updates",
			from: "/test/database/mongo mng1 4\n/test/service/srv1 srv1 4",
			to:   "/test/database/mongo mng2 8\n/test/service/srv1 srv2 10 /test/database/mongo",
			want: "Restart /test/database/mongo | Restart /test/service/srv1",
		},
		{
			name: "independent updates",
			from: "/test/database/mongo mng1 4\n/test/service/srv1 srv1 4",
			to:   "/test/database/mongo mng2 8\n/test/service/srv1 srv2 10",
			want: "Restart /test/database/mongo, Restart /test/service/srv1",
		},
		{
			name: "dependent and independent",
			from: `/test/database/mongo mng1 4
			       /test/service/srv1 srv1 4
			       /test/independent/app app1 1
			       /test/service/to-stop sleep 1 /test/database/mongo`,
			to: `/test/database/mongo mng2 8
			     /test/service/srv1 srv2 10 /test/database/mongo
			     /test/independent/app app2 3
			     /test/service/to-start sleep 2 /test/service/srv1`,
			want: "Stop /test/service/to-stop | Start /test/service/to-start | " +
				"Restart /test/database/mongo, Restart /test/independent/app | Restart /test/service/srv1 | Scale /test/service/to-start",
		},
		{name: "only a stop", from: "/test/independent/app x 3", want: "Stop /test/independent/app"},
		{
			name: "scaling with instances to kill",
			from: "/a x 3", to: "/a x 2", kill: map[string][]string{"/a": {"a.instance-1", "a.instance-2"}},
			want: "Scale /a a.instance-1+a.instance-2",
		},
		{name: "a change and no instance", from: "/a x 4", to: "/a y 0", want: "Scale /a"},
		{
			name: "stops in reverse order",
			from: "/db x 1\n/back x 1 /db\n/front x 1 /back\n/alone x 1\n/stays x 1",
			to:   "/stays x 1",
			want: "Stop /front | Stop /back | Stop /alone, Stop /db",
		},
		{
			name: "through what does not change",
			from: "/a x 1\n/b x 1 /a\n/c x 1 /b\n/d x 1",
			to:   "/a y 1\n/b x 1 /a\n/c y 1 /b\n/d y 1",
			want: "Restart /a, Restart /d | Restart /c",
		},
		{
			name: "a group is waited for",
			from: "/web/front x 1 /db",
			to:   "/web/front y 1 /db\n/db/a x 1\n/db/b x 1 /db/a",
			want: "Start /db/a, Start /db/b | Scale /db/a | Scale /db/b | Restart /web/front",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := newTree()
			tree.Load(marathon.VersionOf(now), definitions(t, c.from), nil)
			change, err := tree.RestoreGroup(now, "/", definitions(t, c.to), nil)
			if err != nil {
				t.Fatal(err.(*app.Fault).Body)
			}
			p := of(tree, change, c.kill)
			if got := text(p); got != c.want {
				t.Errorf("plan\n%s\nwant\n%s", got, c.want)
			}
			if p.ID != "id" || p.Version != change.Version {
				t.Errorf("plan %s of %s", p.ID, p.Version)
			}
		})
	}
}

func TestPlanOfARestart(t *testing.T) {
	tree := newTree()
	tree.Load(marathon.VersionOf(now), definitions(t, "/a x 1\n/b x 1 /a"), nil)
	c, err := tree.Restart(now, []string{"/a", "/b"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := text(of(tree, c, nil)), "Restart /a | Restart /b"; got != want {
		t.Errorf("plan %s, want %s", got, want)
	}
}

// A change that restarts nothing still holds its app, and lets its instances pass over.
func TestPlanWithoutRestart(t *testing.T) {
	tree := newTree()
	tree.Load(marathon.VersionOf(now), definitions(t, "/a x 1"), nil)
	d, err := app.DecodeList([]byte(`[{"id":"/a","labels":{"k":"v"}}]`))
	if err != nil {
		t.Fatal(err)
	}
	c, err := tree.Update(now, d, app.Mode{IfNeeded: true})
	if err != nil {
		t.Fatal(err)
	}
	p := of(tree, c, nil)
	if got, want := text(p), "Scale /a"; got != want {
		t.Errorf("plan %s, want %s", got, want)
	}
	if !slices.Equal(p.Locks(), []string{"/a"}) {
		t.Errorf("locks %v", p.Locks())
	}
}

func TestLocksAndChange(t *testing.T) {
	tree := newTree()
	tree.Load(marathon.VersionOf(now), definitions(t, "/a x 1\n/b x 1\n/z x 1"), nil)
	c, err := tree.RestoreGroup(now, "/", definitions(t, "/b y 1\n/c x 1\n/z x 1"), nil)
	if err != nil {
		t.Fatal(err)
	}
	p := of(tree, c, nil)
	if got := p.Locks(); !slices.Equal(got, []string{"/a", "/b", "/c"}) {
		t.Errorf("locks %v", got)
	}
	if p.Change("/a").New != nil || p.Change("/b").Old == nil || p.Change("/c").Old != nil || p.Change("/z") != nil || p.Change("/none") != nil {
		t.Errorf("changes %+v", p.Changes)
	}
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var back Plan
	err = json.Unmarshal(text, &back)
	if back.Index(); err != nil || !reflect.DeepEqual(&back, p) {
		t.Errorf("read back as %+v, %v", back, err)
	}
}
