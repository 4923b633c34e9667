package main

import (
	"syscall"
	"unsafe"

	"github.com/stoa-kernel/stoa/agent/containerizer/launch/protocol"
)

// volume makes the directory m.Source appear at m.Target in the sandbox: as a mount in
// the container's own mount namespace, or as a symbolic link where there is none (as
// Mesos's filesystem/posix isolator does). What was fetched into the sandbox may hold
// links, so the target is walked without following any, and mounted by descriptor.
func (c *container) volume(m *protocol.Mount) syscall.Errno {
	parent, name, errno := c.parent(m.Target)
	if errno != 0 {
		return errno
	}
	defer syscall.Close(parent)
	if !c.namespaced {
		return link(m.Source, parent, name)
	}
	if errno := c.makeDir(parent, name); errno != 0 {
		return errno
	}
	target, errno := openat2(parent, name, oPath|syscall.O_DIRECTORY)
	if errno != 0 {
		return errno
	}
	defer syscall.Close(target)

	source, err := syscall.BytePtrFromString(m.Source)
	if err != nil {
		return syscall.EINVAL
	}
	const here = ^uintptr(99) // AT_FDCWD, -100
	fd, _, errno := syscall.Syscall(sysOpenTree, here, uintptr(unsafe.Pointer(source)), openTreeClone|syscall.O_CLOEXEC|atRecursive)
	if errno != 0 {
		return errno
	}
	defer syscall.Close(int(fd))
	var empty [1]byte
	if m.ReadOnly {
		attr := mountAttr{set: mountAttrReadOnly}
		_, _, errno := syscall.Syscall6(sysMountSetattr, fd, uintptr(unsafe.Pointer(&empty)), atEmptyPath|atRecursive, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
		if errno != 0 {
			return errno
		}
	}
	_, _, errno = syscall.Syscall6(sysMoveMount, fd, uintptr(unsafe.Pointer(&empty)), uintptr(target), uintptr(unsafe.Pointer(&empty)), moveMountFromFd|moveMountToFd, 0)
	return errno
}

// parent opens the directory that holds target's last element, making those above it
// that are missing.
func (c *container) parent(target string) (fd int, name string, errno syscall.Errno) {
	fd, errno = openat2(c.sandbox, ".", oPath|syscall.O_DIRECTORY)
	for errno == 0 {
		i := 0
		for i < len(target) && target[i] != '/' {
			i++
		}
		name = target[:i]
		if name == "" || name == "." || name == ".." {
			errno = syscall.EINVAL
			break
		}
		if i == len(target) {
			return fd, name, 0
		}
		target = target[i+1:]
		if errno = c.makeDir(fd, name); errno != 0 {
			break
		}
		var next int
		next, errno = openat2(fd, name, oPath|syscall.O_DIRECTORY)
		syscall.Close(fd)
		fd = next
	}
	if fd >= 0 {
		syscall.Close(fd)
	}
	return -1, "", errno
}

// makeDir makes a directory for the task's user; one that exists is left alone.
func (c *container) makeDir(dir int, name string) syscall.Errno {
	err := syscall.Mkdirat(dir, name, 0o755)
	if err == syscall.EEXIST {
		return 0
	}
	if err == nil && c.spec.SwitchUser {
		const noFollow = 0x100 // AT_SYMLINK_NOFOLLOW
		err = syscall.Fchownat(dir, name, int(c.spec.UID), int(c.spec.GID), noFollow)
	}
	return code(err)
}

func link(source string, dir int, name string) syscall.Errno {
	from, err := syscall.BytePtrFromString(source)
	if err != nil {
		return syscall.EINVAL
	}
	to, err := syscall.BytePtrFromString(name)
	if err != nil {
		return syscall.EINVAL
	}
	_, _, errno := syscall.Syscall(syscall.SYS_SYMLINKAT, uintptr(unsafe.Pointer(from)), uintptr(dir), uintptr(unsafe.Pointer(to)))
	return errno
}
