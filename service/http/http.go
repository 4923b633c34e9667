// Package http is Marathon's REST API (as Marathon 1.10, docs/rest-api): it decodes
// requests, asks the core or the view, and answers in Marathon's shapes.
package http

import (
	"context"
	"net/http"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/state"
	"github.com/stoa-kernel/stoa/service/view"
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
	// Roots lists the versions of the tree, newest first; Group is a group's content at one.
	Roots func(ctx context.Context) ([]marathon.Version, error)
	Group func(ctx context.Context, id string, v marathon.Version) (*state.GroupVersion, error)
	// Events is GET /v2/events, Callbacks /v2/eventSubscriptions.
	Events, Callbacks http.Handler
	// Metrics is /metrics and /metrics/prometheus.
	Metrics http.Handler
	// Abdicate restarts the service role (DELETE /v2/leader).
	Abdicate func()
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
	// Leader is this process, "host:port"; FrameworkID is asked each time.
	Leader      string
	FrameworkID func() string
	// Config is marathon_config, with credentials removed; HTTP is http_config.
	Config, Zookeeper, HTTP map[string]any
}

// New makes the handler of the leader.
func New(c Config) http.Handler { panic("contract") }

// Standby answers on a process that does not lead: it passes requests on to the leader,
// event streams by 302 (A1). leader returns "host:port" of the leader, "" if there is none.
func Standby(self string, leader func(ctx context.Context) string) http.Handler { panic("contract") }
