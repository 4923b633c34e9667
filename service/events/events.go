// Package events is the service's event stream: what happened, numbered, kept for those
// who come back, and sent to those who listen (as Marathon 1.10, docs/event-bus.md; ids
// and replay are Stoa's).
package events

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
)

const (
	// keepEvents and keepFor bound what a reader who comes back can be given again.
	keepEvents = 100_000
	keepFor    = 15 * time.Minute
	// keepStored is how many deployment events survive the service.
	keepStored = 1000
	// maxStored bytes of one event; the plan of thousands of apps may be longer, and is not.
	maxStored = 64 << 10
	// defaultWaiting events for one reader; one that has more is cut off
	// (--event_stream_max_outstanding_messages).
	defaultWaiting = 1024
)

// Log keeps the last events. It is safe for concurrent use.
type Log struct {
	epoch   uint64
	began   time.Time
	waiting int // events of one reader at most
	ended   chan struct{}

	mu sync.Mutex
	// ring has the events from first on, before next, each at its number modulo the length,
	// which is a power of two.
	ring        []event
	first, next uint64
	shown       uint64 // readers see those below
	stored      []Stored
	more        chan struct{} // closed when there are new events
}

type event struct {
	kind  string
	data  []byte
	at    time.Duration // since Log.began
	ready bool
}

// Stored is a deployment event as the store keeps it, so that a reader who comes back
// after a restart of the service sees it.
type Stored struct {
	ID   string          `json:"id"` // epoch-sequence
	Type string          `json:"type"`
	Data json.RawMessage `json:"data"`
}

// New makes the log of one term of leadership; kept are the stored events of earlier ones,
// in any order. waiting is how many events may wait for one reader; 0 is 1024.
func New(epoch uint64, kept []Stored, waiting int) *Log {
	l := &Log{epoch: epoch, began: time.Now(), waiting: cmp.Or(waiting, defaultWaiting), first: 1, next: 1, shown: 1, stored: slices.Clone(kept), ended: make(chan struct{}), more: make(chan struct{})}
	slices.SortFunc(l.stored, func(a, b Stored) int {
		x, _ := parse(a.ID)
		y, _ := parse(b.ID)
		return x.compare(y)
	})
	return l
}

// position is an event's place in the history of all terms.
type position struct{ epoch, number uint64 }

func (p position) String() string { return fmt.Sprintf("%d-%d", p.epoch, p.number) }

func (p position) compare(q position) int {
	switch {
	case p.epoch < q.epoch, p.epoch == q.epoch && p.number < q.number:
		return -1
	case p == q:
		return 0
	}
	return 1
}

func parse(id string) (p position, ok bool) {
	epoch, number, ok := strings.Cut(id, "-")
	if !ok {
		return p, false
	}
	var err1, err2 error
	p.epoch, err1 = strconv.ParseUint(epoch, 10, 64)
	p.number, err2 = strconv.ParseUint(number, 10, 64)
	return p, err1 == nil && err2 == nil
}

// durable reports whether events of a type survive the service.
func durable(kind string) bool {
	return strings.HasPrefix(kind, "deployment_") || strings.HasPrefix(kind, "group_change_")
}

// Append numbers an event that the store need not keep, and shows it.
func (l *Log) Append(e marathon.Event) {
	number, _, _ := l.Add(e)
	l.Show(number)
}

// Add numbers an event that readers do not see before Show, nor those behind it. keep is
// what the store must keep of it before, together with what it tells of; nil for events
// that are not kept. remove are stored ones beyond the limit.
func (l *Log) Add(e marathon.Event) (number uint64, keep *Stored, remove []string) {
	data, err := marathon.EncodeEvent(e)
	if err != nil {
		// All that events are made of can be encoded, or it would not have been accepted.
		data = []byte(fmt.Sprintf(`{"eventType":%q,"error":%q}`, e.EventType(), err))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Since(l.began)
	l.forget(now)
	l.room()
	p := position{l.epoch, l.next}
	l.next++
	*l.at(p.number) = event{kind: e.EventType(), data: data, at: now}
	if !durable(e.EventType()) || len(data) > maxStored {
		return p.number, nil, nil
	}
	s := Stored{ID: p.String(), Type: e.EventType(), Data: data}
	l.stored = append(l.stored, s)
	for len(l.stored) > keepStored {
		remove = append(remove, l.stored[0].ID)
		l.stored = l.stored[1:]
	}
	return p.number, &s, remove
}

// Show lets readers see events, each once they see all before it.
func (l *Log) Show(numbers ...uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range numbers {
		l.at(n).ready = true
	}
	before := l.shown
	for l.shown < l.next && l.at(l.shown).ready {
		l.shown++
	}
	if l.shown > before {
		close(l.more)
		l.more = make(chan struct{})
	}
}

// at is where the event of a number is.
func (l *Log) at(number uint64) *event { return &l.ring[number&uint64(len(l.ring)-1)] }

// forget drops what need not be kept.
func (l *Log) forget(now time.Duration) {
	for l.first < l.shown {
		kept := int(l.next - l.first)
		if old := now-l.at(l.first).at > keepFor; kept < keepEvents && (!old || kept <= l.waiting) {
			return
		}
		*l.at(l.first) = event{}
		l.first++
	}
}

// leastRoom of the ring, in events.
const leastRoom = 1024

// room makes room for one more event, and gives up what a burst needed once it is over.
func (l *Log) room() {
	kept := int(l.next - l.first)
	size := len(l.ring)
	switch {
	case kept == size:
		size = max(leastRoom, 2*size)
	case size > leastRoom && kept < size/8:
		size /= 4
	default:
		return
	}
	ring := make([]event, size)
	for n := l.first; n < l.next; n++ {
		ring[n&uint64(size-1)] = *l.at(n)
	}
	l.ring = ring
}

// since returns up to n events from a number on, and what tells of more. missing says
// that some of them are no longer kept; behind is how many wait.
func (l *Log) since(number uint64, n int) (list []event, more <-chan struct{}, behind int, missing bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if number < l.first {
		return nil, l.more, 0, true
	}
	behind = int(l.shown - number)
	for end := number + uint64(min(n, behind)); number < end; number++ {
		list = append(list, *l.at(number))
	}
	return list, l.more, behind, false
}

// head is the number of the next event that readers see.
func (l *Log) head() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.shown
}

// resume is where a reader goes on who has seen id. What cannot be given again, it is
// told of: with stored deployment events from before this term behind.
func (l *Log) resume(id string) (number uint64, resync string, stored []Stored) {
	p, ok := parse(id)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !ok:
		return l.shown, "the id " + strconv.Quote(id) + " is none of an event", nil
	case p.epoch == l.epoch && p.number < l.shown && p.number+1 >= l.first:
		return p.number + 1, "", nil
	case p.epoch == l.epoch && p.number >= l.shown, p.epoch > l.epoch:
		return l.shown, "the event " + id + " is not known", nil
	}
	resync = "events after " + id + " are no longer kept, but those of deployments"
	if p.epoch < l.epoch {
		resync = "the service has been restarted since " + id + "; only events of deployments are kept from before"
	}
	from := l.first
	for _, s := range l.stored {
		if at, _ := parse(s.ID); at.compare(p) > 0 && at.compare(position{l.epoch, from}) < 0 {
			stored = append(stored, s)
		}
	}
	return from, resync, stored
}

// Close ends all streams.
func (l *Log) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.ended:
	default:
		close(l.ended)
	}
}

// frame appends an event as the stream has it.
func frame(b *bytes.Buffer, id, kind string, data []byte) {
	if id != "" {
		b.WriteString("id: ")
		b.WriteString(id)
		b.WriteString("\r\n")
	}
	b.WriteString("event: ")
	b.WriteString(kind)
	b.WriteString("\r\ndata: ")
	b.Write(data)
	b.WriteString("\r\n\r\n")
}
