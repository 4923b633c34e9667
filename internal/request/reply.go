package request

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	// gzipFrom is the length from which an answer is compressed, as in Mesos.
	gzipFrom = 1024
	// hold is how much of an answer is kept back to learn its length.
	hold = 64 << 10
)

// zippers are used again: one has 1.2 MB, which costs far more than most answers.
var zippers = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed) // the level is valid
	return z
}}

// Reply is the body of an answer that is not a stream of events. Short ones get a
// Content-Length, long ones go out in pieces; either is compressed if the client asked.
type Reply struct {
	w       http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
	kind    string
	status  int
	zip     bool
	held    []byte
	out     io.Writer // once the header is out
	zipper  *gzip.Writer
}

// NewReply answers r with a body of that media type; timeout is for how long the client
// may take nothing of it. It must be closed.
func NewReply(w http.ResponseWriter, r *http.Request, kind string, timeout time.Duration) *Reply {
	return &Reply{
		w: w, control: http.NewResponseController(w), timeout: timeout,
		kind: kind, zip: AcceptsGzip(r), status: http.StatusOK,
	}
}

// SetStatus is for answers other than 200, before anything is written.
func (p *Reply) SetStatus(status int) { p.status = status }

// Write implements io.Writer.
func (p *Reply) Write(b []byte) (int, error) {
	if p.out == nil {
		if len(p.held)+len(b) <= hold {
			p.held = append(p.held, b...)
			return len(b), nil
		}
		p.start(true)
		if _, err := p.out.Write(p.held); err != nil {
			return 0, err
		}
		p.held = nil
	}
	return p.out.Write(b)
}

func (p *Reply) start(streaming bool) {
	h := p.w.Header()
	h.Set("Content-Type", p.kind)
	h.Add("Vary", "Accept-Encoding")
	p.out = timed{p}
	if p.zip && (streaming || len(p.held) >= gzipFrom) {
		h.Set("Content-Encoding", "gzip")
		p.zipper = zippers.Get().(*gzip.Writer)
		p.zipper.Reset(timed{p})
		p.out = p.zipper
	} else if !streaming {
		h.Set("Content-Length", strconv.Itoa(len(p.held)))
	}
	p.w.WriteHeader(p.status)
}

// Close sends what is held. err is of whoever wrote the body: an answer that has not begun
// becomes a 500, one that has is cut off.
func (p *Reply) Close(err error) {
	if err == nil && p.out == nil {
		p.start(false)
		_, err = p.out.Write(p.held)
	}
	if err == nil && p.zipper != nil {
		if err = p.zipper.Close(); err == nil {
			p.zipper.Reset(io.Discard) // or it would keep the answer
			zippers.Put(p.zipper)
		}
	}
	if err != nil {
		if p.out == nil {
			Refuse(p.w, http.StatusInternalServerError, "The answer could not be encoded: "+err.Error())
			return
		}
		panic(http.ErrAbortHandler) // a body cut short must not look whole
	}
}

// timed gives every piece its own time, so that only a client that takes nothing is
// left.
type timed struct{ p *Reply }

func (t timed) Write(b []byte) (int, error) {
	written := 0
	for len(b) > 0 {
		err := t.p.control.SetWriteDeadline(time.Now().Add(t.p.timeout))
		if err != nil && !errors.Is(err, http.ErrNotSupported) {
			return written, err
		}
		n, err := t.p.w.Write(b[:min(len(b), hold)])
		written += n
		if err != nil {
			return written, err
		}
		b = b[n:]
	}
	return written, nil
}
