package app

import (
	"fmt"

	"github.com/stoa-kernel/stoa/api/marathon"
)

func (v *verdict) checks(a *marathon.App) {
	kernel := 0
	for i := range a.HealthChecks {
		h := &a.HealthChecks[i]
		v.healthCheck("/healthChecks"+index(i), a, h)
		if h.ByKernel() {
			kernel++
		}
	}
	v.when(kernel > 1, "/", "AppDefinition can contain at most one Mesos health check")
	if a.Check != nil {
		v.check(a)
	}
	v.when(len(a.ReadinessChecks) > 1, "/readinessChecks/size",
		fmt.Sprintf("got %d, expected 1 or less", len(a.ReadinessChecks)))
	for i := range a.ReadinessChecks {
		v.readiness("/readinessChecks"+index(i), a, &a.ReadinessChecks[i])
	}
}

func (v *verdict) healthCheck(path string, a *marathon.App, h *marathon.HealthCheck) {
	v.atLeast(path+"/gracePeriodSeconds", h.GracePeriodSeconds, 0)
	v.atLeast(path+"/intervalSeconds", h.IntervalSeconds, 0)
	v.atLeast(path+"/timeoutSeconds", h.TimeoutSeconds, 0)
	v.atLeast(path+"/maxConsecutiveFailures", h.MaxConsecutiveFailures, 0)
	v.atLeast(path+"/delaySeconds", h.DelaySeconds, 0)
	if h.Protocol == marathon.COMMAND {
		v.when(h.Command == nil, path, "illegal protocol COMMAND for non-command health check")
	} else {
		v.when(h.Command != nil, path, "illegal protocol "+h.Protocol+" specified with command")
		v.portReference(path, a, h.Port, h.PortIndex,
			"Health check port indices must address an element of the ports array or container port mappings.",
			"HealthCheck must specify either a port or a portIndex")
	}
	if h.Command != nil {
		v.when((h.Command.Value == "") == (len(h.Command.Argv) == 0), path+"/command", "must have exactly one of value and argv")
	}
	v.when(h.IPProtocol == "IPv6" && !(isDocker(a) && h.ByKernel() && h.Protocol != marathon.COMMAND), path,
		"IPv6 can only be used for container type DOCKER and Mesos http/https/tcp health checks")
}

// portReference is by number or by index, never by both.
func (v *verdict) portReference(path string, a *marathon.App, port, index *int, misses, both string) {
	switch {
	case port != nil:
		v.port(path+"/port", *port)
		v.when(index != nil, path, both)
	case index == nil || *index < 0 || *index >= portCount(a):
		v.add(path, misses)
	}
}

func (v *verdict) check(a *marathon.App) {
	c := a.Check
	const path = "/check"
	v.when(isDocker(a), "/", "AppDefinition must not use 'checks' if using docker")
	v.atLeast(path+"/intervalSeconds", c.IntervalSeconds, 0)
	v.atLeast(path+"/timeoutSeconds", c.TimeoutSeconds, 0)
	v.atLeast(path+"/delaySeconds", c.DelaySeconds, 0)
	kinds := 0
	const misses = "check port index must address an element of the ports array or container port mappings."
	const both = "check must specify either a port or a portIndex"
	if c.HTTP != nil {
		kinds++
		v.portReference(path, a, c.HTTP.Port, c.HTTP.PortIndex, misses, both)
		v.when(len(c.HTTP.Path) > 1024, path+"/http/path", "is longer than 1024 characters")
	}
	if c.TCP != nil {
		kinds++
		v.portReference(path, a, c.TCP.Port, c.TCP.PortIndex, misses, both)
	}
	if c.Exec != nil {
		kinds++
		v.when((c.Exec.Command.Shell == "") == (len(c.Exec.Command.Argv) == 0), path+"/exec/command",
			"must have exactly one of shell and argv")
	}
	v.when(kinds != 1, path, "Must specify a single type of check, http, tcp, or exec")
}

func (v *verdict) readiness(path string, a *marathon.App, r *marathon.ReadinessCheck) {
	v.notEmpty(path+"/name", r.Name)
	v.length(path+"/path", r.Path, 1024)
	v.match(path+"/portName", portNamePattern, r.PortName)
	v.when(!portNamed(a, r.PortName), path+"/portName", "No port definition reference for portName "+r.PortName)
	v.atLeast(path+"/intervalSeconds", r.IntervalSeconds, 0)
	v.atLeast(path+"/timeoutSeconds", r.TimeoutSeconds, 1)
	v.when(r.TimeoutSeconds >= r.IntervalSeconds, path+"/timeoutSeconds",
		fmt.Sprintf("got %d, expected less than %d", r.TimeoutSeconds, r.IntervalSeconds))
	v.when(len(r.HTTPStatusCodesForReady) == 0, path+"/httpStatusCodesForReady", "must not be empty")
	for i, code := range r.HTTPStatusCodesForReady {
		v.between(path+"/httpStatusCodesForReady"+index(i), float64(code), 100, 999)
	}
}

func portNamed(a *marathon.App, name string) bool {
	for _, p := range a.PortDefinitions {
		if p.Name == name {
			return true
		}
	}
	if a.Container != nil {
		for _, m := range a.Container.PortMappings {
			if m.Name == name {
				return true
			}
		}
	}
	return false
}
