package service

import (
	"context"
	"encoding/json"
	"strings"
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
