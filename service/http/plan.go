package http

import (
	"net/http"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/plan"
	"github.com/stoa-kernel/stoa/service/state"
	"github.com/stoa-kernel/stoa/service/view"
)

// plan answers ?dryRun=true of a write of apps.
func (c *call) plan(drafts []*app.Draft, mode app.Mode, back *marathon.App) {
	req := c.request()
	r, ok := c.ask(func(t state.Token) state.Input {
		req.Token = t
		return state.PlanApps{Request: req, Drafts: drafts, Mode: mode, Back: back}
	})
	if ok {
		c.sendPlan(r.Plan, true)
	}
}

func (c *call) sendPlan(p *plan.Plan, changes bool) {
	out := marathon.DryRun{Steps: view.Steps(p)}
	if changes {
		for i := range p.Changes {
			a := &p.Changes[i]
			one := marathon.PlannedChange{App: a.ID(), Restart: a.Restart, Created: a.Old == nil, Deleted: a.New == nil}
			var err error
			if one.Changes, err = difference(a.Old, a.New); err != nil {
				c.fail(err)
				return
			}
			out.Changes = append(out.Changes, one)
		}
	}
	c.send(http.StatusOK, out)
}

// planAlone answers for a plan that has one action.
func (c *call) planAlone(id, action string, change marathon.PlannedChange) {
	page := c.View.App(id)
	if page == nil {
		c.noApp(id)
		return
	}
	if page.Def.Instances == 0 && change.Restart {
		action = string(plan.Scale)
	}
	c.send(http.StatusOK, marathon.DryRun{
		Steps:   []marathon.DeploymentStep{{Actions: []marathon.DeploymentAction{{Action: action, App: id}}}},
		Changes: []marathon.PlannedChange{change},
	})
}
