package main

import (
	"sync"
	"syscall"
	"unsafe"
)

// waitAll asks wait4 for children that were cloned with another signal too.
const waitAll = 0x40000000

// await reaps until pid has ended and returns its wait status.
func await(pid int) int32 {
	var status syscall.WaitStatus
	for {
		got, err := syscall.Wait4(-1, &status, waitAll, nil)
		if got == pid {
			return int32(status)
		}
		if err != nil && err != syscall.EINTR {
			// Cannot be: pid is a child nobody else waits for.
			return int32(syscall.SIGKILL)
		}
	}
}

// obey passes the signals of the control pipe on. It starts only after the task's
// program was executed: before, the child ignores what the init ignores, and a SIGTERM
// would be lost. The pipe keeps it until then.
func (c *container) obey() {
	var b [16]byte
	for {
		n, err := syscall.Read(c.control, b[:])
		if err == syscall.EINTR {
			continue
		}
		if n <= 0 || err != nil {
			return // cannot be: the descriptor is a writer too
		}
		for _, s := range b[:n] {
			if s > 0 && s <= signals {
				c.signalAll(syscall.Signal(s))
			}
		}
	}
}

// signalAll sends to every process of the container but this one.
func (c *container) signalAll(s syscall.Signal) {
	if c.namespaced {
		syscall.Kill(-1, s) // one pass under the kernel's lock: no fork escapes it
		return
	}
	signalTree(s, false)
}

// killAll returns when nothing of the container is left.
func (c *container) killAll() {
	if !c.namespaced {
		killTree()
		return
	}
	syscall.Kill(-1, syscall.SIGKILL)
	for {
		if _, err := syscall.Wait4(-1, nil, waitAll, nil); err == syscall.ECHILD {
			return
		}
	}
}

// killTree is killAll without a pid namespace. Orphans become children of this process,
// the subreaper, so the tree below it is all there is. What was sent SIGSTOP cannot fork
// any more, stopped already or not: once a pass finds nothing new, none can get away.
// (To wait until all are stopped would not do: a process in vfork is not before its child
// has executed something, and the child is stopped.) A process takes a moment to die; the
// passes, each of which reads all of /proc, leave it that, or a few containers that end
// together would keep a machine busy.
func killTree() {
	if childless() {
		return
	}
	for signalTree(syscall.SIGSTOP, true) {
	}
	for wait := shortestPause; ; wait = min(2*wait, longestPause) {
		signalTree(syscall.SIGKILL, true)
		pause(wait)
		if childless() {
			return
		}
	}
}

// childless reaps what has ended and reports whether that was all.
func childless() bool {
	for {
		got, err := syscall.Wait4(-1, nil, waitAll|syscall.WNOHANG, nil)
		if err == syscall.ECHILD {
			return true
		}
		if got <= 0 {
			return false
		}
	}
}

// Pauses between two passes, in nanoseconds.
const (
	shortestPause int64 = 100_000
	longestPause  int64 = 20_000_000
)

func pause(ns int64) {
	t := syscall.NsecToTimespec(ns)
	syscall.Nanosleep(&t, nil)
}

// process is a line of /proc.
type process struct {
	pid, parent int32
	state       byte
	mine        bool
}

// The table of processes is only used without a pid namespace. It is static: it costs
// address space, not memory, until used.
var (
	scanning sync.Mutex // held over what follows, which two threads use

	table   [1 << 15]process
	known   [1 << 22 / 8]byte // a bit for each pid there can be, set with final
	entries [32 << 10]byte
	stat    [512]byte
)

// signalTree sends s to all descendants of this process. With final it reports whether
// one of them was new to it.
func signalTree(s syscall.Signal, final bool) (found bool) {
	scanning.Lock()
	defer scanning.Unlock()
	n := scan()
	self := int32(syscall.Getpid())
	for changed := true; changed; {
		changed = false
		for i := range table[:n] {
			p := &table[i]
			if !p.mine && (p.parent == self || descendant(n, p.parent)) {
				p.mine, changed = true, true
			}
		}
	}
	for i := range table[:n] {
		p := &table[i]
		if !p.mine || p.state == 'Z' || p.state == 'X' {
			continue
		}
		if final {
			at, bit := int(p.pid)/8%len(known), byte(1)<<(p.pid%8)
			found = found || known[at]&bit == 0
			known[at] |= bit
		}
		send(p, s)
	}
	return found
}

// descendant looks pid up in the table, which is in order: /proc is read so.
func descendant(n int, pid int32) bool {
	low, high := 0, n
	for low < high {
		if mid := (low + high) / 2; table[mid].pid < pid {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low < n && table[low].pid == pid && table[low].mine
}

// send signals through a pidfd, which stays the process it was opened for: if that
// still has the parent it was found under, or lost it to this process, it is the one
// that was meant.
func send(p *process, s syscall.Signal) {
	fd, _, errno := syscall.RawSyscall(sysPidfdOpen, uintptr(p.pid), 0, 0)
	if errno != 0 {
		return
	}
	again := process{pid: p.pid}
	if read(&again) && (again.parent == p.parent || again.parent == int32(syscall.Getpid())) {
		syscall.RawSyscall6(sysPidfdSendSignal, fd, uintptr(s), 0, 0, 0, 0)
	}
	syscall.Close(int(fd))
}

// scan fills the table from /proc.
func scan() (n int) {
	dir, err := syscall.Open("/proc", syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer syscall.Close(dir)
	for {
		size, _, errno := syscall.RawSyscall(syscall.SYS_GETDENTS64, uintptr(dir), uintptr(unsafe.Pointer(&entries)), uintptr(len(entries)))
		if errno != 0 || size == 0 {
			return n
		}
		for at := 0; at < int(size); {
			e := (*syscall.Dirent)(unsafe.Pointer(&entries[at]))
			at += int(e.Reclen)
			var pid int32
			for _, b := range e.Name {
				if b < '0' || b > '9' {
					if b != 0 {
						pid = 0
					}
					break
				}
				pid = pid*10 + int32(b-'0')
			}
			if pid > 0 && n < len(table) {
				table[n] = process{pid: pid}
				if read(&table[n]) {
					n++
				}
			}
		}
	}
}

// read fills in parent and state from /proc/PID/stat.
func read(p *process) bool {
	var path [32]byte
	b := append(path[:0], "/proc/"...)
	var digits [10]byte
	i := len(digits)
	for v := p.pid; v > 0; v /= 10 {
		i--
		digits[i] = byte('0' + v%10)
	}
	b = append(b, digits[i:]...)
	b = append(b, "/stat\x00"...)
	const here = ^uintptr(99) // AT_FDCWD
	fd, _, errno := syscall.RawSyscall6(syscall.SYS_OPENAT, here, uintptr(unsafe.Pointer(&b[0])), syscall.O_RDONLY|syscall.O_CLOEXEC, 0, 0, 0)
	if errno != 0 {
		return false
	}
	n, err := syscall.Read(int(fd), stat[:])
	syscall.Close(int(fd))
	if err != nil || n <= 0 {
		return false
	}
	// "pid (name) S parent": the name may hold anything, but the last parenthesis ends it.
	end := n - 1
	for end > 0 && stat[end] != ')' {
		end--
	}
	if end+4 >= n {
		return false
	}
	p.state, p.parent = stat[end+2], 0
	for _, b := range stat[end+4 : n] {
		if b < '0' || b > '9' {
			break
		}
		p.parent = p.parent*10 + int32(b-'0')
	}
	return true
}
