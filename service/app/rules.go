package app

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stoa-kernel/stoa/api/marathon"
)

// What two versions of one app, or two apps, must not do to each other.

// residentChange says what of a change an app with persistent volumes cannot follow: its
// instances stay on what they reserved (as Marathon 1.10, AppDefinition.updateIsValid).
func residentChange(old, a *marathon.App, force bool) []marathon.Violation {
	if !old.Resident() && !a.Resident() {
		return nil
	}
	const (
		resources = "Services with persistent volumes configured may not change resource requirements. " +
			"If you need to make this change, please create a new service."
		hostPorts = "Services with persistent volumes configured may not change host ports. " +
			"If you need to make this change, please create a new service."
	)
	var wrong violations
	if !slices.EqualFunc(persistent(old), persistent(a), sameVolume) {
		wrong.add("/", "Persistent volumes can not be changed!")
	}
	for _, r := range []struct {
		path string
		same bool
	}{
		{"/cpus", old.CPUs == a.CPUs},
		{"/mem", old.Mem == a.Mem},
		{"/disk", old.Disk == a.Disk},
		{"/gpus", old.GPUs == a.GPUs},
		{"/requirePorts", old.RequirePorts == a.RequirePorts},
	} {
		if !r.same {
			wrong.add(r.path, resources)
		}
	}
	if !maps.Equal(hostPortsOf(old), hostPortsOf(a)) {
		wrong.add("/", hostPorts)
	}
	if a.Resident() && a.Role != old.Role && !force {
		wrong.add("/role", fmt.Sprintf("It is not possible to change the role for existing reservations. "+
			"If you proceed with this change, all existing instances will continue to run under the previous role, %s. "+
			"Only new instances will be allocated with the new role, %s. "+
			"In order to continue, retry your request with ?force=true", old.Role, a.Role))
	}
	return wrong.list
}

// persistent volumes of an app, in order of their paths.
func persistent(a *marathon.App) []marathon.Volume {
	var volumes []marathon.Volume
	if a.Container != nil {
		for _, v := range a.Container.Volumes {
			if v.Persistent != nil {
				volumes = append(volumes, v)
			}
		}
	}
	slices.SortStableFunc(volumes, func(a, b marathon.Volume) int {
		return strings.Compare(a.ContainerPath, b.ContainerPath)
	})
	return volumes
}

func sameVolume(a, b marathon.Volume) bool {
	p, q := a.Persistent, b.Persistent
	return a.ContainerPath == b.ContainerPath && a.Mode == b.Mode && p.Type == q.Type &&
		p.Size == q.Size && p.MaxSize == q.MaxSize && p.ProfileName == q.ProfileName &&
		slices.EqualFunc(p.Constraints, q.Constraints, slices.Equal[[]string])
}

// hostPortsOf an app whose service ports have been assigned.
func hostPortsOf(a *marathon.App) map[int]bool {
	ports := map[int]bool{}
	if c := a.Container; c != nil && len(c.PortMappings) > 0 {
		for i := range c.PortMappings {
			if p := c.PortMappings[i].HostPort; p != nil {
				ports[*p] = true
			}
		}
		return ports
	}
	for i := range a.PortDefinitions {
		ports[a.PortDefinitions[i].Port] = true
	}
	return ports
}

// externals calls f for each external volume of an app that has a name.
func externals(a *marathon.App, f func(key string, exclusive bool)) {
	if a.Container == nil {
		return
	}
	for _, v := range a.Container.Volumes {
		if e := v.External; e != nil && e.Name != "" {
			f(e.Provider+"/"+e.Name, exclusive(v))
		}
	}
}

// exclusive reports whether only one app may use a volume: one that is not shared, and
// of those of CSI one that at most one node or writer may have.
func exclusive(v marathon.Volume) bool {
	if v.External.Provider != "csi" {
		return v.External.Shared == nil || !*v.External.Shared
	}
	capability, _ := v.External.Options["capability"].(map[string]any)
	mode, _ := capability["accessMode"].(string)
	switch mode {
	case "MULTI_NODE_READER_ONLY", "MULTI_NODE_MULTI_WRITER":
		return false
	case "MULTI_NODE_SINGLE_WRITER":
		return v.Mode != "RO"
	}
	return true
}

// shared says which external volumes of a another app uses although one of the two does
// not share it.
func (t *Tree) shared(a *marathon.App) []marathon.Violation {
	var wrong violations
	externals(a, func(key string, exclusive bool) {
		var others []string
		for _, id := range slices.Sorted(maps.Keys(t.volumes[key])) {
			if id != a.ID && (exclusive || t.volumes[key][id]) {
				others = append(others, id)
			}
		}
		if len(others) > 0 {
			_, volume, _ := strings.Cut(key, "/")
			wrong.add("/container/volumes", fmt.Sprintf(
				"Volume name '%s' in %s conflicts with volume(s) of same name in app(s): %s",
				volume, a.ID, strings.Join(others, ", ")))
		}
	})
	return wrong.list
}
