package match

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/service/instance"
)

// rule is one constraint, ready to be asked (as Marathon 1.10, docs/constraints.md).
type rule struct {
	field, op, value string
	// re matches all of a value, for LIKE and UNLIKE; nil if the pattern is none.
	re *regexp.Regexp
	// n is the number of MAX_PER and GROUP_BY.
	n int
	// each and rest are GROUP_BY's: with n groups every one gets each instances, and rest
	// of them one more.
	each, rest int
}

func newRule(c []string, instances int) rule {
	r := rule{field: c[0]}
	if len(c) > 1 {
		r.op = strings.ToUpper(c[1])
	}
	if len(c) > 2 {
		r.value = c[2]
	}
	switch r.op {
	case "LIKE", "UNLIKE":
		r.re = whole(r.value)
	case "IS":
		if scalarForm(r.value) {
			if v, err := strconv.ParseFloat(r.value, 64); err == nil {
				r.value = scalarText(v)
			}
		}
	case "MAX_PER", "GROUP_BY":
		switch n, err := strconv.Atoi(r.value); {
		case r.value == "inf":
			r.n = math.MaxInt32
		case err == nil && n > 0:
			r.n = n
		}
		if r.n > 0 {
			r.each, r.rest = instances/r.n, instances%r.n
		}
	}
	return r
}

// whole matches all of a text; nil if the pattern is empty or none.
func whole(pattern string) *regexp.Regexp {
	re, err := regexp.Compile(`^(?:` + pattern + `)$`)
	if err != nil || pattern == "" {
		return nil
	}
	return re
}

// counts reports whether the rule depends on where other instances are.
func (r *rule) counts() bool {
	switch r.op {
	case "UNIQUE", "GROUP_BY", "MAX_PER":
		return true
	case "CLUSTER":
		return r.value == ""
	}
	return false
}

// domain reports whether the rule is about regions or zones.
func (r *rule) domain() bool { return r.field == "@region" || r.field == "@zone" }

// allows reports whether one more instance may be on host.
func (r *rule) allows(host *instance.Agent, t *tally) bool {
	value, ok := host.Value(r.field)
	if !ok {
		return r.op == "UNLIKE"
	}
	switch r.op {
	case "LIKE":
		return r.re != nil && r.re.MatchString(value)
	case "UNLIKE":
		return r.re != nil && !r.re.MatchString(value)
	case "IS":
		return value == r.value
	case "UNIQUE":
		return t.by[value] == 0
	case "CLUSTER":
		if r.value != "" {
			return value == r.value
		}
		return len(t.by) == 0 || t.by[value] > 0
	case "MAX_PER":
		return t.by[value] < r.n
	case "GROUP_BY":
		return r.even(value, t)
	}
	return false
}

// even is GROUP_BY. Without a number the classic rule holds: a value may have one more
// instance if it has none yet or no other has fewer. With a number of groups, as Marathon
// since 1.6: each has its share of the app's instances, the first ones of the remainder one
// more, and there are no more groups than that.
func (r *rule) even(value string, t *tally) bool {
	n := t.by[value]
	switch {
	case r.n == 0:
		return n == 0 || n == t.least
	case n == 0:
		return len(t.by) < r.n
	}
	return n < r.each || n == r.each && r.rest > t.over
}

// why the rule does not allow the host, in words.
func (r *rule) why(host *instance.Agent, t *seen) string {
	value, ok := host.Value(r.field)
	if !ok {
		switch r.field {
		case "@region", "@zone":
			return "the agent has no " + r.field[1:]
		}
		return "no attribute " + r.field
	}
	is := fmt.Sprintf("%s is %q; ", r.field, value)
	switch r.op {
	case "LIKE", "UNLIKE":
		switch {
		case r.re == nil:
			return fmt.Sprintf("%s %s %q has no regular expression", r.field, r.op, r.value)
		case r.op == "LIKE":
			return is + "it must match " + r.value
		}
		return is + "it must not match " + r.value
	case "IS":
		return is + "it must be " + r.value
	case "UNIQUE":
		return is + "another instance is there"
	case "CLUSTER":
		if r.value != "" {
			return is + "it must be " + r.value
		}
		return is + fmt.Sprintf("the other instances are on %q", t.first)
	case "MAX_PER":
		return is + fmt.Sprintf("%d instances are there, at most %d may be", t.here, r.n)
	case "GROUP_BY":
		if r.n > 0 && t.here == 0 {
			return is + fmt.Sprintf("the instances are on %d values of it already", r.n)
		}
		return is + fmt.Sprintf("%d instances are there, other values have fewer", t.here)
	}
	return fmt.Sprintf("constraint operator %q is unknown", r.op)
}

// tally counts instances by the value that one rule looks at.
type tally struct {
	by map[string]int
	// sizes[n] is how many values have n instances; least is the smallest n with any.
	sizes []int
	least int
	// over is how many instances are beyond GROUP_BY's share of their values.
	over int
	// first is the value of the instance that was there first.
	first string
}

// seen is what Refusal keeps of a tally.
type seen struct {
	here  int
	first string
}

func (t *tally) of(value string) seen { return seen{t.by[value], t.first} }

func (t *tally) add(value string, each int) {
	n := t.by[value]
	if len(t.by) == 0 {
		t.by, t.first = make(map[string]int), value
	}
	t.by[value] = n + 1
	if n >= each {
		t.over++
	}
	if len(t.sizes) < n+2 {
		t.sizes = append(t.sizes, make([]int, n+2-len(t.sizes))...)
	}
	t.sizes[n+1]++
	if n > 0 {
		t.sizes[n]--
	}
	t.settle(n + 1)
}

func (t *tally) drop(value string, each int) {
	n := t.by[value]
	t.by[value] = n - 1
	if n > each {
		t.over--
	}
	t.sizes[n]--
	if n == 1 {
		delete(t.by, value)
		t.settle(t.least)
		return
	}
	t.sizes[n-1]++
	t.settle(n - 1)
}

// settle brings least up to date after a value got n instances.
func (t *tally) settle(n int) {
	if len(t.by) == 0 {
		t.least, t.first = 0, ""
		return
	}
	if t.least == 0 || n < t.least {
		t.least = n
	}
	for t.sizes[t.least] == 0 {
		t.least++
	}
}

// attributeText is the form in which constraints compare an attribute (as Marathon,
// mesos/Constraints.scala).
func attributeText(a *mesos.Attribute) string {
	switch a.GetType() {
	case mesos.Value_SCALAR:
		return scalarText(a.GetScalar().GetValue())
	case mesos.Value_RANGES:
		rs := slices.SortedFunc(slices.Values(a.GetRanges().GetRange()), func(a, b *mesos.Value_Range) int {
			return cmp.Compare(a.GetBegin(), b.GetBegin())
		})
		parts := make([]string, len(rs))
		for i, r := range rs {
			parts[i] = strconv.FormatUint(r.GetBegin(), 10) + "-" + strconv.FormatUint(r.GetEnd(), 10)
		}
		return "[" + strings.Join(parts, ",") + "]"
	case mesos.Value_SET:
		return "{" + strings.Join(slices.Sorted(slices.Values(a.GetSet().GetItem())), ",") + "}"
	}
	return a.GetText().GetValue()
}

// scalarText has at most three decimals, without zeros at the end; halves go to the even
// digit.
func scalarText(v float64) string {
	s := strconv.FormatFloat(v, 'f', 3, 64)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// scalarForm reports whether s is digits, or digits, a point and digits.
func scalarForm(s string) bool {
	whole, part, point := strings.Cut(s, ".")
	digits := func(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
	return digits(whole) && (!point || digits(part))
}
