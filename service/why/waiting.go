package why

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/match"
	"github.com/stoa-kernel/stoa/service/state"
)

// blocked says what no offer can mend.
func (a *answer) blocked() {
	if a.f.Blocked == "" {
		return
	}
	a.say("nothing is launched: %s", a.f.Blocked)
	if need := match.Capability(a.App); need != "" {
		a.try("%s", withoutCapability(need))
		return
	}
	if _, rest, ok := strings.Cut(a.f.Blocked, "depends on "); ok {
		on, _, _ := strings.Cut(rest, ",")
		a.try("stoa why %s; or take it out of \"dependencies\"", strings.TrimSpace(on))
	}
}

func withoutCapability(need string) string {
	switch {
	case strings.HasPrefix(need, "container"):
		return `run it as a command ("cmd" without "container"): agents of this version start no images`
	case strings.HasPrefix(need, "secret"):
		return "pass the value in \"env\" as a string"
	case strings.HasPrefix(need, "network"):
		return `"networks": [{"mode": "host"}]`
	}
	return "leave it out of the definition, or wait for agents that have it"
}

// delay says how long the backoff lasts.
func (a *answer) delay() {
	if a.f.DelaySeconds == 0 {
		return
	}
	a.say("it waits %s until its next start, because %s", span(seconds(a.f.DelaySeconds)), failures(a.f.Failures))
	a.try("mend it, then stoa queue reset %s to start it at once", a.App.ID)
}

func failures(n int) string {
	if n <= 1 {
		return "its last task failed"
	}
	return count(n, "task") + " failed in a row"
}

// offers says why none fits.
func (a *answer) offers() {
	q := a.Queue
	if q == nil || a.f.Waiting == 0 || a.f.Blocked != "" {
		return
	}
	if a.Kernel != nil {
		a.f.Kernel = a.Kernel.Facts
	}
	f := &marathon.WhyOffers{Role: q.Role, Processed: q.Processed, Declined: make(map[string]int), Nearest: nearest(q.LastUnused)}
	a.f.Offers = f
	for _, r := range match.Reasons {
		if n := q.Launch[r].Declined; n > 0 {
			f.Declined[string(r)] = n
		}
	}
	if a.f.DelaySeconds > 0 {
		return // nothing is tried meanwhile
	}
	if a.unoffered(q) {
		return
	}
	since := span(a.Now.Sub(q.Since))
	a.say("it waits for an offer that fits; of %s in %s: %s", count(q.Processed, "offer"), since, declined(q))
	ports := HostPorts(&a.Input)
	for n := range f.Nearest {
		x := &f.Nearest[n]
		how := "nearest"
		if n > 0 {
			how = "then"
		}
		a.more("%s: %s: %s%s", how, x.Agent, x.Text, a.holder(x.AgentID, ports))
	}
	if r := mainReason(q); r != "" {
		a.try("%s", remedy(r, a.App))
	}
}

// HostPorts are the ports that an instance must have and no other, if offers fail for them.
func HostPorts(in *Input) []int {
	q, c := in.Queue, in.App.Container
	if q == nil || q.Launch[match.InsufficientPorts].Declined == 0 {
		return nil
	}
	var ports []int
	for _, p := range in.App.PortDefinitions {
		if in.App.RequirePorts && p.Port > 0 {
			ports = append(ports, p.Port)
		}
	}
	if c != nil {
		for _, p := range c.PortMappings {
			if p.HostPort != nil && *p.HostPort > 0 {
				ports = append(ports, *p.HostPort)
			}
		}
	}
	return ports
}

// holder says who has one of its ports on an agent, "" if no app of the service does.
func (a *answer) holder(agent string, ports []int) string {
	for _, i := range a.Holders {
		if i.Agent.ID == agent && slices.ContainsFunc(i.Ports, func(p int) bool { return slices.Contains(ports, p) }) {
			return ": " + i.App + " has it"
		}
	}
	return ""
}

// declined sums the reasons up, those of most offers first.
func declined(q *state.Queue) string {
	var parts []string
	for _, r := range byCount(q.Launch) {
		parts = append(parts, fmt.Sprintf("%d %s", q.Launch[r].Declined, reasonWords[r]))
	}
	if used := q.Processed - q.Unused; used > 0 {
		parts = append(parts, fmt.Sprintf("%d could be used", used))
	}
	return strings.Join(parts, ", ")
}

func byCount(counts map[match.Reason]state.Count) []match.Reason {
	var all []match.Reason
	for _, r := range match.Reasons {
		if counts[r].Declined > 0 {
			all = append(all, r)
		}
	}
	slices.SortStableFunc(all, func(x, y match.Reason) int { return cmp.Compare(counts[y].Declined, counts[x].Declined) })
	return all
}

// mainReason is that of the agent nearest to fitting, or of most offers.
func mainReason(q *state.Queue) match.Reason {
	if best := near(q.LastUnused); len(best) > 0 {
		return best[0].Why.Reason
	}
	if all := byCount(q.Launch); len(all) > 0 {
		return all[0]
	}
	return ""
}

// reasonWords say what was wrong with offers.
var reasonWords = map[match.Reason]string{
	match.UnfulfilledRole:                 "for another role",
	match.UnfulfilledConstraint:           "against a constraint",
	match.NoCorrespondingReservationFound: "without its reservation",
	match.AgentMaintenance:                "of agents in maintenance",
	match.InsufficientCpus:                "with too few cpus",
	match.InsufficientMemory:              "with too little memory",
	match.InsufficientDisk:                "with too little disk",
	match.InsufficientGpus:                "with too few GPUs",
	match.InsufficientPorts:               "without the ports",
	match.DeclinedScarceResources:         "with GPUs that are kept for others",
	match.NoCapability:                    "of agents that cannot run it",
}

// remedy for a reason.
func remedy(r match.Reason, app *marathon.App) string {
	switch r {
	case match.UnfulfilledRole:
		return `look at "role" and "acceptedResourceRoles" of the app, and at what is reserved on the agents`
	case match.UnfulfilledConstraint:
		return `relax "constraints", or add agents that satisfy them`
	case match.NoCorrespondingReservationFound:
		return "bring back the agent that has its volumes, or give them up: DELETE /v2/apps{id}/tasks/{task}?wipe=true"
	case match.AgentMaintenance:
		return "wait for the end of the maintenance, or add an agent"
	case match.InsufficientCpus:
		return `ask for less ("cpus"), stop something, or add an agent`
	case match.InsufficientMemory:
		return `ask for less ("mem"), stop something, or add an agent`
	case match.InsufficientDisk:
		return `ask for less ("disk", or the size of its volumes), or add an agent with more`
	case match.InsufficientGpus:
		return `ask for fewer ("gpus"), or add an agent with more`
	case match.InsufficientPorts:
		if app.RequirePorts {
			return `another task has the port, or agents do not offer it (--resources ports:[…]): set "requirePorts" to false, or choose another port`
		}
		return "stop something that holds ports, or let the agents offer more (--resources ports:[…])"
	case match.DeclinedScarceResources:
		return "the label GPU_SCHEDULING_BEHAVIOR=unrestricted lets the app use agents with GPUs"
	}
	return "leave out of the definition what no agent can do"
}

// near has one refusal of each agent, those that lack least first.
func near(all []state.Unused) []state.Unused {
	var best []state.Unused
	for _, u := range all { // latest first
		same := func(x state.Unused) bool { return x.Offer.GetAgentId().GetValue() == u.Offer.GetAgentId().GetValue() }
		if !slices.ContainsFunc(best, same) {
			best = append(best, u)
		}
	}
	slices.SortStableFunc(best, func(x, y state.Unused) int {
		return cmp.Or(cmp.Compare(x.Why.Lacks, y.Why.Lacks), cmp.Compare(x.Offer.GetHostname(), y.Offer.GetHostname()))
	})
	return best
}

func nearest(all []state.Unused) []marathon.WhyAgent {
	agents := []marathon.WhyAgent{}
	for _, u := range near(all) {
		if len(agents) == 3 {
			break
		}
		x := marathon.WhyAgent{Agent: u.Offer.GetHostname(), AgentID: u.Offer.GetAgentId().GetValue(), Text: u.Why.Text(), Lacks: u.Why.Lacks}
		for _, r := range u.Why.All() {
			x.Reasons = append(x.Reasons, string(r))
		}
		agents = append(agents, x)
	}
	return agents
}
