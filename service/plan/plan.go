// Package plan turns a change of the tree into the steps of a deployment (as Marathon
// 1.10, core/deployment/DeploymentPlan.scala, except that stops run in reverse order of
// dependencies, as its documentation says).
package plan

import (
	"cmp"
	"maps"
	"slices"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/internal/planted"
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

	// at are the steps that act on an app; nil in a plan that was not made by New or Index.
	at map[string][]int
}

// Index makes Acts fast in a plan that was put together by hand. It is for who owns the
// plan, before others see it.
func (p *Plan) Index() {
	at := make(map[string][]int)
	for n := range p.Steps {
		for _, a := range p.Steps[n].Actions {
			at[a.App] = append(at[a.App], n)
		}
	}
	p.at = at
}

// Acts are the steps with an action on an app, in order.
func (p *Plan) Acts(id string) (steps []int) {
	if p.at != nil {
		return p.at[id]
	}
	for n := range p.Steps {
		for _, a := range p.Steps[n].Actions {
			if a.App == id {
				steps = append(steps, n)
			}
		}
	}
	return steps
}

// New computes the plan of a change. depth is what Preview of app.Tree passes on: how
// many apps are on the longest path of dependencies from an app, after the change, and
// before it for what is removed. kill are the instances to kill first, by app. A change of
// no app gives a plan without steps.
//
// What is removed stops first, dependents before what they depend on. Then everything new
// is started with no instance, which is for show, as in Marathon. Then come the apps in
// layers by depth, unchanged apps on their paths included.
func New(id string, c app.Change, depth func(app string) int, kill map[string][]string) *Plan {
	p := &Plan{ID: id, Version: c.Version, Changes: c.Apps, Groups: c.Groups}
	stop, rise := map[int][]Action{}, map[int][]Action{}
	var start Step
	for i := range c.Apps {
		a := &c.Apps[i]
		id := a.ID()
		d := depth(id)
		if a.New == nil {
			stop[d] = append(stop[d], Action{Kind: Stop, App: id})
			continue
		}
		if a.Old == nil {
			start.Actions = append(start.Actions, Action{Kind: Start, App: id})
		}
		rise[d] = append(rise[d], action(a, kill[id]))
	}
	p.Steps = layers(stop)
	if !planted.Bug("reverse stop order lost") {
		slices.Reverse(p.Steps)
	}
	if len(start.Actions) > 0 {
		p.Steps = append(p.Steps, start)
	}
	p.Steps = append(p.Steps, layers(rise)...)
	p.Index()
	return p
}

// layers makes a step of each depth, the least first.
func layers(by map[int][]Action) []Step {
	var steps []Step
	for _, d := range slices.Sorted(maps.Keys(by)) {
		steps = append(steps, Step{by[d]})
	}
	return steps
}

// action on an app that is there after the change. A change that restarts nothing is a
// scaling, be it to the same number: its instances pass over to the new definition.
func action(c *app.AppChange, kill []string) Action {
	empty := c.New.Instances == 0 && !c.New.PerAgent()
	if c.Old != nil && c.Restart && !empty {
		return Action{Kind: Restart, App: c.New.ID}
	}
	return Action{Kind: Scale, App: c.New.ID, Kill: kill}
}

// Locks are the apps that no other deployment may touch meanwhile, in order.
func (p *Plan) Locks() []string {
	var ids []string
	for _, s := range p.Steps {
		for _, a := range s.Actions {
			ids = append(ids, a.App)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// Change of one app, nil if the plan does not touch it.
func (p *Plan) Change(id string) *app.AppChange {
	if i := p.Place(id); i >= 0 {
		return &p.Changes[i]
	}
	return nil
}

// Place of an app among the Changes, -1 if the plan does not touch it.
func (p *Plan) Place(id string) int {
	i, found := slices.BinarySearchFunc(p.Changes, id, func(c app.AppChange, id string) int {
		return cmp.Compare(c.ID(), id)
	})
	if !found {
		return -1
	}
	return i
}
