package state

import (
	"testing"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// TestCopies proves that the hand-written copies know every field, so that one that is
// added to a message is not lost on its way through the master.
func TestCopies(t *testing.T) {
	check := func(in, out proto.Message) {
		t.Helper()
		if !proto.Equal(in, out) {
			t.Errorf("%s: the copy differs: %v", in.ProtoReflect().Descriptor().Name(), out)
		}
	}
	fill := func(m proto.Message) {
		r := m.ProtoReflect()
		fields := r.Descriptor().Fields()
		for i := range fields.Len() {
			f := fields.Get(i)
			switch {
			case f.IsMap():
				r.Mutable(f).Map().Set(protoreflect.ValueOfString("k").MapKey(), r.Mutable(f).Map().NewValue())
			case f.IsList():
				r.Mutable(f).List().Append(r.Mutable(f).List().NewElement())
			case f.Message() != nil:
				r.Set(f, r.NewField(f))
			default:
				r.Set(f, f.Default())
				if f.Kind() == protoreflect.BytesKind {
					r.Set(f, protoreflect.ValueOfBytes([]byte{1}))
				}
			}
			if !r.Has(f) {
				t.Fatalf("%s is not set", f.FullName())
			}
		}
		r.SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 10_000, protowire.VarintType), 7))
	}
	status, task, executor := &mesos.TaskStatus{}, &mesos.TaskInfo{}, &mesos.ExecutorInfo{}
	health, op, opStatus := &mesos.HealthCheck{}, &mesos.Offer_Operation{}, &mesos.OperationStatus{}
	for _, m := range []proto.Message{status, task, executor, health, op, opStatus} {
		fill(m)
	}
	check(status, copyStatus(status))
	check(task, copyTask(task))
	check(executor, copyExecutor(executor))
	check(health, copyHealthCheck(health))
	check(op, copyOperation(op))
	check(opStatus, copyOperationStatus(opStatus))

	kept := withoutData(status)
	if kept.Data != nil || status.Data == nil || kept.GetUuid() == nil {
		t.Error("withoutData takes the data off a copy, and nothing else")
	}
}
