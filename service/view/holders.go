package view

import (
	"cmp"
	"slices"

	"github.com/stoa-kernel/stoa/service/instance"
)

// Holders are the instances whose tasks have one of the host ports, by agent and app. It
// looks at all instances: it is for a person who asks, not for every event.
func (v *View) Holders(ports []int) []*instance.Instance {
	v.mu.Lock()
	var all []*instance.Instance
	for _, i := range v.instances {
		if i.Agent != nil && i.Active() && slices.ContainsFunc(i.Ports, func(p int) bool { return slices.Contains(ports, p) }) {
			all = append(all, i)
		}
	}
	v.mu.Unlock()
	slices.SortFunc(all, func(a, b *instance.Instance) int {
		return cmp.Or(cmp.Compare(a.Agent.Host, b.Agent.Host), cmp.Compare(a.App, b.App), cmp.Compare(a.ID, b.ID))
	})
	return all
}
