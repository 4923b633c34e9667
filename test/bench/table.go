package main

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// row is one figure, with a value for each run.
type row struct {
	what string
	unit string
	goal string // of the design
	peer string // the best known figure of others, with its circumstances
	runs []float64
}

type table struct{ rows []*row }

// add takes one run's value of a figure; the first one decides where its row stands.
func (t *table) add(r row, value float64) {
	i := slices.IndexFunc(t.rows, func(o *row) bool { return o.what == r.what })
	if i < 0 {
		i = len(t.rows)
		t.rows = append(t.rows, &r)
	}
	t.rows[i].runs = append(t.rows[i].runs, value)
}

func (t *table) print(w io.Writer) {
	fmt.Fprintln(w, "| what | measured | goal | others |")
	fmt.Fprintln(w, "|---|---|---|---|")
	for _, r := range t.rows {
		sorted := slices.Sorted(slices.Values(r.runs))
		measured := number(quantile(sorted, 0.5)) + " " + r.unit
		if len(sorted) > 1 {
			measured += " (" + number(sorted[0]) + "-" + number(sorted[len(sorted)-1]) + ")"
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s |\n", r.what, measured, r.goal, r.peer)
	}
}

// number prints three significant digits, and large numbers whole.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 1000:
		s := fmt.Sprintf("%.0f", v)
		for i := len(s) - 3; i > 0; i -= 3 {
			s = s[:i] + "," + s[i:]
		}
		return s
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// quantile of sorted values, the nearest above.
func quantile[T any](sorted []T, q float64) T {
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func millis(d time.Duration) float64 { return float64(d) / 1e6 }
func micros(d time.Duration) float64 { return float64(d) / 1e3 }

// checks are what must hold for the figures to mean anything.
type checks struct {
	names []string
	bad   map[string]string
}

// that notes a check; every run makes it again.
func (c *checks) that(name string, err error) {
	if !slices.Contains(c.names, name) {
		c.names = append(c.names, name)
	}
	if err != nil {
		if c.bad == nil {
			c.bad = map[string]string{}
		}
		c.bad[name] = err.Error()
	}
}

func (c *checks) print(w io.Writer) error {
	if len(c.names) == 0 {
		return nil
	}
	fmt.Fprintln(w, "\nChecked during the runs:")
	for _, n := range c.names {
		if why, bad := c.bad[n]; bad {
			fmt.Fprintf(w, "- NOT %s: %s\n", n, why)
		} else {
			fmt.Fprintf(w, "- %s\n", n)
		}
	}
	if len(c.bad) > 0 {
		return fmt.Errorf("the figures are void: not %s", strings.Join(slices.Sorted(maps.Keys(c.bad)), ", not "))
	}
	return nil
}
