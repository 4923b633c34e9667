package master

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stoa-kernel/stoa/internal/listen"
	"github.com/stoa-kernel/stoa/internal/meter"
	"github.com/stoa-kernel/stoa/master/session"
	"github.com/stoa-kernel/stoa/master/state"
	"github.com/stoa-kernel/stoa/master/view"
)

// metrics is what /metrics shows. The loop's own are set by the loop; the rest is read
// from the view and the sessions when somebody asks.
type metrics struct {
	registry *prometheus.Registry
	steps    *meter.Steps
	turn     prometheus.Histogram
	allocate prometheus.Histogram
	persist  prometheus.Histogram
	held     prometheus.Gauge
	offers   prometheus.Counter
	ended    *prometheus.CounterVec
	updates  prometheus.Counter
}

func newMetrics(v *view.View, streams *session.Streams, links *session.Links) *metrics {
	m := &metrics{
		registry: meter.NewRegistry(),
		steps:    meter.NewSteps("stoa_master_steps_total"),
		turn:     meter.Latency("stoa_master_turn_seconds", "One turn of the loop: inputs, due timers, effects, publication."),
		allocate: meter.Latency("stoa_master_allocation_seconds", "One run of the allocator with the offers it makes."),
		persist:  meter.Latency("stoa_master_persist_seconds", "One commit to the registry."),
		held: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "stoa_master_held_effects", Help: "Effects that wait for a commit."}),
		offers: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "stoa_master_offers_total", Help: "Offers made."}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "stoa_master_offers_ended_total", Help: "Offers ended, by how."}, []string{"how"}),
		updates: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "stoa_master_task_updates_total", Help: "Changes of tasks published."}),
	}
	gauge := func(name, help string, f func(view.Counts) int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help},
			func() float64 { return float64(f(v.Root().Counts())) })
	}
	open := func(name, help string, f func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(f()) })
	}
	cut := func(name, help string, n *atomic.Int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(n.Load()) })
	}
	m.registry.MustRegister(
		m.steps, m.turn, m.allocate, m.persist, m.held, m.offers, m.ended, m.updates,
		gauge("stoa_master_tasks", "Live tasks.", func(c view.Counts) int { return c.Tasks }),
		gauge("stoa_master_tasks_unreachable", "Tasks on unreachable agents.", func(c view.Counts) int { return c.UnreachableTasks }),
		gauge("stoa_master_agents", "Agents known, recovered and unreachable ones too.", func(c view.Counts) int { return c.Agents }),
		gauge("stoa_master_frameworks", "Frameworks not removed.", func(c view.Counts) int { return c.Frameworks }),
		gauge("stoa_master_offers", "Offers outstanding.", func(c view.Counts) int { return c.Offers }),
		open("stoa_master_framework_streams", "Framework streams open.", streams.Len),
		open("stoa_master_agent_links", "Agent links open.", links.Len),
		open("stoa_master_updates_in_flight", "Status updates sent on open streams and not acknowledged there.",
			func() int { return int(streams.Unacked.Load()) }),
		cut("stoa_master_streams_cut_off_total", "Framework streams closed because the framework read too slowly.", &streams.CutOff),
		cut("stoa_master_links_cut_off_total", "Agent links closed because the agent read too slowly.", &links.CutOff),
	)
	return m
}

// connections adds what the listener has to say.
func (m *metrics) connections(l *listen.Limited) {
	m.registry.MustRegister(meter.ClosedConnections("stoa_master_connections_closed_total", l.Closed.Load))
}

// stepped belongs to the loop, as published does.
func (m *metrics) stepped(in state.Input, began time.Time) {
	m.steps.Took(in)
	if f, ok := in.(state.Fired); ok && f.Timer.Kind == state.TimerAllocate {
		m.allocate.Observe(time.Since(began).Seconds())
	}
}

func (m *metrics) published(e state.Event) {
	switch e := e.(type) {
	case state.OfferAdded:
		m.offers.Inc()
	case state.OfferRemoved:
		m.ended.WithLabelValues(e.How).Inc()
	case state.TaskUpdated:
		m.updates.Inc()
	}
}
