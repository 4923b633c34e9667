package http

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/internal/request"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/state"
)

// call is one request under way.
type call struct {
	*server
	w     http.ResponseWriter
	r     *http.Request
	query url.Values
	who   string
	// release is called at the end: what was decoded is done with.
	release func()
}

// methods of a path.
type methods map[string]func(*call)

func (c *call) serve(m methods) {
	method := c.r.Method
	f := m[method]
	if f == nil && method == http.MethodHead {
		f = m[http.MethodGet]
	}
	if f != nil {
		f(c)
		return
	}
	allowed := make([]string, 0, len(m)+2)
	for name := range m {
		allowed = append(allowed, name)
	}
	if m[http.MethodGet] != nil {
		allowed = append(allowed, http.MethodHead)
	}
	allowed = append(allowed, http.MethodOptions)
	slices.Sort(allowed)
	c.w.Header().Set("Allow", strings.Join(allowed, ", "))
	if method == http.MethodOptions {
		c.w.Header().Set("Content-Length", "0")
		c.w.WriteHeader(http.StatusOK)
		return
	}
	c.refuse(http.StatusMethodNotAllowed, "%s", http.StatusText(http.StatusMethodNotAllowed))
}

// flag is a parameter that is true or false; or if it is not given.
func (c *call) flag(name string, or bool) bool {
	v := strings.TrimSpace(c.query.Get(name))
	if v == "" {
		return or
	}
	return strings.EqualFold(v, "true")
}

// body of the request; ok is false if it was refused.
func (c *call) body() (b *request.Body, ok bool) {
	b, refused := c.bodies.Read(c.w, c.r)
	if refused != nil {
		b.Release()
		c.refuse(refused.Status, "%s", refused.Message)
		return nil, false
	}
	return b, true
}

// decodedCost is about how many bytes are made of each of a body's.
const decodedCost = 4

// decoded is the body as f reads it; ok is false if it was refused.
func decoded[T any](c *call, f func([]byte) (T, error)) (v T, ok bool) {
	b, ok := c.body()
	if !ok {
		return v, false
	}
	defer b.Release()
	var err error
	release, refused := c.bodies.Decode(c.r.Context(), decodedCost*len(b.Bytes), func() { v, err = f(b.Bytes) })
	if refused != nil {
		c.refuse(refused.Status, "%s", refused.Message)
		return v, false
	}
	c.release = release
	if err != nil {
		c.fail(err)
		return v, false
	}
	return v, true
}

func (c *call) request() state.Request {
	return state.Request{Force: c.flag("force", false), Who: c.who, URI: c.r.URL.RequestURI()}
}

// ask gives the core an input made with a token; ok is false if it refused.
func (c *call) ask(in func(state.Token) state.Input) (r state.Result, ok bool) {
	ctx, cancel := context.WithTimeout(c.r.Context(), coreTimeout)
	defer cancel()
	r, err := c.Ask(ctx, in)
	switch {
	case err == nil && r.Fault == nil:
		return r, true
	case err == nil:
		c.fail(r.Fault)
	case c.r.Context().Err() != nil:
		panic(http.ErrAbortHandler) // nobody waits for it any more
	default:
		c.refuse(http.StatusServiceUnavailable, "The request may or may not have been carried out: %v. Look at what is there before trying again.", err)
	}
	return r, false
}

// send answers with a value.
func (c *call) send(status int, v any) { send(c.w, c.r, status, v) }

func send(w http.ResponseWriter, r *http.Request, status int, v any) {
	reply(w, r, status, func(p *request.Reply) error {
		b, err := encode(v)
		if err == nil {
			_, err = p.Write(b)
		}
		return err
	})
}

func reply(w http.ResponseWriter, r *http.Request, status int, write func(*request.Reply) error) {
	p := request.NewReply(w, r, "application/json", writeTimeout)
	p.SetStatus(status)
	p.Close(write(p))
}

// encode is JSON without escapes for HTML: what is read is what was written.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// empty answers without a body.
func (c *call) empty(status int) {
	if status != http.StatusNoContent {
		c.w.Header().Set("Content-Length", "0")
	}
	c.w.WriteHeader(status)
}

// started answers a call that started a deployment.
func (c *call) started(status int, r state.Result) {
	c.deployment(r)
	c.send(status, marathon.DeploymentResult{Version: r.Version, DeploymentID: r.Deployment})
}

// deployment names the deployment in the header.
func (c *call) deployment(r state.Result) {
	if r.Deployment != "" {
		c.meters.deployments.Add(1)
		c.w.Header().Set("Marathon-Deployment-Id", r.Deployment)
	}
}

func (c *call) refuse(status int, format string, args ...any) {
	refuse(c.w, c.r, status, format, args...)
}

func refuse(w http.ResponseWriter, r *http.Request, status int, format string, args ...any) {
	send(w, r, status, marathon.Error{Message: fmt.Sprintf(format, args...)})
}

// fail answers with what an error says.
func (c *call) fail(err error) {
	var fault *app.Fault
	if errors.As(err, &fault) {
		if fault.Status == http.StatusForbidden { // too many deployments
			c.meters.dismissed.Add(1)
		}
		c.send(fault.Status, fault.Body)
		return
	}
	c.refuse(http.StatusInternalServerError, "%v", err)
}

func (c *call) noApp(id string)   { c.refuse(http.StatusNotFound, "App '%s' does not exist", id) }
func (c *call) noGroup(id string) { c.refuse(http.StatusNotFound, "Group '%s' does not exist", id) }

// version reads a timestamp of a path; ok is false if it was refused.
func (c *call) version(text string) (v marathon.Version, ok bool) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		c.refuse(http.StatusUnprocessableEntity, "'%s' is not a version: expecting a timestamp such as 2014-09-12T23:28:21.737Z", request.Clip(text))
		return "", false
	}
	return marathon.VersionOf(t), true
}
