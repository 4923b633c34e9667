package app

import (
	"slices"

	"github.com/stoa-kernel/stoa/api/marathon"
)

func (o Options) role() string {
	if o.Role == "" {
		return "*"
	}
	return o.Role
}

func upgradeDefaults(a *marathon.App) marathon.UpgradeStrategy {
	if a.Container != nil && slices.ContainsFunc(a.Container.Volumes, func(v marathon.Volume) bool {
		return v.Persistent != nil || v.External != nil
	}) {
		return marathon.UpgradeStrategy{MinimumHealthCapacity: 0.5}
	}
	return marathon.UpgradeStrategy{MinimumHealthCapacity: 1, MaximumOverCapacity: 1}
}

func unreachableDefault(a *marathon.App, o Options) *marathon.UnreachableStrategy {
	if a.Resident() {
		return &marathon.UnreachableStrategy{Disabled: true}
	}
	u := o.Unreachable
	return &u
}

// finish brings a definition into canonical form: defaults that depend on other fields,
// and one way to write what can be written in several, so that definitions that mean the
// same are deeply equal, also after they were stored. a is changed in place.
func finish(a *marathon.App, o Options) {
	if len(a.Networks) == 0 {
		a.Networks = []marathon.Network{{Mode: marathon.HostNetwork}}
	}
	for i := range a.Networks {
		n := &a.Networks[i]
		if n.Mode == marathon.ContainerNetwork && n.Name == "" {
			n.Name = o.DefaultNetwork
		}
		n.Labels = orNil(n.Labels)
	}
	if onHost(a) {
		finishHost(a)
	} else {
		finishContainerNet(a)
	}
	finishContainer(a)
	finishChecks(a)

	a.Args = nilIfEmpty(a.Args)
	a.Env = orNil(a.Env)
	a.Secrets = orNil(a.Secrets)
	a.Constraints = nilIfEmpty(a.Constraints)
	a.AcceptedResourceRoles = nilIfEmpty(a.AcceptedResourceRoles)
	a.Fetch = nilIfEmpty(a.Fetch)
	a.Dependencies = nilIfEmpty(a.Dependencies)
	if a.Labels == nil {
		a.Labels = map[string]string{}
	}
	a.Residency = nil
	if a.Resident() {
		a.Residency = &marathon.Residency{RelaunchEscalationTimeoutSeconds: 3600, TaskLostBehavior: "WAIT_FOREVER"}
	}
	if a.UnreachableStrategy == nil {
		a.UnreachableStrategy = unreachableDefault(a, o)
	}

	if a.RestartPolicy == marathon.Always {
		a.RestartPolicy = ""
	}
	if a.RestartPolicyOnChange == "always" {
		a.RestartPolicyOnChange = ""
	}
	if a.Scaling != nil && a.Scaling.Kind == "fixed" {
		a.Scaling = nil
	}
	if a.PreStop != nil && *a.PreStop == (marathon.PreStop{}) {
		a.PreStop = nil
	}
}

// onHost reports whether instances use the agent's network, which is also meant where a
// definition mixes modes; validate refuses that.
func onHost(a *marathon.App) bool {
	return !slices.ContainsFunc(a.Networks, func(n marathon.Network) bool { return n.Mode != marathon.HostNetwork })
}

// finishHost: ports are port definitions, one of them if nothing was said.
func finishHost(a *marathon.App) {
	if a.PortDefinitions == nil {
		a.PortDefinitions = []marathon.PortDefinition{{Name: "default", Protocol: "tcp"}}
	}
	for i := range a.PortDefinitions {
		a.PortDefinitions[i].Labels = orNil(a.PortDefinitions[i].Labels)
	}
	if a.Container != nil {
		a.Container.PortMappings = nil
	}
}

// finishContainerNet: ports are port mappings of the container, which is made if there is
// none. Port definitions are dropped; each beyond the mappings becomes an empty mapping,
// so that 1.4-era apps with only "ports" keep their number.
func finishContainerNet(a *marathon.App) {
	if a.Container == nil {
		a.Container = &marathon.Container{Type: "MESOS"}
	}
	c := a.Container
	if c.PortMappings == nil {
		c.PortMappings = []marathon.PortMapping{{Name: "default", Protocol: "tcp"}}
	}
	for len(c.PortMappings) < len(a.PortDefinitions) {
		c.PortMappings = append(c.PortMappings, marathon.PortMapping{Protocol: "tcp"})
	}
	a.PortDefinitions = nil
	a.RequirePorts = false
	bridge := slices.ContainsFunc(a.Networks, func(n marathon.Network) bool { return n.Mode == marathon.BridgeNetwork })
	for i := range c.PortMappings {
		m := &c.PortMappings[i]
		if bridge && m.HostPort == nil {
			m.HostPort = new(int)
		}
		if m.Labels == nil {
			m.Labels = map[string]string{}
		}
		m.NetworkNames = nilIfEmpty(m.NetworkNames)
	}
}

func finishContainer(a *marathon.App) {
	c := a.Container
	if c == nil {
		return
	}
	if c.Volumes == nil {
		c.Volumes = []marathon.Volume{}
	}
	if c.Docker != nil && c.Docker.Parameters == nil {
		c.Docker.Parameters = []marathon.DockerParameter{} // clients read it without a test
	}
	if c.Type == "DOCKER" {
		c.LinuxInfo = nil
	} else if c.Docker != nil {
		c.Docker.Privileged = false
	}
}

func finishChecks(a *marathon.App) {
	a.HealthChecks = nilIfEmpty(a.HealthChecks)
	for i := range a.HealthChecks {
		h := &a.HealthChecks[i]
		if h.Protocol == marathon.COMMAND {
			h.Path, h.Port, h.PortIndex = nil, nil, nil
		} else if h.Port == nil && h.PortIndex == nil && portCount(a) > 0 {
			h.PortIndex = new(int)
		}
		switch h.Protocol {
		case marathon.HTTP, marathon.HTTPS:
			if h.IgnoreHTTP1xx == nil {
				h.IgnoreHTTP1xx = new(bool)
			}
		default:
			h.IgnoreHTTP1xx = nil
		}
		if h.Protocol == marathon.TCP || h.Protocol == marathon.MesosTCP {
			h.Path = nil
		}
		if !h.ByKernel() {
			h.DelaySeconds = 15 // has a meaning only for the kernel's checks
		}
		if h.Command != nil {
			h.Command.Argv = nilIfEmpty(h.Command.Argv)
		}
	}
	a.ReadinessChecks = nilIfEmpty(a.ReadinessChecks)
	if c := a.Check; c != nil {
		if c.HTTP != nil && c.HTTP.Port == nil && c.HTTP.PortIndex == nil && portCount(a) > 0 {
			c.HTTP.PortIndex = new(int)
		}
		if c.TCP != nil && c.TCP.Port == nil && c.TCP.PortIndex == nil && portCount(a) > 0 {
			c.TCP.PortIndex = new(int)
		}
		if c.Exec != nil {
			c.Exec.Command.Argv = nilIfEmpty(c.Exec.Command.Argv)
		}
	}
}

// portCount is how many ports an app declares, which is what port indices address.
func portCount(a *marathon.App) int {
	if a.Container != nil && a.Container.PortMappings != nil {
		return len(a.Container.PortMappings)
	}
	return len(a.PortDefinitions)
}

func nilIfEmpty[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	return list
}

func orNil[T any](m map[string]T) map[string]T {
	if len(m) == 0 {
		return nil
	}
	return m
}
