package executor

import (
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"time"
)

// FromEnv is the configuration an agent gives an executor in its environment (Mesos 1.11,
// docs/executor-http-api.md). The authentication token is removed from the environment, so
// that tasks do not inherit it.
func FromEnv() (Config, error) {
	cfg, err := fromEnv(os.Getenv)
	if err != nil {
		return Config{}, err
	}
	if cfg.Token != "" {
		if err := os.Unsetenv(envToken); err != nil {
			return Config{}, fmt.Errorf("executor: removing %s from the environment: %w", envToken, err)
		}
	}
	return cfg, nil
}

const envToken = "MESOS_EXECUTOR_AUTHENTICATION_TOKEN"

func fromEnv(get func(string) string) (Config, error) {
	var problems []error
	text := func(name string, required bool) string {
		v := get(name)
		if v == "" && required {
			problems = append(problems, fmt.Errorf("%s is not set", name))
		}
		return v
	}
	duration := func(name string, otherwise time.Duration) time.Duration {
		v := get(name)
		if v == "" {
			return otherwise
		}
		d, err := ParseDuration(v)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", name, err))
		}
		return d
	}
	cfg := Config{
		Agent:           text("MESOS_AGENT_ENDPOINT", true),
		FrameworkID:     text("MESOS_FRAMEWORK_ID", true),
		ExecutorID:      text("MESOS_EXECUTOR_ID", true),
		AgentID:         text("MESOS_SLAVE_ID", false),
		Sandbox:         text("MESOS_SANDBOX", false),
		DomainSocket:    text("MESOS_DOMAIN_SOCKET", false),
		Token:           text(envToken, false),
		Checkpoint:      get("MESOS_CHECKPOINT") == "1",
		RecoveryTimeout: duration("MESOS_RECOVERY_TIMEOUT", 15*time.Minute),
		MaxBackoff:      duration("MESOS_SUBSCRIPTION_BACKOFF_MAX", 2*time.Second),
		ShutdownGrace:   duration("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", 5*time.Second),
	}
	if _, _, err := net.SplitHostPort(cfg.Agent); cfg.Agent != "" && err != nil {
		problems = append(problems, fmt.Errorf("MESOS_AGENT_ENDPOINT: %w", err))
	}
	if len(problems) > 0 {
		return Config{}, fmt.Errorf("executor: this is not the environment an agent starts executors in: %w", errors.Join(problems...))
	}
	return cfg, nil
}

var (
	durationForm = regexp.MustCompile(`^(-?[0-9]+(?:\.[0-9]+)?)(ns|us|ms|secs|mins|hrs|days|weeks)$`)
	units        = map[string]time.Duration{
		"ns": 1, "us": time.Microsecond, "ms": time.Millisecond, "secs": time.Second, "mins": time.Minute,
		"hrs": time.Hour, "days": 24 * time.Hour, "weeks": 7 * 24 * time.Hour,
	}
)

// ParseDuration reads a duration in Mesos's form: a number and one unit of ns, us, ms,
// secs, mins, hrs, days and weeks, as in "1.5mins".
func ParseDuration(s string) (time.Duration, error) {
	m := durationForm.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("%.40q is not a duration: a number and one of ns, us, ms, secs, mins, hrs, days, weeks was expected", s)
	}
	v, err := strconv.ParseFloat(m[1], 64)
	// Beyond this a product with the unit does not fit.
	if err != nil || v*float64(units[m[2]]) >= 1<<63 || v*float64(units[m[2]]) <= -1<<63 {
		return 0, fmt.Errorf("%.40q is longer than durations can be", s)
	}
	return time.Duration(v * float64(units[m[2]])), nil
}
