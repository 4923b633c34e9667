package agent

import (
	nethttp "net/http"
	"reflect"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/stoa-kernel/stoa/agent/http"
	"github.com/stoa-kernel/stoa/agent/link"
	"github.com/stoa-kernel/stoa/agent/state"
)

// metrics is what /metrics shows. The loop's own are set by the loop; the rest is read
// from the edges when somebody asks.
type metrics struct {
	registry *prometheus.Registry
	steps    *prometheus.CounterVec
	byInput  map[reflect.Type]prometheus.Counter
	step     prometheus.Histogram
	turn     prometheus.Histogram
	persist  prometheus.Histogram
	held     prometheus.Gauge
}

// latency goes from 10 µs to 5 s.
var latency = []float64{1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1, 5}

func newMetrics() *metrics {
	histogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: latency})
	}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		steps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "stoa_agent_steps_total", Help: "Inputs the core has taken, by kind."}, []string{"input"}),
		byInput: make(map[reflect.Type]prometheus.Counter),
		step:    histogram("stoa_agent_step_seconds", "One input in the core."),
		turn:    histogram("stoa_agent_turn_seconds", "One turn of the loop: inputs, due timers, effects."),
		persist: histogram("stoa_agent_persist_seconds", "One group written to the log, with its sync if it needed one."),
		held: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "stoa_agent_held_effects", Help: "Effects that wait for the log."}),
	}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		m.steps, m.step, m.turn, m.persist, m.held)
	return m
}

func (m *metrics) edges(s *http.Server, l *link.Client) {
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
	}
	m.registry.MustRegister(
		gauge("stoa_agent_executor_streams", "Executor streams open.", func() float64 { return float64(s.Streams()) }),
		gauge("stoa_agent_link_up", "1 if the agent is connected to a master.", func() float64 {
			if l.Up.Load() {
				return 1
			}
			return 0
		}),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "stoa_agent_streams_cut_off_total",
			Help: "Executor streams closed because the executor read too slowly."},
			func() float64 { return float64(s.CutOff.Load()) }),
	)
}

func (m *metrics) handler() nethttp.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// stepped belongs to the loop.
func (m *metrics) stepped(in state.Input, took time.Duration) {
	kind := reflect.TypeOf(in)
	counter := m.byInput[kind]
	if counter == nil {
		counter = m.steps.WithLabelValues(kind.Name())
		m.byInput[kind] = counter
	}
	counter.Inc()
	m.step.Observe(took.Seconds())
}
