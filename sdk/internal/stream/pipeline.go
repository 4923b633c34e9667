package stream

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"
)

// Pipeline posts several calls at once, without waiting for the answer to one before it
// sends the next (RFC 9112, 9.3.2). It keeps a connection of its own. Where a client's
// connections are not plain ones that it dials itself, it makes one call after the other.
// It is for one goroutine.
type Pipeline struct {
	At   *Endpoint
	conn net.Conn
	in   *bufio.Reader
}

// Close ends the connection, if there is one.
func (p *Pipeline) Close() {
	if p.conn != nil {
		p.conn.Close()
		p.conn, p.in = nil, nil
	}
}

// dialer of the endpoint's client, nil if it has none that gives plain connections.
func (e *Endpoint) dialer() func(ctx context.Context, network, addr string) (net.Conn, error) {
	t, ok := e.Client.Transport.(*http.Transport)
	if !ok || t.Proxy != nil || e.URL.Scheme != "http" {
		return nil
	}
	return t.DialContext
}

// Call posts calls that are answered at once, in order. All of them were received if
// there is no error; with a StatusError, which is the first refusal, all were answered.
func (p *Pipeline) Call(ctx context.Context, calls []proto.Message, header http.Header) error {
	dial := p.At.dialer()
	if dial == nil || len(calls) == 1 && p.conn == nil {
		var refused error
		for _, c := range calls {
			var se *StatusError
			if err := p.At.Call(ctx, c, header); err != nil && !errors.As(err, &se) {
				return err
			} else if refused == nil {
				refused = err
			}
		}
		return refused
	}
	requests, err := p.At.requests(calls, header)
	if err != nil {
		return err
	}
	var refused error
	for len(requests) > 0 {
		kept := p.conn != nil
		if !kept {
			if p.conn, err = dial(ctx, "tcp", p.At.address()); err != nil {
				p.conn = nil
				return err
			}
			p.in = bufio.NewReader(p.conn)
		}
		answered, r, err := p.exchange(ctx, requests)
		if refused == nil {
			refused = r
		}
		requests = requests[answered:]
		if err == nil {
			continue
		}
		p.Close()
		// A server may end a connection between two answers; a new one is as good.
		if ctx.Err() != nil || !kept && answered == 0 {
			return errors.Join(err, context.Cause(ctx))
		}
	}
	return refused
}

// requests are calls as they go over the wire.
func (e *Endpoint) requests(calls []proto.Message, header http.Header) ([][]byte, error) {
	h := http.Header{}
	for _, from := range []http.Header{e.Header, header} {
		for k, v := range from {
			h[k] = v
		}
	}
	h.Set("Content-Type", e.Codec.ContentType())
	h.Set("Accept", e.Codec.ContentType())
	var head bytes.Buffer
	fmt.Fprintf(&head, "POST %s HTTP/1.1\r\nHost: %s\r\n", e.URL.RequestURI(), e.URL.Host)
	if err := h.Write(&head); err != nil {
		return nil, err
	}
	head.WriteString("Content-Length: ")
	all := make([][]byte, len(calls))
	for n, c := range calls {
		body, err := e.Codec.Marshal(c)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrEncoding, err)
		}
		b := append(make([]byte, 0, head.Len()+len(body)+16), head.Bytes()...)
		b = strconv.AppendInt(b, int64(len(body)), 10)
		all[n] = append(append(b, "\r\n\r\n"...), body...)
	}
	return all, nil
}

// address to dial.
func (e *Endpoint) address() string {
	if e.URL.Port() == "" {
		return net.JoinHostPort(e.URL.Hostname(), "80")
	}
	return e.URL.Host
}

// exchange sends requests and reads their answers; refused is the first that is no
// success. After an error the connection is of no use.
func (p *Pipeline) exchange(ctx context.Context, requests [][]byte) (answered int, refused, err error) {
	deadline, _ := ctx.Deadline() // none: zero, no deadline
	if err := p.conn.SetDeadline(deadline); err != nil {
		return 0, nil, err
	}
	defer context.AfterFunc(ctx, func() { _ = p.conn.SetDeadline(time.Unix(1, 0)) })()
	conn, written := p.conn, make(chan error, 1)
	go func() { // until all is sent or the connection is closed
		_, err := conn.Write(bytes.Join(requests, nil))
		written <- err
	}()
	post := &http.Request{Method: http.MethodPost}
	for answered < len(requests) && err == nil {
		var resp *http.Response
		if resp, err = http.ReadResponse(p.in, post); err != nil {
			break
		}
		var text []byte
		if text, err = io.ReadAll(io.LimitReader(resp.Body, answerLimit)); err != nil {
			break
		}
		answered++
		if resp.StatusCode >= 300 && refused == nil {
			se := &StatusError{Status: resp.StatusCode, Body: string(bytes.TrimSpace(text))}
			if to, err := p.At.URL.Parse(resp.Header.Get("Location")); err == nil && resp.Header.Get("Location") != "" {
				se.Location = to
			}
			refused = se
		}
		if len(text) == answerLimit || resp.Close {
			err = io.EOF // the rest of it is of no interest, or nothing follows
		}
	}
	if err != nil {
		conn.Close() // whoever still writes ends
		<-written
		return answered, refused, err
	}
	return answered, refused, <-written
}
