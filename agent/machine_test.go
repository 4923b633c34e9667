package agent

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stoa-kernel/stoa/kernel/resource"
)

func TestMachineText(t *testing.T) {
	big := machine{cpus: 8, memory: 16 << 30, disk: 100 << 30}
	small := machine{cpus: 1, memory: 1 << 30, disk: 8 << 30}
	none := func(string) bool { return false }
	for _, c := range []struct {
		m     machine
		s     Share
		has   string
		wants string
	}{
		{big, Share{}, "", "cpus:8.000;mem:15360;disk:97280;ports:[31000-32000]"},
		{small, Share{}, "", "cpus:1.000;mem:512;disk:4096;ports:[31000-32000]"},
		{big, Share{0, 3}, "", "cpus:2.667;mem:5120;disk:32426;ports:[31000-31332]"},
		{big, Share{2, 3}, "", "cpus:2.667;mem:5120;disk:32426;ports:[31666-31998]"},
		{big, Share{}, "cpus disk", "mem:15360;ports:[31000-32000]"},
		{big, Share{}, "cpus disk mem ports", ""},
	} {
		has := none
		if c.has != "" {
			has = func(name string) bool { return strings.Contains(c.has, name) }
		}
		if got := c.m.text(c.s, has); got != c.wants {
			t.Errorf("%+v %+v: %s, want %s", c.m, c.s, got, c.wants)
		}
	}
}

func TestResources(t *testing.T) {
	dir := t.TempDir()
	whole, err := resources("", Share{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cpus", "mem", "disk"} {
		if whole.Sum(name) <= 0 {
			t.Errorf("no %s in %v", name, whole)
		}
	}
	some, err := resources("cpus:0;mem(role):64;gold:3", Share{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	if some.Sum("cpus") != 0 || some.Sum("mem") != 64_000 || some.Sum("gold") != 3000 || some.Sum("disk") != whole.Sum("disk") || len(some.RangesOf("ports")) != 1 {
		t.Errorf("%v", some)
	}
	if all, err := resources(`[{"name":"cpus","type":"SCALAR","scalar":{"value":2}}]`, Share{}, dir); err != nil || all.Sum("cpus") != resource.Milli(2000) || all.Sum("mem") <= 0 {
		t.Errorf("%v, %v", all, err)
	}
	if _, err := resources("", Share{}, "/no/such/directory"); err == nil {
		t.Error("measured a disk that is not there")
	}
}

// TestPort: port 0 is a free port once, and that port ever after.
func TestPort(t *testing.T) {
	file := filepath.Join(t.TempDir(), "port")
	l, err := openListener(context.Background(), "127.0.0.1:0", false, file)
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	if _, err := openListener(context.Background(), "127.0.0.1:0", false, file); err == nil || !strings.Contains(err.Error(), file) {
		t.Fatalf("the port is taken: %v", err)
	}
	l.Close()
	l, err = openListener(context.Background(), "127.0.0.1:0", false, file)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if l.Addr().String() != at {
		t.Fatalf("%v, then %v", at, l.Addr())
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
}

func TestAdvertised(t *testing.T) {
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if ip, port, err := advertised("10.1.2.3", l, nil); err != nil || ip != "10.1.2.3" || port == 0 {
		t.Error(ip, port, err)
	}
	if ip, _, err := advertised("", l, []string{"127.0.0.1:5050"}); err != nil || ip != "127.0.0.1" {
		t.Error(ip, err)
	}
	if _, _, err := advertised("", l, []string{"no port"}); err == nil {
		t.Error("advertised an address from nowhere")
	}
}
