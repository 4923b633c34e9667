package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Lock keeps a second process from the same directory.
type Lock struct{ f *os.File }

// Acquire locks dir, which must exist, for this process; who describes it to others
// ("stoa agent"). The lock goes with the process, however it dies. If another process
// has it, the error says which.
func Acquire(dir, who string) (*Lock, error) {
	name := filepath.Join(dir, "lock")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		defer f.Close()
		return nil, fmt.Errorf("%s is in use by %s: stop it first, or choose another directory", dir, holder(f))
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

func holder(f *os.File) string {
	var b [256]byte
	n, _ := f.ReadAt(b[:], 0) // nothing is read while the other process is just starting
	if s := strings.TrimSpace(string(b[:n])); s != "" {
		return s
	}
	return "another process"
}

// Release unlocks. The file stays: removing it would let two processes lock two files.
func (l *Lock) Release() error { return l.f.Close() }
