package why

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// count is a number and what it counts.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func times(n int) string {
	switch n {
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return fmt.Sprintf("%d times", n)
}

// span is a duration as people say it.
func span(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	}
	return fmt.Sprintf("%.0f days", d.Hours()/24)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// short is the end of an id that tells instances apart: the UUID's first part.
func short(id string) string {
	_, rest, ok := strings.Cut(id, ".instance-")
	if !ok {
		return id
	}
	uuid, after, _ := strings.Cut(rest, "._app.")
	uuid, _, _ = strings.Cut(uuid, "-")
	if after != "" {
		return uuid + " (attempt " + after + ")"
	}
	return uuid
}

func sorted(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
