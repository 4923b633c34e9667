// Package run is the framework behind `stoa run`: it keeps one-off commands running on
// the cluster while whoever submitted them comes and goes.
package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os/user"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/internal/listen"
	"github.com/stoa-kernel/stoa/kernel/clock"
	"github.com/stoa-kernel/stoa/kernel/id"
	runhttp "github.com/stoa-kernel/stoa/run/http"
	"github.com/stoa-kernel/stoa/run/state"
	"github.com/stoa-kernel/stoa/sdk/scheduler"
	"github.com/stoa-kernel/stoa/store"
)

// Config is what a run framework needs.
type Config struct {
	// Masters to subscribe to, "host:port".
	Masters []string
	// Listener of the API; Run closes it.
	Listener net.Listener
	// Connections is how many may stand besides those of clients that follow a run; 0
	// means listen.DefaultConnections.
	Connections int
	// URL under which clients reach Listener.
	URL string
	// Store keeps runs and the framework's id; Run does not close it.
	Store store.Store
	Log   *slog.Logger
	// Ready, if not nil, is called at the first subscription.
	Ready func()
}

const (
	keyFramework = "run/framework"
	keyRuns      = "run/runs/"
	// failover is how long runs go on while the framework is away, in seconds.
	failover = 7 * 24 * 3600
)

// Run serves until ctx ends, the store fails or another process leads. Runs go on.
func Run(ctx context.Context, cfg Config) error {
	defer cfg.Listener.Close()
	lead, err := cfg.Store.Elect(ctx, "run", []byte(cfg.URL))
	if err != nil {
		return err
	}
	l := &loop{
		cfg: cfg, lead: lead, start: time.Now(),
		core:   state.New(rand.Uint64()),
		view:   runhttp.NewView(),
		inputs: make(chan delivery),
		asked:  make(map[state.Token]chan state.Answer),
	}
	if err := l.recover(ctx); err != nil {
		return err
	}
	me := "root"
	if u, err := user.Current(); err == nil {
		me = u.Username
	}
	group, ctx := errgroup.WithContext(ctx)
	server := &http.Server{Handler: runhttp.Handler(l.view, l), ReadHeaderTimeout: 10 * time.Second, ConnContext: listen.Context,
		BaseContext: func(net.Listener) context.Context { return ctx }}
	group.Go(func() error { return l.run(ctx) })
	group.Go(func() error {
		if err := server.Serve(listen.Limit(cfg.Listener, cfg.Connections)); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("run: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		return server.Close()
	})
	group.Go(func() error {
		return scheduler.Run(ctx, scheduler.Config{
			Masters: cfg.Masters,
			Framework: &mesos.FrameworkInfo{
				User: &me, Name: proto.String("run"), Roles: []string{"*"}, WebuiUrl: &cfg.URL,
				FailoverTimeout: proto.Float64(failover), Checkpoint: proto.Bool(true),
				Capabilities: []*mesos.FrameworkInfo_Capability{
					{Type: mesos.FrameworkInfo_Capability_MULTI_ROLE.Enum()},
					{Type: mesos.FrameworkInfo_Capability_PARTITION_AWARE.Enum()},
					{Type: mesos.FrameworkInfo_Capability_RESERVATION_REFINEMENT.Enum()},
					{Type: mesos.FrameworkInfo_Capability_TASK_KILLING_STATE.Enum()},
				},
			},
			Store: (*frameworkID)(l), Logger: cfg.Log,
		}, l.handler())
	})
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// delivery is an input and the word that all its effects are done.
type delivery struct {
	in   state.Input
	done chan error
}

type loop struct {
	cfg    Config
	lead   store.Leadership
	start  time.Time
	core   *state.Framework
	view   *runhttp.View
	inputs chan delivery
	timer  *time.Timer
	ready  sync.Once

	mu     sync.Mutex
	caller *scheduler.Caller // nil while disconnected
	asked  map[state.Token]chan state.Answer
	tokens state.Token
}

func (l *loop) now() clock.Now {
	t := time.Now()
	return clock.Now{Mono: t.Sub(l.start), Wall: t}
}

func (l *loop) recover(ctx context.Context) error {
	records, err := l.cfg.Store.Load(ctx, keyRuns)
	if err != nil {
		return err
	}
	var runs []*state.Run
	for _, r := range records {
		run := new(state.Run)
		if err := json.Unmarshal(r.Value, run); err != nil {
			return fmt.Errorf("run: %s does not decode (%w): %w", r.Key, err, store.ErrCorrupt)
		}
		runs = append(runs, run)
	}
	l.timer = time.NewTimer(time.Hour)
	return l.do(ctx, l.core.Step(l.now(), state.Recovered{Runs: runs}))
}

func (l *loop) run(ctx context.Context) error {
	defer l.timer.Stop()
	for {
		select {
		case d := <-l.inputs:
			err := l.do(ctx, l.core.Step(l.now(), d.in))
			d.done <- err
			if err != nil {
				return err
			}
		case <-l.timer.C:
			if err := l.do(ctx, l.core.Step(l.now(), state.Fired{})); err != nil {
				return err
			}
		case <-l.lead.Lost:
			return errors.New("run: another process leads the run framework now")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// deliver hands an input to the loop and waits until its effects are done.
func (l *loop) deliver(ctx context.Context, in state.Input) error {
	d := delivery{in, make(chan error, 1)}
	select {
	case l.inputs <- d:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-d.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Ask implements runhttp.Asker.
func (l *loop) Ask(ctx context.Context, in func(state.Token) state.Input) (state.Answer, error) {
	answer := make(chan state.Answer, 1)
	l.mu.Lock()
	l.tokens++
	token := l.tokens
	l.asked[token] = answer
	l.mu.Unlock()
	if err := l.deliver(ctx, in(token)); err != nil {
		return state.Answer{}, err
	}
	return <-answer, nil
}

// do carries effects out: all persists first, so that nothing is said before it is kept.
func (l *loop) do(ctx context.Context, effects []state.Effect) error {
	var ops []store.Op
	for _, e := range effects {
		p, ok := e.(state.Persist)
		if !ok {
			continue
		}
		op := store.Op{Key: keyRuns + p.ID}
		if p.Run != nil {
			raw, err := json.Marshal(p.Run)
			if err != nil {
				return fmt.Errorf("run: %s: %w", p.ID, err)
			}
			op.Value = raw
		}
		ops = append(ops, op)
	}
	if len(ops) > 0 {
		if err := l.cfg.Store.Commit(ctx, l.lead, ops); err != nil {
			return fmt.Errorf("run: %w", err)
		}
	}
	for _, e := range effects {
		switch e := e.(type) {
		case state.Publish:
			l.view.Publish(e.ID, e.Run)
		case state.Call:
			l.call(ctx, e.Call)
		case state.Answer:
			l.mu.Lock()
			answer := l.asked[e.Token]
			delete(l.asked, e.Token)
			l.mu.Unlock()
			answer <- e
		case state.SetTimer:
			l.timer.Reset(max(e.At-time.Since(l.start), 0))
		}
	}
	return nil
}

// call makes a call if the framework is connected. One that fails is not repeated: the
// next subscription reconciles.
func (l *loop) call(ctx context.Context, call *schedulerpb.Call) {
	l.mu.Lock()
	caller := l.caller
	l.mu.Unlock()
	if caller == nil {
		return
	}
	if err := caller.Call(ctx, call); err != nil && ctx.Err() == nil {
		l.cfg.Log.Warn("run: a call failed; it is settled at the next subscription", "call", call.GetType(), "err", err)
	}
}

func (l *loop) handler() scheduler.Handler {
	connected := func(c *scheduler.Caller) {
		l.mu.Lock()
		l.caller = c
		l.mu.Unlock()
	}
	return scheduler.Handler{
		Subscribed: func(ctx context.Context, c *scheduler.Caller, e *schedulerpb.Event_Subscribed) error {
			connected(c)
			if l.cfg.Ready != nil {
				l.ready.Do(l.cfg.Ready)
			}
			return l.deliver(ctx, state.Subscribed{Framework: id.Framework(e.GetFrameworkId().GetValue())})
		},
		Disconnected: func(error) {
			connected(nil)
			// The loop may have ended already, and then nobody needs to know.
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_ = l.deliver(ctx, state.Disconnected{})
		},
		Offers: func(ctx context.Context, _ *scheduler.Caller, offers []*mesos.Offer) error {
			return l.deliver(ctx, state.Offers{Offers: offers})
		},
		Update: func(ctx context.Context, _ *scheduler.Caller, s *mesos.TaskStatus) error {
			in := state.Status{Status: s}
			if code, ok := scheduler.ExitCode(s); ok {
				in.Exit = &code
			}
			return l.deliver(ctx, in)
		},
	}
}

// frameworkID keeps the framework's id in the store.
type frameworkID loop

// Load implements scheduler.Store.
func (f *frameworkID) Load(ctx context.Context) (string, error) {
	records, err := f.cfg.Store.Load(ctx, keyFramework)
	if err != nil || len(records) == 0 {
		return "", err
	}
	return strings.TrimSpace(string(records[0].Value)), nil
}

// Save implements scheduler.Store.
func (f *frameworkID) Save(ctx context.Context, id string) error {
	op := store.Op{Key: keyFramework}
	if id != "" {
		op.Value = []byte(id)
	}
	return f.cfg.Store.Commit(ctx, f.lead, []store.Op{op})
}
