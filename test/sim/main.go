// Command sim runs whole clusters - masters, agents, machines, frameworks and the
// network between them - in one goroutine on virtual time, from one seed, and checks
// what must be true after every step. The cores are those that ship: master/state with
// master/allocator, agent/state with agent/status and agent/checkpoint, driven with the
// same internal/loop; everything around them is a model that fails on purpose.
//
//	go run ./test/sim -seed 7                 one seed
//	go run ./test/sim -seed 7 -trace          with every input and effect
//	go run ./test/sim -seed 7 -hours 2        two virtual hours of faults
//	go run ./test/sim -seeds 1-1000           many, and what happened how often; it fails
//	                                          if a kind of fault or effect never did
//	go run -tags planted ./test/sim -bug NAME -seeds 1-200
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"runtime/pprof"
	"time"
)

func main() {
	seed := flag.Uint64("seed", 0, "the seed to run")
	seeds := flag.String("seeds", "", "a range of seeds to run, as 1-1000")
	hours := flag.Float64("hours", 0, "virtual hours of faults; 0 is about 11 minutes")
	traced := flag.Bool("trace", false, "print every input and effect")
	once := flag.Bool("first", false, "stop at the first violation of a range and print nothing else")
	bug := flag.String("bug", "", "the planted bug to switch on; needs -tags planted")
	profile := flag.String("cpuprofile", "", "write a CPU profile to this file")
	flag.Parse()
	if *profile != "" {
		f, err := os.Create(*profile)
		if err == nil {
			err = pprof.StartCPUProfile(f)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "sim: cpuprofile:", err)
			os.Exit(2)
		}
		defer pprof.StopCPUProfile()
	}
	if *bug != "" && !plant(*bug) {
		fmt.Fprintln(os.Stderr, "sim: bugs are planted by building with -tags planted")
		os.Exit(2)
	}
	first, last := *seed, *seed
	if *seeds != "" {
		if _, err := fmt.Sscanf(*seeds, "%d-%d", &first, &last); err != nil || last < first {
			fmt.Fprintf(os.Stderr, "sim: -seeds %q is not a range like 1-1000\n", *seeds)
			os.Exit(2)
		}
	}
	chaos := time.Duration(*hours * float64(time.Hour))
	out := bufio.NewWriter(os.Stdout)
	if first == last && !*once {
		o := options{seed: first, chaos: chaos}
		if *traced {
			o.trace = func(line string) { fmt.Fprintln(out, line) }
		}
		r := run(o)
		fmt.Fprintf(out, "seed %d: %v virtual, %d agents, %d frameworks, %d tasks ran, %d faults, trace %016x\n",
			r.Seed, r.Virtual, r.Agents, r.Frameworks, r.Tasks, r.Faults, r.Hash)
		if r.Failure != nil {
			fmt.Fprintf(out, "VIOLATION %v\n%s", r.Failure, r.Failure.Stack)
			out.Flush()
			os.Exit(1)
		}
		for _, k := range r.Counts.sorted() {
			fmt.Fprintf(out, "%9d %s\n", r.Counts[k], k)
		}
		out.Flush()
		return
	}
	s := runAll(first, last, chaos, func(r result) bool {
		if r.Failure != nil {
			fmt.Printf("seed %d: VIOLATION %v\n", r.Seed, r.Failure)
		}
		return *once && r.Failure != nil
	})
	if !*once {
		s.print(os.Stdout)
		if s.failed == 0 {
			for _, what := range s.wanting() {
				fmt.Println("WANTING", what)
				s.failed++
			}
		}
	}
	if s.failed > 0 {
		os.Exit(1)
	}
}
