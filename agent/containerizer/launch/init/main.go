// The init of a container: pid 1 of its namespaces, parent of the task's process, and
// all that stays of Stoa beside the task. It waits for the agent's go, executes the
// task with the credentials and limits of its description, carries its output into
// files, passes signals on, reaps what dies, kills what is left when the task's process
// has ended, and leaves a record of how it ended. It needs no agent after go.
//
// It is a program of its own, small and without the packages fmt, os and net, because
// one of it lives beside every task: package launch carries it as a built binary
// (see launch/build.sh). The garbage collector is off; nothing is allocated while a
// task runs.
//
// Threads: the main thread forks and waits for children; one goroutine reads the
// control pipe; one carries output. A disk that hangs stops only the last, so that the
// task can still be killed and its end recorded.

//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0
package main

import (
	"runtime"
	"syscall"
	"unsafe"

	"github.com/stoa-kernel/stoa/agent/containerizer/launch/protocol"
)

// container is the one this process is the init of.
type container struct {
	namespaced bool
	dir        int // of records; -1 until the description has come
	control    int
	sandbox    int
	spec       protocol.Description
	streams    [2]stream
	record     protocol.Record
}

// init keeps main on the process's first thread, whose name is the process's. In main it
// would be too late: a busy machine may have moved the goroutine to another by then.
func init() { runtime.LockOSThread() }

func main() {
	c := &container{dir: -1, namespaced: syscall.Getpid() == 1}
	setName(protocol.NameWaiting)
	// A task under the same user must not trace its init, nor reach the record through it.
	prctl(prSetDumpable, 0)
	ignoreSignals()
	syscall.Umask(0o022)
	if _, ok := syscall.Getenv("STOA_CHECK"); ok {
		c.check()
	}

	stage, errno := c.receive()
	if errno == 0 {
		stage, errno = c.isolate()
	}
	if errno == 0 {
		stage, errno = c.prepare()
	}
	var p *pump
	if errno == 0 {
		stage = protocol.StageOutput
		p, errno = newPump(c)
	}
	var child *command
	if errno == 0 {
		child, stage, errno = c.command()
	}
	if errno == 0 && !c.awaitGo() {
		c.record.Kind = protocol.Never
		c.writeRecord()
		exit(0)
	}
	var pid int
	if errno == 0 {
		c.record.Start = now()
		pid, stage, errno = child.start()
	}
	if errno != 0 {
		c.record.Kind, c.record.Stage, c.record.Errno = protocol.Failed, stage, uint32(errno)
		c.writeRecord()
		report(protocol.Report{Stage: stage, Errno: uint32(errno)}, 0)
		exit(1)
	}

	// The name is there before the report: whoever knows that the task runs may die and
	// come back, and must find it.
	setName(protocol.NameRunning)
	if c.namespaced {
		report(protocol.Report{Pid: int32(pid)}, pid)
	} else {
		report(protocol.Report{Pid: int32(pid)}, 0)
	}
	syscall.Close(protocol.Socket)

	for i := range c.streams {
		syscall.Close(c.streams[i].in)
	}
	go p.run()
	go c.obey()

	c.record.Wait = await(pid)
	c.record.End = now()
	c.record.Kind = protocol.Exited
	c.killAll()
	p.finish()
	c.record.Dropped = p.dropped()
	c.writeRecord()
	exit(0)
}

// isolate parts this process from the host, or makes it answer for its descendants. The
// mount namespace is made only here, not with the process: an init may have waited for
// its description for hours (see the containerizer's pool), and the task is to see the
// host's mounts of today. It holds for the main thread, which forks the task, and does
// all that follows by path; the other threads use descriptors.
func (c *container) isolate() (protocol.Stage, syscall.Errno) {
	if !c.namespaced {
		_, errno := prctl(prSetChildSubreaper, 1)
		return protocol.StageSubreaper, errno
	}
	if err := syscall.Unshare(syscall.CLONE_NEWNS); err != nil {
		return protocol.StagePropagation, code(err)
	}
	// Without this every mount made here would appear on the host; with it the host's
	// later ones still appear here.
	if errno := mount("", "/", "", syscall.MS_REC|syscall.MS_SLAVE); errno != 0 {
		return protocol.StagePropagation, errno
	}
	return protocol.StageProc, mount("proc", "/proc", "proc", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC)
}

// receive takes descriptors and description. An agent that goes away before is none of
// the container's business: nothing exists yet.
func (c *container) receive() (protocol.Stage, syscall.Errno) {
	var head [4]byte
	oob := make([]byte, syscall.CmsgSpace(2*4))
	n, oobn, _, _, err := syscall.Recvmsg(protocol.Socket, head[:], oob, syscall.MSG_CMSG_CLOEXEC|syscall.MSG_WAITALL)
	if n == 0 && err == nil {
		exit(0)
	}
	messages, err2 := syscall.ParseSocketControlMessage(oob[:oobn])
	if err != nil || n != len(head) || err2 != nil || len(messages) != 1 {
		return protocol.StageDescription, syscall.EPROTO
	}
	fds, err := syscall.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 2 {
		return protocol.StageDescription, syscall.EPROTO
	}
	c.dir, c.control = fds[0], fds[1]
	size := int(head[0]) | int(head[1])<<8 | int(head[2])<<16 | int(head[3])<<24
	if size > protocol.MaxDescription {
		return protocol.StageDescription, syscall.E2BIG
	}
	body := make([]byte, size)
	for at := 0; at < size; {
		n, err := syscall.Read(protocol.Socket, body[at:])
		if err == syscall.EINTR {
			continue
		}
		if n <= 0 || err != nil {
			c.record.Kind = protocol.Never
			c.writeRecord()
			exit(0)
		}
		at += n
	}
	if !c.spec.Parse(body) {
		return protocol.StageDescription, syscall.EPROTO
	}
	return 0, 0
}

// prepare makes what the task will see: sandbox, volumes, output.
func (c *container) prepare() (protocol.Stage, syscall.Errno) {
	fd, err := syscall.Open(c.spec.Sandbox, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0)
	if err != nil {
		return protocol.StageSandbox, code(err)
	}
	c.sandbox = fd
	for i := range c.spec.Mounts {
		if errno := c.volume(&c.spec.Mounts[i]); errno != 0 {
			return protocol.StageVolume, errno
		}
	}
	for i, name := range [...]string{"stdout", "stderr"} {
		if errno := c.streams[i].open(c, name); errno != 0 {
			return protocol.StageOutput, errno
		}
	}
	return 0, 0
}

// awaitGo is false if the agent went away first.
func (c *container) awaitGo() bool {
	var b [1]byte
	for {
		n, err := syscall.Read(protocol.Socket, b[:])
		if err == syscall.EINTR {
			continue
		}
		return n == 1 && err == nil && b[0] == protocol.Go
	}
}

// report tells the agent, who may not be there any more. With a pid in a namespace of
// its own the kernel translates it in the credentials.
func report(r protocol.Report, pid int) {
	var oob []byte
	if pid != 0 {
		oob = syscall.UnixCredentials(&syscall.Ucred{Pid: int32(pid), Uid: uint32(syscall.Getuid()), Gid: uint32(syscall.Getgid())})
	}
	syscall.Sendmsg(protocol.Socket, r.Append(nil), oob, nil, syscall.MSG_NOSIGNAL)
}

// writeRecord leaves the record under its name only when it is whole. There is no
// fsync: after a crash of the machine the boot id says that the container is gone.
func (c *container) writeRecord() {
	if c.dir < 0 {
		return
	}
	const temporary = protocol.RecordFile + ".new"
	fd, err := syscall.Openat(c.dir, temporary, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_TRUNC|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return
	}
	b := c.record.Append(nil)
	n, err := syscall.Write(fd, b)
	syscall.Close(fd)
	if err == nil && n == len(b) {
		syscall.Renameat(c.dir, temporary, c.dir, protocol.RecordFile)
	}
}

// exit ends all threads without the runtime's leave-taking.
func exit(status int) {
	for {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, uintptr(status), 0, 0)
	}
}

func now() int64 {
	var t syscall.Timeval
	syscall.Gettimeofday(&t)
	return t.Nano()
}

func setName(name string) {
	var b [16]byte
	copy(b[:15], name)
	prctl(prSetName, uintptr(unsafe.Pointer(&b)))
}

// ignoreSignals leaves the init to the control pipe alone: what a shutting down machine
// or root in the container sends to everyone does not end it before the task. SIGCHLD
// stays at its default, because ignoring it would lose wait statuses.
func ignoreSignals() {
	action := sigaction{handler: sigIgnore}
	for s := uintptr(1); s <= signals; s++ {
		if s != uintptr(syscall.SIGKILL) && s != uintptr(syscall.SIGSTOP) && s != uintptr(syscall.SIGCHLD) {
			syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, s, uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
		}
	}
	action.handler = sigDefault
	syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(syscall.SIGCHLD), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
}
