package node

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/stoa-kernel/stoa/cli"
)

// given is what the service's flags make of a command line, with words separated by
// spaces.
func given(t *testing.T, line string) (s *serviceFlags, rest, warnings []string, err error) {
	t.Helper()
	s = new(serviceFlags)
	root := &cobra.Command{Use: "stoa", SilenceErrors: true, SilenceUsage: true}
	Commands(root)
	c := &cobra.Command{Use: "x", RunE: func(_ *cobra.Command, args []string) error {
		rest = args
		warnings, err = s.finish()
		return err
	}}
	s.flags(c.Flags())
	root.AddCommand(c)
	root.SetArgs(append([]string{"x"}, strings.Fields(line)...))
	err = root.Execute()
	return s, rest, warnings, err
}

// Marathon's command lines are taken as they are; what has no effect is said.
func TestFlagsAsMarathonHasThem(t *testing.T) {
	s, rest, warnings, err := given(t, "--zk zk://a/marathon --disable_ha --framework_name m --task_launch_timeout 1000 --maintenance_mode=false "+
		"--disable_store_cache --http_port 9090 --event_stream_max_outstanding_messages 5 --webui_url http://w --mesos_leader_ui_url http://l --hostname h --mesos_user nobody")
	if err != nil || len(rest) > 0 {
		t.Fatal(err, rest)
	}
	c := s.config
	if c.Name != "m" || c.Core.LaunchTimeout != time.Second || !c.Core.NoMaintenance || s.httpPort != "9090" ||
		c.EventBacklog != 5 || c.WebUIURL != "http://w" || c.MasterURL != "http://l" || c.Hostname != "h" || c.Core.Task.User != "nobody" {
		t.Errorf("%+v", c)
	}
	told := strings.Join(warnings, "\n")
	for _, name := range []string{"--zk ", "--disable-ha ", "--disable-store-cache "} {
		if !strings.Contains(told, name) {
			t.Errorf("%q does not name %s", told, name)
		}
	}
	if len(warnings) != 3 {
		t.Error(warnings)
	}
	if _, ok := c.Settings["zk"]; ok {
		t.Error("what has no effect is shown as a setting")
	}
}

// /v2/info shows what Marathon 1.10's InfoResource does and no more: marathon-python passes
// the names on as arguments and fails at one it does not have.
func TestSettingsHaveMarathonsNames(t *testing.T) {
	s, _, _, err := given(t, "--enable_features secrets --local_port_min 9000 --health-checks service --backup-dir /b")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"access_control_allow_origin": []string{}, "decline_offer_duration": int64(120000), "default_network_name": "",
		"env_vars_prefix": "", "executor": "//cmd", "failover_timeout": int64(604800), "features": []string{"secrets"},
		"framework_name": "marathon", "local_port_max": int64(20000), "local_port_min": int64(9000), "maintenance_mode": true,
		"max_instances_per_offer": int64(0), "mesos_role": "*", "mesos_user": "", "min_revive_offers_interval": int64(200),
		"new_group_enforce_role": "off", "reconciliation_interval": int64(600000), "task_launch_confirm_timeout": int64(300000),
		"task_launch_timeout": int64(300000), "task_reservation_timeout": int64(20000),
	}
	if got := s.config.Settings; !reflect.DeepEqual(got, want) {
		t.Errorf("%#v", got)
	}
}

func TestFlagsFromTheEnvironment(t *testing.T) {
	t.Setenv("MARATHON_MAX_APPS", "7")
	t.Setenv("MARATHON_FRAMEWORK_NAME", "env")
	t.Setenv("MESOSPHERE_HTTP_CREDENTIALS", "a:b")
	s, _, _, err := given(t, "--framework-name line")
	if err != nil {
		t.Fatal(err)
	}
	if c := s.config; c.Core.App.MaxApps != 7 || c.Name != "line" || c.Credentials != "a:b" {
		t.Errorf("%+v", c)
	}
	for name, v := range s.config.Settings {
		if text, ok := v.(string); ok && strings.Contains(text, "a:b") {
			t.Errorf("%s shows the password", name)
		}
	}
	t.Setenv("MARATHON_MAX_APPS", "many")
	if _, _, _, err := given(t, ""); err == nil || !strings.Contains(err.Error(), "MARATHON_MAX_APPS=many") {
		t.Error(err)
	}
}

func TestFlagsThatAreRefused(t *testing.T) {
	for _, line := range []string{
		"--enable-features x", "--local-port-min 5 --local-port-max 5", "--local-port-min -1", "--http-credentials abc", "--health-checks x",
		"--unreachable-default 5", "--callback-allow 10", "--new-group-enforce-role x", "--accepted-resource-roles-default-behavior x",
		"--gpu-scheduling-behavior x", "--max-apps -1", "--zk-max-versions 0", "--max-running-deployments 0", "--failover-timeout 0",
		"--kill-retry-timeout 0", "--task-launch-timeout 99999999999", "--max-instances-per-offer -1", "--http-max-concurrent-requests -1",
		"--event-stream-max-outstanding-messages 0", "--tls-cert /nowhere",
	} {
		_, _, _, err := given(t, line)
		if err == nil {
			t.Errorf("%s is taken", line)
			continue
		}
		var e *cli.Error
		if errors.As(err, &e) && (e.Code != cli.ExitUsage || e.What == "") {
			t.Errorf("%s: %+v", line, e)
		}
	}
}

func TestHTTPPortIsListenedAt(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(free.Addr().String())
	free.Close()
	s := serviceFlags{httpPort: port}
	s.config.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	cfg, err := s.listen("listen", "127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	defer cfg.Listener.Close()
	if cfg.URL != "http://127.0.0.1:"+port {
		t.Error(cfg.URL)
	}
	s = serviceFlags{httpAddress: "0.0.0.0"}
	if _, err := s.listen("listen", "127.0.0.1:0"); err == nil {
		t.Error("listens off loopback without credentials")
	}
}
