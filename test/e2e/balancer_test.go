package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// balancer spreads requests over the tasks of an app. It knows what GET
// /v2/apps?embed=apps.tasks says and reads it when an event tells that something changed, as
// marathon-lb does: tasks that run and whose health checks are all alive get requests. It
// opens a connection for each request and never tries one again. A request fails when its
// connection is refused or reset, when the answer is not 200 or cut short, and when there is
// no server.
//
// On a busy machine a request is slow, not lost: like HAProxy it waits for one of few slots
// before a server is chosen for it, and it waits while what is known of the servers is old.
// So a failure is always the cluster's.
type balancer struct {
	t       testing.TB
	service string // URL of the API
	app     string
	client  *http.Client

	slots   chan struct{}
	next    atomic.Uint64
	reads   atomic.Int64 // of the apps
	reading atomic.Int64 // nanoseconds they took

	mu      sync.Mutex
	servers []string      // host:port
	asof    time.Time     // when they were asked for
	newer   chan struct{} // closed when there are newer ones
}

const (
	// pause between two readings of the apps, at least; marathon-lb's is longer. They are
	// read after resync even if no event came.
	pause  = 100 * time.Millisecond
	resync = 300 * time.Millisecond
	// fresh is how old what is known may be for a request to be sent: half as old as what
	// the service promises to wait for (drainSeconds), so that the rest is for connecting.
	fresh = 1500 * time.Millisecond
	// slots for requests under way.
	slots = 64
)

// balance works until the test ends.
func balance(t testing.TB, service, app string) *balancer {
	b := &balancer{
		t: t, service: service, app: app, client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
		slots: make(chan struct{}, slots), newer: make(chan struct{}),
	}
	ctx, cancel := context.WithCancel(context.Background())
	changed := make(chan struct{}, 1)
	var busy sync.WaitGroup
	busy.Go(func() { b.listen(ctx, changed) })
	busy.Go(func() {
		for {
			select {
			case <-changed:
			case <-time.After(resync - pause):
			case <-ctx.Done():
				return
			}
			b.read(ctx)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		busy.Wait()
	})
	return b
}

// listen tells of events that marathon-lb listens to.
func (b *balancer) listen(ctx context.Context, changed chan<- struct{}) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet,
		b.service+"/v2/events?event_type=api_post_event&event_type=health_status_changed_event&event_type=status_update_event", nil)
	if err != nil {
		b.t.Error(err)
		return
	}
	r.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		b.t.Errorf("the events: %v", err)
		return
	}
	defer resp.Body.Close()
	notify := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	notify() // what was there before
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "event: ") {
			notify()
		}
	}
	if ctx.Err() == nil {
		b.t.Errorf("the stream of events ends: %v", lines.Err())
	}
}

// read what there is to balance.
func (b *balancer) read(ctx context.Context) {
	began := time.Now()
	var list struct{ Apps []appNow }
	if err := get(ctx, b.service+"/v2/apps?embed=apps.tasks", &list); err != nil {
		if ctx.Err() == nil {
			b.t.Errorf("reading the apps: %v", err)
		}
		return
	}
	b.reads.Add(1)
	b.reading.Add(int64(time.Since(began)))
	var servers []string
	for _, a := range list.Apps {
		for _, t := range a.Tasks {
			if a.ID == b.app && t.State == "TASK_RUNNING" && len(t.HealthCheckResults) >= len(a.HealthChecks) &&
				!slices.ContainsFunc(t.HealthCheckResults, func(r struct{ Alive bool }) bool { return !r.Alive }) {
				servers = append(servers, net.JoinHostPort(t.Host, strconv.Itoa(t.Ports[0])))
			}
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.servers, b.asof = servers, began
	close(b.newer)
	b.newer = make(chan struct{})
}

// known are the servers, as of now.
func (b *balancer) known(ctx context.Context) ([]string, error) {
	for {
		b.mu.Lock()
		servers, asof, newer := b.servers, b.asof, b.newer
		b.mu.Unlock()
		if time.Since(asof) < fresh {
			return servers, nil
		}
		select {
		case <-newer:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// appNow is what readers of the API see of an app.
type appNow struct {
	ID           string
	Instances    int
	Version      string
	HealthChecks []json.RawMessage
	Tasks        []struct {
		ID, State, Host, Version string
		Ports                    []int
		HealthCheckResults       []struct{ Alive bool }
	}
	TasksRunning, TasksHealthy int
}

// get reads JSON.
func get(ctx context.Context, url string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

var errNoServer = errors.New("there is no server")

// ask makes one request; it returns the version that answered. ctx is for the wait before
// it.
func (b *balancer) ask(ctx context.Context) (version string, err error) {
	select {
	case b.slots <- struct{}{}:
		defer func() { <-b.slots }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	servers, err := b.known(ctx)
	if err != nil {
		return "", err
	}
	if len(servers) == 0 {
		return "", errNoServer
	}
	resp, err := b.client.Get("http://" + servers[b.next.Add(1)%uint64(len(servers))] + "/")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", resp.Status, body)
	}
	version, _, _ = strings.Cut(string(body), " ")
	return version, nil
}

// load is 500 requests a second through a balancer, whether they are answered or not.
type load struct {
	stop func()

	mu       sync.Mutex
	answers  int
	failures []string
	slowest  time.Duration
	recent   []string // versions of the latest answers
}

func (b *balancer) load() *load {
	l := &load{}
	ctx, cancel := context.WithCancel(context.Background())
	var busy sync.WaitGroup
	busy.Go(func() {
		began, sent := time.Now(), 0
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			// Ticks that were missed are made up for.
			for due := int(time.Since(began) / (2 * time.Millisecond)); sent < due; sent++ {
				busy.Go(func() { l.one(ctx, b) })
			}
		}
	})
	l.stop = sync.OnceFunc(func() {
		cancel()
		busy.Wait()
	})
	b.t.Cleanup(l.stop)
	return l
}

func (l *load) one(ctx context.Context, b *balancer) {
	began := time.Now()
	version, err := b.ask(ctx)
	if errors.Is(err, context.Canceled) {
		return // it was not sent yet when the load stopped
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slowest = max(l.slowest, time.Since(began))
	if err != nil {
		l.failures = append(l.failures, fmt.Sprintf("%s %v", began.Format("05.000"), err))
		return
	}
	l.answers++
	l.recent = append(l.recent[max(0, len(l.recent)-99):], version)
}

// since is what came since it was asked the last time.
func (l *load) since() (answers int, failures []string, slowest time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	answers, failures, slowest = l.answers, l.failures, l.slowest
	l.answers, l.failures, l.slowest = 0, nil, 0
	return answers, failures, slowest
}

// only tells whether the latest 100 answers are all of one version.
func (l *load) only(version string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.recent) == 100 && !slices.ContainsFunc(l.recent, func(v string) bool { return v != version })
}
