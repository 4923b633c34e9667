package state

import (
	"slices"
	"time"

	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/kernel/id"
	"google.golang.org/protobuf/proto"
)

// gcRetry is when a sandbox that could not be removed is tried again.
const gcRetry = 10 * time.Minute

// sandbox is the directory of a container that is gone.
type sandbox struct {
	container id.Container
	path      string
	ended     int64         // Unix nanoseconds, for the log
	since     time.Duration // the same in monotonic time; may be negative after a restart
}

func (a *Agent) keepSandbox(s *sandbox) {
	a.sandboxes[s.container] = s
	if a.queueSandbox(s) {
		a.armGC()
	}
}

// queueSandbox puts a sandbox in its place, the oldest first, and reports whether it
// became the first.
func (a *Agent) queueSandbox(s *sandbox) bool {
	i, _ := slices.BinarySearchFunc(a.gcQueue, s.since, func(x *sandbox, since time.Duration) int {
		if x.since <= since {
			return -1
		}
		return 1
	})
	a.gcQueue = slices.Insert(a.gcQueue, i, s)
	return i == 0
}

// diskUsage: the fuller the disk, the sooner sandboxes go.
func (a *Agent) diskUsage(used float64) {
	a.diskUsed = min(max(used, 0), 1)
	a.prune()
}

// sandboxAge is how long a sandbox is kept: gc_delay * max(0, 1 - headroom - usage)
// (as Mesos 1.11, Slave::age).
func (a *Agent) sandboxAge() time.Duration {
	return time.Duration(float64(a.cfg.GCDelay) * max(0, 1-a.cfg.GCDiskHeadroom-a.diskUsed))
}

// prune removes the sandboxes that are old enough.
func (a *Agent) prune() {
	age, n := a.sandboxAge(), 0
	for n < len(a.gcQueue) && a.gcQueue[n].since+age <= a.now.Mono {
		a.out.add(RemoveSandbox{a.gcQueue[n].container, a.gcQueue[n].path})
		n++
	}
	a.gcQueue = slices.Delete(a.gcQueue, 0, n)
	a.armGC()
}

// armGC sets the timer to the sandbox that is due next.
func (a *Agent) armGC() {
	if len(a.gcQueue) == 0 {
		a.stopTimer(TimerGC, "")
		return
	}
	a.setTimer(TimerGC, "", a.gcQueue[0].since+a.sandboxAge()-a.now.Mono)
}

func (a *Agent) sandboxRemoved(in SandboxRemoved) {
	s := a.sandboxes[in.Container]
	if s == nil {
		return
	}
	if in.Err != "" {
		s.since = a.now.Mono + gcRetry - a.sandboxAge()
		a.queueSandbox(s)
		a.armGC()
		return
	}
	delete(a.sandboxes, in.Container)
	a.persist(false, &stoapb.LogRecord{Body: &stoapb.LogRecord_SandboxGone{SandboxGone: &stoapb.SandboxGone{
		ContainerId: proto.String(string(in.Container)),
	}}})
}
