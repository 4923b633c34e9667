package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/stoa-kernel/stoa/internal/account"
	"github.com/stoa-kernel/stoa/internal/procfile"
)

const (
	// stock is the directory below the work directory that holds what is made in advance.
	stock = "ready"
	// ahead is how many sandboxes are, of about six files each.
	ahead = 2
)

// Maker makes sandboxes, where it can of directories made in advance: to make them takes
// longer than all else a launch does to the disk.
//
//	<work>/ready/<number>/runs/new/{stdout,stderr}
//
// becomes .../executors/<executor>/runs/<container>/ by renaming, the last of which shows
// it whole.
type Maker struct {
	work string

	filling sync.Mutex // one Fill at a time; taken before mu

	mu    sync.Mutex
	ready []string // paths
	made  int      // ever
}

// NewMaker is for one work directory, of an agent that has it alone; what a former one
// had made in advance is removed.
func NewMaker(workDir string) (*Maker, error) {
	m := &Maker{work: workDir}
	if err := m.Close(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(workDir, stock), 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of sandboxes in advance: %w", err)
	}
	return m, nil
}

// Close removes what was made and not used. No other method may run or follow.
func (m *Maker) Close() error {
	if err := os.RemoveAll(filepath.Join(m.work, stock)); err != nil {
		return fmt.Errorf("remove sandboxes made in advance: %w", err)
	}
	return nil
}

// Fill makes sandboxes in advance until there are enough.
func (m *Maker) Fill() error {
	m.filling.Lock()
	defer m.filling.Unlock()
	for {
		m.mu.Lock()
		full := len(m.ready) >= ahead
		m.made++
		path := filepath.Join(m.work, stock, strconv.Itoa(m.made))
		m.mu.Unlock()
		if full {
			return nil
		}
		if err := advance(path); err != nil {
			return errors.Join(fmt.Errorf("make a sandbox in advance: %w", err), os.RemoveAll(path))
		}
		m.mu.Lock()
		m.ready = append(m.ready, path)
		m.mu.Unlock()
	}
}

func advance(path string) error {
	box := filepath.Join(path, "runs", "new")
	for _, dir := range []string{path, filepath.Dir(box), box} {
		if err := errors.Join(os.Mkdir(dir, 0o755), os.Chmod(dir, 0o755)); err != nil { // whatever the umask
			return err
		}
	}
	for _, name := range []string{"stdout", "stderr"} {
		file := filepath.Join(box, name)
		if err := errors.Join(procfile.Write(file, ""), os.Chmod(file, 0o644)); err != nil {
			return err
		}
	}
	return nil
}

// Create is as the function of that name.
func (m *Maker) Create(path, user string) error {
	rel, err := inside(m.work, path)
	if err != nil {
		return fmt.Errorf("make the sandbox: %w", err)
	}
	owner, err := account.Lookup(user)
	if err != nil {
		return fmt.Errorf("make the sandbox: %w", err)
	}
	m.mu.Lock()
	ready := ""
	if len(m.ready) > 0 {
		ready = m.ready[0]
		m.ready = slices.Delete(m.ready, 0, 1)
	}
	m.mu.Unlock()
	if ready != "" {
		if m.use(ready, rel, owner) == nil {
			return nil
		}
		// Of an executor that ran here before, say; why else will show.
		if err := os.RemoveAll(ready); err != nil {
			return fmt.Errorf("make the sandbox %s: %w", path, err)
		}
	}
	if err := create(m.work, rel, owner); err != nil {
		return fmt.Errorf("make the sandbox %s: %w", path, err)
	}
	return nil
}

// use gives a directory made in advance its place.
func (m *Maker) use(ready, rel string, owner account.Account) error {
	runs, err := unix.Open(filepath.Join(ready, "runs"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(runs)
	name := filepath.Base(rel)
	if err := unix.Renameat(runs, "new", runs, name); err != nil {
		return err
	}
	if err := give(runs, name, owner); err != nil {
		return err
	}
	if err := unix.Symlinkat(name, runs, newest); err != nil {
		return err
	}
	executor := filepath.Dir(filepath.Dir(rel))
	executors, err := makeAll(m.work, filepath.Dir(executor))
	if err != nil {
		return err
	}
	defer unix.Close(executors)
	return unix.Renameat2(unix.AT_FDCWD, ready, executors, filepath.Base(executor), unix.RENAME_NOREPLACE)
}
