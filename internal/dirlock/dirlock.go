// Package dirlock keeps a second process from a directory.
package dirlock

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Lock is a locked directory.
type Lock struct{ f *os.File }

// Held is the error of a directory that another process has locked.
type Held struct {
	Dir string
	By  string // as in "process 17 (stoa agent)"
}

func (e *Held) Error() string {
	return fmt.Sprintf("%s is in use by %s: stop it first, or choose another directory", e.Dir, e.By)
}

// patience is how long a lock whose holder is dead is waited for. A child forked just
// before that has the lock too, until it executes its program, which closes it: that
// takes milliseconds, but a supervisor may have started the next process by then.
const (
	patience = 5 * time.Second
	pause    = 5 * time.Millisecond
)

// Acquire locks dir, which must exist, for this process; who describes it to others
// ("stoa agent"). The lock goes with the process, however it dies. If another process
// has it, the error is a *Held.
func Acquire(dir, who string) (*Lock, error) {
	name := filepath.Join(dir, "lock")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(pause) {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			break
		}
		by, dead := holder(f)
		if !dead || time.Now().After(deadline) {
			return nil, errors.Join(&Held{dir, by}, f.Close())
		}
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = fmt.Fprintf(f, "process %d (%s)\n", os.Getpid(), who)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
	}
	return &Lock{f}, nil
}

// holder is what the process that locked last wrote, and whether that process is dead.
func holder(f *os.File) (by string, dead bool) {
	var b [256]byte
	n, _ := f.ReadAt(b[:], 0) // nothing is read while the other process is just starting
	by = strings.TrimSpace(string(b[:n]))
	if by == "" {
		return "another process", false
	}
	var pid int
	if _, err := fmt.Sscanf(by, "process %d ", &pid); err != nil {
		return by, false
	}
	return by, errors.Is(unix.Kill(pid, 0), unix.ESRCH)
}

// Release unlocks. The file stays: removing it would let two processes lock two files.
func (l *Lock) Release() error { return l.f.Close() }
