package mesosjson

import (
	"bytes"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// tokenizer walks over a JSON text without building anything. The position is always at
// the next byte that is not white space, except inside its own methods.
type tokenizer struct {
	in    []byte
	pos   int
	depth int
	// scratch holds the last string that had escapes.
	scratch []byte
}

func (t *tokenizer) fail(reason string) *Error { return &Error{Offset: t.pos, Reason: reason} }

// peek is the next byte, 0 at the end of the input.
func (t *tokenizer) peek() byte {
	if t.pos < len(t.in) {
		return t.in[t.pos]
	}
	return 0
}

func (t *tokenizer) space() {
	for t.pos < len(t.in) {
		switch t.in[t.pos] {
		case ' ', '\t', '\n', '\r':
			t.pos++
		default:
			return
		}
	}
}

// found describes what is at the current position, for error texts.
func (t *tokenizer) found() string {
	if t.pos >= len(t.in) {
		return "the end of the text"
	}
	switch c := t.in[t.pos]; {
	case c == '{':
		return "an object"
	case c == '[':
		return "an array"
	case c == '"':
		return "a string"
	case c == '-' || '0' <= c && c <= '9':
		return "a number"
	case c == 't' || c == 'f':
		return "a boolean"
	case c == 'n':
		return "null"
	case c < utf8.RuneSelf:
		return strconv.QuoteRuneToASCII(rune(c))
	default:
		return "a character that is not ASCII"
	}
}

// enter goes into the object or array at the current position; next or key come out of it.
func (t *tokenizer) enter() *Error {
	if t.depth == MaxDepth {
		return t.fail("nested deeper than " + strconv.Itoa(MaxDepth) + " levels")
	}
	t.depth++
	t.pos++
	return nil
}

// next goes to the next element of the object or array entered last, or, with more
// false, behind its end.
func (t *tokenizer) next(first bool, end byte) (more bool, e *Error) {
	t.space()
	switch {
	case t.peek() == end:
		t.pos++
		t.depth--
		return false, nil
	case first:
		return true, nil
	case t.peek() != ',':
		return false, t.fail("',' or '" + string(rune(end)) + "' was expected, found " + t.found())
	}
	t.pos++
	t.space()
	return true, nil
}

// key reads the next key of the object entered last and goes to its value. The bytes are
// good until the next string is read.
func (t *tokenizer) key(first bool) (key []byte, more bool, e *Error) {
	if more, e = t.next(first, '}'); e != nil || !more {
		return nil, false, e
	}
	if t.peek() != '"' {
		return nil, false, t.fail("a quoted field name was expected, found " + t.found())
	}
	if key, e = t.text(true); e != nil {
		return nil, false, e
	}
	t.space()
	if t.peek() != ':' {
		return nil, false, t.fail("':' was expected, found " + t.found())
	}
	t.pos++
	t.space()
	return key, true, nil
}

// skip goes behind the value at the current position, checking its syntax.
func (t *tokenizer) skip() *Error {
	switch c := t.peek(); {
	case c == '"':
		_, e := t.text(false)
		return e
	case c == '-' || '0' <= c && c <= '9':
		_, e := t.number()
		return e
	case c == 't':
		return t.literal("true")
	case c == 'f':
		return t.literal("false")
	case c == 'n':
		return t.literal("null")
	case c == '{':
		if e := t.enter(); e != nil {
			return e
		}
		for first := true; ; first = false {
			_, more, e := t.key(first)
			if e != nil || !more {
				return e
			}
			if e := t.skip(); e != nil {
				return e
			}
		}
	case c == '[':
		if e := t.enter(); e != nil {
			return e
		}
		for first := true; ; first = false {
			more, e := t.next(first, ']')
			if e != nil || !more {
				return e
			}
			if e := t.skip(); e != nil {
				return e
			}
		}
	}
	return t.fail("a value was expected, found " + t.found())
}

func (t *tokenizer) literal(word string) *Error {
	if !bytes.HasPrefix(t.in[t.pos:], []byte(word)) {
		return t.fail("a value was expected, found " + quoteClip(string(t.in[t.pos:min(len(t.in), t.pos+len(word))])))
	}
	t.pos += len(word)
	return nil
}

func (t *tokenizer) number() ([]byte, *Error) {
	n := numberLen(t.in[t.pos:])
	if n == 0 {
		return nil, t.fail("this is not a JSON number")
	}
	t.pos += n
	return t.in[t.pos-n : t.pos], nil
}

// numberLen is the length of the longest JSON number b begins with, 0 if there is none.
func numberLen(b []byte) int {
	i := 0
	digits := func() bool {
		start := i
		for i < len(b) && '0' <= b[i] && b[i] <= '9' {
			i++
		}
		return i > start
	}
	if i < len(b) && b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if !digits() {
		return 0
	}
	if i < len(b) && b[i] == '.' {
		i++
		if !digits() {
			return 0
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if !digits() {
			return 0
		}
	}
	return i
}

// text reads the string at the current position. The bytes are good until the next
// string is read; unless wanted they are not to be looked at.
func (t *tokenizer) text(wanted bool) ([]byte, *Error) {
	t.pos++
	start := t.pos
	ascii := true
	for i := start; i < len(t.in); i++ {
		switch c := t.in[i]; {
		case c == '"':
			t.pos = i + 1
			if !ascii && !utf8.Valid(t.in[start:i]) {
				t.pos = start
				return nil, t.fail("this string is not valid UTF-8")
			}
			return t.in[start:i], nil
		case c == '\\':
			t.pos = i
			t.scratch = t.scratch[:0]
			if wanted {
				// As a rule all of it: what is appended piece by piece leaves as much again behind.
				t.scratch = slices.Grow(t.scratch, max(0, i-start+bytes.IndexByte(t.in[i:], '"')))
				t.scratch = append(t.scratch, t.in[start:i]...)
			}
			return t.escaped(start, wanted)
		case c < ' ':
			t.pos = i
			return nil, t.fail("control characters in a string must be escaped")
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	t.pos = len(t.in)
	return nil, t.fail("the text ends inside a string")
}

// escaped reads the rest of a string from its first escape on.
func (t *tokenizer) escaped(start int, wanted bool) ([]byte, *Error) {
	for t.pos < len(t.in) {
		switch c := t.in[t.pos]; {
		case c == '"':
			text := t.scratch
			if !wanted { // escapes are valid, so the rest is if they are with it
				text = t.in[start:t.pos]
			}
			t.pos++
			if !utf8.Valid(text) {
				t.pos = start
				return nil, t.fail("this string is not valid UTF-8")
			}
			return text, nil
		case c == '\\':
			r, e := t.escape()
			if e != nil {
				return nil, e
			}
			if wanted {
				t.scratch = utf8.AppendRune(t.scratch, r)
			}
		case c < ' ':
			return nil, t.fail("control characters in a string must be escaped")
		default:
			if wanted {
				t.scratch = append(t.scratch, c)
			}
			t.pos++
		}
	}
	return nil, t.fail("the text ends inside a string")
}

// escape reads the escape at the current position.
func (t *tokenizer) escape() (rune, *Error) {
	if t.pos+1 >= len(t.in) {
		t.pos = len(t.in)
		return 0, t.fail("the text ends inside a string")
	}
	c := t.in[t.pos+1]
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		r, n := unicodeEscape(t.in[t.pos:])
		if n == 0 {
			return 0, t.fail(`\u must be followed by four hexadecimal digits of a character, or of both halves of a surrogate pair`)
		}
		t.pos += n
		return r, nil
	default:
		return 0, t.fail("unknown escape in a string")
	}
	t.pos += 2
	return rune(c), nil
}

// unicodeEscape reads \uXXXX, or two of them if they are a surrogate pair, and returns
// their length, 0 if there is no character.
func unicodeEscape(b []byte) (rune, int) {
	r, ok := hex4(b)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	low, ok := hex4(b[6:])
	if !ok {
		return 0, 0
	}
	if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
		return 0, 0
	}
	return r, 12
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range b[2:6] {
		r <<= 4
		switch {
		case '0' <= c && c <= '9':
			r |= rune(c - '0')
		case 'a' <= c && c <= 'f':
			r |= rune(c - 'a' + 10)
		case 'A' <= c && c <= 'F':
			r |= rune(c - 'A' + 10)
		default:
			return 0, false
		}
	}
	return r, true
}

func trim(b []byte) []byte { return bytes.Trim(b, " \t\r\n") }

func index(i int) string { return "[" + strconv.Itoa(i) + "]" }

// quoteClip quotes what a stranger sent for an error text, without repeating all of it.
func quoteClip(s string) string {
	const limit = 64
	if len(s) > limit {
		return strconv.QuoteToASCII(s[:limit]) + "…"
	}
	return strconv.QuoteToASCII(s)
}
