package match_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"google.golang.org/protobuf/proto"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/match"
)

// running is an instance of a on an agent with that host and those attributes.
func running(t testing.TB, a *marathon.App, n int, host, attrs string) *instance.Instance {
	i := next(a, n)
	i.Condition, i.Agent = instance.Running, pool(t, attributes(t, offer(t, host, machine, "dev"), attrs)).Host()
	return i
}

// The cases are Marathon's, src/test/scala/mesosphere/mesos/ConstraintsTest.scala.
func TestConstraints(t *testing.T) {
	for _, one := range []struct {
		constraint string
		placed     string // "host attributes", separated by |
		host, on   string // the offer's host and attributes
		why        string // "" fits
	}{
		{"hostname CLUSTER", "", "foohost", "", ""},
		{"hostname CLUSTER right.com", "", "wrong.com", "", `hostname is "wrong.com"; it must be right.com`},
		{"hostname CLUSTER", "a|a", "b", "", `hostname is "b"; the other instances are on "a"`},
		{"@hostname UNIQUE", "", "host2", "", ""},
		{"hostname UNIQUE", "host1|host2|host3", "host4", "", ""},
		{"@hostname UNIQUE", "host1|host2|host3", "host2", "", `@hostname is "host2"; another instance is there`},
		{"rackid CLUSTER", "", "h", "foo:bar;rackid:rack-1", ""},
		{"rackid CLUSTER", "h rackid:rack-1|h rackid:rack-1", "h", "foo:bar;rackid:rack-1", ""},
		{"rackid CLUSTER", "h rackid:rack-1|h rackid:rack-1", "h", "foo:bar;rackid:rack-2", `rackid is "rack-2"; the other instances are on "rack-1"`},
		{"rackid CLUSTER", "", "h", "", "no attribute rackid"},
		{"rackid UNIQUE", "", "h", "rackid:rack-1", ""},
		{"rackid UNIQUE", "h rackid:rack-1|h rackid:rack-2", "h", "rackid:rack-3", ""},
		{"rackid UNIQUE", "h rackid:rack-1|h rackid:rack-2", "h", "rackid:rack-1", `rackid is "rack-1"; another instance is there`},
		{"rackid UNIQUE", "", "h", "", "no attribute rackid"},
		{"jdk LIKE 7", "", "h", "jdk:6", `jdk is "6"; it must match 7`},
		{"jdk LIKE 7", "", "h", "jdk:7", ""},
		{"jdk LIKE 7", "", "h", "jdk:77", `jdk is "77"; it must match 7`},
		{"jdk LIKE 7", "", "h", "", "no attribute jdk"},
		{"jdk LIKE 6|7", "", "h", "jdk:7", ""},
		{"jdk LIKE", "", "h", "jdk:7", `jdk LIKE "" has no regular expression`},
		{"jdk LIKE (", "", "h", "jdk:7", `jdk LIKE "(" has no regular expression`},
		{"rack LIKE a.*", "", "h", "rack:b1", `rack is "b1"; it must match a.*`},
		{"jdk UNLIKE 7", "", "h", "jdk:6", ""},
		{"jdk UNLIKE 7", "", "h", "jdk:7", `jdk is "7"; it must not match 7`},
		{"jdk UNLIKE 7", "", "h", "", ""},
		{"rack GROUP_BY 2", "", "h", "rack:1", ""},
		{"rack GROUP_BY 2", "h rack:1|h rack:1", "h", "rack:1", ""},
		{"rack GROUP_BY 4", "h rack:1", "h", "rack:1", ""},
		{"rack GROUP_BY 2", "h rack:1|h rack:1|h rack:1", "h", "rack:1", `rack is "1"; 3 instances are there, other values have fewer`},
		{"rack GROUP_BY 4", "h rack:1|h rack:1", "h", "rack:1", `rack is "1"; 2 instances are there, other values have fewer`},
		{"rack GROUP_BY 2", "h rack:1", "h", "rack:2", ""},
		{"rack GROUP_BY 4", "h rack:1|h rack:1|h rack:2", "h", "rack:2", `rack is "2"; 1 instances are there, other values have fewer`},
		{"rack GROUP_BY 2", "h rack:1|h rack:1|h rack:1|h rack:2", "h", "rack:2", ""},
		{"rack GROUP_BY 2", "h rack:1|h rack:2", "h", "rack:3", `rack is "3"; the instances are on 2 values of it already`},
		{"rack GROUP_BY 2", "", "h", "", "no attribute rack"},
		{"hostname GROUP_BY 3", "host-1|host-2", "host-3", "", ""},
		// Without a number: the classic rule.
		{"rack GROUP_BY", "", "h", "rack:1", ""},
		{"rack GROUP_BY", "h rack:1", "h", "rack:1", ""},
		{"rack GROUP_BY", "h rack:1|h rack:1", "h", "rack:2", ""},
		{"rack GROUP_BY", "h rack:1|h rack:1|h rack:2", "h", "rack:1", `rack is "1"; 2 instances are there, other values have fewer`},
		{"rack GROUP_BY", "h rack:1|h rack:1|h rack:2", "h", "rack:2", ""},
		{"hostname MAX_PER 2", "", "host1", "", ""},
		{"hostname MAX_PER 2", "host1", "host1", "", ""},
		{"hostname MAX_PER 2", "host1|host1|host2", "host1", "", `hostname is "host1"; 2 instances are there, at most 2 may be`},
		{"hostname MAX_PER 2", "host1|host1|host2", "host3", "", ""},
		{"rack MAX_PER 1", "h rack:1.0|h rack:2.0", "h", "rack:1", `rack is "1"; 1 instances are there, at most 1 may be`},
		{"jdk LIKE \\[6-7\\]", "", "h", "jdk:[6-7]", ""},
		{"jdk LIKE \\[6-7\\]", "", "h", "jdk:[5-7]", `jdk is "[5-7]"; it must match \[6-7\]`},
		{"jdk CLUSTER [6-7]", "", "h", "jdk:[6-7]", ""},
		{"jdk IS [3-4,6-7]", "", "h", "jdk:[6-7,3-4]", ""},
		{"level IS 1.50", "", "h", "level:1.5", ""},
		{"level IS 1", "", "h", "level:1.0004", ""},
		{"level IS 2", "", "h", "level:1", `level is "1"; it must be 2`},
		{"level IS high", "", "h", "level:high", ""},
		{"@region IS us", "", "h", "", "the agent has no region"},
		{"@zone LIKE a", "", "h", "", "the agent has no zone"},
		{"rack NEAR b", "", "h", "rack:b", `constraint operator "NEAR" is unknown`},
	} {
		t.Run(one.constraint+" "+one.placed, func(t *testing.T) {
			a := app(func(a *marathon.App) {
				a.Instances, a.Constraints = 5, [][]string{strings.Fields(one.constraint)}
			})
			var placed []*instance.Instance
			for n, p := range strings.Split(one.placed, "|") {
				if host, attrs, _ := strings.Cut(p, " "); host != "" {
					placed = append(placed, running(t, a, n, host, attrs))
				}
			}
			w := want(a, 100)
			w.Placed = match.Count(a, placed)
			p := pool(t, attributes(t, offer(t, one.host, machine, "dev"), one.on))
			if one.why == "" {
				fits(t, p, w)
			} else {
				refused(t, p, w, match.UnfulfilledConstraint, one.why)
			}
		})
	}
}

func TestAttributesAsTexts(t *testing.T) {
	o := attributes(t, offer(t, "h", machine, "dev"), "a:text;b:1.0005;c:1.1005;d:1000000;e:[5-7,1-2];a:second")
	o.Attributes = append(o.Attributes, &mesos.Attribute{Name: proto.String("f"), Type: mesos.Value_SET.Enum(), Set: &mesos.Value_Set{Item: []string{"y", "x"}}})
	h := pool(t, domain(o, "us", "us-1")).Host()
	got := fmt.Sprint(h.Attributes, " ", h.Region, " ", h.Zone)
	if want := "map[a:text b:1 c:1.101 d:1000000 e:[1-2,5-7] f:{x,y}] us us-1"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func TestRegions(t *testing.T) {
	for _, one := range []struct {
		home, region string
		constraints  [][]string
		fits         bool
	}{
		{"eu", "eu", nil, true},
		{"eu", "us", nil, false},
		{"eu", "", nil, true},
		{"", "us", nil, true},
		{"eu", "us", [][]string{{"@region", "IS", "us"}}, true},
		{"eu", "eu", [][]string{{"@region", "IS", "us"}}, false},
		{"eu", "us", [][]string{{"@zone", "UNIQUE"}}, true},
		{"eu", "us", [][]string{{"hostname", "UNIQUE"}}, false},
	} {
		o := offer(t, "h", machine, "dev")
		if one.region != "" {
			domain(o, one.region, "a")
		}
		w := want(app(func(a *marathon.App) { a.Constraints = one.constraints }), 1)
		w.Region = one.home
		if _, no := pool(t, o).Fit(w); (no == nil) != one.fits {
			t.Errorf("%+v: %v", one, no)
		}
	}
}

func TestWhoCounts(t *testing.T) {
	a := app(func(a *marathon.App) {
		a.Constraints = [][]string{{"hostname", "UNIQUE"}}
		a.VersionInfo = &marathon.VersionInfo{LastConfigChangeAt: "2019-06-01T00:00:00.000Z"}
	})
	for _, one := range []struct {
		name   string
		change func(*instance.Instance)
		counts bool
	}{
		{"running", func(*instance.Instance) {}, true},
		{"killing", func(i *instance.Instance) { i.Condition = instance.Killing }, true},
		{"stopped", func(i *instance.Instance) { i.Goal = instance.GoalStopped }, true},
		{"of this configuration", func(i *instance.Instance) { i.Version = "2019-06-01T00:00:00.000Z" }, true},
		{"of an older one", func(i *instance.Instance) { i.Version = "2019-05-31T00:00:00.000Z" }, false},
		{"decommissioned", func(i *instance.Instance) { i.Goal = instance.GoalDecommissioned }, false},
		{"scheduled", func(i *instance.Instance) { i.Condition, i.Agent = instance.Scheduled, nil }, false},
		{"failed", func(i *instance.Instance) { i.Condition = instance.Failed }, false},
		{"unreachable", func(i *instance.Instance) { i.Condition = instance.Unreachable }, false},
		{"holding a reservation", func(i *instance.Instance) {
			i.Condition, i.Reservation = instance.Scheduled, new(instance.Reservation)
		}, true},
	} {
		i := running(t, a, 1, "h", "")
		one.change(i)
		w := want(a, 2)
		w.Placed = match.Count(a, []*instance.Instance{i})
		if _, no := pool(t, offer(t, "h", machine, "dev")).Fit(w); (no != nil) != one.counts {
			t.Errorf("%s: %v", one.name, no)
		}
		// The same by way of Update and Drop.
		w.Placed = match.Count(a, []*instance.Instance{running(t, a, 1, "h", "")})
		w.Placed.Update(i)
		w.Placed.Update(i)
		if _, no := pool(t, offer(t, "h", machine, "dev")).Fit(w); (no != nil) != one.counts {
			t.Errorf("%s, updated: %v", one.name, no)
		}
		w.Placed.Drop(i.ID)
		w.Placed.Drop(w.Instance.ID)
		fits(t, pool(t, offer(t, "h", machine, "dev")), w)
	}
}

// twin decides about one constraint as A6.2 says it, by looking at all instances.
func twin(c []string, instances int, placed []string, value string) bool {
	by := map[string]int{}
	for _, v := range placed {
		by[v]++
	}
	n := 0
	if len(c) > 2 {
		fmt.Sscan(c[2], &n)
	}
	switch c[1] {
	case "UNIQUE":
		return by[value] == 0
	case "CLUSTER":
		return len(placed) == 0 || slices.Contains(placed, value)
	case "MAX_PER":
		return by[value] < n
	}
	if n == 0 {
		for _, have := range by {
			if by[value] > have {
				return false
			}
		}
		return true
	}
	each, rest := instances/n, instances%n
	for _, have := range by {
		rest -= max(0, have-each)
	}
	if by[value] == 0 {
		return len(by) < n
	}
	return by[value] < each || by[value] == each && rest > 0
}

func TestCountsAgainstTwin(t *testing.T) {
	kinds := [][]string{{"rack", "UNIQUE"}, {"rack", "CLUSTER"}, {"rack", "MAX_PER", "3"}, {"rack", "GROUP_BY"}, {"rack", "GROUP_BY", "3"}}
	hosts := make([]*instance.Agent, 6)
	for n := range hosts {
		hosts[n] = pool(t, attributes(t, offer(t, fmt.Sprint("h", n), "cpus:1", "dev"), fmt.Sprint("rack:r", n))).Host()
	}
	allowed, total := 0, 0
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 0))
		kind := kinds[seed%5]
		a := app(func(a *marathon.App) {
			a.Instances, a.Constraints, a.CPUs, a.Mem = 4+rng.IntN(8), [][]string{kind}, 0.001, 0
		})
		placed := match.Count(a, nil)
		live := map[string]*instance.Instance{}
		var order []string // of live
		values := func() (all []string) {
			for _, id := range order {
				all = append(all, live[id].Agent.Attributes["rack"])
			}
			return all
		}
		for n := range 300 {
			if len(order) > 0 && rng.IntN(3) == 0 {
				at := rng.IntN(len(order))
				id := order[at]
				gone := *live[id]
				gone.Condition = instance.Failed
				placed.Update(&gone)
				order = slices.Delete(order, at, at+1)
				continue
			}
			w := want(a, n)
			w.Placed = placed
			h := rng.IntN(len(hosts))
			before := values()
			out, no := pool(t, attributes(t, offer(t, hosts[h].Host, "cpus:1", "dev"), fmt.Sprint("rack:r", h))).Fit(w)
			if got, should := no == nil, twin(kind, a.Instances, before, fmt.Sprint("r", h)); got != should {
				t.Fatalf("seed %d, %v of %d, placed %v, rack r%d: %v, the twin says %v", seed, kind, a.Instances, before, h, got, should)
			}
			total++
			if no == nil {
				allowed++
				out.Launch.Condition = instance.Provisioned
				live[out.Launch.ID] = out.Launch
				order = append(order, out.Launch.ID)
				if rng.IntN(2) == 0 {
					placed.Update(out.Launch) // Fit has counted it already
				}
			}
			if rng.IntN(20) == 0 {
				var all []*instance.Instance
				for _, id := range order {
					all = append(all, live[id])
				}
				placed = match.Count(a, all)
			}
		}
	}
	if allowed < total/10 || allowed > total*9/10 {
		t.Errorf("%d of %d fit: the test is one-sided", allowed, total)
	}
}
