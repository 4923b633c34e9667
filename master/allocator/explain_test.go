package allocator

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/reason"
	"github.com/stoa-kernel/stoa/kernel/resource"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "explain", name+".txt")
	if *rewrite {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

// shop is three agents of different sizes and a framework, "web", in role "prod".
func shop() *Allocator {
	a := New(Config{Seed: 1})
	for i, total := range []string{
		"cpus:4;mem:8192;disk:1024;ports:[31000-31009]", "cpus:8;mem:4096;disk:1024;ports:[31000-31001]", "cpus:2;mem:1024",
	} {
		n := fmt.Sprintf("a-%02d", i+1)
		a.AddAgent(Agent{ID: id.Agent("S" + n), Hostname: n, Total: must(total)}, nil)
	}
	a.AddFramework(Framework{ID: "web", Roles: []string{"prod"}, MultiRole: true})
	return a
}

func TestExplanations(t *testing.T) {
	const now = 10 * time.Second
	web := func(text string) Request {
		return Request{Now: now, Role: "prod", Framework: "web", Resources: must(text)}
	}
	prod := Agent{ID: "Sa-04", Hostname: "a-04", Total: must("cpus(prod):16;mem(prod):65536")}
	for _, c := range []struct {
		name  string
		setup func(a *Allocator)
		ask   Request
		want  []reason.Reason // by hostname
	}{
		{"fits", nil, web("cpus:4;mem:4096"), []reason.Reason{reason.None, reason.None, reason.CPUs}},
		{"cpus", nil, web("cpus:16;mem:512"), []reason.Reason{reason.CPUs, reason.CPUs, reason.CPUs}},
		{"mem", nil, web("cpus:1;mem:9000"), []reason.Reason{reason.Mem, reason.Mem, reason.Mem}},
		{"disk", nil, web("cpus:1;disk:2000"), []reason.Reason{reason.Disk, reason.Disk, reason.Disk}},
		{"ports", nil, Request{Now: now, Role: "prod", Framework: "web", Ports: 12}, []reason.Reason{reason.Ports, reason.Ports, reason.Ports}},
		{"these-ports", nil, web("ports:[31005-31012]"), []reason.Reason{reason.Ports, reason.Ports, reason.Ports}},
		{"in-use", func(a *Allocator) {
			a.AddFramework(Framework{ID: "batch", Roles: []string{"batch"}})
			a.Charge("batch", "Sa-01", must("cpus:3;mem:8000").Allocate("batch"))
			a.Charge("batch", "Sa-02", must("cpus:8;mem:4096").Allocate("batch"))
		}, web("cpus:2;mem:2048"), []reason.Reason{reason.CPUs, reason.CPUs, reason.Mem}},
		{"any-offer", func(a *Allocator) {
			a.AddFramework(Framework{ID: "batch", Roles: []string{"batch"}})
			a.Suppress("web", nil)
			a.Allocate(now, false)
			a.Revive("web", nil)
		}, Request{Now: now, Role: "prod", Framework: "web"}, []reason.Reason{reason.NothingFree, reason.NothingFree, reason.NothingFree}},
		{"reserved", func(a *Allocator) {
			a.AddAgent(Agent{ID: "Sa-04", Hostname: "a-04", Total: must("cpus(other):16;mem(other):65536")}, nil)
		}, web("cpus:16;mem:512"), []reason.Reason{reason.CPUs, reason.CPUs, reason.CPUs, reason.ReservedElsewhere}},
		{"reserved-to-it", func(a *Allocator) { a.AddAgent(prod, nil) },
			web("cpus:16;mem:512"), []reason.Reason{reason.CPUs, reason.CPUs, reason.CPUs, reason.None}},
		{"quota-limit", func(a *Allocator) {
			a.SetQuota("prod", nil, amounts("cpus:8;mem:9216"))
			a.Charge("web", "Sa-01", must("cpus:4;mem:8192").Allocate("prod"))
		}, web("cpus:1;mem:2048"), []reason.Reason{reason.CPUs, reason.QuotaLimit, reason.Mem}},
		{"quota-limit-above", func(a *Allocator) {
			a.SetQuota("eng", nil, amounts("cpus:2"))
			a.SetQuota("eng/web", nil, amounts("cpus:100"))
		}, Request{Now: now, Role: "eng/web/blue", Resources: must("cpus:4")}, []reason.Reason{reason.QuotaLimit, reason.QuotaLimit, reason.CPUs}},
		{"headroom", func(a *Allocator) { a.SetQuota("vip", amounts("cpus:12"), nil) },
			web("cpus:4"), []reason.Reason{reason.Headroom, reason.Headroom, reason.CPUs}},
		{"suppressed", func(a *Allocator) { a.Suppress("web", nil) },
			web("cpus:1"), []reason.Reason{reason.None, reason.None, reason.None}},
		{"declined", func(a *Allocator) {
			for _, g := range a.Allocate(now-time.Second, false) {
				a.Recover(now-time.Second, "web", g.Agent, g.Resources, &Refusal{For: 5 * time.Second})
			}
		}, web("cpus:1"), []reason.Reason{reason.Filtered, reason.Filtered, reason.Filtered}},
		{"no-agents", func(a *Allocator) {
			for _, n := range []id.Agent{"Sa-01", "Sa-02", "Sa-03"} {
				a.RemoveAgent(n)
			}
		}, web("cpus:1"), nil},
		{"inactive", func(a *Allocator) {
			for _, n := range []id.Agent{"Sa-01", "Sa-02", "Sa-03"} {
				a.DeactivateAgent(n)
			}
		}, web("cpus:1"), []reason.Reason{reason.AgentInactive, reason.AgentInactive, reason.AgentInactive}},
		{"constraint", func(a *Allocator) {
			a.UpdateFramework(Framework{ID: "web", Roles: []string{"prod"}, Constraints: onlyRack("prod", "r9")})
		}, web("cpus:1"), []reason.Reason{reason.Constraint, reason.Constraint, reason.Constraint}},
		{"minimum", func(a *Allocator) {
			a.UpdateFramework(Framework{ID: "web", Roles: []string{"prod"},
				OfferFilters: map[string][]resource.Quantities{"prod": {amounts("cpus:64")}}})
		}, web("cpus:1"), []reason.Reason{reason.BelowMinimum, reason.BelowMinimum, reason.BelowMinimum}},
		{"gpus", func(a *Allocator) {
			a.RemoveAgent("Sa-02")
			a.RemoveAgent("Sa-03")
			a.UpdateAgent(Agent{ID: "Sa-01", Hostname: "a-01", Total: must("cpus:4;mem:8192;gpus:2")})
		}, web("cpus:1"), []reason.Reason{reason.NeedsGPUCapability}},
		{"unknown", nil, Request{Now: now, Framework: "nobody", Resources: must("cpus:1")}, []reason.Reason{reason.None, reason.None, reason.None}},
		{"disconnected", func(a *Allocator) { a.DeactivateFramework("web") },
			web("cpus:1"), []reason.Reason{reason.None, reason.None, reason.None}},
		{"unsubscribed", nil, Request{Now: now, Framework: "web", Role: "test", Resources: must("cpus:1")},
			[]reason.Reason{reason.None, reason.None, reason.None}},
		{"what-if", func(a *Allocator) { a.Allocate(now, false) },
			Request{Now: now, Role: "test", Resources: must("cpus:4;mem:8192")}, []reason.Reason{reason.CPUs, reason.CPUs, reason.CPUs}},
		{"paused", func(a *Allocator) { a.Pause() }, web("cpus:1"), []reason.Reason{reason.None, reason.None, reason.None}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := shop()
			if c.setup != nil {
				c.setup(a)
			}
			c.ask.Verdicts = true
			e := a.Explain(c.ask)
			var got []reason.Reason
			for _, v := range e.Verdicts {
				got = append(got, v.Reason)
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("verdicts %v, want %v", got, c.want)
			}
			var b strings.Builder
			for _, l := range e.Lines(now) {
				b.WriteString(l + "\n")
			}
			golden(t, c.name, b.String())
			if f := e.Facts(); f["role"] != e.Role || f["fit"] != fmt.Sprint(e.Fit) || f["blocked"] != e.Blocked.String() {
				t.Errorf("facts %v are not those of %+v", f, e)
			}
		})
	}
}

// TestExplainAgreesWithAllocate asks, at quiet points of random histories: an agent on
// which a client would get an offer must not have been left at a quiet point, so with
// an empty request nothing fits an unblocked framework; counts add up, and asking
// changes nothing.
func TestExplainAgreesWithAllocate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, themes[0])
		for range 3 {
			w.addAgent()
			w.addFramework()
		}
		ops := []func(){w.addAgent, w.toggleAgent, w.updateFramework, w.suppressOrRevive, w.recoverSome, w.recoverSome, w.setQuota, w.wait, w.quiet}
		for range rapid.IntRange(5, 30).Draw(t, "steps") {
			ops[w.draw("op", len(ops)-1)]()
			w.check()
		}
		w.quiet()
		for f, fw := range w.twin.frameworks {
			for _, r := range fw.Roles {
				e := w.a.Explain(Request{Now: w.now, Role: r, Framework: f, Verdicts: true})
				sum := e.Fit
				for _, c := range e.Counts {
					sum += c.Agents
				}
				if sum != e.Agents || e.Agents != len(w.twin.agents) || len(e.Verdicts) != e.Agents {
					t.Fatalf("%d of %d agents are counted, %d exist", sum, e.Agents, len(w.twin.agents))
				}
				if e.Blocked == reason.None && e.Fit > 0 {
					t.Fatalf("%s in %s fits at a quiet point: %+v", f, r, e)
				}
			}
		}
		if w.a.Dirty() || w.cycle(true) > 0 {
			t.Fatal("asking made something due")
		}
	})
}
