package check

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/kernel/clock"
	"google.golang.org/protobuf/proto"
)

var epoch = time.Unix(1_700_000_000, 0)

func at(d time.Duration) clock.Now { return clock.Now{Mono: d, Wall: epoch.Add(d)} }

// history plays a check of a task that began at 0: every time it is due, the next of the
// answers comes after it took that long. What it prints is, for each, when it was asked,
// and + for healthy, - for a failure that counts, K for a kill, . for nothing.
func history(c *Check, took time.Duration, answers ...Result) string {
	var b strings.Builder
	o := c.Start(at(0), 0)
	for _, r := range answers {
		now := o.Due
		if !c.Fire(at(now)).Ask {
			return b.String() + " not asked"
		}
		o = c.Answer(at(now+took), r)
		fmt.Fprintf(&b, " %v", now)
		switch {
		case o.Kill:
			b.WriteString("K")
		case o.Report && o.Cause != "":
			b.WriteString("-")
		case o.Report:
			b.WriteString("+")
		default:
			b.WriteString(".")
		}
	}
	return strings.TrimSpace(b.String())
}

var (
	good    = Result{Code: 200}
	bad     = Result{Code: 500}
	late    = Result{Error: "no answer within 20s"}
	nothing = Result{None: true}
)

func health(change ...func(*mesos.HealthCheck)) Plan {
	h := &mesos.HealthCheck{Type: mesos.HealthCheck_HTTP.Enum(), Http: &mesos.HealthCheck_HTTPCheckInfo{Port: proto.Uint32(80)}}
	for _, f := range change {
		f(h)
	}
	return OfHealth(h)
}

func TestHealth(t *testing.T) {
	set := func(delay, interval, grace float64, failures uint32) func(*mesos.HealthCheck) {
		return func(h *mesos.HealthCheck) {
			h.DelaySeconds, h.IntervalSeconds, h.GracePeriodSeconds, h.ConsecutiveFailures = &delay, &interval, &grace, &failures
		}
	}
	for _, c := range []struct {
		name string
		plan Plan
		took time.Duration
		gets []Result
		want string
	}{
		{"Mesos's defaults", health(), 0, []Result{bad, bad, bad}, "15s- 25s- 35sK"},
		{"the interval counts from the end", health(), 2 * time.Second, []Result{good, good, bad}, "15s+ 27s. 39s-"},
		{"healthy is told once", health(), 0, []Result{good, good, good}, "15s+ 25s. 35s."},
		{"in a row only", health(), 0, []Result{bad, bad, good, bad, bad, bad}, "15s- 25s- 35s+ 45s- 55s- 1m5sK"},
		{"not done is a failure", health(), 0, []Result{late, bad, late}, "15s- 25s- 35sK"},
		{"no result is none", health(), 0, []Result{bad, bad, nothing, bad}, "15s- 25s- 35s. 45sK"},
		{"grace", health(set(0, 5, 12, 2)), 0, []Result{bad, bad, bad, bad, bad}, "0s. 5s. 10s. 15s- 20sK"},
		{"grace to its end", health(set(0, 5, 10, 1)), 0, []Result{bad, bad, bad, bad}, "0s. 5s. 10s. 15sK"},
		{"grace ends at the first success", health(set(0, 5, 100, 2)), 0, []Result{bad, good, bad, bad}, "0s. 5s+ 10s- 15sK"},
		{"no grace", health(set(1, 1, 0, 1)), 0, []Result{bad}, "1sK"},
		{"no tolerance", health(set(1, 1, 0, 0)), 0, []Result{good, bad}, "1s+ 2sK"},
		{"no interval", health(set(0, 0, 0, 9)), 0, []Result{good, good, good}, "0s+ 100ms. 200ms."},
	} {
		if got := history(New(c.plan, State{}), c.took, c.gets...); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestOutside(t *testing.T) {
	probe := func(interval float64) Plan {
		return OfProbe(&mesos.Probe{Index: proto.Uint32(7), Protocol: mesos.Probe_HTTP.Enum(), Port: proto.Uint32(80), IntervalSeconds: &interval}, "10.0.0.1")
	}
	for _, c := range []struct {
		name     string
		interval float64
		took     time.Duration
		gets     []Result
		want     string
	}{
		{"first after 5 s", 60, 0, []Result{good, good}, "5s+ 1m5s."},
		{"first after the interval", 2, 0, []Result{good, good}, "2s+ 4s."},
		{"from beginning to beginning", 10, 3 * time.Second, []Result{good, good, good}, "5s+ 15s. 25s."},
		{"never two at once", 10, 12 * time.Second, []Result{good, good, good}, "5s+ 17s. 29s."},
		{"every failure is told, no number kills", 10, 0, []Result{bad, bad, bad, bad, good, good, bad}, "5s- 15s- 25s- 35s- 45s+ 55s. 1m5s-"},
		{"no result is none", 10, 0, []Result{nothing, good, nothing, bad}, "5s. 15s+ 25s. 35s-"},
	} {
		if got := history(New(probe(c.interval), State{}), c.took, c.gets...); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}

	c := New(probe(10), State{})
	history(c, 0, bad, good, good, bad, bad)
	want := &mesos.ProbeResult{
		Index: proto.Uint32(7), Alive: proto.Bool(false), ConsecutiveFailures: proto.Uint32(2),
		FirstSuccess: proto.Float64(1_700_000_015), LastSuccess: proto.Float64(1_700_000_025),
		LastFailure: proto.Float64(1_700_000_045), LastFailureCause: proto.String("the answer was HTTP status 500"),
	}
	if !proto.Equal(c.Result, want) {
		t.Errorf("%v, want %v", c.Result, want)
	}
	before := c.Result
	again := New(probe(10), State{Result: before})
	o := again.Start(at(time.Hour), time.Hour-time.Minute)
	if o.Due != time.Hour+5*time.Second {
		t.Errorf("after a restart it is due at %v", o.Due)
	}
	again.Fire(at(o.Due))
	if o = again.Answer(at(o.Due), bad); !o.Report || again.Result.GetConsecutiveFailures() != 3 || again.Result.GetFirstSuccess() != want.GetFirstSuccess() {
		t.Errorf("after a restart: %+v, %v", o, again.Result)
	}
	if !proto.Equal(before, want) {
		t.Error("a result that was told has changed")
	}

	graceful := func() *Check {
		p := probe(10)
		p.Grace = 20 * time.Second
		return New(p, State{})
	}
	for _, c := range []struct {
		name         string
		gets         []Result
		all, ignored uint32
	}{
		{"some in the grace, some after", []Result{bad, bad, bad, bad}, 4, 2},
		{"a success ends it", []Result{good, bad}, 1, 0},
		{"a success wipes what was in it", []Result{bad, good, bad, bad}, 2, 0},
	} {
		b := graceful()
		history(b, 0, c.gets...)
		if b.Result.GetConsecutiveFailures() != c.all || b.Result.GetFailuresInGrace() != c.ignored {
			t.Errorf("%s: %v", c.name, b.Result)
		}
	}
}

func TestStatus(t *testing.T) {
	plan := OfCheck(&mesos.CheckInfo{Type: mesos.CheckInfo_COMMAND.Enum(), Command: &mesos.CheckInfo_Command{Command: &mesos.CommandInfo{Value: proto.String("x")}}})
	c := New(plan, State{})
	if got := c.Status.String(); got != Empty(Command).String() {
		t.Errorf("before the first result: %s", got)
	}
	if got := history(c, 0, Result{Code: 1}, Result{Code: 1}, Result{}, Result{Error: "x"}, Result{Error: "y"}, Result{}); got != "15s+ 25s. 35s+ 45s+ 55s. 1m5s+" {
		t.Error(got)
	}
	again := New(plan, c.State)
	if got := history(again, 0, Result{}, Result{Code: 2}); got != "15s. 25s+" {
		t.Errorf("after a restart: %s", got)
	}
	for _, x := range []struct {
		kind Type
		r    Result
		want *mesos.CheckStatusInfo
	}{
		{Command, Result{Code: 3}, &mesos.CheckStatusInfo{Type: mesos.CheckInfo_COMMAND.Enum(), Command: &mesos.CheckStatusInfo_Command{ExitCode: proto.Int32(3)}}},
		{HTTP, Result{Code: 404}, &mesos.CheckStatusInfo{Type: mesos.CheckInfo_HTTP.Enum(), Http: &mesos.CheckStatusInfo_Http{StatusCode: proto.Uint32(404)}}},
		{HTTP, Result{Error: "refused"}, &mesos.CheckStatusInfo{Type: mesos.CheckInfo_HTTP.Enum(), Http: &mesos.CheckStatusInfo_Http{}}},
		{TCP, Result{}, &mesos.CheckStatusInfo{Type: mesos.CheckInfo_TCP.Enum(), Tcp: &mesos.CheckStatusInfo_Tcp{Succeeded: proto.Bool(false)}}},
		{TCP, Result{Connected: true}, &mesos.CheckStatusInfo{Type: mesos.CheckInfo_TCP.Enum(), Tcp: &mesos.CheckStatusInfo_Tcp{Succeeded: proto.Bool(true)}}},
		{TCP, Result{Error: "late"}, &mesos.CheckStatusInfo{Type: mesos.CheckInfo_TCP.Enum(), Tcp: &mesos.CheckStatusInfo_Tcp{}}},
	} {
		if got := x.r.info(x.kind); !proto.Equal(got, x.want) {
			t.Errorf("%+v: %v, want %v", x.r, got, x.want)
		}
	}
}

func TestFailure(t *testing.T) {
	for _, c := range []struct {
		kind Type
		r    Result
		want string
	}{
		{HTTP, Result{Code: 200}, ""},
		{HTTPS, Result{Code: 399}, ""},
		{HTTP, Result{Code: 199}, "the answer was HTTP status 199"},
		{HTTPS, Result{Code: 400}, "the answer was HTTP status 400"},
		{TCP, Result{Connected: true}, ""},
		{TCP, Result{Output: "refused"}, "no connection: refused"},
		{Command, Result{Output: "fine"}, ""},
		{Command, Result{Code: 1, Output: " no disk\n"}, "the command exited with status 1: no disk"},
		{Command, Result{Code: 1}, "the command exited with status 1"},
		{Command, Result{Code: 1, Output: "\xff\xfe"}, "the command exited with status 1: \uFFFD"},
	} {
		if got := c.r.Failure(c.kind); got != c.want {
			t.Errorf("%v %+v: %q, want %q", c.kind, c.r, got, c.want)
		}
	}
	for _, text := range []string{strings.Repeat("x", 1000), strings.Repeat("ü", 1000), "x" + strings.Repeat("ü", 1000)} {
		if got := (Result{Error: text}).Failure(HTTP); len(got) > maxCause || len(got) < maxCause-8 || !utf8.ValidString(got) || !strings.HasSuffix(got, "…") {
			t.Errorf("%d bytes: %q", len(got), got)
		}
	}
}

// TestTargets: what the field's own defaults and addresses become.
func TestTargets(t *testing.T) {
	six := mesos.NetworkInfo_IPv6.Enum()
	probe := func(address string, change func(*mesos.Probe)) Target {
		p := &mesos.Probe{Index: proto.Uint32(1), Protocol: mesos.Probe_HTTP.Enum(), Port: proto.Uint32(8)}
		change(p)
		return OfProbe(p, address).Target
	}
	for _, c := range []struct{ got, want Target }{
		{health().Target, Target{Type: HTTP, Address: "127.0.0.1", Port: 80, Path: "/", Timeout: 20 * time.Second}},
		{health(func(h *mesos.HealthCheck) {
			h.Http.Scheme, h.Http.Path, h.Http.Protocol, h.TimeoutSeconds = proto.String("https"), proto.String("/x"), six, proto.Float64(0)
		}).Target, Target{Type: HTTPS, Address: "::1", Port: 80, Path: "/x"}},
		{OfHealth(&mesos.HealthCheck{Type: mesos.HealthCheck_TCP.Enum(), Tcp: &mesos.HealthCheck_TCPCheckInfo{Port: proto.Uint32(1), Protocol: six}}).Target,
			Target{Type: TCP, Address: "::1", Port: 1, Timeout: 20 * time.Second}},
		{OfCheck(&mesos.CheckInfo{Type: mesos.CheckInfo_HTTP.Enum(), Http: &mesos.CheckInfo_Http{Port: proto.Uint32(2)}}).Target,
			Target{Type: HTTP, Address: "127.0.0.1", Port: 2, Path: "/", Timeout: 20 * time.Second}},
		{OfCheck(&mesos.CheckInfo{Type: mesos.CheckInfo_TCP.Enum(), Tcp: &mesos.CheckInfo_Tcp{Port: proto.Uint32(3)}, TimeoutSeconds: proto.Float64(1e300)}).Target,
			Target{Type: TCP, Address: "127.0.0.1", Port: 3, Timeout: 100 * 365 * 24 * time.Hour}},
		{probe("10.0.0.1", func(*mesos.Probe) {}), Target{Type: HTTP, Address: "10.0.0.1", Port: 8, Path: "/", Timeout: 20 * time.Second, Outside: true}},
		{probe("10.0.0.1", func(p *mesos.Probe) {
			p.Protocol, p.TimeoutSeconds, p.IgnoreHttp_1Xx = mesos.Probe_HTTPS.Enum(), proto.Float64(0), proto.Bool(true)
		}), Target{Type: HTTPS, Address: "10.0.0.1", Port: 8, Path: "/", Timeout: time.Minute, Outside: true, Ignore1xx: true}},
		{probe("10.0.0.1", func(p *mesos.Probe) { p.Protocol, p.IpProtocol = mesos.Probe_TCP.Enum(), six }),
			Target{Type: TCP, Port: 8, Path: "/", Timeout: 20 * time.Second, Outside: true}},
		{probe("fd00::1", func(p *mesos.Probe) { p.IpProtocol = six }), Target{Type: HTTP, Address: "fd00::1", Port: 8, Path: "/", Timeout: 20 * time.Second, Outside: true}},
	} {
		if c.got != c.want {
			t.Errorf("%+v, want %+v", c.got, c.want)
		}
	}
}

// TestOneAtATime: a timer that fires twice asks once, and an answer counts once.
func TestOneAtATime(t *testing.T) {
	c := New(health(), State{})
	c.Start(at(0), 0)
	if !c.Fire(at(1)).Ask || c.Fire(at(2)).Ask {
		t.Error("asked twice")
	}
	if !c.Answer(at(3), good).Report {
		t.Error("the answer does not count")
	}
	if o := c.Answer(at(4), bad); o != (Outcome{}) || !*c.Healthy() {
		t.Errorf("an answer nobody asked for: %+v", o)
	}
}

// TestHealthyBeforeTheFirstResult: nothing is said until something counts.
func TestHealthyBeforeTheFirstResult(t *testing.T) {
	c := New(health(), State{})
	if c.Healthy() != nil {
		t.Error("said before it is known")
	}
	if h := New(health(), State{Failures: 1}).Healthy(); h == nil || *h {
		t.Error("a failure that counted is forgotten")
	}
}
