package containerizer

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stoa-kernel/stoa/agent/container"
)

// BenchmarkLaunch measures from Launch to Started, one container at a time, with
// namespaces and cgroups.
func BenchmarkLaunch(b *testing.B) {
	r := newRig(b)
	var forked, started, whole []time.Duration
	for b.Loop() {
		s := r.spec("", func(s *container.Spec) { s.Path, s.Argv = "/bin/true", []string{"true"} })
		t := time.Now()
		r.n.Launch(s)
		next[container.Forked](r, s.ID)
		forked = append(forked, time.Since(t))
		r.n.Go(s.ID)
		next[container.Started](r, s.ID)
		started = append(started, time.Since(t))
		next[container.Exited](r, s.ID)
		whole = append(whole, time.Since(t))
		r.n.Destroy(s.ID)
		next[container.Destroyed](r, s.ID)
	}
	for name, d := range map[string][]time.Duration{"forked": forked, "started": started, "exited": whole} {
		slices.Sort(d)
		b.ReportMetric(float64(d[len(d)/2].Microseconds()), name+"-p50-µs")
		b.ReportMetric(float64(d[len(d)*99/100].Microseconds()), name+"-p99-µs")
	}
}

// BenchmarkThroughput keeps 50 launches in flight, each from Launch to Destroyed.
func BenchmarkThroughput(b *testing.B) {
	r := newRig(b)
	slots := make(chan struct{}, 50)
	for b.Loop() {
		s := r.spec("", func(s *container.Spec) { s.Path, s.Argv = "/bin/true", []string{"true"} })
		slots <- struct{}{}
		go func() {
			r.run(s)
			<-slots
		}()
	}
	for range cap(slots) {
		slots <- struct{}{}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "containers/s")
}

// BenchmarkMemory measures what a running container costs beside its task: the init's
// proportional share of memory, and what this process grows by.
func BenchmarkMemory(b *testing.B) {
	r := newRig(b)
	const containers = 200
	for b.Loop() {
		before := pss(b, os.Getpid())
		var specs []*container.Spec
		total := 0
		for range containers {
			s := r.spec("", func(s *container.Spec) { s.Path, s.Argv = "/bin/sleep", []string{"sleep", "1000"} })
			r.begin(s)
			specs = append(specs, s)
		}
		for _, s := range specs {
			total += pss(b, r.n.items[s.ID].init.Pid)
		}
		b.ReportMetric(float64(total)/containers, "init-PSS-KiB")
		b.ReportMetric(float64(pss(b, os.Getpid())-before)/containers, "agent-growth-KiB")
		for _, s := range specs {
			r.n.Destroy(s.ID)
		}
		for _, s := range specs {
			next[container.Exited](r, s.ID)
			next[container.Destroyed](r, s.ID)
		}
	}
}

// pss is in KiB.
func pss(b *testing.B, pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "Pss:" {
			n, err := strconv.Atoi(f[1])
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatal("no Pss in smaps_rollup")
	return 0
}
