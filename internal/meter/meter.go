// Package meter has the metrics that every role's loop is measured by, and serves them.
package meter

import (
	"net/http"
	"reflect"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// NewRegistry returns a registry that has what Go and the system know of the process.
func NewRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Handler answers with what a registry has, four requests at a time.
func Handler(r *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// latency goes from 10 µs to 5 s.
var latency = []float64{1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1, 5}

// Latency returns a histogram of seconds, from 10 µs to 5 s.
func Latency(name, help string) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: latency})
}

// ClosedConnections is a counter of what a listener closed to make room, read from n.
func ClosedConnections(name string, n func() int64) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name,
		Help: "Connections closed because there were too many, the quietest first."},
		func() float64 { return float64(n()) })
}

// Steps counts the inputs a core takes, by the names of their types. It belongs to one
// goroutine.
type Steps struct {
	*prometheus.CounterVec
	byInput map[reflect.Type]prometheus.Counter
}

// NewSteps returns a counter of that name.
func NewSteps(name string) *Steps {
	return &Steps{
		prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: "Inputs the core has taken, by kind."}, []string{"input"}),
		make(map[reflect.Type]prometheus.Counter),
	}
}

// Took counts an input.
func (s *Steps) Took(input any) {
	kind := reflect.TypeOf(input)
	counter := s.byInput[kind]
	if counter == nil {
		counter = s.WithLabelValues(kind.Name())
		s.byInput[kind] = counter
	}
	counter.Inc()
}
