package instance_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/instance"
)

func TestIDs(t *testing.T) {
	id := instance.NewID("/prod/web", "u-1")
	if id != "prod_web.instance-u-1" || instance.TaskID(id, 12) != "prod_web.instance-u-1._app.12" {
		t.Errorf("%s, %s", id, instance.TaskID(id, 12))
	}
	for _, one := range []struct {
		task, instance string
		n              int
	}{
		{"prod_web.instance-u._app.12", "prod_web.instance-u", 12},
		{"a._app.1.instance-u._app.2", "a._app.1.instance-u", 2},
		{"prod_web.instance-u", "", 0},
		{"prod_web.instance-u._app.", "", 0},
		{"prod_web.instance-u._app.0", "", 0},
		{"prod_web.instance-u._app.01", "", 0},
		{"prod_web.instance-u._app.x", "", 0},
		{"prod_web._app.1", "", 0},
		{"", "", 0},
	} {
		i, n, ok := instance.OfTask(one.task)
		if i != one.instance || n != one.n || ok != (one.n > 0) {
			t.Errorf("%s: %s, %d, %v", one.task, i, n, ok)
		}
	}
}

func TestConditions(t *testing.T) {
	for _, one := range []struct {
		condition        instance.Condition
		terminal, active bool
	}{
		{instance.Scheduled, false, false},
		{instance.Provisioned, false, true},
		{instance.Staging, false, true},
		{instance.Starting, false, true},
		{instance.Running, false, true},
		{instance.Killing, false, true},
		{instance.Killed, true, false},
		{instance.Finished, true, false},
		{instance.Failed, true, false},
		{instance.Error, true, false},
		{instance.Gone, true, false},
		{instance.Dropped, true, false},
		{instance.Unknown, true, false},
		{instance.Unreachable, false, true},
		{instance.UnreachableInactive, false, false},
	} {
		i := &instance.Instance{Condition: one.condition}
		if one.condition.Terminal() != one.terminal || i.Active() != one.active {
			t.Errorf("%s: terminal %v, active %v", one.condition, one.condition.Terminal(), i.Active())
		}
	}
}

func TestHealth(t *testing.T) {
	checked := &marathon.App{HealthChecks: make([]marathon.HealthCheck, 2)}
	alive, dead, unknown := instance.Health{Known: true, Alive: true}, instance.Health{Known: true}, instance.Health{}
	for _, one := range []struct {
		name               string
		i                  instance.Instance
		app                *marathon.App
		healthy, unhealthy bool
	}{
		{"without checks", instance.Instance{Condition: instance.Running}, new(marathon.App), true, false},
		{"staging", instance.Instance{Condition: instance.Staging}, new(marathon.App), false, false},
		{"draining", instance.Instance{Condition: instance.Running, DrainUntil: time.Unix(1, 0)}, new(marathon.App), false, false},
		{"both alive", instance.Instance{Condition: instance.Running, Health: []instance.Health{alive, alive}}, checked, true, false},
		{"one unknown", instance.Instance{Condition: instance.Running, Health: []instance.Health{alive, unknown}}, checked, false, false},
		{"one dead", instance.Instance{Condition: instance.Running, Health: []instance.Health{alive, dead}}, checked, false, true},
		{"one missing", instance.Instance{Condition: instance.Running, Health: []instance.Health{alive}}, checked, false, false},
		{"none yet", instance.Instance{Condition: instance.Running}, checked, false, false},
		{"ending", instance.Instance{Condition: instance.Killing, Health: []instance.Health{alive, alive}}, checked, false, false},
	} {
		if h, u := one.i.Healthy(one.app), one.i.Unhealthy(); h != one.healthy || u != one.unhealthy {
			t.Errorf("%s: healthy %v, unhealthy %v", one.name, h, u)
		}
	}
}

// What is stored of an instance that never ran is short, and comes back as it was.
func TestJSON(t *testing.T) {
	i := instance.Instance{
		ID: "a.instance-u", App: "/a", Version: "2020-01-01T00:00:00.000Z", Goal: instance.GoalRunning,
		Condition: instance.Scheduled, Since: time.Unix(1577836800, 0).UTC(),
	}
	data, err := json.Marshal(i)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":"a.instance-u","app":"/a","version":"2020-01-01T00:00:00.000Z","incarnation":0,"goal":"Running","condition":"Scheduled","since":"2020-01-01T00:00:00Z"}`
	if string(data) != want {
		t.Errorf("%s\nwant %s", data, want)
	}
	i.Agent = &instance.Agent{ID: "s", Host: "h", Attributes: map[string]string{"rack": "a"}}
	i.Ports, i.Reservation = []int{0, 1}, &instance.Reservation{Done: true, Volumes: []marathon.LocalVolume{{UUID: "u"}}}
	if data, err = json.Marshal(i); err != nil {
		t.Fatal(err)
	}
	var back instance.Instance
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if again, err := json.Marshal(back); err != nil || string(again) != string(data) {
		t.Errorf("%s\nwas %s, %v", again, data, err)
	}
}
