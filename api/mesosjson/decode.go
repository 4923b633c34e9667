package mesosjson

import (
	"encoding/base64"
	"math"
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Unmarshal resets m and fills it from one JSON object; a failure is an *Error and leaves
// m half filled. As Mesos does: unknown fields and nulls are ignored, numbers and booleans
// may be in strings, integers may have a fraction (which is cut off) or an exponent, a
// repeated field may be a single value, enum names that are not known are ignored unless
// the field is required, and of duplicate keys the last one counts. Unlike Mesos, numbers
// that do not fit are refused instead of wrapped, and text must be UTF-8.
func Unmarshal(b []byte, m proto.Message) error {
	proto.Reset(m)
	r := m.ProtoReflect()
	d := decoder{tokenizer: tokenizer{in: b}}
	d.space()
	if d.peek() != '{' {
		return d.fail("a JSON object was expected, found " + d.found())
	}
	if e := d.message(r, infoOf(r.Descriptor())); e != nil {
		return e
	}
	d.space()
	if d.pos < len(d.in) {
		return d.fail("the JSON object ends here, but " + d.found() + " follows")
	}
	return nil
}

type decoder struct {
	tokenizer
}

// message reads an object into m, which is empty.
func (d *decoder) message(m protoreflect.Message, info *messageInfo) *Error {
	if e := d.enter(); e != nil {
		return e
	}
	for first := true; ; first = false {
		key, more, e := d.key(first)
		if e != nil {
			return e
		}
		if !more {
			break
		}
		f := info.byName[string(key)]
		if f == nil {
			if e := d.skip(); e != nil {
				return e
			}
			continue
		}
		if m.Has(f.desc) { // a duplicate key
			m.Clear(f.desc)
		}
		if e := d.field(m, f); e != nil {
			return e.under(f.name)
		}
	}
	for _, f := range info.required {
		if !m.Has(f.desc) {
			return d.fail("required field is missing").under(f.name)
		}
	}
	return nil
}

// field reads the value at the current position into field f of m.
func (d *decoder) field(m protoreflect.Message, f *fieldInfo) *Error {
	switch {
	case d.peek() == 'n':
		return d.literal("null")
	case f.list:
		var list protoreflect.List
		return d.list(func() protoreflect.List {
			if list == nil {
				list = m.Mutable(f.desc).List()
			}
			return list
		}, f, 0)
	case f.mapped:
		return d.mapping(m, f)
	case f.message != nil:
		if d.peek() != '{' {
			return d.fail("an object was expected, found " + d.found())
		}
		return d.message(m.Mutable(f.desc).Message(), f.message())
	}
	v, e := d.scalar(f)
	if e == nil && v.IsValid() {
		m.Set(f.desc, v)
	}
	return e
}

// list reads an array, or a single value as if it were in one. The list is made only when
// there is something to put in. Arrays in arrays are flattened, as Mesos does.
func (d *decoder) list(list func() protoreflect.List, f *fieldInfo, n int) *Error {
	if d.peek() != '[' {
		return d.element(list, f)
	}
	if e := d.enter(); e != nil {
		return e
	}
	for first := true; ; first = false {
		more, e := d.next(first, ']')
		if e != nil {
			return e
		}
		if !more {
			return nil
		}
		if e := d.list(list, f, n); e != nil {
			return e.under(index(n))
		}
		n++
	}
}

func (d *decoder) element(list func() protoreflect.List, f *fieldInfo) *Error {
	switch {
	case d.peek() == 'n':
		return d.literal("null")
	case f.message != nil:
		if d.peek() != '{' {
			return d.fail("an object was expected, found " + d.found())
		}
		return d.message(list().AppendMutable().Message(), f.message())
	}
	v, e := d.scalar(f)
	if e == nil && v.IsValid() {
		list().Append(v)
	}
	return e
}

// mapping reads an object into a map field. A null value leaves the entry with its
// default, as Mesos does.
func (d *decoder) mapping(m protoreflect.Message, f *fieldInfo) *Error {
	if d.peek() != '{' {
		return d.fail("an object was expected, found " + d.found())
	}
	if e := d.enter(); e != nil {
		return e
	}
	for first := true; ; first = false {
		name, more, e := d.key(first)
		if e != nil {
			return e
		}
		if !more {
			return nil
		}
		k, e := d.fromText(f.mapKey, name)
		if e != nil {
			return e
		}
		if e := d.entry(m.Mutable(f.desc).Map(), k.MapKey(), f.mapValue); e != nil {
			return e.under("[" + quoteClip(k.String()) + "]")
		}
	}
}

func (d *decoder) entry(entries protoreflect.Map, k protoreflect.MapKey, f *fieldInfo) *Error {
	v := entries.NewValue()
	switch {
	case d.peek() == 'n':
		if e := d.literal("null"); e != nil {
			return e
		}
		if f.message != nil {
			if e := missing(v.Message()); e != nil {
				e.Offset = d.pos
				return e
			}
		}
	case f.message != nil:
		if d.peek() != '{' {
			return d.fail("an object was expected, found " + d.found())
		}
		if e := d.message(v.Message(), f.message()); e != nil {
			return e
		}
	default:
		read, e := d.scalar(f)
		if e != nil {
			return e
		}
		if read.IsValid() {
			v = read
		}
	}
	entries.Set(k, v)
	return nil
}

// scalar reads a value of anything but a message. The zero Value means that it is to be
// ignored.
func (d *decoder) scalar(f *fieldInfo) (protoreflect.Value, *Error) {
	var none protoreflect.Value
	switch c := d.peek(); {
	case c == '"':
		text, e := d.text(true)
		if e != nil {
			return none, e
		}
		return d.fromText(f, text)
	case c == '-' || '0' <= c && c <= '9':
		number, e := d.number()
		if e != nil {
			return none, e
		}
		if !numeric(f.kind) {
			return none, d.fail(f.wants() + " was expected, found a number")
		}
		return d.fromNumber(f, number)
	case (c == 't' || c == 'f') && f.kind == protoreflect.BoolKind:
		if c == 't' {
			return protoreflect.ValueOfBool(true), d.literal("true")
		}
		return protoreflect.ValueOfBool(false), d.literal("false")
	}
	return none, d.fail(f.wants() + " was expected, found " + d.found())
}

// fromText converts the contents of a JSON string, or a map's key.
func (d *decoder) fromText(f *fieldInfo, text []byte) (protoreflect.Value, *Error) {
	var none protoreflect.Value
	switch f.kind {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(string(text)), nil
	case protoreflect.BytesKind:
		raw, err := decodeBase64(text)
		if err != nil {
			return none, d.fail("not base64 (RFC 4648, standard alphabet): " + quoteClip(string(text)))
		}
		return protoreflect.ValueOfBytes(raw), nil
	case protoreflect.EnumKind:
		if n, ok := f.enum.byName[string(text)]; ok {
			return protoreflect.ValueOfEnum(n), nil
		}
		if f.desc.Cardinality() == protoreflect.Required {
			return none, d.fail(quoteClip(string(text)) + " is not a value of enum " + f.enum.name)
		}
		return none, nil
	case protoreflect.BoolKind:
		switch string(trim(text)) {
		case "true":
			return protoreflect.ValueOfBool(true), nil
		case "false":
			return protoreflect.ValueOfBool(false), nil
		}
		return none, d.fail("true or false was expected, found the string " + quoteClip(string(text)))
	}
	if f.kind == protoreflect.DoubleKind || f.kind == protoreflect.FloatKind {
		switch string(text) {
		case "Infinity":
			return f.float(math.Inf(1)), nil
		case "-Infinity":
			return f.float(math.Inf(-1)), nil
		}
	}
	number := trim(text)
	if n := numberLen(number); n == 0 || n != len(number) {
		return none, d.fail("a number was expected, found the string " + quoteClip(string(text)))
	}
	return d.fromNumber(f, number)
}

// fromNumber converts the text of a JSON number for a numeric field.
func (d *decoder) fromNumber(f *fieldInfo, number []byte) (protoreflect.Value, *Error) {
	var none protoreflect.Value
	text := string(number)
	outOfRange := func() (protoreflect.Value, *Error) {
		return none, d.fail(quoteClip(string(number)) + " does not fit into " + f.kind.String())
	}
	switch f.kind {
	case protoreflect.DoubleKind:
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return outOfRange()
		}
		return protoreflect.ValueOfFloat64(v), nil
	case protoreflect.FloatKind:
		v, err := strconv.ParseFloat(text, 32)
		if err != nil {
			return outOfRange()
		}
		return protoreflect.ValueOfFloat32(float32(v)), nil
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		v, ok := parseInt(text)
		if !ok || int64(int32(v)) != v {
			return outOfRange()
		}
		return protoreflect.ValueOfInt32(int32(v)), nil
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		v, ok := parseInt(text)
		if !ok {
			return outOfRange()
		}
		return protoreflect.ValueOfInt64(v), nil
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		v, ok := parseUint(text)
		if !ok || v > math.MaxUint32 {
			return outOfRange()
		}
		return protoreflect.ValueOfUint32(uint32(v)), nil
	default: // Uint64Kind, Fixed64Kind
		v, ok := parseUint(text)
		if !ok {
			return outOfRange()
		}
		return protoreflect.ValueOfUint64(v), nil
	}
}

func (f *fieldInfo) float(v float64) protoreflect.Value {
	if f.kind == protoreflect.FloatKind {
		return protoreflect.ValueOfFloat32(float32(v))
	}
	return protoreflect.ValueOfFloat64(v)
}

// wants names the JSON a scalar field takes, with its article.
func (f *fieldInfo) wants() string {
	switch f.kind {
	case protoreflect.StringKind:
		return "a string"
	case protoreflect.BytesKind:
		return "a base64 string"
	case protoreflect.EnumKind:
		return "a name of enum " + f.enum.name
	case protoreflect.BoolKind:
		return "true or false"
	}
	return "a number"
}

func numeric(k protoreflect.Kind) bool {
	switch k {
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.EnumKind, protoreflect.BoolKind:
		return false
	}
	return true
}

func parseInt(text string) (int64, bool) {
	if v, err := strconv.ParseInt(text, 10, 64); err == nil {
		return v, true
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, false
	}
	v = math.Trunc(v)
	// 1<<63 is a float64, math.MaxInt64 is not.
	if v < -1<<63 || v >= 1<<63 {
		return 0, false
	}
	return int64(v), true
}

func parseUint(text string) (uint64, bool) {
	if v, err := strconv.ParseUint(text, 10, 64); err == nil {
		return v, true
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, false
	}
	v = math.Trunc(v)
	if v < 0 || v >= 1<<64 {
		return 0, false
	}
	return uint64(v), true
}

// decodeBase64 accepts what Mesos does: white space anywhere, padding optional.
func decodeBase64(text []byte) ([]byte, error) {
	if raw, err := base64.StdEncoding.AppendDecode(nil, text); err == nil {
		return raw, nil
	}
	if i := slices.Index(text, '='); i >= 0 {
		text = text[:i]
	}
	text = slices.DeleteFunc(slices.Clone(text), func(c byte) bool {
		return c == ' ' || '\t' <= c && c <= '\r'
	})
	return base64.RawStdEncoding.AppendDecode(nil, text)
}
