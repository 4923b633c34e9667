package http

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	stoameter "github.com/stoa-kernel/stoa/internal/meter"
)

// meters count requests.
type meters struct {
	began    time.Time
	active   atomic.Int64
	requests atomic.Int64
	nanos    atomic.Int64
	streams  atomic.Int64    // of events, at the moment
	classes  [6]atomic.Int64 // 1xx to 5xx at 1 to 5
	// deployments that requests began, and that were too many.
	deployments, dismissed atomic.Int64
	all                    timer
	methods                [len(timed)]timer

	registry  *prometheus.Registry
	byCode    *prometheus.CounterVec
	durations *prometheus.HistogramVec

	mu    sync.Mutex
	rates [6]meter // of classes
}

func newMeters() *meters {
	m := &meters{
		began: time.Now(), registry: prometheus.NewRegistry(),
		byCode: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "stoa_service_http_requests_total", Help: "Requests answered, by method and status.",
		}, []string{"method", "code"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "stoa_service_http_request_seconds", Help: "Time from a request to the end of its answer, by method; without streams of events.",
			Buckets: []float64{.001, .003, .01, .03, .1, .3, 1, 3, 10, 30, 100},
		}, []string{"method"}),
	}
	m.registry.MustRegister(m.byCode, m.durations)
	return m
}

// timed are the methods whose requests are timed by themselves.
var timed = [...]string{"get", "post", "put", "delete"}

// labelled are the methods that have a label of their own.
var labelled = append([]string{"head", "patch", "options"}, timed[:]...)

func (m *meters) begin(stream bool) {
	m.active.Add(1)
	m.requests.Add(1)
	if stream {
		m.streams.Add(1)
	}
}

// end counts a request that took so long; streams last as long as they like.
func (m *meters) end(method string, status int, took time.Duration, stream bool) {
	m.active.Add(-1)
	now := time.Now()
	method = strings.ToLower(method)
	label := method
	if !slices.Contains(labelled, method) {
		label = "other" // clients may think of any
	}
	if stream {
		m.streams.Add(-1)
	} else {
		m.nanos.Add(int64(took))
		m.all.took(now, took)
		m.durations.WithLabelValues(label).Observe(took.Seconds())
		if n := slices.Index(timed[:], method); n >= 0 {
			m.methods[n].took(now, took)
		}
	}
	if status > 0 { // else nobody was there any more to be answered
		m.byCode.WithLabelValues(label, strconv.Itoa(status)).Inc()
	}
	if class := status / 100; class > 0 && class < len(m.classes) {
		m.classes[class].Add(1)
		m.mu.Lock()
		m.rates[class].mark(now)
		m.mu.Unlock()
	}
}

// timers are how long requests take, under Marathon's names.
func (m *meters) timers(now time.Time) map[string]any {
	all := map[string]any{"marathon.http.requests.duration.timer.seconds": m.all.show(now)}
	for n, method := range timed {
		all["marathon.http.requests."+method+".duration.timer.seconds"] = m.methods[n].show(now)
	}
	return all
}

func (m *meters) meters(now time.Time) map[string]any {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make(map[string]any)
	for class := 1; class < len(m.rates); class++ {
		one := map[string]any{"units": "events/second"}
		m.rates[class].show(now, one)
		all[fmt.Sprintf("marathon.http.responses.%dxx.rate.meter", class)] = one
	}
	return all
}

// counters under Marathon's names.
func (s *server) counters() map[string]int64 {
	all := map[string]int64{
		"marathon.http.requests":         s.meters.requests.Load(),
		"marathon.deployments":           s.meters.deployments.Load(),
		"marathon.deployments.dismissed": s.meters.dismissed.Load(),
	}
	for class := 1; class < len(s.meters.classes); class++ {
		all[fmt.Sprintf("marathon.http.responses.%dxx", class)] = s.meters.classes[class].Load()
	}
	maps.Copy(all, s.Counters())
	return all
}

// gauges under Marathon's names (docs/metrics.md of Marathon 1.10); it has none of
// instances that wait, or are healthy or not.
func (s *server) gauges() map[string]float64 {
	t := s.View.Totals()
	waiting := 0
	for _, q := range s.View.Queue() {
		waiting += q.Count
	}
	up := time.Since(s.meters.began).Seconds()
	return map[string]float64{
		"marathon.apps.active":               float64(t.Apps),
		"marathon.pods.active":               0,
		"marathon.groups.active":             float64(t.Groups),
		"marathon.deployments.active":        float64(t.Deployments),
		"marathon.instances.running":         float64(t.Running),
		"marathon.instances.staged":          float64(t.Staged),
		"marathon.instances.inflight-kills":  float64(t.Killing),
		"marathon.instances.launch-overdue":  float64(t.Overdue),
		"marathon.instances.waiting":         float64(waiting),
		"marathon.instances.healthy":         float64(t.Healthy),
		"marathon.instances.unhealthy":       float64(t.Unhealthy),
		"marathon.http.event-streams.active": float64(s.meters.streams.Load()),
		"marathon.http.requests.active":      float64(s.meters.active.Load()),
		// A term of the leader lasts as long as its server.
		"marathon.leadership.duration": up,
		"marathon.uptime":              time.Since(s.Info.Started).Seconds(),
	}
}

// suffix of a gauge's name: durations say their unit.
func suffix(name string) string {
	if strings.HasSuffix(name, ".duration") || strings.HasSuffix(name, ".uptime") {
		return ".gauge.seconds"
	}
	return ".gauge"
}

// metrics is GET /metrics, in the form of Marathon's.
func (c *call) metrics() {
	type value struct {
		Value float64 `json:"value"`
	}
	type count struct {
		Count int64 `json:"count"`
	}
	gauges := make(map[string]value)
	for name, v := range c.gauges() {
		gauges[name+suffix(name)] = value{v}
	}
	counters := make(map[string]count)
	for name, n := range c.counters() {
		counters[name+".counter"] = count{n}
	}
	now := time.Now()
	c.send(http.StatusOK, map[string]any{
		"version": "4.0.0", "gauges": gauges, "counters": counters, "histograms": struct{}{},
		"meters": c.meters.meters(now), "timers": c.meters.timers(now),
	})
}

// prometheus is GET /metrics/prometheus: what the process measures, then Marathon's
// names with "_" for "." and "-".
func (c *call) prometheus() {
	r := c.r.Clone(c.r.Context())
	r.Header.Del("Accept-Encoding")
	r.Header.Set("Accept", "text/plain;version=0.0.4")
	c.Metrics.ServeHTTP(c.w, r)
	stoameter.Handler(c.meters.registry).ServeHTTP(c.w, r)
	var b bytes.Buffer
	gauges := c.gauges()
	metric := func(name, kind string, value float64) {
		name = strings.NewReplacer(".", "_", "-", "_").Replace(name)
		fmt.Fprintf(&b, "# TYPE %s %s\n%s %g\n", name, kind, name, value)
	}
	for _, name := range slices.Sorted(maps.Keys(gauges)) {
		metric(name+suffix(name), "gauge", gauges[name])
	}
	counters := c.counters()
	for _, name := range slices.Sorted(maps.Keys(counters)) {
		metric(name+".counter", "counter", float64(counters[name]))
	}
	metric("marathon.http.requests.duration.seconds.counter", "counter", time.Duration(c.meters.nanos.Load()).Seconds())
	_, _ = c.w.Write(b.Bytes()) // the client may be gone
}
