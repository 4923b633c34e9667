package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	masterpb "github.com/stoa-kernel/stoa/api/mesos/v1/master"
	"github.com/stoa-kernel/stoa/internal/build"
	run "github.com/stoa-kernel/stoa/run/state"
)

// resources is a sum as JSON and tables show it.
type resources struct {
	CPUs  float64 `json:"cpus"`
	MemMB float64 `json:"mem_mib"`
	Disk  float64 `json:"disk_mib"`
	GPUs  float64 `json:"gpus,omitempty"`
}

func sum(rs []*mesos.Resource) (r resources) {
	for _, x := range rs {
		v := x.GetScalar().GetValue()
		switch x.GetName() {
		case "cpus":
			r.CPUs += v
		case "mem":
			r.MemMB += v
		case "disk":
			r.Disk += v
		case "gpus":
			r.GPUs += v
		}
	}
	return r
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// taskRow is one task, live or ended.
type taskRow struct {
	ID          string     `json:"id"`
	Name        string     `json:"name"`
	State       string     `json:"state"`
	Framework   string     `json:"framework"`
	FrameworkID string     `json:"framework_id"`
	Executor    string     `json:"executor_id,omitempty"`
	Agent       string     `json:"agent"`
	AgentID     string     `json:"agent_id,omitempty"`
	Resources   resources  `json:"resources"`
	Since       *time.Time `json:"since,omitempty"`
	Message     string     `json:"message,omitempty"`
	live        bool
}

func (t *taskRow) executor() string {
	if t.Executor != "" {
		return t.Executor
	}
	return t.ID
}

// tasks flattens a state into rows, live ones first.
func tasks(st *masterpb.Response_GetState) []taskRow {
	hosts, names := map[string]string{}, map[string]string{}
	for _, a := range st.GetGetAgents().GetAgents() {
		hosts[a.GetAgentInfo().GetId().GetValue()] = a.GetAgentInfo().GetHostname()
	}
	fs := st.GetGetFrameworks()
	for _, f := range append(slices.Clone(fs.GetFrameworks()), fs.GetCompletedFrameworks()...) {
		names[f.GetFrameworkInfo().GetId().GetValue()] = f.GetFrameworkInfo().GetName()
	}
	var rows []taskRow
	add := func(list []*mesos.Task, live bool) {
		for _, t := range list {
			r := taskRow{
				ID: t.GetTaskId().GetValue(), Name: t.GetName(), State: word(t.GetState()),
				FrameworkID: t.GetFrameworkId().GetValue(), Executor: t.GetExecutorId().GetValue(),
				AgentID: t.GetAgentId().GetValue(), Resources: sum(t.GetResources()), live: live,
			}
			r.Framework, r.Agent = names[r.FrameworkID], hosts[r.AgentID]
			if r.Agent == "" {
				r.Agent = r.AgentID
			}
			if n := len(t.GetStatuses()); n > 0 {
				last := t.GetStatuses()[n-1]
				r.Message = last.GetMessage()
				if ts := last.GetTimestamp(); ts != 0 {
					at := time.Unix(0, int64(ts*1e9)).UTC()
					r.Since = &at
				}
			}
			rows = append(rows, r)
		}
	}
	add(st.GetGetTasks().GetTasks(), true)
	add(st.GetGetTasks().GetUnreachableTasks(), true)
	add(st.GetGetTasks().GetCompletedTasks(), false)
	return rows
}

// word is a state as people say it: running, not TASK_RUNNING.
func word(s mesos.TaskState) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "TASK_"))
}

func psCommand(s *session) *cobra.Command {
	var o output
	var all bool
	c := &cobra.Command{
		Use:   "ps",
		Short: "List tasks",
		Long:  "List the tasks of all frameworks, and instances of runs that wait for an offer.",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			st, err := s.client().State(c.Context())
			if err != nil {
				return err
			}
			known := tasks(st)
			runs := s.allRuns(c.Context(), st)
			rows := slices.Clone(known)
			if all {
				rows = append(rows, gone(st, known, runs)...)
			} else {
				rows = slices.DeleteFunc(rows, func(r taskRow) bool { return !r.live })
			}
			rows = append(rows, coming(known, runs)...)
			none := "No tasks run. `stoa run -- sleep 60` starts one; `stoa ps -a` shows ended ones."
			if all {
				none = "No task ran yet. `stoa run -- echo hello` runs one."
			}
			return list(&o, s.out, rows, []column[taskRow]{
				{"TASK", false, func(r taskRow) string { return r.ID }},
				{"NAME", true, func(r taskRow) string { return r.Name }},
				{"FRAMEWORK", false, func(r taskRow) string { return r.Framework }},
				{"STATE", false, func(r taskRow) string { return r.State }},
				{"SINCE", false, func(r taskRow) string {
					if r.Since == nil {
						return ""
					}
					return age(time.Since(*r.Since))
				}},
				{"AGENT", false, func(r taskRow) string { return r.Agent }},
				{"CPUS", false, func(r taskRow) string { return number(r.Resources.CPUs) }},
				{"MEM", false, func(r taskRow) string { return mem(r.Resources.MemMB) }},
				{"MESSAGE", true, func(r taskRow) string { return r.Message }},
			}, none)
		},
	}
	o.flags(c)
	c.Flags().BoolVarP(&all, "all", "a", false, "ended tasks too")
	return c
}

// coming are the instances of runs that the master has no task of: they wait, or were
// launched just now.
func coming(known []taskRow, runs []*run.Run) (rows []taskRow) {
	ids := idsOf(known)
	for _, r := range runs {
		if r.Done != nil || r.Canceled {
			continue
		}
		for _, n := range r.Instances {
			row := taskRow{
				ID: fmt.Sprintf("%s.%d", r.ID, n.Index), Name: r.Spec.Name, State: "waiting",
				Framework: "run", FrameworkID: r.Framework, Message: n.Message, Resources: asks(r), Since: &r.Created,
			}
			switch {
			case n.State == run.Waiting:
			case !n.State.Ended() && !ids[string(n.Task)]:
				row.ID, row.State, row.AgentID, row.Agent = string(n.Task), string(n.State), string(n.Agent), string(n.Agent)
			default:
				continue
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// gone are the ended instances of runs that the master does not know any more: it
// remembers ended tasks until it ends itself, the run framework for longer.
func gone(st *masterpb.Response_GetState, known []taskRow, runs []*run.Run) (rows []taskRow) {
	ids, hosts := idsOf(known), map[string]string{}
	for _, a := range st.GetGetAgents().GetAgents() {
		hosts[a.GetAgentInfo().GetId().GetValue()] = a.GetAgentInfo().GetHostname()
	}
	for _, r := range runs {
		for _, n := range r.Instances {
			if n.Task == "" || n.Ended == nil || ids[string(n.Task)] {
				continue
			}
			rows = append(rows, taskRow{
				ID: string(n.Task), Name: r.Spec.Name, State: strings.ToLower(strings.TrimPrefix(n.Reported, "TASK_")),
				Framework: "run", FrameworkID: r.Framework, Agent: cmp.Or(hosts[string(n.Agent)], string(n.Agent)), AgentID: string(n.Agent),
				Resources: asks(r), Since: n.Ended, Message: n.Message,
			})
		}
	}
	return rows
}

func idsOf(rows []taskRow) map[string]bool {
	ids := make(map[string]bool, len(rows))
	for i := range rows {
		ids[rows[i].ID] = true
	}
	return ids
}

// allRuns are those the run framework knows. Without it there are none; when it is back
// it answers again, and tasks are listed all the same.
func (s *session) allRuns(ctx context.Context, st *masterpb.Response_GetState) []*run.Run {
	framework, err := s.runs(st)
	if err != nil {
		return nil
	}
	all, err := framework.list(ctx)
	if err != nil {
		return nil
	}
	return all
}

// asks is what one instance of a run has or would have.
func asks(r *run.Run) resources {
	return resources{CPUs: r.Spec.CPUs, MemMB: r.Spec.Mem, Disk: r.Spec.Disk}
}

type agentRow struct {
	ID         string            `json:"id"`
	Hostname   string            `json:"hostname"`
	Address    string            `json:"address"`
	State      string            `json:"state"`
	Total      resources         `json:"total"`
	Allocated  resources         `json:"allocated"`
	Offered    resources         `json:"offered"`
	Tasks      int               `json:"tasks"`
	Limits     string            `json:"limits"`
	Version    string            `json:"version"`
	Attributes map[string]string `json:"attributes,omitempty"`
	Registered *time.Time        `json:"registered,omitempty"`
}

func agentsCommand(s *session) *cobra.Command {
	var o output
	c := &cobra.Command{
		Use:   "agents",
		Short: "List agents and what they have",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			st, err := s.client().State(c.Context())
			if err != nil {
				return err
			}
			running := map[string]int{}
			for _, t := range st.GetGetTasks().GetTasks() {
				running[t.GetAgentId().GetValue()]++
			}
			var rows []agentRow
			for _, a := range st.GetGetAgents().GetAgents() {
				info := a.GetAgentInfo()
				r := agentRow{
					ID: info.GetId().GetValue(), Hostname: info.GetHostname(), State: "active",
					Address: strings.TrimPrefix(a.GetPid(), "slave(1)@"), Version: a.GetVersion(),
					Total: sum(a.GetTotalResources()), Allocated: sum(a.GetAllocatedResources()), Offered: sum(a.GetOfferedResources()),
					Limits: "cgroups", Attributes: map[string]string{},
				}
				r.Tasks = running[r.ID]
				if !a.GetActive() {
					r.State = "disconnected"
				}
				for _, at := range info.GetAttributes() {
					if at.GetName() == "limits" {
						r.Limits = at.GetText().GetValue()
						continue
					}
					r.Attributes[at.GetName()] = attribute(at)
				}
				r.Registered = instant(a.GetRegisteredTime())
				rows = append(rows, r)
			}
			for _, info := range st.GetGetAgents().GetRecoveredAgents() {
				rows = append(rows, agentRow{ID: info.GetId().GetValue(), Hostname: info.GetHostname(), State: "recovering"})
			}
			free := func(total, used float64) string { return number(used) + "/" + number(total) }
			return list(&o, s.out, rows, []column[agentRow]{
				{"AGENT", false, func(r agentRow) string { return r.ID }},
				{"HOSTNAME", false, func(r agentRow) string { return r.Hostname }},
				{"STATE", false, func(r agentRow) string { return r.State }},
				{"TASKS", false, func(r agentRow) string { return strconv.Itoa(r.Tasks) }},
				{"CPUS", false, func(r agentRow) string { return free(r.Total.CPUs, r.Allocated.CPUs) }},
				{"MEM", false, func(r agentRow) string { return mem(r.Allocated.MemMB) + " / " + mem(r.Total.MemMB) }},
				{"DISK", true, func(r agentRow) string { return mem(r.Allocated.Disk) + " / " + mem(r.Total.Disk) }},
				{"OFFERED", true, func(r agentRow) string { return number(r.Offered.CPUs) + " cpus, " + mem(r.Offered.MemMB) }},
				{"LIMITS", false, func(r agentRow) string { return r.Limits }},
				{"ADDRESS", true, func(r agentRow) string { return r.Address }},
				{"VERSION", true, func(r agentRow) string { return r.Version }},
				{"SINCE", false, func(r agentRow) string { return ago(r.Registered) }},
			}, "No agents are known. `stoa agent --master HOST:PORT` adds this machine.")
		},
	}
	o.flags(c)
	return c
}

// instant is nil for a time that is not told, or is zero.
func instant(t *mesos.TimeInfo) *time.Time {
	ns := t.GetNanoseconds()
	if ns == 0 {
		return nil
	}
	at := time.Unix(0, ns).UTC()
	return &at
}

// ago is how long something has been; "" for nil.
func ago(t *time.Time) string {
	if t == nil {
		return ""
	}
	return age(time.Since(*t))
}

func attribute(a *mesos.Attribute) string {
	switch a.GetType() {
	case mesos.Value_SCALAR:
		return number(a.GetScalar().GetValue())
	case mesos.Value_TEXT:
		return a.GetText().GetValue()
	case mesos.Value_RANGES:
		var parts []string
		for _, r := range a.GetRanges().GetRange() {
			parts = append(parts, fmt.Sprintf("%d-%d", r.GetBegin(), r.GetEnd()))
		}
		return "[" + strings.Join(parts, ",") + "]"
	}
	return "{" + strings.Join(a.GetSet().GetItem(), ",") + "}"
}

type frameworkRow struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	State      string     `json:"state"`
	Roles      []string   `json:"roles"`
	Tasks      int        `json:"tasks"`
	Allocated  resources  `json:"allocated"`
	Offered    resources  `json:"offered"`
	User       string     `json:"user"`
	WebUI      string     `json:"webui_url,omitempty"`
	Registered *time.Time `json:"registered,omitempty"`
}

func frameworksCommand(s *session) *cobra.Command {
	var o output
	var all bool
	c := &cobra.Command{
		Use:   "frameworks",
		Short: "List frameworks",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			st, err := s.client().State(c.Context())
			if err != nil {
				return err
			}
			running := map[string]int{}
			for _, t := range st.GetGetTasks().GetTasks() {
				running[t.GetFrameworkId().GetValue()]++
			}
			var rows []frameworkRow
			add := func(list []*masterpb.Response_GetFrameworks_Framework, completed bool) {
				for _, f := range list {
					info := f.GetFrameworkInfo()
					r := frameworkRow{
						ID: info.GetId().GetValue(), Name: info.GetName(), Roles: info.GetRoles(), User: info.GetUser(), WebUI: info.GetWebuiUrl(),
						Allocated: sum(f.GetAllocatedResources()), Offered: sum(f.GetOfferedResources()), State: "connected",
					}
					r.Tasks = running[r.ID]
					if len(r.Roles) == 0 {
						r.Roles = []string{info.GetRole()}
					}
					switch {
					case completed:
						r.State = "completed"
					case f.GetRecovered():
						r.State = "recovered"
					case !f.GetConnected():
						r.State = "disconnected"
					}
					r.Registered = instant(f.GetRegisteredTime())
					rows = append(rows, r)
				}
			}
			add(st.GetGetFrameworks().GetFrameworks(), false)
			if all {
				add(st.GetGetFrameworks().GetCompletedFrameworks(), true)
			}
			return list(&o, s.out, rows, []column[frameworkRow]{
				{"FRAMEWORK", false, func(r frameworkRow) string { return r.ID }},
				{"NAME", false, func(r frameworkRow) string { return r.Name }},
				{"STATE", false, func(r frameworkRow) string { return r.State }},
				{"ROLES", false, func(r frameworkRow) string { return strings.Join(r.Roles, ",") }},
				{"TASKS", false, func(r frameworkRow) string { return strconv.Itoa(r.Tasks) }},
				{"CPUS", false, func(r frameworkRow) string { return number(r.Allocated.CPUs) }},
				{"MEM", false, func(r frameworkRow) string { return mem(r.Allocated.MemMB) }},
				{"OFFERED", true, func(r frameworkRow) string { return number(r.Offered.CPUs) + " cpus, " + mem(r.Offered.MemMB) }},
				{"USER", true, func(r frameworkRow) string { return r.User }},
				{"URL", true, func(r frameworkRow) string { return r.WebUI }},
				{"SINCE", false, func(r frameworkRow) string { return ago(r.Registered) }},
			}, "No frameworks are subscribed.")
		},
	}
	o.flags(c)
	c.Flags().BoolVarP(&all, "all", "a", false, "completed frameworks too")
	return c
}

type versionRow struct {
	Component string `json:"component"`
	Version   string `json:"version"`
	Commit    string `json:"commit,omitempty"`
}

func versionCommand(s *session) *cobra.Command {
	var o output
	c := &cobra.Command{
		Use:   "version",
		Short: "Show the versions of this program and of the cluster",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			rows := []versionRow{{"stoa", build.Version, build.Commit()}}
			if v, err := s.client().Version(c.Context()); err == nil {
				rows = append(rows, versionRow{"master at " + s.addr, v.GetVersion(), v.GetGitSha()})
			} else if o.format == "table" || o.format == "wide" {
				fmt.Fprintf(s.err, "no master answers at %s\n", s.addr)
			}
			return list(&o, s.out, rows, []column[versionRow]{
				{"COMPONENT", false, func(r versionRow) string { return r.Component }},
				{"VERSION", false, func(r versionRow) string { return r.Version }},
				{"COMMIT", false, func(r versionRow) string { return r.Commit }},
			}, "")
		},
	}
	o.flags(c)
	return c
}
