package view

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The table against a slice that is copied whole at every publication.
func TestTableAgainstItsTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tab table[int]
		var slots []int
		twin := map[int]int{}
		type published struct {
			rows rows[int]
			want []int
		}
		var roots []published
		contents := func(r rows[int]) []int {
			var out []int
			for v := range r.all() {
				out = append(out, *v)
			}
			slices.Sort(out)
			return out
		}
		next := 0
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			switch op := rapid.IntRange(0, 9).Draw(t, "op"); {
			case op < 4 || len(slots) == 0:
				for range rapid.SampledFrom([]int{1, 1, 1, 200}).Draw(t, "rows") {
					next++
					v := next
					slot := tab.add(&v)
					if slices.Contains(slots, slot) {
						t.Fatalf("slot %d given out twice", slot)
					}
					slots = append(slots, slot)
					twin[slot] = v
				}
			case op < 6:
				slot := rapid.SampledFrom(slots).Draw(t, "slot")
				next++
				v := next
				tab.set(slot, &v)
				twin[slot] = v
			case op < 8:
				i := rapid.IntRange(0, len(slots)-1).Draw(t, "index")
				tab.remove(slots[i])
				delete(twin, slots[i])
				slots = slices.Delete(slots, i, i+1)
			default:
				var want []int
				for _, v := range twin {
					want = append(want, v)
				}
				slices.Sort(want)
				roots = append(roots, published{tab.publish(), want})
			}
		}
		for i, p := range roots {
			if got := contents(p.rows); !slices.Equal(got, p.want) || p.rows.len != len(p.want) {
				t.Fatalf("publication %d changed after the fact: %d rows, want %d", i, len(got), len(p.want))
			}
		}
	})
}
