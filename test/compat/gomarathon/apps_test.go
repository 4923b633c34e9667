package gomarathon

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	marathon "github.com/gambol99/go-marathon"
)

func TestApplications(t *testing.T) {
	c := up(t)
	first := web("/web", "1", 2).AddLabel("tier", "front")
	made := c.create(first)
	if err := c.WaitOnApplication("/web", patience); err != nil {
		t.Fatal(err)
	}
	if ok := must(c.ApplicationOK("/web"))(t); !ok {
		t.Error("a deployment with health checks is over, and the app is not OK")
	}
	if got := c.says("/web"); got != "1 1" {
		t.Errorf("the app says %q", got)
	}

	// What is refused, and how go-marathon tells it.
	_, err := c.CreateApplication(first)
	refused(t, err, marathon.ErrCodeDuplicateID, "An app with id [/web] already exists.")
	_, err = c.CreateApplication(plain("/bad", "true", -1).CPU(-1))
	refused(t, err, marathon.ErrCodeInvalidBean, "path: '/instances'")
	refused(t, err, marathon.ErrCodeInvalidBean, "path: '/cpus'")
	_, err = c.CreateApplication(new(marathon.Application).Name("/No_Such").Command("true"))
	refused(t, err, marathon.ErrCodeInvalidBean, "path: '/id'")
	_, err = c.Application("/absent")
	refused(t, err, marathon.ErrCodeNotFound, "App '/absent' does not exist")
	_, err = c.RestartApplication("/absent", false)
	refused(t, err, marathon.ErrCodeNotFound, "App '/absent' does not exist")
	if err := c.WaitOnApplication("/absent", time.Millisecond); err != marathon.ErrTimeoutError {
		t.Errorf("waiting for an app that is not there: %v", err)
	}

	// Lists and embeds.
	c.create(plain("/other", "sleep 1000", 1))
	for query, want := range map[string]string{"": "/other /web", "id=WE": "/web", "label=tier==front": "/web", "label=tier!=front": "", "cmd=sleep": "/other"} {
		ids := must(c.ListApplications(must(url.ParseQuery(query))(t)))(t)
		slices.Sort(ids)
		if got := strings.Join(ids, " "); got != want {
			t.Errorf("apps with %q: %s; want %s", query, got, want)
		}
	}
	for _, a := range must(c.Applications(url.Values{"embed": {"apps.tasks"}}))(t).Apps {
		if a.TasksRunning != len(a.Tasks) || a.TasksRunning != *a.Instances {
			t.Errorf("%s has %d tasks of which %d run; want %d", a.ID, len(a.Tasks), a.TasksRunning, *a.Instances)
		}
	}
	a := must(c.ApplicationBy("/web", &marathon.GetAppOpts{Embed: []string{"app.taskStats"}}))(t)
	if n := a.TaskStats["totalSummary"].Stats.Counts["healthy"]; n != 2 {
		t.Errorf("taskStats count %d healthy tasks of 2", n)
	}
	if a.VersionInfo == nil || a.VersionInfo.LastConfigChangeAt != made.Version {
		t.Errorf("versionInfo %+v; created as %s", a.VersionInfo, made.Version)
	}

	// Scaling sends null for ports and dependencies: it must leave the tasks as they are.
	old := c.ids("/web")
	c.wait(c.ScaleApplicationInstances("/web", 3, false))
	now := c.ids("/web")
	if len(now) != 3 || slices.ContainsFunc(old, func(id string) bool { return !slices.Contains(now, id) }) {
		t.Errorf("scaled from 2 to 3, tasks %v became %v", old, now)
	}

	// An update replaces them all, and the app says meanwhile that it is being deployed.
	d := must(c.UpdateApplication(web("/web", "2", 3), false))(t)
	if list := must(c.ApplicationDeployments("/web"))(t); len(list) != 1 || list[0].DeploymentID != d.DeploymentID {
		t.Errorf("deployments of the app: %v; want %s", list, d.DeploymentID)
	}
	c.wait(d, nil)
	if got := c.says("/web"); got != "2 2 2" {
		t.Errorf("updated, the app says %q", got)
	}
	if list := must(c.ApplicationDeployments("/web"))(t); len(list) != 0 {
		t.Errorf("deployments of the app when all is done: %v", list)
	}

	// So does a restart, which gives a new version of the same.
	old = c.ids("/web")
	d = must(c.RestartApplication("/web", false))(t)
	c.wait(d, nil)
	if now := c.ids("/web"); slices.ContainsFunc(old, func(id string) bool { return slices.Contains(now, id) }) || len(now) != 3 {
		t.Errorf("restarted, tasks %v became %v", old, now)
	}
	if a := must(c.Application("/web"))(t); a.Version != d.Version || (*a.Env)["VERSION"] != "2" {
		t.Errorf("restarted, the app is %s with %v; want %s", a.Version, *a.Env, d.Version)
	}

	// Versions, and back to the first one.
	list := must(c.ApplicationVersions("/web"))(t).Versions
	if len(list) != 4 || list[0] != d.Version || list[3] != made.Version {
		t.Errorf("versions %v; want 4 from %s to %s", list, d.Version, made.Version)
	}
	if !must(c.HasApplicationVersion("/web", made.Version))(t) || must(c.HasApplicationVersion("/web", "2014-09-12T23:28:21.737Z"))(t) {
		t.Error("HasApplicationVersion is wrong")
	}
	if a := must(c.ApplicationByVersion("/web", made.Version))(t); (*a.Env)["VERSION"] != "1" || *a.Instances != 2 {
		t.Errorf("the first version has %v and %d instances", *a.Env, *a.Instances)
	}
	_, err = c.ApplicationByVersion("/web", "2014-09-12T23:28:21.737Z")
	refused(t, err, marathon.ErrCodeNotFound, "does not exist")
	c.wait(c.SetApplicationVersion("/web", &marathon.ApplicationVersion{Version: made.Version}))
	if got := c.says("/web"); got != "1 1" {
		t.Errorf("back at the first version, the app says %q", got)
	}

	c.wait(c.DeleteApplication("/web", false))
	_, err = c.Application("/web")
	refused(t, err, marathon.ErrCodeNotFound, "App '/web' does not exist")
	if ids := must(c.ListApplications(nil))(t); !slices.Equal(ids, []string{"/other"}) {
		t.Errorf("apps after the deletion: %v", ids)
	}
}

// What needs Docker is taken, stored and waits. Its port mappings are in container, as
// since Marathon 1.5, where TaskEndpoints of this go-marathon does not look for them.
func TestDockerApplication(t *testing.T) {
	c := up(t)
	a := marathon.NewDockerApplication().Name("/docker").CPU(0.05).Memory(32).Count(1)
	a.Container.Docker.Container("nginx").Bridged().Expose(80).AddParameter("hostname", "x")
	a.Container.Volume("/etc", "/host-etc", "RO")
	if _, err := a.CheckHTTP("/", 80, 10); err != nil {
		t.Fatal(err)
	}
	if _, err := a.CheckTCP(80, 10); err != nil {
		t.Fatal(err)
	}
	made := must(c.CreateApplication(a))(t)
	if d := made.Container.Docker; d.Image != "nginx" || d.Parameters == nil || len(*d.Parameters) != 1 || d.Network != "" || d.PortMappings != nil {
		t.Errorf("container.docker is %+v", d)
	}
	until(t, "the app is in the queue", func() bool {
		return len(must(c.Queue())(t).Items) == 1
	})
	if running := must(c.Application("/docker"))(t).AllTaskRunning(); running {
		t.Error("an app that needs Docker runs without it")
	}
	if _, err := c.TaskEndpoints("/docker", 80, true); err == nil || !strings.Contains(err.Error(), "does not contain any port mappings") {
		t.Errorf("TaskEndpoints: %v", err)
	}
	_, err := c.TaskEndpoints("/absent", 80, true)
	refused(t, err, marathon.ErrCodeNotFound, "App '/absent' does not exist")
	// A deletion always forces.
	c.wait(c.DeleteApplication("/docker", false))
}
