package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/stoa-kernel/stoa/agent/container"
)

// v1 has one tree for each controller.
type v1 struct {
	root  string
	trees []tree
	swap  bool // memory and swap together can be bounded
	rmdir func(string) error
}

type tree struct{ controller, mount string }

func openV1(mounts map[string]string, root string) (*v1, error) {
	h := &v1{root: root, rmdir: unix.Rmdir}
	for _, c := range Controllers {
		if mounts[c] == "" {
			continue
		}
		h.trees = append(h.trees, tree{c, mounts[c]})
		if err := os.MkdirAll(filepath.Join(mounts[c], root), 0o755); err != nil {
			return nil, fmt.Errorf("make the cgroups root: %w", err)
		}
		if c == "memory" {
			_, err := os.Stat(filepath.Join(mounts[c], root, memsw))
			h.swap = err == nil
		}
	}
	return h, nil
}

func (h *v1) Version() int { return 1 }

func (h *v1) Missing() []string {
	var missing []string
	for _, c := range Controllers {
		if !slices.ContainsFunc(h.trees, func(t tree) bool { return t.controller == c }) {
			missing = append(missing, c)
		}
	}
	return missing
}

func (h *v1) dir(t tree, name string) string { return filepath.Join(t.mount, h.root, name) }

// settingsV1 says what to write. On a new cgroup what would be its default is left out.
func settingsV1(controller string, l container.Limits, fresh bool) []setting {
	var s []setting
	switch controller {
	case "memory":
		if n := soft(l); n > 0 || !fresh {
			s = append(s, setting{"memory.soft_limit_in_bytes", or(n, "-1")})
		}
		if n := hard(l); n > 0 || !fresh {
			s = append(s, setting{memory, or(n, "-1")})
		}
	case "cpu":
		s = append(s, setting{"cpu.shares", strconv.FormatInt(shares(l), 10)})
		n := quota(l)
		if n > 0 {
			s = append(s, setting{"cpu.cfs_period_us", strconv.Itoa(period)})
		}
		if n > 0 || !fresh {
			s = append(s, setting{"cpu.cfs_quota_us", or(n, "-1")})
		}
	case "pids":
		if n := pids(l); n > 0 || !fresh {
			s = append(s, setting{"pids.max", or(n, "max")})
		}
	}
	return s
}

// Files of the two hard limits; memsw is there if the kernel accounts swap.
const (
	memory = "memory.limit_in_bytes"
	memsw  = "memory.memsw.limit_in_bytes"
)

// withSwap adds, to settings with a memory limit, the same limit for memory and swap
// together, so that swap is no way around it. The kernel wants that limit to be the
// higher one at any time; now is what it is, 0 for none.
func withSwap(list []setting, l container.Limits, now int64) []setting {
	i := slices.IndexFunc(list, func(s setting) bool { return s.file == memory })
	if i < 0 {
		return list
	}
	n := hard(l)
	if n == 0 || now > 0 && n > now {
		return slices.Insert(list, i, setting{memsw, or(n, "-1")})
	}
	return slices.Insert(list, i+1, setting{memsw, or(n, "-1")})
}

func (h *v1) settings(t tree, dir string, l container.Limits, fresh bool) ([]setting, error) {
	list := settingsV1(t.controller, l, fresh)
	if t.controller != "memory" || !h.swap {
		return list, nil
	}
	now, err := number(dir, memsw)
	if err != nil {
		return nil, err
	}
	return withSwap(list, l, now), nil
}

func (h *v1) Create(name string, l container.Limits) error {
	for _, t := range h.trees {
		dir := h.dir(t, name)
		if err := makeChild(dir); err != nil {
			return err
		}
		list, err := h.settings(t, dir, l, true)
		if err != nil {
			return err
		}
		for _, s := range list {
			if err := write(dir, s); err != nil {
				return err
			}
		}
	}
	return nil
}

func (h *v1) Rename(from, to string) error {
	for _, t := range h.trees {
		if err := unix.Rename(h.dir(t, from), h.dir(t, to)); err != nil {
			return fmt.Errorf("rename cgroup %s to %s: %w", from, to, err)
		}
	}
	return nil
}

func (h *v1) Update(name string, l container.Limits) error {
	var errs []error
	for _, t := range h.trees {
		dir := h.dir(t, name)
		list, err := h.settings(t, dir, l, false)
		errs = append(errs, err)
		for _, s := range list {
			errs = append(errs, write(dir, s))
		}
	}
	return errors.Join(errs...)
}

func (h *v1) Entry(name string) Entry {
	var e Entry
	for _, t := range h.trees {
		e.Tasks = append(e.Tasks, filepath.Join(h.dir(t, name), "tasks"))
	}
	return e
}

func (h *v1) Memory(name string) (Memory, error) {
	for _, t := range h.trees {
		if t.controller != "memory" {
			continue
		}
		dir := h.dir(t, name)
		kills, err := counter(dir, "memory.oom_control", "oom_kill")
		if errors.Is(err, fs.ErrNotExist) {
			return Memory{}, nil // the container had not come so far
		}
		if err != nil {
			return Memory{}, err
		}
		peak, err := number(dir, "memory.max_usage_in_bytes")
		if err != nil {
			return Memory{}, err
		}
		limit, err := number(dir, memory)
		return Memory{OOM: kills > 0, Peak: peak, Limit: limit}, err
	}
	return Memory{}, nil
}

func (h *v1) Remove(name string) error {
	var errs []error
	for _, t := range h.trees {
		errs = append(errs, clear(h.dir(t, name), h.rmdir))
	}
	return errors.Join(errs...)
}

func (h *v1) List() ([]string, error) {
	var all []string
	for _, t := range h.trees {
		names, err := list(filepath.Join(t.mount, h.root))
		if err != nil {
			return nil, err
		}
		all = append(all, names...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

func (h *v1) Close() {
	for _, t := range h.trees {
		removeEmpty(t.mount, h.root, h.rmdir)
	}
}
