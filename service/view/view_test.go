package view

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/deploy"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/plan"
	"github.com/stoa-kernel/stoa/service/state"
)

// TestListAgainstASlice: the list has what a sorted slice has, and snapshots do not change.
func TestListAgainstASlice(t *testing.T) {
	type value struct{ key, note int }
	byKey := func(a, b value) int { return cmp.Compare(a.key, b.key) }
	for seed := range uint64(5) {
		rng := rand.New(rand.NewPCG(seed, 0))
		l := list[value]{compare: byKey}
		var model []value
		type kept struct {
			snapshot snapshot[value]
			model    []value
		}
		var all []kept
		for step := range 3000 {
			v := value{rng.IntN(2000), step}
			at, found := slices.BinarySearchFunc(model, v, byKey)
			switch rng.IntN(3) {
			case 0:
				l.drop(v)
				if found {
					model = slices.Delete(model, at, at+1)
				}
			default:
				l.put(v)
				if found {
					model[at] = v
				} else {
					model = slices.Insert(model, at, v)
				}
			}
			if rng.IntN(500) == 0 {
				all = append(all, kept{l.snapshot(), slices.Clone(model)})
			}
		}
		all = append(all, kept{l.snapshot(), model})
		for n, k := range all {
			if got := slices.Collect(k.snapshot.all()); !slices.Equal(got, k.model) || k.snapshot.n != len(k.model) {
				t.Fatalf("seed %d, snapshot %d: %d values, want %d", seed, n, len(got), len(k.model))
			}
		}
		from := value{key: rng.IntN(2000)}
		at, _ := slices.BinarySearchFunc(model, from, byKey)
		if got := slices.Collect(l.from(from)); !slices.Equal(got, model[at:]) {
			t.Fatalf("seed %d: from %d there are %d values, want %d", seed, from.key, len(got), len(model[at:]))
		}
	}
}

var began = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

func definition(id string) *marathon.App {
	return &marathon.App{
		ID: id, Instances: 1, Labels: map[string]string{}, Networks: []marathon.Network{{Mode: "host"}}, Version: marathon.VersionOf(began),
		PortDefinitions:     []marathon.PortDefinition{{Protocol: "tcp", Port: 10000, Name: "default"}},
		UnreachableStrategy: &marathon.UnreachableStrategy{}, KillSelection: marathon.YoungestFirst,
		VersionInfo: &marathon.VersionInfo{LastScalingAt: marathon.VersionOf(began), LastConfigChangeAt: marathon.VersionOf(began)},
	}
}

func running(id string, n int) *instance.Instance {
	i := &instance.Instance{
		ID: instance.NewID(id, fmt.Sprintf("%08d", n)), App: id, Version: marathon.VersionOf(began), Incarnation: 1,
		Goal: instance.GoalRunning, Condition: instance.Running, TaskState: "TASK_RUNNING", Agent: &instance.Agent{ID: "a", Host: "h"},
		StagedAt: began.Add(time.Duration(n) * time.Millisecond), StartedAt: began.Add(time.Second), Ports: []int{31000, 0},
	}
	i.TaskID = instance.TaskID(i.ID, 1)
	return i
}

func changed(i *instance.Instance, f func(*instance.Instance)) state.ChangedInstance {
	c := *i
	if f != nil {
		f(&c)
	}
	return state.ChangedInstance{ID: c.ID, Instance: &c}
}

func TestWhatCountsAsWhat(t *testing.T) {
	healthy := []instance.Health{{Known: true, Alive: true}, {Known: true, Alive: true}}
	for name, tt := range map[string]struct {
		change func(*instance.Instance)
		want   marathon.TaskCounts
		state  string // "" if it is no task
	}{
		"running":         {nil, marathon.TaskCounts{TasksRunning: 1}, "TASK_RUNNING"},
		"healthy":         {func(i *instance.Instance) { i.Health = healthy }, marathon.TaskCounts{TasksRunning: 1, TasksHealthy: 1}, "TASK_RUNNING"},
		"half known":      {func(i *instance.Instance) { i.Health = []instance.Health{{Known: true, Alive: true}, {}} }, marathon.TaskCounts{TasksRunning: 1}, "TASK_RUNNING"},
		"unhealthy":       {func(i *instance.Instance) { i.Health = []instance.Health{{}, {Known: true}} }, marathon.TaskCounts{TasksRunning: 1, TasksUnhealthy: 1}, "TASK_RUNNING"},
		"provisioned":     {func(i *instance.Instance) { i.Condition, i.TaskState = instance.Provisioned, "TASK_STAGING" }, marathon.TaskCounts{TasksStaged: 1}, "TASK_STAGING"},
		"nothing is told": {func(i *instance.Instance) { i.Condition, i.TaskState = instance.Provisioned, "" }, marathon.TaskCounts{TasksStaged: 1}, "TASK_STAGING"},
		"starting":        {func(i *instance.Instance) { i.Condition, i.TaskState = instance.Starting, "TASK_STARTING" }, marathon.TaskCounts{}, "TASK_STARTING"},
		"draining":        {func(i *instance.Instance) { i.DrainUntil = began }, marathon.TaskCounts{}, "TASK_KILLING"},
		"killing":         {func(i *instance.Instance) { i.KillingSince = began }, marathon.TaskCounts{}, "TASK_KILLING"},
		"killed": {func(i *instance.Instance) {
			i.KillingSince, i.Condition, i.TaskState = began, instance.Killed, "TASK_KILLED"
		}, marathon.TaskCounts{}, "TASK_KILLED"},
		"unreachable":   {func(i *instance.Instance) { i.Condition, i.TaskState = instance.Unreachable, "TASK_UNREACHABLE" }, marathon.TaskCounts{}, "TASK_UNREACHABLE"},
		"waiting":       {func(i *instance.Instance) { i.Condition, i.TaskID, i.Agent = instance.Scheduled, "", nil }, marathon.TaskCounts{}, ""},
		"waiting again": {func(i *instance.Instance) { i.Condition = instance.Scheduled }, marathon.TaskCounts{}, ""},
		"preview":       {func(i *instance.Instance) { i.Preview = true }, marathon.TaskCounts{}, ""},
	} {
		v := New()
		i := running("/x", 1)
		v.Apply(state.ChangedApp{ID: "/x", App: definition("/x")}, changed(i, nil), changed(i, tt.change))
		page := v.App("/x")
		if page.Counts != tt.want {
			t.Errorf("%s: counts %+v, want %+v", name, page.Counts, tt.want)
		}
		got := ""
		for i := range page.Tasks() {
			got = Task(page.Def, i).State
		}
		if got != tt.state {
			t.Errorf("%s: shown as %q, want %q", name, got, tt.state)
		}
		v.Apply(state.ChangedInstance{ID: i.ID}, state.ChangedApp{ID: "/x"})
		if v.App("/x") != nil || len(v.apps) != 0 || len(v.instances) != 0 || v.totals != (Totals{}) {
			t.Errorf("%s: something is left: %+v %+v", name, v.apps, v.totals)
		}
	}
}

// TestAppsThatFollowTheAgents show as many instances as there are.
func TestAppsThatFollowTheAgents(t *testing.T) {
	v := New()
	def := definition("/x")
	def.Instances, def.Scaling = 0, &marathon.Scaling{Kind: "per-agent"}
	v.Apply(state.ChangedApp{ID: "/x", App: def}, changed(running("/x", 1), nil), changed(running("/x", 2), nil),
		changed(running("/x", 3), func(i *instance.Instance) { i.Goal = instance.GoalDecommissioned }))
	text, err := v.App("/x").JSON()
	if err != nil || !strings.Contains(string(text), `"instances":2,`) || def.Instances != 0 {
		t.Errorf("%s, %v", text, err)
	}
}

func TestTasksAreInTheOrderTheyWereStaged(t *testing.T) {
	v := New()
	v.Apply(state.ChangedApp{ID: "/x", App: definition("/x")})
	for _, n := range []int{5, 3, 9, 1} {
		v.Apply(changed(running("/x", n), nil))
	}
	before := v.App("/x")
	v.Apply(changed(running("/x", 3), func(i *instance.Instance) { i.StagedAt = began.Add(time.Hour) }))
	order := func(page *App) (ids string) {
		for i := range page.Tasks() {
			ids += i.ID[len(i.ID)-1:]
		}
		return ids
	}
	if got := order(before); got != "1359" {
		t.Errorf("order %s", got)
	}
	if got := order(v.App("/x")); got != "1593" {
		t.Errorf("order after a new start %s", got)
	}
	if ports := Task(before.Def, running("/x", 1)).Ports; !slices.Equal(ports, []int{31000}) {
		t.Errorf("ports %v", ports)
	}
}

func TestGroups(t *testing.T) {
	v := New()
	for _, id := range []string{"/a/b/x", "/a-c/x", "/a/x", "/y"} {
		v.Apply(state.ChangedApp{ID: id, App: definition(id)})
	}
	v.Apply(state.ChangedRoot{Version: "v"}, state.ChangedGroup{ID: "/e", Group: &app.Group{ID: "/e", EnforceRole: true}})
	var show func(g *Group) string
	show = func(g *Group) string {
		text := g.ID + "("
		for _, a := range g.Apps {
			text += a.Def.ID + " "
		}
		for _, sub := range g.Groups {
			text += show(sub)
		}
		return text + ")"
	}
	if got, want := show(v.Group("/")), "/(/y /a(/a/x /a/b(/a/b/x ))/a-c(/a-c/x )/e())"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if g := v.Group("/a"); g.Version != "v" || show(g) != "/a(/a/x /a/b(/a/b/x ))" {
		t.Errorf("%+v", g)
	}
	for id, want := range map[string]bool{"/": true, "/a": true, "/a/b": true, "/e": true, "/y": false, "/f": false} {
		if v.HasGroup(id) != want || (v.Group(id) != nil) != want {
			t.Errorf("%s: %v, want %v", id, v.HasGroup(id), want)
		}
	}
	if n := v.Totals(); n.Groups != 4 || n.Apps != 4 {
		t.Errorf("%+v", n)
	}
	v.Apply(state.ChangedGroup{ID: "/e"})
	if v.HasGroup("/e") {
		t.Error("a removed group is there")
	}
}

func TestDeploymentsAreKnownToTheirApps(t *testing.T) {
	v := New()
	v.Apply(state.ChangedApp{ID: "/x", App: definition("/x")})
	d := deploy.New(began, &plan.Plan{ID: "d", Steps: []plan.Step{{Actions: []plan.Action{{Kind: plan.Stop, App: "/x"}}}}}, "ann")
	v.Apply(state.ChangedDeployment{ID: "d", Deployment: d})
	before := v.App("/x")
	if !slices.Equal(before.Deployments, []string{"d"}) || v.Deployment("d") != d || v.Totals().Deployments != 1 {
		t.Errorf("%v", before.Deployments)
	}
	next := *d
	next.Step = 1
	v.Apply(state.ChangedDeployment{ID: "d", Deployment: &next})
	if got := v.ShowDeployment(v.Deployment("d")); got.CurrentStep != 1 || got.TotalSteps != 1 || len(got.CurrentActions) != 0 {
		t.Errorf("%+v", got)
	}
	v.Apply(state.ChangedDeployment{ID: "d"})
	if len(v.App("/x").Deployments) != 0 || len(before.Deployments) != 1 || v.Deployment("d") != nil {
		t.Errorf("afterwards %v, before %v", v.App("/x").Deployments, before.Deployments)
	}
}

// TestReadersSeeOneMoment: of two sets that change places in one call exactly one is
// shown, whenever somebody looks.
func TestReadersSeeOneMoment(t *testing.T) {
	const size = 100
	v := New()
	set := func(preview bool) (all []state.Effect) {
		for n := range size {
			all = append(all,
				changed(running("/x", n), func(i *instance.Instance) { i.Preview = preview }),
				changed(running("/x", size+n), func(i *instance.Instance) { i.Preview = !preview }))
		}
		return all
	}
	v.Apply(append(set(false), state.ChangedApp{ID: "/x", App: definition("/x")})...)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				page := v.App("/x")
				shown, hidden := 0, 0
				for range page.Tasks() {
					shown++
				}
				for range page.Preview() {
					hidden++
				}
				if shown != size || hidden != size || page.Counts.TasksRunning != size {
					t.Errorf("%d shown, %d hidden, %+v", shown, hidden, page.Counts)
					return
				}
				if _, err := page.JSON(); err != nil {
					t.Error(err)
				}
				v.Apps("/")
				v.Queue()
				v.Totals()
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for n := range 50 {
		v.Apply(set(n%2 == 0)...)
	}
	close(done)
	readers.Wait()
}

func TestStats(t *testing.T) {
	v := New()
	def := definition("/x")
	def.VersionInfo.LastScalingAt, def.VersionInfo.LastConfigChangeAt = "2021-01-01T00:00:00.000Z", "2020-06-01T00:00:00.000Z"
	v.Apply(state.ChangedApp{ID: "/x", App: def})
	for n, version := range []marathon.Version{"2020-01-01T00:00:00.000Z", "2020-07-01T00:00:00.000Z", "2020-07-01T00:00:00.000Z"} {
		v.Apply(changed(running("/x", n), func(i *instance.Instance) {
			i.Version, i.StartedAt = version, began.Add(time.Duration(n)*time.Minute)
		}))
	}
	text, err := json.Marshal(v.App("/x").Stats(began.Add(time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"withLatestConfig":{"stats":{"counts":{"staged":0,"running":2,"healthy":0,"unhealthy":0},"lifeTime":{"averageSeconds":3510,"medianSeconds":3540}}},` +
		`"withOutdatedConfig":{"stats":{"counts":{"staged":0,"running":1,"healthy":0,"unhealthy":0},"lifeTime":{"averageSeconds":3600,"medianSeconds":3600}}},` +
		`"totalSummary":{"stats":{"counts":{"staged":0,"running":3,"healthy":0,"unhealthy":0},"lifeTime":{"averageSeconds":3540,"medianSeconds":3540}}}}`
	if string(text) != want {
		t.Errorf("%s", text)
	}
}

func BenchmarkChangeOfOneAmong100000(b *testing.B) {
	v := New()
	v.Apply(state.ChangedApp{ID: "/x", App: definition("/x")})
	for n := range 100_000 {
		v.Apply(changed(running("/x", n), nil))
	}
	for n := 0; b.Loop(); n++ {
		if n%100 == 0 {
			v.App("/x")
		}
		v.Apply(changed(running("/x", n%100_000), nil))
	}
}

// What operators watch over: how many instances are sick, and how many did not come up in
// time. One that is not wanted any more is only being killed.
func TestTotals(t *testing.T) {
	v := New()
	one, two, three := running("/x", 1), running("/x", 2), running("/x", 3)
	late := func(i *instance.Instance) {
		i.Condition, i.TaskState, i.KillingSince = instance.Staging, "TASK_STAGING", began
	}
	v.Apply(state.ChangedApp{ID: "/x", App: definition("/x")},
		changed(one, func(i *instance.Instance) { i.Health = []instance.Health{{Known: true, Alive: true}} }),
		changed(two, func(i *instance.Instance) { i.Health = []instance.Health{{Known: true}} }),
		changed(three, late))
	if got, want := v.Totals(), (Totals{Apps: 1, Running: 2, Killing: 1, Healthy: 1, Unhealthy: 1, Overdue: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	v.Apply(changed(two, nil), changed(three, func(i *instance.Instance) {
		late(i)
		i.Goal = instance.GoalDecommissioned
	}))
	if got, want := v.Totals(), (Totals{Apps: 1, Running: 2, Killing: 1, Healthy: 1}); got != want {
		t.Errorf("afterwards %+v, want %+v", got, want)
	}
}
