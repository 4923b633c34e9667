package launch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stoa-kernel/stoa/agent/containerizer/launch/protocol"
)

const (
	// tail is how many bytes of a command's output are kept, the last ones.
	tail = 160
	// A command that floods its output is read from at 64 KiB each flooded: it has to
	// wait, instead of the agent having to read.
	chunk   = 64 << 10
	flooded = 4 * time.Millisecond
	// lastWord is how long the helper has to kill what a command left before it is killed
	// itself; then the container's init inherits the rest.
	lastWord = 5 * time.Second
	// leftover is how long output is read that was written before.
	leftover = 100 * time.Millisecond
)

// Execute runs a command in the namespaces that the init has besides its user and network,
// and with its root directory (nil for those of this process), and returns its record and
// the end of its output when nothing of it is left. The end of ctx kills it, with all it
// started.
func (p *Program) Execute(ctx context.Context, in *Init, d *protocol.Description) (r protocol.Record, output string, err error) {
	read, write, err := pipe()
	if err != nil {
		return r, "", err
	}
	defer read.Close()
	init, err := p.helper(in)
	if err == nil {
		err = init.Describe(d, write, write)
	}
	unix.Close(write)
	said := make(chan string, 1)
	go func() { said <- last(read) }()
	if err == nil {
		r, err = init.await(ctx)
	}
	if init != nil {
		init.Abandon()
	}
	// Nobody writes any more, but for what the helper could not kill.
	read.SetReadDeadline(time.Now().Add(leftover))
	return r, <-said, err
}

// helper starts the program in its other mode, as a process of the container's.
func (p *Program) helper(in *Init) (init *Init, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The thread is not used for anything else: it ends with this goroutine.
		runtime.LockOSThread()
		if in != nil {
			if err = in.enter(); err != nil {
				err = fmt.Errorf("enter the container (which takes Linux 5.8 or later): %w", err)
				return
			}
		}
		init, err = p.spawn(0, "STOA_CHECK=1")
	}()
	<-done
	return init, err
}

// enter moves the calling thread to where the init is.
func (i *Init) enter() error {
	// Entering a mount namespace ends in that namespace's root, which is not the init's
	// if this process, and so the init, lives in a chroot.
	root, err := unix.Open("/proc/"+strconv.Itoa(i.Pid)+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("its root directory: %w", err)
	}
	defer unix.Close(root)
	// An init that can still be signalled has its number, so that was its directory.
	if err := unix.PidfdSendSignal(i.PidFD, 0, nil, 0); err != nil {
		return err
	}
	// A thread that shares its root directory cannot change mount namespaces.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	if err := unix.Setns(i.PidFD, Namespaces|unix.CLONE_NEWNS); err != nil {
		return err
	}
	if err := unix.Fchdir(root); err != nil {
		return err
	}
	return unix.Chroot(".")
}

func pipe() (read *os.File, write int, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, -1, fmt.Errorf("pipe: %w", err)
	}
	unix.SetNonblock(fds[0], true)
	return os.NewFile(uintptr(fds[0]), "output"), fds[1], nil
}

// last reads to the end and returns what came last.
func last(f *os.File) string {
	buffer, kept := make([]byte, 4096), []byte(nil)
	for burst := 0; ; {
		n, err := f.Read(buffer)
		kept = append(kept, buffer[:n]...)
		kept = append([]byte(nil), kept[max(0, len(kept)-tail):]...)
		if err != nil {
			return strings.TrimSpace(string(kept))
		}
		if burst += n; burst >= chunk {
			burst = 0
			time.Sleep(flooded)
		}
	}
}

// await returns the record a helper sends before it ends.
func (i *Init) await(ctx context.Context) (r protocol.Record, err error) {
	fd, err := unix.FcntlInt(uintptr(i.Socket), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return r, err
	}
	unix.SetNonblock(fd, true)
	f := os.NewFile(uintptr(fd), "helper")
	defer f.Close()
	raw, err := f.SyscallConn()
	if err != nil {
		return r, err
	}
	// It may still run when the socket is closed and its number another's; f is not closed
	// under it.
	stop := context.AfterFunc(ctx, func() {
		_ = raw.Control(func(fd uintptr) { unix.Shutdown(int(fd), unix.SHUT_WR) }) // fails when all is over
		f.SetReadDeadline(time.Now().Add(lastWord))
	})
	defer stop()
	buffer := make([]byte, 64)
	n, err := f.Read(buffer)
	r, ok := protocol.ParseRecord(buffer[:n])
	switch {
	case ctx.Err() != nil:
		return r, ctx.Err()
	case err != nil || !ok:
		return r, errors.New("the check was killed from outside, perhaps because its container ended")
	}
	return r, nil
}
