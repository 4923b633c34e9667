package meter

import (
	"net/http/httptest"
	"strings"
	"testing"
)

type (
	start struct{}
	tick  int
)

func TestLoopIsMeasured(t *testing.T) {
	steps, turn := NewSteps("loop_steps_total"), Latency("loop_turn_seconds", "One turn.")
	r := NewRegistry()
	r.MustRegister(steps, turn)
	for _, in := range []any{start{}, tick(1), tick(2)} {
		steps.Took(in)
	}
	turn.Observe(2e-5)
	turn.Observe(4)
	w := httptest.NewRecorder()
	Handler(r).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, line := range []string{
		"# HELP loop_steps_total Inputs the core has taken, by kind.",
		`loop_steps_total{input="start"} 1`,
		`loop_steps_total{input="tick"} 2`,
		`loop_turn_seconds_bucket{le="1e-05"} 0`,
		`loop_turn_seconds_bucket{le="3e-05"} 1`,
		`loop_turn_seconds_bucket{le="5"} 2`,
		"go_goroutines ",
	} {
		if !strings.Contains(w.Body.String(), "\n"+line) {
			t.Errorf("no line %q", line)
		}
	}
}
