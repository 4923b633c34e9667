package containerizer

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/stoa-kernel/stoa/agent/container"
	"github.com/stoa-kernel/stoa/agent/containerizer/launch"
	"github.com/stoa-kernel/stoa/agent/containerizer/launch/protocol"
)

// Adopt looks for a container recorded before a restart and watches it. It answers with
// one of Started, if the task runs; Exited, if it has ended or the machine was restarted,
// not Known if there is neither init nor record; and Failed, Canceled if the init had not
// been told to go.
func (n *Native) Adopt(live container.Live) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || n.items[live.ID] != nil || !valid(live.ID) {
		return
	}
	delete(n.leftovers, live.ID)
	it := &item{id: live.ID, dir: n.recordsOf(live.ID), limits: live.Limits, grouped: n.cgroups != nil}
	n.items[live.ID] = it
	if live.BootID != n.boot {
		n.end(it, container.Exited{ID: it.id, Record: container.Exit{Rebooted: true}})
		return
	}
	n.busy.Go(func() { n.adopt(it, live) })
}

func (n *Native) adopt(it *item, live container.Live) {
	init := n.find(it, live)
	if init == nil {
		n.absent(it, live)
		return
	}
	child := live.TaskPid
	if child == 0 {
		child = launch.Child(init.Pid)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		init.Close()
		return
	}
	it.init, it.stage = init, running
	n.say(container.Started{ID: it.id, TaskPid: child})
	if err := n.watch.add(it); err != nil {
		n.log.Error("cannot watch an adopted container", "container", string(it.id), "err", err)
		it.init = nil
		init.Close()
		return
	}
	if it.destroy { // asked meanwhile
		it.destroy = false
		n.busy.Go(func() { n.Destroy(it.id) })
	}
}

// find returns the recorded init once it has executed the task, or nil if it has ended.
func (n *Native) find(it *item, live container.Live) *launch.Init {
	if live.Pid <= 0 {
		return nil
	}
	pidfd, err := unix.PidfdOpen(live.Pid, 0)
	if err != nil {
		return nil
	}
	init := &launch.Init{Pid: live.Pid, PidFD: pidfd, Socket: -1}
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		// The pidfd is the process that had the number when it was opened. If the process
		// that has it now is the recorded one, it had it all the time.
		status, err := launch.Inspect(live.Pid)
		if err != nil || !live.Is(n.boot, live.Pid, status.StartTime) || status.State == 'Z' || status.State == 'X' {
			break
		}
		if status.Name == protocol.NameRunning {
			return init
		}
		// Told to go when the agent died, or not, and about to notice: a matter of
		// milliseconds, unless a disk hangs.
		n.mu.Lock()
		destroy := it.destroy
		n.mu.Unlock()
		if destroy {
			init.Kill()
		}
		if !n.pause(wait) {
			break
		}
	}
	init.Close()
	return nil
}

// absent says what is known of a container without an init.
func (n *Native) absent(it *item, live container.Live) {
	record, ok := it.dir.Record()
	memory := n.memory(it.id)
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case ok && record.Kind == protocol.Failed:
		it.failure = "Failed to launch container: " + launch.Explain(record.Stage, record.Errno, it.path)
		n.failed(it)
	case ok && record.Kind == protocol.Never, !ok && live.Pid <= 0:
		n.end(it, container.Failed{ID: it.id, Canceled: true, Reason: failedReason,
			Message: "The agent was restarted before the command was executed"})
	default:
		n.exited(it, record, ok, memory)
	}
}
