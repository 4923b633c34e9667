package http

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/stoa-kernel/stoa/api/marathon"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/deploy"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/match"
	"github.com/stoa-kernel/stoa/service/plan"
	"github.com/stoa-kernel/stoa/service/state"
	"github.com/stoa-kernel/stoa/service/view"
	"github.com/stoa-kernel/stoa/service/why"
)

var update = flag.Bool("update", false, "write the golden files anew")

// fixture is a server whose core is a function and whose view was fed by hand. It is made
// in a bubble, where time begins at the first second of 2000.
type fixture struct {
	t     *testing.T
	tree  *app.Tree
	view  *view.View
	cfg   Config
	asked []string
	// refuse is what the core answers if it is set.
	refuse *app.Fault
	did    int // abdications
	now    time.Time
}

func newFixture(t *testing.T) *fixture {
	f := &fixture{t: t, view: view.New(), now: time.Now().UTC()}
	f.tree = app.NewTree(app.Options{PortMin: 10000, PortMax: 20000})
	f.cfg = Config{
		View: f.view, Ask: f.ask, Version: f.version, Versions: f.versions,
		Roots: func(context.Context, string) ([]marathon.Version, error) {
			return []marathon.Version{f.tree.Version(), "1999-01-01T00:00:00.000Z"}, nil
		},
		Group:     f.group,
		Events:    http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(405) }),
		Callbacks: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"callbackUrls":[]}`) }),
		Metrics:   http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "go_goroutines 1") }),
		WhatIf: func(_ context.Context, role, resources string) *why.Kernel {
			return &why.Kernel{Lines: []string{"asked for " + resources + " in role " + role}}
		},
		Levels:   NewLevels(nil),
		Counters: func() map[string]int64 { return map[string]int64{"marathon.mesos.offers.used": 3} },
		Backup:   func(_ context.Context, uri string) error { return f.file("backup", uri) },
		Restore:  func(_ context.Context, uri string) error { return f.file("restore", uri) },
		Abdicate: func() func() { return func() { f.did++ } },
		Info: Info{
			Started: f.now.Add(-time.Hour), Version: "1.10.26", BuildRef: "none", Scheme: "http", Leader: "127.0.0.1:8080", FrameworkID: func() string { return "f-1" },
			Config: map[string]any{"master": "127.0.0.1:5050"}, HTTP: map[string]any{"http_port": 8080},
		},
	}
	f.create(`{"id":"/plain","cmd":"sleep 1"}`)
	f.create(`{"id":"/shop/web","cmd":"serve","instances":3,"cpus":0.5,"labels":{"tier":"front"},"dependencies":["/shop/db"],
		"portDefinitions":[{"port":10101,"name":"http"}],"healthChecks":[{"protocol":"HTTP","path":"/health"}],
		"readinessChecks":[{"name":"ready","portName":"http"}]}`)
	f.create(`{"id":"/shop/db","args":["db","--all"],"instances":1}`)
	agent := &instance.Agent{ID: "agent-1", Host: "one.test", Region: "r", Zone: "z"}
	f.instance("/shop/web", 1, func(i *instance.Instance) {
		i.Agent, i.Ports, i.Condition, i.TaskState = agent, []int{31001}, instance.Running, "TASK_RUNNING"
		i.StagedAt, i.StartedAt = f.now.Add(-time.Minute), f.now.Add(-50*time.Second)
		i.IPAddresses = []marathon.IPAddress{{IPAddress: "10.0.0.1", Protocol: "IPv4"}}
		i.Health = []instance.Health{{Known: true, Alive: true, FirstSuccess: f.now.Add(-40 * time.Second), LastSuccess: f.now.Add(-time.Second)}}
		i.Readiness = []marathon.ReadinessResult{{Name: "ready", TaskID: i.TaskID, Ready: true}}
		i.Ready = true
	})
	f.instance("/shop/web", 2, func(i *instance.Instance) {
		i.Agent, i.Ports, i.Condition, i.TaskState = agent, []int{31002}, instance.Running, "TASK_RUNNING"
		i.StagedAt, i.StartedAt = f.now.Add(-30*time.Second), f.now.Add(-20*time.Second)
		i.Health = []instance.Health{{
			Known: true, ConsecutiveFailures: 2, LastFailure: f.now.Add(-time.Second), LastFailureCause: "connection refused",
		}}
		i.DrainUntil = f.now.Add(time.Minute)
	})
	f.instance("/shop/web", 3, nil)
	f.instance("/shop/db", 1, func(i *instance.Instance) {
		i.Agent, i.Condition, i.TaskState, i.StagedAt = agent, instance.Provisioned, "TASK_STAGING", f.now.Add(-2*time.Second)
	})
	return f
}

// file notes a backup or restore, and refuses those of a scheme.
func (f *fixture) file(verb, uri string) error {
	if strings.HasPrefix(uri, "s3:") {
		return &app.Fault{Status: 422, Body: marathon.Error{Message: "backups go to files"}}
	}
	f.asked = append(f.asked, verb+" "+uri)
	return nil
}

// create puts an app in place.
func (f *fixture) create(doc string) {
	d, err := app.Decode([]byte(doc))
	if err != nil {
		f.t.Fatal(err)
	}
	c, err := f.tree.Create(f.now, d)
	if err != nil {
		f.t.Fatal(err)
	}
	f.tree.Apply(c)
	def := c.Apps[0].New
	f.view.Apply(
		state.ChangedApp{ID: def.ID, App: def}, state.ChangedRoot{Version: c.Version},
		state.ChangedVersions{App: def.ID, Versions: []marathon.Version{def.Version, "1999-01-01T00:00:00.000Z"}},
	)
}

// instance adds one; change nil leaves it without a task.
func (f *fixture) instance(id string, n int, change func(*instance.Instance)) {
	def := f.tree.App(id)
	i := &instance.Instance{
		ID: instance.NewID(id, fmt.Sprintf("0000000%d-0000-0000-0000-000000000000", n)), App: id, Version: def.Version,
		Goal: instance.GoalRunning, Condition: instance.Scheduled, Since: f.now, Role: "*",
	}
	if change != nil {
		i.Incarnation, i.TaskID = 1, instance.TaskID(i.ID, 1)
		change(i)
	}
	f.view.Apply(state.ChangedInstance{ID: i.ID, Instance: i})
}

// deployment puts one in the view that restarts /shop/web.
func (f *fixture) deployment() {
	def := f.tree.App("/shop/web")
	old := *def
	old.Version = "1999-01-01T00:00:00.000Z"
	d := deploy.New(f.now.Add(-time.Minute), &plan.Plan{
		ID: "dep-9", Version: def.Version, Steps: []plan.Step{{Actions: []plan.Action{{Kind: plan.Restart, App: "/shop/web"}}}},
		Changes: []app.AppChange{{Old: &old, New: def, Restart: true}},
	}, "ann")
	f.view.Apply(state.ChangedDeployment{ID: "dep-9", Deployment: d})
}

// queue lets /shop/web wait.
func (f *fixture) queue(change func(*state.Queue)) {
	q := &state.Queue{
		App: f.tree.App("/shop/web"), Count: 1, Since: f.now.Add(-90 * time.Second), Role: "*", Processed: 3, Unused: 3,
		LastUnusedAt: f.now.Add(-time.Second),
		Launch:       map[match.Reason]state.Count{match.UnfulfilledRole: {Processed: 3}, match.InsufficientCpus: {Declined: 2, Processed: 3}, match.InsufficientPorts: {Declined: 1, Processed: 1}},
		Last:         map[match.Reason]state.Count{match.UnfulfilledRole: {Processed: 1}, match.InsufficientCpus: {Declined: 1, Processed: 1}},
		LastUnused:   []state.Unused{{Offer: f.offer(), At: f.now.Add(-time.Second), Why: f.refusal()}},
	}
	if change != nil {
		change(q)
	}
	f.view.Apply(state.ChangedQueue{App: q.App.ID, Queue: q})
}

func (f *fixture) offer() *mesos.Offer {
	return &mesos.Offer{
		Id: &mesos.OfferID{Value: proto.String("offer-1")}, AgentId: &mesos.AgentID{Value: proto.String("agent-1")},
		FrameworkId: &mesos.FrameworkID{Value: proto.String("f-1")}, Hostname: proto.String("one.test"),
		AllocationInfo: &mesos.Resource_AllocationInfo{Role: proto.String("*")},
		Resources: []*mesos.Resource{
			{Name: proto.String("cpus"), Type: mesos.Value_SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: proto.Float64(0.25)}, AllocationInfo: &mesos.Resource_AllocationInfo{Role: proto.String("*")}},
			{Name: proto.String("mem"), Type: mesos.Value_SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: proto.Float64(512)}, AllocationInfo: &mesos.Resource_AllocationInfo{Role: proto.String("*")}},
			{Name: proto.String("ports"), Type: mesos.Value_RANGES.Enum(), Ranges: &mesos.Value_Ranges{Range: []*mesos.Value_Range{{Begin: proto.Uint64(31000), End: proto.Uint64(31009)}}}, AllocationInfo: &mesos.Resource_AllocationInfo{Role: proto.String("*")}},
		},
		Attributes: []*mesos.Attribute{{Name: proto.String("rack"), Type: mesos.Value_TEXT.Enum(), Text: &mesos.Value_Text{Value: proto.String("a")}}},
	}
}

// refusal of the offer, by the real matcher.
func (f *fixture) refusal() match.Refusal {
	pool, err := match.NewPool([]*mesos.Offer{f.offer()})
	if err != nil {
		f.t.Fatal(err)
	}
	def := f.tree.App("/shop/web")
	_, refusal := pool.Fit(&match.Want{App: def, Instance: &instance.Instance{ID: "x", App: def.ID, Role: def.Role}, Now: f.now})
	if refusal == nil {
		f.t.Fatal("the offer fits")
	}
	return *refusal
}

// ask is the core.
func (f *fixture) ask(_ context.Context, in func(state.Token) state.Input) (state.Result, error) {
	input := in(1)
	text := strings.TrimPrefix(fmt.Sprintf("%T", input), "state.")
	note := func(format string, args ...any) { text += " " + fmt.Sprintf(format, args...) }
	req := func(r state.Request) { note("force=%v who=%s uri=%s", r.Force, r.Who, r.URI) }
	r := state.Result{Version: "2000-01-01T00:00:09.000Z", Deployment: "dep-1"}
	switch in := input.(type) {
	case state.CreateApp:
		req(in.Request)
		c, err := f.tree.Create(f.now, in.Draft)
		if fault, ok := err.(*app.Fault); ok {
			r.Fault = fault
		} else {
			r.App, r.Created = c.Apps[0].New, true
		}
	case state.UpdateApps:
		req(in.Request)
		note("mode=%+v single=%v back=%v", in.Mode, in.Single, in.Back != nil)
		for _, d := range in.Drafts {
			note("id=%s", d.ID)
			if in.Single && f.tree.App(d.ID) == nil {
				r.App, r.Created = &marathon.App{ID: d.ID}, true
			}
		}
	case state.PlanApps:
		req(in.Request)
		note("mode=%+v back=%v", in.Mode, in.Back != nil)
		c, err := f.tree.Update(f.now, in.Drafts, in.Mode)
		if err != nil {
			f.t.Fatal(err)
		}
		r = state.Result{Plan: plan.New("p", c, func(string) int { return 1 }, nil)}
	case state.DeleteApp:
		req(in.Request)
		note("id=%s", in.ID)
	case state.RestartApp:
		req(in.Request)
		note("id=%s", in.ID)
	case state.KillTasks:
		req(in.Request)
		note("app=%s host=%s ids=%v all=%v scale=%v wipe=%v single=%v", in.App, in.Host, in.IDs, in.All, in.Scale, in.Wipe, in.Single)
		if in.All {
			for i := range f.view.App(in.App).Tasks() {
				r.Killed = append(r.Killed, i)
			}
		}
		for _, id := range in.IDs {
			if i := f.view.Instance(id); i != nil {
				r.Killed = append(r.Killed, i)
			}
		}
	case state.CreateGroup:
		req(in.Request)
		note("id=%s draft=%s", in.ID, in.Draft.ID)
	case state.UpdateGroup:
		req(in.Request)
		note("id=%s draft=%s dryRun=%v back=%v", in.ID, in.Draft.ID, in.DryRun, in.Back != nil)
		if in.DryRun {
			c, err := f.tree.UpdateGroup(f.now, in.ID, in.Draft, in.Mode)
			if err != nil {
				f.t.Fatal(err)
			}
			r.Plan = plan.New("p", c, func(string) int { return 1 }, nil)
		}
	case state.DeleteGroup:
		req(in.Request)
		note("id=%s", in.ID)
	case state.EnforceRole:
		req(in.Request)
		note("id=%s enforce=%v", in.ID, in.Enforce)
	case state.CancelDeployment:
		req(in.Request)
		note("id=%s", in.ID)
	case state.SteerDeployment:
		req(in.Request)
		note("id=%s %s", in.ID, in.Input)
	case state.ResetDelay:
		req(in.Request)
		note("app=%s", in.App)
	default:
		f.t.Fatalf("the core was asked %T", input)
	}
	if f.refuse != nil {
		r = state.Result{Fault: f.refuse}
	}
	f.asked = append(f.asked, text)
	return r, nil
}

func (f *fixture) versions(_ context.Context, id string) ([]state.StoredApp, error) {
	def := f.tree.App(id)
	if def == nil {
		return nil, nil
	}
	old := def.Clone()
	old.Version, old.Instances, old.Labels = "1999-01-01T00:00:00.000Z", 7, map[string]string{"tier": "back"}
	return []state.StoredApp{
		{App: def, ID: id, Version: def.Version, By: "ann", Deployment: "dep-2"},
		{App: old, ID: id, Version: old.Version, By: "bob", Deployment: "dep-1", Outcome: "success"},
	}, nil
}

func (f *fixture) version(ctx context.Context, id string, v marathon.Version) (*state.StoredApp, error) {
	all, err := f.versions(ctx, id)
	for n := range all {
		if all[n].Version == v {
			return &all[n], err
		}
	}
	return nil, err
}

func (f *fixture) group(_ context.Context, id string, v marathon.Version) (*state.GroupVersion, error) {
	if id != "/shop" || v != "1999-01-01T00:00:00.000Z" {
		return nil, nil
	}
	return &state.GroupVersion{Apps: []*marathon.App{f.tree.App("/shop/db")}}, nil
}

// do makes a request: "METHOD path", headers in lines of their own.
func (f *fixture) do(request, body string) *httptest.ResponseRecorder {
	lines := strings.Split(request, "\n")
	method, target, _ := strings.Cut(lines[0], " ")
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.RemoteAddr = "10.1.2.3:4000"
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	New(f.cfg).ServeHTTP(w, r)
	return w
}

// golden compares text with a file, or with -update writes it.
func golden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		a, b := strings.Split(string(want), "\n"), strings.Split(text, "\n")
		for n := range min(len(a), len(b)) {
			if a[n] != b[n] {
				t.Fatalf("%s:%d is\n%s\nand not\n%s", path, n+1, b[n], a[n])
			}
		}
		t.Fatalf("%s has %d lines and not %d", path, len(b), len(a))
	}
}

// always is in every answer, and tested by itself.
var always = []string{
	"X-Marathon-Leader", "X-Frame-Options", "X-Xss-Protection", "X-Content-Type-Options", "Cache-Control", "Pragma", "Expires",
	"Content-Length", "Vary",
}

// transcript writes an exchange down.
func (f *fixture) transcript(b *bytes.Buffer, request, body string) {
	f.asked = nil
	w := f.do(request, body)
	fmt.Fprintf(b, "### %s\n", request)
	if body != "" {
		fmt.Fprintf(b, "%s\n", body)
	}
	for _, asked := range f.asked {
		fmt.Fprintf(b, "core: %s\n", asked)
	}
	fmt.Fprintf(b, "%d\n", w.Code)
	var names []string
	for name := range w.Header() {
		if !slices.Contains(always, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(b, "%s: %s\n", name, strings.Join(w.Header()[name], ", "))
	}
	text := w.Body.Bytes()
	var indented bytes.Buffer
	if json.Indent(&indented, text, "", "  ") == nil {
		text = indented.Bytes()
	}
	fmt.Fprintf(b, "%s\n\n", text)
}

// exchange is a request and its body.
type exchange struct{ request, body string }

// record runs exchanges against a fixture and compares all of it with a golden file.
func record(t *testing.T, name string, prepare func(*fixture), all ...exchange) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		if prepare != nil {
			prepare(f)
		}
		var b bytes.Buffer
		for _, e := range all {
			f.transcript(&b, e.request, e.body)
		}
		golden(t, name, b.String())
	})
}

func TestApps(t *testing.T) {
	record(t, "apps", func(f *fixture) { f.deployment() },
		exchange{"GET /v2/apps", ""},
		exchange{"GET /v2/apps?id=SHOP&cmd=serv&label=tier==front", ""},
		exchange{"GET /v2/apps?label=tier+in", ""},
		exchange{"GET /v2/apps?id=nothing&embed=unknown", ""},
		exchange{"GET /v2/apps/shop/web?embed=app.taskStats&embed=readiness", ""},
		exchange{"GET //v2//apps//plain//", ""},
		exchange{"GET /v2/apps/none", ""},
		exchange{"GET /v2/apps/shop/*?embed=apps.counts", ""},
		exchange{"GET /v2/apps/none/*", ""},
		exchange{"POST /v2/apps", `{"id":"/new/app","cmd":"sleep 1"}`},
		exchange{"POST /v2/apps?force=true", `{"id":"/plain","cmd":"sleep 1"}`},
		exchange{"POST /v2/apps", `{"id":"/bad id","cmd":"sleep 1","cpus":-1}`},
		exchange{"POST /v2/apps", `{`},
		exchange{"POST /v2/apps", `{"id":"/x","cpus":"much"}`},
		exchange{"POST /v2/apps?dryRun=true", `{"id":"/x","cmd":"sleep 1"}`},
		exchange{"PUT /v2/apps/plain", `{"instances":2}`},
		exchange{"PUT /v2/apps/plain?partialUpdate=false&force=true&restart=if-needed", `{"cmd":"sleep 2"}`},
		exchange{"PUT /v2/apps/plain?dryRun=true", `{"cmd":"sleep 2","labels":{"a":"b"}}`},
		exchange{"PUT /v2/apps/other", `{"cmd":"sleep 2"}`},
		exchange{"PUT /v2/apps/plain", `{"version":"1999-01-01T00:00:00.000Z"}`},
		exchange{"PUT /v2/apps/plain", `{"version":"1998-01-01T00:00:00.000Z"}`},
		exchange{"PATCH /v2/apps/plain", `{"instances":2}`},
		exchange{"PUT /v2/apps", `[{"id":"/plain","instances":2},{"id":"b","cmd":"sleep 1"}]`},
		exchange{"PATCH /v2/apps", `[{"id":"/plain","instances":2}]`},
		exchange{"DELETE /v2/apps/plain", ""},
		exchange{"DELETE /v2/apps/plain?force=false", ""},
		exchange{"DELETE /v2/apps/plain?dryRun=true", ""},
		exchange{"POST /v2/apps/plain/restart?force=true", ""},
		exchange{"POST /v2/apps/plain/restart?dryRun=true", ""},
		exchange{"POST /v2/apps/plain/rollback", ""},
		exchange{"GET /v2/apps/shop/web/versions", ""},
		exchange{"GET /v2/apps/shop/web/versions?embed=history", ""},
		exchange{"GET /v2/apps/none/versions", ""},
		exchange{"GET /v2/apps/plain/versions/1999-01-01T00:00:00.000Z", ""},
		exchange{"GET /v2/apps/plain/versions/1998-01-01T00:00:00.000Z", ""},
		exchange{"GET /v2/apps/plain/versions/yesterday", ""},
		exchange{"TRACE /v2/apps/plain", ""},
		exchange{"OPTIONS /v2/apps", ""},
	)
}

func TestTasks(t *testing.T) {
	const task = "shop_web.instance-00000001-0000-0000-0000-000000000000._app.1"
	record(t, "tasks", nil,
		exchange{"GET /v2/tasks", ""},
		exchange{"GET /v2/tasks?status=staging", ""},
		exchange{"GET /v2/tasks?status[]=running&status[]=staging", ""},
		exchange{"GET /v2/tasks\nAccept: text/plain", ""},
		exchange{"GET /v2/apps/shop/web/tasks\nAccept: text/plain;q=0.5, application/json", ""},
		exchange{"GET /v2/apps/shop/web/tasks\nAccept: text/plain", ""},
		exchange{"GET /v2/apps/shop/*/tasks", ""},
		exchange{"GET /v2/apps/none/tasks", ""},
		exchange{"DELETE /v2/apps/shop/web/tasks?host=one.test&wipe=true", ""},
		exchange{"DELETE /v2/apps/shop/web/tasks?scale=true&force=true", ""},
		exchange{"DELETE /v2/apps/shop/web/tasks?scale=true&wipe=true", ""},
		exchange{"DELETE /v2/apps/shop/web/tasks/" + task, ""},
		exchange{"DELETE /v2/apps/shop/web.instance-00000001/tasks/" + task, ""},
		exchange{"DELETE /v2/apps/shop/web/tasks/none", ""},
		exchange{"DELETE /v2/apps/none/tasks/none", ""},
		exchange{"POST /v2/tasks/delete", `{"ids":["` + task + `","gone.instance-1._app.1"]}`},
		exchange{"POST /v2/tasks/delete?scale=true", `{"ids":["` + task + `"]}`},
		exchange{"POST /v2/tasks/delete", `{"ids":["nonsense"]}`},
		exchange{"POST /v2/tasks/delete", `{}`},
		exchange{"POST /v2/tasks/delete", `{"ids":1}`},
	)
}

func TestGroups(t *testing.T) {
	record(t, "groups", func(f *fixture) {
		f.view.Apply(state.ChangedGroup{ID: "/shop", Group: &app.Group{ID: "/shop", Dependencies: []string{"/plain"}, EnforceRole: true}})
		f.view.Apply(state.ChangedGroup{ID: "/empty/inner", Group: &app.Group{ID: "/empty/inner"}})
	},
		exchange{"GET /v2/groups", ""},
		exchange{"GET /v2/groups?embed=group.groups", ""},
		exchange{"GET /v2/groups/shop?embed=group.apps&embed=group.apps.counts&embed=group.apps.deployments", ""},
		exchange{"GET /v2/groups/shop/apps?embed=group.apps.tasks", ""},
		exchange{"GET /v2/groups/apps", ""},
		exchange{"GET /v2/groups/none", ""},
		exchange{"GET /v2/groups/shop/versions", ""},
		exchange{"GET /v2/groups/shop/versions/1999-01-01T00:00:00.000Z", ""},
		exchange{"GET /v2/groups/shop/versions/1998-01-01T00:00:00.000Z", ""},
		exchange{"GET /v2/groups/none/versions", ""},
		exchange{"POST /v2/groups", `{"id":"/new"}`},
		exchange{"POST /v2/groups/shop", `{"id":"inner"}`},
		exchange{"PUT /v2/groups/shop?force=true", `{"scaleBy":2}`},
		exchange{"PUT /v2/groups?dryRun=true", `{"id":"/more","apps":[{"id":"a","cmd":"sleep 1"}]}`},
		exchange{"PUT /v2/groups/more?dryRun=true&embed=changes", `{"apps":[{"id":"a","cmd":"sleep 1"}]}`},
		exchange{"PUT /v2/groups/shop", `{"version":"1999-01-01T00:00:00.000Z"}`},
		exchange{"PUT /v2/groups/shop", `{"version":"1998-01-01T00:00:00.000Z"}`},
		exchange{"PUT /v2/groups/shop", `{"version":"1999-01-01T00:00:00.000Z","scaleBy":1}`},
		exchange{"PATCH /v2/groups/shop", `{"enforceRole":true}`},
		exchange{"DELETE /v2/groups/shop?force=true", ""},
		exchange{"DELETE /v2/groups/shop?dryRun=true", ""},
	)
}

func TestDeployments(t *testing.T) {
	record(t, "deployments", func(f *fixture) { f.deployment() },
		exchange{"GET /v2/deployments", ""},
		exchange{"GET /v2/deployments?embed=waiting", ""},
		exchange{"DELETE /v2/deployments/dep-9", ""},
		exchange{"DELETE /v2/deployments/dep-9?force=true", ""},
		exchange{"POST /v2/deployments/dep-9/promote", ""},
		exchange{"POST /v2/deployments/dep-9/pause", ""},
		exchange{"POST /v2/deployments/dep-9/hurry", ""},
	)
	record(t, "locked", func(f *fixture) {
		f.refuse = &app.Fault{Status: 409, Body: marathon.Error{Message: "App is locked", Deployments: []marathon.Identifiable{{ID: "dep-9"}}}}
	}, exchange{"PUT /v2/apps/plain", `{"instances":1}`})
}

func TestQueue(t *testing.T) {
	record(t, "queue", func(f *fixture) {
		f.queue(func(q *state.Queue) { q.DelayUntil = f.now.Add(1500 * time.Millisecond) })
	},
		exchange{"GET /v2/queue", ""},
		exchange{"GET /v2/queue?embed=lastUnusedOffers", ""},
		exchange{"DELETE /v2/queue/shop/web/delay", ""},
		exchange{"GET /v2/why?app=shop/web", ""},
		exchange{"GET /v2/why?app=/none", ""},
		exchange{"GET /v2/why", ""},
	)
	record(t, "unoffered", func(f *fixture) {
		f.queue(func(q *state.Queue) {
			q.Processed, q.Unused, q.Launch, q.Last, q.LastUnused = 0, 0, nil, nil, nil
		})
	}, exchange{"GET /v2/why?app=/shop/web", ""})
}

func TestSystem(t *testing.T) {
	record(t, "system", nil,
		exchange{"GET /v2/info", ""},
		exchange{"GET /v2/leader", ""},
		exchange{"DELETE /v2/leader", ""},
		exchange{"DELETE /v2/leader?backup=s3://bucket/key", ""},
		exchange{"DELETE /v2/leader?backup=file:///a&restore=file:///b", ""},
		exchange{"GET /ping", ""},
		exchange{"GET /ping\nAccept: application/json", ""},
		exchange{"GET /ping\nAccept: image/png", ""},
		exchange{"HEAD /ping", ""},
		exchange{"GET /metrics", ""},
		exchange{"GET /metrics/prometheus", ""},
		exchange{"GET /config", ""},
		exchange{"GET /logging", ""},
		exchange{"GET /v2/events", ""},
		exchange{"GET /v2/eventSubscriptions", ""},
		exchange{"HEAD /v2/pods", ""},
		exchange{"GET /v2/pods", ""},
		exchange{"GET /v2/plugins", ""},
		exchange{"GET /v2/artifacts", ""},
		exchange{"GET /v2/schemas/app", ""},
		exchange{"GET /nowhere", ""},
		exchange{"GET /", ""},
		exchange{"HEAD /", ""},
		exchange{"GET /help", ""},
		exchange{"DELETE /help", ""},
		exchange{"POST /ping", ""},
	)
}

// TestStreamsDoNotCount among requests that are bounded.
func TestStreamsDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.cfg.MaxRequests = 1
		end := make(chan struct{})
		f.cfg.Events = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-end })
		h := New(f.cfg)
		go h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/v2/events", nil))
		synctest.Wait()
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, httptest.NewRequest("GET", "/ping", nil)); w.Code != 200 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		close(end)
	})
}

func TestAbdication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.do("DELETE /v2/leader?restore=s3://bucket/x", "")
		if f.did != 0 {
			t.Error("it abdicated although it could not restore what it was to")
		}
		f.do("DELETE /v2/leader", "")
		if f.did != 1 {
			t.Error("it did not abdicate")
		}
	})
}
