package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stoa-kernel/stoa/api/marathon"
)

func deploymentCommand(s *session) *cobra.Command {
	c := &cobra.Command{Use: "deployment", Short: "Follow and steer deployments"}
	c.AddCommand(
		deploymentListCommand(s), watchCommand(s),
		s.deploymentVerb("rollback", "Take back what a deployment changed, by a new deployment", s.takeBack),
		s.deploymentVerb("stop", "Give a deployment up and leave things as they are", s.giveUp),
		s.deploymentVerb("pause", "Stop a deployment where it is", func(ctx context.Context, svc *service, _ *rollout, id string) error {
			if err := svc.steer(ctx, id, "pause"); err != nil {
				return err
			}
			fmt.Fprintf(s.out, "%s is paused; stoa deployment resume lets it go on\n", id)
			return nil
		}),
		s.deploymentVerb("resume", "Let a paused deployment go on", func(ctx context.Context, svc *service, o *rollout, id string) error {
			return s.steer(ctx, svc, o, id, "resume")
		}),
		s.deploymentVerb("promote", "Let canaries or a blue-green set take over", func(ctx context.Context, svc *service, o *rollout, id string) error {
			return s.steer(ctx, svc, o, id, "promote")
		}),
	)
	return c
}

func deploymentListCommand(s *session) *cobra.Command {
	var o output
	c := &cobra.Command{
		Use:   "list",
		Short: "List deployments under way",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			svc, err := s.service(c.Context())
			if err != nil {
				return err
			}
			all, err := svc.deployments(c.Context())
			if err != nil {
				return err
			}
			return list(&o, s.out, all, []column[marathon.Deployment]{
				{"DEPLOYMENT", false, func(d marathon.Deployment) string { return d.ID }},
				{"STEP", false, func(d marathon.Deployment) string { return fmt.Sprintf("%d/%d", d.CurrentStep, d.TotalSteps) }},
				{"AGE", false, func(d marathon.Deployment) string { return ageOf(d.StartedAt) }},
				{"BY", false, func(d marathon.Deployment) string { return d.By }},
				{"APPS", false, func(d marathon.Deployment) string {
					apps := d.AffectedApps
					if more := len(apps) - 3; more > 0 && o.format != "wide" {
						return strings.Join(apps[:3], ",") + fmt.Sprintf(" and %d more", more)
					}
					return strings.Join(apps, ",")
				}},
				{"PAUSED", false, func(d marathon.Deployment) string { return d.Paused }},
				{"WAITS FOR", false, func(d marathon.Deployment) string {
					for _, a := range d.CurrentActions {
						if a.Waiting != "" {
							return a.App + ": " + a.Waiting
						}
					}
					return ""
				}},
				{"DEADLINE", true, func(d marathon.Deployment) string { return string(d.Deadline) }},
				{"TAKES BACK", true, func(d marathon.Deployment) string { return d.Reverts }},
			}, "No deployment is under way.")
		},
	}
	o.flags(c)
	return c
}

// deployment finds one by its id or the only beginning of one; without a name it is the
// only one under way.
func (s *service) deployment(ctx context.Context, args []string) (*marathon.Deployment, error) {
	all, err := s.deployments(ctx)
	if err != nil {
		return nil, err
	}
	if len(args) > 0 {
		d, err := match(all, args[0], "deployment", func(d marathon.Deployment) string { return d.ID })
		return &d, err
	}
	switch len(all) {
	case 0:
		return nil, &Error{What: "no deployment is under way", Code: ExitNotFound}
	case 1:
		return &all[0], nil
	}
	return nil, &Error{What: fmt.Sprintf("%d deployments are under way", len(all)), Try: "stoa deployment list, and name one", Code: ExitUsage}
}

func watchCommand(s *session) *cobra.Command {
	var o rollout
	c := &cobra.Command{
		Use:   "watch [DEPLOYMENT]",
		Short: "Follow a deployment to its end",
		Long:  "Follow a deployment to its end. The name may be left out if only one is under way.",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			svc, err := s.service(c.Context())
			if err != nil {
				return err
			}
			ctx, stop := context.WithCancel(c.Context())
			defer stop()
			n := svc.listen(ctx)
			d, err := svc.deployment(ctx, args)
			if err != nil {
				return err
			}
			return s.watch(ctx, svc, n, d.ID, &o)
		},
		ValidArgsFunction: s.completeDeployments,
	}
	c.Flags().Var(&o.timeout, "timeout", "follow for at most so long, like 5m, then end with 2")
	return c
}

func (s *session) deploymentVerb(name, short string, do func(context.Context, *service, *rollout, string) error) *cobra.Command {
	var o rollout
	c := &cobra.Command{
		Use:   name + " DEPLOYMENT",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			svc, err := s.service(c.Context())
			if err != nil {
				return err
			}
			d, err := svc.deployment(c.Context(), args)
			if err != nil {
				return err
			}
			return do(c.Context(), svc, &o, d.ID)
		},
		ValidArgsFunction: s.completeDeployments,
	}
	if name != "pause" && name != "stop" {
		o.following(c)
	}
	return c
}

// steer promotes or resumes, and follows what then goes on.
func (s *session) steer(ctx context.Context, svc *service, o *rollout, id, how string) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if o.detach {
		if err := svc.steer(ctx, id, how); err != nil {
			return err
		}
		fmt.Fprintln(s.out, id)
		return nil
	}
	n := svc.listen(ctx)
	if err := svc.steer(ctx, id, how); err != nil {
		return err
	}
	return s.watch(ctx, svc, n, id, o)
}

// takeBack follows the deployment that goes back.
func (s *session) takeBack(ctx context.Context, svc *service, o *rollout, id string) error {
	return s.carryOut(ctx, svc, o, &write{method: http.MethodDelete, path: "/v2/deployments/" + url.PathEscape(id)})
}

func (s *session) giveUp(ctx context.Context, svc *service, _ *rollout, id string) error {
	err := svc.call(ctx, http.MethodDelete, "/v2/deployments/"+url.PathEscape(id), url.Values{"force": {"true"}}, nil, nil)
	if err == nil {
		fmt.Fprintf(s.out, "%s is given up; what it did stays\n", id)
	}
	return err
}
