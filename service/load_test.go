package service

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/state"
	"github.com/stoa-kernel/stoa/store"
)

// records of a service of so many instances.
func records(t testing.TB, instances int) (all []store.Record) {
	put := func(key string, value any) {
		raw, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, store.Record{Key: keyAll + key, Value: raw})
	}
	v := marathon.Version("2026-01-01T00:00:00.000Z")
	put("apps/a/"+string(v), state.StoredApp{ID: "/a", Version: v, App: &marathon.App{ID: "/a", Version: v}})
	put("backoff/a", state.Backoff{App: "/a"})
	put("groups/g/"+string(v), state.StoredGroup{ID: "/g", Version: v})
	for n := range instances {
		id := instance.NewID("/a", fmt.Sprint(n))
		put("instances/"+id, instance.Instance{ID: id, App: "/a", Version: v, Ports: []int{n}, Agent: &instance.Agent{ID: "a", Host: "h"},
			TaskID: instance.TaskID(id, 1), Health: []instance.Health{{Known: true, Alive: true}}})
	}
	put("root", v)
	put("roots/"+string(v), v)
	return all
}

func TestManyDecodeWhatOneDoes(t *testing.T) {
	all := records(t, 100)
	want, _, err := recoveredBy(1, all)
	if err != nil || len(want.Instances) != 100 || want.Version == "" || len(want.Roots) != 1 {
		t.Fatalf("%v, %d instances of %s", err, len(want.Instances), want.Version)
	}
	for _, n := range []int{2, 3, 64, 500} {
		if got, _, err := recoveredBy(n, all); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("decoded by %d: %v, %+v", n, err, got)
		}
	}
	all[50].Value = []byte("{")
	if _, _, err := recoveredBy(4, all); err == nil {
		t.Error("a record that does not decode was left out")
	}
}

func BenchmarkDecode(b *testing.B) {
	all := records(b, 100_000)
	for _, n := range []int{1, 2} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if _, _, err := recoveredBy(n, all); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
