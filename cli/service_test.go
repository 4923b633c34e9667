package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "write the golden files")

// fake is a service that answers as a test says: by "METHOD /path", each answer once, the
// last one for ever.
type fake struct {
	t      *testing.T
	server *httptest.Server

	mu      sync.Mutex
	answers map[string][]answer
	calls   []string
	streams []chan string
	events  []string
}

// answer is a status and a body; one of "" is 200 and {}.
type answer struct {
	status int
	body   string
	// event is published with it, do is done.
	event string
	do    func()
}

func newFake(t *testing.T, answers map[string][]answer) *fake {
	f := &fake{t: t, answers: answers}
	f.server = httptest.NewServer(f)
	t.Cleanup(func() {
		f.server.CloseClientConnections()
		f.server.Close()
	})
	return f
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/v2/events" {
		f.stream(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Error(err)
	}
	f.mu.Lock()
	call := r.Method + " " + r.URL.RequestURI()
	key := r.Method + " " + r.URL.Path
	list := f.answers[key]
	// What is polled is asked for as often as it takes.
	if r.Method != http.MethodGet {
		if user, password, ok := r.BasicAuth(); ok {
			call += " (" + user + ", " + password + ")"
		}
		f.calls = append(f.calls, strings.TrimSpace(call+" "+string(body)))
	}
	if len(list) == 0 {
		f.mu.Unlock()
		http.Error(w, fmt.Sprintf(`{"message":"no answer for %s"}`, key), http.StatusNotImplemented)
		return
	}
	a := list[0]
	if len(list) > 1 {
		f.answers[key] = list[1:]
	}
	if key == "GET /v2/deployments" && a.event == "" {
		a.event = `{"eventType":"deployment_info"}`
	}
	if a.event != "" {
		f.events = append(f.events, a.event)
		for _, s := range f.streams {
			s <- a.event
		}
	}
	f.mu.Unlock()
	if a.do != nil {
		a.do()
	}
	w.Header().Set("Content-Type", "application/json")
	if a.status != 0 {
		w.WriteHeader(a.status)
	}
	if a.body == "" {
		a.body = "{}"
	}
	_, _ = io.WriteString(w, a.body) // the client says what came
}

func (f *fake) stream(w http.ResponseWriter, r *http.Request) {
	events := make(chan string, 1000)
	f.mu.Lock()
	f.streams = append(f.streams, events)
	f.mu.Unlock()
	events <- `{"eventType":"event_stream_attached"}`
	w.Header().Set("Content-Type", "text/event-stream")
	for n := 1; ; n++ {
		select {
		case e := <-events:
			var base struct {
				EventType string `json:"eventType"`
			}
			if err := json.Unmarshal([]byte(e), &base); err != nil {
				f.t.Error(err)
			}
			fmt.Fprintf(w, "id: 1-%d\r\nevent: %s\r\ndata: %s\r\n\r\n", n, base.EventType, e)
			w.(http.Flusher).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

// said is what a command did and said, as golden files have it.
func (f *fake) said(ctx context.Context, stdin string, args ...string) (text string, code int) {
	f.t.Helper()
	var out, errs bytes.Buffer
	s := &session{in: strings.NewReader(stdin), out: &out, err: &errs}
	root := &cobra.Command{Use: "stoa", SilenceUsage: true, SilenceErrors: true}
	commands(root, s)
	Prepare(root)
	root.SetArgs(append([]string{"--addr", "127.0.0.1:1", "--service-addr", f.server.URL}, args...))
	code = Report(&errs, root.ExecuteContext(ctx))
	var b strings.Builder
	fmt.Fprintf(&b, "$ stoa %s\n", strings.Join(args, " "))
	f.mu.Lock()
	for _, c := range f.calls {
		fmt.Fprintf(&b, "> %s\n", c)
	}
	f.mu.Unlock()
	b.WriteString(out.String())
	if errs.Len() > 0 {
		b.WriteString("--- stderr\n" + errs.String())
	}
	fmt.Fprintf(&b, "--- exit code %d\n", code)
	return b.String(), code
}

var volatile = []struct {
	what *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "127.0.0.1:PORT"},
	{regexp.MustCompile(`\b(\d+d|\d+h\d\dm|\d+m\d\ds|\d+(\.\d)?s)\b`), "AGE"},
	{regexp.MustCompile(`/\S*/testdata/`), "testdata/"},
	{regexp.MustCompile(`(?m) +$`), ""},
	{regexp.MustCompile(`(\S) {2,}`), "$1  "},
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	for _, v := range volatile {
		got = v.what.ReplaceAllString(got, v.with)
	}
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (go test ./cli -update writes it)", err)
	}
	if got != string(want) {
		t.Errorf("not as in %s:\n%s\nwant\n%s", file, got, want)
	}
}

// What tests have the service say.
const (
	web = `{"id":"/web","cmd":"exec ./web","cpus":0.5,"mem":64,"disk":0,"instances":2,"labels":{"tier":"front","env":"prod"},"version":"2026-01-02T03:04:05.678Z",
		"healthChecks":[{"protocol":"HTTP"}],"tasksStaged":0,"tasksRunning":2,"tasksHealthy":2,"tasksUnhealthy":0,"deployments":[],
		"lastTaskFailure":{"appId":"/web","host":"127.0.0.1","message":"Command exited with status 1","state":"TASK_FAILED","taskId":"web.x","timestamp":"2026-01-02T03:04:05.678Z","version":"2026-01-02T03:04:05.678Z"},
		"tasks":[{"id":"web.instance-11111111-2222-3333-4444-555555555555._app.1","host":"127.0.0.1","ports":[31000],"state":"TASK_RUNNING","startedAt":"2026-01-02T03:04:05.678Z","healthCheckResults":[{"alive":true}]},
			{"id":"web.instance-66666666-2222-3333-4444-555555555555._app.2","host":"127.0.0.1","ports":[31001],"state":"TASK_RUNNING","startedAt":"2026-01-02T03:04:05.678Z","healthCheckResults":[{"alive":false}]}]}`
	db = `{"id":"/shop/db","args":["db","-v"],"cpus":1,"mem":2048,"instances":3,"labels":{},"version":"2026-01-02T03:04:05.678Z",
		"tasksStaged":1,"tasksRunning":1,"tasksHealthy":0,"tasksUnhealthy":0,"deployments":[]}`
	idle  = `{"id":"/shop/idle","cmd":"true","cpus":1,"mem":128,"instances":0,"labels":{},"version":"2026-01-02T03:04:05.678Z","tasksStaged":0,"tasksRunning":0,"tasksHealthy":0,"tasksUnhealthy":0,"deployments":[]}`
	queue = `{"queue":[{"count":2,"role":"*","since":"2026-01-02T03:04:05.678Z","delay":{"timeLeftSeconds":0,"overdue":true},"app":{"id":"/shop/db"},
		"processedOffersSummary":{"processedOffersCount":41,"unusedOffersCount":41,"rejectSummaryLastOffers":[{"reason":"InsufficientMemory","declined":3,"processed":3},{"reason":"InsufficientPorts","declined":0,"processed":0}]}}]}`
	started = `{"version":"2026-01-02T03:05:00.000Z","deploymentId":"d1"}`
	none    = `[]`
	// scaling is deployment d1 in its second step, d2 another one.
	scaling = `{"id":"d1","version":"v","affectedApps":["/web"],"currentStep":2,"totalSteps":2,"by":"eve","startedAt":"2026-01-02T03:04:05.678Z",
		"steps":[{"actions":[{"action":"StartApplication","app":"/web"}]},{"actions":[{"action":"ScaleApplication","app":"/web"}]}],
		"currentActions":[{"action":"ScaleApplication","app":"/web","waiting":"1 of 2 instances are not healthy"}]}`
	creating = `{"id":"d1","version":"v","affectedApps":["/web"],"currentStep":1,"totalSteps":2,
		"steps":[{"actions":[{"action":"StartApplication","app":"/web"}]},{"actions":[{"action":"ScaleApplication","app":"/web"}]}],
		"currentActions":[{"action":"StartApplication","app":"/web"}]}`
	canary = `{"id":"d2","version":"v","affectedApps":["/web"],"currentStep":1,"totalSteps":1,"paused":"canary","by":"10.0.0.7","startedAt":"2026-01-02T03:04:05.678Z",
		"steps":[{"actions":[{"action":"RestartApplication","app":"/web"}]}],
		"currentActions":[{"action":"RestartApplication","app":"/web","waiting":"paused for promotion: 1 canary ready"}]}`
	back = `{"id":"d3","version":"v","affectedApps":["/web"],"currentStep":1,"totalSteps":1,"reverts":"d1",
		"steps":[{"actions":[{"action":"RestartApplication","app":"/web"}]}],"currentActions":[{"action":"RestartApplication","app":"/web","waiting":"1 old instance is still to end"}]}`
	succeeded = `{"eventType":"deployment_success","id":"d1"}`
	failed    = `{"eventType":"deployment_failed","id":"d1","reason":"the deployment was not done within its deadline"}`
	locked    = `{"message":"App is locked by one or more deployments. Override with the option '?force=true'. View details at '/v2/deployments/<DEPLOYMENT_ID>'.","deployments":[{"id":"d2"}]}`
	history   = `{"versions":["2026-01-05T00:00:00.000Z","2026-01-04T00:00:00.000Z","2026-01-03T00:00:00.000Z","2026-01-02T00:00:00.000Z","2026-01-01T00:00:00.000Z"],"history":[
		{"version":"2026-01-05T00:00:00.000Z","by":"eve","outcome":"success","deployment":"d5","changes":[{"path":"/instances","old":0,"new":2}]},
		{"version":"2026-01-04T00:00:00.000Z","by":"eve","outcome":"success","deployment":"d4","changes":[{"path":"/instances","old":2,"new":0}]},
		{"version":"2026-01-03T00:00:00.000Z","by":"bob","outcome":"success","deployment":"d3","changes":[{"path":"/env/A","old":"1","new":"2"},{"path":"/cpus","old":1,"new":0.5},{"path":"/labels/x","new":"y"},{"path":"/args","old":["a"],"new":["b"]}]},
		{"version":"2026-01-02T00:00:00.000Z","by":"bob","outcome":"failed","deployment":"d2","changes":[]},
		{"version":"2026-01-01T00:00:00.000Z","by":"bob","outcome":"success","deployment":"d1","changes":[{"path":"/id","new":"/web"}]}]}`
	// failedHistory is what an app records whose deployment d1 failed.
	failedHistory = `{"versions":["2026-01-05T00:00:00.000Z"],"history":[{"version":"2026-01-05T00:00:00.000Z","by":"eve","outcome":"failed","deployment":"d1","changes":[]}]}`
	plan          = `{"steps":[{"actions":[{"action":"RestartApplication","app":"/web"}]}],"changes":[{"app":"/web","restart":true,"changes":[
		{"path":"/cpus","old":0.1,"new":0.5},{"path":"/env/NEW","new":"a b"},{"path":"/env/OLD","old":"gone"},
		{"path":"/healthChecks","old":[{"path":"/a","protocol":"HTTP"}],"new":[{"path":"/b","protocol":"HTTP"},{"protocol":"TCP"}]},{"path":"/constraints","new":[["hostname","UNIQUE"]]}]}]}`
)

func ok(bodies ...string) []answer {
	var list []answer
	for _, b := range bodies {
		list = append(list, answer{body: b})
	}
	return list
}

// done is what a deployment d1 looks like that is scaling and then succeeds.
func done() []answer {
	return []answer{{body: "[" + creating + "]"}, {body: "[" + scaling + "]"}, {body: none, event: succeeded}}
}

var verbTests = []struct {
	name  string
	args  string
	stdin string
	// more answers than those for all.
	answers map[string][]answer
}{
	{name: "list", args: "app list"},
	{name: "list-group", args: "app list shop -o wide"},
	{name: "list-json", args: "app list /shop/ -o json"},
	{name: "list-none", args: "app list", answers: map[string][]answer{"GET /v2/apps": ok(`{"apps":[]}`)}},
	{name: "show", args: "app show web"},
	{name: "show-yaml", args: "app show /web -o yaml"},
	{name: "show-unknown", args: "app show nothing", answers: map[string][]answer{"GET /v2/apps/nothing": {{404, `{"message":"App '/nothing' does not exist"}`, "", nil}}}},

	{name: "scale", args: "app scale web 3"},
	{name: "scale-dry-run", args: "app scale web 3 --dry-run", answers: map[string][]answer{
		"PUT /v2/apps/web": ok(`{"steps":[{"actions":[{"action":"ScaleApplication","app":"/web"}]}],"changes":[{"app":"/web","changes":[{"path":"/instances","old":2,"new":3}]}]}`)}},
	{name: "scale-detach", args: "app scale web 3 --detach --force"},
	{name: "scale-locked", args: "app scale web 3", answers: map[string][]answer{
		"PUT /v2/apps/web": {{409, locked, "", nil}}, "GET /v2/deployments": ok("[" + canary + "]")}},
	{name: "scale-unknown", args: "app scale nothing 3", answers: map[string][]answer{"GET /v2/apps/nothing/versions": {{404, `{"message":"App '/nothing' does not exist"}`, "", nil}}}},
	{name: "scale-timeout", args: "app scale web 3 --timeout 1ms", answers: map[string][]answer{"GET /v2/deployments": ok("[" + scaling + "]")}},
	{name: "scale-failed", args: "app scale web 3", answers: map[string][]answer{"GET /v2/apps/web/versions": ok(failedHistory), "GET /v2/deployments": {
		{body: "[" + scaling + "]"}, {body: "[" + back + "]", event: failed}, {body: "[" + back + "]"}, {body: none, event: `{"eventType":"deployment_success","id":"d3"}`}}}},
	{name: "scale-event-missed", args: "app scale web 3", answers: map[string][]answer{
		"GET /v2/deployments": ok("["+scaling+"]", none)}},
	{name: "restart", args: "app restart web"},
	{name: "suspend", args: "app suspend web"},
	{name: "resume", args: "app resume web", answers: map[string][]answer{
		"GET /v2/apps/web/versions/2026-01-05T00:00:00.000Z": ok(`{"id":"/web","instances":0}`),
		"GET /v2/apps/web/versions/2026-01-04T00:00:00.000Z": {{404, `{"message":"gone"}`, "", nil}},
		"GET /v2/apps/web/versions/2026-01-03T00:00:00.000Z": ok(`{"id":"/web","instances":7}`)}},
	{name: "resume-running", args: "app resume web", answers: map[string][]answer{"GET /v2/apps/web/versions/2026-01-05T00:00:00.000Z": ok(`{"id":"/web","instances":2}`)}},
	{name: "resume-instances", args: "app resume web --instances 4"},
	{name: "delete", args: "app delete web"},
	{name: "delete-dry-run", args: "app delete web --dry-run", answers: map[string][]answer{
		"DELETE /v2/apps/web": ok(`{"steps":[{"actions":[{"action":"StopApplication","app":"/web"}]}],"changes":[{"app":"/web","deleted":true,"changes":[]}]}`)}},
	{name: "versions", args: "app versions web"},
	{name: "rollback", args: "app rollback web", answers: map[string][]answer{"POST /v2/apps/web/rollback": ok(plan, started)}},
	{name: "rollback-version", args: "app rollback web 2026-01-02", answers: map[string][]answer{"POST /v2/apps/web/rollback": ok(plan, started)}},
	{name: "rollback-unknown", args: "app rollback web 2025"},
	{name: "promote", args: "app promote web", answers: map[string][]answer{"GET /v2/deployments": {
		{body: "[" + canary + "]"}, {body: "[" + canary + "]"}, {body: none, event: `{"eventType":"deployment_success","id":"d2"}`}}}},
	{name: "promote-nothing", args: "app promote web", answers: map[string][]answer{"GET /v2/deployments": ok(none)}},

	{name: "apply", args: "app apply -f testdata/web.yaml", answers: map[string][]answer{"PUT /v2/apps": ok(plan, started)}},
	{name: "apply-new", args: "app apply -f testdata/web.yaml -d", answers: map[string][]answer{"PUT /v2/apps": ok(
		`{"steps":[{"actions":[{"action":"StartApplication","app":"/web"}]},{"actions":[{"action":"ScaleApplication","app":"/web"}]}],
		"changes":[{"app":"/web","created":true,"changes":[{"path":"/backoffSeconds","new":1},{"path":"/cmd","new":"exec ./web"},{"path":"/id","new":"/web"},{"path":"/env/A","new":"1"},{"path":"/portDefinitions","new":[{"name":"default","port":10000}]}]}]}`, started)}},
	{name: "apply-nothing", args: "app apply -f testdata/web.yaml", answers: map[string][]answer{"PUT /v2/apps": ok(`{"steps":[]}`)}},
	{name: "apply-nothing-timeout", args: "app apply -f testdata/web.yaml --timeout 1ms", answers: map[string][]answer{
		"PUT /v2/apps": ok(`{"steps":[]}`), "GET /v2/apps/web": ok(`{"app":` + strings.Replace(web, `"tasksHealthy":2`, `"tasksHealthy":1`, 1) + `}`)}},
	{name: "apply-invalid", args: "app apply -f testdata/web.yaml", answers: map[string][]answer{
		"PUT /v2/apps": {{422, `{"message":"Object is not valid","details":[{"path":"(0)/cpus","errors":["must be greater than or equal to 0.001"]},{"path":"(0)/id","errors":["is bad","is long"]}]}`, "", nil}}}},
	{name: "apply-dir", args: "app apply -f testdata/apps --dry-run", answers: map[string][]answer{
		"PUT /v2/apps": ok(plan), "PUT /v2/groups/shop": ok(`{"steps":[]}`)}},
	{name: "apply-stdin", args: "app apply -f - -d", stdin: `[{"id":"a","cmd":"true","instances":1},{"id":"/b","cmd":"true","instances":2,"instnaces":3}]`,
		answers: map[string][]answer{"PUT /v2/apps": ok(plan, started)}},
	{name: "apply-twice", args: "app apply -f - -d", stdin: "id: /a\ncmd: x\n---\nid: a\ncmd: y\n"},
	{name: "apply-no-id", args: "app apply -f -", stdin: `{"cmd":"true"}`},
	{name: "apply-no-json", args: "app apply -f -", stdin: "{\n  \"id\": \"/a\",\n  \"cmd\" \"true\"\n}"},
	{name: "apply-no-yaml", args: "app apply -f -", stdin: "id: /a\n---\nid: /b\n  cmd: x\n"},
	{name: "apply-no-file", args: "app apply -f testdata/nothing.yaml"},
	{name: "apply-without", args: "app apply"},

	{name: "group-list", args: "group list"},
	{name: "group-show", args: "group show shop", answers: map[string][]answer{"GET /v2/groups/shop": ok(`{"id":"/shop","apps":[` + db + `,` + idle + `],"groups":[]}`)}},
	{name: "group-apply", args: "group apply -f testdata/apps/shop.yaml", answers: map[string][]answer{
		"PUT /v2/groups/shop": ok(plan, started), "GET /v2/apps/shop/db": ok(`{"app":` + strings.Replace(db, `"tasksRunning":1`, `"tasksRunning":3`, 1) + `}`),
		"GET /v2/apps/shop/front/web": {{404, `{"message":"gone"}`, "", nil}}}},
	{name: "group-delete", args: "group delete shop", answers: map[string][]answer{"GET /v2/groups/shop": ok(`{"id":"/shop","apps":[` + db + `],"groups":[]}`)}},
	{name: "group-delete-dry-run", args: "group delete shop --dry-run", answers: map[string][]answer{"GET /v2/groups/shop": ok(`{"id":"/shop","apps":[` + db + `],"groups":[]}`)}},
	{name: "group-scale", args: "group scale shop 1.5", answers: map[string][]answer{"GET /v2/groups/shop": ok(`{"id":"/shop"}`)}},

	{name: "deployment-list", args: "deployment list", answers: map[string][]answer{"GET /v2/deployments": ok("[" + scaling + "," + canary + "]")}},
	{name: "deployment-list-none", args: "deployment list", answers: map[string][]answer{"GET /v2/deployments": ok(none)}},
	{name: "deployment-watch", args: "deployment watch d1"},
	{name: "deployment-watch-only", args: "deployment watch"},
	{name: "deployment-watch-many", args: "deployment watch", answers: map[string][]answer{"GET /v2/deployments": ok("[" + scaling + "," + canary + "]")}},
	{name: "deployment-watch-none", args: "deployment watch", answers: map[string][]answer{"GET /v2/deployments": ok(none)}},
	{name: "deployment-rollback", args: "deployment rollback d2", answers: map[string][]answer{
		"GET /v2/deployments": append(ok("["+canary+"]"), done()...), "DELETE /v2/deployments/d2": ok(started)}},
	{name: "deployment-stop", args: "deployment stop d1", answers: map[string][]answer{"DELETE /v2/deployments/d1": {{status: 202}}}},
	{name: "deployment-pause", args: "deployment pause d1"},
	{name: "deployment-resume", args: "deployment resume d1"},
	{name: "deployment-promote-early", args: "deployment promote d1", answers: map[string][]answer{
		"POST /v2/deployments/d1/promote": {{409, `{"message":"/web cannot be promoted yet: 0 of 1 new instance is ready; wait for them, or take the deployment back"}`, "", nil}}}},

	{name: "queue-list", args: "queue list"},
	{name: "queue-reset", args: "queue reset shop/db", answers: map[string][]answer{"DELETE /v2/queue/shop/db/delay": {{status: 204}}}},
	{name: "why", args: "why /shop/db"},
	{name: "denied", args: "app list", answers: map[string][]answer{"GET /v2/apps": {{401, `{"message":"no"}`, "", nil}}}},
	{name: "kill", args: "kill /web"},
	{name: "unknown-verb", args: "app lst"},
}

// Every verb: the calls it makes, what it says and its exit code.
func TestVerbs(t *testing.T) {
	for _, test := range verbTests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			all := map[string][]answer{
				"GET /v2/apps":              ok(`{"apps":[` + web + `,` + idle + `,` + db + `]}`),
				"GET /v2/apps/web":          ok(`{"app":` + web + `}`),
				"GET /v2/apps/web/versions": ok(history),
				"GET /v2/queue":             ok(queue),
				"GET /v2/deployments":       done(),
				"GET /v2/groups": ok(`{"id":"/","apps":[` + web + `],"dependencies":[],"groups":[{"id":"/shop","apps":[` + db + `],"dependencies":["/web"],"groups":[
					{"id":"/shop/inner","apps":[` + idle + `],"dependencies":[],"groups":[]}]}]}`),
				"PUT /v2/apps/web":                ok(started),
				"PUT /v2/groups/shop":             ok(started),
				"DELETE /v2/groups/shop":          ok(started),
				"DELETE /v2/apps/web":             ok(started),
				"POST /v2/apps/web/restart":       ok(started),
				"POST /v2/deployments/d1/pause":   ok(started),
				"POST /v2/deployments/d1/resume":  ok(started),
				"POST /v2/deployments/d2/promote": ok(started),
				"GET /v2/why": ok(`{"lines":["/shop/db waits for an offer: 2 of 3 instances","memory: 3 of 3 agents have less than 2 GiB free"],
					"facts":{"waiting":2,"reasons":["InsufficientMemory"]}}`),
			}
			for key, list := range test.answers {
				all[key] = list
			}
			text, _ := newFake(t, all).said(t.Context(), test.stdin, strings.Fields(test.args)...)
			golden(t, "verbs/"+test.name, text)
		})
	}
}

// Ctrl-C ends the following, not the deployment, and says how to go on.
func TestInterruptLeavesTheDeploymentAlone(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	f := newFake(t, map[string][]answer{
		"GET /v2/apps/web/versions": ok(history),
		"PUT /v2/apps/web":          ok(started),
		"GET /v2/deployments":       {{body: "[" + scaling + "]"}, {body: "[" + scaling + "]", do: interrupt}},
	})
	text, code := f.said(ctx, "", "app", "scale", "web", "3")
	if code != ExitInterrupted || !strings.Contains(text, "stoa deployment watch d1 follows it again") || strings.Contains(text, "DELETE") {
		t.Errorf("exit code %d\n%s", code, text)
	}
}

func TestAServiceThatDoesNotAnswer(t *testing.T) {
	f := newFake(t, nil)
	f.server.Close()
	text, code := f.said(t.Context(), "", "app", "list")
	if code != ExitUnreachable || !strings.Contains(text, "try:   start one with `stoa up`") {
		t.Errorf("exit code %d\n%s", code, text)
	}
}

// User and password come from the URL or MARATHON_HTTP_CREDENTIALS, and are not shown.
func TestCredentials(t *testing.T) {
	t.Setenv("MARATHON_HTTP_CREDENTIALS", "alice:secret")
	answers := map[string][]answer{"DELETE /v2/queue/web/delay": {{status: 204}, {status: 204}, {status: 502, body: "no"}, {status: 401}}}
	f := newFake(t, answers)
	f.said(t.Context(), "", "queue", "reset", "web")
	plain := f.server.URL
	f.server.URL = strings.Replace(plain, "http://", "http://bob:word@", 1)
	f.said(t.Context(), "", "queue", "reset", "web")
	if want := []string{"DELETE /v2/queue/web/delay (alice, secret)", "DELETE /v2/queue/web/delay (bob, word)"}; fmt.Sprint(f.calls) != fmt.Sprint(want) {
		t.Errorf("calls %q, want %q", f.calls, want)
	}
	f.calls = nil
	text, code := f.said(t.Context(), "", "queue", "reset", "web")
	_, said, _ := strings.Cut(text, "--- stderr")
	if code != ExitUnreachable || strings.Contains(said, "word") {
		t.Errorf("exit code %d\n%s", code, said)
	}
	text, code = f.said(t.Context(), "", "queue", "reset", "web")
	if code != ExitDenied || !strings.Contains(text, "error: the service does not know this user with this password\n") {
		t.Errorf("exit code %d\n%s", code, text)
	}
	f.server.URL = plain
}

func TestNearestField(t *testing.T) {
	for name, want := range map[string]string{"instnces": "instances", "healthcheck": "healthChecks", "Cmd": "cmd", "something": "", "memory": ""} {
		if got := nearest(name, slices.Collect(maps.Keys(appFields))); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestLabelOfATask(t *testing.T) {
	for id, want := range map[string]string{
		"shop_web.instance-3f2a91bc-089f-49ef-83dd-40ab55dcda22._app.1":  "shop_web.3f2a91bc",
		"shop_web.instance-3f2a91bc-089f-49ef-83dd-40ab55dcda22._app.12": "shop_web.3f2a91bc.12",
		"web-1f3a.0.1":   "web-1f3a.0.1",
		"x.instance-abc": "x.instance-abc",
	} {
		if got := label(id); got != want {
			t.Errorf("%s: %q, want %q", id, got, want)
		}
	}
}

// Progress on a terminal is drawn over, elsewhere only what is new is written.
func TestScreen(t *testing.T) {
	var b strings.Builder
	s := &screen{w: &b, width: 12, shown: map[string]string{}}
	s.draw([]progress{{"a", "one", "1s"}, {"b", "a long line that is cut", "1s"}})
	s.line("done")
	s.draw([]progress{{"a", "two", "2s"}})
	if want := "one  1s\na long lin…\n\x1b[2A\x1b[Jdone\ntwo  2s\n"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
	b.Reset()
	s = &screen{w: &b, shown: map[string]string{}}
	for _, clock := range []string{"1s", "2s"} {
		s.draw([]progress{{"a", "one", clock}})
	}
	s.draw([]progress{{"a", "two", "3s"}})
	if want := "one\ntwo\n"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}
