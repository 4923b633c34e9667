package allocator

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
)

// must parses the textual form, or JSON with more in it than that allows.
func must(text string) resource.Resources {
	if strings.HasPrefix(text, "[") {
		var all struct{ R []json.RawMessage }
		if err := json.Unmarshal([]byte(`{"R":`+text+`}`), &all); err != nil {
			panic(err)
		}
		var rs []*mesos.Resource
		for _, one := range all.R {
			m := new(mesos.Resource)
			if err := protojson.Unmarshal(one, m); err != nil {
				panic(err)
			}
			rs = append(rs, m)
		}
		r, err := resource.Of(rs...)
		if err != nil {
			panic(err)
		}
		return r
	}
	r, err := resource.Parse(text, "*")
	if err != nil {
		panic(err)
	}
	return r
}

func amounts(text string) resource.Quantities {
	q, err := resource.ParseQuantities(text)
	if err != nil {
		panic(err)
	}
	return q
}

const (
	sharedVolume = `{"name":"disk","type":"SCALAR","scalar":{"value":64},"reservations":[{"type":"DYNAMIC","role":"a"}],` +
		`"disk":{"persistence":{"id":"v"},"volume":{"container_path":"p","mode":"RW"}},"shared":{}}`
	refined = `{"name":"cpus","type":"SCALAR","scalar":{"value":2},"reservations":[{"type":"STATIC","role":"a"},{"type":"DYNAMIC","role":"a/b"}]}`
	preempt = `{"name":"cpus","type":"SCALAR","scalar":{"value":3},"revocable":{}}`
	mount   = `{"name":"disk","type":"SCALAR","scalar":{"value":%d},"disk":{"source":{"type":"MOUNT","mount":{"root":"/%d"}}}}`
	some    = `{"name":"cpus","type":"SCALAR","scalar":{"value":4}},{"name":"mem","type":"SCALAR","scalar":{"value":512}}`
)

var totals = []resource.Resources{
	must("cpus:4;mem:4096;disk:1000;ports:[31000-31009]"),
	must("cpus:8;mem:1024"),
	must("cpus:1;mem:64;ports:[1-5]"),
	must("cpus:2;mem:512;cpus(a):2;mem(a):256"),
	must("cpus(a/b):2;mem(a/b):256;mem:40"),
	must("cpus(c):1;ports:[1-3]"),
	must("gpus:1;cpus:4;mem:512"),
	must("[" + some + "," + sharedVolume + "]"),
	must("[" + some + "," + refined + "]"),
	must("[" + some + "," + preempt + "]"),
	must("[" + some + "," + fmt.Sprintf(mount, 100, 1) + "," + fmt.Sprintf(mount, 50, 2) + "]"),
}

// world drives the allocator and the twin with the same operations.
type world struct {
	*rapid.T
	a    *Allocator
	twin *twin
	now  time.Duration
	made int // agents and frameworks ever
	theme

	visits []visit
	grants []Grant
}

// theme narrows what is drawn, so that what is rare gets dense.
type theme struct {
	name   string
	totals []resource.Resources
	roles  []string
	quotas []string
}

var themes = []theme{
	{"all", totals, []string{"a", "a/b", "a/b/x", "a/c", "c", "*"},
		[]string{"", "cpus:2", "cpus:4;mem:512", "mem:100;disk:120", "cpus:10;mem:4000", "disk:60"}},
	{"volumes", totals[7:8], []string{"a", "a/b"}, []string{"", "cpus:2", "cpus:1;mem:100"}},
	{"disks", totals[10:11], []string{"a", "c"}, []string{"", "disk:60", "disk:100", "disk:120", "disk:160;cpus:2"}},
}

type visit struct {
	agent    id.Agent
	entitled bool
}

func newWorld(t *rapid.T, theme theme) *world {
	w := &world{T: t, theme: theme}
	least := rapid.SampledFrom([][]resource.Quantities{
		nil, {}, {amounts("cpus:1;mem:64")}, {amounts("ports:4"), amounts("mem:512")},
	}).Draw(t, "minimum")
	w.a = New(Config{Seed: 7, MinAllocatable: least})
	if least == nil {
		least = []resource.Quantities{amounts("cpus:0.01"), amounts("mem:32")}
	}
	w.twin = newTwin(least)
	w.a.trace = func(agent id.Agent, entitled bool) { w.visits = append(w.visits, visit{agent, entitled}) }
	return w
}

func pick[K ~string, V any](w *world, m map[K]V, what string) (K, bool) {
	if len(m) == 0 {
		return "", false
	}
	return rapid.SampledFrom(slices.Sorted(maps.Keys(m))).Draw(w.T, what), true
}

func (w *world) draw(what string, most int) int { return rapid.IntRange(0, most).Draw(w.T, what) }

func (w *world) describeAgent(agent id.Agent) Agent {
	d := Agent{ID: agent, Hostname: "h-" + string(agent), Total: w.totals[w.draw("total", len(w.totals)-1)]}
	if w.draw("rack", 1) == 1 {
		d.Attributes = []*mesos.Attribute{{
			Name: proto.String("rack"), Type: mesos.Value_TEXT.Enum(), Text: &mesos.Value_Text{Value: proto.String("r1")},
		}}
	}
	return d
}

func (w *world) describeFramework(f id.Framework) Framework {
	d := Framework{
		ID:        f,
		Roles:     rapid.SliceOfNDistinct(rapid.SampledFrom(w.roles), 1, 2, rapid.ID[string]).Draw(w.T, "roles"),
		Shared:    w.draw("shared", 1) == 1,
		GPU:       w.draw("gpu", 1) == 1,
		MultiRole: true,
	}
	d.Revocable, d.Refinement = w.draw("revocable", 1) == 1, w.draw("refinement", 1) == 1
	if w.draw("suppressed", 3) == 0 {
		d.Suppressed = d.Roles[:1]
	}
	switch w.draw("least", 5) {
	case 0:
		d.OfferFilters = map[string][]resource.Quantities{d.Roles[0]: {}}
	case 1:
		d.OfferFilters = map[string][]resource.Quantities{d.Roles[0]: {amounts("cpus:2")}}
	}
	if w.draw("constrained", 4) == 0 {
		d.Constraints = onlyRack(d.Roles[0], "r1")
	}
	return d
}

func onlyRack(role, rack string) *schedulerpb.OfferConstraints {
	return &schedulerpb.OfferConstraints{RoleConstraints: map[string]*schedulerpb.OfferConstraints_RoleConstraints{role: {
		Groups: []*schedulerpb.OfferConstraints_RoleConstraints_Group{{AttributeConstraints: []*schedulerpb.AttributeConstraint{{
			Selector: &schedulerpb.AttributeConstraint_Selector{
				Selector: &schedulerpb.AttributeConstraint_Selector_AttributeName{AttributeName: "rack"}},
			Predicate: &schedulerpb.AttributeConstraint_Predicate{
				Predicate: &schedulerpb.AttributeConstraint_Predicate_TextEquals_{
					TextEquals: &schedulerpb.AttributeConstraint_Predicate_TextEquals{Value: proto.String(rack)}}},
		}}}}}}}
}

func (w *world) addAgent() {
	if len(w.twin.agents) >= 5 {
		return
	}
	w.made++
	d := w.describeAgent(id.Agent(fmt.Sprintf("A%02d", w.made)))
	used := map[id.Framework]resource.Resources{}
	ag := &twinAgent{Agent: d, active: true, allocs: map[twinClient]resource.Resources{}}
	w.twin.agents[d.ID] = ag
	if f, ok := pick(w, w.twin.frameworks, "user"); ok && w.draw("used", 2) == 0 {
		r := must("cpus:0.5;mem:16")
		if d.Total.Contains(r) {
			used[f] = r.Allocate("c")
			w.twin.charge(ag, twinClient{f, "c"}, r.Allocate("c"), true)
		}
	}
	w.a.AddAgent(d, used)
}

func (w *world) updateAgent() {
	if n, ok := pick(w, w.twin.agents, "agent"); ok {
		d, ag := w.describeAgent(n), w.twin.agents[n]
		if !d.Total.Equal(ag.Total) || len(d.Attributes) != len(ag.Attributes) {
			w.twin.dropFilters(func(f twinFilter) bool { return f.agent == n })
		}
		ag.Agent = d
		w.a.UpdateAgent(d)
	}
}

func (w *world) removeAgent() {
	if n, ok := pick(w, w.twin.agents, "agent"); ok {
		delete(w.twin.agents, n)
		w.twin.dropFilters(func(f twinFilter) bool { return f.agent == n })
		w.a.RemoveAgent(n)
	}
}

func (w *world) toggleAgent() {
	if n, ok := pick(w, w.twin.agents, "agent"); ok {
		ag := w.twin.agents[n]
		if ag.active = !ag.active; ag.active {
			w.a.ActivateAgent(n)
		} else {
			w.a.DeactivateAgent(n)
		}
	}
}

func (w *world) setFramework(d Framework) {
	fw := w.twin.frameworks[d.ID]
	if fw == nil {
		fw = &twinFramework{active: true, suppressed: map[string]bool{}}
		w.twin.frameworks[d.ID] = fw
	}
	w.twin.dropFilters(func(f twinFilter) bool {
		return f.client.fw == d.ID && (!slices.Contains(d.Roles, f.client.role) ||
			fw.suppressed[f.client.role] && !slices.Contains(d.Suppressed, f.client.role))
	})
	fw.Framework = d
	fw.suppressed = map[string]bool{}
	for _, r := range d.Suppressed {
		fw.suppressed[r] = true
	}
}

func (w *world) addFramework() {
	if len(w.twin.frameworks) < 5 {
		w.made++
		d := w.describeFramework(id.Framework(fmt.Sprintf("F%02d", w.made)))
		w.setFramework(d)
		w.a.AddFramework(d)
	}
}

func (w *world) updateFramework() {
	if n, ok := pick(w, w.twin.frameworks, "framework"); ok {
		d := w.describeFramework(n)
		w.setFramework(d)
		w.a.UpdateFramework(d)
	}
}

func (w *world) removeFramework() {
	if n, ok := pick(w, w.twin.frameworks, "framework"); ok {
		delete(w.twin.frameworks, n)
		w.twin.dropFilters(func(f twinFilter) bool { return f.client.fw == n })
		w.a.RemoveFramework(n)
	}
}

func (w *world) toggleFramework() {
	if n, ok := pick(w, w.twin.frameworks, "framework"); ok {
		fw := w.twin.frameworks[n]
		if fw.active = !fw.active; fw.active {
			w.a.ActivateFramework(n)
		} else {
			w.twin.dropFilters(func(f twinFilter) bool { return f.client.fw == n })
			w.a.DeactivateFramework(n)
		}
	}
}

func (w *world) suppressOrRevive() {
	n, ok := pick(w, w.twin.frameworks, "framework")
	if !ok {
		return
	}
	fw := w.twin.frameworks[n]
	var which []string
	each := fw.Roles
	if w.draw("all", 1) == 0 {
		which = fw.Roles[:1]
		each = which
	}
	if w.draw("revive", 1) == 0 {
		for _, r := range each {
			fw.suppressed[r] = true
		}
		w.a.Suppress(n, which)
		return
	}
	for _, r := range each {
		delete(fw.suppressed, r)
	}
	w.twin.dropFilters(func(f twinFilter) bool { return f.client.fw == n && slices.Contains(each, f.client.role) })
	w.a.Revive(n, which)
}

// held picks an allocation.
func (w *world) held() (*twinAgent, twinClient, bool) {
	n, ok := pick(w, w.twin.agents, "agent")
	if !ok || len(w.twin.agents[n].allocs) == 0 {
		return nil, twinClient{}, false
	}
	ag := w.twin.agents[n]
	return ag, rapid.SampledFrom(slices.SortedFunc(maps.Keys(ag.allocs), compareTwin)).Draw(w.T, "client"), true
}

func (w *world) recoverSome() {
	ag, c, ok := w.held()
	if !ok {
		return
	}
	r := ag.allocs[c]
	if w.draw("part", 2) == 0 {
		if p := must("cpus:0.5;mem:16").Allocate(c.role); r.Contains(p) {
			r = p
		}
	}
	ag.allocs[c] = ag.allocs[c].Sub(r)
	var refusal *Refusal
	if w.draw("refuse", 2) > 0 {
		refusal = &Refusal{For: time.Duration(w.draw("seconds", 6)) * time.Second}
		fw := w.twin.frameworks[c.fw]
		if fw != nil && fw.active && slices.Contains(fw.Roles, c.role) {
			w.twin.filters = append(w.twin.filters, twinFilter{c, ag.ID, r.Unallocate(), w.now + max(time.Second, refusal.For)})
		}
	}
	w.a.Recover(w.now, c.fw, ag.ID, r, refusal)
}

func (w *world) convert() {
	ag, c, ok := w.held()
	if !ok || c.role == "*" {
		return
	}
	from, to := must("cpus:0.5").Allocate(c.role), must("cpus("+c.role+"):0.5").Allocate(c.role)
	if w.draw("back", 1) == 1 {
		from, to = to, from
	}
	if !ag.allocs[c].Contains(from) || !ag.Total.Contains(from.Unallocate()) {
		return
	}
	ag.allocs[c] = ag.allocs[c].Sub(from).Add(to)
	ag.Total = ag.Total.Sub(from.Unallocate()).Add(to.Unallocate())
	w.a.Convert(c.fw, ag.ID, from, to)
}

func (w *world) chargeSome() {
	n, ok := pick(w, w.twin.agents, "agent")
	if !ok {
		return
	}
	r := must("cpus:0.5;mem:16").Allocate("a")
	if ag := w.twin.agents[n]; ag.free().Contains(r.Unallocate()) {
		w.twin.charge(ag, twinClient{"gone", "a"}, r, true)
		w.a.Charge("gone", n, r)
	}
}

func (w *world) setQuota() {
	role := w.roles[w.draw("role", len(w.roles)-1)]
	g, l := amounts(w.quotas[w.draw("guarantee", len(w.quotas)-1)]), amounts(w.quotas[w.draw("limit", len(w.quotas)-1)])
	if w.draw("zero", 8) == 0 {
		l = l.Set("cpus", 0)
	}
	w.twin.guarantee[role], w.twin.limit[role] = g, l
	if len(g) == 0 {
		delete(w.twin.guarantee, role)
	}
	w.a.SetQuota(role, g, l)
}

func (w *world) setWeight() {
	role := w.roles[w.draw("role", len(w.roles)-1)]
	x := []float64{1, 2, 0.5}[w.draw("weight", 2)]
	w.twin.weight[role] = x
	if x == 1 {
		delete(w.twin.weight, role)
	}
	w.a.SetWeight(role, x)
}

func (w *world) wait() { w.now += time.Duration(w.draw("wait", 4)) * time.Second }

// allocate runs a cycle in both and compares.
func (w *world) allocate() { w.cycle(false) }

func (w *world) cycle(full bool) int {
	w.visits = nil
	got := w.a.Allocate(w.now, full)
	w.twin.dropFilters(func(f twinFilter) bool { return f.until <= w.now })
	i := 0
	for _, v := range w.visits {
		w.twin.visit(v.agent, v.entitled, func(c twinClient, r resource.Resources) {
			if i >= len(got) {
				w.Fatalf("the allocator misses a grant: %s to %v on %s", r, c, v.agent)
			}
			want := Grant{c.fw, c.role, v.agent, r.Allocate(c.role)}
			if g := got[i]; g.Framework != want.Framework || g.Role != want.Role || g.Agent != want.Agent || !g.Resources.Equal(want.Resources) {
				w.Fatalf("grant %d: %+v, the twin: %+v", i, g, want)
			}
			i++
			for _, q := range plain(r) {
				for _, role := range upwards(c.role) {
					have, _ := w.twin.consumed(role).Get(q.Name)
					if l, ok := w.twin.limit[role].Get(q.Name); ok && have > l {
						w.Fatalf("%s consumes %v %s after a grant, its limit is %v", role, have, q.Name, l)
					}
				}
			}
		})
	}
	if i != len(got) {
		w.Fatalf("the twin does not grant %+v", got[i])
	}
	for _, ag := range w.twin.agents {
		ag.shared = resource.Resources{}
	}
	return len(got)
}

// quiet allocates until nothing is dirty, then expects a full cycle to find nothing.
func (w *world) quiet() {
	w.a.Expire(w.now) // as the timer does
	for i := 0; w.a.Dirty(); i++ {
		if n := w.cycle(false); n == 0 && w.a.Dirty() {
			w.Fatal("dirty after a cycle that granted nothing")
		}
		if i > 100 {
			w.Fatal("never quiet")
		}
	}
	if n := w.cycle(true); n > 0 {
		w.Fatalf("a full cycle at a quiet point made %d grants", n)
	}
}

// check compares every sum the allocator keeps with one computed from what is held.
func (w *world) check() {
	a := w.a
	w.twin.tidy()
	if len(a.byID) != len(w.twin.agents) {
		w.Fatalf("%d agents, want %d", len(a.byID), len(w.twin.agents))
	}
	for n, want := range w.twin.agents {
		ag := a.byID[n]
		if !ag.free.Equal(want.free()) {
			w.Fatalf("%s: free %s, want %s", n, ag.free, want.free())
		}
		if !ag.Total.Equal(want.Total) || len(ag.allocs) != len(want.allocs) {
			w.Fatalf("%s: %s with %d allocations, want %s with %d", n, ag.Total, len(ag.allocs), want.Total, len(want.allocs))
		}
		for _, al := range ag.allocs {
			if r := want.allocs[twinClient{al.client.fw.ID, al.client.role.path}]; !al.bag.Equal(r) {
				w.Fatalf("%s: %s has %s, want %s", n, al.client.fw.ID, al.bag, r)
			}
		}
	}
	for i, name := range a.names.list {
		if got, want := a.available.at(i), w.twin.available(name); got != want {
			w.Fatalf("available %s: %d, want %d", name, got, want)
		}
		if got, want := a.root.below.at(i), w.twin.required("", name, ""); got != want {
			w.Fatalf("required %s: %d, want %d", name, got, want)
		}
		for _, role := range slices.Sorted(maps.Keys(a.roles)) {
			want, _ := w.twin.consumed(role).Get(name)
			if got := a.roles[role].consumed.at(i); got != int64(want) {
				w.Fatalf("%s consumes %d %s, want %d", role, got, name, want)
			}
			if got, want := a.roles[role].entitled(i), w.twin.entitled(role, name); got != want {
				w.Fatalf("%s is entitled to %d %s, want %d", role, got, name, want)
			}
		}
	}
	a.rankAll()
	var order []twinClient
	var all bitset
	all.or(a.active)
	a.root.walk(all, func(c *client) bool {
		order = append(order, twinClient{c.fw.ID, c.role.path})
		return true
	})
	if want := w.twin.order(); !slices.Equal(order, want) {
		w.Fatalf("order %v, want %v", order, want)
	}
	sorted := slices.Clone(order)
	slices.SortFunc(sorted, func(x, y twinClient) int {
		return compareClients(a.frameworks[x.fw].client(x.role), a.frameworks[y.fw].client(y.role))
	})
	if !slices.Equal(order, sorted) {
		w.Fatalf("walked %v, sorted %v", order, sorted)
	}
	if got := len(w.twin.filters); got < a.filters {
		w.Fatalf("%d filters, the twin has %d", a.filters, got)
	}
}

// TestTwin drives both with random operations. Every cycle must grant exactly what the
// twin does on the agents visited, and at quiet points a full cycle must find nothing.
func TestTwin(t *testing.T) {
	for _, theme := range themes {
		t.Run(theme.name, rapid.MakeCheck(func(t *rapid.T) {
			w := newWorld(t, theme)
			ops := map[string]func(){
				"addAgent": w.addAgent, "updateAgent": w.updateAgent, "removeAgent": w.removeAgent, "toggleAgent": w.toggleAgent,
				"addFramework": w.addFramework, "updateFramework": w.updateFramework, "removeFramework": w.removeFramework,
				"toggleFramework": w.toggleFramework, "suppressOrRevive": w.suppressOrRevive, "recover": w.recoverSome,
				"recover again": w.recoverSome, "recover more": w.recoverSome, "convert": w.convert, "charge": w.chargeSome,
				"setQuota": w.setQuota, "setWeight": w.setWeight, "wait": w.wait, "allocate": w.allocate,
				"allocate again": w.allocate, "quiet": w.quiet,
			}
			for range 3 {
				w.addAgent()
				w.addFramework()
			}
			w.check()
			names := slices.Sorted(maps.Keys(ops))
			for range rapid.IntRange(5, 60).Draw(t, "steps") {
				ops[rapid.SampledFrom(names).Draw(t, "op")]()
				w.check()
			}
			w.quiet()
			w.check()
		}))
	}
}
