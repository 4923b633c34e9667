// Package why says what keeps an app from being as it should, in words that name the
// cause and what to do about it. It looks at nothing but what it is given.
package why

import (
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/deploy"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/plan"
	"github.com/stoa-kernel/stoa/service/state"
)

// Input is what is known of an app at a moment.
type Input struct {
	Now    time.Time
	App    *marathon.App
	Counts marathon.TaskCounts
	// Instances are all of the app.
	Instances iter.Seq[*instance.Instance]
	Queue     *state.Queue
	Attempts  *state.Attempts
	// Deployment that holds the app, nil if none does; Waiting is what the actions of its
	// current step wait for, by app.
	Deployment *deploy.Deployment
	Waiting    map[string]string
	// Holders are the instances that have one of the ports HostPorts names, anywhere.
	Holders []*instance.Instance
	// Kernel is the master's answer to what Asks says, nil if it was not asked.
	Kernel *Kernel
}

// most bounds lists of what is alike.
const most = 10

// answer is the one being written.
type answer struct {
	Input
	marathon.Why
	f *marathon.WhyFacts
	// live is how many instances are there for good, ready how many of them serve, ending
	// how many have a task that is to end.
	live, ready, preview, ending int
}

// Explain writes the answer.
func Explain(in Input) marathon.Why {
	a := &answer{Input: in}
	a.f = &a.Facts
	a.look()
	a.f.Status = a.status()
	a.say("%s", a.headline())
	if a.f.Status == marathon.StatusSuspended {
		a.say("it is suspended: its number of instances is 0")
		a.try("stoa app scale %s 1", in.App.ID)
	}
	// The app's own trouble comes before a deployment that only waits for it to end.
	first := a.held()
	if first {
		a.deployment()
	}
	a.blocked()
	if a.f.DelaySeconds > 0 { // then the last attempt is what matters
		a.attempts()
		a.delay()
		a.offers()
		a.late()
		a.checks()
	} else {
		a.offers()
		a.late()
		a.checks()
		a.attempts()
	}
	if !first {
		a.deployment()
	}
	return a.Why
}

func (a *answer) say(format string, args ...any) {
	a.Lines = append(a.Lines, fmt.Sprintf(format, args...))
}

// more adds to the line before.
func (a *answer) more(format string, args ...any) { a.say("  "+format, args...) }

// try says what to do.
func (a *answer) try(format string, args ...any) { a.say("  try: "+format, args...) }

// wanted is how many instances there should be.
func (a *answer) wanted() int {
	if a.App.PerAgent() {
		return a.live
	}
	return a.App.Instances
}

func (a *answer) look() {
	for i := range a.Instances {
		switch {
		case i.Preview:
			a.preview++
			continue
		case i.Goal == instance.GoalDecommissioned:
			if i.Active() {
				a.ending++
			}
			continue
		}
		if i.Condition == instance.Scheduled {
			a.f.Waiting++
		}
		a.live++
		if i.Healthy(a.App) && i.Ready {
			a.ready++
		}
	}
	a.f.App, a.f.Instances = a.App.ID, a.wanted()
	a.f.Staged, a.f.Running = a.Counts.TasksStaged, a.Counts.TasksRunning
	a.f.Healthy, a.f.Unhealthy = a.Counts.TasksHealthy, a.Counts.TasksUnhealthy
	if q := a.Queue; q != nil && a.f.Waiting > 0 {
		a.f.WaitingSince, a.f.Failures, a.f.Blocked = marathon.VersionOf(q.Since), q.Failures, q.Blocked
		if left := q.DelayUntil.Sub(a.Now); left > 0 && !q.DelayUntil.IsZero() {
			a.f.DelaySeconds = math.Ceil(left.Seconds()*10) / 10
		}
	}
}

func (a *answer) status() string {
	switch {
	case a.f.Blocked != "":
		return marathon.StatusBlocked
	case a.f.DelaySeconds > 0:
		return marathon.StatusDelayed
	case a.f.Waiting > 0:
		return marathon.StatusWaiting
	case a.wanted() == 0 && a.live == 0:
		return marathon.StatusSuspended
	case a.f.Staged > 0 || a.live < a.wanted():
		return marathon.StatusStarting
	case a.ready < a.wanted():
		return marathon.StatusUnhealthy
	case a.Deployment != nil:
		return marathon.StatusDeploying
	case a.ending > 0 || a.live > a.wanted():
		return marathon.StatusEnding
	}
	return marathon.StatusRunning
}

func (a *answer) headline() string {
	text := fmt.Sprintf("%s: %d of %s running", a.App.ID, a.f.Running, count(a.wanted(), "instance"))
	if len(a.App.HealthChecks) > 0 {
		text += fmt.Sprintf(", %d healthy", a.f.Healthy)
		if a.f.Unhealthy > 0 {
			text += fmt.Sprintf(", %d unhealthy", a.f.Unhealthy)
		}
	}
	if a.f.Staged > 0 {
		text += fmt.Sprintf(", %d staged", a.f.Staged)
	}
	if a.f.Waiting > 0 {
		text += fmt.Sprintf(", %d waiting to be launched", a.f.Waiting)
	}
	if a.ending > 0 {
		text += fmt.Sprintf(", %d to end", a.ending)
	}
	if a.preview > 0 {
		text += fmt.Sprintf(", %d of a new set not promoted yet", a.preview)
	}
	switch a.f.Status {
	case marathon.StatusRunning:
		text += "; it is as it should be"
	case marathon.StatusDeploying:
		text += "; its deployment is not over"
	}
	return text
}

// held reports whether a deployment is itself in the way: paused, going back, or busy with
// another app.
func (a *answer) held() bool {
	d := a.Deployment
	if d == nil {
		return false
	}
	if d.Paused || d.Failed != "" || d.Step >= len(d.Plan.Steps) {
		return true
	}
	if p := d.Progress.Of(a.App.ID); p != nil && p.Phase == deploy.Paused {
		return true
	}
	return !slices.ContainsFunc(d.Plan.Steps[d.Step].Actions, func(x plan.Action) bool { return x.App == a.App.ID })
}

// deployment says what holds the app.
func (a *answer) deployment() {
	d := a.Deployment
	if d == nil {
		return
	}
	f := &marathon.WhyDeployment{
		ID: d.Plan.ID, By: d.By, Since: marathon.VersionOf(d.Started),
		Step: min(d.Step+1, len(d.Plan.Steps)), Steps: len(d.Plan.Steps), Waiting: a.Waiting[a.App.ID],
	}
	if d.Step < len(d.Plan.Steps) {
		for _, x := range d.Plan.Steps[d.Step].Actions {
			if x.App == a.App.ID {
				f.Action = string(x.Kind)
			} else if text := a.Waiting[x.App]; text != "" && len(f.Elsewhere) < most {
				if f.Elsewhere == nil {
					f.Elsewhere = make(map[string]string)
				}
				f.Elsewhere[x.App] = text
			}
			if p := d.Progress.Of(x.App); p != nil && p.Phase == deploy.Paused {
				f.Paused = p.Strategy
			}
		}
	}
	if d.Paused {
		f.Paused = "operator"
	}
	a.f.Deployment = f
	by := ""
	if d.By != "" {
		by = " by " + d.By
	}
	a.say("it is locked by deployment %s, begun%s %s ago, now in step %d of %d", f.ID, by, span(a.Now.Sub(d.Started)), f.Step, f.Steps)
	if f.Waiting != "" {
		a.more("%s waits: %s", word(f.Action), f.Waiting)
	}
	for _, id := range sorted(f.Elsewhere) {
		if a.dependsOn(id) {
			a.more("it depends on %s, which comes first", id)
		}
		a.more("the step waits for %s: %s", id, f.Elsewhere[id])
	}
	switch {
	case d.Failed != "":
		a.more("it goes back: %s", d.Failed)
	case f.Paused == "operator":
		a.try("stoa deployment resume %s", f.ID)
	case f.Paused != "":
		a.try("stoa deployment promote %s, or stoa deployment rollback %s", f.ID, f.ID)
	case f.Action == "" && len(f.Elsewhere) > 0:
		a.try("stoa why %s, for the app is to follow it; or change the app with --force, which ends the deployment", sorted(f.Elsewhere)[0])
	default:
		a.try("stoa deployment rollback %s to go back, or change the app with --force", f.ID)
	}
}

// dependsOn reports whether the app names another, or a group it is in, as a dependency.
func (a *answer) dependsOn(id string) bool {
	return slices.ContainsFunc(a.App.Dependencies, func(d string) bool { return id == d || strings.HasPrefix(id, d+"/") })
}

// word for an action.
func word(action string) string {
	switch action {
	case "RestartApplication":
		return "the restart"
	case "ScaleApplication":
		return "the scaling"
	case "StopApplication":
		return "the removal"
	}
	return "it"
}
