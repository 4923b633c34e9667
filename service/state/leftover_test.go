package state

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/kernel/clock"
	"github.com/stoa-kernel/stoa/service/app"
)

// writes is a store in which everything is looked at after every put, beside one from
// which nothing is ever deleted.
type writes struct {
	t           *testing.T
	rng         *rand.Rand
	most        int // MaxVersions
	now         time.Time
	core        *Service
	store, full map[string]any
	raw         map[string][]byte
	crashes     int
}

func (w *writes) boot() {
	in := (&world{t: w.t, storage: storage{store: w.raw}}).recovered()
	maps.DeleteFunc(w.full, func(_ string, value any) bool { // of a write that never was
		switch v := value.(type) {
		case StoredApp:
			return v.Version > in.Version
		case StoredGroup:
			return v.Version > in.Version
		}
		return false
	})
	w.core = New(Config{Seed: 1, MaxVersions: w.most, App: app.Options{PortMin: 10000, PortMax: 20000, Role: "*"}})
	w.step(in, false)
	w.now = w.now.Add(time.Second)
	w.step(Fired{}, false) // deployments without steps end
}

// step commits what the core wants kept, or if it crashes the beginning of it.
func (w *writes) step(in Input, crash bool) {
	var puts []Put
	for _, e := range w.core.Step(clock.Now{Mono: w.now.Sub(time.Unix(0, 0)), Wall: w.now}, in) {
		switch e := e.(type) {
		case Persist:
			puts = append(puts, e.Puts...)
		case Save:
			puts = append(puts, e.Puts...)
		}
	}
	puts = Compact(puts)
	if crash {
		puts = puts[:w.rng.IntN(len(puts)+1)]
	}
	for _, p := range puts {
		if p.Value == nil {
			delete(w.store, p.Key)
			delete(w.raw, p.Key)
		} else {
			raw, err := json.Marshal(p.Value)
			if err != nil {
				w.t.Fatal(err)
			}
			w.store[p.Key], w.full[p.Key], w.raw[p.Key] = p.Value, p.Value, raw
		}
		w.check(p.Key)
	}
	if crash {
		w.crashes++
		w.boot()
	}
}

// check that all kept versions of the tree have all that they ever had.
func (w *writes) check(key string) {
	last, _ := w.store[keyRoot].(marathon.Version)
	for _, root := range append(w.roots(), last) {
		if got, want := content(w.store, root), content(w.full, root); root <= last && got != want {
			w.t.Fatalf("after the put of %s: the tree of %s is\n%s\nand was\n%s", key, root, got, want)
		}
	}
}

func (w *writes) roots() (all []marathon.Version) {
	for key := range w.store {
		if v, ok := strings.CutPrefix(key, keyRoots); ok {
			all = append(all, marathon.Version(v))
		}
	}
	return all
}

// content of the tree at a version, as readers of old versions put it together.
func content(store map[string]any, root marathon.Version) string {
	type last struct {
		version marathon.Version
		there   bool
	}
	newest := make(map[string]last)
	note := func(id string, v marathon.Version, there bool) {
		if v <= root && newest[id].version <= v {
			newest[id] = last{v, there}
		}
	}
	for _, value := range store {
		switch v := value.(type) {
		case StoredApp:
			note("app "+v.ID, v.Version, !v.Deleted)
		case StoredGroup:
			note("group "+v.ID, v.Version, v.Group != nil)
		}
	}
	maps.DeleteFunc(newest, func(_ string, l last) bool { return !l.there })
	var lines []string
	for _, id := range slices.Sorted(maps.Keys(newest)) {
		lines = append(lines, fmt.Sprint(id, " ", newest[id].version))
	}
	return strings.Join(lines, "\n")
}

func (w *writes) put(id string) Input {
	d, err := app.Decode([]byte(fmt.Sprintf(`{"id":%q,"cmd":"run %d","instances":0}`, id, w.rng.IntN(1000))))
	if err != nil {
		w.t.Fatal(err)
	}
	return UpdateApps{Request: Request{Force: true}, Drafts: []*app.Draft{d}, Single: true}
}

func (w *writes) write() Input {
	q := Request{Force: true}
	group := []string{"/a", "/b", "/a/c"}[w.rng.IntN(3)]
	id := group + []string{"/x", "/y"}[w.rng.IntN(2)]
	switch w.rng.IntN(8) {
	case 0, 1:
		return DeleteApp{q, id}
	case 2:
		return DeleteGroup{q, group}
	case 3, 4:
		d, err := app.DecodeGroup([]byte([]string{`{"dependencies":["/b"]}`, `{"dependencies":[]}`, `{"enforceRole":true}`}[w.rng.IntN(3)]))
		if err != nil {
			w.t.Fatal(err)
		}
		return UpdateGroup{Request: q, ID: group, Draft: d}
	}
	return w.put(id)
}

// However often apps and groups are changed, deleted and made again, and wherever the
// service dies, the store keeps what the kept versions of the tree have, and little else.
func TestLeftoversAreCollected(t *testing.T) {
	for _, most := range []int{1, 2, 5} {
		for seed := range uint64(4) {
			w := &writes{t: t, rng: rand.New(rand.NewPCG(seed, 0)), most: most, now: time.Unix(1_700_000_000, 0),
				store: make(map[string]any), full: make(map[string]any), raw: make(map[string][]byte)}
			w.boot()
			for range 150 {
				w.now = w.now.Add(time.Second)
				w.step(w.write(), w.rng.IntN(10) == 0)
				if n := len(w.roots()); n > most+1 { // before the oldest one goes
					t.Fatalf("%d versions of the tree are kept", n)
				}
			}
			if len(w.full) < 120 || w.crashes < 5 {
				t.Fatalf("too little happened: %d records, %d crashes", len(w.full), w.crashes)
			}
			for _, id := range []string{"/a", "/b"} {
				w.now = w.now.Add(time.Second)
				w.step(DeleteGroup{Request{Force: true}, id}, false)
			}
			for range most + 2 {
				w.now = w.now.Add(time.Second)
				w.step(w.put("/last"), false)
			}
			w.boot()
			want := map[string]int{"service/root": 1, "service/roots": most, "service/apps": most}
			got := make(map[string]int)
			for key := range w.store {
				got[strings.Join(strings.Split(key, "/")[:2], "/")]++
			}
			if !maps.Equal(got, want) {
				t.Fatalf("with %d versions, seed %d, the store keeps %v, want %v: %v", most, seed, got, want, slices.Sorted(maps.Keys(w.store)))
			}
		}
	}
}
