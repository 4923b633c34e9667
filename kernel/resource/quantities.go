package resource

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
)

// Quantities is an amount per scalar name, sorted by name, without zero entries unless
// put there by Set. The zero value is empty. Methods leave their receiver as it is.
type Quantities []Quantity

// Quantity is the amount of one name.
type Quantity struct {
	Name  string
	Value Milli
}

// ParseQuantities reads "cpus:0.01;mem:32". Amounts of one name add up; zeros vanish.
func ParseQuantities(text string) (Quantities, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("quantities: %d bytes are too many: at most %d", len(text), maxText)
	}
	var q Quantities
	for token := range strings.SplitSeq(text, ";") {
		if token == "" {
			continue
		}
		name, amount, ok := strings.Cut(token, ":")
		name = strings.TrimSpace(name)
		if !ok || name == "" || strings.Contains(amount, ":") {
			return nil, fmt.Errorf("quantities: %q is not of the form name:amount, as in cpus:0.5;mem:32", token)
		}
		v, err := ParseValue(amount)
		if err != nil {
			return nil, fmt.Errorf("quantity %s: %w", name, err)
		}
		if v.Scalar == nil {
			return nil, fmt.Errorf("quantity %s: %q is not a number of at least 0", name, strings.TrimSpace(amount))
		}
		m, err := MilliOf(v.GetScalar().GetValue())
		if err != nil {
			return nil, fmt.Errorf("quantity %s: %w", name, err)
		}
		if m > 0 {
			q = q.gain(name, m)
		}
	}
	return q, nil
}

// QuantitiesOf reads the map form of the API (limits, guarantees, minimum allocatable
// resources). Zero entries are kept: a limit of 0 is a limit. Negative amounts are
// refused.
func QuantitiesOf(m map[string]*mesos.Value_Scalar) (Quantities, error) {
	if len(m) == 0 {
		return nil, nil
	}
	q := make(Quantities, 0, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if name == "" {
			return nil, fmt.Errorf("a quantity has no name")
		}
		v, err := MilliOf(m[name].GetValue())
		if err != nil {
			return nil, fmt.Errorf("quantity %s: %w", name, err)
		}
		if v < 0 {
			return nil, fmt.Errorf("quantity %s: %v is negative", name, v)
		}
		q = append(q, Quantity{name, v})
	}
	return q, nil
}

func (q Quantities) find(name string) (int, bool) {
	for i := range q {
		if q[i].Name >= name {
			return i, q[i].Name == name
		}
	}
	return len(q), false
}

// gain adds v to name in place; the caller owns q.
func (q Quantities) gain(name string, v Milli) Quantities {
	i, ok := q.find(name)
	if ok {
		q[i].Value = q[i].Value.plus(v)
		return q
	}
	return slices.Insert(q, i, Quantity{name, v})
}

// Get is the amount of name and whether there is an entry.
func (q Quantities) Get(name string) (Milli, bool) {
	if i, ok := q.find(name); ok {
		return q[i].Value, true
	}
	return 0, false
}

// Add is the sum, name by name.
func (q Quantities) Add(o Quantities) Quantities {
	switch {
	case len(o) == 0:
		return q
	case len(q) == 0:
		return o
	}
	out := make(Quantities, 0, max(len(q), len(o)))
	for len(q) > 0 && len(o) > 0 {
		switch {
		case q[0].Name < o[0].Name:
			out, q = append(out, q[0]), q[1:]
		case q[0].Name > o[0].Name:
			out, o = append(out, o[0]), o[1:]
		default:
			out = append(out, Quantity{q[0].Name, q[0].Value.plus(o[0].Value)})
			q, o = q[1:], o[1:]
		}
	}
	return append(append(out, q...), o...)
}

// Sub is the difference, name by name. What would be zero or less vanishes.
func (q Quantities) Sub(o Quantities) Quantities {
	if len(q) == 0 || len(o) == 0 {
		return q
	}
	out := make(Quantities, 0, len(q))
	for _, have := range q {
		for len(o) > 0 && o[0].Name < have.Name {
			o = o[1:]
		}
		if len(o) > 0 && o[0].Name == have.Name {
			if have.Value <= o[0].Value {
				continue
			}
			have.Value -= o[0].Value
		}
		out = append(out, have)
	}
	return out
}

// Contains reports whether q has at least the amount of every entry of o.
func (q Quantities) Contains(o Quantities) bool {
	for _, want := range o {
		for len(q) > 0 && q[0].Name < want.Name {
			q = q[1:]
		}
		if len(q) > 0 && q[0].Name == want.Name {
			if q[0].Value < want.Value {
				return false
			}
		} else if want.Value > 0 {
			return false
		}
	}
	return true
}

// Set is q with the entry name being v, also if v is 0.
func (q Quantities) Set(name string, v Milli) Quantities {
	i, ok := q.find(name)
	if !ok {
		return slices.Insert(slices.Clone(q), i, Quantity{name, v})
	}
	out := slices.Clone(q)
	out[i].Value = v
	return out
}

// Proto is the map form of the API.
func (q Quantities) Proto() map[string]*mesos.Value_Scalar {
	m := make(map[string]*mesos.Value_Scalar, len(q))
	for _, one := range q {
		v := one.Value.Float()
		m[one.Name] = &mesos.Value_Scalar{Value: &v}
	}
	return m
}

// String is as Mesos prints quantities: "cpus:1; mem:32", "{}" if there are none.
func (q Quantities) String() string {
	if len(q) == 0 {
		return "{}"
	}
	var b []byte
	for i, one := range q {
		if i > 0 {
			b = append(b, "; "...)
		}
		b = append(append(b, one.Name...), ':')
		b = one.Value.append(b)
	}
	return string(b)
}
