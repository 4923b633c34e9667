package codec_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/internal/codec"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

func TestAccept(t *testing.T) {
	tests := []struct {
		accept string
		want   codec.Codec
		ok     bool
	}{
		{"application/json", codec.JSON, true},
		{"application/x-protobuf", codec.Protobuf, true},
		{"application/x-protobuf, application/json", codec.JSON, true},
		{"*/*", codec.JSON, true},
		{"application/*", codec.JSON, true},
		{"text/html, */*;q=0.1", codec.JSON, true},
		{"application/json;q=0, application/x-protobuf", codec.Protobuf, true},
		{"application/json;q=0, */*", codec.Protobuf, true},
		{"text/html", 0, false},
		{"application/recordio", 0, false},
		{";;;", 0, false},
	}
	for _, tt := range tests {
		got, ok := codec.Accept([]string{tt.accept})
		if got != tt.want || ok != tt.ok {
			t.Errorf("Accept: %s gives %v, %v; want %v, %v", tt.accept, got, ok, tt.want, tt.ok)
		}
	}
	if got, ok := codec.Accept(nil); got != codec.JSON || !ok {
		t.Errorf("without an Accept header: %v, %v; want JSON", got, ok)
	}
}

func TestContentTypeIsExact(t *testing.T) {
	for _, s := range []string{"", "application/json; charset=utf-8", "Application/JSON", "text/plain"} {
		if _, ok := codec.Of(s); ok {
			t.Errorf("%q taken as a content type", s)
		}
	}
	for c := range codec.Count {
		if got, ok := codec.Of(c.String()); !ok || got != c {
			t.Errorf("%v does not name itself", c)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	call := &schedulerpb.Call{
		Type:        schedulerpb.Call_KILL.Enum(),
		FrameworkId: &mesos.FrameworkID{Value: proto.String("f")},
		Kill:        &schedulerpb.Call_Kill{TaskId: &mesos.TaskID{Value: proto.String("{[\"t")}},
	}
	for c := range codec.Count {
		b, err := c.Append(nil, call)
		if err != nil {
			t.Fatal(err)
		}
		var got schedulerpb.Call
		if err := c.Unmarshal(b, &got); err != nil || !proto.Equal(&got, call) {
			t.Errorf("%v: %v, %v", c, &got, err)
		}
	}
}

func TestMissingRequiredField(t *testing.T) {
	call := &schedulerpb.Call{Type: schedulerpb.Call_KILL.Enum(), Kill: &schedulerpb.Call_Kill{}}
	b, err := proto.MarshalOptions{AllowPartial: true}.Marshal(call)
	if err != nil {
		t.Fatal(err)
	}
	bodies := [codec.Count][]byte{codec.JSON: []byte(`{"type":"KILL","kill":{}}`), codec.Protobuf: b}
	for c, body := range bodies {
		err := codec.Codec(c).Unmarshal(body, &schedulerpb.Call{})
		if err == nil || !strings.Contains(err.Error(), "kill.task_id") {
			t.Errorf("%v: %v, want an error that names kill.task_id", codec.Codec(c), err)
		}
	}
}

func TestHostileBodiesAreRefusedCheaply(t *testing.T) {
	dense := append([]byte(`{"accept":{"offer_ids":[`), bytes.Repeat([]byte(`{},`), codec.MaxMessages+1)...)
	offers := bytes.Repeat(protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), nil), codec.MaxMessages+1)
	densePB := protowire.AppendBytes(protowire.AppendTag(nil, 4, protowire.BytesType), offers)
	for c, body := range [codec.Count][]byte{codec.JSON: dense, codec.Protobuf: densePB} {
		if err := codec.Codec(c).Unmarshal(body, &schedulerpb.Call{}); !errors.Is(err, codec.ErrTooMany) {
			t.Errorf("%v: dense body: %v, want ErrTooMany", codec.Codec(c), err)
		}
	}

	var deep []byte // ContainerID.parent is the one message that contains itself
	for range 10_000 {
		deep = protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), deep)
	}
	if err := codec.Protobuf.Unmarshal(deep, &mesos.ContainerID{}); err == nil || !strings.Contains(err.Error(), "deeper") {
		t.Errorf("10,000 levels of protobuf: %v", err)
	}
	nested := strings.Repeat(`{"parent":`, 10_000)
	if err := codec.JSON.Unmarshal([]byte(nested), &mesos.ContainerID{}); err == nil || !strings.Contains(err.Error(), "deeper") {
		t.Errorf("10,000 levels of JSON: %v", err)
	}
}

func FuzzUnmarshal(f *testing.F) {
	f.Add([]byte(`{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n"}}}`), false)
	f.Add([]byte{0x10, 0x01}, true)
	f.Fuzz(func(t *testing.T, b []byte, binary bool) {
		c := codec.JSON
		if binary {
			c = codec.Protobuf
		}
		var m schedulerpb.Call
		if c.Unmarshal(b, &m) != nil {
			return
		}
		out, err := c.Append(nil, &m)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if err := c.Unmarshal(out, &schedulerpb.Call{}); err != nil {
			t.Fatalf("what was written cannot be read: %v\n%q", err, out)
		}
	})
}
