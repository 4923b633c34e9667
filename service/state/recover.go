package state

import (
	"cmp"
	"maps"
	"slices"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/internal/planted"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/deploy"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/match"
)

// recovered takes what the store kept. Nothing is launched or killed before the kernel
// has been asked about every task.
func (s *Service) recovered(in Recovered) {
	slices.SortFunc(in.Apps, func(a, b StoredApp) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Version, b.Version))
	})
	var current []*marathon.App
	for n := 0; n < len(in.Apps); {
		end := n
		for end < len(in.Apps) && in.Apps[end].ID == in.Apps[n].ID {
			end++
		}
		if def := s.recoverApp(in.Apps[n:end], in.Version); def != nil {
			current = append(current, def)
		}
		n = end
	}
	s.tree.Load(in.Version, current, newest(in.Groups, in.Version))
	for _, def := range current {
		s.roles[def.Role]++
		s.follows(def.ID, def)
		s.emit(ChangedApp{def.ID, def})
	}
	for _, g := range newest(in.Groups, in.Version) {
		s.emit(ChangedGroup{g.ID, g})
	}
	slices.Sort(in.Roots)
	for _, v := range in.Roots {
		if v <= in.Version {
			s.roots = append(s.roots, v)
		} else {
			s.save(keyRoots+string(v), nil)
		}
	}
	slices.SortFunc(in.Groups, func(a, b StoredGroup) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Version, b.Version))
	})
	for _, g := range in.Groups {
		if g.Version > in.Version { // of a write that never was, as of apps
			s.save(groupKey(g.ID, g.Version), nil)
			continue
		}
		s.groupIs(g.ID, g.Version, g.Group != nil)
	}
	s.emit(ChangedRoot{in.Version})
	s.recoverRest(in)
	for _, id := range slices.Sorted(maps.Keys(s.apps)) {
		a := s.apps[id]
		if s.finished(a) { // it was so before, and told
			s.inter(a)
			continue
		}
		s.tellVersions(a)
		if a.attempts != nil {
			s.emit(ChangedAttempts{id, a.attempts})
		}
		s.touch(id)
	}
	s.sweep() // what a crash left, or another MaxVersions
}

// recoverApp takes the stored versions of one app, oldest first, and returns its
// definition at the tree's version. Later ones are of a write that never was.
func (s *Service) recoverApp(versions []StoredApp, root marathon.Version) *marathon.App {
	a := s.of(versions[0].ID)
	var def *marathon.App
	for _, v := range versions {
		if v.Version > root {
			s.save(appKey(v.ID, v.Version), nil)
			continue
		}
		if def = v.App; v.Deleted {
			a.removed = v.Version
			continue
		}
		s.exhume(a, v.Version)
		a.stored = append(a.stored, v.Version)
		if def != nil {
			a.uses[v.Version] = def
		}
	}
	a.def = def
	return def
}

// newest are the groups as of the tree's version.
func newest(groups []StoredGroup, root marathon.Version) []*app.Group {
	byID := make(map[string]StoredGroup)
	for _, g := range groups {
		if g.Version <= root && byID[g.ID].Version < g.Version {
			byID[g.ID] = g
		}
	}
	var all []*app.Group
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		if g := byID[id].Group; g != nil {
			all = append(all, g)
		}
	}
	return all
}

func (s *Service) recoverRest(in Recovered) {
	for _, b := range in.Backoffs {
		if a := s.apps[b.App]; a != nil {
			a.backoff = &b
			s.at(b.Until, timerBackoff, b.App)
		}
	}
	for n := range in.Attempts {
		if a := s.apps[in.Attempts[n].App]; a != nil {
			a.attempts = &in.Attempts[n]
		}
	}
	deployments := s.assemble(in)
	slices.SortFunc(deployments, func(a, b *deploy.Deployment) int {
		return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.Plan.ID, b.Plan.ID))
	})
	for _, d := range deployments {
		if d.Plan.Version > in.Version || planted.Bug("deployment forgotten on restart") {
			s.loseDeployment(d)
			continue
		}
		s.deployments[d.Plan.ID] = d
		s.order = append(s.order, d.Plan.ID)
		for _, id := range d.Plan.Locks() {
			if old := s.locks[id]; old != "" { // this one overrode it
				s.endDeployment(old, "failed", "it was overridden by deployment "+d.Plan.ID)
			}
			s.locks[id] = d.Plan.ID
			s.of(id)
		}
		for _, c := range d.Plan.Changes {
			for _, def := range []*marathon.App{c.Old, c.New} {
				if def != nil {
					s.of(def.ID).uses[def.Version] = def
				}
			}
		}
		s.emit(ChangedDeployment{d.Plan.ID, d})
		if len(d.Plan.Locks()) == 0 {
			s.after(0, timerDeployment, d.Plan.ID)
		}
	}
	slices.SortFunc(in.Instances, func(a, b *instance.Instance) int { return cmp.Compare(a.ID, b.ID) })
	for _, i := range in.Instances {
		s.recoverInstance(i)
	}
}

func (s *Service) recoverInstance(i *instance.Instance) {
	if a := s.of(i.App); a.uses[i.Version] == nil && a.def != nil {
		a.uses[i.Version] = a.def // its own is no longer kept
	}
	s.recalling = true // what it is was told by an earlier term
	s.set(i, forget)
	s.recalling = false
	if !ran(i) {
		s.bare[i.ID] = true
	}
	if i.Agent != nil && i.Active() && s.agents[i.Agent.ID] == nil {
		s.agents[i.Agent.ID] = i.Agent // per-agent apps keep their place until agents are told
	}
	switch {
	case i.Goal == instance.GoalDecommissioned && i.Condition.Terminal():
		s.decommissioned(i) // gives its reservation back, or has nothing left to do
	case i.Condition == instance.Unreachable || i.Condition == instance.UnreachableInactive:
		s.awaitReturn(i)
	case !i.KillingSince.IsZero() && i.Active():
		s.after(s.cfg.KillRetry, timerKill, i.ID)
	case !i.DrainUntil.IsZero() && i.Active():
		s.at(i.DrainUntil, timerDrain, i.ID)
	case i.Condition == instance.Provisioned:
		s.at(i.StagedAt.Add(s.cfg.LaunchConfirm), timerOverdue, i.ID)
	case i.Condition == instance.Staging || i.Condition == instance.Starting:
		s.at(i.StagedAt.Add(s.cfg.LaunchTimeout), timerOverdue, i.ID)
	case i.Condition == instance.Running:
		s.watch(i)
	case i.Condition == instance.Scheduled && i.Reservation != nil && !i.Reservation.Done:
		s.after(s.cfg.ReservationTimeout, timerReservation, i.ID)
	case i.Condition.Terminal() && !stays(s.of(i.App).definition(i), i.Condition):
		s.follow(s.of(i.App), i, true) // it died between the end and what follows it
	}
}

func (s *Service) subscribed(in Subscribed) {
	kind := "scheduler_reregistered_event"
	if s.framework == "" {
		kind = "scheduler_registered_event"
	}
	s.framework, s.connected = in.FrameworkID, true
	s.offered = offering{fresh: true, last: s.offered.last, reviving: true}
	s.told = nil
	s.publishScheduler(kind)
	s.reconcile()
}

func (s *Service) disconnected() {
	s.connected = false
	s.publishScheduler("scheduler_disconnected_event")
}

func (s *Service) publishScheduler(kind string) {
	e := marathon.Scheduler{EventBase: s.base(kind)}
	if kind != "scheduler_disconnected_event" {
		e.FrameworkID = s.framework
	}
	s.publish(e)
}

// subscribeRoles tells the master the roles of the apps there are, if they have changed.
func (s *Service) subscribeRoles() {
	all := map[string]bool{s.cfg.App.Role: true}
	for role, n := range s.roles { // a set: its order does not show
		if n > 0 {
			all[role] = true
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.garbage)) {
		if i := s.instances[id]; i != nil && i.Role != "" {
			all[i.Role] = true
		}
	}
	roles := slices.Sorted(maps.Keys(all))
	if !slices.Equal(roles, s.told) {
		s.told = roles
		s.emit(UpdateFramework{roles})
	}
}

// follows keeps the apps that follow the agents, and asks to be told of agents while
// there is one: offers alone do not show an agent that has joined while none are wanted.
func (s *Service) follows(id string, def *marathon.App) {
	before := len(s.followers)
	if def != nil && def.PerAgent() {
		s.followers[id] = true
	} else {
		delete(s.followers, id)
	}
	if after := len(s.followers); (before == 0) != (after == 0) {
		s.emit(FollowAgents{after > 0})
	}
}

// allAgents takes the agents that there are.
func (s *Service) allAgents(all []*instance.Agent) {
	was := s.agents
	s.agents = make(map[string]*instance.Agent, len(all))
	changed := len(was) != len(all)
	for _, a := range all {
		if old := was[a.ID]; old != nil {
			a = old // instances share it
		} else {
			changed = true
		}
		s.agents[a.ID] = a
	}
	if changed {
		s.touchPerAgent()
	}
}

func (s *Service) agentIDs() []string      { return slices.Sorted(maps.Keys(s.agents)) }
func (s *Service) sortedGarbage() []string { return slices.Sorted(maps.Keys(s.garbage)) }

// matchesAgent reports whether a per-agent app has a place on an agent, as far as its
// constraints say.
func matchesAgent(def *marathon.App, host *instance.Agent) bool {
	return match.Allows(def, host)
}
