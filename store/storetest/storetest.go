// Package storetest is the suite every store.Store must pass.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stoa-kernel/stoa/store"
)

// Run tests the stores that open returns; all handles of one test share one space.
func Run(t *testing.T, space func(t *testing.T) (open func() store.Store)) {
	ctx := context.Background()
	elect := func(t *testing.T, s store.Store, value string) store.Leadership {
		t.Helper()
		l, err := s.Elect(ctx, "master", []byte(value))
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	keys := func(t *testing.T, s store.Store, prefix string) string {
		t.Helper()
		records, err := s.Load(ctx, prefix)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		for _, r := range records {
			fmt.Fprintf(&b, "%s=%s ", r.Key, r.Value)
		}
		return b.String()
	}

	t.Run("commit and load in key order, by prefix", func(t *testing.T) {
		s := space(t)()
		l := elect(t, s, "a")
		err := s.Commit(ctx, l, []store.Op{{Key: "x/b", Value: []byte("2")}, {Key: "x/a", Value: []byte("1")}, {Key: "y", Value: []byte("3")}})
		if err != nil {
			t.Fatal(err)
		}
		if got := keys(t, s, "x/"); got != "x/a=1 x/b=2 " {
			t.Errorf("loaded %q", got)
		}
	})

	t.Run("many large values in one commit", func(t *testing.T) {
		s := space(t)()
		l := elect(t, s, "a")
		var ops []store.Op
		for n := range 20 {
			ops = append(ops, store.Op{Key: fmt.Sprintf("large/%02d", n), Value: bytes.Repeat([]byte{'x'}, store.MaxValue)})
		}
		if err := s.Commit(ctx, l, ops); err != nil {
			t.Fatal(err)
		}
		if records, err := s.Load(ctx, "large/"); err != nil || len(records) != len(ops) {
			t.Errorf("%d of %d loaded, %v", len(records), len(ops), err)
		}
	})

	t.Run("a later operation on a key wins, nil deletes, empty stays", func(t *testing.T) {
		s := space(t)()
		l := elect(t, s, "a")
		err := s.Commit(ctx, l, []store.Op{
			{Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte("2")},
			{Key: "b", Value: []byte("1")}, {Key: "b"}, {Key: "c", Value: []byte{}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := keys(t, s, ""); got != "a=2 c= " {
			t.Errorf("loaded %q", got)
		}
	})

	t.Run("more operations than one transaction takes", func(t *testing.T) {
		s := space(t)()
		l := elect(t, s, "a")
		var ops []store.Op
		for i := range 3*store.MaxOps + 1 {
			ops = append(ops, store.Op{Key: fmt.Sprintf("k/%06d", i), Value: []byte("v")})
		}
		if err := s.Commit(ctx, l, ops); err != nil {
			t.Fatal(err)
		}
		records, err := s.Load(ctx, "k/")
		if err != nil || len(records) != len(ops) {
			t.Errorf("loaded %d records, %v; want %d", len(records), err, len(ops))
		}
	})

	t.Run("a value too large and an empty key are refused", func(t *testing.T) {
		s := space(t)()
		l := elect(t, s, "a")
		if err := s.Commit(ctx, l, []store.Op{{Key: "big", Value: make([]byte, store.MaxValue+1)}}); err == nil {
			t.Error("a value above MaxValue was taken")
		}
		if err := s.Commit(ctx, l, []store.Op{{Value: []byte("v")}}); err == nil {
			t.Error("an empty key was taken")
		}
		if got := keys(t, s, ""); got != "" {
			t.Errorf("something was written: %q", got)
		}
	})

	t.Run("one leader at a time, epochs grow, the old one is fenced", func(t *testing.T) {
		open := space(t)
		a, b := open(), open()
		la := elect(t, a, "a")
		if v, ok, err := b.Leader(ctx, "master"); err != nil || !ok || string(v) != "a" {
			t.Fatalf("leader is %q, %v, %v; want a", v, ok, err)
		}
		second := make(chan store.Leadership, 1)
		go func() {
			l, err := b.Elect(ctx, "master", []byte("b"))
			if err != nil {
				t.Error(err)
			}
			second <- l
		}()
		if err := la.Resign(ctx); err != nil {
			t.Fatal(err)
		}
		<-la.Lost
		lb := <-second
		if lb.Epoch <= la.Epoch {
			t.Errorf("epoch %d follows %d", lb.Epoch, la.Epoch)
		}
		err := a.Commit(ctx, la, []store.Op{{Key: "stale", Value: []byte("x")}})
		if !errors.Is(err, store.ErrFenced) {
			t.Errorf("a commit of the old epoch gave %v, want ErrFenced", err)
		}
		if err := b.Commit(ctx, lb, []store.Op{{Key: "fresh", Value: []byte("x")}}); err != nil {
			t.Error(err)
		}
		if got := keys(t, b, ""); got != "fresh=x " {
			t.Errorf("loaded %q", got)
		}
	})

	t.Run("names lead apart", func(t *testing.T) {
		open := space(t)
		s := open()
		elect(t, s, "a")
		if _, err := s.Elect(ctx, "service", []byte("s")); err != nil {
			t.Error(err)
		}
		if v, ok, err := s.Leader(ctx, "nobody"); err != nil || ok {
			t.Errorf("nobody leads as %q, %v", v, err)
		}
	})

	t.Run("closing ends leadership", func(t *testing.T) {
		open := space(t)
		a, b := open(), open()
		la := elect(t, a, "a")
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		<-la.Lost
		lb := elect(t, b, "b")
		if lb.Epoch <= la.Epoch {
			t.Errorf("epoch %d follows %d", lb.Epoch, la.Epoch)
		}
	})

	t.Run("waiting for election ends with its context", func(t *testing.T) {
		open := space(t)
		elect(t, open(), "a")
		waiting, cancel := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() {
			_, err := open().Elect(waiting, "master", []byte("b"))
			done <- err
		}()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
	})
}
