package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/stoa-kernel/stoa/api/marathon"
)

func appCommand(s *session) *cobra.Command {
	c := &cobra.Command{Use: "app", Short: "Deploy and manage apps"}
	c.AddCommand(
		applyCommand(s, "app"), appListCommand(s), appShowCommand(s), scaleCommand(s), restartCommand(s),
		suspendCommand(s), resumeCommand(s), deleteCommand(s), versionsCommand(s), rollbackCommand(s), appPromoteCommand(s),
	)
	return c
}

// appRow is an app with what it is at.
type appRow struct {
	*marathon.AppInfo
	Status string `json:"status"`
}

// status in Marathon's words.
func status(a *marathon.AppInfo, queue map[string]*marathon.QueueItem) string {
	q := queue[a.ID]
	switch {
	case len(a.Deployments) > 0:
		return "Deploying"
	case q != nil && q.Delay.Overdue:
		return "Waiting"
	case q != nil:
		return "Delayed"
	case a.Instances == 0 && a.TasksRunning == 0 && !a.PerAgent():
		return "Suspended"
	}
	return "Running"
}

// rows are apps with their status, in order of id.
func (s *service) rows(ctx context.Context, apps []*marathon.AppInfo) ([]appRow, error) {
	items, err := s.queue(ctx)
	if err != nil {
		return nil, err
	}
	queue := map[string]*marathon.QueueItem{}
	for i := range items {
		if items[i].App != nil {
			queue[items[i].App.ID] = &items[i]
		}
	}
	rows := make([]appRow, 0, len(apps))
	for _, a := range apps {
		if a == nil || a.App == nil {
			continue
		}
		if a.TaskCounts == nil {
			a.TaskCounts = &marathon.TaskCounts{}
		}
		rows = append(rows, appRow{a, status(a, queue)})
	}
	slices.SortFunc(rows, func(a, b appRow) int { return cmp.Compare(a.ID, b.ID) })
	return rows, nil
}

var appColumns = []column[appRow]{
	{"APP", false, func(r appRow) string { return r.ID }},
	{"STATUS", false, func(r appRow) string { return r.Status }},
	{"RUNNING", false, func(r appRow) string { return fmt.Sprintf("%d/%d", r.TasksRunning, r.Instances) }},
	{"HEALTH", false, healthOf},
	{"CPUS", false, func(r appRow) string { return number(r.CPUs) }},
	{"MEM", false, func(r appRow) string { return mem(r.Mem) }},
	{"AGE", false, func(r appRow) string { return ageOf(r.Version) }},
	{"VERSION", true, func(r appRow) string { return string(r.Version) }},
	{"LABELS", true, func(r appRow) string { return pairs(r.Labels) }},
	{"COMMAND", true, func(r appRow) string { return command(r.App) }},
}

func healthOf(r appRow) string {
	switch {
	case len(r.HealthChecks) == 0:
		return "no checks"
	case r.TasksUnhealthy > 0:
		return fmt.Sprintf("%d healthy, %d not", r.TasksHealthy, r.TasksUnhealthy)
	}
	return fmt.Sprintf("%d healthy", r.TasksHealthy)
}

func pairs(m map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k+"="+m[k])
	}
	return strings.Join(out, ",")
}

func command(a *marathon.App) string {
	switch {
	case a.Cmd != nil:
		return *a.Cmd
	case len(a.Args) > 0:
		return strings.Join(a.Args, " ")
	case a.Container != nil && a.Container.Docker != nil:
		return a.Container.Docker.Image
	}
	return ""
}

func appListCommand(s *session) *cobra.Command {
	var o output
	var label string
	c := &cobra.Command{
		Use:   "list [GROUP]",
		Short: "List apps",
		Long:  "List all apps, or those below a group.",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			svc, err := s.service(c.Context())
			if err != nil {
				return err
			}
			query := url.Values{}
			if label != "" {
				query.Set("label", label)
			}
			apps, err := svc.apps(c.Context(), query)
			if err != nil {
				return err
			}
			none := "There are no apps. `stoa app apply -f FILE` creates some."
			if label != "" {
				none = "No app has these labels."
			}
			if len(args) > 0 {
				id := appID(args[0])
				group := strings.TrimSuffix(id, "/") + "/"
				apps = slices.DeleteFunc(apps, func(a *marathon.AppInfo) bool { return !strings.HasPrefix(a.ID, group) })
				if len(apps) == 0 {
					none = "There are no such apps below " + id + "."
					if err := svc.get(c.Context(), escaped("/v2/groups"+id), nil, nil); err != nil {
						return err
					}
				}
			}
			rows, err := svc.rows(c.Context(), apps)
			if err != nil {
				return err
			}
			return list(&o, s.out, rows, appColumns, none)
		},
	}
	o.flags(c)
	c.Flags().StringVarP(&label, "selector", "l", "", "`labels` that apps must have, as in: tier==web,env in (test,prod)")
	return c
}

func appShowCommand(s *session) *cobra.Command {
	var o output
	c := &cobra.Command{
		Use:   "show APP",
		Short: "Show an app and its tasks",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			svc, err := s.service(c.Context())
			if err != nil {
				return err
			}
			a, err := svc.app(c.Context(), appID(args[0]))
			if err != nil {
				return err
			}
			if o.format == "json" || o.format == "yaml" {
				return printData(s.out, o.format, a)
			}
			rows, err := svc.rows(c.Context(), []*marathon.AppInfo{a})
			if err != nil {
				return err
			}
			return s.showApp(&o, &rows[0])
		},
		ValidArgsFunction: s.completeApps,
	}
	o.flags(c)
	return c
}

func (s *session) showApp(o *output, a *appRow) error {
	t := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(t, "%s\t%s\n", name, clean(text))
		}
	}
	line("app", a.ID)
	line("status", fmt.Sprintf("%s, %d of %d running, %s", a.Status, a.TasksRunning, a.Instances, healthOf(*a)))
	line("version", fmt.Sprintf("%s, %s ago", a.Version, ageOf(a.Version)))
	line("command", command(a.App))
	line("resources", fmt.Sprintf("%s cpus, %s, %s disk", number(a.CPUs), mem(a.Mem), mem(a.Disk)))
	line("labels", pairs(a.Labels))
	line("depends on", strings.Join(a.Dependencies, ", "))
	for _, d := range a.Deployments {
		line("deployment", d.ID)
	}
	if f := a.LastTaskFailure; f != nil {
		line("last failure", fmt.Sprintf("%s ago on %s: %s: %s", ageOf(f.Timestamp), f.Host, f.State, f.Message))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(s.out)
	tasks := func(list []marathon.Task, none string) error {
		return printTasks(o, s, a.AppInfo, list, none)
	}
	if err := tasks(a.Tasks, "No task runs; stoa why "+a.ID+" says why."); err != nil || len(a.PreviewTasks) == 0 {
		return err
	}
	fmt.Fprintln(s.out, "\nThe new set, before its promotion:")
	return tasks(a.PreviewTasks, "")
}

func printTasks(o *output, s *session, a *marathon.AppInfo, rows []marathon.Task, none string) error {
	return list(o, s.out, rows, []column[marathon.Task]{
		{"TASK", false, func(t marathon.Task) string { return t.ID }},
		{"STATE", false, func(t marathon.Task) string { return strings.ToLower(strings.TrimPrefix(t.State, "TASK_")) }},
		{"HEALTH", false, func(t marathon.Task) string {
			for _, h := range t.HealthCheckResults {
				if !h.Alive {
					return "unhealthy"
				}
			}
			if len(t.HealthCheckResults) == 0 {
				return ""
			}
			return "healthy"
		}},
		{"SINCE", false, func(t marathon.Task) string { return ageOf(cmp.Or(t.StartedAt, t.StagedAt)) }},
		{"AGENT", false, func(t marathon.Task) string { return t.Host }},
		{"ADDRESS", false, func(t marathon.Task) string {
			if len(t.Ports) == 0 {
				return ""
			}
			return address(a, &t)
		}},
		{"VERSION", true, func(t marathon.Task) string { return string(t.Version) }},
	}, none)
}

// appVerb is a command that changes one app.
func (s *session) appVerb(c *cobra.Command, o *rollout, prepare func(ctx context.Context, svc *service, id string, args []string) (*write, error)) *cobra.Command {
	c.RunE = func(c *cobra.Command, args []string) error {
		svc, err := s.service(c.Context())
		if err != nil {
			return err
		}
		w, err := prepare(c.Context(), svc, appID(args[0]), args[1:])
		if err != nil {
			return err
		}
		return s.do(c.Context(), svc, o, w)
	}
	c.ValidArgsFunction = s.completeApps
	o.flags(c)
	return c
}

// scaled is the call that gives an app so many instances.
func scaled(id string, n int) *write {
	return &write{method: http.MethodPut, path: appPath(id), body: map[string]any{"instances": n}}
}

func scaleCommand(s *session) *cobra.Command {
	return s.appVerb(&cobra.Command{
		Use:   "scale APP INSTANCES",
		Short: "Give an app another number of instances",
		Args:  cobra.ExactArgs(2),
	}, new(rollout), func(ctx context.Context, svc *service, id string, args []string) (*write, error) {
		n, err := strconv.Atoi(args[0])
		if err != nil || n < 0 {
			return nil, &Error{What: fmt.Sprintf("%q is no number of instances", args[0]), Try: "a whole number, as in: stoa app scale " + strings.TrimPrefix(id, "/") + " 3", Code: ExitUsage}
		}
		return existing(ctx, svc, id, scaled(id, n))
	})
}

// existing refuses an app that is not there: the API would take PUT for creating it.
func existing(ctx context.Context, svc *service, id string, w *write) (*write, error) {
	return w, svc.get(ctx, appPath(id, "/versions"), nil, nil)
}

func restartCommand(s *session) *cobra.Command {
	return s.appVerb(&cobra.Command{
		Use:   "restart APP",
		Short: "Replace all instances of an app, as its upgradeStrategy says",
		Args:  cobra.ExactArgs(1),
	}, new(rollout), func(_ context.Context, _ *service, id string, _ []string) (*write, error) {
		return &write{method: http.MethodPost, path: appPath(id, "/restart")}, nil
	})
}

func suspendCommand(s *session) *cobra.Command {
	return s.appVerb(&cobra.Command{
		Use:   "suspend APP",
		Short: "Stop all instances of an app and keep its definition",
		Args:  cobra.ExactArgs(1),
	}, new(rollout), func(ctx context.Context, svc *service, id string, _ []string) (*write, error) {
		return existing(ctx, svc, id, scaled(id, 0))
	})
}

func resumeCommand(s *session) *cobra.Command {
	var n int
	c := &cobra.Command{
		Use:   "resume APP",
		Short: "Start a suspended app again",
		Long:  "Start a suspended app again, with as many instances as it had before.",
		Args:  cobra.ExactArgs(1),
	}
	c.Flags().IntVar(&n, "instances", 0, "how many, instead of as before")
	return s.appVerb(c, new(rollout), func(ctx context.Context, svc *service, id string, _ []string) (*write, error) {
		if n > 0 {
			return existing(ctx, svc, id, scaled(id, n))
		}
		before, err := svc.before(ctx, id)
		if err != nil {
			return nil, err
		}
		return scaled(id, before), nil
	})
}

// before is the number of instances that a suspended app had.
func (s *service) before(ctx context.Context, id string) (int, error) {
	var answer struct {
		Versions []marathon.Version `json:"versions"`
	}
	if err := s.get(ctx, appPath(id, "/versions"), nil, &answer); err != nil {
		return 0, err
	}
	slices.Sort(answer.Versions)
	slices.Reverse(answer.Versions)
	for i, v := range answer.Versions {
		var a marathon.App
		err := s.get(ctx, appPath(id, "/versions/", url.PathEscape(string(v))), nil, &a)
		if isNotFound(err) {
			continue // versions are removed as new ones come
		}
		if err != nil {
			return 0, err
		}
		if i == 0 && a.Instances > 0 {
			return 0, &Error{What: id + " is not suspended: it has " + count(a.Instances, "instance"), Code: ExitConflict}
		}
		if a.Instances > 0 {
			return a.Instances, nil
		}
	}
	return 0, &Error{What: id + " never had an instance", Try: "stoa app resume " + id + " --instances 1", Code: ExitConflict}
}

func deleteCommand(s *session) *cobra.Command {
	var yes bool
	var o rollout
	c := &cobra.Command{
		Use:               "delete APP",
		Short:             "Stop an app and forget it",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: s.completeApps,
		RunE: func(c *cobra.Command, args []string) error {
			id := appID(args[0])
			svc, err := s.service(c.Context())
			if err != nil {
				return err
			}
			if !o.dryRun && !yes && s.asks() {
				a, err := svc.app(c.Context(), id)
				if err != nil {
					return err
				}
				what := count(len(a.Tasks), "task")
				if a.Resident() {
					what += " and their volumes"
				}
				if err := s.confirm("delete %s, %s?", id, what); err != nil {
					return err
				}
			}
			return s.do(c.Context(), svc, &o, &write{method: http.MethodDelete, path: appPath(id)})
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	o.flags(c)
	return c
}

func versionsCommand(s *session) *cobra.Command {
	var o output
	c := &cobra.Command{
		Use:   "versions APP",
		Short: "List an app's versions: who wrote them, what changed, what became of them",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			svc, err := s.service(c.Context())
			if err != nil {
				return err
			}
			rows, err := svc.history(c.Context(), appID(args[0]))
			if err != nil {
				return err
			}
			return list(&o, s.out, rows, []column[marathon.AppVersion]{
				{"VERSION", false, func(v marathon.AppVersion) string { return string(v.Version) }},
				{"AGE", false, func(v marathon.AppVersion) string { return ageOf(v.Version) }},
				{"BY", false, func(v marathon.AppVersion) string { return v.By }},
				{"OUTCOME", false, func(v marathon.AppVersion) string { return v.Outcome }},
				{"CHANGES", false, changesOf},
				{"DEPLOYMENT", true, func(v marathon.AppVersion) string { return v.Deployment }},
			}, "Nothing is known of its versions.")
		},
		ValidArgsFunction: s.completeApps,
	}
	o.flags(c)
	return c
}

func changesOf(v marathon.AppVersion) string {
	if v.Deleted {
		return "deleted"
	}
	if i := slices.IndexFunc(v.Changes, func(f marathon.FieldChange) bool { return f.Path == "/id" }); i >= 0 {
		return "created"
	}
	var out []string
	for i := range v.Changes {
		for _, l := range lines(&v.Changes[i]) {
			out = append(out, l.in(false))
		}
	}
	const most = 3
	if more := len(out) - most; more > 0 {
		out = append(out[:most], fmt.Sprintf("and %d more", more))
	}
	if len(out) == 0 {
		return "restart"
	}
	return strings.Join(out, ", ")
}

func rollbackCommand(s *session) *cobra.Command {
	return s.appVerb(&cobra.Command{
		Use:   "rollback APP [VERSION]",
		Short: "Go back to an earlier version of an app",
		Long: `Go back to an earlier version, named by its unique beginning, or to the last one that
was configured otherwise and whose deployment succeeded. To take back a deployment that
is not done, see stoa deployment rollback.`,
		Args: cobra.RangeArgs(1, 2),
	}, new(rollout), func(ctx context.Context, svc *service, id string, args []string) (*write, error) {
		w := &write{method: http.MethodPost, path: appPath(id, "/rollback"), show: true}
		if len(args) == 0 {
			v, err := svc.previous(ctx, id)
			if v != "" {
				w.query = url.Values{"version": {string(v)}}
			}
			return w, err
		}
		var answer struct {
			Versions []marathon.Version `json:"versions"`
		}
		if err := svc.get(ctx, appPath(id, "/versions"), nil, &answer); err != nil {
			return nil, err
		}
		v, err := match(answer.Versions, args[0], "version", func(v marathon.Version) string { return string(v) })
		var e *Error
		if errors.As(err, &e) && e.Code == ExitNotFound {
			e.Try = "stoa app versions " + id + " lists them"
		}
		w.query = url.Values{"version": {string(v)}}
		return w, err
	})
}

// previous is the last good version before the last change of configuration, "" if there
// is none: the service then takes the last good one. Scaling and restarts are no such
// change, or a rollback after a resume would suspend the app again.
func (s *service) previous(ctx context.Context, id string) (marathon.Version, error) {
	all, err := s.history(ctx, id)
	if err != nil {
		return "", err
	}
	changed := false
	for _, v := range all {
		if changed && v.Outcome == "success" && !v.Deleted {
			return v.Version, nil
		}
		changed = changed || v.Deleted || slices.ContainsFunc(v.Changes, func(f marathon.FieldChange) bool { return f.Path != "/instances" })
	}
	return "", nil
}

func appPromoteCommand(s *session) *cobra.Command {
	var o rollout
	c := &cobra.Command{
		Use:   "promote APP",
		Short: "Let a canary or a blue-green set take over",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			id := appID(args[0])
			svc, err := s.service(c.Context())
			if err != nil {
				return err
			}
			all, err := svc.deployments(c.Context())
			if err != nil {
				return err
			}
			for i := range all {
				if slices.Contains(all[i].AffectedApps, id) {
					return s.steer(c.Context(), svc, &o, all[i].ID, "promote")
				}
			}
			if _, err := existing(c.Context(), svc, id, nil); err != nil {
				return err
			}
			return &Error{What: "no deployment of " + id + " is under way", Try: "stoa deployment list; stoa app show " + id + " says how it is", Code: ExitNotFound}
		},
		ValidArgsFunction: s.completeApps,
	}
	o.following(c)
	return c
}
