// Command stoa is a datacenter kernel: master, agents, frameworks and the command line in
// one program.
package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/stoa-kernel/stoa/agent/containerizer/fetch"
	"github.com/stoa-kernel/stoa/cli"
	"github.com/stoa-kernel/stoa/node"
)

func main() {
	// A fetch runs as the task's user, in a process of its own.
	if len(os.Args) == 2 && os.Args[1] == fetch.Verb {
		os.Exit(fetch.Main())
	}

	root := &cobra.Command{
		Use:           "stoa",
		Short:         "One computer out of many machines",
		Long:          "Stoa makes one computer out of many Linux machines: frameworks written for Mesos run on it\nunmodified, and so do commands.",
		Example:       "  stoa up                        # a cluster on this machine\n  stoa run -- echo hello         # a command on it\n  stoa why --cpus 64             # why something would not run",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	node.Commands(root)
	cli.Commands(root)
	cli.Prepare(root)
	err := root.ExecuteContext(context.Background())
	os.Exit(cli.Report(os.Stderr, err))
}
