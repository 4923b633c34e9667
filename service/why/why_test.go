package why

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/stoa-kernel/stoa/api/marathon"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/deploy"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/match"
	"github.com/stoa-kernel/stoa/service/plan"
	"github.com/stoa-kernel/stoa/service/state"
)

var update = flag.Bool("update", false, "write the golden files anew")

var now = time.Date(2020, 1, 1, 12, 0, 0, 0, time.UTC)

// define makes a definition of a document.
func define(t *testing.T, doc string) *marathon.App {
	t.Helper()
	d, err := app.Decode([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	c, err := app.NewTree(app.Options{PortMin: 10000, PortMax: 20000}).Create(now, d)
	if err != nil {
		t.Fatal(err)
	}
	return c.Apps[0].New
}

// of makes an instance.
func of(def *marathon.App, n int, change func(*instance.Instance)) *instance.Instance {
	i := &instance.Instance{
		ID: instance.NewID(def.ID, fmt.Sprintf("%08d-0000", n)), App: def.ID, Version: def.Version, Incarnation: 1,
		Goal: instance.GoalRunning, Condition: instance.Running, TaskState: "TASK_RUNNING", Ready: true, Since: now.Add(-time.Hour),
		StagedAt: now.Add(-time.Hour), StartedAt: now.Add(-time.Hour), Ports: []int{31000 + n}, Role: "*",
		Agent: &instance.Agent{ID: fmt.Sprintf("S%d", n), Host: fmt.Sprintf("host-%d", n)},
	}
	i.TaskID = instance.TaskID(i.ID, 1)
	if change != nil {
		change(i)
	}
	return i
}

func waiting(i *instance.Instance) {
	i.Condition, i.TaskState, i.TaskID, i.Agent, i.Ready = instance.Scheduled, "", "", nil, false
}

// offer of an agent with resources such as "cpus:1;mem:64".
func offer(t *testing.T, n int, resources string) *mesos.Offer {
	t.Helper()
	r, err := resource.Parse(resources, "*")
	if err != nil {
		t.Fatal(err)
	}
	return &mesos.Offer{
		Id: &mesos.OfferID{Value: proto.String(fmt.Sprintf("O%d", n))}, AgentId: &mesos.AgentID{Value: proto.String(fmt.Sprintf("S%d", n))},
		Hostname: proto.String(fmt.Sprintf("host-%d", n)), Resources: r.Allocate("*").ProtoFor(true, true),
		AllocationInfo: &mesos.Resource_AllocationInfo{Role: proto.String("*")},
	}
}

// queue is an app that was refused these offers, by the real matcher.
func queue(t *testing.T, def *marathon.App, placed []*instance.Instance, offers ...*mesos.Offer) *state.Queue {
	t.Helper()
	q := &state.Queue{
		App: def, Count: 1, Since: now.Add(-130 * time.Second), Role: "*", Processed: len(offers), Unused: len(offers),
		Launch: make(map[match.Reason]state.Count),
	}
	for _, o := range offers {
		pool, err := match.NewPool([]*mesos.Offer{o})
		if err != nil {
			t.Fatal(err)
		}
		i := &instance.Instance{ID: def.ID + ".instance-new", App: def.ID, Version: def.Version, Role: def.Role}
		_, refusal := pool.Fit(&match.Want{App: def, Instance: i, Placed: match.Count(def, placed), Now: now})
		if refusal == nil {
			t.Fatalf("%v fits", o)
		}
		c := q.Launch[refusal.Reason]
		c.Declined++
		q.Launch[refusal.Reason] = c
		q.LastUnused = append(q.LastUnused, state.Unused{Offer: o, At: now, Why: *refusal})
	}
	return q
}

// died makes attempts that ended so, seconds apart.
func died(n int, after time.Duration, change func(*state.Attempt)) *state.Attempts {
	all := &state.Attempts{App: "/web"}
	for i := range n {
		ended := now.Add(-time.Duration(3+10*i) * time.Second)
		a := state.Attempt{
			Task: fmt.Sprintf("web.instance-00000001-0000._app.%d", n-i), Agent: "host-1", AgentID: "S1", State: "TASK_FAILED",
			Staged: ended.Add(-after - time.Second), Started: ended.Add(-after), Ended: ended,
		}
		change(&a)
		all.Last = append(all.Last, a)
	}
	return all
}

func exit(code int) *int { return &code }

const web = `{"id":"/web","cmd":"serve","instances":2,"cpus":1,"mem":512}`

// TestFaults has a row for each way in which apps do not run; what is said about them is
// in testdata.
func TestFaults(t *testing.T) {
	checked := `{"id":"/web","cmd":"serve","instances":1,"healthChecks":[{"path":"/helth","gracePeriodSeconds":30}]}`
	rows := []struct {
		name string
		in   func(t *testing.T, in *Input)
	}{
		{"as it should be", func(t *testing.T, in *Input) {
			in.App = define(t, web)
			in.Instances = slices.Values([]*instance.Instance{of(in.App, 1, nil), of(in.App, 2, nil)})
			in.Counts.TasksRunning = 2
		}},
		{"suspended", func(t *testing.T, in *Input) {
			in.App = define(t, `{"id":"/web","cmd":"serve","instances":0}`)
		}},
		{"no memory", func(t *testing.T, in *Input) {
			in.App = define(t, web)
			in.Instances = slices.Values([]*instance.Instance{of(in.App, 1, nil), of(in.App, 2, waiting)})
			in.Counts.TasksRunning = 1
			in.Queue = queue(t, in.App, nil,
				offer(t, 1, "cpus:4;mem:448;ports:[31000-31010]"), offer(t, 2, "cpus:4;mem:128;ports:[31000-31010]"),
				offer(t, 3, "cpus:0.5;mem:64;ports:[31000-31010]"), offer(t, 1, "cpus:4;mem:64;ports:[31000-31010]"))
		}},
		{"quota used up", func(t *testing.T, in *Input) {
			in.App = define(t, web)
			in.Instances = slices.Values([]*instance.Instance{of(in.App, 1, waiting), of(in.App, 2, waiting)})
			in.Queue = queue(t, in.App, nil)
			in.Queue.Role = "prod"
			in.Kernel = &Kernel{Facts: map[string]string{
				"quota.prod.mem.limit": "2048", "quota.prod.mem.used": "1792", "quota.prod.cpus.limit": "64", "quota.prod.cpus.used": "4",
			}}
		}},
		{"agents are full", func(t *testing.T, in *Input) {
			in.App = define(t, web)
			in.Instances = slices.Values([]*instance.Instance{of(in.App, 1, waiting), of(in.App, 2, waiting)})
			in.Queue = queue(t, in.App, nil)
			in.Kernel = &Kernel{Lines: []string{"2 agents, none fits: nothing free on 2", "  next: stop something, or add an agent"}}
		}},
		{"the master is away", func(t *testing.T, in *Input) {
			in.App = define(t, web)
			in.Instances = slices.Values([]*instance.Instance{of(in.App, 1, waiting), of(in.App, 2, waiting)})
			in.Queue = queue(t, in.App, nil)
			in.Kernel = &Kernel{Failed: "connection refused"}
		}},
		{"impossible constraint", func(t *testing.T, in *Input) {
			in.App = define(t, `{"id":"/web","cmd":"serve","instances":2,"constraints":[["hostname","UNIQUE"]]}`)
			placed := []*instance.Instance{of(in.App, 1, nil)}
			in.Instances = slices.Values(append(placed, of(in.App, 2, waiting)))
			in.Counts.TasksRunning = 1
			in.Queue = queue(t, in.App, placed, offer(t, 1, "cpus:4;mem:4096;ports:[31000-31010]"))
		}},
		{"host port taken", func(t *testing.T, in *Input) {
			in.App = define(t, `{"id":"/web","cmd":"serve","requirePorts":true,"portDefinitions":[{"port":8080}]}`)
			in.Instances = slices.Values([]*instance.Instance{of(in.App, 1, waiting)})
			in.Queue = queue(t, in.App, nil, offer(t, 1, "cpus:4;mem:4096;ports:[31000-31010]"))
		}},
		{"dependency not healthy", func(t *testing.T, in *Input) {
			in.App = define(t, web)
			in.Instances = slices.Values([]*instance.Instance{of(in.App, 1, waiting)})
			in.Queue = queue(t, in.App, nil)
			in.Queue.Blocked = "it depends on /db, of which 0 of 1 instances are healthy"
		}},
		{"needs Docker", func(t *testing.T, in *Input) {
			in.App = define(t, `{"id":"/web","container":{"type":"DOCKER","docker":{"image":"nginx"}}}`)
			in.Instances = slices.Values([]*instance.Instance{of(in.App, 1, waiting)})
			in.Queue = queue(t, in.App, nil)
			in.Queue.Blocked = "no agent of this cluster has what the app needs: " + match.Capability(in.App)
		}},
		{"crash loop: command not found", func(t *testing.T, in *Input) {
			in.App = define(t, web)
			in.Instances = slices.Values([]*instance.Instance{of(in.App, 1, waiting), of(in.App, 2, waiting)})
			in.Queue = queue(t, in.App, nil, offer(t, 2, "cpus:0.5;mem:64"))
			in.Queue.DelayUntil, in.Queue.Failures = now.Add(12*time.Second), 5
			in.Attempts = died(5, 200*time.Millisecond, func(a *state.Attempt) {
				a.Exit, a.Message, a.Stderr = exit(127), "Command exited with status 127", "one\ntwo\nthree\nfour\nfive\nsh: 1: serve: not found\n"
			})
		}},
		{"URI does not download", func(t *testing.T, in *Input) {
			in.App = define(t, web)
			in.Instances = slices.Values([]*instance.Instance{of(in.App, 1, waiting)})
			in.Queue = queue(t, in.App, nil, offer(t, 2, "cpus:0.5;mem:64"))
			in.Attempts = died(1, 0, func(a *state.Attempt) {
				a.Reason, a.Message, a.Started = "REASON_CONTAINER_LAUNCH_FAILED", "Failed to fetch http://x.test/a.tgz: 404 Not Found", time.Time{}
			})
		}},
		{"out of memory", func(t *testing.T, in *Input) {
			in.App = define(t, web)
			in.Instances = slices.Values([]*instance.Instance{of(in.App, 1, nil), of(in.App, 2, nil)})
			in.Counts.TasksRunning = 2
			in.Attempts = died(1, 3*time.Minute, func(a *state.Attempt) {
				a.Reason, a.Message = "REASON_CONTAINER_LIMITATION_MEMORY", "Memory limit exceeded: Requested: 512MB Maximum Used: 512MB"
			})
		}},
		{"it ended long ago and all is well", func(t *testing.T, in *Input) {
			in.App = define(t, web)
			in.Instances = slices.Values([]*instance.Instance{of(in.App, 1, nil), of(in.App, 2, nil)})
			in.Counts.TasksRunning = 2
			in.Attempts = died(1, time.Minute, func(a *state.Attempt) { a.Ended = now.Add(-time.Hour) })
		}},
		{"a service that finishes", func(t *testing.T, in *Input) {
			in.App = define(t, web)
			in.Instances = slices.Values([]*instance.Instance{of(in.App, 1, nil)})
			in.Attempts = died(2, time.Minute, func(a *state.Attempt) {
				a.State, a.Exit, a.Message, a.Stdout = "TASK_FINISHED", exit(0), "Command exited with status 0", "done\n"
			})
		}},
		{"agent lost", func(t *testing.T, in *Input) {
			in.App = define(t, `{"id":"/web","cmd":"serve","instances":1,"unreachableStrategy":{"inactiveAfterSeconds":300,"expungeAfterSeconds":600}}`)
			in.Instances = slices.Values([]*instance.Instance{of(in.App, 1, func(i *instance.Instance) {
				i.Condition, i.TaskState, i.Since = instance.Unreachable, "TASK_UNREACHABLE", now.Add(-100*time.Second)
			})})
			in.Attempts = died(1, time.Hour, func(a *state.Attempt) { a.State, a.Reason = "TASK_GONE", "REASON_AGENT_REMOVED" })
		}},
		{"bad health path", func(t *testing.T, in *Input) {
			in.App = define(t, checked)
			in.Instances = slices.Values([]*instance.Instance{of(in.App, 1, func(i *instance.Instance) {
				i.Health = []instance.Health{{Known: true, ConsecutiveFailures: 2, LastFailure: now, LastFailureCause: "HTTP status 404"}}
			})})
			in.Counts.TasksRunning, in.Counts.TasksUnhealthy = 1, 1
		}},
		{"unhealthy within the grace period", func(t *testing.T, in *Input) {
			in.App = define(t, checked)
			in.Instances = slices.Values([]*instance.Instance{of(in.App, 1, func(i *instance.Instance) {
				i.Health = []instance.Health{{Ignored: 1, LastFailure: now, LastFailureCause: "dial tcp 10.0.0.1:31001: connect: connection refused"}}
			})})
			in.Counts.TasksRunning = 1
		}},
		{"not ready, in a deployment that waits", func(t *testing.T, in *Input) {
			in.App = define(t, `{"id":"/web","cmd":"serve","portDefinitions":[{"port":0,"name":"http"}],"readinessChecks":[{"name":"warm","portName":"http"}]}`)
			in.Instances = slices.Values([]*instance.Instance{of(in.App, 1, func(i *instance.Instance) {
				i.Ready = false
				i.Readiness = []marathon.ReadinessResult{{Name: "warm", TaskID: i.TaskID, LastResponse: &marathon.ReadinessResponse{Status: 503}}}
			})})
			in.Counts.TasksRunning = 1
			in.Deployment, in.Waiting = under("/web"), map[string]string{"/web": "1 of 1 instance is not healthy or not ready"}
		}},
		{"locked by another deployment", func(t *testing.T, in *Input) {
			in.App = define(t, web)
			in.Instances = slices.Values([]*instance.Instance{of(in.App, 1, nil), of(in.App, 2, nil)})
			in.Counts.TasksRunning = 2
			in.Deployment, in.Waiting = under("/db"), map[string]string{"/db": "1 of 1 instance is waiting for an offer"}
		}},
		{"paused canary", func(t *testing.T, in *Input) {
			in.App = define(t, web)
			in.Instances = slices.Values([]*instance.Instance{of(in.App, 1, nil), of(in.App, 2, nil), of(in.App, 3, nil)})
			in.Counts.TasksRunning = 3
			in.Deployment, in.Waiting = under("/web"), map[string]string{"/web": "paused for promotion: 1 canary ready"}
			in.Deployment.Progress = deploy.NotesOf(map[string]*deploy.Progress{"/web": {Strategy: deploy.Canary, Phase: deploy.Paused}})
		}},
		{"it does not end", func(t *testing.T, in *Input) {
			in.App = define(t, web)
			in.Instances = slices.Values([]*instance.Instance{of(in.App, 1, nil), of(in.App, 2, nil), of(in.App, 3, func(i *instance.Instance) {
				i.Goal, i.KillingSince = instance.GoalDecommissioned, now.Add(-3*time.Minute)
			})})
			in.Counts.TasksRunning = 2
		}},
		{"its preStop runs", func(t *testing.T, in *Input) {
			in.App = define(t, web)
			in.Instances = slices.Values([]*instance.Instance{of(in.App, 1, nil), of(in.App, 2, nil), of(in.App, 3, func(i *instance.Instance) {
				drain := 20 * time.Second
				i.Goal, i.KillingSince, i.Drain = instance.GoalDecommissioned, now.Add(-3*time.Minute), &drain
			})})
			in.Counts.TasksRunning = 2
		}},
		{"slow to fetch", func(t *testing.T, in *Input) {
			in.App = define(t, `{"id":"/web","cmd":"serve"}`)
			in.Instances = slices.Values([]*instance.Instance{of(in.App, 1, func(i *instance.Instance) {
				i.Condition, i.TaskState, i.Ready, i.Since = instance.Staging, "TASK_STAGING", false, now.Add(-95*time.Second)
			})})
			in.Counts.TasksStaged = 1
		}},
	}
	var b bytes.Buffer
	for _, row := range rows {
		in := Input{Now: now, Instances: slices.Values([]*instance.Instance(nil))}
		row.in(t, &in)
		e := Explain(in)
		fmt.Fprintf(&b, "### %s\nstatus: %s\n%s\n\n", row.name, e.Facts.Status, strings.Join(e.Lines, "\n"))
		if healthy := e.Facts.Status == marathon.StatusRunning; !healthy && !slices.ContainsFunc(e.Lines, func(l string) bool { return strings.HasPrefix(l, "  try: ") }) &&
			e.Facts.Status != marathon.StatusStarting {
			t.Errorf("%s: nothing says what to try", row.name)
		}
	}
	path := filepath.Join("testdata", "faults.golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, b.Bytes()) {
		t.Errorf("%s is not what is said now:\n%s", path, b.Bytes())
	}
}

// under is a deployment of /db and /web in the step of one of them.
func under(id string) *deploy.Deployment {
	d := deploy.New(now.Add(-4*time.Minute), &plan.Plan{ID: "8f3c", Steps: []plan.Step{
		{Actions: []plan.Action{{Kind: plan.Restart, App: "/db"}}}, {Actions: []plan.Action{{Kind: plan.Restart, App: "/web"}}},
	}}, "ann")
	if id == "/web" {
		d.Step = 1
	}
	return d
}
