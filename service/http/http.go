// Package http is Marathon's REST API (as Marathon 1.10, docs/rest-api): it decodes
// requests, asks the core or the view, and answers in Marathon's shapes.
//
// What Stoa adds: ?restart=if-needed and ?dryRun=true on writes of apps, POST
// /v2/apps/{id}/rollback, /v2/apps/{id}/versions?embed=history,
// /v2/deployments?embed=waiting, POST /v2/deployments/{id}/{promote|pause|resume}, and
// /v2/why?app={id}.
package http

import (
	"context"
	"net/http"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/internal/request"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/state"
	"github.com/stoa-kernel/stoa/service/view"
	"github.com/stoa-kernel/stoa/service/why"
)

// Config is what the endpoints need.
type Config struct {
	View *view.View
	// Ask gives the core a request and waits for its answer.
	Ask func(ctx context.Context, in func(state.Token) state.Input) (state.Result, error)
	// Version loads a stored definition of an app, nil if there is none.
	Version func(ctx context.Context, app string, v marathon.Version) (*state.StoredApp, error)
	// Versions lists what the store has of an app, newest first.
	Versions func(ctx context.Context, app string) ([]state.StoredApp, error)
	// Roots lists the versions of the tree that have a group, newest first; Group is the
	// group's content at one.
	Roots func(ctx context.Context, group string) ([]marathon.Version, error)
	Group func(ctx context.Context, id string, v marathon.Version) (*state.GroupVersion, error)
	// WhatIf asks the master what is in the way of resources for a role; nil if nobody can be asked.
	WhatIf func(ctx context.Context, role, resources string) *why.Kernel
	// Events is GET /v2/events, Callbacks /v2/eventSubscriptions.
	Events, Callbacks http.Handler
	// Metrics is /metrics and /metrics/prometheus.
	Metrics http.Handler
	// Backup writes all that is kept to a file, Restore makes the next term begin with it.
	Backup, Restore func(ctx context.Context, uri string) error
	// Levels is /logging.
	Levels *Levels
	// Counters of what went to the kernel and came from it, under Marathon's names.
	Counters func() map[string]int64
	// Abdicate has no request come here any more, and returns what restarts the service
	// role (DELETE /v2/leader).
	Abdicate func() (end func())
	// Info has what /v2/info shows beside what the view knows.
	Info    Info
	Options app.Options
	// Credentials "user:password" for basic authentication; "" for none.
	Credentials, Realm string
	// Origin for CORS (--access-control-allow-origin); "" for none.
	Origin []string
	// MaxRequests at a time; 0 is no bound.
	MaxRequests int
}

// Info is the static part of /v2/info.
type Info struct {
	Version, BuildRef string
	// Started is when the process did.
	Started time.Time
	// Scheme is "http" or "https".
	Scheme string
	// Leader is this process, "host:port"; FrameworkID is asked each time.
	Leader      string
	FrameworkID func() string
	// Config is marathon_config, with credentials removed; HTTP is http_config.
	Config, Zookeeper, HTTP map[string]any
}

const (
	// maxBody is the longest body of a request.
	maxBody = 10 << 20
	// bodies is how much of bodies above 64 KiB is held at a time, and about how much of what
	// is decoded from large ones.
	bodies = 16 << 20
	// bodyTimeout is for how long a body may take to arrive, writeTimeout for how long a
	// client may take nothing of an answer, coreTimeout for how long the core may take.
	bodyTimeout  = 30 * time.Second
	writeTimeout = 30 * time.Second
	coreTimeout  = 60 * time.Second
)

// server answers on the leader.
type server struct {
	Config
	bodies  *request.Bodies
	origins *http.CrossOriginProtection
	busy    chan struct{} // nil: no bound
	meters  *meters
}

// New makes the handler of the leader.
func New(c Config) http.Handler {
	s := &server{
		Config: c, bodies: request.NewBodies(maxBody, bodyTimeout, bodies), origins: http.NewCrossOriginProtection(),
		meters: newMeters(),
	}
	if s.Realm == "" {
		s.Realm = "Mesosphere"
	}
	if c.MaxRequests > 0 {
		s.busy = make(chan struct{}, c.MaxRequests)
	}
	return s
}

// ServeHTTP implements http.Handler.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	path := segments(r.URL.Path)
	stream := len(path) == 2 && path[0] == "v2" && path[1] == "events"
	counted := &counter{ResponseWriter: w}
	s.meters.begin(stream)
	defer func() { s.meters.end(r.Method, counted.status, time.Since(began), stream) }()
	w = counted
	s.headers(w, r)
	if !stream {
		s.bodies.Deadlines(w, r, coreTimeout+writeTimeout)
	}
	if s.busy != nil && !stream { // streams last, and are bounded by themselves
		select {
		case s.busy <- struct{}{}:
			defer func() { <-s.busy }()
		default:
			refuse(w, r, http.StatusServiceUnavailable, "Too many concurrent requests! Allowed: %d.", s.MaxRequests)
			return
		}
	}
	who, ok := s.authenticated(r)
	// Those who only look whether somebody is there often know no password (go-marathon's
	// look at a member that was away is such a one); a wrong one is told to be wrong.
	ping := len(path) == 1 && path[0] == "ping" && r.Header.Get("Authorization") == ""
	if !ok && !ping {
		w.Header().Set("WWW-Authenticate", `Basic realm="`+s.Realm+`"`)
		refuse(w, r, http.StatusUnauthorized, "Unauthorized: name and password are needed (--http_credentials)")
		return
	}
	if err := s.origins.Check(r); err != nil {
		refuse(w, r, http.StatusForbidden, "A page of another origin may not change anything here: %v", err)
		return
	}
	c := &call{server: s, w: w, r: r, query: r.URL.Query(), who: who, release: func() {}}
	defer func() { c.release() }()
	m := s.route(path)
	if m == nil {
		c.refuse(http.StatusNotFound, "URI not found: %s", request.Clip(r.URL.Path))
		return
	}
	c.serve(m)
}
