package request

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"runtime/metrics"
	"time"

	"golang.org/x/sync/semaphore"
	"google.golang.org/protobuf/proto"

	"github.com/stoa-kernel/stoa/internal/codec"
)

const (
	// first is what is held of any body before more of it has come.
	first = 1 << 10
	// small is the length up to which a body is read without asking the budget, into the heap.
	small = 64 << 10
	// light is what a decoded call may cost without asking for room.
	light = 256 << 10
	// safe is the length up to which no body's call can cost as much.
	safe = 3 << 10
	// dirty is from what cost on a call is collected before another gets its room: by itself
	// the collector would wait for as much again as lives, and let several pile up.
	dirty = 4 << 20
	// large is the length above which bodies have a budget of their own, so that those which
	// are not so large do not wait for them.
	large = 1 << 20
	// patience is how long a body waits for the budget, and a heavy call for room.
	patience = 8 * time.Second
	// Once it has got its share of the budget, a body has to arrive within haste and a second
	// for each perSecond of its bytes: others wait for it.
	haste     = 5 * time.Second
	perSecond = 1 << 20
)

// Bodies reads the bodies of requests. It is safe for concurrent use.
type Bodies struct {
	limit         int
	timeout       time.Duration
	middle, large *room
	// calls is for what heavy calls cost once they are decoded.
	calls *room
	// decoding lets one heavy call at a time be decoded, so that light ones find a
	// processor free.
	decoding *semaphore.Weighted
}

// room is some bytes to be shared.
type room struct {
	*semaphore.Weighted
	size int64
}

func newRoom(size int64) *room { return &room{semaphore.NewWeighted(size), size} }

var noRoom = &Refusal{http.StatusServiceUnavailable, "Too many large requests at once: try again later"}

// take waits for n bytes, but not for good; what is more than all there is takes all. It
// returns what is to be released.
func (r *room) take(ctx context.Context, n int64) (int64, *Refusal) {
	n = min(n, r.size)
	if r.TryAcquire(n) {
		return n, nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if r.Acquire(ctx, n) != nil {
		return 0, noRoom
	}
	return n, nil
}

// NewBodies reads bodies of at most limit bytes that arrive within timeout. It holds at
// most budget bytes of those above 64 KiB at a time, three quarters of them for those above
// 1 MiB, and until they are released about as many of the calls decoded from bodies.
func NewBodies(limit int, timeout time.Duration, budget int64) *Bodies {
	return &Bodies{limit, timeout, newRoom(budget / 4), newRoom(budget / 4 * 3), newRoom(budget), semaphore.NewWeighted(1)}
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
	// Bytes are the whole of it, or what had come when it was refused. They are good until
	// Release and must not be kept beyond it.
	Bytes []byte

	far   region // where Bytes are, if they are many
	from  *room  // nil: nothing was taken
	taken int64
}

// Release gives the body's memory back; Bytes are gone. It may be called on a body that
// was refused, and again.
func (b *Body) Release() {
	b.Bytes = nil
	b.far.free()
	if b.from != nil {
		b.from.Release(b.taken)
		b.from = nil
	}
}

// Read takes in a whole body, in bounded time and memory. The body is never nil and must
// be released.
func (b *Bodies) Read(w http.ResponseWriter, r *http.Request) (*Body, *Refusal) {
	body := &Body{}
	if r.ContentLength > int64(b.limit) {
		return body, b.tooLong()
	}
	most := b.limit + 1 // one byte more than may come shows that it does
	if r.ContentLength >= 0 {
		most = int(r.ContentLength) + 1
	}
	began, timeout := time.Now(), b.timeout
	// A length that is announced is not yet a body: memory comes with the bytes.
	body.Bytes = make([]byte, 0, min(most, first))
	for {
		if have := body.Bytes; len(have) == cap(have) {
			size := min(4*cap(have), most)
			if size > small && body.from == nil {
				// All it may need at once: two that wait for each other would get nowhere.
				from := b.middle
				if most > large {
					from = b.large
				}
				taken, refused := from.take(r.Context(), int64(most))
				if refused != nil {
					return body, refused
				}
				body.from, body.taken = from, taken
				timeout = min(b.timeout, time.Since(began)+haste+time.Duration(most)*time.Second/perSecond)
				_ = http.NewResponseController(w).SetReadDeadline(began.Add(timeout)) // as in Deadlines
			}
			if !body.grow(size) {
				return body, noRoom
			}
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
			var late net.Error
			if errors.As(err, &late) && late.Timeout() {
				return body, &Refusal{http.StatusRequestTimeout, fmt.Sprintf("The body did not arrive within %v", timeout.Round(time.Millisecond))}
			}
			return body, &Refusal{http.StatusBadRequest, "The body could not be read: " + Clip(err.Error())}
		}
	}
}

func (b *Bodies) tooLong() *Refusal {
	return &Refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("The body is longer than %d bytes", b.limit)}
}

// grow gives Bytes the capacity size. It is false if the system has no memory.
func (b *Body) grow(size int) bool {
	have := b.Bytes
	if size <= small {
		b.Bytes = append(make([]byte, 0, size), have...)
		return true
	}
	moves := b.far != nil // with what is in it
	if err := b.far.grow(size); err != nil {
		return false
	}
	if !moves {
		copy(b.far, have)
	}
	b.Bytes = b.far[:len(have)]
	return true
}

// collect runs the collector, unless what lives is so much that it would take long: there
// a heavy call more or less makes no difference.
func collect() {
	const much = 128 << 20
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	if metrics.Read(live); live[0].Value.Uint64() < much {
		runtime.GC()
	}
}

// errRefused ends a decoding before it begins.
var errRefused = errors.New("refused")

// Call reads a body and decodes the v1 call in it into m. A heavy call takes part of the
// room there is for such until release, which is never nil and may be called again; what
// is kept longer is not counted.
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
	defer body.Release()
	if refused != nil {
		return nothing, refused
	}
	release = nothing
	var err error
	if len(body.Bytes) <= safe {
		err = c.Unmarshal(body.Bytes, m)
	} else {
		h := &heavy{Bodies: b, ctx: r.Context()}
		defer h.decoded()
		if err = c.UnmarshalIn(body.Bytes, m, h.room); err != nil {
			h.release()
		}
		release, refused = h.release, h.refused
	}
	switch {
	case err == nil:
		return release, nil
	case refused != nil:
	case errors.Is(err, codec.ErrTooMany):
		refused = &Refusal{http.StatusRequestEntityTooLarge, "The body holds " + err.Error()}
	case c == codec.Protobuf:
		refused = &Refusal{http.StatusBadRequest, "Failed to parse body into Call protobuf: " + Clip(err.Error())}
	case json.Valid(body.Bytes):
		refused = &Refusal{http.StatusBadRequest, "Failed to convert JSON into Call protobuf: " + Clip(err.Error())}
	default:
		refused = &Refusal{http.StatusBadRequest, "Failed to parse body into JSON: " + Clip(err.Error())}
	}
	return nothing, refused
}

// Decode runs f, which makes something of about cost bytes from a body. Heavy ones run one
// at a time, and take part of the room there is for such until release, which is never nil
// and may be called again.
func (b *Bodies) Decode(ctx context.Context, cost int, f func()) (release func(), refused *Refusal) {
	if cost <= light {
		f()
		return func() {}, nil
	}
	h := &heavy{Bodies: b, ctx: ctx}
	defer h.decoded()
	if h.room(cost) != nil {
		h.release()
		return h.release, h.refused
	}
	f()
	return h.release, nil
}

// heavy is what a call takes while it is decoded and after.
type heavy struct {
	*Bodies
	ctx     context.Context
	taken   int64 // of calls
	alone   bool  // of those being decoded
	refused *Refusal
}

// room gets what a call of that cost needs to be decoded.
func (h *heavy) room(cost int) error {
	if cost <= light {
		return nil
	}
	if h.taken, h.refused = h.calls.take(h.ctx, int64(cost)); h.refused != nil {
		return errRefused
	}
	if err := h.decoding.Acquire(h.ctx, 1); err != nil {
		h.refused = &Refusal{http.StatusServiceUnavailable, "The client did not wait"}
		return errRefused
	}
	h.alone = true
	return nil
}

// decoded lets the next one be decoded.
func (h *heavy) decoded() {
	if h.alone {
		h.decoding.Release(1)
	}
}

// release gives the room back, once.
func (h *heavy) release() {
	taken := h.taken
	h.taken = 0
	if taken < dirty {
		h.calls.Release(taken)
		return
	}
	go func() { // until the collector is through
		collect()
		h.calls.Release(taken)
	}()
}
