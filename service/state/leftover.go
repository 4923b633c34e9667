package state

import (
	"cmp"
	"slices"

	"github.com/stoa-kernel/stoa/api/marathon"
)

// The store has old versions of the tree, MaxVersions of them (as Marathon 1.10,
// --zk_max_versions): the version of each app and group that the tree had then. A record
// that only still older versions of the tree have is collected. Its deletion is written
// behind the tree's new version, and so that what a crash leaves is collected by the next
// one: what is older goes first, a removal last, for without it what was removed would be
// back.

// leftover is what nobody needs once all kept versions of the tree are until or later.
type leftover struct {
	until marathon.Version
	key   string // of a record, "" for all records of a removed app
	app   string
}

// grave is what the store still has of a removed app.
type grave struct {
	removed  marathon.Version
	versions []marathon.Version
}

func (s *Service) leave(l leftover) {
	at, _ := slices.BinarySearchFunc(s.leftovers, l, func(a, b leftover) int {
		return cmp.Or(cmp.Compare(a.until, b.until), -1) // behind those that are equal
	})
	s.leftovers = slices.Insert(s.leftovers, at, l)
}

// sweep deletes what is no longer needed.
func (s *Service) sweep() {
	for len(s.roots) > s.cfg.MaxVersions {
		s.save(keyRoots+string(s.roots[0]), nil)
		s.roots = s.roots[1:]
	}
	for len(s.leftovers) > 0 && len(s.roots) > 0 && s.leftovers[0].until <= s.roots[0] {
		l := s.leftovers[0]
		s.leftovers = s.leftovers[1:]
		if l.key != "" {
			s.save(l.key, nil)
			continue
		}
		g, ok := s.graves[l.app]
		if !ok || g.removed != l.until {
			continue // it came back
		}
		delete(s.graves, l.app)
		for _, v := range g.versions {
			s.save(appKey(l.app, v), nil)
		}
		s.save(appKey(l.app, g.removed), nil)
	}
}

// inter drops what is known of a removed app but its stored versions.
func (s *Service) inter(a *application) {
	delete(s.apps, a.id)
	if a.removed != "" {
		s.graves[a.id] = grave{a.removed, a.stored}
		s.leave(leftover{until: a.removed, app: a.id})
		s.sweep()
	}
	if a.backoff != nil {
		s.save(keyBackoff+key(a.id), nil)
	}
	if a.attempts != nil {
		s.save(keyAttempts+key(a.id), nil)
		s.emit(ChangedAttempts{a.id, nil})
	}
	s.timers.Stop(timer{timerBackoff, a.id})
	s.emit(ChangedVersions{a.id, nil})
}

// exhume gives an app that comes back at a version what the store still has of it; that it
// was removed matters only to the tree's versions before.
func (s *Service) exhume(a *application, v marathon.Version) {
	if g, ok := s.graves[a.id]; ok {
		delete(s.graves, a.id)
		a.removed = g.removed
		a.stored = append(slices.Clip(g.versions), a.stored...)
		s.tellVersions(a)
	}
	if a.removed != "" {
		s.leave(leftover{until: v, key: appKey(a.id, a.removed)})
		a.removed = ""
	}
}

// groupIs notes that the store has a version of a group, or of its removal.
func (s *Service) groupIs(id string, v marathon.Version, there bool) {
	if old, ok := s.groups[id]; ok {
		s.leave(leftover{until: v, key: groupKey(id, old)})
	}
	if there {
		s.groups[id] = v
		return
	}
	delete(s.groups, id)
	s.leave(leftover{until: v, key: groupKey(id, v)})
}

func appKey(id string, v marathon.Version) string   { return keyApp + key(id) + "/" + string(v) }
func groupKey(id string, v marathon.Version) string { return keyGroup + key(id) + "/" + string(v) }
