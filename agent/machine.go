package agent

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stoa-kernel/stoa/kernel/resource"
)

// Share is one of several agents' part of a machine: the Index-th (from 0) of Of. The
// zero value is the whole.
type Share struct{ Index, Of int }

// ports offered where nothing is said, as Mesos 1.11 (src/slave/constants.hpp).
const firstPort, lastPort = 31000, 32000

// machine is what was measured.
type machine struct {
	cpus   int
	memory uint64 // bytes
	disk   uint64 // bytes, of the file system with the work directory
}

func measure(workDir string) (machine, error) {
	m := machine{cpus: runtime.NumCPU()}
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return m, fmt.Errorf("measure the memory: %w", err)
	}
	_, rest, _ := strings.Cut(string(info), "MemTotal:")
	if _, err := fmt.Sscan(rest, &m.memory); err != nil {
		return m, fmt.Errorf("measure the memory: /proc/meminfo: %w", err)
	}
	m.memory <<= 10
	var s unix.Statfs_t
	if err := unix.Statfs(workDir, &s); err != nil {
		return m, fmt.Errorf("measure the disk: %w", err)
	}
	m.disk = s.Blocks * uint64(s.Frsize)
	return m, nil
}

// text is what the machine offers, part of it, for the names that has does not have. As
// Mesos (src/slave/containerizer/containerizer.cpp) it leaves 1 GB of memory and 5 GB of
// disk to the system, or half where there is less than twice that.
func (m machine) text(s Share, has func(name string) bool) string {
	of := max(s.Of, 1)
	keep := func(total, system uint64) uint64 {
		if total >= 2*system {
			total -= system
		} else {
			total /= 2
		}
		return total >> 20 / uint64(of)
	}
	var out []string
	add := func(name, value string) {
		if !has(name) {
			out = append(out, name+":"+value)
		}
	}
	add("cpus", fmt.Sprintf("%.3f", float64(m.cpus)/float64(of)))
	add("mem", fmt.Sprint(keep(m.memory, 1<<30)))
	add("disk", fmt.Sprint(keep(m.disk, 5<<30)))
	// Agents of one machine share its ports, too.
	width := (lastPort - firstPort + 1) / of
	first, last := firstPort+s.Index*width, firstPort+(s.Index+1)*width-1
	if of == 1 {
		last = lastPort
	}
	add("ports", fmt.Sprintf("[%d-%d]", first, last))
	return strings.Join(out, ";")
}

// resources are the configured ones and, for the names not configured, the machine's.
func resources(text string, s Share, workDir string) (resource.Resources, error) {
	var configured resource.Resources
	if strings.TrimSpace(text) != "" {
		var err error
		if configured, err = resource.Parse(text, "*"); err != nil {
			return configured, fmt.Errorf("resources %q: %w", text, err)
		}
	}
	m, err := measure(workDir)
	if err != nil {
		return configured, err
	}
	named := names(text)
	for r := range configured.All() {
		named[r.Name()] = true
	}
	found := m.text(s, func(name string) bool { return named[name] })
	if found == "" {
		return configured, nil
	}
	rest, err := resource.Parse(found, "*")
	if err != nil {
		return configured, fmt.Errorf("resources of the machine %q: %w", found, err)
	}
	return configured.Add(rest), nil
}

// names are those in the text form; "gpus:0" names gpus though nothing is left of it.
func names(text string) map[string]bool {
	out := map[string]bool{}
	if strings.HasPrefix(strings.TrimSpace(text), "[") {
		return out // JSON, where nobody writes what is not there
	}
	for part := range strings.SplitSeq(text, ";") {
		name, _, _ := strings.Cut(part, ":")
		name, _, _ = strings.Cut(name, "(")
		out[strings.TrimSpace(name)] = true
	}
	return out
}
