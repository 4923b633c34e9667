package gomarathon

import (
	"net"
	"net/url"
	"strings"
	"testing"

	marathon "github.com/gambol99/go-marathon"
)

func TestQueue(t *testing.T) {
	c := up(t)
	if list := must(c.Queue())(t).Items; len(list) != 0 {
		t.Errorf("the queue of an empty cluster: %v", list)
	}
	item := func(app string) *marathon.Item {
		for _, i := range must(c.Queue())(t).Items {
			if i.Application.ID == app {
				return &i
			}
		}
		return nil
	}

	// One that fits nowhere waits for offers, one that fails for its backoff.
	big := plain("/big", "sleep 1000", 2).CPU(1000)
	must(c.CreateApplication(big))(t)
	hour, same := 3600.0, 1.0
	fails := plain("/fails", "exit 3", 1)
	fails.BackoffSeconds, fails.BackoffFactor, fails.MaxLaunchDelaySeconds = &hour, &same, &hour
	must(c.CreateApplication(fails))(t)
	until(t, "one app is in the queue for want of resources", func() bool {
		i := item("/big")
		return i != nil && i.Count == 2 && i.Delay.Overdue && i.Delay.TimeLeftSeconds == 0 && i.Application.CPUs == 1000
	})
	delayed := func() bool {
		i := item("/fails")
		return i != nil && i.Count == 1 && !i.Delay.Overdue && i.Delay.TimeLeftSeconds > 3500 && i.Delay.TimeLeftSeconds <= 3600
	}
	until(t, "the other is delayed", delayed)
	failure := must(c.Application("/fails"))(t).LastTaskFailure
	if failure == nil || failure.State != "TASK_FAILED" || failure.AppID != "/fails" || failure.Host != "127.0.0.1" || !strings.Contains(failure.Message, "exited with status 3") {
		t.Fatalf("the last failure is %+v", failure)
	}

	// Without the delay it is tried once more.
	if err := c.DeleteQueueDelay("/fails"); err != nil {
		t.Fatal(err)
	}
	until(t, "there is another failure", func() bool { return must(c.Application("/fails"))(t).LastTaskFailure.TaskID != failure.TaskID })
	until(t, "it is delayed again", delayed)
	refused(t, c.DeleteQueueDelay("/absent"), marathon.ErrCodeNotFound, "Application /absent not found in tasks queue.")

	for _, app := range []string{"/big", "/fails"} {
		c.wait(c.DeleteApplication(app, true))
	}
	if list := must(c.Queue())(t).Items; len(list) != 0 {
		t.Errorf("the queue without apps: %v", list)
	}
}

func TestLeader(t *testing.T) {
	c := up(t)
	host := strings.TrimPrefix(c.url, "http://")
	if got := c.GetMarathonURL(); got != c.url {
		t.Errorf("GetMarathonURL is %s; want %s", got, c.url)
	}
	if !must(c.Ping())(t) {
		t.Error("no answer to a ping")
	}
	info := must(c.Info())(t)
	port := must(url.Parse(c.url))(t).Port()
	if info.Name != "marathon" || !strings.HasPrefix(info.Version, "1.10.") || info.FrameworkID == "" || info.Leader != host ||
		info.MarathonConfig.FrameworkName != "marathon" || !info.MarathonConfig.Checkpoint || !info.MarathonConfig.Ha || info.MarathonConfig.Master == "" ||
		info.MarathonConfig.LocalPortMin != 10000 || info.MarathonConfig.LocalPortMax != 20000 || info.MarathonConfig.FailoverTimeout != 604800 ||
		info.MarathonConfig.TaskLaunchTimeout != 300000 {
		t.Errorf("info is %+v", info)
	}
	if got := int(info.HTTPConfig.HTTPPort); must(net.LookupPort("tcp", port))(t) != got {
		t.Errorf("http_port is %d; want %s", got, port)
	}
	if got := must(c.Leader())(t); got != host {
		t.Errorf("the leader is %s; want %s", got, host)
	}

	// Who abdicates starts anew; apps do not notice.
	c.create(web("/web", "1", 1))
	ids := c.ids("/web")
	if message := must(c.AbdicateLeader())(t); message != "Leadership abdicated" {
		t.Errorf("abdication: %q", message)
	}
	until(t, "there is a leader", func() bool {
		leader, err := c.Leader()
		return err == nil && leader == host && must(c.Info())(t).FrameworkID == info.FrameworkID
	})
	if got := c.ids("/web"); len(got) != 1 || got[0] != ids[0] {
		t.Errorf("after the abdication there run %v; want %v", got, ids)
	}
	c.wait(c.ScaleApplicationInstances("/web", 2, false))
	if got := c.says("/web"); got != "1 1" {
		t.Errorf("after the abdication the app says %q", got)
	}
}

func TestCredentials(t *testing.T) {
	c := up(t, "--http-credentials", "me:secret")
	_, err := c.Info()
	refused(t, err, marathon.ErrCodeUnauthorized, "Unauthorized")
	if _, err := c.AddEventsListener(everything); err == nil {
		t.Error("events are sent to who has no credentials")
	}
	m := c.client(func(cfg *marathon.Config) { cfg.HTTPBasicAuthUser, cfg.HTTPBasicPassword = "me", "secret" })
	channel := must(m.AddEventsListener(everything))(t)
	f := &follower{t: t, channel: channel}
	made := must(m.CreateApplication(plain("/app", "sleep 1000", 1)))(t)
	f.success(made.DeploymentIDs()[0].DeploymentID)
	m.RemoveEventsListener(channel)
	closed(t, channel)
}
