package http

import (
	"net/http"
	"slices"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/deploy"
	"github.com/stoa-kernel/stoa/service/state"
)

// deployments is GET /v2/deployments; embed=waiting adds what each action waits for, who
// asked for it and when.
func (c *call) deployments() {
	waiting := slices.Contains(c.query["embed"], "waiting")
	all := []marathon.Deployment{}
	for _, d := range c.View.Deployments() {
		shown := c.View.ShowDeployment(d)
		if waiting {
			shown.By, shown.StartedAt = d.By, marathon.VersionOf(d.Started)
			words := c.View.Waiting(time.Now(), d)
			for n := range shown.CurrentActions {
				shown.CurrentActions[n].Waiting = words[shown.CurrentActions[n].App]
			}
		}
		all = append(all, shown)
	}
	c.send(http.StatusOK, all)
}

// cancelDeployment is DELETE /v2/deployments/{id}: it goes back by a new deployment, with
// force it leaves things as they are.
func (c *call) cancelDeployment(id string) {
	req := c.request()
	r, ok := c.ask(func(t state.Token) state.Input {
		req.Token = t
		return state.CancelDeployment{Request: req, ID: id}
	})
	switch {
	case !ok:
	case req.Force:
		c.empty(http.StatusAccepted)
	default:
		c.started(http.StatusOK, r)
	}
}

func (c *call) steer(id string, in deploy.Input) {
	req := c.request()
	r, ok := c.ask(func(t state.Token) state.Input {
		req.Token = t
		return state.SteerDeployment{Request: req, ID: id, Input: in}
	})
	if ok {
		c.started(http.StatusOK, r)
	}
}
