package role

import (
	"slices"
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	for _, good := range []string{"*", "a", "foo", "foo/bar", "foo/bar/baz", "a-b", "a.b", "...", ".a", "a*", "**", "\xff", "日本", strings.Repeat("r", maxLen)} {
		if err := Validate(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for bad, want := range map[string]string{
		"": "empty", ".": "component", "..": "component", "a/.": "component", "../a": "component", "a/../b": "component",
		"a/*": "component", "*/a": "component", "-a": "dash", "a/-b": "dash", "/": "starts", "/a": "starts", "a/": "ends", "a//b": "two slashes",
		"a b": "whitespace", "a\tb": "whitespace", "a\n": "whitespace", "a/b\r": "whitespace", "\v": "whitespace", "\f": "whitespace", "a\x7f": "delete",
		strings.Repeat("r", maxLen+1): "too long",
	} {
		err := Validate(bad)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: error %v, want one that says %q", bad, err, want)
		}
	}
}

func TestTree(t *testing.T) {
	for _, c := range []struct {
		child, parent string
		want          bool
	}{
		{"a/b", "a", true}, {"a/b/c", "a", true}, {"a/b/c", "a/b", true},
		{"a", "a", false}, {"a", "a/b", false}, {"ab", "a", false}, {"ab/c", "a", false}, {"a/bc", "a/b", false},
		{"a", "*", false}, {"*", "a", false}, {"b/a", "a", false}, {"a/b", "", false},
	} {
		if got := IsStrictSubrole(c.child, c.parent); got != c.want {
			t.Errorf("%s below %s: %v", c.child, c.parent, got)
		}
	}
	for _, c := range []struct {
		role, parent, top string
		ancestors         []string
	}{
		{"a", "", "a", nil},
		{"*", "", "*", nil},
		{"a/b", "a", "a", []string{"a"}},
		{"a/b/c", "a/b", "a", []string{"a/b", "a"}},
	} {
		if Parent(c.role) != c.parent || Top(c.role) != c.top || !slices.Equal(Ancestors(c.role), c.ancestors) {
			t.Errorf("%s: parent %q, top %q, ancestors %q", c.role, Parent(c.role), Top(c.role), Ancestors(c.role))
		}
		for _, up := range c.ancestors {
			if !IsStrictSubrole(c.role, up) {
				t.Errorf("%s is not below its ancestor %s", c.role, up)
			}
		}
	}
}
