package etcd

import (
	"context"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/stoa-kernel/stoa/store"
)

// Who waits for the leader's place while the cluster is away is still a candidate after.
func TestCandidateOutlivesItsLease(t *testing.T) {
	ctx := context.Background()
	s, err := Embed(ctx, EmbedConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	a, b := s.Open(), s.Open()
	defer a.Close()
	defer b.Close()
	first, err := a.Elect(ctx, "x", []byte("a"))
	if err != nil {
		t.Fatal(err)
	}
	type result struct {
		l   store.Leadership
		err error
	}
	won := make(chan result, 1)
	go func() {
		l, err := b.Elect(ctx, "x", []byte("b"))
		won <- result{l, err}
	}()
	raw := a.(*client).etcd
	held, err := raw.Get(ctx, leaderPrefix+"x")
	if err != nil || len(held.Kvs) != 1 {
		t.Fatal(held, err)
	}
	var waiting clientv3.LeaseID
	for waiting == 0 {
		all, err := raw.Leases(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range all.Leases {
			if int64(l.ID) != held.Kvs[0].Lease {
				waiting = l.ID
			}
		}
	}
	if _, err := raw.Revoke(ctx, waiting); err != nil {
		t.Fatal(err)
	}
	if err := first.Resign(ctx); err != nil {
		t.Fatal(err)
	}
	if r := <-won; r.err != nil || r.l.Epoch <= first.Epoch {
		t.Errorf("the one that waited: %+v", r)
	}
}
