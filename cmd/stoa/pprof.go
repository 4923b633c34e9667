//go:build pprof

package main

import (
	"bytes"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
)

// Built with the tag pprof, as test/bench does when asked for profiles, SIGUSR1 begins a
// CPU profile and the next one writes it to the file STOA_PPROF.
func init() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	go func() { // as long as the process
		for {
			<-signals
			var b bytes.Buffer
			if err := pprof.StartCPUProfile(&b); err != nil {
				continue
			}
			<-signals
			pprof.StopCPUProfile()
			path := os.Getenv("STOA_PPROF")
			if os.WriteFile(path+".new", b.Bytes(), 0o600) == nil {
				_ = os.Rename(path+".new", path)
			}
		}
	}()
}
