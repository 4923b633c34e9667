// Package listen opens the listeners of the roles' APIs and bounds what comes in by them. Nobody authenticates in this
// version, so it keeps them on loopback unless it is told otherwise.
package listen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// API is what is served at an address.
type API struct {
	// Example is an address its operator may say, for errors.
	Example string
	// Danger is what somebody unknown can do there, following "whoever reaches".
	Danger string
	// Remote allows addresses off loopback.
	Remote bool
	// Unacknowledged is for how long sent bytes may stay unacknowledged before their
	// connection breaks; 0 leaves it to the system.
	Unacknowledged time.Duration
}

// Split checks an address, host:port, and takes it apart. It refuses one off loopback,
// and one that means every address of the machine, unless Remote.
func (a API) Split(ctx context.Context, address string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(address)
	if err != nil {
		return "", "", fmt.Errorf("listen on %q: %w: expecting host:port, such as %s", address, err, a.Example)
	}
	if a.Remote {
		return host, port, nil
	}
	if err := onlyLoopback(ctx, host); err != nil {
		return "", "", fmt.Errorf("listen on %s: %w: this version has no authentication, and whoever reaches %s; listen on 127.0.0.1, or allow it explicitly on a network you trust", address, err, a.Danger)
	}
	return host, port, nil
}

// tcpUserTimeout is TCP_USER_TIMEOUT of linux/tcp.h.
const tcpUserTimeout = 0x12

// Open listens on an address that Split let pass.
func (a API) Open(ctx context.Context, address string) (net.Listener, error) {
	var config net.ListenConfig
	if a.Unacknowledged > 0 {
		config.Control = Unacknowledged(a.Unacknowledged)
	}
	l, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return l, nil
}

// Unacknowledged is a Control of net.Dialer and net.ListenConfig: sent bytes may stay
// unacknowledged for d before their connection breaks.
func Unacknowledged(d time.Duration) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(d.Milliseconds()))
		})
		if err != nil {
			return err
		}
		return failed
	}
}

func onlyLoopback(ctx context.Context, host string) error {
	if host == "" {
		return errors.New("that is every address of the machine")
	}
	ips, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil {
		return err
	}
	for _, ip := range ips {
		if !ip.IP.IsLoopback() {
			return fmt.Errorf("%v is not a loopback address", ip.IP)
		}
	}
	return nil
}
