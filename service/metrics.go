package service

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/internal/meter"
	"github.com/stoa-kernel/stoa/service/state"
)

// metrics of the loop; what users know from Marathon is counted from the view.
type metrics struct {
	registry *prometheus.Registry
	steps    *meter.Steps
	turn     prometheus.Histogram
	step     prometheus.Histogram
	events   *prometheus.CounterVec
}

func newMetrics() *metrics {
	m := &metrics{
		registry: meter.NewRegistry(),
		steps:    meter.NewSteps("stoa_service_steps_total"),
		turn:     meter.Latency("stoa_service_turn_seconds", "One turn of the loop: inputs, a due timer, effects."),
		step:     meter.Latency("stoa_service_step_seconds", "One step of the core."),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "stoa_service_events_total", Help: "Events published, by type."}, []string{"type"}),
	}
	m.registry.MustRegister(m.steps, m.turn, m.step, m.events)
	return m
}

func (m *metrics) stepped(in state.Input, took time.Duration) {
	m.steps.Took(in)
	m.step.Observe(took.Seconds())
}

func (m *metrics) published(e marathon.Event) { m.events.WithLabelValues(e.EventType()).Inc() }
