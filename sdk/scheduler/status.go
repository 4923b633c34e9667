package scheduler

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/kernel/task"
)

// Terminal reports whether a task in this state will have no other one. TASK_UNREACHABLE
// and TASK_UNKNOWN are not terminal: the task may come back.
func Terminal(s mesos.TaskState) bool { return task.Terminal(s) }

var (
	exited   = regexp.MustCompile(`^Command exited with status (\d{1,3})$`)
	signaled = regexp.MustCompile(`^Command terminated with signal (.+?)( \(core dumped\))?$`)
)

// ExitCode is how the process of a command task ended, as a shell would say it: its exit
// status, or 128 plus the signal that killed it. ok is false if the status does not tell,
// as with tasks that never ran or that are still running.
//
// The API has no field for it; it is read from the message, whose form every Mesos since
// 0.20 has kept ("Command exited with status 3").
func ExitCode(status *mesos.TaskStatus) (code int, ok bool) {
	if m := exited.FindStringSubmatch(status.GetMessage()); m != nil {
		code, err := strconv.Atoi(m[1])
		return code, err == nil && code < 256
	}
	if s, ok := Signal(status); ok {
		return 128 + int(s), true
	}
	return 0, false
}

// Signal is the signal that killed the process of a command task.
func Signal(status *mesos.TaskStatus) (s syscall.Signal, ok bool) {
	m := signaled.FindStringSubmatch(status.GetMessage())
	if m == nil {
		return 0, false
	}
	for n, name := range signals {
		if name != "" && name == m[1] {
			return syscall.Signal(n), true
		}
	}
	// What strsignal(3) says of those without a name.
	if n, err := strconv.Atoi(strings.TrimPrefix(m[1], "Unknown signal ")); err == nil && n > 0 && n < 128 {
		return syscall.Signal(n), true
	}
	if n, err := strconv.Atoi(strings.TrimPrefix(m[1], "Real-time signal ")); err == nil && n >= 0 && n <= 30 {
		return syscall.Signal(34 + n), true
	}
	return 0, false
}

// signals are the names strsignal(3) of glibc gives on Linux, by number.
var signals = [...]string{
	1: "Hangup", 2: "Interrupt", 3: "Quit", 4: "Illegal instruction", 5: "Trace/breakpoint trap",
	6: "Aborted", 7: "Bus error", 8: "Floating point exception", 9: "Killed", 10: "User defined signal 1",
	11: "Segmentation fault", 12: "User defined signal 2", 13: "Broken pipe", 14: "Alarm clock", 15: "Terminated",
	16: "Stack fault", 17: "Child exited", 18: "Continued", 19: "Stopped (signal)", 20: "Stopped",
	21: "Stopped (tty input)", 22: "Stopped (tty output)", 23: "Urgent I/O condition", 24: "CPU time limit exceeded",
	25: "File size limit exceeded", 26: "Virtual timer expired", 27: "Profiling timer expired", 28: "Window changed",
	29: "I/O possible", 30: "Power failure", 31: "Bad system call",
}

// Describe says in one line what a status means to a person: the state without its
// prefix, and the message or the reason.
func Describe(status *mesos.TaskStatus) string {
	state := strings.ToLower(strings.TrimPrefix(status.GetState().String(), "TASK_"))
	switch {
	case status.GetMessage() != "":
		return fmt.Sprintf("%s: %s", state, status.GetMessage())
	case status.Reason != nil:
		return fmt.Sprintf("%s (%s)", state, strings.ToLower(strings.TrimPrefix(status.GetReason().String(), "REASON_")))
	}
	return state
}
