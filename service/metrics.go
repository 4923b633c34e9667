package service

import (
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"

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
	byType   map[string]prometheus.Counter // of events; the loop's
	byState  map[mesos.TaskState]string    // what updates are counted as; the loop's

	mu     sync.Mutex
	kernel map[string]int64
}

func newMetrics() *metrics {
	m := &metrics{
		registry: meter.NewRegistry(),
		steps:    meter.NewSteps("stoa_service_steps_total"),
		turn:     meter.Latency("stoa_service_turn_seconds", "One turn of the loop: inputs, a due timer, effects."),
		step:     meter.Latency("stoa_service_step_seconds", "One step of the core."),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "stoa_service_events_total", Help: "Events published, by type."}, []string{"type"}),
		byType: make(map[string]prometheus.Counter), byState: make(map[mesos.TaskState]string), kernel: make(map[string]int64),
	}
	for _, name := range []string{
		"mesos.offers.incoming", "mesos.offers.declined", "mesos.offers.used", "mesos.calls.revive", "mesos.calls.suppress",
		"mesos.offer-operations.launch", "mesos.offer-operations.reserve", "tasks.launched",
	} {
		m.count(name, 0)
	}
	m.registry.MustRegister(m.steps, m.turn, m.step, m.events)
	return m
}

// watch measures whether the store refuses.
func (m *metrics) watch(w *writer) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "stoa_service_store_refuses", Help: "1 while the store takes no writes, and so the service none.",
	}, func() float64 {
		if err, _ := w.refusing(); err != nil {
			return 1
		}
		return 0
	}))
}

func (m *metrics) stepped(in state.Input, took time.Duration) {
	m.steps.Took(in)
	m.step.Observe(took.Seconds())
	switch in := in.(type) {
	case state.Offers:
		m.count("mesos.offers.incoming", len(in.Offers))
	case state.Status:
		status := in.Status.GetState()
		name := m.byState[status]
		if name == "" {
			name = "mesos.task-updates." + strings.ReplaceAll(strings.ToLower(status.String()), "_", "-")
			m.byState[status] = name
		}
		m.count(name, 1)
	}
}

func (m *metrics) published(e marathon.Event) {
	kind := e.EventType()
	counter := m.byType[kind]
	if counter == nil {
		counter = m.events.WithLabelValues(kind)
		m.byType[kind] = counter
	}
	counter.Inc()
}

// called counts what is sent to the kernel.
func (m *metrics) called(c *schedulerpb.Call) {
	switch c.GetType() {
	case schedulerpb.Call_REVIVE:
		m.count("mesos.calls.revive", 1)
	case schedulerpb.Call_SUPPRESS:
		m.count("mesos.calls.suppress", 1)
	case schedulerpb.Call_DECLINE:
		m.count("mesos.offers.declined", len(c.GetDecline().GetOfferIds()))
	case schedulerpb.Call_ACCEPT:
		m.count("mesos.offers.used", len(c.GetAccept().GetOfferIds()))
		for _, o := range c.GetAccept().GetOperations() {
			switch o.GetType() {
			case mesos.Offer_Operation_LAUNCH:
				m.count("mesos.offer-operations.launch", 1)
				m.count("tasks.launched", len(o.GetLaunch().GetTaskInfos()))
			case mesos.Offer_Operation_RESERVE:
				m.count("mesos.offer-operations.reserve", 1)
			}
		}
	}
}

func (m *metrics) count(name string, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kernel[name] += int64(n)
}

// counters under Marathon's names (docs/metrics.md of Marathon 1.10), of this term.
func (m *metrics) counters() map[string]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make(map[string]int64, len(m.kernel))
	for name, n := range m.kernel {
		all["marathon."+name] = n
	}
	return all
}
