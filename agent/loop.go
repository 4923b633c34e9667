package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stoa-kernel/stoa/agent/checkpoint"
	"github.com/stoa-kernel/stoa/agent/container"
	"github.com/stoa-kernel/stoa/agent/containerizer/volume"
	"github.com/stoa-kernel/stoa/agent/http"
	"github.com/stoa-kernel/stoa/agent/link"
	"github.com/stoa-kernel/stoa/agent/probe"
	"github.com/stoa-kernel/stoa/agent/sandbox"
	"github.com/stoa-kernel/stoa/agent/state"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/internal/failpoint"
	"github.com/stoa-kernel/stoa/internal/loop"
	"github.com/stoa-kernel/stoa/internal/mailbox"
	"github.com/stoa-kernel/stoa/kernel/clock"
)

// core is what the loop needs of state.Agent.
type core interface {
	Step(now clock.Now, in state.Input, out *state.Effects)
	Snapshot() []*stoapb.LogRecord
}

const (
	// turnInputs is how many inputs one turn takes before what follows is done.
	turnInputs = 256
	// backlog is how many inputs from the network may wait.
	backlog = 1024
	// compactAt is how many bytes of records the log has before it is replaced by a
	// snapshot, and compactRatio how many times the last snapshot's.
	compactAt    = 16 << 20
	compactRatio = 3
)

// runner is the loop: it owns the core, writes before it does what follows, and is the
// only one to wait for several things at once.
type runner struct {
	core    core
	began   time.Time
	config  *Config
	inputs  *mailbox.Mailbox[state.Input]
	log     *writer
	disk    *chores
	metrics *metrics

	containers Containerizer
	checks     *probe.Prober
	volumes    *volume.Volumes
	server     *http.Server
	master     *link.Client

	timers  loop.Timers[state.Timer]
	hold    loop.Hold[state.Effect]
	effects state.Effects
	group   *group // what this turn writes
	issued  loop.Position
	ended   bool
	exit    error
}

// run turns until ctx ends or the core says that it is done; then it returns nil, or
// the reason of an Exit, or the log's error. first is taken before any other input;
// recovered is called when what follows from it was done.
func (r *runner) run(ctx context.Context, first state.Input, recovered func()) error {
	r.group = &group{}
	alarm := time.NewTimer(time.Hour)
	defer alarm.Stop()
	r.step(first)
	r.finish()
	start := r.issued
	stop := r.config.Stop
	for {
		if r.ended {
			return r.exit
		}
		durable := r.log.durable()
		if recovered != nil && durable >= start {
			recovered()
			recovered = nil
		}
		if at, ok := r.timers.Next(); ok {
			alarm.Reset(at - time.Since(r.began))
		} else {
			alarm.Stop()
		}
		select {
		case <-r.inputs.Wake:
		case <-alarm.C:
		case <-r.log.broken:
			return r.log.failed()
		case how, ok := <-stop:
			if !ok {
				stop = nil
				continue
			}
			r.config.Log.Info("ending: tasks are killed first", "at once", how == StopNow)
			r.inputs.Post(state.Shutdown{StopTasks: true, Now: how == StopNow})
			continue
		case <-ctx.Done():
			r.config.Log.Info("ending: tasks run on")
			return nil
		}
		r.turn()
	}
}

// turn takes inputs that wait and timers that are due, and does what may be done.
func (r *runner) turn() {
	began := time.Now()
	inputs, more := r.inputs.Take(turnInputs)
	for _, in := range inputs {
		r.step(in)
		if r.ended {
			return
		}
	}
	for range turnInputs {
		key, ok := r.timers.Due(time.Since(r.began))
		if !ok {
			break
		}
		r.step(state.Fired{Timer: key})
	}
	r.finish()
	if more {
		r.inputs.Poke()
	}
	r.metrics.turn.Observe(time.Since(began).Seconds())
}

// finish hands the turn's records to the writer and does the effects whose turn has
// come.
func (r *runner) finish() {
	r.compact()
	if !r.group.empty() {
		r.log.add(r.group)
		r.group = &group{}
	}
	r.hold.Durable(r.log.durable())
	r.release()
}

func (r *runner) step(in state.Input) {
	began := time.Now()
	switch in := in.(type) {
	case state.Container:
		switch in.Event.(type) {
		case container.Forked:
			failpoint.Here(failpoint.AfterFork)
		case container.Started:
			failpoint.Here(failpoint.AfterGo)
		}
	}
	r.effects.Reset()
	r.core.Step(clock.Now{Mono: began.Sub(r.began), Wall: began}, in, &r.effects)
	for _, e := range r.effects.List {
		switch e := e.(type) {
		case state.Persist:
			r.issued = r.hold.Persist()
			if err := r.group.put(e.Record, e.Sync, r.issued); err != nil {
				r.end(fmt.Errorf("write the agent's log: %w", err))
				return
			}
		case state.SetTimer:
			// Timers are the core's own business and wait for no disk.
			r.timers.Set(e.Timer, e.At)
		case state.StopTimer:
			r.timers.Stop(e.Timer)
		default:
			r.hold.Add(e)
		}
	}
	r.metrics.stepped(in, time.Since(began))
}

func (r *runner) end(err error) {
	if !r.ended {
		r.ended, r.exit = true, err
	}
}

// compact replaces the log when it has grown. The snapshot holds all that was persisted
// so far, and goes to the writer in its place among the records.
func (r *runner) compact() {
	if !r.log.grown(r.group.size()) {
		return
	}
	snapshot := &checkpoint.Batch{}
	for _, rec := range r.core.Snapshot() {
		if err := snapshot.Add(rec); err != nil {
			r.end(fmt.Errorf("snapshot of the agent: %w", err))
			return
		}
	}
	r.group.snapshot = snapshot
}

// release does the effects whose turn has come.
func (r *runner) release() {
	for !r.ended {
		e, ok := r.hold.Next()
		if !ok {
			break
		}
		r.do(e)
	}
	r.metrics.held.Set(float64(r.hold.Len()))
}

func (r *runner) do(e state.Effect) {
	switch e := e.(type) {
	case state.ToMaster:
		r.master.Send(e.Link, e.Msg)
		if e.Msg.GetUpdate() != nil {
			failpoint.Here(failpoint.AfterUpdateSent)
		}
	case state.DropLink:
		r.master.Drop(e.Link)
	case state.ToExecutor:
		r.server.Send(e.Stream, e.Event)
	case state.CloseExecutor:
		r.server.CloseStream(e.Stream)
	case state.Answer:
		if e.Status == 202 {
			failpoint.Here(failpoint.BeforeExecutorAnswer)
		}
		r.server.Answer(e)
	case state.Launch:
		r.containers.Launch(e.Spec)
	case state.Go:
		failpoint.Here(failpoint.BeforeGo)
		r.containers.Go(e.Container)
	case state.Adopt:
		r.containers.Adopt(e.Live)
	case state.Signal:
		r.containers.Signal(e.Container, e.Signal)
	case state.Destroy:
		r.containers.Destroy(e.Container)
	case state.Resize:
		r.containers.Resize(e.Container, e.Limits)
	case state.Check:
		r.checks.Ask(e)
	case state.StopChecks:
		r.checks.Stop(e)
	case state.ApplyVolumes:
		r.disk.add(func(context.Context) {
			r.inputs.Post(state.VolumesApplied{Operation: e.Operation, Err: text(errors.Join(r.volumes.Restore(e.Restore), r.volumes.Apply(e.Create, e.Destroy)))})
		})
	case state.RemoveSandbox:
		r.disk.later(func(ctx context.Context) {
			failpoint.Here(failpoint.BeforeSandboxRemoved)
			err := sandbox.Remove(ctx, r.config.WorkDir, e.Path)
			if ctx.Err() != nil {
				return // asked again by the next agent
			}
			r.inputs.Post(state.SandboxRemoved{Container: e.Container, Err: text(err)})
		})
	case state.Exit:
		r.end(errors.New(e.Message))
	case state.Stopped:
		r.end(nil)
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
