// Package plan turns a change of the tree into the steps of a deployment (as Marathon
// 1.10, core/deployment/DeploymentPlan.scala, except that stops run in reverse order of
// dependencies, as its documentation says).
package plan

import (
	"cmp"
	"maps"
	"slices"

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
// what is removed): what Preview of app.Tree passes on. kill are the instances to kill
// first, by app. A change of no app gives a plan without steps.
//
// What is removed stops first, dependents before what they depend on. Then everything new
// is started with no instance, which is for show, as in Marathon. Then come the apps in
// layers by their longest path of dependencies, unchanged apps included.
func New(id string, c app.Change, depends func(app string) []string, kill map[string][]string) *Plan {
	p := &Plan{ID: id, Version: c.Version, Changes: c.Apps, Groups: c.Groups}
	var stop, rise []string
	var start Step
	removed := map[string]bool{}
	for i := range c.Apps {
		switch id := c.Apps[i].ID(); {
		case c.Apps[i].New == nil:
			stop = append(stop, id)
			removed[id] = true
			continue
		case c.Apps[i].Old == nil:
			start.Actions = append(start.Actions, Action{Kind: Start, App: id})
			fallthrough
		default:
			rise = append(rise, id)
		}
	}
	// How what stays depends on each other does not matter to what goes.
	among := func(id string) []string {
		return slices.DeleteFunc(slices.Clone(depends(id)), func(d string) bool { return !removed[d] })
	}
	stops := layers(stop, among)
	slices.Reverse(stops)
	for _, layer := range stops {
		var s Step
		for _, id := range layer {
			s.Actions = append(s.Actions, Action{Kind: Stop, App: id})
		}
		p.Steps = append(p.Steps, s)
	}
	if len(start.Actions) > 0 {
		p.Steps = append(p.Steps, start)
	}
	for _, layer := range layers(rise, depends) {
		var s Step
		for _, id := range layer {
			s.Actions = append(s.Actions, action(p.Change(id), kill[id]))
		}
		p.Steps = append(p.Steps, s)
	}
	return p
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

// layers puts apps that have the same longest path of dependencies together, the
// shortest first; each layer is in the order of ids.
func layers(ids []string, depends func(app string) []string) [][]string {
	by := map[int][]string{}
	depth := map[string]int{}
	for _, id := range ids {
		d := longest(id, depends, depth)
		by[d] = append(by[d], id)
	}
	var out [][]string
	for _, d := range slices.Sorted(maps.Keys(by)) {
		out = append(out, by[d])
	}
	return out
}

// longest path from an app, in apps. depth keeps what is known; 0 is being looked at,
// so that a cycle, which no tree has, would end.
func longest(id string, depends func(app string) []string, depth map[string]int) int {
	if d, ok := depth[id]; ok {
		return d
	}
	type frame struct {
		id   string
		rest []string
		max  int
	}
	depth[id] = 0
	stack := []frame{{id: id, rest: depends(id)}}
	for {
		f := &stack[len(stack)-1]
		if len(f.rest) == 0 {
			d := f.max + 1
			depth[f.id] = d
			stack = stack[:len(stack)-1]
			if len(stack) == 0 {
				return d
			}
			up := &stack[len(stack)-1]
			up.max = max(up.max, d)
			continue
		}
		next := f.rest[0]
		f.rest = f.rest[1:]
		if d, ok := depth[next]; ok {
			f.max = max(f.max, d)
			continue
		}
		depth[next] = 0
		stack = append(stack, frame{id: next, rest: depends(next)})
	}
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
	i, found := slices.BinarySearchFunc(p.Changes, id, func(c app.AppChange, id string) int {
		return cmp.Compare(c.ID(), id)
	})
	if !found {
		return nil
	}
	return &p.Changes[i]
}
