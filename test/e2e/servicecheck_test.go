package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stoa-kernel/stoa/api/marathon"
)

// checkedTask is what the service shows of a task's checks.
type checkedTask struct {
	ID                 string `json:"id"`
	State              string `json:"state"`
	HealthCheckResults []struct {
		Alive               bool   `json:"alive"`
		ConsecutiveFailures int    `json:"consecutiveFailures"`
		FirstSuccess        string `json:"firstSuccess"`
		LastFailureCause    string `json:"lastFailureCause"`
	} `json:"healthCheckResults"`
}

// checkedTasks are an app's tasks.
func (c *cluster) checkedTasks(app string) []checkedTask {
	c.t.Helper()
	var answer struct {
		Tasks []checkedTask `json:"tasks"`
	}
	if status := c.marathon(http.MethodGet, "/v2/apps"+app+"/tasks", "", &answer); status != 200 {
		c.t.Fatalf("tasks of %s: %d", app, status)
	}
	return answer.Tasks
}

// checkedTask is an app's only task; it has no id while there is none.
func (c *cluster) checkedTask(app string) checkedTask {
	c.t.Helper()
	if all := c.checkedTasks(app); len(all) == 1 {
		return all[0]
	}
	return checkedTask{}
}

// failures in a row of the first check of an app's only task.
func (c *cluster) failures(app string) int {
	c.t.Helper()
	if t := c.checkedTask(app); len(t.HealthCheckResults) > 0 {
		return t.HealthCheckResults[0].ConsecutiveFailures
	}
	return 0
}

// sandboxFile is a file in the sandbox of a task that runs.
func (c *cluster) sandboxFile(task, name string) string {
	c.t.Helper()
	return filepath.Join(c.sandboxOf(task), name)
}

func (c *cluster) write(file, text string) {
	c.t.Helper()
	// By rename: a reader sees the old or the new.
	if err := os.WriteFile(file+".new", []byte(text), 0o644); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		c.t.Fatal(err)
	}
}

// TestServiceChecks: what checks mean, on real servers that are at the agent's address only,
// over kill -9 of the service and of the agent.
func TestServiceChecks(t *testing.T) {
	c := newPair(t, "--advertise-ip", outside, "--resources", "cpus:4;mem:1024;disk:1024;ports:[31200-31299]")
	var service *process
	serve := func() {
		service = start(t, nil, "stoa", "service", "--data-dir", c.dir+"/service", "--listen", "127.0.0.1:"+c.servicePort, "--master", c.addr)
		t.Cleanup(c.clean)
		c.note(service.says("ready  "))
	}
	serve()

	check := func(path string, grace, most int) string {
		return fmt.Sprintf(`{"protocol":"HTTP","path":"/%s","portIndex":0,"gracePeriodSeconds":%d,"intervalSeconds":1,"timeoutSeconds":5,"maxConsecutiveFailures":%d}`, path, grace, most)
	}
	app := func(id, cmd, checks string) {
		t.Helper()
		c.deploy("/v2/apps", fmt.Sprintf(`{"id":%q,"cpus":0.05,"mem":32,"backoffSeconds":1,"cmd":%q,"healthChecks":[%s]}`, id, cmd, checks))
	}
	server := "exec " + bin + "/checked " + outside + " ."
	const well = "echo 200 > a; echo 200 > b; "
	command := func(what string) string {
		return fmt.Sprintf(`{"protocol":"COMMAND","command":{"value":%q},"gracePeriodSeconds":0,"delaySeconds":0,"intervalSeconds":1,"timeoutSeconds":1,"maxConsecutiveFailures":100}`, what)
	}
	hang := fmt.Sprintf("5000.%d", os.Getpid())
	app("/two", well+server, check("a", 0, 0)+","+check("b", 0, 0))
	app("/never", server, check("a", 0, 0))
	app("/kills", well+server, check("a", 0, 2))
	app("/graced", well+server, check("a", 1000, 1))
	app("/early", server, check("a", 1000, 1))
	app("/hangs", "sleep 1000", command("exec sleep "+hang))
	app("/forks", "sleep 1000", command("(setsid sleep "+hang+" &); (setsid sleep "+hang+" &); exec sleep "+hang))
	app("/floods", "sleep 1000", command("exec yes"))

	alive := func(app string, want ...bool) func() bool {
		return func() bool {
			results := c.checkedTask(app).HealthCheckResults
			if len(results) != len(want) {
				return false
			}
			for n := range want {
				if results[n].Alive != want[n] {
					return false
				}
			}
			return true
		}
	}
	until(t, "both checks of /two pass", alive("/two", true, true))
	until(t, "/kills is healthy", alive("/kills", true))
	until(t, "/graced is healthy", alive("/graced", true))
	two, never, kills, graced := c.checkedTask("/two"), c.checkedTask("/never"), c.checkedTask("/kills"), c.checkedTask("/graced")

	// One of two fails: the instance is not healthy, and lives.
	c.write(c.sandboxFile(two.ID, "b"), "500")
	// Failures number max + 1 kill, and none before; a grace that a success has ended is over.
	asked := c.sandboxFile(kills.ID, "asked")
	c.write(c.sandboxFile(kills.ID, "a"), "503")
	c.write(c.sandboxFile(graced.ID, "a"), "503")
	until(t, "one check of /two fails", alive("/two", true, false))
	until(t, "/kills was killed, and another is healthy", func() bool {
		now := c.checkedTask("/kills")
		return now.ID != "" && now.ID != kills.ID && alive("/kills", true)()
	})
	answers, err := os.ReadFile(asked)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(answers), "503"); n != 3 {
		t.Errorf("killed at failure number %d, with maxConsecutiveFailures 2", n)
	}
	until(t, "/graced was killed in what would be its grace", func() bool {
		now := c.checkedTask("/graced")
		return now.ID != "" && now.ID != graced.ID && alive("/graced", true)()
	})
	early := c.checkedTask("/early")
	until(t, "failures of /early in its grace are known", func() bool {
		w := c.why("/early")
		return len(w.Facts.Checks) == 1 && w.Facts.Checks[0].Grace && w.Facts.Checks[0].Failures > 3
	})
	until(t, "/never has failed often", func() bool { return c.failures("/never") > 5 })

	// Commands that misbehave cost their own timeout: they fail again and again, and little
	// of them is there at a time.
	for _, id := range []string{"/hangs", "/forks", "/floods"} {
		until(t, id+" fails by its timeout", func() bool { return c.failures(id) >= 3 })
		if cause := c.checkedTask(id).HealthCheckResults[0].LastFailureCause; !strings.Contains(cause, "1s") && !strings.Contains(cause, "time") {
			t.Errorf("%s: %q", id, cause)
		}
	}
	left := 0
	for _, pid := range c.processes() {
		argv, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // one that has ended has none
		if strings.HasPrefix(string(argv), "sleep\x00"+hang) || strings.HasPrefix(string(argv), "yes") {
			left++
		}
	}
	if left > 5 { // 1, 3 and 1 are under way
		t.Errorf("%d processes of checks are there", left)
	}

	// What is known of checks, and all tasks, are there again after kill -9.
	same := func(what string) {
		t.Helper()
		before := c.failures("/never")
		was := c.checkedTask("/two").HealthCheckResults[0].FirstSuccess
		switch what {
		case "service":
			service.kill()
			serve()
		case "agent":
			c.agent.kill()
			c.startAgent()
			c.waitAgent()
		}
		if results := c.checkedTask("/two").HealthCheckResults; len(results) != 2 || !results[0].Alive || results[1].Alive || results[0].FirstSuccess != was {
			t.Errorf("kill -9 of the %s: /two has %+v", what, results)
		}
		if now := c.failures("/never"); now < before {
			t.Errorf("kill -9 of the %s: /never has %d failures in a row, it had %d", what, now, before)
		}
		until(t, "/never fails on", func() bool { return c.failures("/never") >= before+3 })
		for id, task := range map[string]string{"/two": two.ID, "/never": never.ID, "/early": early.ID} {
			if now := c.checkedTask(id); now.ID != task || now.State != "TASK_RUNNING" {
				t.Errorf("kill -9 of the %s: %s is %+v, it was %s", what, id, now, task)
			}
		}
	}
	same("service")
	same("agent")
	if w := c.why("/early"); len(w.Facts.Checks) != 1 || !w.Facts.Checks[0].Grace {
		t.Errorf("/early: %+v", w.Facts.Checks)
	}
	if w := c.why("/two"); w.Facts.Status != marathon.StatusUnhealthy {
		t.Errorf("/two is %s", w.Facts.Status)
	}
	// The service goes before the cluster: it would start the tasks anew.
	service.kill()
}
