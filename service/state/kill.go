package state

import (
	"cmp"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/stoa-kernel/stoa/api/marathon"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/match"
)

// kill ends an instance by way of draining; goal is what it is for afterwards.
func (s *Service) kill(i *instance.Instance, goal instance.Goal, wipe bool) {
	c := with(i, func(c *instance.Instance) { c.Goal, c.Wipe = goal, c.Wipe || wipe })
	switch {
	case i.Condition == instance.Scheduled || i.Condition.Terminal():
		switch goal {
		case instance.GoalDecommissioned:
			s.decommissioned(c)
		case instance.GoalStopped:
			if c.Condition == instance.Scheduled {
				c.Condition, c.Since = instance.Killed, s.now.Wall
			}
			s.set(c, safe)
		}
	case (i.Condition == instance.Unreachable || i.Condition == instance.UnreachableInactive) && i.Reservation == nil:
		s.drop(i) // should its task come back, it is killed
	case !i.KillingSince.IsZero() || !i.DrainUntil.IsZero():
		if c.Goal != i.Goal || c.Wipe != i.Wipe {
			s.set(c, safe)
		}
	default:
		s.drain(c)
	}
}

// PreStopTimeout is how long App.PreStop may take if it does not say.
const PreStopTimeout = 10 * time.Second

// drain shows an instance as TASK_KILLING, so that load balancers let go of it, does
// what its definition wants done before, and then kills it. A command is run by the agent,
// which is told to wait, too.
func (s *Service) drain(i *instance.Instance) {
	a := s.of(i.App)
	def := a.definition(i)
	var pause time.Duration
	if def != nil && i.Condition == instance.Running {
		pause = a.pause(def)
		if s.runsPreStop(def) {
			i = with(i, func(c *instance.Instance) { c.Drain = &pause })
			s.publishStatus(i, "TASK_KILLING", "preStop is run before it is killed")
			s.sendKill(i)
			return
		}
		if def.PreStop != nil {
			timeout := duration(def.PreStop.TimeoutSeconds)
			if timeout == 0 {
				timeout = PreStopTimeout
			}
			pause += timeout
		}
	}
	if pause == 0 {
		s.sendKill(i)
		return
	}
	i = with(i, func(c *instance.Instance) { c.DrainUntil = s.now.Wall.Add(pause) })
	s.set(i, safe)
	what := "draining before it is killed"
	if def.PreStop != nil && def.PreStop.Command != "" {
		// Nobody can write that, but it was stored before the service got its --executor.
		what += "; preStop.command is not run, as the app's executor is none of Stoa's"
	}
	s.publishStatus(i, "TASK_KILLING", what)
	s.after(pause, timerDrain, i.ID)
	if def.PreStop != nil {
		s.emit(PreStop{Instance: i, App: def})
	}
}

// runsPreStop reports whether agents run an app's preStop. What a custom executor does
// before a task's end is its own affair.
func (s *Service) runsPreStop(def *marathon.App) bool {
	return def != nil && def.PreStop != nil && def.PreStop.Command != "" && !match.CustomExecutor(def, &s.cfg.Task)
}

// killPolicy of the KILL of an instance, nil for the task's own.
func (s *Service) killPolicy(i *instance.Instance) *mesos.KillPolicy {
	def := s.of(i.App).definition(i)
	if i.Drain == nil || !s.runsPreStop(def) {
		return nil
	}
	lasting := func(d time.Duration) *mesos.DurationInfo {
		return &mesos.DurationInfo{Nanoseconds: proto.Int64(int64(d))}
	}
	p := match.KillPolicy(def)
	if p == nil {
		p = &mesos.KillPolicy{}
	}
	p.PreStop, p.DrainPeriod = &mesos.CommandInfo{Value: &def.PreStop.Command}, lasting(*i.Drain)
	if t := duration(def.PreStop.TimeoutSeconds); t > 0 {
		p.PreStopTimeout = lasting(t)
	}
	return p
}

// pause is how long an instance drains: as the app says now, like all else of the upgrade
// strategy, so that draining can come with the upgrade that needs it; as its own
// definition says if the app is removed.
func (a *application) pause(own *marathon.App) time.Duration {
	if a.def != nil {
		own = a.def
	}
	return duration(own.UpgradeStrategy.DrainSeconds)
}

// stopped goes on when preStop is done: what is left is the wait.
func (s *Service) stopped(in Stopped) {
	i := s.instances[in.Instance]
	if i == nil || i.TaskID != in.Task || i.DrainUntil.IsZero() || !i.KillingSince.IsZero() {
		return
	}
	a := s.of(i.App)
	def := a.definition(i)
	if def == nil {
		return
	}
	pause := a.pause(def)
	i = with(i, func(c *instance.Instance) { c.DrainUntil = s.now.Wall.Add(pause) })
	s.set(i, saved)
	s.after(pause, timerDrain, i.ID)
}

func (s *Service) drained(id string) {
	if i := s.instances[id]; i != nil && !i.DrainUntil.IsZero() && i.KillingSince.IsZero() && i.Active() {
		s.sendKill(i)
	}
}

// sendKill sends the first KILL; it is repeated until the task has ended.
func (s *Service) sendKill(i *instance.Instance) {
	i = with(i, func(c *instance.Instance) { c.KillingSince = s.now.Wall })
	s.set(i, safe)
	s.sendKillOf(i)
}

func (s *Service) sendKillOf(i *instance.Instance) {
	agent := ""
	if i.Agent != nil {
		agent = i.Agent.ID
	}
	if s.connected {
		s.emit(killCall(i.TaskID, agent, s.killPolicy(i)))
	}
	s.after(s.cfg.KillRetry, timerKill, i.ID)
}

func (s *Service) killAgain(id string) {
	if i := s.instances[id]; i != nil && !i.KillingSince.IsZero() && i.Active() {
		s.sendKillOf(i)
	}
}

// duration of so many seconds.
func duration(seconds float64) time.Duration {
	if seconds >= math.MaxInt64/float64(time.Second) {
		return math.MaxInt64
	}
	return time.Duration(seconds * float64(time.Second))
}

// surplus picks n instances to kill: those that are furthest from serving first, then by
// the app's killSelection (as Marathon 1.10, core/task/KillSelection).
func surplus(def *marathon.App, list []*instance.Instance, n int) []*instance.Instance {
	sorted := slices.Clone(list)
	slices.SortFunc(sorted, func(a, b *instance.Instance) int {
		if c := cmp.Compare(killRank(a), killRank(b)); c != 0 {
			return c
		}
		c := a.StagedAt.Compare(b.StagedAt)
		if def == nil || def.KillSelection != marathon.OldestFirst {
			c = -c
		}
		if c != 0 {
			return c
		}
		return cmp.Compare(a.ID, b.ID)
	})
	return sorted[:min(n, len(sorted))]
}

func killRank(i *instance.Instance) int {
	switch i.Condition {
	case instance.Scheduled:
		return 0
	case instance.Unreachable, instance.UnreachableInactive:
		return 1
	case instance.Provisioned, instance.Staging:
		return 2
	case instance.Starting:
		return 3
	}
	return 4
}
