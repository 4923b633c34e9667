package app

import (
	"slices"
	"strings"
)

// roles says what role an app gets where its document names none, in the options to
// build it with, and which it may have (as Marathon 1.10, RoleSettings): the role it has
// may stay whatever its group enforces.
func (w *write) roles(id string) (o Options, valid []string) {
	o = w.t.o
	o.Role = o.role()
	valid = []string{o.Role}
	if top := topOf(id); top != "" {
		if w.enforces(top) {
			o.Role = top[1:]
			valid = []string{o.Role}
		} else if top[1:] != o.Role {
			valid = append(valid, top[1:])
		}
	}
	if a := w.t.apps[id]; a != nil && !slices.Contains(valid, a.Role) {
		valid = append(valid, a.Role)
	}
	return o, valid
}

// topOf an app is the group at the top it is in; "" if it is in "/" itself.
func topOf(id string) string {
	if i := strings.IndexByte(id[1:], '/'); i >= 0 {
		return id[:i+1]
	}
	return ""
}

func (w *write) enforces(top string) bool {
	if g := w.groups[top]; g != nil {
		return g.EnforceRole
	}
	n := w.t.groups[top]
	return n != nil && n.def != nil && n.def.EnforceRole
}

// enforceTop defines the group at the top that a new app or group comes to be in, if new
// groups enforce their role.
func (w *write) enforceTop(id string) {
	top := topOf(id)
	if top != "" && w.t.o.NewGroupEnforceRole == "top" && w.t.groups[top] == nil && w.groups[top] == nil {
		w.groups[top] = &Group{ID: top, EnforceRole: true}
	}
}
