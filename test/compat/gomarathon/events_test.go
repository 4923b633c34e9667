package gomarathon

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	marathon "github.com/gambol99/go-marathon"
)

// everything is a filter that takes all events.
const everything = marathon.EventIDAppTerminated<<1 - 1

// follow collects the events of a channel until one is what is waited for.
type follower struct {
	t       *testing.T
	channel marathon.EventsChannel
	seen    []*marathon.Event
}

// until waits for an event that was not there before, or was.
func (f *follower) until(what string, is func(*marathon.Event) bool) *marathon.Event {
	f.t.Helper()
	for _, e := range f.seen {
		if is(e) {
			return e
		}
	}
	deadline := time.After(patience)
	for {
		select {
		case e := <-f.channel:
			f.seen = append(f.seen, e)
			if is(e) {
				return e
			}
		case <-deadline:
			var names []string
			for _, e := range f.seen {
				names = append(names, fmt.Sprintf("%s %+v", e.Name, e.Event))
			}
			f.t.Fatalf("no %s in %v, but %q", what, patience, names)
		}
	}
}

// success of a deployment.
func (f *follower) success(id string) {
	f.t.Helper()
	f.until("deployment_success of "+id, func(e *marathon.Event) bool {
		s, ok := e.Event.(*marathon.EventDeploymentSuccess)
		return ok && s.ID == id
	})
}

// life is what one app's life from creation to deletion tells.
func (f *follower) life(c *cluster) {
	t := f.t
	t.Helper()
	a := web("/web", "1", 1)
	made := must(c.CreateApplication(a))(t)
	deployment := made.DeploymentIDs()[0].DeploymentID
	f.success(deployment)
	if must(c.HasDeployment(deployment))(t) {
		t.Error("a deployment is told to be over and is still there")
	}
	f.until("api_post_event", func(e *marathon.Event) bool {
		p, ok := e.Event.(*marathon.EventAPIRequest)
		return ok && p.URI == "/v2/apps" && p.ClientIP == "127.0.0.1" && p.AppDefinition != nil && p.AppDefinition.ID == "/web" && *p.AppDefinition.Instances == 1
	})
	f.until("group_change_success", func(e *marathon.Event) bool {
		g, ok := e.Event.(*marathon.EventGroupChangeSuccess)
		return ok && g.GroupID == "/" && g.Version == made.Version
	})
	f.until("deployment_info", func(e *marathon.Event) bool {
		d, ok := e.Event.(*marathon.EventDeploymentInfo)
		return ok && d.Plan.ID == deployment && len(d.CurrentStep.Actions) == 1 && d.CurrentStep.Actions[0].App == "/web"
	})
	f.until("deployment_step_success", func(e *marathon.Event) bool {
		d, ok := e.Event.(*marathon.EventDeploymentStepSuccess)
		return ok && d.Plan.ID == deployment && len(d.Plan.Steps) > 0
	})
	f.until("add_health_check_event", func(e *marathon.Event) bool {
		h, ok := e.Event.(*marathon.EventAddHealthCheck)
		return ok && h.AppID == "/web" && h.HealthCheck.Path == "/health" && h.HealthCheck.IntervalSeconds == 1
	})
	task := must(c.Tasks("/web"))(t).Tasks[0]
	status := func(id, state string) func(*marathon.Event) bool {
		return func(e *marathon.Event) bool {
			s, ok := e.Event.(*marathon.EventStatusUpdate)
			return ok && s.AppID == "/web" && s.TaskID == id && s.TaskStatus == state && s.Host == task.Host &&
				s.SlaveID == task.SlaveID && slices.Equal(s.Ports, task.Ports) && s.Version == made.Version && s.Timestamp != ""
		}
	}
	f.until("status_update_event of TASK_RUNNING", status(task.ID, "TASK_RUNNING"))
	f.until("health_status_changed_event", func(e *marathon.Event) bool {
		h, ok := e.Event.(*marathon.EventHealthCheckChanged)
		return ok && h.AppID == "/web" && h.Alive && h.Version == made.Version
	})

	if _, err := c.KillTask(task.ID, nil); err != nil {
		t.Fatal(err)
	}
	f.until("status_update_event of TASK_KILLED", status(task.ID, "TASK_KILLED"))

	// A version that fails its check, and is given up.
	stuck := must(c.UpdateApplication(web("/web", "2", 1).AddEnv("HEALTH", "bad"), true))(t)
	f.until("failed_health_check_event", func(e *marathon.Event) bool {
		h, ok := e.Event.(*marathon.EventFailedHealthCheck)
		return ok && h.AppID == "/web" && h.HealthCheck.Path == "/health"
	})
	gone := must(c.DeleteApplication("/web", false))(t)
	f.until("deployment_failed", func(e *marathon.Event) bool {
		d, ok := e.Event.(*marathon.EventDeploymentFailed)
		return ok && d.ID == stuck.DeploymentID
	})
	f.success(gone.DeploymentID)
	f.until("app_terminated_event", func(e *marathon.Event) bool {
		a, ok := e.Event.(*marathon.EventAppTerminated)
		return ok && a.AppID == "/web"
	})
	f.until("remove_health_check_event", func(e *marathon.Event) bool {
		h, ok := e.Event.(*marathon.EventRemoveHealthCheck)
		return ok && h.AppID == "/web"
	})
}

// closed waits until a listener that was removed gets nothing more.
func closed(t *testing.T, channel marathon.EventsChannel) {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case _, open := <-channel:
			if !open {
				return
			}
		case <-deadline:
			t.Fatal("the channel of a removed listener is open")
		}
	}
}

func TestEventsSSE(t *testing.T) {
	c := up(t)
	channel := must(c.AddEventsListener(everything))(t)
	f := &follower{t: t, channel: channel}
	f.until("event_stream_attached", func(e *marathon.Event) bool {
		a, ok := e.Event.(*marathon.EventStreamAttached)
		return ok && a.RemoteAddress != ""
	})
	f.life(c)
	c.RemoveEventsListener(channel)
	closed(t, channel)
}

func TestEventsCallback(t *testing.T) {
	c := up(t)
	free := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	port := free.Addr().(*net.TCPAddr).Port
	free.Close()
	m := c.client(func(cfg *marathon.Config) {
		cfg.EventsTransport, cfg.EventsInterface, cfg.EventsPort = marathon.EventsTransportCallback, "lo", port
	})
	if list := must(m.Subscriptions())(t).CallbackURLs; len(list) != 0 {
		t.Errorf("subscriptions of a new cluster: %v", list)
	}
	channel := must(m.AddEventsListener(everything))(t)
	own := fmt.Sprintf("http://127.0.0.1:%d/event", port)
	if list := must(m.Subscriptions())(t).CallbackURLs; !slices.Equal(list, []string{own}) {
		t.Errorf("subscriptions: %v; want %s", list, own)
	}
	f := &follower{t: t, channel: channel}

	// Another one that nobody listens at disturbs nothing.
	const other = "http://127.0.0.1:1/nobody"
	if err := m.Subscribe(other); err != nil {
		t.Fatal(err)
	}
	f.until("subscribe_event", func(e *marathon.Event) bool {
		s, ok := e.Event.(*marathon.EventSubscription)
		return ok && s.CallbackURL == other && s.ClientIP == "127.0.0.1"
	})
	f.life(c)
	if err := m.Unsubscribe(other); err != nil {
		t.Fatal(err)
	}
	f.until("unsubscribe_event", func(e *marathon.Event) bool {
		s, ok := e.Event.(*marathon.EventUnsubscription)
		return ok && s.CallbackURL == other
	})

	m.RemoveEventsListener(channel)
	closed(t, channel)
	if list := must(m.Subscriptions())(t).CallbackURLs; len(list) != 0 {
		t.Errorf("subscriptions after the last listener left: %v", list)
	}
}
