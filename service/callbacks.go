package service

import (
	"context"
	"encoding/json"

	"github.com/stoa-kernel/stoa/service/events"
	"github.com/stoa-kernel/stoa/store"
)

// newCallbacks is /v2/eventSubscriptions; what is registered is kept in the store.
func newCallbacks(ctx context.Context, cfg Config, lead store.Leadership, log *events.Log) (*events.Callbacks, error) {
	records, err := cfg.Store.Load(ctx, keyCallbacks)
	if err != nil {
		return nil, err
	}
	var urls []string
	for _, r := range records {
		if err := decode(r, &urls); err != nil {
			return nil, err
		}
	}
	return events.NewCallbacks(log, urls, cfg.CallbackAllow, func(ctx context.Context, urls []string) error {
		raw, err := json.Marshal(urls)
		if err != nil {
			return err
		}
		return cfg.Store.Commit(ctx, lead, []store.Op{{Key: keyCallbacks, Value: raw}})
	}), nil
}
