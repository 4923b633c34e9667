package service

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/state"
	"github.com/stoa-kernel/stoa/store"
)

// values are a store.
type values map[string]string

func (v values) apply(ops []store.Op) {
	for _, op := range ops {
		if op.Value == nil {
			delete(v, op.Key)
		} else {
			v[op.Key] = string(op.Value)
		}
	}
}

func (v values) records() (all []store.Record) {
	for _, k := range slices.Sorted(maps.Keys(v)) {
		all = append(all, store.Record{Key: k, Value: []byte(v[k])})
	}
	return all
}

// read is what a start would find: versions by id.
func (v values) read(t *rapid.T) (*packs, map[string]string) {
	p, rest, err := unpack(v.records())
	if err != nil {
		t.Fatal(err)
	}
	in, _, err := recoveredBy(1, rest)
	if err != nil {
		t.Fatal(err)
	}
	p.know(in.Instances)
	found := make(map[string]string)
	for _, i := range in.Instances {
		found[i.ID] = string(i.Version)
	}
	return p, found
}

// Whatever comes, and wherever a crash cuts a commit off, a start finds of each instance
// what it was at some moment of that commit; and the store does not fill up.
func TestPacksAgainstAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stored, twin := make(values), make(map[string]string)
		for n := range rapid.IntRange(0, 5).Draw(t, "loose") {
			i := &instance.Instance{ID: fmt.Sprint("i", n), App: "/a", Version: "0"}
			stored[keyInstances+i.ID], twin[i.ID] = string(i.AppendJSON(nil)), "0"
		}
		p, _ := stored.read(t)
		p.spare = rapid.SampledFrom([]int{5, 200}).Draw(t, "spare")
		version := 0
		for range rapid.IntRange(1, 60).Draw(t, "commits") {
			var puts []state.Put
			was := make(map[string][]string) // of each instance during the commit; "" is gone
			for id, v := range twin {
				was[id] = []string{v}
			}
			for range rapid.SampledFrom([]int{1, 2, 12}).Draw(t, "puts") {
				id := fmt.Sprint("i", rapid.IntRange(0, 9).Draw(t, "instance"))
				if was[id] == nil {
					was[id] = []string{""}
				}
				version++
				switch rapid.IntRange(0, 4).Draw(t, "what") {
				case 0:
					puts = append(puts, state.Put{Key: keyInstances + id})
					delete(twin, id)
				case 1:
					puts = append(puts, state.Put{Key: keyAll + "root", Value: marathon.Version(fmt.Sprint(version))})
				default:
					i := &instance.Instance{ID: id, App: "/a", Version: marathon.Version(fmt.Sprint(version))}
					puts, twin[id] = append(puts, state.Put{Key: keyInstances + id, Value: i}), fmt.Sprint(version)
				}
				was[id] = append(was[id], twin[id])
			}
			ops, err := p.encode(state.Compact(puts))
			if err != nil {
				t.Fatal(err)
			}
			for n := range ops {
				cut := maps.Clone(stored)
				cut.apply(ops[:n])
				_, found := cut.read(t)
				for id, some := range was {
					if !slices.Contains(some, found[id]) {
						t.Fatalf("after %d of %d operations %s is %q; it was %q", n, len(ops), id, found[id], some)
					}
				}
			}
			stored.apply(ops)
			again, found := stored.read(t)
			if !maps.Equal(found, twin) {
				t.Fatalf("found %v, want %v", found, twin)
			}
			if again.lines != p.lines || len(again.all) != len(p.all) || !maps.EqualFunc(again.newest, p.newest, func(a, b record) bool { return a.pack == b.pack }) {
				t.Fatalf("read as %+v\nwritten as %+v", again, p)
			}
			if p.lines > 2*len(twin)+p.spare+12 || len(p.loose) > 0 {
				t.Fatalf("%d lines and %d loose for %d instances", p.lines, len(p.loose), len(twin))
			}
			if rapid.IntRange(0, 3).Draw(t, "restart") == 0 {
				p, again.spare = again, p.spare
			}
		}
	})
}

func TestManyInstancesAreFewValues(t *testing.T) {
	p, stored := newPacks(), make(values)
	var puts []state.Put
	for n := range 5000 {
		i := &instance.Instance{ID: fmt.Sprintf("web.instance-%032d", n), App: "/web", Version: "v"}
		puts = append(puts, state.Put{Key: keyInstances + i.ID, Value: i})
	}
	ops, err := p.encode(puts)
	if err != nil || len(ops) > 20 {
		t.Errorf("%d operations, %v", len(ops), err)
	}
	if err := store.CheckOps(ops); err != nil {
		t.Error(err)
	}
	stored.apply(ops)
	if _, rest, err := unpack(stored.records()); err != nil || len(rest) != 5000 {
		t.Errorf("%d records come back, %v", len(rest), err)
	}
}

func TestInstancesThatComeOneByOneAreFewValuesToo(t *testing.T) {
	p, stored := newPacks(), make(values)
	for n := range 5000 {
		i := &instance.Instance{ID: fmt.Sprintf("web.instance-%032d", n%2000), App: "/web", Version: "v"}
		put := state.Put{Key: keyInstances + i.ID, Value: i}
		if n%3 == 0 {
			put.Value = nil
		}
		ops, err := p.encode([]state.Put{put})
		if err != nil {
			t.Fatal(err)
		}
		stored.apply(ops)
		if len(stored) > 2*5000/fewLines {
			t.Fatalf("%d values after %d commits", len(stored), n)
		}
	}
	if _, rest, err := unpack(stored.records()); err != nil || len(rest) != len(p.newest) {
		t.Errorf("%d records come back, %v; %d were written", len(rest), err, len(p.newest))
	}
}

func TestPacksThatNobodyWrote(t *testing.T) {
	for _, r := range []store.Record{
		{Key: keyPacks + "7", Value: []byte(`{"id":"a"}`)},
		{Key: packKey(0), Value: []byte(`{"id":"a"}`)},
		{Key: packKey(1), Value: []byte("{\"id\":\"a\"}\n\nb")},
		{Key: packKey(1), Value: []byte(`{"id":"`)},
		{Key: packKey(1), Value: []byte(`{"id":"a`)},
	} {
		if _, _, err := unpack([]store.Record{r}); err == nil || !strings.Contains(err.Error(), "corrupt") {
			t.Errorf("%s: %v", r.Key, err)
		}
	}
}
