package http

import (
	"net/http"
	"strings"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/internal/request"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/selector"
	"github.com/stoa-kernel/stoa/service/state"
	"github.com/stoa-kernel/stoa/service/view"
)

func (c *call) listApps() {
	match, ok := c.filter()
	if !ok {
		return
	}
	e := c.embeds()
	e.counts, e.deployments = true, true
	c.sendApps(`{"apps":[`, `]}`, c.View.Apps("/"), match, e)
}

// appsBelow is GET /v2/apps/{group}/*.
func (c *call) appsBelow(group string) {
	if !c.View.HasGroup(group) {
		c.noGroup(group)
		return
	}
	e := c.embeds()
	e.counts, e.deployments, e.tasks, e.failure = true, true, true, true
	c.sendApps(`{"*":[`, `]}`, c.View.Apps(group), nil, e)
}

// appsOfGroup is GET /v2/groups/{id}/apps: empty if there is no such
// group, as in Marathon.
func (c *call) appsOfGroup(group string) {
	e := groupEmbeds(c.query["embed"]).of
	c.sendApps(`{"apps":[`, `]}`, c.View.Apps(group), nil, e)
}

func (c *call) sendApps(begin, end string, pages []*view.App, match func(*marathon.App) bool, e embed) {
	reply(c.w, c.r, http.StatusOK, func(p *request.Reply) error {
		b := append(make([]byte, 0, 2*piece), begin...)
		first := true
		for _, page := range pages {
			if match != nil && !match(page.Def) {
				continue
			}
			if !first {
				b = append(b, ',')
			}
			first = false
			var err error
			if b, err = e.appendApp(b, page, p); err != nil {
				return err
			}
			if b, err = sent(b, p); err != nil {
				return err
			}
		}
		_, err := p.Write(append(b, end...))
		return err
	})
}

// filter by ?cmd, ?id and ?label; ok is false if it was refused.
func (c *call) filter() (match func(*marathon.App) bool, ok bool) {
	cmd, id := strings.ToLower(c.query.Get("cmd")), strings.ToLower(c.query.Get("id"))
	labels, err := selector.Parse(c.query.Get("label"))
	if err != nil {
		c.refuse(http.StatusUnprocessableEntity, "%v", err)
		return nil, false
	}
	byCmd, byID := c.query.Has("cmd"), c.query.Has("id")
	return func(a *marathon.App) bool {
		return (!byCmd || a.Cmd != nil && strings.Contains(strings.ToLower(*a.Cmd), cmd)) &&
			(!byID || strings.Contains(strings.ToLower(a.ID), id)) && labels.Matches(a.Labels)
	}, true
}

func (c *call) showApp(id string) {
	page := c.View.App(id)
	if page == nil {
		c.noApp(id)
		return
	}
	e := c.embeds()
	e.counts, e.deployments, e.tasks, e.failure = true, true, true, true
	c.sendApps(`{"app":`, `}`, []*view.App{page}, nil, e)
}

func (c *call) createApp() {
	draft, ok := decoded(c, app.Decode)
	if !ok {
		return
	}
	id := app.Path(draft.ID, "/")
	if c.flag("dryRun", false) {
		if c.View.App(id) != nil {
			c.refuse(http.StatusConflict, "An app with id [%s] already exists.", id)
			return
		}
		c.plan([]*app.Draft{draft}, app.Mode{Replace: true}, nil)
		return
	}
	req := c.request()
	r, ok := c.ask(func(t state.Token) state.Input {
		req.Token = t
		return state.CreateApp{Request: req, Draft: draft}
	})
	if !ok {
		return
	}
	c.deployment(r)
	c.w.Header().Set("Location", "/v2/apps"+r.App.ID)
	c.send(http.StatusCreated, marathon.AppInfo{
		App: r.App, TaskCounts: &marathon.TaskCounts{}, Deployments: []marathon.Identifiable{{ID: r.Deployment}},
	})
}

// mode of a write.
func (c *call) mode(mustExist bool) app.Mode {
	return app.Mode{
		Replace: !mustExist && !c.flag("partialUpdate", true), MustExist: mustExist,
		IfNeeded: strings.EqualFold(c.query.Get("restart"), "if-needed"), Force: c.flag("force", false),
	}
}

// updateApps is PUT and PATCH /v2/apps.
func (c *call) updateApps(mustExist bool) {
	drafts, ok := decoded(c, app.DecodeList)
	if !ok {
		return
	}
	mode := c.mode(mustExist)
	if c.flag("dryRun", false) {
		c.plan(drafts, mode, nil)
		return
	}
	req := c.request()
	r, ok := c.ask(func(t state.Token) state.Input {
		req.Token = t
		return state.UpdateApps{Request: req, Drafts: drafts, Mode: mode}
	})
	if ok {
		c.started(http.StatusOK, r)
	}
}

// updateApp is PUT and PATCH /v2/apps/{id}. The id in the path is the one that counts.
func (c *call) updateApp(id string, mustExist bool) {
	draft, ok := decoded(c, app.Decode)
	if !ok {
		return
	}
	draft.ID = id
	mode := c.mode(mustExist)
	var back *marathon.App
	if draft.Version != "" && !mode.Replace {
		if back, ok = c.stored(id, draft.Version); !ok {
			return
		}
	}
	c.write(draft, mode, back)
}

// stored is a stored definition; ok is false if it was refused.
func (c *call) stored(id string, v marathon.Version) (a *marathon.App, ok bool) {
	found, err := c.Version(c.r.Context(), id, v)
	switch {
	case err != nil:
		c.fail(err)
	case found == nil || found.App == nil:
		c.refuse(http.StatusNotFound, "App '%s' does not exist in version %s", id, v)
	default:
		return found.App, true
	}
	return nil, false
}

func (c *call) write(draft *app.Draft, mode app.Mode, back *marathon.App) {
	if c.flag("dryRun", false) {
		c.plan([]*app.Draft{draft}, mode, back)
		return
	}
	req := c.request()
	r, ok := c.ask(func(t state.Token) state.Input {
		req.Token = t
		return state.UpdateApps{Request: req, Drafts: []*app.Draft{draft}, Mode: mode, Single: true, Back: back}
	})
	switch {
	case !ok:
	case r.Created:
		c.w.Header().Set("Location", "/v2/apps"+r.App.ID)
		c.started(http.StatusCreated, r)
	default:
		c.started(http.StatusOK, r)
	}
}

// rollbackApp is POST /v2/apps/{id}/rollback: back to ?version, else to the last version
// before this one whose deployment succeeded.
func (c *call) rollbackApp(id string) {
	page := c.View.App(id)
	if page == nil {
		c.noApp(id)
		return
	}
	var back *marathon.App
	if text := c.query.Get("version"); text != "" {
		v, ok := c.version(text)
		if !ok {
			return
		}
		if back, ok = c.stored(id, v); !ok {
			return
		}
	} else {
		all, err := c.Versions(c.r.Context(), id)
		if err != nil {
			c.fail(err)
			return
		}
		for n := range all {
			if v := &all[n]; v.App != nil && v.Version < page.Def.Version && v.Outcome == "success" {
				back = v.App
				break
			}
		}
		if back == nil {
			c.refuse(http.StatusUnprocessableEntity, "App '%s' has no earlier version whose deployment succeeded; name one with ?version= (GET /v2/apps%s/versions?embed=history lists them)", id, id)
			return
		}
	}
	c.write(&app.Draft{ID: id, Version: back.Version}, app.Mode{}, back)
}

func (c *call) deleteApp(id string) {
	if c.flag("dryRun", false) {
		c.planAlone(id, "StopApplication", marathon.PlannedChange{App: id, Deleted: true, Changes: []marathon.FieldChange{}})
		return
	}
	req := c.request()
	req.Force = c.flag("force", true) // as in Marathon, for this one
	r, ok := c.ask(func(t state.Token) state.Input {
		req.Token = t
		return state.DeleteApp{Request: req, ID: id}
	})
	if ok {
		c.started(http.StatusOK, r)
	}
}

func (c *call) restartApp(id string) {
	if c.flag("dryRun", false) {
		c.planAlone(id, "RestartApplication", marathon.PlannedChange{App: id, Restart: true, Changes: []marathon.FieldChange{}})
		return
	}
	req := c.request()
	r, ok := c.ask(func(t state.Token) state.Input {
		req.Token = t
		return state.RestartApp{Request: req, ID: id}
	})
	if ok {
		c.started(http.StatusOK, r)
	}
}
