package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	run "github.com/stoa-kernel/stoa/run/state"
)

func runCommand(s *session) *cobra.Command {
	spec := run.Spec{}
	var env []string
	var memory, disk Size
	var restart string
	var detach bool
	c := &cobra.Command{
		Use:   "run [flags] -- COMMAND [ARG…]",
		Short: "Run a command on the cluster and follow it",
		Long: `Run a command on the cluster, show what it writes and end with its exit code.
The command is executed as it is, without a shell: for pipes and variables use
sh -c '…'. Ctrl-C kills the run; with --detach its id is printed and it goes on.`,
		Example: `  stoa run -- echo hello
  stoa run --instances 3 --cpus 0.5 --mem 256MB -- sh -c 'echo $STOA_INSTANCE; sleep 10'
  stoa run --detach --restart always --name clock -- sh -c 'while date; do sleep 1; done'`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("no command given; write it behind --: stoa run -- echo hello")
			}
			spec.Argv, spec.Restart, spec.Mem, spec.Disk = args, run.Restart(restart), float64(memory), float64(disk)
			spec.Env = map[string]string{}
			for _, e := range env {
				k, v, ok := strings.Cut(e, "=")
				if !ok {
					// As docker run: a bare name takes the value from here.
					if v, ok = os.LookupEnv(e); !ok {
						continue
					}
				}
				if k == "" {
					return usage("--env %s: write NAME=VALUE", e)
				}
				spec.Env[k] = v
			}
			if _, err := spec.Defaults(); err != nil {
				return usage("%v", err)
			}
			return s.run(c.Context(), spec, detach)
		},
	}
	c.Flags().SetInterspersed(false)
	c.Flags().StringVar(&spec.Name, "name", "", "`name` in listings; the command's by default")
	c.Flags().IntVar(&spec.Instances, "instances", 1, "how many copies to run at once")
	c.Flags().Float64Var(&spec.CPUs, "cpus", 0.1, "cpus for each")
	memory = 64
	c.Flags().Var(&memory, "mem", "memory for each, like 256MB or 2G")
	c.Flags().Var(&disk, "disk", "disk for each, like 500MB or 10G")
	c.Flags().StringArrayVarP(&env, "env", "e", nil, "`NAME=VALUE` for the environment; NAME alone takes it from here; may be repeated")
	c.Flags().StringArrayVar(&spec.URIs, "uri", nil, "file, http or https `URI` to fetch into the sandbox, archives unpacked; may be repeated")
	c.Flags().StringVar(&spec.User, "user", "", "`user` to run as; needs agents that run as root")
	c.Flags().StringVar(&restart, "restart", "never", "`policy` when the command ends: never, on-failure or always")
	c.Flags().BoolVarP(&detach, "detach", "d", false, "print the run's id and do not follow")
	_ = c.RegisterFlagCompletionFunc("restart", cobra.FixedCompletions([]string{"never", "on-failure", "always"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// explainAfter is how long a run may wait for an offer before the reason is shown.
const explainAfter = 2 * time.Second

func (s *session) run(ctx context.Context, spec run.Spec, detach bool) error {
	st, err := s.client().State(ctx)
	if err != nil {
		return err
	}
	framework, err := s.runs(st)
	if err != nil {
		return err
	}
	created, err := framework.submit(ctx, spec)
	if err != nil {
		return err
	}
	if detach {
		fmt.Fprintln(s.out, created.ID)
		return nil
	}

	// Ctrl-C kills the run and follows it to its end; a second one only stops following.
	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	interrupts := make(chan os.Signal, 2)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(interrupts)
	interrupted := make(chan struct{})
	go func() {
		select {
		case <-interrupts:
		case <-following.Done():
			return
		}
		close(interrupted)
		fmt.Fprintf(s.err, "killing %s; ctrl-C again leaves it to the cluster\n", created.ID)
		if _, err := framework.cancel(following, created.ID); err != nil {
			fmt.Fprintf(s.err, "%s could not be killed: %v\n", created.ID, err)
		}
		select {
		case <-interrupts:
			stop()
		case <-following.Done():
		}
	}()

	exit, err := s.follow(following, framework, created)
	select {
	case <-interrupted:
		return Exit(ExitInterrupted)
	default:
	}
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return Exit(ExitInterrupted)
		}
		return fmt.Errorf("%w (%s goes on; stoa logs -f %s follows it)", err, created.ID, created.ID)
	}
	if exit != 0 {
		return Exit(exit)
	}
	return nil
}

// follow shows a run's output until it is done and returns its exit code.
func (s *session) follow(ctx context.Context, framework *runs, r *run.Run) (int, error) {
	changes := make(chan *run.Run, 1)
	broken := make(chan error, 1)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		err := framework.watch(ctx, r.ID, func(now *run.Run) bool {
			select {
			case <-changes: // only the newest matters
			default:
			}
			changes <- now
			return true
		})
		if err != nil {
			broken <- err
		}
	}()

	f := &follower{s: s, stdout: true, stderr: true, named: len(r.Instances) > 1, files: map[string][]*tail{}}
	poll := time.NewTicker(pollLogs)
	defer poll.Stop()
	waitingSince, explained := time.Now(), false
	said := map[int]string{}
	for {
		select {
		case now := <-changes:
			r = now
		case <-poll.C:
		case err := <-broken:
			return 0, err
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		waiting := 0
		for i := range r.Instances {
			n := &r.Instances[i]
			if n.Task != "" && n.State != run.Waiting {
				f.add(&taskRow{ID: string(n.Task), FrameworkID: r.Framework, AgentID: string(n.Agent)})
			}
			if n.State == run.Waiting && n.NotBefore == nil {
				waiting++
			}
		}
		if err := f.copy(ctx); err != nil && r.Done == nil {
			// The agent may be restarting; the output is still there when it is back.
			waitingSince = time.Now()
			continue
		} else if err != nil {
			fmt.Fprintf(s.err, "some output could not be read: %v\n", err)
		}
		for i := range r.Instances {
			s.tell(r, &r.Instances[i], said)
		}
		if r.Done != nil {
			f.flush()
			return r.Exit, nil
		}
		if waiting == 0 {
			waitingSince, explained = time.Now(), false
		} else if !explained && time.Since(waitingSince) > explainAfter {
			explained = true
			fmt.Fprintf(s.err, "%s: %d of %d instances wait for resources; stoa why %s says more\n", r.ID, waiting, len(r.Instances), r.ID)
			if e, err := s.client().WhatIf(ctx, "", request(&r.Spec)); err == nil {
				for _, l := range e.Lines {
					fmt.Fprintf(s.err, "  %s\n", l)
				}
			}
		}
	}
}

// tell says on stderr how an attempt ended, once, unless it ended well.
func (s *session) tell(r *run.Run, n *run.Instance, said map[int]string) {
	if n.Exit == nil || n.State == run.Finished {
		return
	}
	line := fmt.Sprintf("%s: %s", n.Task, strings.ToLower(strings.TrimPrefix(n.Reported, "TASK_")))
	if n.Message != "" {
		line += ": " + n.Message
	}
	if n.State == run.Waiting && n.NotBefore != nil {
		line += fmt.Sprintf("; starts again in %s", age(time.Until(*n.NotBefore)+time.Second))
	}
	key := fmt.Sprint(n.Task, n.State)
	if said[n.Index] != key {
		said[n.Index] = key
		fmt.Fprintln(s.err, line)
	}
}

// request is what one instance needs, in the form resources are written.
func request(spec *run.Spec) string {
	text := fmt.Sprintf("cpus:%s;mem:%s", number(spec.CPUs), number(spec.Mem))
	if spec.Disk > 0 {
		text += ";disk:" + number(spec.Disk)
	}
	return text
}
