package view

import (
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/instance"
)

// hasTask reports whether an instance is shown as a task.
func hasTask(i *instance.Instance) bool {
	return i.TaskID != "" && i.Condition != instance.Scheduled && i.Agent != nil
}

// ending reports whether a task is about to be killed; it is shown as TASK_KILLING, so
// that load balancers let go of it.
func ending(i *instance.Instance) bool {
	return i.Active() && (!i.DrainUntil.IsZero() || !i.KillingSince.IsZero())
}

func isStaged(i *instance.Instance) bool {
	return i.TaskState == "" || i.TaskState == "TASK_STAGING"
}

// isOverdue reports whether a task is killed because it did not run in time: only for that
// is one killed that does not run yet and whose instance is wanted.
func isOverdue(i *instance.Instance) bool {
	switch i.Condition {
	case instance.Provisioned, instance.Staging, instance.Starting:
		return i.Goal == instance.GoalRunning && !i.KillingSince.IsZero()
	}
	return false
}

func isRunning(i *instance.Instance) bool { return i.TaskState == "TASK_RUNNING" }

// tally adds an instance to counts, or takes it away (as Marathon 1.10,
// core/appinfo/impl/TaskForStatistics).
func tally(c *marathon.TaskCounts, i *instance.Instance, by int) {
	switch {
	case ending(i):
	case isStaged(i):
		c.TasksStaged += by
	case isRunning(i):
		c.TasksRunning += by
	}
	switch healthy, unhealthy := health(i); {
	case unhealthy:
		c.TasksUnhealthy += by
	case healthy:
		c.TasksHealthy += by
	}
}

// health is what the checks told: healthy if all of them are alive, unhealthy if one is
// known not to be.
func health(i *instance.Instance) (healthy, unhealthy bool) {
	alive := 0
	for n := range i.Health {
		h := &i.Health[n]
		switch {
		case h.Known && !h.Alive:
			return false, true
		case h.Known:
			alive++
		}
	}
	return alive > 0 && alive == len(i.Health), false
}

// Task shows an instance's task; def is the app's definition, for its service
// ports, or nil.
func Task(def *marathon.App, i *instance.Instance) marathon.Task {
	t := marathon.Task{
		AppID: i.App, HealthCheckResults: []marathon.HealthResult{}, CheckResult: i.CheckResult,
		ID: i.TaskID, IPAddresses: i.IPAddresses, Ports: []int{}, ServicePorts: []int{},
		State: i.TaskState, LocalVolumes: []marathon.LocalVolume{}, Role: i.Role,
	}
	if def != nil {
		t.ServicePorts = def.ServicePorts()
	}
	if t.State == "" {
		t.State = "TASK_STAGING"
	}
	if ending(i) {
		t.State = "TASK_KILLING"
	}
	if i.Agent != nil {
		t.Host, t.SlaveID, t.Region, t.Zone = i.Agent.Host, i.Agent.ID, i.Agent.Region, i.Agent.Zone
	}
	if t.IPAddresses == nil {
		t.IPAddresses = []marathon.IPAddress{}
	}
	if i.Active() {
		t.StagedAt, t.StartedAt, t.Version = version(i.StagedAt), version(i.StartedAt), i.Version
		for _, p := range i.Ports {
			if p != 0 {
				t.Ports = append(t.Ports, p)
			}
		}
	}
	if i.Reservation != nil {
		t.LocalVolumes = append(t.LocalVolumes, i.Reservation.Volumes...)
	}
	for n := range i.Health {
		h := &i.Health[n]
		if !h.Known {
			continue
		}
		t.HealthCheckResults = append(t.HealthCheckResults, marathon.HealthResult{
			Alive: h.Alive, ConsecutiveFailures: h.ConsecutiveFailures, FirstSuccess: version(h.FirstSuccess),
			LastFailure: version(h.LastFailure), LastSuccess: version(h.LastSuccess),
			LastFailureCause: h.LastFailureCause, InstanceID: i.ID,
		})
	}
	return t
}

// version is a time as the API writes it, "" for none.
func version(t time.Time) marathon.Version {
	if t.IsZero() {
		return ""
	}
	return marathon.VersionOf(t)
}
