package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// maxDepth bounds how deep a document may be nested.
const maxDepth = 64

// wellFormed returns the one JSON value in a body, or refuses what is none or nested too
// deep. It is its own scanner because it must stop at the depth, and because the standard
// one takes three times as long, which adds up at 10 MiB.
func wellFormed(body []byte) ([]byte, ends, error) {
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	s := scanner{body, ends{}}
	start := blank(body, 0)
	end := s.scan(start, 0)
	switch {
	case end <= tooDeep:
		return nil, nil, malformed(fmt.Sprintf("nested more than %d levels deep%s", maxDepth, position(body, tooDeep-end)))
	case end == cut:
		return nil, nil, malformed("unexpected end of JSON input" + position(body, len(body)-1))
	case end < 0 || blank(body, end) != len(body):
		return nil, nil, complaint(body)
	}
	return body[start:end], s.ends, nil
}

// ends are where long objects and arrays end, so that nobody walks through them again at
// each level: how many bytes of the document lie behind the end, by how many lie behind
// the beginning.
type ends map[int]int

// long is from what length on they are noted.
const long = 4 << 10

type scanner struct {
	b    []byte
	ends ends
}

// scan returns the index after the value that begins at i, broken if there is none, cut if
// the document ends inside of it, or tooDeep less the index at which a value begins that
// is nested too deep.
func (s *scanner) scan(i, depth int) int {
	b := s.b
	if i >= len(b) {
		return cut
	}
	switch c := b[i]; c {
	case '"':
		return scanString(b, i)
	case '{', '[':
		if depth == maxDepth {
			return tooDeep - i
		}
		end := s.inside(i, depth+1)
		if end-i >= long {
			s.ends[cap(b)-i] = cap(b) - end
		}
		return end
	case 't':
		return scanWord(b, i, "true")
	case 'f':
		return scanWord(b, i, "false")
	case 'n':
		return scanWord(b, i, "null")
	}
	return scanNumber(b, i)
}

const broken, cut, tooDeep = -1, -2, -3

// inside scans an object or an array.
func (s *scanner) inside(i, depth int) int {
	b := s.b
	isObject, last := b[i] == '{', byte(']')
	if isObject {
		last = '}'
	}
	if i = blank(b, i+1); i < len(b) && b[i] == last {
		return i + 1
	}
	for {
		if isObject {
			if i >= len(b) {
				return cut
			}
			if b[i] != '"' {
				return broken
			}
			if i = scanString(b, i); i < 0 {
				return i
			}
			if i = blank(b, i); i >= len(b) {
				return cut
			}
			if b[i] != ':' {
				return broken
			}
			i = blank(b, i+1)
		}
		if i = s.scan(i, depth); i < 0 {
			return i
		}
		if i = blank(b, i); i >= len(b) {
			return cut
		}
		switch b[i] {
		case last:
			return i + 1
		case ',':
			i = blank(b, i+1)
		default:
			return broken
		}
	}
}

func scanString(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return i + 1
		case c < ' ':
			return broken
		case c == '\\':
			if i++; i >= len(b) {
				return cut
			}
			switch b[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				for range 4 {
					if i++; i >= len(b) || !isHex(b[i]) {
						return broken
					}
				}
			default:
				return broken
			}
		}
	}
	return cut
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func scanWord(b []byte, i int, word string) int {
	if len(b)-i < len(word) || string(b[i:i+len(word)]) != word {
		return broken
	}
	return i + len(word)
}

func scanNumber(b []byte, i int) int {
	if b[i] == '-' {
		i++
	}
	whole := i
	if i = digits(b, i); i == whole || b[whole] == '0' && i > whole+1 {
		return broken
	}
	if i < len(b) && b[i] == '.' {
		start := i + 1
		if i = digits(b, start); i == start {
			return broken
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		start := i
		if i = digits(b, i); i == start {
			return broken
		}
	}
	return i
}

func digits(b []byte, i int) int {
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	return i
}

func position(body []byte, at int) string {
	before := body[:min(max(at, 0), len(body))]
	line := bytes.Count(before, []byte{'\n'}) + 1
	return fmt.Sprintf(" at line %d, column %d", line, len(before)-bytes.LastIndexByte(before, '\n'))
}

func blank(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// What follows expects well-formed JSON.

func stringEnd(b []byte, i int) int {
	for i++; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i + 1
}

func (e ends) valueEnd(b []byte, i int) int {
	switch b[i] {
	case '"':
		return stringEnd(b, i)
	case '{', '[':
		if behind, ok := e[cap(b)-i]; ok {
			return cap(b) - behind
		}
		for depth := 0; ; i++ {
			switch b[i] {
			case '"':
				i = stringEnd(b, i) - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
	}
	for ; i < len(b); i++ {
		switch b[i] {
		case ',', ']', '}', ' ', '\t', '\r', '\n':
			return i
		}
	}
	return i
}

// members calls f for each member of an object until it returns false.
func (e ends) members(b []byte, f func(key, value []byte) bool) {
	for i := blank(b, 1); b[i] != '}'; {
		key := b[i:stringEnd(b, i)]
		i = blank(b, i+len(key))
		i = blank(b, i+1) // the colon
		value := b[i:e.valueEnd(b, i)]
		if !f(key, value) {
			return
		}
		if i = blank(b, i+len(value)); b[i] == ',' {
			i = blank(b, i+1)
		}
	}
}

// elements calls f for each element of an array until it returns false.
func (e ends) elements(b []byte, f func(value []byte) bool) {
	for i := blank(b, 1); b[i] != ']'; {
		value := b[i:e.valueEnd(b, i)]
		if !f(value) {
			return
		}
		if i = blank(b, i+len(value)); b[i] == ',' {
			i = blank(b, i+1)
		}
	}
}

// unquote makes the string that a literal stands for; what is not UTF-8 becomes U+FFFD.
func unquote(quoted []byte) string {
	if inner := quoted[1 : len(quoted)-1]; bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return string(inner)
	}
	var s string
	_ = json.Unmarshal(quoted, &s) // a well-formed literal always decodes
	return s
}

// maxName is longer than any name a field has.
const maxName = 64

// escaped puts into to a name that is written with escapes and that a field may have: of
// ASCII, and not long. It is empty for others.
func escaped(quoted []byte, to *[maxName]byte) []byte {
	n := 0
	for i := 1; i < len(quoted)-1; i++ {
		c := quoted[i]
		if c == '\\' {
			i++
			if c = quoted[i]; c == 'u' {
				v, err := strconv.ParseUint(string(quoted[i+1:i+5]), 16, 7)
				if err != nil {
					return nil
				}
				c = byte(v)
				i += 4
			}
		}
		if n == len(to) {
			return nil
		}
		to[n] = c
		n++
	}
	return to[:n]
}
