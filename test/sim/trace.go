package main

import (
	"encoding/binary"
	"fmt"
	"hash/crc64"
	"time"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

var table = crc64.MakeTable(crc64.ECMA)

// trace is a running hash of everything that goes into the cores and comes out of
// them, and optionally a text of it.
type trace struct {
	sum  uint64
	buf  []byte
	sink func(string)
}

// note takes one input or effect: who, what kind, its plain fields and its message.
func (t *trace) note(now time.Duration, who, kind string, m proto.Message, fields ...any) {
	b := binary.BigEndian.AppendUint64(t.buf[:0], uint64(now))
	b = append(b, who...)
	b = append(b, 0)
	b = append(b, kind...)
	b = append(b, 0)
	for _, f := range fields {
		switch f := f.(type) {
		case string:
			b = append(b, f...)
		case int:
			b = binary.BigEndian.AppendUint64(b, uint64(f))
		case uint64:
			b = binary.BigEndian.AppendUint64(b, f)
		case time.Duration:
			b = binary.BigEndian.AppendUint64(b, uint64(f))
		default:
			b = fmt.Appendf(b, "%v", f)
		}
		b = append(b, 0)
	}
	if m != nil {
		var err error
		if b, err = (proto.MarshalOptions{Deterministic: true, AllowPartial: true}).MarshalAppend(b, m); err != nil {
			b = append(b, err.Error()...)
		}
	}
	t.sum = crc64.Update(t.sum, table, b)
	t.buf = b
	if t.sink != nil {
		line := fmt.Sprintf("%12.6f %-10s %s", now.Seconds(), who, kind)
		for _, f := range fields {
			line += fmt.Sprintf(" %v", f)
		}
		if m != nil {
			line += " " + prototext.MarshalOptions{AllowPartial: true}.Format(m)
		}
		t.sink(line)
	}
}

// say is a remark of the simulator itself: a fault, a choice.
func (w *world) say(format string, args ...any) {
	if w.trace.sink != nil {
		w.trace.sink(fmt.Sprintf("%12.6f -- ", w.now.Seconds()) + fmt.Sprintf(format, args...))
	}
}
