package app

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
)

// wide has service ports for so many.
func wide(o *Options) { o.PortMax = 30000 }

// tenThousand is a group update of that many apps in 100 groups, each app waiting for
// the one before it in its group.
func tenThousand(cmd string) string {
	var groups []string
	for g := range 100 {
		var apps []string
		for i := range 100 {
			deps := ""
			if i > 0 {
				deps = fmt.Sprintf(`,"dependencies":["/g%d/app%d"]`, g, i-1)
			}
			apps = append(apps, fmt.Sprintf(`{"id":"app%d","cmd":%q,"cpus":0.1%s}`, i, cmd, deps))
		}
		groups = append(groups, fmt.Sprintf(`{"id":"g%d","apps":[%s]}`, g, strings.Join(apps, ",")))
	}
	return `{"groups":[` + strings.Join(groups, ",") + `]}`
}

func BenchmarkPutTenThousandApps(b *testing.B) {
	doc := tenThousand("sleep 1")
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			bed := newBed(b, wide)
			bed.must(bed.put("/", doc))
		}
	})
	bed := newBed(b, wide)
	bed.must(bed.put("/", doc))
	b.Run("unchanged", func(b *testing.B) {
		for b.Loop() {
			bed.must(bed.put("/", doc))
		}
	})
	other := tenThousand("sleep 2")
	b.Run("changed", func(b *testing.B) {
		for b.Loop() {
			bed.must(bed.put("/", other))
			doc, other = other, doc
		}
	})
	b.Run("deleted", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			bed.must(bed.put("/", doc))
			b.StartTimer()
			bed.must(bed.DeleteGroup(bed.tick(), "/"))
		}
	})
}

// A write to one app among 10,000: all in groups of 100, and all in one.
func BenchmarkOneOfTenThousand(b *testing.B) {
	flat := newBed(b, wide)
	var apps []string
	for i := range 10000 {
		apps = append(apps, fmt.Sprintf(`{"id":"app%d","cmd":"sleep 1"}`, i))
	}
	flat.must(flat.put("/", `{"apps":[`+strings.Join(apps, ",")+`]}`))
	nested := newBed(b, wide)
	nested.must(nested.put("/", tenThousand("sleep 1")))
	for _, c := range []struct {
		name, id string
		bed      *bed
	}{{"nested", "/g50/app50", nested}, {"flat", "/app5000", flat}} {
		b.Run(c.name+"/scale", func(b *testing.B) {
			now, n := c.bed.now, 0
			for b.Loop() {
				n++
				now = now.Add(time.Second)
				c.bed.must(c.bed.Scale(now, map[string]int{c.id: n}))
			}
			c.bed.now = now
		})
		b.Run(c.name+"/change", func(b *testing.B) {
			docs := [][]*Draft{c.bed.drafts(`[{"id":"` + c.id + `","cmd":"a"}]`), c.bed.drafts(`[{"id":"` + c.id + `","cmd":"b"}]`)}
			n := 0
			for b.Loop() {
				n++
				c.bed.must(c.bed.Update(c.bed.tick(), docs[n%2], Mode{}))
			}
		})
		b.Run(c.name+"/create and delete", func(b *testing.B) {
			d := c.bed.draft(`{"id":"/g50/another","cmd":"a","dependencies":["/g7/app7"]}`)
			for b.Loop() {
				c.bed.must(c.bed.Create(c.bed.tick(), d))
				c.bed.must(c.bed.Delete(c.bed.tick(), "/g50/another"))
			}
		})
	}
}

func BenchmarkLoadTenThousandApps(b *testing.B) {
	from := newBed(b, wide)
	from.must(from.put("/", tenThousand("sleep 1")))
	var apps []*marathon.App
	from.Apps("/", func(a *marathon.App) bool { apps = append(apps, a); return true })
	for b.Loop() {
		NewTree(from.o).Load(from.Version(), apps, nil)
	}
}
