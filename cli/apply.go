package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/stoa-kernel/stoa/api/marathon"
)

func applyCommand(s *session, what string) *cobra.Command {
	var o rollout
	var files []string
	var ifNeeded bool
	c := &cobra.Command{
		Use:   "apply -f FILE|DIR|-",
		Short: "Make what runs as files say",
		Long: `Create or change apps and groups as files say, in JSON or YAML: an app, a list of apps, a
group ({"id", "apps", "groups"}), or several documents. What the files do not name has
its default afterwards; only instances, if left out, stay as many as there are.

It shows what changes, field by field, then starts the deployment and follows it until
everything is healthy. Ctrl-C ends only the following.`,
		Example: "  stoa " + what + " apply -f web.yaml\n  stoa " + what + " apply -f apps/ --dry-run\n  cat web.json | stoa " + what + " apply -f - --timeout 5m",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if len(files) == 0 {
				return usage("name what to apply with -f FILE, -f DIR or -f -")
			}
			return s.apply(c.Context(), &o, files, ifNeeded)
		},
	}
	c.Flags().StringArrayVarP(&files, "file", "f", nil, "`FILE`, directory or - to read; may be repeated")
	c.Flags().BoolVar(&ifNeeded, "restart-if-needed", false, "leave instances running if only labels, constraints and the like change")
	o.flags(c)
	return c
}

func (s *session) apply(ctx context.Context, o *rollout, files []string, ifNeeded bool) error {
	docs, err := s.documents(files)
	if err != nil {
		return err
	}
	svc, err := s.service(ctx)
	if err != nil {
		return err
	}
	for i := range docs {
		for _, text := range docs[i].unknown() {
			fmt.Fprintln(s.err, "warning: "+text)
		}
		if err := svc.keepInstances(ctx, &docs[i]); err != nil {
			return err
		}
	}
	var ids []string
	for _, w := range writes(docs, ifNeeded) {
		w.force = o.force
		p, err := svc.plan(ctx, w)
		if err != nil {
			return naming(err, w)
		}
		s.showPlan(o, p, w.given)
		if o.dryRun {
			continue
		}
		// Groups have what no app shows.
		if len(p.Steps) > 0 || len(p.Changes) > 0 || strings.HasPrefix(w.path, "/v2/groups") {
			if err := s.carryOut(ctx, svc, o, w); err != nil {
				return err
			}
		}
		ids = slices.AppendSeq(ids, maps.Keys(w.given))
	}
	if o.dryRun || o.detach {
		return nil
	}
	slices.Sort(ids)
	return s.settled(ctx, svc, o, ids)
}

// naming lets a refusal of a list say which of its apps is meant.
func naming(err error, w *write) error {
	var refused *refusal
	list, ok := w.body.([]any)
	if !ok || !errors.As(err, &refused) {
		return err
	}
	for _, one := range list {
		app, _ := one.(map[string]any)
		refused.items = append(refused.items, fmt.Sprint(app["id"]))
	}
	return err
}

// writes are the calls that documents make: one for all apps, one for each group.
func writes(docs []document, ifNeeded bool) []*write {
	// Everything is said: what is not, goes.
	query := url.Values{"partialUpdate": {"false"}}
	if ifNeeded {
		query.Set("restart", "if-needed")
	}
	apps := &write{method: http.MethodPut, path: "/v2/apps", query: query, given: given{}}
	var list []any
	var all []*write
	for i := range docs {
		d := &docs[i]
		w := apps
		if d.group {
			w = &write{method: http.MethodPut, path: groupPath(d.id), query: query, body: d.body, given: given{}}
			all = append(all, w)
		} else {
			list = append(list, d.body)
		}
		d.each(func(id string, app map[string]any) {
			w.given[id] = says(app)
		})
	}
	if len(list) > 0 {
		apps.body = list
		all = append([]*write{apps}, all...)
	}
	return all
}

// older are fields that become others: what they say is to be found elsewhere.
var older = map[string]string{"ports": "portDefinitions", "uris": "fetch", "ipAddress": "networks"}

// says are the paths of the values that an app's document has; for older fields it is all
// of the one they become.
func says(app map[string]any) map[string]bool {
	leaves := map[string]any{}
	flatten(leaves, "", app)
	paths := map[string]bool{}
	for p := range leaves {
		paths[p] = true
	}
	for name := range app {
		if modern := older[name]; modern != "" {
			paths["/"+modern] = true
		}
	}
	return paths
}

func groupPath(id string) string {
	if id == "/" {
		return "/v2/groups"
	}
	return escaped("/v2/groups" + id)
}

// keepInstances gives apps of a document that say nothing of instances as many as they
// have.
func (s *service) keepInstances(ctx context.Context, d *document) error {
	missing := map[string]map[string]any{}
	d.each(func(id string, app map[string]any) {
		if _, says := app["instances"]; !says && app["scaling"] == nil {
			missing[id] = app
		}
	})
	if len(missing) == 0 {
		return nil
	}
	query := url.Values{}
	if !d.group {
		query.Set("id", d.id)
	}
	apps, err := s.apps(ctx, query)
	if err != nil {
		return err
	}
	for _, a := range apps {
		if doc := missing[a.ID]; doc != nil && !a.PerAgent() {
			doc["instances"] = json.Number(strconv.Itoa(a.Instances))
		}
	}
	return nil
}

// settled waits until apps run as they should, and shows where they are to be found: an
// apply that changed nothing is done no earlier than one that did.
func (s *session) settled(ctx context.Context, svc *service, o *rollout, ids []string) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	began := time.Now()
	screen := newScreen(s.err)
	for _, id := range ids[:min(len(ids), 20)] {
		for {
			a, err := svc.app(ctx, id)
			if ctx.Err() != nil {
				screen.line("%s is being started; stoa app show %s shows how far it is", id, id)
				return Exit(ExitInterrupted)
			}
			if isNotFound(err) {
				break // it was removed meanwhile
			}
			if err != nil {
				return err
			}
			lacking := lacking(a)
			if lacking == "" {
				screen.erase()
				fmt.Fprintln(s.out, strings.TrimSpace(fmt.Sprintf("%s  %s  %s", id, count(a.Instances, "instance"), strings.Join(addresses(a), "  "))))
				break
			}
			screen.draw([]progress{{id, id + ": " + lacking, age(time.Since(began))}})
			if o.timeout > 0 && time.Since(began) > time.Duration(o.timeout) {
				screen.erase()
				return &Error{What: fmt.Sprintf("%s does not run as it should after %s", id, age(time.Duration(o.timeout))), Why: lacking, Try: "stoa why " + id, Code: ExitWaiting}
			}
			_ = pause(ctx, pollDeployments) // the end of ctx is seen above
		}
	}
	return nil
}

// lacking says what an app has too little of, "" if nothing.
func lacking(a *marathon.AppInfo) string {
	if a.RestartPolicy == marathon.Never || a.RestartPolicy == marathon.OnFailure || a.TaskCounts == nil {
		return ""
	}
	switch {
	case a.TasksRunning < a.Instances:
		return fmt.Sprintf("%d of %d running", a.TasksRunning, a.Instances)
	case len(a.HealthChecks) > 0 && a.TasksHealthy < a.Instances:
		return fmt.Sprintf("%d of %d healthy", a.TasksHealthy, a.Instances)
	}
	return ""
}

// addresses are where an app's first tasks serve.
func addresses(a *marathon.AppInfo) []string {
	var out []string
	for i := range a.Tasks {
		t := &a.Tasks[i]
		if len(t.Ports) == 0 || t.State != "TASK_RUNNING" {
			continue
		}
		out = append(out, address(a, t))
		if len(out) == 4 && len(a.Tasks) > 5 {
			out = append(out, fmt.Sprintf("and %d more", len(a.Tasks)-4))
			break
		}
	}
	return out
}

// address of a task's first port; a URL if that is what its checks take it for.
func address(a *marathon.AppInfo, t *marathon.Task) string {
	host := t.Host
	if _, err := net.LookupHost(host); err != nil && len(t.IPAddresses) > 0 {
		host = t.IPAddresses[0].IPAddress
	}
	text := net.JoinHostPort(clean(host), strconv.Itoa(t.Ports[0]))
	for i := range a.HealthChecks {
		switch h := &a.HealthChecks[i]; h.Protocol {
		case marathon.HTTP, marathon.MesosHTTP:
			return "http://" + text
		case marathon.HTTPS, marathon.MesosHTTPS:
			return "https://" + text
		}
	}
	return text
}
