package http

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// meters count requests.
type meters struct {
	began    time.Time
	active   atomic.Int64
	requests atomic.Int64
	nanos    atomic.Int64
	classes  [6]atomic.Int64 // 1xx to 5xx at 1 to 5
}

func (m *meters) begin() {
	m.active.Add(1)
	m.requests.Add(1)
}

// end counts a request that took so long; streams last as long as they like.
func (m *meters) end(status int, took time.Duration, stream bool) {
	m.active.Add(-1)
	if !stream {
		m.nanos.Add(int64(took))
	}
	if class := status / 100; class > 0 && class < len(m.classes) {
		m.classes[class].Add(1)
	}
}

// gauges under Marathon's names (docs/metrics.md of Marathon 1.10).
func (s *server) gauges() map[string]float64 {
	t := s.View.Totals()
	waiting := 0
	for _, q := range s.View.Queue() {
		waiting += q.Count
	}
	up := time.Since(s.meters.began).Seconds()
	return map[string]float64{
		"marathon.apps.active":              float64(t.Apps),
		"marathon.pods.active":              0,
		"marathon.groups.active":            float64(t.Groups),
		"marathon.deployments.active":       float64(t.Deployments),
		"marathon.instances.running":        float64(t.Running),
		"marathon.instances.staged":         float64(t.Staged),
		"marathon.instances.inflight-kills": float64(t.Killing),
		"marathon.instances.waiting":        float64(waiting),
		"marathon.http.requests.active":     float64(s.meters.active.Load()),
		// A term of the leader lasts as long as its server.
		"marathon.leadership.duration": up,
	}
}

// suffix of a gauge's name: durations say their unit.
func suffix(name string) string {
	if strings.HasSuffix(name, ".duration") {
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
	counters := map[string]count{
		"marathon.http.requests.counter": {c.meters.requests.Load()},
	}
	for class := 1; class < len(c.meters.classes); class++ {
		counters[fmt.Sprintf("marathon.http.responses.%dxx.counter", class)] = count{c.meters.classes[class].Load()}
	}
	none := struct{}{}
	c.send(http.StatusOK, map[string]any{
		"version": "4.0.0", "gauges": gauges, "counters": counters, "histograms": none, "meters": none, "timers": none,
	})
}

// prometheus is GET /metrics/prometheus: what the process measures, then Marathon's
// names with "_" for "." and "-".
func (c *call) prometheus() {
	r := c.r.Clone(c.r.Context())
	r.Header.Del("Accept-Encoding")
	r.Header.Set("Accept", "text/plain;version=0.0.4")
	c.Metrics.ServeHTTP(c.w, r)
	var b bytes.Buffer
	gauges := c.gauges()
	metric := func(name, kind string, value float64) {
		name = strings.NewReplacer(".", "_", "-", "_").Replace(name)
		fmt.Fprintf(&b, "# TYPE %s %s\n%s %g\n", name, kind, name, value)
	}
	for _, name := range slices.Sorted(maps.Keys(gauges)) {
		metric(name+suffix(name), "gauge", gauges[name])
	}
	metric("marathon.http.requests.counter", "counter", float64(c.meters.requests.Load()))
	metric("marathon.http.requests.duration.seconds.counter", "counter", time.Duration(c.meters.nanos.Load()).Seconds())
	for class := 1; class < len(c.meters.classes); class++ {
		metric(fmt.Sprintf("marathon.http.responses.%dxx.counter", class), "counter", float64(c.meters.classes[class].Load()))
	}
	_, _ = c.w.Write(b.Bytes()) // the client may be gone
}
