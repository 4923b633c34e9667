package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

var units = map[string]float64{
	"": 1, "m": 1, "mb": 1, "mib": 1, "k": 1.0 / 1024, "kb": 1.0 / 1024, "kib": 1.0 / 1024,
	"g": 1024, "gb": 1024, "gib": 1024, "t": 1024 * 1024, "tb": 1024 * 1024, "tib": 1024 * 1024,
}

// Size is a flag of mebibytes: "512", "512MB", "8G", "1.5 GiB". Powers of 1024 all, as
// Mesos counts.
type Size float64

// String implements pflag.Value.
func (s *Size) String() string { return strconv.FormatFloat(float64(*s), 'g', -1, 64) }

// Type implements pflag.Value.
func (s *Size) Type() string { return "size" }

// Set implements pflag.Value.
func (s *Size) Set(text string) error {
	v, err := parseSize(text)
	if err == nil {
		*s = Size(v)
	}
	return err
}

func parseSize(text string) (mib float64, err error) {
	text = strings.TrimSpace(text)
	end := strings.LastIndexAny(text, "0123456789.") + 1
	number, unit := text[:end], strings.ToLower(strings.TrimSpace(text[end:]))
	factor, ok := units[unit]
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || !ok || v < 0 || v > 1e12 {
		return 0, fmt.Errorf("%q is no size; write 512MB, 8G or 1.5GiB", text)
	}
	return v * factor, nil
}

// Duration is a flag as people and Mesos write it: "90s", "5m", "1h30m", "2days", "10secs".
type Duration time.Duration

// String implements pflag.Value.
func (d *Duration) String() string { return time.Duration(*d).String() }

// Type implements pflag.Value.
func (d *Duration) Type() string { return "duration" }

// Set implements pflag.Value.
func (d *Duration) Set(text string) error {
	v, err := ParseDuration(text)
	if err == nil {
		*d = Duration(v)
	}
	return err
}

var longUnits = []struct {
	name string
	unit time.Duration
}{
	{"weeks", 7 * 24 * time.Hour}, {"week", 7 * 24 * time.Hour}, {"w", 7 * 24 * time.Hour},
	{"days", 24 * time.Hour}, {"day", 24 * time.Hour}, {"d", 24 * time.Hour},
	{"hrs", time.Hour}, {"hours", time.Hour}, {"hour", time.Hour},
	{"mins", time.Minute}, {"min", time.Minute}, {"secs", time.Second}, {"sec", time.Second},
}

// ParseDuration reads Go's form, days and weeks, and Mesos's form (src/stout's Duration).
func ParseDuration(text string) (time.Duration, error) {
	text = strings.TrimSpace(text)
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return d, nil
	}
	for _, u := range longUnits {
		number, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err == nil && v >= 0 && v*float64(u.unit) < float64(1<<62) {
			return time.Duration(v * float64(u.unit)), nil
		}
	}
	return 0, fmt.Errorf("%q is no duration; write 90s, 5m, 1h30m or 2d", text)
}
