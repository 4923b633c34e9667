package deploy

import (
	"cmp"
	"container/heap"
	"slices"
	"strings"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/instance"
)

// kill asks for the end of instances; keep leaves those with a reservation stopped.
func (s *stepper) kill(app string, def *marathon.App, keep bool, list []*instance.Instance) {
	var gone, kept []string
	for _, i := range list {
		if keep && i.Reservation != nil {
			kept = append(kept, i.ID)
		} else {
			gone = append(gone, i.ID)
		}
	}
	if len(gone) > 0 {
		s.emit(Kill{App: app, Instances: gone})
	}
	if len(kept) > 0 {
		s.emit(Kill{App: app, Instances: kept, Keep: true})
	}
}

// swap shows the hidden instances that show names and hides the other ones.
func (s *stepper) swap(app string, show func(*instance.Instance) bool) {
	e := Swap{App: app}
	for _, i := range s.w.Instances(app) {
		switch {
		case i.Preview && show(i):
			e.Show = append(e.Show, i.ID)
		case !i.Preview && !show(i):
			e.Hide = append(e.Hide, i.ID)
		}
	}
	slices.Sort(e.Show)
	slices.Sort(e.Hide)
	s.emit(e)
}

// The order in which instances go (as Marathon 1.10, core/deployment/ScalingProposition
// .scala, with what serves nobody before all others and unhealthy ones before healthy
// ones, which it left undone).
const (
	rankHidden = iota
	rankIdle   // has no task
	rankUnreachable
	rankStaging
	rankStarting
	rankUnhealthy
	rankHealthy
)

func rank(i *instance.Instance, def *marathon.App) int {
	switch {
	case !i.Active():
		return rankIdle
	case i.Condition == instance.Unreachable:
		return rankUnreachable
	case i.Condition == instance.Provisioned || i.Condition == instance.Staging:
		return rankStaging
	case i.Condition == instance.Starting:
		return rankStarting
	case !i.Healthy(def):
		return rankUnhealthy
	}
	return rankHealthy
}

// victim is an instance with its place in the order.
type victim struct {
	i    *instance.Instance
	rank int
	age  time.Time // when it began
}

// useless reports whether it serves nobody and is not going to.
func (v *victim) useless() bool { return v.i.Preview || v.rank == rankIdle }

// victims in no order yet.
func (s *stepper) victims(def *marathon.App, list []*instance.Instance) []victim {
	out := make([]victim, len(list))
	var of *marathon.App
	for n, i := range list {
		if n == 0 || i.Version != list[n-1].Version {
			of = s.definition(i.App, i.Version, def)
		}
		v := victim{i: i, rank: rank(i, of), age: i.Since}
		switch {
		case !i.StartedAt.IsZero():
			v.age = i.StartedAt
		case !i.StagedAt.IsZero():
			v.age = i.StagedAt
		}
		out[n] = v
	}
	return out
}

// before compares by rank, then as the app's killSelection says. Previews go before all
// others, but not where the set itself is cut to its size.
func before(def *marathon.App, own bool) func(a, b victim) int {
	oldest := def != nil && def.KillSelection == marathon.OldestFirst
	return func(a, b victim) int {
		if a.i.Preview != b.i.Preview && !own {
			if a.i.Preview {
				return -1
			}
			return 1
		}
		if c := cmp.Compare(a.rank, b.rank); c != 0 {
			return c
		}
		c := b.age.Compare(a.age)
		if oldest {
			c = -c
		}
		if c != 0 {
			return c
		}
		return compareIDs(a.i, b.i)
	}
}

func compareIDs(a, b *instance.Instance) int { return strings.Compare(a.ID, b.ID) }

// first picks the n that go first, in that order.
func (s *stepper) first(def *marathon.App, list []*instance.Instance, n int, order func(a, b victim) int) []*instance.Instance {
	if n <= 0 {
		return nil
	}
	all := s.victims(def, list)
	if n < len(all) {
		// The last of the best n is on top, so that one walk is enough for few of many.
		h := &worst{order: order, v: all[:n:n]}
		heap.Init(h)
		for _, v := range all[n:] {
			if order(v, h.v[0]) < 0 {
				h.v[0] = v
				heap.Fix(h, 0)
			}
		}
		all = h.v
	}
	slices.SortFunc(all, order)
	out := make([]*instance.Instance, len(all))
	for k, v := range all {
		out[k] = v.i
	}
	return out
}

type worst struct {
	order func(a, b victim) int
	v     []victim
}

func (w *worst) Len() int           { return len(w.v) }
func (w *worst) Less(a, b int) bool { return w.order(w.v[a], w.v[b]) > 0 }
func (w *worst) Swap(a, b int)      { w.v[a], w.v[b] = w.v[b], w.v[a] }
func (w *worst) Push(any)           {}
func (w *worst) Pop() any           { return nil }

// evenly picks n like first, but with GROUP_BY constraints the instance goes whose groups
// are the largest, so that they stay even (as Marathon 1.10,
// mesos/Constraints.selectInstancesToKill). What serves nobody goes first all the same.
func (s *stepper) evenly(def *marathon.App, list []*instance.Instance, n int) []*instance.Instance {
	order := before(def, false)
	var fields []string
	for _, c := range def.Constraints {
		if len(c) > 1 && strings.EqualFold(c[1], "GROUP_BY") {
			fields = append(fields, c[0])
		}
	}
	if len(fields) == 0 || n >= len(list) {
		return s.first(def, list, n, order)
	}
	all := s.victims(def, list)
	slices.SortFunc(all, order)
	size := make([]map[string]int, len(fields)) // instances by value
	for f := range fields {
		size[f] = make(map[string]int)
	}
	at := make(map[string]int)
	var groups []*group // with the same value in every field, in order of their first one
	var out []*instance.Instance
	for _, v := range all {
		if v.useless() && len(out) < n {
			out = append(out, v.i)
			continue
		}
		values := make([]string, len(fields))
		for f, field := range fields {
			values[f], _ = v.i.Agent.Value(field)
			size[f][values[f]]++
		}
		key := strings.Join(values, "\x00")
		k, ok := at[key]
		if !ok {
			k = len(groups)
			at[key] = k
			groups = append(groups, &group{values: values})
		}
		groups[k].members = append(groups[k].members, v)
	}
	for len(out) < n {
		var best *group
		for _, g := range groups {
			if len(g.members) > 0 && (best == nil || g.compare(best, size, order) < 0) {
				best = g
			}
		}
		for f := range fields {
			size[f][best.values[f]]--
		}
		out = append(out, best.members[0].i)
		best.members = best.members[1:]
	}
	return out
}

// group of instances, those that go first at the front.
type group struct {
	values  []string
	members []victim
}

// compare says which group gives up an instance first: the one that is larger by the
// first field, then the next.
func (g *group) compare(o *group, size []map[string]int, order func(a, b victim) int) int {
	for f := range size {
		if c := cmp.Compare(size[f][o.values[f]], size[f][g.values[f]]); c != 0 {
			return c
		}
	}
	return order(g.members[0], o.members[0])
}
