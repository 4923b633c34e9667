// Package request is what every HTTP API does with a request before it looks at what it
// means: it finds where the path leads, sets deadlines, takes in the body in bounded time
// and memory, decodes the v1 call in it, and refuses in words.
//
// Whatever comes in is hostile. Status codes and their order are those of Mesos 1.11
// (src/master/http.cpp, src/slave/http.cpp).
package request

import (
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Refuse answers with a text.
func Refuse(w http.ResponseWriter, status int, message string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(message)))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, message) // the client may be gone
}

// Refusal is a status and the text that goes with it.
type Refusal struct {
	Status  int
	Message string
}

// Write answers with it.
func (r *Refusal) Write(w http.ResponseWriter) { Refuse(w, r.Status, r.Message) }

// IsPost answers 405 to any other method.
func IsPost(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodPost {
		return true
	}
	w.Header().Set("Allow", http.MethodPost)
	Refuse(w, http.StatusMethodNotAllowed, "Expecting one of { 'POST' }, but received '"+Clip(r.Method)+"'")
	return false
}

// Clip bounds what of a request is said back, to 200 bytes.
func Clip(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}

// Routes lead paths and everything below them to what serves them.
type Routes[To any] struct {
	// Root is a first segment that may stand before every path, without slashes.
	Root string
	// Paths have no slash at their end.
	Paths map[string]To
	// Ends are those of the paths that have nothing below them.
	Ends []string
}

// Find is the route with the longest matching path, as in Mesos (/api/v1/operator is
// /api/v1), and what of the path is below it, without its outer slashes.
func (t *Routes[To]) Find(path string) (to To, below string, ok bool) {
	if to, ok = t.Paths[path]; ok { // as most are
		return to, "", true
	}
	segments := strings.FieldsFunc(path, func(c rune) bool { return c == '/' })
	if len(segments) > 1 && segments[0] == t.Root {
		segments = segments[1:]
	}
	for n := len(segments); n > 0; n-- {
		path := "/" + strings.Join(segments[:n], "/")
		if n < len(segments) && slices.Contains(t.Ends, path) {
			continue
		}
		if to, ok = t.Paths[path]; ok {
			return to, strings.Join(segments[n:], "/"), true
		}
	}
	return to, "", false
}
