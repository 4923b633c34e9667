package gomarathon

import (
	"net/http"
	"slices"
	"testing"
	"time"

	marathon "github.com/gambol99/go-marathon"
)

func TestDeployments(t *testing.T) {
	c := up(t)
	if list := must(c.Deployments())(t); len(list) != 0 {
		t.Errorf("deployments of an empty cluster: %v", list)
	}
	made := c.create(web("/web", "1", 2))
	old := c.ids("/web")

	// A version that never gets healthy keeps its deployment open, and the app locked.
	stuck := must(c.UpdateApplication(web("/web", "2", 2).AddEnv("HEALTH", "bad"), false))(t)
	if !must(c.HasDeployment(stuck.DeploymentID))(t) {
		t.Fatal("a deployment is over that cannot be")
	}
	if err := c.WaitOnDeployment(stuck.DeploymentID, time.Second); err != marathon.ErrTimeoutError {
		t.Errorf("waiting for it: %v", err)
	}
	list := must(c.Deployments())(t)
	if len(list) != 1 {
		t.Fatalf("%d deployments", len(list))
	}
	d := list[0]
	if d.ID != stuck.DeploymentID || d.Version != stuck.Version || !slices.Equal(d.AffectedApps, []string{"/web"}) || d.CurrentStep != 1 || d.TotalSteps != 1 ||
		len(d.Steps) != 1 || len(d.Steps[0]) != 1 || d.Steps[0][0].Action != "RestartApplication" || d.Steps[0][0].App != "/web" ||
		len(d.CurrentActions) != 1 || d.CurrentActions[0].Action != "RestartApplication" || d.CurrentActions[0].App != "/web" {
		t.Errorf("the deployment is %+v with %+v", d, d.Steps)
	}
	for what, call := range map[string]func() (*marathon.DeploymentID, error){
		"update":  func() (*marathon.DeploymentID, error) { return c.UpdateApplication(web("/web", "3", 2), false) },
		"scale":   func() (*marathon.DeploymentID, error) { return c.ScaleApplicationInstances("/web", 5, false) },
		"restart": func() (*marathon.DeploymentID, error) { return c.RestartApplication("/web", false) },
	} {
		t.Run(what, func(t *testing.T) {
			_, err := call()
			refused(t, err, marathon.ErrCodeAppLocked, stuck.DeploymentID)
		})
	}

	// The old tasks serve on. Going back is a deployment of its own that keeps them.
	c.wait(c.DeleteDeployment(stuck.DeploymentID, false))
	if must(c.HasDeployment(stuck.DeploymentID))(t) {
		t.Error("a deployment is there after it was rolled back")
	}
	if got, ids := c.says("/web"), c.ids("/web"); got != "1 1" || !slices.Equal(ids, old) {
		t.Errorf("rolled back, the app says %q from %v; want the tasks of before, %v", got, ids, old)
	}
	_, err := c.DeleteDeployment(stuck.DeploymentID, false)
	refused(t, err, marathon.ErrCodeNotFound, "DeploymentPlan "+stuck.DeploymentID+" does not exist")

	// Force puts another deployment in its place.
	stuck = must(c.UpdateApplication(web("/web", "2", 2).AddEnv("HEALTH", "bad"), false))(t)
	c.wait(c.UpdateApplication(web("/web", "3", 2).AddEnv("HEALTH", "good"), true))
	if must(c.HasDeployment(stuck.DeploymentID))(t) {
		t.Error("a deployment is there that another one was forced over")
	}
	if got := c.says("/web"); got != "3 3" {
		t.Errorf("forced, the app says %q", got)
	}
	c.wait(c.RestartApplication("/web", true))
	c.wait(c.ScaleApplicationInstances("/web", 1, true))

	// Stopping one leaves things as they are; go-marathon does not send its force.
	stuck = must(c.UpdateApplication(web("/web", "4", 1).AddEnv("HEALTH", "bad"), false))(t)
	req := must(http.NewRequest(http.MethodDelete, c.url+"/v2/deployments/"+stuck.DeploymentID+"?force=true", nil))(t)
	resp := must(http.DefaultClient.Do(req))(t)
	resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		t.Errorf("stopping a deployment: %s", resp.Status)
	}
	until(t, "the deployment is gone", func() bool { return !must(c.HasDeployment(stuck.DeploymentID))(t) })
	if a := must(c.Application("/web"))(t); a.Version != stuck.Version || (*a.Env)["VERSION"] != "4" {
		t.Errorf("stopped, the app is %s with %v; want %s", a.Version, *a.Env, stuck.Version)
	}
	c.wait(c.SetApplicationVersion("/web", &marathon.ApplicationVersion{Version: made.Version}))
	if got := c.says("/web"); got != "1 1" {
		t.Errorf("back at the first version, the app says %q", got)
	}

	// Taking back a creation removes the app.
	created := must(c.CreateApplication(web("/new", "1", 1).AddEnv("HEALTH", "bad")))(t)
	c.wait(c.DeleteDeployment(created.DeploymentIDs()[0].DeploymentID, true))
	_, err = c.Application("/new")
	refused(t, err, marathon.ErrCodeNotFound, "App '/new' does not exist")
}
