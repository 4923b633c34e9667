package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// resident is an app whose tasks leave a line on their volume.
const resident = `{"id": "/db/store", "role": "db", "instances": 2, "cpus": 0.1, "mem": 32, "backoffSeconds": 0, "env": {"V": "1"},
	"cmd": "echo $MESOS_TASK_ID $V >> data/log; exec sleep 1000",
	"container": {"type": "MESOS", "volumes": [{"containerPath": "data", "mode": "RW", "persistent": {"size": 5}}]}}`

// What an app writes to its volumes is there as long as the app is, whoever dies
// meanwhile; then nothing of it is left, on the agent as in the master's books.
func TestVolumesOfApps(t *testing.T) {
	t.Parallel()
	r := newRig(t, newPair(t, "--resources", "cpus:2;mem:1024;disk:100;ports:[31000-31099]"))
	r.startService()
	r.waitService()
	ask := func(method, path, body string) {
		t.Helper()
		if status, answer := r.try(method, path, body); status/100 != 2 {
			t.Fatalf("%s %s: %d %s", method, path, status, answer)
		}
	}
	tasks := func() (ids []string) {
		t.Helper()
		var a shown
		r.get("/v2/apps/db/store", &a)
		for _, task := range a.App.Tasks {
			if task.State == "TASK_RUNNING" {
				ids = append(ids, task.ID)
			}
		}
		slices.Sort(ids)
		return ids
	}
	// volumes are the files, by the volume, each line as "incarnation V".
	volumes := func() map[string]string {
		t.Helper()
		files, err := filepath.Glob(r.dir + "/agent/volumes/roles/db/*/log")
		if err != nil {
			t.Fatal(err)
		}
		all := make(map[string]string)
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var lines []string
			for line := range strings.Lines(string(text)) {
				lines = append(lines, strings.TrimSpace(line[strings.Index(line, "._app.")+len("._app."):]))
			}
			all[filepath.Base(filepath.Dir(name))] = strings.Join(lines, ", ")
		}
		return all
	}
	// have waits until so many tasks run and each of the volumes has the lines.
	have := func(n int, want map[string]string) {
		t.Helper()
		until(t, fmt.Sprintf("%d tasks run and the volumes have %v", n, want), func() bool {
			got := volumes()
			for id, lines := range want {
				if got[id] != lines {
					return false
				}
			}
			return len(got) == len(want) && len(tasks()) == n
		})
	}

	idle := func() {
		t.Helper()
		until(t, "no deployment goes on", func() bool { _, answer := r.try("GET", "/v2/deployments", ""); return answer == "[]" })
	}

	ask("POST", "/v2/apps", resident)
	until(t, "two tasks have written", func() bool { return len(volumes()) == 2 && len(tasks()) == 2 })
	want := volumes()
	first := slices.Sorted(maps.Keys(want))
	all := func(lines string) map[string]string {
		for id := range want {
			want[id] = lines
		}
		return want
	}
	have(2, all("1 1"))

	// A restart of the tasks, kill -9 of the agent, and of the tasks while it is away.
	ask("DELETE", "/v2/apps/db/store/tasks", "")
	have(2, all("1 1, 2 1"))
	before := tasks()
	r.agent.kill()
	r.startAgent()
	r.waitAgent()
	have(2, want)
	if now := tasks(); !slices.Equal(now, before) {
		t.Errorf("over a restart of the agent tasks %v became %v", before, now)
	}
	r.agent.kill()
	for _, id := range before {
		if err := syscall.Kill(r.task("MESOS_TASK_ID="+id), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	r.startAgent()
	r.waitAgent()
	have(2, all("1 1, 2 1, 3 1"))

	// A change of the configuration, with kill -9 of the service amid it.
	ask("PUT", "/v2/apps/db/store", `{"env": {"V": "2"}}`)
	r.service.kill()
	r.startService()
	r.waitService()
	have(2, all("1 1, 2 1, 3 1, 4 2"))
	idle()

	// Scaled down the volume waits for its instance, which comes back to it.
	ask("PUT", "/v2/apps/db/store", `{"instances": 1}`)
	have(1, want)
	idle()
	ask("PUT", "/v2/apps/db/store", `{"instances": 2}`)
	until(t, "the instance is back", func() bool { return len(tasks()) == 2 })
	if got := volumes(); len(got) != 2 || got[first[0]] == "" || got[first[1]] == "" {
		t.Errorf("scaled down and up, the volumes %v became %v", first, got)
	}

	// wipe takes one instance's volume, the end of the app all that is left.
	ask("DELETE", "/v2/apps/db/store/tasks/"+tasks()[0]+"?wipe=true", "")
	until(t, "a volume is new", func() bool {
		got := volumes()
		return len(got) == 2 && len(tasks()) == 2 && (got[first[0]] == "") != (got[first[1]] == "")
	})
	ask("DELETE", "/v2/groups/db", "")
	until(t, "nothing is reserved", func() bool {
		var answer struct {
			GetAgents struct {
				Agents []struct {
					TotalResources []struct{ Reservations []any } `json:"total_resources"`
				}
			} `json:"get_agents"`
		}
		if err := json.Unmarshal([]byte(r.call(`{"type":"GET_AGENTS"}`)), &answer); err != nil || len(answer.GetAgents.Agents) != 1 {
			t.Fatalf("GET_AGENTS: %v, %+v", err, answer)
		}
		for _, resource := range answer.GetAgents.Agents[0].TotalResources {
			if len(resource.Reservations) > 0 {
				return false
			}
		}
		return true
	})
	until(t, "nothing of the volumes is left", func() bool {
		left, err := filepath.Glob(r.dir + "/agent/volumes/roles/db/*")
		if err != nil {
			t.Fatal(err)
		}
		return len(left) == 0
	})
}
