// Command bench measures Stoa on the machine it runs on and prints a table: the machine
// first, then each figure as median and spread of several runs beside its goal and what
// others reach. What it starts are the shipped binary's master and agent, as processes of
// their own, on a data directory on disk; it speaks to them as any framework does.
//
//	go run ./test/bench                       everything, five runs
//	go run ./test/bench -only latency,tasks   some of it; service is all of service-…
//	go run ./test/bench -quick -runs 1        small sizes, to see that it works
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

// sections are what -only names, in the order they run.
var sections = []struct {
	name string
	run  func(*bench) error
}{
	{"resources", resources},
	{"allocator", allocation},
	{"latency", latency},
	{"tasks", tasks},
	{"memory", memory},
	{"simulated-1000", func(b *bench) error { return b.simulated(1000) }},
	{"simulated-5000", func(b *bench) error { return b.simulated(5000) }},
	{"service-real", real},
	{"service-large", large},
	{"service-many", many},
	{"service-posts", posted},
	{"hostile", hostile},
}

// bench is what the sections share.
type bench struct {
	runs    int
	quick   bool
	dir     string // on disk, removed at the end
	program string // the stoa binary under test
	table   table
	checks  checks
	started []*process
}

func main() {
	b := &bench{}
	var names []string
	for _, s := range sections {
		names = append(names, s.name)
	}
	only := flag.String("only", strings.Join(names, ","), "what to measure")
	flag.IntVar(&b.runs, "runs", 5, "`times` each figure is taken")
	flag.BoolVar(&b.quick, "quick", false, "small sizes: shows that it works, measures nothing")
	hostile := flag.String("attack", "", "what the bench starts itself with, to be hostile: `KIND@HOST:PORT`")
	flag.Parse()
	if *hostile != "" {
		fmt.Fprintln(os.Stderr, "bench:", attack(*hostile))
		os.Exit(1)
	}
	if err := b.main(strings.Split(*only, ","), names); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (b *bench) main(only, names []string) error {
	wanted := func(name string) bool {
		group, _, _ := strings.Cut(name, "-")
		return slices.Contains(only, name) || slices.Contains(only, group)
	}
	for _, name := range only {
		if !slices.ContainsFunc(names, func(n string) bool { return n == name || strings.HasPrefix(n, name+"-") }) {
			return fmt.Errorf("-only %s: there are %s", name, strings.Join(names, ", "))
		}
	}
	if b.runs < 1 {
		return errors.New("-runs: at least 1")
	}
	// A temporary directory is often memory; this one is on disk by convention, and what
	// it is on is printed and checked.
	dir, err := os.MkdirTemp("/var/tmp", "stoa-bench-")
	if err != nil {
		return err
	}
	b.dir = dir
	defer os.RemoveAll(dir)
	defer b.stopAll()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() { // as long as the process
		<-interrupted
		b.stopAll()
		os.RemoveAll(dir)
		os.Exit(130)
	}()

	if b.program, err = build(dir); err != nil {
		return err
	}
	if err := card(dir); err != nil {
		return fmt.Errorf("machine card: %w", err)
	}
	for _, s := range sections {
		if !wanted(s.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "measuring %s\n", s.name)
		if err := s.run(b); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	fmt.Printf("\nMedian (min-max) of %d runs, load average at the end %s.\n\n", b.runs, loadAverage())
	b.table.print(os.Stdout)
	return b.checks.print(os.Stdout)
}
