package node

import (
	"context"
	"fmt"
	"net"

	"github.com/spf13/cobra"

	"github.com/stoa-kernel/stoa/cli"
	"github.com/stoa-kernel/stoa/run"
	"github.com/stoa-kernel/stoa/store"
)

func runsCommand() *cobra.Command {
	var l logging
	var st storage
	var dataDir, addr string
	var most int
	masters := []string{cli.DefaultAddr}
	c := &cobra.Command{
		Use:   "runs",
		Short: "Run the framework behind `stoa run`",
		Long: `Run the framework that keeps the commands of 'stoa run' going. It is part of 'stoa up'; a
cluster of separate processes has one of it. Runs go on while it is away.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			log, err := l.logger()
			if err != nil {
				return err
			}
			if err := tooFew(most); err != nil {
				return err
			}
			return st.with(c.Context(), dataDir, "runs", func(ctx context.Context, s store.Store) error {
				listener, err := listenLoopback("listen", addr)
				if err != nil {
					return err
				}
				url := "http://" + listener.Addr().String()
				return run.Run(ctx, run.Config{
					Masters: masters, Listener: listener, Connections: most, URL: url, Store: s, Log: log.With("role", "run"),
					Ready: func() { fmt.Printf("ready  run %s\n", url) },
				})
			})
		},
	}
	c.Flags().StringSliceVar(&masters, "master", masters, "`addresses` of the masters")
	c.Flags().StringVar(&addr, "listen", "127.0.0.1:5052", "host:port of the API, on loopback")
	connections(c.Flags(), &most)
	c.Flags().StringVar(&dataDir, "data-dir", defaultDataDir()+"-runs", "`directory` of the records")
	st.flags(c.Flags())
	l.flags(c.Flags())
	return c
}

// listenLoopback opens a listener for an API that nobody has to authenticate to.
func listenLoopback(flag, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, taken(flag, addr, fmt.Errorf("--%s %s: %w", flag, addr, err))
	}
	if !l.Addr().(*net.TCPAddr).IP.IsLoopback() {
		l.Close()
		return nil, &cli.Error{
			What: fmt.Sprintf("--%s %s is not on loopback", flag, addr),
			Why:  "whoever reaches this port runs commands on the cluster, and nobody authenticates in this version",
			Try:  "127.0.0.1, with an SSH tunnel from elsewhere",
			Code: cli.ExitUsage,
		}
	}
	return l, nil
}
