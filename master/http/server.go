// Package http is the master's HTTP API: /api/v1/scheduler for frameworks, /api/v1 for
// operators, the few older endpoints everybody asks for, and /stoa/v1 for what Mesos has
// no call for. Requests are read, judged by form and answered on their connection's
// goroutine; only well-formed calls reach the loop, reads never do.
//
// Whatever comes in is hostile: bodies are bounded in size, time, depth and number of
// messages, large ones share one budget, and a slow client holds up nobody but itself.
// docs/api-errors.md lists every refusal; the tests read it.
package http

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/internal/build"
	"github.com/stoa-kernel/stoa/internal/frame"
	"github.com/stoa-kernel/stoa/internal/request"
	"github.com/stoa-kernel/stoa/master/session"
	"github.com/stoa-kernel/stoa/master/view"
)

// Limits of what one client can cost. Zero values mean the defaults named.
type Limits struct {
	// Body is the longest request body in bytes: 12 MiB.
	Body int
	// Bodies is how many bytes of bodies above 64 KiB are held at a time, and about how many
	// of heavy calls decoded from bodies: 16 MiB.
	Bodies int64
	// HeaderTimeout is for how long a request's header may take to arrive: 10 s.
	HeaderTimeout time.Duration
	// BodyTimeout is for how long a body may take to arrive: 30 s.
	BodyTimeout time.Duration
	// WriteTimeout is for how long a client may take nothing of an answer: 10 s.
	WriteTimeout time.Duration
	// AnswerTimeout is for how long a call waits for the loop: 60 s.
	AnswerTimeout time.Duration
	// FilesTimeout is for how long an agent may take over a file: 30 s.
	FilesTimeout time.Duration
}

// WithDefaults is l with its zero values replaced.
func (l Limits) WithDefaults() Limits {
	set(&l.Body, 12<<20)
	set(&l.Bodies, 16<<20)
	set(&l.HeaderTimeout, 10*time.Second)
	set(&l.BodyTimeout, 30*time.Second)
	set(&l.WriteTimeout, 10*time.Second)
	set(&l.AnswerTimeout, time.Minute)
	set(&l.FilesTimeout, 30*time.Second)
	return l
}

func set[T comparable](p *T, or T) {
	var zero T
	if *p == zero {
		*p = or
	}
}

// Status is where this process stands.
type Status struct {
	// Leading is true from the election on, Recovered once the registry is read.
	Leading, Recovered bool
	// Leader is host:port of whoever leads, "" if that is not known.
	Leader string
	// Elected is when this process was.
	Elected time.Time
	// Info is this master's.
	Info *mesos.MasterInfo
}

// Config is what a Server needs. All fields but Limits must be set.
type Config struct {
	Submit session.Submit
	// Done is closed when the loop has ended.
	Done    <-chan struct{}
	Streams *session.Streams
	Links   *session.Links
	View    *view.View
	// Status is asked for every request, from many goroutines.
	Status func() Status
	// Back takes a connection that was taken from the http.Server which serves this, and
	// what was read of it and is to be read again.
	Back func(c net.Conn, read []byte)
	// Metrics answers /metrics.
	Metrics http.Handler
	Log     *slog.Logger
	Version string
	Started time.Time
	Limits  Limits
}

// Server is an http.Handler. The loop gives it what it answers (Answer).
type Server struct {
	Config
	desk   desk
	taken  taken
	bodies *request.Bodies
	routes request.Routes[route]
	build  *mesos.VersionInfo
}

// route is what a path and everything below it leads to.
type route struct {
	serve func(w http.ResponseWriter, r *http.Request, rest string)
	// anyone is served whether or not this process leads.
	anyone bool
}

// New returns a server that is ready to serve.
func New(c Config) *Server {
	c.Limits = c.Limits.WithDefaults()
	s := &Server{Config: c, bodies: request.NewBodies(c.Limits.Body, c.Limits.BodyTimeout, c.Limits.Bodies), build: build.Info(c.Version)}
	s.desk.timeout, s.desk.done = c.Limits.AnswerTimeout, c.Done
	s.routes = request.Routes[route]{Root: "master", Ends: []string{"/metrics", "/redirect"}, Paths: map[string]route{
		"/api/v1":           {serve: s.operator},
		"/api/v1/scheduler": {serve: s.scheduler},
		"/health":           {serve: s.health, anyone: true},
		"/version":          {serve: s.version, anyone: true},
		"/metrics":          {serve: s.metrics, anyone: true},
		"/redirect":         {serve: s.redirectEndpoint, anyone: true},
		"/stoa/v1/kill":     {serve: s.kill},
		"/stoa/v1/why":      {serve: s.why},
		"/stoa/v1/agents":   {serve: s.agentFiles},
		frame.Path:          {serve: s.agentLink},
	}}
	return s
}

// ServeHTTP finds the route with the longest matching path, as Mesos does, with or
// without /master before it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.bodies.Deadlines(w, r, s.Limits.WriteTimeout)
	found, below, ok := s.routes.Find(r.URL.Path)
	switch {
	case !ok:
		request.Refuse(w, http.StatusNotFound, fmt.Sprintf("404 Not Found: there is nothing at '%s'. Frameworks use /api/v1/scheduler, operators /api/v1.", request.Clip(r.URL.Path)))
	case found.anyone || s.leading(w, r):
		found.serve(w, r, below)
	}
}

// leading answers 307 or 503 unless this process leads and has recovered.
func (s *Server) leading(w http.ResponseWriter, r *http.Request) bool {
	status := s.Status()
	switch {
	case !status.Leading:
		s.redirect(w, status.Leader, r.URL.RequestURI())
	case !status.Recovered:
		request.Refuse(w, http.StatusServiceUnavailable, "Master has not finished recovery")
	default:
		return true
	}
	return false
}

// redirect points at the leader, without a scheme so that https stays https.
func (s *Server) redirect(w http.ResponseWriter, leader, path string) {
	if leader == "" {
		request.Refuse(w, http.StatusServiceUnavailable, "No leader elected")
		return
	}
	w.Header().Set("Location", "//"+leader+path)
	w.WriteHeader(http.StatusTemporaryRedirect)
}

func (s *Server) redirectEndpoint(w http.ResponseWriter, _ *http.Request, _ string) {
	s.redirect(w, s.Status().Leader, "")
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request, _ string) {
	w.WriteHeader(http.StatusOK)
}

func (s *Server) metrics(w http.ResponseWriter, r *http.Request, _ string) {
	s.Metrics.ServeHTTP(w, r)
}

func (s *Server) agentLink(w http.ResponseWriter, r *http.Request, _ string) {
	if !request.IsPost(w, r) {
		return
	}
	s.Links.Serve(w, r)
}

// ask puts a question to the loop and waits for its one answer.
func (s *Server) ask(ctx context.Context, w http.ResponseWriter, q question) (answer, bool) {
	a, err := s.desk.ask(ctx, s.Submit, q)
	// The loop's time must not use up the client's.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.Limits.WriteTimeout))
	if err != nil {
		s.unanswered(ctx, w, err)
	}
	return a, err == nil
}

// unanswered answers for a loop that did not, unless the client is gone.
func (s *Server) unanswered(ctx context.Context, w http.ResponseWriter, err error) {
	if ctx.Err() != nil {
		panic(http.ErrAbortHandler)
	}
	request.Refuse(w, http.StatusServiceUnavailable, "The master did not answer: "+err.Error())
}
