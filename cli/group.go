package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stoa-kernel/stoa/api/marathon"
)

func groupCommand(s *session) *cobra.Command {
	c := &cobra.Command{Use: "group", Short: "Deploy and manage groups of apps"}
	c.AddCommand(groupListCommand(s), groupShowCommand(s), applyCommand(s, "group"), groupDeleteCommand(s), groupScaleCommand(s))
	return c
}

// group with all that is in it.
func (s *service) group(ctx context.Context, id string) (*marathon.Group, error) {
	g := new(marathon.Group)
	return g, s.get(ctx, groupPath(id), url.Values{"embed": {
		"group.groups", "group.apps", "group.apps.counts", "group.apps.deployments",
	}}, g)
}

// groupRow is a group in a listing; apps and tasks are those of the groups in it too.
type groupRow struct {
	ID           string           `json:"id"`
	Apps         int              `json:"apps"`
	Instances    int              `json:"instances"`
	Running      int              `json:"running"`
	Dependencies []string         `json:"dependencies"`
	EnforceRole  bool             `json:"enforceRole"`
	Version      marathon.Version `json:"version"`
}

// flat are a group and the groups in it, each after the one it is in.
func flat(g *marathon.Group) []groupRow {
	row := groupRow{ID: g.ID, Dependencies: g.Dependencies, EnforceRole: g.EnforceRole, Version: g.Version}
	for _, a := range g.Apps {
		row.Apps++
		row.Instances += a.Instances
		if a.TaskCounts != nil {
			row.Running += a.TasksRunning
		}
	}
	var rows []groupRow
	for _, inner := range g.Groups {
		all := flat(inner)
		row.Apps += all[0].Apps
		row.Instances += all[0].Instances
		row.Running += all[0].Running
		rows = append(rows, all...)
	}
	return append([]groupRow{row}, rows...)
}

// appsOf are the apps of a group and of the groups in it.
func appsOf(g *marathon.Group) []*marathon.AppInfo {
	apps := slices.Clone(g.Apps)
	for _, inner := range g.Groups {
		apps = append(apps, appsOf(inner)...)
	}
	return apps
}

func groupListCommand(s *session) *cobra.Command {
	var o output
	c := &cobra.Command{
		Use:   "list [GROUP]",
		Short: "List groups",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			svc, err := s.service(c.Context())
			if err != nil {
				return err
			}
			id := "/"
			if len(args) > 0 {
				id = appID(args[0])
			}
			g, err := svc.group(c.Context(), id)
			if err != nil {
				return err
			}
			return list(&o, s.out, flat(g), []column[groupRow]{
				{"GROUP", false, func(r groupRow) string { return r.ID }},
				{"APPS", false, func(r groupRow) string { return strconv.Itoa(r.Apps) }},
				{"RUNNING", false, func(r groupRow) string { return fmt.Sprintf("%d/%d", r.Running, r.Instances) }},
				{"DEPENDS ON", false, func(r groupRow) string { return strings.Join(r.Dependencies, ",") }},
				{"ENFORCES ROLE", true, func(r groupRow) string { return strconv.FormatBool(r.EnforceRole) }},
				{"VERSION", true, func(r groupRow) string { return string(r.Version) }},
			}, "")
		},
	}
	o.flags(c)
	return c
}

func groupShowCommand(s *session) *cobra.Command {
	var o output
	c := &cobra.Command{
		Use:   "show GROUP",
		Short: "Show the apps of a group and of the groups in it",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			svc, err := s.service(c.Context())
			if err != nil {
				return err
			}
			g, err := svc.group(c.Context(), appID(args[0]))
			if err != nil {
				return err
			}
			if o.format == "json" || o.format == "yaml" {
				return printData(s.out, o.format, g)
			}
			rows, err := svc.rows(c.Context(), appsOf(g))
			if err != nil {
				return err
			}
			return list(&o, s.out, rows, appColumns, "There is no app in "+clean(g.ID)+".")
		},
	}
	o.flags(c)
	return c
}

func groupDeleteCommand(s *session) *cobra.Command {
	var yes bool
	var o rollout
	c := &cobra.Command{
		Use:   "delete GROUP",
		Short: "Stop and forget all apps of a group",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			id := appID(args[0])
			svc, err := s.service(c.Context())
			if err != nil {
				return err
			}
			g, err := svc.group(c.Context(), id)
			if err != nil {
				return err
			}
			all := flat(g)[0]
			if o.dryRun {
				// The API has no dry run of this.
				p := &marathon.DryRun{}
				for _, a := range appsOf(g) {
					p.Changes = append(p.Changes, marathon.PlannedChange{App: a.ID, Deleted: true})
				}
				s.showPlan(&o, p, nil)
				return nil
			}
			if !yes && s.asks() {
				if err := s.confirm("delete %s, %s with %s?", id, count(all.Apps, "app"), count(all.Running, "task")); err != nil {
					return err
				}
			}
			return s.do(c.Context(), svc, &o, &write{method: http.MethodDelete, path: groupPath(id)})
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	o.flags(c)
	return c
}

func groupScaleCommand(s *session) *cobra.Command {
	var o rollout
	c := &cobra.Command{
		Use:     "scale GROUP FACTOR",
		Short:   "Multiply the instances of all apps of a group",
		Long:    "Multiply the instances of all apps of a group, and of the groups in it, by a factor;\nnumbers are rounded up.",
		Example: "  stoa group scale /shop 1.5",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			factor, err := strconv.ParseFloat(args[1], 64)
			if err != nil || !(factor >= 0 && factor < 1e6) {
				return usage("%q is no factor", args[1])
			}
			id := appID(args[0])
			svc, err := s.service(c.Context())
			if err != nil {
				return err
			}
			if _, err := svc.group(c.Context(), id); err != nil {
				return err // PUT would create it
			}
			return s.do(c.Context(), svc, &o, &write{method: http.MethodPut, path: groupPath(id), body: map[string]any{"scaleBy": factor}})
		},
	}
	o.flags(c)
	return c
}
