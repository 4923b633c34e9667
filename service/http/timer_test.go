package http

import (
	"math"
	"testing"
	"time"
)

func TestTimer(t *testing.T) {
	var m timer
	now := time.Unix(0, 0)
	if empty := m.show(now); empty["count"] != int64(0) || empty["p99"] != 0.0 || empty["mean_rate"] != 0.0 {
		t.Error(empty)
	}
	// One a second for five minutes.
	for n := range 300 {
		m.took(now.Add(time.Duration(n)*time.Second), time.Duration(n%100+1)*time.Millisecond)
	}
	now = now.Add(300 * time.Second)
	got := m.show(now)
	for name, want := range map[string]float64{"p50": .051, "p99": .1, "min": .001, "max": .1, "mean": .0505, "m1_rate": 1, "m15_rate": 1, "mean_rate": 1} {
		if v := got[name].(float64); math.Abs(v-want) > 1e-9 {
			t.Errorf("%s is %g, want %g", name, v, want)
		}
	}
	if got["count"] != int64(300) {
		t.Error(got["count"])
	}
	// A minute of silence leaves 1/e of the rate of a minute.
	if v := m.show(now.Add(time.Minute))["m1_rate"].(float64); math.Abs(v-math.Exp(-1)) > 1e-6 {
		t.Error(v)
	}
	for range 2 * lastDurations {
		m.took(now, time.Second)
	}
	if v := m.show(now); v["min"] != 1.0 || len(m.last) != lastDurations {
		t.Error(v)
	}
}
