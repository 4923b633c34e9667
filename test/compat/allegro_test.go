package compat

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// allegroTask is a task under allegro's executor, as Marathon wrote them: the executor
// takes what stands behind its own name in the command for the task's.
func allegroTask(id, command string, graceSeconds int) string {
	executor := filepath.Join(bin, "executor")
	return fmt.Sprintf(`{
		"name": %[1]q, "task_id": {"value": %[1]q}, "agent_id": {"value": "AGENT"},
		"kill_policy": {"grace_period": {"nanoseconds": %[4]d000000000}},
		"resources": [{"name":"cpus","type":"SCALAR","scalar":{"value":0.1}},{"name":"mem","type":"SCALAR","scalar":{"value":32}}],
		"executor": {"executor_id": {"value": %[5]q},
			"resources": [{"name":"cpus","type":"SCALAR","scalar":{"value":0.1}},{"name":"mem","type":"SCALAR","scalar":{"value":64}}],
			"command": {"shell": true, "value": %[2]q, "uris": [{"value": %[3]q, "executable": true}]}}}`,
		id, "chmod ug+rx './executor' && exec './executor' "+command, executor, graceSeconds, "executor-"+id)
}

func TestAllegroExecutor(t *testing.T) {
	c := newCluster(t)
	d := newDriver(c)
	journal := filepath.Join(c.dir, "journal")
	lines := func() string {
		text, err := os.ReadFile(journal)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(strings.Fields(string(text)), " ")
	}

	// The polite one says that it got SIGTERM; it lives through a restart of the agent.
	d.launch(allegroTask("polite", fmt.Sprintf(`trap 'echo term >> %[1]s; exit 0' TERM; echo start >> %[1]s; while :; do sleep 0.1; done`, journal), 10))
	d.until("polite", "TASK_RUNNING")
	c.agent.Kill()
	c.startAgent()
	d.launch(allegroTask("second", "exit 7", 1))
	if s := d.until("second", "TASK_FAILED"); s.Source != "SOURCE_EXECUTOR" {
		t.Errorf("the failure comes from %s", s.Source)
	}
	if got := lines(); got != "start" {
		t.Fatalf("after the agent's restart the journal says %q", got)
	}
	d.call("kill", `"kill":{"task_id":{"value":"polite"}}`)
	d.until("polite", "TASK_KILLED")
	if got := lines(); got != "start term" {
		t.Errorf("the killed task's journal says %q", got)
	}

	// The stubborn one is killed when its grace is over, and not before.
	d.launch(allegroTask("stubborn", `trap '' TERM; while :; do sleep 0.1; done`, 2))
	d.until("stubborn", "TASK_RUNNING")
	asked := time.Now()
	d.call("kill", `"kill":{"task_id":{"value":"stubborn"}}`)
	d.until("stubborn", "TASK_KILLED")
	if took := time.Since(asked); took < 2*time.Second {
		t.Errorf("SIGKILL came after %v, inside the grace period", took)
	}
}
