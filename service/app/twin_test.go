package app

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stoa-kernel/stoa/api/marathon"
)

// twin is the dumb version of a tree: two maps, everything worked out anew from them.
type twin struct {
	apps   map[string]spec
	groups map[string][]string // dependencies of those that are defined
}

type spec struct {
	cmd       string
	instances int
	deps      string
	ports     int
}

func (w twin) clone() twin {
	return twin{maps.Clone(w.apps), maps.Clone(w.groups)}
}

func below(id, group string) bool { return group == "/" || strings.HasPrefix(id, group+"/") }

func (w twin) appsBelow(group string) (ids []string) {
	for id := range w.apps {
		if below(id, group) {
			ids = append(ids, id)
		}
	}
	return ids
}

// valid says whether no app is where a group is, and nothing waits for itself.
func (w twin) valid() bool {
	groups := map[string]bool{}
	for id := range w.apps {
		above(id, func(g string) bool { groups[g] = true; return true })
	}
	for id := range w.groups {
		groups[id] = true
		above(id, func(g string) bool { groups[g] = true; return true })
	}
	for id := range w.apps {
		if groups[id] {
			return false
		}
	}
	reach := map[string]map[string]bool{}
	for id := range w.apps {
		reach[id] = map[string]bool{}
		for _, d := range w.depends(id) {
			reach[id][d] = true
		}
	}
	for grown := true; grown; {
		grown = false
		for a := range reach {
			for b := range maps.Clone(reach[a]) {
				for c := range reach[b] {
					if !reach[a][c] {
						reach[a][c] = true
						grown = true
					}
				}
			}
		}
	}
	for id := range reach {
		if reach[id][id] {
			return false
		}
	}
	return true
}

func (w twin) depends(id string) []string {
	deps := strings.Fields(w.apps[id].deps)
	above(id, func(g string) bool { deps = append(deps, w.groups[g]...); return true })
	on := map[string]bool{}
	for _, d := range deps {
		if _, ok := w.apps[d]; ok {
			on[d] = true
			continue
		}
		for _, a := range w.appsBelow(d) {
			on[a] = true
		}
	}
	return slices.Sorted(maps.Keys(on))
}

func (w twin) clear(group string) {
	maps.DeleteFunc(w.apps, func(id string, _ spec) bool { return below(id, group) })
	maps.DeleteFunc(w.groups, func(id string, _ []string) bool { return id == group || below(id, group) })
}

// depth counts the apps on the longest path from one.
func (w twin) depth(id string, known map[string]int) int {
	if d, ok := known[id]; ok {
		return d
	}
	most := 0
	for _, d := range w.depends(id) {
		most = max(most, w.depth(d, known))
	}
	known[id] = most + 1
	return most + 1
}

// define puts an app; a group that was without apps gives way.
func (w twin) define(id string, s spec, before twin) {
	if _, was := before.apps[id]; !was && len(before.appsBelow(id)) == 0 {
		for g := range before.groups {
			if g == id || below(g, id) {
				delete(w.groups, g)
			}
		}
	}
	w.apps[id] = s
}

// groupDoc is a group update that both understand.
type groupDoc struct {
	id     string
	apps   map[string]spec // nil: not given
	groups []groupDoc      // nil: not given
	deps   []string        // nil: not given
}

func (w twin) put(d groupDoc, before twin) {
	if d.deps != nil {
		w.groups[d.id] = slices.Sorted(slices.Values(d.deps))
	} else if w.groups[d.id] == nil {
		w.groups[d.id] = []string{}
	}
	if d.apps != nil {
		for id := range before.apps {
			if parent(id) == d.id {
				delete(w.apps, id)
			}
		}
		for id, s := range d.apps {
			w.define(id, s, before)
		}
	}
	if d.groups == nil {
		return
	}
	kept := map[string]bool{}
	for _, g := range d.groups {
		kept[g.id] = true
		w.put(g, before)
	}
	gone := map[string]bool{}
	note := func(id string) {
		child := id
		for parent(child) != d.id && child != "/" {
			child = parent(child)
		}
		if child != "/" && !kept[child] {
			gone[child] = true
		}
	}
	for id := range before.apps {
		if parent(id) != d.id {
			note(id)
		}
	}
	for id := range before.groups {
		note(id)
	}
	for g := range gone {
		for id := range before.apps {
			if below(id, g) {
				delete(w.apps, id)
			}
		}
		for id := range before.groups {
			if id == g || below(id, g) {
				delete(w.groups, id)
			}
		}
	}
}

func (s spec) fields() map[string]any {
	ports := []map[string]int{}
	for range s.ports {
		ports = append(ports, map[string]int{"port": 0})
	}
	return map[string]any{"cmd": s.cmd, "instances": s.instances,
		"dependencies": strings.Fields(s.deps), "portDefinitions": ports}
}

func (d groupDoc) fields() map[string]any {
	m := map[string]any{"id": d.id}
	if d.deps != nil {
		m["dependencies"] = d.deps
	}
	if d.apps != nil {
		apps := []any{}
		for _, id := range slices.Sorted(maps.Keys(d.apps)) {
			a := d.apps[id].fields()
			a["id"] = id
			apps = append(apps, a)
		}
		m["apps"] = apps
	}
	if d.groups != nil {
		groups := []any{}
		for _, g := range d.groups {
			groups = append(groups, g.fields())
		}
		m["groups"] = groups
	}
	return m
}

// pair makes the same writes to a tree and its twin.
type pair struct {
	*bed
	rng  *rand.Rand
	twin twin
	// past are definitions there were; last is the last change and what was before it.
	past   []*marathon.App
	last   Change
	before twin
	taken  map[string]bool // why writes were refused, and what was done
}

func (p *pair) id() string {
	id := ""
	for range 1 + p.rng.IntN(3) {
		id += "/" + string(rune('a'+p.rng.IntN(3)))
	}
	return id
}

func (p *pair) spec() spec {
	s := spec{cmd: "sleep " + string(rune('1'+p.rng.IntN(4))), instances: p.rng.IntN(5), ports: p.rng.IntN(3)}
	s.deps = strings.Join(p.deps(), " ")
	return s
}

func (p *pair) deps() []string {
	deps := map[string]bool{}
	for p.rng.IntN(3) == 0 {
		deps[p.id()] = true
	}
	return slices.Sorted(maps.Keys(deps))
}

func (p *pair) groupDoc(id string, depth int) groupDoc {
	d := groupDoc{id: id}
	if p.rng.IntN(3) == 0 {
		d.deps = append([]string{}, p.deps()...)
	}
	child := func() string { return strings.TrimSuffix(id, "/") + "/" + string(rune('a'+p.rng.IntN(3))) }
	if p.rng.IntN(2) == 0 && depth < 4 {
		d.apps = map[string]spec{}
		for range p.rng.IntN(3) {
			d.apps[child()] = p.spec()
		}
	}
	if p.rng.IntN(2) == 0 && depth < 3 {
		d.groups = []groupDoc{}
		seen := map[string]bool{}
		for range p.rng.IntN(3) {
			if c := child(); !seen[c] {
				seen[c] = true
				d.groups = append(d.groups, p.groupDoc(c, depth+1))
			}
		}
	}
	return d
}

func text(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

// step makes a random write. It returns what was done, what the twin expects (nil: a
// refusal), and what the tree said.
func (p *pair) step() (what string, want *twin, c Change, err error) {
	before, next := p.twin, p.twin.clone()
	exists := func(id string) bool { _, ok := before.apps[id]; return ok }
	group := func(id string) bool { _, ok := before.groups[id]; return ok || len(before.appsBelow(id)) > 0 }
	ok := true
	id := p.id()
	switch what = []string{"create", "update", "update", "patch", "delete", "deleteGroup", "put", "put", "put",
		"scale", "restart", "scaleBy", "rollback", "revert", "restore"}[p.rng.IntN(15)]; what {
	case "create":
		s := p.spec()
		doc := s.fields()
		doc["id"] = id
		ok = !exists(id)
		next.define(id, s, before)
		c, err = p.create(text(doc))
	case "update", "patch":
		mode := Mode{Replace: p.rng.IntN(3) == 0, MustExist: what == "patch"}
		var docs []any
		for range 1 + p.rng.IntN(2) {
			id := p.id()
			was, there := next.apps[id]
			ok = ok && (there || what == "update")
			s := p.spec()
			doc := s.fields()
			doc["id"] = id
			if there && !mode.Replace && p.rng.IntN(2) == 0 {
				s.deps, s.ports, s.cmd = was.deps, was.ports, was.cmd
				delete(doc, "dependencies")
				delete(doc, "portDefinitions")
				delete(doc, "cmd")
			}
			next.define(id, s, before)
			docs = append(docs, doc)
		}
		c, err = p.update(text(docs), mode)
	case "delete":
		ok = exists(id)
		delete(next.apps, id)
		c, err = p.Delete(p.tick(), id)
	case "deleteGroup":
		ok = group(id)
		for g := range before.groups {
			ok = ok || below(g, id)
		}
		next.clear(id)
		c, err = p.DeleteGroup(p.tick(), id)
	case "put":
		if p.rng.IntN(4) == 0 {
			id = "/"
		}
		d := p.groupDoc(id, strings.Count(id, "/"))
		next.put(d, before)
		c, err = p.put("/", text(d.fields()))
	case "scale":
		ok = exists(id)
		s := next.apps[id]
		s.instances = p.rng.IntN(5)
		next.apps[id] = s
		c, err = p.Scale(p.tick(), map[string]int{id: s.instances})
	case "restart":
		ok = exists(id)
		c, err = p.Restart(p.tick(), []string{id})
	case "scaleBy":
		factor := float64(p.rng.IntN(5)) / 2
		for _, a := range before.appsBelow(id) {
			s := next.apps[a]
			s.instances = int(math.Ceil(float64(s.instances) * factor))
			next.apps[a] = s
		}
		_, ok = p.Group(id)
		c, err = p.put(id, fmt.Sprintf(`{"scaleBy":%v}`, factor))
	case "rollback":
		if len(p.past) == 0 {
			return what, &next, Change{Version: p.after(p.tick())}, nil
		}
		a := p.past[p.rng.IntN(len(p.past))]
		ok = exists(a.ID)
		next.apps[a.ID] = specOf(a)
		c, err = p.Rollback(p.tick(), a)
	case "revert":
		next = p.before.clone()
		c, err = p.Revert(p.tick(), p.last.Apps, p.last.Groups)
	case "restore":
		var apps []*marathon.App
		next.clear(id)
		for _, a := range p.past {
			if below(a.ID, id) && p.rng.IntN(3) == 0 {
				apps = append(apps, a)
				next.apps[a.ID] = specOf(a)
			}
		}
		next.groups[id] = []string{}
		c, err = p.RestoreGroup(p.tick(), id, apps, []*Group{{ID: id}})
	}
	next.settle()
	if !ok || !next.valid() {
		return what, nil, c, err
	}
	return what, &next, c, err
}

// settle defines the groups that anything is in.
func (w twin) settle() {
	define := func(g string) bool {
		if g != "/" && w.groups[g] == nil {
			w.groups[g] = []string{}
		}
		return true
	}
	for id := range w.apps {
		above(id, define)
	}
	for id := range maps.Clone(w.groups) {
		above(id, define)
	}
}

func specOf(a *marathon.App) spec {
	return spec{cmd: *a.Cmd, instances: a.Instances, deps: strings.Join(a.Dependencies, " "), ports: len(a.PortDefinitions)}
}

// Random writes to a tree and to its twin: both refuse the same, a refused write and one
// that is not applied leave no trace, the indices are those of a tree built anew, no
// automatic port is given twice, versions grow, and what is taken back is as it was.
func TestTreeAgainstTwin(t *testing.T) {
	did := map[string]int{}
	for seed := range uint64(60) {
		p := &pair{bed: newBed(t, func(o *Options) { o.PortMin, o.PortMax = 10000, 10012 }),
			rng:  rand.New(rand.NewPCG(seed, 1)),
			twin: twin{map[string]spec{}, map[string][]string{}}}
		p.before = p.twin
		for i := range 120 {
			trace := fingerprint(p.Tree)
			what, want, c, err := p.step()
			at := fmt.Sprintf("seed %d, write %d (%s)", seed, i, what)
			if got := fingerprint(p.Tree); got != trace {
				t.Fatalf("%s: left a trace before it was applied:\n%s\nbefore:\n%s", at, got, trace)
			}
			if err != nil {
				f := err.(*Fault)
				did[fmt.Sprintf("%s %d", what, f.Status)]++
				if f.Status != 500 && want != nil {
					t.Fatalf("%s: refused with %s, the twin expects %+v", at, text(f.Body), *want)
				}
				continue
			}
			if want == nil {
				t.Fatalf("%s: not refused: %+v", at, c)
			}
			did[what]++
			p.accepted(at, want, c)
		}
	}
	for _, what := range []string{"create", "create 409", "create 422", "update", "update 422", "patch", "patch 404", "delete", "delete 404",
		"deleteGroup", "deleteGroup 404", "put", "put 422", "put 500", "scale", "restart", "scaleBy", "rollback", "revert", "restore"} {
		if did[what] == 0 {
			t.Errorf("never happened: %s", what)
		}
	}
}

func (p *pair) accepted(at string, want *twin, c Change) {
	p.t.Helper()
	if c.Version <= p.version {
		p.t.Fatalf("%s: version %s after %s", at, c.Version, p.version)
	}
	apps := map[string]*marathon.App{}
	maps.Copy(apps, p.apps)
	for _, a := range c.Apps {
		if apps[a.ID()] != a.Old || a.New != nil && a.New.Version != c.Version {
			p.t.Fatalf("%s: change of %s from %p, which is %p", at, a.ID(), a.Old, apps[a.ID()])
		}
		if a.Old != nil {
			p.past = append(p.past, a.Old)
		}
		if a.New == nil {
			delete(apps, a.ID())
		} else {
			apps[a.ID()] = a.New
		}
	}
	was, is := map[string]int{}, map[string]int{}
	trace := fingerprint(p.Tree)
	p.Preview(c, func(depth func(string) int) {
		for _, a := range c.Apps {
			deep := 0
			if a.New == nil {
				deep = p.twin.depth(a.ID(), was)
			} else {
				deep = want.depth(a.ID(), is)
			}
			if got := depth(a.ID()); got != deep {
				p.t.Fatalf("%s: %s is at depth %d, the twin's at %d", at, a.ID(), got, deep)
			}
		}
	})
	if fingerprint(p.Tree) != trace {
		p.t.Fatalf("%s: a preview left a trace", at)
	}
	p.before, p.last, p.twin = p.twin, c, *want
	p.Apply(c)
	if !maps.Equal(apps, p.apps) {
		p.t.Fatalf("%s: apps are not those of the change", at)
	}
	var groups []*Group
	used := map[int]string{}
	for id, a := range p.apps {
		if got := specOf(a); got != want.apps[id] {
			p.t.Fatalf("%s: %s is %+v, the twin's %+v", at, id, got, want.apps[id])
		}
		if got := p.Depends(id); !slices.Equal(got, want.depends(id)) {
			p.t.Fatalf("%s: %s depends on %v, the twin's on %v", at, id, got, want.depends(id))
		}
		for _, port := range servicePorts(a) {
			if used[port] != "" || port < p.o.PortMin || port >= p.o.PortMax {
				p.t.Fatalf("%s: %s has port %d of %q", at, id, port, used[port])
			}
			used[port] = id
		}
	}
	for id, n := range p.groups {
		if n.def != nil {
			groups = append(groups, n.def)
			if !slices.Equal(n.def.Dependencies, want.groups[id]) {
				p.t.Fatalf("%s: %s depends on %v, the twin's on %v", at, id, n.def.Dependencies, want.groups[id])
			}
		}
	}
	if len(p.apps) != len(want.apps) || len(groups) != len(want.groups) {
		p.t.Fatalf("%s: %d apps, %d groups, the twin has %d, %d", at, len(p.apps), len(groups), len(want.apps), len(want.groups))
	}
	anew := NewTree(p.o)
	anew.Load(c.Version, slices.Collect(maps.Values(p.apps)), groups)
	if got, want := fingerprint(p.Tree), fingerprint(anew); got != want {
		p.t.Fatalf("%s: indices\n%s\nof a tree built anew\n%s", at, got, want)
	}
}
