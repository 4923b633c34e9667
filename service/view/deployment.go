package view

import (
	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/deploy"
	"github.com/stoa-kernel/stoa/service/plan"
)

// ShowDeployment is a deployment under way as the API lists it.
func (v *View) ShowDeployment(d *deploy.Deployment) marathon.Deployment {
	out := marathon.Deployment{
		ID: d.Plan.ID, Version: d.Plan.Version, AffectedApps: d.Plan.Locks(), AffectedPods: []string{},
		Steps: Steps(d.Plan), CurrentActions: []marathon.DeploymentAction{},
		CurrentStep: min(d.Step+1, len(d.Plan.Steps)), TotalSteps: len(d.Plan.Steps),
		Deadline: version(d.Deadline), Reverts: d.Reverts,
	}
	if out.AffectedApps == nil {
		out.AffectedApps = []string{}
	}
	if d.Paused {
		out.Paused = "operator"
	}
	if d.Step < len(d.Plan.Steps) {
		for _, a := range d.Plan.Steps[d.Step].Actions {
			action := marathon.DeploymentAction{Action: string(a.Kind), App: a.App, ReadinessCheckResults: []marathon.ReadinessResult{}}
			if page := v.App(a.App); page != nil {
				action.ReadinessCheckResults = page.Readiness()
			}
			out.CurrentActions = append(out.CurrentActions, action)
			if p := d.Progress.Of(a.App); p != nil && p.Phase == deploy.Paused && out.Paused == "" {
				out.Paused = p.Strategy
			}
		}
	}
	return out
}

// Steps shows the steps of a plan.
func Steps(p *plan.Plan) []marathon.DeploymentStep {
	steps := []marathon.DeploymentStep{}
	for _, s := range p.Steps {
		step := marathon.DeploymentStep{Actions: []marathon.DeploymentAction{}}
		for _, a := range s.Actions {
			step.Actions = append(step.Actions, marathon.DeploymentAction{Action: string(a.Kind), App: a.App})
		}
		steps = append(steps, step)
	}
	return steps
}
