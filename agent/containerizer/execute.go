package containerizer

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/stoa-kernel/stoa/agent/container"
	"github.com/stoa-kernel/stoa/agent/containerizer/isolator"
	"github.com/stoa-kernel/stoa/agent/containerizer/launch"
	"github.com/stoa-kernel/stoa/agent/containerizer/launch/protocol"
	"github.com/stoa-kernel/stoa/kernel/id"
)

// Execute runs a command beside the task of a running container: in its namespaces and
// cgroup, with the credentials, limits and environment of spec, in spec.Sandbox. It
// returns the wait status and the last of the output when the command and all that it
// started are gone; the end of ctx kills them. Unlike the other methods it waits.
func (n *Native) Execute(ctx context.Context, c id.Container, spec *container.Spec) (wait int32, output string, err error) {
	described, err := isolator.Apply(&n.host, spec)
	if err != nil {
		return 0, "", err
	}
	in, err := n.enter(c)
	if err != nil {
		return 0, "", err
	}
	defer in.Close()
	space := in
	if described.Namespaces == 0 {
		space = nil
	}
	r, output, err := n.program.Execute(ctx, space, &described.Description)
	if err == nil && r.Kind != protocol.Exited {
		err = errors.New(launch.Explain(r.Stage, r.Errno, spec.Path))
	}
	return r.Wait, output, err
}

// enter returns a running container's init, for the caller to close.
func (n *Native) enter(c id.Container) (*launch.Init, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	it := n.items[c]
	if n.closed || it == nil || it.stage != running || it.destroy || it.init == nil || it.init.PidFD < 0 {
		return nil, errors.New("the container does not run")
	}
	pidfd, err := unix.FcntlInt(uintptr(it.init.PidFD), unix.F_DUPFD_CLOEXEC, 0)
	return &launch.Init{Pid: it.init.Pid, PidFD: pidfd, Socket: -1}, err
}
