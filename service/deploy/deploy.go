// Package deploy carries out a plan. It looks at the instances as they are and says what
// to do next, so that after a crash, a force or a failed task it simply goes on: all it
// remembers is in the Deployment value, which is stored before anything is done.
//
// docs/deployments.md explains it to users; its table of states is what the tests run.
package deploy

import (
	"fmt"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/plan"
)

// Deployment is a plan under way. Step returns a changed copy; the JSON is what the
// store keeps.
type Deployment struct {
	Plan *plan.Plan `json:"plan"`
	// Step is the index of the current one; past the last one all is done.
	Step int `json:"step"`
	// Begun is set once StepBegan was said of the current step.
	Begun   bool      `json:"begun,omitempty"`
	Started time.Time `json:"started"`
	// By is who asked for it.
	By string `json:"by,omitempty"`
	// Reverts is the id of the deployment that this one takes back, "" otherwise. Such a
	// deployment has no canary, no pause and no deadline, and counts instances that run
	// the old configuration already as new.
	Reverts string `json:"reverts,omitempty"`
	// Progress of the current step's actions that have something to remember, by app.
	// Values are replaced, never changed.
	Progress Notes `json:"progress,omitzero"`
	// Deadline after which it goes back; zero is none.
	Deadline time.Time `json:"deadline,omitzero"`
	// Paused by an operator (`stoa deployment pause`) since PausedAt: nothing is done, and
	// deadline and canary pauses stand still.
	Paused   bool      `json:"paused,omitempty"`
	PausedAt time.Time `json:"pausedAt,omitzero"`
	// Failed is why it goes back; "" while it goes on.
	Failed string `json:"failed,omitempty"`

	// memo is what can be worked out again by looking at everything.
	memo *memo
}

// Strategies of a restart that are not simply rolling.
const (
	Canary    = "canary"
	BlueGreen = "blue-green"
)

// Phases of a canary or blue-green restart.
const (
	Starting = "starting"
	Paused   = "paused"
	Promoted = "promoted"
)

// Progress of one action.
type Progress struct {
	// Instances, MaxCapacity and MinHealthy are B3's numbers, fixed when a restart begins;
	// Instances is what the others were computed of. Only the `+= 1` (for resident apps
	// the -1) may come later, if instances that were unhealthy at the beginning no longer
	// are and the restart could not go on.
	Instances   int  `json:"instances,omitempty"`
	MaxCapacity int  `json:"maxCapacity,omitempty"`
	MinHealthy  int  `json:"minHealthy,omitempty"`
	Relaxed     bool `json:"relaxed,omitempty"`
	// Launched says that scaling had to launch instances although the plan does not scale
	// up: it then waits for their health.
	Launched bool `json:"launched,omitempty"`
	// Strategy is "", Canary or BlueGreen, and Phase how far it came.
	Strategy string `json:"strategy,omitempty"`
	Phase    string `json:"phase,omitempty"`
	// Until is when a canary's pause ends by itself (zero: when it is promoted), or when
	// the old set of a promoted blue-green restart goes.
	Until time.Time `json:"until,omitzero"`
	// Tasks of the canaries by instance, as first seen, if it goes back when one ends.
	Tasks map[string]string `json:"tasks,omitempty"`
}

// World is what a step looks at.
type World interface {
	// Instances of an app that are not gone: all conditions, all goals, in any order that
	// repeats.
	Instances(app string) []*instance.Instance
	// Definition of an app at a version in use.
	Definition(app string, version marathon.Version) *marathon.App
	// Agents that a per-agent app should have an instance on.
	AgentsFor(app *marathon.App) int
}

// Tallied is a World that counts instances as they change, which spares a walk over all
// instances of an app at every step. The answer is a Tally for each version with
// instances, in any order.
type Tallied interface {
	Tallies(app string) []Tally
}

// Input of a step.
type Input string

const (
	// Look again: something may have changed.
	Look    Input = ""
	Promote Input = "promote"
	Pause   Input = "pause"
	Resume  Input = "resume"
)

// Effect of a step, in order. The set is closed.
type Effect interface{ effect() }

type (
	// Launch wants N more instances of the app's new definition. For resident apps those
	// with goal Stopped whose task has ended come first: they get goal Running, the new
	// version and condition Scheduled, and are launched on their reservation. Until a
	// Launch nothing is to become of a Stopped instance: scaling down and suspending a
	// resident app keep its volumes this way (as Marathon 1.10,
	// core/deployment/impl/DeploymentActor.scala).
	Launch struct {
		App     string
		N       int
		Preview bool
	}
	// Kill instances by way of draining, for good: goal Decommissioned. With Keep the goal
	// is Stopped: the task ends, instance and reservation stay. Only instances without a
	// task or with one that is not being ended already are named; those without a task
	// are gone (or stopped) at once.
	Kill struct {
		App       string
		Instances []string
		Keep      bool
	}
	// Adopt makes instances of the old definition count as of the new one (a change
	// without Restart): whatever is relaunched from now on runs the new definition.
	// Without Adopt an instance is relaunched as the version it has. It comes once, with
	// a change of the Deployment; both belong into one write.
	Adopt struct{ App string }
	// Swap ends the preview of Show, and hides Hide as Preview did, in one version of what
	// readers see.
	Swap struct {
		App        string
		Show, Hide []string
	}
	// ResetBackoff of an app, at the start of a restart.
	ResetBackoff struct{ App string }
	// StepBegan and StepEnded become deployment_info and deployment_step_success. The
	// first step is 0.
	StepBegan struct{ Step int }
	StepEnded struct{ Step int }
	// Finished ends it with success. It is said until the Deployment is dropped.
	Finished struct{}
	// GoBack asks for the reverting deployment: a canary failed or the deadline passed.
	// It is said until the Deployment is replaced.
	GoBack struct{ Reason string }
	// Wake asks to be stepped again at a time; it replaces an earlier one.
	Wake struct{ At time.Time }
)

func (Launch) effect()       {}
func (Kill) effect()         {}
func (Adopt) effect()        {}
func (Swap) effect()         {}
func (ResetBackoff) effect() {}
func (StepBegan) effect()    {}
func (StepEnded) effect()    {}
func (Finished) effect()     {}
func (GoBack) effect()       {}
func (Wake) effect()         {}

// New starts a deployment. Its deadline is the earliest that an app of the plan asks for
// (upgradeStrategy.deadlineSeconds).
func New(now time.Time, p *plan.Plan, by string) *Deployment {
	d := &Deployment{Plan: p, Started: now, By: by}
	for i := range p.Changes {
		c := &p.Changes[i]
		if c.New == nil || c.New.UpgradeStrategy.DeadlineSeconds <= 0 {
			continue
		}
		if at := now.Add(seconds(c.New.UpgradeStrategy.DeadlineSeconds)); d.Deadline.IsZero() || at.Before(d.Deadline) {
			d.Deadline = at
		}
	}
	return d
}

// Step looks at the world and says what to do. It is idempotent: asked again once its
// effects are carried out in the world (a Launch by instances that are Scheduled, a Kill
// by another goal) it answers nothing but Wake; asked again because they were lost, it
// repeats them. changed says that next must be stored before the effects are done;
// otherwise next is d. A refused input (nothing to promote, say) is an error in words;
// then nothing changed.
func Step(now time.Time, d *Deployment, in Input, w World) (next *Deployment, effects []Effect, changed bool, err error) {
	s := newStepper(now, d, w)
	if err := s.input(in); err != nil {
		return d, nil, false, err
	}
	s.run(nil)
	next, effects, changed = s.result()
	return next, effects, changed, nil
}

// StepApps is Step when only instances of these apps can have changed since the last step
// of this value: what it costs does not grow with the number of actions.
func StepApps(now time.Time, d *Deployment, w World, apps []string) (next *Deployment, effects []Effect, changed bool) {
	s := newStepper(now, d, w)
	s.run(apps)
	return s.result()
}

// Decides reports whether the deployment decides about an app's instances now. If not,
// wanted is the definition whose instances are to be kept up meanwhile: the old one before
// the app's turn, the new one after it, nil if there is none. ok is false if the plan does
// not touch the app.
func (d *Deployment) Decides(id string) (wanted *marathon.App, decides, ok bool) {
	last := -1
	for _, n := range d.Plan.Acts(id) {
		if n == d.Step {
			return nil, true, true
		}
		last = n
	}
	c := d.Plan.Change(id)
	switch {
	case last < 0 || c == nil:
		return nil, false, false
	case d.Step < last:
		return c.Old, false, true
	}
	return c.New, false, true
}

// memo is private to whoever steps the deployment.
type memo struct {
	step int
	// action of each app in the step, and those that have not been done yet.
	action map[string]*plan.Action
	open   map[string]bool
	// wake is the earliest time that some action asked for.
	wake time.Time
}

type stepper struct {
	now     time.Time
	old     *Deployment
	d       Deployment
	w       World
	effects []Effect
	changed bool
	wake    time.Time
}

func newStepper(now time.Time, d *Deployment, w World) *stepper {
	return &stepper{now: now, old: d, d: *d, w: w}
}

func (s *stepper) result() (*Deployment, []Effect, bool) {
	if !s.changed {
		s.old.memo = s.d.memo
		return s.old, s.effects, false
	}
	next := s.d
	return &next, s.effects, true
}

func (s *stepper) emit(e Effect) { s.effects = append(s.effects, e) }

// run looks at the actions of these apps, or nil: at all of them.
func (s *stepper) run(apps []string) {
	switch {
	case s.d.Failed != "":
		s.emit(GoBack{s.d.Failed})
		return
	case s.d.Step < len(s.d.Plan.Steps) && s.d.Paused:
		return
	}
	for s.d.Step < len(s.d.Plan.Steps) {
		if s.late() {
			s.fail(fmt.Sprintf("the deployment was not done within its deadline, %s after it began", s.d.Deadline.Sub(s.d.Started)))
		} else {
			s.actions(apps)
		}
		if s.d.Failed != "" {
			s.effects = []Effect{GoBack{s.d.Failed}}
			return
		}
		if len(s.d.memo.open) > 0 {
			s.wakeUp()
			return
		}
		s.emit(StepEnded{s.d.Step})
		s.d.Step++
		s.d.Begun, s.d.Progress, s.d.memo, s.changed = false, Notes{}, nil, true
		apps = nil
	}
	s.emit(Finished{})
}

// actions of the current step.
func (s *stepper) actions(apps []string) {
	m := s.d.memo
	if m == nil || m.step != s.d.Step || !m.wake.IsZero() && !s.now.Before(m.wake) {
		m, apps = s.remember(), nil
	}
	if !s.d.Begun {
		s.begin()
	}
	look := func(a *plan.Action) {
		if s.d.Failed == "" && s.action(a) {
			delete(m.open, a.App)
		}
	}
	if apps == nil {
		step := &s.d.Plan.Steps[s.d.Step]
		for n := range step.Actions {
			look(&step.Actions[n])
		}
		m.wake = s.wake
		return
	}
	for _, id := range apps {
		if a := m.action[id]; a != nil {
			look(a)
		}
	}
	m.wake = earliest(m.wake, s.wake)
}

// remember makes the memo of the current step; what was done already stays done.
func (s *stepper) remember() *memo {
	step := &s.d.Plan.Steps[s.d.Step]
	m := &memo{step: s.d.Step, action: make(map[string]*plan.Action, len(step.Actions)), open: make(map[string]bool)}
	was := s.d.memo
	if was != nil && was.step != s.d.Step {
		was = nil
	}
	for n := range step.Actions {
		a := &step.Actions[n]
		m.action[a.App] = a
		if was == nil || was.open[a.App] {
			m.open[a.App] = true
		}
	}
	s.d.memo = m
	return m
}

func (s *stepper) begin() {
	s.d.Begun, s.changed = true, true
	s.emit(StepBegan{s.d.Step})
	for _, a := range s.d.Plan.Steps[s.d.Step].Actions {
		c := s.d.Plan.Change(a.App)
		if c == nil || c.Old == nil || c.New == nil || a.Kind == plan.Start || a.Kind == plan.Stop {
			continue
		}
		if c.Restart {
			s.emit(ResetBackoff{a.App})
		} else {
			s.emit(Adopt{a.App})
		}
	}
}

// action reports whether it is done.
func (s *stepper) action(a *plan.Action) bool {
	c := s.d.Plan.Change(a.App)
	switch {
	case a.Kind == plan.Start || c == nil:
		return true // "started with 0 instances"; kept for display
	case a.Kind == plan.Stop || c.New == nil:
		return s.stop(a.App)
	case a.Kind == plan.Restart && c.Restart && s.instances(c.New) > 0:
		return s.restart(c)
	}
	return s.scale(a, c)
}

// instances that an app should have.
func (s *stepper) instances(def *marathon.App) int {
	if def.PerAgent() {
		return s.w.AgentsFor(def)
	}
	return def.Instances
}

// progress of an app, to be read.
func (s *stepper) progress(app string) Progress {
	if p := s.d.Progress.Of(app); p != nil {
		return *p
	}
	return Progress{}
}

// setProgress replaces it.
func (s *stepper) setProgress(app string, p Progress) {
	s.d.Progress, s.changed = s.d.Progress.With(app, &p), true
}

func (s *stepper) fail(reason string) {
	s.d.Failed, s.changed = reason, true
}

// at asks to be woken.
func (s *stepper) at(t time.Time) { s.wake = earliest(s.wake, t) }

func (s *stepper) wakeUp() {
	t := s.d.memo.wake
	if s.d.Reverts == "" {
		t = earliest(t, s.d.Deadline)
	}
	if t.After(s.now) {
		s.emit(Wake{t})
	}
}

// late reports whether the deadline has passed. Blue-green sets that were promoted no
// longer fail: all that is left of them is to end the old set.
func (s *stepper) late() bool {
	if s.d.Deadline.IsZero() || s.d.Reverts != "" || s.now.Before(s.d.Deadline) {
		return false
	}
	m := s.d.memo
	if m == nil || m.step != s.d.Step {
		m = s.remember()
	}
	for _, a := range s.d.Plan.Steps[s.d.Step].Actions {
		if p := s.d.Progress.Of(a.App); m.open[a.App] && (p == nil || p.Strategy != BlueGreen || p.Phase != Promoted) {
			return true
		}
	}
	return false
}

// input changes the deployment by what an operator asked for.
func (s *stepper) input(in Input) error {
	if in == Look {
		return nil
	}
	switch {
	case s.d.Step >= len(s.d.Plan.Steps):
		return fmt.Errorf("the deployment is done; there is nothing left to %s", in)
	case s.d.Failed != "":
		return fmt.Errorf("the deployment is going back (%s); there is nothing left to %s", s.d.Failed, in)
	}
	switch in {
	case Pause:
		if !s.d.Paused {
			s.d.Paused, s.d.PausedAt, s.changed = true, s.now, true
		}
		return nil
	case Resume:
		// It never promotes: asked twice it must not do more than asked once.
		if s.d.Paused {
			s.resume()
		}
		return nil
	case Promote:
		return s.promote()
	}
	return fmt.Errorf("a deployment knows no %q; it knows promote, pause and resume", in)
}

// resume lets deadline and pauses go on with the time they had left.
func (s *stepper) resume() {
	stood := s.now.Sub(s.d.PausedAt)
	s.d.Paused, s.d.PausedAt, s.changed = false, time.Time{}, true
	if !s.d.Deadline.IsZero() {
		s.d.Deadline = s.d.Deadline.Add(stood)
	}
	for _, a := range s.d.Plan.Steps[s.d.Step].Actions {
		if p := s.progress(a.App); !p.Until.IsZero() {
			p.Until = p.Until.Add(stood)
			s.setProgress(a.App, p)
		}
	}
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// seconds as a duration, no longer than one can be.
func seconds(s float64) time.Duration {
	if s >= float64(1<<63-1)/float64(time.Second) {
		return 1<<63 - 1
	}
	return time.Duration(s * float64(time.Second))
}
