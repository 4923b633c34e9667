package app

import (
	"regexp"
	"strings"

	"github.com/stoa-kernel/stoa/api/marathon"
)

var (
	networkPattern  = regexp.MustCompile(`^[a-z0-9]([-a-z0-9_]*[a-z0-9])?$`)
	portNamePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
)

func (v *verdict) networks(a *marathon.App) {
	modes, used := map[string]int{}, map[string]bool{}
	for i, n := range a.Networks {
		modes[n.Mode]++
		if n.Name != "" {
			path := "/networks" + index(i) + "/name"
			v.match(path, networkPattern, n.Name)
			v.when(len(n.Name) > 63, path, "is longer than 63 characters")
		}
		switch n.Mode {
		case marathon.HostNetwork:
			v.when(n.Name != "" || len(n.Labels) > 0, "/networks", "Host networks may not have names or labels")
		case marathon.BridgeNetwork:
			v.when(n.Name != "", "/networks", "Bridge networks may not have names")
		case marathon.ContainerNetwork:
			v.when(n.Name == "", "/networks", "Network name must be specified when container network is selected.")
			v.when(used[n.Name], "/networks", "Duplicate networks are not allowed")
			used[n.Name] = true
		}
	}
	host, bridge, container := modes[marathon.HostNetwork], modes[marathon.BridgeNetwork], modes[marathon.ContainerNetwork]
	if host > 1 || bridge > 1 || len(modes) > 1 {
		v.add("/networks", "May specify a single host network, single bridge network, or else 1-to-n container networks")
	}
	v.when(isDocker(a) && container > 1, "/",
		"may only specify a single container network when using the Docker container engine")
}

func (v *verdict) ports(a *marathon.App) {
	if a.Container == nil || a.Container.PortMappings == nil {
		names, numbers := newUnique(), newUnique()
		for i, p := range a.PortDefinitions {
			path := "/portDefinitions" + index(i)
			v.port(path+"/port", p.Port)
			v.portName(path, p.Name)
			v.when(names.twice(p.Name), "/portDefinitions", "Port names must be unique.")
			v.when(p.Port != 0 && numbers.twice(decimal(float64(p.Port))), "/portDefinitions", "Ports must be unique.")
		}
		return
	}
	var networks []string
	is := map[string]bool{}
	for _, n := range a.Networks {
		if n.Name != "" {
			networks = append(networks, n.Name)
			is[n.Name] = true
		}
	}
	none := "is not one of (" + clip(strings.Join(networks, ","), maxSaid) + ")"
	names := newUnique()
	for i, m := range a.Container.PortMappings {
		path := "/container/portMappings" + index(i)
		v.port(path+"/containerPort", m.ContainerPort)
		v.port(path+"/servicePort", m.ServicePort)
		if m.HostPort != nil {
			v.port(path+"/hostPort", *m.HostPort)
			v.when(len(networks) > 1 && len(m.NetworkNames) != 1, path,
				"networkNames must be a single item list when hostPort is specified and more than 1 container network is defined")
		}
		v.portName(path, m.Name)
		v.when(names.twice(m.Name), "/container/portMappings", "Port names must be unique.")
		for j, name := range m.NetworkNames {
			v.when(!is[name], path+"/networkNames"+index(j), none)
		}
	}
}

func (v *verdict) portName(path, name string) {
	if name != "" {
		v.match(path+"/name", portNamePattern, name)
	}
}

// unique remembers what was seen; nothing is never seen twice.
type unique map[string]bool

func newUnique() unique { return unique{} }

func (u unique) twice(s string) bool {
	seen := u[s]
	u[s] = s != ""
	return seen
}

func (v *verdict) container(a *marathon.App) {
	c := a.Container
	d := c.Docker
	const path = "/container/docker"
	if d == nil {
		v.when(c.Type == "DOCKER", path, "not defined")
	} else {
		v.notEmpty(path+"/image", d.Image)
		for i, p := range d.Parameters {
			v.notEmpty(path+"/parameters"+index(i)+"/key", p.Key)
		}
		v.when(c.Type == "MESOS" && len(d.Parameters) > 0, path+"/parameters", "must be empty")
		if d.PullConfig != nil {
			_, defined := a.Secrets[d.PullConfig.Secret]
			switch {
			case c.Type == "DOCKER":
				v.add(path+"/pullConfig", "pullConfig is not supported with Docker containerizer")
			default:
				v.notEmpty(path+"/pullConfig/secret", d.PullConfig.Secret)
				v.when(!v.o.Features["secrets"], path+"/pullConfig", feature("secrets"))
				v.when(!defined, path+"/pullConfig", "pullConfig.secret must refer to an existing secret")
			}
		}
	}
	if l := c.LinuxInfo; l != nil {
		if s := l.Seccomp; s != nil {
			v.when((s.ProfileName != "") == or(s.Unconfined, false), "/container/linuxInfo/seccomp",
				"must have exactly one of profileName and unconfined: true")
		}
		if l.IPCInfo != nil {
			v.atLeast("/container/linuxInfo/ipcInfo/shmSize", l.IPCInfo.ShmSize, 0)
		}
	}
	v.volumes(a)
}
