package fetch

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sandboxFD is the child's descriptor of the sandbox.
const sandboxFD = 3

// memory bounds what decoders take, in bytes beyond what the program has at its start:
// an archive's header may ask for gigabytes.
const memory = 1 << 30

// Main is the child: it does the request on its standard input and returns the exit
// status. The program calls it for Verb, before anything else starts.
func Main() int {
	err := serve()
	if err == nil {
		return 0
	}
	fmt.Println(err)
	return 1
}

func serve() error {
	unix.CloseOnExec(sandboxFD)
	syscall.Umask(0o022)
	debug.SetMemoryLimit(memory / 4)
	if err := boundMemory(); err != nil {
		return fmt.Errorf("bound the fetcher's memory: %w", err)
	}
	if err := unix.Fchdir(sandboxFD); err != nil {
		return fmt.Errorf("enter the sandbox: %w", err)
	}
	root, err := os.OpenRoot(".")
	if err != nil {
		return fmt.Errorf("enter the sandbox: %w", err)
	}
	defer root.Close()
	stdin := bufio.NewReader(os.Stdin)
	line, err := stdin.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	var r request
	if err := json.Unmarshal(line, &r); err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	go func() {
		// The agent keeps the pipe open as long as it lives and wants the files.
		_, _ = io.Copy(io.Discard, stdin)
		os.Exit(1)
	}()
	// The task's stderr tells its user what was fetched. It may already be there.
	stderr, err := root.OpenFile("stderr", os.O_WRONLY|os.O_CREATE|os.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o644)
	if err != nil {
		return fmt.Errorf("open the sandbox's stderr: %w", err)
	}
	defer stderr.Close()
	err = run(context.Background(), root, r, log.New(stderr, "fetch: ", log.LstdFlags|log.Lmsgprefix))
	return err
}

func boundMemory() error {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	var now uint64 // KiB
	if _, rest, ok := strings.Cut(string(status), "VmData:"); ok {
		if _, err := fmt.Sscan(rest, &now); err != nil {
			return err
		}
	}
	n := now<<10 + memory
	return unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: n, Max: n})
}

// run does a request in the sandbox root.
func run(ctx context.Context, root *os.Root, r request, logger *log.Logger) error {
	if r.Disk == 0 {
		r.Disk = 1<<63 - 1
	}
	f := &fetch{root: root, log: logger, disk: budget{left: r.Disk, all: r.Disk}, stall: r.Wait, free: freeBytes}
	return f.all(ctx, r.URIs)
}

func (f *fetch) all(ctx context.Context, uris []uri) error {
	for _, u := range uris {
		if err := f.one(ctx, u); err != nil {
			err = fmt.Errorf("%s: %w", shown(u.Value), explain(err))
			f.log.Print("failed: ", err)
			return err
		}
	}
	return nil
}

// fetch is one run.
type fetch struct {
	root  *os.Root
	log   *log.Logger
	disk  budget
	stall time.Duration
	free  int64 // what an archive may unpack to, however small it is
}

func (f *fetch) one(ctx context.Context, u uri) error {
	s, err := parse(u)
	if err != nil {
		return err
	}
	if dir := path.Dir(s.output); dir != "." {
		if err := f.root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	begin := time.Now()
	size, err := f.download(ctx, s)
	if err != nil {
		return err
	}
	f.log.Printf("%s -> %s, %d bytes in %s", shown(u.Value), s.output, size, time.Since(begin).Round(time.Millisecond))
	switch {
	case u.Executable:
		return f.root.Chmod(s.output, 0o755)
	case u.Extract && s.kind == plain:
		f.log.Printf("%s is left as it is: its name is not an archive's", s.output)
	case u.Extract:
		n, err := f.extract(s, size)
		if err != nil {
			return fmt.Errorf("extract %s: %w", s.output, err)
		}
		f.log.Printf("extracted %s, %d entries", s.output, n)
	}
	return nil
}

// create makes a file, in the place of what has its name.
func (f *fetch) create(name string, mode os.FileMode) (*os.File, error) {
	if err := f.clear(name); err != nil {
		return nil, err
	}
	return f.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
}

func (f *fetch) clear(name string) error {
	if err := f.root.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// explain puts errors of the system into the words of somebody who looks at a task.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("the agent's disk is full: %w", err)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("the task's user may not: %w", err)
	}
	return err
}

// budget is how many bytes may still be written.
type budget struct{ left, all int64 }

var errDisk = errors.New("disk limit")

func (b *budget) take(n int64) error {
	if b.left -= n; b.left < 0 {
		return fmt.Errorf("more than the task's disk of %d MB would be used (%w): ask for more disk", b.all>>20, errDisk)
	}
	return nil
}

// spend is a writer that charges a budget before it writes.
type spend struct {
	w io.Writer
	b *budget
}

func (s spend) Write(p []byte) (int, error) {
	if err := s.b.take(int64(len(p))); err != nil {
		return 0, err
	}
	return s.w.Write(p)
}
