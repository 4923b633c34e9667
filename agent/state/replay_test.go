package state

import (
	"slices"
	"strings"
	"testing"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"google.golang.org/protobuf/proto"
)

func parse(t *testing.T, text string) resource.Resources {
	t.Helper()
	r, err := resource.Parse(text, "*")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func attribute(name, value string) *mesos.Attribute {
	return &mesos.Attribute{Name: proto.String(name), Type: mesos.Value_TEXT.Enum(), Text: &mesos.Value_Text{Value: proto.String(value)}}
}

// TestReconfigure: resources and attributes may grow over a restart, and nothing else.
func TestReconfigure(t *testing.T) {
	tests := []struct {
		name       string
		resources  string
		attributes []*mesos.Attribute
		refused    string // part of the error
		total      string
	}{
		{"the same", "cpus:8;mem:1024;disk:500", []*mesos.Attribute{attribute("rack", "a")}, "",
			"cpus:8;mem:1024;disk:400;disk(dev):100"},
		{"more", "cpus:9;mem:1024;disk:600;ports:[1-2]", []*mesos.Attribute{attribute("zone", "x"), attribute("rack", "a")}, "",
			"cpus:9;mem:1024;disk:500;disk(dev):100;ports:[1-2]"},
		{"less", "cpus:7;mem:1024;disk:500", []*mesos.Attribute{attribute("rack", "a")}, "they may grow but not shrink", ""},
		{"gone", "cpus:8;disk:500", []*mesos.Attribute{attribute("rack", "a")}, "mem:1024", ""},
		{"another role", "cpus(x):8;mem:1024;disk:500", []*mesos.Attribute{attribute("rack", "a")}, "cpus(", ""},
		{"attribute changed", "cpus:8;mem:1024;disk:500", []*mesos.Attribute{attribute("rack", "b")}, "attribute rack", ""},
		{"attribute gone", "cpus:8;mem:1024;disk:500", nil, "attribute rack", ""},
	}
	for _, tt := range tests {
		for _, compacted := range []bool{false, true} {
			t.Run(tt.name, func(t *testing.T) {
				b := newBench(t)
				b.cfg.Resources = parse(t, "cpus:8;mem:1024;disk:500")
				b.cfg.Info.Attributes = []*mesos.Attribute{attribute("rack", "a")}
				b.agent = New(b.cfg)
				b.up()
				b.frame(&stoapb.ToAgent{Body: &stoapb.ToAgent_ApplyOperation{ApplyOperation: &stoapb.ApplyOperation{
					Epoch: proto.Uint64(1), Operation: operationOf("RESERVE", map[string]string{"disk": "100"}), OperationUuid: []byte("o"),
				}}})
				if compacted {
					b.log = b.agent.Snapshot()
				}
				cfg := b.cfg
				cfg.Info = proto.CloneOf(cfg.Info)
				cfg.Info.Attributes = tt.attributes
				cfg.Resources = parse(t, tt.resources)
				b.cfg = cfg
				a := New(cfg)
				err := a.Replay(b.log)
				if tt.refused != "" {
					if err == nil || !strings.Contains(err.Error(), tt.refused) || !strings.Contains(err.Error(), "empty data directory") {
						t.Fatalf("error %v, want one with %q and the way out", err, tt.refused)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				b.agent = a
				for range 2 {
					// What was added is not added again at the next start.
					b.step(Started{BootID: "boot1"})
					if got := a.total.WithoutReservations(); !got.Equal(cfg.Resources) {
						t.Errorf("total %v, want the sum of %s", a.total, tt.resources)
					}
					if got := a.total.ReservedTo("dev").String(); !strings.Contains(got, "100") {
						t.Errorf("reserved %s, want 100 of disk", got)
					}
					b.restart(false)
					a = b.agent
				}
			})
		}
	}
}

func TestReplayRefusesUnknownRecords(t *testing.T) {
	err := New(testConfig()).Replay([]*stoapb.LogRecord{{}})
	if err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("error %v, want one that says which version is needed", err)
	}
}

// TestSnapshotIsComplete: an agent made from a snapshot has the same snapshot, at every
// point of a life.
func TestSnapshotIsComplete(t *testing.T) {
	w := newWorld(t)
	total := 0
	w.after = func() {
		total++
		one := w.agent.Snapshot()
		a := New(w.cfg)
		if err := a.Replay(one); err != nil {
			t.Fatal(err)
		}
		a.recordedBoot = w.agent.recordedBoot
		two := a.Snapshot()
		if !slices.EqualFunc(one, two, func(x, y *stoapb.LogRecord) bool { return proto.Equal(x, y) }) {
			t.Fatalf("after %d inputs:\n%v\nbecomes\n%v", total, one, two)
		}
	}
	w.play()
	if total < 50 {
		t.Fatalf("only %d inputs", total)
	}
}

// TestIdsDiffer: a restarted agent does not make the ids of its former life again,
// even with the same seed.
func TestIdsDiffer(t *testing.T) {
	b := newBench(t).up()
	b.frame(runTaskFrame(1, frameworkInfo("f"), commandTask("a")))
	first := b.containerOf("f", "a")
	b.restart(false)
	b.step(Started{BootID: "boot1"})
	b.register(2, 1)
	b.frame(runTaskFrame(1, frameworkInfo("f"), commandTask("b")))
	seen := map[string]bool{string(first): true}
	for _, task := range []string{"a", "b"} {
		c := string(b.containerOf("f", task))
		if seen[c] {
			t.Errorf("container id %s of task %s was used before", c, task)
		}
		seen[c] = true
	}
}
