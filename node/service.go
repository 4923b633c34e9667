package node

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"math"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/cli"
	"github.com/stoa-kernel/stoa/service"
	"github.com/stoa-kernel/stoa/store"
)

// serviceFlags are the service's settings; names and defaults are Marathon's where
// Marathon has the flag (docs/command-line-flags.md). Each may be set as MARATHON_<FLAG>
// too.
type serviceFlags struct {
	config        service.Config
	features      []string
	unreachable   string
	checks        string
	callbacks     []string
	gpus          string
	seconds       []seconds
	cert, key, ca string
	maintenance   bool
	// httpAddress and httpPort are Marathon's way to say where the API is.
	httpAddress, httpPort string
	// own are the flags of the service alone, among those of other roles.
	own *pflag.FlagSet
}

// seconds is a flag in Marathon's plain numbers that sets a duration.
type seconds struct {
	n    *int64
	to   *time.Duration
	unit time.Duration
}

// withoutEffect are Marathon's flags that mean nothing here, with why.
var withoutEffect = []struct{ name, why string }{
	{"zk", "state is in Stoa's store: see --store"},
	{"zk-timeout", "state is in Stoa's store"},
	{"zk-session-timeout", "state is in Stoa's store"},
	{"zk-connection-timeout", "state is in Stoa's store"},
	{"zk-compression", "state is in Stoa's store"},
	{"zk-compression-threshold", "state is in Stoa's store"},
	{"zk-max-node-size", "state is in Stoa's store"},
	{"zk-max-concurrency", "state is in Stoa's store"},
	{"internal-store-backend", "state is in Stoa's store"},
	{"store-cache", "state is in Stoa's store"},
	{"storage-compaction-interval", "versions are removed as new ones come"},
	{"storage-compaction-scan-batch-size", "versions are removed as new ones come"},
	{"group-versions-cache-size", "versions are read from the store"},
	{"leader-election-backend", "leaders are elected in Stoa's store"},
	{"ha", "election is always on"},
	{"disable-ha", "election is always on"},
	{"checkpoint", "every task is checkpointed"},
	{"disable-checkpoint", "every task is checkpointed"},
	{"launch-tokens", "launches are not rationed"},
	{"launch-token-refresh-interval", "launches are not rationed"},
	{"max-parallel-offers", "offers are matched in one step"},
	{"max-queued-offers", "offers are matched in one step"},
	{"offer-matching-timeout", "offers are matched in one step"},
	{"kill-chunk-size", "kills are not sent in chunks"},
	{"max-parallel-status-updates", "status updates are handled in order"},
	{"max-queued-status-updates", "status updates are handled in order"},
	{"suppress-offers", "offers are always suppressed while nothing waits"},
	{"scale-apps-interval", "apps are looked at when something changes"},
	{"scale-apps-initial-delay", "apps are looked at when something changes"},
	{"reconciliation-initial-delay", "tasks are reconciled at each subscription"},
	{"task-lost-expunge-initial-delay", "each instance has its own timer"},
	{"task-lost-expunge-interval", "each instance has its own timer"},
	{"on-elected-prepare-timeout", "loading has no timeout"},
	{"leader-proxy-connection-timeout", "standbys wait as long as their clients"},
	{"leader-proxy-read-timeout", "standbys wait as long as their clients"},
	{"logging-level", "see --log-level"},
	{"deprecated-features", "what they switch on is always on"},
	{"metrics-prometheus", "metrics are always served"},
	{"http-compression", "compression is always on"},
	{"disable-zk-compression", "state is in Stoa's store"},
	{"disable-store-cache", "state is in Stoa's store"},
	{"disable-suppress-offers", "offers are always suppressed while nothing waits"},
	{"disable-metrics-prometheus", "metrics are always served"},
	{"disable-http-compression", "compression is always on"},
	{"https-address", "see --tls-cert: the API is served at one address"},
	{"https-port", "see --tls-cert: the API is served at one address"},
	{"disable-http", "with --tls-cert only https is served"},
	{"ssl-keystore-path", "see --tls-cert and --tls-key"},
	{"ssl-keystore-password", "see --tls-cert and --tls-key"},
	{"backup-location", "see --backup-dir and DELETE /v2/leader?backup="},
	{"graceful-shutdown-timeout", "nothing has to be waited for"},
	{"leader-proxy-ssl-ignore-hostname", "see --tls-ca"},
	{"leader-proxy-max-open-connections", "standbys use 64"},
	{"max-queued-root-group-updates", "requests wait for at most a minute"},
	{"mesos-authentication", "masters are reached over loopback or a tunnel"},
	{"mesos-authentication-principal", "masters are reached over loopback or a tunnel"},
	{"mesos-authentication-secret", "masters are reached over loopback or a tunnel"},
	{"mesos-authentication-secret-file", "masters are reached over loopback or a tunnel"},
	{"mesos-heartbeat-interval", "the master says how often"},
	{"mesos-heartbeat-failure-threshold", "the master says how often"},
	{"mesos-bridge-name", "it is always mesos-bridge"},
	{"mesos-offer-constraints", "offers that do not fit are declined"},
	{"min-mesos-offer-constraints-update-interval", "offers that do not fit are declined"},
	{"default-accepted-resource-roles", "see --accepted-resource-roles-default-behavior"},
	{"instance-tracker-num-parallel-loads", "instances are loaded at once"},
	{"instance-tracker-num-parallel-updates", "instances are updated in order"},
	{"instance-tracker-update-queue-size", "instances are updated in order"},
	{"plugin-dir", "there are no plugins"},
	{"plugin-conf", "there are no plugins"},
	{"metrics-name-prefix", "it is always marathon"},
	{"metrics-statsd", "see /metrics/prometheus"},
	{"metrics-datadog", "see /metrics/prometheus"},
	{"logstash", "logs go to stderr: see --log-json"},
	{"sentry-url", "logs go to stderr"},
	{"sentry-tags", "logs go to stderr"},
}

// switches are those of them that take no value.
var switches = []string{
	"ha", "disable-ha", "checkpoint", "disable-checkpoint", "zk-compression", "disable-zk-compression", "store-cache", "disable-store-cache",
	"suppress-offers", "disable-suppress-offers", "metrics-prometheus", "disable-metrics-prometheus", "http-compression", "disable-http-compression",
	"disable-http", "leader-proxy-ssl-ignore-hostname", "mesos-authentication", "mesos-offer-constraints", "metrics-statsd", "metrics-datadog",
}

func (s *serviceFlags) flags(all *pflag.FlagSet) {
	f := pflag.NewFlagSet("service", pflag.ContinueOnError)
	s.own = f
	defer all.AddFlagSet(f)
	c := &s.config
	core := &c.Core
	number := func(name string, to *time.Duration, unit time.Duration, def int64, help string) {
		n := new(int64)
		f.Int64Var(n, name, def, help)
		s.seconds = append(s.seconds, seconds{n, to, unit})
	}
	f.StringVar(&c.Name, "framework-name", "marathon", "name of the framework")
	f.StringVar(&c.Hostname, "hostname", "", "`name` of this machine as the framework tells it; by default the machine's own")
	f.StringVar(&core.App.Role, "mesos-role", "*", "default `role` of apps")
	f.StringVar(&core.Task.User, "mesos-user", "", "`user` that tasks run as if their app names none; by default the service's own")
	number("failover-timeout", &c.FailoverTimeout, time.Second, 604800, "`seconds` that tasks outlive the service")
	f.StringVar(&core.App.NewGroupEnforceRole, "new-group-enforce-role", "off", "whether new top-level groups enforce their role: off or top")
	f.StringVar(&core.App.AcceptedRoles, "accepted-resource-roles-default-behavior", "any", "which resources apps accept that do not say: any, unreserved or reserved")
	f.StringVar(&core.App.DefaultNetwork, "default-network-name", "", "`name` of container networks that have none")
	f.StringSliceVar(&s.features, "enable-features", nil, "`features` switched on: "+strings.Join(features, ", "))
	f.StringVar(&core.Task.EnvPrefix, "env-vars-prefix", "", "`prefix` of generated environment variables but MESOS_* and MARATHON_*")
	f.StringVar(&core.Task.Executor, "executor", "//cmd", "`executor` of apps that name none")
	f.IntVar(&core.App.PortMin, "local-port-min", 10000, "lowest automatic service port")
	f.IntVar(&core.App.PortMax, "local-port-max", 20000, "end of the automatic service ports, itself not used")
	f.IntVar(&core.App.MaxApps, "max-apps", 0, "how many apps there may be; 0 is no limit")
	f.IntVar(&core.MaxDeployments, "max-running-deployments", 100, "how many deployments may run at a time")
	f.IntVar(&core.MaxVersions, "zk-max-versions", 50, "how many versions of each app and of the tree are kept")
	f.IntVar(&core.MaxPerOffer, "max-instances-per-offer", 0, "how many instances are launched from one offer at most; 0 is no limit")
	number("task-launch-confirm-timeout", &core.LaunchConfirm, time.Millisecond, 300000, "`milliseconds` a launched task may stay without a status")
	number("task-launch-timeout", &core.LaunchTimeout, time.Millisecond, 300000, "`milliseconds` a task may be staging")
	number("task-reservation-timeout", &core.ReservationTimeout, time.Millisecond, 20000, "`milliseconds` a reservation may stay unconfirmed")
	number("kill-retry-timeout", &core.KillRetry, time.Millisecond, 30000, "`milliseconds` between kills of a task that does not end")
	number("decline-offer-duration", &core.Decline, time.Millisecond, 120000, "`milliseconds` an offer that fits nothing stays away")
	number("min-revive-offers-interval", &core.Revive, time.Millisecond, 200, "least `milliseconds` between two calls for offers")
	number("reconciliation-interval", &core.Reconcile, time.Millisecond, 600000, "`milliseconds` between reconciliations")
	number("draining-seconds", &core.Draining, time.Second, 0, "`seconds` before its maintenance that an agent is avoided")
	f.StringVar(&s.gpus, "gpu-scheduling-behavior", "restricted", "whether apps that need no GPU may use agents that have some: restricted or unrestricted")
	f.BoolVar(&s.maintenance, "maintenance-mode", true, "whether agents in maintenance windows are avoided")
	f.StringVar(&s.unreachable, "unreachable-default", "0,0", "seconds after which unreachable instances are replaced, and forgotten, or 'disabled'; for apps that do not say")
	f.StringVar(&s.checks, "health-checks", "agent", "who makes HTTP, HTTPS and TCP health checks: agent, or service")
	f.IntVar(&c.Probes, "max-concurrent-marathon-health-checks", 256, "how many checks the service makes at a time")
	f.StringVar(&s.cert, "tls-cert", "", "`file` of the certificate with which the service's API is served")
	f.StringVar(&s.key, "tls-key", "", "`file` of that certificate's key")
	f.StringVar(&s.ca, "tls-ca", "", "`file` of the certificate authorities that the leader's certificate must be of, for a service that does not lead")
	f.StringVar(&c.Credentials, "http-credentials", "", "`user:password` for basic authentication; better in MARATHON_HTTP_CREDENTIALS")
	f.StringVar(&c.Realm, "http-realm", "Mesosphere", "`realm` of basic authentication")
	f.StringSliceVar(&c.Origin, "access-control-allow-origin", nil, "`origins` for CORS")
	f.IntVar(&c.MaxRequests, "http-max-concurrent-requests", 0, "how many requests are served at a time; 0 is no limit")
	f.IntVar(&c.EventBacklog, "event-stream-max-outstanding-messages", 1024, "how many events may wait for one reader before it is cut off")
	f.StringVar(&c.WebUIURL, "webui-url", "", "`URL` of the service as others reach it; by default where it listens")
	f.StringVar(&c.MasterURL, "mesos-leader-ui-url", "", "`URL` of the master's page as others reach it; by default the first master")
	f.StringVar(&s.httpAddress, "http-address", "", "`host` at which the API is served, in place of the address's to listen at")
	f.StringVar(&s.httpPort, "http-port", "", "`port` at which the API is served, likewise")
	f.StringSliceVar(&s.callbacks, "callback-allow", nil, "`networks` in CIDR form that event callbacks may go to; loopback by default")
	f.StringVar(&c.BackupDir, "backup-dir", "", "`directory` below which DELETE /v2/leader?backup=file:///PATH writes, and ?restore= reads; none by default")
	for _, w := range withoutEffect {
		f.String(w.name, "", w.why)
		f.Lookup(w.name).Hidden = true
		if slices.Contains(switches, w.name) {
			f.Lookup(w.name).NoOptDefVal = "true"
		}
	}
}

// features that Marathon knows.
var features = []string{"vips", "task_killing", "external_volumes", "secrets", "gpu_resources"}

// finish reads the environment and the flags that have a syntax of their own; warnings
// are for the log.
func (s *serviceFlags) finish() (warnings []string, err error) {
	f := s.own
	var failed error
	f.VisitAll(func(flag *pflag.Flag) {
		name := "MARATHON_" + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))
		value, ok := os.LookupEnv(name)
		if name == "MARATHON_HTTP_CREDENTIALS" && !ok {
			value, ok = os.LookupEnv("MESOSPHERE_HTTP_CREDENTIALS")
		}
		if ok && !flag.Changed && failed == nil {
			if err := f.Set(flag.Name, value); err != nil {
				failed = &cli.Error{What: name + "=" + value, Why: err.Error(), Code: cli.ExitUsage}
			}
		}
	})
	if failed != nil {
		return nil, failed
	}
	for _, w := range withoutEffect {
		if f.Lookup(w.name).Changed {
			warnings = append(warnings, "--"+w.name+" has no effect: "+w.why)
		}
	}
	for _, n := range s.seconds {
		*n.to = time.Duration(*n.n) * n.unit
	}
	core := &s.config.Core
	core.App.Features = make(map[string]bool)
	for _, name := range s.features {
		if !slices.Contains(features, name) {
			return nil, &cli.Error{What: "--enable-features " + name + " is no feature", Try: strings.Join(features, ", "), Code: cli.ExitUsage}
		}
		core.App.Features[name] = true
	}
	switch s.checks {
	case "agent":
	case "service":
		core.Task.ServiceProbes = true
	default:
		return nil, &cli.Error{What: "--health-checks " + s.checks, Try: "agent or service", Code: cli.ExitUsage}
	}
	core.NoMaintenance = !s.maintenance
	if err := s.ranges(); err != nil {
		return nil, err
	}
	switch s.gpus {
	case "restricted":
	case "unrestricted":
		core.WasteGPUs = true
	default:
		return nil, &cli.Error{What: "--gpu-scheduling-behavior " + s.gpus, Try: "restricted or unrestricted", Code: cli.ExitUsage}
	}
	if core.App.Unreachable, err = unreachableStrategy(s.unreachable); err != nil {
		return nil, err
	}
	for _, text := range s.callbacks {
		_, network, err := net.ParseCIDR(text)
		if err != nil {
			return nil, &cli.Error{What: "--callback-allow " + text, Why: err.Error(), Try: "the form 10.0.0.0/8", Code: cli.ExitUsage}
		}
		s.config.CallbackAllow = append(s.config.CallbackAllow, network)
	}
	if core.App.PortMin < 0 || core.App.PortMax > 65535 || core.App.PortMin >= core.App.PortMax {
		return nil, &cli.Error{What: fmt.Sprintf("--local-port-min %d and --local-port-max %d are no range of ports", core.App.PortMin, core.App.PortMax), Code: cli.ExitUsage}
	}
	if c := s.config.Credentials; c != "" && !strings.Contains(c, ":") {
		return nil, &cli.Error{What: "--http-credentials has no colon", Try: "the form user:password", Code: cli.ExitUsage}
	}
	if s.config.TLS, s.config.Trust, err = s.tls(); err != nil {
		return nil, err
	}
	s.config.Settings = settings(f)
	return warnings, nil
}

// ranges refuses values that would not do what they say.
func (s *serviceFlags) ranges() error {
	least := map[string]int64{ // of numbers; 1 for those not here
		"max-apps": 0, "max-instances-per-offer": 0, "draining-seconds": 0, "local-port-min": 0, "http-max-concurrent-requests": 0,
	}
	var err error
	s.own.VisitAll(func(f *pflag.Flag) {
		if t := f.Value.Type(); t != "int" && t != "int64" || err != nil {
			return
		}
		from, ok := least[f.Name]
		if !ok {
			from = 1
		}
		n, _ := strconv.ParseInt(f.Value.String(), 10, 64) // it is one
		if n < from || n > math.MaxInt32 {
			err = &cli.Error{What: fmt.Sprintf("--%s %d", f.Name, n), Try: fmt.Sprintf("%d to %d", from, math.MaxInt32), Code: cli.ExitUsage}
		}
	})
	for name, values := range map[string][]string{
		"new-group-enforce-role": {"off", "top"}, "accepted-resource-roles-default-behavior": {"any", "unreserved", "reserved"},
	} {
		if v := s.own.Lookup(name).Value.String(); err == nil && !slices.Contains(values, v) {
			err = &cli.Error{What: "--" + name + " " + v, Try: strings.Join(values, ", "), Code: cli.ExitUsage}
		}
	}
	return err
}

func (s *serviceFlags) tls() (own, trust *tls.Config, err error) {
	if s.cert != "" || s.key != "" {
		pair, err := tls.LoadX509KeyPair(s.cert, s.key)
		if err != nil {
			return nil, nil, fmt.Errorf("--tls-cert and --tls-key: %w", err)
		}
		own = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	}
	if s.ca != "" {
		if trust, err = authorities("tls-ca", s.ca); err != nil {
			return nil, nil, err
		}
	}
	return own, trust, nil
}

func unreachableStrategy(text string) (u marathon.UnreachableStrategy, err error) {
	if text == "disabled" {
		u.Disabled = true
		return u, nil
	}
	inactive, expunge, ok := strings.Cut(text, ",")
	if ok {
		u.InactiveAfterSeconds, err = strconv.ParseInt(strings.TrimSpace(inactive), 10, 64)
	}
	if ok && err == nil {
		u.ExpungeAfterSeconds, err = strconv.ParseInt(strings.TrimSpace(expunge), 10, 64)
	}
	if !ok || err != nil || u.InactiveAfterSeconds < 0 || u.ExpungeAfterSeconds < u.InactiveAfterSeconds {
		return u, &cli.Error{What: "--unreachable-default " + text, Try: "two numbers of seconds, the second not smaller, as in 300,600; or disabled", Code: cli.ExitUsage}
	}
	return u, nil
}

// shown are the flags that Marathon 1.10 has in marathon_config (its InfoResource), under
// its names. No other is shown: marathon-python refuses a document with a name it does not
// know.
var shown = []string{"access_control_allow_origin", "decline_offer_duration", "default_network_name", "env_vars_prefix",
	"executor", "failover_timeout", "framework_name", "local_port_max", "local_port_min", "maintenance_mode",
	"max_instances_per_offer", "mesos_role", "mesos_user", "min_revive_offers_interval", "new_group_enforce_role",
	"reconciliation_interval", "task_launch_confirm_timeout", "task_launch_timeout", "task_reservation_timeout"}

// settings are what /v2/info shows; what is not a flag here, the service adds.
func settings(f *pflag.FlagSet) map[string]any {
	all := make(map[string]any)
	f.VisitAll(func(flag *pflag.Flag) {
		name := strings.ReplaceAll(flag.Name, "-", "_")
		if name == "enable_features" {
			name = "features"
		} else if !slices.Contains(shown, name) {
			return
		}
		switch flag.Value.Type() {
		case "int", "int64":
			n, _ := strconv.ParseInt(flag.Value.String(), 10, 64) // it is one
			all[name] = n
		case "bool":
			all[name] = flag.Value.String() == "true"
		case "stringSlice":
			list, _ := f.GetStringSlice(flag.Name) // it is one
			all[name] = list
		default:
			all[name] = flag.Value.String()
		}
	})
	return all
}

func serviceCommand() *cobra.Command {
	var s serviceFlags
	var l logging
	var st storage
	var dataDir, addr string
	masters := []string{cli.DefaultAddr}
	c := &cobra.Command{
		Use:   "service",
		Short: "Run the service framework (Marathon's API)",
		Long: `Run the framework that keeps apps running, with Marathon's REST API. It is part of 'stoa
up'; a cluster of separate processes has one or several of it, of which one leads. Apps run on
while it is away. Marathon's flags are understood in both spellings and as MARATHON_*.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			log, err := l.logger()
			if err != nil {
				return err
			}
			warnings, err := s.finish()
			if err != nil {
				return err
			}
			if err := tooFew(s.config.Connections); err != nil {
				return err
			}
			if m := os.Getenv("MARATHON_MASTER"); m != "" && !c.Flags().Changed("master") {
				masters = strings.Split(m, ",")
			}
			for _, w := range warnings {
				log.Warn(w)
			}
			return st.with(c.Context(), dataDir, "service", func(ctx context.Context, records store.Store) error {
				cfg, err := s.listen("listen", addr)
				if err != nil {
					return err
				}
				cfg.Masters, cfg.Store, cfg.Log, cfg.LogLevel = masters, records, log.With("role", "service"), &l.current
				cfg.Ready = func() { fmt.Printf("ready  service %s\n", cfg.URL) }
				collectLess(ctx)
				return service.Run(ctx, cfg)
			})
		},
	}
	c.Flags().StringSliceVar(&masters, "master", masters, "`addresses` of the masters")
	c.Flags().StringVar(&addr, "listen", "127.0.0.1:8080", "host:port of the API")
	connections(c.Flags(), &s.config.Connections)
	s.flags(c.Flags())
	c.Flags().StringVar(&dataDir, "data-dir", defaultDataDir()+"-service", "`directory` of the records")
	st.flags(c.Flags())
	l.flags(c.Flags())
	return c
}

// listen opens the listener, off loopback only where everybody has to authenticate.
func (s *serviceFlags) listen(flag, addr string) (service.Config, error) {
	cfg := s.config
	host, port, err := net.SplitHostPort(addr)
	if err == nil && (s.httpAddress != "" || s.httpPort != "") {
		addr = net.JoinHostPort(cmp.Or(s.httpAddress, host), cmp.Or(s.httpPort, port))
		flag = "http-address and --http-port"
	}
	if cfg.Credentials == "" {
		cfg.Listener, err = listenLoopback(flag, addr)
	} else if cfg.Listener, err = net.Listen("tcp", addr); err != nil {
		err = taken(flag, addr, fmt.Errorf("--%s %s: %w", flag, addr, err))
	}
	if err != nil {
		return cfg, err
	}
	scheme := "http://"
	if cfg.TLS != nil {
		scheme = "https://"
	}
	cfg.URL = scheme + cfg.Listener.Addr().String()
	return cfg, nil
}
