package e2e

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/proto"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/sdk/scheduler"
)

// outside is an address of this machine that a server bound to 127.0.0.1 does not have.
const outside = "127.0.0.2"

// answering is an HTTP server at an address whose answer can be changed.
func answering(t *testing.T, address string) (port uint32, status *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", address+":0")
	if err != nil {
		t.Fatal(err)
	}
	status = &atomic.Int32{}
	status.Store(200)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(status.Load())) }))
	s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	return uint32(l.Addr().(*net.TCPAddr).Port), status
}

// told waits for an update of a task, from one number on, and returns it and its number.
func (a *actor) told(id, what string, from int, is func(*mesos.TaskStatus) bool) (found *mesos.TaskStatus, at int) {
	a.t.Helper()
	until(a.t, fmt.Sprintf("an update of %s: %s", id, what), func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		for at = from; at < len(a.updates[id]); at++ {
			if is(a.updates[id][at]) {
				found = a.updates[id][at]
				return true
			}
		}
		return false
	})
	return found, at
}

// all updates of a task from one number on.
func (a *actor) all(id string, from int) []*mesos.TaskStatus {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]*mesos.TaskStatus(nil), a.updates[id][min(from, len(a.updates[id])):]...)
}

func probeOf(s *mesos.TaskStatus, index uint32) *mesos.ProbeResult {
	for _, r := range s.GetProbeResults() {
		if r.GetIndex() == index {
			return r
		}
	}
	return nil
}

// TestProbes: three probes of one task. Two ask servers that are not at 127.0.0.1, the
// third one that is only there. The agent kills nobody, and dies in the middle.
func TestProbes(t *testing.T) {
	c := newPair(t, "--advertise-ip", outside)
	first, code := answering(t, outside)
	second, _ := answering(t, outside)
	local, _ := answering(t, "127.0.0.1")
	a := play(t, c.addr, "probes", "*")
	probe := func(index, port uint32, p mesos.Probe_Protocol) *mesos.Probe {
		return &mesos.Probe{Index: &index, Port: &port, Protocol: &p, IntervalSeconds: proto.Float64(0.2)}
	}
	a.launch("app", scheduler.Shell("sleep 1000"), func(t *mesos.TaskInfo) {
		t.Probes = []*mesos.Probe{probe(0, first, mesos.Probe_HTTP), probe(1, second, mesos.Probe_TCP), probe(2, local, mesos.Probe_HTTP)}
	})
	running := a.await("app", mesos.TaskState_TASK_RUNNING)
	if ip := running.GetContainerStatus().GetNetworkInfos()[0].GetIpAddresses()[0].GetIpAddress(); ip != outside {
		t.Fatalf("the task is said to be at %s", ip)
	}
	alive, n := a.told("app", "two are alive", 0, func(s *mesos.TaskStatus) bool { return probeOf(s, 0).GetAlive() && probeOf(s, 1).GetAlive() })
	if r := probeOf(alive, 0); r.GetFirstSuccess() == 0 || r.GetLastSuccess() < r.GetFirstSuccess() || r.LastFailure != nil || alive.Healthy != nil ||
		alive.GetReason() != mesos.TaskStatus_REASON_TASK_HEALTH_CHECK_STATUS_UPDATED {
		t.Errorf("%v", alive)
	}
	dead, n := a.told("app", "the third fails and fails", n, func(s *mesos.TaskStatus) bool { return probeOf(s, 2).GetConsecutiveFailures() >= 4 })
	if r := probeOf(dead, 2); r.GetAlive() || r.FirstSuccess != nil || r.GetLastFailureCause() == "" || r.GetLastFailure() < r.GetLastSuccess() {
		t.Errorf("%v", dead)
	}

	code.Store(503)
	sick, n := a.told("app", "the first is dead", n, func(s *mesos.TaskStatus) bool { return probeOf(s, 0).GetConsecutiveFailures() >= 2 })
	if r := probeOf(sick, 0); r.GetAlive() || r.GetLastFailureCause() != "the answer was HTTP status 503" || r.GetFirstSuccess() != probeOf(alive, 0).GetFirstSuccess() {
		t.Errorf("%v", sick)
	}
	code.Store(302)
	well, n := a.told("app", "the first is alive again", n, func(s *mesos.TaskStatus) bool { return probeOf(s, 0).GetAlive() })
	failures := probeOf(well, 2).GetConsecutiveFailures()

	c.agent.kill()
	c.startAgent()
	c.waitAgent()
	again, _ := a.told("app", "the third fails on", n+1, func(s *mesos.TaskStatus) bool { return probeOf(s, 2).GetConsecutiveFailures() >= failures+5 })
	if r, was := probeOf(again, 0), probeOf(well, 0); r.GetFirstSuccess() != was.GetFirstSuccess() || r.GetLastFailure() != was.GetLastFailure() {
		t.Errorf("after a restart of the agent %v, before %v", r, was)
	}
	last := failures
	for _, s := range a.all("app", n) {
		if !probeOf(s, 0).GetAlive() || !probeOf(s, 1).GetAlive() || s.GetState() != mesos.TaskState_TASK_RUNNING {
			t.Errorf("a healthy probe of a running task flaps: %v", s)
		}
		if f := probeOf(s, 2).GetConsecutiveFailures(); f < last {
			t.Errorf("%d failures in a row after %d", f, last)
		} else {
			last = f
		}
	}

	n = len(a.all("app", 0))
	a.do("RECONCILE", a.caller.Reconcile(t.Context(), &schedulerpb.Call_Reconcile_Task{TaskId: &mesos.TaskID{Value: proto.String("app")}}))
	latest, _ := a.told("app", "the answer", n, func(s *mesos.TaskStatus) bool { return s.GetReason() == mesos.TaskStatus_REASON_RECONCILIATION })
	if !probeOf(latest, 0).GetAlive() || probeOf(latest, 2).GetAlive() || probeOf(latest, 2).GetConsecutiveFailures() < failures {
		t.Errorf("%v", latest)
	}
	a.kill("app", nil)
	a.await("app", mesos.TaskState_TASK_KILLED)
}

// sandboxOf is where a task of the agent of a pair runs.
func (c *cluster) sandboxOf(id string) string {
	c.t.Helper()
	found, err := filepath.Glob(c.dir + "/agent/slaves/*/frameworks/*/executors/" + id + "/runs/????*-*")
	if err != nil || len(found) != 1 {
		c.t.Fatalf("sandboxes of %s: %v, %v", id, found, err)
	}
	return found[0]
}

func healthy(want bool) func(*mesos.TaskStatus) bool {
	return func(s *mesos.TaskStatus) bool { return s.Healthy != nil && s.GetHealthy() == want }
}

// health is a health check by a command, every 100 ms, that kills at the third failure.
func health(command string, grace float64) func(*mesos.TaskInfo) {
	return func(t *mesos.TaskInfo) {
		t.HealthCheck = &mesos.HealthCheck{
			Type: mesos.HealthCheck_COMMAND.Enum(), Command: scheduler.Shell(command),
			DelaySeconds: proto.Float64(0), IntervalSeconds: proto.Float64(0.1), TimeoutSeconds: proto.Float64(0.3), GracePeriodSeconds: &grace,
		}
	}
}

// TestHealthCheck: the command sees the task's files and variables; a restart of the agent
// tells nothing anew; the grace is over once it was healthy; the third failure kills.
func TestHealthCheck(t *testing.T) {
	c := newPair(t)
	a := play(t, c.addr, "health", "*")
	command := scheduler.Shell("touch well; sleep 1000")
	command.Environment = &mesos.Environment{Variables: []*mesos.Environment_Variable{{Name: proto.String("FILE"), Value: proto.String("well")}}}
	a.launch("app", command, health(`test -e "$FILE" || { echo no $FILE; exit 3; }`, 1000))
	_, n := a.told("app", "healthy", 0, healthy(true))
	if tasks := c.call(`{"type":"GET_TASKS"}`); !strings.Contains(tasks, `"healthy":true`) {
		t.Errorf("operators do not see that it is healthy: %s", tasks)
	}
	c.agent.kill()
	c.startAgent()
	c.waitAgent()
	if err := os.Remove(c.sandboxOf("app") + "/well"); err != nil {
		t.Fatal(err)
	}
	sick, at := a.told("app", "sick", n, healthy(false))
	if at != n+1 {
		t.Errorf("%d updates between healthy and sick: %v", at-n-1, a.all("app", n))
	}
	if sick.GetState() != mesos.TaskState_TASK_RUNNING || sick.GetReason() != mesos.TaskStatus_REASON_TASK_HEALTH_CHECK_STATUS_UPDATED ||
		sick.GetMessage() != "The health check failed: the command exited with status 3: no well" {
		t.Errorf("%v", sick)
	}
	end := a.await("app", mesos.TaskState_TASK_KILLED)
	if end.Healthy == nil || end.GetHealthy() || end.Reason != nil {
		t.Errorf("%v", end)
	}
	if got := a.states("app"); got != "running killing killed" {
		t.Error(got)
	}
}

// TestHealthCheckMisbehaves: whatever a check's command does fails it, and nothing else.
func TestHealthCheckMisbehaves(t *testing.T) {
	c := newPair(t)
	a := play(t, c.addr, "misbehaving", "*")
	for i, command := range []string{
		"sleep 1000",
		"trap '' TERM; (setsid sleep 1000 &); sleep 1000",
		"exec yes",
	} {
		id := fmt.Sprint("app", i)
		a.launch(id, scheduler.Shell("sleep 1000"), health(command, 0))
		end := a.await(id, mesos.TaskState_TASK_KILLED)
		if end.Healthy == nil || end.GetHealthy() {
			t.Errorf("%s: %v", command, end)
		}
		failures := 0
		for _, s := range a.all(id, 0) {
			if s.GetState() == mesos.TaskState_TASK_RUNNING && s.Healthy != nil {
				failures++
			}
		}
		if failures == 0 || failures > 3 {
			t.Errorf("%s: %d failures were told", command, failures)
		}
	}
	// One that may take for ever ends with the agent, and the task does not.
	mark := fmt.Sprintf("4000.%d", os.Getpid())
	a.launch("lasting", scheduler.Shell("sleep 1000"), health("touch asked; exec sleep "+mark, 0), func(t *mesos.TaskInfo) { t.HealthCheck.TimeoutSeconds = proto.Float64(0) })
	a.await("lasting", mesos.TaskState_TASK_RUNNING)
	sleeps := func() bool {
		return slices.ContainsFunc(c.processes(), func(pid int) bool {
			argv, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // one that has ended has none
			return string(argv) == "sleep\x00"+mark+"\x00"
		})
	}
	until(t, "the check is under way", sleeps)
	c.agent.kill()
	until(t, "the check ends with the agent", func() bool { return !sleeps() })
	c.startAgent()
	c.waitAgent()
	until(t, "the check is under way again", sleeps)
	a.kill("lasting", nil)
	a.await("lasting", mesos.TaskState_TASK_KILLED)
	until(t, "the check ends with the task", func() bool { return !sleeps() })

	// In the grace no failure counts.
	a.launch("graceful", scheduler.Shell("sleep 1"), health("false", 1000))
	a.await("graceful", mesos.TaskState_TASK_FINISHED)
	for _, s := range a.all("graceful", 0) {
		if s.Healthy != nil {
			t.Errorf("in the grace: %v", s)
		}
	}
}

// TestCheck: a result is told when it changes, over a restart of the agent too.
func TestCheck(t *testing.T) {
	c := newPair(t)
	a := play(t, c.addr, "check", "*")
	a.launch("app", scheduler.Shell("sleep 1000"), func(t *mesos.TaskInfo) {
		t.Check = &mesos.CheckInfo{
			Type: mesos.CheckInfo_COMMAND.Enum(), Command: &mesos.CheckInfo_Command{Command: scheduler.Shell("echo >> asked; exit $(cat code || echo 7)")},
			DelaySeconds: proto.Float64(0), IntervalSeconds: proto.Float64(0.1),
		}
	})
	code := func(want int32) func(*mesos.TaskStatus) bool {
		return func(s *mesos.TaskStatus) bool {
			x := s.GetCheckStatus().GetCommand()
			return x != nil && x.ExitCode != nil && x.GetExitCode() == want
		}
	}
	if s := a.await("app", mesos.TaskState_TASK_RUNNING); s.GetCheckStatus().GetType() != mesos.CheckInfo_COMMAND || s.GetCheckStatus().Command == nil || s.GetCheckStatus().GetCommand().ExitCode != nil {
		t.Errorf("before the first result: %v", s)
	}
	s, n := a.told("app", "7", 0, code(7))
	if s.GetReason() != mesos.TaskStatus_REASON_TASK_CHECK_STATUS_UPDATED || s.Healthy != nil {
		t.Errorf("%v", s)
	}
	c.agent.kill()
	asked := c.sandboxOf("app") + "/asked"
	if err := os.Remove(asked); err != nil {
		t.Fatal(err)
	}
	c.startAgent()
	c.waitAgent()
	until(t, "the check is made again", func() bool {
		b, err := os.ReadFile(asked)
		return err == nil && len(b) >= 3
	})
	if err := os.WriteFile(c.sandboxOf("app")+"/code", []byte("0"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, at := a.told("app", "0", n, code(0)); at != n+1 {
		t.Errorf("told although nothing changed: %v", a.all("app", n))
	}
	a.kill("app", nil)
	a.await("app", mesos.TaskState_TASK_KILLED)
}
