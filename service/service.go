// Package service is Marathon's successor: a framework that keeps apps running, and its
// REST API.
package service

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"

	"github.com/stoa-kernel/stoa/internal/build"
	"github.com/stoa-kernel/stoa/internal/listen"
	"github.com/stoa-kernel/stoa/internal/mailbox"
	"github.com/stoa-kernel/stoa/internal/meter"
	"github.com/stoa-kernel/stoa/sdk/scheduler"
	"github.com/stoa-kernel/stoa/service/events"
	"github.com/stoa-kernel/stoa/service/health"
	servicehttp "github.com/stoa-kernel/stoa/service/http"
	"github.com/stoa-kernel/stoa/service/state"
	"github.com/stoa-kernel/stoa/service/view"
	"github.com/stoa-kernel/stoa/store"
)

// Config is what the service needs. Masters, Listener, URL and Store are required.
type Config struct {
	// Masters to subscribe to, "host:port".
	Masters []string
	// Listener of the API; Run closes it.
	Listener net.Listener
	// Connections that may stand at a time; 0 is listen.DefaultConnections.
	Connections int
	// URL under which clients reach Listener.
	URL string
	// TLS of the API, with a certificate; nil for none. Trust is how a standby knows the
	// leader then, nil being the system's authorities.
	TLS, Trust *tls.Config
	// Store keeps everything; Run does not close it.
	Store store.Store
	// Core are the settings of the core; Seed is drawn if 0.
	Core state.Config
	// Name of the framework; default "marathon", as tools look for it.
	Name string
	// FailoverTimeout is how long tasks outlive the service; default 7 days.
	FailoverTimeout time.Duration
	// Probes is how many checks the service makes at a time; default 256.
	Probes int
	// Credentials "user:password" for basic authentication; "" for none.
	Credentials, Realm string
	// Origin for CORS; none by default.
	Origin []string
	// MaxRequests at a time; 0 is no bound of its own.
	MaxRequests int
	// CallbackAllow are the networks that callbacks may go to; nil is loopback.
	CallbackAllow []*net.IPNet
	// EventBacklog is how many events may wait for one reader of the stream; 0 is 1024.
	EventBacklog int
	// Hostname of the framework, the machine's by default. WebUIURL and MasterURL are where
	// others reach the API and the master; by default URL and the first master.
	Hostname, WebUIURL, MasterURL string
	// BackupDir is where backups are written to and restored from; "" switches it off.
	BackupDir string
	// Settings are what /v2/info shows as marathon_config, secrets removed.
	Settings map[string]any
	Log      *slog.Logger
	// LogLevel is that of Log, which POST /logging changes; nil if it cannot be.
	LogLevel *slog.LevelVar
	// Client reaches the masters; nil is one with defaults.
	Client *http.Client
	// Ready, if not nil, is called at the first subscription.
	Ready func()
}

// Run serves until ctx ends or the store is lost; while the store refuses, readers are
// answered and writes are not; while another process leads it passes
// requests on to that one. Apps run on. DELETE /v2/leader ends a term, and begins the
// next.
func Run(ctx context.Context, cfg Config) error {
	defer cfg.Listener.Close()
	scheme, address, _ := strings.Cut(cfg.URL, "://")
	process := process{time.Now(), servicehttp.NewLevels(cfg.LogLevel)}
	// current is the leader's handler while this process leads.
	var current atomic.Pointer[http.Handler]
	leading := func() http.Handler {
		if h := current.Load(); h != nil {
			return *h
		}
		return nil
	}
	standby := servicehttp.Standby(scheme, address, cfg.Trust, func(ctx context.Context) string {
		value, ok, err := cfg.Store.Leader(ctx, "service")
		if err != nil || !ok {
			return ""
		}
		return string(value)
	}, leading)
	listener := listen.Limit(cfg.Listener, cfg.Connections)
	var ready sync.Once
	group, ctx := errgroup.WithContext(ctx)
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h := leading()
			if h == nil {
				h = standby
			}
			h.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext:       listen.Context,
		TLSConfig:         cfg.TLS,
	}
	group.Go(func() error {
		serve := server.Serve
		if cfg.TLS != nil {
			serve = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
		}
		if err := serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("service: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		return server.Close()
	})
	group.Go(func() error {
		if leader, ok, err := cfg.Store.Leader(ctx, "service"); err == nil && ok {
			cfg.Log.Info("service: another process leads; requests are passed on to it", "leader", string(leader), "url", cfg.URL)
		}
		for {
			lead, err := cfg.Store.Elect(ctx, "service", []byte(address))
			if err != nil {
				return err
			}
			err = term(ctx, cfg, lead, address, process, func(h http.Handler) { current.Store(&h) }, func() {
				if cfg.Ready != nil {
					ready.Do(cfg.Ready)
				}
			})
			current.Store(nil)
			if !errors.Is(err, errAbdicated) {
				return err
			}
			cfg.Log.Info("service: abdicated; standing for election again")
			if err := lead.Resign(ctx); err != nil {
				return fmt.Errorf("service: resign: %w", err)
			}
		}
	})
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// process is what outlives terms.
type process struct {
	started time.Time
	levels  *servicehttp.Levels
}

// term leads until ctx ends, the store is lost or the leader abdicates.
func term(ctx context.Context, cfg Config, lead store.Leadership, address string, p process, serve func(http.Handler), ready func()) error {
	switch restored, err := finishRestore(ctx, cfg.Store, lead); {
	case err != nil:
		return err
	case restored:
		cfg.Log.Warn("service: a backup was restored; what was there before is gone")
	}
	first, kept, packs, err := load(ctx, cfg.Store)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	framework := describe(cfg)
	inputs := mailbox.New[state.Input](backlog)
	defer inputs.Close()
	past := history{cfg.Store}
	metrics := newMetrics()
	if cfg.Core.Seed == 0 {
		cfg.Core.Seed = rand.Uint64()
	}
	r := &runner{
		core: state.New(cfg.Core), began: time.Now(), inputs: inputs,
		log:     newWriter(cfg.Store, lead, packs, inputs.Poke, cfg.Log),
		calls:   newCalls(framework, func(tasks []string) { inputs.Post(state.Unsent{Tasks: tasks}) }, cfg.Log),
		tails:   newTails(cfg.Masters, cfg.Client, inputs.Post),
		agents:  newAgents(cfg.Masters, cfg.Client, inputs.Post),
		view:    view.New(),
		events:  events.New(lead.Epoch, kept, cfg.EventBacklog),
		prober:  health.New(cfg.Probes, inputs.Post),
		metrics: metrics, abdicated: make(chan struct{}, 1), over: make(chan struct{}), asked: make(map[state.Token]chan state.Result),
	}
	defer r.events.Close()
	metrics.watch(r.log)
	callbacks, err := newCallbacks(ctx, cfg, lead, r.events)
	if err != nil {
		return err
	}
	id := &frameworkID{cfg.Store, r.log}
	files := backups{cfg.Store, lead, cfg.BackupDir}
	handler := servicehttp.New(servicehttp.Config{
		View: r.view, Ask: r.ask, Version: past.version, Versions: past.versions, Roots: past.roots, Group: past.group,
		WhatIf: whatIf(cfg.Masters, cfg.Client),
		Events: r.events, Callbacks: callbacks, Metrics: meter.Handler(metrics.registry), Counters: metrics.counters, Levels: p.levels,
		Backup: files.backup, Restore: files.restore, Abdicate: func() func() {
			serve(nil) // what comes now waits for who leads next
			return func() { poke(r.abdicated) }
		},
		Info: servicehttp.Info{
			Started: p.started, Version: marathonVersion, BuildRef: build.Commit(), Scheme: cfg.URL[:strings.Index(cfg.URL, "://")], Leader: address, FrameworkID: id.current,
			Config: settings(cfg), HTTP: ports(cfg, address),
			Zookeeper: map[string]any{"zk_max_versions": cmp.Or(cfg.Core.MaxVersions, 50)},
		},
		Options: cfg.Core.App, Credentials: cfg.Credentials, Realm: cfg.Realm, Origin: cfg.Origin, MaxRequests: cfg.MaxRequests,
	})
	began := make(chan struct{})
	group.Go(func() error {
		return r.run(ctx, first, func() {
			serve(handler)
			cfg.Log.Info("service: leads", "url", cfg.URL)
			close(began)
		})
	})
	group.Go(func() error { return r.log.run(ctx) })
	group.Go(func() error { return r.calls.run(ctx) })
	group.Go(func() error { r.tails.run(ctx); return nil })
	group.Go(func() error { r.agents.run(ctx); return nil })
	group.Go(func() error { r.prober.Run(ctx); return nil })
	group.Go(func() error { return callbacks.Run(ctx) })
	group.Go(func() error {
		select {
		case <-lead.Lost:
			return errors.New("service: another process leads the service now")
		case <-ctx.Done():
			return nil
		}
	})
	group.Go(func() error {
		select {
		case <-began:
		case <-ctx.Done():
			return nil
		}
		return scheduler.Run(ctx, scheduler.Config{
			Masters: cfg.Masters, HTTPClient: cfg.Client, Framework: framework, Store: id, Logger: cfg.Log, ManualAcknowledge: true,
			SuppressedRoles: nil,
		}, r.handler(ready))
	})
	return group.Wait()
}

// marathonVersion is what clients take us for; they tell features by it.
const marathonVersion = "1.10.26"

func describe(cfg Config) *mesos.FrameworkInfo {
	name, me := cfg.Name, "root"
	if name == "" {
		name = "marathon"
	}
	// Not --mesos-user, which tasks name themselves: a framework's can never be changed.
	if u, err := user.Current(); err == nil {
		me = u.Username
	}
	timeout := cfg.FailoverTimeout
	if timeout == 0 {
		timeout = 7 * 24 * time.Hour
	}
	role := cfg.Core.App.Role
	if role == "" {
		role = "*"
	}
	hostname, web := cfg.Hostname, cmp.Or(cfg.WebUIURL, cfg.URL)
	if hostname == "" {
		var err error
		if hostname, err = os.Hostname(); err != nil {
			hostname = "localhost"
		}
	}
	f := &mesos.FrameworkInfo{
		User: &me, Name: &name, Roles: []string{role}, WebuiUrl: &web, Hostname: &hostname,
		FailoverTimeout: proto.Float64(timeout.Seconds()), Checkpoint: proto.Bool(true),
	}
	for _, c := range []mesos.FrameworkInfo_Capability_Type{
		mesos.FrameworkInfo_Capability_MULTI_ROLE, mesos.FrameworkInfo_Capability_PARTITION_AWARE,
		mesos.FrameworkInfo_Capability_RESERVATION_REFINEMENT, mesos.FrameworkInfo_Capability_TASK_KILLING_STATE,
		mesos.FrameworkInfo_Capability_REGION_AWARE,
	} {
		f.Capabilities = append(f.Capabilities, &mesos.FrameworkInfo_Capability{Type: c.Enum()})
	}
	return f
}

// frameworkID keeps the framework's id in the store.
type frameworkID struct {
	store store.Store
	log   *writer
}

// Load implements scheduler.Store.
func (f *frameworkID) Load(ctx context.Context) (string, error) {
	records, err := f.store.Load(ctx, keyFramework)
	if err != nil || len(records) == 0 {
		return "", err
	}
	return strings.TrimSpace(string(records[0].Value)), nil
}

// Save implements scheduler.Store. It waits for a store that refuses, and writes nothing at
// the many subscriptions that bring the id that is known.
func (f *frameworkID) Save(ctx context.Context, id string) error {
	if old, err := f.Load(ctx); err == nil && old == id {
		return nil
	}
	op := store.Op{Key: keyFramework}
	if id != "" {
		op.Value = []byte(id)
	}
	return f.log.insist(ctx, []store.Op{op})
}

// current is the id for readers, "" before the first subscription.
func (f *frameworkID) current() string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	id, err := f.Load(ctx)
	if err != nil {
		return ""
	}
	return id
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// ports are http_config of /v2/info: one of the two is served.
func ports(cfg Config, address string) map[string]any {
	_, p, _ := net.SplitHostPort(address)
	n, _ := strconv.Atoi(p)
	if cfg.TLS != nil {
		return map[string]any{"http_port": nil, "https_port": n}
	}
	return map[string]any{"http_port": n, "https_port": nil}
}

// settings are marathon_config of /v2/info: the flags, and what clients look for that is
// no flag here.
func settings(cfg Config) map[string]any {
	all := maps.Clone(cfg.Settings)
	if all == nil {
		all = make(map[string]any)
	}
	f := describe(cfg)
	all["checkpoint"], all["ha"] = true, true
	all["hostname"], all["webui_url"] = f.GetHostname(), f.GetWebuiUrl()
	all["master"] = strings.Join(cfg.Masters, ",")
	if all["mesos_leader_ui_url"] = cfg.MasterURL; cfg.MasterURL == "" && len(cfg.Masters) > 0 {
		all["mesos_leader_ui_url"] = "http://" + cfg.Masters[0] // which sends on to the leader
	}
	return all
}
