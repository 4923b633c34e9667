package http

import (
	"net/http"
	"slices"
	"strings"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/internal/request"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/state"
	"github.com/stoa-kernel/stoa/service/view"
)

// groupEmbed is what of a group is shown, and of the apps in it.
type groupEmbed struct {
	groups, apps bool
	of           embed
}

// groupEmbeds reads ?embed of a group: without any, groups and apps are shown.
func groupEmbeds(names []string) groupEmbed {
	if len(names) == 0 {
		return groupEmbed{groups: true, apps: true}
	}
	var e groupEmbed
	for _, name := range names {
		switch {
		case name == "group.groups":
			e.groups = true
		case name == "group.apps":
			e.apps = true
		case strings.HasPrefix(name, "group.apps."):
			e.of.set(name)
		}
	}
	return e
}

func (c *call) showGroup(id string) {
	g := c.View.Group(id)
	if g == nil {
		c.noGroup(id)
		return
	}
	c.sendGroup(g, groupEmbeds(c.query["embed"]))
}

func (c *call) sendGroup(g *view.Group, e groupEmbed) {
	reply(c.w, c.r, http.StatusOK, func(p *request.Reply) error {
		b, err := e.appendGroup(nil, g, p)
		if err == nil {
			_, err = p.Write(b)
		}
		return err
	})
}

// appendGroup writes a marathon.Group; what gets long goes out before.
func (e groupEmbed) appendGroup(b []byte, g *view.Group, p *request.Reply) ([]byte, error) {
	var enforces *bool // only groups at the top have it, as in Marathon
	if g.ID != "/" && strings.LastIndexByte(g.ID, '/') == 0 {
		enforces = &g.EnforceRole
	}
	head, err := encode(struct {
		ID           string           `json:"id"`
		Dependencies []string         `json:"dependencies"`
		EnforceRole  *bool            `json:"enforceRole,omitempty"`
		Version      marathon.Version `json:"version,omitempty"`
		Pods         []struct{}       `json:"pods"`
	}{g.ID, g.Dependencies, enforces, g.Version, []struct{}{}})
	if err != nil {
		return b, err
	}
	b = append(b, head[:len(head)-1]...)
	b = append(b, `,"apps":[`...)
	if e.apps {
		for n, a := range g.Apps {
			if n > 0 {
				b = append(b, ',')
			}
			if b, err = e.of.appendApp(b, a, p); err != nil {
				return b, err
			}
			if b, err = sent(b, p); err != nil {
				return b, err
			}
		}
	}
	b = append(b, `],"groups":[`...)
	if e.groups {
		for n, sub := range g.Groups {
			if n > 0 {
				b = append(b, ',')
			}
			if b, err = e.appendGroup(b, sub, p); err != nil {
				return b, err
			}
		}
	}
	return append(b, `]}`...), nil
}

// groupVersions lists the versions of the tree that have the group, newest first: every
// write makes one.
func (c *call) groupVersions(id string) {
	if !c.View.HasGroup(id) {
		c.noGroup(id)
		return
	}
	all, err := c.Roots(c.r.Context(), id)
	if err != nil {
		c.fail(err)
		return
	}
	if all == nil {
		all = []marathon.Version{}
	}
	c.send(http.StatusOK, all)
}

func (c *call) groupVersion(id, text string) {
	v, ok := c.version(text)
	if !ok {
		return
	}
	then, ok := c.groupAt(id, v)
	if !ok {
		return
	}
	pages := make([]*view.App, len(then.Apps))
	for n, a := range then.Apps {
		pages[n] = view.PageOf(a)
	}
	e := groupEmbeds(c.query["embed"])
	e.of = embed{}
	c.sendGroup(view.Tree(id, v, pages, then.Groups), e)
}

// groupAt is a group's content at a version; ok is false if it was refused.
func (c *call) groupAt(id string, v marathon.Version) (*state.GroupVersion, bool) {
	then, err := c.Group(c.r.Context(), id, v)
	switch {
	case err != nil:
		c.fail(err)
	case then == nil || id != "/" && len(then.Apps)+len(then.Groups) == 0:
		c.refuse(http.StatusNotFound, "Group '%s' does not exist in version %s", id, v)
	default:
		return then, true
	}
	return nil, false
}

func (c *call) createGroup(id string) {
	draft, ok := decoded(c, app.DecodeGroup)
	if !ok || !c.noDryRun() {
		return
	}
	path := id
	if draft.ID != "" {
		path = app.Path(draft.ID, id)
	}
	req := c.request()
	r, ok := c.ask(func(t state.Token) state.Input {
		req.Token = t
		return state.CreateGroup{Request: req, ID: id, Draft: draft}
	})
	if ok {
		c.w.Header().Set("Location", "/v2/groups"+path)
		c.started(http.StatusCreated, r)
	}
}

func (c *call) updateGroup(id string) {
	draft, ok := decoded(c, app.DecodeGroup)
	if !ok {
		return
	}
	path := id
	if draft.ID != "" {
		path = app.Path(draft.ID, id)
	}
	var back *state.GroupVersion
	if draft.Version != "" {
		if back, ok = c.groupAt(path, draft.Version); !ok {
			return
		}
	}
	in := state.UpdateGroup{Request: c.request(), ID: id, Draft: draft, Back: back, DryRun: c.flag("dryRun", false)}
	if back != nil {
		in.ID = path
	}
	in.Mode = c.mode(false)
	r, ok := c.ask(func(t state.Token) state.Input {
		in.Token = t
		return in
	})
	switch {
	case !ok:
	case in.DryRun:
		c.sendPlan(r.Plan, slices.Contains(c.query["embed"], "changes"))
	default:
		c.started(http.StatusOK, r)
	}
}

func (c *call) deleteGroup(id string) {
	if !c.noDryRun() {
		return
	}
	req := c.request()
	r, ok := c.ask(func(t state.Token) state.Input {
		req.Token = t
		return state.DeleteGroup{Request: req, ID: id}
	})
	if ok {
		c.started(http.StatusOK, r)
	}
}

// noDryRun refuses ?dryRun=true where there is none: nothing must be done then.
func (c *call) noDryRun() bool {
	if !c.flag("dryRun", false) {
		return true
	}
	c.refuse(http.StatusUnprocessableEntity, "dryRun is for PUT of groups and for writes of apps; nothing was done")
	return false
}

// enforceRole is PATCH /v2/groups/{id}.
func (c *call) enforceRole(id string) {
	draft, ok := decoded(c, app.DecodeGroup)
	if !ok {
		return
	}
	req := c.request()
	_, ok = c.ask(func(t state.Token) state.Input {
		req.Token = t
		return state.EnforceRole{Request: req, ID: id, Enforce: draft.EnforceRole != nil && *draft.EnforceRole}
	})
	if ok {
		c.empty(http.StatusOK)
	}
}
