package http

import (
	"fmt"
	"net/http/httptest"
	"testing"

	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/state"
)

func BenchmarkListOf10000Apps(b *testing.B) {
	f := newFixture(&testing.T{})
	f.tree = app.NewTree(app.Options{PortMin: 10000, PortMax: 30000})
	for n := range 10_000 {
		id := fmt.Sprintf("/group-%d/app-%d", n%100, n)
		d, err := app.Decode([]byte(`{"id":"` + id + `","cmd":"sleep 1000","labels":{"HAPROXY_GROUP":"external"},"env":{"A":"b"},"healthChecks":[{"path":"/"}]}`))
		if err != nil {
			b.Fatal(err)
		}
		c, err := f.tree.Create(f.now, d)
		if err != nil {
			b.Fatal(err)
		}
		f.tree.Apply(c)
		f.view.Apply(state.ChangedApp{ID: id, App: c.Apps[0].New})
		f.instance(id, 1, func(i *instance.Instance) {
			i.Agent, i.Condition, i.TaskState, i.Ports = &instance.Agent{ID: "a", Host: "h"}, instance.Running, "TASK_RUNNING", []int{31000}
			i.StagedAt, i.StartedAt = f.now, f.now
			i.Health = []instance.Health{{Known: true, Alive: true, FirstSuccess: f.now, LastSuccess: f.now}}
		})
	}
	h := New(f.cfg)
	for _, query := range []string{"", "?embed=apps.tasks", "?label=none", "?id=app-77"} {
		for _, encoding := range []string{"identity", "gzip"} {
			b.Run(query+"/"+encoding, func(b *testing.B) {
				for b.Loop() {
					r := httptest.NewRequest("GET", "/v2/apps"+query, nil)
					r.Header.Set("Accept-Encoding", encoding)
					w := httptest.NewRecorder()
					h.ServeHTTP(w, r)
					b.SetBytes(int64(w.Body.Len()))
				}
			})
		}
	}
}
