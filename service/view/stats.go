package view

import (
	"slices"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/instance"
)

// Stats sums up an app's tasks by how new they are (as Marathon 1.10,
// core/appinfo/TaskStatsByVersion).
func (a *App) Stats(now time.Time) *marathon.TaskStats {
	all := func(*instance.Instance) bool { return true }
	s := &marathon.TaskStats{TotalSummary: a.statsOf(now, all)}
	if info := a.Def.VersionInfo; info != nil {
		s.StartedAfterLastScaling = a.statsOf(now, func(i *instance.Instance) bool { return i.Version >= info.LastScalingAt })
		s.WithLatestConfig = a.statsOf(now, func(i *instance.Instance) bool { return i.Version >= info.LastConfigChangeAt })
		s.WithOutdatedConfig = a.statsOf(now, func(i *instance.Instance) bool { return i.Version < info.LastConfigChangeAt })
	}
	return s
}

// statsOf the tasks that count, nil if none does.
func (a *App) statsOf(now time.Time, counts func(*instance.Instance) bool) *marathon.StatsOf {
	var c marathon.TaskCounts
	var lives []float64
	n, sum := 0, 0.0
	for i := range a.Tasks() {
		if !counts(i) {
			continue
		}
		n++
		tally(&c, i, 1)
		if !i.StartedAt.IsZero() {
			life := float64(now.Sub(i.StartedAt).Milliseconds()) / 1000
			lives = append(lives, life)
			sum += life
		}
	}
	if n == 0 {
		return nil
	}
	s := &marathon.StatsOf{Stats: marathon.Stats{Counts: marathon.StatsCounts{
		Staged: c.TasksStaged, Running: c.TasksRunning, Healthy: c.TasksHealthy, Unhealthy: c.TasksUnhealthy,
	}}}
	if len(lives) > 0 {
		slices.Sort(lives)
		s.Stats.LifeTime = &marathon.LifeTime{AverageSeconds: sum / float64(len(lives)), MedianSeconds: lives[len(lives)/2]}
	}
	return s
}
