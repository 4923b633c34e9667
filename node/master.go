package node

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stoa-kernel/stoa/cli"
	"github.com/stoa-kernel/stoa/internal/build"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/master"
	"github.com/stoa-kernel/stoa/store"
)

// masterFlags are a master's settings; names and defaults are Mesos's where Mesos has
// the flag (docs/configuration/master.md).
type masterFlags struct {
	config       master.Config
	removalRate  string
	minResources string
	roles        string
}

func (m *masterFlags) flags(f *pflag.FlagSet, listenFlag string) {
	f.StringVar(&m.config.Listen, listenFlag, "127.0.0.1:5050", "host:port the master serves at")
	f.StringVar(&m.config.Advertise, "advertise", "", "host or host:port as others reach the master; the address listened on by default")
	f.BoolVar(&m.config.AllowRemote, "allow-remote", false, "allow listening off loopback although nobody authenticates: whoever reaches the port runs commands on every agent")
	connections(f, &m.config.Connections)
	s := &m.config.State
	for _, d := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
		help  string
	}{
		{"agent-ping-timeout", &s.AgentPingInterval, 15 * time.Second, "how often agents are pinged"},
		{"agent-reregister-timeout", &s.AgentReregisterTimeout, 10 * time.Minute, "how long an agent may take to come back"},
		{"offer-timeout", &s.OfferTimeout, 5 * time.Minute, "how long an offer may stay unanswered"},
		{"registry-gc-interval", &s.RegistryGCInterval, 15 * time.Minute, "how often old unreachable and gone agents are forgotten"},
		{"registry-max-agent-age", &s.RegistryMaxAgentAge, 14 * 24 * time.Hour, "how long unreachable and gone agents are remembered"},
	} {
		*d.value = d.def
		f.Var((*cli.Duration)(d.value), d.name, d.help)
	}
	f.IntVar(&s.MaxAgentPingTimeouts, "max-agent-ping-timeouts", 5, "how many pings an agent may miss before it is unreachable")
	f.StringVar(&m.removalRate, "agent-removal-rate-limit", "", "at most so many agents are marked unreachable, as in 1/10mins; no limit by default")
	f.StringVar(&m.minResources, "min-allocatable-resources", "cpus:0.01|mem:32", "an offer has at least one of these")
	f.StringVar(&m.roles, "roles", "", "only these `roles`, comma separated, may be subscribed; all by default")
	f.IntVar(&s.MaxCompletedFrameworks, "max-completed-frameworks", 50, "how many completed frameworks are remembered")
	f.IntVar(&s.MaxCompletedTasks, "max-completed-tasks-per-framework", 1000, "how many completed tasks are remembered of each framework")
	f.IntVar(&s.MaxUnreachableTasks, "max-unreachable-tasks-per-framework", 1000, "how many unreachable tasks are remembered of each framework")
	f.IntVar(&s.RegistryMaxAgentCount, "registry-max-agent-count", 102400, "how many unreachable and gone agents are remembered")
}

// finish reads the flags that have a syntax of their own.
func (m *masterFlags) finish() error {
	if err := tooFew(m.config.Connections); err != nil {
		return err
	}
	s := &m.config.State
	s.Version = build.Mesos
	if m.roles != "" {
		s.Roles = strings.Split(m.roles, ",")
	}
	for _, text := range strings.Split(m.minResources, "|") {
		q, err := resource.ParseQuantities(text)
		if err != nil {
			return &cli.Error{What: "--min-allocatable-resources " + m.minResources, Why: err.Error(), Try: "the form cpus:0.01|mem:32", Code: cli.ExitUsage}
		}
		s.MinAllocatable = append(s.MinAllocatable, q)
	}
	if m.removalRate != "" {
		count, per, ok := strings.Cut(m.removalRate, "/")
		n, err := strconv.Atoi(strings.TrimSpace(count))
		d, derr := cli.ParseDuration(per)
		if !ok || err != nil || n < 1 || derr != nil || d <= 0 {
			return &cli.Error{What: "--agent-removal-rate-limit " + m.removalRate + " is no rate", Try: "the form 1/10mins", Code: cli.ExitUsage}
		}
		s.AgentRemovalInterval = d / time.Duration(n)
	}
	return nil
}

func masterCommand() *cobra.Command {
	var m masterFlags
	var l logging
	var st storage
	var dataDir string
	c := &cobra.Command{
		Use:   "master",
		Short: "Run a master",
		Long: `Run a master. Its registry is in an etcd embedded below the data directory, or in a
cluster of yours with --store. Tasks run on when it ends, on whatever signal.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			log, err := l.logger()
			if err != nil {
				return err
			}
			if err := m.finish(); err != nil {
				return err
			}
			m.config.Ready = func(url string) { fmt.Printf("ready  master %s\n", url) }
			return st.with(c.Context(), dataDir, "master", func(ctx context.Context, s store.Store) error {
				return runMaster(ctx, m.config, s, log, "listen")
			})
		},
	}
	m.flags(c.Flags(), "listen")
	st.flags(c.Flags())
	l.flags(c.Flags())
	c.Flags().StringVar(&dataDir, "data-dir", defaultDataDir(), "`directory` of the registry")
	return c
}

func runMaster(ctx context.Context, cfg master.Config, s store.Store, log *slog.Logger, flag string) error {
	cfg.Store, cfg.Log = s, log.With("role", "master")
	collectLess(ctx)
	return taken(flag, cfg.Listen, master.Run(ctx, cfg))
}
