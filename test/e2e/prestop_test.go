package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/sdk/scheduler"
)

// What a kill policy has done before SIGTERM is done in the task's container, once, whatever
// becomes of its agent.
func TestPreStop(t *testing.T) {
	t.Parallel()
	c := newPair(t, "--resources", "cpus:4;mem:2048")
	a := play(t, c.addr, "stops", "*")
	diary := func(id string) string {
		text, _ := os.ReadFile(filepath.Join(c.dir, id))
		return strings.Join(strings.Fields(string(text)), " ")
	}
	launch := func(id, preStop string, timeout, drain float64) {
		t.Helper()
		file := filepath.Join(c.dir, id)
		command := scheduler.Shell(`echo here >here; trap 'echo term >>` + file + `; exit 0' TERM; echo runs >>` + file + `; while :; do sleep 0.05; done`)
		command.Environment = &mesos.Environment{Variables: []*mesos.Environment_Variable{{Name: proto.String("WHO"), Value: proto.String("task")}}}
		a.launch(id, command, func(x *mesos.TaskInfo) {
			x.KillPolicy = grace(1000)
			// Its sandbox and environment are the task's.
			x.KillPolicy.PreStop = scheduler.Shell(`echo $(cat here)-$WHO >>` + file + `; ` + preStop)
			x.KillPolicy.PreStopTimeout = grace(timeout).GracePeriod
			x.KillPolicy.DrainPeriod = grace(drain).GracePeriod
		})
		a.await(id, mesos.TaskState_TASK_RUNNING)
		until(t, id+" has begun", func() bool { return diary(id) == "runs" })
	}
	ended := func(id, message string) {
		t.Helper()
		s := a.await(id, mesos.TaskState_TASK_KILLED)
		if s.GetMessage() != message {
			t.Errorf("%s ended with %q, want %q", id, s.GetMessage(), message)
		}
		if got := diary(id); got != "runs here-task term" {
			t.Errorf("%s: %s", id, got)
		}
		if got := a.states(id); got != "running killing killed" {
			t.Errorf("%s went through %s", id, got)
		}
	}
	const exit = "Command exited with status 0"

	launch("well", "exit 0", 1000, 0.1)
	a.kill("well", nil)
	ended("well", exit)

	launch("ill", "echo no; exit 3", 1000, 0)
	a.kill("ill", nil)
	ended("ill", exit+"; pre_stop before it: the command exited with status 3: no")

	launch("late", "sleep 1000", 0.5, 0)
	a.kill("late", nil)
	a.await("late", mesos.TaskState_TASK_KILLED)
	if got := diary("late"); got != "runs here-task term" {
		t.Errorf("late: %s", got)
	}

	// Another KILL does not wait for it, nor for the drain.
	launch("hasty", "sleep 1000", 1000, 1000)
	a.kill("hasty", nil)
	until(t, "its pre_stop runs", func() bool { return diary("hasty") == "runs here-task" })
	a.kill("hasty", grace(1000))
	ended("hasty", exit+"; pre_stop before it: was not done in its time")

	// A new agent does not begin it again, and waits for the drain only.
	launch("adopted", "sleep 1000", 1000, 0.1)
	a.kill("adopted", nil)
	until(t, "its pre_stop runs", func() bool { return diary("adopted") == "runs here-task" })
	c.agent.kill()
	c.startAgent()
	c.waitAgent()
	ended("adopted", exit)
	a.teardown()
}

// The same by way of the service.
func TestServicePreStop(t *testing.T) {
	t.Parallel()
	c := newUp(t, "--resources", "cpus:4;mem:2048")
	file := filepath.Join(c.dir, "diary")
	diary := func() string {
		text, _ := os.ReadFile(file)
		return strings.Join(strings.Fields(string(text)), " ")
	}
	c.deploy("/v2/apps", fmt.Sprintf(`{"id":"/web","cpus":0.1,"mem":32,"env":{"WHO":"web"},"taskKillGracePeriodSeconds":1000,
		"cmd":"trap 'echo term >>%[1]s; exit 0' TERM; echo runs >>%[1]s; while :; do sleep 0.05; done",
		"preStop":{"command":"echo bye-$WHO >>%[1]s; while ! test -e %[1]s.go; do sleep 0.05; done","timeoutSeconds":1000}}`, file))
	until(t, "it runs", func() bool { return diary() == "runs" })
	c.deploy("/v2/apps/web", `{"instances":0}`)
	until(t, "its preStop runs", func() bool { return diary() == "runs bye-web" })
	if err := os.WriteFile(file+".go", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	until(t, "it is gone", func() bool {
		var answer struct {
			App struct{ Tasks []json.RawMessage }
		}
		c.marathon(http.MethodGet, "/v2/apps/web", "", &answer)
		return len(answer.App.Tasks) == 0
	})
	if got := diary(); got != "runs bye-web term" {
		t.Error(got)
	}
}
