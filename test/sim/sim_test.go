package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// expected are the things that must have happened at least once over the seeds of a
// test: a check that never had anything to look at proves nothing.
var expected = []string{
	// Faults.
	"fault: agent doomed", "fault: agent killed", "fault: machine loses power", "fault: master doomed", "fault: master killed",
	"fault: master outlives its lease", "fault: agent cut off", "fault: half of the agents cut off", "fault: link broken",
	"fault: framework crashes", "fault: framework fails over while connected", "fault: framework cut off",
	"fault: call connection broken", "fault: slow disk", "fault: slow registry", "fault: clock jump", "fault: slow link",
	"fault: disk error", "fault: RunTask again", "fault: call sent again", "fault: agent reaches an old master",
	"fault: init lost its record", "fault: volumes not applied", "fault: slow commit", "fault: slow disk write", "fault: slow disk sync",
	"fault: pid reused", "fault: agent dies before a write", "fault: agent dies before a sync", "fault: agent dies after a sync",
	"fault: agent dies before an effect", "fault: agent dies before a Go", "fault: agent dies of its disk", "fault: master dies before a commit",
	"fault: master dies after a commit", "fault: master dies before a send", "registry: commit fenced",
	"net: lost in flight", "net: sent into a dead connection", "race: ACCEPT of a rescinded offer", "framework: forged acknowledgement",
	"framework: offer hoarded", "framework: acknowledgement left out", "agent: compaction",
	// Inputs and effects of the cores.
	"master input: Recovered", "master input: Subscribe", "master input: StreamClosed", "master input: Hello", "master input: LinkClosed",
	"master input: Kill", "master input: Why", "master input: Operate UPDATE_QUOTA", "master input: Operate UPDATE_WEIGHTS",
	"master input: Operate TEARDOWN", "master input: Call ACCEPT", "master input: Call DECLINE", "master input: Call KILL",
	"master input: Call ACKNOWLEDGE", "master input: Call ACKNOWLEDGE_OPERATION_STATUS", "master input: Call RECONCILE",
	"master input: Call RECONCILE_OPERATIONS", "master input: Call REVIVE", "master input: Call SUPPRESS", "master input: Call SHUTDOWN",
	"master input: Call TEARDOWN", "master input: Call UPDATE_FRAMEWORK", "master input: Frame Update", "master input: Frame OperationUpdate",
	"master input: Frame ExecutorExited", "master input: Frame Pong", "master input: Frame ResourcesChanged",
	"master input: Fired allocate", "master input: Fired filter", "master input: Fired failover", "master input: Fired ping",
	"master input: Fired link grace", "master input: Fired agent return", "master input: Fired offer timeout", "master input: Fired registry gc",
	"master effect: Persist agents", "master effect: Persist agents deleted", "master effect: Persist frameworks",
	"master effect: Persist quotas", "master effect: Persist quotas deleted", "master effect: Persist weights",
	"master effect: ToFramework SUBSCRIBED", "master effect: ToFramework OFFERS", "master effect: ToFramework RESCIND",
	"master effect: ToFramework UPDATE", "master effect: ToFramework UPDATE_OPERATION_STATUS", "master effect: ToFramework FAILURE",
	"master effect: ToFramework ERROR", "master effect: CloseStream", "master effect: CloseLink",
	"master effect: ToAgent Registered", "master effect: ToAgent RunTask", "master effect: ToAgent KillTask", "master effect: ToAgent Acknowledge",
	"master effect: ToAgent ShutdownFramework", "master effect: ToAgent ShutdownExecutor", "master effect: ToAgent UpdateFramework",
	"master effect: ToAgent ApplyOperation", "master effect: ToAgent AcknowledgeOperation", "master effect: ToAgent Ping",
	"agent input: Started", "agent input: LinkUp", "agent input: LinkDown", "agent input: ExecutorSubscribe", "agent input: ExecutorCall UPDATE",
	"agent input: ExecutorGone", "agent input: Container Fetching", "agent input: Container Forked", "agent input: Container Started",
	"agent input: Container Failed", "agent input: Container Exited", "agent input: Container Destroyed", "agent input: VolumesApplied",
	"agent input: DiskUsage", "agent input: SandboxRemoved", "agent input: Fired retry", "agent input: Fired kill", "agent input: Fired completion",
	"agent input: Fired registration", "agent input: Fired reregistration", "agent input: Fired ping", "agent input: Fired gc",
	"agent effect: DropLink", "agent effect: ToExecutor LAUNCH", "agent effect: ToExecutor KILL", "agent effect: ToExecutor ACKNOWLEDGED",
	"agent effect: ToExecutor SHUTDOWN", "agent effect: CloseExecutor", "agent effect: Launch", "agent effect: Go", "agent effect: Adopt",
	"agent effect: Signal", "agent effect: Destroy", "agent effect: Resize", "agent effect: ApplyVolumes", "agent effect: RemoveSandbox",
	"agent effect: Persist Container", "agent effect: Persist Forked", "agent effect: Persist ContainerGone", "agent effect: Persist Task",
	"agent effect: Persist Update", "agent effect: Persist Acknowledged", "agent effect: Persist Kill", "agent effect: Persist FrameworkShutdown",
	"agent effect: Persist Operation", "agent effect: Persist OperationDone", "agent effect: Persist Resources", "agent effect: Persist Epoch",
	// What the checks look at.
	"check: full cycle at a quiet point", "quota: offer under a limit", "quota: offers beside a guarantee",
	"framework removed by its deadline", "adopt: alive", "adopt: ended", "adopt: rebooted", "adopt: never told to go", "adopt: pid reused",
	"update: TASK_RUNNING", "update: TASK_FINISHED", "update: TASK_FAILED", "update: TASK_KILLED", "update: TASK_LOST", "update: TASK_UNREACHABLE",
	"update: TASK_DROPPED", "update: TASK_ERROR", "update: TASK_GONE", "update: TASK_KILLING", "update: TASK_STARTING", "update: repeated",
	"volume: written", "container: OOM", "executor reused", "operation read: OPERATION_FINISHED", "operation read: OPERATION_FAILED",
}

// seeds a test runs; it begins none after budget, so that a busy machine takes no
// longer, and must have run enough of them.
const (
	seeds  = 300
	enough = 60
	budget = 80 * time.Second
)

func TestSeeds(t *testing.T) {
	began := time.Now()
	last := uint64(seeds)
	if testing.Short() {
		last = enough
	}
	s := runAll(1, last, 0, func(r result) bool {
		if r.Failure != nil {
			t.Errorf("go run ./test/sim -seed %d -trace: %v\n%s", r.Seed, r.Failure, r.Failure.Stack)
		}
		return r.Seed >= enough && time.Since(began) > budget
	})
	var out strings.Builder
	s.print(&out)
	t.Log("\n" + out.String())
	for _, k := range expected {
		if s.counts[k] == 0 && !t.Failed() {
			t.Errorf("%q never happened in %d seeds", k, len(s.runs))
		}
	}
	if n := median(s.runs, func(r result) int { return r.Tasks }); n < 500 && !t.Failed() {
		t.Errorf("a median seed runs %d tasks, want at least 500", n)
	}
	if d := median(s.runs, func(r result) time.Duration { return r.Virtual }); d < 10*time.Minute && !t.Failed() {
		t.Errorf("a median seed is %v long, want at least 10 min", d)
	}
	for _, r := range s.runs {
		if r.Failure == nil && (r.Agents < 20 || r.Frameworks < 5 || r.Faults < 30) {
			t.Errorf("seed %d has %d agents, %d frameworks, %d faults; want at least 20, 5, 30", r.Seed, r.Agents, r.Frameworks, r.Faults)
		}
	}
}

func TestSameSeedSameRun(t *testing.T) {
	a, b := run(options{seed: 7}), run(options{seed: 7})
	if a.Hash != b.Hash || a.Virtual != b.Virtual {
		t.Errorf("seed 7 ran twice: %016x after %v, then %016x after %v", a.Hash, a.Virtual, b.Hash, b.Virtual)
	}
	if c := run(options{seed: 8}); c.Hash == a.Hash {
		t.Error("seeds 7 and 8 are the same run")
	}
}

// bugs are planted in the cores by the build tag "planted"; the simulator must find each
// within 200 seeds.
var bugs = []string{
	"update forwarded before durable",
	"resources released both at terminal and at ack",
	"offer counted twice when RESCIND races ACCEPT",
	"duplicate RunTask after reconnect launched again",
	"ack with a wrong uuid advancing the stream",
	"old subscription's failover timer firing after resubscribe",
	"recovered update order swapped",
	"quota headroom ignoring offered resources",
	"reused pid adopted",
	"operation answered without its record",
	"go sent before the record",
	"KILL lost while the agent is away",
	"older epoch obeyed",
}

func TestPlantedBugsAreFound(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "sim")
	if out, err := exec.Command("go", "build", "-tags", "planted", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("build with planted bugs: %v\n%s", err, out)
	}
	for _, bug := range bugs {
		t.Run(bug, func(t *testing.T) {
			cmd := exec.Command(bin, "-bug", bug, "-seeds", "1-200", "-first")
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			if err == nil || !strings.Contains(string(out), "VIOLATION") {
				t.Fatalf("not found in 200 seeds: %v\n%s", err, out)
			}
			t.Log(strings.TrimSpace(string(out)))
		})
	}
}
