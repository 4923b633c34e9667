package containerizer

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// watcher waits, in one thread for all containers, for inits to report and to end.
type watcher struct {
	n     *Native
	epoll int
	bell  int // eventfd that ends the waiting

	mu    sync.Mutex
	items map[int32]*item
	last  int32
}

func newWatcher(n *Native) (*watcher, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		if err = unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, bell, &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
			unix.Close(bell)
		}
	}
	if err != nil {
		unix.Close(epoll)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	return &watcher{n: n, epoll: epoll, bell: bell, items: map[int32]*item{}}, nil
}

// What happened is told by the descriptor it happened to.
const (
	ofPid    = 1
	ofSocket = 2
)

// add watches an item's init until forget. Keys begin at 1; the bell has none.
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
		n, err := unix.EpollWait(w.epoll, events[:], -1)
		if err != nil {
			n = 0 // EINTR; nothing else can be
		}
		for _, e := range events[:n] {
			if e.Fd == 0 {
				return
			}
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
func (w *watcher) stop() {
	one := [8]byte{1}
	unix.Write(w.bell, one[:])
}

func (w *watcher) close() {
	unix.Close(w.epoll)
	unix.Close(w.bell)
}
