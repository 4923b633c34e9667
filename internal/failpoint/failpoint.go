// Package failpoint kills the process at a named place, so that tests can ask what
// survives a crash exactly there. STOA_FAILPOINT=name kills at the first time the place
// is reached, name:n at the nth. The death is a SIGKILL to the own process: no
// deferred call runs, no buffer is flushed, as with kill -9 or the OOM killer.
//
// The places are compiled into the shipped program, so that what is tested is what
// runs; one that is not armed costs the comparison of a pointer with nil.
package failpoint

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// Variable is the environment variable that arms a place.
const Variable = "STOA_FAILPOINT"

// The places, in the order a task meets them.
const (
	BeforeLaunchRecord   = "before-launch-record"   // the master's RunTask was taken, nothing is written
	AfterLaunchRecord    = "after-launch-record"    // the launch is written, nothing is forked
	AfterFork            = "after-fork"             // the init waits for go, its pid is not recorded
	BeforeGo             = "before-go"              // the pid is recorded
	AfterGo              = "after-go"               // the command runs
	BeforeRunningSync    = "before-running-sync"    // TASK_RUNNING is written, not on disk
	AfterRunningSync     = "after-running-sync"     // TASK_RUNNING is on disk, not sent
	BeforeTerminalSync   = "before-terminal-sync"   // the terminal update is written, not on disk
	AfterTerminalSync    = "after-terminal-sync"    // the terminal update is on disk, not sent
	AfterUpdateSent      = "after-update-sent"      // an update was given to the link
	BeforeAckRecord      = "before-ack-record"      // the acknowledgement came, nothing is written
	AfterAckRecord       = "after-ack-record"       // the acknowledgement is written
	BeforeExecutorAnswer = "before-executor-answer" // an executor's update is on disk, not answered
	BeforeCompaction     = "before-compaction"      // the log is to be replaced by a snapshot
	AfterCompaction      = "after-compaction"       // the log was replaced
	BeforeSandboxRemoved = "before-sandbox-removed" // a sandbox is to be removed
)

var names = []string{
	BeforeLaunchRecord, AfterLaunchRecord, AfterFork, BeforeGo, AfterGo, BeforeRunningSync, AfterRunningSync,
	BeforeTerminalSync, AfterTerminalSync, AfterUpdateSent, BeforeAckRecord, AfterAckRecord, BeforeExecutorAnswer,
	BeforeCompaction, AfterCompaction, BeforeSandboxRemoved,
}

// Names lists the places, in the order a task meets them.
func Names() []string { return slices.Clone(names) }

type point struct {
	name string
	left atomic.Int64
}

var armed, parseErr = parse(os.Getenv(Variable))

func parse(text string) (*point, error) {
	if text == "" {
		return nil, nil
	}
	name, count, counted := strings.Cut(text, ":")
	p := &point{name: name}
	p.left.Store(1)
	if counted {
		n, err := strconv.ParseInt(count, 10, 64)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%s=%s: the count after the colon must be a positive number", Variable, text)
		}
		p.left.Store(n)
	}
	if !slices.Contains(names, name) {
		return nil, fmt.Errorf("%s=%s: no such failpoint; there are %s", Variable, text, strings.Join(names, ", "))
	}
	return p, nil
}

// Err says what is wrong with STOA_FAILPOINT: a role that has failpoints refuses to
// start with a wrong one, since a test would wait for a death that never comes.
func Err() error { return parseErr }

// Here kills the process if the place name is armed and its time has come.
func Here(name string) {
	if armed == nil || armed.name != name || armed.left.Add(-1) != 0 {
		return
	}
	// The signal is handled before the call returns to this thread.
	syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
	select {}
}
