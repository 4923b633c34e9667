package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/protobuf/proto"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/internal/failpoint"
)

// child is an agent of its own, told by its environment what to do.
func child() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	f := strings.Split(os.Getenv("AGENT_CHILD"), "\n")
	c := &containers{dir: f[2], quick: true}
	err := Run(ctx, Config{
		WorkDir: f[0], Masters: []string{f[1]}, Listen: "127.0.0.1:0", Hostname: "host",
		Resources: "cpus:4;mem:1024;disk:1024;ports:[31000-31099]",
		Containerizer: func(h Hooks) (Containerizer, error) {
			c.hooks = h
			return c, nil
		},
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// TestFailpoints kills the agent once at each place of a task's life and starts it
// again: the task is executed once, its updates come in order, the end for certain, and
// nothing after its acknowledgement.
func TestFailpoints(t *testing.T) {
	for _, place := range []string{
		failpoint.BeforeLaunchRecord, failpoint.AfterLaunchRecord, failpoint.AfterFork, failpoint.BeforeGo, failpoint.AfterGo,
		failpoint.BeforeRunningSync, failpoint.AfterRunningSync, failpoint.BeforeTerminalSync, failpoint.AfterTerminalSync,
		failpoint.AfterUpdateSent, failpoint.AfterUpdateSent + ":2", failpoint.BeforeAckRecord, failpoint.AfterAckRecord,
		failpoint.BeforeAckRecord + ":2", failpoint.AfterAckRecord + ":2",
	} {
		t.Run(place, func(t *testing.T) {
			t.Parallel()
			life(t, place)
		})
	}
}

func life(t *testing.T, place string) {
	m, work, dir := newMaster(t), t.TempDir(), t.TempDir()
	spawn := func(place string) *exec.Cmd {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), "AGENT_CHILD="+strings.Join([]string{work, m.address(), dir}, "\n"), failpoint.Variable+"="+place)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	agent := spawn(place)
	defer func() { agent.Process.Kill() }()

	var seen []mesos.TaskState
	deaths, ended := 0, false
	// session serves one link until it breaks or all is done.
	session := func(p *peer) bool {
		defer p.Close()
		for {
			r := &stoapb.ToMaster{}
			if p.r.Read(r) != nil {
				return false
			}
			var answer []*stoapb.ToAgent
			switch {
			case r.GetRegister() != nil:
				answer = append(answer, registered())
				if len(seen) == 0 && len(r.GetRegister().GetTasks()) == 0 {
					answer = append(answer, runTask("t1")) // as a master that never heard of it
				}
				if ended && len(r.GetRegister().GetTasks()) == 0 {
					return true
				}
			case r.GetUpdate() != nil:
				s := r.GetUpdate().GetStatus().GetState()
				if n := len(seen); n == 0 || seen[n-1] != s {
					seen = append(seen, s)
				}
				answer = append(answer, acknowledge(r.GetUpdate()))
				if s == mesos.TaskState_TASK_FINISHED {
					ended = true
					answer = append(answer, &stoapb.ToAgent{Body: &stoapb.ToAgent_Ping{Ping: &stoapb.Ping{Seq: proto.Uint64(1)}}})
				}
			case r.GetPong() != nil && deaths > 0:
				return true
			}
			for _, a := range answer {
				if errors.Join(p.w.Write(a), p.w.Flush()) != nil {
					return false
				}
			}
		}
	}
	for p := range m.links {
		if session(p) {
			break
		}
		if deaths > 0 {
			t.Fatal("the second agent died, too")
		}
		err := agent.Wait()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("the first agent did not die at %s: %v", place, err)
		}
		deaths++
		agent = spawn("")
	}
	if err := agent.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := agent.Wait(); err != nil {
		t.Fatal(err)
	}
	if deaths != 1 {
		t.Fatalf("%d deaths", deaths)
	}
	gone := 0
	for _, line := range journal(t, dir) {
		if line == "go" {
			gone++
		}
	}
	if gone != 1 {
		t.Errorf("the task was executed %d times", gone)
	}
	// Of a task that ended while no agent was there, only the end is known.
	want := []string{"[TASK_RUNNING TASK_FINISHED]"}
	if place == failpoint.AfterGo {
		want = append(want, "[TASK_FINISHED]")
	}
	if !slices.Contains(want, fmt.Sprint(seen)) {
		t.Errorf("updates %v", seen)
	}
}
