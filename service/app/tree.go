package app

import (
	"slices"
	"strings"

	"github.com/stoa-kernel/stoa/api/marathon"
)

// tree is the current state with what makes a write to one app cheap: nothing below
// walks all apps unless it is asked about all of them.
type tree struct {
	o       Options
	version marathon.Version
	apps    map[string]*marathon.App
	// groups are all there are, defined or not, "/" always among them.
	groups map[string]*branch
	ports  ports
	// wanted counts the apps and groups that name an id as a dependency, whether or not
	// something is there.
	wanted map[string]int
	// instances that all apps want together, but those that follow the agents.
	instances int
	// volumes are the apps that use an external volume, by provider and name; true if
	// they do not share it.
	volumes map[string]map[string]bool
	// inherited are the apps that those of the group last asked about wait for because of
	// it and the groups above; no group is "".
	inherited struct {
		group string
		on    []string
	}
}

// branch is a group: defined, or there because something below it is.
type branch struct {
	id  string
	up  *branch // nil above "/"
	def *Group
	// below has the apps and groups directly in it, in order of key.
	below []entry
	// apps and defs count apps and defined groups below, and the definition itself.
	apps, defs int
}

// entry is an app under its name, or a group under its name and "/", so that a walk
// meets apps in the order of their whole ids.
type entry struct {
	key   string
	app   *marathon.App
	group *branch
}

// NewTree makes an empty one; Load fills it from what the store kept.
func NewTree(o Options) *Tree {
	return &Tree{tree{
		o:       o,
		apps:    map[string]*marathon.App{},
		groups:  map[string]*branch{"/": {id: "/"}},
		ports:   newPorts(o.PortMin, o.PortMax),
		wanted:  map[string]int{},
		volumes: map[string]map[string]bool{},
	}}
}

// Load puts stored values in, in any order, before the first write.
func (t *Tree) Load(version marathon.Version, apps []*marathon.App, groups []*Group) {
	t.version = max(t.version, version)
	t.inherited.group = ""
	for _, a := range apps {
		t.setApp(a.ID, a)
	}
	for _, g := range groups {
		t.setGroup(g.ID, g)
	}
}

// Version of the last write.
func (t *Tree) Version() marathon.Version { return t.version }

// App by absolute path, or nil.
func (t *Tree) App(id string) *marathon.App { return t.apps[id] }

// Apps calls f for every app below the group ("/" is all), in order of ID, until false.
func (t *Tree) Apps(group string, f func(*marathon.App) bool) {
	if n := t.groups[group]; n != nil {
		n.walk(f)
	}
}

func (n *branch) walk(f func(*marathon.App) bool) bool {
	for _, e := range n.below {
		if e.app != nil && !f(e.app) || e.group != nil && !e.group.walk(f) {
			return false
		}
	}
	return true
}

// Group by absolute path; ok is false if neither a definition nor an app is there or
// below. As in Marathon every group has the version of the last write.
func (t *Tree) Group(id string) (g Group, ok bool) {
	n := t.groups[id]
	if n == nil {
		return Group{}, false
	}
	return t.read(n), true
}

func (t *Tree) read(n *branch) Group {
	g := Group{ID: n.id}
	if n.def != nil {
		g = *n.def
	}
	g.Version = t.version
	return g
}

// Groups calls f for every group below and including the given one, parents first, until
// false.
func (t *Tree) Groups(group string, f func(Group) bool) {
	if n := t.groups[group]; n != nil {
		t.walkGroups(n, f)
	}
}

func (t *Tree) walkGroups(n *branch, f func(Group) bool) bool {
	if !f(t.read(n)) {
		return false
	}
	for _, e := range n.below {
		if e.group != nil && !t.walkGroups(e.group, f) {
			return false
		}
	}
	return true
}

// Apply carries out a change computed on this very state of the tree.
func (t *Tree) Apply(c Change) {
	t.carry(c, false)
	t.version = c.Version
}

// Preview calls f as the tree will be after a change that is not applied yet, with what a
// plan wants to know: depth counts the apps on the longest path of dependencies that
// begins at an app, itself included, after the change, and for apps that it removes
// before it. f must not write.
func (t *Tree) Preview(c Change, f func(depth func(app string) int)) {
	before := t.depths()
	removed := map[string]int{}
	for _, a := range c.Apps {
		if a.New == nil {
			removed[a.Old.ID] = before(a.Old.ID)
		}
	}
	t.carry(c, false)
	defer t.carry(c, true)
	after := t.depths()
	f(func(id string) int {
		if d, ok := removed[id]; ok {
			return d
		}
		return after(id)
	})
}

// carry puts the new values of a change in place, or with back the old ones.
func (t *tree) carry(c Change, back bool) {
	t.inherited.group = ""
	for i := range c.Apps {
		a := &c.Apps[i]
		if back {
			t.setApp(a.ID(), a.Old)
		} else {
			t.setApp(a.ID(), a.New)
		}
	}
	for _, g := range c.Groups {
		old, new := g.Old, g.New
		if old != nil && old.Version == "" {
			old = nil // it was there, but not defined
		}
		if back {
			old, new = new, old
		}
		if new != nil {
			t.setGroup(new.ID, new)
		} else if old != nil {
			t.setGroup(old.ID, nil)
		}
	}
}

// setApp puts an app in place of what is there; nil removes it.
func (t *tree) setApp(id string, a *marathon.App) {
	old := t.apps[id]
	if old != nil {
		t.account(old, -1)
	}
	if a != nil {
		t.account(a, 1)
		t.apps[id] = a
		n := t.ensure(parent(id))
		n.put(entry{key: name(id), app: a})
		if old == nil {
			n.count(1, 0)
		}
	} else if old != nil {
		delete(t.apps, id)
		n := t.groups[parent(id)]
		n.drop(name(id))
		n.count(-1, 0)
		t.prune(n)
	}
}

// setGroup defines a group; nil takes the definition away.
func (t *tree) setGroup(id string, g *Group) {
	n := t.groups[id]
	if n == nil {
		if g == nil {
			return
		}
		n = t.ensure(id)
	}
	if n.def != nil {
		t.want(n.def.Dependencies, -1)
		n.count(0, -1)
	}
	n.def = g
	if g != nil {
		t.want(g.Dependencies, 1)
		n.count(0, 1)
	}
	t.prune(n)
}

// account adds what an app takes to the indices, or takes it out.
func (t *tree) account(a *marathon.App, by int) {
	for _, p := range servicePorts(a) {
		t.ports.add(p, by)
	}
	t.want(a.Dependencies, by)
	if !a.PerAgent() {
		t.instances += by * a.Instances
	}
	externals(a, func(key string, exclusive bool) {
		users := t.volumes[key]
		switch {
		case by < 0:
			delete(users, a.ID)
			if len(users) == 0 {
				delete(t.volumes, key)
			}
		case users == nil:
			t.volumes[key] = map[string]bool{a.ID: exclusive}
		default:
			users[a.ID] = users[a.ID] || exclusive
		}
	})
}

func (t *tree) want(ids []string, by int) {
	for _, id := range ids {
		if t.wanted[id] += by; t.wanted[id] == 0 {
			delete(t.wanted, id)
		}
	}
}

// ensure returns the branch of a group, made with all above it if it is not there.
func (t *tree) ensure(id string) *branch {
	if n := t.groups[id]; n != nil {
		return n
	}
	up := t.ensure(parent(id))
	n := &branch{id: id, up: up}
	t.groups[id] = n
	up.put(entry{key: name(id) + "/", group: n})
	return n
}

// prune removes groups that nothing keeps, from n upwards.
func (t *tree) prune(n *branch) {
	for n.up != nil && n.apps == 0 && n.defs == 0 {
		delete(t.groups, n.id)
		n.up.drop(name(n.id) + "/")
		n = n.up
	}
}

func (n *branch) count(apps, defs int) {
	for ; n != nil; n = n.up {
		n.apps += apps
		n.defs += defs
	}
}

func (n *branch) find(key string) (int, bool) {
	return slices.BinarySearchFunc(n.below, key, func(e entry, key string) int {
		return strings.Compare(e.key, key)
	})
}

func (n *branch) put(e entry) {
	i, found := n.find(e.key)
	if found {
		n.below[i] = e
		return
	}
	n.below = slices.Insert(n.below, i, e)
}

func (n *branch) drop(key string) {
	if i, found := n.find(key); found {
		n.below = slices.Delete(n.below, i, i+1)
	}
}
