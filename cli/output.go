package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

// output prints listings: every one takes the same formats.
type output struct {
	format    string
	noHeaders bool
}

func (o *output) flags(c *cobra.Command) {
	c.Flags().StringVarP(&o.format, "output", "o", "table", "`format`: table, wide, json or yaml")
	c.Flags().BoolVar(&o.noHeaders, "no-headers", false, "leave the table's header out")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "wide", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
}

func (o *output) check() error {
	switch o.format {
	case "table", "wide", "json", "yaml":
		return nil
	}
	return usage("-o %s is no format; it takes table, wide, json or yaml", o.format)
}

// column of a table; a wide one shows with -o wide only.
type column[T any] struct {
	head string
	wide bool
	cell func(T) string
}

// list prints rows in the format asked for. JSON and YAML have the rows' own fields,
// never shortened.
func list[T any](o *output, w io.Writer, rows []T, columns []column[T], none string) error {
	switch o.format {
	case "json", "yaml":
		if rows == nil {
			rows = []T{}
		}
		return printData(w, o.format, rows)
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(w, none)
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(cell func(column[T]) string) {
		var cells []string
		for _, c := range columns {
			if !c.wide || o.format == "wide" {
				cells = append(cells, clean(cell(c)))
			}
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	if !o.noHeaders {
		line(func(c column[T]) string { return c.head })
	}
	for _, r := range rows {
		line(func(c column[T]) string { return c.cell(r) })
	}
	return t.Flush()
}

// clean keeps what others named from moving a terminal's cursor.
func clean(s string) string {
	if s == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

func printData(w io.Writer, format string, v any) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("%s: %w", reflect.TypeOf(v), err)
	}
	if format == "yaml" {
		if raw, err = yaml.JSONToYAML(raw); err != nil {
			return err
		}
	} else {
		raw = append(raw, '\n')
	}
	_, err = w.Write(raw)
	return err
}

// age is a duration as people say it: 42s, 3m12s, 5h03m, 9d.
func age(d time.Duration) string {
	d = d.Truncate(time.Second)
	switch {
	case d < 0:
		return "0s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

func since(seconds float64) string {
	if seconds == 0 {
		return ""
	}
	return age(time.Since(time.Unix(0, int64(seconds*1e9))))
}

// mem shows MiB as people write sizes.
func mem(mib float64) string {
	switch {
	case mib >= 1024*1024:
		return fmt.Sprintf("%.4g TiB", mib/1024/1024)
	case mib >= 1024:
		return fmt.Sprintf("%.4g GiB", mib/1024)
	}
	return fmt.Sprintf("%.4g MiB", mib)
}
