// Package codec proves that mesos-go's library reads what Stoa writes and the other way
// round: every message both know, every field set, enums at their extremes, everything
// absent or empty, in protobuf and in JSON. It is a module of its own because mesos-go's
// programs need older versions of what Stoa needs.
package codec

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	gogo "github.com/gogo/protobuf/proto"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	_ "github.com/mesos/mesos-go/api/v1/lib"
	_ "github.com/mesos/mesos-go/api/v1/lib/agent"
	_ "github.com/mesos/mesos-go/api/v1/lib/executor"
	_ "github.com/mesos/mesos-go/api/v1/lib/maintenance"
	_ "github.com/mesos/mesos-go/api/v1/lib/master"
	_ "github.com/mesos/mesos-go/api/v1/lib/quota"
	_ "github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/stoa-kernel/stoa/api/mesosjson"

	_ "github.com/stoa-kernel/stoa/api/mesos/v1"
	_ "github.com/stoa-kernel/stoa/api/mesos/v1/agent"
	_ "github.com/stoa-kernel/stoa/api/mesos/v1/executor"
	_ "github.com/stoa-kernel/stoa/api/mesos/v1/maintenance"
	_ "github.com/stoa-kernel/stoa/api/mesos/v1/master"
	_ "github.com/stoa-kernel/stoa/api/mesos/v1/quota"
	_ "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
)

// theirs is the name mesos-go registers a type under.
func theirs(name protoreflect.FullName) string {
	return "mesos." + strings.TrimPrefix(string(name), "mesos.v1.")
}

// theirEnum is the same for enums, which carry their message's name with underscores.
func theirEnum(e protoreflect.EnumDescriptor) string {
	pkg := theirs(e.ParentFile().Package() + ".x")
	local := strings.TrimPrefix(string(e.FullName()), string(e.ParentFile().Package())+".")
	return strings.TrimSuffix(pkg, "x") + strings.ReplaceAll(local, ".", "_")
}

// known are the field numbers mesos-go's type has, and whether it insists on them; it is
// older than ours.
func known(t reflect.Type) map[protoreflect.FieldNumber]bool {
	out := map[protoreflect.FieldNumber]bool{}
	for i := range t.Elem().NumField() {
		tag := strings.Split(t.Elem().Field(i).Tag.Get("protobuf"), ",")
		if len(tag) < 2 {
			continue
		}
		n, err := strconv.Atoi(tag[1])
		if err != nil {
			panic(err)
		}
		out[protoreflect.FieldNumber(n)] = tag[2] == "req"
	}
	return out
}

// variant is a way of filling messages.
type variant struct {
	name string
	// optional says whether optional fields are set; list how long lists are.
	optional bool
	list     int
	pick     func([]int32) int32
	number   float64
	text     string
}

var variants = []variant{
	{"all set, least enums", true, 2, slices.Min[[]int32], -1.5, "text"},
	{"all set, greatest enums", true, 1, slices.Max[[]int32], 1795380916.179343, "ünïcode \"quoted\" \\ \n\t<>&\u2028"},
	{"empty values", true, 1, slices.Min[[]int32], 0, ""},
	{"only what is required", false, 0, slices.Min[[]int32], 1, "x"},
}

const depth = 7

func fill(m protoreflect.Message, v variant, left int) {
	typ := gogo.MessageType(theirs(m.Descriptor().FullName()))
	if typ == nil {
		return
	}
	has := known(typ)
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		theyRequire, ok := has[f.Number()]
		required := theyRequire || f.Cardinality() == protoreflect.Required
		if !ok || !required && (!v.optional || left == 0) {
			continue
		}
		switch {
		case f.IsMap():
			mp := m.Mutable(f).Map()
			val := mp.NewValue()
			if f.MapValue().Kind() == protoreflect.MessageKind {
				fill(val.Message(), v, left-1)
			} else {
				val = scalar(f.MapValue(), v)
			}
			mp.Set(protoreflect.ValueOfString("key").MapKey(), val)
		case f.IsList():
			for range v.list {
				if f.Kind() == protoreflect.MessageKind {
					if gogo.MessageType(theirs(f.Message().FullName())) == nil {
						break
					}
					fill(m.Mutable(f).List().AppendMutable().Message(), v, left-1)
				} else {
					m.Mutable(f).List().Append(scalar(f, v))
				}
			}
		case f.Kind() == protoreflect.MessageKind:
			if required || gogo.MessageType(theirs(f.Message().FullName())) != nil {
				fill(m.Mutable(f).Message(), v, left-1)
			}
		default:
			m.Set(f, scalar(f, v))
		}
	}
}

func scalar(f protoreflect.FieldDescriptor, v variant) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.EnumKind:
		var both []int32
		their := gogo.EnumValueMap(theirEnum(f.Enum()))
		values := f.Enum().Values()
		for i := range values.Len() {
			if n, ok := their[string(values.Get(i).Name())]; ok && n == int32(values.Get(i).Number()) {
				both = append(both, n)
			}
		}
		if len(both) == 0 {
			panic(fmt.Sprintf("mesos-go has no value of %s", f.Enum().FullName()))
		}
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(v.pick(both)))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(v.number != 0)
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(v.text)
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(v.text + "\x00\xff"))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(v.number)
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(v.number))
	case protoreflect.Int32Kind, protoreflect.Sint32Kind:
		return protoreflect.ValueOfInt32(math.MinInt32)
	case protoreflect.Int64Kind, protoreflect.Sint64Kind:
		return protoreflect.ValueOfInt64(math.MinInt64)
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(math.MaxUint32)
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(math.MaxUint64)
	}
	panic(f.FullName())
}

func TestMesosGoAndStoaReadEachOther(t *testing.T) {
	seen := 0
	protoregistry.GlobalTypes.RangeMessages(func(mt protoreflect.MessageType) bool {
		name := mt.Descriptor().FullName()
		typ := gogo.MessageType(theirs(name))
		if !strings.HasPrefix(string(name), "mesos.v1.") || typ == nil || mt.Descriptor().IsMapEntry() {
			return true
		}
		seen++
		for _, v := range variants {
			m := mt.New()
			fill(m, v, depth)
			ours := m.Interface()
			t.Run(string(name)+"/"+v.name, func(t *testing.T) {
				viaProtobuf(t, ours, typ)
				viaJSON(t, ours, typ)
			})
		}
		return true
	})
	if seen < 200 {
		t.Errorf("only %d messages have a twin in mesos-go", seen)
	}
	t.Logf("%d messages, %d variants each", seen, len(variants))
}

func compare(t *testing.T, codec string, want, got proto.Message) {
	t.Helper()
	if path := difference(want.ProtoReflect(), got.ProtoReflect()); path != "" {
		t.Errorf("%s: the first difference is at %s", codec, path)
	}
}

// difference is the path of the first field in which two messages differ, "" for none.
func difference(a, b protoreflect.Message) string {
	fields := a.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		name := string(f.Name())
		switch {
		case !a.Has(f) && !f.IsList() && f.Kind() == protoreflect.EnumKind && b.Get(f).Enum() == 0:
			// mesos-go cannot tell an absent type from UNKNOWN, and writes that.
		case a.Has(f) != b.Has(f):
			return fmt.Sprintf("%s: set %v, returned %v", name, a.Has(f), b.Has(f))
		case !a.Has(f):
		case f.IsList():
			x, y := a.Get(f).List(), b.Get(f).List()
			if x.Len() != y.Len() {
				return fmt.Sprintf("%s: %d items, returned %d", name, x.Len(), y.Len())
			}
			for j := range x.Len() {
				if f.Kind() == protoreflect.MessageKind {
					if d := difference(x.Get(j).Message(), y.Get(j).Message()); d != "" {
						return name + "." + d
					}
				} else if !x.Get(j).Equal(y.Get(j)) {
					return fmt.Sprintf("%s: %v, returned %v", name, x.Get(j), y.Get(j))
				}
			}
		case f.Kind() == protoreflect.MessageKind && !f.IsMap():
			if d := difference(a.Get(f).Message(), b.Get(f).Message()); d != "" {
				return name + "." + d
			}
		case !a.Get(f).Equal(b.Get(f)):
			return fmt.Sprintf("%s: %.80v, returned %.80v", name, a.Get(f), b.Get(f))
		}
	}
	return ""
}

func viaProtobuf(t *testing.T, ours proto.Message, typ reflect.Type) {
	t.Helper()
	wire, err := proto.Marshal(ours)
	if err != nil {
		t.Fatal(err)
	}
	their := reflect.New(typ.Elem()).Interface().(gogo.Message)
	if err := gogo.Unmarshal(wire, their); err != nil {
		t.Fatalf("mesos-go does not read our protobuf: %v", err)
	}
	back, err := gogo.Marshal(their)
	if err != nil {
		t.Fatalf("mesos-go does not write what it read: %v", err)
	}
	got := ours.ProtoReflect().New().Interface()
	if err := proto.Unmarshal(back, got); err != nil {
		t.Fatalf("we do not read mesos-go's protobuf: %v", err)
	}
	compare(t, "protobuf", ours, got)
}

func viaJSON(t *testing.T, ours proto.Message, typ reflect.Type) {
	t.Helper()
	wire := mesosjson.Marshal(ours)
	their := reflect.New(typ.Elem()).Interface()
	if err := json.Unmarshal(wire, their); err != nil {
		t.Fatalf("mesos-go does not read our JSON: %v\n%.300s", err, wire)
	}
	back, err := json.Marshal(their)
	if err != nil {
		t.Fatalf("mesos-go does not write what it read: %v", err)
	}
	got := ours.ProtoReflect().New().Interface()
	if err := mesosjson.Unmarshal(back, got); err != nil {
		t.Fatalf("we do not read mesos-go's JSON: %v\n%.300s", err, back)
	}
	compare(t, "JSON", normal(ours), normal(got))
}

// normal sets every optional field that is absent but has an explicit default: JSON
// writes those, as Mesos does.
func normal(m proto.Message) proto.Message {
	c := proto.Clone(m)
	var walk func(protoreflect.Message)
	walk = func(r protoreflect.Message) {
		fields := r.Descriptor().Fields()
		for i := range fields.Len() {
			f := fields.Get(i)
			if f.HasDefault() && !r.Has(f) {
				r.Set(f, f.Default())
			}
			if f.Kind() == protoreflect.MessageKind && !f.IsMap() && r.Has(f) {
				if f.IsList() {
					for j := range r.Get(f).List().Len() {
						walk(r.Get(f).List().Get(j).Message())
					}
				} else {
					walk(r.Get(f).Message())
				}
			}
			if f.IsMap() && f.MapValue().Kind() == protoreflect.MessageKind {
				r.Get(f).Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
					walk(v.Message())
					return true
				})
			}
		}
	}
	walk(c.ProtoReflect())
	return c
}
