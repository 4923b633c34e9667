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
