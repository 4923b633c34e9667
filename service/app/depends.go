package app

import (
	"slices"

	"github.com/stoa-kernel/stoa/api/marathon"
)

// Depends returns the apps that id waits for: its own dependencies and those of its
// groups, groups replaced by the apps in them, missing ones left out, in order. The list
// may be shared: it is only for reading.
func (t *Tree) Depends(id string) []string {
	a := t.apps[id]
	if a == nil {
		return nil
	}
	// Apps of one group are mostly asked about one after the other.
	if group := parent(id); t.inherited.group != group {
		var on []string
		for n := t.groups[group]; n != nil; n = n.up {
			if n.def != nil {
				on = t.expand(on, n.def.Dependencies)
			}
		}
		slices.Sort(on)
		t.inherited.group, t.inherited.on = group, slices.Compact(on)
	}
	own := t.expand(nil, a.Dependencies)
	if len(own) == 0 {
		return t.inherited.on
	}
	own = append(own, t.inherited.on...)
	slices.Sort(own)
	return slices.Compact(own)
}

// Dependent reports whether an app names something that it depends on, or a group it is
// in does; whether that exists does not matter.
func (t *Tree) Dependent(id string) bool {
	if a := t.apps[id]; a == nil || len(a.Dependencies) > 0 {
		return a != nil
	}
	for n := t.groups[parent(id)]; n != nil; n = n.up {
		if n.def != nil && len(n.def.Dependencies) > 0 {
			return true
		}
	}
	return false
}

// expand appends the apps that dependencies lead to.
func (t *Tree) expand(on, dependencies []string) []string {
	for _, d := range dependencies {
		if t.apps[d] != nil {
			on = append(on, d)
		} else if n := t.groups[d]; n != nil {
			n.walk(func(a *marathon.App) bool {
				on = append(on, a.ID)
				return true
			})
		}
	}
	return on
}

// vertex is a point of the graph of dependencies, which has no edge per pair of apps of
// two groups: an app leads to what it names and to outside of its group, that to what
// the group names and to outside of the group around it; inside of a group leads to the
// apps and groups in it. One app waits for another if there is a path.
type vertex struct {
	kind byte // 'a'pp, 'o'utside or 'i'nside of a group
	id   string
}

func (t *Tree) successors(v vertex) []vertex {
	var next []vertex
	name := func(ids []string) {
		for _, d := range ids {
			if t.apps[d] != nil {
				next = append(next, vertex{'a', d})
			} else if t.groups[d] != nil {
				next = append(next, vertex{'i', d})
			}
		}
	}
	switch v.kind {
	case 'a':
		name(t.apps[v.id].Dependencies)
		next = append(next, vertex{'o', parent(v.id)})
	case 'o':
		n := t.groups[v.id]
		if n.def != nil {
			name(n.def.Dependencies)
		}
		if n.up != nil {
			next = append(next, vertex{'o', n.up.id})
		}
	case 'i':
		for _, e := range t.groups[v.id].below {
			if e.app != nil {
				next = append(next, vertex{'a', e.app.ID})
			} else {
				next = append(next, vertex{'i', e.group.id})
			}
		}
	}
	return next
}

// cyclic reports whether a change that has been carried out made a cycle. Only through
// an app or group that it gave dependencies to, or an app that it created, can one go.
func (t *Tree) cyclic(c Change) bool {
	const open, done = 1, 2
	state := map[vertex]byte{}
	type frame struct {
		v    vertex
		next []vertex
	}
	from := func(start vertex) bool {
		if state[start] != 0 {
			return false
		}
		state[start] = open
		stack := []frame{{start, t.successors(start)}}
		for len(stack) > 0 {
			f := &stack[len(stack)-1]
			if len(f.next) == 0 {
				state[f.v] = done
				stack = stack[:len(stack)-1]
				continue
			}
			v := f.next[0]
			f.next = f.next[1:]
			switch state[v] {
			case open:
				return true
			case 0:
				state[v] = open
				stack = append(stack, frame{v, t.successors(v)})
			}
		}
		return false
	}
	for _, a := range c.Apps {
		if a.New == nil || a.Old != nil && slices.Equal(a.Old.Dependencies, a.New.Dependencies) {
			continue
		}
		waits, wanted := len(a.New.Dependencies) > 0, t.wanted[a.New.ID] > 0
		above(a.New.ID, func(g string) bool {
			n := t.groups[g]
			waits = waits || n.def != nil && len(n.def.Dependencies) > 0
			wanted = wanted || t.wanted[g] > 0
			return true
		})
		if waits && wanted && from(vertex{'a', a.New.ID}) {
			return true
		}
	}
	for _, g := range c.Groups {
		if g.New != nil && len(g.New.Dependencies) > 0 && from(vertex{'o', g.New.ID}) {
			return true
		}
	}
	return false
}

// depths returns a function that counts the apps on the longest path from an app, as long
// as the tree stays as it is. It looks only at what the app waits for, and once.
func (t *Tree) depths() func(app string) int {
	depth := map[vertex]int{}
	type frame struct {
		v    vertex
		next []vertex
		most int
	}
	return func(app string) int {
		start := vertex{'a', app}
		if t.apps[app] == nil {
			return 0
		}
		if d, ok := depth[start]; ok {
			return d
		}
		stack := []frame{{v: start, next: t.successors(start)}}
		for {
			f := &stack[len(stack)-1]
			if len(f.next) > 0 {
				v := f.next[0]
				f.next = f.next[1:]
				if d, ok := depth[v]; ok {
					f.most = max(f.most, d)
				} else {
					depth[v] = 0 // a cycle, which no tree has, would end here
					stack = append(stack, frame{v: v, next: t.successors(v)})
				}
				continue
			}
			d := f.most
			if f.v.kind == 'a' {
				d++
			}
			depth[f.v] = d
			stack = stack[:len(stack)-1]
			if len(stack) == 0 {
				return d
			}
			up := &stack[len(stack)-1]
			up.most = max(up.most, d)
		}
	}
}
