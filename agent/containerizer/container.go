package containerizer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stoa-kernel/stoa/agent/container"
	"github.com/stoa-kernel/stoa/agent/containerizer/cgroup"
	"github.com/stoa-kernel/stoa/agent/containerizer/isolator"
	"github.com/stoa-kernel/stoa/agent/containerizer/launch"
	"github.com/stoa-kernel/stoa/agent/containerizer/launch/protocol"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/kernel/id"
)

type stage uint8

const failedReason = mesos.TaskStatus_REASON_CONTAINER_LAUNCH_FAILED

// The stages of a container; see the package's comment.
const (
	preparing stage = iota
	waiting
	starting
	running
	ended
)

// item is one container. Native's lock guards it.
type item struct {
	id     id.Container
	dir    launch.Dir
	stage  stage
	path   string // of the program, for messages
	init   *launch.Init
	key    int32
	limits container.Limits

	cancel    context.CancelFunc // of the preparation
	failure   string             // what the init reported instead of having started
	destroy   bool               // Destroy was asked
	canceled  bool               // its launch is to end before Go
	launching bool               // counted in Native.launching
	silent    bool               // nobody is waiting for events
	grouped   bool               // the cgroup is there
	resizing  bool
	timer     *time.Timer // kills an init that does not kill
}

// close gives descriptors back.
func (it *item) close() {
	if it.timer != nil {
		it.timer.Stop()
	}
	if it.init != nil {
		it.init.CloseSocket()
		it.init.Close()
	}
}

// Launch prepares a container up to the init that waits for Go. spec must not be changed
// any more, and its sandbox must exist. An id already in use is ignored.
func (n *Native) Launch(spec *container.Spec) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || n.items[spec.ID] != nil {
		return
	}
	if !valid(spec.ID) {
		n.say(container.Failed{ID: spec.ID, Reason: failedReason, Message: fmt.Sprintf("container id %q cannot name a file", spec.ID)})
		return
	}
	delete(n.leftovers, spec.ID)
	ctx, cancel := context.WithCancel(n.ctx)
	it := &item{id: spec.ID, dir: n.recordsOf(spec.ID), path: spec.Path, limits: spec.Limits, cancel: cancel}
	n.items[spec.ID] = it
	n.launching++
	it.launching = true
	n.busy.Go(func() {
		defer cancel()
		if err := n.prepare(ctx, it, spec); err != nil {
			n.mu.Lock()
			defer n.mu.Unlock()
			it.failure = "Failed to launch container: " + err.Error()
			n.failed(it)
		}
	})
}

// prepare takes a container to waiting, or returns why not.
func (n *Native) prepare(ctx context.Context, it *item, spec *container.Spec) error {
	// What cannot be is found out before anything is downloaded for it.
	c, err := isolator.Apply(&n.host, spec)
	if err != nil {
		return err
	}
	if len(spec.URIs) > 0 {
		if err := n.fetch(ctx, it, spec); err != nil {
			return err
		}
	}
	if err := n.launches.take(ctx); err != nil {
		return err
	}
	defer n.launches.give()
	// First of all, because an init that does not come from the pool takes a millisecond
	// to come up: meanwhile the rest is done on another processor.
	idle, err := n.pool.take(c.Namespaces)
	if err != nil {
		return err
	}
	init := idle.Init
	if err := n.describe(it, init, c); err != nil {
		// The init may have said why it went away.
		if r, ok := init.Report(); ok {
			err = errors.New(launch.Explain(r.Stage, r.Errno, it.path))
		}
		init.Abandon()
		return err
	}

	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || it.canceled {
		init.Abandon()
		return context.Canceled
	}
	it.init, it.stage = init, waiting
	n.say(container.Forked{ID: it.id, BootID: n.boot, Pid: init.Pid, StartTime: idle.startTime})
	if err := n.watch.add(it); err != nil {
		it.init = nil
		init.Abandon()
		return err
	}
	return nil
}

func (n *Native) fetch(ctx context.Context, it *item, spec *container.Spec) error {
	if err := n.fetches.take(ctx); err != nil {
		return err
	}
	defer n.fetches.give()
	n.mu.Lock()
	n.say(container.Fetching{ID: it.id})
	n.mu.Unlock()
	return n.cfg.Fetch(ctx, spec)
}

// describe makes what the description speaks of, and sends it.
func (n *Native) describe(it *item, init *launch.Init, c *isolator.Container) error {
	if err := n.pool.give(string(it.id)); err != nil {
		return err
	}
	dir, control, err := it.dir.Open()
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	defer unix.Close(control)
	if n.cgroups != nil {
		n.mu.Lock()
		limits := it.limits
		n.mu.Unlock()
		if err := n.cgroups.Create(string(it.id), limits); err != nil {
			return err
		}
		n.mu.Lock()
		it.grouped = true
		if it.limits != limits {
			n.resize(it)
		}
		n.mu.Unlock()
	}
	return init.Describe(&c.Description, dir, control)
}

// Go lets a container's init execute the task.
func (n *Native) Go(c id.Container) {
	n.mu.Lock()
	defer n.mu.Unlock()
	it := n.items[c]
	if it == nil || it.stage != waiting || it.canceled {
		return
	}
	it.stage = starting
	if err := it.init.Go(); err != nil {
		// The init has ended; the watcher finds out how.
		n.log.Debug("go", "container", string(c), "err", err)
	}
}

// Signal sends to every process of the container but its init. Before Go there is none:
// then SIGTERM and SIGKILL cancel the launch, and others do nothing.
func (n *Native) Signal(c id.Container, signal int) {
	n.mu.Lock()
	it := n.items[c]
	ok := it != nil && (it.stage == starting || it.stage == running)
	if it != nil && !ok && (signal == int(unix.SIGTERM) || signal == int(unix.SIGKILL)) {
		n.cancelLaunch(it)
	}
	n.mu.Unlock()
	if !ok {
		return
	}
	if err := it.dir.Signal(signal); err != nil && !errors.Is(err, launch.ErrGone) {
		n.log.Error("cannot signal a container", "container", string(c), "signal", signal, "err", err)
	}
}

// Destroy kills what is left of a container, in whatever stage, and removes cgroup,
// mounts and records. A container that had not ended says Failed or Exited first;
// Destroyed is the last event, for a container nobody knows too.
func (n *Native) Destroy(c id.Container) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	delete(n.leftovers, c)
	it := n.items[c]
	if it == nil {
		if !valid(c) {
			n.say(container.Destroyed{ID: c}) // it was never launched
			return
		}
		// One of an earlier life, perhaps.
		it = &item{id: c, dir: n.recordsOf(c), stage: ended}
		n.items[c] = it
	}
	if it.destroy {
		return // Destroyed is on its way
	}
	it.destroy = true
	switch it.stage {
	case preparing, waiting:
		n.cancelLaunch(it)
	case starting, running:
		n.busy.Go(func() {
			if err := it.dir.Signal(int(unix.SIGKILL)); err != nil && !errors.Is(err, launch.ErrGone) {
				n.log.Error("cannot tell an init to kill its container; killing the init", "container", string(c), "err", err)
				it.init.Kill()
			}
		})
		n.killLater(it)
	case ended:
		n.busy.Go(func() { n.remove(it) })
	}
}

// cancelLaunch ends a container that was not told to go. The lock is held.
func (n *Native) cancelLaunch(it *item) {
	switch {
	case it.stage == preparing && it.cancel != nil:
		it.canceled = true
		it.cancel()
	case it.stage == waiting:
		it.canceled = true
		// Not killed: its record tells the next agent, should this one die now, that
		// nothing was executed.
		it.init.CloseSocket()
		n.killLater(it)
	}
}

// killLater ends an init that does not end by itself. The lock is held.
func (n *Native) killLater(it *item) {
	if it.timer != nil {
		return
	}
	it.timer = time.AfterFunc(killTimeout, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if it.stage != ended && !n.closed {
			n.log.Error("an init did not end; killing it", "container", string(it.id), "pid", it.init.Pid)
			it.init.Kill()
		}
	})
}

// Resize changes a container's limits. What the kernel refuses, a memory limit below the
// memory in use, is logged.
func (n *Native) Resize(c id.Container, l container.Limits) {
	n.mu.Lock()
	defer n.mu.Unlock()
	it := n.items[c]
	if it == nil || n.closed || it.destroy {
		return
	}
	it.limits = l
	if it.grouped {
		n.resize(it)
	}
}

// resize writes limits until they are the last that were asked for. The lock is held.
func (n *Native) resize(it *item) {
	if it.resizing {
		return
	}
	it.resizing = true
	n.busy.Go(func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		for done := false; !done; {
			l := it.limits
			n.mu.Unlock()
			err := n.cgroups.Update(string(it.id), l)
			n.mu.Lock()
			if done = it.limits == l || it.destroy; done && err != nil && !it.destroy {
				n.log.Warn("limits of a container not changed in full", "container", string(it.id), "err", err)
			}
		}
		it.resizing = false
	})
}

// reported reads what an init says. The watcher calls it.
func (n *Native) reported(it *item) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.report(it)
}

// report is called with the lock held.
func (n *Native) report(it *item) {
	if it.init == nil || it.init.Socket < 0 {
		return
	}
	r, ok := it.init.Report()
	it.init.CloseSocket()
	switch {
	case !ok: // it has ended, or will
	case r.Stage != protocol.StageNone:
		it.failure = "Failed to launch container: " + launch.Explain(r.Stage, r.Errno, it.path)
	default:
		it.stage = running
		n.launched(it)
		n.say(container.Started{ID: it.id, TaskPid: int(r.Pid)})
	}
}

// launched fills the pool once no launch is under way that would have to share the
// processors with it. The lock is held.
func (n *Native) launched(it *item) {
	if !it.launching {
		return
	}
	it.launching = false
	n.launching--
	if n.launching == 0 && !n.closed {
		n.busy.Go(func() {
			if !n.pause(refill) {
				return
			}
			if err := n.pool.fill(); err != nil {
				n.log.Warn("cannot make ready for launches in advance", "err", err) // the next launch fails
			}
		})
	}
}

// initEnded is the other call of the watcher.
func (n *Native) initEnded(it *item) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.report(it) // both may have come at once
	n.watch.forget(it)
	it.init.Reap()
	it.close()
	if !n.closed {
		n.busy.Go(func() { n.finish(it) })
	}
}

// finish says how a container ended whose init is gone.
func (n *Native) finish(it *item) {
	record, ok := it.dir.Record()
	memory := n.memory(it.id)
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case it.stage == running || ok && record.Kind == protocol.Exited:
		n.exited(it, record, ok, memory)
	default:
		if ok && record.Kind == protocol.Failed && it.failure == "" {
			it.failure = "Failed to launch container: " + launch.Explain(record.Stage, record.Errno, it.path)
		}
		if it.failure == "" {
			it.failure = "Failed to launch container: its init ended before the command was executed"
		}
		n.failed(it)
	}
}

func (n *Native) memory(c id.Container) cgroup.Memory {
	if n.cgroups == nil {
		return cgroup.Memory{}
	}
	m, err := n.cgroups.Memory(string(c))
	if err != nil && !missing(err) {
		n.log.Error("cannot read whether a container ran out of memory", "container", string(c), "err", err)
	}
	return m
}

// exited is called with the lock held.
func (n *Native) exited(it *item, r protocol.Record, ok bool, m cgroup.Memory) {
	known := ok && r.Kind == protocol.Exited
	e := container.Exit{Known: known, OOM: m.OOM}
	if known {
		e.Wait, e.Time = r.Wait, time.Unix(0, r.End)
		if r.Dropped > 0 {
			n.log.Warn("output of a container was dropped", "container", string(it.id), "bytes", r.Dropped)
		}
	}
	if m.OOM {
		e.MemoryUsage, e.MemoryLimit = m.Peak, m.Limit
	}
	n.end(it, container.Exited{ID: it.id, Record: e})
}

// failed ends a container that never started. The lock is held.
func (n *Native) failed(it *item) {
	e := container.Failed{ID: it.id, Reason: failedReason, Message: it.failure}
	if it.destroy || it.canceled {
		e.Canceled, e.Message = true, "Destroyed before it was executed"
	}
	n.end(it, e)
}

func (n *Native) end(it *item, e container.Event) {
	it.stage = ended
	it.cancel = nil
	n.launched(it)
	if !it.silent {
		n.say(e)
	}
	if it.destroy && !n.closed {
		n.busy.Go(func() { n.remove(it) })
	}
}

// remove leaves nothing of an ended container, and says so.
func (n *Native) remove(it *item) {
	// One of an earlier life may still have an init.
	for wait := time.Millisecond; it.init == nil && it.dir.Alive(); wait = min(2*wait, 100*time.Millisecond) {
		if err := it.dir.Signal(int(unix.SIGKILL)); err != nil && !errors.Is(err, launch.ErrGone) {
			n.log.Error("cannot kill a container", "container", string(it.id), "err", err)
		}
		if !n.pause(wait) {
			return
		}
	}
	wait, since, told := 200*time.Microsecond, time.Now(), false
	for {
		err := n.removeOnce(it)
		if err == nil {
			break
		}
		if !told && (!errors.Is(err, cgroup.ErrBusy) || time.Since(since) > killTimeout) {
			n.log.Error("cannot remove a container; trying on", "container", string(it.id), "err", strings.ReplaceAll(err.Error(), "\n", "; "))
			told = true
		}
		if !n.pause(wait) {
			return
		}
		wait = min(2*wait, time.Second)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.items, it.id)
	if !it.silent {
		n.say(container.Destroyed{ID: it.id})
	}
}

func (n *Native) removeOnce(it *item) error {
	if n.cgroups != nil {
		if err := n.cgroups.Remove(string(it.id)); err != nil {
			return err
		}
	}
	return it.dir.Remove()
}
