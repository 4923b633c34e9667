package state

import (
	"math"
	"strings"

	"github.com/stoa-kernel/stoa/agent/container"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/kernel/resource"
)

const (
	mebibyte  = 1 << 20
	minMemory = 32 * mebibyte
)

// spec describes the executor's container from what the log has of it, so that it can
// be made again for a container that was never told to go.
func (a *Agent) spec(e *executor) *container.Spec {
	command, info := e.info.GetCommand(), e.info.GetContainer()
	resources := e.info.GetResources()
	role := ""
	if e.command {
		t := e.only()
		command, info = t.info.GetCommand(), t.info.GetContainer()
		resources = t.info.GetResources()
		role = allocationRole(resources)
	} else {
		for _, t := range ordered(e.tasks) {
			resources = append(resources[:len(resources):len(resources)], t.info.GetResources()...)
		}
	}
	s := &container.Spec{
		ID:        e.container,
		Sandbox:   a.sandboxPath(e),
		Env:       a.environment(e, command, role),
		User:      e.user,
		URIs:      command.GetUris(),
		Limits:    a.limits(e),
		Volumes:   mounts(a.cfg.WorkDir, resources),
		Rlimits:   info.GetRlimitInfo().GetRlimits(),
		Bounding:  info.GetLinuxInfo().GetBoundingCapabilities(),
		Effective: info.GetLinuxInfo().GetEffectiveCapabilities(),
		DiskLimit: diskLimit(resources),
	}
	if s.Effective == nil {
		s.Effective = info.GetLinuxInfo().GetCapabilityInfo()
	}
	s.Path, s.Argv = program(command)
	return s
}

// program is what a command executes.
func program(c *mesos.CommandInfo) (path string, argv []string) {
	if c.GetShell() {
		return "/bin/sh", []string{"sh", "-c", c.GetValue()}
	}
	if argv = c.GetArguments(); len(argv) == 0 {
		argv = []string{c.GetValue()}
	}
	return c.GetValue(), argv
}

// only is the task of a command executor, nil once it has ended.
func (e *executor) only() *task {
	for _, t := range e.tasks {
		return t
	}
	return nil
}

func allocationRole(rs []*mesos.Resource) string {
	for _, r := range rs {
		if role := r.GetAllocationInfo().GetRole(); role != "" {
			return role
		}
	}
	return ""
}

// bound is the request and the limit of one resource in its own unit.
type bound struct {
	request, limit float64
	limited        bool
}

func (b *bound) add(request float64, limit *mesos.Value_Scalar) {
	b.request += request
	if limit != nil {
		b.limit += limit.GetValue()
		b.limited = true
	} else {
		b.limit += request
	}
}

// limits of the executor's container: the executor's own resources and those of its
// live tasks. A task without a limit counts with its request; there is a limit only
// if some task has one (as Mesos 1.11, computeExecutorLimits). The hard memory bound
// is the limit, else the request, and never below 32 MiB; cpus are bounded hard only
// by a limit or with CFS.
func (a *Agent) limits(e *executor) container.Limits {
	var cpus, mem bound
	own := quantities(e.info.GetResources())
	cpus.add(own.cpus, nil)
	mem.add(own.mem, nil)
	for _, t := range ordered(e.tasks) {
		q := quantities(t.info.GetResources())
		cpus.add(q.cpus, t.info.GetLimits()["cpus"])
		mem.add(q.mem, t.info.GetLimits()["mem"])
	}
	l := container.Limits{
		CPUs:       cpus.request,
		MemorySoft: max(mebibytes(mem.request), minMemory),
		Pids:       a.cfg.PidsLimit,
	}
	l.MemoryHard = l.MemorySoft
	if mem.limited {
		l.MemoryHard = 0
		if !math.IsInf(mem.limit, 1) {
			l.MemoryHard = max(mebibytes(mem.limit), minMemory)
		}
	}
	switch {
	case cpus.limited && !math.IsInf(cpus.limit, 1):
		l.CPUQuota = cpus.limit
	case !cpus.limited && a.cfg.CFS:
		l.CPUQuota = cpus.request
	}
	return l
}

func mebibytes(mb float64) int64 {
	if !(mb > 0) {
		return 0
	}
	if mb > math.MaxInt64/mebibyte/2 {
		return math.MaxInt64 / 2
	}
	return int64(mb * mebibyte)
}

type cpusMem struct{ cpus, mem float64 }

// quantities sums cpus and mem in thousandths, so that neither the order of the
// resources nor a double's error shows.
func quantities(rs []*mesos.Resource) cpusMem {
	var cpus, mem resource.Milli
	for _, r := range rs {
		m, err := resource.MilliOf(r.GetScalar().GetValue())
		if err != nil {
			continue
		}
		switch r.GetName() {
		case "cpus":
			cpus += m
		case "mem":
			mem += m
		}
	}
	return cpusMem{cpus.Float(), mem.Float()}
}

// diskLimit is the disk, in bytes, that is not a volume of its own.
func diskLimit(rs []*mesos.Resource) int64 {
	var disk resource.Milli
	for _, r := range rs {
		if r.GetName() != "disk" || r.GetDisk().GetPersistence() != nil {
			continue
		}
		if m, err := resource.MilliOf(r.GetScalar().GetValue()); err == nil {
			disk += m
		}
	}
	return mebibytes(disk.Float())
}

// mounts of the persistent volumes among rs, in their order.
func mounts(workDir string, rs []*mesos.Resource) []container.Mount {
	var list []container.Mount
	for _, r := range rs {
		source := container.VolumePath(workDir, r)
		if source == "" {
			continue
		}
		v := r.GetDisk().GetVolume()
		list = append(list, container.Mount{
			Source:   source,
			Target:   v.GetContainerPath(),
			ReadOnly: v.GetMode() == mesos.Volume_RO,
		})
	}
	return list
}

// commandName is how Mesos names the executor of a command task in its views.
func commandName(t *mesos.TaskInfo) string {
	var b strings.Builder
	b.WriteString("Command Executor (Task: " + t.GetTaskId().GetValue() + ") (Command: ")
	c := t.GetCommand()
	if c.GetShell() {
		text := c.GetValue()
		if len(text) > 15 {
			text = text[:12] + "..."
		}
		b.WriteString("sh -c '" + text + "')")
	} else {
		b.WriteString("[" + strings.Join(append([]string{c.GetValue()}, c.GetArguments()...), ", ") + "])")
	}
	return b.String()
}
