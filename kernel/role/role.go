// Package role has the names frameworks get resources under, and their tree: "eng/web"
// is below "eng". Rules are those of Mesos 1.11 (docs/roles.md, src/common/roles.cpp).
package role

import (
	"errors"
	"fmt"
	"strings"
)

// Default is the role of frameworks that name none, and what unreserved resources are
// shown under. Nothing can be reserved to it.
const Default = "*"

// maxLen bounds what is kept of a name; Mesos has no bound.
const maxLen = 4096

// Validate says what is wrong with a role's name: empty, empty components, components
// ".", ".." or "*", a leading dash, whitespace or a delete character.
func Validate(role string) error {
	switch {
	case role == Default:
		return nil
	case role == "":
		return errors.New("a role cannot be empty")
	case len(role) > maxLen:
		return fmt.Errorf("a role of %d bytes is too long: at most %d", len(role), maxLen)
	case role[0] == '/':
		return fmt.Errorf("role %q starts with a slash", role)
	case role[len(role)-1] == '/':
		return fmt.Errorf("role %q ends with a slash", role)
	}
	for component := range strings.SplitSeq(role, "/") {
		switch {
		case component == "":
			return fmt.Errorf("role %q has two slashes in a row", role)
		case component == ".", component == "..", component == Default:
			return fmt.Errorf("role %q has the component %q", role, component)
		case component[0] == '-':
			return fmt.Errorf("role %q has a component that starts with a dash, %q", role, component)
		case strings.ContainsAny(component, "\t\n\v\f\r \x7f"):
			return fmt.Errorf("role %q has whitespace or a delete character in it", role)
		}
	}
	return nil
}

// IsStrictSubrole reports whether child is below parent, at any depth.
func IsStrictSubrole(child, parent string) bool {
	return len(child) > len(parent) && child[len(parent)] == '/' && child[:len(parent)] == parent
}

// Parent is the role one level up, "" for a role at the top.
func Parent(role string) string {
	return role[:max(strings.LastIndexByte(role, '/'), 0)]
}

// Top is the first component.
func Top(role string) string {
	top, _, _ := strings.Cut(role, "/")
	return top
}

// Ancestors are the roles above role, nearest first.
func Ancestors(role string) []string {
	n := strings.Count(role, "/")
	if n == 0 {
		return nil
	}
	all := make([]string, 0, n)
	for p := Parent(role); p != ""; p = Parent(p) {
		all = append(all, p)
	}
	return all
}
