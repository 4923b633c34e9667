package deploy

import (
	"fmt"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/plan"
)

// Waiting says in words what each action of the current step waits for, by app: "3 of 20
// instances are not healthy", "paused for promotion". Actions that are done are left out.
func Waiting(now time.Time, d *Deployment, w World) map[string]string {
	out := make(map[string]string)
	if d.Step >= len(d.Plan.Steps) {
		return out
	}
	s := newStepper(now, d, w)
	for n := range d.Plan.Steps[d.Step].Actions {
		a := &d.Plan.Steps[d.Step].Actions[n]
		if text := s.waiting(a); text != "" {
			out[a.App] = text
		}
	}
	return out
}

func (s *stepper) waiting(a *plan.Action) string {
	c := s.d.Plan.Change(a.App)
	text := ""
	switch {
	case a.Kind == plan.Start || c == nil:
		return ""
	case a.Kind == plan.Stop || c.New == nil:
		t := s.total(a.App, nil)
		if t.All > t.Lost {
			text = plural(t.All-t.Lost, "instance is still to end", "instances are still to end")
		}
	case a.Kind == plan.Restart && c.Restart && s.instances(c.New) > 0:
		text = s.waitingRestart(c)
	default:
		text = s.waitingScale(a, c)
	}
	switch {
	case text == "":
		return ""
	case s.d.Failed != "":
		return "going back: " + s.d.Failed
	case s.d.Paused:
		return "paused by an operator; resume the deployment to go on: " + text
	}
	return text
}

func (s *stepper) waitingScale(a *plan.Action, c *app.AppChange) string {
	x := s.scaling(a, c)
	t := &x.tally
	switch {
	case x.done():
		return ""
	case t.Live > x.instances || t.Doomed > 0 || x.kill > 0:
		return plural(max(t.Live-x.instances, t.Doomed, x.kill), "instance is still to end", "instances are still to end")
	}
	return lacking(c.New, t, x.instances)
}

// lacking says what keeps the instances of t from being n good ones.
func lacking(def *marathon.App, t *Tally, n int) string {
	switch {
	case t.Live < n:
		return fmt.Sprintf("%d of %s to be launched", n-t.Live, plural(n, "instance is", "instances are"))
	case t.Idle > 0 && (def.RestartPolicy == marathon.Never || def.RestartPolicy == marathon.OnFailure):
		return fmt.Sprintf("%d of %s waiting for an offer, or failed and not started again (restartPolicy %s)",
			t.Idle, plural(n, "instance is", "instances are"), def.RestartPolicy)
	case t.Idle > 0:
		return fmt.Sprintf("%d of %s waiting for an offer", t.Idle, plural(n, "instance is", "instances are"))
	case len(def.ReadinessChecks) > 0:
		return fmt.Sprintf("%d of %s not healthy or not ready", n-min(n, t.Good), plural(n, "instance is", "instances are"))
	case len(def.HealthChecks) > 0:
		return fmt.Sprintf("%d of %s not healthy", n-min(n, t.Good), plural(n, "instance is", "instances are"))
	}
	return fmt.Sprintf("%d of %s not running", n-min(n, t.Good), plural(n, "instance is", "instances are"))
}

func (s *stepper) waitingRestart(c *app.AppChange) string {
	r := s.look(c)
	o, f := &r.old, &r.fresh
	left := o.Live + o.Inactive + o.Doomed
	want := r.wanted()
	noun := "canary"
	if want != 1 {
		noun = "canaries"
	}
	switch {
	case r.done:
		return ""
	case r.p.Strategy == Canary && r.p.Phase == Starting:
		return fmt.Sprintf("%d of %d %s ready", min(f.Good, want), want, noun)
	case r.p.Strategy == Canary && r.p.Phase == Paused && !r.ready():
		return fmt.Sprintf("paused: %d of %d %s ready", f.Good, want, noun)
	case r.p.Strategy == Canary && r.p.Phase == Paused && r.p.Until.IsZero():
		return fmt.Sprintf("paused for promotion: %d %s ready", want, noun)
	case r.p.Strategy == Canary && r.p.Phase == Paused:
		return fmt.Sprintf("paused until %s or promotion: %d %s ready", marathon.VersionOf(r.p.Until), want, noun)
	case r.p.Strategy == BlueGreen && r.p.Phase == Starting:
		return "the new set beside the old one: " + lacking(r.def, f, r.n)
	case r.p.Strategy == BlueGreen && r.p.Phase == Paused && !r.ready():
		return "paused: " + lacking(r.def, f, r.n)
	case r.p.Strategy == BlueGreen && r.p.Phase == Paused:
		return fmt.Sprintf("paused for promotion: the new set of %d is ready", r.n)
	case r.p.Strategy == BlueGreen && s.now.Before(r.p.Until):
		return fmt.Sprintf("the old set of %d is kept until %s", o.Live, marathon.VersionOf(r.p.Until))
	case f.Good >= r.n:
		return plural(left, "old instance is still to end", "old instances are still to end")
	case left == 0:
		return lacking(r.def, f, r.n)
	}
	return fmt.Sprintf("%d of %s ready, %d old left", f.Good, plural(r.n, "new instance is", "new instances are"), left)
}

// plural is "1 instance is" or "2 instances are".
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
