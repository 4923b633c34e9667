package plan

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stoa-kernel/stoa/service/app"
)

// change of a new tree, computed but not applied.
func change(b *testing.B, doc string) (*app.Tree, app.Change) {
	tree := app.NewTree(app.Options{Role: "*", PortMin: 10000, PortMax: 30000})
	d, err := app.DecodeGroup([]byte(doc))
	if err != nil {
		b.Fatal(err)
	}
	c, err := tree.UpdateGroup(now, "/", d, app.Mode{})
	if err != nil {
		b.Fatal(err)
	}
	return tree, c
}

// Plans of 10,000 new apps: in 100 chains, and 5,000 of which each waits for all others.
func BenchmarkTenThousandApps(b *testing.B) {
	apps := func(n int, chain bool) string {
		var docs []string
		for i := range n {
			deps := ""
			if chain && i > 0 {
				deps = fmt.Sprintf(`,"dependencies":["app%d"]`, i-1)
			}
			docs = append(docs, fmt.Sprintf(`{"id":"app%d","cmd":"sleep 1"%s}`, i, deps))
		}
		return `"apps":[` + strings.Join(docs, ",") + "]"
	}
	var chains []string
	for g := range 100 {
		chains = append(chains, fmt.Sprintf(`{"id":"g%d",%s}`, g, apps(100, true)))
	}
	for _, c := range []struct{ name, doc string }{
		{"chains", `{"groups":[` + strings.Join(chains, ",") + `]}`},
		{"group on group", `{"groups":[{"id":"a",` + apps(5000, false) + `},{"id":"b","dependencies":["/a"],` + apps(5000, false) + `}]}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			tree, change := change(b, c.doc)
			for b.Loop() {
				of(tree, change, nil)
			}
		})
	}
}
