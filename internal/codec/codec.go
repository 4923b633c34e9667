// Package codec has the two encodings of every Mesos v1 endpoint, JSON and protobuf, and
// the header rules that choose between them.
package codec

import (
	"bytes"
	"fmt"
	"mime"
	"strconv"
	"strings"

	"github.com/stoa-kernel/stoa/api/mesosjson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Codec is an encoding of messages.
type Codec uint8

const (
	JSON Codec = iota
	Protobuf
	// Count is the number of codecs, for arrays indexed by one.
	Count
)

// MaxMessages is how many messages one body may hold, counted at every level, and how many
// elements that are none in its lists. A client that sends two bytes for each would
// otherwise cost fifty times its body in memory.
const MaxMessages = 200_000

// maxUnknown is how many bytes of fields that no message here has are kept. They are for
// programs newer than this one, which add a few.
const maxUnknown = 1 << 20

// ErrTooMany is what the error for a body of more than MaxMessages is.
var ErrTooMany = tooMany("messages")

type tooMany string

func (t tooMany) Error() string {
	return "more than " + strconv.Itoa(MaxMessages) + " " + string(t) + " in one body"
}

// Is makes all of them ErrTooMany.
func (tooMany) Is(target error) bool { return target == ErrTooMany }

// String is the content type.
func (c Codec) String() string {
	if c == Protobuf {
		return "application/x-protobuf"
	}
	return "application/json"
}

// Of is the codec of a Content-Type, compared as Mesos does: exactly, without parameters.
func Of(contentType string) (Codec, bool) {
	for c := range Count {
		if contentType == c.String() {
			return c, true
		}
	}
	return 0, false
}

// Accept chooses from the values of an Accept header: JSON if both are acceptable or
// nothing is said, as Mesos does. A quality of 0 refuses a type.
func Accept(values []string) (Codec, bool) {
	if len(values) == 0 {
		return JSON, true
	}
	var allowed, refused [Count]bool
	for _, value := range values {
		for item := range strings.SplitSeq(value, ",") {
			kind, params, err := mime.ParseMediaType(item)
			if err != nil {
				continue
			}
			q, err := strconv.ParseFloat(params["q"], 64)
			zero := err == nil && q == 0
			for c := range Count {
				switch {
				case kind == c.String() && zero:
					refused[c] = true
				case !zero && (kind == c.String() || kind == "*/*" || kind == "application/*"):
					allowed[c] = true
				}
			}
		}
	}
	for c := range Count {
		if allowed[c] && !refused[c] {
			return c, true
		}
	}
	return 0, false
}

// Append appends the encoding of m to b. JSON is one line.
func (c Codec) Append(b []byte, m proto.Message) ([]byte, error) {
	return c.append(b, m, proto.MarshalOptions{})
}

// AppendSized is Append for a message that proto.Size was called on and that did not change
// since: it is not measured again, nor searched for missing required fields, as JSON never is.
func (c Codec) AppendSized(b []byte, m proto.Message) ([]byte, error) {
	return c.append(b, m, proto.MarshalOptions{UseCachedSize: true, AllowPartial: true})
}

func (c Codec) append(b []byte, m proto.Message, options proto.MarshalOptions) ([]byte, error) {
	if c == Protobuf {
		out, err := options.MarshalAppend(b, m)
		if err != nil {
			return b, fmt.Errorf("encode %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
		}
		return out, nil
	}
	return mesosjson.Append(b, m), nil
}

// Unmarshal fills m from a body of bounded length. The memory it takes is bounded too:
// JSON nests at most mesosjson.MaxDepth deep, protobuf as deep, and there are at most
// MaxMessages messages. A missing required field is an error, wherever it is.
func (c Codec) Unmarshal(b []byte, m proto.Message) error {
	return c.UnmarshalIn(b, m, nil)
}

// short is the length up to which a body breaks no bound and is not worth counting.
const short = 2 * mesosjson.MaxDepth

// UnmarshalIn is Unmarshal that asks for room, unless room is nil, before it builds
// anything: cost is about how many bytes m and all in it will take. What room fails with
// is returned as it is.
func (c Codec) UnmarshalIn(b []byte, m proto.Message, room func(cost int) error) error {
	var w weight
	switch {
	case len(b) <= short:
	case c == Protobuf:
		if err := w.add(b, m.ProtoReflect().Descriptor(), 0); err != nil {
			return err
		}
	case room != nil || len(b) > MaxMessages:
		w.addJSON(b)
	}
	switch {
	case w.messages > MaxMessages:
		return ErrTooMany
	case w.elements > MaxMessages:
		return tooMany("elements of lists")
	}
	if room != nil {
		if err := room(len(b) + w.messages*messageCost + w.elements*elementCost); err != nil {
			return err
		}
	}
	if c == JSON {
		if err := mesosjson.Unmarshal(b, m); err != nil {
			return err
		}
	} else if err := (proto.UnmarshalOptions{AllowPartial: true, DiscardUnknown: w.unknown > maxUnknown}).Unmarshal(b, m); err != nil {
		return err
	}
	return mesosjson.CheckRequired(m)
}

// What a message and an element of a list take besides their text, in bytes: the least
// message that has a field, with the list that points to it.
const (
	messageCost = 72
	elementCost = 24
)

// weight is what is in a body that nothing was built of.
type weight struct {
	messages int
	elements int // of lists, that are no messages
	unknown  int // bytes of unknown fields
}

// addJSON counts objects and arrays as messages, whether or not they are known. It takes
// the text for JSON.
func (w *weight) addJSON(b []byte) {
	var lists uint64 // whether each level is a list, the innermost first
	element := false // the next value is one of a list
	for i := 0; i < len(b) && w.messages <= MaxMessages; i++ {
		switch c := b[i]; c {
		case ' ', '\t', '\n', '\r':
			continue
		case '{', '[':
			w.messages++
			lists <<= 1
			if element = c == '['; element {
				lists |= 1
			}
			continue
		case '}', ']':
			lists >>= 1
		case ',':
			element = lists&1 == 1
			continue
		case '"':
			i += stringLen(b[i+1:])
			fallthrough
		default:
			if element {
				w.elements++
			}
		}
		element = false
	}
}

// stringLen is how long the rest of a JSON string is, with the quote that ends it.
func stringLen(b []byte) int {
	for n := 0; ; {
		i := bytes.IndexByte(b[n:], '"')
		if i < 0 {
			return len(b)
		}
		n += i + 1
		escapes := 0
		for escapes < n-1 && b[n-2-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return n
		}
	}
}

// add walks an encoded message.
func (w *weight) add(b []byte, d protoreflect.MessageDescriptor, depth int) error {
	if w.messages++; w.messages > MaxMessages {
		return ErrTooMany
	}
	if depth > mesosjson.MaxDepth {
		return fmt.Errorf("nested deeper than %d levels", mesosjson.MaxDepth)
	}
	fields := d.Fields()
	for len(b) > 0 {
		number, kind, tag := protowire.ConsumeTag(b)
		if tag < 0 {
			return protowire.ParseError(tag)
		}
		n := protowire.ConsumeFieldValue(number, kind, b[tag:])
		if n < 0 {
			return protowire.ParseError(n)
		}
		value := b[tag : tag+n]
		b = b[tag+n:]
		switch f := fields.ByNumber(number); {
		case f == nil:
			w.unknown += tag + n
		case f.Message() != nil && kind == protowire.BytesType:
			inner, _ := protowire.ConsumeBytes(value)
			if err := w.add(inner, f.Message(), depth+1); err != nil {
				return err
			}
		case !f.IsList():
		case kind == protowire.BytesType && f.Kind() != protoreflect.StringKind && f.Kind() != protoreflect.BytesKind:
			w.elements += n // packed, each at least a byte
		default:
			w.elements++
		}
	}
	return nil
}
