// Package clock is the time a pure core is told: it never asks for it.
package clock

import "time"

// Now is one instant as a loop saw it.
type Now struct {
	// Mono is monotonic time since the process (or the simulation) began. Timers
	// and timeouts count in it, so a stepped wall clock fires nothing.
	Mono time.Duration
	// Wall is what timestamps show; never compare two of them to measure.
	Wall time.Time
}

// Seconds is the wall time as Mesos writes timestamps: Unix seconds with a fraction.
func (n Now) Seconds() float64 { return float64(n.Wall.UnixNano()) / 1e9 }
