package deploy

import (
	"reflect"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/instance"
)

// Tally counts instances of one version by what matters to a deployment.
type Tally struct {
	Version marathon.Version
	// All instances. Lost are those of them that are to go and cannot be reached: nothing
	// waits for them (as Marathon, InstanceChangedPredicates.considerTerminal). Wanted are
	// those that are not to go for good.
	All, Lost, Wanted int
	// Live have goal Running and have not been replaced for being unreachable, as
	// Inactive were. Ending are those of Live whose task is being killed and who will come
	// back.
	Live, Ending, Inactive int
	// Idle are those of Live, Ending left out, without a task, and Done those that never
	// get another one because they have done what they were for (restartPolicy). Hidden
	// are previews, and HiddenAway those of Inactive. Useless are Idle, Done and Hidden
	// together.
	Idle, Done, Hidden, HiddenAway, Useless int
	// Healthy are those of Live, Ending and Hidden left out, that serve. Good are those
	// that are healthy and ready, previews among them, and Done.
	Healthy, Good int
	// Doomed are not Live, but their task still takes up capacity.
	Doomed int
}

// Add counts an instance n times: 1 when it comes, -1 when it goes. def is the definition
// of its version.
func (t *Tally) Add(i *instance.Instance, def *marathon.App, n int) {
	t.All += n
	if i.Goal != instance.GoalDecommissioned {
		t.Wanted += n
	}
	away := i.Condition == instance.Unreachable || i.Condition == instance.UnreachableInactive
	switch {
	case i.Goal != instance.GoalRunning && away:
		t.Lost += n
		return
	case i.Goal != instance.GoalRunning:
		if i.Active() {
			t.Doomed += n
		}
		return
	case i.Condition == instance.UnreachableInactive:
		t.Inactive += n
		if i.Preview {
			t.HiddenAway += n
		}
		return
	}
	t.Live += n
	if ending(i) {
		t.Ending += n
		return
	}
	idle, done := !i.Active(), satisfied(i, def)
	switch {
	case done:
		t.Done += n
	case idle:
		t.Idle += n
	}
	if i.Preview {
		t.Hidden += n
	}
	if idle || i.Preview {
		t.Useless += n
	}
	if !i.Preview && i.Healthy(def) {
		t.Healthy += n
	}
	if good(i, def) {
		t.Good += n
	}
}

func (t *Tally) add(o Tally) {
	t.All += o.All
	t.Lost += o.Lost
	t.Wanted += o.Wanted
	t.Live += o.Live
	t.Ending += o.Ending
	t.Inactive += o.Inactive
	t.Idle += o.Idle
	t.Done += o.Done
	t.Hidden += o.Hidden
	t.HiddenAway += o.HiddenAway
	t.Useless += o.Useless
	t.Healthy += o.Healthy
	t.Good += o.Good
	t.Doomed += o.Doomed
}

// ending reports whether the instance's task is being killed.
func ending(i *instance.Instance) bool {
	return i.Active() && (!i.DrainUntil.IsZero() || !i.KillingSince.IsZero() || i.Condition == instance.Killing)
}

// satisfied reports whether the instance has done what it was for: its task finished and
// the app does not want it again.
func satisfied(i *instance.Instance, def *marathon.App) bool {
	return i.Condition == instance.Finished && (def.RestartPolicy == marathon.Never || def.RestartPolicy == marathon.OnFailure)
}

// good reports whether the instance is all that is waited for.
func good(i *instance.Instance, def *marathon.App) bool {
	return satisfied(i, def) || i.Healthy(def) && (i.Ready || len(def.ReadinessChecks) == 0)
}

// tallies of an app by version.
func (s *stepper) tallies(app string, target *marathon.App) []Tally {
	if w, ok := s.w.(Tallied); ok {
		return w.Tallies(app)
	}
	var all []Tally
	var def *marathon.App
	at := -1
	for _, i := range s.w.Instances(app) {
		if at < 0 || all[at].Version != i.Version {
			def = s.definition(app, i.Version, target)
			at = -1
			for n := range all {
				if all[n].Version == i.Version {
					at = n
				}
			}
			if at < 0 {
				at = len(all)
				all = append(all, Tally{Version: i.Version})
			}
		}
		all[at].Add(i, def, 1)
	}
	return all
}

// total of all versions.
func (s *stepper) total(app string, target *marathon.App) (t Tally) {
	for _, v := range s.tallies(app, target) {
		t.add(v)
	}
	return t
}

// split counts instances of the target's configuration and others.
func (s *stepper) split(target *marathon.App) (old, fresh Tally) {
	for _, v := range s.tallies(target.ID, target) {
		if s.fresh(v.Version, target) {
			fresh.add(v)
		} else {
			old.add(v)
		}
	}
	return old, fresh
}

// definition of a version; the target's stands in for one that is not known any more.
func (s *stepper) definition(app string, v marathon.Version, target *marathon.App) *marathon.App {
	if target != nil && v == target.Version {
		return target
	}
	if def := s.w.Definition(app, v); def != nil {
		return def
	}
	if target != nil {
		return target
	}
	if c := s.d.Plan.Change(app); c != nil && c.Old != nil {
		return c.Old
	}
	return &marathon.App{ID: app}
}

// fresh reports whether instances of a version run the target's configuration. A later
// version is not enough: what goes back meets instances that are newer than its target.
func (s *stepper) fresh(v marathon.Version, target *marathon.App) bool {
	if v == target.Version {
		return true
	}
	def := s.w.Definition(target.ID, v)
	switch {
	case def == nil:
		return false
	case configOf(def) == configOf(target):
		return true
	}
	return s.d.Reverts != "" && sameContent(def, target)
}

// configOf is the version of the last change of the configuration.
func configOf(def *marathon.App) marathon.Version {
	if def.VersionInfo != nil {
		return def.VersionInfo.LastConfigChangeAt
	}
	return def.Version
}

// sameContent reports whether two definitions differ in nothing but their versions and
// the number of instances.
func sameContent(a, b *marathon.App) bool {
	x, y := *a, *b
	x.Version, x.VersionInfo, x.Instances = "", nil, 0
	y.Version, y.VersionInfo, y.Instances = "", nil, 0
	return reflect.DeepEqual(&x, &y)
}
