package http

import (
	"net/http"
	"slices"

	"github.com/stoa-kernel/stoa/api/marathon"
)

// listVersions is GET /v2/apps/{id}/versions, newest first; embed=history says who wrote
// each, what it changed and what became of it.
func (c *call) listVersions(id string) {
	page := c.View.App(id)
	if page == nil {
		c.noApp(id)
		return
	}
	out := struct {
		Versions []marathon.Version    `json:"versions"`
		History  []marathon.AppVersion `json:"history,omitempty"`
	}{Versions: page.Versions}
	if out.Versions == nil {
		out.Versions = []marathon.Version{}
	}
	if slices.Contains(c.query["embed"], "history") {
		var err error
		if out.History, err = c.history(id); err != nil {
			c.fail(err)
			return
		}
	}
	c.send(http.StatusOK, out)
}

func (c *call) history(id string) ([]marathon.AppVersion, error) {
	all, err := c.Versions(c.r.Context(), id)
	if err != nil {
		return nil, err
	}
	history := make([]marathon.AppVersion, 0, len(all))
	for n := range all {
		v := &all[n]
		one := marathon.AppVersion{Version: v.Version, By: v.By, Outcome: v.Outcome, Deployment: v.Deployment, Deleted: v.Deleted}
		var before *marathon.App
		if n+1 < len(all) {
			before = all[n+1].App
		}
		if v.Deleted {
			one.Changes = []marathon.FieldChange{}
		} else if one.Changes, err = difference(before, v.App); err != nil {
			return nil, err
		}
		history = append(history, one)
	}
	return history, nil
}

func (c *call) showVersion(id, text string) {
	v, ok := c.version(text)
	if !ok {
		return
	}
	if page := c.View.App(id); page != nil && page.Def.Version == v {
		c.send(http.StatusOK, page.Def)
		return
	}
	if a, ok := c.stored(id, v); ok {
		c.send(http.StatusOK, a)
	}
}
