package events

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/internal/listen"
)

const (
	heartbeat = 10 * time.Second
	// stall is how long one write may take.
	stall = 30 * time.Second
	// batch is how many events are written at once.
	batch = 256
)

// resync tells a reader that there are events it cannot be given: it must read the state
// anew.
type resync struct {
	marathon.EventBase
	Reason string `json:"reason"`
}

// ServeHTTP is GET /v2/events: server-sent events with CRLF, filtered by event_type, with
// a heartbeat every 10 s. A reader with more than --event_stream_max_outstanding_messages events waiting is cut off.
// Last-Event-ID goes on where a reader was.
func (l *Log) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !accepts(r.Header.Values("Accept")) {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	wanted := make(map[string]bool)
	for _, t := range r.URL.Query()["event_type"] {
		wanted[t] = true
	}
	out := &reader{w: w, control: http.NewResponseController(w), wanted: wanted, number: l.head(), epoch: l.epoch}
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		number, why, stored := l.resume(id)
		out.number = number
		if why != "" {
			out.resync(why)
		}
		for _, s := range stored {
			out.put(s.ID, s.Type, s.Data)
		}
		out.catchingUp = true
	}
	if c := listen.Conn(r.Context()); c != nil {
		listen.Keep(c)
	}
	w.Header().Set("Content-Type", "text/event-stream;charset=UTF-8")
	w.Header().Set("Cache-Control", "no-cache, no-store, must-revalidate")
	w.WriteHeader(http.StatusOK)
	l.Append(l.stream("event_stream_attached", r.RemoteAddr))
	out.serve(l, r)
	l.Append(l.stream("event_stream_detached", r.RemoteAddr))
}

func (l *Log) stream(kind, address string) marathon.Event {
	return marathon.Stream{EventBase: marathon.EventBase{Type: kind, Timestamp: marathon.VersionOf(time.Now())}, RemoteAddress: address}
}

func accepts(headers []string) bool {
	for _, h := range headers {
		if strings.Contains(h, "text/event-stream") {
			return true
		}
	}
	return false
}

// reader is one stream's.
type reader struct {
	w       http.ResponseWriter
	control *http.ResponseController
	wanted  map[string]bool
	epoch   uint64
	number  uint64 // of the next event to send
	buffer  bytes.Buffer
	// catchingUp: what it missed is given again however much it is.
	catchingUp bool
}

func (o *reader) put(id, kind string, data []byte) {
	if len(o.wanted) == 0 || o.wanted[kind] {
		frame(&o.buffer, id, kind, data)
	}
}

// resync is sent whatever is filtered.
func (o *reader) resync(why string) {
	e := resync{marathon.EventBase{Type: "resync_required", Timestamp: marathon.VersionOf(time.Now())}, why}
	data, err := json.Marshal(e)
	if err == nil { // it is plain text
		frame(&o.buffer, "", e.Type, data)
	}
}

// serve writes until the reader leaves, is too slow, or the log is closed.
func (o *reader) serve(l *Log, r *http.Request) {
	pulse := time.NewTimer(heartbeat)
	defer pulse.Stop()
	for {
		list, more, behind, missing := l.since(o.number, batch)
		switch {
		case missing:
			return // cut off: it comes back with its last id and is told
		case behind > l.waiting && !o.catchingUp:
			return
		case behind <= batch:
			o.catchingUp = false
		}
		for _, e := range list {
			o.put(position{o.epoch, o.number}.String(), e.kind, e.data)
			o.number++
		}
		if !o.flush() {
			return
		}
		if behind > len(list) {
			continue
		}
		pulse.Reset(heartbeat)
		select {
		case <-more:
		case <-pulse.C:
			o.buffer.WriteString("\r\n")
		case <-r.Context().Done():
			return
		case <-l.ended:
			return
		}
	}
}

func (o *reader) flush() bool {
	if o.buffer.Len() > 0 {
		// Not every writer has deadlines; those that count do.
		_ = o.control.SetWriteDeadline(time.Now().Add(stall))
		if _, err := o.w.Write(o.buffer.Bytes()); err != nil {
			return false
		}
		o.buffer.Reset()
	}
	return o.control.Flush() == nil
}
