package launch

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/stoa-kernel/stoa/agent/containerizer/launch/protocol"
)

//go:generate ./build.sh

// Program is the init's program, ready to be executed. It is one file for all
// containers, so that its pages are shared by all inits.
type Program struct {
	path   string
	memory int // -1 if it is a file in a directory
	null   int
}

// Load puts the program where it can be executed: in memory, sealed so that nothing in
// a container can change it, or, where the kernel refuses to execute from memory
// (vm.memfd_noexec=2), in a file in dir that is written anew every time.
func Load(dir string) (*Program, error) {
	p := &Program{memory: -1, null: -1}
	memory, err := sealed()
	if err == nil {
		p.memory, p.path = memory, "/proc/self/fd/"+strconv.Itoa(memory)
	} else if p.path, err = written(dir, err); err != nil {
		return nil, err
	}
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		p.Close()
		return nil, fmt.Errorf("open %s: %w", os.DevNull, err)
	}
	// Between fork and exec package syscall moves its own pipe to one above the highest
	// descriptor it was given. That must not be the program's, so null is above it.
	p.null, err = unix.FcntlInt(uintptr(null), unix.F_DUPFD_CLOEXEC, p.memory+1)
	unix.Close(null)
	if err != nil {
		p.Close()
		return nil, fmt.Errorf("duplicate a descriptor: %w", err)
	}
	if p.memory < 0 {
		return p, nil
	}
	// A kernel or a security module may let the memory be made and not be executed.
	probe, err := p.Spawn(0)
	if err == nil {
		probe.Abandon()
		return p, nil
	}
	unix.Close(p.memory)
	p.memory = -1
	if p.path, err = written(dir, err); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// InMemory reports whether the program needs no file.
func (p *Program) InMemory() bool { return p.memory >= 0 }

// Close gives the descriptors back; inits that run are not touched.
func (p *Program) Close() {
	for _, fd := range []int{p.memory, p.null} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

func sealed() (int, error) {
	const (
		mfdExec  = 0x10
		sealExec = 0x20
	)
	flags := unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("stoa-init", flags|mfdExec)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate("stoa-init", flags) // before Linux 6.3
	}
	if err != nil {
		return -1, fmt.Errorf("memfd_create: %w", err)
	}
	err = func() error {
		for rest := program; rest != ""; {
			n, err := unix.Write(fd, unsafe.Slice(unsafe.StringData(rest), len(rest)))
			if err != nil {
				return err
			}
			rest = rest[n:]
		}
		if err := unix.Fchmod(fd, 0o555); err != nil {
			return err
		}
		seals := unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_SEAL
		_, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals|sealExec)
		if errors.Is(err, unix.EINVAL) {
			_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
		}
		return err
	}()
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("seal the init in memory: %w", err)
	}
	return fd, nil
}

// written is the way out when memory cannot be executed, because of cause.
func written(dir string, cause error) (string, error) {
	sum := sha256.Sum256([]byte(program))
	path := filepath.Join(dir, "init-"+hex.EncodeToString(sum[:8]))
	temporary := path + ".new"
	// Always anew: what is there could be half written. An init that executes the old
	// file keeps it.
	os.Remove(temporary)
	err := os.WriteFile(temporary, []byte(program), 0o500)
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		return "", fmt.Errorf("the init cannot be executed from memory (%w) and not be written: %w", cause, err)
	}
	return path, nil
}

// Init is a container's init that was started by this process.
type Init struct {
	Pid int
	// PidFD stays the init's, whoever gets its number afterwards.
	PidFD int
	// Socket is the agent's end: description and go down, one report up. -1 once closed.
	Socket int
}

// Namespaces are those a container has of its own, if the agent is root, besides one for
// mounts, which the init makes when it is the first process of a pid namespace.
const Namespaces = unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS

// Spawn starts an init in new namespaces, Namespaces or 0, which waits for a
// description. It is in a session of its own and has no descriptor but its socket.
func (p *Program) Spawn(namespaces uintptr) (*Init, error) { return p.spawn(namespaces) }

func (p *Program) spawn(namespaces uintptr, env ...string) (*Init, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	defer unix.Close(pair[1])
	if err := unix.SetsockoptInt(pair[0], unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
		unix.Close(pair[0])
		return nil, fmt.Errorf("SO_PASSCRED: %w", err)
	}
	pidfd := -1
	null := uintptr(p.null)
	pid, err := syscall.ForkExec(p.path, []string{protocol.NameWaiting}, &syscall.ProcAttr{
		Dir:   "/",
		Env:   append([]string{"GOGC=off", "GOMAXPROCS=2", "GOTRACEBACK=none"}, env...),
		Files: []uintptr{null, null, null, uintptr(pair[1])},
		Sys:   &syscall.SysProcAttr{Setsid: true, Cloneflags: namespaces, PidFD: &pidfd},
	})
	if err == nil && pidfd < 0 {
		unix.Kill(pid, unix.SIGKILL) // our child, not reaped: the number is still its own
		unix.Wait4(pid, nil, 0, nil)
		err = errors.New("the kernel gives no pidfd; Linux 5.3 or later is needed")
	}
	if err != nil {
		unix.Close(pair[0])
		return nil, fmt.Errorf("start the init: %w", err)
	}
	return &Init{Pid: pid, PidFD: pidfd, Socket: pair[0]}, nil
}

// Describe sends the description. dir and control are the descriptors of the container's
// directory of records and its control pipe.
func (i *Init) Describe(d *protocol.Description, dir, control int) error {
	b := d.Append(make([]byte, 4, 4096))
	n := len(b) - 4
	if n > protocol.MaxDescription {
		return fmt.Errorf("arguments and environment take %d bytes, at most %d can be executed", n, protocol.MaxDescription)
	}
	b[0], b[1], b[2], b[3] = byte(n), byte(n>>8), byte(n>>16), byte(n>>24)
	if err := unix.Sendmsg(i.Socket, b[:4], unix.UnixRights(dir, control), nil, unix.MSG_NOSIGNAL); err != nil {
		return fmt.Errorf("send the description: %w", err)
	}
	for rest := b[4:]; len(rest) > 0; {
		n, err := unix.SendmsgN(i.Socket, rest, nil, nil, unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("send the description: %w", err)
		}
		rest = rest[n:]
	}
	return nil
}

// Go lets the init execute the task.
func (i *Init) Go() error {
	if err := unix.Sendmsg(i.Socket, []byte{protocol.Go}, nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT); err != nil {
		return fmt.Errorf("tell the init to go: %w", err)
	}
	return nil
}

// Report reads the init's report without waiting; ok is false if there is none (yet).
// Its Pid is the task's in the agent's pid namespace.
func (i *Init) Report() (r protocol.Report, ok bool) {
	var b [protocol.ReportSize]byte
	oob := make([]byte, unix.CmsgSpace(unix.SizeofUcred))
	n, oobn, _, _, err := unix.Recvmsg(i.Socket, b[:], oob, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	if err != nil || n == 0 {
		return r, false
	}
	if r, ok = protocol.ParseReport(b[:n]); !ok || r.Stage != protocol.StageNone {
		return r, ok
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err == nil && len(messages) > 0 {
		// Without namespaces the kernel filled in the init's own pid.
		if c, err := unix.ParseUnixCredentials(&messages[0]); err == nil && int(c.Pid) != i.Pid && c.Pid > 0 {
			r.Pid = c.Pid
		}
	}
	return r, true
}

// CloseSocket ends the conversation; before go, it ends the init.
func (i *Init) CloseSocket() {
	if i.Socket >= 0 {
		unix.Close(i.Socket)
		i.Socket = -1
	}
}

// Kill ends the init and, in a pid namespace, everything in it. It leaves no record.
func (i *Init) Kill() {
	if i.PidFD >= 0 {
		unix.PidfdSendSignal(i.PidFD, unix.SIGKILL, nil, 0)
	}
}

// Close lets go of the init's pidfd.
func (i *Init) Close() {
	if i.PidFD >= 0 {
		unix.Close(i.PidFD)
		i.PidFD = -1
	}
}

// Ended reports whether the init has ended.
func (i *Init) Ended() bool {
	fds := []unix.PollFd{{Fd: int32(i.PidFD), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	return n != 0 && err != unix.EINTR
}

// Reap collects the wait status of an ended init, if this process started it.
func (i *Init) Reap() {
	// By descriptor: the number may be another child's by now.
	unix.Waitid(unix.P_PIDFD, i.PidFD, nil, unix.WEXITED|unix.WNOHANG, nil)
}

// Abandon ends an init that was not told to go, and returns when it has ended.
func (i *Init) Abandon() {
	i.CloseSocket()
	i.Kill()
	for {
		if _, err := unix.Wait4(i.Pid, nil, 0, nil); err != unix.EINTR {
			break
		}
	}
	i.Close()
}
