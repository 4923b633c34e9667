package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/stoa-kernel/stoa/api/marathon"
)

// Documents are read from the bytes themselves, field by field: what no field asks for is
// skipped without being built, so memory follows what the definition keeps and not what
// somebody sends.

const (
	maxDepth = 64
	// maxCost bounds what one document may make, in entries of lists and maps; an object
	// in a list costs several. 10,000 apps of ordinary size fit.
	maxCost     = 500_000
	maxProblems = 100
)

// wellFormed refuses what is not one JSON value of bounded depth.
func wellFormed(body []byte) error {
	depth := 0
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '"':
			i = stringEnd(body, i) - 1
		case '{', '[':
			if depth++; depth > maxDepth {
				return malformed(fmt.Sprintf("nested more than %d levels deep%s", maxDepth, position(body, i)))
			}
		case '}', ']':
			depth--
		}
	}
	if json.Valid(body) {
		return nil
	}
	var syntax *json.SyntaxError
	if err := json.Unmarshal(body, new(json.RawMessage)); errors.As(err, &syntax) {
		return malformed(syntax.Error() + position(body, int(syntax.Offset)-1))
	}
	return malformed("not JSON")
}

func position(body []byte, at int) string {
	before := body[:min(max(at, 0), len(body))]
	line := bytes.Count(before, []byte{'\n'}) + 1
	return fmt.Sprintf(" at line %d, column %d", line, len(before)-bytes.LastIndexByte(before, '\n'))
}

// stringEnd is the index after the string that begins at i.
func stringEnd(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}

// What follows expects well-formed JSON.

func blank(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

func valueEnd(b []byte, i int) int {
	switch b[i] {
	case '"':
		return stringEnd(b, i)
	case '{', '[':
		for depth := 0; i < len(b); i++ {
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
		return len(b)
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
func members(b []byte, f func(key, value []byte) bool) {
	for i := blank(b, 1); b[i] != '}'; {
		key := b[i:stringEnd(b, i)]
		i = blank(b, i+len(key))
		i = blank(b, i+1) // the colon
		value := b[i:valueEnd(b, i)]
		if !f(key, value) {
			return
		}
		if i = blank(b, i+len(value)); b[i] == ',' {
			i = blank(b, i+1)
		}
	}
}

func elements(b []byte, f func(value []byte) bool) {
	for i := blank(b, 1); b[i] != ']'; {
		value := b[i:valueEnd(b, i)]
		if !f(value) {
			return
		}
		if i = blank(b, i+len(value)); b[i] == ',' {
			i = blank(b, i+1)
		}
	}
}

func text(quoted []byte) string {
	if inner := quoted[1 : len(quoted)-1]; bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return string(inner)
	}
	var s string
	_ = json.Unmarshal(quoted, &s) // a well-formed string always decodes
	return s
}

// reader collects what is wrong with a document's form, in Play's words as Marathon
// answers them.
type reader struct {
	problems []marathon.Violation
	cost     int
}

func (r *reader) charge(n int) bool {
	r.cost += n
	return r.cost <= maxCost
}

// fault is what the whole reading came to.
func (r *reader) fault() error {
	switch {
	case r.cost > maxCost:
		return unprocessable("the document has more than %d entries; send it in parts", maxCost)
	case len(r.problems) > 0:
		return malformed(r.problems)
	}
	return nil
}

// node is a place in a document. raw is nil where nothing is.
type node struct {
	r    *reader
	raw  []byte
	path string
	must bool
}

func open(r *reader, body []byte) node {
	at := blank(body, 0)
	return node{r: r, raw: body[at:valueEnd(body, at)], must: true}
}

func (n node) wrong(problem string) {
	if len(n.r.problems) >= maxProblems {
		return
	}
	path := n.path
	if path == "" {
		path = "/"
	}
	n.r.problems = append(n.r.problems, marathon.Violation{Path: path, Errors: []string{problem}})
}

// there reports whether a value has to be read; null is as good as absent where a field
// may be.
func (n node) there() bool {
	if n.raw == nil {
		if n.must {
			n.wrong("error.path.missing")
		}
		return false
	}
	return n.must || n.raw[0] != 'n'
}

// required makes absence an error.
func (n node) required() node {
	n.must = true
	return n
}

func (n node) kind(first byte, problem string) bool {
	if !n.there() {
		return false
	}
	if n.raw[0] != first {
		n.wrong(problem)
		return false
	}
	return true
}

// object is the members of a node that somebody asks for; of doubles the last counts.
type object struct {
	node
	known map[string][]byte
}

type names map[string]bool

func nameSet(list string) names {
	set := names{}
	for _, name := range strings.Fields(list) {
		set[name] = true
	}
	return set
}

func (n node) object(known names) (object, bool) {
	o := object{node: n}
	if !n.kind('{', "error.expected.jsobject") {
		return o, false
	}
	o.known = map[string][]byte{}
	members(n.raw, func(key, value []byte) bool {
		if bytes.IndexByte(key, '\\') >= 0 {
			if name := text(key); known[name] {
				o.known[name] = value
			}
		} else if known[string(key[1:len(key)-1])] {
			o.known[string(key[1:len(key)-1])] = value
		}
		return true
	})
	return o, true
}

func (o object) get(name string) node {
	return node{r: o.r, raw: o.known[name], path: o.path + "/" + name}
}

// has reports whether a member is there and not null.
func (o object) has(name string) bool {
	raw := o.known[name]
	return raw != nil && raw[0] != 'n'
}

func (n node) str() *string {
	if !n.kind('"', "error.expected.jsstring") {
		return nil
	}
	s := text(n.raw)
	return &s
}

func (n node) boolean() *bool {
	if !n.there() {
		return nil
	}
	v := n.raw[0] == 't'
	if !v && n.raw[0] != 'f' {
		n.wrong("error.expected.jsboolean")
		return nil
	}
	return &v
}

func (n node) number() *float64 {
	if !n.there() {
		return nil
	}
	v, err := strconv.ParseFloat(string(n.raw), 64)
	if err != nil || n.raw[0] != '-' && (n.raw[0] < '0' || n.raw[0] > '9') {
		n.wrong("error.expected.jsnumber")
		return nil
	}
	return &v
}

// integer takes 1.0 and 1e3 for the whole numbers they are, as Marathon does.
func (n node) integer() *int {
	return whole[int](n, math.MaxInt32, "error.expected.int")
}

func (n node) long() *int64 {
	return whole[int64](n, 1<<53, "error.expected.long")
}

func whole[T int | int64](n node, limit float64, problem string) *T {
	f := n.number()
	if f == nil {
		return nil
	}
	if *f != math.Trunc(*f) || math.Abs(*f) > limit {
		n.wrong(problem)
		return nil
	}
	v := T(*f)
	return &v
}

// enum accepts any case and returns the word as it is listed.
func (n node) enum(words ...string) *string {
	if !n.there() {
		return nil
	}
	if n.raw[0] == '"' {
		s := text(n.raw)
		for _, word := range words {
			if strings.EqualFold(s, word) {
				return &word
			}
		}
	}
	n.wrong("error.unknown.enum.literal")
	return nil
}

// list calls f for every element and reports whether there is a list.
func (n node) list(cost int, f func(node)) bool {
	if !n.kind('[', "error.expected.jsarray") {
		return false
	}
	i := 0
	elements(n.raw, func(value []byte) bool {
		if !n.r.charge(cost) {
			return false
		}
		f(node{r: n.r, raw: value, path: n.path + "(" + strconv.Itoa(i) + ")", must: true})
		i++
		return true
	})
	return true
}

// listOf reads a list into a slice that is not nil, or nothing.
func listOf[T any](n node, cost int, read func(node) *T) *[]T {
	out := []T{}
	if !n.list(cost, func(e node) {
		if v := read(e); v != nil {
			out = append(out, *v)
		}
	}) {
		return nil
	}
	return &out
}

func (n node) strings() *[]string { return listOf(n, 1, node.str) }

// stringSet drops doubles and keeps the order.
func (n node) stringSet() *[]string {
	list := n.strings()
	if list != nil {
		unique := make(map[string]bool, len(*list))
		*list = slices.DeleteFunc(*list, func(s string) bool {
			double := unique[s]
			unique[s] = true
			return double
		})
	}
	return list
}

func mapOf[T any](n node, read func(node) *T) *map[string]T {
	if !n.kind('{', "error.expected.jsobject") {
		return nil
	}
	out := map[string]T{}
	members(n.raw, func(key, value []byte) bool {
		if !n.r.charge(1) {
			return false
		}
		name := text(key)
		if v := read(node{r: n.r, raw: value, path: n.path + "/" + name, must: true}); v != nil {
			out[name] = *v
		}
		return true
	})
	return &out
}

func (n node) labels() *map[string]string { return mapOf(n, node.str) }

// or is what a field is without a value.
func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
