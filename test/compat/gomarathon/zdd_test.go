package gomarathon

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"
)

// zdd is the client side of blue-green deployments as marathon-lb's zdd.py does it: the
// calls it makes, in their order. What it reads from HAProxy comes from the tasks here:
// as many old tasks are drained as there are new healthy ones.
type zdd struct {
	*cluster
	t *testing.T
	// newInstances is where a hybrid deployment stops; 0 for a whole one.
	newInstances int
}

// zddApp is what zdd.py and marathon-lb look at.
type zddApp struct {
	ID              string
	Instances       int
	Labels          map[string]string
	Deployments     []struct{ ID string }
	PortDefinitions []struct{ Port int }
	TasksRunning    int
	Tasks           []struct {
		ID                 string
		Host               string
		Ports              []int
		State              string
		HealthCheckResults []struct{ Alive bool }
	}
}

// call makes a request as Python's requests does and decodes the answer.
func (z *zdd) call(method, path string, body, answer any) {
	z.t.Helper()
	raw := must(json.Marshal(body))(z.t)
	req := must(http.NewRequest(method, z.url+path, bytes.NewReader(raw)))(z.t)
	req.Header.Set("Accept", "*/*")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	} else {
		req.Body, req.ContentLength = nil, 0
	}
	resp := must(http.DefaultClient.Do(req))(z.t)
	defer resp.Body.Close()
	raw = must(io.ReadAll(resp.Body))(z.t)
	if resp.StatusCode/100 != 2 {
		z.t.Fatalf("%s %s: %s %s", method, path, resp.Status, raw)
	}
	if answer != nil {
		if err := json.Unmarshal(raw, answer); err != nil {
			z.t.Fatalf("%s %s: %v in %s", method, path, err, raw)
		}
	}
}

// group is the apps of the deployment group, the one deployed last first.
func (z *zdd) group() []zddApp {
	z.t.Helper()
	var answer struct{ Apps []zddApp }
	z.call("GET", "/v2/apps", nil, &answer)
	answer.Apps = slices.DeleteFunc(answer.Apps, func(a zddApp) bool { return a.Labels["HAPROXY_DEPLOYMENT_GROUP"] != "web" })
	slices.SortFunc(answer.Apps, func(a, b zddApp) int {
		return bytes.Compare([]byte(b.Labels["HAPROXY_DEPLOYMENT_STARTED_AT"]), []byte(a.Labels["HAPROXY_DEPLOYMENT_STARTED_AT"]))
	})
	return answer.Apps
}

func (z *zdd) fetch(id string) (a zddApp) {
	z.t.Helper()
	var answer struct{ App zddApp }
	z.call("GET", "/v2/apps"+id, nil, &answer)
	return answer.App
}

// settled is an app that no deployment works on.
func (z *zdd) settled(id string) (a zddApp) {
	z.t.Helper()
	until(z.t, id+" is deployed", func() bool {
		a = z.fetch(id)
		return len(a.Deployments) == 0
	})
	return a
}

// deploy posts a new colour and swaps the old one for it.
func (z *zdd) deploy(version string) {
	z.t.Helper()
	target, initial, colour, port, hybrid := 4, 4, "blue", 10080, 0
	previous := z.group()
	if len(previous) > 0 {
		last := previous[0]
		target, initial, hybrid = last.Instances, 1, z.newInstances
		if last.Labels["HAPROXY_DEPLOYMENT_COLOUR"] == "blue" {
			colour = "green"
		}
		if last.PortDefinitions[0].Port == port {
			port = 10081
		}
	}
	z.call("POST", "/v2/apps", map[string]any{
		"id": "/web-" + colour, "cmd": filepath.Join(bin, "web"), "cpus": 0.05, "mem": 32, "instances": initial,
		"env": map[string]string{"VERSION": version}, "ports": []int{port},
		"healthChecks": []any{map[string]any{"protocol": "HTTP", "path": "/health", "intervalSeconds": 1, "timeoutSeconds": 1, "gracePeriodSeconds": 30}},
		"labels": map[string]string{
			"HAPROXY_DEPLOYMENT_GROUP": "web", "HAPROXY_DEPLOYMENT_ALT_PORT": "10081", "HAPROXY_APP_ID": "web", "HAPROXY_0_PORT": strconv.Itoa(port),
			"HAPROXY_DEPLOYMENT_COLOUR": colour, "HAPROXY_DEPLOYMENT_TARGET_INSTANCES": strconv.Itoa(target),
			"HAPROXY_DEPLOYMENT_NEW_INSTANCES": strconv.Itoa(hybrid), "HAPROXY_DEPLOYMENT_STARTED_AT": time.Now().Format("2006-01-02T15:04:05.000000"),
		},
	}, nil)
	if len(previous) > 0 {
		z.swap("/web-"+colour, previous[0].ID, hybrid)
	}
}

// swap moves from old to new in steps, and stops at hybrid new ones if that is not 0.
func (z *zdd) swap(newID, oldID string, hybrid int) {
	z.t.Helper()
	for range 100 {
		older, newer := z.settled(oldID), z.settled(newID)
		target, _ := strconv.Atoi(newer.Labels["HAPROXY_DEPLOYMENT_TARGET_INSTANCES"])
		healthy := 0
		for _, task := range newer.Tasks {
			if len(task.HealthCheckResults) == 1 && task.HealthCheckResults[0].Alive {
				healthy++
			}
		}
		if healthy != newer.Instances {
			z.t.Fatalf("%s is deployed, and %d of %d tasks are healthy", newID, healthy, newer.Instances)
		}
		// What marathon-lb drains, and what it sends requests to.
		drained := min(max(0, len(older.Tasks)+healthy-target), len(older.Tasks))
		serving := append(slices.Clone(newer.Tasks), older.Tasks[drained:]...)
		if len(serving) < target {
			z.t.Errorf("%d tasks serve; want %d", len(serving), target)
		}
		for _, task := range serving {
			resp, err := http.Get(fmt.Sprintf("http://%s:%d/", task.Host, task.Ports[0]))
			if err != nil {
				z.t.Errorf("a task that serves does not answer: %v", err)
				continue
			}
			resp.Body.Close()
		}

		if hybrid > 0 && newer.Instances == hybrid && older.Instances == target-hybrid {
			return
		}
		if hybrid == 0 && newer.Instances == target && drained == older.Instances {
			z.call("DELETE", "/v2/apps"+oldID, nil, nil)
			return
		}
		if drained > 0 {
			ids := []string{}
			for _, task := range older.Tasks[:drained] {
				ids = append(ids, task.ID)
			}
			z.call("POST", "/v2/tasks/delete?scale=true", map[string]any{"ids": ids}, nil)
		}
		limit := target
		if hybrid > 0 {
			limit = hybrid
		}
		if newer.Instances < limit {
			z.call("PUT", "/v2/apps"+newID, map[string]int{"instances": min(limit, newer.Instances+(newer.Instances+1)/2)}, nil)
		}
	}
	z.t.Fatalf("the swap from %s to %s does not end", oldID, newID)
}

// expect says which apps the group has when all is done, and what each says.
func (z *zdd) expect(want map[string]string) {
	z.t.Helper()
	until(z.t, fmt.Sprintf("the apps are %v", want), func() bool {
		if len(must(z.Deployments())(z.t)) != 0 { // the end of a deleted app is one too
			return false
		}
		apps := z.group()
		return len(apps) == len(want) && !slices.ContainsFunc(apps, func(a zddApp) bool {
			return a.TasksRunning != a.Instances || want[a.ID] == "" || z.says(a.ID) != want[a.ID]
		})
	})
}

func TestZeroDowntimeDeployments(t *testing.T) {
	z := &zdd{cluster: up(t), t: t}
	z.deploy("1")
	z.settled("/web-blue")
	z.expect(map[string]string{"/web-blue": "1 1 1 1"})
	z.deploy("2")
	z.expect(map[string]string{"/web-green": "2 2 2 2"})
	if port := z.fetch("/web-green").PortDefinitions[0].Port; port != 10081 {
		t.Errorf("the service port of the second colour is %d", port)
	}

	// --new-instances 1 stops with one new and three old; --complete-prev goes back.
	z.newInstances = 1
	z.deploy("3")
	z.expect(map[string]string{"/web-blue": "3", "/web-green": "2 2 2"})
	z.swap("/web-green", "/web-blue", 0)
	z.expect(map[string]string{"/web-green": "2 2 2 2"})

	// And so it does again, with --complete-cur.
	z.deploy("4")
	z.expect(map[string]string{"/web-blue": "4", "/web-green": "2 2 2"})
	z.swap("/web-blue", "/web-green", 0)
	z.expect(map[string]string{"/web-blue": "4 4 4 4"})
}
