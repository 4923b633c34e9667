package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	run "github.com/stoa-kernel/stoa/run/state"
	"github.com/stoa-kernel/stoa/sdk/operator"
)

func killCommand(s *session) *cobra.Command {
	var grace Duration
	c := &cobra.Command{
		Use:   "kill TASK|RUN…",
		Short: "Kill tasks, or all of a run",
		Long: `Kill a task by its kill policy: SIGTERM, and after its grace period SIGKILL. A run is
killed whole and not started again; another framework may start its task anew.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			for _, name := range args {
				if err := s.kill(c.Context(), name, c.Flags().Changed("grace"), time.Duration(grace)); err != nil {
					return err
				}
			}
			return nil
		},
		ValidArgsFunction: s.completeTasks,
	}
	c.Flags().Var(&grace, "grace", "time between SIGTERM and SIGKILL, like 10s")
	return c
}

func (s *session) kill(ctx context.Context, name string, hasGrace bool, grace time.Duration) error {
	if strings.HasPrefix(name, "/") {
		return &Error{What: name + " is an app, whose tasks would be started again", Try: "stoa app suspend " + name + ", or stoa app delete " + name, Code: ExitUsage}
	}
	st, err := s.client().State(ctx)
	if err != nil {
		return err
	}
	if framework, _ := s.runs(st); framework != nil {
		all, err := framework.list(ctx)
		if err != nil {
			return err
		}
		if r := named(all, name); r != nil && r.Done == nil && strings.HasPrefix(r.ID, name) {
			if r, err = framework.cancel(ctx, r.ID); err != nil {
				return err
			}
			fmt.Fprintf(s.out, "killing %s, %d instances\n", r.ID, len(r.Instances))
			return nil
		}
	}
	rows := tasks(st)
	t, err := match(rows, name, "task", func(r taskRow) string { return r.ID })
	if err != nil {
		return err
	}
	if !t.live {
		return &Error{What: fmt.Sprintf("task %s has ended already: %s", t.ID, t.State), Code: ExitNotFound}
	}
	var g *time.Duration
	if hasGrace {
		g = &grace
	}
	if err := s.client().Kill(ctx, t.FrameworkID, t.ID, g); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "killing %s\n", t.ID)
	return nil
}

func whyCommand(s *session) *cobra.Command {
	var cpus float64
	var memory, disk Size
	var ports int
	var role string
	c := &cobra.Command{
		Use:   "why [APP|TASK|RUN|FRAMEWORK]",
		Short: "Say why something is not running, or would not run",
		Long: `Say why an app, a task, a run or a framework does not run: what is missing where, and what to
try. With --cpus, --mem, --disk or --ports it says where such a task would fit.`,
		Example: `  stoa why /web
  stoa why web-1f3a.0
  stoa why --cpus 4 --mem 8G
  stoa why --role prod --cpus 1`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var parts []string
			if cpus > 0 {
				parts = append(parts, "cpus:"+number(cpus))
			}
			if memory > 0 {
				parts = append(parts, "mem:"+number(float64(memory)))
			}
			if disk > 0 {
				parts = append(parts, "disk:"+number(float64(disk)))
			}
			if ports > 0 {
				parts = append(parts, fmt.Sprintf("ports:%d", ports))
			}
			switch {
			case len(args) == 1 && len(parts) > 0:
				return usage("name something, or give resources; not both")
			case len(args) == 0 && len(parts) == 0:
				return usage("name an app, task, run or framework, or give --cpus and --mem")
			}
			return s.why(c.Context(), args, role, strings.Join(parts, ";"))
		},
		ValidArgsFunction: s.completeTasks,
	}
	c.Flags().Float64Var(&cpus, "cpus", 0, "cpus that would have to fit")
	c.Flags().Var(&memory, "mem", "memory that would have to fit, like 8G")
	c.Flags().Var(&disk, "disk", "disk that would have to fit, like 10G")
	c.Flags().IntVar(&ports, "ports", 0, "number of ports that would have to fit")
	c.Flags().StringVar(&role, "role", "", "`role` it would run in; * by default")
	return c
}

func (s *session) why(ctx context.Context, args []string, role, resources string) error {
	if len(args) == 0 {
		e, err := s.client().WhatIf(ctx, role, resources)
		if err != nil {
			return err
		}
		return s.explain(e)
	}
	name := args[0]
	if strings.HasPrefix(name, "/") {
		return s.whyApp(ctx, name)
	}
	st, err := s.client().State(ctx)
	if err != nil {
		return err
	}
	if framework, _ := s.runs(st); framework != nil {
		all, err := framework.list(ctx)
		if err != nil {
			return err
		}
		if r := named(all, name); r != nil {
			for _, n := range r.Instances {
				if n.State == run.Waiting && r.Done == nil && (strings.HasPrefix(r.ID, name) || name == fmt.Sprintf("%s.%d", r.ID, n.Index)) {
					fmt.Fprintf(s.out, "%s.%d waits for an offer of %s\n", r.ID, n.Index, request(&r.Spec))
					if n.NotBefore != nil {
						fmt.Fprintf(s.out, "its last attempt ended with %d (%s); it may start again in %s\n", *n.Exit, n.Message, age(time.Until(*n.NotBefore)))
					}
					e, err := s.client().WhatIf(ctx, role, request(&r.Spec))
					if err != nil {
						return err
					}
					return s.explain(e)
				}
			}
		}
	}
	for _, f := range st.GetGetFrameworks().GetFrameworks() {
		if id := f.GetFrameworkInfo().GetId().GetValue(); id == name || f.GetFrameworkInfo().GetName() == name {
			e, err := s.client().Why(ctx, id, "")
			if err != nil {
				return err
			}
			return s.explain(e)
		}
	}
	found, err := s.find(ctx, name)
	if err != nil {
		return err
	}
	if strings.HasPrefix(found.name, "/") {
		return s.whyApp(ctx, found.name)
	}
	if len(found.tasks) == 0 && found.more {
		fmt.Fprintf(s.out, "%s is being launched; the master has not told of its tasks yet\n", found.name)
	}
	for _, t := range found.tasks {
		e, err := s.client().Why(ctx, t.FrameworkID, t.ID)
		if err != nil {
			return err
		}
		if err := s.explain(e); err != nil {
			return err
		}
	}
	return nil
}

// whyApp is for apps: the service knows of offers, checks and backoffs what the master does
// not.
func (s *session) whyApp(ctx context.Context, name string) error {
	svc, err := s.service(ctx)
	if err != nil {
		return err
	}
	lines, err := svc.why(ctx, appID(name))
	if err != nil {
		return err
	}
	return s.explain(&operator.Explanation{Lines: lines})
}

// named is the run whose id, or an instance's, is name, or the only one whose id begins
// with it; nil if there is none.
func named(all []*run.Run, name string) *run.Run {
	var begins []*run.Run
	for _, r := range all {
		if r.ID == name || strings.HasPrefix(name, r.ID+".") {
			return r
		}
		if strings.HasPrefix(r.ID, name) {
			begins = append(begins, r)
		}
	}
	if len(begins) != 1 {
		return nil
	}
	return begins[0]
}

func (s *session) explain(e *operator.Explanation) error {
	for _, l := range e.Lines {
		if _, err := fmt.Fprintln(s.out, clean(l)); err != nil {
			return err
		}
	}
	return nil
}
