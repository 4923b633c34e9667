package http

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/internal/request"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/state"
	"github.com/stoa-kernel/stoa/service/view"
)

// taskList is how lists of tasks are answered.
type taskList struct {
	Tasks []marathon.Task `json:"tasks"`
}

// listTasks is GET /v2/tasks.
func (c *call) listTasks() {
	wanted := make(map[instance.Condition]bool)
	for _, s := range append(c.query["status"], c.query["status[]"]...) {
		switch strings.ToLower(s) {
		case "running":
			wanted[instance.Running] = true
		case "staging":
			wanted[instance.Staging], wanted[instance.Provisioned] = true, true
		}
	}
	c.sendTasks(c.View.Apps("/"), wanted)
}

func (c *call) tasksOf(id string) {
	page := c.View.App(id)
	if page == nil {
		c.noApp(id)
		return
	}
	c.sendTasks([]*view.App{page}, nil)
}

func (c *call) tasksBelow(group string) {
	if !c.View.HasGroup(group) {
		c.noGroup(group)
		return
	}
	c.sendTasks(c.View.Apps(group), nil)
}

func (c *call) sendTasks(pages []*view.App, wanted map[instance.Condition]bool) {
	if c.wantsText() {
		c.sendText(pages)
		return
	}
	reply(c.w, c.r, http.StatusOK, func(p *request.Reply) error {
		if _, err := p.Write([]byte(`{"tasks":[`)); err != nil {
			return err
		}
		first := true
		for _, page := range pages {
			for i := range page.Tasks() {
				if len(wanted) > 0 && !wanted[i.Condition] {
					continue
				}
				b, err := encode(view.Task(page.Def, i))
				if err != nil {
					return err
				}
				if !first {
					b = append([]byte{','}, b...)
				}
				first = false
				if _, err := p.Write(b); err != nil {
					return err
				}
			}
		}
		_, err := p.Write([]byte(`]}`))
		return err
	})
}

// killing are the parameters of a kill; ok is false if they were refused.
func (c *call) killing() (k state.KillTasks, ok bool) {
	k = state.KillTasks{Request: c.request(), Scale: c.flag("scale", false), Wipe: c.flag("wipe", false)}
	if k.Scale && k.Wipe {
		c.refuse(http.StatusBadRequest, "You cannot use scale and wipe at the same time.")
		return k, false
	}
	return k, true
}

// kill asks for it; shown answers with the instances killed, unless it is a deployment.
func (c *call) kill(k state.KillTasks, shown func([]*instance.Instance)) {
	r, ok := c.ask(func(t state.Token) state.Input {
		k.Token = t
		return k
	})
	switch {
	case !ok:
	case k.Scale:
		c.started(http.StatusOK, r)
	default:
		shown(r.Killed)
	}
}

// task shows an instance that was killed.
func (c *call) task(i *instance.Instance) marathon.Task {
	var def *marathon.App
	if page := c.View.App(i.App); page != nil {
		def = page.Def
	}
	return view.Task(def, i)
}

func (c *call) killed(all []*instance.Instance) {
	list := taskList{Tasks: []marathon.Task{}}
	for _, i := range all {
		if i.TaskID != "" {
			list.Tasks = append(list.Tasks, c.task(i))
		}
	}
	c.send(http.StatusOK, list)
}

// killTasksOf is DELETE /v2/apps/{id}/tasks.
func (c *call) killTasksOf(id string) {
	k, ok := c.killing()
	if !ok {
		return
	}
	k.App, k.Host, k.All = id, c.query.Get("host"), true
	c.kill(k, c.killed)
}

// killTask is DELETE /v2/apps/{id}/tasks/{task}. The task alone counts: go-marathon
// derives the app from its id, and wrongly so for ids of Marathon 1.8 and later.
func (c *call) killTask(id, task string) {
	k, ok := c.killing()
	if !ok {
		return
	}
	if c.View.Instance(task) == nil {
		if c.View.App(id) == nil {
			c.noApp(id)
		} else {
			c.refuse(http.StatusNotFound, "Task '%s' does not exist", task)
		}
		return
	}
	k.IDs, k.Single = []string{task}, true
	c.kill(k, func(all []*instance.Instance) {
		if len(all) == 0 {
			c.refuse(http.StatusNotFound, "Task '%s' does not exist", task)
			return
		}
		c.send(http.StatusOK, map[string]marathon.Task{"task": c.task(all[0])})
	})
}

// deleteTasks is POST /v2/tasks/delete.
func (c *call) deleteTasks() {
	k, ok := c.killing()
	if !ok {
		return
	}
	k.IDs, ok = decoded(c, decodeIDs)
	if !ok {
		return
	}
	for _, id := range k.IDs {
		// Ids of before 1.8 end in "." or "_" and a UUID.
		if !strings.ContainsAny(id, "._") {
			c.refuse(http.StatusBadRequest, "Invalid task id '%s'. [it names neither an app nor an instance]", request.Clip(id))
			return
		}
	}
	c.kill(k, c.killed)
}

// maxIDs of one call.
const maxIDs = 100_000

func decodeIDs(body []byte) ([]string, error) {
	var in struct {
		IDs *[]string `json:"ids"`
	}
	malformed := func(details any) error {
		return &app.Fault{Status: http.StatusBadRequest, Body: marathon.Error{Message: "Invalid JSON", Details: details}}
	}
	many := malformed([]marathon.Violation{{Path: "/ids", Errors: []string{"error.maxLength"}}})
	if bytes.Count(body, []byte(",")) > maxIDs { // before anything is made of them
		return nil, many
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, malformed(request.Clip(err.Error()))
	}
	switch {
	case in.IDs == nil:
		return nil, malformed([]marathon.Violation{{Path: "/ids", Errors: []string{"error.path.missing"}}})
	case len(*in.IDs) > maxIDs:
		return nil, many
	}
	return *in.IDs, nil
}
