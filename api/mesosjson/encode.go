package mesosjson

import (
	"encoding/base64"
	"math"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Marshal is m as one line of JSON.
func Marshal(m proto.Message) []byte { return Append(nil, m) }

// Append appends m as one line of JSON to b and returns the longer slice. It cannot fail:
// what JSON has no form for gets one that Unmarshal reads or ignores (infinities are the
// strings "Infinity" and "-Infinity", NaN is null, bytes that are not UTF-8 become U+FFFD).
func Append(b []byte, m proto.Message) []byte { return appendMessage(b, m.ProtoReflect()) }

func appendMessage(b []byte, m protoreflect.Message) []byte {
	b = append(b, '{')
	open := len(b)
	for _, f := range infoOf(m.Descriptor()).fields {
		set := m.Has(f.desc)
		if !set && !f.writeDefault {
			continue
		}
		if len(b) > open {
			b = append(b, ',')
		}
		b = append(b, f.key...)
		switch {
		case !set:
			b = append(b, f.defaultText...)
		case f.list:
			b = f.appendList(b, m.Get(f.desc).List())
		case f.mapped:
			b = f.appendMap(b, m.Get(f.desc).Map())
		default:
			b = f.appendSingular(b, m.Get(f.desc))
		}
	}
	return append(b, '}')
}

func (f *fieldInfo) appendList(b []byte, list protoreflect.List) []byte {
	b = append(b, '[')
	for i := range list.Len() {
		if i > 0 {
			b = append(b, ',')
		}
		b = f.appendSingular(b, list.Get(i))
	}
	return append(b, ']')
}

func (f *fieldInfo) appendMap(b []byte, m protoreflect.Map) []byte {
	b = append(b, '{')
	for i, k := range sortedKeys(m) {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, k.String())
		b = append(b, ':')
		b = f.mapValue.appendSingular(b, m.Get(k))
	}
	return append(b, '}')
}

func (f *fieldInfo) appendSingular(b []byte, v protoreflect.Value) []byte {
	switch f.kind {
	case protoreflect.BoolKind:
		return strconv.AppendBool(b, v.Bool())
	case protoreflect.StringKind:
		return appendString(b, v.String())
	case protoreflect.BytesKind:
		b = append(b, '"')
		b = base64.StdEncoding.AppendEncode(b, v.Bytes())
		return append(b, '"')
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		return appendFloat(b, v.Float())
	case protoreflect.EnumKind:
		if name, ok := f.enum.byNumber[v.Enum()]; ok {
			return append(b, name...)
		}
		// As protobuf's C++ reflection names them; readers ignore it.
		b = append(b, `"UNKNOWN_ENUM_VALUE_`...)
		b = append(b, f.enum.name...)
		b = append(b, '_')
		b = strconv.AppendInt(b, int64(v.Enum()), 10)
		return append(b, '"')
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return appendMessage(b, v.Message())
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
		return strconv.AppendUint(b, v.Uint(), 10)
	default:
		return strconv.AppendInt(b, v.Int(), 10)
	}
}

// appendFloat writes the shortest digits that read back as v, laid out as RapidJSON does
// for Mesos: a fraction always ("4.0"), an exponent only from 1e21 and below 1e-6,
// without '+' or leading zeros.
func appendFloat(b []byte, v float64) []byte {
	switch {
	case math.IsNaN(v):
		return append(b, "null"...)
	case math.IsInf(v, 1):
		return append(b, `"Infinity"`...)
	case math.IsInf(v, -1):
		return append(b, `"-Infinity"`...)
	}
	if abs := math.Abs(v); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		start := len(b)
		b = strconv.AppendFloat(b, v, 'e', -1, 64)
		for i := start; i < len(b); i++ {
			if b[i] != 'e' {
				continue
			}
			out := i + 1
			in := out + 1
			if b[out] == '-' {
				out++
			}
			for b[in] == '0' {
				in++
			}
			return append(b[:out], b[in:]...)
		}
		return b
	}
	start := len(b)
	b = strconv.AppendFloat(b, v, 'f', -1, 64)
	for _, c := range b[start:] {
		if c == '.' {
			return b
		}
	}
	return append(b, ".0"...)
}

const hex = "0123456789ABCDEF"

func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				b = append(b, s[start:i]...)
				b = utf8.AppendRune(b, utf8.RuneError)
				start = i + 1
			}
			i += n
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, `\b`...)
		case '\f':
			b = append(b, `\f`...)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		default:
			b = append(b, `\u00`...)
			b = append(b, hex[c>>4], hex[c&15])
		}
		i++
		start = i
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}
