package deploy

import (
	"math"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/internal/planted"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/instance"
)

// restart replaces instances of the old configuration by ones of the new; it reports
// whether that is done.
func (s *stepper) restart(c *app.AppChange) bool {
	r := s.look(c)
	if s.d.Failed != "" {
		return false
	}
	if r.swap {
		// Old ones are hidden only where the new set takes their place as a whole.
		s.swap(r.def.ID, func(i *instance.Instance) bool {
			return r.isFresh(i) || !i.Preview && r.p.Strategy != BlueGreen
		})
	}
	keep := r.def.Resident() && r.p.Strategy != BlueGreen
	if r.killOld > 0 {
		s.kill(r.def.ID, r.def, keep, s.first(r.def, s.killable(r, false), r.killOld, before(r.def, false)))
	}
	if r.killNew > 0 {
		s.kill(r.def.ID, r.def, keep, s.first(r.def, s.killable(r, true), r.killNew, before(r.def, true)))
	}
	if r.launch > 0 {
		s.emit(Launch{App: r.def.ID, N: r.launch, Preview: r.preview})
	}
	return r.done
}

// restarting is a restart as it stands, and what there is to do about it.
type restarting struct {
	def        *marathon.App
	n          int // instances it should have
	old, fresh Tally
	p          Progress
	isFresh    func(*instance.Instance) bool

	killOld, killNew, launch int
	// inactive ones are among killOld.
	preview, swap, inactive, done bool
}

// look at a restart: Progress is brought up to date, what to do is worked out.
func (s *stepper) look(c *app.AppChange) *restarting {
	r := &restarting{def: c.New, n: s.instances(c.New), p: s.progress(c.New.ID)}
	r.old, r.fresh = s.split(c.New)
	last, is := r.def.Version, true
	r.isFresh = func(i *instance.Instance) bool {
		if i.Version != last {
			last, is = i.Version, s.fresh(i.Version, r.def)
		}
		return is
	}
	was := r.p
	if r.p.Instances == 0 {
		r.p.Strategy = s.strategy(r)
		if r.p.Strategy != "" {
			r.p.Phase = Starting
		}
	}
	r.bounds()
	s.phase(r)
	switch {
	case s.d.Failed != "":
		return r
	case r.p.Strategy == BlueGreen:
		r.beside(s.now)
	case r.p.Strategy == Canary && r.p.Phase != Promoted:
		r.roll(min(r.def.UpgradeStrategy.Canary.Instances, r.n))
	default:
		r.roll(r.n)
	}
	if !same(was, r.p) {
		s.setProgress(r.def.ID, r.p)
	}
	return r
}

// same reports whether two values of one action are equal; Tasks are replaced whole.
func same(a, b Progress) bool {
	return a.Instances == b.Instances && a.MaxCapacity == b.MaxCapacity && a.MinHealthy == b.MinHealthy &&
		a.Relaxed == b.Relaxed && a.Strategy == b.Strategy && a.Phase == b.Phase && a.Until.Equal(b.Until) &&
		len(a.Tasks) == len(b.Tasks)
}

// killable instances, either new or old.
func (s *stepper) killable(r *restarting, fresh bool) (out []*instance.Instance) {
	for _, i := range s.w.Instances(r.def.ID) {
		if i.Goal == instance.GoalRunning && !ending(i) && r.isFresh(i) == fresh && (live(i) || r.inactive && !fresh) {
			out = append(out, i)
		}
	}
	return out
}

// bounds are B3's (as Marathon 1.10, core/deployment/impl/TaskReplaceActor.scala,
// computeRestartStrategy).
func (r *restarting) bounds() {
	u := &r.def.UpgradeStrategy
	if r.p.Instances != r.n {
		r.p.Instances, r.p.Relaxed = r.n, false
		r.p.MinHealthy = int(math.Ceil(float64(r.n) * u.MinimumHealthCapacity))
		r.p.MaxCapacity = int(float64(r.n) * (1 + u.MaximumOverCapacity))
		if r.def.PerAgent() {
			// There is one place on each agent: an old instance has to go before a new
			// one can come.
			r.p.MaxCapacity, r.p.MinHealthy = r.n, min(r.p.MinHealthy, r.n-1)
		}
	}
	if !r.p.Relaxed && r.p.MinHealthy == r.p.MaxCapacity && r.p.MaxCapacity <= r.old.Healthy+r.fresh.Good {
		// Nothing could be killed and nothing started.
		switch {
		case r.def.Resident():
			r.p.MinHealthy--
		case !planted.Bug("`+= 1` forgotten"):
			r.p.MaxCapacity++
		}
		r.p.Relaxed = true
	}
}

// parallel is how many instances may be launched now by maxParallel.
func (r *restarting) parallel() int {
	if n := r.def.UpgradeStrategy.MaxParallel; n > 0 {
		return max(0, n-(r.fresh.Live-r.fresh.Good))
	}
	return math.MaxInt
}

// roll replaces old instances one by one within the bounds until want new ones are there.
// want is less than the number of instances while canaries are tried.
func (r *restarting) roll(want int) {
	o, f := &r.old, &r.fresh
	trial := r.p.Strategy == Canary && r.p.Phase != Promoted
	ready := f.Good
	if planted.Bug("old killed before new is ready") {
		ready = f.Live
	}
	r.swap = f.Hidden+f.HiddenAway > 0

	// Old instances that serve nobody go at once; while canaries are tried the old ones
	// are still wanted, but for what another deployment left hidden.
	useless, bare := o.Useless, o.Idle+o.Done // bare ones take up nothing from now on
	if trial {
		useless, bare = o.Hidden, 0
	}
	weak := o.Live - o.Ending - o.Healthy - useless // neither healthy nor useless
	spare := max(0, o.Healthy+ready-r.p.MinHealthy) // healthy ones that health can do without

	room := r.p.MaxCapacity - (f.Live - f.Done) - f.Doomed - (o.Live - bare) - o.Doomed
	coming := f.Doomed + o.Doomed + o.Ending + useless - bare // room that there will be
	start := max(0, min(want-f.Live, r.parallel()))

	// One old instance goes for each new one that is ready; while canaries are tried only
	// those beyond the number of instances do.
	replaced := o.Live - o.Ending - useless - r.n
	if !trial {
		replaced += min(r.n, ready)
	}
	need := max(0, replaced, start-room-coming)
	switch {
	case trial || r.def.UpgradeStrategy.MaxParallel > 0:
		// No more go than can be replaced now.
		weak = min(weak, need)
		spare = min(spare, need-weak)
	case spare == 0:
		weak = min(weak, need)
	}
	r.killOld = useless + weak + min(spare, o.Healthy)
	if !trial {
		r.killOld, r.inactive = r.killOld+o.Inactive, true
	}
	r.killNew = max(0, f.Live-f.Ending-r.n)
	r.launch = max(0, min(start, room))
	r.done = !trial && r.replaced()
}

// replaced reports whether all instances are new and good.
func (r *restarting) replaced() bool {
	o, f := &r.old, &r.fresh
	return !r.swap && f.Good >= r.n && f.Live == r.n && o.Live+o.Inactive+o.Doomed+f.Doomed == 0
}
