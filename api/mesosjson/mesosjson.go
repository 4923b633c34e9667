// Package mesosjson reads and writes protocol buffers in the JSON dialect of Apache
// Mesos, which is not the canonical mapping of protobuf: names are those of the .proto
// (snake_case), enums are names, bytes are standard base64, 64-bit integers are JSON
// numbers, and unset optional fields that declare a default are written with it. Behaviour
// follows Mesos 1.11 (3rdparty/stout/include/stout/{protobuf,jsonify,json}.hpp).
//
// The package does no I/O. A decoder's memory is bounded by a multiple of its input's
// size (about 50 for an input of nothing but "{}"), so the caller bounds the input.
package mesosjson

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// MaxDepth is how deep objects and arrays may nest, in the input of Unmarshal and of
// what is skipped in it. The deepest message frameworks send has about 15 levels.
const MaxDepth = 64

// Error says what is wrong with a JSON text, and where.
type Error struct {
	// Path names the field from the outermost message on, as in
	// "accept.operations[2].launch"; empty for the outermost message itself.
	Path string
	// Offset is the byte of the input at which reading stopped, or -1 if the error
	// did not come from an input.
	Offset int
	// Reason says what was found and what would be right.
	Reason string
}

func (e *Error) Error() string {
	if e.Path == "" {
		return e.Reason
	}
	return e.Path + ": " + e.Reason
}

// under prefixes the path with the field, index or map key the error came out of.
func (e *Error) under(segment string) *Error {
	if e.Path != "" && e.Path[0] != '[' {
		segment += "."
	}
	e.Path = segment + e.Path
	return e
}

// messageInfo is what both directions need to know of a message type, computed once.
type messageInfo struct {
	// fields in the order of declaration, which is the order Mesos writes them in.
	fields []*fieldInfo
	byName map[string]*fieldInfo
	// required fields only.
	required []*fieldInfo
}

type fieldInfo struct {
	desc protoreflect.FieldDescriptor
	kind protoreflect.Kind
	name string
	// key is the name as it is written: quoted, with a colon.
	key string
	// list and mapped exclude each other; neither means singular.
	list, mapped bool
	// writeDefault says that an unset field is written with its default.
	writeDefault bool
	defaultText  []byte
	// message is the type of a singular or repeated message field. It is resolved
	// on first use because message types refer to each other in circles.
	message func() *messageInfo
	enum    *enumInfo
	// mapKey and mapValue describe the two halves of a map's entry.
	mapKey, mapValue *fieldInfo
}

type enumInfo struct {
	name     string
	byName   map[string]protoreflect.EnumNumber
	byNumber map[protoreflect.EnumNumber]string // quoted
}

// infos caches *messageInfo by protoreflect.MessageDescriptor. Types are few and live as
// long as the process.
var infos sync.Map

func infoOf(md protoreflect.MessageDescriptor) *messageInfo {
	if v, ok := infos.Load(md); ok {
		return v.(*messageInfo)
	}
	v, _ := infos.LoadOrStore(md, newInfo(md))
	return v.(*messageInfo)
}

func newInfo(md protoreflect.MessageDescriptor) *messageInfo {
	fds := md.Fields()
	info := &messageInfo{byName: make(map[string]*fieldInfo, fds.Len())}
	for i := range fds.Len() {
		f := newField(fds.Get(i))
		info.fields = append(info.fields, f)
		info.byName[f.name] = f
		if f.desc.Cardinality() == protoreflect.Required {
			info.required = append(info.required, f)
		}
	}
	return info
}

func newField(fd protoreflect.FieldDescriptor) *fieldInfo {
	f := &fieldInfo{
		desc:   fd,
		kind:   fd.Kind(),
		name:   string(fd.Name()),
		key:    `"` + string(fd.Name()) + `":`,
		list:   fd.IsList(),
		mapped: fd.IsMap(),
	}
	switch {
	case f.mapped:
		f.mapKey, f.mapValue = newField(fd.MapKey()), newField(fd.MapValue())
	case fd.Message() != nil:
		f.message = sync.OnceValue(func() *messageInfo { return infoOf(fd.Message()) })
	case fd.Enum() != nil:
		f.enum = newEnum(fd.Enum())
	}
	if fd.HasDefault() && !deprecated(fd) {
		f.writeDefault = true
		f.defaultText = f.appendSingular(nil, fd.Default())
	}
	return f
}

func deprecated(fd protoreflect.FieldDescriptor) bool {
	o, ok := fd.Options().(*descriptorpb.FieldOptions)
	return ok && o.GetDeprecated()
}

func newEnum(ed protoreflect.EnumDescriptor) *enumInfo {
	vs := ed.Values()
	e := &enumInfo{
		name:     string(ed.Name()),
		byName:   make(map[string]protoreflect.EnumNumber, vs.Len()),
		byNumber: make(map[protoreflect.EnumNumber]string, vs.Len()),
	}
	for i := range vs.Len() {
		v := vs.Get(i)
		e.byName[string(v.Name())] = v.Number()
		if _, ok := e.byNumber[v.Number()]; !ok {
			e.byNumber[v.Number()] = `"` + string(v.Name()) + `"`
		}
	}
	return e
}

// CheckRequired reports the first required field that is not set in m, or in a message
// within it, as an *Error with its path; nil if there is none. It is for messages decoded
// from the binary format with AllowPartial, so that both formats name a missing field the
// same way.
func CheckRequired(m proto.Message) error {
	if proto.CheckInitialized(m) == nil {
		return nil
	}
	if e := missing(m.ProtoReflect()); e != nil {
		return e
	}
	return nil
}

func missing(m protoreflect.Message) *Error {
	info := infoOf(m.Descriptor())
	for _, f := range info.required {
		if !m.Has(f.desc) {
			return (&Error{Offset: -1, Reason: "required field is missing"}).under(f.name)
		}
	}
	for _, f := range info.fields {
		if !m.Has(f.desc) {
			continue
		}
		switch {
		case f.mapped && f.mapValue.message != nil:
			entries := m.Get(f.desc).Map()
			for _, k := range sortedKeys(entries) {
				if e := missing(entries.Get(k).Message()); e != nil {
					return e.under("[" + quoteClip(k.String()) + "]").under(f.name)
				}
			}
		case f.message == nil:
		case f.list:
			list := m.Get(f.desc).List()
			for i := range list.Len() {
				if e := missing(list.Get(i).Message()); e != nil {
					return e.under(index(i)).under(f.name)
				}
			}
		default:
			if e := missing(m.Get(f.desc).Message()); e != nil {
				return e.under(f.name)
			}
		}
	}
	return nil
}

// sortedKeys gives maps an order; Mesos writes them in that of its hash table, which
// nobody can rely on.
func sortedKeys(m protoreflect.Map) []protoreflect.MapKey {
	keys := make([]protoreflect.MapKey, 0, m.Len())
	m.Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
		keys = append(keys, k)
		return true
	})
	slices.SortFunc(keys, func(a, b protoreflect.MapKey) int {
		switch x := a.Interface().(type) {
		case string:
			return strings.Compare(x, b.String())
		case int32, int64:
			return cmp.Compare(a.Int(), b.Int())
		case uint32, uint64:
			return cmp.Compare(a.Uint(), b.Uint())
		}
		return strings.Compare(a.String(), b.String()) // bool: "false" < "true"
	})
	return keys
}
