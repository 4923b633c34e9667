package state

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/instance"
)

// TestProbeResults: what the agent counted is judged the same by a service that was there
// all the time and by one that reads the last update only.
func TestProbeResults(t *testing.T) {
	def := &marathon.App{ID: "/web", HealthChecks: []marathon.HealthCheck{
		{Protocol: marathon.HTTP, MaxConsecutiveFailures: 2}, {Protocol: marathon.TCP},
	}}
	result := func(index, failures, inGrace uint32) *mesos.ProbeResult {
		return &mesos.ProbeResult{Index: &index, Alive: proto.Bool(failures == 0), ConsecutiveFailures: &failures, FailuresInGrace: &inGrace}
	}
	for _, one := range []struct {
		name    string
		results []*mesos.ProbeResult
		want    string
		kill    bool
	}{
		{"in grace nothing is known", []*mesos.ProbeResult{result(0, 30, 30)}, "false false 0+30", false},
		{"those in grace are left out", []*mesos.ProbeResult{result(0, 32, 30)}, "true false 2+30", false},
		{"max is not enough", []*mesos.ProbeResult{result(0, 2, 0)}, "true false 2+0", false},
		{"max + 1 kills", []*mesos.ProbeResult{result(0, 3, 0)}, "true false 3+0", true},
		{"max + 1 beside those in grace", []*mesos.ProbeResult{result(0, 33, 30)}, "true false 3+30", true},
		{"0 never kills", []*mesos.ProbeResult{result(0, 0, 0), result(1, 1000, 0)}, "true true 0+0", false},
		{"either of two kills", []*mesos.ProbeResult{result(0, 3, 0), result(1, 0, 0)}, "true false 3+0", true},
		{"one of no check", []*mesos.ProbeResult{result(2, 3, 0), result(0, 0, 0)}, "true true 0+0", false},
	} {
		s := New(Config{})
		i := &instance.Instance{ID: "web.instance-1", App: "/web", Condition: instance.Running, StartedAt: time.Unix(1, 0)}
		next, kill := s.takeHealth(def, i, &mesos.TaskStatus{ProbeResults: one.results})
		h := next[0]
		if got := fmt.Sprintf("%v %v %d+%d", h.Known, h.Alive, h.ConsecutiveFailures, h.Ignored); got != one.want || kill != one.kill {
			t.Errorf("%s: %s, kill %v; want %s, %v", one.name, got, kill, one.want, one.kill)
		}
	}
}
