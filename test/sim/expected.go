package main

import (
	"fmt"
	"time"
)

// enough seeds show everything that is expected; fewer need not.
const enough = 60

// What a median seed has, and for agents, frameworks and faults every seed.
const (
	leastVirtual    = 10 * time.Minute
	leastAgents     = 20
	leastFrameworks = 5
	leastTasks      = 500
	leastFaults     = 30
)

// expected are the things that must have happened at least once over many seeds: a
// check that never had anything to look at proves nothing.
var expected = []string{
	// Faults.
	"fault: agent doomed", "fault: agent killed", "fault: agent told to stop", "fault: machine loses power", "fault: master doomed", "fault: master killed",
	"fault: master outlives its lease", "fault: agent cut off", "fault: half of the agents cut off", "fault: link broken",
	"fault: framework crashes", "fault: framework fails over while connected", "fault: framework cut off",
	"fault: call connection broken", "fault: slow disk", "fault: slow registry", "fault: clock jump", "fault: slow link",
	"fault: disk error", "fault: RunTask again", "fault: call sent again", "fault: agent reaches an old master",
	"fault: init lost its record", "fault: volumes not applied", "fault: slow commit", "fault: slow disk write", "fault: slow disk sync",
	"fault: pid reused", "fault: agent dies before a write", "fault: agent dies before a sync", "fault: agent dies after a sync",
	"fault: agent dies before an effect", "fault: agent dies by kill -9", "fault: agent dies with its machine",
	"fault: agent dies as it was asked to", "fault: agent dies before a Go", "fault: agent dies of its disk", "fault: master dies before a commit",
	"fault: master dies after a commit", "fault: master dies before a send", "fault: master dies by kill -9", "fault: master dies fenced",
	"fault: master dies after a life too long", "registry: commit fenced",
	"net: lost in flight", "net: sent into a dead connection", "race: ACCEPT of a rescinded offer", "framework: forged acknowledgement", "framework: acknowledged many at once",
	"framework: offer hoarded", "framework: acknowledgement left out", "agent: compaction",
	// Inputs and effects of the cores.
	"master input: Recovered", "master input: Subscribe", "master input: StreamClosed", "master input: Hello", "master input: LinkClosed",
	"master input: Kill", "master input: Why", "master input: Operate UPDATE_QUOTA", "master input: Operate UPDATE_WEIGHTS",
	"master input: Operate TEARDOWN", "master input: Call ACCEPT", "master input: Call DECLINE", "master input: Call KILL",
	"master input: Call ACKNOWLEDGE", "master input: Call ACKNOWLEDGE_OPERATION_STATUS", "master input: Call RECONCILE",
	"master input: Call RECONCILE_OPERATIONS", "master input: Call REVIVE", "master input: Call SUPPRESS", "master input: Call SHUTDOWN",
	"master input: Call TEARDOWN", "master input: Call MESSAGE", "master input: Call UPDATE_FRAMEWORK", "master input: Frame Update", "master input: Frame OperationUpdate",
	"master input: Frame ExecutorExited", "master input: Frame Pong", "master input: Frame ResourcesChanged",
	"master input: Fired allocate", "master input: Fired filter", "master input: Fired failover", "master input: Fired ping",
	"master input: Fired link grace", "master input: Fired agent return", "master input: Fired offer timeout", "master input: Fired registry gc",
	"master input: Fired agent removal", "master input: Frame ExecutorMessage",
	"master effect: Persist agents", "master effect: Persist agents deleted", "master effect: Persist frameworks",
	"master effect: Persist quotas", "master effect: Persist quotas deleted", "master effect: Persist weights",
	"master effect: ToFramework SUBSCRIBED", "master effect: ToFramework OFFERS", "master effect: ToFramework RESCIND",
	"master effect: ToFramework UPDATE", "master effect: ToFramework UPDATE_OPERATION_STATUS", "master effect: ToFramework FAILURE",
	"master effect: ToFramework ERROR", "master effect: ToFramework MESSAGE", "master effect: CloseStream", "master effect: CloseLink",
	"master effect: ToAgent Registered", "master effect: ToAgent RunTask", "master effect: ToAgent KillTask", "master effect: ToAgent Acknowledge",
	"master effect: ToAgent ShutdownFramework", "master effect: ToAgent ShutdownExecutor", "master effect: ToAgent UpdateFramework",
	"master effect: ToAgent ApplyOperation", "master effect: ToAgent AcknowledgeOperation", "master effect: ToAgent Ping",
	"master effect: ToAgent FrameworkMessage", "master effect: Answer 200", "master effect: Answer 202", "master effect: Answer 400",
	"master effect: Answer 403", "master effect: Answer 404", "master effect: SetTimer allocate", "master effect: StopTimer agent return",
	"master effect: Publish AgentAdded", "master effect: Publish AgentUpdated", "master effect: Publish AgentRemoved",
	"master effect: Publish FrameworkAdded", "master effect: Publish FrameworkUpdated", "master effect: Publish FrameworkRemoved",
	"master effect: Publish OfferAdded", "master effect: Publish OfferRemoved", "master effect: Publish RolesChanged",
	"master effect: Publish TaskAdded", "master effect: Publish TaskUpdated",
	"agent input: Started", "agent input: Shutdown", "agent input: LinkUp", "agent input: LinkDown", "agent input: ExecutorSubscribe", "agent input: ExecutorCall UPDATE", "agent input: ExecutorCall MESSAGE",
	"agent input: ExecutorGone", "agent input: Container Fetching", "agent input: Container Forked", "agent input: Container Started",
	"agent input: Container Failed", "agent input: Container Exited", "agent input: Container Destroyed", "agent input: VolumesApplied",
	"agent input: DiskUsage", "agent input: SandboxRemoved", "agent input: Fired retry", "agent input: Fired kill", "agent input: Fired completion",
	"agent input: Fired registration", "agent input: Fired reregistration", "agent input: Fired ping", "agent input: Fired gc", "agent input: Fired operation",
	"agent input: Frame Registered", "agent input: Frame RunTask", "agent input: Frame KillTask", "agent input: Frame Acknowledge",
	"agent input: Frame ShutdownFramework", "agent input: Frame ShutdownExecutor", "agent input: Frame UpdateFramework",
	"agent input: Frame FrameworkMessage", "agent input: Frame ApplyOperation", "agent input: Frame AcknowledgeOperation", "agent input: Frame Ping",
	"agent effect: Stopped", "agent effect: Answer 200", "agent effect: Answer 202", "agent effect: SetTimer retry", "agent effect: StopTimer retry",
	"agent effect: ToMaster Register", "agent effect: ToMaster Update", "agent effect: ToMaster ExecutorExited", "agent effect: ToMaster ExecutorMessage",
	"agent effect: ToMaster OperationUpdate", "agent effect: ToMaster ResourcesChanged", "agent effect: ToMaster Pong",
	"agent effect: ToExecutor SUBSCRIBED", "agent effect: ToExecutor MESSAGE", "agent effect: Persist Admitted", "agent effect: Persist Framework",
	"agent effect: Persist FrameworkGone", "agent effect: Persist SandboxGone", "agent effect: Persist TaskGone",
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
	"agent effect: Check", "agent effect: StopChecks", "agent input: Checked", "agent input: Fired check", "check: kills",
	"pre_stop: begun", "pre_stop: ended", "agent effect: Persist Kill DRAINING", "agent effect: Persist Kill PRE_STOP",
	"check: success told of a health check", "check: success told of a check", "check: success told of a probe",
	"check: failure told of a health check", "check: failure told of a check", "check: failure told of a probe",
	"volume: written", "container: OOM", "executor reused", "operation read: OPERATION_FINISHED", "operation read: OPERATION_FAILED",
}

// wanting is what the seeds did not show, one sentence each; a run of fewer than enough
// has to show nothing.
func (s *summary) wanting() (list []string) {
	if len(s.runs) < enough {
		return nil
	}
	for _, k := range expected {
		if s.counts[k] == 0 {
			list = append(list, fmt.Sprintf("%q never happened in %d seeds", k, len(s.runs)))
		}
	}
	if n := median(s.runs, func(r result) int { return r.Tasks }); n < leastTasks {
		list = append(list, fmt.Sprintf("a median seed runs %d tasks, want at least %d", n, leastTasks))
	}
	if d := median(s.runs, func(r result) time.Duration { return r.Virtual }); d < leastVirtual {
		list = append(list, fmt.Sprintf("a median seed is %v long, want at least %v", d, leastVirtual))
	}
	for _, r := range s.runs {
		if r.Failure == nil && (r.Agents < leastAgents || r.Frameworks < leastFrameworks || r.Faults < leastFaults) {
			list = append(list, fmt.Sprintf("seed %d has %d agents, %d frameworks, %d faults; want at least %d, %d, %d",
				r.Seed, r.Agents, r.Frameworks, r.Faults, leastAgents, leastFrameworks, leastFaults))
		}
	}
	return list
}
