package deploy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/instance"
)

// strategy of a restart that begins. Without old instances there is nothing to compare a
// canary with and nothing to switch from.
func (s *stepper) strategy(r *restarting) string {
	u := &r.def.UpgradeStrategy
	serving := r.old.Live - r.old.Hidden - r.old.Ending
	switch {
	case serving <= 0:
		return ""
	case s.d.Reverts == "" && u.BlueGreen != nil, r.fresh.Hidden > 0:
		return BlueGreen // also for going back to a hidden set
	case s.d.Reverts == "" && u.Canary != nil:
		return Canary
	}
	return ""
}

// phase moves a canary or blue-green restart on.
func (s *stepper) phase(r *restarting) {
	switch {
	case r.p.Strategy == "":
		return
	case r.p.Strategy == Canary && r.p.Phase != Promoted:
		s.canary(r)
	case r.p.Strategy == BlueGreen && r.p.Phase == Starting && r.fresh.Good >= r.n:
		if b := r.def.UpgradeStrategy.BlueGreen; s.d.Reverts == "" && b != nil && b.Promotion != "auto" {
			r.p.Phase = Paused
		} else {
			s.promoted(r)
		}
	}
	if r.p.Phase == Paused || r.p.Phase == Promoted {
		if r.p.Until.After(s.now) {
			s.at(r.p.Until)
		}
	}
}

// canary goes from starting over paused to promoted, or back.
func (s *stepper) canary(r *restarting) {
	c := r.def.UpgradeStrategy.Canary
	if c.AutoRevert {
		if why := s.failing(r); why != "" {
			s.fail(why)
			return
		}
	}
	ready := r.ready()
	if r.p.Phase == Starting && ready {
		r.p.Phase = Paused
		if c.PauseSeconds > 0 {
			r.p.Until = s.now.Add(seconds(c.PauseSeconds))
		}
	}
	if r.p.Phase == Paused && ready && !r.p.Until.IsZero() && !s.now.Before(r.p.Until) {
		s.promoted(r)
	}
}

// wanted is how many new instances are tried before promotion.
func (r *restarting) wanted() int {
	if r.p.Strategy == Canary {
		return min(r.def.UpgradeStrategy.Canary.Instances, r.n)
	}
	return r.n
}

// ready reports whether what is tried may be promoted.
func (r *restarting) ready() bool { return r.fresh.Good >= r.wanted() }

// promoted lets a restart go on.
func (s *stepper) promoted(r *restarting) {
	r.p.Phase, r.p.Until, r.p.Tasks = Promoted, time.Time{}, nil
	if r.p.Strategy != BlueGreen {
		return
	}
	var keep time.Duration
	if b := r.def.UpgradeStrategy.BlueGreen; b != nil && s.d.Reverts == "" {
		keep = seconds(b.KeepOldSeconds)
	}
	r.p.Until = s.now.Add(keep)
	if keep > 0 && !s.d.Deadline.IsZero() {
		// The deadline is for the new set; the steps after this one keep their time.
		s.d.Deadline, s.changed = s.d.Deadline.Add(keep), true
	}
}

// beside is a blue-green restart: the whole new set beside the old one, which goes when
// its time after the promotion is over.
func (r *restarting) beside(now time.Time) {
	o, f := &r.old, &r.fresh
	r.launch = max(0, min(r.n-f.Live-f.Doomed, r.parallel()))
	r.killNew = max(0, f.Live-f.Ending-r.n)
	if r.p.Phase != Promoted {
		r.preview = true
		r.killOld = o.Hidden // left by a deployment that this one overrides
		return
	}
	r.swap = f.Hidden+f.HiddenAway > 0
	if !now.Before(r.p.Until) && f.Good >= r.n {
		r.killOld, r.inactive = o.Live-o.Ending+o.Inactive, true
	}
	r.done = r.replaced()
}

// failing says why the canaries have failed, "" if they have not.
func (s *stepper) failing(r *restarting) string {
	var reasons []string
	tasks := maps.Clone(r.p.Tasks)
	for _, i := range s.w.Instances(r.def.ID) {
		if !live(i) || !r.isFresh(i) {
			continue
		}
		if task, ok := tasks[i.ID]; !ok && i.Active() {
			if tasks == nil {
				tasks = make(map[string]string)
			}
			tasks[i.ID] = i.TaskID
		} else if ok && (task != i.TaskID || i.Condition == instance.Scheduled) {
			reasons = append(reasons, fmt.Sprintf("the task of canary %s ended", i.ID))
			continue
		}
		switch {
		case i.Condition.Terminal() && !satisfied(i, r.def):
			reasons = append(reasons, fmt.Sprintf("the task of canary %s ended (%s)", i.ID, i.Condition))
		case sick(s.now, i, r.def):
			reasons = append(reasons, fmt.Sprintf("canary %s is not healthy", i.ID))
		}
	}
	r.p.Tasks = tasks
	slices.Sort(reasons)
	return strings.Join(reasons, "; ")
}

// sick reports whether a health check fails that counts: one that has succeeded before,
// or whose grace period is over.
func sick(now time.Time, i *instance.Instance, def *marathon.App) bool {
	if i.Condition != instance.Running {
		return false
	}
	for n, h := range i.Health {
		if !h.Known || h.Alive || n >= len(def.HealthChecks) {
			continue
		}
		grace := time.Duration(def.HealthChecks[n].GracePeriodSeconds) * time.Second
		if !h.FirstSuccess.IsZero() || !now.Before(i.StartedAt.Add(grace)) {
			return true
		}
	}
	return false
}

// promote is the operator's word for all that waits in the current step.
func (s *stepper) promote() error {
	var waiting, starting, promoted []*restarting
	for _, a := range s.d.Plan.Steps[s.d.Step].Actions {
		p := s.progress(a.App)
		if p.Strategy == "" {
			continue
		}
		c := s.d.Plan.Change(a.App)
		r := &restarting{def: c.New, n: s.instances(c.New), p: p}
		r.old, r.fresh = s.split(c.New)
		switch {
		case p.Phase == Promoted:
			promoted = append(promoted, r)
		case p.Phase == Paused && r.ready():
			waiting = append(waiting, r)
		default:
			starting = append(starting, r)
		}
	}
	for _, r := range waiting {
		s.promoted(r)
		s.setProgress(r.def.ID, r.p)
	}
	switch {
	case len(waiting) > 0:
		return nil
	case len(starting) > 0:
		r := starting[0]
		return fmt.Errorf("%s cannot be promoted yet: %d of %s ready; wait for them, or take the deployment back",
			r.def.ID, r.fresh.Good, plural(r.wanted(), "new instance is", "new instances are"))
	case len(promoted) > 0:
		return nil
	}
	return fmt.Errorf("nothing waits for a promotion: no app of the current step has a canary or a blue-green set")
}
