package state

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/internal/planted"
	"github.com/stoa-kernel/stoa/service/deploy"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/match"
)

// Keys of the store.
const (
	keyRoot       = "service/root"
	keyRoots      = "service/roots/"
	keyApp        = "service/apps/"
	keyGroup      = "service/groups/"
	keyInstance   = "service/instances/"
	keyDeployment = "service/deployments/"
	keyPlan       = "service/plans/"
	keyProgress   = "service/progress/"
	keyBackoff    = "service/backoff/"
	keyAttempts   = "service/attempts/"
)

// of returns the bookkeeping of an app, made if need be.
func (s *Service) of(id string) *application {
	a := s.apps[id]
	if a == nil {
		a = &application{id: id, uses: make(map[marathon.Version]*marathon.App), at: make(map[string]int), queued: make(map[string]bool)}
		s.apps[id] = a
	}
	return a
}

// definition that an instance runs.
func (a *application) definition(i *instance.Instance) *marathon.App {
	if d := a.uses[i.Version]; d != nil {
		return d
	}
	return a.def
}

// tally counts an instance once more, or with -1 once less. The definition of a version
// in use never changes, so that both count the same.
func (a *application) tally(i *instance.Instance, by int) {
	if i.Condition == instance.Scheduled {
		a.waits += by
	}
	def := a.definition(i)
	if def == nil {
		def = &marathon.App{ID: a.id}
	}
	for n := range a.tallies {
		if t := &a.tallies[n]; t.Version == i.Version {
			t.Add(i, def, by)
			if t.All == 0 {
				a.tallies = slices.Delete(a.tallies, n, n+1)
			}
			return
		}
	}
	t := deploy.Tally{Version: i.Version}
	t.Add(i, def, by)
	a.tallies = append(a.tallies, t)
}

// healthy is how many instances serve.
func (a *application) healthy() (n int) {
	for _, t := range a.tallies {
		n += t.Healthy
	}
	return n
}

// How a change of an instance is kept.
type keeping int

const (
	forget keeping = iota // never stored yet, or nothing that a restart needs
	saved                 // soon
	safe                  // before anything that follows
)

// set replaces an instance (the value must not change afterwards) and tells of it.
func (s *Service) set(i *instance.Instance, keep keeping) {
	a := s.of(i.App)
	old := s.instances[i.ID]
	if old == nil {
		a.at[i.ID] = len(a.list)
		a.list = append(a.list, i)
		if a.def != nil && len(a.list) > a.def.Instances {
			a.placed = nil // counted anew with what there is
		}
	} else {
		a.tally(old, -1)
		a.list[a.at[i.ID]] = i
	}
	a.tally(i, +1)
	if a.placed != nil {
		a.placed.Update(i)
	}
	s.instances[i.ID] = i
	if old != nil && (old.Active() != i.Active() || old.Goal != i.Goal) {
		s.moved(a)
	}
	if keep != forget && !ran(i) {
		s.bare[i.ID] = true
	}
	if i.Condition == instance.Scheduled && (old == nil || old.Condition != instance.Scheduled) {
		if !a.queued[i.ID] { // it may have left and come back
			a.queued[i.ID] = true
			a.scheduled = append(a.scheduled, i.ID)
		}
		s.wait(a)
		s.want()
	}
	switch keep {
	case saved:
		s.save(keyInstance+i.ID, i)
	case safe:
		s.persist(keyInstance+i.ID, i)
	}
	s.emit(ChangedInstance{i.ID, i})
	if old == nil && !s.recalling || old != nil && old.Condition != i.Condition {
		s.publishCondition(i)
	}
	s.touch(i.App)
}

// ran reports whether an instance has or had something on an agent, for which the store
// always has it.
func ran(i *instance.Instance) bool { return i.TaskID != "" || i.Reservation != nil }

// moved says that an app has one instance more or less on some agent: offers that its
// constraints refused may fit now.
func (s *Service) moved(a *application) {
	if a.waits > 0 && a.queue != nil && a.queue.Launch[match.UnfulfilledConstraint].Declined > 0 {
		s.want()
	}
}

// drop forgets an instance for good.
func (s *Service) drop(i *instance.Instance) {
	i = s.instances[i.ID] // as it was counted
	a := s.of(i.App)
	a.tally(i, -1)
	at := a.at[i.ID]
	last := len(a.list) - 1
	a.list[at] = a.list[last]
	a.at[a.list[at].ID] = at
	a.list[last] = nil
	a.list = a.list[:last]
	delete(a.at, i.ID)
	delete(s.instances, i.ID)
	delete(s.garbage, i.ID)
	if a.placed != nil {
		a.placed.Drop(i.ID)
	}
	for _, kind := range instanceTimers {
		s.timers.Stop(timer{kind, i.ID})
	}
	if ran(i) || s.bare[i.ID] {
		s.persist(keyInstance+i.ID, nil)
	}
	delete(s.bare, i.ID)
	if i.Active() {
		s.moved(a)
	}
	s.emit(ChangedInstance{i.ID, nil})
	s.emit(Unwatch{i.ID})
	s.touch(i.App)
}

// with makes a changed copy.
func with(i *instance.Instance, change func(*instance.Instance)) *instance.Instance {
	c := *i
	change(&c)
	return &c
}

// add makes n instances of a definition, which then wait for offers.
func (s *Service) add(def *marathon.App, n int, preview bool) {
	s.of(def.ID).use(def)
	for range n {
		s.set(&instance.Instance{
			ID: instance.NewID(def.ID, s.uuid()), App: def.ID, Version: def.Version, Goal: instance.GoalRunning,
			Condition: instance.Scheduled, Since: s.now.Wall, Role: def.Role, Preview: preview,
		}, forget)
	}
}

// use keeps a definition for as long as instances or a deployment need it.
func (a *application) use(def *marathon.App) {
	if a.uses[def.Version] == nil {
		a.uses[def.Version] = def
	}
}

func (s *Service) uuid() string {
	var b [16]byte
	for i := 0; i < 16; i += 8 {
		n := s.rng.Uint64()
		for j := range 8 {
			b[i+j] = byte(n >> (8 * j))
		}
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return fmt.Sprintf("%s-%s-%s-%s-%s", h[:8], h[8:12], h[12:16], h[16:20], h[20:])
}

// instanceOf finds the instance a task id or an instance id belongs to, nil if there is
// none.
func (s *Service) instanceOf(id string) *instance.Instance {
	if of, _, ok := instance.OfTask(id); ok { // as nearly always
		if i := s.instances[of]; i != nil {
			return i
		}
	}
	return s.instances[id]
}

// again makes an instance wait for another task.
func (s *Service) again(i *instance.Instance, def *marathon.App) {
	s.of(i.App).use(def)
	s.set(with(i, func(c *instance.Instance) {
		c.Version, c.Condition, c.Since, c.Goal = def.Version, instance.Scheduled, s.now.Wall, instance.GoalRunning
		c.Ports, c.IPAddresses, c.Health, c.CheckResult = nil, nil, nil, nil
		c.Ready, c.Readiness, c.TaskState = false, nil, ""
		c.StagedAt, c.StartedAt, c.DrainUntil, c.KillingSince = time.Time{}, time.Time{}, time.Time{}, time.Time{}
		c.Drain = nil
		if c.Reservation == nil {
			c.Agent = nil
		}
	}), saved)
	if r := i.Reservation; r != nil && !r.Done {
		s.after(s.cfg.ReservationTimeout, timerReservation, i.ID)
	}
}

// decommissioned ends an instance whose task is over: a reservation is given back first.
func (s *Service) decommissioned(i *instance.Instance) {
	if i.Reservation == nil {
		s.drop(i)
		return
	}
	s.set(with(i, func(c *instance.Instance) {
		c.Goal, c.Wipe = instance.GoalDecommissioned, true
		if c.Condition == instance.Scheduled {
			c.Condition, c.Since = instance.Killed, s.now.Wall
		}
	}), safe)
	s.garbage[i.ID] = true
	s.after(s.cfg.ReservationTimeout, timerReservation, i.ID)
}

// wait puts an app into the queue.
func (s *Service) wait(a *application) {
	if a.queue != nil {
		return
	}
	a.queue = &Queue{App: a.def, Since: s.now.Wall, Role: roleOf(a), Launch: make(map[match.Reason]Count)}
	if !a.listed {
		a.listed = true
		s.waiting = append(s.waiting, a)
	}
}

func roleOf(a *application) string {
	if a.def == nil {
		return ""
	}
	return a.def.Role
}

// mostSkipped bounds the instances that are passed over for one to launch.
const mostSkipped = 1024

// take removes the instance from the queue that has waited longest and is not to be
// skipped, nil if there is none.
func (s *Service) take(a *application, skip func(*instance.Instance) bool) *instance.Instance {
	for n := 0; n < min(len(a.scheduled), mostSkipped); {
		i := s.instances[a.scheduled[n]]
		waits := i != nil && i.Condition == instance.Scheduled && i.Goal == instance.GoalRunning
		if waits && skip(i) {
			n++
			continue
		}
		delete(a.queued, a.scheduled[n])
		if n == 0 {
			a.scheduled = a.scheduled[1:]
		} else {
			a.scheduled = slices.Delete(a.scheduled, n, n+1)
		}
		if waits {
			return i
		}
	}
	return nil
}

// putBack returns instances that found no place, before all others.
func (a *application) putBack(ids []string) {
	if len(ids) == 0 {
		return // all others are not to be copied for nothing
	}
	for _, id := range ids {
		a.queued[id] = true
	}
	a.scheduled = append(ids, a.scheduled...)
}

// unused forgets definitions that nobody needs any more, and versions beyond those kept.
func (s *Service) unused(a *application) {
	used := make(map[marathon.Version]bool)
	if a.def != nil {
		used[a.def.Version] = true
	}
	for n := range a.tallies { // of each version with instances
		used[a.tallies[n].Version] = true
	}
	if d := s.deployments[s.locks[a.id]]; d != nil {
		if c := d.Plan.Change(a.id); c != nil {
			for _, v := range []*marathon.App{c.Old, c.New} {
				if v != nil {
					used[v.Version] = true
				}
			}
		}
	}
	for v := range a.uses {
		if !used[v] {
			delete(a.uses, v)
		}
	}
	if over := len(a.stored) - s.cfg.MaxVersions; over > 0 {
		kept := a.stored[:0:0]
		for n, v := range a.stored { // oldest first
			if n < over && (!used[v] || planted.Bug("collection removes a live version")) {
				s.save(appKey(a.id, v), nil)
				continue
			}
			kept = append(kept, v)
		}
		a.stored = kept
		s.tellVersions(a)
	}
	if s.finished(a) {
		s.inter(a)
		s.publishTerminated(a.id)
	}
}

func (s *Service) tellVersions(a *application) {
	v := slices.Clone(a.stored)
	slices.Reverse(v)
	s.emit(ChangedVersions{a.id, v})
}

// finished reports whether nothing is left of a removed app.
func (s *Service) finished(a *application) bool {
	return a.def == nil && len(a.list) == 0 && s.locks[a.id] == ""
}

// key is an id as part of a key.
func key(id string) string { return strings.TrimPrefix(id, "/") }
