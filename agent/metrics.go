package agent

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stoa-kernel/stoa/agent/http"
	"github.com/stoa-kernel/stoa/agent/link"
	"github.com/stoa-kernel/stoa/agent/state"
	"github.com/stoa-kernel/stoa/internal/listen"
	"github.com/stoa-kernel/stoa/internal/meter"
)

// metrics is what /metrics shows. The loop's own are set by the loop; the rest is read
// from the edges when somebody asks.
type metrics struct {
	registry *prometheus.Registry
	steps    *meter.Steps
	step     prometheus.Histogram
	turn     prometheus.Histogram
	persist  prometheus.Histogram
	held     prometheus.Gauge
}

func newMetrics() *metrics {
	m := &metrics{
		registry: meter.NewRegistry(),
		steps:    meter.NewSteps("stoa_agent_steps_total"),
		step:     meter.Latency("stoa_agent_step_seconds", "One input in the core."),
		turn:     meter.Latency("stoa_agent_turn_seconds", "One turn of the loop: inputs, due timers, effects."),
		persist:  meter.Latency("stoa_agent_persist_seconds", "One group written to the log, with its sync if it needed one."),
		held: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "stoa_agent_held_effects", Help: "Effects that wait for the log."}),
	}
	m.registry.MustRegister(m.steps, m.step, m.turn, m.persist, m.held)
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

// connections adds what the listener has to say.
func (m *metrics) connections(l *listen.Limited) {
	m.registry.MustRegister(meter.ClosedConnections("stoa_agent_connections_closed_total", l.Closed.Load))
}

// stepped belongs to the loop.
func (m *metrics) stepped(in state.Input, took time.Duration) {
	m.steps.Took(in)
	m.step.Observe(took.Seconds())
}
