package resource

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
)

// maxText bounds every text form, in bytes.
const maxText = 1 << 20

// Parse reads "cpus:4;mem:1024;ports:[31000-32000];disk(role):10" or a JSON array of
// Resource in Mesos's dialect. Resources without a role get defaultRole. It is what
// --resources takes, so persistent volumes, dynamic reservations and revocable
// resources are refused, and one name with two types (as Mesos, Resources::parse).
func Parse(text, defaultRole string) (Resources, error) {
	if len(text) > maxText {
		return Resources{}, fmt.Errorf("resources: %d bytes are too many: at most %d", len(text), maxText)
	}
	read := parseText
	if strings.HasPrefix(strings.TrimSpace(text), "[") {
		read = parseJSON
	}
	protos, err := read(text, defaultRole)
	if err != nil {
		return Resources{}, err
	}
	bag, err := Of(protos...)
	if err != nil {
		return Resources{}, err
	}
	for i := range bag.items {
		it := &bag.items[i]
		switch {
		case it.VolumeID() != "":
			return Resources{}, fmt.Errorf("%v: a persistent volume is made by CREATE, not named here", it)
		case it.DynamicallyReserved():
			return Resources{}, fmt.Errorf("%v: a dynamic reservation is made by RESERVE; name the role to reserve statically", it)
		case it.Revocable():
			return Resources{}, fmt.Errorf("%v: revocable resources cannot be named here", it)
		case i > 0 && it.Name() == bag.items[i-1].Name() && it.Kind() != bag.items[i-1].Kind():
			return Resources{}, fmt.Errorf("resource %q is both %v and %v", it.Name(), bag.items[i-1].Kind(), it.Kind())
		}
	}
	return bag, nil
}

func parseText(text, defaultRole string) ([]*mesos.Resource, error) {
	var all []*mesos.Resource
	for token := range strings.SplitSeq(text, ";") {
		if token == "" || strings.TrimSpace(token) == "" {
			continue
		}
		head, amount, ok := strings.Cut(token, ":")
		if !ok || strings.Contains(amount, ":") {
			return nil, fmt.Errorf("resources: %q is not of the form name:value or name(role):value", token)
		}
		to := defaultRole
		name, rest, inRole := strings.Cut(head, "(")
		if inRole {
			in, tail, closed := strings.Cut(rest, ")")
			if !closed || strings.TrimSpace(tail) != "" {
				return nil, fmt.Errorf("resources: the parentheses in %q do not match", token)
			}
			to = strings.TrimSpace(in)
		}
		name = strings.TrimSpace(name)
		v, err := ParseValue(amount)
		if err != nil {
			return nil, fmt.Errorf("resource %q: %w", name, err)
		}
		if v.Text != nil {
			return nil, fmt.Errorf("resource %q: %q is not a number of at least 0, ranges [1-2,5-9] or a set {a,b}", name, strings.TrimSpace(amount))
		}
		p := &mesos.Resource{Name: &name, Type: v.Type, Scalar: v.Scalar, Ranges: v.Ranges, Set: v.Set}
		p.Role = &to
		all = append(all, p)
	}
	return all, nil
}

// ParseValue reads one value of resources or attributes, without its spaces: a number
// of at least 0 is a SCALAR, [1-3,7-9] RANGES (coalesced), {a,b} a SET, anything else
// TEXT (as Mesos, values.cpp).
func ParseValue(text string) (*mesos.Value, error) {
	s := strings.Map(func(c rune) rune {
		switch c {
		case ' ', '\t', '\n', '\r':
			return -1
		}
		return c
	}, text)
	switch {
	case s == "":
		return nil, errors.New("the value is empty")
	case s[0] == '[':
		rs, err := parseRanges(s)
		if err != nil {
			return nil, err
		}
		return &mesos.Value{Type: mesos.Value_RANGES.Enum(), Ranges: protoRanges(rs)}, nil
	case s[0] == '{':
		if s[len(s)-1] != '}' || strings.ContainsAny(s[1:len(s)-1], "{}[]()") {
			return nil, fmt.Errorf("the brackets in %q do not match", s)
		}
		set := &mesos.Value_Set{}
		for item := range strings.SplitSeq(s[1:len(s)-1], ",") {
			if item != "" {
				set.Item = append(set.Item, item)
			}
		}
		return &mesos.Value{Type: mesos.Value_SET.Enum(), Set: set}, nil
	case strings.ContainsAny(s, "[]{}"):
		return nil, fmt.Errorf("%q has brackets inside a value", s)
	}
	if v, ok := parseNumber(s); ok {
		return &mesos.Value{Type: mesos.Value_SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: &v}}, nil
	}
	return &mesos.Value{Type: mesos.Value_TEXT.Enum(), Text: &mesos.Value_Text{Value: &s}}, nil
}

// parseNumber reads a plain decimal that is finite and not negative.
func parseNumber(s string) (float64, bool) {
	if strings.Trim(s, "0123456789.eE+-") != "" {
		return 0, false // no hexadecimal, no "inf"
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(v, 0) || v < 0 {
		return 0, false
	}
	return v, true
}

func parseRanges(s string) ([]Range, error) {
	if s[len(s)-1] != ']' {
		return nil, fmt.Errorf("the brackets in %q do not match", s)
	}
	s = s[1 : len(s)-1]
	if s == "" {
		return nil, nil
	}
	if n := strings.Count(s, ",") + 1; n > maxPieces {
		return nil, fmt.Errorf("a list of %d ranges is too long: at most %d", n, maxPieces)
	}
	var rs []Range
	for one := range strings.SplitSeq(s, ",") {
		from, to, _ := strings.Cut(one, "-")
		b, err := strconv.ParseUint(from, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("range %q is not of the form 1-9", one)
		}
		e, err := strconv.ParseUint(to, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("range %q is not of the form 1-9", one)
		}
		if b > e {
			return nil, fmt.Errorf("range %q begins after its end", one)
		}
		rs = append(rs, Range{b, e})
	}
	return coalesce(rs), nil
}
