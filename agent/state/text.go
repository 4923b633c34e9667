package state

import (
	"strconv"
	"time"
)

// durationText prints a duration as Mesos does and parses it ("15mins", "2500ms"):
// in the largest unit it reaches, or the next smaller one if only that makes it a
// whole number (3rdparty/stout/include/stout/duration.hpp).
func durationText(d time.Duration) string {
	if d < 0 {
		return "-" + durationText(-d)
	}
	units := []struct {
		size time.Duration
		name string
	}{
		{7 * 24 * time.Hour, "weeks"}, {24 * time.Hour, "days"}, {time.Hour, "hrs"}, {time.Minute, "mins"},
		{time.Second, "secs"}, {time.Millisecond, "ms"}, {time.Microsecond, "us"}, {1, "ns"},
	}
	i := 0
	for i < len(units)-1 && d < units[i].size {
		i++
	}
	if i+1 < len(units) && d%units[i].size != 0 && d%units[i+1].size == 0 {
		i++
	}
	return strconv.FormatFloat(float64(d)/float64(units[i].size), 'g', 15, 64) + units[i].name
}

// bytesText prints a size as Mesos does: in the largest unit that loses nothing.
func bytesText(n int64) string {
	units := []string{"B", "KB", "MB", "GB", "TB"}
	i := 0
	for n != 0 && n%1024 == 0 && i < len(units)-1 {
		n, i = n/1024, i+1
	}
	return strconv.FormatInt(n, 10) + units[i]
}
