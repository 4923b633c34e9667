package app

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
)

// CreateGroup refuses an id that is taken (409); UpdateGroup does not. The document's id
// resolves against id.
func (t *Tree) CreateGroup(now time.Time, id string, d *GroupDraft, m Mode) (Change, error) {
	w, err := t.groupWrite(Path(d.ID, id), d, m)
	if err != nil {
		return Change{}, err
	}
	id = Path(d.ID, id)
	if len(w.wrong.list) == 0 {
		if t.groups[id] != nil {
			return Change{}, conflict("Group %s is already created. Use PUT to change this group.", id)
		}
		if t.apps[id] != nil {
			return Change{}, conflict("An app with the path %s already exists.", id)
		}
	}
	return w.finish(now)
}

// UpdateGroup follows A7: given lists replace, omitted ones are kept; scaleBy alone. Apps
// in it are always whole definitions. The document's id resolves against id.
func (t *Tree) UpdateGroup(now time.Time, id string, d *GroupDraft, m Mode) (Change, error) {
	w, err := t.groupWrite(Path(d.ID, id), d, m)
	if err != nil {
		return Change{}, err
	}
	return w.finish(now)
}

func (t *Tree) groupWrite(id string, d *GroupDraft, m Mode) (*write, error) {
	w := t.write()
	w.ifNeeded, w.force = m.IfNeeded, m.Force
	switch {
	case m.MustExist && t.groups[id] == nil:
		return nil, notFound("Group", id)
	case d.Version != "":
		// RestoreGroup is for versions there are.
		return nil, unprocessable("Group %s not available in version %s", id, d.Version)
	case d.ScaleBy != nil:
		if t.groups[id] == nil {
			return nil, notFound("Group", id)
		}
		w.scaleBy(id, *d.ScaleBy)
	default:
		w.group(id, d, "", modifies(d))
	}
	return w, nil
}

// scaleBy multiplies the instances of every app below a group, rounding up. Apps that
// follow the agents are left out.
func (w *write) scaleBy(group string, factor float64) {
	w.t.Apps(group, func(a *marathon.App) bool {
		if a.PerAgent() {
			return true
		}
		n := math.Ceil(float64(a.Instances) * factor)
		if !(n >= 0 && n <= maxInstances) {
			w.wrong.add("/scaleBy", fmt.Sprintf("makes %g instances of %s, which is not between 0 and %d", n, a.ID, maxInstances))
			return false
		}
		w.scale(a, int(n))
		return true
	})
}

// modifies reports whether a group update touches apps, in which case it may not change
// who enforces roles.
func modifies(d *GroupDraft) bool {
	return d.HasApps || slices.ContainsFunc(d.Groups, modifies)
}

// group proposes what a group update makes of a group and of all below it.
func (w *write) group(id string, d *GroupDraft, prefix string, modifies bool) {
	if !w.validGroup(id, prefix) {
		return
	}
	w.enforceTop(id)
	n := w.t.groups[id]
	g := Group{ID: id}
	if n != nil && n.def != nil {
		g = *n.def
	}
	top := id != "/" && parent(id) == "/"
	switch {
	case d.EnforceRole == nil:
		if n == nil && top {
			g.EnforceRole = w.t.o.NewGroupEnforceRole == "top"
		}
	case !top && *d.EnforceRole:
		w.wrong.add(prefix+"/enforceRole",
			fmt.Sprintf("enforceRole can only be set for top-level groups, and %s is not top-level", id))
	case n != nil && modifies && *d.EnforceRole != g.EnforceRole:
		w.wrong.add(prefix+"/enforceRole", "enforceRole cannot be modified in a request that adds, removes "+
			"or modifies services; please make these changes in separate requests.")
	default:
		g.EnforceRole = *d.EnforceRole
	}
	if d.HasDeps {
		g.Dependencies = nil
		for _, dep := range d.Dependencies {
			g.Dependencies = append(g.Dependencies, Path(dep, id))
		}
		slices.Sort(g.Dependencies)
		g.Dependencies = slices.Compact(g.Dependencies)
	}
	w.groups[id] = &g

	if d.HasApps {
		if n != nil {
			for _, e := range n.below {
				if e.app != nil {
					w.apps[e.app.ID] = nil
				}
			}
		}
		for i, a := range d.Apps {
			if w.wrong.full() {
				return
			}
			at := fmt.Sprintf("%s/apps(%d)", prefix, i)
			app := Path(a.ID, id)
			switch {
			case app == "/" || parent(app) != id:
				w.wrong.add(at+"/id", fmt.Sprintf("Identifier is not child of '%s'", id))
			case w.apps[app] != nil:
				w.wrong.add(at+"/id", fmt.Sprintf("'%s' is there twice", app))
			default:
				w.define(app, a, id, at, true)
			}
		}
	}
	if d.HasGroups {
		kept := map[string]bool{}
		for i, sub := range d.Groups {
			if w.wrong.full() {
				return
			}
			at := fmt.Sprintf("%s/groups(%d)", prefix, i)
			child := Path(sub.ID, id)
			switch {
			case child == "/" || parent(child) != id:
				w.wrong.add(at+"/id", fmt.Sprintf("Identifier is not child of '%s'", id))
			case kept[child]:
				w.wrong.add(at+"/id", fmt.Sprintf("'%s' is there twice", child))
			case sub.ScaleBy != nil || sub.Version != "":
				w.wrong.add(at, "scaleBy and version are not allowed in a group inside of another one")
			default:
				kept[child] = true
				w.group(child, sub, at, modifies)
			}
		}
		if n != nil {
			for _, e := range n.below {
				if e.group != nil && !kept[e.group.id] {
					w.clear(e.group)
				}
			}
		}
	}
}

// validGroup checks a group's path, which may come from a URL.
func (w *write) validGroup(id, prefix string) bool {
	if strings.Count(id, "/") > maxPath {
		w.wrong.add(prefix+"/id", fmt.Sprintf("must not have more than %d path elements", maxPath))
		return false
	}
	if errs := pathErrors(id); id != "/" && len(errs) > 0 {
		w.wrong.add(prefix+"/id", errs...)
		return false
	}
	return true
}

// clear removes a group and all below it.
func (w *write) clear(n *branch) {
	n.walk(func(a *marathon.App) bool {
		w.apps[a.ID] = nil
		return true
	})
	w.undefine(n)
}

// undefine takes away the definitions of a group and of those below it.
func (w *write) undefine(n *branch) {
	if n.def != nil {
		w.groups[n.id] = nil
	}
	for _, e := range n.below {
		if e.group != nil {
			w.undefine(e.group)
		}
	}
}

// DeleteGroup removes a group and all below it: 404 if there is none. "/" is emptied.
func (t *Tree) DeleteGroup(now time.Time, id string) (Change, error) {
	n := t.groups[id]
	if n == nil {
		return Change{}, notFound("Group", id)
	}
	w := t.write()
	w.clear(n)
	return w.finish(now)
}

// EnforceRole sets whether apps in a group at the top must have its role; those that
// have another one keep it.
func (t *Tree) EnforceRole(now time.Time, id string, enforce bool) (Change, error) {
	if id == "/" || parent(id) != "/" {
		return Change{}, invalid([]marathon.Violation{{Path: "/", Errors: []string{"Path needs to be top-level"}}})
	}
	n := t.groups[id]
	if n == nil {
		return Change{}, notFound("Group", id)
	}
	g := Group{ID: id}
	if n.def != nil {
		g = *n.def
	}
	g.EnforceRole = enforce
	w := t.write()
	w.groups[id] = &g
	return w.finish(now)
}

// RestoreGroup makes apps and groups the content of group id, as they were at a version.
// groups has the definition of id itself, if it had one; what is outside of id is left out.
func (t *Tree) RestoreGroup(now time.Time, id string, apps []*marathon.App, groups []*Group) (Change, error) {
	w := t.write()
	w.past, w.force = true, true
	w.validGroup(id, "")
	if n := t.groups[id]; n != nil {
		w.clear(n)
	}
	inside := func(path string) bool {
		return id == "/" || path == id || strings.HasPrefix(path, id+"/")
	}
	for _, a := range apps {
		if a.ID != id && inside(a.ID) {
			w.reinstate(a)
		}
	}
	for _, g := range groups {
		if inside(g.ID) {
			w.groups[g.ID] = g
		}
	}
	return w.finish(now)
}

// Revert computes the write that takes back changes, for what nobody changed since
// (B2: created apps are removed, apps that others touched are left; of a group's
// dependencies those added are removed and those removed added again).
func (t *Tree) Revert(now time.Time, changes []AppChange, groups []GroupChange) (Change, error) {
	w := t.write()
	w.past, w.exempt = true, true
	w.anew = map[string]bool{}
	// gone counts the apps and definitions below a group that are taken back. What comes
	// back does not matter: a group that was created with the changes had nothing before.
	gone := map[string]int{}
	remove := func(id string) {
		above(id, func(g string) bool {
			gone[g]++
			return true
		})
	}
	for i := range changes {
		c := &changes[i]
		id := c.ID()
		now := t.apps[id]
		switch {
		case c.New == nil && now == nil:
			w.apps[id] = c.Old
		case c.New == nil || now == nil || now.Version != c.New.Version:
			// Somebody else's by now.
		case c.Old == nil:
			w.apps[id] = nil
			remove(id)
		default:
			w.apps[id] = c.Old
			w.anew[id] = true // what was launched for the change has to go
		}
	}
	inner := slices.SortedFunc(slices.Values(groups), func(a, b GroupChange) int {
		return cmp.Compare(b.id(), a.id())
	})
	for _, c := range inner {
		if w.revertGroup(c, gone[c.id()]) {
			remove(c.id())
		}
	}
	return w.finish(now)
}

func (c GroupChange) id() string {
	if c.New != nil {
		return c.New.ID
	}
	return c.Old.ID
}

// revertGroup reports whether the definition goes. gone is how much below it does.
func (w *write) revertGroup(c GroupChange, gone int) bool {
	id := c.id()
	n := w.t.groups[id]
	g := Group{ID: id}
	defined := n != nil && n.def != nil
	if defined {
		g = *n.def
	}
	old, new := c.Old, c.New
	left := -gone // apps and definitions below, without this one
	if defined {
		left += n.apps + n.defs - 1
	}
	implicit := old != nil && old.Version == ""
	switch {
	case new == nil && !defined:
		g = *old
	case new == nil:
		g.Dependencies = difference(g.Dependencies, nil, old.Dependencies)
	case !defined:
		return false // somebody removed it
	case sameGroup(&g, new) && (implicit || old == nil && left == 0):
		w.groups[id] = nil
		return true
	case old == nil:
		g.Dependencies = difference(g.Dependencies, new.Dependencies, nil)
	default:
		g.Dependencies = difference(g.Dependencies,
			difference(new.Dependencies, old.Dependencies, nil), difference(old.Dependencies, new.Dependencies, nil))
		if g.EnforceRole == new.EnforceRole {
			g.EnforceRole = old.EnforceRole
		}
	}
	w.groups[id] = &g
	return false
}

// difference is a without what is in minus and with what is in plus, in order.
func difference(a, minus, plus []string) []string {
	var d []string
	for _, id := range a {
		if !slices.Contains(minus, id) {
			d = append(d, id)
		}
	}
	d = append(d, plus...)
	slices.Sort(d)
	return slices.Compact(d)
}
