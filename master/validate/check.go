package validate

import (
	"errors"
	"fmt"
	"strings"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
)

func healthCheck(h *mesos.HealthCheck) error {
	if h.Type == nil {
		return errors.New("'type' must be set")
	}
	switch h.GetType() {
	case mesos.HealthCheck_COMMAND:
		if h.Command == nil {
			return errors.New("type COMMAND needs 'command'")
		}
		if err := checkCommand(h.Command); err != nil {
			return err
		}
	case mesos.HealthCheck_HTTP:
		if h.Http == nil {
			return errors.New("type HTTP needs 'http'")
		}
		if s := h.Http.GetScheme(); h.Http.Scheme != nil && s != "http" && s != "https" {
			return fmt.Errorf("'http.scheme' is '%s'; http and https are supported", s)
		}
		if err := checkPath(h.Http.Path); err != nil {
			return err
		}
	case mesos.HealthCheck_TCP:
		if h.Tcp == nil {
			return errors.New("type TCP needs 'tcp'")
		}
	default:
		return fmt.Errorf("'%s' is not a valid type", h.GetType())
	}
	return first(
		seconds("delay_seconds", h.DelaySeconds),
		seconds("grace_period_seconds", h.GracePeriodSeconds),
		seconds("interval_seconds", h.IntervalSeconds),
		seconds("timeout_seconds", h.TimeoutSeconds))
}

func check(c *mesos.CheckInfo) error {
	if c.Type == nil {
		return errors.New("'type' must be set")
	}
	switch c.GetType() {
	case mesos.CheckInfo_COMMAND:
		if c.Command == nil {
			return errors.New("type COMMAND needs 'command'")
		}
		if err := checkCommand(c.Command.GetCommand()); err != nil {
			return err
		}
	case mesos.CheckInfo_HTTP:
		if c.Http == nil {
			return errors.New("type HTTP needs 'http'")
		}
		if err := checkPath(c.Http.Path); err != nil {
			return err
		}
	case mesos.CheckInfo_TCP:
		if c.Tcp == nil {
			return errors.New("type TCP needs 'tcp'")
		}
	default:
		return fmt.Errorf("'%s' is not a valid type", c.GetType())
	}
	return first(
		seconds("delay_seconds", c.DelaySeconds),
		seconds("interval_seconds", c.IntervalSeconds),
		seconds("timeout_seconds", c.TimeoutSeconds))
}

// maxProbes of one task: each is asked by the agent at the same time as all others.
const maxProbes = 100

// probes are Stoa's own, so there is no rule of Mesos's to follow.
func probes(list []*mesos.Probe) error {
	if len(list) > maxProbes {
		return fmt.Errorf("there are %d; a task may have %d", len(list), maxProbes)
	}
	seen := make(map[uint32]bool, len(list))
	for _, p := range list {
		switch {
		case p.Index == nil:
			return errors.New("'index' must be set")
		case seen[p.GetIndex()]:
			return fmt.Errorf("two have the index %d", p.GetIndex())
		}
		seen[p.GetIndex()] = true
		if err := probe(p); err != nil {
			return wrap(fmt.Sprintf("index %d", p.GetIndex()), err)
		}
	}
	return nil
}

func probe(p *mesos.Probe) error {
	switch p.GetProtocol() {
	case mesos.Probe_HTTP, mesos.Probe_HTTPS, mesos.Probe_TCP:
	default:
		return fmt.Errorf("'%s' is not a valid protocol; HTTP, HTTPS and TCP are", p.GetProtocol())
	}
	if p.GetPort() == 0 || p.GetPort() > 65535 {
		return fmt.Errorf("'port' is %d; it must be 1 to 65535", p.GetPort())
	}
	if p.Path != nil && !strings.HasPrefix(p.GetPath(), "/") {
		return fmt.Errorf("'path' is '%s'; it must begin with '/'", p.GetPath())
	}
	return first(
		seconds("interval_seconds", p.IntervalSeconds),
		seconds("timeout_seconds", p.TimeoutSeconds),
		seconds("grace_period_seconds", p.GracePeriodSeconds))
}

func checkCommand(c *mesos.CommandInfo) error {
	if c.GetValue() == "" {
		return errors.New("'command.value' must be set")
	}
	return command(c)
}

func checkPath(p *string) error {
	if p != nil && !strings.HasPrefix(*p, "/") {
		return fmt.Errorf("'http.path' is '%s'; it must begin with '/'", *p)
	}
	return nil
}

// seconds refuses negative numbers, and NaN with them.
func seconds(name string, v *float64) error {
	if v != nil && !(*v >= 0) {
		return fmt.Errorf("'%s' must not be negative", name)
	}
	return nil
}
