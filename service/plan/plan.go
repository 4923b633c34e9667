// Package plan turns a change of the tree into the steps of a deployment (as Marathon
// 1.10, core/deployment/DeploymentPlan.scala, except that stops run in reverse order of
// dependencies, as its documentation says).
package plan

import (
	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/app"
)

// Kind of an action, as the API names it.
type Kind string

const (
	Start   Kind = "StartApplication"
	Scale   Kind = "ScaleApplication"
	Restart Kind = "RestartApplication"
	Stop    Kind = "StopApplication"
)

// Action is what one step does to one app.
type Action struct {
	Kind Kind   `json:"kind"`
	App  string `json:"app"`
	// Kill are instances to kill first when scaling down (DELETE of tasks with scale).
	Kill []string `json:"kill,omitempty"`
}

// Step is carried out before the next begins; its actions run side by side.
type Step struct {
	Actions []Action `json:"actions"`
}

// Plan leads from the old definitions to the new ones. Its JSON is what the store keeps.
type Plan struct {
	ID      string           `json:"id"`
	Version marathon.Version `json:"version"`
	Steps   []Step           `json:"steps"`
	// Changes by app, in order of id. Definitions are kept whole: a deployment goes back
	// to Old after the tree has moved on.
	Changes []app.AppChange   `json:"changes"`
	Groups  []app.GroupChange `json:"groups,omitempty"`
}

// New computes the plan of a change, given the dependencies after it (before it, for
// what is removed): Depends of app.Tree. kill are the instances to kill first, by app.
// A change of nothing that runs gives a plan without steps.
func New(id string, c app.Change, depends func(app string) []string, kill map[string][]string) *Plan {
	panic("contract")
}

// Locks are the apps that no other deployment may touch meanwhile, in order.
func (p *Plan) Locks() []string { panic("contract") }

// Change of one app, nil if the plan does not touch it.
func (p *Plan) Change(id string) *app.AppChange { panic("contract") }
