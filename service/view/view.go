// Package view is what readers see: the core's Changed effects reduced to pages that
// never change, so that a reader of 10,000 apps holds nobody up.
//
// A change costs about the same for an app with one instance and for one with 100,000.
// Pages are made when somebody looks: a reader takes those that are wanted at one moment,
// and works on them while things go on.
package view

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/deploy"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/state"
)

// View is safe for concurrent use; Apply is called by the loop only.
type View struct{ view }

type view struct {
	mu        sync.Mutex
	root      marathon.Version
	apps      map[string]*entry
	order     list[*entry] // those with a definition
	instances map[string]*instance.Instance
	groups    map[string]*app.Group
	// inside counts, for each group but "/", the definitions and apps in it and below.
	inside map[string]int
	// deployments in the order they began.
	deployments []*deploy.Deployment
	queued      map[string]*entry
	totals      Totals
}

// entry is one app as it is; it outlives the definition until its last instance is gone.
type entry struct {
	id     string
	def    *marathon.App
	text   *fragment
	list   list[*instance.Instance]
	counts marathon.TaskCounts
	// live is the number of instances that are there to stay.
	live        int
	deployments []string
	queue       *state.Queue
	attempts    *state.Attempts
	versions    []marathon.Version
	// page is what readers get, nil if something changed since it was made.
	page *App
}

// Totals count what there is at a moment.
type Totals struct {
	// Groups without "/": those that are defined and those that apps are in.
	Apps, Groups, Deployments int
	// Staged, Running and Killing instances; those being killed are not among the others.
	Staged, Running, Killing int
	// Healthy and Unhealthy instances, of those that have checks and were told of.
	Healthy, Unhealthy int
	// Overdue instances did not run in time, and are killed for it.
	Overdue int
}

// New makes an empty one.
func New() *View {
	return &View{view{
		apps:      make(map[string]*entry),
		order:     list[*entry]{compare: func(a, b *entry) int { return cmp.Compare(a.id, b.id) }},
		instances: make(map[string]*instance.Instance),
		groups:    make(map[string]*app.Group),
		inside:    make(map[string]int),
		queued:    make(map[string]*entry),
	}}
}

// Apply takes Changed effects; others are ignored. What comes in one call readers see at
// one moment.
func (v *View) Apply(changes ...state.Effect) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, e := range changes {
		v.apply(e)
	}
}

func (v *view) apply(e state.Effect) {
	switch e := e.(type) {
	case state.ChangedApp:
		v.changedApp(e)
	case state.ChangedGroup:
		v.changedGroup(e)
	case state.ChangedInstance:
		v.changedInstance(e)
	case state.ChangedDeployment:
		v.changedDeployment(e)
	case state.ChangedQueue:
		if a := v.change(e.App); e.Queue == nil {
			a.queue = nil
			delete(v.queued, e.App)
			v.forget(a)
		} else {
			a.queue = e.Queue
			v.queued[e.App] = a
		}
	case state.ChangedAttempts:
		a := v.change(e.App)
		a.attempts = e.Attempts
		v.forget(a)
	case state.ChangedVersions:
		a := v.change(e.App)
		a.versions = e.Versions
		v.forget(a)
	case state.ChangedRoot:
		v.root = e.Version
	}
}

// change is an app about to be changed.
func (v *view) change(id string) *entry {
	a := v.apps[id]
	if a == nil {
		a = &entry{id: id, list: list[*instance.Instance]{compare: byStaging}}
		v.apps[id] = a
	}
	a.page = nil
	return a
}

// forget drops an app of which nothing is left.
func (v *view) forget(a *entry) {
	if a.def == nil && a.list.n == 0 && len(a.deployments) == 0 && a.queue == nil && a.attempts == nil && len(a.versions) == 0 {
		delete(v.apps, a.id)
	}
}

func (v *view) changedApp(e state.ChangedApp) {
	a := v.change(e.ID)
	switch {
	case e.App == nil && a.def != nil:
		v.order.drop(a)
		v.totals.Apps--
		v.fill(parent(e.ID), -1)
	case e.App != nil && a.def == nil:
		v.order.put(a)
		v.totals.Apps++
		v.fill(parent(e.ID), +1)
	}
	a.def, a.text = e.App, nil
	if e.App != nil {
		a.text = &fragment{of: e.App}
	}
	v.forget(a)
}

func (v *view) changedGroup(e state.ChangedGroup) {
	_, old := v.groups[e.ID]
	switch {
	case e.Group != nil && !old:
		v.fill(e.ID, +1)
	case e.Group == nil && old:
		v.fill(e.ID, -1)
	}
	if v.groups[e.ID] = e.Group; e.Group == nil {
		delete(v.groups, e.ID)
	}
}

// byStaging orders instances: as they were staged, those that wait first.
func byStaging(a, b *instance.Instance) int {
	if c := a.StagedAt.Compare(b.StagedAt); c != 0 {
		return c
	}
	return cmp.Compare(a.ID, b.ID)
}

func (v *view) changedInstance(e state.ChangedInstance) {
	old := v.instances[e.ID]
	if old == nil && e.Instance == nil {
		return
	}
	id := ""
	if old != nil {
		id = old.App
	} else {
		id = e.Instance.App
	}
	a := v.change(id)
	if old != nil {
		v.count(a, old, -1)
		if e.Instance == nil || !old.StagedAt.Equal(e.Instance.StagedAt) {
			a.list.drop(old)
		}
	}
	if e.Instance == nil {
		delete(v.instances, e.ID)
		v.forget(a)
		return
	}
	v.instances[e.ID] = e.Instance
	v.count(a, e.Instance, +1)
	a.list.put(e.Instance)
}

// count adds what an instance counts as, or takes it away. The set of a blue-green
// deployment that waits for its promotion does not count as the app's.
func (v *view) count(a *entry, i *instance.Instance, by int) {
	if i.Goal == instance.GoalRunning && !i.Preview {
		a.live += by
	}
	if !hasTask(i) {
		return
	}
	switch {
	case ending(i):
		v.totals.Killing += by
	case isStaged(i):
		v.totals.Staged += by
	case isRunning(i):
		v.totals.Running += by
	}
	switch healthy, unhealthy := health(i); {
	case unhealthy:
		v.totals.Unhealthy += by
	case healthy:
		v.totals.Healthy += by
	}
	if isOverdue(i) {
		v.totals.Overdue += by
	}
	if !i.Preview {
		tally(&a.counts, i, by)
	}
}

func (v *view) changedDeployment(e state.ChangedDeployment) {
	at := slices.IndexFunc(v.deployments, func(d *deploy.Deployment) bool { return d.Plan.ID == e.ID })
	switch {
	case at < 0 && e.Deployment == nil:
	case at < 0:
		v.deployments = append(slices.Clip(v.deployments), e.Deployment)
		for _, id := range e.Deployment.Plan.Locks() {
			a := v.change(id)
			a.deployments = append(slices.Clip(a.deployments), e.ID)
		}
	case e.Deployment == nil:
		for _, id := range v.deployments[at].Plan.Locks() {
			a := v.change(id)
			a.deployments = slices.DeleteFunc(slices.Clone(a.deployments), func(d string) bool { return d == e.ID })
			v.forget(a)
		}
		v.deployments = slices.Delete(slices.Clone(v.deployments), at, at+1)
	default:
		v.deployments = slices.Clone(v.deployments)
		v.deployments[at] = e.Deployment
	}
	v.totals.Deployments = len(v.deployments)
}

// Root is the version of the tree.
func (v *View) Root() marathon.Version {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.root
}

// App is an app's page, nil if it has no definition.
func (v *View) App(id string) *App {
	v.mu.Lock()
	defer v.mu.Unlock()
	if a := v.apps[id]; a != nil && a.def != nil {
		return v.pageOf(a)
	}
	return nil
}

// Apps are the pages of all apps below a group ("/" is all), in order of id.
func (v *View) Apps(group string) []*App {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.below(group)
}

func (v *view) below(group string) []*App {
	prefix := strings.TrimSuffix(group, "/") + "/"
	var pages []*App
	if prefix == "/" {
		pages = make([]*App, 0, v.order.n)
	}
	for a := range v.order.from(&entry{id: prefix}) {
		if !strings.HasPrefix(a.id, prefix) {
			break
		}
		pages = append(pages, v.pageOf(a))
	}
	return pages
}

// Instance by its id or that of a task it had, nil if there is none.
func (v *View) Instance(id string) *instance.Instance {
	v.mu.Lock()
	defer v.mu.Unlock()
	if i := v.instances[id]; i != nil {
		return i
	}
	if of, _, ok := instance.OfTask(id); ok {
		return v.instances[of]
	}
	return nil
}

// Deployments under way, in the order they began. Nobody changes the slice.
func (v *View) Deployments() []*deploy.Deployment {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.deployments
}

// Deployment by id, nil if it is not under way.
func (v *View) Deployment(id string) *deploy.Deployment {
	for _, d := range v.Deployments() {
		if d.Plan.ID == id {
			return d
		}
	}
	return nil
}

// Queue has what waits for offers, in the order it began to.
func (v *View) Queue() []*state.Queue {
	v.mu.Lock()
	all := make([]*state.Queue, 0, len(v.queued))
	for _, a := range v.queued {
		all = append(all, a.queue)
	}
	v.mu.Unlock()
	all = slices.DeleteFunc(all, func(q *state.Queue) bool { return q.App == nil })
	slices.SortFunc(all, func(a, b *state.Queue) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.App.ID, b.App.ID))
	})
	return all
}

// Totals of now.
func (v *View) Totals() Totals {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.totals
}
