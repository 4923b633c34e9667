package node

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/stoa-kernel/stoa/cli"
	"github.com/stoa-kernel/stoa/internal/dirlock"
)

// lock takes a data directory for this process until it ends, however it ends.
func lock(dir, what string) (release func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, &cli.Error{What: "the data directory cannot be made", Why: err.Error(), Try: "another --data-dir"}
	}
	l, err := dirlock.Acquire(dir, "stoa "+what)
	var held *dirlock.Held
	switch {
	case errors.As(err, &held):
		return nil, &cli.Error{
			What: "the data directory " + dir + " is in use",
			Why:  "by " + held.By,
			Try:  "stop that process, or choose another --data-dir",
			Code: cli.ExitConflict,
		}
	case err != nil:
		return nil, &cli.Error{What: "the data directory cannot be used", Why: err.Error(), Try: "another --data-dir"}
	}
	return func() { _ = l.Release() }, nil // the file's content does not matter any more
}

// taken explains why an address cannot be listened on: the flag, and who holds it. Other
// errors pass as they are.
func taken(flag, addr string, err error) error {
	if !errors.Is(err, syscall.EADDRINUSE) {
		return err
	}
	e := &cli.Error{
		What: fmt.Sprintf("--%s %s is taken", flag, addr),
		Why:  "another process listens there",
		Try:  "stop it, or choose another --" + flag,
		Code: cli.ExitConflict,
	}
	if _, port, err := net.SplitHostPort(addr); err == nil {
		if who := holder(port); who != "" {
			e.Why = who + " listens there"
		}
	}
	return e
}

// holder names the process that listens on a port, as far as this user may see; "" if it
// cannot be found.
func holder(port string) string {
	n, err := strconv.Atoi(port)
	if err != nil {
		return ""
	}
	inode := ""
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(table)
		if err != nil {
			continue
		}
		for line := range bytes.Lines(text) {
			f := strings.Fields(string(line))
			const listening = "0A"
			if len(f) > 9 && f[3] == listening && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", n)) {
				inode = f[9]
			}
		}
	}
	if inode == "" {
		return ""
	}
	fds, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return ""
	}
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err != nil || to != "socket:["+inode+"]" {
			continue
		}
		pid := strings.Split(fd, "/")[2]
		argv, err := os.ReadFile("/proc/" + pid + "/cmdline")
		if err != nil {
			return "process " + pid
		}
		return fmt.Sprintf("process %s (%s)", pid, strings.TrimSpace(string(bytes.ReplaceAll(argv, []byte{0}, []byte{' '}))))
	}
	return ""
}
