package main

import (
	"syscall"
	"unsafe"
)

// What package syscall lacks; the numbers are the same on amd64 and arm64.
const (
	sysPidfdSendSignal = 424
	sysOpenTree        = 428
	sysMoveMount       = 429
	sysPidfdOpen       = 434
	sysClone3          = 435
	sysCloseRange      = 436
	sysOpenat2         = 437
	sysMountSetattr    = 442

	prSetPdeathsig      = 1
	prSetDumpable       = 4
	prSetKeepcaps       = 8
	prSetName           = 15
	prCapbsetRead       = 23
	prCapbsetDrop       = 24
	prSetSecurebits     = 28
	prSetChildSubreaper = 36
	prSetNoNewPrivs     = 38
	prCapAmbient        = 47
	prCapAmbientRaise   = 2
	prCapAmbientClear   = 4

	securebitsNoRoot = 1<<0 | 1<<1 // and locked

	cloneIntoCgroup = 0x200000000

	closeRangeCloexec = 1 << 2

	atEmptyPath       = 0x1000
	atRecursive       = 0x8000
	oPath             = 0x200000
	openTreeClone     = 1
	moveMountFromFd   = 0x4
	moveMountToFd     = 0x40
	mountAttrReadOnly = 1
	resolveStrict     = 0x02 | 0x04 | 0x08 // no magic links, no symlinks, beneath

	signals    = 64
	sigDefault = 0
	sigIgnore  = 1

	pollIn  = 1
	pollErr = 8
	pollHup = 16
)

// sigaction is the kernel's, whose layout arm64 and amd64 share.
type sigaction struct {
	handler, flags, restorer, mask uintptr
}

type pollFd struct {
	fd              int32
	events, revents int16
}

type openHow struct {
	flags, mode, resolve uint64
}

type mountAttr struct {
	set, clear, propagation, userns uint64
}

type cloneArgs struct {
	flags, pidFD, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
}

type capHeader struct {
	version uint32
	pid     int32
}

type capData [2]struct{ effective, permitted, inheritable uint32 }

const capVersion3 = 0x20080522

func prctl(option int, arg uintptr) (uintptr, syscall.Errno) {
	r, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, uintptr(option), arg, 0, 0, 0, 0)
	return r, errno
}

func mount(source, target, kind string, flags uintptr) syscall.Errno {
	return code(syscall.Mount(source, target, kind, flags, ""))
}

// code is the number of an error of package syscall, which has no other errors for
// the calls made here than Errno.
func code(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	if e, ok := err.(syscall.Errno); ok {
		return e
	}
	return syscall.EINVAL
}

// poll waits for at most timeout milliseconds, -1 is forever.
func poll(fds []pollFd, timeout int64) int {
	var limit *syscall.Timespec
	if timeout >= 0 {
		t := syscall.NsecToTimespec(timeout * 1e6)
		limit = &t
	}
	n, _, errno := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&fds[0])), uintptr(len(fds)), uintptr(unsafe.Pointer(limit)), 0, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

func openat2(dir int, path string, flags uint64) (int, syscall.Errno) {
	p, err := syscall.BytePtrFromString(path)
	if err != nil {
		return -1, syscall.EINVAL
	}
	how := openHow{flags: flags | syscall.O_CLOEXEC, resolve: resolveStrict}
	for {
		fd, _, errno := syscall.Syscall6(sysOpenat2, uintptr(dir), uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(&how)), unsafe.Sizeof(how), 0, 0)
		if errno == syscall.EINTR || errno == syscall.EAGAIN {
			continue // EAGAIN: something was renamed meanwhile
		}
		return int(fd), errno
	}
}
