package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/stoa-kernel/stoa/api/marathon"
)

// verbs are what actions do, in words.
var verbs = map[string]string{
	"StartApplication": "create", "ScaleApplication": "scale", "RestartApplication": "replace", "StopApplication": "stop",
}

func verb(action string) string {
	if v := verbs[action]; v != "" {
		return v
	}
	return action
}

// given are the paths of values that documents name, by app: of a new app only these are
// worth showing, the rest are defaults.
type given map[string]map[string]bool

// showPlan shows what would change, field by field, and in which steps.
func showPlan(w io.Writer, p *marathon.DryRun, g given) {
	c := painter(w)
	for i := range p.Changes {
		showChange(w, c, &p.Changes[i], g[p.Changes[i].App])
	}
	if len(p.Steps) == 0 {
		return
	}
	fmt.Fprintf(w, "%s\n", count(len(p.Steps), "step"))
	for n, s := range p.Steps {
		var actions []string
		for _, a := range s.Actions[:min(len(s.Actions), 10)] {
			actions = append(actions, verb(a.Action)+" "+clean(a.App))
		}
		if more := len(s.Actions) - len(actions); more > 0 {
			actions = append(actions, fmt.Sprintf("and %d more", more))
		}
		fmt.Fprintf(w, "  %d  %s\n", n+1, strings.Join(actions, ", "))
	}
}

func showChange(w io.Writer, c paint, p *marathon.PlannedChange, named map[string]bool) {
	app := clean(p.App)
	switch {
	case p.Deleted:
		fmt.Fprintln(w, c.in(red, "- "+app)+"  removed")
		return
	case p.Created:
		fmt.Fprintln(w, c.in(green, "+ "+app)+"  new")
	case p.Restart:
		fmt.Fprintln(w, c.in(yellow, "~ "+app)+"  instances are replaced")
	default:
		fmt.Fprintln(w, c.in(yellow, "~ "+app)+"  no instance is replaced")
	}
	for i := range p.Changes {
		f := &p.Changes[i]
		top, _, _ := strings.Cut(strings.TrimPrefix(f.Path, "/"), "/")
		for _, l := range lines(f) {
			if p.Created && (top == "id" || named != nil && !named[l.path] && !named["/"+top]) {
				continue
			}
			fmt.Fprintln(w, "    "+l.in(c))
		}
	}
}

// leaf is one value that differs.
type leaf struct {
	path     string
	old, new any // nil is absent
}

func (l leaf) in(c paint) string {
	path := clean(strings.TrimPrefix(l.path, "/"))
	switch {
	case l.old == nil:
		return c.in(green, "+ "+path+": "+value(l.new))
	case l.new == nil:
		return c.in(red, "- "+path+": "+value(l.old))
	}
	return c.in(yellow, "~ "+path+": ") + value(l.old) + " → " + value(l.new)
}

// value is JSON, but for strings that read well without quotes.
func value(v any) string {
	if s, ok := v.(string); ok && s != "" && !strings.ContainsAny(s, " \t\n\"'→") {
		if _, err := strconv.ParseFloat(s, 64); err != nil && s != "true" && s != "false" && s != "null" {
			return clean(s)
		}
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return clean(fmt.Sprint(v))
	}
	const most = 200
	return cut(clean(strings.TrimSuffix(b.String(), "\n")), most)
}

// lines are the values in which a field differs; the API compares arrays whole, here they
// are compared by place.
func lines(f *marathon.FieldChange) []leaf {
	old, new := map[string]any{}, map[string]any{}
	flatten(old, f.Path, f.Old)
	flatten(new, f.Path, f.New)
	paths := slices.Collect(maps.Keys(old))
	for p := range new {
		if _, ok := old[p]; !ok {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	var out []leaf
	for _, p := range paths {
		if !reflect.DeepEqual(old[p], new[p]) {
			out = append(out, leaf{p, old[p], new[p]})
		}
	}
	return out
}

func flatten(to map[string]any, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		if len(v) > 0 {
			for name, inner := range v {
				flatten(to, path+"/"+name, inner)
			}
			return
		}
	case []any:
		// Short lists of plain values, as constraints have, read better in one line.
		if slices.ContainsFunc(v, composite) {
			for i, inner := range v {
				flatten(to, fmt.Sprintf("%s(%d)", path, i), inner)
			}
			return
		}
	}
	if v != nil {
		to[path] = v
	}
}

func composite(v any) bool {
	switch v.(type) {
	case map[string]any, []any:
		return true
	}
	return false
}

// count is "1 step" or "2 steps".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
