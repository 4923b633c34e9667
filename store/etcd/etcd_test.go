package etcd_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stoa-kernel/stoa/store"
	"github.com/stoa-kernel/stoa/store/etcd"
	"github.com/stoa-kernel/stoa/store/storetest"
)

func embedded(t *testing.T, cfg etcd.EmbedConfig) *etcd.Server {
	t.Helper()
	s, err := etcd.Embed(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) func() store.Store {
		s := embedded(t, etcd.EmbedConfig{Dir: t.TempDir()})
		return func() store.Store {
			c := s.Open()
			t.Cleanup(func() { _ = c.Close() })
			return c
		}
	})
}

func TestRestartKeepsRecordsAndRaisesTheEpoch(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	var last uint64
	for i := range 3 {
		s, err := etcd.Embed(ctx, etcd.EmbedConfig{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		c := s.Open()
		l, err := c.Elect(ctx, "master", []byte("me"))
		if err != nil {
			t.Fatal(err)
		}
		if l.Epoch <= last {
			t.Errorf("epoch %d after %d", l.Epoch, last)
		}
		last = l.Epoch
		records, err := c.Load(ctx, "")
		if err != nil || len(records) != i {
			t.Fatalf("start %d: %d records, %v", i, len(records), err)
		}
		if err := c.Commit(ctx, l, []store.Op{{Key: fmt.Sprint("start/", i), Value: []byte("x")}}); err != nil {
			t.Fatal(err)
		}
		// The server stops under its client, as in a crash: no term is resigned.
		s.Close()
		_ = c.Close()
	}
}

func TestCommitMakesRoomWhenSpaceRunsOut(t *testing.T) {
	ctx := context.Background()
	s := embedded(t, etcd.EmbedConfig{Dir: t.TempDir(), QuotaBytes: 8 << 20})
	c := s.Open()
	defer c.Close()
	l, err := c.Elect(ctx, "master", nil)
	if err != nil {
		t.Fatal(err)
	}
	// Sixteen times the quota goes through one key: only history fills the space.
	value := make([]byte, store.MaxValue)
	for i := range 16 * 8 * 4 {
		value[0] = byte(i)
		if err := c.Commit(ctx, l, []store.Op{{Key: "k", Value: value}}); err != nil {
			t.Fatalf("write %d: %v", i, err)
		}
	}
}
