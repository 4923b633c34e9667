package state

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/kernel/clock"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/deploy"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/match"
)

// rules are what is remembered to judge the service by.
type rules struct {
	steps int
	// restarts that roll, by deployment and app.
	rolling map[string]*rolling
	// ended deployments, by what an event said of them.
	ended map[string]string
	// away are instances that could not be reached in the last step.
	away map[string]bool
	// left are apps whose deployment was cancelled, so that old instances may stay.
	left map[string]bool
}

// rolling is one restart within bounds.
type rolling struct{ began, returned int }

func newRules() rules {
	return rules{rolling: make(map[string]*rolling), ended: make(map[string]string), away: make(map[string]bool), left: make(map[string]bool)}
}

// describe a deployment in the log.
func (w *world) describe(e ChangedDeployment) {
	d := e.Deployment
	if d == nil {
		w.note("deployment %s: ended", e.ID)
		return
	}
	var text strings.Builder
	for n, s := range d.Plan.Steps {
		fmt.Fprintf(&text, " %d:", n)
		for _, a := range s.Actions {
			c := d.Plan.Change(a.App)
			fmt.Fprintf(&text, " %s %s restart=%v", a.Kind, a.App, c.Restart)
			if c.New != nil {
				fmt.Fprintf(&text, " to %s of %s", c.New.Version, *c.New.Cmd)
			}
			if p := d.Progress.Of(a.App); p != nil {
				fmt.Fprintf(&text, " %+v", *p)
			}
		}
	}
	w.note("deployment %s step %d reverts %q failed %q paused %v:%s", e.ID, d.Step, d.Reverts, d.Failed, d.Paused, text.String())
}

// judge an effect at the end of the step that asks for it.
func (w *world) judge(in Input, e Effect) {
	switch e := e.(type) {
	case ChangedDeployment:
		w.describe(e)
	case Call:
		if e.Call.GetType() == schedulerpb.Call_ACCEPT {
			w.judgeLaunches(e.Tasks)
		}
	case Publish:
		switch p := e.Event.(type) {
		case marathon.DeploymentEnd:
			if w.core.deployments[p.ID] != nil {
				w.broken("%s of %s, which goes on", p.Type, p.ID)
			}
			for _, step := range p.Plan.Steps {
				for _, a := range step.Actions {
					if p.Type == "deployment_failed" && w.core.locks[a.App] == "" {
						w.left[a.App] = true // overridden for the sake of another app
					}
				}
			}
		case marathon.UnhealthyKill:
			i := w.core.instances[p.InstanceID]
			def := w.core.of(i.App).definition(i)
			if !failed(def, i) {
				w.broken("%s is killed with failures %+v", i.ID, i.Health)
			}
		}
	}
}

// failed reports whether a check failed more often than its maximum.
func failed(def *marathon.App, i *instance.Instance) bool {
	for n, h := range i.Health {
		if c := &def.HealthChecks[n]; !c.ByKernel() && c.MaxConsecutiveFailures > 0 && h.ConsecutiveFailures >= c.MaxConsecutiveFailures+1 {
			return true
		}
	}
	return false
}

// judgeLaunches: what an app depends on serves before it is launched.
func (w *world) judgeLaunches(tasks []string) {
	for _, name := range tasks {
		i := w.core.instanceOf(name)
		if i == nil || w.core.tree.App(i.App) == nil {
			continue
		}
		for _, on := range w.core.tree.Depends(i.App) {
			if !w.serves(w.core.apps[on]) {
				w.broken("%s is launched, and %s that it depends on has %d healthy of %d", name, on, w.core.apps[on].healthy(), w.core.apps[on].def.Instances)
			}
		}
	}
}

// serves reports whether enough instances of an app are healthy, or have done their work.
func (w *world) serves(a *application) bool {
	if a == nil || a.def == nil || a.def.Instances == 0 {
		return true
	}
	n := 0
	for _, i := range a.list {
		def := a.definition(i)
		if i.Goal == instance.GoalRunning && !i.Preview && (i.Healthy(def) || i.Condition == instance.Finished && def.RestartPolicy != "") {
			n++
		}
	}
	return n >= max(1, int(math.Ceil(float64(a.def.Instances)*a.def.UpgradeStrategy.MinimumHealthCapacity)))
}

// check what must hold after every step.
func (w *world) check(in Input) {
	s := w.core
	w.steps++
	roles := make(map[string]int)
	instances := 0
	away := make(map[string]bool)
	for _, id := range slices.Sorted(maps.Keys(s.apps)) {
		a := s.apps[id]
		if a.def != nil {
			roles[a.def.Role]++
			if s.tree.App(id) != a.def {
				w.broken("the tree has another definition of %s", id)
			}
		}
		instances += len(a.list)
		w.checkApp(a)
		w.checkBounds(a, in)
		for _, i := range a.list {
			if i.Condition == instance.Unreachable || i.Condition == instance.UnreachableInactive {
				away[i.ID] = true
			}
		}
	}
	w.away = away
	if instances != len(s.instances) {
		w.broken("%d instances in lists, %d in all", instances, len(s.instances))
	}
	for role, n := range s.roles {
		if roles[role] != n {
			w.broken("%d apps of role %s, %d counted", roles[role], role, n)
		}
	}
	w.checkLocks()
	w.checkQueue()
	if w.steps%97 == 0 && w.wrong == "" {
		w.checkStored()
	}
}

func (w *world) checkApp(a *application) {
	s := w.core
	var want []deploy.Tally
	waits := 0
	for n, i := range a.list {
		if a.at[i.ID] != n || s.instances[i.ID] != i {
			w.broken("%s is not where it should be", i.ID)
		}
		def := a.definition(i)
		if a.def != nil && a.uses[i.Version] == nil {
			w.broken("the definition of %s, version %s, is forgotten", i.ID, i.Version)
		}
		if i.Condition == instance.Scheduled {
			waits++
		}
		if i.Condition == instance.Running && i.KillingSince.IsZero() && i.DrainUntil.IsZero() && def != nil && len(i.Health) <= len(def.HealthChecks) && failed(def, i) {
			w.broken("%s lives on with failures %+v", i.ID, i.Health)
		}
		if def == nil {
			def = &marathon.App{ID: a.id}
		}
		at := slices.IndexFunc(want, func(t deploy.Tally) bool { return t.Version == i.Version })
		if at < 0 {
			at = len(want)
			want = append(want, deploy.Tally{Version: i.Version})
		}
		want[at].Add(i, def, 1)
	}
	order := func(x, y deploy.Tally) int { return strings.Compare(string(x.Version), string(y.Version)) }
	got := slices.Clone(a.tallies)
	slices.SortFunc(got, order)
	slices.SortFunc(want, order)
	if !slices.Equal(got, want) {
		w.broken("%s is counted as %+v, and has %+v", a.id, got, want)
	}
	if waits != a.waits || (a.queue != nil) != (waits > 0) {
		w.broken("%s: %d wait, counted %d, in the queue: %v", a.id, waits, a.waits, a.queue != nil)
	}
	if a.placed != nil && a.def != nil && w.steps%7 == 0 {
		if want, got := placedAt(match.Count(a.def, a.list)), placedAt(a.placed); want != got {
			w.broken("%s: constraints count %s, there are %s", a.id, got, want)
		}
	}
	if a.def != nil {
		for _, v := range []marathon.Version{a.def.Version} {
			if !slices.Contains(a.stored, v) {
				w.broken("version %s of %s is not kept: %v", v, a.id, a.stored)
			}
		}
	}
	for _, i := range a.list {
		if i.TaskID != "" && a.def != nil && !slices.Contains(a.stored, i.Version) {
			w.broken("version %s of %s is not kept, and %s has it", i.Version, a.id, i.ID)
		}
	}
}

// placedAt lists the instances that constraints count, and where.
func placedAt(p *match.Placed) string {
	var all []string
	for at := reflect.ValueOf(p).Elem().FieldByName("at").MapRange(); at.Next(); {
		all = append(all, at.Key().String()+" "+at.Value().Elem().FieldByName("ID").String())
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// checkBounds of B3 while an app is restarted.
func (w *world) checkBounds(a *application, in Input) {
	s := w.core
	d := s.deployments[s.locks[a.id]]
	if d == nil || d.Step >= len(d.Plan.Steps) || !d.Begun {
		return
	}
	c := d.Plan.Change(a.id)
	p := d.Progress.Of(a.id)
	if c == nil || c.New == nil || !c.Restart || p == nil || p.Strategy == deploy.BlueGreen || c.New.PerAgent() {
		return
	}
	now, returned := 0, 0
	for _, i := range a.list {
		if i.Active() && i.Condition != instance.Unreachable {
			now++
			if w.away[i.ID] {
				returned++
			}
		}
	}
	name := d.Plan.ID + a.id
	r := w.rolling[name]
	if r == nil {
		began := 0
		for _, i := range a.list {
			if i.Active() || i.Goal == instance.GoalRunning && i.Condition == instance.Scheduled {
				began++
			}
		}
		r = &rolling{began: began}
		w.rolling[name] = r
	}
	r.returned += returned
	n, u := c.New.Instances, c.New.UpgradeStrategy
	most := int(math.Floor(float64(n) * (1 + u.MaximumOverCapacity)))
	if most == int(math.Ceil(float64(n)*u.MinimumHealthCapacity)) && !c.New.Resident() {
		most++
	}
	if most = max(most, r.began) + r.returned; now > most {
		w.broken("%s has %d tasks, at most %d may be (%+v, %+v)", a.id, now, most, *r, *p)
		for _, i := range a.list {
			w.note("  %+v", *i)
		}
	}
}

func (w *world) checkLocks() {
	s := w.core
	for id, d := range s.locks {
		if s.deployments[d] == nil || !slices.Contains(s.deployments[d].Plan.Locks(), id) {
			w.broken("%s is locked by %s, which does not hold it", id, d)
		}
	}
	for _, id := range s.order {
		d := s.deployments[id]
		if d == nil {
			w.broken("deployment %s is listed and not there", id)
			return
		}
		for _, app := range d.Plan.Locks() {
			if s.locks[app] != id {
				w.broken("%s, which %s needs, is locked by %q", app, id, s.locks[app])
			}
		}
	}
	if len(s.order) != len(s.deployments) {
		w.broken("%d deployments are listed of %d", len(s.order), len(s.deployments))
	}
}

func (w *world) checkQueue() {
	s := w.core
	n := 0
	for _, id := range slices.Sorted(maps.Keys(s.apps)) {
		a := s.apps[id]
		if a.queue == nil {
			continue
		}
		n++
		if !slices.Contains(s.waiting, a) || a.queue.Count != a.waits {
			w.broken("%s waits with %d instances: queued %v, shown %d", id, a.waits, slices.Contains(s.waiting, a), a.queue.Count)
		}
		for _, i := range a.list {
			if i.Condition == instance.Scheduled && i.Goal == instance.GoalRunning && (!a.queued[i.ID] || !slices.Contains(a.scheduled, i.ID)) {
				w.broken("%s waits and is not in the queue", i.ID)
			}
		}
	}
	if n != len(s.waiting) {
		w.broken("%d apps wait, %d are listed", n, len(s.waiting))
	}
}

// checkStored: once all is written, a service that starts now knows what this one knows.
func (w *world) checkStored() {
	if w.writing {
		return
	}
	store := w.store
	w.store = maps.Clone(store)
	w.keep(w.unwritten, false)
	in := w.recovered()
	w.store = store
	s, other := w.core, New(w.core.cfg)
	other.now = clock.Now{Mono: w.now, Wall: w.wall()}
	other.recovered(in)
	same := func(what string, a, b any) {
		x, _ := json.Marshal(a)
		y, _ := json.Marshal(b)
		if !bytes.Equal(x, y) {
			w.broken("%s: after a restart there would be\n%s\ninstead of\n%s", what, y, x)
		}
	}
	same("the tree's version", s.tree.Version(), other.tree.Version())
	same("its versions", fmt.Sprint(s.roots), fmt.Sprint(other.roots))
	same("locks", s.locks, other.locks)
	same("deployments", strings.Join(s.order, " "), strings.Join(other.order, " "))
	for _, id := range s.order {
		same("deployment", s.deployments[id], other.deployments[id])
	}
	for _, id := range slices.Sorted(maps.Keys(s.apps)) {
		a, b := s.apps[id], other.apps[id]
		if b == nil {
			b = &application{}
			if a.def == nil && !slices.ContainsFunc(a.list, func(i *instance.Instance) bool { return i.TaskID != "" || i.Reservation != nil }) {
				continue // all that is left of it never ran
			}
		}
		same("definition of "+id, a.def, b.def)
		if a.def != nil {
			same("versions of "+id, fmt.Sprint(a.stored), fmt.Sprint(b.stored))
		}
		same("backoff of "+id, a.backoff, b.backoff)
		same("attempts of "+id, a.attempts, b.attempts)
		for _, i := range a.list {
			if i.TaskID == "" && i.Reservation == nil {
				continue
			}
			same("instance", i, other.instances[i.ID])
			same("its definition", a.definition(i), b.definition(i))
		}
	}
	for id := range other.instances {
		if s.instances[id] == nil {
			w.broken("after a restart %s would be there", id)
		}
	}
	same("groups", groupsOf(s), groupsOf(other))
}

func groupsOf(s *Service) (all []string) {
	s.tree.Groups("/", func(g app.Group) bool {
		all = append(all, fmt.Sprintf("%+v", g))
		return true
	})
	return all
}

// converged is what must be true 30 s after the last fault.
func (w *world) converged() {
	s := w.core
	for _, a := range s.waiting {
		for _, u := range a.queue.LastUnused {
			w.note("%s waits: %v %v", a.id, u.At, u.Why.Reason)
		}
		for _, i := range a.list {
			w.note("  %+v", *i)
		}
	}
	for _, id := range s.order {
		d := s.deployments[id]
		w.broken("deployment %s is not done: step %d of %d, %v", id, d.Step, len(d.Plan.Steps), deploy.Waiting(w.wall(), d, s))
	}
	tasks, records := 0, 0
	for _, id := range slices.Sorted(maps.Keys(s.apps)) {
		a := s.apps[id]
		if a.def == nil {
			w.broken("%s was removed and is still there with %d instances: %+v", id, len(a.list), *a.list[0])
			continue
		}
		tasks += w.convergedApp(a)
		records += len(a.list)
	}
	live := 0
	for _, id := range slices.Sorted(maps.Keys(w.tasks)) {
		x := w.tasks[id]
		if x.lives() {
			live++
		}
		if len(x.updates) > 0 && !x.on.gone {
			w.broken("%s: an update is not acknowledged: %v", x.id, x.updates[0])
		}
	}
	if live != tasks {
		w.broken("%d tasks run, the apps want %d", live, tasks)
	}
	again := w.recovered()
	if len(again.Deployments)+len(again.Plans)+len(again.Progress) != 0 || len(again.Instances) != records {
		w.broken("stored are %d deployments, %d and %d parts of them and %d instances; want none and %d",
			len(again.Deployments), len(again.Plans), len(again.Progress), len(again.Instances), records)
	}
	for _, a := range w.agents {
		if a.gone {
			continue
		}
		for r := range a.total.Reserved().All() {
			of, _ := r.ReservationLabel("marathon_task_id")
			if i := s.instances[of]; i == nil || i.Reservation == nil || i.Agent.ID != a.id {
				w.broken("%s holds %v for %s, which does not", a.id, r, of)
			}
		}
	}
	if len(s.waiting) == 0 && len(s.garbage) == 0 && w.revived {
		w.broken("nothing waits, and offers are still wanted")
	}
	w.checkStored()
}

// convergedApp returns how many tasks the app should have.
func (w *world) convergedApp(a *application) int {
	want := a.def.Instances
	if a.def.PerAgent() {
		want = 0
		for _, m := range w.agents {
			if !m.gone {
				want++
			}
		}
	}
	count, done := 0, 0
	for _, i := range a.list {
		if i.Goal != instance.GoalRunning || i.Preview {
			continue
		}
		def := a.definition(i)
		switch {
		case def.RestartPolicy != "" && i.Condition == instance.Finished:
			done++
		case !i.Healthy(def):
			w.broken("%s is not healthy: %+v", i.ID, *i)
		}
		count++
		if !w.left[a.id] && *def.Cmd != *a.def.Cmd {
			w.broken("%s runs %q instead of %q", i.ID, *def.Cmd, *a.def.Cmd)
		}
	}
	previews := 0
	for _, i := range a.list {
		if i.Preview && i.Condition == instance.Running {
			previews++
		}
	}
	if previews > 0 && !w.left[a.id] {
		w.broken("%s has %d previews left", a.id, previews)
	}
	live := 0
	for _, n := range w.alive(a.id) {
		live += n
	}
	if count != want || live != count-done+previews {
		w.broken("%s should have %d instances, and has %d (%d done), with %s alive", a.id, want, count, done, fmt.Sprint(w.alive(a.id)))
	}
	return count - done + previews
}

// settled runs until nothing is under way, at most d.
func (w *world) settled(d time.Duration) {
	for end := w.now + d; w.now < end && w.wrong == ""; {
		w.run(w.now + 500*time.Millisecond)
		w.steer()
	}
}
