package task

import (
	"strconv"
	"strings"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
)

// WaitStatus is how a process ended, as Linux's wait(2) encodes it; the value of
// FAILURE events too.
type WaitStatus int32

// Exited is the status of a process that exited with code, 0 to 255.
func Exited(code int) WaitStatus { return WaitStatus(code&0xff) << 8 }

// Signaled is the status of a process that a signal ended.
func Signaled(signal int, core bool) WaitStatus {
	w := WaitStatus(signal & 0x7f)
	if core {
		w |= 0x80
	}
	return w
}

// ExitCode is the code of a process that exited by itself.
func (w WaitStatus) ExitCode() (code int, ok bool) {
	return int(w >> 8 & 0xff), w&0x7f == 0
}

// Signal is the signal that ended the process.
func (w WaitStatus) Signal() (signal int, ok bool) {
	s := int(w & 0x7f)
	return s, s != 0 && s != 0x7f
}

// CoreDumped reports whether the kernel wrote a core.
func (w WaitStatus) CoreDumped() bool {
	_, ok := w.Signal()
	return ok && w&0x80 != 0
}

// Success reports whether the process exited with code 0.
func (w WaitStatus) Success() bool { return w == 0 }

// State is the terminal state of a command task that nobody killed.
func (w WaitStatus) State() mesos.TaskState {
	if w.Success() {
		return mesos.TaskState_TASK_FINISHED
	}
	return mesos.TaskState_TASK_FAILED
}

// Shell is the exit code a shell shows: 128 + signal for a process a signal ended.
func (w WaitStatus) Shell() int {
	if s, ok := w.Signal(); ok {
		return 128 + s
	}
	code, _ := w.ExitCode()
	return code
}

const (
	exitedWith     = "exited with status "
	terminatedWith = "terminated with signal "
	coreDumped     = " (core dumped)"
	command        = "Command "
)

// String is the text of Mesos (status_utils.hpp): "exited with status 3", "terminated
// with signal Segmentation fault (core dumped)".
func (w WaitStatus) String() string {
	if code, ok := w.ExitCode(); ok {
		return exitedWith + strconv.Itoa(code)
	}
	if s, ok := w.Signal(); ok {
		text := terminatedWith + SignalText(s)
		if w.CoreDumped() {
			text += coreDumped
		}
		return text
	}
	if w&0xff == 0x7f {
		return "stopped on signal " + SignalText(int(w>>8&0xff))
	}
	return "wait status " + strconv.Itoa(int(w))
}

// Message is the message of a command task's terminal update, exactly as Mesos's
// command executor writes it: "Command exited with status 3".
func (w WaitStatus) Message() string { return command + w.String() }

// ParseMessage reads a Message; false for any other text.
func ParseMessage(message string) (WaitStatus, bool) {
	text, ok := strings.CutPrefix(message, command)
	if !ok {
		return 0, false
	}
	if digits, ok := strings.CutPrefix(text, exitedWith); ok {
		code, err := strconv.ParseUint(digits, 10, 8)
		return Exited(int(code)), err == nil
	}
	name, ok := strings.CutPrefix(text, terminatedWith)
	if !ok {
		return 0, false
	}
	name, core := strings.CutSuffix(name, coreDumped)
	for s := 1; s < 0x7f; s++ {
		if SignalText(s) == name {
			return Signaled(s, core), true
		}
	}
	return 0, false
}

// signalTexts are what strsignal(3) of glibc says on Linux, by number.
var signalTexts = [...]string{
	1:  "Hangup",
	2:  "Interrupt",
	3:  "Quit",
	4:  "Illegal instruction",
	5:  "Trace/breakpoint trap",
	6:  "Aborted",
	7:  "Bus error",
	8:  "Floating point exception",
	9:  "Killed",
	10: "User defined signal 1",
	11: "Segmentation fault",
	12: "User defined signal 2",
	13: "Broken pipe",
	14: "Alarm clock",
	15: "Terminated",
	16: "Stack fault",
	17: "Child exited",
	18: "Continued",
	19: "Stopped (signal)",
	20: "Stopped",
	21: "Stopped (tty input)",
	22: "Stopped (tty output)",
	23: "Urgent I/O condition",
	24: "CPU time limit exceeded",
	25: "File size limit exceeded",
	26: "Virtual timer expired",
	27: "Profiling timer expired",
	28: "Window changed",
	29: "I/O possible",
	30: "Power failure",
	31: "Bad system call",
}

// The real-time signals that glibc leaves to programs.
const (
	firstRealtime = 34
	lastRealtime  = 64
)

// SignalText names a signal as strsignal(3) does: "Killed" for 9.
func SignalText(signal int) string {
	switch {
	case signal >= 1 && signal < len(signalTexts):
		return signalTexts[signal]
	case signal >= firstRealtime && signal <= lastRealtime:
		return "Real-time signal " + strconv.Itoa(signal-firstRealtime)
	}
	return "Unknown signal " + strconv.Itoa(signal)
}
