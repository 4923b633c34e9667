// Package stream is what the scheduler and the executor API have in common: calls posted
// to one URL in either encoding, and a subscription that answers with a stream of events.
package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/stoa-kernel/stoa/api/mesosjson"
	"github.com/stoa-kernel/stoa/internal/recordio"
	"google.golang.org/protobuf/proto"
)

// Codec is an encoding of messages.
type Codec int

// The two encodings of the v1 APIs.
const (
	Protobuf Codec = iota
	JSON
)

// ContentType is the codec's media type.
func (c Codec) ContentType() string {
	if c == JSON {
		return "application/json"
	}
	return "application/x-protobuf"
}

// Marshal encodes m.
func (c Codec) Marshal(m proto.Message) ([]byte, error) {
	if c == JSON {
		if err := mesosjson.CheckRequired(m); err != nil {
			return nil, err
		}
		return mesosjson.Marshal(m), nil
	}
	b, err := proto.MarshalOptions{AllowPartial: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	return b, mesosjson.CheckRequired(m)
}

// Unmarshal decodes b into m.
func (c Codec) Unmarshal(b []byte, m proto.Message) error {
	if c == JSON {
		return mesosjson.Unmarshal(b, m)
	}
	return proto.Unmarshal(b, m)
}

// ForContentType is the codec of a media type, as a server reads it from a request.
func ForContentType(t string) (Codec, bool) {
	switch t, _, _ := mime.ParseMediaType(t); t {
	case "application/json":
		return JSON, true
	case "application/x-protobuf":
		return Protobuf, true
	}
	return 0, false
}

// StatusError is an answer that is not a success.
type StatusError struct {
	// Status is the HTTP status code.
	Status int
	// Body is the beginning of what the server said.
	Body string
	// Location is where a redirect points, resolved against the request; nil if nowhere.
	Location *url.URL
}

func (e *StatusError) Error() string {
	if e.Body == "" {
		return fmt.Sprintf("the server answered %d %s", e.Status, http.StatusText(e.Status))
	}
	return fmt.Sprintf("the server answered %d: %s", e.Status, e.Body)
}

// ErrEncoding is wrapped when a call has no encoding, as without a required field.
var ErrEncoding = errors.New("the call cannot be encoded")

// ErrSilent ends a subscription on which nothing arrived for too long.
var ErrSilent = errors.New("no event and no heartbeat for too long")

// NewClient returns a client for the two connections of a subscription: the stream, and
// the calls, which share a second one. It uses no proxy and follows no redirect.
func NewClient(dial func(ctx context.Context, network, addr string) (net.Conn, error)) *http.Client {
	if dial == nil {
		dial = (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}).DialContext
	}
	return Prepare(&http.Client{Transport: &http.Transport{
		DialContext:         dial,
		TLSHandshakeTimeout: 5 * time.Second,
		DisableCompression:  true, // a compressed stream would be held back
		MaxIdleConnsPerHost: 2,
		IdleConnTimeout:     90 * time.Second,
	}})
}

// Prepare returns a copy of a caller's client that leaves redirects to us and has no limit
// on how long an answer takes, which a stream would run into.
func Prepare(c *http.Client) *http.Client {
	p := *c
	p.Timeout = 0
	p.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &p
}

// Endpoint is where calls go.
type Endpoint struct {
	URL    *url.URL
	Client *http.Client
	Codec  Codec
	// Header is sent with each request; nil for none.
	Header http.Header
}

// answerLimit is how much of an error's text is read, in bytes.
const answerLimit = 4 << 10

func (e *Endpoint) post(ctx context.Context, call proto.Message, header http.Header) (*http.Response, error) {
	body, err := e.Codec.Marshal(call)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEncoding, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.URL.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for _, h := range []http.Header{e.Header, header} {
		for k, v := range h {
			req.Header[k] = v
		}
	}
	req.Header.Set("Content-Type", e.Codec.ContentType())
	req.Header.Set("Accept", e.Codec.ContentType())
	resp, err := e.Client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, answerLimit)) // the status says it already
	se := &StatusError{Status: resp.StatusCode, Body: string(bytes.TrimSpace(text))}
	if loc, err := resp.Location(); err == nil {
		se.Location = loc
	}
	return nil, se
}

// Call posts a call that is answered at once.
func (e *Endpoint) Call(ctx context.Context, call proto.Message, header http.Header) error {
	resp, err := e.post(ctx, call, header)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	// Read to the end: only then is the connection used again.
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, answerLimit)); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	return nil
}

// Subscribe posts the call that opens a stream. The stream ends with ctx; its header must
// arrive within timeout.
func (e *Endpoint) Subscribe(ctx context.Context, call proto.Message, timeout time.Duration) (*Stream, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	late := time.AfterFunc(timeout, func() { cancel(ErrSilent) })
	resp, err := e.post(ctx, call, nil)
	if !late.Stop() && err == nil {
		resp.Body.Close()
		err = ErrSilent
	}
	if err != nil {
		if context.Cause(ctx) == ErrSilent {
			err = ErrSilent
		}
		cancel(nil)
		return nil, err
	}
	return &Stream{
		Header: resp.Header,
		ctx:    ctx,
		cancel: cancel,
		body:   resp.Body,
		codec:  e.Codec,
		r:      recordio.NewReader(resp.Body, 0),
	}, nil
}

// Stream is an open subscription. Next is for one goroutine; Close may be called from any.
type Stream struct {
	Header http.Header
	ctx    context.Context
	cancel context.CancelCauseFunc
	body   io.ReadCloser
	codec  Codec
	r      *recordio.Reader
}

// Context ends when the stream does; its cause says why.
func (s *Stream) Context() context.Context { return s.ctx }

// Close ends the stream because of cause, which Next returns from then on.
func (s *Stream) Close(cause error) {
	s.cancel(cause)
	s.body.Close()
}

// Next reads the next event into m. It returns ErrSilent if there is none within patience,
// io.EOF where the server ended the stream, and after Close its cause. Time the caller
// spends on an event does not count.
func (s *Stream) Next(m proto.Message, patience time.Duration) error {
	if err := context.Cause(s.ctx); err != nil {
		return err
	}
	silent := time.AfterFunc(patience, func() { s.Close(ErrSilent) })
	record, err := s.r.Read()
	silent.Stop()
	if err != nil {
		if cause := context.Cause(s.ctx); cause != nil {
			return cause
		}
		s.Close(err)
		return err
	}
	if err := s.codec.Unmarshal(record, m); err != nil {
		err = fmt.Errorf("decoding an event: %w", err)
		s.Close(err)
		return err
	}
	return nil
}
