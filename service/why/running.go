package why

import (
	"fmt"
	"strings"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/instance"
)

// startSoon is how long a task may take to run before anybody wonders.
const startSoon = 10 * time.Second

// late tells of instances that take their time to come or to go, or are out of reach.
func (a *answer) late() {
	for i := range a.Instances {
		if i.Preview && i.Goal == instance.GoalDecommissioned || len(a.f.Late) == most {
			continue
		}
		text := a.lateText(i)
		if text == "" {
			continue
		}
		host := ""
		if i.Agent != nil {
			host = i.Agent.Host
		}
		a.f.Late = append(a.f.Late, marathon.WhyInstance{
			Instance: i.ID, Host: host, Condition: string(i.Condition), Since: marathon.VersionOf(i.Since), Text: text,
		})
		a.say("instance %s on %s %s", short(i.ID), host, text)
		if i.Condition == instance.Unreachable || i.Condition == instance.UnreachableInactive {
			a.try("bring the agent back (stoa agents), or give the task up: stoa kill %s", i.TaskID)
		} else if !i.KillingSince.IsZero() {
			a.try("stoa agents, to see whether the agent answers, and its log for why the task does not end")
		}
	}
}

func (a *answer) lateText(i *instance.Instance) string {
	ago := span(a.Now.Sub(i.Since))
	switch {
	case i.Condition == instance.Unreachable || i.Condition == instance.UnreachableInactive:
		return fmt.Sprintf("has been out of reach for %s: its agent is lost or cut off; %s", ago, a.replacement(i))
	case !i.Active():
		return ""
	case !i.DrainUntil.IsZero() && i.KillingSince.IsZero():
		return fmt.Sprintf("drains for another %s before it is killed", span(i.DrainUntil.Sub(a.Now)))
	case i.Drain != nil && a.Now.Sub(i.KillingSince) > startSoon:
		text := fmt.Sprintf("is being killed, for %s by now: its agent runs preStop before SIGTERM", span(a.Now.Sub(i.KillingSince)))
		if *i.Drain > 0 {
			text += ", and waits " + span(*i.Drain) + " after it"
		}
		return text
	case !i.KillingSince.IsZero() && a.Now.Sub(i.KillingSince) > startSoon:
		return fmt.Sprintf("is being killed, for %s by now: the KILL is repeated until it has ended", span(a.Now.Sub(i.KillingSince)))
	case !i.KillingSince.IsZero() || a.Now.Sub(i.Since) <= startSoon:
		return ""
	case i.Condition == instance.Provisioned:
		return fmt.Sprintf("was sent to the master %s ago, which has told nothing of it since; it is given up after 5 min", ago)
	case i.Condition == instance.Staging || i.Condition == instance.Starting:
		return fmt.Sprintf("has been staging for %s: what \"fetch\" names may be slow to load; it is killed after 5 min", ago)
	}
	return ""
}

// replacement says what becomes of an instance out of reach.
func (a *answer) replacement(i *instance.Instance) string {
	u := a.App.UnreachableStrategy
	switch {
	case u == nil || u.Disabled:
		return `it is waited for, whatever it takes ("unreachableStrategy" is disabled)`
	case i.Condition == instance.UnreachableInactive:
		return "another instance takes its place"
	}
	left := i.Since.Add(time.Duration(u.InactiveAfterSeconds) * time.Second).Sub(a.Now)
	if left <= 0 {
		return "it is being replaced"
	}
	return fmt.Sprintf("it is replaced in %s (unreachableStrategy)", span(left))
}

// checks tells of health and readiness checks that fail.
func (a *answer) checks() {
	for i := range a.Instances {
		if i.Condition != instance.Running || i.Goal == instance.GoalDecommissioned || len(a.f.Checks) >= most {
			continue
		}
		for n := range min(len(i.Health), len(a.App.HealthChecks)) {
			a.healthCheck(i, n)
		}
		if !i.Ready {
			a.readiness(i)
		}
	}
}

func (a *answer) healthCheck(i *instance.Instance, n int) {
	h, check := &i.Health[n], &a.App.HealthChecks[n]
	grace := !h.Known && h.Ignored > 0
	if !grace && (!h.Known || h.Alive) {
		return
	}
	x := marathon.WhyCheck{
		Instance: i.ID, Host: i.Agent.Host, Check: checkName(check, i), Failures: h.ConsecutiveFailures + h.Ignored,
		Most: check.MaxConsecutiveFailures, Cause: h.LastFailureCause, Grace: grace,
	}
	a.f.Checks = append(a.f.Checks, x)
	text := fmt.Sprintf("instance %s on %s fails its health check %s, %s", short(i.ID), x.Host, x.Check, times(x.Failures))
	if x.Cause != "" {
		text += ": " + x.Cause
	}
	a.say("%s", text)
	switch {
	case grace:
		a.more("this does not count before %s after its start (gracePeriodSeconds)", span(time.Duration(check.GracePeriodSeconds)*time.Second))
	case check.ByKernel():
		a.more("it is killed after %s in a row (maxConsecutiveFailures)", times(x.Most))
	case x.Most > 0:
		a.more("it is killed at failure number %d (maxConsecutiveFailures + 1)", x.Most+1)
	default:
		a.more("it is never killed for it (maxConsecutiveFailures is 0)")
	}
	a.try("%s", checkRemedy(check, x.Cause))
}

func checkName(c *marathon.HealthCheck, i *instance.Instance) string {
	if c.Command != nil {
		if c.Command.Value != "" {
			return fmt.Sprintf("%s %q", c.Protocol, c.Command.Value)
		}
		return fmt.Sprintf("%s %q", c.Protocol, strings.Join(c.Command.Argv, " "))
	}
	text := c.Protocol
	if c.Path != nil && !strings.HasSuffix(c.Protocol, "TCP") {
		text += " " + *c.Path
	}
	switch {
	case c.Port != nil:
		text += fmt.Sprintf(" on port %d", *c.Port)
	case c.PortIndex != nil && *c.PortIndex < len(i.Ports):
		text += fmt.Sprintf(" on port %d", i.Ports[*c.PortIndex])
	}
	return text
}

func checkRemedy(c *marathon.HealthCheck, cause string) string {
	lower := strings.ToLower(cause)
	switch {
	case c.Command != nil:
		return "run the command in the task's sandbox; stoa logs shows what the app says"
	case strings.Contains(lower, "refused"):
		return "let the app listen on $PORT0 (and not on 127.0.0.1 only); look at stoa logs whether it has begun to"
	case strings.Contains(lower, "timeout"), strings.Contains(lower, "timed out"), strings.Contains(lower, "deadline"):
		return `"timeoutSeconds" may be too short, or the app hangs: look at stoa logs`
	case strings.Contains(lower, "404"), strings.Contains(lower, "status"), strings.Contains(lower, "code"):
		return `the app answers, but not with 200 to 399: is "path" right? Look at stoa logs`
	}
	return `look at "path" and "portIndex" of the check, and at stoa logs`
}

// readiness tells of readiness checks, which deployments wait for.
func (a *answer) readiness(i *instance.Instance) {
	for _, r := range i.Readiness {
		if r.Ready {
			continue
		}
		cause := "no answer yet"
		if r.LastResponse != nil {
			cause = fmt.Sprintf("the last answer was %d", r.LastResponse.Status)
		}
		a.f.Checks = append(a.f.Checks, marathon.WhyCheck{Instance: i.ID, Host: i.Agent.Host, Check: "readiness " + r.Name, Cause: cause})
		a.say("instance %s on %s is not ready by %s: %s", short(i.ID), i.Agent.Host, r.Name, cause)
		a.try(`look at "path", "portName" and "httpStatusCodesForReady" of the readiness check, and at stoa logs`)
	}
}
