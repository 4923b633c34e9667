package http

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/stoa-kernel/stoa/internal/codec"
	"github.com/stoa-kernel/stoa/internal/request"
	"github.com/stoa-kernel/stoa/master/state"
)

const (
	// gzipFrom is the length from which an answer is compressed, as in Mesos.
	gzipFrom = 1024
	// hold is how much of an answer is kept back to learn its length.
	hold = 64 << 10
)

// reply is the body of a 200 that is not a stream of events. Short ones get a
// Content-Length, long ones go out in pieces; either is compressed if the client asked.
type reply struct {
	w       http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
	kind    string
	zip     bool
	held    []byte
	out     io.Writer // once the header is out
	zipper  *gzip.Writer
}

func (s *Server) reply(w http.ResponseWriter, r *http.Request, kind string) *reply {
	return &reply{
		w: w, control: http.NewResponseController(w), timeout: s.Limits.WriteTimeout,
		kind: kind, zip: request.AcceptsGzip(r),
	}
}

func (p *reply) Write(b []byte) (int, error) {
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

func (p *reply) start(streaming bool) {
	h := p.w.Header()
	h.Set("Content-Type", p.kind)
	h.Add("Vary", "Accept-Encoding")
	p.out = timed{p}
	if p.zip && (streaming || len(p.held) >= gzipFrom) {
		h.Set("Content-Encoding", "gzip")
		p.zipper, _ = gzip.NewWriterLevel(timed{p}, gzip.BestSpeed) // the level is valid
		p.out = p.zipper
	} else if !streaming {
		h.Set("Content-Length", strconv.Itoa(len(p.held)))
	}
	p.w.WriteHeader(http.StatusOK)
}

// close sends what is held. err is of whoever wrote the body.
func (p *reply) close(err error) {
	if err == nil && p.out == nil {
		p.start(false)
		_, err = p.out.Write(p.held)
	}
	if err == nil && p.zipper != nil {
		err = p.zipper.Close()
	}
	if err != nil {
		if p.out == nil {
			request.Refuse(p.w, http.StatusInternalServerError, "The answer could not be encoded: "+err.Error())
			return
		}
		panic(http.ErrAbortHandler) // a body cut short must not look whole
	}
}

// timed gives every piece its own time, so that only a client that takes nothing is
// left.
type timed struct{ p *reply }

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

// message answers with one message.
func (s *Server) message(w http.ResponseWriter, r *http.Request, c codec.Codec, m proto.Message) {
	p := s.reply(w, r, c.String())
	b, err := c.Append(nil, m)
	if err == nil {
		_, err = p.Write(b)
	}
	p.close(err)
}

// json answers with a value of ours.
func (s *Server) json(w http.ResponseWriter, r *http.Request, v any) {
	p := s.reply(w, r, "application/json")
	b, err := json.Marshal(v)
	if err == nil {
		_, err = p.Write(b)
	}
	p.close(err)
}

// finish writes the loop's answer.
func (s *Server) finish(w http.ResponseWriter, r *http.Request, c codec.Codec, a state.Answer) {
	switch b := a.Body.(type) {
	case proto.Message:
		if a.Status == http.StatusOK {
			s.message(w, r, c, b)
			return
		}
	case *state.Explanation:
		if a.Status == http.StatusOK {
			s.json(w, r, b)
			return
		}
	}
	if a.Message != "" {
		request.Refuse(w, a.Status, a.Message)
		return
	}
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(a.Status)
}
