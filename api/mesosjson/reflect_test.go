package mesosjson

import (
	"encoding/json"
	"math/rand/v2"
	"testing"

	agentpb "github.com/stoa-kernel/stoa/api/mesos/v1/agent"
	executorpb "github.com/stoa-kernel/stoa/api/mesos/v1/executor"
	masterpb "github.com/stoa-kernel/stoa/api/mesos/v1/master"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

var roots = []proto.Message{
	new(schedulerpb.Call), new(schedulerpb.Event), new(executorpb.Call), new(executorpb.Event),
	new(masterpb.Call), new(masterpb.Response), new(masterpb.Event), new(agentpb.Call), new(agentpb.Response),
}

// Random messages of every API survive our JSON, which is JSON to others too.
func TestRandomMessages(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, root := range roots {
		for range 100 {
			m := root.ProtoReflect().New()
			fill(rnd, m, 0)
			text := Marshal(m.Interface())
			if !json.Valid(text) {
				t.Fatalf("not JSON: %s", text)
			}
			got := m.New()
			if err := Unmarshal(text, got.Interface()); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			fillDefaults(m)
			if !proto.Equal(m.Interface(), got.Interface()) {
				t.Fatalf("%s\nwas %v\nread %v", text, m.Interface(), got.Interface())
			}
		}
	}
}

// fill sets required fields always and others by chance, to values at the edges of their types.
func fill(rnd *rand.Rand, m protoreflect.Message, depth int) {
	fds := m.Descriptor().Fields()
	for i := range fds.Len() {
		fd := fds.Get(i)
		required := fd.Cardinality() == protoreflect.Required
		if !required && (depth > 5 || rnd.IntN(3) > 0) {
			continue
		}
		value := func(fd protoreflect.FieldDescriptor, fresh func() protoreflect.Value) protoreflect.Value {
			if fd.Message() != nil {
				v := fresh()
				fill(rnd, v.Message(), depth+1)
				return v
			}
			return randomScalar(rnd, fd)
		}
		switch {
		case fd.IsList():
			list := m.NewField(fd).List()
			for range rnd.IntN(3) {
				list.Append(value(fd, list.NewElement))
			}
			if list.Len() > 0 {
				m.Set(fd, protoreflect.ValueOfList(list))
			}
		case fd.IsMap():
			entries := m.Mutable(fd).Map()
			for range 1 + rnd.IntN(3) {
				entries.Set(randomScalar(rnd, fd.MapKey()).MapKey(), value(fd.MapValue(), entries.NewValue))
			}
		default:
			m.Set(fd, value(fd, func() protoreflect.Value { return m.NewField(fd) }))
		}
	}
}

func randomScalar(rnd *rand.Rand, fd protoreflect.FieldDescriptor) protoreflect.Value {
	ints := []int64{0, 1, -1, 1<<31 - 1, -1 << 31, 1<<63 - 1, -1 << 63}
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(rnd.IntN(2) == 0)
	case protoreflect.StringKind:
		return protoreflect.ValueOfString([]string{"", "a", "é€😀", "\x00\"\\\n", "Infinity", "null"}[rnd.IntN(6)])
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte("\x00\xff\xfeabc")[:rnd.IntN(7)])
	case protoreflect.EnumKind:
		values := fd.Enum().Values()
		return protoreflect.ValueOfEnum(values.Get(rnd.IntN(values.Len())).Number())
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64([]float64{0, 1, 0.1, -1e21, 1e-7, 1.7976931348623157e308, 123456789.123456}[rnd.IntN(7)])
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32([]float32{0, 0.1, -1e21}[rnd.IntN(3)])
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(ints[rnd.IntN(5)]))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(ints[rnd.IntN(7)])
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(ints[rnd.IntN(5)]))
	default:
		return protoreflect.ValueOfUint64(uint64(ints[rnd.IntN(7)]))
	}
}

// fillDefaults sets what the encoder writes although it is not set.
func fillDefaults(m protoreflect.Message) {
	for _, f := range infoOf(m.Descriptor()).fields {
		switch {
		case !m.Has(f.desc):
			if f.writeDefault {
				m.Set(f.desc, f.desc.Default())
			}
		case f.mapped && f.mapValue.message != nil:
			m.Get(f.desc).Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				fillDefaults(v.Message())
				return true
			})
		case f.list && f.message != nil:
			list := m.Get(f.desc).List()
			for i := range list.Len() {
				fillDefaults(list.Get(i).Message())
			}
		case f.message != nil:
			fillDefaults(m.Get(f.desc).Message())
		}
	}
}
