// Package jsontext writes what is written most, byte for byte as encoding/json does, for
// types that are encoded hundreds of thousands of times and know their own form.
package jsontext

import (
	"encoding/json"
	"strconv"
	"time"
)

// String appends a string.
func String(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return Value(b, s)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// Value appends anything else that has a form; what has none is null.
func Value(b []byte, v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		return append(b, "null"...)
	}
	return append(b, text...)
}

// Time appends a time; years that RFC 3339 cannot write are null.
func Time(b []byte, t time.Time) []byte {
	if y := t.Year(); y < 0 || y >= 10000 {
		return append(b, "null"...)
	}
	b = append(b, '"')
	b = t.AppendFormat(b, time.RFC3339Nano)
	return append(b, '"')
}

// Ints appends a list of numbers; nil is null.
func Ints(b []byte, list []int) []byte {
	if list == nil {
		return append(b, "null"...)
	}
	b = append(b, '[')
	for i, n := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(n), 10)
	}
	return append(b, ']')
}
