package task

import (
	"os/exec"
	"syscall"
	"testing"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
)

// One row for every state there is: what each table says.
func TestStates(t *testing.T) {
	for _, c := range []struct {
		state    mesos.TaskState
		terminal bool
		live     bool
		executor bool
		old      mesos.TaskState // to a framework that is not partition aware
		word     string
	}{
		{mesos.TaskState_TASK_STAGING, false, true, false, mesos.TaskState_TASK_STAGING, "staging"},
		{mesos.TaskState_TASK_STARTING, false, true, true, mesos.TaskState_TASK_STARTING, "starting"},
		{mesos.TaskState_TASK_RUNNING, false, true, true, mesos.TaskState_TASK_RUNNING, "running"},
		{mesos.TaskState_TASK_KILLING, false, true, true, mesos.TaskState_TASK_KILLING, "killing"},
		{mesos.TaskState_TASK_FINISHED, true, false, true, mesos.TaskState_TASK_FINISHED, "finished"},
		{mesos.TaskState_TASK_FAILED, true, false, true, mesos.TaskState_TASK_FAILED, "failed"},
		{mesos.TaskState_TASK_KILLED, true, false, true, mesos.TaskState_TASK_KILLED, "killed"},
		{mesos.TaskState_TASK_ERROR, true, false, true, mesos.TaskState_TASK_ERROR, "error"},
		{mesos.TaskState_TASK_LOST, true, false, true, mesos.TaskState_TASK_LOST, "lost"},
		{mesos.TaskState_TASK_DROPPED, true, false, true, mesos.TaskState_TASK_LOST, "dropped"},
		{mesos.TaskState_TASK_UNREACHABLE, false, false, false, mesos.TaskState_TASK_LOST, "unreachable"},
		{mesos.TaskState_TASK_GONE, true, false, true, mesos.TaskState_TASK_LOST, "gone"},
		{mesos.TaskState_TASK_GONE_BY_OPERATOR, true, false, false, mesos.TaskState_TASK_LOST, "gone by operator"},
		{mesos.TaskState_TASK_UNKNOWN, false, false, false, mesos.TaskState_TASK_LOST, "unknown"},
	} {
		s := c.state
		if Terminal(s) != c.terminal || Live(s) != c.live || FromExecutor(s) != c.executor || Word(s) != c.word {
			t.Errorf("%v: terminal %v, live %v, from executors %v, %q", s, Terminal(s), Live(s), FromExecutor(s), Word(s))
		}
		if For(s, true) != s || For(s, false) != c.old {
			t.Errorf("%v reads %v if partition aware, else %v", s, For(s, true), For(s, false))
		}
		if !Told(s, true) || Told(s, false) != (s != mesos.TaskState_TASK_KILLING) {
			t.Errorf("%v is told %v with TASK_KILLING_STATE, else %v", s, Told(s, true), Told(s, false))
		}
	}
	if n := len(mesos.TaskState_name); n != 14 {
		t.Errorf("there are %d states, the table has 14", n)
	}
}

func TestHas(t *testing.T) {
	info := &mesos.FrameworkInfo{Capabilities: []*mesos.FrameworkInfo_Capability{
		{Type: mesos.FrameworkInfo_Capability_MULTI_ROLE.Enum()}, {Type: mesos.FrameworkInfo_Capability_PARTITION_AWARE.Enum()},
	}}
	if !Has(info, mesos.FrameworkInfo_Capability_PARTITION_AWARE) || Has(info, mesos.FrameworkInfo_Capability_GPU_RESOURCES) || Has(nil, mesos.FrameworkInfo_Capability_MULTI_ROLE) {
		t.Error("capabilities are misread")
	}
}

func TestExit(t *testing.T) {
	for _, c := range []struct {
		w     WaitStatus
		text  string
		shell int
		state mesos.TaskState
	}{
		{Exited(0), "Command exited with status 0", 0, mesos.TaskState_TASK_FINISHED},
		{Exited(3), "Command exited with status 3", 3, mesos.TaskState_TASK_FAILED},
		{Exited(255), "Command exited with status 255", 255, mesos.TaskState_TASK_FAILED},
		{Signaled(9, false), "Command terminated with signal Killed", 137, mesos.TaskState_TASK_FAILED},
		{Signaled(15, false), "Command terminated with signal Terminated", 143, mesos.TaskState_TASK_FAILED},
		{Signaled(11, false), "Command terminated with signal Segmentation fault", 139, mesos.TaskState_TASK_FAILED},
		{Signaled(11, true), "Command terminated with signal Segmentation fault (core dumped)", 139, mesos.TaskState_TASK_FAILED},
		{Signaled(6, true), "Command terminated with signal Aborted (core dumped)", 134, mesos.TaskState_TASK_FAILED},
		{Signaled(34, false), "Command terminated with signal Real-time signal 0", 162, mesos.TaskState_TASK_FAILED},
		{Signaled(64, false), "Command terminated with signal Real-time signal 30", 192, mesos.TaskState_TASK_FAILED},
		{Signaled(33, false), "Command terminated with signal Unknown signal 33", 161, mesos.TaskState_TASK_FAILED},
	} {
		if c.w.Message() != c.text || c.w.Shell() != c.shell || c.w.State() != c.state {
			t.Errorf("%d: %q, %d, %v, want %q, %d, %v", c.w, c.w.Message(), c.w.Shell(), c.w.State(), c.text, c.shell, c.state)
		}
		if w, ok := ParseMessage(c.text); !ok || w != c.w {
			t.Errorf("%q is read as %d, %v, want %d", c.text, w, ok, c.w)
		}
	}
	for w, want := range map[WaitStatus]string{
		19<<8 | 0x7f: "stopped on signal Stopped (signal)",
		0xffff:       "wait status 65535",
	} {
		if w.String() != want {
			t.Errorf("%d is %q, want %q", w, w, want)
		}
	}
	for _, text := range []string{"", "Command", "exited with status 3", "Command exited with status", "Command exited with status 256",
		"Command exited with status -1", "Command terminated with signal Nothing", "Executor terminated"} {
		if w, ok := ParseMessage(text); ok {
			t.Errorf("%q is read as %d", text, w)
		}
	}
}

// Every status there can be reads as the one it was, and as the kernel's encoding has it.
func TestWaitStatusRoundTrip(t *testing.T) {
	for code := range 256 {
		w := Exited(code)
		if syscall.WaitStatus(w).ExitStatus() != code {
			t.Errorf("exit %d is %d", code, w)
		}
		if again, ok := ParseMessage(w.Message()); !ok || again != w {
			t.Errorf("%q is read as %d", w.Message(), again)
		}
	}
	texts := map[string]bool{}
	for s := 1; s < 0x7f; s++ {
		for _, core := range []bool{false, true} {
			w := Signaled(s, core)
			std := syscall.WaitStatus(w)
			if !std.Signaled() || int(std.Signal()) != s || std.CoreDump() != core || w.CoreDumped() != core {
				t.Errorf("signal %d is %d", s, w)
			}
			if again, ok := ParseMessage(w.Message()); !ok || again != w {
				t.Errorf("%q is read as %d", w.Message(), again)
			}
		}
		if texts[SignalText(s)] {
			t.Errorf("two signals are called %q", SignalText(s))
		}
		texts[SignalText(s)] = true
	}
}

// A real process ends as the table says.
func TestRealProcess(t *testing.T) {
	for script, want := range map[string]string{
		"exit 3":     "Command exited with status 3",
		"kill -9 $$": "Command terminated with signal Killed",
		"true":       "Command exited with status 0",
	} {
		cmd := exec.Command("/bin/sh", "-c", script)
		err := cmd.Run()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		w := WaitStatus(cmd.ProcessState.Sys().(syscall.WaitStatus))
		if w.Message() != want || w.Success() != (script == "true") {
			t.Errorf("%s: %q, want %q", script, w.Message(), want)
		}
	}
}
