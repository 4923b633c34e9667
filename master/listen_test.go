package master

import (
	"strings"
	"testing"
)

func TestListensOffLoopbackOnlyWhenTold(t *testing.T) {
	for _, at := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0"} {
		l, err := openListener(t.Context(), at, false)
		if err == nil {
			l.Close()
			t.Fatalf("%s: listening without authentication", at)
		}
		for _, part := range []string{at, "no authentication", "127.0.0.1"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v: does not say %q", at, err, part)
			}
		}
	}
	for _, at := range []string{"127.0.0.1:0", "localhost:0"} {
		l, err := openListener(t.Context(), at, false)
		if err != nil {
			t.Errorf("%s: %v", at, err)
			continue
		}
		l.Close()
	}
	if _, err := openListener(t.Context(), "127.0.0.1", false); err == nil || !strings.Contains(err.Error(), "host:port") {
		t.Errorf("without a port: %v", err)
	}
}

func TestAdvertisedAddress(t *testing.T) {
	l, err := openListener(t.Context(), "127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	tests := []struct{ configured, want string }{
		{"", l.Addr().String()},
		{"localhost:7", "localhost:7"},
		{"127.0.0.9:70", "127.0.0.9:70"},
	}
	for _, tt := range tests {
		a, err := advertised(t.Context(), tt.configured, l)
		if err != nil || a.String() != tt.want {
			t.Errorf("advertise %q: %v, %v; want %s", tt.configured, a, err, tt.want)
		}
	}
	if _, err := advertised(t.Context(), "h:port", l); err == nil {
		t.Error("a port that is no number was taken")
	}
	a, err := advertised(t.Context(), "127.0.0.1:15050", l)
	if err != nil {
		t.Fatal(err)
	}
	// As a real master announced itself at this address.
	info := masterInfo("m", "1", a)
	if info.GetIp() != 16777343 || info.GetPid() != "master@127.0.0.1:15050" || info.GetAddress().GetPort() != 15050 {
		t.Errorf("master info %v", info)
	}
}
