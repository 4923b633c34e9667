// Package sandbox owns the directories tasks run in: making them, removing them, and
// reading from them for operators.
//
//	<work>/slaves/<agent>/frameworks/<framework>/executors/<executor>/runs/<container>/
//	<work>/slaves/<agent>/frameworks/<framework>/executors/<executor>/runs/latest -> <container>
//
// The layout is Mesos's (1.11, src/slave/paths.cpp), since executors and tools know it.
// Everything down to runs belongs to the agent; the sandbox itself belongs to the
// task's user, who may put anything into it: links to anywhere, pipes, devices. So
// whatever works on a sandbox goes through os.Root and opens regular files only.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stoa-kernel/stoa/internal/account"
)

// depth of a sandbox below the work directory, in path elements.
const depth = 8

// Create makes the sandbox at path, an absolute path below workDir of the form above,
// owned by the user and closed to others, and points latest to it. One that exists is
// given to the user again.
func Create(workDir, path, user string) error {
	rel, err := inside(workDir, path)
	if err != nil {
		return fmt.Errorf("make the sandbox: %w", err)
	}
	owner, err := account.Lookup(user)
	if err != nil {
		return fmt.Errorf("make the sandbox: %w", err)
	}
	if err := create(workDir, rel, owner); err != nil {
		return fmt.Errorf("make the sandbox %s: %w", path, err)
	}
	return nil
}

// create goes down by descriptors and follows no link, as os.Root does; one walk instead
// of one for each of its methods is half a millisecond less of a task's launch.
func create(workDir, rel string, owner account.Account) error {
	var runs int
	var err error
	// The collection of an older run of the same executor removes parents that are
	// empty just now.
	for range 3 {
		if runs, err = makeAll(workDir, filepath.Dir(rel)); err == nil {
			if err = createIn(runs, filepath.Base(rel), owner); err == nil {
				err = latest(runs, filepath.Base(rel))
			}
			unix.Close(runs)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return err
}

// makeAll makes the directories of rel that are missing below dir, and opens the last.
func makeAll(dir, rel string) (int, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", dir, err)
	}
	for name := range strings.SplitSeq(rel, "/") {
		next, err := unix.Openat(fd, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if errors.Is(err, fs.ErrNotExist) {
			if err = unix.Mkdirat(fd, name, 0o755); err == nil || errors.Is(err, fs.ErrExist) {
				next, err = unix.Openat(fd, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
			}
		}
		unix.Close(fd)
		if err != nil {
			return -1, fmt.Errorf("make %s in %s: %w", name, rel, err)
		}
		fd = next
	}
	return fd, nil
}

func createIn(runs int, name string, owner account.Account) error {
	if err := unix.Mkdirat(runs, name, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return give(runs, name, owner)
}

// give makes the sandbox the user's.
func give(runs int, name string, owner account.Account) error {
	// For reading, not as a path alone: that could not be changed.
	fd, err := unix.Openat(runs, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if !owner.Mine() {
		if err := unix.Fchown(fd, int(owner.UID), int(owner.GID)); err != nil {
			return err
		}
	}
	return unix.Fchmod(fd, 0o750) // whatever the umask
}

// newest is the name of the link to the newest run.
const newest = "latest"

func latest(runs int, name string) error {
	const next = newest + ".next"
	err := unix.Symlinkat(name, runs, newest)
	if !errors.Is(err, fs.ErrExist) {
		return err // the first run, most often
	}
	if err := unix.Unlinkat(runs, next, 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := unix.Symlinkat(name, runs, next); err != nil {
		return err
	}
	return unix.Renameat(runs, next, runs, newest)
}

// inside is path relative to workDir, if it has a sandbox's form.
func inside(workDir, path string) (string, error) {
	rel, err := filepath.Rel(workDir, path)
	if err != nil || !filepath.IsLocal(rel) || filepath.Clean(path) != path {
		return "", fmt.Errorf("%s is not below %s", path, workDir)
	}
	e := strings.Split(rel, "/")
	if len(e) != depth || e[0] != "slaves" || e[2] != "frameworks" || e[4] != "executors" || e[6] != "runs" || e[7] == newest {
		return "", fmt.Errorf("%s is no sandbox: want slaves/AGENT/frameworks/FRAMEWORK/executors/EXECUTOR/runs/CONTAINER below %s", path, workDir)
	}
	return rel, nil
}

// Remove deletes the sandbox at path and the directories above it that it leaves empty.
// Links in it are removed, not followed. A sandbox with something mounted in it is
// left, with an error: what is mounted there (a persistent volume, say) must not go with
// it. One that is not there is no error. It ends early when ctx does.
func Remove(ctx context.Context, workDir, path string) error {
	rel, err := inside(workDir, path)
	if err != nil {
		return fmt.Errorf("remove the sandbox: %w", err)
	}
	at, err := mountBelow(path)
	if err != nil {
		return fmt.Errorf("remove the sandbox %s: %w", path, err)
	}
	if at != "" {
		return fmt.Errorf("remove the sandbox %s: something is mounted on %s: unmount it first", path, at)
	}
	root, err := os.OpenRoot(workDir)
	if err != nil {
		return fmt.Errorf("remove the sandbox: %w", err)
	}
	defer root.Close()
	if err := remove(ctx, root, rel); err != nil {
		return fmt.Errorf("remove the sandbox %s: %w", path, err)
	}
	return nil
}

func remove(ctx context.Context, root *os.Root, rel string) error {
	for {
		names, err := some(root, rel)
		if errors.Is(err, fs.ErrPermission) {
			if err = root.Chmod(rel, 0o700); err == nil {
				names, err = some(root, rel)
			}
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if len(names) == 0 {
			break
		}
		for _, name := range names {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := removeAll(root, filepath.Join(rel, name)); err != nil {
				return err
			}
		}
	}
	if err := root.Remove(rel); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	runs := filepath.Dir(rel)
	if target, err := root.Readlink(filepath.Join(runs, newest)); err == nil && target == filepath.Base(rel) {
		if err := root.Remove(filepath.Join(runs, newest)); err != nil {
			return err
		}
	}
	// runs, EXECUTOR, executors, FRAMEWORK, frameworks; the agent's own stays.
	for dir := runs; strings.Count(dir, "/") >= 2; dir = filepath.Dir(dir) {
		if err := root.Remove(dir); err != nil {
			break // not empty
		}
	}
	return nil
}

// some returns a few names of what is in a directory, none if it is empty.
func some(root *os.Root, dir string) ([]string, error) {
	d, err := root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(1024)
	if err == io.EOF {
		err = nil
	}
	return names, err
}

// removeAll removes a tree, opening directories its owner closed to himself.
func removeAll(root *os.Root, name string) error {
	err := root.RemoveAll(name)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	// Top down: a directory is read after it was opened.
	_ = fs.WalkDir(root.FS(), name, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			if root.Chmod(p, 0o700) != nil {
				return fs.SkipDir
			}
		}
		return nil
	})
	return root.RemoveAll(name)
}

// mountBelow is a mount point below dir that this process sees, or "".
func mountBelow(dir string) (string, error) {
	real, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("look for mounts: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) > 4 && strings.HasPrefix(unescape(f[4])+"/", real+"/") {
			return unescape(f[4]), nil
		}
	}
	return "", nil
}

// unescape undoes the octal escapes of mountinfo.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// Used is the used fraction (0 to 1) of the file system dir is on, as df shows it: of
// what is not reserved for root.
func Used(dir string) (float64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("disk usage of %s: %w", dir, err)
	}
	used := s.Blocks - s.Bfree
	if used+s.Bavail == 0 {
		return 0, nil
	}
	return float64(used) / float64(used+s.Bavail), nil
}
