package service

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

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

// failingStore takes nothing once it is broken.
type failingStore struct {
	store.Store
	broken *atomic.Bool
}

func (s failingStore) Commit(ctx context.Context, l store.Leadership, ops []store.Op) error {
	if s.broken.Load() {
		return errors.New("the disk is full")
	}
	return s.Store.Commit(ctx, l, ops)
}

// What cannot be kept is not promised: the service ends, and the next one knows nothing
// of it.
func TestStoreThatFails(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		c.stop()
		var broken atomic.Bool
		l := listenPipes()
		cfg := c.config
		cfg.Listener, cfg.Store = l, failingStore{c.space.Open(), &broken}
		done := make(chan error, 1)
		go func() { done <- Run(t.Context(), cfg) }()
		c.client = &http.Client{Transport: &http.Transport{DialContext: l.dial}}
		c.until("the service leads", func() bool { return c.call("GET", "/ping", "", nil).StatusCode == 200 })
		broken.Store(true)
		resp, err := c.client.Post("http://127.0.0.1:8080/v2/apps", "application/json", strings.NewReader(sleeper))
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode < 500 {
				t.Errorf("answered %d", resp.StatusCode)
			}
		}
		if err := <-done; err == nil || !strings.Contains(err.Error(), "the disk is full") {
			t.Errorf("ended with %v", err)
		}
		c.client.CloseIdleConnections()
		cfg.Store.Close()
		c.begin()
		c.expect(404, "GET", "/v2/apps/web", "", nil)
	})
}
