package state

import (
	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/deploy"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/plan"
)

func (s *Service) publish(e marathon.Event) { s.emit(Publish{e}) }

func (s *Service) base(kind string) marathon.EventBase {
	if s.stamp == "" {
		s.stamp = marathon.VersionOf(s.now.Wall)
	}
	return marathon.EventBase{Type: kind, Timestamp: s.stamp}
}

func where(i *instance.Instance) (agent, host string) {
	if i.Agent == nil {
		return "", ""
	}
	return i.Agent.ID, i.Agent.Host
}

func (s *Service) publishCondition(i *instance.Instance) {
	agent, host := where(i)
	s.emit(Publish{marathon.InstanceChanged{
		EventBase: s.base("instance_changed_event"), InstanceID: i.ID, Condition: string(i.Condition),
		RunSpecID: i.App, AgentID: agent, Host: host, RunSpecVersion: i.Version,
	}})
}

func (s *Service) publishStatus(i *instance.Instance, state, message string) {
	agent, host := where(i)
	ports := i.Ports
	if ports == nil {
		ports = []int{}
	}
	addresses := i.IPAddresses
	if addresses == nil {
		addresses = []marathon.IPAddress{}
	}
	s.publish(marathon.StatusUpdate{
		EventBase: s.base("status_update_event"), SlaveID: agent, TaskID: i.TaskID, TaskStatus: state, Message: message,
		AppID: i.App, Host: host, IPAddresses: addresses, Ports: ports, Version: i.Version,
	})
}

func (s *Service) publishUnknownTerminated(task string, c instance.Condition) {
	s.publish(marathon.UnknownInstanceTerminated{
		EventBase: s.base("unknown_instance_terminated_event"), InstanceID: task, RunSpecID: "", Condition: string(c),
	})
}

// publishHealth tells of checks that changed and of each failure.
func (s *Service) publishHealth(def *marathon.App, old, i *instance.Instance) {
	for n, h := range i.Health {
		var was instance.Health
		if n < len(old.Health) {
			was = old.Health[n]
		}
		if h.Known && (!was.Known || was.Alive != h.Alive) {
			s.publish(marathon.HealthStatusChanged{
				EventBase: s.base("health_status_changed_event"), AppID: i.App, InstanceID: i.ID, TaskID: i.TaskID,
				Version: i.Version, Alive: h.Alive,
			})
		}
		if h.LastFailure.After(was.LastFailure) && n < len(def.HealthChecks) {
			s.publish(marathon.FailedHealthCheck{
				EventBase: s.base("failed_health_check_event"), AppID: i.App, TaskID: i.ID, InstanceID: i.ID,
				HealthCheck: def.HealthChecks[n],
			})
		}
	}
	if was, is := verdict(def, old), verdict(def, i); is != nil && (was == nil || *was != *is) {
		s.publish(marathon.InstanceHealthChanged{
			EventBase: s.base("instance_health_changed_event"), InstanceID: i.ID, RunSpecID: i.App, Healthy: is, RunSpecVersion: i.Version,
		})
	}
}

// verdict is an instance's health, nil while it is not known.
func verdict(def *marathon.App, i *instance.Instance) *bool {
	known := false
	for _, h := range i.Health {
		known = known || h.Known
	}
	if !known {
		return nil
	}
	healthy := i.Healthy(def)
	return &healthy
}

func (s *Service) publishUnhealthyKill(i *instance.Instance) {
	agent, host := where(i)
	reason := "a health check failed more often than maxConsecutiveFailures"
	for _, h := range i.Health {
		if h.Known && !h.Alive && h.LastFailureCause != "" {
			reason = h.LastFailureCause
		}
	}
	s.publish(marathon.UnhealthyKill{
		EventBase: s.base("unhealthy_instance_kill_event"), AppID: i.App, TaskID: i.TaskID, InstanceID: i.ID,
		Version: i.Version, Reason: reason, Host: host, SlaveID: agent,
	})
}

func (s *Service) publishTerminated(id string) {
	s.publish(marathon.AppTerminated{EventBase: s.base("app_terminated_event"), AppID: id})
}

func (s *Service) publishPost(r Request, c app.Change) {
	for _, a := range c.Apps {
		if a.New != nil {
			s.publish(marathon.APIPost{EventBase: s.base("api_post_event"), ClientIP: r.Who, URI: r.URI, AppDefinition: a.New})
		}
	}
}

// publishChecks tells of health checks that a new definition adds or drops.
func (s *Service) publishChecks(c app.AppChange) {
	if c.Old != nil && len(c.Old.HealthChecks) > 0 && c.Restart {
		for range c.Old.HealthChecks {
			s.publish(marathon.HealthCheckChange{EventBase: s.base("remove_health_check_event"), AppID: c.Old.ID})
		}
	}
	if c.Old == nil || c.Restart {
		for n := range c.New.HealthChecks {
			s.publish(marathon.HealthCheckChange{
				EventBase: s.base("add_health_check_event"), AppID: c.New.ID, Version: c.New.Version, HealthCheck: &c.New.HealthChecks[n],
			})
		}
	}
}

func (s *Service) publishGroup(id string, v marathon.Version, reason string) {
	if id == "" { // no change of a group, as Marathon sees it
		return
	}
	e := marathon.GroupChange{EventBase: s.base("group_change_success"), GroupID: id, Version: v}
	if reason != "" {
		e.Type, e.Reason = "group_change_failed", reason
	}
	s.publish(e)
}

// planEvent is a plan as events show it.
func planEvent(p *plan.Plan) marathon.PlanEvent {
	e := marathon.PlanEvent{ID: p.ID, Version: p.Version, Steps: []marathon.DeploymentStep{}}
	for _, st := range p.Steps {
		e.Steps = append(e.Steps, stepEvent(st))
	}
	return e
}

func stepEvent(st plan.Step) marathon.DeploymentStep {
	out := marathon.DeploymentStep{Actions: []marathon.DeploymentAction{}}
	for _, a := range st.Actions {
		out.Actions = append(out.Actions, marathon.DeploymentAction{Action: string(a.Kind), App: a.App})
	}
	return out
}

func (s *Service) publishStep(d *deploy.Deployment, step int, kind string) {
	if step < 0 || step >= len(d.Plan.Steps) {
		return
	}
	s.publish(marathon.DeploymentStepEvent{EventBase: s.base(kind), Plan: planEvent(d.Plan), CurrentStep: stepEvent(d.Plan.Steps[step])})
}

func (s *Service) publishEnd(d *deploy.Deployment, outcome, reason string) {
	e := marathon.DeploymentEnd{EventBase: s.base("deployment_success"), ID: d.Plan.ID, Plan: planEvent(d.Plan)}
	if outcome != "success" {
		e.Type, e.Reason = "deployment_failed", reason
	}
	s.publish(e)
}
