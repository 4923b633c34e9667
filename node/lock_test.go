package node

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/stoa-kernel/stoa/cli"
)

func TestASecondProcessIsToldWhoHoldsTheDataDirectory(t *testing.T) {
	dir := t.TempDir()
	release, err := lock(dir, "up")
	if err != nil {
		t.Fatal(err)
	}
	_, err = lock(dir, "up")
	var e *cli.Error
	if !errors.As(err, &e) || !strings.Contains(e.Why, fmt.Sprintf("process %d (stoa up)", os.Getpid())) || e.Code != cli.ExitConflict {
		t.Errorf("second lock: %+v", err)
	}
	release()
	again, err := lock(dir, "agent")
	if err != nil {
		t.Fatal(err)
	}
	again()
}

func TestATakenPortNamesItsHolderAndTheFlag(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = net.Listen("tcp", l.Addr().String())
	err = taken("master-listen", l.Addr().String(), err)
	var e *cli.Error
	if !errors.As(err, &e) || !strings.Contains(e.What, "--master-listen") ||
		!strings.Contains(e.Why, fmt.Sprintf("process %d ", os.Getpid())) {
		t.Errorf("%+v", err)
	}
}
