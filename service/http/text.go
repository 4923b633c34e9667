package http

import (
	"slices"
	"strconv"
	"strings"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/internal/request"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/view"
)

// wantsText reports whether text/plain is what a client prefers to JSON.
func (c *call) wantsText() bool {
	best, text := 0.0, 0.0
	for _, value := range c.r.Header.Values("Accept") {
		for item := range strings.SplitSeq(value, ",") {
			kind, params, _ := strings.Cut(item, ";")
			q := quality(params)
			switch strings.ToLower(strings.TrimSpace(kind)) {
			case "text/plain", "text/*":
				text = max(text, q)
			case "application/json", "application/*", "*/*":
				best = max(best, q)
			}
		}
	}
	return text > best
}

// quality is q of a media type's parameters, 1 if there is none.
func quality(params string) float64 {
	for p := range strings.SplitSeq(params, ";") {
		if name, value, _ := strings.Cut(strings.TrimSpace(p), "="); strings.EqualFold(name, "q") {
			q, err := strconv.ParseFloat(value, 64)
			if err != nil || !(q >= 0 && q <= 1) {
				return 0
			}
			return q
		}
	}
	return 1
}

// sendText has a line for each service port, with the running tasks' addresses (as
// Marathon 1.10, api/EndpointsHelper).
func (c *call) sendText(pages []*view.App) {
	networks := c.query["containerNetworks"]
	for n := 0; n < len(networks); n++ {
		if more := strings.Split(networks[n], ","); len(more) > 1 {
			networks = append(slices.Clone(networks[:n]), append(more, networks[n+1:]...)...)
		}
	}
	p := request.NewReply(c.w, c.r, "text/plain", writeTimeout)
	var err error
	for _, page := range pages {
		if _, err = p.Write(appendEndpoints(nil, page, networks)); err != nil {
			break
		}
	}
	p.Close(err)
}

func appendEndpoints(b []byte, page *view.App, networks []string) []byte {
	id := strings.ReplaceAll(strings.TrimPrefix(page.Def.ID, "/"), "/", "_")
	var running []*instance.Instance
	for i := range page.Tasks() {
		if i.Condition == instance.Running && i.DrainUntil.IsZero() && i.KillingSince.IsZero() {
			running = append(running, i)
		}
	}
	ports := page.Def.ServicePorts()
	if len(ports) == 0 {
		b = append(b, id+"\t \t"...)
		for _, i := range running {
			b = append(b, i.Agent.Host+"\t"...)
		}
		return append(b, '\n')
	}
	for n, port := range ports {
		b = append(b, id+"\t"+strconv.Itoa(port)+"\t"...)
		mapping := mappingOf(page.Def, n)
		for _, i := range running {
			switch {
			case mapping != nil && mapping.HostPort == nil:
				if shown(page.Def, mapping, networks) && len(i.IPAddresses) > 0 {
					b = append(b, i.IPAddresses[0].IPAddress+":"+strconv.Itoa(mapping.ContainerPort)+"\t"...)
				}
			case n < len(i.Ports) && i.Ports[n] != 0:
				b = append(b, i.Agent.Host+":"+strconv.Itoa(i.Ports[n])+"\t"...)
			}
		}
		b = append(b, '\n')
	}
	return b
}

// mappingOf a service port, nil in host mode.
func mappingOf(def *marathon.App, n int) *marathon.PortMapping {
	if def.Container == nil || n >= len(def.Container.PortMappings) {
		return nil
	}
	return &def.Container.PortMappings[n]
}

// shown reports whether addresses in container networks are asked for.
func shown(def *marathon.App, m *marathon.PortMapping, networks []string) bool {
	names := slices.Clone(m.NetworkNames)
	if len(names) == 0 {
		for _, n := range def.Networks {
			if n.Mode == marathon.ContainerNetwork {
				names = append(names, n.Name)
			}
		}
	}
	return slices.ContainsFunc(names, func(name string) bool {
		return slices.Contains(networks, name) || slices.Contains(networks, "*")
	})
}
