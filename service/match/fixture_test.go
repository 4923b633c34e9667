package match_test

import (
	"fmt"
	"testing"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/kernel/attribute"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/match"
)

// offer of what --resources text gives, allocated to role, on agent "s-<host>".
func offer(tb testing.TB, host, text, to string) *mesos.Offer {
	tb.Helper()
	rs, err := resource.Parse(text, "*")
	if err != nil {
		tb.Fatal(err)
	}
	return &mesos.Offer{
		Id: &mesos.OfferID{Value: proto.String("o-" + host)}, AgentId: &mesos.AgentID{Value: proto.String("s-" + host)},
		FrameworkId: &mesos.FrameworkID{Value: proto.String("f")}, Hostname: &host,
		AllocationInfo: &mesos.Resource_AllocationInfo{Role: &to}, Resources: rs.Allocate(to).Proto(),
	}
}

// attributes gives an offer attributes, in the form of --attributes.
func attributes(tb testing.TB, o *mesos.Offer, text string) *mesos.Offer {
	tb.Helper()
	as, err := attribute.Parse(text)
	if err != nil {
		tb.Fatal(err)
	}
	o.Attributes = as
	return o
}

func domain(o *mesos.Offer, region, zone string) *mesos.Offer {
	o.Domain = &mesos.DomainInfo{FaultDomain: &mesos.DomainInfo_FaultDomain{
		Region: &mesos.DomainInfo_FaultDomain_RegionInfo{Name: &region}, Zone: &mesos.DomainInfo_FaultDomain_ZoneInfo{Name: &zone},
	}}
	return o
}

func pool(tb testing.TB, offers ...*mesos.Offer) *match.Pool {
	tb.Helper()
	p, err := match.NewPool(offers)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// app is a plain one with defaults; change sets what a test is about.
func app(change func(*marathon.App)) *marathon.App {
	cmd := "sleep 100"
	a := &marathon.App{
		ID: "/prod/web", Cmd: &cmd, Instances: 1, CPUs: 1, Mem: 128, Role: "dev", Version: "2020-01-01T00:00:00.000Z",
		Networks: []marathon.Network{{Mode: marathon.HostNetwork}},
	}
	if change != nil {
		change(a)
	}
	return a
}

func ports(n int) []marathon.PortDefinition {
	all := make([]marathon.PortDefinition, n)
	for i := range all {
		all[i] = marathon.PortDefinition{Protocol: "tcp", Port: 10000 + i}
	}
	return all
}

// next is a new instance of the app.
func next(a *marathon.App, n int) *instance.Instance {
	return &instance.Instance{
		ID: instance.NewID(a.ID, fmt.Sprintf("%08d-0000-4000-8000-000000000000", n)), App: a.ID, Version: a.Version,
		Goal: instance.GoalRunning, Condition: instance.Scheduled,
	}
}

func want(a *marathon.App, n int) *match.Want {
	return &match.Want{App: a, Instance: next(a, n), FrameworkID: "f", Seed: uint64(n)}
}

// bag parses what was launched with.
func bag(tb testing.TB, rs []*mesos.Resource) resource.Resources {
	tb.Helper()
	b, err := resource.Of(rs...)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// fits expects an outcome.
func fits(tb testing.TB, p *match.Pool, w *match.Want) *match.Outcome {
	tb.Helper()
	if w.Placed != nil && !p.Room(w) {
		tb.Error("no room, but Fit was to succeed")
	}
	out, no := p.Fit(w)
	if no != nil {
		tb.Fatalf("refused: %s: %s", no.Reason, no.Text())
	}
	return out
}

// refused expects a reason and its text.
func refused(tb testing.TB, p *match.Pool, w *match.Want, reason match.Reason, text string) match.Refusal {
	tb.Helper()
	_, no := p.Fit(w)
	if no == nil {
		tb.Fatalf("fits; want %s: %s", reason, text)
	}
	if no.Reason != reason || no.Text() != text {
		tb.Errorf("refused with %s: %s\nwant %s: %s", no.Reason, no.Text(), reason, text)
	}
	if no.Lacks <= 0 || no.Lacks > 1 {
		tb.Errorf("lacks %v", no.Lacks)
	}
	return *no
}

func textproto(tb testing.TB, text string, m proto.Message) {
	tb.Helper()
	if err := prototext.Unmarshal([]byte(text), m); err != nil {
		tb.Fatal(err)
	}
}
