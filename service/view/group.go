package view

import (
	"slices"
	"strings"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/app"
)

// Group is one group at one moment, with all below it.
type Group struct {
	ID           string
	Dependencies []string
	EnforceRole  bool
	// Version is that of the tree, as in Marathon.
	Version marathon.Version
	// Apps and Groups directly in it, in order of id.
	Apps   []*App
	Groups []*Group
}

// Group by path, nil if neither a definition nor an app is there or below; "/" is always
// there.
func (v *View) Group(id string) *Group {
	v.mu.Lock()
	pages, root := v.below(id), v.root
	var defined []*app.Group
	for _, g := range v.groups {
		if g.ID == id || id == "/" || strings.HasPrefix(g.ID, id+"/") {
			defined = append(defined, g)
		}
	}
	v.mu.Unlock()
	if len(pages) == 0 && len(defined) == 0 && id != "/" {
		return nil
	}
	return Tree(id, root, pages, defined)
}

// HasGroup reports whether Group would find one.
func (v *View) HasGroup(id string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return id == "/" || v.inside[id] > 0
}

// Tree puts apps and definitions of groups below id together.
func Tree(id string, root marathon.Version, pages []*App, defined []*app.Group) *Group {
	groups := make(map[string]*Group)
	var of func(path string) *Group
	of = func(path string) *Group {
		g := groups[path]
		if g == nil {
			g = &Group{ID: path, Version: root, Dependencies: []string{}}
			groups[path] = g
			if path != id {
				up := of(parent(path))
				up.Groups = append(up.Groups, g)
			}
		}
		return g
	}
	top := of(id)
	for _, d := range defined {
		g := of(d.ID)
		g.EnforceRole = d.EnforceRole
		if d.Dependencies != nil {
			g.Dependencies = d.Dependencies
		}
	}
	for _, p := range pages {
		g := of(parent(p.Def.ID))
		g.Apps = append(g.Apps, p)
	}
	for _, g := range groups {
		slices.SortFunc(g.Groups, func(a, b *Group) int { return strings.Compare(a.ID, b.ID) })
	}
	return top
}

// parent of an absolute path.
func parent(id string) string {
	if at := strings.LastIndexByte(id, '/'); at > 0 {
		return id[:at]
	}
	return "/"
}

// fill counts what is in a group and all groups above it once more, or with -1 once
// less. Those that anything is in are there: they are defined or apps are below them.
func (v *view) fill(id string, by int) {
	for ; id != "/"; id = parent(id) {
		if v.inside[id] += by; v.inside[id] == 0 {
			delete(v.inside, id)
		}
	}
	v.totals.Groups = len(v.inside)
}
