package main

import (
	"syscall"

	"github.com/stoa-kernel/stoa/agent/containerizer/launch/protocol"
)

// check is this program's other mode: it executes one command of a check in the
// namespaces it was started in, those of a container that runs, and is itself no part of
// that container's cgroup. The descriptors that come with the description are the
// command's stdout and stderr. When the command has ended, all that it started is killed,
// and the record of its end goes to the agent. An agent that goes away, or has waited
// long enough, closes the socket; then the command is killed first.
func (c *container) check() {
	c.namespaced = false // the container's init is another process
	_, errno := prctl(prSetChildSubreaper, 1)
	stage := protocol.StageSubreaper
	if errno == 0 {
		stage, errno = c.receive()
	}
	if errno == 0 {
		var err error
		c.sandbox, err = syscall.Open(c.spec.Sandbox, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
		stage, errno = protocol.StageSandbox, code(err)
	}
	c.streams[0].in, c.streams[1].in = c.dir, c.control
	var child *command
	if errno == 0 {
		child, stage, errno = c.command()
	}
	var pid int
	if errno == 0 {
		c.record.Start = now()
		pid, stage, errno = child.start()
	}
	syscall.Close(c.dir)
	syscall.Close(c.control)
	c.record.Kind, c.record.Stage, c.record.Errno = protocol.Failed, stage, uint32(errno)
	if errno == 0 {
		fd, _, failed := syscall.RawSyscall(sysPidfdOpen, uintptr(pid), 0, 0)
		if failed == 0 {
			go killAtEnd(fd)
		}
		c.record = protocol.Record{Kind: protocol.Exited, Start: c.record.Start, Wait: await(pid)}
		c.record.End = now()
		killTree()
	}
	syscall.Sendmsg(protocol.Socket, c.record.Append(nil), nil, nil, syscall.MSG_NOSIGNAL)
	exit(0)
}

// killAtEnd kills the process pidfd when the agent closes the socket.
func killAtEnd(pidfd uintptr) {
	var b [1]byte
	for {
		n, err := syscall.Read(protocol.Socket, b[:])
		if err != syscall.EINTR && (n <= 0 || err != nil) {
			break
		}
	}
	syscall.RawSyscall6(sysPidfdSendSignal, pidfd, uintptr(syscall.SIGKILL), 0, 0, 0, 0)
}
