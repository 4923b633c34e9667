package why

import (
	"fmt"
	"strings"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/state"
)

const (
	// lastLines of an output are repeated.
	lastLines = 5
	// soon after its start a task has hardly done anything.
	soon = 30 * time.Second
	// recent is how long an attempt matters to an app that is as it should be.
	recent = 10 * time.Minute
)

// attempts tells how the last tasks ended.
func (a *answer) attempts() {
	if a.Attempts == nil {
		return
	}
	var failed []*state.Attempt
	for n := range a.Attempts.Last {
		t := &a.Attempts.Last[n]
		cause, try := verdict(t, a.App)
		a.f.Attempts = append(a.f.Attempts, marathon.WhyAttempt{
			Task: t.Task, Host: t.Agent, State: t.State, Reason: t.Reason, Message: t.Message, Exit: t.Exit,
			Ended: marathon.VersionOf(t.Ended), LastedSeconds: lasted(t).Seconds(), Cause: cause, Try: try,
			Stdout: t.Stdout, Stderr: t.Stderr,
		})
		if t.State != "TASK_KILLED" || cause != "" {
			failed = append(failed, t)
		}
	}
	if len(failed) == 0 {
		return
	}
	t := failed[0]
	if a.f.Status == marathon.StatusRunning && a.Now.Sub(t.Ended) > recent {
		return
	}
	early := 0
	for _, t := range failed {
		if lasted(t) < soon && a.Now.Sub(t.Ended) < recent {
			early++
		}
	}
	if early > 2 {
		a.say("it is in a crash loop: %d of its last %d tasks ended within %s of their start", early, len(a.Attempts.Last), span(soon))
	}
	cause, try := verdict(t, a.App)
	text := fmt.Sprintf("its last failed task, %s, ended %s ago on %s after %s: %s", short(t.Task), span(a.Now.Sub(t.Ended)), t.Agent, span(lasted(t)), outcome(t))
	if cause != "" {
		text += ": " + cause
	}
	a.say("%s", text)
	if try != "" {
		a.try("%s", try)
	}
	for _, out := range []struct{ name, text string }{{"stderr", t.Stderr}, {"stdout", t.Stdout}} {
		for _, line := range tail(out.text) {
			a.more("%s: %s", out.name, line)
		}
	}
}

func lasted(t *state.Attempt) time.Duration {
	from := t.Started
	if from.IsZero() {
		from = t.Staged
	}
	if from.IsZero() {
		return 0
	}
	return max(0, t.Ended.Sub(from))
}

// outcome is what the kernel said.
func outcome(t *state.Attempt) string {
	text := t.State
	if t.Message != "" {
		text += " (" + strings.TrimSpace(t.Message) + ")"
	}
	if t.Exit != nil && !strings.Contains(t.Message, "status") && !strings.Contains(t.Message, "signal") {
		text += fmt.Sprintf(", exit code %d", *t.Exit)
	}
	return text
}

// verdict is what an end looks like, and what to try; "" if nobody can tell.
func verdict(t *state.Attempt, app *marathon.App) (cause, try string) {
	message := strings.ToLower(t.Message)
	switch {
	case t.Reason == "REASON_CONTAINER_LIMITATION_MEMORY", strings.HasPrefix(message, "memory limit exceeded"):
		return fmt.Sprintf("it used more than its %g MiB of memory", app.Mem), `raise "mem", or let the app use less`
	case t.Reason == "REASON_CONTAINER_LIMITATION_DISK":
		return fmt.Sprintf("it used more than its %g MiB of disk", app.Disk), `raise "disk", or let the app write less`
	case strings.Contains(message, "failed to fetch"):
		return `what "fetch" names could not be loaded`, `look whether each URI can be reached from the agent, and at the task's stderr`
	case strings.HasPrefix(t.Reason, "REASON_CONTAINER_LAUNCH_FAILED"), strings.Contains(message, "failed to launch"):
		return "the agent could not start it", `look at "user", "container" and "cmd" of the app, and at the agent's log`
	case t.Reason == "REASON_TASK_INVALID", t.State == "TASK_ERROR":
		return "the kernel refused the task", "mend the definition by what the message says"
	case t.Reason == "REASON_AGENT_REMOVED", t.Reason == "REASON_SLAVE_REMOVED", t.Reason == "REASON_AGENT_RESTARTED",
		t.Reason == "REASON_SLAVE_RESTARTED", t.State == "TASK_LOST", t.State == "TASK_GONE", t.State == "TASK_GONE_BY_OPERATOR",
		t.State == "TASK_UNKNOWN", t.State == "TASK_UNREACHABLE":
		return "its agent was lost or removed", "stoa agents shows which ones are there; the app is started elsewhere where it fits"
	case t.State == "TASK_DROPPED":
		return "it never reached the agent", "nothing: it is tried again"
	case strings.Contains(message, "health check"):
		return "it was killed because its health check failed", "look at the check and at the output below"
	}
	return exitVerdict(t, app)
}

func exitVerdict(t *state.Attempt, app *marathon.App) (cause, try string) {
	if t.Exit == nil {
		return "", ""
	}
	switch code := *t.Exit; {
	case t.State == "TASK_KILLED":
		return "", ""
	case code == 127:
		return "the command was not found", `look at "cmd": the path, what "fetch" brings, and PATH on the agent`
	case code == 126:
		return "the command may not be executed", `chmod +x it, or set "executable": true where it is fetched`
	case code == 137:
		return "something killed it with SIGKILL; often there is too little memory", `raise "mem", and look at the kernel's log on the agent`
	case code == 139:
		return "it crashed (SIGSEGV)", "look at the output below"
	case code == 0 && app.RestartPolicy == "":
		return "it came to its end by itself, and a service is to go on", `keep the command in the foreground; for a task that ends, "restartPolicy": "NEVER" or "ON_FAILURE"`
	case code == 0:
		return "", ""
	}
	return "the command failed", "look at the output below; stoa logs has all of it"
}

// tail is the last lines of an output.
func tail(text string) []string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if len(lines) == 1 && lines[0] == "" {
		return nil
	}
	return lines[max(0, len(lines)-lastLines):]
}
