// Package http is the run framework's API:
//
//	POST   /v1/runs           a Spec; answers the Run
//	GET    /v1/runs           all runs, oldest first
//	GET    /v1/runs/ID        one; with ?watch=true a line of JSON now and for every change, until it is done
//	DELETE /v1/runs/ID        kills it; answers the Run
package http

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/stoa-kernel/stoa/internal/listen"
	"github.com/stoa-kernel/stoa/run/state"
)

// maxBody bounds a submitted Spec.
const maxBody = 1 << 20

// View is what readers see of the runs.
type View struct {
	mu      sync.Mutex
	runs    map[string]*state.Run
	changed chan struct{} // closed and replaced at every change
}

// NewView is empty.
func NewView() *View {
	return &View{runs: make(map[string]*state.Run), changed: make(chan struct{})}
}

// Publish replaces a run, or removes it when nil.
func (v *View) Publish(id string, r *state.Run) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if r == nil {
		delete(v.runs, id)
	} else {
		v.runs[id] = r
	}
	close(v.changed)
	v.changed = make(chan struct{})
}

func (v *View) get(id string) (*state.Run, <-chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.runs[id], v.changed
}

func (v *View) all() []*state.Run {
	v.mu.Lock()
	all := make([]*state.Run, 0, len(v.runs))
	for _, r := range v.runs {
		all = append(all, r)
	}
	v.mu.Unlock()
	slices.SortFunc(all, func(a, b *state.Run) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return all
}

// Asker hands a request to the loop and waits for its answer.
type Asker interface {
	Ask(ctx context.Context, in func(state.Token) state.Input) (state.Answer, error)
}

// Handler serves the API.
func Handler(view *View, loop Asker) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/runs", func(w http.ResponseWriter, r *http.Request) { write(w, http.StatusOK, view.all()) })
	mux.HandleFunc("POST /v1/runs", func(w http.ResponseWriter, r *http.Request) {
		// A web page of another site can post a form, but not JSON.
		if ct, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); ct != "application/json" {
			http.Error(w, "Content-Type must be application/json", http.StatusUnsupportedMediaType)
			return
		}
		spec, status, err := decode(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			http.Error(w, err.Error(), status)
			return
		}
		ask(w, r, loop, func(t state.Token) state.Input { return state.Submit{Token: t, Spec: spec} })
	})
	mux.HandleFunc("DELETE /v1/runs/{id}", func(w http.ResponseWriter, r *http.Request) {
		ask(w, r, loop, func(t state.Token) state.Input { return state.Cancel{Token: t, ID: r.PathValue("id")} })
	})
	mux.HandleFunc("GET /v1/runs/{id}", func(w http.ResponseWriter, r *http.Request) {
		run, _ := view.get(r.PathValue("id"))
		switch {
		case run == nil:
			http.Error(w, "no run "+r.PathValue("id")+" is known", http.StatusNotFound)
		case r.FormValue("watch") == "true":
			watch(w, r, view)
		default:
			write(w, http.StatusOK, run)
		}
	})
	return mux
}

func decode(body io.Reader) (spec state.Spec, status int, err error) {
	d := json.NewDecoder(body)
	d.DisallowUnknownFields()
	if err := d.Decode(&spec); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return spec, http.StatusRequestEntityTooLarge, fmt.Errorf("the body is larger than %d bytes", large.Limit)
		}
		return spec, http.StatusBadRequest, fmt.Errorf("the body is no run: %w", err)
	}
	if d.More() {
		return spec, http.StatusBadRequest, errors.New("the body is more than one JSON value")
	}
	return spec, 0, nil
}

func ask(w http.ResponseWriter, r *http.Request, loop Asker, in func(state.Token) state.Input) {
	a, err := loop.Ask(r.Context(), in)
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	case a.Run == nil:
		http.Error(w, a.Message, a.Status)
	default:
		write(w, a.Status, a.Run)
	}
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// A reader that is gone needs no answer.
	_ = json.NewEncoder(w).Encode(v)
}

func watch(w http.ResponseWriter, r *http.Request, view *View) {
	listen.Keep(listen.Conn(r.Context())) // it may be quiet for as long as the run lasts
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := http.NewResponseController(w)
	enc := json.NewEncoder(w)
	var last *state.Run
	for {
		run, changed := view.get(r.PathValue("id"))
		if run == nil {
			return
		}
		if run != last {
			last = run
			if enc.Encode(run) != nil || out.Flush() != nil {
				return
			}
		}
		if run.Done != nil {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}
