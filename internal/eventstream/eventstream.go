// Package eventstream writes the answer to a SUBSCRIBE: events as RecordIO, for as long
// as both sides want. Whoever has events never waits for the client: they are queued up to
// a bound, one goroutine writes them, and a client that reads too slowly is cut off.
package eventstream

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/stoa-kernel/stoa/internal/codec"
	"github.com/stoa-kernel/stoa/internal/recordio"
)

// chunk is how much is written under one deadline: progress is judged by it.
const chunk = 32 << 10

// errFull cuts off a client that leaves too much waiting.
var errFull = errors.New("the stream's queue is full")

// Stream is one client's. Send, End and Cut are for any goroutine and never wait; Write
// and Close are for the handler of the request that is answered.
type Stream[E proto.Message] struct {
	w       http.ResponseWriter
	control *http.ResponseController
	codec   codec.Codec
	stall   time.Duration
	limit   int
	wake    chan struct{}

	mu     sync.Mutex
	queue  []queued[E]
	bytes  int
	ending bool  // close after what is queued
	cut    error // why it must end at once, nil if it need not
	gone   bool  // the handler is about to return
}

// queued is an event and what it counts for in the queue.
type queued[E proto.Message] struct {
	event E
	size  int
}

// New returns a stream whose client may take nothing for at most stall, and leave limit
// bytes waiting, counted in protobuf whatever the codec.
func New[E proto.Message](w http.ResponseWriter, c codec.Codec, stall time.Duration, limit int) *Stream[E] {
	return &Stream[E]{w: w, control: http.NewResponseController(w), codec: c, stall: stall, limit: limit, wake: make(chan struct{}, 1)}
}

// Send queues an event, which must not change afterwards, and says whether it did: a
// stream that has too much waiting is cut off, one that ends takes nothing.
func (s *Stream[E]) Send(e E) bool {
	size := proto.Size(e)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.gone || s.ending || s.cut != nil:
		return false
	case s.bytes+size > s.limit:
		s.end(errFull)
		return false
	}
	s.queue = append(s.queue, queued[E]{e, size})
	s.bytes += size
	s.poke()
	return true
}

// End ends the stream in order: what is queued is written, then the body ends.
func (s *Stream[E]) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = true
	s.poke()
}

// Cut ends the stream at once, whatever is queued; Write returns why.
func (s *Stream[E]) Cut(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(why)
}

// end makes the writer return; mu is held.
func (s *Stream[E]) end(why error) {
	if s.cut == nil && !s.gone {
		s.cut, s.queue = why, nil
		_ = s.control.SetWriteDeadline(time.Unix(1, 0)) // unblocks a write
		s.poke()
	}
}

func (s *Stream[E]) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Left is how a stream ended.
type Left struct {
	// Waiting is how many bytes were queued and not written.
	Waiting int
	// Slow says that the client was cut off because it read too slowly.
	Slow bool
	// Ended says that End was called.
	Ended bool
}

// Close drops the stream, after which nothing touches the request any more. err is what
// Write returned.
func (s *Stream[E]) Close(err error) Left {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone, s.queue = true, nil
	var timeout net.Error
	stalled := errors.As(err, &timeout) && timeout.Timeout()
	return Left{Waiting: s.bytes, Slow: s.cut == errFull || s.cut == nil && stalled, Ended: s.ending}
}

// Own is what a stream carries of its own accord. Its functions hand events to add and
// return its error; they are called by Write. The zero value adds nothing.
type Own[E proto.Message] struct {
	// Expand says what an event goes out as. Those that Whole is true of go out as they are.
	Expand func(e E, add func(E) error) error
	Whole  func(e E) bool
	// Ticked is called at every Tick.
	Tick   <-chan time.Time
	Ticked func(add func(E) error) error
}

// Write is the stream's one writer. It returns nil after an orderly end, and otherwise an
// error: the caller must then not let the body end as if it were whole.
//
// Each record of JSON is a chunk of the body of its own, as with Mesos: clients in
// JavaScript (npm mesos-framework) take what they are handed at a time for one event. Who
// decodes protobuf reads records; for those as many as there are go out in one write.
func (s *Stream[E]) Write(ctx context.Context, own Own[E]) error {
	var out, record []byte
	encode := s.codec.Append
	add := func(e E) error {
		var err error
		if record, err = encode(record[:0], e); err != nil {
			return err
		}
		out = recordio.Append(out, record)
		switch {
		case s.codec == codec.JSON:
			err = s.send(out)
			if err == nil {
				err = s.control.Flush()
			}
		case len(out) >= chunk:
			err = s.send(out)
		default:
			return nil
		}
		if out = out[:0]; cap(out) > 1<<20 {
			out, record = nil, nil // one huge event must not be paid for until the end
		}
		return err
	}
	for {
		s.mu.Lock()
		batch, cut, ending := s.queue, s.cut, s.ending
		s.queue = nil
		s.mu.Unlock()
		if cut != nil {
			return cut
		}
		for _, q := range batch {
			var err error
			if own.Expand == nil || own.Whole != nil && own.Whole(q.event) {
				encode = s.codec.AppendSized // Send has measured it
				err = add(q.event)
				encode = s.codec.Append
			} else {
				err = own.Expand(q.event, add)
			}
			if err != nil {
				return err
			}
			s.mu.Lock()
			s.bytes -= q.size
			s.mu.Unlock()
		}
		if len(batch) > 0 {
			continue // more may have come; flush when the queue is empty
		}
		if len(out) > 0 {
			if err := s.send(out); err != nil {
				return err
			}
			out = out[:0]
			if err := s.control.Flush(); err != nil {
				return err
			}
			continue
		}
		if ending {
			return nil
		}
		select {
		case <-s.wake:
		case <-own.Tick:
			if err := own.Ticked(add); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// send writes in chunks, each with a deadline of its own: a slow client is given time,
// one that takes nothing is not.
func (s *Stream[E]) send(b []byte) error {
	for len(b) > 0 {
		// The deadline of one that is cut is in the past, and stays there.
		s.mu.Lock()
		err := s.cut
		if err == nil {
			err = s.control.SetWriteDeadline(time.Now().Add(s.stall))
		}
		s.mu.Unlock()
		if err != nil {
			return err
		}
		n, err := s.w.Write(b[:min(len(b), chunk)])
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
