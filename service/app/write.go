package app

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
)

// maxPath bounds how deep apps may be nested; an id has no other bound than the document.
const maxPath = 64

// write is one write being computed: what is to be there, and what is wrong with that.
type write struct {
	t *Tree
	// apps and groups are proposals by id; nil removes.
	apps   map[string]*marathon.App
	groups map[string]*Group
	// anew are apps that get a new version although nothing about them changed.
	anew map[string]bool
	// restart was asked for, or is to be only where it is needed.
	restart, ifNeeded bool
	// scaling is a write that sets instances and nothing else.
	scaling bool
	past    bool // see allotment
	force   bool
	// exempt are changes that go back: what was, may be again.
	exempt bool
	// where in the document an app is, if it is not all of it.
	where map[string]string
	wrong violations
}

func (t *Tree) write() *write {
	return &write{t: t, apps: map[string]*marathon.App{}, groups: map[string]*Group{}, where: map[string]string{}}
}

// violations are collected by path, each once; a bound keeps the answer to a large
// document in proportion.
type violations struct {
	list []marathon.Violation
	at   map[string]int
}

func (v *violations) add(path string, errors ...string) {
	path = clip(path, maxSaid)
	i, found := v.at[path]
	if !found && v.full() {
		return
	}
	if !found {
		if v.at == nil {
			v.at = map[string]int{}
		}
		i = len(v.list)
		v.at[path] = i
		v.list = append(v.list, marathon.Violation{Path: path})
	}
	for _, e := range errors {
		e = clip(e, maxSaid)
		if !slices.Contains(v.list[i].Errors, e) {
			v.list[i].Errors = append(v.list[i].Errors, e)
		}
	}
}

// full says that no more of them are answered: the rest of the document need not be read.
func (v *violations) full() bool { return len(v.list) >= maxViolations }

// below adds what is wrong with a part of the document.
func (v *violations) below(prefix string, list []marathon.Violation) {
	for _, w := range list {
		path := w.Path
		if prefix != "" && path == "/" {
			path = ""
		}
		v.add(prefix+path, w.Errors...)
	}
}

// app as it is in this write.
func (w *write) app(id string) *marathon.App {
	if a, ok := w.apps[id]; ok {
		return a
	}
	return w.t.apps[id]
}

// Create adds an app: 409 if something is there, 422 with every violation.
func (t *Tree) Create(now time.Time, d *Draft) (Change, error) {
	w := t.write()
	id := Path(d.ID, "/")
	w.define(id, d, "/", "", true)
	if len(w.wrong.list) == 0 && t.apps[id] != nil {
		return Change{}, conflict("An app with id [%s] already exists.", id)
	}
	return w.finish(now)
}

// Update changes or creates apps in one write; relative ids resolve against "/". Drafts
// of one app follow each other.
func (t *Tree) Update(now time.Time, drafts []*Draft, m Mode) (Change, error) {
	w := t.write()
	w.ifNeeded, w.force = m.IfNeeded, m.Force
	for i, d := range drafts {
		if w.wrong.full() {
			break
		}
		id := Path(d.ID, "/")
		prefix := ""
		if len(drafts) > 1 {
			prefix = fmt.Sprintf("(%d)", i)
		}
		if m.MustExist && w.app(id) == nil {
			return Change{}, notFound("App", id)
		}
		if d.Version != "" && !m.Replace {
			return Change{}, unprocessable("App '%s' cannot go back to version %s together with other changes; "+
				"send {\"version\": ...} to /v2/apps%s alone", id, d.Version, id)
		}
		w.define(id, d, "/", prefix, m.Replace)
	}
	return w.finish(now)
}

// define proposes what a document makes of an app: alone, or merged with what is there.
// Relative dependencies resolve against base.
func (w *write) define(id string, d *Draft, base, prefix string, alone bool) {
	if strings.Count(id, "/") > maxPath {
		w.wrong.add(prefix+"/id", fmt.Sprintf("must not have more than %d path elements", maxPath))
		return
	}
	if id == "/" {
		w.wrong.add(prefix+"/id", "Path must contain at least one path element")
		return
	}
	w.enforceTop(id)
	old := w.app(id)
	o, roles := w.roles(id)
	var a *marathon.App
	var wrong []marathon.Violation
	if old == nil || alone {
		a, wrong = d.build(id, o)
	} else {
		a, wrong = d.merge(old, o)
	}
	w.wrong.below(prefix, wrong)
	if a == nil {
		return
	}
	resolve(a, base)
	w.wrong.below(prefix, validate(a, w.t.o))
	if !slices.Contains(roles, a.Role) {
		w.wrong.add(prefix+"/role", fmt.Sprintf("got %s, expected one of: [%s]", a.Role, strings.Join(roles, ", ")))
	}
	if n := w.t.groups[id]; n != nil && n.apps == 0 {
		// A group without any app gives way (as Marathon 1.10, RootGroup.updateApp).
		w.undefine(n)
	}
	w.apps[id] = a
	w.where[id] = prefix
}

// resolve makes the dependencies of an app just built absolute, each once.
func resolve(a *marathon.App, base string) {
	for i, d := range a.Dependencies {
		if abs := Path(d, base); abs != d {
			a.Dependencies = slices.Clone(a.Dependencies)
			for ; i < len(a.Dependencies); i++ {
				a.Dependencies[i] = Path(a.Dependencies[i], base)
			}
			a.Dependencies = distinct(a.Dependencies)
			return
		}
	}
}

// Rollback makes old the definition again, with a new version: 404 if the app is gone.
func (t *Tree) Rollback(now time.Time, old *marathon.App) (Change, error) {
	w := t.write()
	if t.apps[old.ID] == nil {
		return Change{}, notFound("App", old.ID)
	}
	w.past, w.force = true, true
	w.reinstate(old)
	return w.finish(now)
}

// reinstate proposes a definition of an earlier version. Its role may stay even if it
// would not be given today; the rest must hold.
func (w *write) reinstate(a *marathon.App) {
	w.wrong.below("", validate(a, w.t.o))
	w.apps[a.ID] = a
}

// Restart gives apps a new version with the same content; unknown ones are refused with
// 404.
func (t *Tree) Restart(now time.Time, ids []string) (Change, error) {
	w := t.write()
	w.restart = true
	for _, id := range ids {
		a := t.apps[id]
		if a == nil {
			return Change{}, notFound("App", id)
		}
		w.apps[id] = a
	}
	return w.finish(now)
}

// Scale sets instances; ids that are unknown are refused with 404.
func (t *Tree) Scale(now time.Time, instances map[string]int) (Change, error) {
	w := t.write()
	w.scaling = true
	for _, id := range slices.Sorted(maps.Keys(instances)) {
		if t.apps[id] == nil {
			return Change{}, notFound("App", id)
		}
		w.scale(t.apps[id], instances[id])
	}
	return w.finish(now)
}

func (w *write) scale(a *marathon.App, instances int) {
	if instances == a.Instances {
		return
	}
	scaled := *a
	scaled.Instances = instances
	w.wrong.below("", validate(&scaled, w.t.o))
	w.apps[a.ID] = &scaled
}

// Delete removes an app: 404 if there is none.
func (t *Tree) Delete(now time.Time, id string) (Change, error) {
	if t.apps[id] == nil {
		return Change{}, notFound("App", id)
	}
	w := t.write()
	w.apps[id] = nil
	return w.finish(now)
}

// finish turns the proposals into a change, or into what is wrong with them.
func (w *write) finish(now time.Time) (Change, error) {
	if len(w.wrong.list) > 0 {
		return Change{}, invalid(w.wrong.list)
	}
	t := w.t
	c := Change{Version: t.after(now)}
	l := w.allot()
	w.settle()
	for _, id := range slices.Sorted(maps.Keys(w.apps)) {
		old, a := t.apps[id], w.apps[id]
		if a == nil {
			if old != nil {
				c.Apps = append(c.Apps, AppChange{Old: old})
			}
			continue
		}
		next := *a
		if old != nil && old.PerAgent() && next.PerAgent() && !w.scaling {
			next.Instances = old.Instances // the agents' number, whatever documents say
		}
		if err := l.assign(&next, old); err != nil {
			return Change{}, err
		}
		if change, ok := w.revise(c.Version, old, &next); ok {
			c.Apps = append(c.Apps, change)
			if old != nil && !w.exempt {
				w.wrong.below(w.where[id], residentChange(old, &next, w.force))
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(w.groups)) {
		var old *Group
		if n := t.groups[id]; n != nil {
			if old = n.def; old == nil {
				old = &Group{ID: id} // there, but not defined
			}
		}
		g := w.groups[id]
		switch {
		case g == nil:
			if old != nil && old.Version != "" {
				c.Groups = append(c.Groups, GroupChange{Old: old})
			}
		case old == nil || old.Version == "" || !sameGroup(old, g):
			next := *g
			next.Version = c.Version
			c.Groups = append(c.Groups, GroupChange{Old: old, New: &next})
		}
	}
	w.examine(c)
	if len(w.wrong.list) > 0 {
		return Change{}, invalid(w.wrong.list)
	}
	return c, nil
}

// settle defines the groups that what is written is in, so that they stay when what is in
// them goes (as Marathon does).
func (w *write) settle() {
	define := func(g string) bool {
		given, ok := w.groups[g]
		if n := w.t.groups[g]; g != "/" && given == nil && (ok || n == nil || n.def == nil) {
			w.groups[g] = &Group{ID: g}
		}
		return true
	}
	for _, id := range slices.Sorted(maps.Keys(w.apps)) {
		if w.apps[id] != nil {
			above(id, define)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(w.groups)) {
		if w.groups[id] != nil {
			above(id, define)
		}
	}
}

func sameGroup(a, b *Group) bool {
	return a.EnforceRole == b.EnforceRole && slices.Equal(a.Dependencies, b.Dependencies)
}

// examine checks the rules between apps and groups that a change could break. It looks
// at the tree with the change in place, and takes it back.
func (w *write) examine(c Change) {
	t, wrong := w.t, &w.wrong
	before, instances := len(t.apps), t.instances
	t.carry(c, false)
	defer t.carry(c, true)

	clash := func(id string) {
		taken := t.apps[id] != nil && t.groups[id] != nil
		above(id, func(g string) bool {
			taken = taken || t.apps[g] != nil
			return true
		})
		if taken {
			wrong.add("/", "Groups and Applications may not have the same identifier.")
		}
	}
	for i := range c.Apps {
		if a := c.Apps[i]; a.Old == nil {
			clash(a.New.ID)
		}
		if a := c.Apps[i].New; a != nil {
			wrong.below(w.where[a.ID], t.shared(a))
		}
	}
	for _, g := range c.Groups {
		if g.Old == nil {
			clash(g.New.ID)
		}
	}
	if limit := t.o.MaxApps; limit > 0 && len(t.apps) > limit && len(t.apps) > before {
		wrong.add("/", fmt.Sprintf("This Marathon instance may only handle up to %d Apps!\n"+
			"(Override with command line option --max_apps)", limit))
	}
	if t.instances > maxAllInstances && t.instances > instances && !w.exempt {
		wrong.add("/", fmt.Sprintf("makes %d instances of all apps, which is more than %d", t.instances, maxAllInstances))
	}
	if t.cyclic(c) {
		wrong.add("/", "Dependency graph has cyclic dependencies.")
	}
}
