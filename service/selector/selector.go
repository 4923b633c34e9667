// Package selector has Marathon's label selectors, the value of ?label= (as Marathon 1.10,
// docs/marathon-ui "label selectors"): selectors are joined by commas, and an app has to
// match all of them.
//
//	key                the label is there
//	key == value       it has this value
//	key != value       it is there and has another value
//	key in (a, b)      it has one of these
//	key notin (a, b)   it is there and has none of these
//
// Keys and values are made of letters, digits and "-", "_", "."; any other character
// stands behind a backslash. Spaces between the parts do not count.
package selector

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Selector is a parsed selector; the empty one matches everything.
type Selector []term

type term struct {
	key    string
	op     string // "", "in" or "notin"
	values []string
}

// Matches reports whether labels satisfy every part.
func (s Selector) Matches(labels map[string]string) bool {
	for _, t := range s {
		value, there := labels[t.key]
		if !there || t.op != "" && slices.Contains(t.values, value) != (t.op == "in") {
			return false
		}
	}
	return true
}

// Error says where a selector cannot be read.
type Error struct {
	Selector string
	// At is the byte where the reading stopped, from 0.
	At int
	// Want is what could have stood there.
	Want string
}

func (e *Error) Error() string {
	found := "the end"
	if e.At < len(e.Selector) {
		r, _ := utf8.DecodeRuneInString(e.Selector[e.At:])
		found = fmt.Sprintf("'%c'", r)
	}
	return fmt.Sprintf("Can not parse label selector %s. Reason: at position %d expected %s, found %s",
		e.Selector, e.At+1, e.Want, found)
}

// maxLength of a selector, in bytes.
const maxLength = 8 << 10

// Parse reads a selector. Errors are *Error, but for one that is too long.
func Parse(text string) (Selector, error) {
	if len(text) > maxLength {
		return nil, fmt.Errorf("the label selector has %d bytes, more than %d", len(text), maxLength)
	}
	p := parser{text: text}
	p.blanks()
	if p.at == len(text) {
		return nil, nil
	}
	var s Selector
	for {
		t, err := p.term()
		if err != nil {
			return nil, err
		}
		s = append(s, t)
		if p.at == len(text) {
			return s, nil
		}
		if !p.accept(",") {
			return nil, p.expected("',' or an operator (==, !=, in, notin)")
		}
	}
}

type parser struct {
	text string
	at   int
}

func (p *parser) expected(want string) error {
	return &Error{Selector: p.text, At: p.at, Want: want}
}

func (p *parser) blanks() {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
}

func (p *parser) accept(token string) bool {
	if !strings.HasPrefix(p.text[p.at:], token) {
		return false
	}
	p.at += len(token)
	p.blanks()
	return true
}

func (p *parser) term() (term, error) {
	t := term{}
	var err error
	if t.key, err = p.word("a label's name"); err != nil {
		return t, err
	}
	switch {
	case p.accept("=="):
		return p.value(t, "in")
	case p.accept("!="):
		return p.value(t, "notin")
	case p.accept("in"):
		return p.set(t, "in")
	case p.accept("notin"):
		return p.set(t, "notin")
	}
	return t, nil
}

func (p *parser) value(t term, op string) (term, error) {
	v, err := p.word("a value")
	t.op, t.values = op, []string{v}
	return t, err
}

func (p *parser) set(t term, op string) (term, error) {
	t.op = op
	if !p.accept("(") {
		return t, p.expected("'('")
	}
	if p.accept(")") {
		return t, nil
	}
	for {
		v, err := p.word("a value")
		if err != nil {
			return t, err
		}
		t.values = append(t.values, v)
		if p.accept(")") {
			return t, nil
		}
		if !p.accept(",") {
			return t, p.expected("',' or ')'")
		}
	}
}

func (p *parser) word(want string) (string, error) {
	var b strings.Builder
	for p.at < len(p.text) {
		c := p.text[p.at]
		if c == '\\' {
			r, size := utf8.DecodeRuneInString(p.text[p.at+1:])
			if size == 0 {
				p.at++
				return "", p.expected("a character after the backslash")
			}
			b.WriteRune(r)
			p.at += 1 + size
			continue
		}
		if !literal(c) {
			break
		}
		b.WriteByte(c)
		p.at++
	}
	if b.Len() == 0 {
		return "", p.expected(want)
	}
	p.blanks()
	return b.String(), nil
}

func literal(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
}
