package node

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"golang.org/x/sys/unix"
)

// collectLess lets a large heap of a master or a service grow to three times what lives
// before the collector runs: it walks every task and instance each time, and at a million
// tasks that is an eighth of all the master does. A small heap costs little to walk, and hostile requests are then
// most of what would wait for the collector. Near three quarters of the machine's memory
// it runs as often as it must. GOGC and GOMEMLIMIT in the environment win. It looks at the
// heap until ctx ends.
func collectLess(ctx context.Context) {
	var info unix.Sysinfo_t
	if os.Getenv("GOMEMLIMIT") == "" && unix.Sysinfo(&info) == nil {
		debug.SetMemoryLimit(int64(info.Totalram * uint64(info.Unit) / 4 * 3))
	}
	if os.Getenv("GOGC") != "" {
		return
	}
	go func() { // ends with ctx
		const every, small = 5 * time.Second, 128 << 20
		tick := time.NewTicker(every)
		defer tick.Stop()
		now := 100
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			metrics.Read(live)
			percent := 100
			if live[0].Value.Uint64() > small {
				percent = 200
			}
			if percent != now { // setting it stops the world
				debug.SetGCPercent(percent)
				now = percent
			}
		}
	}()
}
