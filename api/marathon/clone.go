package marathon

import (
	"maps"
	"reflect"
	"slices"
)

// Clone makes a deep copy. Nil stays nil and empty stays empty, for the two are told apart
// in PortDefinitions and PortMappings.
func (a *App) Clone() *App {
	c := *a
	c.Cmd = ref(a.Cmd)
	c.Args = slices.Clone(a.Args)
	c.Env = maps.Clone(a.Env)
	c.Secrets = maps.Clone(a.Secrets)
	if l := ref(a.ResourceLimits); l != nil {
		l.CPUs, l.Mem = ref(l.CPUs), ref(l.Mem)
		c.ResourceLimits = l
	}
	c.ExecutorResources = ref(a.ExecutorResources)
	c.Constraints = each(a.Constraints, func(s *[]string) { *s = slices.Clone(*s) })
	c.AcceptedResourceRoles = slices.Clone(a.AcceptedResourceRoles)
	c.Fetch = slices.Clone(a.Fetch)
	c.Labels = maps.Clone(a.Labels)
	c.Networks = each(a.Networks, func(n *Network) { n.Labels = maps.Clone(n.Labels) })
	c.PortDefinitions = each(a.PortDefinitions, func(p *PortDefinition) { p.Labels = maps.Clone(p.Labels) })
	c.Container = a.Container.clone()
	c.HealthChecks = each(a.HealthChecks, func(h *HealthCheck) {
		h.Path, h.PortIndex, h.Port = ref(h.Path), ref(h.PortIndex), ref(h.Port)
		h.IgnoreHTTP1xx = ref(h.IgnoreHTTP1xx)
		if h.Command = ref(h.Command); h.Command != nil {
			h.Command.Argv = slices.Clone(h.Command.Argv)
		}
	})
	c.Check = a.Check.clone()
	c.ReadinessChecks = each(a.ReadinessChecks, func(r *ReadinessCheck) {
		r.HTTPStatusCodesForReady = slices.Clone(r.HTTPStatusCodesForReady)
	})
	c.UpgradeStrategy.Canary = ref(a.UpgradeStrategy.Canary)
	c.UpgradeStrategy.BlueGreen = ref(a.UpgradeStrategy.BlueGreen)
	c.TaskKillGracePeriodSeconds = ref(a.TaskKillGracePeriodSeconds)
	c.UnreachableStrategy = ref(a.UnreachableStrategy)
	c.Residency = ref(a.Residency)
	c.Dependencies = slices.Clone(a.Dependencies)
	c.TTY = ref(a.TTY)
	c.VersionInfo = ref(a.VersionInfo)
	c.Scaling = ref(a.Scaling)
	if c.PreStop = ref(a.PreStop); c.PreStop != nil {
		c.PreStop.HTTP = ref(c.PreStop.HTTP)
	}
	return &c
}

func (c *Container) clone() *Container {
	if c == nil {
		return nil
	}
	n := *c
	if n.Docker = ref(c.Docker); n.Docker != nil {
		n.Docker.Parameters = slices.Clone(n.Docker.Parameters)
		n.Docker.PullConfig = ref(n.Docker.PullConfig)
	}
	n.Volumes = each(c.Volumes, func(v *Volume) {
		if v.Persistent = ref(v.Persistent); v.Persistent != nil {
			v.Persistent.Constraints = each(v.Persistent.Constraints, func(s *[]string) { *s = slices.Clone(*s) })
		}
		if v.External = ref(v.External); v.External != nil {
			v.External.Options = tree(v.External.Options).(map[string]any)
			v.External.Shared = ref(v.External.Shared)
		}
	})
	n.PortMappings = each(c.PortMappings, func(m *PortMapping) {
		m.HostPort = ref(m.HostPort)
		m.Labels = maps.Clone(m.Labels)
		m.NetworkNames = slices.Clone(m.NetworkNames)
	})
	if n.LinuxInfo = ref(c.LinuxInfo); n.LinuxInfo != nil {
		if n.LinuxInfo.Seccomp = ref(n.LinuxInfo.Seccomp); n.LinuxInfo.Seccomp != nil {
			n.LinuxInfo.Seccomp.Unconfined = ref(n.LinuxInfo.Seccomp.Unconfined)
		}
		n.LinuxInfo.IPCInfo = ref(n.LinuxInfo.IPCInfo)
	}
	return &n
}

func (c *Check) clone() *Check {
	if c == nil {
		return nil
	}
	n := *c
	if n.HTTP = ref(c.HTTP); n.HTTP != nil {
		n.HTTP.PortIndex, n.HTTP.Port = ref(n.HTTP.PortIndex), ref(n.HTTP.Port)
	}
	if n.TCP = ref(c.TCP); n.TCP != nil {
		n.TCP.PortIndex, n.TCP.Port = ref(n.TCP.PortIndex), ref(n.TCP.Port)
	}
	if n.Exec = ref(c.Exec); n.Exec != nil {
		n.Exec.Command.Argv = slices.Clone(n.Exec.Command.Argv)
	}
	return &n
}

func ref[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

func each[T any](list []T, deepen func(*T)) []T {
	list = slices.Clone(list)
	for i := range list {
		deepen(&list[i])
	}
	return list
}

// tree copies decoded JSON.
func tree(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := maps.Clone(v)
		for k := range m {
			m[k] = tree(m[k])
		}
		return m
	case []any:
		return each(v, func(e *any) { *e = tree(*e) })
	}
	return v
}

// SameConfig reports whether a and b differ at most in Instances, Version and VersionInfo.
// The order of what Marathon keeps as sets (constraints, health checks, dependencies,
// accepted roles) does not count.
func (a *App) SameConfig(b *App) bool {
	x, y := *a, *b
	x.Instances, x.Version, x.VersionInfo = y.Instances, y.Version, y.VersionInfo
	same := sameSet(x.Constraints, y.Constraints) && sameSet(x.HealthChecks, y.HealthChecks) &&
		sameSet(x.Dependencies, y.Dependencies) && sameSet(x.AcceptedResourceRoles, y.AcceptedResourceRoles)
	x.Constraints, x.HealthChecks = y.Constraints, y.HealthChecks
	x.Dependencies, x.AcceptedResourceRoles = y.Dependencies, y.AcceptedResourceRoles
	return same && reflect.DeepEqual(x, y)
}

// sameSet does not look for another order in lists beyond 100: nobody writes those by
// hand, and the search is quadratic.
func sameSet[T any](a, b []T) bool {
	if len(a) != len(b) {
		return false
	}
	if reflect.DeepEqual(a, b) {
		return true
	}
	return len(a) <= 100 && !slices.ContainsFunc(a, func(x T) bool {
		return !slices.ContainsFunc(b, func(y T) bool { return reflect.DeepEqual(x, y) })
	})
}
