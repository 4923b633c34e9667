package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/stoa-kernel/stoa/internal/listen"
)

// DefaultListen is where an agent listens if nothing is said, as Mesos's port.
const DefaultListen = "127.0.0.1:5051"

// openListener opens the address. Off loopback it refuses unless told otherwise: there is no
// authentication yet, and whoever reaches an agent can read every task's files and speak
// as its executors. With port 0 the file remembers which port was free.
func openListener(ctx context.Context, address string, remote bool, file string) (net.Listener, error) {
	if address == "" {
		address = DefaultListen
	}
	api := listen.API{Example: DefaultListen, Danger: "the agent can read its tasks' files", Remote: remote}
	host, port, err := api.Split(ctx, address)
	if err != nil {
		return nil, err
	}
	if port != "0" {
		return api.Open(ctx, address)
	}
	if b, err := os.ReadFile(file); err == nil {
		l, err := api.Open(ctx, net.JoinHostPort(host, strings.TrimSpace(string(b))))
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) {
			return l, err
		}
		return nil, fmt.Errorf("%w: executors that are running know this agent by that port; free it, or remove %s to give them up", err, file)
	}
	l, err := api.Open(ctx, address)
	if err != nil {
		return nil, err
	}
	_, got, _ := net.SplitHostPort(l.Addr().String())
	if err := os.WriteFile(file, []byte(got+"\n"), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("remember the port: %w", err), l.Close())
	}
	return l, nil
}

// advertised is the IP and port others reach the agent at: as configured, as listened
// on, or, listening on every address, the one that leads to the master.
func advertised(configured string, l net.Listener, masters []string) (ip string, port int, err error) {
	bound, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return "", 0, fmt.Errorf("%v is not a TCP address", l.Addr())
	}
	switch {
	case configured != "":
		parsed := net.ParseIP(configured)
		if parsed == nil {
			return "", 0, fmt.Errorf("advertise %q: expecting an IP address", configured)
		}
		return parsed.String(), bound.Port, nil
	case !bound.IP.IsUnspecified():
		return bound.IP.String(), bound.Port, nil
	}
	var last error
	for _, m := range masters {
		// Connecting a datagram socket sends nothing; it asks for the route.
		c, err := net.Dial("udp", m)
		if err != nil {
			last = err
			continue
		}
		defer c.Close()
		if local, ok := c.LocalAddr().(*net.UDPAddr); ok {
			return local.IP.String(), bound.Port, nil
		}
	}
	return "", 0, fmt.Errorf("no address of this machine leads to a master (%w): say which IP to advertise", last)
}

func joinPort(ip string, port int) string { return net.JoinHostPort(ip, strconv.Itoa(port)) }
