package listen

import (
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestOffLoopbackOnlyWhenTold(t *testing.T) {
	api := API{Example: "127.0.0.1:5050", Danger: "the test can read it"}
	for _, at := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0"} {
		_, _, err := api.Split(t.Context(), at)
		if err == nil {
			t.Fatalf("%s: would listen without authentication", at)
		}
		for _, part := range []string{at, "no authentication", "whoever reaches the test can read it", "127.0.0.1"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v: does not say %q", at, err, part)
			}
		}
		if _, _, err := (API{Remote: true}).Split(t.Context(), at); err != nil {
			t.Errorf("%s, allowed: %v", at, err)
		}
	}
	for _, at := range []string{"127.0.0.1:7", "localhost:7", "[::1]:7"} {
		host, port, err := api.Split(t.Context(), at)
		if err != nil || port != "7" || net.JoinHostPort(host, port) != at {
			t.Errorf("%s: %q, %q, %v", at, host, port, err)
		}
	}
	for _, api := range []API{api, {Example: "127.0.0.1:5050", Remote: true}} {
		if _, _, err := api.Split(t.Context(), "127.0.0.1"); err == nil || !strings.Contains(err.Error(), "host:port, such as 127.0.0.1:5050") {
			t.Errorf("without a port: %v", err)
		}
	}
}

func TestConnectionsBreakWhenNothingIsAcknowledged(t *testing.T) {
	l, err := API{Unacknowledged: 45 * time.Second}.Open(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		if got, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout); err != nil || got != 45_000 {
			t.Errorf("TCP_USER_TIMEOUT is %d ms, %v", got, err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (API{}).Open(t.Context(), l.Addr().String()); err == nil || !strings.Contains(err.Error(), "listen on "+l.Addr().String()) {
		t.Errorf("an address that is taken: %v", err)
	}
}
