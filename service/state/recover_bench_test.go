package state

import (
	"fmt"
	"testing"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/kernel/clock"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/instance"
)

// BenchmarkRecover is a service that starts with 10,000 apps of ten running instances.
func BenchmarkRecover(b *testing.B) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	in := Recovered{Version: marathon.VersionOf(at)}
	cmd := "sleep 1"
	for n := range 10_000 {
		id := fmt.Sprintf("/g%d/app-%d", n%100, n)
		in.Apps = append(in.Apps, StoredApp{ID: id, Version: in.Version, App: &marathon.App{
			ID: id, Cmd: &cmd, Instances: 10, CPUs: 0.01, Mem: 1, Role: "*", Version: in.Version,
			HealthChecks: []marathon.HealthCheck{{Protocol: marathon.COMMAND}},
			VersionInfo:  &marathon.VersionInfo{LastConfigChangeAt: in.Version, LastScalingAt: in.Version},
		}})
		for m := range 10 {
			name := instance.NewID(id, fmt.Sprintf("%08d-%04d", n, m))
			in.Instances = append(in.Instances, &instance.Instance{
				ID: name, App: id, Version: in.Version, Incarnation: 1, Goal: instance.GoalRunning, Condition: instance.Running,
				TaskID: instance.TaskID(name, 1), Agent: &instance.Agent{ID: "a", Host: "h"}, StartedAt: at, Ready: true,
				Health: []instance.Health{{Known: true, Alive: true}},
			})
		}
	}
	for b.Loop() {
		s := New(Config{App: app.Options{PortMin: 10000, PortMax: 20000, Role: "*"}, Seed: 1})
		copied := in
		s.Step(clock.Now{Wall: at}, copied)
		s.Step(clock.Now{Wall: at}, Subscribed{FrameworkID: "f"})
	}
}
