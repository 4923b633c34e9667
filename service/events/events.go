// Package events is the service's event stream: what happened, numbered, kept for those
// who come back, and sent to those who listen (as Marathon 1.10, docs/event-bus.md; ids
// and replay are Stoa's).
package events

import (
	"context"
	"net"
	"net/http"

	"github.com/stoa-kernel/stoa/api/marathon"
)

// Log keeps the last events. It is safe for concurrent use.
type Log struct{ log }

// Stored is a deployment event as the store keeps it, so that a reader who comes back
// after a restart of the service sees it.
type Stored struct {
	ID   string `json:"id"` // epoch-sequence
	Type string `json:"type"`
	Data []byte `json:"data"`
}

// New makes the log of one term of leadership; kept are the stored events of earlier ones.
func New(epoch uint64, kept []Stored) *Log { panic("contract") }

// Append numbers an event and sends it to those who listen. durable is what the store must
// keep of it, nil for events that are not kept; remove are stored ones beyond the limit.
func (l *Log) Append(e marathon.Event) (durable *Stored, remove []string) { panic("contract") }

// ServeHTTP is GET /v2/events: SSE with CRLF, event_type filters, Last-Event-ID, a
// heartbeat every 10 s; a reader with more than 1024 events waiting is cut off.
func (l *Log) ServeHTTP(w http.ResponseWriter, r *http.Request) { panic("contract") }

// Close ends all streams.
func (l *Log) Close() { panic("contract") }

type log struct{}

// Callbacks is /v2/eventSubscriptions: events are POSTed to registered URLs, in order,
// each with a queue of its own that is bounded. A URL that fails ten times in a row is
// dropped.
type Callbacks struct{ callbacks }

// NewCallbacks makes one with what was registered before. allow are the networks that
// targets must be in, nil is loopback; save keeps the list before a registration is
// answered.
func NewCallbacks(l *Log, urls []string, allow []*net.IPNet, save func(context.Context, []string) error) *Callbacks {
	panic("contract")
}

// Run sends until ctx ends.
func (c *Callbacks) Run(ctx context.Context) error { panic("contract") }

// ServeHTTP lists, adds and removes (GET, POST, DELETE with ?callbackUrl=).
func (c *Callbacks) ServeHTTP(w http.ResponseWriter, r *http.Request) { panic("contract") }

type callbacks struct{}
