package node

import (
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// collectLess lets the heap of a master grow to three times what lives before the
// collector runs: it walks every task each time, and at a million tasks that is an eighth
// of all the master does. Near three quarters of the machine's memory it runs as often as
// it must. GOGC and GOMEMLIMIT in the environment win.
func collectLess() {
	const percent = 200
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
	var info unix.Sysinfo_t
	if os.Getenv("GOMEMLIMIT") == "" && unix.Sysinfo(&info) == nil {
		debug.SetMemoryLimit(int64(info.Totalram * uint64(info.Unit) / 4 * 3))
	}
}
