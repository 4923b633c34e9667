// Package cgroup bounds and accounts what a container uses. It knows cgroup v1, with a
// hierarchy for each of memory, cpu and pids, and v2, the unified one; which it is the
// machine says.
//
// Containers' cgroups are the children of one root, named by the agent, in every
// hierarchy:
//
//	v1  /sys/fs/cgroup/{memory,cpu,pids}/ROOT/CONTAINER
//	v2  /sys/fs/cgroup/[the agent's own cgroup]/ROOT/CONTAINER
//
// Nothing outside that root is changed, except that on v2 the agent moves into a leaf of
// its own cgroup, since there a cgroup with controlled children may hold no process.
package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stoa-kernel/stoa/agent/container"
	"github.com/stoa-kernel/stoa/internal/procfile"
)

// Controllers are those that limits need.
var Controllers = []string{"memory", "cpu", "pids"}

// Bounds of limits, as Mesos 1.11 has them (src/slave/containerizer/mesos/isolators/cgroups).
const (
	MinMemory = 32 << 20
	minShares = 2
	perCPU    = 1024
	period    = 100_000 // of the CFS quota, in µs
	minQuota  = 1_000   // in µs
	minPids   = 2       // the init's thread and its child are both counted while it forks
)

// Hierarchy makes, changes and removes containers' cgroups. Names are single path
// elements. Its methods may be called from any goroutine, for different names at once.
type Hierarchy interface {
	// Create makes a container's cgroup; one that is there already gets the limits.
	Create(name string, l container.Limits) error
	// Rename gives a cgroup another name; one nobody has. Version 2 refuses.
	Rename(from, to string) error
	// Update changes the limits of a cgroup in use. A memory limit below what is used
	// is refused by the kernel and reported; the others hold then.
	Update(name string, l container.Limits) error
	// Entry is how a process gets in.
	Entry(name string) Entry
	// Memory says what of interest there is at a container's end.
	Memory(name string) (Memory, error)
	// Remove kills what is inside and removes the cgroup. It does not wait: with
	// ErrBusy something is still dying, try again.
	Remove(name string) error
	// List names the cgroups below the root.
	List() ([]string, error)
	// Missing lists the controllers this machine does not have, whose limits have no
	// effect.
	Missing() []string
	// Version is 1 or 2.
	Version() int
	// Close removes the root if nothing is in it.
	Close()
}

// Entry is one of: v1 files into which a thread writes "0" to move itself, or the v2
// directory to be cloned into.
type Entry struct {
	Tasks []string
	Dir   string
}

// Memory is what a memory controller remembers of a container.
type Memory struct {
	// OOM says that the kernel killed in this cgroup for lack of memory.
	OOM bool
	// Peak and Limit in bytes; Limit 0 is none.
	Peak, Limit int64
}

// ErrBusy says that a cgroup still has processes.
var ErrBusy = errors.New("the cgroup still has processes")

// ErrNone says that the machine has no cgroups that could be used.
var ErrNone = errors.New("no cgroup hierarchy with memory, cpu or pids is mounted below /sys/fs/cgroup")

// Open finds the machine's hierarchy and makes root in it, a relative path such as
// "stoa/agent1" that must be this agent's alone.
func Open(root string) (Hierarchy, error) {
	if root == "" || path.IsAbs(root) || path.Clean(root) != root || strings.HasPrefix(root, "..") {
		return nil, fmt.Errorf("cgroups root %q: say a relative path such as stoa", root)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("find the cgroup mounts: %w", err)
	}
	one, two := find(string(mounts))
	if len(one) > 0 {
		return openV1(one, root)
	}
	if two == "" {
		return nil, ErrNone
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, fmt.Errorf("find the own cgroup: %w", err)
	}
	return openV2(two, ownV2(string(own)), root, os.Getpid())
}

// find reads a mountinfo: where each controller is mounted as v1, and where v2 is.
func find(mountinfo string) (one map[string]string, two string) {
	one = map[string]string{}
	for line := range strings.Lines(mountinfo) {
		// id parent device root MOUNTPOINT options [optional…] - TYPE source SUPEROPTIONS
		before, after, ok := strings.Cut(strings.TrimSpace(line), " - ")
		fields, rest := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(rest) < 3 {
			continue
		}
		switch rest[0] {
		case "cgroup":
			for option := range strings.SplitSeq(rest[2], ",") {
				if slices.Contains(Controllers, option) && one[option] == "" {
					one[option] = unescape(fields[4])
				}
			}
		case "cgroup2":
			if two == "" {
				two = unescape(fields[4])
			}
		}
	}
	return one, two
}

// unescape undoes the octal escapes of mountinfo.
func unescape(s string) string {
	for i := 0; i+3 < len(s); i++ {
		if s[i] == '\\' {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				s = s[:i] + string([]byte{byte(n)}) + s[i+4:]
			}
		}
	}
	return s
}

// setting is one value for one file of a cgroup.
type setting struct{ file, value string }

func write(dir string, s setting) error {
	if err := procfile.Write(filepath.Join(dir, s.file), s.value); err != nil {
		return fmt.Errorf("set %s to %s: %w", s.file, s.value, err)
	}
	return nil
}

func number(dir, file string) (int64, error) {
	b, err := procfile.Read(filepath.Join(dir, file))
	if err != nil {
		return 0, err
	}
	text := strings.TrimSpace(string(b))
	if text == "max" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", file, err)
	}
	// v1 writes "no limit" as the highest multiple of the page size.
	if n >= 1<<62 {
		return 0, nil
	}
	return int64(n), nil
}

// counter reads the value after key from a file of "key value" lines.
func counter(dir, file, key string) (int64, error) {
	b, err := procfile.Read(filepath.Join(dir, file))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name == key {
			return strconv.ParseInt(value, 10, 64)
		}
	}
	return 0, nil
}

// clear kills everything in dir and the cgroups below, and removes them, the deepest
// first. It is ErrBusy while something is left.
func clear(dir string, rmdir func(string) error) error {
	if err := rmdir(dir); err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil // most often nothing is in it
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	busy := false
	for _, e := range entries {
		if e.IsDir() {
			switch err := clear(filepath.Join(dir, e.Name()), rmdir); {
			case errors.Is(err, ErrBusy):
				busy = true
			case err != nil:
				return err
			}
		}
	}
	err = rmdir(dir)
	switch {
	case err == nil || errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, unix.EBUSY) || errors.Is(err, unix.ENOTEMPTY) || busy:
		if err := kill(dir); err != nil {
			return err
		}
		return ErrBusy
	}
	return fmt.Errorf("remove cgroup %s: %w", dir, err)
}

// kill sends SIGKILL to the processes in dir. A number is not trusted: the process is
// pinned by a pidfd first, and has to be in the cgroup still.
func kill(dir string) error {
	first, err := processes(dir)
	if err != nil || len(first) == 0 {
		return err
	}
	pinned := map[int]int{}
	defer func() {
		for _, fd := range pinned {
			unix.Close(fd)
		}
	}()
	for _, pid := range first {
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			pinned[pid] = fd
		}
	}
	again, err := processes(dir)
	if err != nil {
		return err
	}
	for _, pid := range again {
		if fd, ok := pinned[pid]; ok {
			// ESRCH is what was wanted.
			unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
		}
	}
	return nil
}

// atOnce is how many processes of a cgroup are killed in one pass, by descriptors.
const atOnce = 1024

func processes(dir string) ([]int, error) {
	b, err := procfile.Read(filepath.Join(dir, "cgroup.procs"))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, f := range bytes.Fields(b) {
		// 0 stands for a process of another pid namespace.
		if pid, err := strconv.Atoi(string(f)); err == nil && pid > 0 && len(pids) < atOnce {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// list names the directories in dir.
func list(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// makeChild makes dir; its parents are made again if another agent, ending, has just
// removed them as empty.
func makeChild(dir string) error {
	err := os.Mkdir(dir, 0o755)
	for tries := 0; errors.Is(err, fs.ErrNotExist) && tries < 3; tries++ {
		if err = os.MkdirAll(filepath.Dir(dir), 0o755); err == nil {
			err = os.Mkdir(dir, 0o755)
		}
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make cgroup: %w", err)
	}
	return nil
}

// removeEmpty removes base/root and the elements of root above it that are empty.
func removeEmpty(base, root string, rmdir func(string) error) {
	for ; root != "."; root = path.Dir(root) {
		if rmdir(filepath.Join(base, root)) != nil {
			return
		}
	}
}

// quota of the CFS in µs for each period, 0 for none.
func quota(l container.Limits) int64 {
	if l.CPUQuota <= 0 {
		return 0
	}
	return max(int64(l.CPUQuota*period), minQuota)
}

func shares(l container.Limits) int64 { return max(int64(l.CPUs*perCPU), minShares) }

func hard(l container.Limits) int64 {
	if l.MemoryHard <= 0 {
		return 0
	}
	return max(l.MemoryHard, MinMemory)
}

func soft(l container.Limits) int64 {
	if l.MemorySoft <= 0 {
		return 0
	}
	return max(l.MemorySoft, MinMemory)
}

func pids(l container.Limits) int64 {
	if l.Pids <= 0 {
		return 0
	}
	return max(l.Pids, minPids)
}

// or writes n, or none if it is 0.
func or(n int64, none string) string {
	if n == 0 {
		return none
	}
	return strconv.FormatInt(n, 10)
}
