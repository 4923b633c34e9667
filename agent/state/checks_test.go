package state

import (
	"testing"
	"time"

	"github.com/stoa-kernel/stoa/agent/check"
	"github.com/stoa-kernel/stoa/agent/container"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"google.golang.org/protobuf/proto"
)

// TestChecksOweOneUpdate: however often probes fail while the master is away, the task
// owes one update for all of it, and its end comes right behind.
func TestChecksOweOneUpdate(t *testing.T) {
	b := newBench(t)
	b.up()
	b.step(Frame{b.agent.link, runTaskFrame(1, frameworkInfo("f"), commandTask("t", func(t *mesos.TaskInfo) {
		t.Probes = []*mesos.Probe{{Index: proto.Uint32(1), Protocol: mesos.Probe_TCP.Enum(), Port: proto.Uint32(1), IntervalSeconds: proto.Float64(1)}}
	}))})
	e := ordered(b.agent.runs)[0]
	b.step(Container{container.Forked{ID: e.container, BootID: b.agent.bootID, Pid: 1, StartTime: 2}})
	b.step(Container{container.Started{ID: e.container, TaskPid: 3}})
	task := e.only()
	running := task.stream.Head()
	b.step(LinkDown{b.agent.link})

	updates := func(list []Effect) (n int) {
		for _, x := range list {
			if p, ok := x.(Persist); ok && p.Record.GetUpdate() != nil {
				n++
			}
		}
		return n
	}
	const failures = 1000
	asked := 0
	for range failures {
		for _, x := range b.advance(time.Second) {
			if _, ok := x.(Check); ok {
				asked++
			}
		}
		if n := updates(b.step(Checked{Container: e.container, Task: "t", Result: check.Result{}})); n != 0 {
			t.Fatalf("%d updates were made while nobody hears them", n)
		}
	}
	if asked != failures {
		t.Fatalf("asked %d times in %d s", asked, failures)
	}

	b.step(LinkUp{b.agent.link + 1})
	b.step(Frame{b.agent.link, &stoapb.ToAgent{Body: &stoapb.ToAgent_Registered{Registered: &stoapb.Registered{
		AgentId: &mesos.AgentID{Value: proto.String("A0")}, Epoch: proto.Uint64(1),
	}}}})
	if n := updates(b.step(Frame{b.agent.link, acknowledgeFrame(1, "f", "t", running.GetUuid())})); n != 1 {
		t.Fatalf("%d updates tell of it", n)
	}
	told := task.stream.Head()
	if r := told.GetProbeResults()[0]; r.GetConsecutiveFailures() != failures || r.GetAlive() {
		t.Errorf("told %v", r)
	}
	b.step(Checked{Container: e.container, Task: "t", Result: check.Result{}})
	b.step(Container{container.Exited{ID: e.container, Record: container.Exit{Known: true, Time: b.now().Wall}}})
	if p := task.stream.Pending(); len(p) != 2 || p[0] != told || p[1].GetState() != mesos.TaskState_TASK_FINISHED {
		t.Errorf("waiting to be acknowledged: %v", p)
	}
}
