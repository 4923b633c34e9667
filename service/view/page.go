package view

import (
	"encoding/json"
	"iter"
	"sync"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/deploy"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/state"
)

// App is one app at one moment. Nobody changes it.
type App struct {
	Def    *marathon.App
	Counts marathon.TaskCounts
	// Deployments that touch it, in the order they began.
	Deployments []string
	// Queue is set if instances wait for offers, Attempts if tasks have ended.
	Queue    *state.Queue
	Attempts *state.Attempts
	// Versions that are stored, newest first.
	Versions []marathon.Version

	list snapshot[*instance.Instance]
	text *fragment
}

// fragment is a definition as JSON, made once.
type fragment struct {
	of   *marathon.App
	once sync.Once
	json []byte
	err  error
}

func (v *view) pageOf(a *entry) *App {
	if a.page == nil {
		a.page = &App{
			Def: a.def, Counts: a.counts, Deployments: a.deployments, Queue: a.queue, Attempts: a.attempts,
			Versions: a.versions, list: a.list.snapshot(), text: a.text,
		}
		if a.def != nil && a.def.PerAgent() {
			// Nobody says how many there are to be: it is what the agents made of it.
			def := *a.def
			def.Instances = a.live
			a.page.Def, a.page.text = &def, &fragment{of: &def}
		}
	}
	return a.page
}

// JSON is the definition.
func (a *App) JSON() ([]byte, error) {
	a.text.once.Do(func() { a.text.json, a.text.err = json.Marshal(a.text.of) })
	return a.text.json, a.text.err
}

// Instances are all of the app: as they were staged, those that wait first.
func (a *App) Instances() iter.Seq[*instance.Instance] { return a.list.all() }

// Len is the number of Instances.
func (a *App) Len() int { return a.list.n }

// Tasks are the instances that have a task, without those of a set that waits for its
// promotion.
func (a *App) Tasks() iter.Seq[*instance.Instance] { return a.with(false) }

// Preview is that set.
func (a *App) Preview() iter.Seq[*instance.Instance] { return a.with(true) }

func (a *App) with(preview bool) iter.Seq[*instance.Instance] {
	return func(yield func(*instance.Instance) bool) {
		for i := range a.list.all() {
			if hasTask(i) && i.Preview == preview && !yield(i) {
				return
			}
		}
	}
}

// Readiness has the results of readiness checks, while a deployment touches the app.
func (a *App) Readiness() []marathon.ReadinessResult {
	results := []marathon.ReadinessResult{}
	if len(a.Deployments) == 0 || len(a.Def.ReadinessChecks) == 0 {
		return results
	}
	for i := range a.list.all() {
		if hasTask(i) {
			results = append(results, i.Readiness...)
		}
	}
	return results
}

// LastFailure is how a task failed last, nil if none did (as Marathon 1.10,
// state/TaskFailure: tasks that were killed or finished have not failed).
func (a *App) LastFailure() *marathon.TaskFailure {
	if a.Attempts == nil {
		return nil
	}
	for n := range a.Attempts.Last {
		t := &a.Attempts.Last[n]
		switch t.State {
		case "TASK_FAILED", "TASK_ERROR", "TASK_LOST", "TASK_DROPPED", "TASK_GONE", "TASK_GONE_BY_OPERATOR", "TASK_UNKNOWN":
			return &marathon.TaskFailure{
				AppID: a.Def.ID, Host: t.Agent, Message: t.Message, State: t.State, TaskID: t.Task,
				Timestamp: marathon.VersionOf(t.Ended), Version: t.Version, SlaveID: t.AgentID,
			}
		}
	}
	return nil
}

// Waiting says in words what the actions of a deployment's current step wait for, by app.
func (v *View) Waiting(now time.Time, d *deploy.Deployment) map[string]string {
	w := world{of: make(map[string]*App), plan: d}
	v.mu.Lock()
	if d.Step < len(d.Plan.Steps) {
		for _, a := range d.Plan.Steps[d.Step].Actions {
			if e := v.apps[a.App]; e != nil {
				w.of[a.App] = v.pageOf(e)
			}
		}
	}
	v.mu.Unlock()
	// A copy, field by field: the core keeps something of its own in the original.
	return deploy.Waiting(now, &deploy.Deployment{
		Plan: d.Plan, Step: d.Step, Begun: d.Begun, Started: d.Started, By: d.By, Reverts: d.Reverts,
		Progress: d.Progress, Deadline: d.Deadline, Paused: d.Paused, PausedAt: d.PausedAt, Failed: d.Failed,
	}, w)
}

// world is what a deployment looks at, as readers see it.
type world struct {
	of   map[string]*App
	plan *deploy.Deployment
}

// Instances implements deploy.World.
func (w world) Instances(app string) []*instance.Instance {
	page := w.of[app]
	if page == nil {
		return nil
	}
	all := make([]*instance.Instance, 0, page.list.n)
	for i := range page.list.all() {
		all = append(all, i)
	}
	return all
}

// Definition implements deploy.World.
func (w world) Definition(app string, version marathon.Version) *marathon.App {
	if page := w.of[app]; page != nil && page.Def != nil && page.Def.Version == version {
		return page.Def
	}
	c := w.plan.Plan.Change(app)
	switch {
	case c == nil:
	case c.New != nil && c.New.Version == version:
		return c.New
	case c.Old != nil && c.Old.Version == version:
		return c.Old
	}
	return nil
}

// AgentsFor implements deploy.World. Readers know no agents: the app has an instance for
// each of them.
func (w world) AgentsFor(app *marathon.App) int {
	n := 0
	if page := w.of[app.ID]; page != nil {
		for i := range page.list.all() {
			if i.Goal == instance.GoalRunning {
				n++
			}
		}
	}
	return n
}

// PageOf is the page of a definition that is not, or no longer, in use.
func PageOf(def *marathon.App) *App { return &App{Def: def, text: &fragment{of: def}} }
