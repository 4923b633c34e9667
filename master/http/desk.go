package http

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/stoa-kernel/stoa/master/session"
	"github.com/stoa-kernel/stoa/master/state"
)

type (
	question = func(state.Token) state.Input
	answer   = state.Answer
)

var errNoAnswer = errors.New("it is too busy, try again")

// desk matches the loop's answers with the requests that wait for them.
type desk struct {
	timeout time.Duration
	done    <-chan struct{} // closed when nothing is answered any more

	mu      sync.Mutex
	last    state.Token
	waiting map[state.Token]chan answer
}

func (d *desk) ask(ctx context.Context, submit session.Submit, q question) (answer, error) {
	reply := make(chan answer, 1)
	d.mu.Lock()
	d.last++
	token := d.last
	if d.waiting == nil {
		d.waiting = make(map[state.Token]chan answer)
	}
	d.waiting[token] = reply
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.waiting, token)
		d.mu.Unlock()
	}()
	limited := limit{Context: ctx, time: d.timeout}
	defer limited.end()
	if err := submit(&limited, q(token)); err != nil {
		return answer{}, err
	}
	late := time.NewTimer(d.timeout)
	defer late.Stop()
	select {
	case a := <-reply:
		return a, nil
	case <-late.C:
		return answer{}, errNoAnswer
	case <-ctx.Done():
		return answer{}, context.Cause(ctx)
	case <-d.done:
		return answer{}, session.ErrClosed
	}
}

// tell hands over an input that has no answer.
func (d *desk) tell(ctx context.Context, submit session.Submit, in state.Input) error {
	limited := limit{Context: ctx, time: d.timeout}
	defer limited.end()
	return submit(&limited, in)
}

// limit is a context that ends some time after it was first waited for. Most inputs find
// room at once, and a timer that a request's context must know of is dear.
type limit struct {
	context.Context
	time    time.Duration
	started context.Context
	cancel  context.CancelFunc
}

// Done starts the time.
func (l *limit) Done() <-chan struct{} {
	if l.started == nil {
		l.started, l.cancel = context.WithTimeoutCause(l.Context, l.time, errNoAnswer)
	}
	return l.started.Done()
}

// Err is nil until the time is over or the context before it ends.
func (l *limit) Err() error {
	if l.started != nil {
		return l.started.Err()
	}
	return l.Context.Err()
}

// Value lets context.Cause find why it ended.
func (l *limit) Value(key any) any {
	if l.started != nil {
		return l.started.Value(key)
	}
	return l.Context.Value(key)
}

func (l *limit) end() {
	if l.cancel != nil {
		l.cancel()
	}
}

// Answer completes a request; one that gave up waiting is not there any more. It never
// waits.
func (s *Server) Answer(a state.Answer) {
	s.desk.mu.Lock()
	reply := s.desk.waiting[a.Token]
	delete(s.desk.waiting, a.Token)
	s.desk.mu.Unlock()
	if reply != nil {
		reply <- a
	}
}
