// Package attribute has what agents say about themselves besides their resources: a
// rack, a kernel version, the keys they hold. Rules are those of Mesos 1.11
// (docs/attributes-resources.md, src/common/attributes.cpp).
package attribute

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/kernel/resource"
)

// Bounds of an agent's list.
const (
	maxText  = 1 << 20
	maxCount = 10_000
)

// Parse reads "rack:abc;level:10;keys:[1000-1500]", with ; or newlines between. A
// value that is a number of at least 0 is a scalar, [..] ranges, anything else text;
// spaces in values are dropped. Names may repeat; Get finds the first.
func Parse(text string) ([]*mesos.Attribute, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("attributes: %d bytes are too many: at most %d", len(text), maxText)
	}
	var all []*mesos.Attribute
	for token := range strings.FieldsFuncSeq(text, func(c rune) bool { return c == ';' || c == '\n' }) {
		if strings.TrimSpace(token) == "" {
			continue
		}
		name, value, ok := strings.Cut(token, ":")
		name = strings.TrimSpace(name)
		if !ok || name == "" {
			return nil, fmt.Errorf("attributes: %q is not of the form name:value, as in rack:abc;level:10", token)
		}
		v, err := resource.ParseValue(value)
		if err != nil {
			return nil, fmt.Errorf("attribute %s: %w", name, err)
		}
		a := &mesos.Attribute{Name: &name, Type: v.Type, Scalar: v.Scalar, Ranges: v.Ranges, Set: v.Set, Text: v.Text}
		if err := Validate(a); err != nil {
			return nil, err
		}
		all = append(all, a)
		if len(all) > maxCount {
			return nil, fmt.Errorf("attributes: at most %d are allowed", maxCount)
		}
	}
	return all, nil
}

// Validate says what is wrong with an attribute that came over the wire: no name, a
// value that is not of its type, or a set, which attributes cannot be.
func Validate(a *mesos.Attribute) error {
	if a.GetName() == "" {
		return errors.New("an attribute needs a name")
	}
	if a.Type == nil {
		return fmt.Errorf("attribute %q has no type", a.GetName())
	}
	fits := false
	switch a.GetType() {
	case mesos.Value_SCALAR:
		fits = a.Scalar != nil
	case mesos.Value_RANGES:
		fits = a.Ranges != nil
		for _, r := range a.GetRanges().GetRange() {
			if r.GetBegin() > r.GetEnd() {
				return fmt.Errorf("attribute %q: range %d-%d begins after its end", a.GetName(), r.GetBegin(), r.GetEnd())
			}
		}
	case mesos.Value_TEXT:
		fits = a.Text != nil
	default:
		return fmt.Errorf("attribute %q: type %v is not supported: give SCALAR, RANGES or TEXT", a.GetName(), a.GetType())
	}
	if !fits {
		return fmt.Errorf("attribute %q: type is %v, but that value is not set", a.GetName(), a.GetType())
	}
	return nil
}

// Get is the first attribute of that name, nil if there is none. Offer constraints and
// Marathon's constraints look at the first only.
func Get(all []*mesos.Attribute, name string) *mesos.Attribute {
	for _, a := range all {
		if a.GetName() == name {
			return a
		}
	}
	return nil
}

// Text is the value as Mesos prints it: abc, 10.5, [1000-1500, 2000-2000].
func Text(a *mesos.Attribute) string {
	switch a.GetType() {
	case mesos.Value_SCALAR:
		v := a.GetScalar().GetValue()
		if m, err := resource.MilliOf(v); err == nil {
			return m.String()
		}
		return strconv.FormatFloat(v, 'g', -1, 64)
	case mesos.Value_RANGES:
		in := a.GetRanges().GetRange()
		rs := make([]resource.Range, len(in))
		for i, r := range in {
			rs[i] = resource.Range{Begin: r.GetBegin(), End: r.GetEnd()}
		}
		return string(resource.AppendRanges(nil, rs))
	case mesos.Value_SET:
		return "{" + strings.Join(a.GetSet().GetItem(), ", ") + "}"
	}
	return a.GetText().GetValue()
}

// String is the text form of a list, which Parse reads again.
func String(all []*mesos.Attribute) string {
	var b strings.Builder
	for i, a := range all {
		if i > 0 {
			b.WriteByte(';')
		}
		b.WriteString(a.GetName())
		b.WriteByte(':')
		b.WriteString(Text(a))
	}
	return b.String()
}

// Equal reports whether both lists say the same, in whatever order (as Mesos compares
// an agent that returns).
func Equal(a, b []*mesos.Attribute) bool { return slices.Equal(canonical(a), canonical(b)) }

func canonical(all []*mesos.Attribute) []string {
	out := make([]string, len(all))
	for i, a := range all {
		out[i] = fmt.Sprintf("%q %v %s", a.GetName(), a.GetType(), Text(a))
	}
	slices.Sort(out)
	return slices.Compact(out)
}
