package state

import (
	"fmt"
	"testing"
	"time"

	"github.com/stoa-kernel/stoa/service/app"
)

func TestAppComesUpScalesRestartsAndGoes(t *testing.T) {
	w := newWorld(t, 1, 3)
	w.run(time.Second)
	r, ok := w.ask(func(q Request) Input {
		return CreateApp{q, w.draft(`{"id":"/web","cmd":"one","cpus":0.1,"mem":16,"instances":3}`)}
	}, false)
	if !ok || r.Fault != nil || !r.Created || r.Deployment == "" || r.App.Instances != 3 {
		t.Fatalf("creating: %+v", r)
	}
	w.run(w.now + 3*time.Second)
	if got := fmt.Sprint(w.alive("/web")); got != "map[one:3]" {
		t.Fatalf("after 3 s: %s", got)
	}
	if len(w.core.deployments) != 0 {
		t.Fatalf("still deploying: %v", w.core.order)
	}
	update := func(body string) {
		r, ok := w.ask(func(q Request) Input {
			d := w.draft(body)
			d.ID = "/web"
			return UpdateApps{Request: q, Drafts: []*app.Draft{d}, Single: true}
		}, false)
		if !ok || r.Fault != nil {
			t.Fatalf("%s: %+v", body, r.Fault)
		}
		w.run(w.now + 10*time.Second)
		if len(w.core.deployments) != 0 {
			t.Fatalf("%s: still deploying", body)
		}
	}
	update(`{"instances":5}`)
	if got := fmt.Sprint(w.alive("/web")); got != "map[one:5]" {
		t.Fatalf("scaled up: %s", got)
	}
	update(`{"cmd":"two"}`)
	if got := fmt.Sprint(w.alive("/web")); got != "map[two:5]" {
		t.Fatalf("upgraded: %s", got)
	}
	update(`{"instances":1}`)
	if got := fmt.Sprint(w.alive("/web")); got != "map[two:1]" {
		t.Fatalf("scaled down: %s", got)
	}
	if r, ok := w.ask(func(q Request) Input { return DeleteApp{q, "/web"} }, false); !ok || r.Fault != nil {
		t.Fatalf("deleting: %+v", r.Fault)
	}
	w.run(w.now + 3*time.Second)
	if len(w.alive("/web")) != 0 || len(w.core.apps) != 0 || len(w.core.deployments) != 0 || w.revived {
		t.Errorf("after deleting: %v, %v, %v", w.alive("/web"), w.core.apps, w.core.order)
	}
}
