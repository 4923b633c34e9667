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
	// patience is how long a large body waits for the budget.
	patience = 5 * time.Second
)

// refusal is a status and the text that goes with it.
type refusal struct {
	status  int
	message string
}

func (r *refusal) write(w http.ResponseWriter) { fail(w, r.status, r.message) }

// body is a request's body; release gives its memory back to the budget.
type body struct {
	server *Server
	bytes  []byte
	taken  int64
}

func (b *body) release() {
	if b.taken > 0 {
		b.server.bodies.Release(b.taken)
		b.taken = 0
	}
}

// take lets the body grow by n bytes.
func (b *body) take(ctx context.Context, n int64) *refusal {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if b.server.bodies.Acquire(ctx, n) != nil {
		return &refusal{http.StatusServiceUnavailable, "Too many large requests at once: try again later"}
	}
	b.taken += n
	return nil
}

// read takes in a whole body, in bounded time and memory.
func (s *Server) read(w http.ResponseWriter, r *http.Request) (*body, *refusal) {
	b := &body{server: s}
	limit := s.Limits.Body
	tooLong := &refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("The body is longer than %d bytes", limit)}
	if r.ContentLength > int64(limit) {
		return b, tooLong
	}
	b.bytes = make([]byte, 0, max(512, min(r.ContentLength+1, small)))
	for {
		if len(b.bytes) == cap(b.bytes) {
			size := min(max(2*cap(b.bytes), small), limit+1)
			if size > small {
				if refused := b.take(r.Context(), int64(size)-b.taken); refused != nil {
					return b, refused
				}
			}
			b.bytes = append(make([]byte, 0, size), b.bytes...)
		}
		n, err := r.Body.Read(b.bytes[len(b.bytes):cap(b.bytes)])
		b.bytes = b.bytes[:len(b.bytes)+n]
		if len(b.bytes) > limit {
			return b, tooLong
		}
		if err == io.EOF {
			// The deadline was for the body; what waits for the client's end must not meet it.
			_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
			return b, nil
		}
		if err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				return b, &refusal{http.StatusRequestTimeout, fmt.Sprintf("The body did not arrive within %v", s.Limits.BodyTimeout)}
			}
			return b, &refusal{http.StatusBadRequest, "The body could not be read: " + err.Error()}
		}
	}
}

// call reads and decodes a v1 call into m.
func (s *Server) call(w http.ResponseWriter, r *http.Request, m proto.Message) *refusal {
	values, ok := r.Header["Content-Type"]
	if !ok {
		return &refusal{http.StatusBadRequest, "Expecting 'Content-Type' to be present"}
	}
	c, ok := codec.Of(values[0])
	if !ok {
		return &refusal{http.StatusUnsupportedMediaType, fmt.Sprintf("Expecting 'Content-Type' of %v or %v", codec.JSON, codec.Protobuf)}
	}
	b, refused := s.read(w, r)
	defer b.release()
	if refused != nil {
		return refused
	}
	if len(b.bytes) > small {
		if err := s.decoding.Acquire(r.Context(), 1); err != nil {
			return &refusal{http.StatusServiceUnavailable, "The client did not wait"}
		}
		defer s.decoding.Release(1)
	}
	err := c.Unmarshal(b.bytes, m)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, codec.ErrTooMany):
		return &refusal{http.StatusRequestEntityTooLarge, "The body holds " + err.Error()}
	case c == codec.Protobuf:
		return &refusal{http.StatusBadRequest, "Failed to parse body into Call protobuf: " + clip(err.Error())}
	case json.Valid(b.bytes):
		return &refusal{http.StatusBadRequest, "Failed to convert JSON into Call protobuf: " + clip(err.Error())}
	default:
		return &refusal{http.StatusBadRequest, "Failed to parse body into JSON: " + clip(err.Error())}
	}
}

// post answers 405 to any other method.
func post(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodPost {
		return true
	}
	w.Header().Set("Allow", http.MethodPost)
	fail(w, http.StatusMethodNotAllowed, "Expecting one of { 'POST' }, but received '"+clip(r.Method)+"'")
	return false
}

// clip bounds what of a request is said back.
func clip(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
