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
	limited, cancel := context.WithTimeoutCause(ctx, d.timeout, errNoAnswer)
	defer cancel()
	if err := submit(limited, q(token)); err != nil {
		return answer{}, err
	}
	select {
	case a := <-reply:
		return a, nil
	case <-limited.Done():
		return answer{}, context.Cause(limited)
	case <-d.done:
		return answer{}, session.ErrClosed
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
