package http

import (
	"math"
	"slices"
	"sync"
	"time"
)

// meter counts events and how many there are in a second, over all time and over the
// last 1, 5 and 15 minutes (as the load average of Unix, and Dropwizard's meters).
type meter struct {
	began, ticked time.Time
	count, since  int64 // since the last tick
	rates         [3]float64
	warm          bool
}

// tick is how often rates are brought up to date, whoever asks.
const tick = 5 * time.Second

func (m *meter) tick(now time.Time) {
	if m.began.IsZero() {
		m.began, m.ticked = now, now
	}
	n := int64(now.Sub(m.ticked) / tick)
	if n <= 0 {
		return
	}
	m.ticked = m.ticked.Add(time.Duration(n) * tick)
	current := float64(m.since) / tick.Seconds()
	m.since = 0
	for i, minutes := range []float64{1, 5, 15} {
		keep := math.Exp(-tick.Minutes() / minutes)
		if m.warm {
			m.rates[i] += (1 - keep) * (current - m.rates[i])
		} else {
			m.rates[i] = current
		}
		m.rates[i] *= math.Pow(keep, float64(n-1)) // nothing came since
	}
	m.warm = true
}

func (m *meter) mark(now time.Time) {
	m.tick(now)
	m.count++
	m.since++
}

// show adds what /metrics has of a meter.
func (m *meter) show(now time.Time, to map[string]any) {
	m.tick(now)
	mean := 0.0
	if past := now.Sub(m.began).Seconds(); past > 0 {
		mean = float64(m.count) / past
	}
	to["count"], to["mean_rate"] = m.count, mean
	to["m1_rate"], to["m5_rate"], to["m15_rate"] = m.rates[0], m.rates[1], m.rates[2]
}

// timer measures durations: how often, and the last of them. It is safe for concurrent
// use.
type timer struct {
	mu   sync.Mutex
	rate meter
	last []float64 // seconds, a ring
	next int
}

// lastDurations are kept of a timer.
const lastDurations = 1024

func (t *timer) took(now time.Time, d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rate.mark(now)
	if len(t.last) < lastDurations {
		t.last = append(t.last, d.Seconds())
		return
	}
	t.last[t.next] = d.Seconds()
	t.next = (t.next + 1) % lastDurations
}

// show is what /metrics has of a timer.
func (t *timer) show(now time.Time) map[string]any {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := map[string]any{"duration_units": "seconds", "rate_units": "events/second"}
	t.rate.show(now, out)
	sorted := slices.Sorted(slices.Values(t.last))
	at := func(p float64) float64 {
		if len(sorted) == 0 {
			return 0
		}
		return sorted[min(int(p*float64(len(sorted))), len(sorted)-1)]
	}
	sum, squares := 0.0, 0.0
	for _, v := range sorted {
		sum += v
	}
	mean := sum / math.Max(float64(len(sorted)), 1)
	for _, v := range sorted {
		squares += (v - mean) * (v - mean)
	}
	out["min"], out["max"], out["mean"] = at(0), at(1), mean
	out["stddev"] = math.Sqrt(squares / math.Max(float64(len(sorted)), 1))
	for name, p := range map[string]float64{"p50": .5, "p75": .75, "p95": .95, "p98": .98, "p99": .99, "p999": .999} {
		out[name] = at(p)
	}
	return out
}
