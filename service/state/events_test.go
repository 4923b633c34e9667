package state

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/app"
)

// Every write tells of the group it happens in, refused ones too.
func TestWritesTellOfTheirGroup(t *testing.T) {
	w := newWorld(t, 1, 1)
	w.run(time.Second)
	for _, test := range []struct {
		what string
		in   func(Request) Input
		want string
	}{
		{"create", func(q Request) Input { return CreateApp{q, w.draft(`{"id":"/shop/web","cmd":"one","instances":0}`)} }, "group_change_success /shop"},
		{"create it again", func(q Request) Input { return CreateApp{q, w.draft(`{"id":"/shop/web","cmd":"one"}`)} }, "group_change_failed /shop"},
		{"create at the top", func(q Request) Input { return CreateApp{q, w.draft(`{"id":"top","cmd":"one","instances":0}`)} }, "group_change_success /"},
		{"update", func(q Request) Input {
			d := w.draft(`{"cmd":"two"}`)
			d.ID = "/shop/web"
			return UpdateApps{Request: q, Drafts: []*app.Draft{d}, Single: true}
		}, "group_change_success /shop"},
		{"update a list", func(q Request) Input {
			return UpdateApps{Request: q, Drafts: []*app.Draft{w.draft(`{"id":"/shop/web","cmd":"three"}`)}}
		}, "group_change_success /"},
		{"restart", func(q Request) Input { return RestartApp{q, "/shop/web"} }, "group_change_success /shop"},
		{"restart what is not there", func(q Request) Input { return RestartApp{q, "/none/web"} }, "group_change_failed /none"},
		{"delete", func(q Request) Input { return DeleteApp{q, "/top"} }, "group_change_success /"},
		{"delete the group", func(q Request) Input { return DeleteGroup{q, "/shop"} }, "group_change_success /"},
	} {
		w.events = nil
		r, ok := w.ask(test.in, false)
		if !ok {
			t.Fatalf("%s: no answer", test.what)
		}
		var got []string
		for _, e := range w.events {
			if g, ok := e.(marathon.GroupChange); ok {
				got = append(got, g.Type+" "+g.GroupID)
				if g.Type == "group_change_success" && g.Version != r.Version || g.Type == "group_change_failed" && g.Reason == "" {
					t.Errorf("%s: event %+v; the answer has version %s", test.what, g, r.Version)
				}
			}
		}
		if !slices.Equal(got, []string{test.want}) {
			t.Errorf("%s: %s; want %s", test.what, fmt.Sprint(got), test.want)
		}
		w.run(w.now + time.Second)
	}
}

// What became of a task is told before what that makes of its instance, as in Marathon
// 1.10 (InstanceChangedEventsGenerator).
func TestStatusIsToldBeforeTheInstance(t *testing.T) {
	w := newWorld(t, 1, 1)
	w.run(time.Second)
	for _, in := range []func(Request) Input{
		func(q Request) Input {
			return CreateApp{q, w.draft(`{"id":"/web","cmd":"one","instances":1,"cpus":0.1,"mem":16}`)}
		},
		func(q Request) Input { return KillTasks{Request: q, App: "/web", All: true} },
	} {
		w.events = nil
		if r, ok := w.ask(in, false); !ok || r.Fault != nil {
			t.Fatalf("%+v", r.Fault)
		}
		w.run(w.now + 5*time.Second)
		told, pairs := "", 0
		for _, e := range w.events {
			switch e := e.(type) {
			case marathon.StatusUpdate:
				told = e.TaskStatus
			case marathon.InstanceChanged:
				if e.Condition == "Scheduled" || e.Condition == "Provisioned" {
					continue // no task has told of it
				}
				if pairs++; strings.TrimPrefix(told, "TASK_") != strings.ToUpper(e.Condition) {
					t.Errorf("the instance is %s, and what was told last of its task is %q", e.Condition, told)
				}
			}
		}
		if pairs == 0 {
			t.Errorf("no event of the instance among %v", w.events)
		}
	}
}
