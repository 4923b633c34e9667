package main

import (
	"slices"
	"time"

	"github.com/stoa-kernel/stoa/agent/container"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/kernel/resource"
	lifecycle "github.com/stoa-kernel/stoa/kernel/task"
)

// ledger is what really happens, as nobody in the cluster can see it.
type ledger struct {
	tasks     map[string]*taskTruth
	order     []*taskTruth
	started   int
	removed   map[string]bool // frameworks a master removed
	destroyed map[string]bool // persistence ids a framework asked to destroy
}

// plan is what a task will do.
type plan struct {
	life     time.Duration // 0: until it is killed
	wait     int32
	oom      bool
	stubborn bool // ignores SIGTERM
}

// taskTruth is one task: ids are used once in a world.
type taskTruth struct {
	id        string
	fw        *scheduler
	owner     string // the framework's id
	plan      plan
	custom    bool
	resources resource.Quantities

	m         *machine
	box       *box
	starts    int
	startedAt time.Duration
	alive     bool
	over      bool
	endedAt   time.Duration
	own       mesos.TaskState // of a custom executor's task that ended by itself
	exit      container.Exit
	exitKnown bool
	endBoots  int // boots of its machine when it ended

	updates []*updateTruth

	sickAfter time.Duration // its start; 0 is never
	failures  uint32        // of its probe, as its framework was told
	preStops  int           // times its pre_stop was begun

	killed    bool // anybody asked for its end, or may have
	killAt    time.Duration
	killEpoch uint64 // of the master that took the KILL
}

// updateTruth is a status update an agent made.
type updateTruth struct {
	task      *taskTruth
	m         *machine
	uuid      string
	state     mesos.TaskState
	status    *mesos.TaskStatus
	durable   bool
	settled   bool // the agent knows that it was acknowledged, or nobody will
	delivered bool
	ackSent   bool // its framework acknowledged it, whether or not that arrived
	ackedAt   time.Duration
	ackEpoch  uint64
	ackBoots  int
}

func (l *ledger) get(id string) *taskTruth {
	t := l.tasks[id]
	if t == nil {
		panic(&violation{Invariant: "only tasks of frameworks run", Detail: "task " + id + " was never launched"})
	}
	return t
}

func (t *taskTruth) update(uuid []byte) *updateTruth {
	for _, u := range t.updates {
		if u.uuid == string(uuid) {
			return u
		}
	}
	return nil
}

func (t *taskTruth) drop(u *updateTruth) {
	t.updates = slices.DeleteFunc(t.updates, func(x *updateTruth) bool { return x == u })
}

// begin is the first instruction of a task.
func (l *ledger) begin(m *machine, t *taskTruth, b *box) {
	w := m.w
	t.starts++
	if t.starts > 1 {
		w.fail("a task runs once", "%s runs again on %s in container %s; before on %s", t.id, m.name, b.id, t.m.name)
	}
	l.started++
	t.m, t.box, t.alive, t.startedAt = m, b, true, w.now
	m.live = append(m.live, t)
	var sum resource.Quantities
	for _, x := range m.live {
		sum = sum.Add(x.resources)
	}
	for _, x := range m.order {
		if x.custom && x.alive() {
			sum = sum.Add(executorResources)
		}
	}
	if !m.resources.Quantities().Contains(sum) {
		w.fail("nothing is over-allocated", "%s has %s, but its tasks use %s since %s", m.name, m.resources, sum, t.id)
	}
}

func (l *ledger) end(t *taskTruth) {
	if !t.alive {
		return
	}
	t.alive, t.over = false, true
	t.endedAt, t.endBoots = t.fw.w.now, t.m.boots
	t.m.live = slices.DeleteFunc(t.m.live, func(x *taskTruth) bool { return x == t })
}

// deadly is a signal that ends a container: there must be a cause.
func (l *ledger) deadly(m *machine, b *box, what string) {
	w := m.w
	if b.daemon {
		w.fail("nothing dies without a cause", "%s hits a process of %s that is no container's", what, m.name)
	}
	if m.stopping {
		if !b.custom {
			b.task.killed = true
		}
		return
	}
	if b.custom {
		f := w.framework(b.framework)
		x := b.model
		switch {
		case f == nil || f.gone(b.framework), f.shutdowns[b.executor], x == nil || !x.subscribed || len(x.had) == 0:
			return
		case len(x.running) == 0:
			return
		}
		w.fail("nothing dies without a cause", "%s of executor %s on %s, which has %v", what, b.executor, m.name, x.running)
	}
	t := b.task
	if t.killed || t.fw.gone(t.owner) {
		return
	}
	w.fail("nothing dies without a cause", "%s of %s on %s: nobody killed it", what, t.id, m.name)
}

// seen is a status as its framework reads it.
func (f *scheduler) seen(s *mesos.TaskStatus) {
	w := f.w
	t := w.truth.tasks[s.GetTaskId().GetValue()]
	if t == nil || len(s.GetUuid()) == 0 {
		return
	}
	u := t.update(s.GetUuid())
	if u == nil {
		w.fail("updates are of tasks", "%s reads %s of %s, which no agent made or which was lost", f.name, s.GetState(), t.id)
	}
	if t.owner != f.id {
		w.fail("updates reach their framework", "%s reads an update of %s's task %s", f.id, t.owner, t.id)
	}
	if u.ackedAt != 0 && w.now-u.ackedAt > 30*time.Second && u.ackEpoch == f.epoch && u.ackBoots == u.m.boots {
		w.fail("an acknowledged update does not come again", "%s reads %s of %s %v after its acknowledgement was taken", f.name, u.state, t.id, w.now-u.ackedAt)
	}
	if u.delivered {
		w.count["update: repeated"]++
		return
	}
	for _, before := range t.updates {
		if before == u {
			break
		}
		if before.state == mesos.TaskState_TASK_KILLING && !f.killing {
			continue // it is not told
		}
		if !before.delivered || !before.ackSent {
			w.fail("updates come in order and none is lost", "%s reads %s of %s before it has acknowledged %s (read: %t)", f.name, u.state, t.id, before.state, before.delivered)
		}
	}
	for _, other := range t.updates {
		if other.delivered && lifecycle.Terminal(other.state) {
			w.fail("updates come in order and none is lost", "%s reads %s of %s after %s", f.name, u.state, t.id, other.state)
		}
	}
	u.delivered = true
	f.health(t, s)
	if lifecycle.Terminal(u.state) {
		f.exact(t, s)
	}
}

// exact compares the end a framework reads with how the task ended.
func (f *scheduler) exact(t *taskTruth, s *mesos.TaskStatus) {
	w := f.w
	if t.custom || !t.exitKnown {
		if t.custom && t.own != 0 && s.GetSource() == mesos.TaskStatus_SOURCE_EXECUTOR && s.GetState() != t.own {
			w.fail("ends are told as they were", "%s ended %s but its framework reads %s", t.id, t.own, s.GetState())
		}
		return
	}
	x := t.exit
	want := []mesos.TaskState{mesos.TaskState_TASK_FAILED}
	switch {
	case t.killed:
		want = append(want, mesos.TaskState_TASK_KILLED)
		if x.Known && x.Wait == 0 {
			want = append(want, mesos.TaskState_TASK_FINISHED)
		}
	case x.Known && !x.OOM && x.Wait == 0:
		want[0] = mesos.TaskState_TASK_FINISHED
	}
	if t.m.boots != t.endBoots {
		// What it left was not on disk, or of another boot.
		want = append(want, mesos.TaskState_TASK_FAILED)
	}
	if !slices.Contains(want, s.GetState()) {
		w.fail("ends are told as they were", "%s ended with %+v but its framework reads %s %q", t.id, x, s.GetState(), s.GetMessage())
	}
	if s.GetState() == mesos.TaskState_TASK_FAILED && x.Known && x.OOM && !t.killed && t.m.boots == t.endBoots && s.GetReason() != mesos.TaskStatus_REASON_CONTAINER_LIMITATION_MEMORY {
		w.fail("ends are told as they were", "%s ran out of memory but its framework reads %s", t.id, s.GetReason())
	}
	w.count["truth: end read "+s.GetState().String()]++
}
