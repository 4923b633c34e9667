package match_test

import (
	"testing"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"

	"github.com/stoa-kernel/stoa/service/match"
)

func at(second int64) time.Time { return time.Unix(second, 0) }

// window announces maintenance; seconds 0 is without end.
func window(o *mesos.Offer, start, seconds int64) {
	from, long := start*int64(time.Second), seconds*int64(time.Second)
	o.Unavailability = &mesos.Unavailability{Start: &mesos.TimeInfo{Nanoseconds: &from}}
	if seconds > 0 {
		o.Unavailability.Duration = &mesos.DurationInfo{Nanoseconds: &long}
	}
}

func TestMaintenance(t *testing.T) {
	for _, one := range []struct {
		start, seconds, now int64
		draining            time.Duration
		fits                bool
	}{
		{100, 50, 99, 0, true},
		{100, 50, 100, 0, false},
		{100, 50, 149, 0, false},
		{100, 50, 150, 0, true},
		{100, 0, 1000, 0, false},
		{100, 50, 89, 10 * time.Second, true},
		{100, 50, 90, 10 * time.Second, false},
		{100, 50, 0, 0, true},
	} {
		o := offer(t, "h", machine, "dev")
		window(o, one.start, one.seconds)
		w := want(app(nil), 1)
		w.Draining = one.draining
		if one.now > 0 {
			w.Now = at(one.now)
		}
		if _, no := pool(t, o).Fit(w); (no == nil) != one.fits {
			t.Errorf("%+v: %v", one, no)
		} else if no != nil && no.Reason != match.AgentMaintenance {
			t.Errorf("%+v: %s", one, no.Reason)
		}
	}
}
