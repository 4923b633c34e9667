package registry_test

import (
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	quotapb "github.com/stoa-kernel/stoa/api/mesos/v1/quota"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/master/registry"
	"github.com/stoa-kernel/stoa/master/state"
	"github.com/stoa-kernel/stoa/store"
	"github.com/stoa-kernel/stoa/store/memory"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

func open(t *testing.T, s store.Store) (*registry.Registry, *registry.Contents) {
	t.Helper()
	ctx := context.Background()
	l, err := s.Elect(ctx, "master", nil)
	if err != nil {
		t.Fatal(err)
	}
	r, c, err := registry.Open(ctx, s, l, "test")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Resign(ctx); err != nil {
		t.Fatal(err)
	}
	return r, c
}

var batch = []state.Persist{
	{Table: state.Agents, ID: "m-S0", Record: &stoapb.AgentRecord{
		Info:  &mesos.AgentInfo{Hostname: proto.String("a"), Id: &mesos.AgentID{Value: proto.String("m-S0")}},
		State: stoapb.AgentRecord_UNREACHABLE.Enum(), Since: proto.Int64(7),
	}},
	{Table: state.Frameworks, ID: "m-0000", Record: &stoapb.FrameworkRecord{
		Info: &mesos.FrameworkInfo{User: proto.String("u"), Name: proto.String("n")}, FailoverLeft: proto.Int64(1e9),
	}},
	{Table: state.Quotas, ID: "eng/web", Record: &stoapb.QuotaRecord{Config: &quotapb.QuotaConfig{Role: proto.String("eng/web")}}},
	{Table: state.Weights, ID: "eng", Record: &stoapb.WeightRecord{Info: &mesos.WeightInfo{Weight: proto.Float64(2), Role: proto.String("eng")}}},
	{Table: state.Weights, ID: "gone", Record: &stoapb.WeightRecord{}},
	{Table: state.Weights, ID: "gone"},
}

func TestWhatIsCommittedIsReadBack(t *testing.T) {
	s := memory.New()
	r, c := open(t, s)
	if len(c.Agents)+len(c.Frameworks)+len(c.Quotas)+len(c.Weights) != 0 {
		t.Fatalf("an empty registry holds %+v", c)
	}
	if err := r.Commit(context.Background(), batch); err != nil {
		t.Fatal(err)
	}
	_, c = open(t, s)
	got := []proto.Message{c.Agents[0], c.Frameworks[0], c.Quotas[0], c.Weights[0]}
	for i, m := range got {
		if !proto.Equal(m, batch[i].Record) {
			t.Errorf("%s: read %v, wrote %v", batch[i].ID, m, batch[i].Record)
		}
	}
	if len(c.Weights) != 1 {
		t.Errorf("a deleted record is read: %v", c.Weights)
	}
}

// The golden file is what version 1 wrote; every later version must read it.
func TestGoldenOfVersion1(t *testing.T) {
	ctx := context.Background()
	const file = "testdata/v1.golden"
	if *rewrite {
		s := memory.New()
		r, _ := open(t, s)
		if err := r.Commit(ctx, batch); err != nil {
			t.Fatal(err)
		}
		records, err := s.Load(ctx, "")
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, rec := range records {
			b.WriteString(rec.Key + " " + hex.EncodeToString(rec.Value) + "\n")
		}
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, c, err := openGolden(t, file, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Agents[0].GetInfo().GetId().GetValue(); got != "m-S0" || c.Agents[0].GetState() != stoapb.AgentRecord_UNREACHABLE {
		t.Errorf("agent %v", c.Agents[0])
	}
	if c.Frameworks[0].GetFailoverLeft() != 1e9 || c.Quotas[0].GetConfig().GetRole() != "eng/web" || c.Weights[0].GetInfo().GetWeight() != 2 {
		t.Errorf("read %v %v %v", c.Frameworks[0], c.Quotas[0], c.Weights[0])
	}
}

func openGolden(t *testing.T, file string, change func([]store.Op) []store.Op) (*registry.Registry, *registry.Contents, error) {
	t.Helper()
	ctx := context.Background()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var ops []store.Op
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		raw, err := hex.DecodeString(value)
		if err != nil {
			t.Fatal(err)
		}
		ops = append(ops, store.Op{Key: key, Value: append([]byte{}, raw...)})
	}
	if change != nil {
		ops = change(ops)
	}
	s := memory.New()
	l, err := s.Elect(ctx, "master", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(ctx, l, ops); err != nil {
		t.Fatal(err)
	}
	return registry.Open(ctx, s, l, "test")
}

func TestWhatCannotBeReadIsRefused(t *testing.T) {
	newer, err := proto.Marshal(&stoapb.RegistryHeader{Version: proto.Uint32(registry.Version + 1), WrittenBy: proto.String("9.9")})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		change  func([]store.Op) []store.Op
		says    string
		corrupt bool
	}{
		{"a newer format", func(ops []store.Op) []store.Op {
			return append(ops, store.Op{Key: "master/header", Value: newer})
		}, "written by Stoa 9.9", false},
		{"records without a header", func(ops []store.Op) []store.Op {
			return append(ops, store.Op{Key: "master/header"})
		}, "no header", true},
		{"a table nobody knows", func(ops []store.Op) []store.Op {
			return append(ops, store.Op{Key: "master/pets/rex", Value: []byte{}})
		}, "in no table", true},
		{"a record cut short", func(ops []store.Op) []store.Op {
			return append(ops, store.Op{Key: "master/agents/x", Value: []byte{0x0a, 0x20, 1}})
		}, "does not decode", true},
	} {
		_, _, err := openGolden(t, "testdata/v1.golden", c.change)
		if err == nil || !strings.Contains(err.Error(), c.says) || errors.Is(err, store.ErrCorrupt) != c.corrupt {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
