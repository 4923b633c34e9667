package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stoa-kernel/stoa/agent/container"
	"github.com/stoa-kernel/stoa/agent/state"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/internal/vfs"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
	lifecycle "github.com/stoa-kernel/stoa/kernel/task"
)

// machine is what an agent runs on and what outlives the agent: its disk, processes
// and volumes. A reboot keeps of it what is durable.
type machine struct {
	w         *world
	index     int
	name, ip  string
	resources resource.Resources
	gcDelay   time.Duration
	disk      *vfs.Memory
	skew      time.Duration // of the wall clock
	up        bool
	stopping  bool // its agent was told to end all tasks
	boots     int
	lives     int
	proc      *agentProcess // nil while it does not run

	slow, cut, lag time.Duration // until when

	boxes map[id.Container]*box
	order []*box
	pids  map[int]*box
	tick  uint64

	volumes map[string]bool // by path: true once something was written

	journal journal
	epoch   uint64 // greatest the agent was admitted under, on disk or not
	live    []*taskTruth
}

// stage of a container.
type stage int

const (
	preparing stage = iota
	waiting         // the init waits for Go
	going
	running
	ended
	canceled // never told to go
)

// box is a container.
type box struct {
	m                   *machine
	id                  id.Container
	framework, executor string
	custom              bool
	uris                bool
	volumes             []container.Mount
	life                int // of the agent that watches it, 0 for none
	stage               stage
	pid                 int
	start               uint64
	record              container.Exit
	task                *taskTruth // of a command task
	model               *executor  // of a custom executor
	last                time.Duration
	started             bool
	foreign             *box // what an agent that took another process for ours watches
	daemon              bool // no container at all: a process of the machine
}

func (b *box) alive() bool { return b.stage == running }

func (m *machine) bootID() string { return fmt.Sprintf("%s-boot-%d", m.name, m.boots) }

func (w *world) addMachine(i int) {
	cpus, mem := 2+2*w.rng.IntN(4), 1024*(1+w.rng.IntN(4))
	r, err := resource.Parse(fmt.Sprintf("cpus:%d;mem:%d;disk:4096;ports:[31000-31099]", cpus, mem), "*")
	if err != nil {
		panic(err)
	}
	m := &machine{
		w: w, index: i, name: fmt.Sprintf("a%02d", i), ip: fmt.Sprintf("10.0.0.%d", i+1),
		resources: r, up: true, boots: 1, disk: vfs.NewMemory(),
		gcDelay: pick(w, []time.Duration{time.Minute, 10 * time.Minute, 7 * 24 * time.Hour}),
		boxes:   map[id.Container]*box{}, pids: map[int]*box{}, volumes: map[string]bool{},
	}
	m.journal.m = m
	w.machines = append(w.machines, m)
	w.at(w.between(0, 5*time.Second), m.startAgent)
}

// tell is an event for the agent that watches the container, in order.
func (m *machine) tell(b *box, after time.Duration, e container.Event) {
	life := b.life
	at := max(b.last, m.w.now+after)
	b.last = at
	m.w.at(at-m.w.now, func() {
		if a := m.proc; a != nil && a.life == life {
			a.step(state.Container{Event: e})
		}
	})
}

func env(spec *container.Spec, name string) string {
	for _, kv := range spec.Env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

// launch prepares a container up to the waiting init.
func (m *machine) launch(spec *container.Spec) {
	w := m.w
	b := &box{
		m: m, id: spec.ID, framework: env(spec, "MESOS_FRAMEWORK_ID"), executor: env(spec, "MESOS_EXECUTOR_ID"),
		uris: len(spec.URIs) > 0, volumes: spec.Volumes, life: m.proc.life,
	}
	b.custom = strings.HasPrefix(b.executor, "x")
	if !b.custom {
		b.task = w.truth.get(b.executor)
	}
	if m.boxes[b.id] != nil {
		w.fail("container ids are new", "%s launches %s twice", m.name, b.id)
	}
	m.boxes[b.id] = b
	m.order = append(m.order, b)
	took := w.between(500*time.Microsecond, 20*time.Millisecond)
	if b.uris {
		m.tell(b, took, container.Fetching{ID: b.id})
		took += w.between(50*time.Millisecond, 3*time.Second)
	}
	life := b.life
	w.at(took, func() {
		if b.stage != preparing || b.life != life || m.boxes[b.id] != b {
			return
		}
		if w.chance(0.01) && !w.calm {
			b.stage = canceled
			w.count["container: launch failed"]++
			m.tell(b, 0, container.Failed{ID: b.id, Reason: mesos.TaskStatus_REASON_CONTAINER_LAUNCH_FAILED, Message: "no space left on device"})
			return
		}
		b.stage = waiting
		b.pid = 100
		for m.pids[b.pid] != nil {
			b.pid++
		}
		m.pids[b.pid] = b
		m.tick += 1 + w.rng.Uint64N(50)
		b.start = m.tick
		m.tell(b, 0, container.Forked{ID: b.id, BootID: m.bootID(), Pid: b.pid, StartTime: b.start})
	})
}

// release tells the init to go.
func (m *machine) release(c id.Container) {
	b := m.boxes[c]
	if b == nil || b.stage != waiting || b.life != m.proc.life {
		return
	}
	b.stage = going
	boots := m.boots
	m.w.at(m.w.between(200*time.Microsecond, 2*time.Millisecond), func() {
		if b.stage == going && m.boots == boots && m.boxes[c] == b {
			m.execute(b)
		}
	})
}

func (m *machine) execute(b *box) {
	w := m.w
	b.stage, b.started = running, true
	w.count["container: started"]++
	for _, v := range b.volumes {
		if _, ok := m.volumes[v.Source]; !ok {
			w.fail("volumes are conserved", "container %s on %s mounts %s, which is not there", b.id, m.name, v.Source)
		}
		m.volumes[v.Source] = true
		w.count["volume: written"]++
	}
	m.tell(b, w.between(0, time.Millisecond), container.Started{ID: b.id, TaskPid: b.pid + 1000})
	if b.custom {
		m.startExecutor(b)
		return
	}
	w.truth.begin(m, b.task, b)
	if p := b.task.plan; p.life > 0 {
		w.at(p.life, func() { m.ended(b, p.wait, p.oom) })
	}
}

// ended is the end of a container's process, by itself or by a signal.
func (m *machine) ended(b *box, wait int32, oom bool) {
	w := m.w
	if b.stage != running || m.boxes[b.id] != b {
		return
	}
	b.stage = ended
	delete(m.pids, b.pid)
	b.record = container.Exit{Known: true, Wait: wait, OOM: oom, Time: w.clockAt(0, m.skew).Wall}
	if oom {
		b.record.MemoryUsage, b.record.MemoryLimit = 1<<26, 1<<26
		w.count["container: OOM"]++
	}
	if w.chance(0.01) && !w.calm {
		b.record = container.Exit{}
		w.count["fault: init lost its record"]++
	}
	w.count["container: exited"]++
	m.over(b)
	if m.proc == nil && w.chance(0.5) {
		m.reuse(b.pid)
	}
	if b.life != 0 {
		m.tell(b, w.between(100*time.Microsecond, 5*time.Millisecond), container.Exited{ID: b.id, Record: b.record})
	}
}

// reuse gives a free pid to some process of the machine.
func (m *machine) reuse(pid int) {
	w := m.w
	w.count["fault: pid reused"]++
	m.tick++
	d := &box{m: m, id: "daemon", daemon: true, stage: running, pid: pid, start: m.tick}
	m.pids[pid] = d
	w.at(w.between(30*time.Second, 5*time.Minute), func() {
		if m.pids[pid] == d {
			delete(m.pids, pid)
		}
	})
}

// over is what is true once the process is gone.
func (m *machine) over(b *box) {
	if b.custom {
		if b.model != nil {
			b.model.die()
		}
	} else {
		b.task.exit, b.task.exitKnown = b.record, true
		m.w.truth.end(b.task)
	}
}

// orphan is the end of the agent's process: an init that waits for Go ends.
func (m *machine) orphan() {
	for _, b := range m.order {
		b.life = 0
		switch b.stage {
		case preparing:
			b.stage = canceled
		case waiting:
			b.stage = canceled
			delete(m.pids, b.pid)
		}
	}
}

// adopt looks for a container recorded before a restart.
func (m *machine) adopt(live container.Live) {
	w := m.w
	b := m.boxes[live.ID]
	if b == nil {
		b = &box{m: m, id: live.ID, stage: canceled}
	}
	b.life = m.proc.life
	life := b.life
	w.at(w.between(100*time.Microsecond, 20*time.Millisecond), func() {
		if m.proc == nil || m.proc.life != life {
			return
		}
		m.answerAdopt(b, live)
	})
}

func (m *machine) answerAdopt(b *box, live container.Live) {
	w := m.w
	if live.BootID != m.bootID() {
		w.count["adopt: rebooted"]++
		m.tell(b, 0, container.Exited{ID: live.ID, Record: container.Exit{Rebooted: true}})
		return
	}
	if at := m.pids[live.Pid]; at != nil && live.Is(m.bootID(), live.Pid, at.start) {
		w.count["adopt: alive"]++
		if at != b {
			b.foreign = at
			w.say("%s takes the process of %s for that of %s", m.name, at.id, b.id)
		}
		m.tell(b, 0, container.Started{ID: live.ID, TaskPid: at.pid + 1000})
		return
	} else if at != nil {
		w.count["adopt: pid reused"]++
	}
	switch {
	case b.stage == ended:
		w.count["adopt: ended"]++
		m.tell(b, 0, container.Exited{ID: live.ID, Record: b.record})
	case b.stage == canceled && b.pid != 0:
		w.count["adopt: never told to go"]++
		m.tell(b, 0, container.Failed{ID: live.ID, Canceled: true})
	default:
		w.count["adopt: unknown"]++
		m.tell(b, 0, container.Exited{ID: live.ID})
	}
}

func (m *machine) signal(c id.Container, signal int) {
	w := m.w
	b := m.boxes[c]
	if b != nil && b.foreign != nil {
		b = b.foreign
	}
	if b == nil || b.stage != running {
		return
	}
	w.truth.deadly(m, b, "SIGTERM")
	w.count["container: SIGTERM"]++
	if b.task != nil && b.task.plan.stubborn {
		return
	}
	w.at(w.between(time.Millisecond, 1500*time.Millisecond), func() {
		m.ended(b, int32(lifecycle.Signaled(signal, false)), false)
	})
}

// destroy kills what is left and removes the container.
func (m *machine) destroy(c id.Container) {
	w := m.w
	b := m.boxes[c]
	if b == nil {
		b = &box{m: m, id: c, stage: canceled}
	}
	b.life = m.proc.life
	w.at(w.between(100*time.Microsecond, 30*time.Millisecond), func() {
		if m.boxes[c] != b && m.boxes[c] != nil || m.proc == nil || m.proc.life != b.life {
			return
		}
		if b.foreign != nil {
			w.truth.deadly(m, b.foreign, "SIGKILL")
			m.ended(b.foreign, int32(lifecycle.Signaled(9, false)), false)
		}
		switch b.stage {
		case preparing, waiting, going:
			b.stage = canceled
			delete(m.pids, b.pid)
			m.tell(b, 0, container.Failed{ID: c, Canceled: true})
		case running:
			w.truth.deadly(m, b, "SIGKILL")
			w.count["container: SIGKILL"]++
			m.ended(b, int32(lifecycle.Signaled(9, false)), false)
		}
		m.tell(b, 0, container.Destroyed{ID: c})
		m.forget(b)
	})
}

func (m *machine) forget(b *box) {
	if m.boxes[b.id] == b {
		delete(m.boxes, b.id)
	}
	m.order = slices.DeleteFunc(m.order, func(x *box) bool { return x == b })
}

// reboot is a loss of power.
func (m *machine) reboot(off time.Duration) {
	w := m.w
	if !m.up {
		return
	}
	w.say("%s loses power", m.name)
	m.up = false
	if m.proc != nil {
		m.proc.die("with its machine")
	}
	m.disk.PowerOff()
	for _, b := range m.order {
		if b.stage == running {
			b.stage = ended
			b.record = container.Exit{Rebooted: true}
			m.over(b)
		}
		b.stage = ended
	}
	m.order, m.boxes, m.pids = nil, map[id.Container]*box{}, map[int]*box{}
	w.at(off, func() {
		m.disk.Restart(w.rng)
		m.boots++
		m.up = true
		m.startAgent()
	})
}

// applyVolumes makes and removes directories.
func (m *machine) applyVolumes(e state.ApplyVolumes) {
	w := m.w
	a := m.proc
	w.at(w.between(time.Millisecond, 50*time.Millisecond), func() {
		if !a.alive {
			return
		}
		in := state.VolumesApplied{Operation: e.Operation}
		if e.Operation != "" && w.chance(0.05) && !w.calm {
			in.Err = "input/output error"
			w.count["fault: volumes not applied"]++
		} else {
			for _, v := range slices.Concat(e.Create, e.Restore) {
				p := container.VolumePath(workDir, v)
				m.volumes[p] = m.volumes[p]
			}
			for _, v := range e.Destroy {
				p := container.VolumePath(workDir, v)
				if !w.truth.destroyed[v.GetDisk().GetPersistence().GetId()] {
					w.fail("volumes are conserved", "%s removes volume %s, which no framework destroyed", m.name, p)
				}
				delete(m.volumes, p)
			}
		}
		a.step(in)
	})
}
