package allocator

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/master/allocator/constraint"
)

// twin is the allocator as one would write it first: it keeps no sums and no notes,
// and at each visit of an agent looks at every client, computing all anew.
type twin struct {
	minimum    []resource.Quantities
	agents     map[id.Agent]*twinAgent
	frameworks map[id.Framework]*twinFramework
	filters    []twinFilter
	guarantee  map[string]resource.Quantities
	limit      map[string]resource.Quantities
	weight     map[string]float64
	chosen     map[string]uint64 // by role, by role with "/.", and by framework and role
}

type twinAgent struct {
	Agent
	active bool
	allocs map[twinClient]resource.Resources
	shared resource.Resources // offered in this cycle
}

type twinClient struct {
	fw   id.Framework
	role string
}

type twinFramework struct {
	Framework
	active     bool
	suppressed map[string]bool
}

type twinFilter struct {
	client  twinClient
	agent   id.Agent
	refused resource.Resources
	until   time.Duration
}

func newTwin(minimum []resource.Quantities) *twin {
	return &twin{
		minimum: minimum, agents: map[id.Agent]*twinAgent{}, frameworks: map[id.Framework]*twinFramework{},
		guarantee: map[string]resource.Quantities{}, limit: map[string]resource.Quantities{},
		weight: map[string]float64{}, chosen: map[string]uint64{},
	}
}

func (t *twin) charge(ag *twinAgent, c twinClient, r resource.Resources, choose bool) {
	if r.Empty() {
		return
	}
	ag.allocs[c] = ag.allocs[c].Add(r)
	if choose {
		t.choose(c)
	}
}

func (t *twin) choose(c twinClient) {
	t.chosen[string(c.fw)+" "+c.role]++
	t.chosen[c.role+"/."]++
	for _, r := range upwards(c.role) {
		t.chosen[r]++
	}
}

// tidy forgets what nothing refers to, as the allocator does: counts start at zero with
// a new client or role.
func (t *twin) tidy() {
	live := map[string]bool{}
	up := func(role string) {
		for _, r := range upwards(role) {
			live[r], live[r+"/."] = true, true
		}
	}
	use := func(c twinClient) { live[string(c.fw)+" "+c.role] = true; up(c.role) }
	for f, fw := range t.frameworks {
		for _, r := range fw.Roles {
			use(twinClient{f, r})
		}
	}
	for _, ag := range t.agents {
		for c, r := range ag.allocs {
			if r.Empty() {
				delete(ag.allocs, c)
			} else {
				use(c)
			}
		}
		for it := range ag.Total.All() {
			if it.Reserved() {
				up(it.Role())
			}
		}
	}
	for _, m := range []map[string]resource.Quantities{t.guarantee, t.limit} {
		for r, q := range m {
			if len(q) > 0 {
				up(r)
			}
		}
	}
	for r := range t.weight {
		up(r)
	}
	maps.DeleteFunc(t.chosen, func(k string, _ uint64) bool { return !live[k] })
}

func upwards(role string) []string {
	out := []string{role}
	for i := strings.LastIndexByte(role, '/'); i > 0; i = strings.LastIndexByte(role, '/') {
		role = role[:i]
		out = append(out, role)
	}
	return out
}

func below(role, top string) bool { return role == top || strings.HasPrefix(role, top+"/") }

func (ag *twinAgent) free() resource.Resources {
	free := ag.Total
	for _, r := range ag.allocs {
		free = free.Sub(r.NonShared().Unallocate())
	}
	return free
}

// plain is what quota is about: unreserved, non-revocable scalars.
func plain(r resource.Resources) resource.Quantities {
	return r.Unreserved().NonRevocable().NonShared().Quantities()
}

func (t *twin) share(member func(twinClient) bool) float64 {
	var total resource.Quantities
	used := map[string]float64{}
	for _, ag := range t.agents {
		total = total.Add(ag.Total.Quantities())
		volumes := map[string]bool{}
		for _, c := range slices.SortedFunc(maps.Keys(ag.allocs), compareTwin) {
			if !member(c) {
				continue
			}
			for it := range ag.allocs[c].All() {
				if it.Kind() != resource.Scalar {
					continue
				}
				if it.Shared() {
					key := it.Role() + " " + it.VolumeID()
					if volumes[key] {
						continue
					}
					volumes[key] = true
				}
				used[it.Name()] += float64(it.Scalar())
			}
		}
	}
	share := 0.0
	for _, q := range total {
		if q.Value > 0 {
			share = max(share, used[q.Name]/float64(q.Value))
		}
	}
	return share
}

func compareTwin(x, y twinClient) int {
	return cmp.Or(cmp.Compare(x.fw, y.fw), cmp.Compare(x.role, y.role))
}

// order is all active clients in DRF order.
func (t *twin) order() []twinClient {
	type key struct {
		share float64
		count uint64
		name  string
	}
	shares := map[string]float64{}
	memo := func(k string, member func(twinClient) bool) float64 {
		if _, ok := shares[k]; !ok {
			shares[k] = t.share(member)
		}
		return shares[k]
	}
	path := func(c twinClient) []key {
		var keys []key
		roles := upwards(c.role)
		slices.Reverse(roles)
		for _, r := range roles {
			w := 1.0
			if x, ok := t.weight[r]; ok {
				w = x
			}
			s := memo(r, func(o twinClient) bool { return below(o.role, r) }) / w
			keys = append(keys, key{s, t.chosen[r], r})
		}
		own := c.role + "/."
		keys = append(keys, key{memo(own, func(o twinClient) bool { return o.role == c.role }), t.chosen[own], own})
		self := string(c.fw) + " " + c.role
		return append(keys, key{memo(self, func(o twinClient) bool { return o == c }), t.chosen[self], string(c.fw)})
	}
	var all []twinClient
	paths := map[twinClient][]key{}
	for f, fw := range t.frameworks {
		for _, r := range fw.Roles {
			if fw.active && !fw.suppressed[r] {
				c := twinClient{f, r}
				all = append(all, c)
				paths[c] = path(c)
			}
		}
	}
	slices.SortFunc(all, func(x, y twinClient) int {
		return slices.CompareFunc(paths[x], paths[y], func(p, q key) int {
			return cmp.Or(cmp.Compare(p.share, q.share), cmp.Compare(p.count, q.count), cmp.Compare(p.name, q.name))
		})
	})
	return all
}

// consumed is what counts against the quota of a role.
func (t *twin) consumed(role string) resource.Quantities {
	var sum resource.Quantities
	for _, ag := range t.agents {
		sum = sum.Add(ag.Total.Filter(func(it *resource.Resource) bool {
			return it.Reserved() && below(it.Role(), role)
		}).Quantities())
		for c, r := range ag.allocs {
			if below(c.role, role) {
				sum = sum.Add(plain(r))
			}
		}
	}
	return sum
}

// required is what must be held back of a name for the roles right below role ("" for
// all), if what consumes is consumed without bound.
func (t *twin) required(role, name, consumes string) int64 {
	children := map[string]bool{}
	for r := range t.guarantee {
		for _, u := range upwards(r) {
			if i := strings.LastIndexByte(u, '/'); role == "" && i < 0 || role != "" && i == len(role) && below(u, role) {
				children[u] = true
			}
		}
	}
	var sum int64
	for child := range children {
		need := t.required(child, name, consumes)
		if g, ok := t.guarantee[child].Get(name); ok && (consumes == "" || !below(consumes, child)) {
			have, _ := t.consumed(child).Get(name)
			need = max(need, int64(g-have))
		}
		sum += need
	}
	return sum
}

func (t *twin) available(name string) int64 {
	var sum int64
	for _, ag := range t.agents {
		if ag.active {
			q, _ := plain(ag.free()).Get(name)
			sum += int64(q)
		}
	}
	return sum
}

func (t *twin) entitled(role, name string) int64 {
	return t.required("", name, "") - t.required("", name, role)
}

func (t *twin) allowed(role, name string) int64 {
	most := int64(unlimited)
	if need := t.required("", name, ""); need > 0 {
		most = max(0, t.available(name)-need) + t.entitled(role, name)
	}
	for _, r := range upwards(role) {
		if l, ok := t.limit[r].Get(name); ok {
			have, _ := t.consumed(r).Get(name)
			most = min(most, max(0, int64(l-have)))
		}
	}
	return most
}

// visit is what the allocator must grant on an agent.
func (t *twin) visit(agent id.Agent, entitled bool, report func(twinClient, resource.Resources)) {
	ag := t.agents[agent]
	for _, c := range t.order() {
		if ag.free().NonShared().Empty() {
			return
		}
		fw := t.frameworks[c.fw]
		set, err := constraint.Compile(fw.Constraints, fw.Roles)
		if r := set.Role(c.role); err != nil || r != nil && !r.Admits(ag.Hostname, ag.Domain, ag.Attributes) {
			continue
		}
		if ag.Total.Sum("gpus") > 0 && !fw.GPU {
			continue
		}
		if entitled && !slices.ContainsFunc(plain(ag.free()), func(q resource.Quantity) bool { return t.entitled(c.role, q.Name) > 0 }) {
			continue
		}
		bag := ag.free().AllocatableTo(c.role).Sub(ag.shared).Filter(func(it *resource.Resource) bool {
			return (fw.Revocable || !it.Revocable()) && (fw.Shared || !it.Shared()) && (fw.Refinement || len(it.Reservations()) < 2)
		})
		var limits resource.Quantities
		for _, q := range plain(ag.free()) {
			limits = limits.Set(q.Name, min(q.Value, resource.Milli(t.allowed(c.role, q.Name))))
		}
		bag = bag.Shrink(limits)
		if bag.NonShared().Empty() {
			continue
		}
		least := t.minimum
		if own, ok := fw.OfferFilters[c.role]; ok {
			least = own
		}
		if len(least) > 0 && !slices.ContainsFunc(least, bag.Covers) {
			continue
		}
		if slices.ContainsFunc(t.filters, func(f twinFilter) bool {
			return f.client == c && f.agent == agent && f.refused.Contains(bag)
		}) {
			continue
		}
		ag.shared = ag.shared.Add(bag.SharedOnly())
		t.charge(ag, c, bag.Allocate(c.role), true)
		report(c, bag)
	}
}

func (t *twin) dropFilters(gone func(twinFilter) bool) {
	t.filters = slices.DeleteFunc(t.filters, gone)
}
