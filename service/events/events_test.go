package events

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
)

func status(n int) marathon.Event {
	return marathon.StatusUpdate{EventBase: marathon.EventBase{Type: "status_update_event"}, TaskID: fmt.Sprint(n)}
}

func done(n int) marathon.Event {
	return marathon.DeploymentEnd{EventBase: marathon.EventBase{Type: "deployment_success"}, ID: fmt.Sprint(n)}
}

// stream is a reader of a log; block, if not nil, holds its writes up.
type stream struct {
	header http.Header
	block  chan struct{}

	mu     sync.Mutex
	status int
	body   bytes.Buffer
}

func (s *stream) Header() http.Header { return s.header }
func (s *stream) WriteHeader(n int)   { s.status = n }
func (s *stream) FlushError() error   { return nil }
func (s *stream) Write(b []byte) (int, error) {
	if s.block != nil {
		<-s.block
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.body.Write(b)
}

func (s *stream) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.body.String()
}

// read reads the log in the background until the test ends; gone is closed with it.
func read(t *testing.T, l *Log, query, last string, block chan struct{}) (s *stream, gone chan struct{}) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	r := httptest.NewRequest("GET", "/v2/events"+query, nil).WithContext(ctx)
	r.Header.Set("Accept", "text/event-stream")
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	s, gone = &stream{header: make(http.Header), block: block}, make(chan struct{})
	go func() {
		defer close(gone)
		l.ServeHTTP(s, r)
	}()
	synctest.Wait()
	return s, gone
}

// kinds are the event types and ids of a stream, in order.
func kinds(text string) string {
	var all []string
	id := ""
	for line := range strings.SplitSeq(text, "\r\n") {
		if v, ok := strings.CutPrefix(line, "id: "); ok {
			id = v
		}
		if v, ok := strings.CutPrefix(line, "event: "); ok {
			all = append(all, id+" "+v)
			id = ""
		}
	}
	return strings.Join(all, "\n")
}

func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(7, nil, 0)
		l.Append(status(1))
		s, _ := read(t, l, "", "", nil)
		l.Append(status(2))
		synctest.Wait()
		want := "7-2 event_stream_attached\n7-3 status_update_event"
		if got := kinds(s.text()); got != want {
			t.Errorf("a new stream has\n%s", got)
		}
		if !strings.Contains(s.text(), "id: 7-3\r\nevent: status_update_event\r\ndata: {") || !strings.HasSuffix(s.text(), "}\r\n\r\n") {
			t.Errorf("frames:\n%q", s.text())
		}
		before := s.text()
		<-time.After(heartbeat)
		synctest.Wait()
		if got := strings.TrimPrefix(s.text(), before); got != "\r\n" {
			t.Errorf("after 10 s without events: %q", got)
		}

		filtered, _ := read(t, l, "?event_type=deployment_success", "", nil)
		l.Append(status(3))
		l.Append(done(1))
		synctest.Wait()
		if got := kinds(filtered.text()); got != "7-6 deployment_success" {
			t.Errorf("a filtered stream has\n%s", got)
		}
	})
}

func TestReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(7, []Stored{
			{ID: "6-12", Type: "deployment_success", Data: []byte("{}")},
			{ID: "6-9", Type: "deployment_info", Data: []byte("{}")},
			{ID: "6-100", Type: "deployment_failed", Data: []byte("{}")},
		}, 0)
		l.Append(status(1))
		l.Append(done(1))
		for _, tt := range []struct{ name, last, want string }{
			{"within the term", "7-1", "7-2 deployment_success\n7-3 event_stream_attached"},
			{"across a restart", "6-11", " resync_required\n6-12 deployment_success\n6-100 deployment_failed\n7-1 status_update_event\n7-2 deployment_success\n"},
			{"from the future", "7-999", " resync_required\n"},
			{"nonsense", "x", " resync_required\n"},
		} {
			s, _ := read(t, l, "", tt.last, nil)
			if got := kinds(s.text()); !strings.HasPrefix(got, tt.want) {
				t.Errorf("%s: \n%s\nwant\n%s", tt.name, got, tt.want)
			}
		}
	})
}

// What waits for the store is seen by nobody, and holds back what comes behind it.
func TestEventsAreSeenInOrderWhenTheyMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(7, nil, 0)
		l.Append(status(1))
		number, keep, _ := l.Add(done(1))
		if number != 2 || keep == nil {
			t.Fatalf("event %d, kept as %v", number, keep)
		}
		early, _ := read(t, l, "", "7-1", nil)
		fresh, _ := read(t, l, "", "", nil)
		l.Append(status(2))
		synctest.Wait()
		if early.text()+fresh.text() != "" {
			t.Errorf("before it is stored: %s%s", early.text(), fresh.text())
		}
		l.Show(number)
		synctest.Wait()
		want := "7-2 deployment_success\n7-3 event_stream_attached\n7-4 event_stream_attached\n7-5 status_update_event"
		for _, s := range []*stream{early, fresh} {
			if got := kinds(s.text()); got != want {
				t.Errorf("once it is stored:\n%s", got)
			}
		}
	})
}

func TestDurableEventsAreHandedOut(t *testing.T) {
	l := New(1, nil, 0)
	if _, keep, _ := l.Add(status(1)); keep != nil {
		t.Errorf("a status update is to be stored: %v", keep)
	}
	removed := 0
	for n := range keepStored + 5 {
		_, keep, remove := l.Add(done(n))
		if keep == nil || keep.ID != fmt.Sprintf("1-%d", n+2) {
			t.Fatalf("event %d is stored as %v", n, keep)
		}
		removed += len(remove)
	}
	if removed != 5 {
		t.Errorf("%d were removed, want 5", removed)
	}
}

func TestSlowReaderIsCutOff(t *testing.T) {
	for _, waiting := range []int{0, 10} {
		synctest.Test(t, func(t *testing.T) {
			l := New(1, nil, waiting)
			block := make(chan struct{})
			_, gone := read(t, l, "", "", block)
			for n := range cmp.Or(waiting, defaultWaiting) + batch + 2 {
				l.Append(status(n))
			}
			close(block)
			<-gone
		})
	}
}

func TestHistoryIsBounded(t *testing.T) {
	l := New(1, nil, 0)
	for n := range keepEvents*12/10 + 1 {
		l.Append(status(n))
	}
	if n := l.next - l.first; n != keepEvents {
		t.Errorf("%d events are kept", n)
	}
	if _, _, _, missing := l.since(1, 1); !missing {
		t.Error("the first event is still there")
	}
	if list, _, _, missing := l.since(l.next-1, 1); missing || len(list) != 1 || !bytes.Contains(list[0].data, []byte(fmt.Sprint(keepEvents*12/10))) {
		t.Errorf("the last event is %v", list)
	}
}

func TestCallbacks(t *testing.T) {
	got := make(chan string, 100)
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var b bytes.Buffer
		b.ReadFrom(r.Body)
		got <- b.String()
	}))
	defer target.Close()
	l := New(1, nil, 0)
	saved := make(chan []string, 10)
	c := NewCallbacks(l, nil, nil, func(_ context.Context, urls []string) error { saved <- urls; return nil })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.Run(ctx)
	}()
	ask := func(method, url string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		c.ServeHTTP(w, httptest.NewRequest(method, "/v2/eventSubscriptions?callbackUrl="+url, nil))
		return w
	}
	if w := ask("POST", target.URL+"/x"); w.Code != 200 || !strings.Contains(w.Body.String(), `"eventType":"subscribe_event"`) {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if urls := <-saved; len(urls) != 1 {
		t.Errorf("saved %v", urls)
	}
	if w := ask("GET", ""); !strings.Contains(w.Body.String(), `{"callbackUrls":["`+target.URL+`/x"]}`) {
		t.Errorf("listed %s", w.Body)
	}
	l.Append(status(5))
	for _, want := range []string{`"eventType":"subscribe_event"`, `"taskId":"5"`} {
		if body := <-got; !strings.Contains(body, want) {
			t.Errorf("posted %s, want %s", body, want)
		}
	}
	if w := ask("DELETE", target.URL+"/x"); w.Code != 200 {
		t.Errorf("removing: %d %s", w.Code, w.Body)
	}
	if urls := <-saved; len(urls) != 0 {
		t.Errorf("saved %v", urls)
	}
	if w := ask("POST", "file:///etc/passwd"); w.Code != 400 {
		t.Errorf("a file: %d", w.Code)
	}
	if w := ask("POST", "http://169.254.169.254/latest"); w.Code != 422 || !strings.Contains(w.Body.String(), "--callback-allow") {
		t.Errorf("an address off limits: %d %s", w.Code, w.Body)
	}
	cancel()
	<-ended
}

func TestCallbacksStayInTheirNetworks(t *testing.T) {
	_, ten, _ := net.ParseCIDR("10.0.0.0/8")
	for _, tt := range []struct {
		allow   []*net.IPNet
		address string
		ok      bool
	}{
		{nil, "127.0.0.1:80", true},
		{nil, "[::1]:80", true},
		{nil, "169.254.169.254:80", false},
		{nil, "10.1.2.3:80", false},
		{[]*net.IPNet{ten}, "10.1.2.3:80", true},
		{[]*net.IPNet{ten}, "127.0.0.1:80", false},
	} {
		if err := permitted(tt.allow, tt.address); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.address, err)
		}
	}
}

func TestFailingCallbackIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(1, nil, 0)
		saved := make(chan []string, 1)
		c := NewCallbacks(l, []string{"http://10.1.2.3/"}, nil, func(_ context.Context, urls []string) error { saved <- urls; return nil })
		ctx, cancel := context.WithCancel(t.Context())
		go c.Run(ctx)
		synctest.Wait()
		l.Append(status(1))
		if urls := <-saved; len(urls) != 0 {
			t.Errorf("saved %v", urls)
		}
		cancel()
		synctest.Wait()
	})
}
