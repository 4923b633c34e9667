package containerizer

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// watcher waits, in one goroutine for all containers, for inits to report and to end. Its
// epoll is itself watched by the runtime's: a thread blocked in a call of its own would
// have to be woken, and then wake another, for each of a container's events.
type watcher struct {
	n     *Native
	file  *os.File // the epoll's descriptor
	conn  syscall.RawConn
	epoll int

	mu    sync.Mutex
	items map[int32]*item
	last  int32
}

func newWatcher(n *Native) (*watcher, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	w := &watcher{n: n, epoll: epoll, items: map[int32]*item{}}
	if err := unix.SetNonblock(epoll, true); err != nil { // or the runtime would not watch it
		unix.Close(epoll)
		return nil, fmt.Errorf("epoll: %w", err)
	}
	w.file = os.NewFile(uintptr(epoll), "containers")
	// Without a deadline there is no watching by the runtime either.
	if err = w.file.SetReadDeadline(time.Time{}); err == nil {
		w.conn, err = w.file.SyscallConn()
	}
	if err != nil {
		w.file.Close()
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return w, nil
}

// What happened is told by the descriptor it happened to.
const (
	ofPid    = 1
	ofSocket = 2
)

// add watches an item's init until forget. Keys begin at 1.
func (w *watcher) add(it *item) error {
	w.mu.Lock()
	for w.last++; w.last <= 0 || w.items[w.last] != nil; w.last++ {
		w.last = max(w.last, 0)
	}
	it.key = w.last
	w.items[it.key] = it
	w.mu.Unlock()
	err := w.control(it.init.PidFD, it.key, ofPid)
	if err == nil && it.init.Socket >= 0 {
		err = w.control(it.init.Socket, it.key, ofSocket)
	}
	if err != nil {
		w.forget(it)
		return fmt.Errorf("watch a container: %w", err)
	}
	return nil
}

func (w *watcher) control(fd int, key, of int32) error {
	return unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: key, Pad: of})
}

// forget stops watching; the descriptors may be closed afterwards. The socket's end by
// itself, since nobody else has it.
func (w *watcher) forget(it *item) {
	w.mu.Lock()
	delete(w.items, it.key)
	w.mu.Unlock()
	// A child between fork and exec may have a copy, which would keep it watched.
	unix.EpollCtl(w.epoll, unix.EPOLL_CTL_DEL, it.init.PidFD, nil)
}

// run ends with stop.
func (w *watcher) run() {
	var events [128]unix.EpollEvent
	for {
		n := 0
		err := w.conn.Read(func(uintptr) bool {
			var err error
			if n, err = unix.EpollWait(w.epoll, events[:], 0); err != nil {
				n = 0 // EINTR; nothing else can be
			}
			return n > 0 || err != nil
		})
		if err != nil {
			return // by stop
		}
		for _, e := range events[:n] {
			w.mu.Lock()
			it := w.items[e.Fd]
			w.mu.Unlock()
			switch {
			case it == nil: // ended by an event before this one
			case e.Pad == ofSocket:
				w.n.reported(it)
			default:
				w.n.initEnded(it)
			}
		}
	}
}

// stop makes run return.
func (w *watcher) stop() { _ = w.file.SetReadDeadline(time.Unix(1, 0)) } // newWatcher has seen that it works

func (w *watcher) close() { w.file.Close() }
