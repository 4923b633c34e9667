package service

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stoa-kernel/stoa/api/marathon"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/sdk/sdktest"
)

// TestAppsThatFail back off, and say why.
func TestAppsThatFail(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		c.master.Run = func(context.Context, *mesos.TaskInfo) *mesos.TaskStatus { return sdktest.Exit(127) }
		c.expect(201, "POST", "/v2/apps", `{"id":"/web","cmd":"nonsense","backoffSeconds":20,"cpus":0.1}`, nil)
		var q marathon.Queue
		c.until("it waits after a failure", func() bool {
			c.expect(200, "GET", "/v2/queue", "", &q)
			return len(q.Queue) == 1 && q.Queue[0].Delay.TimeLeftSeconds > 0
		})
		if q.Queue[0].Delay.Overdue || q.Queue[0].Count != 1 {
			t.Errorf("%+v", q.Queue[0])
		}
		web := c.app("/web")
		if f := web.LastTaskFailure; f == nil || f.State != "TASK_FAILED" || f.Message != "Command exited with status 127" {
			t.Errorf("the last failure is %+v", f)
		}
		if len(web.Tasks) != 0 || web.TasksStaged+web.TasksRunning != 0 {
			t.Errorf("%+v %+v", web.TaskCounts, web.Tasks)
		}
		var why marathon.Why
		c.expect(200, "GET", "/v2/why?app=/web", "", &why)
		text := strings.Join(why.Lines, "\n")
		for _, part := range []string{"0 of 1 instance running", "until its next start", "the command was not found"} {
			if !strings.Contains(text, part) {
				t.Errorf("%q is not said:\n%s", part, text)
			}
		}
		if why.Facts.Status != marathon.StatusDelayed || len(why.Facts.Attempts) != 1 || *why.Facts.Attempts[0].Exit != 127 {
			t.Errorf("%+v", why.Facts)
		}
		c.expect(204, "DELETE", "/v2/queue/web/delay", "", nil)
		c.until("it was tried again", func() bool {
			c.expect(200, "GET", "/v2/why?app=/web", "", &why)
			return len(why.Facts.Attempts) > 1
		})
		c.expect(404, "DELETE", "/v2/queue/none/delay", "", nil)
	})
}

// TestGoingBack: a deployment that cannot go on is taken back, or left as it is.
func TestGoingBack(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		c.expect(201, "POST", "/v2/apps", sleeper, nil)
		c.settled()
		before := c.app("/web")
		var result marathon.DeploymentResult
		c.expect(200, "PUT", "/v2/apps/web", `{"cpus":100}`, &result)
		c.until("it waits", func() bool {
			var all []marathon.Deployment
			c.expect(200, "GET", "/v2/deployments?embed=waiting", "", &all)
			return len(all) == 1 && len(all[0].CurrentActions) == 1 && strings.Contains(all[0].CurrentActions[0].Waiting, "ready")
		})
		c.expect(200, "DELETE", "/v2/deployments/"+result.DeploymentID, "", &result)
		c.settled()
		after := c.app("/web")
		if after.CPUs != before.CPUs || after.TasksRunning != 2 || after.Version == before.Version {
			t.Errorf("after going back: %+v %+v", after.App, after.TaskCounts)
		}
		var versions struct{ History []marathon.AppVersion }
		c.expect(200, "GET", "/v2/apps/web/versions?embed=history", "", &versions)
		h := versions.History
		if len(h) != 3 || h[0].Outcome != "success" || h[1].Outcome != "failed" || h[2].Outcome != "success" ||
			len(h[1].Changes) != 1 || h[1].Changes[0].Path != "/cpus" {
			t.Errorf("history %+v", h)
		}
		c.expect(404, "DELETE", "/v2/deployments/"+h[1].Deployment, "", nil)
		c.expect(200, "PUT", "/v2/apps/web", `{"cpus":100}`, &result)
		if resp := c.expect(202, "DELETE", "/v2/deployments/"+result.DeploymentID+"?force=true", "", nil); resp.ContentLength != 0 {
			t.Errorf("a cancelled deployment is answered with %d bytes", resp.ContentLength)
		}
		c.expect(200, "POST", "/v2/apps/web/rollback", "", nil)
		c.settled()
		if web := c.app("/web"); web.CPUs != before.CPUs || web.TasksRunning != 2 {
			t.Errorf("after a rollback: %+v %+v", web.App, web.TaskCounts)
		}
	})
}

func TestDryRunsChangeNothing(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		c.expect(201, "POST", "/v2/apps", sleeper, nil)
		c.settled()
		before := c.app("/web")
		var plan marathon.DryRun
		c.expect(200, "PUT", "/v2/apps/web?dryRun=true", `{"cmd":"sleep 1"}`, &plan)
		if len(plan.Steps) != 1 || plan.Steps[0].Actions[0].Action != "RestartApplication" || !plan.Changes[0].Restart {
			t.Errorf("%+v", plan)
		}
		c.expect(200, "PUT", "/v2/apps/web?dryRun=true", `{"version":"`+string(before.Version)+`"}`, &plan)
		c.expect(200, "DELETE", "/v2/apps/web?dryRun=true", "", &plan)
		c.expect(200, "PUT", "/v2/groups?dryRun=true", `{"id":"/g","apps":[{"id":"a","cmd":"sleep 1"}]}`, &plan)
		if len(plan.Steps) != 2 {
			t.Errorf("%+v", plan)
		}
		var all []marathon.Deployment
		c.expect(200, "GET", "/v2/deployments", "", &all)
		if after := c.app("/web"); after.Version != before.Version || len(all) != 0 {
			t.Errorf("version %s instead of %s, deployments %+v", after.Version, before.Version, all)
		}
	})
}

// TestEventsFollowTheView: whoever hears of something finds it, and a deployment that is
// over is not listed any more.
func TestEventsFollowTheView(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, "GET", "http://127.0.0.1:8080/v2/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", "text/event-stream")
		stream, err := c.client.Do(r)
		if err != nil || stream.StatusCode != 200 || !strings.HasPrefix(stream.Header.Get("Content-Type"), "text/event-stream") {
			t.Fatalf("%+v, %v", stream, err)
		}
		defer stream.Body.Close()
		c.expect(201, "POST", "/v2/apps", sleeper, nil)
		var types []string
		lines := bufio.NewScanner(stream.Body)
		for lines.Scan() {
			data, ok := strings.CutPrefix(lines.Text(), "data: ")
			if !ok {
				continue
			}
			var e struct {
				EventType, TaskID, TaskStatus, ID string
			}
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				t.Fatalf("%s: %v", data, err)
			}
			if !slices.Contains(types, e.EventType) {
				types = append(types, e.EventType)
			}
			if e.EventType == "status_update_event" && e.TaskStatus == "TASK_RUNNING" {
				found := false
				for _, task := range c.app("/web").Tasks {
					found = found || task.ID == e.TaskID && task.State == "TASK_RUNNING"
				}
				if !found {
					t.Errorf("%s runs by the stream, and not by the API", e.TaskID)
				}
			}
			if e.EventType == "deployment_success" {
				var all []marathon.Deployment
				c.expect(200, "GET", "/v2/deployments", "", &all)
				if len(all) != 0 {
					t.Errorf("%s is over, and listed: %+v", e.ID, all)
				}
				break
			}
		}
		for _, want := range []string{"api_post_event", "deployment_info", "deployment_step_success", "instance_changed_event", "status_update_event", "deployment_success"} {
			if !slices.Contains(types, want) {
				t.Errorf("there was no %s among %v: %v", want, types, lines.Err())
			}
		}
	})
}

// TestAbdication ends a term; the next one goes on where it ended.
func TestAbdication(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		c.expect(201, "POST", "/v2/apps", sleeper, nil)
		c.settled()
		before := c.app("/web")
		c.expect(200, "DELETE", "/v2/leader", "", nil)
		c.until("it leads again", func() bool { return c.call("GET", "/v2/leader", "", nil).StatusCode == 200 })
		if after := c.app("/web"); len(after.Tasks) != 2 || after.Tasks[0].ID != before.Tasks[0].ID {
			t.Errorf("before %+v, after %+v", before.Tasks, after.Tasks)
		}
		c.expect(200, "PUT", "/v2/apps/web", `{"instances":1}`, nil)
		c.settled()
	})
}
