package service

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/store"
	"github.com/stoa-kernel/stoa/store/memory"
)

// kept is a store of the service, and the file beside it.
func kept(t *testing.T, records map[string]string) (backups, string) {
	t.Helper()
	s := memory.New()
	lead, err := s.Elect(t.Context(), "service", nil)
	if err != nil {
		t.Fatal(err)
	}
	b := backups{store: s, lead: lead, dir: t.TempDir()}
	var ops []store.Op
	for _, key := range slices.Sorted(maps.Keys(records)) {
		ops = append(ops, store.Op{Key: key, Value: []byte(records[key])})
	}
	if len(ops) > 0 {
		if err := s.Commit(t.Context(), lead, ops); err != nil {
			t.Fatal(err)
		}
	}
	return b, "file://" + filepath.Join(b.dir, "one")
}

func content(t *testing.T, b backups, prefix string) map[string]string {
	t.Helper()
	all, err := b.store.Load(t.Context(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	m := make(map[string]string)
	for _, r := range all {
		m[r.Key] = string(r.Value)
	}
	return m
}

func is(t *testing.T, got, want map[string]string) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// brokenStore fails from the nth commit on.
type brokenStore struct {
	store.Store
	left *int
}

func (s brokenStore) Commit(ctx context.Context, l store.Leadership, ops []store.Op) error {
	if *s.left--; *s.left < 0 {
		return errors.New("broken off")
	}
	return s.Store.Commit(ctx, l, ops)
}

var (
	before = map[string]string{"service/root": `"2020-01-01T00:00:00.000Z"`, "service/framework": "f-old", "service/callbacks": `["http://a"]`, "service/events/1-1": `{}`}
	after  = map[string]string{"service/root": `"2021-01-01T00:00:00.000Z"`, "service/framework": "f-new", "service/backoff/a": `{}`, "service/events/1-2": `{}`}
)

// What was kept is there again; the framework's id and the events are those of now.
func TestBackupAndRestore(t *testing.T) {
	b, file := kept(t, before)
	if err := b.backup(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	now, _ := kept(t, after)
	now.dir = b.dir
	if err := now.restore(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	is(t, content(t, now, keyAll), after) // until the next term
	// Broken off after each of its commits, the next begins anew.
	for n := range 3 {
		left := n
		done, err := finishRestore(t.Context(), brokenStore{now.store, &left}, now.lead)
		if n < 2 && err == nil || n == 2 && (err != nil || !done) {
			t.Fatalf("with %d commits: %v, %v", n, done, err)
		}
	}
	is(t, content(t, now, keyAll), map[string]string{
		"service/root": before["service/root"], "service/callbacks": before["service/callbacks"],
		"service/framework": "f-new", "service/events/1-2": `{}`,
	})
	is(t, content(t, now, "service-staged"), nil)

	empty, _ := kept(t, nil)
	empty.dir = b.dir
	if err := empty.restore(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	if done, err := finishRestore(t.Context(), empty.store, empty.lead); err != nil || !done {
		t.Fatal(done, err)
	}
	want := maps.Clone(before)
	delete(want, "service/events/1-1")
	is(t, content(t, empty, keyAll), want)
	if done, err := finishRestore(t.Context(), empty.store, empty.lead); err != nil || done {
		t.Error("restored twice", err)
	}
}

// What is staged but not complete is removed.
func TestRestoreBrokenOff(t *testing.T) {
	b, file := kept(t, before)
	if err := b.backup(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	left := 1
	broken := b
	broken.store = brokenStore{b.store, &left}
	if err := broken.restore(t.Context(), file); err == nil {
		t.Fatal("no error")
	}
	if done, err := finishRestore(t.Context(), b.store, b.lead); err != nil || done {
		t.Fatal(done, err)
	}
	is(t, content(t, b, "service"), before)
}

func TestBackupIsRefused(t *testing.T) {
	b, file := kept(t, before)
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "secret"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, filepath.Join(b.dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := b.backup(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(b.dir, "one"))
	if err != nil {
		t.Fatal(err)
	}
	var foreign bytes.Buffer
	if err := writeBackup(&foreign, []store.Record{{Key: "master/x", Value: []byte("1")}}); err != nil {
		t.Fatal(err)
	}
	var corrupt bytes.Buffer
	if err := writeBackup(&corrupt, []store.Record{{Key: "service/apps/x", Value: []byte("{")}}); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"short": whole[:len(whole)-12], "text": []byte("hello"), "foreign": foreign.Bytes(), "corrupt": corrupt.Bytes()} {
		if err := os.WriteFile(filepath.Join(b.dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	below := "file://" + b.dir
	off := b
	off.dir = ""
	for name, err := range map[string]error{
		"s3":        b.backup(t.Context(), "s3://bucket/key"),
		"http":      b.restore(t.Context(), "http://host/x"),
		"host":      b.restore(t.Context(), "file://host/x"),
		"relative":  b.backup(t.Context(), "file:x"),
		"outside":   b.backup(t.Context(), "file:///tmp/x"),
		"above":     b.backup(t.Context(), below+"/../x"),
		"the dir":   b.backup(t.Context(), below),
		"symlink":   b.backup(t.Context(), below+"/link/x"),
		"read link": b.restore(t.Context(), below+"/link/secret"),
		"off":       off.backup(t.Context(), file),
		"missing":   b.restore(t.Context(), below+"/nothing"),
		"short":     b.restore(t.Context(), below+"/short"),
		"text":      b.restore(t.Context(), below+"/text"),
		"foreign":   b.restore(t.Context(), below+"/foreign"),
		"corrupt":   b.restore(t.Context(), below+"/corrupt"),
	} {
		var fault *app.Fault
		if !errors.As(err, &fault) || fault.Status != 422 {
			t.Errorf("%s: %v", name, err)
		}
	}
	is(t, content(t, b, "service"), before)
}
