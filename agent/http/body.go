package http

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/stoa-kernel/stoa/internal/codec"
)

const (
	// small is the length up to which a body is read without asking the budget.
	small = 64 << 10
	// step is by how much larger ones grow.
	step = 256 << 10
	// patience is how long a large body waits for the budget.
	patience = 5 * time.Second
)

// refusal is a status and the text that goes with it.
type refusal struct {
	status  int
	message string
}

func (r *refusal) write(w http.ResponseWriter) { fail(w, r.status, r.message) }

// call reads and decodes a v1 call into m. What it takes of the budget is kept until
// release, since m is as large as the body; release is never nil.
func (s *Server) call(w http.ResponseWriter, r *http.Request, m proto.Message) (release func(), refused *refusal) {
	var taken int64
	return func() { s.bodies.Release(taken) }, s.decode(w, r, m, &taken)
}

func (s *Server) decode(w http.ResponseWriter, r *http.Request, m proto.Message, taken *int64) *refusal {
	values, ok := r.Header["Content-Type"]
	if !ok {
		return &refusal{http.StatusBadRequest, "Expecting 'Content-Type' to be present"}
	}
	c, ok := codec.Of(values[0])
	if !ok {
		return &refusal{http.StatusUnsupportedMediaType, fmt.Sprintf("Expecting 'Content-Type' of %v or %v", codec.JSON, codec.Protobuf)}
	}
	body, refused := s.read(w, r, taken)
	if refused != nil {
		return refused
	}
	err := c.Unmarshal(body, m)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, codec.ErrTooMany):
		return &refusal{http.StatusRequestEntityTooLarge, "The body holds " + err.Error()}
	case c == codec.Protobuf:
		return &refusal{http.StatusBadRequest, "Failed to parse body into Call protobuf: " + clip(err.Error())}
	case json.Valid(body):
		return &refusal{http.StatusBadRequest, "Failed to convert JSON into Call protobuf: " + clip(err.Error())}
	default:
		return &refusal{http.StatusBadRequest, "Failed to parse body into JSON: " + clip(err.Error())}
	}
}

// read takes in a whole body, in bounded time and memory; taken counts what it has of
// the budget.
func (s *Server) read(w http.ResponseWriter, r *http.Request, taken *int64) ([]byte, *refusal) {
	limit := s.Limits.Body
	tooLong := &refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("The body is longer than %d bytes", limit)}
	if r.ContentLength > int64(limit) {
		return nil, tooLong
	}
	b := make([]byte, 0, max(512, min(r.ContentLength+1, small)))
	for {
		if len(b) == cap(b) {
			grow := min(max(cap(b), small), step)
			if len(b)+grow > small {
				if s.acquire(r.Context(), int64(grow)) != nil {
					return nil, &refusal{http.StatusServiceUnavailable, "Too many large requests at once: try again later"}
				}
				*taken += int64(grow)
			}
			b = append(make([]byte, 0, len(b)+grow), b...)
		}
		n, err := r.Body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if len(b) > limit {
			return nil, tooLong
		}
		if err == io.EOF {
			// The deadline was for the body; what waits for the client's end must not meet it.
			_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
			return b, nil
		}
		if err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				return nil, &refusal{http.StatusRequestTimeout, fmt.Sprintf("The body did not arrive within %v", s.Limits.BodyTimeout)}
			}
			return nil, &refusal{http.StatusBadRequest, "The body could not be read: " + clip(err.Error())}
		}
	}
}

func (s *Server) acquire(ctx context.Context, n int64) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return s.bodies.Acquire(ctx, n)
}
