package sdktest

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/stoa-kernel/stoa/internal/recordio"
	"github.com/stoa-kernel/stoa/sdk/internal/stream"
	"google.golang.org/protobuf/proto"
)

// subscription is the server's end of a stream.
type subscription struct {
	id    string
	codec stream.Codec

	mu     sync.Mutex
	queue  []proto.Message
	closed bool
	muted  bool
	// wake has room for one signal: there is something in queue, or closed was set.
	wake chan struct{}
}

func newSubscription(id string, codec stream.Codec) *subscription {
	return &subscription{id: id, codec: codec, wake: make(chan struct{}, 1)}
}

func (s *subscription) send(m proto.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, m)
	s.signal()
}

// end closes the stream when what was sent before is written.
func (s *subscription) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.signal()
}

func (s *subscription) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// mute stops writing without ending the stream.
func (s *subscription) mute() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.muted = true
}

// serve writes the stream until it is ended or the client goes; heartbeat, if not nil, is
// sent every interval.
func (s *subscription) serve(ctx context.Context, w http.ResponseWriter, heartbeat proto.Message, interval time.Duration) {
	w.Header().Set("Content-Type", s.codec.ContentType())
	w.WriteHeader(http.StatusOK)
	out := recordio.NewWriter(w)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		s.mu.Lock()
		queue, closed := s.queue, s.closed
		s.queue = nil
		if s.muted {
			queue = nil
		}
		s.mu.Unlock()
		for _, m := range queue {
			b, err := s.codec.Marshal(m)
			if err != nil {
				panic("sdktest: an event that cannot be sent: " + err.Error()) // the test's mistake
			}
			if out.Write(b) != nil {
				return
			}
		}
		if closed || http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-s.wake:
		case <-tick.C:
			if heartbeat != nil {
				s.send(heartbeat)
			}
		case <-ctx.Done():
			return
		}
	}
}
