package request

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/semaphore"
	"google.golang.org/protobuf/proto"

	"github.com/stoa-kernel/stoa/internal/codec"
)

const (
	// first is what is held of any body before more of it has come.
	first = 4 << 10
	// small is the length up to which a body is read without asking the budget.
	small = 64 << 10
	// large is from what length on a body is given room for all that was announced, rather
	// than twice what came: each doubling leaves its half to the collector.
	large = 1 << 20
	// patience is how long a large body waits for the budget.
	patience = 5 * time.Second
)

// Bodies reads the bodies of requests. It is safe for concurrent use.
type Bodies struct {
	limit   int
	timeout time.Duration
	budget  *semaphore.Weighted
	// decoding lets one large body at a time be decoded, so that small ones find a
	// processor free.
	decoding *semaphore.Weighted
}

// NewBodies reads bodies of at most limit bytes that arrive within timeout, and holds at
// most budget bytes of those above 64 KiB at a time.
func NewBodies(limit int, timeout time.Duration, budget int64) *Bodies {
	return &Bodies{limit, timeout, semaphore.NewWeighted(budget), semaphore.NewWeighted(1)}
}

// Deadlines gives a request's body its time to arrive, and the client the time answer after
// that to take what it is answered.
func (b *Bodies) Deadlines(w http.ResponseWriter, r *http.Request, answer time.Duration) {
	control := http.NewResponseController(w)
	deadline := time.Now().Add(answer)
	if r.ContentLength != 0 {
		// Holds for a body nobody reads, too.
		_ = control.SetReadDeadline(time.Now().Add(b.timeout)) // a recorder in a test has none
		deadline = deadline.Add(b.timeout)
	}
	_ = control.SetWriteDeadline(deadline)
}

// Body is a request's body.
type Body struct {
	// Bytes are the whole of it, or what had come when it was refused.
	Bytes []byte

	of    *Bodies
	taken int64
}

// Release gives the body's memory back to the budget; Bytes are gone. It may be called on
// a body that was refused, and again.
func (b *Body) Release() {
	b.Bytes = nil
	if b.taken > 0 {
		b.of.budget.Release(b.taken)
		b.taken = 0
	}
}

// take lets the body grow by n bytes.
func (b *Body) take(ctx context.Context, n int64) *Refusal {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if b.of.budget.Acquire(ctx, n) != nil {
		return &Refusal{http.StatusServiceUnavailable, "Too many large requests at once: try again later"}
	}
	b.taken += n
	return nil
}

// Read takes in a whole body, in bounded time and memory. The body is never nil and must
// be released.
func (b *Bodies) Read(w http.ResponseWriter, r *http.Request) (*Body, *Refusal) {
	body := &Body{of: b}
	if r.ContentLength > int64(b.limit) {
		return body, b.tooLong()
	}
	// A length that is announced is not yet a body: memory comes with the bytes.
	size := int64(512)
	if r.ContentLength >= 0 {
		size = min(r.ContentLength+1, first)
	}
	body.Bytes = make([]byte, 0, size)
	for {
		if have := body.Bytes; len(have) == cap(have) {
			size := min(2*cap(have), b.limit+1)
			if size > large && r.ContentLength > 0 {
				size = max(len(have), int(r.ContentLength)) + 1 // so much came that the rest is believed
			}
			if size > small {
				if refused := body.take(r.Context(), int64(size)-body.taken); refused != nil {
					return body, refused
				}
			}
			body.Bytes = append(make([]byte, 0, size), have...)
		}
		n, err := r.Body.Read(body.Bytes[len(body.Bytes):cap(body.Bytes)])
		body.Bytes = body.Bytes[:len(body.Bytes)+n]
		if len(body.Bytes) > b.limit {
			return body, b.tooLong()
		}
		if err == io.EOF {
			// The deadline was for the body; what waits for the client's end must not meet it.
			_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
			return body, nil
		}
		if err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				return body, &Refusal{http.StatusRequestTimeout, fmt.Sprintf("The body did not arrive within %v", b.timeout)}
			}
			return body, &Refusal{http.StatusBadRequest, "The body could not be read: " + Clip(err.Error())}
		}
	}
}

func (b *Bodies) tooLong() *Refusal {
	return &Refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("The body is longer than %d bytes", b.limit)}
}

// Call reads a body and decodes the v1 call in it into m. What the body took of the budget
// is kept until release, since m is about as large; release is never nil and may be called
// again.
func (b *Bodies) Call(w http.ResponseWriter, r *http.Request, m proto.Message) (release func(), refused *Refusal) {
	nothing := func() {}
	values, ok := r.Header["Content-Type"]
	if !ok {
		return nothing, &Refusal{http.StatusBadRequest, "Expecting 'Content-Type' to be present"}
	}
	c, ok := codec.Of(values[0])
	if !ok {
		return nothing, &Refusal{http.StatusUnsupportedMediaType, fmt.Sprintf("Expecting 'Content-Type' of %v or %v", codec.JSON, codec.Protobuf)}
	}
	body, refused := b.Read(w, r)
	if refused != nil {
		return body.Release, refused
	}
	defer func() { body.Bytes = nil }()
	if len(body.Bytes) > small {
		if err := b.decoding.Acquire(r.Context(), 1); err != nil {
			return body.Release, &Refusal{http.StatusServiceUnavailable, "The client did not wait"}
		}
		defer b.decoding.Release(1)
	}
	err := c.Unmarshal(body.Bytes, m)
	switch {
	case err == nil:
		return body.Release, nil
	case errors.Is(err, codec.ErrTooMany):
		return body.Release, &Refusal{http.StatusRequestEntityTooLarge, "The body holds " + err.Error()}
	case c == codec.Protobuf:
		return body.Release, &Refusal{http.StatusBadRequest, "Failed to parse body into Call protobuf: " + Clip(err.Error())}
	case json.Valid(body.Bytes):
		return body.Release, &Refusal{http.StatusBadRequest, "Failed to convert JSON into Call protobuf: " + Clip(err.Error())}
	default:
		return body.Release, &Refusal{http.StatusBadRequest, "Failed to parse body into JSON: " + Clip(err.Error())}
	}
}
