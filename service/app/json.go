package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/stoa-kernel/stoa/api/marathon"
)

// Documents are read from the bytes themselves, field by field (scan.go): what no field
// asks for is skipped without being built, so memory follows what the definition keeps and
// not what somebody sends.

// What the parts of a definition cost, roughly in bytes.
const (
	smallCost = 48
	entryCost = 100
	largeCost = 400
	appCost   = 700

	// A document may cost freeCost and costPerByte for each of its own: ordinary apps come
	// to about three, a list of {} to over a hundred.
	freeCost    = 16 << 20
	costPerByte = 4

	maxProblems = 100

	// maxText bounds the fields of an app as they are written, and appMost what it may cost
	// of them: well above what one of maxSize can come to.
	maxText = 1 << 20
	appMost = 4 << 20
	// maxNumber is longer than a number is written, or a word out of few.
	maxNumber = 1 << 10
)

// reader collects what is wrong with a document's form, in Play's words as Marathon
// answers them.
type reader struct {
	problems []marathon.Violation
	// refused is what is wrong with values that are not worth reading.
	refused violations
	left    int
	ends    ends
}

func (r *reader) charge(n int) bool {
	r.left -= n
	return r.left >= 0
}

// fault is what the whole reading came to.
func (r *reader) fault() error {
	switch {
	case r.left < 0:
		return unprocessable("the document has too many entries for its size; send it in parts")
	case len(r.problems) > 0:
		return malformed(r.problems)
	case len(r.refused.list) > 0:
		return invalid(r.refused.list)
	}
	return nil
}

// node is a place in a document. raw is nil where nothing is.
type node struct {
	r   *reader
	raw []byte
	// The path is that of the parent, and a member's name or an element's number from 1;
	// it is put together only where it is needed.
	parent string
	name   string
	number int
	must   bool
}

// begin checks the form of a document.
func begin(body []byte) (*reader, node, error) {
	body, ends, err := wellFormed(body)
	if err != nil {
		return nil, node{}, err
	}
	r := &reader{left: freeCost + costPerByte*len(body), ends: ends}
	return r, node{r: r, raw: body, must: true}, nil
}

func (n node) path() string {
	switch {
	case n.name != "":
		return n.parent + "/" + clip(n.name, maxSaid)
	case n.number > 0:
		return n.parent + index(n.number-1)
	}
	return n.parent
}

func (n node) wrong(problem string) {
	if len(n.r.problems) >= maxProblems {
		return
	}
	path := n.path()
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

// object is the members of a node that somebody asks for.
type object struct {
	node
	path  string
	known []member
}

type member struct {
	name  string
	value []byte
}

type names map[string]string

func nameSet(list string) names {
	set := names{}
	for _, name := range strings.Fields(list) {
		set[name] = name
	}
	return set
}

func (n node) object(known names) (object, bool) {
	o := object{node: n}
	if !n.kind('{', "error.expected.jsobject") {
		return o, false
	}
	o.path = n.path()
	var plain [maxName]byte
	n.r.ends.members(n.raw, func(key, value []byte) bool {
		name, ok := known[string(key[1:len(key)-1])]
		if !ok {
			if bytes.IndexByte(key, '\\') < 0 {
				return true
			}
			if name, ok = known[string(escaped(key, &plain))]; !ok {
				return true
			}
		}
		if m := o.member(name); m != nil {
			m.value = value // of doubles the last counts
		} else {
			o.known = append(o.known, member{name, value})
		}
		return true
	})
	return o, true
}

func (o object) member(name string) *member {
	for i := range o.known {
		if o.known[i].name == name {
			return &o.known[i]
		}
	}
	return nil
}

func (o object) get(name string) node {
	n := node{r: o.r, parent: o.path, name: name}
	if m := o.member(name); m != nil {
		n.raw = m.value
	}
	return n
}

// has reports whether a member is there and not null.
func (o object) has(name string) bool {
	m := o.member(name)
	return m != nil && m.value[0] != 'n'
}

func (n node) str() *string {
	if !n.kind('"', "error.expected.jsstring") {
		return nil
	}
	s := unquote(n.raw)
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

func (n node) float() *float64 {
	if !n.there() {
		return nil
	}
	if len(n.raw) > maxNumber {
		n.wrong("error.expected.jsnumber")
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
	f := n.float()
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
	if n.raw[0] == '"' && len(n.raw) <= maxNumber {
		s := unquote(n.raw)
		for _, word := range words {
			if strings.EqualFold(s, word) {
				return &word
			}
		}
	}
	n.wrong("error.unknown.enum.literal")
	return nil
}

// list calls f for every element and reports whether there is a list. All of it is paid
// for first, so that one that costs too much is not begun.
func (n node) list(cost int, f func(node)) bool {
	_, ok := n.counted(cost, func(int) {}, f)
	return ok
}

// counted is list that says first how many elements there are.
func (n node) counted(cost int, begin func(size int), f func(node)) (size int, ok bool) {
	if !n.kind('[', "error.expected.jsarray") {
		return 0, false
	}
	n.r.ends.elements(n.raw, func([]byte) bool {
		size++
		return n.r.charge(cost)
	})
	if n.r.left < 0 {
		return 0, true
	}
	begin(size)
	path, i := n.path(), 0
	n.r.ends.elements(n.raw, func(value []byte) bool {
		i++
		f(node{r: n.r, raw: value, parent: path, number: i, must: true})
		return n.r.left >= 0
	})
	return size, true
}

// listOf reads a list into a slice that is not nil, or nothing.
func listOf[T any](n node, cost int, read func(node) *T) *[]T {
	var out []T
	if _, ok := n.counted(cost, func(size int) { out = make([]T, 0, size) }, func(e node) {
		if v := read(e); v != nil {
			out = append(out, *v)
		}
	}); !ok {
		return nil
	}
	return &out
}

func (n node) strings() *[]string { return listOf(n, smallCost, node.str) }

// stringSet drops doubles and keeps the order.
func (n node) stringSet() *[]string {
	list := n.strings()
	if list != nil {
		*list = distinct(*list)
	}
	return list
}

func distinct(list []string) []string {
	seen := make(map[string]bool, len(list))
	return slices.DeleteFunc(list, func(s string) bool {
		double := seen[s]
		seen[s] = true
		return double
	})
}

func mapOf[T any](n node, read func(node) *T) *map[string]T {
	if !n.kind('{', "error.expected.jsobject") {
		return nil
	}
	path, size := n.path(), 0
	n.r.ends.members(n.raw, func(_, _ []byte) bool {
		size++
		return n.r.charge(entryCost)
	})
	if n.r.left < 0 {
		return nil
	}
	out := make(map[string]T, size)
	n.r.ends.members(n.raw, func(key, value []byte) bool {
		name := unquote(key)
		e := node{r: n.r, raw: value, parent: path, name: name, must: true}
		if name == "" {
			e.parent += "/"
		}
		if v := read(e); v != nil {
			out[name] = *v
		}
		return n.r.left >= 0
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

// complaint is the standard decoder's about what is not JSON, with its place.
func complaint(body []byte) error {
	var syntax *json.SyntaxError
	if err := json.Unmarshal(body, new(json.RawMessage)); errors.As(err, &syntax) {
		return malformed(syntax.Error() + position(body, int(syntax.Offset)-1))
	}
	return malformed("not JSON")
}
