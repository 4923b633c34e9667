package app

import (
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
)

// after is the version of a write at now, made later than the last one where two writes
// fall into a millisecond or the clock went back.
func (t *Tree) after(now time.Time) marathon.Version {
	v := marathon.VersionOf(now)
	if v > t.version {
		return v
	}
	last, err := time.Parse("2006-01-02T15:04:05.000Z", string(t.version))
	if err != nil {
		return t.version + "1" // not one of ours; it still sorts later
	}
	return marathon.VersionOf(last.Add(time.Millisecond))
}

// revise gives the new definition its version and says what its change means. next is
// the write's own. ok is false if nothing changed (as Marathon 1.10, GroupVersioningUtil).
func (w *write) revise(v marathon.Version, old, next *marathon.App) (c AppChange, ok bool) {
	c = AppChange{Old: old, New: next}
	info := marathon.VersionInfo{LastScalingAt: v, LastConfigChangeAt: v}
	if old != nil {
		was := marathon.VersionInfo{LastScalingAt: old.Version, LastConfigChangeAt: old.Version}
		if old.VersionInfo != nil {
			was = *old.VersionInfo
		}
		switch {
		case !sameConfig(old, next):
			ifNeeded := w.ifNeeded || next.RestartPolicyOnChange == "if-needed"
			c.Restart = !ifNeeded || needsRestart(old, next)
		case w.restart:
			c.Restart = true
			info.LastScalingAt = was.LastScalingAt
		case old.Instances != next.Instances:
			info.LastConfigChangeAt = was.LastConfigChangeAt
		case w.anew[next.ID]:
			info = was
		default:
			return c, false
		}
	}
	next.Version = v
	next.VersionInfo = &info
	return c, true
}
