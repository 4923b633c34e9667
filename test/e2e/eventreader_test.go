package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// heard is one event as a reader of the stream got it.
type heard struct {
	id, kind, data string
	epoch, number  uint64 // of the id, 0 if it has none
	connection     int    // that brought it
}

const resyncRequired = "resync_required"

// listener reads the event stream over all that happens to who sends it: it comes back
// with the last id it has seen, and tries all that may send it by turns.
type listener struct {
	t    testing.TB
	urls []string
	stop context.CancelFunc
	done chan struct{}

	mu  sync.Mutex
	all []heard
}

func listenTo(t testing.TB, urls ...string) *listener {
	ctx, stop := context.WithCancel(t.Context())
	l := &listener{t: t, urls: urls, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		last := ""
		for n := 0; ctx.Err() == nil; n++ {
			last = l.read(ctx, n, last)
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}()
	t.Cleanup(l.end)
	return l
}

func (l *listener) end() {
	l.stop()
	<-l.done
}

// read is one connection; frames that did not come whole do not count.
func (l *listener) read(ctx context.Context, connection int, last string) string {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, l.urls[connection%len(l.urls)]+"/v2/events", nil)
	if err != nil {
		l.t.Error(err)
		return last
	}
	r.Header.Set("Accept", "text/event-stream")
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return last // nobody is there
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return last
	}
	e := heard{connection: connection}
	for lines := bufio.NewReader(resp.Body); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			return last
		}
		line = strings.TrimRight(line, "\r\n")
		switch field, value, _ := strings.Cut(line, ": "); field {
		case "id":
			e.id = value
			if _, err := fmt.Sscanf(value, "%d-%d", &e.epoch, &e.number); err != nil {
				l.t.Errorf("the id %q of an event: %v", value, err)
			}
		case "event":
			e.kind = value
		case "data":
			e.data = value
		case "":
			if e.kind != "" {
				l.mu.Lock()
				l.all = append(l.all, e)
				l.mu.Unlock()
			}
			if e.id != "" {
				last = e.id
			}
			e = heard{connection: connection}
		}
	}
}

func (l *listener) events() []heard {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all[:len(l.all):len(l.all)]
}

// ends are the deployments that the stream said are over.
func (l *listener) ends() map[string]int {
	ends := make(map[string]int)
	for _, e := range l.events() {
		if e.kind == "deployment_success" || e.kind == "deployment_failed" {
			var d struct{ ID string }
			if err := json.Unmarshal([]byte(e.data), &d); err != nil {
				l.t.Errorf("%s: %v", e.data, err)
			}
			ends[d.ID]++
		}
	}
	return ends
}

// judge looks for gaps and doubles. Within a term of the service ids follow each other. A
// term that ended is followed by one resync_required, by the deployment events that were
// stored and not seen yet, and by all of the next term. It returns how many terms there were, and what is wrong.
func judgeEvents(all []heard) (terms int, wrong []string) {
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	var at heard // the last one with an id
	seen, told := make(map[string]bool), make(map[string]string)
	for from := 0; from < len(all); {
		to := from + 1
		for to < len(all) && all[to].kind != resyncRequired {
			to++
		}
		part := all[from:to]
		if part[0].kind == resyncRequired {
			if from > 0 && all[from-1].kind == resyncRequired && all[from-1].connection == part[0].connection {
				bad("event %d: told twice to read anew", from)
			}
			part = part[1:]
		}
		live := uint64(0) // the term that the rest of this part is all of
		if len(part) > 0 && part[len(part)-1].epoch > at.epoch {
			live = part[len(part)-1].epoch
			terms++
		} else if at.id != "" && len(part) > 0 && slices.ContainsFunc(part, func(e heard) bool { return !e.durable() }) {
			bad("event %d: told to read anew though the term is the same as at %s", from, at.id)
		}
		for n, e := range part {
			first := e.epoch != at.epoch
			switch {
			case seen[e.id]:
				bad("event %s, %s, came twice", e.id, e.kind)
			case at.id == "": // it begins anywhere
			case e.epoch < at.epoch || !first && e.number < at.number:
				bad("event %s, %s, came after %s", e.id, e.kind, at.id)
			case e.epoch != live && !e.durable():
				bad("event %s, %s, came from a term before, %d", e.id, e.kind, live)
			case e.epoch == live && first && e.number != 1, e.epoch == live && !first && e.number != at.number+1:
				bad("a gap between %s and %s, %s, event %d of %d since the start or resync", at.id, e.id, e.kind, n, len(part))
			}
			seen[e.id], at = true, e
			if what := e.step(); what != "" {
				if told[what] != "" {
					bad("%s and %s tell the same: %s", told[what], e.id, what)
				}
				told[what] = e.id
			}
		}
		from = to
	}
	return terms, wrong
}

// Each kind of gap and double is seen.
func TestEventsAreJudged(t *testing.T) {
	resync := heard{kind: resyncRequired, connection: 1}
	e := func(epoch, number uint64, kind string) heard {
		return heard{id: fmt.Sprint(epoch, "-", number), epoch: epoch, number: number, kind: kind, connection: 1, data: fmt.Sprintf(`{"id":"%d-%d"}`, epoch, number)}
	}
	one := func(epoch, number uint64) heard { return e(epoch, number, "instance_changed_event") }
	end := func(epoch, number uint64) heard { return e(epoch, number, "deployment_success") }
	again := end(2, 2)
	again.data = end(1, 6).data
	for _, tt := range []struct {
		name  string
		all   []heard
		wrong int
	}{
		{"within a term", []heard{one(1, 4), one(1, 5)}, 0},
		{"over a restart", []heard{one(1, 4), resync, end(1, 6), end(1, 9), one(2, 1), end(2, 2), one(2, 3)}, 0},
		{"with nothing stored", []heard{one(1, 4), resync, one(2, 1)}, 0},
		{"a term that was never seen", []heard{one(1, 4), resync, end(2, 1), end(2, 7), one(3, 1)}, 0},
		{"a gap", []heard{one(1, 4), one(1, 6)}, 1},
		{"a double", []heard{one(1, 4), one(1, 4)}, 1},
		{"a restart unsaid", []heard{one(1, 4), one(2, 2)}, 1},
		{"the beginning of a term missing", []heard{one(1, 4), resync, one(2, 2)}, 1},
		{"a gap after a restart", []heard{one(1, 4), resync, one(2, 1), one(2, 3)}, 1},
		{"told twice to read anew", []heard{one(1, 4), resync, resync, one(2, 1)}, 1},
		{"told in vain", []heard{one(1, 4), resync, one(1, 5)}, 2},
		{"not stored", []heard{one(1, 4), resync, one(1, 6), one(2, 1)}, 1},
		{"the same end under two ids", []heard{one(1, 4), resync, end(1, 6), one(2, 1), again}, 1},
	} {
		if _, wrong := judgeEvents(tt.all); len(wrong) != tt.wrong {
			t.Errorf("%s: %d are wrong, want %d: %v", tt.name, len(wrong), tt.wrong, wrong)
		}
	}
}

// step is what a deployment event tells of that happens once, "" for other events.
func (e heard) step() string {
	var d struct {
		ID          string
		Plan        struct{ ID string }
		CurrentStep json.RawMessage
		TaskID      string
		TaskStatus  string
	}
	switch {
	case json.Unmarshal([]byte(e.data), &d) != nil:
		return "not JSON"
	case strings.HasPrefix(e.kind, "deployment_"):
		return fmt.Sprint(e.kind, " ", d.ID, d.Plan.ID, " ", string(d.CurrentStep))
	case e.kind == "status_update_event":
		return d.TaskID + " is " + d.TaskStatus
	}
	return ""
}

// durable events are there after a restart of who sent them.
func (e heard) durable() bool {
	return strings.HasPrefix(e.kind, "deployment_") || strings.HasPrefix(e.kind, "group_change_")
}
