package node

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/proto"

	"github.com/stoa-kernel/stoa/agent"
	"github.com/stoa-kernel/stoa/agent/containerizer"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/cli"
	"github.com/stoa-kernel/stoa/internal/build"
	"github.com/stoa-kernel/stoa/kernel/attribute"
	"github.com/stoa-kernel/stoa/kernel/resource"
)

// agentFlags are an agent's settings; names and defaults are Mesos's where Mesos has the
// flag (docs/configuration/agent.md).
type agentFlags struct {
	config      agent.Config
	attributes  string
	cgroupsRoot string
	logSize     cli.Size
	logFiles    int
	setuid      bool
}

func (a *agentFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&a.config.Resources, "resources", "", "what to offer, as cpus:4;mem:8192;disk:10240;ports:[31000-32000], JSON or file://PATH; what is not named is what the machine has")
	f.StringVar(&a.attributes, "attributes", "", "what to say of the machine, as rack:r1;ssd:true")
	f.StringVar(&a.config.Hostname, "hostname", "", "`name` in offers; the machine's by default")
	f.BoolVar(&a.setuid, "allow-new-privileges", false, "let tasks gain privileges by setuid programs such as sudo and ping")
	f.StringVar(&a.cgroupsRoot, "cgroups-root", "stoa", "cgroup below which containers get theirs")
	s := &a.config.State
	f.BoolVar(&s.CFS, "cgroups-enable-cfs", false, "make requested cpus a hard limit; limits.cpus of a task always is one")
	f.Int64Var(&s.PidsLimit, "pids-limit", 0, "most processes and threads of one container; 0 for no limit")
	for _, d := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
		help  string
	}{
		{"executor-registration-timeout", &s.ExecutorRegistrationTimeout, time.Minute, "how long an executor may take to subscribe"},
		{"executor-reregistration-timeout", &s.ExecutorReregistrationTimeout, 2 * time.Second, "how long it may take to after a restart of the agent"},
		{"executor-shutdown-grace-period", &s.ExecutorShutdownGrace, 5 * time.Second, "how long an executor told to shut down may take"},
		{"recovery-timeout", &s.RecoveryTimeout, 15 * time.Minute, "how long executors wait for an agent that is away"},
		{"gc-delay", &s.GCDelay, 7 * 24 * time.Hour, "how long sandboxes of ended tasks are kept, if the disk has room"},
		{"disk-watch-interval", &a.config.DiskWatch, time.Minute, "how often the disk's use is measured"},
	} {
		*d.value = d.def
		f.Var((*cli.Duration)(d.value), d.name, d.help)
	}
	f.Float64Var(&s.GCDiskHeadroom, "gc-disk-headroom", 0.1, "fraction of the disk below which no sandbox is kept")
	a.logSize = 10
	f.Var(&a.logSize, "log-size", "at which a task's stdout and stderr are rotated")
	f.IntVar(&a.logFiles, "log-files", 2, "how many files of each are kept")
}

func (a *agentFlags) finish() error {
	a.config.State.Version = build.Mesos
	if path, ok := cutFile(a.config.Resources); ok {
		text, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("--resources: %w", err)
		}
		a.config.Resources = string(text)
	}
	if a.config.Resources != "" {
		if _, err := resource.Parse(a.config.Resources, "*"); err != nil {
			return &cli.Error{What: "--resources " + a.config.Resources, Why: err.Error(), Try: "the form cpus:4;mem:8192;disk:10240;ports:[31000-32000]", Code: cli.ExitUsage}
		}
	}
	list, err := attribute.Parse(a.attributes)
	if err != nil {
		return &cli.Error{What: "--attributes " + a.attributes, Why: err.Error(), Try: "the form rack:r1;level:10", Code: cli.ExitUsage}
	}
	a.config.Attributes = list
	if a.logFiles < 1 {
		return &cli.Error{What: fmt.Sprintf("--log-files %d: at least one file is written", a.logFiles), Code: cli.ExitUsage}
	}
	return nil
}

func cutFile(text string) (path string, ok bool) {
	const prefix = "file://"
	if len(text) > len(prefix) && text[:len(prefix)] == prefix {
		return text[len(prefix):], true
	}
	return "", false
}

// run starts one agent with its containerizer and ends with it.
func (a *agentFlags) run(ctx context.Context, listenFlag string, log *slog.Logger) error {
	cfg := a.config
	cfg.Log = log
	root := os.Geteuid() == 0
	if !root {
		// Frameworks and operators see it as an attribute.
		cfg.Attributes = append(cfg.Attributes, &mesos.Attribute{
			Name: proto.String("limits"), Type: mesos.Value_TEXT.Enum(), Text: &mesos.Value_Text{Value: proto.String("none")},
		})
		log.Warn("not root: tasks run without limits and namespaces, as this user")
	}
	cfg.Containerizer = func(h agent.Hooks) (agent.Containerizer, error) {
		return containerizer.New(containerizer.Config{
			WorkDir: cfg.WorkDir, Root: root, CgroupRoot: a.cgroupsRoot, AllowNewPrivileges: a.setuid,
			LogSize: int64(float64(a.logSize) * (1 << 20)), LogCount: a.logFiles,
			Events: h.Events, Fetch: h.Fetch, Log: log,
		})
	}
	return taken(listenFlag, cfg.Listen, agent.Run(ctx, cfg))
}

func agentCommand() *cobra.Command {
	var a agentFlags
	var l logging
	var dataDir string
	var stopTasks bool
	c := &cobra.Command{
		Use:   "agent --master HOST:PORT",
		Short: "Run an agent",
		Long: `Run an agent: it offers this machine's resources to a master and runs tasks. Tasks run on
when it ends, on whatever signal, and are found again at the next start on the same
data directory; with --stop-tasks SIGINT and SIGTERM kill them by their kill policy first.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			log, err := l.logger()
			if err != nil {
				return err
			}
			if err := tooFew(a.config.Connections); err != nil {
				return err
			}
			if err := a.finish(); err != nil {
				return err
			}
			if a.config.WorkDir, err = absolute(dataDir); err != nil {
				return err
			}
			ctx, cancel := context.WithCancel(c.Context())
			defer cancel()
			a.config.Stop = stopOn(cancel, stopTasks)
			a.config.Ready = func(url string) { fmt.Printf("ready  agent %s\n", url) }
			return a.run(ctx, "listen", log.With("role", "agent"))
		},
	}
	c.Flags().StringSliceVar(&a.config.Masters, "master", []string{cli.DefaultAddr}, "`addresses` of the masters")
	c.Flags().StringVar(&a.config.Listen, "listen", "127.0.0.1:5051", "host:port for executors and operators; executors keep the port over restarts")
	c.Flags().StringVar(&a.config.Advertise, "advertise-ip", "", "`IP` as others reach the agent; the one listened on by default")
	c.Flags().BoolVar(&a.config.AllowRemote, "allow-remote", false, "allow listening off loopback although nobody authenticates")
	connections(c.Flags(), &a.config.Connections)
	c.Flags().StringVar(&dataDir, "data-dir", filepath.Join(defaultDataDir(), "agent"), "`directory` of the log, sandboxes and volumes (Mesos: work_dir)")
	c.Flags().BoolVar(&stopTasks, "stop-tasks", false, "kill the tasks when told to end")
	a.flags(c.Flags())
	l.flags(c.Flags())
	return c
}

// stopOn asks an agent to stop its tasks at a signal, and at once at the second one. Signals
// that leave the tasks running end the context instead.
func stopOn(leave context.CancelFunc, stopTasks bool) <-chan agent.Stop {
	asked := make(chan agent.Stop, 2)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() { // as long as the process
		next := agent.StopTasks
		for s := range signals {
			if !stopTasks || s == syscall.SIGHUP {
				leave()
				return
			}
			asked <- next
			if next == agent.StopNow {
				signal.Stop(signals)
				return
			}
			next = agent.StopNow
		}
	}()
	return asked
}
