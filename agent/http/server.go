// Package http is the agent's HTTP API: /api/v1/executor for executors, the operators'
// /api/v1, and /health, /version and /metrics. Status codes and their order are those of
// Mesos 1.11 (src/slave/http.cpp; docs/executor-http-api.md). Every path is served below
// /slave(1) too, the longest known prefix wins.
//
// Requests are read, judged by form and answered on their connection's goroutine; only
// well-formed executor calls reach the loop. Whatever comes in is hostile: bodies are
// bounded in size, time, depth and number of messages, large ones share one budget, and
// who reads slowly is cut off.
package http

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stoa-kernel/stoa/agent/sandbox"
	"github.com/stoa-kernel/stoa/agent/state"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/internal/build"
	"github.com/stoa-kernel/stoa/internal/request"
)

// Submit hands an input to the loop; it waits while the loop is behind. It fails when
// ctx ends or the loop has.
type Submit func(context.Context, state.Input) error

// Limits of what one client can cost. Zero values mean the defaults named.
type Limits struct {
	// Body is the longest request body in bytes: 12 MiB, so that what an executor
	// sends fits a frame to the master.
	Body int
	// Bodies is how many bytes of bodies above 64 KiB are held at a time, and about how many
	// of heavy calls decoded from bodies: 16 MiB.
	Bodies int64
	// BodyTimeout is for how long a body may take to arrive: 30 s.
	BodyTimeout time.Duration
	// WriteTimeout is for how long a client may take nothing of an answer or of its
	// stream: 10 s.
	WriteTimeout time.Duration
	// AnswerTimeout is for how long a call waits for the loop: 60 s.
	AnswerTimeout time.Duration
	// Stream is how many bytes of events may wait for an executor: 16 MiB.
	Stream int
}

func (l *Limits) defaults() {
	set(&l.Body, 12<<20)
	set(&l.Bodies, 16<<20)
	set(&l.BodyTimeout, 30*time.Second)
	set(&l.WriteTimeout, 10*time.Second)
	set(&l.AnswerTimeout, time.Minute)
	set(&l.Stream, 16<<20)
}

func set[T comparable](p *T, or T) {
	var zero T
	if *p == zero {
		*p = or
	}
}

// Config is what a Server needs. All fields but Limits must be set.
type Config struct {
	Submit  Submit
	Files   *sandbox.Files
	Metrics http.Handler // answers /metrics
	Log     *slog.Logger
	Version string
	Limits  Limits
}

// Server is an http.Handler. The loop gives it what it answers and sends (Answer, Send,
// CloseStream); those never wait.
type Server struct {
	Config
	// CutOff counts executor streams closed because the executor read too slowly.
	CutOff atomic.Int64

	recovered atomic.Bool
	bodies    *request.Bodies
	routes    request.Routes[http.HandlerFunc]
	build     *mesos.VersionInfo

	mu      sync.Mutex
	closed  bool
	last    uint64 // token or stream given out last
	waiting map[state.Token]chan answer
	streams map[state.Stream]*stream
}

// New returns a server that answers 503 until Recovered.
func New(c Config) *Server {
	c.Limits.defaults()
	s := &Server{
		Config:  c,
		bodies:  request.NewBodies(c.Limits.Body, c.Limits.BodyTimeout, c.Limits.Bodies),
		build:   build.Info(c.Version),
		waiting: make(map[state.Token]chan answer),
		streams: make(map[state.Stream]*stream),
	}
	s.routes = request.Routes[http.HandlerFunc]{Root: "slave(1)", Ends: []string{"/metrics"}, Paths: map[string]http.HandlerFunc{
		"/api/v1":          s.operator,
		"/api/v1/executor": s.executor,
		"/health":          func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) },
		"/version":         s.version,
		"/metrics":         c.Metrics.ServeHTTP,
	}}
	return s
}

// Recovered says that the loop serves: calls are no longer answered 503.
func (s *Server) Recovered() { s.recovered.Store(true) }

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.bodies.Deadlines(w, r, s.Limits.WriteTimeout)
	if serve, _, ok := s.routes.Find(r.URL.Path); ok {
		serve(w, r)
		return
	}
	request.Refuse(w, http.StatusNotFound, fmt.Sprintf("404 Not Found: there is nothing at '%s'. Executors use /api/v1/executor, operators /api/v1.", request.Clip(r.URL.Path)))
}

// ready answers 503 while the agent recovers, and 405 to what is no POST.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) bool {
	if !s.recovered.Load() {
		request.Refuse(w, http.StatusServiceUnavailable, "Agent has not finished recovery")
		return false
	}
	return request.IsPost(w, r)
}

// answer is the loop's to one request.
type answer struct {
	status  int
	message string
}

// token is for a request about to be submitted; its answer comes on the channel.
func (s *Server) token() (state.Token, chan answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	c := make(chan answer, 1)
	s.waiting[state.Token(s.last)] = c
	return state.Token(s.last), c
}

// forget drops a token whose request ends; an answer that still comes is dropped.
func (s *Server) forget(t state.Token) {
	s.mu.Lock()
	delete(s.waiting, t)
	s.mu.Unlock()
}

// Answer completes a request.
func (s *Server) Answer(a state.Answer) {
	s.mu.Lock()
	c := s.waiting[a.Token]
	delete(s.waiting, a.Token)
	s.mu.Unlock()
	if c != nil {
		c <- answer{a.Status, a.Message}
	}
}

// await waits for the loop's answer to a submitted request.
func (s *Server) await(ctx context.Context, c <-chan answer) answer {
	timer := time.NewTimer(s.Limits.AnswerTimeout)
	defer timer.Stop()
	select {
	case a := <-c:
		return a
	case <-ctx.Done():
		return answer{http.StatusServiceUnavailable, "The client did not wait"}
	case <-timer.C:
		return answer{http.StatusServiceUnavailable, fmt.Sprintf("The agent did not answer within %v", s.Limits.AnswerTimeout)}
	}
}
