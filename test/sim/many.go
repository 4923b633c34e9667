package main

import (
	"cmp"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// summary is what many seeds came to.
type summary struct {
	runs    []result
	counts  counts
	failed  int
	virtual time.Duration
	wall    time.Duration
}

// runAll runs seeds, as many at a time as there are processors; each is alone in its
// goroutine. It stops early once stop says so; seeds under way are finished.
func runAll(first, last uint64, chaos time.Duration, stop func(result) bool) *summary {
	began := time.Now()
	// A world lives for seconds and its garbage is small: memory is cheaper than time.
	defer debug.SetGCPercent(debug.SetGCPercent(800))
	s := &summary{counts: counts{}}
	var next atomic.Uint64
	next.Store(first)
	var done atomic.Bool
	var mu sync.Mutex
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for !done.Load() {
				seed := next.Add(1) - 1
				if seed > last {
					return
				}
				r := run(options{seed: seed, chaos: chaos})
				mu.Lock()
				s.counts.add(r.Counts)
				r.Counts = nil
				s.runs = append(s.runs, r)
				s.virtual += r.Virtual
				if r.Failure != nil {
					s.failed++
				}
				if stop(r) {
					done.Store(true)
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	s.wall = time.Since(began)
	return s
}

func median[T cmp.Ordered](runs []result, of func(result) T) T {
	list := make([]T, len(runs))
	for i, r := range runs {
		list[i] = of(r)
	}
	slices.Sort(list)
	return list[len(list)/2]
}

func (s *summary) print(out io.Writer) {
	for _, k := range s.counts.sorted() {
		fmt.Fprintf(out, "%10d %s\n", s.counts[k], k)
	}
	fmt.Fprintf(out, "%d seeds, %d failed, %.1f virtual hours in %v; median seed: %v virtual, %d agents, %d frameworks, %d tasks ran, %d faults\n",
		len(s.runs), s.failed, s.virtual.Hours(), s.wall.Round(time.Millisecond),
		median(s.runs, func(r result) time.Duration { return r.Virtual }).Round(time.Second),
		median(s.runs, func(r result) int { return r.Agents }), median(s.runs, func(r result) int { return r.Frameworks }),
		median(s.runs, func(r result) int { return r.Tasks }), median(s.runs, func(r result) int { return r.Faults }))
}
