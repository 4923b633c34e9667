// Package protocol is what the agent and a container's init say to each other: the
// description of what to execute, the report that it was executed, and the record of
// how it ended. It imports nothing, for the init is built of little else.
//
// The two talk over a socket pair. The agent sends the length of the description (four
// bytes, little endian) together with two descriptors, the container's directory of
// records and its control pipe, then the description, then, when it has written down
// who the init is, the byte Go. The end of the stream before Go makes the init end
// without executing anything. The init answers with one Report.
//
// What outlives the agent: the record, a file in the container's directory, and the
// control pipe, a FIFO beside it, into which every byte written is the number of a
// signal for all processes of the container but the init.
//
// Init and agent may be of different releases, for an init lives as long as its task:
// Record has a version, and a byte of the control pipe will never mean something else.
package protocol

// Names in a container's directory of records.
const (
	ControlFile = "control"
	RecordFile  = "exit"
)

// Names the init gives itself (at most 15 bytes), which tell an agent that comes back
// how far it is. NameRunning is set once the task's program was executed.
const (
	NameWaiting = "stoa-init"
	NameRunning = "stoa-init:run"
)

// Go is the byte that lets the init execute the task.
const Go = 'G'

// Socket is the descriptor at which the init finds its end of the socket pair.
const Socket = 3

// MaxDescription bounds a description: the kernel's own bound on arguments and
// environment is 2 MiB by default, 6 MiB at most.
const MaxDescription = 8 << 20

// Description is what to execute and how.
type Description struct {
	// Sandbox becomes the working directory and holds stdout and stderr; absolute.
	Sandbox string
	// Paths are tried in order, as execvp does with PATH.
	Paths, Argv, Env []string
	// SwitchUser makes UID, GID and Groups the task's.
	SwitchUser      bool
	UID, GID        uint32
	Groups          []uint32
	NoNewPrivileges bool
	// ResetOOMScore makes the task's oom_score_adj 0 where the agent's is not.
	ResetOOMScore bool
	// Tasks are cgroup v1 files the child writes itself into.
	Tasks []string
	// Cgroup is the cgroup v2 directory the child is cloned into, "" for none.
	Cgroup  string
	Rlimits []Rlimit
	// Bounding and Effective are sets of capabilities, one bit each, which count with
	// SetBounding and SetEffective.
	SetBounding, SetEffective bool
	Bounding, Effective       uint64
	Mounts                    []Mount
	// LogSize is the size in bytes at which stdout and stderr are rotated, LogCount how
	// many files each may have.
	LogSize  int64
	LogCount uint32
}

// Rlimit is one argument of setrlimit.
type Rlimit struct {
	Resource   uint32
	Soft, Hard uint64
}

// Mount binds the directory Source, absolute, at Target, relative to the sandbox.
type Mount struct {
	Source, Target string
	ReadOnly       bool
}

// Stage says where a launch failed.
type Stage uint8

// The stages, in the order the init goes through them. The order is part of the
// records' format: add at the end.
const (
	StageNone Stage = iota
	StagePropagation
	StageProc
	StageSubreaper
	StageDescription
	StageSandbox
	StageVolume
	StageOutput
	StagePrepare
	StageFork
	StageSession
	StageJoin
	StageOOMScore
	StageRlimit
	StageDescriptors
	StageDirectory
	StageBounding
	StageGroups
	StageUser
	StageCapabilities
	StagePrivileges
	StageExec
)

var stages = [...]string{
	StageNone:         "start",
	StagePropagation:  "make the mounts of the host private",
	StageProc:         "mount a fresh /proc",
	StageSubreaper:    "become the reaper of the container's processes",
	StageDescription:  "read the launch description",
	StageSandbox:      "open the sandbox",
	StageVolume:       "mount a volume",
	StageOutput:       "open stdout and stderr in the sandbox",
	StagePrepare:      "prepare the command",
	StageFork:         "fork",
	StageSession:      "start a session",
	StageJoin:         "enter the cgroup",
	StageOOMScore:     "reset oom_score_adj",
	StageRlimit:       "set a resource limit",
	StageDescriptors:  "arrange the descriptors",
	StageDirectory:    "enter the sandbox",
	StageBounding:     "bound the capabilities",
	StageGroups:       "set the groups",
	StageUser:         "become the user",
	StageCapabilities: "set the capabilities",
	StagePrivileges:   "set no_new_privs",
	StageExec:         "execute",
}

// String is a verb phrase: "cannot " + String() reads as a sentence.
func (s Stage) String() string {
	if int(s) < len(stages) {
		return stages[s]
	}
	return "start"
}

// Report is what the init answers to Go, or before it when it cannot go on.
type Report struct {
	// Stage and Errno say what failed; StageNone means that the task was executed.
	Stage Stage
	Errno uint32
	// Pid of the task's process as the init sees it. In a pid namespace the agent takes
	// the one in the message's credentials instead, which the kernel translates.
	Pid int32
}

// ReportSize is the length of an encoded report.
const ReportSize = 12

// Append encodes r.
func (r *Report) Append(b []byte) []byte {
	b = append(b, 'R', byte(r.Stage), 0, 0)
	b = append32(b, r.Errno)
	return append32(b, uint32(r.Pid))
}

// ParseReport decodes what Append encoded.
func ParseReport(b []byte) (r Report, ok bool) {
	if len(b) != ReportSize || b[0] != 'R' {
		return r, false
	}
	return Report{Stage: Stage(b[1]), Errno: get32(b[4:]), Pid: int32(get32(b[8:]))}, true
}

// Kind says how far a container had come when its init ended.
type Kind uint8

const (
	// Never: the agent went away before it said go, nothing was executed.
	Never Kind = 1 + iota
	// Failed: Stage and Errno say why nothing was executed.
	Failed
	// Exited: Wait is the wait status of the task's process.
	Exited
)

// Record is what an init leaves behind.
type Record struct {
	Kind  Kind
	Stage Stage
	Errno uint32
	Wait  int32
	// Start and End are Unix nanoseconds of the execution and of the process's end.
	Start, End int64
	// Dropped is how many bytes of output could not be written.
	Dropped int64
}

const (
	recordMagic   = "stox"
	recordVersion = 1
	recordSize    = 40
)

// Append encodes r.
func (r *Record) Append(b []byte) []byte {
	b = append(b, recordMagic...)
	b = append(b, recordVersion, byte(r.Kind), byte(r.Stage), 0)
	b = append32(b, r.Errno)
	b = append32(b, uint32(r.Wait))
	b = append64(b, uint64(r.Start))
	b = append64(b, uint64(r.End))
	return append64(b, uint64(r.Dropped))
}

// ParseRecord decodes what Append encoded; ok is false for anything else, a record of
// another version too.
func ParseRecord(b []byte) (r Record, ok bool) {
	if len(b) != recordSize || string(b[:4]) != recordMagic || b[4] != recordVersion {
		return r, false
	}
	r = Record{
		Kind: Kind(b[5]), Stage: Stage(b[6]), Errno: get32(b[8:]), Wait: int32(get32(b[12:])),
		Start: int64(get64(b[16:])), End: int64(get64(b[24:])), Dropped: int64(get64(b[32:])),
	}
	return r, r.Kind >= Never && r.Kind <= Exited
}
