package deploy

import (
	"slices"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/plan"
)

// scaling is what there is to do to reach a number of instances.
type scaling struct {
	tally     Tally
	instances int
	// sentenced are to be killed whatever the number; kill is how many in all, missing
	// how many to launch.
	sentenced     []*instance.Instance
	kill, missing int
	// stale are instances of another configuration, which an app that is new must not
	// have: they are left when a deletion that had not ended all is taken back.
	stale int
	// waits for the health of all instances, not only for their number.
	waits bool
}

// looked at the instances of an app that is scaled (as Marathon 1.10,
// core/deployment/ScalingProposition.scala and impl/TaskStartActor.scala).
func (s *stepper) scaling(a *plan.Action, c *app.AppChange) scaling {
	x := scaling{tally: s.total(a.App, c.New), instances: s.instances(c.New)}
	t := &x.tally
	x.sentenced = s.sentenced(a)
	if c.Old == nil {
		if old, _ := s.split(c.New); old.Live > 0 {
			x.stale = old.Live
			x.sentenced = append(x.sentenced, s.outdated(c.New, x.sentenced)...)
		}
	}
	// Those whose task is being killed come back without one, and are then the first to
	// go: for them nobody else is killed.
	x.kill = max(len(x.sentenced), t.Live-t.Ending-x.instances)
	x.missing = max(0, x.instances-t.Live-t.Doomed)
	if n := c.New.UpgradeStrategy.MaxParallel; n > 0 {
		x.missing = min(x.missing, max(0, n-(t.Live-t.Good)))
	}
	x.waits = c.Old == nil || c.Old.Instances < c.New.Instances || c.New.PerAgent() && !c.Old.PerAgent() ||
		s.progress(a.App).Launched
	return x
}

func (x *scaling) done() bool {
	return x.stale == 0 && x.kill == 0 && x.missing == 0 && x.tally.Doomed == 0 && x.tally.Live == x.instances && x.tally.Hidden+x.tally.HiddenAway == 0 &&
		(!x.waits || x.tally.Good >= x.instances)
}

// scale reports whether the app has its number of instances. After scaling up they must
// be healthy and ready too; after scaling down the rest may be as it is.
func (s *stepper) scale(a *plan.Action, c *app.AppChange) bool {
	x := s.scaling(a, c)
	if x.done() {
		return true
	}
	if x.kill > 0 {
		s.kill(a.App, c.New, c.New.Resident(), s.surplus(a.App, c.New, x.kill, x.sentenced))
	} else if x.tally.Hidden+x.tally.HiddenAway > 0 && x.tally.Live <= x.instances {
		// A cancelled blue-green restart left it; it is needed now, or is one too many like
		// any other should its agent be back.
		s.swap(a.App, func(*instance.Instance) bool { return true })
	}
	if x.missing > 0 {
		if !x.waits {
			p := s.progress(a.App)
			p.Launched = true
			s.setProgress(a.App, p)
		}
		s.emit(Launch{App: a.App, N: x.missing})
	}
	return false
}

// sentenced are the instances that the action names and that can be killed.
func (s *stepper) sentenced(a *plan.Action) (out []*instance.Instance) {
	if len(a.Kill) == 0 {
		return nil
	}
	named := make(map[string]bool, len(a.Kill))
	for _, id := range a.Kill {
		named[id] = true
	}
	for _, i := range s.w.Instances(a.App) {
		if named[i.ID] && i.Goal == instance.GoalRunning && !ending(i) {
			out = append(out, i)
		}
	}
	slices.SortFunc(out, compareIDs)
	return out
}

// outdated are the instances of other configurations that can be killed and are not in
// but.
func (s *stepper) outdated(def *marathon.App, but []*instance.Instance) (out []*instance.Instance) {
	for _, i := range s.w.Instances(def.ID) {
		if live(i) && !ending(i) && !s.fresh(i.Version, def) && !slices.Contains(but, i) {
			out = append(out, i)
		}
	}
	slices.SortFunc(out, compareIDs)
	return out
}

// surplus picks n instances of a live app to kill: those named first, then by order.
func (s *stepper) surplus(id string, def *marathon.App, n int, first []*instance.Instance) []*instance.Instance {
	rest := n - len(first)
	if rest <= 0 {
		return first
	}
	var from []*instance.Instance
	for _, i := range s.w.Instances(id) {
		if live(i) && !ending(i) && !slices.Contains(first, i) {
			from = append(from, i)
		}
	}
	return append(slices.Clip(first), s.evenly(def, from, rest)...)
}

func live(i *instance.Instance) bool {
	return i.Goal == instance.GoalRunning && i.Condition != instance.UnreachableInactive
}

// stop reports whether no instance of the app is left, with those aside that cannot be
// reached: they go when their agent comes back.
func (s *stepper) stop(id string) bool {
	t := s.total(id, nil)
	if t.Wanted > 0 {
		var kill []*instance.Instance
		for _, i := range s.w.Instances(id) {
			if i.Goal != instance.GoalDecommissioned && !ending(i) {
				kill = append(kill, i)
			}
		}
		s.kill(id, nil, false, kill)
	}
	return t.All == t.Lost
}
