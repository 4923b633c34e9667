package dirlock

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestMain doubles as the process that holds a lock, alone or with a child that has its
// file too.
func TestMain(m *testing.M) {
	dir, how, ok := strings.Cut(os.Getenv("DIRLOCK"), " ")
	if !ok {
		os.Exit(m.Run())
	}
	l, err := Acquire(dir, "the other one")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	if how == "leave" {
		child := exec.Command("cat") // as long as the test keeps stdin open
		child.Stdin, child.ExtraFiles = os.Stdin, []*os.File{l.f}
		if err := child.Start(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	fmt.Println("locked")
	if how == "stay" {
		os.Stdin.Read(make([]byte, 1)) // until the test closes it
	}
	os.Exit(0)
}

// other starts a process that locks dir; release lets go of it.
func other(t *testing.T, dir, how string) (release func()) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "DIRLOCK="+dir+" "+how)
	r, stdin, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin = r
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.Close()
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "locked\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if how == "leave" {
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		return func() { stdin.Close() }
	}
	return func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
}

func TestOnlyOneProcessHasADirectory(t *testing.T) {
	d := t.TempDir()
	release := other(t, d, "stay")
	_, err := Acquire(d, "this one")
	var held *Held
	if !errors.As(err, &held) || !strings.Contains(held.By, "(the other one)") || held.Dir != d {
		t.Fatalf("while another process has it: %v", err)
	}
	release()
	l, err := Acquire(d, "this one")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Acquire(d, "again"); !errors.As(err, &held) {
		t.Fatalf("locked twice: %v", err)
	}
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
}

// A process that is killed while it forks leaves its lock to the child for a moment.
func TestALockThatOutlivesItsHolderIsWaitedFor(t *testing.T) {
	d := t.TempDir()
	release := other(t, d, "leave")
	got := make(chan error)
	go func() {
		l, err := Acquire(d, "this one")
		if err == nil {
			err = l.Release()
		}
		got <- err
	}()
	select {
	case err := <-got:
		t.Fatalf("the child has it still: %v", err)
	default:
	}
	release()
	if err := <-got; err != nil {
		t.Fatal(err)
	}
}
