package allocator

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
)

// bench is an allocator in a test, with a clock.
type bench struct {
	*testing.T
	*Allocator
	now time.Duration
}

func start(t *testing.T, agents ...string) *bench {
	b := &bench{T: t, Allocator: New(Config{Seed: 1})}
	for i, total := range agents {
		b.AddAgent(Agent{ID: id.Agent(fmt.Sprintf("S%d", i+1)), Hostname: fmt.Sprintf("h%d", i+1), Total: must(total)}, nil)
	}
	return b
}

func (b *bench) framework(f id.Framework, roles ...string) {
	b.AddFramework(Framework{ID: f, Roles: roles, MultiRole: true})
}

// offers runs cycles until nothing is dirty and expects these grants, as
// "framework role agent resources", in any order.
func (b *bench) offers(want ...string) []Grant {
	b.Helper()
	b.Expire(b.now)
	var all []Grant
	for i := 0; b.Dirty(); i++ {
		if i > 20 {
			b.Fatal("never quiet")
		}
		all = append(all, b.Allocate(b.now, false)...)
	}
	var got []string
	for _, g := range all {
		for it := range g.Resources.All() {
			if it.AllocatedTo() != g.Role {
				b.Errorf("%s of %s is allocated to %q", it.Name(), g.Role, it.AllocatedTo())
			}
		}
		got = append(got, fmt.Sprintf("%s %s %s %s", g.Framework, g.Role, g.Agent, g.Resources.Unallocate()))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		b.Errorf("offers\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
	if more := b.Allocate(b.now, true); len(more) > 0 {
		b.Errorf("a full cycle at a quiet point grants %+v", more)
	}
	return all
}

func (b *bench) recover(g Grant, r *Refusal) {
	b.Recover(b.now, g.Framework, g.Agent, g.Resources, r)
}

// seconds makes a refusal.
func seconds(n int) *Refusal { return &Refusal{For: time.Duration(n) * time.Second} }

func TestRecoveredResourcesAreOfferedAtOnce(t *testing.T) {
	b := start(t, "cpus:4;mem:1024")
	b.framework("A", "*")
	g := b.offers("A * S1 cpus:4; mem:1024")
	b.recover(g[0], nil) // an ACCEPT with refuse_seconds 0
	b.offers("A * S1 cpus:4; mem:1024")
}

func TestDeclinedResourcesGoToOthersAtOnceAndBackLater(t *testing.T) {
	b := start(t, "cpus:4;mem:1024")
	b.framework("A", "*")
	b.framework("B", "*")
	g := b.offers("A * S1 cpus:4; mem:1024")
	b.recover(g[0], seconds(5))
	g = b.offers("B * S1 cpus:4; mem:1024")
	b.recover(g[0], seconds(20))
	b.offers()
	if at, ok := b.NextExpiry(); !ok || at != 5*time.Second {
		t.Errorf("the next filter ends at %v, %t", at, ok)
	}
	b.now = 4999 * time.Millisecond
	b.offers()
	b.now = 5 * time.Second
	b.offers("A * S1 cpus:4; mem:1024")
}

func TestARefusalLastsAtLeastASecond(t *testing.T) {
	b := start(t, "cpus:4;mem:1024")
	b.framework("A", "*")
	g := b.offers("A * S1 cpus:4; mem:1024")
	b.recover(g[0], seconds(0))
	b.now = 999 * time.Millisecond
	b.offers()
	b.now = time.Second
	b.offers("A * S1 cpus:4; mem:1024")
}

func TestARefusalLastsAtMostAYear(t *testing.T) {
	b := start(t, "cpus:4;mem:1024")
	b.framework("A", "*")
	g := b.offers("A * S1 cpus:4; mem:1024")
	b.recover(g[0], &Refusal{For: forever})
	if at, _ := b.NextExpiry(); at != 365*24*time.Hour {
		t.Errorf("the filter ends at %v", at)
	}
}

func TestMoreResourcesBreakThroughARefusal(t *testing.T) {
	b := start(t, "cpus:4;mem:1024")
	b.framework("A", "*")
	b.Charge("A", "S1", must("cpus:1;mem:100").Allocate("*"))
	g := b.offers("A * S1 cpus:3; mem:924")
	b.recover(g[0], seconds(100))
	b.offers()
	b.Recover(b.now, "A", "S1", must("cpus:1;mem:100").Allocate("*"), nil)
	g = b.offers("A * S1 cpus:4; mem:1024")
	// What is contained in an older refusal does not come back, what is not does.
	b.recover(g[0], nil)
	b.offers("A * S1 cpus:4; mem:1024")
}

func TestReviveDropsRefusals(t *testing.T) {
	b := start(t, "cpus:4;mem:1024", "cpus:4;mem:1024")
	b.framework("A", "x", "y")
	for range 2 { // each role has each agent once
		grants := b.Allocate(0, false)
		if len(grants) != 2 {
			t.Fatalf("%+v", grants)
		}
		for _, g := range grants {
			b.recover(g, seconds(100))
		}
	}
	b.offers()
	if n := b.Filters("A"); n != 4 {
		t.Errorf("%d filters", n)
	}
	b.Revive("A", []string{"x"})
	b.offers("A x S1 cpus:4; mem:1024", "A x S2 cpus:4; mem:1024")
	if n := b.Filters("A"); n != 2 {
		t.Errorf("%d filters after the revival of one role", n)
	}
}

func TestWhatElseDropsRefusals(t *testing.T) {
	for name, do := range map[string]func(b *bench){
		"deactivation": func(b *bench) { b.DeactivateFramework("A"); b.ActivateFramework("A") },
		"a new total":  func(b *bench) { b.UpdateAgent(Agent{ID: "S1", Hostname: "h1", Total: must("cpus:4;mem:1024;disk:1")}) },
		"a new agent":  func(b *bench) { b.RemoveAgent("S1"); b.AddAgent(Agent{ID: "S1", Total: must("cpus:4;mem:1024")}, nil) },
		"the role left": func(b *bench) {
			b.UpdateFramework(Framework{ID: "A"})
			b.UpdateFramework(Framework{ID: "A", Roles: []string{"*"}})
		},
		"attributes": func(b *bench) {
			b.UpdateAgent(Agent{ID: "S1", Hostname: "h1", Total: must("cpus:4;mem:1024"), Attributes: []*mesos.Attribute{{
				Name: proto.String("rack"), Type: mesos.Value_TEXT.Enum(), Text: &mesos.Value_Text{Value: proto.String("r")}}}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, "cpus:4;mem:1024")
			b.framework("A", "*")
			b.recover(b.offers("A * S1 cpus:4; mem:1024")[0], seconds(100))
			b.offers()
			do(b)
			if n := len(b.Allocate(b.now, false)); n != 1 {
				t.Errorf("%d grants", n)
			}
		})
	}
}

func TestAnAgentThatDidNotChangeKeepsRefusals(t *testing.T) {
	b := start(t, "cpus:4;mem:1024")
	b.framework("A", "*")
	b.recover(b.offers("A * S1 cpus:4; mem:1024")[0], seconds(100))
	b.UpdateAgent(Agent{ID: "S1", Hostname: "h1", Total: must("cpus:4;mem:1024")})
	b.DeactivateAgent("S1")
	b.ActivateAgent("S1")
	b.UpdateFramework(Framework{ID: "A", Roles: []string{"*", "b"}, Suppressed: []string{"b"}})
	b.offers()
}

func TestSuppression(t *testing.T) {
	b := start(t, "cpus:4;mem:1024")
	b.AddFramework(Framework{ID: "A", Roles: []string{"x", "y"}, Suppressed: []string{"x", "y"}})
	b.offers()
	b.Revive("A", []string{"y"})
	g := b.offers("A y S1 cpus:4; mem:1024")
	b.Suppress("A", nil)
	if !b.Suppressed("A", "x") || !b.Suppressed("A", "y") || b.Suppressed("A", "z") || b.Suppressed("B", "x") {
		t.Error("suppressed roles are not as told")
	}
	b.recover(g[0], nil)
	b.DeactivateFramework("A")
	b.ActivateFramework("A") // stays suppressed over a disconnection
	b.offers()
	b.Revive("A", []string{"unknown"})
	b.offers()
	b.Revive("A", nil)
	b.offers("A x S1 cpus:4; mem:1024")
}

func TestPause(t *testing.T) {
	b := start(t, "cpus:4;mem:1024")
	b.framework("A", "*")
	b.Pause()
	if b.Dirty() || b.Allocate(0, true) != nil {
		t.Error("a paused allocator allocates")
	}
	b.Resume()
	b.offers("A * S1 cpus:4; mem:1024")
}

func TestFairness(t *testing.T) {
	// Shares first, then how often one was chosen, then names.
	b := start(t, "cpus:4;mem:1024", "cpus:4;mem:1024", "cpus:4;mem:1024", "cpus:4;mem:1024", "cpus:4;mem:1024", "cpus:4;mem:1024")
	b.framework("B", "r")
	b.framework("A", "r")
	held := map[id.Framework]int{}
	for _, g := range b.Allocate(0, false) {
		held[g.Framework]++
	}
	if held["A"] != 3 || held["B"] != 3 {
		t.Errorf("agents were dealt %v", held)
	}

	b = start(t, "cpus:4;mem:1024")
	b.framework("B", "r")
	b.framework("A", "r")
	g := b.offers("A r S1 cpus:4; mem:1024")
	b.recover(g[0], nil)
	g = b.offers("B r S1 cpus:4; mem:1024") // equal shares, chosen less often
	b.recover(g[0], nil)
	b.offers("A r S1 cpus:4; mem:1024")
}

func TestWeights(t *testing.T) {
	b := start(t, slices.Repeat([]string{"cpus:1;mem:32"}, 12)...)
	b.framework("A", "a")
	b.framework("B", "b")
	b.framework("C", "b/c")
	b.SetWeight("a", 2)
	held := map[string]int{}
	for _, g := range b.Allocate(0, false) {
		held[g.Role]++
	}
	// b and b/c share one half of what a gets: 8 to 4, 2 and 2.
	if held["a"] != 8 || held["b"] != 2 || held["b/c"] != 2 {
		t.Errorf("agents were dealt %v", held)
	}
}

func TestReservationsGoToTheRoleAndBelow(t *testing.T) {
	b := start(t, "cpus(a):2;mem(a):64;cpus(b):1;mem(b):64;cpus:1")
	b.framework("C", "c")
	b.framework("AB", "a/x")
	b.AddFramework(Framework{ID: "D", Roles: []string{"d"}})
	b.offers("AB a/x S1 cpus:1; cpus(reservations: [(STATIC,a)]):2; mem(reservations: [(STATIC,a)]):64")
	b.framework("B", "b")
	b.offers("B b S1 cpus(reservations: [(STATIC,b)]):1; mem(reservations: [(STATIC,b)]):64")
}

func TestCapabilities(t *testing.T) {
	b := start(t, "["+some+","+preempt+","+refined+"]", "cpus:4;mem:512;gpus:1")
	b.framework("A", "a/b")
	b.offers("A a/b S1 cpus:4; mem:512")
	b.UpdateFramework(Framework{ID: "A", Roles: []string{"a/b"}, GPU: true, Refinement: true, Revocable: true})
	for _, g := range b.Allocate(0, false) {
		switch {
		case g.Agent == "S2" && g.Resources.Sum("gpus") != 1000,
			g.Agent == "S1" && (g.Resources.RevocableOnly().Sum("cpus") != 3000 || g.Resources.Sum("cpus") != 5000):
			t.Errorf("%s is offered %s", g.Agent, g.Resources)
		}
	}
	if b.Allocate(0, true) != nil {
		t.Error("something was left")
	}
}

func TestRegions(t *testing.T) {
	region := func(name string) *mesos.DomainInfo {
		return &mesos.DomainInfo{FaultDomain: &mesos.DomainInfo_FaultDomain{
			Region: &mesos.DomainInfo_FaultDomain_RegionInfo{Name: &name}, Zone: &mesos.DomainInfo_FaultDomain_ZoneInfo{Name: &name}}}
	}
	b := &bench{T: t, Allocator: New(Config{Domain: region("eu")})}
	b.AddAgent(Agent{ID: "S1", Domain: region("eu"), Total: must("cpus:1")}, nil)
	b.AddAgent(Agent{ID: "S2", Domain: region("us"), Total: must("cpus:1")}, nil)
	b.AddAgent(Agent{ID: "S3", Total: must("cpus:1")}, nil)
	b.framework("A", "*")
	b.offers("A * S1 cpus:1", "A * S3 cpus:1")
	b.UpdateFramework(Framework{ID: "A", Roles: []string{"*"}, RegionAware: true})
	b.offers("A * S2 cpus:1")
}

func TestSharedVolumesAreOfferedOnceACycle(t *testing.T) {
	b := start(t, "["+some+","+sharedVolume+"]")
	for _, f := range []id.Framework{"A", "B"} {
		b.AddFramework(Framework{ID: f, Roles: []string{"a"}, Shared: true})
	}
	b.SetQuota("a", nil, amounts("cpus:2;mem:2000;disk:1000"))
	g := b.Allocate(0, false)
	if len(g) != 1 || g[0].Resources.SharedOnly().Len() != 1 || g[0].Resources.Sum("cpus") != 2000 {
		t.Fatalf("%+v", g)
	}
	b.SetQuota("a", nil, nil)
	h := b.offers("B a S1 cpus:2; disk(reservations: [(DYNAMIC,a)])[v:p]<SHARED>:64<1>")
	// Nothing but the volume is left, and that alone is no offer.
	b.recover(g[0], nil)
	b.recover(h[0], nil)
	for range 3 {
		if got := b.Allocate(0, true); len(got) > 1 {
			t.Errorf("%+v", got)
		}
	}
}

func TestFrameworkMinimum(t *testing.T) {
	b := start(t, "cpus:4;mem:1024", "cpus:1;mem:1024", "ports:[1-2]")
	b.AddFramework(Framework{ID: "A", Roles: []string{"a", "b"}, OfferFilters: map[string][]resource.Quantities{
		"a": {amounts("cpus:2"), amounts("mem:5000")},
		"b": {},
	}})
	b.Suppress("A", []string{"b"})
	b.offers("A a S1 cpus:4; mem:1024")
	b.Revive("A", nil)
	b.offers("A b S2 cpus:1; mem:1024", "A b S3 ports:[1-2]")
}

func TestLimits(t *testing.T) {
	b := start(t, "cpus:4;mem:1024;ports:[1-9]", "cpus:4;mem:1024")
	b.SetQuota("a", nil, amounts("cpus:5;mem:1500"))
	b.SetQuota("a/x", nil, amounts("cpus:100;mem:100"))
	b.framework("A", "a/x")
	var cpus, mem resource.Milli
	grants := b.Allocate(0, false)
	for _, g := range grants {
		cpus += g.Resources.Sum("cpus")
		mem += g.Resources.Sum("mem")
	}
	if cpus != 5000 || mem != 100_000 {
		t.Errorf("%v cpus and %v mem were granted", cpus, mem)
	}
	b.offers()
	b.recover(grants[0], seconds(100))
	b.Allocate(0, false)
	b.SetQuota("a", nil, nil)
	b.SetQuota("a/x", nil, amounts("mem:1000"))
	mem = 0
	for _, g := range b.Allocate(0, false) {
		mem += g.Resources.Sum("mem")
	}
	if mem != 900_000 {
		t.Errorf("a raised limit frees %v mem", mem)
	}
}

func TestGuaranteesAreHonouredAgainstOffers(t *testing.T) {
	b := start(t, "cpus:4;mem:1024", "cpus:4;mem:1024", "cpus:4;mem:1024")
	b.SetQuota("vip", amounts("cpus:6;mem:1024"), nil)
	b.framework("A", "a")
	var mine resource.Milli
	for _, g := range b.Allocate(0, false) {
		mine += g.Resources.Sum("cpus")
	}
	if mine != 6000 {
		t.Fatalf("%v cpus were offered to a role without a guarantee, 6 of 12 are to be held", mine)
	}
	b.framework("V", "vip")
	var vip resource.Milli
	grants := b.Allocate(0, false)
	for _, g := range grants {
		if g.Framework == "V" {
			vip += g.Resources.Sum("cpus")
		}
	}
	if vip != 6000 {
		t.Errorf("%v cpus were offered to the guaranteed role", vip)
	}
	b.offers()
	// It declines: its guarantee is unmet again, and nobody else gets what is held.
	for _, g := range grants {
		b.recover(g, seconds(60))
	}
	b.offers()
	b.now = time.Minute
	if len(b.Allocate(b.now, false)) == 0 {
		t.Error("the guaranteed role gets nothing after its refusal ended")
	}
}

func TestANestedGuaranteeIsPartOfItsParents(t *testing.T) {
	b := start(t, "cpus:12;mem:12")
	b.SetQuota("a", amounts("cpus:8"), nil)
	b.SetQuota("a/b", amounts("cpus:6"), nil)
	b.framework("Z", "z")
	b.offers("Z z S1 cpus:4; mem:12") // 8 are held, not 14
	b.framework("C", "a/c")
	b.offers("C a/c S1 cpus:2") // 6 of the 8 are a/b's
	b.framework("B", "a/b")
	b.offers("B a/b S1 cpus:6")
}

func TestChargesOutliveFrameworks(t *testing.T) {
	b := start(t)
	b.AddAgent(Agent{ID: "S1", Total: must("cpus:4;mem:1024")}, map[id.Framework]resource.Resources{
		"A": must("cpus:1;mem:24").Allocate("x").Add(must("cpus:1").Allocate("y")),
	})
	b.framework("B", "b")
	b.offers("B b S1 cpus:2; mem:1000")
	b.framework("A", "x")
	b.RemoveFramework("A")
	b.Recover(0, "A", "S1", must("cpus:1;mem:24").Allocate("x"), seconds(5))
	b.offers("B b S1 cpus:1; mem:24")
	b.Recover(0, "A", "S1", must("cpus:1").Allocate("y"), nil)
	b.Recover(0, "A", "S1", must("cpus:1").Allocate("y"), nil) // twice counts once
	b.offers("B b S1 cpus:1")
	if len(b.frameworks) != 1 || len(b.roles) != 1 {
		t.Errorf("%d frameworks and %d roles are left", len(b.frameworks), len(b.roles))
	}
}

func TestAnAgentThatShrankIsNotOverAllocated(t *testing.T) {
	b := start(t, "cpus:4;mem:1024")
	b.framework("A", "*")
	g := b.offers("A * S1 cpus:4; mem:1024")
	b.UpdateAgent(Agent{ID: "S1", Total: must("cpus:2;mem:1024")})
	b.Recover(0, "A", "S1", must("cpus:1").Allocate("*"), nil)
	b.offers()
	b.Recover(0, "A", "S1", g[0].Resources.Sub(must("cpus:1").Allocate("*")), nil)
	b.offers("A * S1 cpus:2; mem:1024")
}

func TestConvert(t *testing.T) {
	b := start(t, "cpus:4;mem:1024")
	b.framework("A", "a")
	b.framework("B", "b")
	g := b.offers("A a S1 cpus:4; mem:1024")[0]
	from, to := must("cpus:1").Allocate("a"), must("cpus(a):1").Allocate("a")
	b.Convert("A", "S1", from, to)
	b.Convert("A", "S1", must("cpus:9").Allocate("a"), must("cpus(a):9").Allocate("a")) // it does not have them
	b.Recover(0, "A", "S1", g.Resources.Sub(from).Add(to), seconds(100))
	b.offers("B b S1 cpus:3; mem:1024")
	b.now = 100 * time.Second
	b.offers("A a S1 cpus(reservations: [(STATIC,a)]):1")
}

func TestEqualHistoriesGiveEqualGrants(t *testing.T) {
	run := func() string {
		a := cluster(200, 7, true)
		var out strings.Builder
		for i := range 5 {
			grants := a.Allocate(time.Duration(i)*time.Second, false)
			fmt.Fprintln(&out, grants)
			giveBack(a, time.Duration(i)*time.Second, grants, seconds(i))
		}
		return out.String()
	}
	if run() != run() {
		t.Error("two runs from one seed differ")
	}
}

func TestRefusalsOfOneClientDoNotPileUp(t *testing.T) {
	b := start(t, "cpus:4;mem:1024")
	b.framework("A", "*")
	for i := range 5000 {
		b.now = time.Duration(i) * time.Second
		for _, g := range b.Allocate(b.now, false) {
			b.recover(g, &Refusal{For: maxRefusal})
		}
		b.Revive("A", nil)
	}
	if n, m := b.Filters("A"), len(b.expiries); n > 1 || m > 2000 {
		t.Errorf("%d filters, %d timers", n, m)
	}
}

// TestOrderAgainstSort moves entries about in an order of many blocks.
func TestOrderAgainstSort(t *testing.T) {
	var tab table
	o := order{of: &tab}
	var all []*entry
	for i := range 3000 {
		e := &entry{name: fmt.Sprintf("%04d", i)}
		e.slot = tab.add(e)
		all = append(all, e)
		if i%3 > 0 {
			o.insert(e)
		}
	}
	for i := range 20000 {
		e := all[i*7919%len(all)]
		o.move(e, float64(i*31%17), uint64(i%5))
	}
	for i, e := range all {
		if i%3 == 1 {
			o.remove(e)
		}
	}
	var want []int32
	for i, e := range all {
		if i%3 == 2 {
			want = append(want, e.slot)
		}
	}
	slices.SortFunc(want, func(x, y int32) int { return tab.list[x].compare(tab.list[y]) })
	if got := slices.Concat(o.blocks...); !slices.Equal(got, want) || o.n != len(want) {
		t.Errorf("%d of %d members are in order", len(got), len(want))
	}
}

// What a client refused without a volume, it did not refuse with it; and the volume can
// be offered again in the next cycle.
func TestAVolumeOfferedToAnotherComesWithTheNextCycle(t *testing.T) {
	b := start(t, "["+some+","+sharedVolume+"]", "cpus:1")
	b.SetQuota("a/b", nil, amounts("cpus:2"))
	b.Charge("B", "S2", must("cpus:1").Allocate("a")) // so that A is before it
	b.AddFramework(Framework{ID: "A", Roles: []string{"a/b"}, Shared: true})
	b.AddFramework(Framework{ID: "B", Roles: []string{"a"}, Shared: true})
	const volume = "; disk(reservations: [(DYNAMIC,a)])[v:p]<SHARED>:64<1>"
	for _, g := range b.offers("A a/b S1 cpus:2; mem:512"+volume, "B a S1 cpus:2") {
		if g.Framework == "A" {
			b.recover(g, nil)
		} else {
			b.recover(g, seconds(100))
		}
	}
	b.offers("A a/b S1 cpus:2; mem:512"+volume, "B a S1 cpus:2"+volume)
}

// A tighter limit lets another of several disks be offered that cannot be split.
func TestATighterLimitChoosesAnotherDisk(t *testing.T) {
	b := start(t, "["+some+","+fmt.Sprintf(mount, 100, 1)+","+fmt.Sprintf(mount, 50, 2)+"]", "disk:50")
	b.SetQuota("a", nil, amounts("disk:100"))
	b.framework("A", "a")
	b.DeactivateAgent("S2")
	g := b.Allocate(0, false)
	if len(g) != 1 || g[0].Resources.Sum("disk") != 100_000 {
		t.Fatalf("%+v", g)
	}
	b.recover(g[0], seconds(100))
	b.offers()
	b.Charge("A", "S2", must("disk:50").Allocate("a"))
	if g = b.Allocate(0, false); len(g) != 1 || g[0].Resources.Sum("disk") != 50_000 {
		t.Errorf("%+v", g)
	}
	b.offers()
}
