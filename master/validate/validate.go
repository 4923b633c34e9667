// Package validate checks the form of what frameworks, operators and agents send:
// scheduler and operator calls, FrameworkInfo, TaskInfo, offer operations, quotas and
// weights. It is pure, so the connections' goroutines and the master's core run the same
// rules; each rule has its own error, which names the field and what it must be. What
// depends on the cluster's state (is the id in use, is the offer large enough) is checked
// in master/state.
//
// The rules are those of Mesos 1.11 (src/master/validation.cpp,
// src/common/validation.cpp).
package validate

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// UUID checks the 16 raw bytes of an RFC 4122 uuid.
func UUID(b []byte) error {
	if len(b) != 16 {
		return fmt.Errorf("a uuid must have 16 bytes; this one has %d", len(b))
	}
	return nil
}

// quantity checks a scalar that is not part of a resource.
func quantity(v float64) error {
	switch {
	case math.IsNaN(v):
		return errors.New("not a number")
	case math.IsInf(v, 0):
		return errors.New("infinite values are not supported")
	case v < 0:
		return errors.New("negative values are not supported")
	case v != 0 && math.Abs(v) < 0x1p-1022:
		return errors.New("subnormal values are not supported")
	}
	return nil
}

// set prints names as "{ a, b }", sorted.
func set(names []string) string {
	names = slices.Clone(names)
	slices.Sort(names)
	return "{ " + strings.Join(slices.Compact(names), ", ") + " }"
}

// missing returns the distinct items of have that are not in want.
func missing(have, want []string) []string {
	var out []string
	for _, h := range have {
		if !slices.Contains(want, h) && !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return out
}

// wrap prefixes an error, and keeps nil.
func wrap(prefix string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", prefix, err)
}

// first returns the first error.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
