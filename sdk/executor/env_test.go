package executor

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestFromEnv(t *testing.T) {
	env := map[string]string{
		"MESOS_AGENT_ENDPOINT": "127.0.0.1:5051", "MESOS_FRAMEWORK_ID": "f", "MESOS_EXECUTOR_ID": "e", "MESOS_SLAVE_ID": "s",
		"MESOS_CHECKPOINT": "1", "MESOS_RECOVERY_TIMEOUT": "15mins", "MESOS_SUBSCRIPTION_BACKOFF_MAX": "2secs",
		"MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": "500ms", "MESOS_SANDBOX": "/mnt/mesos/sandbox", envToken: "secret",
	}
	for k, v := range env {
		t.Setenv(k, v)
	}
	got, err := FromEnv()
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Agent: "127.0.0.1:5051", FrameworkID: "f", ExecutorID: "e", AgentID: "s", Checkpoint: true, Sandbox: "/mnt/mesos/sandbox",
		RecoveryTimeout: 15 * time.Minute, MaxBackoff: 2 * time.Second, ShutdownGrace: 500 * time.Millisecond, Token: "secret",
	}
	if got != want {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if _, ok := os.LookupEnv(envToken); ok {
		t.Error("the token is still in the environment")
	}
}

func TestFromEnvNamesWhatIsMissing(t *testing.T) {
	_, err := fromEnv(func(name string) string {
		return map[string]string{"MESOS_AGENT_ENDPOINT": "nowhere", "MESOS_RECOVERY_TIMEOUT": "soon"}[name]
	})
	for _, name := range []string{"MESOS_FRAMEWORK_ID", "MESOS_EXECUTOR_ID", "MESOS_AGENT_ENDPOINT", "MESOS_RECOVERY_TIMEOUT"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not name %s", err, name)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"15mins": 15 * time.Minute, "1.5secs": 1500 * time.Millisecond, "0ns": 0, "-2hrs": -2 * time.Hour,
		"1weeks": 7 * 24 * time.Hour, "3days": 72 * time.Hour, "10us": 10 * time.Microsecond,
	} {
		if got, err := ParseDuration(in); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "15", "mins", "15m", "15 mins", "1e3secs", "1.secs", "99999weeks", "15minsx"} {
		if d, err := ParseDuration(in); err == nil {
			t.Errorf("%q is %v", in, d)
		}
	}
}
