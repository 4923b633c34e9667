package loop

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestTimersAgainstASortedList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type entry struct {
			key int
			at  time.Duration
			seq int
		}
		var timers Timers[int]
		var twin []entry
		drop := func(key int) {
			twin = slices.DeleteFunc(twin, func(e entry) bool { return e.key == key })
		}
		now := time.Duration(0)
		for i := range rapid.IntRange(1, 100).Draw(t, "operations") {
			key := rapid.IntRange(0, 9).Draw(t, "key")
			switch rapid.IntRange(0, 2).Draw(t, "what") {
			case 0:
				at := now + time.Duration(rapid.IntRange(0, 20).Draw(t, "in"))
				timers.Set(key, at)
				drop(key)
				twin = append(twin, entry{key, at, i})
			case 1:
				timers.Stop(key)
				drop(key)
			case 2:
				now += time.Duration(rapid.IntRange(0, 10).Draw(t, "pass"))
				for {
					slices.SortFunc(twin, func(a, b entry) int {
						if a.at != b.at {
							return int(a.at - b.at)
						}
						return a.seq - b.seq
					})
					got, ok := timers.Due(now)
					want := len(twin) > 0 && twin[0].at <= now
					if ok != want || ok && got != twin[0].key {
						t.Fatalf("due at %d: %d, %v; the twin has %v", now, got, ok, twin)
					}
					if !ok {
						break
					}
					twin = twin[1:]
				}
			}
			if timers.Len() != len(twin) {
				t.Fatalf("%d timers, the twin has %v", timers.Len(), twin)
			}
		}
	})
}

func TestNothingPassesWhatIsNotDurable(t *testing.T) {
	var h Hold[string]
	next := func() string {
		var out []string
		for {
			e, ok := h.Next()
			if !ok {
				return fmt.Sprint(out)
			}
			out = append(out, e)
		}
	}
	h.Add("a")
	p1 := h.Persist()
	h.Add("b")
	p2 := h.Persist()
	h.Add("c")
	if got := next(); got != "[a]" {
		t.Errorf("before anything is durable: %s", got)
	}
	h.Durable(p1)
	h.Add("d")
	if got := next(); got != "[b]" {
		t.Errorf("after the first persist: %s", got)
	}
	h.Durable(p2)
	h.Durable(p1) // an older report changes nothing
	if got := next(); got != "[c d]" || h.Len() != 0 {
		t.Errorf("after the second: %s, %d left", got, h.Len())
	}
}

func TestHoldDoesNotGrowWhenItNeverEmpties(t *testing.T) {
	var h Hold[int]
	h.Add(0)
	for i := range 100_000 {
		h.Add(i + 1)
		if e, ok := h.Next(); !ok || e != i {
			t.Fatalf("got %d, %v; want %d", e, ok, i)
		}
	}
	if cap(h.queue) > 8192 {
		t.Errorf("a queue of one element occupies %d", cap(h.queue))
	}
}
