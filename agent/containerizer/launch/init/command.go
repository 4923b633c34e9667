package main

import (
	"syscall"
	"unsafe"

	"github.com/stoa-kernel/stoa/agent/containerizer/launch/protocol"
)

// step is one system call of the child between fork and exec.
type step struct {
	stage protocol.Stage
	call  uintptr
	args  [6]uintptr
}

// command is the task's process before it is one. All that needs thought or memory is
// done here, in the parent; the child runs through a list of system calls.
//
// The child makes its own way into the cgroups, because the cheapest move there is
// (cgroup v1, a thread writing "0" into a tasks file) takes 4 µs where moving another
// process takes the kernel's lock on all threads, about 2 ms; and because then not one
// page of the task is charged elsewhere.
type command struct {
	steps  []step
	cgroup int // directory to clone into, -1 for none
	oom    *byte
	paths  []*byte
	argv   []*byte
	env    []*byte
	shell  []*byte // argv for a script without a #! line, as execvp runs it
	failed [2]int  // pipe on which the child says why it did not become the task
	keep   []unsafe.Pointer
}

func (k *command) add(stage protocol.Stage, call int, args ...uintptr) {
	s := step{stage: stage, call: uintptr(call)}
	copy(s.args[:], args)
	k.steps = append(k.steps, s)
}

// pin makes p an argument of a step: what it points to stays where it is, and alive.
func (k *command) pin(p unsafe.Pointer) uintptr {
	k.keep = append(k.keep, p)
	return uintptr(p)
}

func (c *container) command() (*command, protocol.Stage, syscall.Errno) {
	k := &command{cgroup: -1}
	d := &c.spec
	if !c.namespaced {
		// There is no namespace that would end with the init.
		k.add(protocol.StageSession, syscall.SYS_PRCTL, prSetPdeathsig, uintptr(syscall.SIGKILL))
	}
	k.add(protocol.StageSession, syscall.SYS_SETSID)
	if d.Cgroup != "" {
		fd, err := syscall.Open(d.Cgroup, oPath|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
		if err != nil {
			return nil, protocol.StageJoin, code(err)
		}
		k.cgroup = fd
	}
	zero := &[2]byte{'0', 0}
	for _, path := range d.Tasks {
		fd, err := syscall.Open(path, syscall.O_WRONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			return nil, protocol.StageJoin, code(err)
		}
		k.add(protocol.StageJoin, syscall.SYS_WRITE, uintptr(fd), k.pin(unsafe.Pointer(zero)), 1)
	}
	for _, r := range d.Rlimits {
		limit := &[2]uint64{r.Soft, r.Hard}
		k.add(protocol.StageRlimit, syscall.SYS_PRLIMIT64, 0, uintptr(r.Resource), k.pin(unsafe.Pointer(limit)))
	}
	for i := range c.streams {
		k.add(protocol.StageDescriptors, syscall.SYS_DUP3, uintptr(c.streams[i].in), uintptr(i+1))
	}
	k.add(protocol.StageDirectory, syscall.SYS_FCHDIR, uintptr(c.sandbox))
	if errno := k.credentials(d); errno != 0 {
		return nil, protocol.StageCapabilities, errno
	}
	if d.NoNewPrivileges {
		k.add(protocol.StagePrivileges, syscall.SYS_PRCTL, prSetNoNewPrivs, 1)
	}
	if d.ResetOOMScore {
		k.oom = &[]byte("/proc/self/oom_score_adj\x00")[0]
	}

	var err error
	if k.paths, err = syscall.SlicePtrFromStrings(d.Paths); err == nil {
		k.paths = k.paths[:len(d.Paths)] // without the nil at the end
		k.argv, err = syscall.SlicePtrFromStrings(d.Argv)
	}
	if err == nil {
		k.env, err = syscall.SlicePtrFromStrings(d.Env)
	}
	if err != nil || len(d.Paths) == 0 || len(d.Argv) == 0 {
		return nil, protocol.StagePrepare, syscall.EINVAL
	}
	k.shell = append([]*byte{&[]byte("/bin/sh\x00")[0], nil}, k.argv[1:]...)
	if err := syscall.Pipe2(k.failed[:], syscall.O_CLOEXEC); err != nil {
		return nil, protocol.StageFork, code(err)
	}
	return k, 0, 0
}

// credentials adds the steps from the agent's user and capabilities to the task's.
// Inheritable capabilities end empty, except under an effective set that was asked
// for: only ambient capabilities survive the exec of an ordinary program, and the
// kernel wants those inheritable too.
func (k *command) credentials(d *protocol.Description) syscall.Errno {
	root := !d.SwitchUser && syscall.Getuid() == 0 || d.SwitchUser && d.UID == 0
	bounding := d.Bounding
	if !d.SetBounding {
		bounding = d.Effective // as Mesos: the one given stands for both
	}
	if d.SetBounding || d.SetEffective {
		for n := uintptr(0); n < 64; n++ {
			if has, errno := prctl(prCapbsetRead, n); errno != 0 {
				break
			} else if has == 1 && bounding&(1<<n) == 0 {
				k.add(protocol.StageBounding, syscall.SYS_PRCTL, prCapbsetDrop, n)
			}
		}
	}
	// As root a program gets what the bounding set leaves; only less than that, and
	// anything as another user, has to be arranged.
	ambient := d.SetEffective && (!root && d.Effective != 0 || root && d.Effective != bounding)

	header := k.pin(unsafe.Pointer(&capHeader{version: capVersion3}))
	now := new(capData)
	if _, _, errno := syscall.RawSyscall(syscall.SYS_CAPGET, header, uintptr(unsafe.Pointer(now)), 0); errno != 0 {
		return errno
	}
	if now[0].inheritable != 0 || now[1].inheritable != 0 {
		now[0].inheritable, now[1].inheritable = 0, 0 // drops the ambient ones too
		k.add(protocol.StageCapabilities, syscall.SYS_CAPSET, header, k.pin(unsafe.Pointer(now)))
	}
	if ambient {
		if root {
			k.add(protocol.StageCapabilities, syscall.SYS_PRCTL, prSetSecurebits, securebitsNoRoot)
		}
		k.add(protocol.StageCapabilities, syscall.SYS_PRCTL, prSetKeepcaps, 1)
	}
	if d.SwitchUser {
		groups := append([]uint32{}, d.Groups...)
		var first uintptr
		if len(groups) > 0 {
			first = k.pin(unsafe.Pointer(&groups[0]))
		}
		k.add(protocol.StageGroups, syscall.SYS_SETGROUPS, uintptr(len(groups)), first)
		k.add(protocol.StageGroups, syscall.SYS_SETGID, uintptr(d.GID))
		k.add(protocol.StageUser, syscall.SYS_SETUID, uintptr(d.UID))
	}
	if ambient {
		set := new(capData)
		for i := range set {
			part := uint32(d.Effective >> (32 * i))
			set[i].effective, set[i].permitted, set[i].inheritable = part, part, part
		}
		k.add(protocol.StageCapabilities, syscall.SYS_CAPSET, header, k.pin(unsafe.Pointer(set)))
		for n := uintptr(0); n < 64; n++ {
			if d.Effective&(1<<n) != 0 {
				k.add(protocol.StageCapabilities, syscall.SYS_PRCTL, prCapAmbient, prCapAmbientRaise, n)
			}
		}
	}
	return 0
}

// start forks; it returns when the child is the task, or has said why it is not.
func (k *command) start() (int, protocol.Stage, syscall.Errno) {
	var args *cloneArgs
	if k.cgroup >= 0 {
		args = &cloneArgs{flags: syscall.CLONE_VM | syscall.CLONE_VFORK | cloneIntoCgroup, exitSignal: uint64(syscall.SIGCHLD), cgroup: uint64(k.cgroup)}
	}
	pid, errno := k.fork(args)
	if errno != 0 {
		if args != nil {
			return 0, protocol.StageJoin, errno
		}
		return 0, protocol.StageFork, errno
	}
	syscall.Close(k.failed[1])
	var why [2]uint32
	b := unsafe.Slice((*byte)(unsafe.Pointer(&why)), unsafe.Sizeof(why))
	for {
		n, err := syscall.Read(k.failed[0], b)
		if err == syscall.EINTR {
			continue
		}
		syscall.Close(k.failed[0])
		k.closeCgroups()
		if n == len(b) {
			await(int(pid))
			return 0, protocol.Stage(why[0]), syscall.Errno(why[1])
		}
		return int(pid), 0, 0
	}
}

func (k *command) closeCgroups() {
	if k.cgroup >= 0 {
		syscall.Close(k.cgroup)
	}
	for _, s := range k.steps {
		if s.stage == protocol.StageJoin {
			syscall.Close(int(s.args[0]))
		}
	}
}

// vfork makes a system call that forks, the child sharing memory and stack with the
// parent, which goes on when the child has executed a program or ended: a fork that
// copies takes three times as long. The memory stays closed to the user the child becomes:
// it is not dumpable, which a change of user does not undo.
//
//go:noescape
func vfork(trap, a1, a2 uintptr) (pid, errno uintptr)

// fork makes the child. That runs in this stack frame, which the parent has left alone
// until it goes on, and never returns from it; it may only make raw system calls.
//
//go:noinline
//go:norace
//go:nocheckptr
func (k *command) fork(args *cloneArgs) (uintptr, syscall.Errno) {
	var (
		pid, n  uintptr
		number  uintptr
		errno   syscall.Errno
		i       int
		s       *step
		why     [2]uint32
		denied  bool
		action  sigaction
		mask    uint64
		zero    = [1]byte{'0'}
		failure = uintptr(k.failed[1])
	)
	if args != nil {
		pid, number = vfork(sysClone3, uintptr(unsafe.Pointer(args)), unsafe.Sizeof(*args))
	} else {
		pid, number = vfork(syscall.SYS_CLONE, syscall.CLONE_VM|syscall.CLONE_VFORK|uintptr(syscall.SIGCHLD), 0)
	}
	if pid != 0 {
		return pid, syscall.Errno(number)
	}

	// The child. Signals ignored here, or by the agent, are the task's to decide about.
	for n = 1; n <= signals; n++ {
		syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, n, uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
	}
	if k.oom != nil {
		const here = ^uintptr(99) // AT_FDCWD
		n, _, errno = syscall.RawSyscall6(syscall.SYS_OPENAT, here, uintptr(unsafe.Pointer(k.oom)), syscall.O_WRONLY|syscall.O_CLOEXEC, 0, 0, 0)
		if errno == 0 {
			_, _, errno = syscall.RawSyscall(syscall.SYS_WRITE, n, uintptr(unsafe.Pointer(&zero)), 1)
		}
		if errno != 0 {
			why[0] = uint32(protocol.StageOOMScore)
			goto fail
		}
	}
	for i = range k.steps {
		s = &k.steps[i]
		_, _, errno = syscall.RawSyscall6(s.call, s.args[0], s.args[1], s.args[2], s.args[3], s.args[4], s.args[5])
		if errno != 0 {
			why[0] = uint32(s.stage)
			goto fail
		}
	}
	// Every descriptor has the flag already; this makes it a fact. Kernels before 5.11
	// refuse.
	syscall.RawSyscall(sysCloseRange, 3, ^uintptr(0)>>32, closeRangeCloexec)
	syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, 2, uintptr(unsafe.Pointer(&mask)), 0, 8, 0, 0)

	why[0] = uint32(protocol.StageExec)
	for i = range k.paths {
		_, _, errno = syscall.RawSyscall(syscall.SYS_EXECVE, uintptr(unsafe.Pointer(k.paths[i])), uintptr(unsafe.Pointer(&k.argv[0])), uintptr(unsafe.Pointer(&k.env[0])))
		if errno == syscall.ENOEXEC {
			k.shell[1] = k.paths[i]
			_, _, errno = syscall.RawSyscall(syscall.SYS_EXECVE, uintptr(unsafe.Pointer(k.shell[0])), uintptr(unsafe.Pointer(&k.shell[0])), uintptr(unsafe.Pointer(&k.env[0])))
			goto fail
		}
		// As execvp: the rest of PATH may have it.
		if errno == syscall.EACCES {
			denied = true
		} else if errno != syscall.ENOENT && errno != syscall.ENOTDIR && errno != syscall.ESTALE && errno != syscall.ENODEV && errno != syscall.ETIMEDOUT {
			goto fail
		}
	}
	if denied {
		errno = syscall.EACCES
	}
fail:
	why[1] = uint32(errno)
	syscall.RawSyscall(syscall.SYS_WRITE, failure, uintptr(unsafe.Pointer(&why)), unsafe.Sizeof(why))
	for {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 127, 0, 0)
	}
}
