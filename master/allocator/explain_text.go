package allocator

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/stoa-kernel/stoa/kernel/reason"
	"github.com/stoa-kernel/stoa/kernel/resource"
)

// Lines is the explanation for people: what, who comes near, quota, place in line, and
// what to do. now is the request's.
func (e *Explanation) Lines(now time.Duration) []string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	want := "any offer"
	if len(e.Request) > 0 {
		want = describe(e.Request)
	}
	who := ""
	if e.Framework != "" {
		who = fmt.Sprintf(" of framework %s", e.Framework)
	}
	add("role %q%s wants %s", e.Role, who, want)
	if e.Blocked != reason.None {
		add("  no offers: %s", e.Blocked.Words())
	}
	if e.Agents > 0 {
		line := fmt.Sprintf("  agents %d · fit %d", e.Agents, e.Fit)
		for _, c := range e.Counts {
			line += fmt.Sprintf(" · %s %d", c.Reason.Words(), c.Agents)
		}
		out = append(out, line)
	}
	if len(e.Nearest) > 0 && e.Fit == 0 {
		var all []string
		for _, v := range e.Nearest {
			all = append(all, v.describe(now))
		}
		add("  closest agents: %s", strings.Join(all, " · "))
	}
	for _, q := range e.Quota {
		switch {
		case q.Limited:
			add("  quota %s: %s %s of %s used → at most %s more", q.Role, q.Name,
				show(q.Name, q.Used), show(q.Name, q.Limit), show(q.Name, q.Left()))
		default:
			add("  quota %s: %s %s used, %s guaranteed", q.Role, q.Name, show(q.Name, q.Used), show(q.Name, q.Guarantee))
		}
	}
	for _, h := range e.Held {
		if e.count(reason.Headroom) > 0 {
			add("  guarantees: %s %s held back, %s available", h.Name, show(h.Name, h.Required), show(h.Name, h.Available))
		}
	}
	if e.Share.Position > 0 {
		line := fmt.Sprintf("  fair share: %d of %d in line", e.Share.Position, e.Share.Of)
		if e.Share.Name != "" {
			line += fmt.Sprintf(", the role has %.1f%% of the cluster's %s", e.Share.Dominant*e.Share.Weight*100, e.Share.Name)
			if e.Share.Weight != 1 {
				line += fmt.Sprintf(" (weight %g)", e.Share.Weight)
			}
		}
		out = append(out, line)
	}
	if next := e.next(now); next != "" {
		add("  next: %s", next)
	}
	return out
}

func (e *Explanation) count(r reason.Reason) int {
	for _, c := range e.Counts {
		if c.Reason == r {
			return c.Agents
		}
	}
	return 0
}

// next is what to do about it.
func (e *Explanation) next(now time.Duration) string {
	switch e.Blocked {
	case reason.NoAgents:
		return "start one: stoa agent --master HOST:PORT"
	case reason.Unknown:
		return "stoa frameworks lists those there are"
	case reason.Disconnected:
		return "start the framework again; its offers come when it subscribes"
	case reason.Unsubscribed:
		return "subscribe to the role: FrameworkInfo.roles"
	case reason.Suppressed:
		return "the framework must send REVIVE for the role"
	case reason.Paused:
		return "wait, or start the missing agents"
	}
	if e.Fit > 0 {
		if e.Framework != "" {
			return "an offer is due at once; if none comes, other frameworks are before it in line"
		}
		return "nothing is in the way: it fits now"
	}
	if len(e.Counts) == 0 {
		return ""
	}
	near := Verdict{}
	if len(e.Nearest) > 0 {
		near = e.Nearest[0]
	}
	why := e.Counts[0].Reason
	if near.Agent != "" {
		why = near.Reason // the least to do
	}
	switch why {
	case reason.CPUs, reason.Mem, reason.Disk, reason.Ports, reason.GPUs, reason.Other:
		return near.remedy()
	case reason.NothingFree:
		return "wait for tasks to end or offers to be declined, or add agents"
	case reason.ReservedElsewhere:
		return "ask in the role the resources are reserved to, or unreserve them"
	case reason.QuotaLimit:
		return "raise the limit of the role (UPDATE_QUOTA), or stop tasks in it"
	case reason.Headroom:
		return "lower the guarantees (UPDATE_QUOTA), or add agents"
	case reason.Filtered:
		return fmt.Sprintf("wait %s, or the framework sends REVIVE", brief(e.Soonest-now))
	case reason.Constraint:
		return "relax the framework's offer constraints, or give an agent the attributes they ask for"
	case reason.AgentInactive:
		return "wait for the agents to come back: stoa agents shows since when they are away"
	case reason.NeedsGPUCapability:
		return "subscribe with GPU_RESOURCES, or add agents without GPUs"
	case reason.OtherRegion:
		return "subscribe with REGION_AWARE, or add agents in the master's region"
	case reason.BelowMinimum:
		return "wait for more to come free, or lower the minimum: FrameworkInfo.offer_filters"
	}
	return ""
}

// remedy is what to do about an agent that has too little.
func (v *Verdict) remedy() string {
	var lower []string
	for _, m := range v.Missing {
		if m.Have == 0 {
			lower = nil
			break
		}
		lower = append(lower, m.Name+" to "+show(m.Name, m.Have))
	}
	other := "free some of " + v.Hostname + ": stoa ps shows what runs there"
	if v.TooSmall {
		other = "add a larger agent: the closest would not do if it were empty"
	}
	if len(lower) == 0 {
		return other
	}
	return "lower " + strings.Join(lower, " and ") + ", or " + other
}

func (v *Verdict) describe(now time.Duration) string {
	if v.Reason == reason.Filtered {
		return fmt.Sprintf("%s (declined, again in %s)", v.Hostname, brief(v.Until-now))
	}
	var all []string
	for _, m := range v.Missing {
		all = append(all, fmt.Sprintf("%s %s", m.Name, show(m.Name, m.By)))
	}
	s := fmt.Sprintf("%s (short %s", v.Hostname, strings.Join(all, ", "))
	switch {
	case v.TooSmall:
		s += ", even if it were empty"
	case v.Reason == reason.ReservedElsewhere, v.Reason == reason.QuotaLimit, v.Reason == reason.Headroom:
		s += ": " + v.Reason.Words()
	}
	return s + ")"
}

// brief is a time to wait, up to the next whole second.
func brief(d time.Duration) time.Duration {
	return max(0, d+time.Second-1).Truncate(time.Second)
}

func describe(q resource.Quantities) string {
	var all []string
	for _, one := range q {
		all = append(all, one.Name+" "+show(one.Name, one.Value))
	}
	return strings.Join(all, ", ")
}

// show writes an amount as people do: mem and disk, which count MiB, with their unit,
// in GiB where that is a round number.
func show(name string, m resource.Milli) string {
	const gib = 1024_000
	switch {
	case name != "mem" && name != "disk":
		return m.String()
	case m >= gib && m%(gib/2) == 0:
		return (m / 1024).String() + " GiB"
	case m >= 100*gib:
		return strconv.FormatFloat(m.Float()/1024, 'f', 1, 64) + " GiB"
	}
	return m.String() + " MiB"
}

// Facts is the explanation's numbers by name, for programs that want no structure.
func (e *Explanation) Facts() map[string]string {
	f := map[string]string{
		"role":    e.Role,
		"blocked": e.Blocked.String(),
		"agents":  strconv.Itoa(e.Agents),
		"fit":     strconv.Itoa(e.Fit),
	}
	if e.Framework != "" {
		f["framework_id"] = string(e.Framework)
	}
	if len(e.Request) > 0 {
		f["request"] = e.Request.String()
	}
	for _, c := range e.Counts {
		f["agents."+c.Reason.String()] = strconv.Itoa(c.Agents)
	}
	for i, v := range e.Nearest {
		key := fmt.Sprintf("nearest.%d.", i+1)
		f[key+"hostname"], f[key+"agent_id"], f[key+"reason"] = v.Hostname, string(v.Agent), v.Reason.String()
		for _, m := range v.Missing {
			f[key+"missing."+m.Name] = m.By.String()
		}
	}
	for _, q := range e.Quota {
		key := fmt.Sprintf("quota.%s.%s.", q.Role, q.Name)
		f[key+"used"] = q.Used.String()
		if q.Limited {
			f[key+"limit"] = q.Limit.String()
		}
		if q.Guarantee > 0 {
			f[key+"guarantee"] = q.Guarantee.String()
		}
	}
	if e.Share.Position > 0 {
		f["share.position"], f["share.of"] = strconv.Itoa(e.Share.Position), strconv.Itoa(e.Share.Of)
		f["share.dominant"] = strconv.FormatFloat(e.Share.Dominant, 'g', 6, 64)
	}
	return f
}
