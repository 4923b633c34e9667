package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/stoa-kernel/stoa/api/marathon"
)

// maxDocument bounds a file, as the service bounds a request.
const maxDocument = 10 << 20

// document is an app or a group that users wrote.
type document struct {
	source string
	// id is absolute.
	id    string
	group bool
	body  map[string]any
}

// documents reads files, directories (their .json, .yaml and .yml files, in order) and
// "-", which is standard input.
func (s *session) documents(names []string) ([]document, error) {
	var all []document
	for _, name := range names {
		files := []string{name}
		if info, err := os.Stat(name); name != "-" && err == nil && info.IsDir() {
			entries, err := os.ReadDir(name)
			if err != nil {
				return nil, unreadable(name, err)
			}
			files = nil
			for _, e := range entries {
				switch filepath.Ext(e.Name()) {
				case ".json", ".yaml", ".yml":
					files = append(files, filepath.Join(name, e.Name()))
				}
			}
			if len(files) == 0 {
				return nil, &Error{What: name + " has no .json, .yaml or .yml file", Code: ExitUsage}
			}
		}
		for _, file := range files {
			text, err := s.read(file)
			if err != nil {
				return nil, unreadable(file, err)
			}
			if file == "-" {
				file = "standard input"
			}
			found, err := parse(file, text)
			if err != nil {
				return nil, err
			}
			all = append(all, found...)
		}
	}
	if len(all) == 0 {
		return nil, &Error{What: strings.Join(names, ", ") + ": there is no app and no group in it", Code: ExitUsage}
	}
	seen := map[string]string{}
	for _, d := range all {
		if before, twice := seen[d.id]; twice {
			return nil, &Error{What: fmt.Sprintf("%s is defined twice", d.id), Why: "in " + before + " and in " + d.source, Code: ExitUsage}
		}
		seen[d.id] = d.source
	}
	return all, nil
}

func unreadable(file string, err error) error {
	return &Error{What: file + " cannot be read", Why: err.Error(), Code: ExitUsage}
}

func (s *session) read(file string) ([]byte, error) {
	var from io.Reader = s.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		from = f
	}
	text, err := io.ReadAll(io.LimitReader(from, maxDocument+1))
	if err == nil && len(text) > maxDocument {
		err = fmt.Errorf("it is larger than %s", mem(maxDocument>>20))
	}
	return text, err
}

// parse reads JSON values, one after the other, or YAML documents.
func parse(file string, text []byte) ([]document, error) {
	var values []any
	var err error
	if t := bytes.TrimSpace(text); len(t) > 0 && (t[0] == '{' || t[0] == '[') {
		values, err = parseJSON(text)
		// YAML may begin with a brace too.
		if other, e := parseYAML(text); err != nil && e == nil {
			values, err = other, nil
		}
	} else {
		values, err = parseYAML(text)
	}
	if err != nil {
		return nil, &Error{What: file + " is neither JSON nor YAML", Why: err.Error(), Code: ExitUsage}
	}
	var all []document
	for _, v := range values {
		list, many := v.([]any)
		if !many {
			list = []any{v}
		}
		for _, one := range list {
			d, err := documentOf(file, one)
			if err != nil {
				return nil, err
			}
			all = append(all, d)
		}
	}
	return all, nil
}

func parseJSON(text []byte) ([]any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var values []any
	for {
		var v any
		err := d.Decode(&v)
		if err == io.EOF {
			return values, nil
		}
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			before := text[:min(int(syntax.Offset), len(text))]
			return nil, fmt.Errorf("line %d, column %d: %w", bytes.Count(before, []byte("\n"))+1, len(before)-bytes.LastIndexByte(before, '\n')-1, err)
		}
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
}

// parseYAML reads documents separated by lines of three dashes.
func parseYAML(text []byte) ([]any, error) {
	var values []any
	first, line := 1, 0
	var part []byte
	flush := func() error {
		raw, err := yaml.YAMLToJSONStrict(part)
		if err != nil {
			where := ""
			if first > 1 {
				where = fmt.Sprintf("in the document that begins with line %d: ", first)
			}
			return fmt.Errorf("%s%w", where, err)
		}
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		var v any
		if err := d.Decode(&v); err != nil {
			return err
		}
		if v != nil {
			values = append(values, v)
		}
		part, first = nil, line+1
		return nil
	}
	for l := range bytes.Lines(text) {
		line++
		if t := bytes.TrimRight(l, " \t\r\n"); bytes.Equal(t, []byte("---")) || bytes.HasPrefix(l, []byte("--- ")) {
			if err := flush(); err != nil {
				return nil, err
			}
			if rest, ok := bytes.CutPrefix(l, []byte("--- ")); ok && len(bytes.TrimSpace(rest)) > 0 {
				part = append(part, rest...)
			}
			continue
		}
		part = append(part, l...)
	}
	return values, flush()
}

func documentOf(file string, v any) (document, error) {
	body, ok := v.(map[string]any)
	if !ok {
		return document{}, &Error{What: fmt.Sprintf("%s: %s is neither an app nor a group", file, value(v)), Code: ExitUsage}
	}
	d := document{source: file, body: body}
	_, apps := body["apps"]
	_, groups := body["groups"]
	d.group = apps || groups
	id, _ := body["id"].(string)
	if id == "" {
		if !d.group {
			return d, &Error{What: file + ": an app has no id", Try: `"id": "/name"`, Code: ExitUsage}
		}
		id = "/" // as Marathon takes a group without one
	}
	d.id = appID(id)
	body["id"] = d.id
	return d, nil
}

// each calls do for the document's apps, with their ids.
func (d *document) each(do func(id string, app map[string]any)) {
	if !d.group {
		do(d.id, d.body)
		return
	}
	below(d.id, d.body, do)
}

func below(group string, body map[string]any, do func(id string, app map[string]any)) {
	inner := func(name string, do func(id string, body map[string]any)) {
		list, _ := body[name].([]any)
		for _, one := range list {
			body, _ := one.(map[string]any)
			id, _ := body["id"].(string)
			if id == "" {
				continue // the service says what is wrong with it
			}
			if !strings.HasPrefix(id, "/") {
				id = strings.TrimSuffix(group, "/") + "/" + strings.Trim(id, "/")
			}
			do(appID(id), body)
		}
	}
	inner("apps", do)
	inner("groups", func(id string, body map[string]any) { below(id, body, do) })
}

// appFields are the names of an app's fields, older forms and what is only read included.
var appFields = fieldsOf(reflect.TypeFor[marathon.App](), reflect.TypeFor[marathon.AppInfo](), reflect.TypeFor[marathon.TaskCounts]())

func fieldsOf(types ...reflect.Type) map[string]bool {
	names := map[string]bool{"ports": true, "uris": true, "ipAddress": true, "storeUrls": true, "healthChecks": true}
	for _, t := range types {
		for i := range t.NumField() {
			if name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); name != "" {
				names[name] = true
			}
		}
	}
	return names
}

// unknown are the fields of apps that mean nothing: the service ignores them, as Marathon
// does, which hides a mistake in a name.
func (d *document) unknown() []string {
	var out []string
	d.each(func(id string, app map[string]any) {
		for name := range app {
			if appFields[name] {
				continue
			}
			text := fmt.Sprintf("%s: %s has a field %q that means nothing", d.source, id, clean(name))
			if near := nearest(name, slices.Collect(maps.Keys(appFields))); near != "" {
				text += fmt.Sprintf("; did you mean %q?", near)
			}
			out = append(out, text)
		}
	})
	slices.Sort(out)
	return out
}

// nearest of several is what a name may have been meant for, "" if none is near.
func nearest(name string, of []string) string {
	best, least := "", 3
	for _, one := range of {
		if n := distance(strings.ToLower(name), strings.ToLower(one)); n < least || n == least && best != "" && one < best {
			best, least = one, n
		}
	}
	return best
}

// distance is how many letters have to be added, dropped or changed.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := before
			if a[i] != b[j] {
				cost = 1 + min(before, row[j], row[j+1])
			}
			before, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
