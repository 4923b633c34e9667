// Package health does what the service itself asks instances: readiness checks, health
// checks with --health-checks=service, preStop requests.
//
// A health check is answered by the header, and a redirect is an answer (as Marathon 1.10,
// core/health/impl/HealthCheckWorker). A readiness check wants the body too, whole or its
// first 64 KiB (as Marathon 1.10, core/readiness/impl, but for the bound). Unlike Marathon's,
// where each byte that comes begins it anew, the timeout is for all of it: connection,
// header and body.
package health

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/state"
)

const (
	// firstProbe is the longest wait for an instance's first health check (as Marathon
	// 1.10, core/health/impl/HealthCheckActor).
	firstProbe = 5 * time.Second
	// maxBody of a readiness response that is read, and maxKept that is kept, in bytes.
	maxBody = 64 << 10
	maxKept = 16 << 10
)

// Prober asks instances. Its methods do not wait and are safe for concurrent use.
type Prober struct {
	tell   func(state.Input)
	room   chan struct{}
	client *http.Client
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	busy   sync.WaitGroup

	mu      sync.Mutex
	ctx     context.Context // nil before Run and after it
	waiting []func(context.Context)
	watched map[string]context.CancelFunc
}

// New makes one that reports with tell (state.Probed, state.ReadyProbed, state.Stopped),
// which must not block, and has at most most requests under way; 0 is 256
// (--max_concurrent_marathon_health_checks).
func New(most int, tell func(state.Input)) *Prober {
	if most <= 0 {
		most = 256
	}
	p := &Prober{tell: tell, room: make(chan struct{}, most), watched: make(map[string]context.CancelFunc), dial: (&net.Dialer{}).DialContext}
	p.client = &http.Client{
		Transport: &http.Transport{
			DialContext:        func(ctx context.Context, n, a string) (net.Conn, error) { return p.dial(ctx, n, a) },
			DisableKeepAlives:  true,
			DisableCompression: true,
			// As Marathon: a check asks whether it answers, not who it is.
			TLSClientConfig:        &tls.Config{InsecureSkipVerify: true},
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return p
}

// Run lets requests out until ctx ends; then all of them are broken off.
func (p *Prober) Run(ctx context.Context) {
	p.mu.Lock()
	p.ctx = ctx
	for _, f := range p.waiting {
		p.busy.Go(func() { f(ctx) })
	}
	p.waiting = nil
	p.mu.Unlock()
	<-ctx.Done()
	p.mu.Lock()
	p.ctx = nil
	for _, cancel := range p.watched {
		cancel()
	}
	p.mu.Unlock()
	p.busy.Wait()
}

// start runs f in the background, once Run has begun.
func (p *Prober) start(f func(context.Context)) {
	if p.ctx == nil {
		p.waiting = append(p.waiting, f)
		return
	}
	ctx := p.ctx
	p.busy.Go(func() { f(ctx) })
}

// Watch an instance as the effect says; it replaces an earlier one.
func (p *Prober) Watch(w state.Watch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unwatch(w.Instance.ID)
	over := make(chan struct{})
	p.watched[w.Instance.ID] = sync.OnceFunc(func() { close(over) })
	loop := func(first, interval time.Duration, once func(context.Context) bool) {
		p.start(func(ctx context.Context) {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			go func() { // ends with either
				select {
				case <-over:
					cancel()
				case <-ctx.Done():
				}
			}()
			p.every(ctx, first, interval, once)
		})
	}
	if w.Ready && len(w.App.ReadinessChecks) > 0 {
		c := w.App.ReadinessChecks[0]
		loop(0, time.Duration(c.IntervalSeconds)*time.Second, func(ctx context.Context) bool {
			r := p.ready(ctx, w.Instance, w.App, &c)
			if ctx.Err() == nil {
				p.tell(state.ReadyProbed{Instance: w.Instance.ID, Task: w.Instance.TaskID, Result: r})
			}
			return !r.Ready
		})
	}
	if !w.Health {
		return
	}
	for n := range w.App.HealthChecks {
		c := &w.App.HealthChecks[n]
		if c.ByKernel() {
			continue
		}
		interval := time.Duration(c.IntervalSeconds) * time.Second
		loop(min(interval, firstProbe), interval, func(ctx context.Context) bool {
			err := p.check(ctx, w.Instance, c)
			if ctx.Err() == nil && !errors.Is(err, errIgnored) {
				in := state.Probed{Instance: w.Instance.ID, Task: w.Instance.TaskID, Check: n, OK: err == nil}
				if err != nil {
					in.Cause = err.Error()
				}
				p.tell(in)
			}
			return true
		})
	}
}

// every calls once at intervals, until it returns false or ctx ends.
func (p *Prober) every(ctx context.Context, first, interval time.Duration, once func(context.Context) bool) {
	t := time.NewTimer(first)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		select {
		case p.room <- struct{}{}:
		case <-ctx.Done():
			return
		}
		more := once(ctx)
		<-p.room
		if !more {
			return
		}
		t.Reset(max(interval, time.Second))
	}
}

// Unwatch stops it.
func (p *Prober) Unwatch(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unwatch(id)
}

func (p *Prober) unwatch(id string) {
	if cancel := p.watched[id]; cancel != nil {
		cancel()
		delete(p.watched, id)
	}
}

// PreStop makes the request of the effect; what it answers is told, not judged.
func (p *Prober) PreStop(e state.PreStop) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.start(func(ctx context.Context) {
		stop := e.App.PreStop
		limit := time.Duration(stop.TimeoutSeconds * float64(time.Second))
		if limit <= 0 {
			limit = state.PreStopTimeout
		}
		in := state.Stopped{Instance: e.Instance.ID, Task: e.Instance.TaskID}
		if stop.HTTP != nil {
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			if err := p.get(ctx, http.MethodPost, "http", e.Instance, portAt(e.Instance, &stop.HTTP.PortIndex, nil), stop.HTTP.Path, limit); err != nil {
				in.Failure = err.Error()
			}
		}
		if ctx.Err() == nil {
			p.tell(in)
		}
	})
}

// portAt is the host port that a check is about, 0 if there is none.
func portAt(i *instance.Instance, index, port *int) int {
	if port != nil {
		return *port
	}
	n := 0
	if index != nil {
		n = *index
	}
	if n >= 0 && n < len(i.Ports) {
		return i.Ports[n]
	}
	return 0
}

func address(i *instance.Instance, port int) (string, error) {
	if i.Agent == nil || port == 0 {
		return "", errors.New("the instance has no such port on its host")
	}
	return net.JoinHostPort(i.Agent.Host, strconv.Itoa(port)), nil
}

// check makes one health check; nil is a success.
func (p *Prober) check(ctx context.Context, i *instance.Instance, c *marathon.HealthCheck) error {
	limit := time.Duration(c.TimeoutSeconds) * time.Second
	port := portAt(i, c.PortIndex, c.Port)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if c.Protocol == marathon.TCP {
		to, err := address(i, port)
		if err != nil {
			return err
		}
		conn, err := p.dial(ctx, "tcp", to)
		if err != nil {
			return say(err, to, limit)
		}
		return conn.Close()
	}
	scheme, path := "http", "/"
	if c.Protocol == marathon.HTTPS {
		scheme = "https"
	}
	if c.Path != nil {
		path = *c.Path
	}
	err := p.get(ctx, http.MethodGet, scheme, i, port, path, limit)
	var early earlyStatus
	if errors.As(err, &early) && c.IgnoreHTTP1xx != nil && *c.IgnoreHTTP1xx {
		return errIgnored
	}
	return err
}

// errIgnored is for an answer that says neither (ignoreHttp1xx).
var errIgnored = errors.New("health: the answer is to be ignored")

// earlyStatus is an answer of 1xx.
type earlyStatus struct{ error }

func (p *Prober) get(ctx context.Context, method, scheme string, i *instance.Instance, port int, path string, limit time.Duration) error {
	r, err := p.do(ctx, method, scheme, i, port, path, limit)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode < 200 || r.StatusCode > 399 {
		err := fmt.Errorf("%s answered %s", r.Request.URL, r.Status)
		if r.StatusCode < 200 {
			return earlyStatus{err}
		}
		return err
	}
	return nil
}

func (p *Prober) do(ctx context.Context, method, scheme string, i *instance.Instance, port int, path string, limit time.Duration) (*http.Response, error) {
	to, err := address(i, port)
	if err != nil {
		return nil, err
	}
	if path == "" || path[0] != '/' {
		path = "/" + path
	}
	r, err := http.NewRequestWithContext(ctx, method, scheme+"://"+to+path, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", "stoa-health-check")
	response, err := p.client.Do(r)
	if err != nil {
		return nil, say(err, to, limit)
	}
	return response, nil
}

// say puts the error of a connection into words.
func say(err error, to string, limit time.Duration) error {
	var network *net.OpError
	switch {
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%s did not answer within %v", to, limit)
	case errors.As(err, &network):
		return network
	}
	return err
}

// ready makes one readiness check.
func (p *Prober) ready(ctx context.Context, i *instance.Instance, app *marathon.App, c *marathon.ReadinessCheck) marathon.ReadinessResult {
	result := marathon.ReadinessResult{Name: c.Name, TaskID: i.TaskID}
	limit := time.Duration(c.TimeoutSeconds) * time.Second
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	scheme := "http"
	if c.Protocol == marathon.HTTPS {
		scheme = "https"
	}
	status, kind, body, err := p.read(ctx, scheme, i, named(i, app, c.PortName), c.Path, limit)
	if err != nil {
		status, kind, body = http.StatusGatewayTimeout, "text/plain", err.Error()
	}
	result.Ready = err == nil && slices.Contains(c.HTTPStatusCodesForReady, status)
	if c.PreserveLastResponse {
		result.LastResponse = &marathon.ReadinessResponse{Status: status, ContentType: kind, Body: body}
	}
	return result
}

// read gets a whole answer, or as much of it as is wanted.
func (p *Prober) read(ctx context.Context, scheme string, i *instance.Instance, port int, path string, limit time.Duration) (status int, kind, body string, err error) {
	r, err := p.do(ctx, http.MethodGet, scheme, i, port, path, limit)
	if err != nil {
		return 0, "", "", err
	}
	defer r.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return 0, "", "", fmt.Errorf("%s answered %s and did not end: %w", r.Request.URL, r.Status, say(err, r.Request.URL.Host, limit))
	}
	return r.StatusCode, r.Header.Get("Content-Type"), string(raw[:min(len(raw), maxKept)]), nil
}

// named is the host port of a port definition or mapping by its name.
func named(i *instance.Instance, app *marathon.App, name string) int {
	at := slices.IndexFunc(app.PortDefinitions, func(d marathon.PortDefinition) bool { return d.Name == name })
	if at < 0 && app.Container != nil {
		at = slices.IndexFunc(app.Container.PortMappings, func(d marathon.PortMapping) bool { return d.Name == name })
	}
	return portAt(i, &at, nil)
}
