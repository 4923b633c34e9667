package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/stoa-kernel/stoa/api/marathon"
)

// rollout is how a change is made: every verb that starts a deployment takes the same
// flags.
type rollout struct {
	force, detach, dryRun bool
	timeout               Duration
}

func (o *rollout) flags(c *cobra.Command) {
	c.Flags().BoolVar(&o.force, "force", false, "take the place of deployments that are in the way")
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, "show what would be done, and do nothing")
	o.following(c)
}

// following are the flags of verbs that follow a deployment.
func (o *rollout) following(c *cobra.Command) {
	c.Flags().BoolVarP(&o.detach, "detach", "d", false, "print the deployment's id and do not follow it")
	c.Flags().Var(&o.timeout, "timeout", "follow for at most so long, like 5m, then end with 2; the deployment goes on; by default there is no limit")
}

// write is one call that starts a deployment.
type write struct {
	method, path string
	query        url.Values
	body         any
	// show the plan before it is carried out.
	show bool
	// given are the fields that documents name.
	given given
	// force of this call; the server's own default may be another.
	force bool
}

func (w *write) with(name, value string) url.Values {
	q := url.Values{}
	for k, v := range w.query {
		q[k] = v
	}
	q.Set(name, value)
	return q
}

// plan asks what a write would do.
func (s *service) plan(ctx context.Context, w *write) (*marathon.DryRun, error) {
	q := w.with("dryRun", "true")
	q.Add("embed", "changes")
	p := new(marathon.DryRun)
	return p, s.call(ctx, w.method, w.path, q, w.body, p)
}

// start makes the call. What is in its way is told by who started it, and how far it is.
func (s *service) start(ctx context.Context, w *write) (string, error) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	q := w.with("force", fmt.Sprint(w.force))
	var result marathon.DeploymentResult
	err := s.call(ctx, w.method, w.path, q, w.body, &result)
	if errors.Is(err, context.Canceled) {
		return "", &Error{
			What: "interrupted before the service answered", Why: "it may do what it was asked to all the same",
			Try: "stoa deployment list says whether it does", Code: ExitInterrupted,
		}
	}
	var refused *refusal
	if errors.As(err, &refused) && refused.locked() {
		return "", s.locked(ctx, refused)
	}
	return result.DeploymentID, err
}

func (s *service) locked(ctx context.Context, refused *refusal) error {
	e := &Error{What: "another deployment is in the way", Code: ExitConflict}
	var holders []string
	all, err := s.deployments(ctx)
	for _, held := range refused.body.Deployments {
		holder := "deployment " + held.ID
		if i := slices.IndexFunc(all, func(d marathon.Deployment) bool { return d.ID == held.ID }); err == nil && i >= 0 {
			holder = describe(&all[i])
		}
		holders = append(holders, holder)
		e.Try = "--force takes its place, stoa deployment rollback " + held.ID + " takes it back, stoa deployment watch " + held.ID + " follows it"
	}
	e.Why = strings.Join(holders, "\n       ")
	return e
}

// describe says who started a deployment, which step it is in, and since when.
func describe(d *marathon.Deployment) string {
	text := "deployment " + d.ID
	if d.By != "" {
		text += " by " + clean(d.By)
	}
	text += fmt.Sprintf(", step %d of %d", d.CurrentStep, d.TotalSteps)
	if a := ageOf(d.StartedAt); a != "" {
		text += ", for " + a
	}
	for _, a := range d.CurrentActions {
		if a.Waiting != "" {
			return text + fmt.Sprintf(": %s %s: %s", verb(a.Action), clean(a.App), clean(a.Waiting))
		}
	}
	return text
}

// ageOf is how long ago a time of the API is; "" if it tells none.
func ageOf(v marathon.Version) string {
	t, err := time.Parse(time.RFC3339, string(v))
	if err != nil {
		return ""
	}
	return age(time.Since(t))
}

// do makes writes, one after the other, as o says.
func (s *session) do(ctx context.Context, svc *service, o *rollout, writes ...*write) error {
	for _, w := range writes {
		w.force = w.force || o.force
		if w.show || o.dryRun {
			p, err := svc.plan(ctx, w)
			if err != nil {
				return err
			}
			s.showPlan(o, p, w.given)
		}
		if o.dryRun {
			continue
		}
		if err := s.carryOut(ctx, svc, o, w); err != nil {
			return err
		}
	}
	return nil
}

// showPlan shows it where output goes, unless that is for the id of the deployment alone.
func (s *session) showPlan(o *rollout, p *marathon.DryRun, g given) {
	to := s.out
	if o.detach && !o.dryRun {
		to = s.err
	}
	if len(p.Steps) == 0 && len(p.Changes) == 0 {
		fmt.Fprintln(to, "nothing to change")
		return
	}
	showPlan(to, p, g)
}

// carryOut makes one call and follows what it starts.
func (s *session) carryOut(ctx context.Context, svc *service, o *rollout, w *write) error {
	if o.detach {
		id, err := svc.start(ctx, w)
		if err == nil {
			fmt.Fprintln(s.out, id)
		}
		return err
	}
	// What is followed is listened to before it begins, so that its end is not missed.
	listening, stop := context.WithCancel(ctx)
	defer stop()
	n := svc.listen(listening)
	id, err := svc.start(ctx, w)
	if err != nil {
		return err
	}
	return s.watch(ctx, svc, n, id, o)
}

// steer promotes, pauses or resumes a deployment.
func (s *service) steer(ctx context.Context, id, how string) error {
	return s.call(ctx, http.MethodPost, "/v2/deployments/"+url.PathEscape(id)+"/"+how, nil, nil, nil)
}
