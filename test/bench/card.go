package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// card prints what the figures depend on and Stoa does not decide.
func card(dir string) error {
	var un unix.Utsname
	if err := unix.Uname(&un); err != nil {
		return err
	}
	kind, device, err := fileSystem(dir)
	if err != nil {
		return err
	}
	syncs, err := syncTimes(filepath.Join(dir, "syncs"))
	if err != nil {
		return err
	}
	forks, err := forkTimes()
	if err != nil {
		return err
	}
	trips, err := roundTrips()
	if err != nil {
		return err
	}
	fmt.Printf("Machine: %s, %d cores, %s memory, Linux %s, %s.\n", field("/proc/cpuinfo", "model name"), runtime.NumCPU(),
		memoryText(field("/proc/meminfo", "MemTotal")), unix.ByteSliceToString(un.Release[:]), runtime.Version())
	fmt.Printf("Data directory: %s on %s.\n", kind, device)
	fmt.Printf("Bounds, p50 / p99: append of 4 KiB with fdatasync %s, fork and exec of `true` %s, loopback round trip of 64 B %s.\n",
		spread(syncs), spread(forks), spread(trips))
	fmt.Printf("Commit %s, command `go run ./test/bench %s`, load average at the start %s.\n",
		commit(), strings.Join(os.Args[1:], " "), loadAverage())
	return nil
}

func spread(times []time.Duration) string {
	slices.Sort(times)
	p50, p99 := quantile(times, 0.5), quantile(times, 0.99)
	if p99 < time.Millisecond {
		return number(micros(p50)) + " / " + number(micros(p99)) + " µs"
	}
	return number(millis(p50)) + " / " + number(millis(p99)) + " ms"
}

// field is the value of the first line of a file that begins with name.
func field(path, name string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func memoryText(kib string) string {
	var n float64
	if _, err := fmt.Sscanf(kib, "%f kB", &n); err != nil {
		return kib
	}
	return fmt.Sprintf("%.0f GiB", n/(1<<20))
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}

// commit names what is measured, as far as git knows.
func commit() string {
	head, err := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	changed, err := exec.Command("git", "status", "--porcelain", "--untracked-files=no").Output()
	if err != nil || len(bytes.TrimSpace(changed)) > 0 {
		return strings.TrimSpace(string(head)) + " with local changes"
	}
	return strings.TrimSpace(string(head))
}

// fileSystem finds the mount a path is on.
func fileSystem(path string) (kind, device string, err error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", "", err
	}
	longest := -1
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		at := strings.TrimSuffix(f[1], "/") + "/"
		if strings.HasPrefix(path+"/", at) && len(at) >= longest {
			longest, device, kind = len(at), f[0], f[2]
		}
	}
	return kind, device, nil
}

func syncTimes(path string) ([]time.Duration, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	page := make([]byte, 4096)
	return repeat(300, func() error {
		if _, err := f.Write(page); err != nil {
			return err
		}
		return unix.Fdatasync(int(f.Fd()))
	})
}

func forkTimes() ([]time.Duration, error) {
	path, err := exec.LookPath("true")
	if err != nil {
		return nil, err
	}
	return repeat(300, func() error {
		p, err := os.StartProcess(path, []string{"true"}, &os.ProcAttr{})
		if err != nil {
			return err
		}
		_, err = p.Wait()
		return err
	})
}

func roundTrips() ([]time.Duration, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	go func() { // ends with the connection
		if c, err := l.Accept(); err == nil {
			_, _ = io.Copy(c, c)
			c.Close()
		}
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	b := make([]byte, 64)
	return repeat(5000, func() error {
		if _, err := c.Write(b); err != nil {
			return err
		}
		_, err := io.ReadFull(c, b)
		return err
	})
}

func repeat(n int, f func() error) ([]time.Duration, error) {
	times := make([]time.Duration, n)
	for i := range times {
		began := time.Now()
		if err := f(); err != nil {
			return nil, err
		}
		times[i] = time.Since(began)
	}
	return times, nil
}
