// Command victim is a task that says in a journal of its own, outside Stoa, when it starts
// and how it is about to end. It ends when and how it is told to, through a named pipe next
// to the journal, so that a test decides what happens while an agent is down.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// most is how much is allocated at the end "oom", in bytes: a task without a memory limit
// survives it and says so.
const most = 512 << 20

func main() {
	do, path := run, os.Args[1]
	if path == "app" {
		do, path = app, os.Args[2]
	}
	if err := do(path); err != nil {
		fmt.Fprintln(os.Stderr, "victim:", err)
		os.Exit(99)
	}
}

func run(path string) error {
	journal, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	// One write per line: two victims with one journal would show as two whole lines.
	if _, err := fmt.Fprintf(journal, "start %d %d\n", os.Getpid(), time.Now().UnixNano()); err != nil {
		return err
	}
	control, err := os.Open(path + ".ctl")
	if err != nil {
		return err
	}
	line, err := bufio.NewReader(control).ReadString('\n')
	if err != nil {
		return err
	}
	how := strings.TrimSpace(line)
	if _, err := fmt.Fprintf(journal, "exit %s %d\n", how, time.Now().UnixNano()); err != nil {
		return err
	}
	switch how {
	case "0":
		return nil
	case "3":
		os.Exit(3)
	case "segv":
		// Go's runtime would handle the signal; a shell in this process's place does not.
		return syscall.Exec("/bin/sh", []string{"sh", "-c", "kill -SEGV $$"}, os.Environ())
	case "oom":
		var held [][]byte
		for total := 0; total < most; total += 1 << 20 {
			page := make([]byte, 1<<20)
			for i := 0; i < len(page); i += 4096 {
				page[i] = 1
			}
			held = append(held, page)
		}
		return fmt.Errorf("%d MiB were allocated and nobody minded", len(held))
	}
	return fmt.Errorf("told to end as %q", how)
}
