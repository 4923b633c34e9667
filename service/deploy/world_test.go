package deploy

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/plan"
)

var epoch = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// version n of everything.
func version(n int) marathon.Version {
	return marathon.VersionOf(epoch.Add(time.Duration(n) * time.Second))
}

// definition of /app with n instances, at version v, configured last at config.
func definition(v, config, n int, change ...func(*marathon.App)) *marathon.App {
	cmd := fmt.Sprintf("serve %d", config)
	a := &marathon.App{
		ID: "/app", Cmd: &cmd, Instances: n, Version: version(v),
		VersionInfo:     &marathon.VersionInfo{LastScalingAt: version(v), LastConfigChangeAt: version(config)},
		UpgradeStrategy: marathon.UpgradeStrategy{MinimumHealthCapacity: 1, MaximumOverCapacity: 1},
		HealthChecks:    []marathon.HealthCheck{{Protocol: marathon.HTTP, MaxConsecutiveFailures: 3, GracePeriodSeconds: 5}},
	}
	for _, f := range change {
		f(a)
	}
	return a
}

func capacity(min, over float64) func(*marathon.App) {
	return func(a *marathon.App) {
		a.UpgradeStrategy.MinimumHealthCapacity, a.UpgradeStrategy.MaximumOverCapacity = min, over
	}
}

func resident(a *marathon.App) {
	a.Container = &marathon.Container{Type: "MESOS", Volumes: []marathon.Volume{{ContainerPath: "data", Persistent: &marathon.PersistentVolume{Type: "root", Size: 1}}}}
}

func readiness(a *marathon.App) { a.ReadinessChecks = []marathon.ReadinessCheck{{Name: "ready"}} }

// planFor is the plan of a change of one app, as plan.New makes it.
func planFor(id string, kind plan.Kind, c app.AppChange) *plan.Plan {
	steps := []plan.Step{{Actions: []plan.Action{{Kind: kind, App: c.ID()}}}}
	if c.Old == nil {
		steps = slices.Insert(steps, 0, plan.Step{Actions: []plan.Action{{Kind: plan.Start, App: c.ID()}}})
	}
	p := &plan.Plan{ID: id, Steps: steps, Changes: []app.AppChange{c}}
	if c.New != nil {
		p.Version = c.New.Version
	}
	return p
}

// world is a tiny virtual one: it does with instances what the core and a cluster do.
type world struct {
	now    time.Time
	rng    *rand.Rand
	defs   map[string]map[marathon.Version]*marathon.App
	list   map[string][]*instance.Instance
	tally  map[string]map[marathon.Version]*Tally
	agents int
	made   int
	// adopted apps relaunch as this definition.
	adopted map[string]*marathon.App

	d *Deployment
	// ended is what became of it: "finished", or why it goes back.
	ended string
	said  []string // effects that were carried out, in words
	// crash is the chance that the service restarts before an effect.
	crash float64
	// returned counts instances that were replaced and came back: they may be too many.
	returned int
	// began is how many tasks there were, or could be, when the deployment began.
	began int
	// reached is the version that it brought about.
	reached marathon.Version
	// wrong is the first rule that was broken.
	wrong string
}

func newWorld(seed uint64) *world {
	return &world{
		now: epoch.Add(time.Hour), rng: rand.New(rand.NewPCG(seed, 7)),
		defs:    make(map[string]map[marathon.Version]*marathon.App),
		list:    make(map[string][]*instance.Instance),
		tally:   make(map[string]map[marathon.Version]*Tally),
		adopted: make(map[string]*marathon.App), agents: 3,
	}
}

func (w *world) Instances(id string) []*instance.Instance { return w.list[id] }

func (w *world) Definition(id string, v marathon.Version) *marathon.App { return w.defs[id][v] }

func (w *world) AgentsFor(*marathon.App) int { return w.agents }

// tallied is a world that counts as it goes.
type tallied struct{ *world }

func (w tallied) Tallies(id string) (out []Tally) {
	for _, t := range w.tally[id] { // sums only: any order
		out = append(out, *t)
	}
	return out
}

func (w *world) know(defs ...*marathon.App) {
	for _, def := range defs {
		if def != nil {
			if w.defs[def.ID] == nil {
				w.defs[def.ID] = make(map[marathon.Version]*marathon.App)
			}
			w.defs[def.ID][def.Version] = def
		}
	}
}

func (w *world) count(i *instance.Instance, n int) {
	if w.tally[i.App] == nil {
		w.tally[i.App] = make(map[marathon.Version]*Tally)
	}
	t := w.tally[i.App][i.Version]
	if t == nil {
		t = &Tally{Version: i.Version}
		w.tally[i.App][i.Version] = t
	}
	t.Add(i, w.defs[i.App][i.Version], n)
}

// set replaces an instance by a changed copy, or adds it.
func (w *world) set(i *instance.Instance, change func(*instance.Instance)) *instance.Instance {
	c := *i
	if change != nil {
		change(&c)
	}
	list := w.list[i.App]
	at := slices.IndexFunc(list, func(o *instance.Instance) bool { return o.ID == i.ID })
	if at < 0 {
		w.list[i.App] = append(list, &c)
	} else {
		w.count(list[at], -1)
		list[at] = &c
	}
	w.count(&c, 1)
	return &c
}

func (w *world) drop(i *instance.Instance) {
	w.list[i.App] = slices.DeleteFunc(w.list[i.App], func(o *instance.Instance) bool { return o.ID == i.ID })
	w.count(i, -1)
}

// add n instances of a definition in a condition.
func (w *world) add(def *marathon.App, n int, c instance.Condition) (out []*instance.Instance) {
	w.know(def)
	for range n {
		w.made++
		i := &instance.Instance{
			ID: fmt.Sprintf("app.instance-%05d", w.made), App: def.ID, Version: def.Version,
			Goal: instance.GoalRunning, Condition: instance.Scheduled, Since: w.now,
		}
		if c != instance.Scheduled {
			w.launch(i, def)
			i.Condition = c
		}
		if c == instance.Running {
			w.healthy(i, def)
		}
		out = append(out, w.set(i, nil))
	}
	return out
}

// launch gives an instance a task.
func (w *world) launch(i *instance.Instance, def *marathon.App) {
	i.Incarnation++
	i.TaskID = instance.TaskID(i.ID, i.Incarnation)
	i.Condition, i.StagedAt, i.Since = instance.Provisioned, w.now, w.now
	if def.Resident() && i.Reservation == nil {
		i.Reservation = &instance.Reservation{Done: true}
	}
}

func (w *world) healthy(i *instance.Instance, def *marathon.App) {
	i.StartedAt, i.Ready, i.Health = w.now, true, nil
	for range def.HealthChecks {
		i.Health = append(i.Health, instance.Health{Known: true, Alive: true, FirstSuccess: w.now})
	}
}

// over ends an instance's task and does what the core does then.
func (w *world) over(i *instance.Instance, c instance.Condition) {
	def := w.defs[i.App][i.Version]
	ended := func(n *instance.Instance) {
		n.Condition, n.Since, n.Health, n.Ready = c, w.now, nil, false
		n.DrainUntil, n.KillingSince, n.StartedAt = time.Time{}, time.Time{}, time.Time{}
	}
	switch {
	case i.Goal == instance.GoalDecommissioned:
		w.drop(i)
	case i.Goal == instance.GoalStopped:
		w.set(i, ended)
	case c == instance.Finished && def.RestartPolicy == marathon.Never:
		w.set(i, ended)
	default:
		w.set(i, func(n *instance.Instance) {
			ended(n)
			n.Condition = instance.Scheduled
			if def := w.adopted[i.App]; def != nil {
				n.Version = def.Version
			}
		})
	}
}

// start a deployment, over the one there is if there is one.
func (w *world) start(p *plan.Plan) {
	for _, c := range p.Changes {
		w.know(c.Old, c.New)
		delete(w.adopted, c.ID())
	}
	w.d, w.ended, w.said = New(w.now, p, "tester"), "", nil
	w.returned = 0
	w.began = 0
	for _, i := range w.list["/app"] {
		if i.Active() || live(i) {
			w.began++
		}
	}
}

// tasks that run or are being started or ended.
func (w *world) tasks(id string) (n int) {
	for _, i := range w.list[id] {
		if i.Active() && i.Condition != instance.Unreachable {
			n++
		}
	}
	return n
}

// serving instances of an app, as a load balancer sees it.
func (w *world) serving(id string) (n int) {
	for _, i := range w.list[id] {
		if !i.Preview && i.KillingSince.IsZero() && i.Healthy(w.defs[id][i.Version]) {
			n++
		}
	}
	return n
}

func (w *world) broken(format string, args ...any) {
	if w.wrong == "" {
		w.wrong = fmt.Sprintf(format, args...)
	}
}

// view is what a step looks at: half the time one that counts as it goes.
func (w *world) view() World {
	if w.made%2 == 0 {
		return tallied{w}
	}
	return w
}

// step does one step with all its effects, unless the service restarts in between.
func (w *world) step(in Input) error {
	if w.ended != "" {
		return nil
	}
	checked := w.rng.IntN(64) == 0
	var before []byte
	if checked {
		before, _ = json.Marshal(w.d)
	}
	var next *Deployment
	var effects []Effect
	var changed bool
	var err error
	if in == Look && w.rng.IntN(2) == 0 {
		next, effects, changed = StepApps(w.now, w.d, w.view(), []string{"/app", "/other"})
	} else if next, effects, changed, err = Step(w.now, w.d, in, w.view()); err != nil {
		return err
	}
	if checked {
		w.stored(before, next, changed)
	}
	w.d = next
	if c := next.Plan.Change("/app"); next.Step == len(next.Plan.Steps) && c != nil && c.New != nil && w.reached != c.New.Version {
		// From here on it is not the deployment's any more.
		w.reached = c.New.Version
		if wrong := reached(w, c.New); wrong != "" {
			w.broken("%s", wrong)
		}
	}
	settled := true
	for n, e := range effects {
		if w.rng.Float64() < w.crash {
			w.restart()
			return nil
		}
		settled = w.do(e) && settled
		w.bounds(fmt.Sprintf("after effect %d of %v", n, effects))
	}
	if settled && w.ended == "" {
		again, more, changed, _ := Step(w.now, w.d, Look, w.view())
		more = slices.DeleteFunc(more, func(e Effect) bool { _, ok := e.(Wake); return ok })
		if len(more) > 0 || changed {
			w.broken("Step, asked twice about the same world, answered %s and then %s\n%+v\n%s", words(effects), words(more), again.Progress.Of("/app"), w.dump())
		}
	}
	return nil
}

// stored checks that JSON is all of a deployment, and that what was given is unchanged.
func (w *world) stored(before []byte, next *Deployment, changed bool) {
	if after, _ := json.Marshal(w.d); string(before) != string(after) {
		w.broken("Step changed the value it was given:\n%s\n%s", before, after)
	}
	after, _ := json.Marshal(next)
	if !changed && string(before) != string(after) {
		w.broken("Step did not say that it changed\n%s\ninto\n%s", before, after)
	}
	read := &Deployment{}
	if err := json.Unmarshal(after, read); err != nil {
		w.broken("%v", err)
	}
	if !reflect.DeepEqual(strip(read), strip(next)) {
		w.broken("the JSON is not the deployment:\n%+v\n%+v", read, next)
	}
}

func strip(d *Deployment) Deployment {
	c := *d
	c.memo, c.Plan = nil, nil
	return c
}

// restart loses what was not stored: effects not carried out, instances not launched.
func (w *world) restart() {
	data, err := json.Marshal(w.d)
	if err != nil {
		w.broken("%v", err)
	}
	w.d = &Deployment{}
	if err := json.Unmarshal(data, w.d); err != nil {
		w.broken("%v", err)
	}
	for _, i := range slices.Clone(w.list["/app"]) {
		if i.Condition == instance.Scheduled && i.TaskID == "" {
			w.drop(i)
		}
	}
}

// do carries out an effect; it reports whether the world now is what the deployment knew
// it would be.
func (w *world) do(e Effect) (settled bool) {
	w.said = append(w.said, word(e))
	switch e := e.(type) {
	case Launch:
		def := w.d.Plan.Change(e.App).New
		n := e.N
		for _, i := range slices.Clone(w.list[e.App]) {
			if n > 0 && i.Goal == instance.GoalStopped && i.Condition.Terminal() {
				w.set(i, func(c *instance.Instance) {
					c.Goal, c.Condition, c.Version, c.Preview = instance.GoalRunning, instance.Scheduled, def.Version, e.Preview
				})
				n--
			}
		}
		for _, i := range w.add(def, n, instance.Scheduled) {
			w.set(i, func(c *instance.Instance) { c.Preview = e.Preview })
		}
	case Kill:
		return w.kill(e)
	case Adopt:
		w.adopted[e.App] = w.d.Plan.Change(e.App).New
	case Swap:
		for _, i := range slices.Clone(w.list[e.App]) {
			switch {
			case slices.Contains(e.Show, i.ID):
				w.set(i, func(c *instance.Instance) { c.Preview = false })
			case slices.Contains(e.Hide, i.ID):
				w.set(i, func(c *instance.Instance) { c.Preview = true })
			}
		}
		return false
	case Finished:
		w.ended = "finished"
	case GoBack:
		w.ended = e.Reason
	}
	return true
}

func (w *world) kill(e Kill) (settled bool) {
	serving := w.serving(e.App)
	settled = true
	for _, id := range e.Instances {
		at := slices.IndexFunc(w.list[e.App], func(i *instance.Instance) bool { return i.ID == id })
		if at < 0 {
			w.broken("kill of %s, which is not there", id)
			continue
		}
		i := w.list[e.App][at]
		goal := instance.GoalDecommissioned
		if e.Keep {
			goal = instance.GoalStopped
		}
		if i.Goal == goal || ending(i) {
			w.broken("%s is killed twice: %+v", id, i)
		}
		away := i.Condition == instance.Unreachable || i.Condition == instance.UnreachableInactive
		switch {
		case !i.Active() || away:
			settled = false
			if goal == instance.GoalDecommissioned && i.Reservation == nil || !i.Active() && !away && goal == instance.GoalDecommissioned {
				w.drop(i)
				continue
			}
			w.set(i, func(c *instance.Instance) {
				c.Goal = goal
				if c.Condition == instance.Scheduled {
					c.Condition = instance.Killed
				}
			})
		case w.rng.IntN(2) == 0:
			w.set(i, func(c *instance.Instance) { c.Goal, c.DrainUntil = goal, w.now.Add(time.Second) })
		default:
			w.set(i, func(c *instance.Instance) { c.Goal, c.KillingSince = goal, w.now })
		}
	}
	if c := w.d.Plan.Change(e.App); c.Restart && c.New != nil && c.New.Instances > 0 {
		n := c.New.Instances
		least := int(math.Ceil(float64(n) * c.New.UpgradeStrategy.MinimumHealthCapacity))
		if least == n && c.New.Resident() {
			least--
		}
		if now := w.serving(e.App); now < serving && now < least {
			w.broken("the deployment killed %v: %d of %d are healthy, %d must be\n%s", e.Instances, now, serving, least, w.dump())
		}
	}
	return settled
}

// bounds of B3, at this instant.
func (w *world) bounds(when string) {
	if w.d == nil || w.ended != "" {
		return
	}
	c := w.d.Plan.Change("/app")
	if p := w.d.Progress.Of("/app"); c == nil || c.New == nil || !c.Restart || p != nil && p.Strategy == BlueGreen {
		return
	}
	n, u := c.New.Instances, c.New.UpgradeStrategy
	most := int(math.Floor(float64(n) * (1 + u.MaximumOverCapacity)))
	if most == int(math.Ceil(float64(n)*u.MinimumHealthCapacity)) && !c.New.Resident() {
		most++
	}
	most = max(most, w.began) + w.returned
	if now := w.tasks("/app"); now > most {
		w.broken("%s: %d tasks, at most %d may be\n%s", when, now, most, w.dump())
	}
}

func (w *world) dump() string {
	var out strings.Builder
	for _, i := range w.list["/app"] {
		fmt.Fprintf(&out, "  %s %s %s %s healthy=%t ready=%t preview=%t drain=%t kill=%t\n", i.ID, i.Version, i.Goal, i.Condition,
			i.Healthy(w.defs[i.App][i.Version]), i.Ready, i.Preview, !i.DrainUntil.IsZero(), !i.KillingSince.IsZero())
	}
	p, _ := json.Marshal(w.d.Progress)
	return out.String() + string(p)
}

// turn lets something happen to some instance; faults too if they are on. It reports
// whether anything could.
func (w *world) turn(faults bool) bool {
	w.now = w.now.Add(10 * time.Millisecond)
	list := w.list["/app"]
	for range 4 {
		if len(list) > 0 && w.happen(list[w.rng.IntN(len(list))], faults) {
			w.bounds("after something happened")
			return true
		}
	}
	for _, n := range w.rng.Perm(len(list)) {
		if w.happen(list[n], false) {
			w.bounds("after something happened")
			return true
		}
	}
	return false
}

func (w *world) happen(i *instance.Instance, faults bool) bool {
	def := w.defs[i.App][i.Version]
	to := func(c instance.Condition) bool {
		w.set(i, func(n *instance.Instance) { n.Condition, n.Since = c, w.now })
		return true
	}
	fault := faults && w.rng.IntN(8) == 0
	switch {
	case ending(i):
		if w.rng.IntN(2) == 0 && i.KillingSince.IsZero() {
			w.set(i, func(n *instance.Instance) { n.KillingSince = w.now })
			return true
		}
		w.over(i, instance.Killed)
		return true
	case i.Condition == instance.Unreachable || i.Condition == instance.UnreachableInactive:
		switch {
		case w.rng.IntN(3) > 0:
			if i.Condition == instance.UnreachableInactive || i.Goal != instance.GoalRunning {
				w.returned++
			}
			if i.Goal != instance.GoalRunning {
				w.set(i, func(n *instance.Instance) { n.Condition, n.KillingSince = instance.Running, w.now })
				return true
			}
			return to(instance.Running)
		case i.Condition == instance.Unreachable && !def.Resident():
			return to(instance.UnreachableInactive)
		case i.Condition == instance.UnreachableInactive:
			w.drop(i)
			return true
		}
		return false
	case fault && i.Active():
		switch w.rng.IntN(4) {
		case 0:
			w.over(i, instance.Failed)
		case 1:
			return i.Condition == instance.Running && to(instance.Unreachable)
		case 2: // somebody kills the task
			w.set(i, func(n *instance.Instance) { n.KillingSince = w.now })
		default:
			if len(i.Health) == 0 || i.Condition != instance.Running {
				return false
			}
			w.set(i, func(n *instance.Instance) {
				n.Health = slices.Clone(n.Health)
				n.Health[0].Alive, n.Health[0].ConsecutiveFailures = false, 1
			})
		}
		return true
	case fault && i.Condition == instance.Scheduled && i.Reservation == nil: // wiped
		w.drop(i)
		return true
	}
	switch i.Condition {
	case instance.Scheduled:
		w.set(i, func(n *instance.Instance) { w.launch(n, def) })
	case instance.Provisioned:
		return to(instance.Staging)
	case instance.Staging:
		return to([]instance.Condition{instance.Starting, instance.Running}[w.rng.IntN(2)])
	case instance.Starting:
		return to(instance.Running)
	case instance.Running:
		switch {
		case !i.Healthy(def):
			ready := i.Ready || len(def.ReadinessChecks) == 0
			w.set(i, func(n *instance.Instance) { w.healthy(n, def); n.Ready = ready })
		case !i.Ready:
			w.set(i, func(n *instance.Instance) { n.Ready = true })
		default:
			return false
		}
	default:
		return false
	}
	return true
}

// settle runs until the deployment is over; nothing fails any more.
func (w *world) settle() { w.settleWith(Look) }

// settleWith gives this input whenever it is accepted.
func (w *world) settleWith(in Input) {
	w.crash = 0
	quiet := 0
	for range 100 * (len(w.list["/app"]) + 40) {
		if w.step(in) != nil {
			w.step(Look)
		}
		if w.ended != "" || w.wrong != "" {
			return
		}
		if w.turn(false) {
			quiet = 0
			continue
		}
		if at := wakeOf(w); at.After(w.now) {
			w.now = at
		}
		if quiet++; quiet > 3 {
			break
		}
	}
	w.broken("the deployment does not end: %v\n%s", Waiting(w.now, w.d, w), w.dump())
}

func wakeOf(w *world) (at time.Time) {
	_, effects, _, _ := Step(w.now, w.d, Look, w)
	for _, e := range effects {
		if e, ok := e.(Wake); ok {
			at = e.At
		}
	}
	return at
}

// word is an effect as the tables write it.
func word(e Effect) string {
	switch e := e.(type) {
	case Launch:
		if e.Preview {
			return fmt.Sprintf("Launch %d preview", e.N)
		}
		return fmt.Sprintf("Launch %d", e.N)
	case Kill:
		if e.Keep {
			return fmt.Sprintf("Kill %d keep", len(e.Instances))
		}
		return fmt.Sprintf("Kill %d", len(e.Instances))
	case Adopt:
		return "Adopt"
	case Swap:
		return fmt.Sprintf("Swap %d for %d", len(e.Show), len(e.Hide))
	case ResetBackoff:
		return "ResetBackoff"
	case StepBegan:
		return fmt.Sprintf("StepBegan %d", e.Step)
	case StepEnded:
		return fmt.Sprintf("StepEnded %d", e.Step)
	case Finished:
		return "Finished"
	case GoBack:
		return "GoBack"
	case Wake:
		return "Wake"
	}
	return fmt.Sprintf("%T", e)
}

func words(effects []Effect) string {
	var out []string
	for _, e := range effects {
		out = append(out, word(e))
	}
	return strings.Join(out, ", ")
}
