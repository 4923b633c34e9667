package http

import (
	"net/http"
	"time"

	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/why"
)

// why is GET /v2/why?app={id}.
func (c *call) why() {
	id := c.query.Get("app")
	if id == "" {
		c.refuse(http.StatusBadRequest, "Name an app: /v2/why?app=/id")
		return
	}
	id = app.Path(id, "/")
	page := c.View.App(id)
	if page == nil {
		c.noApp(id)
		return
	}
	in := why.Input{
		Now: time.Now(), App: page.Def, Counts: page.Counts, Instances: page.Instances(),
		Queue: page.Queue, Attempts: page.Attempts,
	}
	if n := len(page.Deployments); n > 0 {
		if in.Deployment = c.View.Deployment(page.Deployments[n-1]); in.Deployment != nil {
			in.Waiting = c.View.Waiting(in.Now, in.Deployment)
		}
	}
	if ports := why.HostPorts(&in); len(ports) > 0 {
		in.Holders = c.View.Holders(ports)
	}
	if resources := why.Asks(&in); resources != "" && c.WhatIf != nil {
		in.Kernel = c.WhatIf(c.r.Context(), in.Queue.Role, resources)
	}
	c.send(http.StatusOK, why.Explain(in))
}
