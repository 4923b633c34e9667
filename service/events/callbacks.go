package events

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
)

const (
	maxCallbacks = 100
	// maxFailures in a row, and a callback is dropped.
	maxFailures  = 10
	callTimeout  = 5 * time.Second
	firstBackoff = 250 * time.Millisecond
)

// Callbacks is /v2/eventSubscriptions: events are POSTed to registered URLs, in order,
// each URL at its own pace. One that is more than 1024 events behind misses some; one that
// fails ten times in a row is dropped.
type Callbacks struct {
	log    *Log
	save   func(context.Context, []string) error
	client *http.Client
	allow  []*net.IPNet
	poke   chan struct{}

	mu   sync.Mutex // held over save too, so that lists are saved in order
	urls []string
	from map[string]uint64 // the event that each begins with
}

// NewCallbacks makes one with what was registered before. allow are the networks that
// targets must be in, nil is loopback; save keeps the list before a registration is
// answered.
func NewCallbacks(l *Log, urls []string, allow []*net.IPNet, save func(context.Context, []string) error) *Callbacks {
	dialer := &net.Dialer{Timeout: callTimeout, Control: func(_, address string, _ syscall.RawConn) error {
		return permitted(allow, address)
	}}
	from := make(map[string]uint64)
	for _, u := range urls {
		from[u] = l.head()
	}
	return &Callbacks{
		log: l, from: from, urls: slices.Clone(urls), save: save, allow: allow, poke: make(chan struct{}, 1),
		client: &http.Client{
			Timeout: callTimeout, Transport: &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: 1},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// permitted looks at the address that a name led to, just before it is connected to.
func permitted(allow []*net.IPNet, address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	ip := net.ParseIP(host)
	if allow == nil && ip.IsLoopback() || slices.ContainsFunc(allow, func(n *net.IPNet) bool { return n.Contains(ip) }) {
		return nil
	}
	return fmt.Errorf("%s is not in a network that callbacks may go to; see --callback-allow", host)
}

// Run sends until ctx ends.
func (c *Callbacks) Run(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	running := make(map[string]context.CancelFunc)
	for {
		c.mu.Lock()
		urls := slices.Clone(c.urls)
		c.mu.Unlock()
		for u, stop := range running {
			if !slices.Contains(urls, u) {
				stop()
				delete(running, u)
			}
		}
		for _, u := range urls {
			if running[u] != nil {
				continue
			}
			one, stop := context.WithCancel(ctx)
			running[u] = stop
			c.mu.Lock()
			number := c.from[u]
			c.mu.Unlock()
			all.Go(func() { c.follow(one, u, number) })
		}
		select {
		case <-c.poke:
		case <-ctx.Done():
			for _, stop := range running {
				stop()
			}
			return nil
		}
	}
}

// follow posts events to a URL until ctx ends or it has failed too often.
func (c *Callbacks) follow(ctx context.Context, target string, number uint64) {
	failures, backoff := 0, firstBackoff
	for {
		list, more, behind, missing := c.log.since(number, 1)
		if missing || behind > c.log.waiting {
			number = c.log.head()
			continue
		}
		if len(list) == 0 {
			select {
			case <-more:
				continue
			case <-ctx.Done():
				return
			}
		}
		err := c.post(ctx, target, list[0].data)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			number++
			failures, backoff = 0, firstBackoff
			continue
		}
		if failures++; failures >= maxFailures {
			// If it cannot be saved it is tried again after a restart.
			_ = c.change(ctx, func(urls []string) []string {
				return slices.DeleteFunc(urls, func(u string) bool { return u == target })
			})
			return
		}
		select {
		case <-time.After(backoff):
			backoff *= 2
		case <-ctx.Done():
			return
		}
	}
}

func (c *Callbacks) post(ctx context.Context, target string, data []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(data))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := c.client.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.CopyN(io.Discard, response.Body, 64<<10); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if response.StatusCode >= 300 {
		return fmt.Errorf("%s answers %s", target, response.Status)
	}
	return nil
}

// change saves a new list and makes Run look at it.
func (c *Callbacks) change(ctx context.Context, f func([]string) []string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := f(slices.Clone(c.urls))
	if slices.Equal(next, c.urls) {
		return nil
	}
	if err := c.save(ctx, next); err != nil {
		return err
	}
	c.urls = next
	for _, u := range next {
		if _, ok := c.from[u]; !ok {
			c.from[u] = c.log.head()
		}
	}
	for u := range c.from {
		if !slices.Contains(next, u) {
			delete(c.from, u)
		}
	}
	select {
	case c.poke <- struct{}{}:
	default:
	}
	return nil
}

// ServeHTTP lists, adds and removes (GET, POST, DELETE with ?callbackUrl=; as Marathon
// 1.4, docs/rest-api.md).
func (c *Callbacks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		c.mu.Lock()
		urls := append([]string{}, c.urls...)
		c.mu.Unlock()
		answer(w, http.StatusOK, map[string][]string{"callbackUrls": urls})
		return
	}
	target := r.URL.Query().Get("callbackUrl")
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || len(target) > 2048 {
		answer(w, http.StatusBadRequest, marathon.Error{Message: "callbackUrl must be an http or https URL"})
		return
	}
	kind, full := "subscribe_event", false
	var change func([]string) []string
	switch r.Method {
	case http.MethodPost:
		// A name is looked at when it is connected to.
		if net.ParseIP(u.Hostname()) != nil {
			if err := permitted(c.allow, net.JoinHostPort(u.Hostname(), "0")); err != nil {
				answer(w, http.StatusUnprocessableEntity, marathon.Error{Message: err.Error()})
				return
			}
		}
		change = func(urls []string) []string {
			if full = len(urls) >= maxCallbacks; full || slices.Contains(urls, target) {
				return urls
			}
			return append(urls, target)
		}
	case http.MethodDelete:
		kind = "unsubscribe_event"
		change = func(urls []string) []string {
			return slices.DeleteFunc(urls, func(u string) bool { return u == target })
		}
	default:
		w.Header().Set("Allow", "GET, POST, DELETE")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if err := c.change(r.Context(), change); err != nil {
		answer(w, http.StatusServiceUnavailable, marathon.Error{Message: err.Error()})
		return
	}
	if full {
		answer(w, http.StatusUnprocessableEntity, marathon.Error{Message: fmt.Sprintf("there are %d callbacks already; remove one, or use /v2/events", maxCallbacks)})
		return
	}
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	e := marathon.Subscription{
		EventBase: marathon.EventBase{Type: kind, Timestamp: marathon.VersionOf(time.Now())}, ClientIP: host, CallbackURL: target,
	}
	c.log.Append(e)
	answer(w, http.StatusOK, e)
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // who has gone needs no answer
}
