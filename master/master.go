// Package master is the process that offers the agents' resources to frameworks. It
// joins the pure core (master/state) with its edges: the registry in a store, the
// sessions of frameworks and agents, the HTTP API and the readers' view.
//
// One goroutine, the loop, owns the core: inputs -> Step -> persist -> send. Everything
// else waits on its own connection and talks to the loop through one channel.
package master

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	nethttp "net/http"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/stoa-kernel/stoa/internal/listen"
	"github.com/stoa-kernel/stoa/internal/meter"
	"github.com/stoa-kernel/stoa/master/http"
	"github.com/stoa-kernel/stoa/master/registry"
	"github.com/stoa-kernel/stoa/master/session"
	"github.com/stoa-kernel/stoa/master/state"
	"github.com/stoa-kernel/stoa/master/view"
	"github.com/stoa-kernel/stoa/store"
)

// ElectionName is what masters are elected under in the store.
const ElectionName = "master"

var errLost = errors.New("leadership was lost")

// Config is a master's. Store and Log must be set.
type Config struct {
	// Listen is host:port; port 0 takes a free one.
	Listen string
	// Advertise is host or host:port as others reach this master; "" for the address
	// listened on.
	Advertise string
	// AllowRemote lets Listen be other than loopback, though nobody authenticates.
	AllowRemote bool
	// Connections is how many may stand besides agents' links and frameworks' streams; 0
	// means listen.DefaultConnections.
	Connections int

	Store store.Store
	// State configures the core. MasterID and Seed are made up if they are zero.
	State  state.Config
	Limits http.Limits
	Log    *slog.Logger

	// Ready is called once, with the URL, when this process leads and serves. May be nil.
	Ready func(url string)
	// Listening is called once, with the URL, when health, version and redirects are
	// served. May be nil.
	Listening func(url string)
	// Hashes, if not nil, is for tests: between two turns the loop answers whatever
	// channel comes in with the core's hash. The answer must find room.
	Hashes <-chan chan<- uint64
}

// Run serves until ctx ends, then returns nil: streams and links are closed, tasks run
// on. It returns an error if it cannot start, loses its leadership or cannot write to the
// registry; the process must then end, since another one may lead.
func Run(ctx context.Context, c Config) error {
	began := time.Now()
	listener, err := openListener(ctx, c.Listen, c.AllowRemote)
	if err != nil {
		return err
	}
	defer listener.Close()
	limited := listen.Limit(listener, c.Connections)
	at, err := advertised(ctx, c.Advertise, listener)
	if err != nil {
		return err
	}
	if c.State.MasterID == "" {
		c.State.MasterID = uuid.NewString()
	}
	if c.State.Seed == 0 {
		if c.State.Seed, err = seed(); err != nil {
			return err
		}
	}
	url := "http://" + listener.Addr().String()

	m := assemble(c, began)
	m.loop.metrics.connections(limited)
	status := http.Status{Info: masterInfo(c.State.MasterID, c.State.Version, at)}
	m.status.Store(&status)

	serving := make(chan error, 2)
	for _, l := range []net.Listener{limited, m.again} {
		go func() { serving <- m.web.Serve(l) }() // ends with m.close
	}
	defer m.close()
	if c.Listening != nil {
		c.Listening(url)
	}

	leadership, err := m.elect(ctx, c.Store, at.String())
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("election: %w", err)
	}
	// Streams and links are closed first: frameworks must not hear an old master when a
	// new one leads.
	defer resign(c.Log, leadership)
	defer m.close()
	m.change(func(s *http.Status) { s.Leading, s.Leader, s.Elected = true, at.String(), time.Now() })
	defer m.change(func(s *http.Status) { s.Leading = false })

	records, contents, err := registry.Open(ctx, c.Store, leadership, c.State.Version)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	c.Log.Info("leading", "epoch", leadership.Epoch, "url", url, "master", c.State.MasterID,
		"agents", len(contents.Agents), "frameworks", len(contents.Frameworks))

	core := state.New(c.State)
	m.loop.core, m.loop.hash, m.loop.hashes = core, core.Hash, c.Hashes
	m.loop.commits.commit = records.Commit
	first := state.Recovered{
		Epoch: leadership.Epoch, Master: status.Info,
		Agents: contents.Agents, Frameworks: contents.Frameworks,
		Quotas: contents.Quotas, Weights: contents.Weights,
	}
	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() { // ends with serving, which m.close ends
		err := <-serving
		stop(fmt.Errorf("serve %s: %w", url, err))
	}()
	err = m.loop.run(running, leadership.Lost, first, func() {
		m.change(func(s *http.Status) { s.Recovered = true })
		if c.Ready != nil {
			c.Ready(url)
		}
	})
	m.change(func(s *http.Status) { s.Leading = false })
	m.streams.CloseAll()
	switch {
	case ctx.Err() != nil:
		c.Log.Info("ending: streams and links are closed, tasks run on")
		return nil
	case err == nil:
		return context.Cause(running)
	case errors.Is(err, errLost), errors.Is(err, store.ErrFenced):
		return fmt.Errorf("master %s: %w: another may lead now; start this process again", c.State.MasterID, err)
	}
	return fmt.Errorf("registry: %w: what was not written is not acted on; start this process again", err)
}

// master is the parts, put together.
type master struct {
	loop    *runner
	streams *session.Streams
	links   *session.Links
	web     *nethttp.Server
	again   *listen.Again
	status  atomic.Pointer[http.Status]
	closed  atomic.Bool
}

func assemble(c Config, began time.Time) *master {
	l := &runner{
		view:   view.New(view.Config{CompletedFrameworks: c.State.MaxCompletedFrameworks}),
		began:  began,
		inputs: make(chan state.Input, backlog),
		done:   make(chan struct{}),
	}
	m := &master{loop: l, again: listen.NewAgain()}
	l.streams = &session.Streams{Submit: l.submit, Log: c.Log}
	l.links = &session.Links{Submit: l.submit, Log: c.Log}
	if ping := c.State.AgentPingInterval; ping > 0 {
		// The core's judgement on a silent agent comes first.
		l.links.Silence = ping * time.Duration(max(c.State.MaxAgentPingTimeouts, 5)+1)
	}
	m.streams, m.links = l.streams, l.links
	l.metrics = newMetrics(l.view, l.streams, l.links)
	l.commits = newCommitter(nil, func(took time.Duration) { l.metrics.persist.Observe(took.Seconds()) })
	l.server = http.New(http.Config{
		Submit: l.submit, Done: l.done, Streams: l.streams, Links: l.links, View: l.view,
		Status: func() http.Status { return *m.status.Load() }, Metrics: meter.Handler(l.metrics.registry), Back: m.again.Give,
		Log: c.Log, Version: c.State.Version, Started: began, Limits: c.Limits,
	})
	m.web = &nethttp.Server{
		Handler:           l.server,
		ReadHeaderTimeout: c.Limits.WithDefaults().HeaderTimeout,
		IdleTimeout:       http.IdleTimeout,
		MaxHeaderBytes:    64 << 10,
		ConnContext:       listen.Context,
		ErrorLog:          slog.NewLogLogger(c.Log.Handler(), slog.LevelWarn),
	}
	return m
}

// change replaces the status; one goroutine at a time does.
func (m *master) change(f func(*http.Status)) {
	s := *m.status.Load()
	f(&s)
	m.status.Store(&s)
}

// close ends every connection; requests that wait for the loop are told.
func (m *master) close() {
	if m.closed.Swap(true) {
		return
	}
	m.streams.CloseAll()
	m.links.CloseAll()
	m.loop.server.CloseTaken()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if m.web.Shutdown(ctx) != nil {
		m.web.Close()
	}
}

// elect waits for leadership and meanwhile keeps the status's leader up to date.
func (m *master) elect(ctx context.Context, s store.Store, self string) (store.Leadership, error) {
	watching, stop := context.WithCancel(ctx)
	gone := make(chan struct{})
	go func() { // ends with stop
		defer close(gone)
		m.follow(watching, s)
	}()
	l, err := s.Elect(ctx, ElectionName, []byte(self))
	stop()
	<-gone
	return l, err
}

// follow looks who leads, once a second.
func (m *master) follow(ctx context.Context, s store.Store) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		leader, ok, err := s.Leader(ctx, ElectionName)
		if err != nil || !ok {
			leader = nil // said to clients as "No leader elected"; the election reports the store's trouble
		}
		if ctx.Err() != nil {
			return
		}
		m.change(func(s *http.Status) { s.Leader = string(leader) })
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// resign lets the next master lead at once instead of after the lease.
func resign(log *slog.Logger, l store.Leadership) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := l.Resign(ctx); err != nil {
		log.Warn("could not resign: the next master leads when the lease ends", "error", err)
	}
}

func seed() (uint64, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return 0, fmt.Errorf("seed: %w", err)
	}
	return binary.LittleEndian.Uint64(b[:]) | 1, nil
}
