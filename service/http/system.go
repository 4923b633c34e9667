package http

import (
	"context"
	"maps"
	"net/http"
	"strings"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/internal/request"
)

// ping answers pong, as JSON if only that is wanted, with 204 if neither is (as Marathon
// 1.10, api/SystemResource).
func (c *call) ping() {
	kind := "text/plain"
	if accept := c.r.Header.Values("Accept"); len(accept) > 0 {
		all := strings.ToLower(strings.Join(accept, ","))
		switch {
		case strings.Contains(all, "*/*"), strings.Contains(all, "text/plain"), strings.Contains(all, "text/*"):
		case strings.Contains(all, "text/html"):
			kind = "text/html"
		case strings.Contains(all, "application/json"), strings.Contains(all, "application/*"):
			kind = "application/json"
		default:
			c.empty(http.StatusNoContent)
			return
		}
	}
	p := request.NewReply(c.w, c.r, kind, writeTimeout)
	text := "pong"
	if kind == "application/json" {
		text = `"pong"`
	}
	_, err := p.Write([]byte(text))
	p.Close(err)
}

func (c *call) info() {
	info := marathon.Info{
		Name: "marathon", Version: c.Info.Version, BuildRef: c.Info.BuildRef, Elected: true, Leader: c.Info.Leader,
		MarathonConfig: object(c.Info.Config), ZookeeperConfig: object(c.Info.Zookeeper), HTTPConfig: object(c.Info.HTTP),
	}
	if id := c.Info.FrameworkID(); id != "" {
		info.FrameworkID = &id
	}
	c.send(http.StatusOK, info)
}

func object(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}

// config shows the settings in force.
func (c *call) config() {
	all := maps.Clone(object(c.Info.Config))
	maps.Copy(all, c.Info.HTTP)
	c.send(http.StatusOK, all)
}

func (c *call) leader() {
	c.send(http.StatusOK, map[string]string{"leader": c.Info.Leader})
}

// abdicate is DELETE /v2/leader. ?backup= is done before the answer; ?restore= too as far
// as it can fail, and takes effect with the next term.
func (c *call) abdicate() {
	for _, file := range []struct {
		name string
		do   func(context.Context, string) error
	}{{"backup", c.Backup}, {"restore", c.Restore}} {
		if !c.query.Has(file.name) {
			continue
		}
		if err := file.do(c.r.Context(), c.query.Get(file.name)); err != nil {
			c.fail(err)
			return
		}
	}
	end := c.Abdicate()
	c.send(http.StatusOK, marathon.Error{Message: "Leadership abdicated"})
	// The answer has to be out before the term ends.
	_ = http.NewResponseController(c.w).Flush()
	end()
}
