package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/service/events"
	"github.com/stoa-kernel/stoa/store"
)

// watchedStore shows what is committed.
type watchedStore struct {
	store.Store
	seen func([]store.Op)
}

func (s watchedStore) Commit(ctx context.Context, l store.Leadership, ops []store.Op) error {
	s.seen(ops)
	return s.Store.Commit(ctx, l, ops)
}

// A crash between a deployment's end and the event that tells of it would leave those who
// wait for the event waiting: one commit has both.
func TestEventsAreStoredWithWhatTheyTellOf(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		c.stop()
		begun, ended := make(map[string]bool), 0
		c.watched = func(ops []store.Op) {
			kinds := make(map[string]int)
			for _, op := range ops {
				if strings.HasPrefix(op.Key, keyEvents) && op.Value != nil {
					var e events.Stored
					if err := json.Unmarshal(op.Value, &e); err != nil {
						t.Error(err)
					}
					kinds[e.Type]++
				}
			}
			for _, op := range ops {
				if !strings.HasPrefix(op.Key, keyAll+"deployments/") {
					continue
				}
				if op.Value == nil {
					if ended++; kinds["deployment_success"] == 0 {
						t.Errorf("%s ends, and with it are stored only %v", op.Key, kinds)
					}
				} else if kinds["deployment_info"] > 0 {
					begun[op.Key] = true // before the tree's version, and after it as begun
				}
			}
		}
		c.begin()
		c.expect(201, "POST", "/v2/apps", sleeper, nil)
		c.settled()
		c.expect(200, "PUT", "/v2/apps/web", `{"instances":1}`, nil)
		c.settled()
		if len(begun) != 2 || ended != 2 {
			t.Errorf("%d deployments began with an event, %d ended", len(begun), ended)
		}
	})
}

// refusingStore takes nothing while it is told to.
type refusingStore struct {
	store.Store
	err *atomic.Pointer[error]
}

func (s refusingStore) Commit(ctx context.Context, l store.Leadership, ops []store.Op) error {
	if err := s.err.Load(); err != nil {
		return *err
	}
	return s.Store.Commit(ctx, l, ops)
}

// refusable begins again with a store that can be made to refuse.
func (c *cluster) refusable() *atomic.Pointer[error] {
	refusal := new(atomic.Pointer[error])
	c.stop()
	c.wrapped = func(s store.Store) store.Store { return refusingStore{s, refusal} }
	c.begin()
	return refusal
}

// While the store refuses, writes are refused and nothing is half done; readers and apps
// go on, and when it has room again so does what was under way.
func TestStoreThatRefuses(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		var launched atomic.Int64
		run := c.master.Run
		c.master.Run = func(ctx context.Context, task *mesos.TaskInfo) *mesos.TaskStatus {
			launched.Add(1)
			return run(ctx, task)
		}
		refusal := c.refusable()
		c.expect(201, "POST", "/v2/apps", sleeper, nil)
		c.settled()
		full := errors.New("the disk is full")
		refusal.Store(&full)

		var failed marathon.Error
		c.expect(503, "PUT", "/v2/apps/web", `{"instances":3}`, &failed)
		for _, part := range []string{"may or may not", "the disk is full"} {
			if !strings.Contains(failed.Message, part) {
				t.Errorf("the one under way: %q is not said: %s", part, failed.Message)
			}
		}
		for _, w := range [][3]string{
			{"POST", "/v2/apps", `{"id":"/other","cmd":"sleep 1"}`},
			{"PUT", "/v2/apps/web?force=true", `{"instances":7}`}, {"DELETE", "/v2/apps/web", ""}, {"DELETE", "/v2/groups/?force=true", ""},
			{"DELETE", "/v2/apps/web/tasks", ""}, {"POST", "/v2/apps/web/restart", ""}, {"DELETE", "/v2/queue/web/delay", ""},
		} {
			failed = marathon.Error{}
			c.expect(503, w[0], w[1], w[2], &failed)
			if !strings.HasPrefix(failed.Message, "Nothing was changed: ") || !strings.Contains(failed.Message, "the disk is full") {
				t.Errorf("%s %s: %s", w[0], w[1], failed.Message)
			}
		}
		if web := c.app("/web"); web.Instances != 2 || web.TasksRunning != 2 || len(web.Deployments) != 0 {
			t.Errorf("meanwhile: %d instances, %+v, %+v", web.Instances, web.TaskCounts, web.Deployments)
		}
		var all []marathon.Deployment
		if c.expect(200, "GET", "/v2/deployments", "", &all); len(all) != 0 {
			t.Errorf("meanwhile: %+v", all)
		}
		if n := launched.Load(); n != 2 {
			t.Errorf("meanwhile %d tasks were launched", n)
		}

		refusal.Store(nil)
		c.until("what was under way is done", func() bool { return c.app("/web").TasksRunning == 3 })
		c.settled()
		c.expect(404, "GET", "/v2/apps/other", "", nil)
		c.expect(201, "POST", "/v2/apps", `{"id":"/other","cmd":"sleep 1"}`, nil)
		c.settled()
		synctest.Wait() // for the last one to say so
		if n := launched.Load(); n != 4 {
			t.Errorf("%d tasks were launched", n)
		}
	})
}

// A moment's refusal is not noticed.
func TestStoreThatRefusesOnce(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		refusal := c.refusable()
		late := errors.New("no leader")
		refusal.Store(&late)
		time.AfterFunc(moment/2, func() { refusal.Store(nil) })
		c.expect(201, "POST", "/v2/apps", sleeper, nil)
		c.settled()
	})
}

// What could not be kept is not known to the next one, and an end is possible meanwhile.
func TestStoreThatRefusesToTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		refusal := c.refusable()
		full := errors.New("the disk is full")
		refusal.Store(&full)
		c.expect(503, "POST", "/v2/apps", sleeper, nil)
		c.stop()
		c.wrapped = nil
		c.begin()
		c.expect(404, "GET", "/v2/apps/web", "", nil)
	})
}

// Who is not the leader any more ends at once.
func TestStoreThatFences(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		refusal := c.refusable()
		fenced := fmt.Errorf("commit: %w", store.ErrFenced)
		refusal.Store(&fenced)
		c.ends = store.ErrFenced
		if resp, err := c.client.Post("http://127.0.0.1:8080/v2/apps", "application/json", strings.NewReader(sleeper)); err == nil {
			resp.Body.Close()
			if resp.StatusCode < 500 {
				t.Errorf("answered %d", resp.StatusCode)
			}
		}
		c.stop()
		c.ends, c.wrapped = nil, nil
		c.begin()
		c.expect(404, "GET", "/v2/apps/web", "", nil)
	})
}
