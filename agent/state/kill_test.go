package state

import (
	"strings"
	"testing"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
)

// TestKill has a row for each stage a task can be killed in (Mesos 1.11, docs/task-state-reasons.md and docs/high-availability-framework-guide.md,
// src/slave/slave.cpp and src/launcher/executor.cpp). A row's script ends in the
// effects that its last command must have, timers of retries left out.
func TestKill(t *testing.T) {
	const (
		up      = "start boot1\nlink 1\nregistered\n"
		launch  = up + "run t\n"
		going   = launch + "forked c1 10\n"
		running = going + "started c1 11\n"
		custom  = up + "run t executor=e\nforked c1 10\nstarted c1 11\n"
	)
	const (
		policy   = " grace=4s prestop=bye timeout=8s drain=5s"
		stopping = up + "run t" + policy + "\nforked c1 10\nstarted c1 11\nack t u1\n"
		killing  = stopping + "kill t\n"
		draining = killing + "advance 2s\nchecked c1 t -1 code=0\n"
		bye      = `check c1 t -1 command /bin/sh ["sh" "-c" "bye"] in /var/stoa/slaves/A0/frameworks/f/executors/t/runs/c1 as "nobody" with LIBPROCESS_PORT=0 timeout=8s`
	)
	tests := []struct{ name, script, want string }{
		{"waiting behind an operation",
			up + "operation RESERVE disk=500 uuid=o1\noperation CREATE volume=v uuid=o2\nrun t\nkill t",
			`log framework f
log update t KILLED u1 by agent REASON_TASK_KILLED_DURING_LAUNCH "Killed before delivery to the executor" on disk
master(1) update t KILLED u1 by agent REASON_TASK_KILLED_DURING_LAUNCH "Killed before delivery to the executor" latest KILLED
log task t in -`},
		{"waiting behind an operation, never launched after it",
			up + "operation RESERVE disk=500 uuid=o1\noperation CREATE volume=v uuid=o2\nrun t\nkill t\nkill t\nrun t\napplied o2",
			`log resources cpus:8; mem:8192; disk:9740; disk(reservations: [(DYNAMIC,dev,p)]):400; disk(reservations: [(DYNAMIC,dev,p)])[v:data]:100; ports:[31000-32000] on disk
master(1) operation OPERATION_FINISHED -`},
		{"fetching", launch + "fetching c1\nkill t", "log kill t\ndestroy c1"},
		{"fetching, canceled", launch + "kill t\nfailed c1 canceled",
			`log update t KILLED u1 by agent REASON_TASK_KILLED_DURING_LAUNCH "Killed before delivery to the executor" on disk
master(1) update t KILLED u1 by agent REASON_TASK_KILLED_DURING_LAUNCH "Killed before delivery to the executor" latest KILLED`},
		{"before go: no go follows", launch + "kill t\nforked c1 10", ""},
		{"go sent, not started: the signal waits for the process", going + "kill t", "log kill t\ntimer kill c1 at 3s"},
		{"go sent, then started", going + "kill t\nstarted c1 11",
			`log forked c1 boot=boot1 pid=10 start=77 task=11
log update t RUNNING u1 by executor in c1 pid 11 on disk
master(1) update t RUNNING u1 by executor in c1 pid 11 latest RUNNING
signal c1 15
timer kill c1 at 3s`},
		{"go sent, never started", going + "kill t\nadvance 3s", "destroy c1"},
		{"go sent, ended by itself before any signal", going + "kill t\nexited c1 wait=0",
			`log update t FINISHED u1 by executor "Command exited with status 0" in c1 pid 10 on disk
master(1) update t FINISHED u1 by executor "Command exited with status 0" in c1 pid 10 latest FINISHED
destroy c1`},
		{"running", running + "kill t", "log kill t\nsignal c1 15\ntimer kill c1 at 3s"},
		{"running, TASK_KILLING_STATE", "framework f killing\n" + running + "kill t",
			"log kill t\nlog update t KILLING u2 by executor in c1 pid 11 on disk\nsignal c1 15\ntimer kill c1 at 3s"},
		{"running, it obeys with exit 0", running + "ack t u1\nkill t\nexited c1 wait=0",
			`log update t KILLED u2 by executor "Command exited with status 0" in c1 pid 11 on disk
master(1) update t KILLED u2 by executor "Command exited with status 0" in c1 pid 11 latest KILLED
destroy c1`},
		{"running, it does not obey", running + "kill t\nadvance 3s", "destroy c1"},
		{"the task's grace", up + "run t grace=7s\nforked c1 10\nstarted c1 11\nkill t", "log kill t\nsignal c1 15\ntimer kill c1 at 7s"},
		{"the call's grace wins", up + "run t grace=7s\nforked c1 10\nstarted c1 11\nkill t grace=9s", "log kill t\nsignal c1 15\ntimer kill c1 at 9s"},
		{"no grace", running + "kill t grace=0s", "log kill t\nsignal c1 15\ndestroy c1"},
		{"twice, shorter", running + "kill t grace=20s\nadvance 2s\nkill t grace=5s", "log kill t\ntimer kill c1 at 5s"},
		{"twice, shorter than what has passed", running + "kill t grace=20s\nadvance 6s\nkill t grace=5s", "log kill t\ndestroy c1"},
		{"twice, longer", running + "kill t grace=5s\nkill t grace=20s", ""},
		{"twice, the same", running + "kill t grace=5s\nadvance 1s\nkill t grace=5s", ""},
		{"after its end", running + "exited c1 wait=0\nkill t", ""},
		{"after its end was acknowledged", running + "exited c1 wait=0\nack t u1\nack t u2\nkill t",
			`log update t LOST u3 by agent REASON_EXECUTOR_TERMINATED "Cannot find executor" on disk
master(1) update t LOST u3 by agent REASON_EXECUTOR_TERMINATED "Cannot find executor" latest LOST`},
		{"unknown, partition aware", "framework f aware\n" + launch + "kill x",
			`log update x DROPPED u1 by agent REASON_EXECUTOR_TERMINATED "Cannot find executor" on disk
master(1) update x DROPPED u1 by agent REASON_EXECUTOR_TERMINATED "Cannot find executor" latest DROPPED`},
		{"unknown, again", launch + "kill x\nkill x", ""},
		{"unknown framework", up + "kill x",
			`log update x LOST u1 by agent REASON_EXECUTOR_TERMINATED "Cannot find executor" on disk
master(1) update x LOST u1 by agent REASON_EXECUTOR_TERMINATED "Cannot find executor" latest LOST`},
		{"of an older epoch", running + "kill t epoch=0", ""},
		{"before max_completion_time", up + "run t max=10s\nforked c1 10\nstarted c1 11\nkill t grace=20s\nadvance 9999ms", ""},
		{"at max_completion_time, exit", up + "run t max=10s\nforked c1 10\nstarted c1 11\nack t u1\nadvance 10s\nexited c1 wait=9",
			`log update t FAILED u2 by executor REASON_MAX_COMPLETION_TIME_REACHED "Command terminated with signal Killed" in c1 pid 11 on disk
master(1) update t FAILED u2 by executor REASON_MAX_COMPLETION_TIME_REACHED "Command terminated with signal Killed" in c1 pid 11 latest FAILED`},
		{"during adoption", running + "ack t u1\nrestart\nstart boot1\nlink 2\nregistered\nkill t", "log kill t\ntimer kill c1 at 3s"},
		{"during adoption, it lives", running + "ack t u1\nrestart\nstart boot1\nlink 2\nregistered\nkill t\nstarted c1 11", "signal c1 15\ntimer kill c1 at 3s"},
		{"during adoption, it had ended before", running + "ack t u1\nrestart\nstart boot1\nlink 2\nregistered\nkill t\nexited c1 wait=0",
			`log update t FINISHED u2 by executor "Command exited with status 0" in c1 pid 11 on disk
master(2) update t FINISHED u2 by executor "Command exited with status 0" in c1 pid 11 latest FINISHED
destroy c1`},
		{"during adoption, no answer", running + "ack t u1\nrestart\nstart boot1\nlink 2\nregistered\nkill t\nadvance 3s", "destroy c1"},
		{"before a restart", running + "ack t u1\nkill t grace=10s\nadvance 4s\nrestart\nstart boot1",
			"adopt c1 boot=boot1 pid=10 start=77 task=11\ntimer kill c1 at 10s"},
		{"before a restart, its end is a kill", running + "ack t u1\nkill t\nrestart\nstart boot1\nexited c1 wait=15",
			`log update t KILLED u2 by executor "Command terminated with signal Terminated" in c1 pid 11 on disk
destroy c1`},
		{"before a restart, over time", running + "ack t u1\nkill t grace=1s\nrestart\nadvance 5s\nstart boot1",
			"adopt c1 boot=boot1 pid=10 start=77 task=11\ndestroy c1"},
		{"fetching, then a restart: never launched again", launch + "kill t\nrestart\nstart boot1",
			`log update t KILLED u1 by agent REASON_TASK_KILLED_DURING_LAUNCH "Killed before delivery to the executor" on disk
destroy c1`},
		{"before go, then a restart: never launched again", going + "kill t\nrestart\nstart boot1\nfailed c1 canceled",
			`log update t KILLED u1 by agent REASON_TASK_KILLED_DURING_LAUNCH "Killed before delivery to the executor" in c1 pid 10 on disk
destroy c1`},
		{"custom, queued", custom + "kill t",
			`log update t KILLED u1 by agent REASON_TASK_KILLED_DURING_LAUNCH "Killed before delivery to the executor" in c1 pid 11 on disk
resize c1 {CPUs:0.5 CPUQuota:0 MemorySoft:33554432 MemoryHard:33554432 Pids:1000}
master(1) update t KILLED u1 by agent REASON_TASK_KILLED_DURING_LAUNCH "Killed before delivery to the executor" in c1 pid 11 latest KILLED`},
		{"custom, delivered", custom + "subscribe e 1\nkill t grace=4s", "log kill t\nexecutor(1) KILL t grace 4s"},
		{"custom, while it is away", custom + "subscribe e 1\nexecutor-gone 1\nkill t", "log kill t"},
		{"custom, told at its return", custom + "subscribe e 1\nexecutor-gone 1\nkill t\nsubscribe e 2 tasks=t",
			"answer 200\nexecutor(2) SUBSCRIBED e in c1 of A0\nexecutor(2) KILL t"},
		{"custom, told at its return after a restart", custom + "subscribe e 1\nupdate e t RUNNING 1\nkill t grace=4s\nrestart\nstart boot1\nsubscribe e 1",
			"answer 200\nexecutor(1) SUBSCRIBED e in c1 of A0\nexecutor(1) KILL t grace 4s"},
		{"custom, executor shutting down", custom + "subscribe e 1\nshutdown-executor e\nkill t", ""},
		{"SHUTDOWN of a command task's executor", running + "shutdown-executor t", "log kill t\nsignal c1 15\ntimer kill c1 at 3s"},
		{"pre_stop of the task", stopping + "kill t", "log kill t PRE_STOP\n" + bye + "\ntimer kill c1 at 8s"},
		{"pre_stop, TASK_KILLING first", "framework f killing\n" + stopping + "kill t",
			"log kill t PRE_STOP\nlog update t KILLING u2 by executor in c1 pid 11 on disk\n" +
				"master(1) update t KILLING u2 by executor in c1 pid 11 latest KILLING\n" + bye + "\ntimer kill c1 at 8s"},
		{"pre_stop of the call", running + "kill t" + policy, "log kill t PRE_STOP\n" + bye + "\ntimer kill c1 at 8s"},
		{"pre_stop's own timeout", running + "ack t u1\nkill t prestop=bye\nadvance 10s", "stop-checks c1 t\nlog kill t\nsignal c1 15\ntimer kill c1 at 13s"},
		{"pre_stop is done", draining + "advance 0s\nkill t", ""},
		{"pre_stop is done, the drain follows", killing + "advance 2s\nchecked c1 t -1 code=0", "log kill t DRAINING\ntimer kill c1 at 7s"},
		{"the drain is over", draining + "advance 5s", "log kill t\nsignal c1 15\ntimer kill c1 at 11s"},
		{"the clock is set while the drain waits", draining + "wall -1h\nadvance 5s\nwall 2h\nadvance 4s", "destroy c1"},
		{"the grace after it is over", draining + "advance 5s\nadvance 4s", "destroy c1"},
		{"pre_stop takes too long", killing + "advance 8s", "stop-checks c1 t\nlog kill t DRAINING\ntimer kill c1 at 13s"},
		{"pre_stop takes too long, and its answer is late", killing + "advance 8s\nchecked c1 t -1 code=0", ""},
		{"pre_stop alone", running + "kill t prestop=bye\nchecked c1 t -1 code=0", "log kill t\nsignal c1 15\ntimer kill c1 at 3s"},
		{"a drain alone", running + "kill t drain=5s", "log kill t DRAINING\ntimer kill c1 at 5s"},
		{"pre_stop, the task ends by it", "framework f killing\n" + killing + "ack t u2\nexited c1 wait=0",
			`log update t KILLED u3 by executor "Command exited with status 0" in c1 pid 11 on disk
stop-checks c1 t
master(1) update t KILLED u3 by executor "Command exited with status 0" in c1 pid 11 latest KILLED
destroy c1`},
		{"pre_stop failed", killing + "checked c1 t -1 code=3 output=oh\nadvance 5s\nexited c1 wait=15",
			`log update t KILLED u2 by executor "Command terminated with signal Terminated; pre_stop before it: the command exited with status 3: oh" in c1 pid 11 on disk
master(1) update t KILLED u2 by executor "Command terminated with signal Terminated; pre_stop before it: the command exited with status 3: oh" in c1 pid 11 latest KILLED
destroy c1`},
		{"pre_stop that cannot be run", running + "kill t prestop=\x00 drain=1s", "log kill t DRAINING\ntimer kill c1 at 1s"},
		{"the same again while pre_stop runs", killing + "advance 1s\nkill t" + policy, ""},
		{"the same again while the drain waits", draining + "advance 1s\nkill t" + policy, ""},
		{"without a policy while pre_stop runs", running + "kill t" + policy + "\nadvance 1s\nkill t", "log kill t PRE_STOP\ntimer kill c1 at 8s"},
		{"without pre_stop while it runs", killing + "advance 1s\nkill t grace=4s", "log kill t PRE_STOP\nstop-checks c1 t\nlog kill t\nsignal c1 15\ntimer kill c1 at 5s"},
		{"without pre_stop while the drain waits", draining + "advance 1s\nkill t grace=1s", "log kill t DRAINING\nlog kill t\nsignal c1 15\ntimer kill c1 at 4s"},
		{"without pre_stop at first", stopping + "kill t grace=1s", "log kill t\nsignal c1 15\ntimer kill c1 at 1s"},
		{"after SIGTERM, with pre_stop", running + "kill t grace=4s\nadvance 1s\nkill t" + policy, ""},
		{"pre_stop before it runs", up + "run t" + policy + "\nforked c1 10\nkill t", "log kill t\ntimer kill c1 at 4s"},
		{"pre_stop, then a restart: not again, and the drain begins", killing + "advance 2s\nrestart\nstart boot1",
			"adopt c1 boot=boot1 pid=10 start=77 task=11\nlog kill t DRAINING\ntimer kill c1 at 7s"},
		{"pre_stop, then a restart long after", killing + "restart\nadvance 1h\nstart boot1",
			"adopt c1 boot=boot1 pid=10 start=77 task=11\nlog kill t DRAINING\nlog kill t\ntimer kill c1 at 1h0m4s"},
		{"pre_stop, then a restart, and it lives", killing + "advance 2s\nrestart\nstart boot1\nstarted c1 11", "timer kill c1 at 7s"},
		{"the drain, then a restart", draining + "advance 1s\nrestart\nadvance 1s\nstart boot1\nstarted c1 11", "timer kill c1 at 7s"},
		{"the drain is over during a restart", draining + "restart\nadvance 30s\nstart boot1\nstarted c1 11", "signal c1 15\ntimer kill c1 at 36s"},
		{"the signal, then a restart", draining + "advance 5s\nrestart\nadvance 1s\nstart boot1\nstarted c1 11", "signal c1 15\ntimer kill c1 at 11s"},
		{"pre_stop during adoption", stopping + "restart\nstart boot1\nlink 2\nregistered\nkill t\nadvance 1s\nstarted c1 11",
			bye + "\ntimer kill c1 at 8s"},
		{"pre_stop, then the agent stops its tasks", killing + "shutdown tasks", "log kill t PRE_STOP\nstop-checks c1 t\nlog kill t\nsignal c1 15\ntimer kill c1 at 4s\ntimer stop  at 10s"},
		{"SHUTDOWN runs no pre_stop", stopping + "shutdown-executor t", "log kill t\nsignal c1 15\ntimer kill c1 at 4s"},
		{"max_completion_time runs no pre_stop", up + "run t max=10s" + policy + "\nforked c1 10\nstarted c1 11\nack t u1\nadvance 10s", "log kill t\nsignal c1 15\ndestroy c1"},
		{"custom, with pre_stop", custom + "subscribe e 1\nkill t prestop=bye grace=4s", "log kill t\nexecutor(1) KILL t grace 4s pre_stop bye"},
		{"of a framework that is going", running + "shutdown-framework\nkill t", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := last(t, tt.script); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// last plays a script and prints the effects of its last line, without the timers of
// retries.
func last(t *testing.T, script string) string {
	s := &scenario{bench: newBench(t), infos: map[string]*mesos.FrameworkInfo{"f": frameworkInfo("f")}}
	var effects []Effect
	var lines []string
	for line := range strings.Lines(script) {
		effects, lines = s.do(line), nil
		for _, x := range effects {
			text := s.names.show(x)
			if _, stop := x.(StopTimer); !stop && !hasAnyPrefix(text, "timer retry", "timer ping", "timer gc", "timer reregistration", "timer heartbeat") {
				lines = append(lines, text)
			}
		}
	}
	return strings.Join(lines, "\n")
}
