package http

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"

	"github.com/stoa-kernel/stoa/api/marathon"
)

// difference lists the fields in which two definitions differ, in order of path; nil is
// one without any field. Arrays are compared whole. Versions are left out.
func difference(old, new *marathon.App) ([]marathon.FieldChange, error) {
	a, err := fields(old)
	if err != nil {
		return nil, err
	}
	b, err := fields(new)
	if err != nil {
		return nil, err
	}
	return compare([]marathon.FieldChange{}, "", a, b), nil
}

func fields(a *marathon.App) (map[string]any, error) {
	m := make(map[string]any)
	if a == nil {
		return m, nil
	}
	text, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, err
	}
	delete(m, "version")
	delete(m, "versionInfo")
	return m, nil
}

func compare(out []marathon.FieldChange, path string, a, b map[string]any) []marathon.FieldChange {
	names := slices.Collect(maps.Keys(a))
	for name := range b {
		if _, ok := a[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		x, y := a[name], b[name]
		inner, ok := x.(map[string]any)
		other, too := y.(map[string]any)
		switch {
		case ok && too:
			out = compare(out, path+"/"+name, inner, other)
		case !reflect.DeepEqual(x, y):
			out = append(out, marathon.FieldChange{Path: path + "/" + name, Old: x, New: y})
		}
	}
	return out
}
