// Package codec has the two encodings of every Mesos v1 endpoint, JSON and protobuf, and
// the header rules that choose between them.
package codec

import (
	"errors"
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

// MaxMessages is how many messages one body may hold, counted at every level. A client
// that sends two bytes per message would otherwise cost fifty times its body in memory.
const MaxMessages = 200_000

// ErrTooMany is wrapped by Unmarshal's error for a body of more than MaxMessages.
var ErrTooMany = errors.New("more than " + strconv.Itoa(MaxMessages) + " messages in one body")

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
// since: it is not measured again.
func (c Codec) AppendSized(b []byte, m proto.Message) ([]byte, error) {
	return c.append(b, m, proto.MarshalOptions{UseCachedSize: true})
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
	if c == JSON {
		if tooManyObjects(b) {
			return ErrTooMany
		}
		if err := mesosjson.Unmarshal(b, m); err != nil {
			return err
		}
		return mesosjson.CheckRequired(m)
	}
	// A message in a message takes two bytes at least: a short body can break no bound.
	if len(b) > 2*mesosjson.MaxDepth {
		left := MaxMessages
		if err := weigh(b, m.ProtoReflect().Descriptor(), 0, &left); err != nil {
			return err
		}
	}
	if err := (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(b, m); err != nil {
		return err
	}
	return mesosjson.CheckRequired(m)
}

// tooManyObjects counts braces and brackets outside of strings.
func tooManyObjects(b []byte) bool {
	if len(b) <= MaxMessages {
		return false
	}
	n, quoted := 0, false
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '\\':
			if quoted {
				i++
			}
		case '"':
			quoted = !quoted
		case '{', '[':
			if !quoted {
				n++
			}
		}
	}
	return n > MaxMessages
}

// weigh walks an encoded message without building it.
func weigh(b []byte, d protoreflect.MessageDescriptor, depth int, left *int) error {
	if *left--; *left < 0 {
		return ErrTooMany
	}
	if depth > mesosjson.MaxDepth {
		return fmt.Errorf("nested deeper than %d levels", mesosjson.MaxDepth)
	}
	fields := d.Fields()
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		n = protowire.ConsumeFieldValue(number, kind, b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		if f := fields.ByNumber(number); f != nil && f.Message() != nil && kind == protowire.BytesType {
			inner, _ := protowire.ConsumeBytes(b)
			if err := weigh(inner, f.Message(), depth+1, left); err != nil {
				return err
			}
		}
		b = b[n:]
	}
	return nil
}
