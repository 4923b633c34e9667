// Package node is one process: its flags, its data directory, and which roles it runs.
package node

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stoa-kernel/stoa/cli"
	"github.com/stoa-kernel/stoa/internal/listen"
)

// Commands are the verbs that start roles.
func Commands(root *cobra.Command) {
	root.AddCommand(upCommand(), masterCommand(), agentCommand(), runsCommand(), serviceCommand())
	// Mesos spells flags with underscores: both are understood everywhere.
	root.SetGlobalNormalizationFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		return pflag.NormalizedName(strings.ReplaceAll(name, "_", "-"))
	})
}

// logging is what every role's command has.
type logging struct {
	level string
	json  bool
	// current is what the logger goes by; it may be changed while it runs.
	current slog.LevelVar
}

func (l *logging) flags(f *pflag.FlagSet) {
	f.StringVar(&l.level, "log-level", "info", "least `level` logged to stderr: debug, info, warn or error")
	f.BoolVar(&l.json, "log-json", false, "log lines of JSON")
}

func (l *logging) logger() (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.level)); err != nil {
		return nil, &cli.Error{What: "--log-level " + l.level + " is no level", Try: "debug, info, warn or error", Code: cli.ExitUsage}
	}
	l.current.Set(level)
	o := &slog.HandlerOptions{Level: &l.current}
	if l.json {
		return slog.New(slog.NewJSONHandler(os.Stderr, o)), nil
	}
	return slog.New(slog.NewTextHandler(os.Stderr, o)), nil
}

// connections is the flag of how many connections a listener lets stand.
func connections(f *pflag.FlagSet, n *int) {
	f.IntVar(n, "max-connections", listen.DefaultConnections, "how many connections may stand besides agents' links and streams of events; over that, the one unused the longest makes room")
}

// tooFew refuses a number of connections nobody can be served with.
func tooFew(connections int) error {
	if connections < 1 {
		return &cli.Error{What: fmt.Sprintf("--max-connections %d: at least one is needed to serve anybody", connections), Code: cli.ExitUsage}
	}
	return nil
}

// defaultDataDir is /var/lib/stoa for root, the user's own data directory for others.
func defaultDataDir() string {
	if os.Geteuid() == 0 {
		return "/var/lib/stoa"
	}
	if d := os.Getenv("XDG_DATA_HOME"); d != "" {
		return filepath.Join(d, "stoa")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "stoa-data"
	}
	return filepath.Join(home, ".local", "share", "stoa")
}

// untilSignal is a context that ends with the first SIGINT, SIGTERM or SIGHUP.
func untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
}

func absolute(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("--data-dir %s: %w", dir, err)
	}
	return abs, nil
}
