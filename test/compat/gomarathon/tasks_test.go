package gomarathon

import (
	"slices"
	"strings"
	"testing"
	"time"

	marathon "github.com/gambol99/go-marathon"
)

func TestTasks(t *testing.T) {
	c := up(t)
	c.create(web("/shop/web", "1", 3))
	c.create(plain("/other", "sleep 1000", 1))
	all := must(c.AllTasks(&marathon.AllTasksOpts{Status: "running"}))(t).Tasks
	if len(all) != 4 {
		t.Fatalf("%d tasks run of 4", len(all))
	}
	for _, task := range all {
		started, err := time.Parse(time.RFC3339, task.StartedAt)
		if err != nil || time.Since(started) > patience || task.StagedAt == "" || task.Version == "" ||
			task.State != "TASK_RUNNING" || task.Host != "127.0.0.1" || task.SlaveID == "" ||
			len(task.Ports) != 1 || len(task.ServicePorts) != 1 || len(task.IPAddresses) == 0 {
			t.Errorf("task %+v", task)
		}
		if task.AppID == "/shop/web" && (len(task.HealthCheckResults) != 1 || !task.HealthCheckResults[0].Alive || task.HealthCheckResults[0].FirstSuccess == "") {
			t.Errorf("task %s is not healthy: %+v", task.ID, task.HealthCheckResults)
		}
	}
	if staging := must(c.AllTasks(&marathon.AllTasksOpts{Status: "staging"}))(t).Tasks; len(staging) != 0 {
		t.Errorf("staging tasks: %v", staging)
	}
	if n := len(must(c.AllTasks(nil))(t).Tasks); n != 4 {
		t.Errorf("%d tasks of 4", n)
	}
	_, err := c.Tasks("/absent")
	refused(t, err, marathon.ErrCodeNotFound, "App '/absent' does not exist")

	// replaced waits until tasks were killed and others run in their place.
	replaced := func(app string, n int, killed ...string) []string {
		t.Helper()
		var now []string
		until(t, "tasks run in the place of those killed", func() bool {
			now = c.ids(app)
			a := must(c.Application(app))(t)
			return len(now) == n && a.TasksRunning == n && !slices.ContainsFunc(killed, func(id string) bool { return slices.Contains(now, id) })
		})
		return now
	}

	// A kill starts the same instance again: its id has the next incarnation. The path that
	// KillTask sends is /v2/apps/shop/web.instance-UUID./app/tasks/ID.
	ids := c.ids("/shop/web")
	killed := must(c.KillTask(ids[0], nil))(t)
	if killed.ID != ids[0] || killed.AppID != "/shop/web" {
		t.Errorf("KillTask answered with %+v", killed)
	}
	next := strings.TrimSuffix(ids[0], ".1") + ".2"
	if now := replaced("/shop/web", 3, ids[0]); !slices.Contains(now, next) || !slices.Contains(now, ids[1]) || !slices.Contains(now, ids[2]) {
		t.Errorf("after the kill of %s there run %v", ids[0], now)
	}
	_, err = c.KillTask("no_such.instance-0f4ee3cc-5ce0-11e5-8e2f-0242cc1a7b6d._app.1", nil)
	refused(t, err, marathon.ErrCodeNotFound, "does not exist")
	if err := c.KillTasks([]string{ids[1], ids[2]}, nil); err != nil {
		t.Fatal(err)
	}
	replaced("/shop/web", 3, ids[1], ids[2])

	// With scale a kill is a deployment.
	ids = c.ids("/shop/web")
	if _, err := c.KillTask(ids[0], &marathon.KillTaskOpts{Scale: true}); err != nil {
		t.Fatal(err)
	}
	replaced("/shop/web", 2, ids[0])
	until(t, "the deployment is over", func() bool { return len(must(c.Deployments())(t)) == 0 })
	if err := c.KillTasks([]string{ids[1]}, &marathon.KillTaskOpts{Scale: true, Force: true}); err != nil {
		t.Fatal(err)
	}
	replaced("/shop/web", 1, ids[1])
	until(t, "the deployment is over", func() bool { return len(must(c.Deployments())(t)) == 0 })
	if a := must(c.Application("/shop/web"))(t); *a.Instances != 1 {
		t.Errorf("scaled by kills from 3 to %d; want 1", *a.Instances)
	}

	// All of an app, on one host or on any.
	list := must(c.KillApplicationTasks("/shop/web", &marathon.KillApplicationTasksOpts{Host: "nowhere"}))(t).Tasks
	if len(list) != 0 {
		t.Errorf("killed on a host that is not there: %v", list)
	}
	ids = c.ids("/shop/web")
	list = must(c.KillApplicationTasks("/shop/web", &marathon.KillApplicationTasksOpts{Host: "127.0.0.1"}))(t).Tasks
	if len(list) != 1 || list[0].ID != ids[0] {
		t.Errorf("killed %v; want %v", list, ids)
	}
	replaced("/shop/web", 1, ids[0])
	if _, err := c.KillApplicationTasks("/shop/web", &marathon.KillApplicationTasksOpts{Scale: true}); err != nil {
		t.Fatal(err)
	}
	replaced("/shop/web", 0)
	_, err = c.KillApplicationTasks("/absent", nil)
	refused(t, err, marathon.ErrCodeNotFound, "App '/absent' does not exist")
	if n := len(c.ids("/other")); n != 1 {
		t.Errorf("the other app has %d tasks; want 1", n)
	}
}
