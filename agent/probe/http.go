package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/stoa-kernel/stoa/agent/check"
)

const (
	// redirects that a check follows, as many as curl.
	redirects = 50
	// maxHeader bounds an answer's header, maxBody what is read of a body to see it come.
	maxHeader = 64 << 10
	maxBody   = 1 << 20
)

// get asks over HTTP. A Probe is answered by the header, as for Marathon; other checks
// follow redirects and want the body too, as curl -L does for Mesos 1.11, but a long
// one's beginning is enough. What comes after a status of 1xx counts; if nothing comes,
// that status is the answer.
func (p *Prober) get(ctx context.Context, t *check.Target) check.Result {
	to, err := address(t)
	if err != nil {
		return check.Result{Error: err.Error()}
	}
	scheme := "http"
	if t.Type == check.HTTPS {
		scheme = "https"
	}
	var early atomic.Int32
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(code int, _ textproto.MIMEHeader) error { early.Store(int32(code)); return nil },
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+to+t.Path, nil)
	if err != nil {
		return check.Result{Error: fmt.Sprintf("path %q cannot be asked for: %v", t.Path, unwrapped(err))}
	}
	req.Header.Set("User-Agent", "stoa-agent")
	req.Header.Set("Accept", "*/*")
	client := p.client(t)
	defer client.CloseIdleConnections()
	code, err := status(client, req, !t.Outside)
	switch {
	case err == nil:
	case early.Load() != 0:
		code = int(early.Load())
	case timedOut(err):
		return check.Result{Error: fmt.Sprintf("no answer from %s://%s%s within %v", scheme, to, t.Path, t.Timeout)}
	default:
		return check.Result{Error: unwrapped(err).Error()}
	}
	if t.Ignore1xx && code >= 100 && code < 200 {
		return check.Result{None: true}
	}
	return check.Result{Code: int32(code)}
}

func status(c *http.Client, req *http.Request, whole bool) (int, error) {
	res, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if whole {
		if _, err := io.CopyN(io.Discard, res.Body, maxBody); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
	}
	return res.StatusCode, nil
}

// client for one request. Nothing is kept: a check that reuses a connection would not
// notice that no new one is accepted.
func (p *Prober) client(t *check.Target) *http.Client {
	transport := &http.Transport{
		DialContext:            p.dial,
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
		// A task's certificate is its own affair (as Marathon and Mesos have it).
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10},
	}
	if t.Outside {
		transport.DialContext = func(ctx context.Context, network, to string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, t.Timeout)
			defer cancel()
			c, err := p.dial(ctx, network, to)
			if err != nil {
				return nil, err
			}
			i := &idle{Conn: c, limit: t.Timeout}
			i.progress()
			return i, nil
		}
	}
	return &http.Client{
		Transport: transport,
		CheckRedirect: func(_ *http.Request, via []*http.Request) error {
			switch {
			case t.Outside:
				return http.ErrUseLastResponse
			case len(via) > redirects:
				return fmt.Errorf("more than %d redirects", redirects)
			}
			return nil
		},
	}
}

// idle is a connection on which something has to happen within limit, again and again.
type idle struct {
	net.Conn
	limit time.Duration
}

func (i *idle) progress() {
	if i.limit > 0 {
		i.SetDeadline(time.Now().Add(i.limit))
	}
}

func (i *idle) Read(b []byte) (int, error) {
	n, err := i.Conn.Read(b)
	if n > 0 {
		i.progress()
	}
	return n, err
}

func (i *idle) Write(b []byte) (int, error) {
	n, err := i.Conn.Write(b)
	if n > 0 {
		i.progress()
	}
	return n, err
}

// unwrapped is an error of net/http without the request, which whoever reads it has.
func unwrapped(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
