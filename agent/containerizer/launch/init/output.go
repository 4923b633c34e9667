package main

import (
	"syscall"
)

// stream is one of the task's outputs on its way into a file of the sandbox.
//
// The sandbox is the task's: it may have put anything under the names used here, and
// the init may be root. So a file is only written to that was opened without following
// a link and is a regular file nobody else holds a link to; later ones are created.
type stream struct {
	c       *container
	name    string
	in      int // the pipe's write end until the fork
	out     int // the pipe's read end
	file    int // -1 while there is none
	size    int64
	ended   bool
	dropped int64 // bytes since the last note
	total   int64 // bytes dropped ever
	why     syscall.Errno
}

const openFlags = syscall.O_WRONLY | syscall.O_APPEND | syscall.O_CREAT | syscall.O_NOFOLLOW | syscall.O_NONBLOCK | syscall.O_CLOEXEC

// open makes pipe and file; the file may exist, with the fetcher's output.
func (s *stream) open(c *container, name string) syscall.Errno {
	s.c, s.name = c, name
	var p [2]int
	if err := syscall.Pipe2(p[:], syscall.O_CLOEXEC); err != nil {
		return code(err)
	}
	s.out, s.in = p[0], p[1]
	if err := syscall.SetNonblock(s.out, true); err != nil {
		return code(err)
	}
	return s.openFile()
}

func (s *stream) openFile() syscall.Errno {
	s.file = -1
	fd, err := syscall.Openat(s.c.sandbox, s.name, openFlags, 0o644)
	var st syscall.Stat_t
	if err == nil {
		err = syscall.Fstat(fd, &st)
		if err == nil && (st.Mode&syscall.S_IFMT != syscall.S_IFREG || st.Nlink != 1) {
			err = syscall.ELOOP
		}
		if err != nil {
			syscall.Close(fd)
		}
	}
	if err != nil {
		return s.create()
	}
	s.file, s.size = fd, st.Size
	s.own()
	return 0
}

// create makes the file anew in place of whatever has its name.
func (s *stream) create() syscall.Errno {
	s.file, s.size = -1, 0
	fd, err := syscall.Openat(s.c.sandbox, s.name, openFlags|syscall.O_EXCL, 0o644)
	if err == syscall.EEXIST {
		if err = syscall.Unlinkat(s.c.sandbox, s.name); err == nil {
			fd, err = syscall.Openat(s.c.sandbox, s.name, openFlags|syscall.O_EXCL, 0o644)
		}
	}
	if err != nil {
		return code(err)
	}
	s.file = fd
	s.own()
	return 0
}

func (s *stream) own() {
	if s.c.spec.SwitchUser {
		syscall.Fchown(s.file, int(s.c.spec.UID), int(s.c.spec.GID))
	}
}

// rotate moves name to name.1, name.1 to name.2 and so on, LogCount files in all. What
// cannot be moved is cut off instead: the bound holds in any case.
func (s *stream) rotate() {
	moved := s.c.spec.LogCount > 1
	for i := int(s.c.spec.LogCount) - 1; i > 0 && moved; i-- {
		from := s.name
		if i > 1 {
			from = numbered(s.name, i-1)
		}
		if err := syscall.Renameat(s.c.sandbox, from, s.c.sandbox, numbered(s.name, i)); err != nil && i == 1 {
			moved = false
		}
	}
	if !moved {
		if err := syscall.Ftruncate(s.file, 0); err == nil {
			s.size = 0
			return
		}
	}
	old := s.file
	if errno := s.create(); errno != 0 {
		s.why = errno
	}
	syscall.Close(old)
}

func numbered(name string, n int) string {
	var digits [20]byte
	i := len(digits)
	for ; n > 0; n /= 10 {
		i--
		digits[i] = byte('0' + n%10)
	}
	return name + "." + string(digits[i:])
}

// put writes b, or counts it as dropped: a full disk must not stop the task, which
// would stop at a full pipe.
func (s *stream) put(b []byte) {
	if s.dropped > 0 && !s.note() {
		s.drop(len(b))
		return
	}
	for len(b) > 0 {
		if s.file < 0 {
			if errno := s.openFile(); errno != 0 {
				s.why = errno
				s.drop(len(b))
				return
			}
		}
		part := b
		if limit := s.c.spec.LogSize; limit > 0 {
			if s.size >= limit {
				s.rotate()
				if s.file < 0 || s.size >= limit {
					s.drop(len(b))
					return
				}
			}
			if room := limit - s.size; int64(len(part)) > room {
				part = part[:room]
			}
		}
		n, err := syscall.Write(s.file, part)
		if n > 0 {
			s.size += int64(n)
			b = b[n:]
		}
		if err != nil && err != syscall.EINTR {
			s.why = code(err)
			s.drop(len(b))
			return
		}
	}
}

func (s *stream) drop(n int) {
	s.dropped += int64(n)
	s.total += int64(n)
}

// note tells the reader of the file what is missing in it.
func (s *stream) note() bool {
	var text [128]byte
	b := append(text[:0], "\n[stoa: "...)
	b = appendNumber(b, s.dropped)
	b = append(b, " bytes of output were dropped: "...)
	switch s.why {
	case syscall.ENOSPC, syscall.EDQUOT:
		b = append(b, "the disk was full"...)
	default:
		b = append(b, "error "...)
		b = appendNumber(b, int64(s.why))
	}
	b = append(b, "]\n"...)
	if s.file < 0 && s.openFile() != 0 {
		return false
	}
	n, err := syscall.Write(s.file, b)
	if err != nil || n != len(b) {
		return false
	}
	s.size += int64(n)
	s.dropped = 0
	return true
}

func appendNumber(b []byte, v int64) []byte {
	var digits [20]byte
	i := len(digits)
	for first := true; first || v > 0; first = false {
		i--
		digits[i] = byte('0' + v%10)
		v /= 10
	}
	return append(b, digits[i:]...)
}

// pump carries both streams until finish.
type pump struct {
	c    *container
	wake [2]int // closed at [1] by finish
	done [2]int // closed at [1] by run
}

// buffer is static so that the memory of a task that writes little stays untouched.
var buffer [64 << 10]byte

func newPump(c *container) (*pump, syscall.Errno) {
	p := &pump{c: c}
	err := syscall.Pipe2(p.wake[:], syscall.O_CLOEXEC)
	if err == nil {
		err = syscall.Pipe2(p.done[:], syscall.O_CLOEXEC)
	}
	return p, code(err)
}

func (p *pump) run() {
	streams := &p.c.streams
	for {
		fds := [3]pollFd{{fd: int32(p.wake[0]), events: pollIn}, {fd: -1, events: pollIn}, {fd: -1, events: pollIn}}
		for i := range streams {
			if !streams[i].ended {
				fds[i+1].fd = int32(streams[i].out)
			}
		}
		if poll(fds[:], -1) == 0 {
			continue
		}
		for i := range streams {
			if fds[i+1].revents&(pollIn|pollHup|pollErr) != 0 {
				streams[i].carry()
			}
		}
		if fds[0].revents != 0 {
			break
		}
	}
	// Everything that could write is dead. What is in the pipes is all there will be,
	// even if another process holds them open.
	for i := range streams {
		for !streams[i].ended && streams[i].carry() {
		}
		if s := &streams[i]; s.dropped > 0 {
			s.note()
		}
	}
	syscall.Close(p.done[1])
}

// carry moves what one read gives; it is false when there was nothing.
func (s *stream) carry() bool {
	n, err := syscall.Read(s.out, buffer[:])
	switch {
	case n > 0:
		s.put(buffer[:n])
		return true
	case n == 0 && err == nil:
		s.ended = true
		syscall.Close(s.out)
	case err == syscall.EINTR:
		return true
	}
	return false
}

// drainTime bounds, in milliseconds, how long a disk that hangs may keep back the
// record of the task's end.
const drainTime = 5000

// finish carries the rest.
func (p *pump) finish() {
	syscall.Close(p.wake[1])
	fds := [1]pollFd{{fd: int32(p.done[0]), events: pollIn}}
	poll(fds[:], drainTime)
}

func (p *pump) dropped() int64 {
	return p.c.streams[0].total + p.c.streams[1].total
}
