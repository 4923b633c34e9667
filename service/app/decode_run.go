package app

import (
	"reflect"
	"strings"

	"github.com/stoa-kernel/stoa/api/marathon"
)

// This file reads what describes how an instance runs: container, networks, ports, checks.

// readConstraints makes operators upper case, as they are kept; doubles are dropped.
func readConstraints(n node) *[][]string {
	list := listOf(n, largeCost, node.strings)
	if list == nil {
		return nil
	}
	unique := map[string]bool{}
	kept := [][]string{}
	for _, c := range *list {
		if len(c) > 1 {
			c[1] = strings.ToUpper(c[1])
		}
		if key := strings.Join(c, "\x00"); !unique[key] {
			unique[key] = true
			kept = append(kept, c)
		}
	}
	return &kept
}

var networkFields = nameSet("name mode labels")

func readNetwork(n node) *marathon.Network {
	o, ok := n.object(networkFields)
	if !ok {
		return nil
	}
	return &marathon.Network{
		Name:   or(o.get("name").str(), ""),
		Mode:   or(o.get("mode").enum(marathon.HostNetwork, marathon.BridgeNetwork, marathon.ContainerNetwork), marathon.ContainerNetwork),
		Labels: or(o.get("labels").labels(), nil),
	}
}

func protocol(n node) string { return or(n.enum("tcp", "udp", "udp,tcp"), "tcp") }

var portDefinitionFields = nameSet("port protocol name labels")

func readPortDefinition(n node) *marathon.PortDefinition {
	o, ok := n.object(portDefinitionFields)
	if !ok {
		return nil
	}
	return &marathon.PortDefinition{
		Port:     or(o.get("port").integer(), 0),
		Protocol: protocol(o.get("protocol")),
		Name:     or(o.get("name").str(), ""),
		Labels:   or(o.get("labels").labels(), nil),
	}
}

var portMappingFields = nameSet("containerPort hostPort servicePort protocol name labels networkNames")

func readPortMapping(n node) *marathon.PortMapping {
	o, ok := n.object(portMappingFields)
	if !ok {
		return nil
	}
	return &marathon.PortMapping{
		ContainerPort: or(o.get("containerPort").integer(), 0),
		HostPort:      o.get("hostPort").integer(),
		ServicePort:   or(o.get("servicePort").integer(), 0),
		Protocol:      protocol(o.get("protocol")),
		Name:          or(o.get("name").str(), ""),
		Labels:        or(o.get("labels").labels(), nil),
		NetworkNames:  or(o.get("networkNames").strings(), nil),
	}
}

// oldContainer is a container with the fields that moved elsewhere since 1.5.
type oldContainer struct {
	marathon.Container
	network    string // "" is not given
	mappings   *[]marathon.PortMapping
	credential bool
}

var (
	containerFields  = nameSet("type docker volumes portMappings linuxInfo")
	dockerFields     = nameSet("image forcePullImage privileged parameters pullConfig credential network portMappings")
	parameterFields  = nameSet("key value")
	pullConfigFields = nameSet("secret")
)

func readContainer(n node) *oldContainer {
	o, ok := n.object(containerFields)
	if !ok {
		return nil
	}
	c := &oldContainer{}
	c.Type = or(o.get("type").enum("DOCKER", "MESOS"), "DOCKER")
	c.Volumes = or(listOf(o.get("volumes"), largeCost, readVolume), nil)
	c.PortMappings = or(listOf(o.get("portMappings"), largeCost, readPortMapping), nil)
	c.LinuxInfo = readLinuxInfo(o.get("linuxInfo"))
	d, ok := o.get("docker").object(dockerFields)
	if !ok {
		return c
	}
	c.Docker = &marathon.Docker{
		Image:          or(d.get("image").required().str(), ""),
		ForcePullImage: or(d.get("forcePullImage").boolean(), false),
		Privileged:     or(d.get("privileged").boolean(), false),
		Parameters: or(listOf(d.get("parameters"), largeCost, func(n node) *marathon.DockerParameter {
			o, ok := n.object(parameterFields)
			if !ok {
				return nil
			}
			return &marathon.DockerParameter{
				Key:   or(o.get("key").required().str(), ""),
				Value: or(o.get("value").required().str(), ""),
			}
		}), nil),
	}
	if p, ok := d.get("pullConfig").object(pullConfigFields); ok {
		c.Docker.PullConfig = &marathon.PullConfig{Secret: or(p.get("secret").required().str(), "")}
	}
	c.network = or(d.get("network").enum("BRIDGE", "HOST", "NONE", "USER"), "")
	c.mappings = listOf(d.get("portMappings"), largeCost, readPortMapping)
	c.credential = d.has("credential")
	return c
}

var (
	linuxFields   = nameSet("seccomp ipcInfo")
	seccompFields = nameSet("profileName unconfined")
	ipcFields     = nameSet("mode shmSize")
)

func readLinuxInfo(n node) *marathon.LinuxInfo {
	o, ok := n.object(linuxFields)
	if !ok {
		return nil
	}
	l := &marathon.LinuxInfo{}
	if s, ok := o.get("seccomp").object(seccompFields); ok {
		unconfined := or(s.get("unconfined").boolean(), false)
		l.Seccomp = &marathon.Seccomp{ProfileName: or(s.get("profileName").str(), ""), Unconfined: &unconfined}
	}
	if i, ok := o.get("ipcInfo").object(ipcFields); ok {
		l.IPCInfo = &marathon.IPCInfo{
			Mode:    or(i.get("mode").required().enum("PRIVATE", "SHARE_PARENT"), ""),
			ShmSize: or(i.get("shmSize").integer(), 0),
		}
	}
	return l
}

var (
	ipAddressFields     = nameSet("networkName groups labels discovery")
	discoveryFields     = nameSet("ports")
	discoveryPortFields = nameSet("number name protocol labels")
)

// ipAddress is how apps had addresses of their own before 1.5.
type ipAddress struct {
	network   string
	labels    map[string]string
	discovery bool
	ports     []marathon.PortMapping
}

func readIPAddress(n node) *ipAddress {
	o, ok := n.object(ipAddressFields)
	if !ok {
		return nil
	}
	ip := &ipAddress{network: or(o.get("networkName").str(), ""), labels: or(o.get("labels").labels(), nil)}
	o.get("groups").strings()
	if d, ok := o.get("discovery").object(discoveryFields); ok {
		ip.discovery = true
		ip.ports = or(listOf(d.get("ports"), largeCost, func(n node) *marathon.PortMapping {
			o, ok := n.object(discoveryPortFields)
			if !ok {
				return nil
			}
			return &marathon.PortMapping{
				ContainerPort: or(o.get("number").integer(), 0),
				Name:          or(o.get("name").required().str(), ""),
				Protocol:      protocol(o.get("protocol")),
				Labels:        or(o.get("labels").labels(), nil),
			}
		}), nil)
	}
	return ip
}

var (
	healthFields = nameSet(`protocol path portIndex port command gracePeriodSeconds intervalSeconds
		timeoutSeconds maxConsecutiveFailures delaySeconds ignoreHttp1xx ipProtocol`)
	commandFields = nameSet("value argv")
)

func readHealthChecks(n node) *[]marathon.HealthCheck {
	list := listOf(n, largeCost, readHealthCheck)
	if list == nil || len(*list) > 100 {
		return list // nobody writes so many with doubles, and comparing all is quadratic
	}
	kept := []marathon.HealthCheck{}
	for _, h := range *list {
		double := false
		for i := range kept {
			double = double || reflect.DeepEqual(kept[i], h)
		}
		if !double {
			kept = append(kept, h)
		}
	}
	return &kept
}

func readHealthCheck(n node) *marathon.HealthCheck {
	o, ok := n.object(healthFields)
	if !ok {
		return nil
	}
	h := &marathon.HealthCheck{
		Protocol: or(o.get("protocol").enum(marathon.HTTP, marathon.HTTPS, marathon.TCP, marathon.COMMAND,
			marathon.MesosHTTP, marathon.MesosHTTPS, marathon.MesosTCP), marathon.HTTP),
		Path:                   o.get("path").str(),
		PortIndex:              o.get("portIndex").integer(),
		Port:                   o.get("port").integer(),
		GracePeriodSeconds:     or(o.get("gracePeriodSeconds").integer(), 300),
		IntervalSeconds:        or(o.get("intervalSeconds").integer(), 60),
		TimeoutSeconds:         or(o.get("timeoutSeconds").integer(), 20),
		MaxConsecutiveFailures: or(o.get("maxConsecutiveFailures").integer(), 3),
		DelaySeconds:           or(o.get("delaySeconds").integer(), 15),
		IgnoreHTTP1xx:          o.get("ignoreHttp1xx").boolean(),
		IPProtocol:             or(o.get("ipProtocol").enum("IPv4", "IPv6"), "IPv4"),
	}
	if c, ok := o.get("command").object(commandFields); ok {
		value := c.get("value")
		value.must = !c.has("argv")
		h.Command = &marathon.Command{Value: or(value.str(), ""), Argv: or(c.get("argv").strings(), nil)}
	}
	return h
}

var (
	checkFields     = nameSet("http tcp exec intervalSeconds timeoutSeconds delaySeconds")
	httpCheckFields = nameSet("portIndex port path scheme")
	tcpCheckFields  = nameSet("portIndex port")
	execFields      = nameSet("command")
	shellFields     = nameSet("shell argv")
)

func readCheck(n node) *marathon.Check {
	o, ok := n.object(checkFields)
	if !ok {
		return nil
	}
	c := &marathon.Check{
		IntervalSeconds: or(o.get("intervalSeconds").integer(), 60),
		TimeoutSeconds:  or(o.get("timeoutSeconds").integer(), 20),
		DelaySeconds:    or(o.get("delaySeconds").integer(), 15),
	}
	if h, ok := o.get("http").object(httpCheckFields); ok {
		c.HTTP = &marathon.HTTPCheck{
			PortIndex: h.get("portIndex").integer(),
			Port:      h.get("port").integer(),
			Path:      or(h.get("path").str(), ""),
			Scheme:    or(h.get("scheme").enum("HTTP", "HTTPS"), "HTTP"),
		}
	}
	if t, ok := o.get("tcp").object(tcpCheckFields); ok {
		c.TCP = &marathon.TCPCheck{PortIndex: t.get("portIndex").integer(), Port: t.get("port").integer()}
	}
	if e, ok := o.get("exec").object(execFields); ok {
		c.Exec = &marathon.ExecCheck{}
		if s, ok := e.get("command").required().object(shellFields); ok {
			shell := s.get("shell")
			shell.must = !s.has("argv")
			c.Exec.Command = marathon.ShellOrArgv{Shell: or(shell.str(), ""), Argv: or(s.get("argv").strings(), nil)}
		}
	}
	return c
}

var readinessFields = nameSet(`name protocol path portName intervalSeconds timeoutSeconds
	httpStatusCodesForReady preserveLastResponse`)

func readReadiness(n node) *marathon.ReadinessCheck {
	o, ok := n.object(readinessFields)
	if !ok {
		return nil
	}
	return &marathon.ReadinessCheck{
		Name:                    or(o.get("name").str(), "readinessCheck"),
		Protocol:                or(o.get("protocol").enum("HTTP", "HTTPS"), "HTTP"),
		Path:                    or(o.get("path").str(), "/"),
		PortName:                or(o.get("portName").str(), "http-api"),
		IntervalSeconds:         or(o.get("intervalSeconds").integer(), 30),
		TimeoutSeconds:          or(o.get("timeoutSeconds").integer(), 10),
		HTTPStatusCodesForReady: or(listOf(o.get("httpStatusCodesForReady"), smallCost, node.integer), []int{200}),
		PreserveLastResponse:    or(o.get("preserveLastResponse").boolean(), false),
	}
}
