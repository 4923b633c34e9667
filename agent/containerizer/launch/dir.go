// Package launch starts containers' inits and talks to them. The init itself is the
// program in launch/init, carried here in its built form; launch/protocol is what is
// said.
package launch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/stoa-kernel/stoa/agent/containerizer/launch/protocol"
	"github.com/stoa-kernel/stoa/internal/procfile"
)

// Dir is a container's directory of records, mode 0700 and outside the sandbox:
//
//	control   FIFO the init reads signal numbers from
//	exit      the record of the end, once there is one
type Dir string

// Make makes the directory and the control pipe.
func (d Dir) Make() error {
	if err := os.Mkdir(string(d), 0o700); err != nil {
		return fmt.Errorf("make the container's directory: %w", err)
	}
	pipe := filepath.Join(string(d), protocol.ControlFile)
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		return fmt.Errorf("make %s: %w", pipe, err)
	}
	return nil
}

// Open opens directory and control pipe for Describe. The caller closes them.
func (d Dir) Open() (dir, control int, err error) {
	pipe := filepath.Join(string(d), protocol.ControlFile)
	dir, err = unix.Open(string(d), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, -1, fmt.Errorf("open %s: %w", d, err)
	}
	// For reading and writing: opening does not wait, and reading never ends.
	control, err = unix.Open(pipe, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		unix.Close(dir)
		return -1, -1, fmt.Errorf("open %s: %w", pipe, err)
	}
	return dir, control, nil
}

// ErrGone says that a container has no init any more.
var ErrGone = errors.New("the container's init has ended")

// Signal asks the init to send signal to every process of its container. It works
// whoever started the init; no pid is involved.
func (d Dir) Signal(signal int) error {
	if signal < 1 || signal > 64 {
		return fmt.Errorf("signal %d: there are signals from 1 to 64", signal)
	}
	fd, err := unix.Open(filepath.Join(string(d), protocol.ControlFile), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENOENT) {
		return ErrGone
	}
	if err != nil {
		return fmt.Errorf("open %s of %s: %w", protocol.ControlFile, d, err)
	}
	defer unix.Close(fd)
	// A full pipe holds 64 Ki signals that wait to be sent; one more adds nothing.
	if _, err := unix.Write(fd, []byte{byte(signal)}); err != nil && !errors.Is(err, unix.EAGAIN) {
		return fmt.Errorf("write to %s of %s: %w", protocol.ControlFile, d, err)
	}
	return nil
}

// Alive reports whether some init has the control pipe open.
func (d Dir) Alive() bool {
	fd, err := unix.Open(filepath.Join(string(d), protocol.ControlFile), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}

// Record reads the record of the end; ok is false if there is none, or none this
// release understands.
func (d Dir) Record() (r protocol.Record, ok bool) {
	b, err := procfile.Read(filepath.Join(string(d), protocol.RecordFile))
	if err != nil {
		return r, false
	}
	return protocol.ParseRecord(b)
}

// Remove deletes the directory with all records.
func (d Dir) Remove() error {
	for _, file := range []string{protocol.RecordFile, protocol.ControlFile} {
		_ = unix.Unlink(filepath.Join(string(d), file)) // or it hinders what follows
	}
	if err := unix.Rmdir(string(d)); err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return os.RemoveAll(string(d))
}

// BootID identifies the current run of the machine's kernel.
func BootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read the boot id: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// Status is what /proc says of a process.
type Status struct {
	// Name is the command's name, which an init chooses itself.
	Name string
	// State is R, S, Z and so on.
	State byte
	// StartTime is in clock ticks since boot: with the boot id and the pid it names a
	// process for good.
	StartTime uint64
}

// Inspect reads /proc/PID/stat.
func Inspect(pid int) (Status, error) {
	b, err := procfile.Read("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return Status{}, err
	}
	s := string(b)
	// "pid (name) state …", and the name may contain anything.
	open, shut := strings.IndexByte(s, '('), strings.LastIndexByte(s, ')')
	if open < 0 || shut < open {
		return Status{}, fmt.Errorf("/proc/%d/stat: no name in %q", pid, s)
	}
	fields := strings.Fields(s[shut+1:])
	if len(fields) < 20 {
		return Status{}, fmt.Errorf("/proc/%d/stat: %d fields after the name", pid, len(fields))
	}
	start, err := strconv.ParseUint(fields[19], 10, 64) // the 22nd of the line
	if err != nil {
		return Status{}, fmt.Errorf("/proc/%d/stat: %w", pid, err)
	}
	return Status{Name: s[open+1 : shut], State: fields[0][0], StartTime: start}, nil
}

// Child finds the task's process below an adopted init: its oldest child. It is 0 if
// there is none any more. In a container the main process is the first child; others
// are orphans that were handed to the init later.
func Child(init int) int {
	threads, err := os.ReadDir("/proc/" + strconv.Itoa(init) + "/task")
	if err != nil {
		return 0
	}
	oldest, since := 0, uint64(0)
	for _, t := range threads {
		b, err := os.ReadFile("/proc/" + strconv.Itoa(init) + "/task/" + t.Name() + "/children")
		if err != nil {
			continue
		}
		for _, f := range strings.Fields(string(b)) {
			pid, err := strconv.Atoi(f)
			if err != nil {
				continue
			}
			if s, err := Inspect(pid); err == nil && (oldest == 0 || s.StartTime < since) {
				oldest, since = pid, s.StartTime
			}
		}
	}
	return oldest
}

// Explain turns a failed launch into a sentence; path is the program's, if it is known.
func Explain(stage protocol.Stage, errno uint32, path string) string {
	what := "cannot " + stage.String()
	switch {
	case stage != protocol.StageExec:
	case path == "":
		what += " the command" // of a former agent's container
	default:
		what += " " + strconv.Quote(path)
	}
	text := what + ": " + syscall.Errno(errno).Error()
	switch {
	case stage == protocol.StageExec && syscall.Errno(errno) == syscall.ENOENT:
		text += "; is it installed on this agent, and in the task's PATH?"
	case stage == protocol.StageExec && syscall.Errno(errno) == syscall.EACCES:
		text += "; may the task's user execute it?"
	case stage == protocol.StageFork && syscall.Errno(errno) == syscall.EAGAIN:
		text += "; a bound on processes was reached"
	}
	return text
}
