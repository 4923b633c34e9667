package service

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/internal/loop"
	"github.com/stoa-kernel/stoa/internal/mailbox"
	"github.com/stoa-kernel/stoa/kernel/clock"
	"github.com/stoa-kernel/stoa/sdk/scheduler"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/events"
	"github.com/stoa-kernel/stoa/service/health"
	"github.com/stoa-kernel/stoa/service/state"
	"github.com/stoa-kernel/stoa/service/view"
)

const (
	// turnInputs is how many inputs one turn takes before what follows is done.
	turnInputs = 256
	// backlog is how many inputs from the network may wait.
	backlog = 4096
	// someOffers are looked at in one step.
	someOffers = 16
)

// errAbdicated ends a term that its leader gave up (DELETE /v2/leader).
var errAbdicated = errors.New("service: the leader abdicated")

// runner is the loop: it owns the core, writes before it does what follows, and is the
// only one to wait for several things at once.
type runner struct {
	core    *state.Service
	began   time.Time
	inputs  *mailbox.Mailbox[state.Input]
	log     *writer
	calls   *calls
	tails   *tails
	agents  *agents
	view    *view.View
	events  *events.Log
	prober  *health.Prober
	metrics *metrics

	hold   loop.Hold[state.Effect]
	issued loop.Position
	alarm  *time.Timer
	fire   time.Duration // when Fired is due; 0 is never
	// changed is what readers have not been shown yet.
	changed []state.Effect
	// told are the numbers of events that readers may see once they see what changed.
	told []uint64

	abdicated chan struct{}
	over      chan struct{} // closed when run has ended: nobody is answered any more

	mu     sync.Mutex
	tokens state.Token
	asked  map[state.Token]chan state.Result
}

// run turns until ctx ends, the store is lost, or leadership is given up. recovered is
// called when readers can be shown what the store kept.
func (r *runner) run(ctx context.Context, first state.Recovered, recovered func()) error {
	defer close(r.over)
	r.alarm = time.NewTimer(time.Hour)
	defer r.alarm.Stop()
	r.step(first)
	r.release()
	recovered()
	for {
		select {
		case <-r.inputs.Wake:
		case <-r.alarm.C:
		case <-r.abdicated:
			return errAbdicated
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := r.turn(); err != nil {
			return err
		}
	}
}

func (r *runner) turn() error {
	began := time.Now()
	inputs, more := r.inputs.Take(turnInputs)
	for _, in := range inputs {
		r.step(in)
	}
	if r.fire > 0 && time.Since(r.began) >= r.fire {
		r.fire = 0
		r.step(state.Fired{})
	}
	durable, err := r.log.durable()
	if err != nil {
		return err
	}
	r.hold.Durable(durable)
	r.release()
	if more {
		r.inputs.Poke()
	}
	r.metrics.turn.Observe(time.Since(began).Seconds())
	return nil
}

func (r *runner) step(in state.Input) {
	began := time.Now()
	var puts []state.Put // of one commit: an event is stored if and only if what it tells of is
	for _, e := range r.core.Step(clock.Now{Mono: began.Sub(r.began), Wall: began}, in) {
		switch e := e.(type) {
		case state.Persist:
			r.issued = r.hold.Persist()
			puts = append(puts, e.Puts...)
		case state.Save:
			puts = append(puts, e.Puts...)
		case state.Publish:
			number, kept, old := r.events.Add(e.Event)
			if kept != nil {
				r.issued = r.hold.Persist()
				puts = append(puts, state.Put{Key: keyEvents + kept.ID, Value: kept})
				for _, id := range old {
					puts = append(puts, state.Put{Key: keyEvents + id})
				}
			}
			r.hold.Add(numbered{e, number})
		case state.SetTimer:
			// Timers are the core's own business and wait for no disk.
			r.fire = e.At
			r.alarm.Reset(max(e.At-time.Since(r.began), 0))
		default:
			r.hold.Add(e)
		}
	}
	if len(puts) > 0 {
		r.log.add(puts, r.issued)
	}
	r.metrics.stepped(in, time.Since(began))
}

// release does the effects whose turn has come.
func (r *runner) release() {
	for {
		e, ok := r.hold.Next()
		if !ok {
			r.show()
			return
		}
		r.do(e)
	}
}

// show lets readers see what changed, all of it at one moment, and then the events that
// tell of it. It comes before answers: who has been told of something finds it.
func (r *runner) show() {
	if len(r.changed) > 0 {
		r.view.Apply(r.changed...)
		clear(r.changed)
		r.changed = r.changed[:0]
	}
	if len(r.told) > 0 {
		r.events.Show(r.told...)
		r.told = r.told[:0]
	}
}

func (r *runner) do(e state.Effect) {
	switch e := e.(type) {
	case state.Call:
		r.metrics.called(e.Call)
		r.calls.add(outgoing{call: e.Call, tasks: e.Tasks})
	case state.Acknowledge:
		r.calls.add(outgoing{acknowledge: e.Status})
	case state.AcknowledgeOperation:
		r.calls.add(outgoing{operation: e.Status})
	case state.UpdateFramework:
		r.calls.add(outgoing{roles: e.Roles})
	case state.Answer:
		r.show()
		r.mu.Lock()
		asked := r.asked[e.Token]
		delete(r.asked, e.Token)
		r.mu.Unlock()
		if asked != nil {
			asked <- e.Result
		}
	case state.Watch:
		r.prober.Watch(e)
	case state.Unwatch:
		r.prober.Unwatch(e.Instance)
	case state.PreStop:
		r.prober.PreStop(e)
	case state.FollowAgents:
		r.agents.follow(e.On)
	case state.FetchTail:
		r.tails.add(e)
	case numbered:
		r.metrics.published(e.Event)
		r.told = append(r.told, e.number)
	default:
		r.changed = append(r.changed, e)
	}
}

// numbered is an event with its place in the stream.
type numbered struct {
	state.Publish
	number uint64
}

// ask gives the core a request and waits for its answer.
func (r *runner) ask(ctx context.Context, in func(state.Token) state.Input) (state.Result, error) {
	refusal, refused := r.log.refusing()
	if refusal != nil {
		return state.Result{Fault: &app.Fault{Status: http.StatusServiceUnavailable, Body: marathon.Error{
			Message: "Nothing was changed: " + refusal.Error() + ". Apps run on, and can be looked at; try again when the store has room.",
		}}}, nil
	}
	answer := make(chan state.Result, 1)
	r.mu.Lock()
	r.tokens++
	token := r.tokens
	r.asked[token] = answer
	r.mu.Unlock()
	forget := func() {
		r.mu.Lock()
		delete(r.asked, token)
		r.mu.Unlock()
	}
	if err := r.inputs.Submit(ctx, in(token)); err != nil {
		forget()
		return state.Result{}, err
	}
	select {
	case result := <-answer:
		return result, nil
	case <-refused:
		forget()
		refusal, _ := r.log.refusing()
		return state.Result{}, cmp.Or(refusal, errors.New("the store refused for a while"))
	case <-r.over:
		forget()
		return state.Result{}, errors.New("this term of the service is over")
	case <-ctx.Done():
		forget()
		return state.Result{}, context.Cause(ctx)
	}
}

// handler hands the kernel's events to the loop.
func (r *runner) handler(ready func()) scheduler.Handler {
	return scheduler.Handler{
		Subscribed: func(ctx context.Context, c *scheduler.Caller, e *schedulerpb.Event_Subscribed) error {
			r.calls.connected(c)
			ready()
			return r.inputs.Submit(ctx, state.Subscribed{FrameworkID: e.GetFrameworkId().GetValue()})
		},
		Disconnected: func(error) {
			r.calls.connected(nil)
			r.inputs.Post(state.Disconnected{})
		},
		Offers: func(ctx context.Context, _ *scheduler.Caller, offers []*mesos.Offer) error {
			// In parts: while the store takes the launches of one, the next is looked at.
			for len(offers) > 0 {
				n := min(len(offers), someOffers)
				if err := r.inputs.Submit(ctx, state.Offers{Offers: offers[:n:n], More: len(offers) - n}); err != nil {
					return err
				}
				offers = offers[n:]
			}
			return nil
		},
		Rescinded: func(ctx context.Context, _ *scheduler.Caller, offer *mesos.OfferID) error {
			return r.inputs.Submit(ctx, state.Rescinded{Offer: offer.GetValue()})
		},
		Update: func(ctx context.Context, _ *scheduler.Caller, st *mesos.TaskStatus) error {
			in := state.Status{Status: st}
			if code, ok := scheduler.ExitCode(st); ok {
				in.Exit = &code
			}
			return r.inputs.Submit(ctx, in)
		},
		OperationUpdate: func(ctx context.Context, c *scheduler.Caller, st *mesos.OperationStatus) error {
			return r.inputs.Submit(ctx, state.Operation{Status: st})
		},
		Failure: func(ctx context.Context, _ *scheduler.Caller, f *schedulerpb.Event_Failure) error {
			if f.ExecutorId != nil {
				return nil
			}
			return r.inputs.Submit(ctx, state.AgentFailed{Agent: f.GetAgentId().GetValue()})
		},
	}
}
