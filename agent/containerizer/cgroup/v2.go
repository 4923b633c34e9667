package cgroup

import (
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
)

// leaf is where the agent itself lives in its own cgroup.
const leaf = "stoa-agent"

// v2 is a subtree of the unified hierarchy: the whole, or what systemd delegated to the
// agent's unit (Delegate=yes).
type v2 struct {
	base, root string // base is absolute
	missing    []string
	swap       bool // swap can be bounded
	rmdir      func(string) error
}

// ownV2 is the path of the v2 cgroup in a /proc/PID/cgroup.
func ownV2(text string) string {
	for line := range strings.Lines(text) {
		if p, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return p
		}
	}
	return "/"
}

// openV2 makes root below the agent's own cgroup, which is own below mount. pid is the
// agent's.
func openV2(mount, own, root string, pid int) (*v2, error) {
	// An agent that starts again in the same unit may find itself in the leaf.
	own = strings.TrimSuffix(own, "/"+leaf)
	h := &v2{base: filepath.Join(mount, own), root: root, rmdir: unix.Rmdir}
	b, err := os.ReadFile(filepath.Join(h.base, "cgroup.controllers"))
	if err != nil {
		return nil, fmt.Errorf("cgroup v2 controllers: %w", err)
	}
	available := strings.Fields(string(b))
	var enable []string
	for _, c := range Controllers {
		if slices.Contains(available, c) {
			enable = append(enable, "+"+c)
		} else {
			h.missing = append(h.missing, c)
		}
	}
	if path.Clean("/"+own) != "/" {
		// Controllers cannot be enabled for the children of a cgroup with processes; the
		// root of all is the exception.
		if err := makeChild(filepath.Join(h.base, leaf)); err != nil {
			return nil, err
		}
		if err := write(filepath.Join(h.base, leaf), setting{"cgroup.procs", strconv.Itoa(pid)}); err != nil {
			return nil, fmt.Errorf("move the agent into a leaf of its cgroup (under systemd: Delegate=yes): %w", err)
		}
	}
	if err := os.MkdirAll(filepath.Join(h.base, root), 0o755); err != nil {
		return nil, fmt.Errorf("make the cgroups root: %w", err)
	}
	if len(enable) > 0 {
		dir := h.base
		for _, element := range append([]string{""}, strings.Split(root, "/")...) {
			dir = filepath.Join(dir, element)
			if err := write(dir, setting{"cgroup.subtree_control", strings.Join(enable, " ")}); err != nil {
				return nil, fmt.Errorf("enable controllers below %s: %w", dir, err)
			}
		}
	}
	_, err = os.Stat(filepath.Join(h.base, root, "memory.swap.max"))
	h.swap = err == nil
	return h, nil
}

func (h *v2) Version() int            { return 2 }
func (h *v2) Missing() []string       { return h.missing }
func (h *v2) dir(name string) string  { return filepath.Join(h.base, h.root, name) }
func (h *v2) Entry(name string) Entry { return Entry{Dir: h.dir(name)} }

// weight maps shares 2…262144 to 1…10000, as systemd and the container runtimes do.
func weight(shares int64) int64 { return 1 + (min(shares, 262144)-2)*9999/262142 }

// settings says what to write for the controllers that are there.
func (h *v2) settings(l container.Limits, fresh bool) []setting {
	var s []setting
	has := func(c string) bool { return !slices.Contains(h.missing, c) }
	if has("memory") {
		// The request is what the kernel protects when memory is short: v1's soft limit.
		if n := soft(l); n > 0 || !fresh {
			s = append(s, setting{"memory.low", strconv.FormatInt(n, 10)})
		}
		if n := hard(l); n > 0 || !fresh {
			s = append(s, setting{"memory.max", or(n, "max")})
			if h.swap { // which would be a way around the limit
				swap := "0"
				if n == 0 {
					swap = "max"
				}
				s = append(s, setting{"memory.swap.max", swap})
			}
		}
	}
	if has("cpu") {
		s = append(s, setting{"cpu.weight", strconv.FormatInt(weight(shares(l)), 10)})
		if n := quota(l); n > 0 || !fresh {
			s = append(s, setting{"cpu.max", or(n, "max") + " " + strconv.Itoa(period)})
		}
	}
	if has("pids") {
		if n := pids(l); n > 0 || !fresh {
			s = append(s, setting{"pids.max", or(n, "max")})
		}
	}
	return s
}

func (h *v2) Create(name string, l container.Limits) error {
	if err := makeChild(h.dir(name)); err != nil {
		return err
	}
	for _, s := range h.settings(l, true) {
		if err := write(h.dir(name), s); err != nil {
			return err
		}
	}
	return nil
}

func (h *v2) Rename(string, string) error { return errors.ErrUnsupported }

func (h *v2) Update(name string, l container.Limits) error {
	var errs []error
	for _, s := range h.settings(l, false) {
		if s.file == "memory.max" && s.value != "max" {
			// Where v1 refuses, v2 would kill to get below the limit.
			limit, _ := strconv.ParseInt(s.value, 10, 64)
			if used, err := number(h.dir(name), "memory.current"); err == nil && used > limit {
				errs = append(errs, fmt.Errorf("set memory.max to %s: %d bytes are in use", s.value, used))
				continue
			}
		}
		errs = append(errs, write(h.dir(name), s))
	}
	return errors.Join(errs...)
}

func (h *v2) Memory(name string) (Memory, error) {
	if slices.Contains(h.missing, "memory") {
		return Memory{}, nil
	}
	dir := h.dir(name)
	kills, err := counter(dir, "memory.events", "oom_kill")
	if errors.Is(err, fs.ErrNotExist) {
		return Memory{}, nil // the container had not come so far
	}
	if err != nil {
		return Memory{}, err
	}
	limit, err := number(dir, "memory.max")
	if err != nil {
		return Memory{}, err
	}
	peak, err := number(dir, "memory.peak")
	if errors.Is(err, fs.ErrNotExist) {
		peak, err = limit, nil // before Linux 5.19; at an OOM the limit was reached
	}
	return Memory{OOM: kills > 0, Peak: peak, Limit: limit}, err
}

func (h *v2) Remove(name string) error {
	err := clear(h.dir(name), h.rmdir)
	if errors.Is(err, ErrBusy) {
		// Takes the whole subtree, forks in flight too; kernels before 5.14 lack it.
		if f, err := os.OpenFile(filepath.Join(h.dir(name), "cgroup.kill"), os.O_WRONLY, 0); err == nil {
			f.WriteString("1")
			f.Close()
		}
	}
	return err
}

func (h *v2) List() ([]string, error) { return list(filepath.Join(h.base, h.root)) }

func (h *v2) Close() { removeEmpty(h.base, h.root, h.rmdir) }
