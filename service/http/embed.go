package http

import (
	"strconv"
	"strings"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/view"
)

// embed is what of an app is shown beside its definition.
type embed struct {
	tasks, counts, deployments, readiness, failure, stats bool
}

// set takes one value of ?embed; unknown ones are ignored, as in Marathon.
func (e *embed) set(name string) {
	for _, prefix := range []string{"group.apps.", "apps.", "app."} {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			name = rest
			break
		}
	}
	switch name {
	case "tasks":
		e.tasks, e.deployments = true, true
	case "failures":
		e.tasks, e.failure, e.deployments = true, true, true
	case "deployments":
		e.deployments = true
	case "readiness":
		e.readiness = true
	case "lastTaskFailure":
		e.failure = true
	case "counts":
		e.counts = true
	case "taskStats":
		e.stats = true
	}
}

func (c *call) embeds() embed {
	var e embed
	for _, name := range c.query["embed"] {
		e.set(name)
	}
	return e
}

// appendApp writes a marathon.AppInfo. The definition, most of it, was encoded before.
func (e embed) appendApp(b []byte, page *view.App) ([]byte, error) {
	def, err := page.JSON()
	if err != nil {
		return b, err
	}
	b = append(b, def[:len(def)-1]...) // all but the brace
	if e.counts {
		n := func(name string, value int) {
			b = append(b, `,"`...)
			b = append(b, name...)
			b = append(b, `":`...)
			b = strconv.AppendInt(b, int64(value), 10)
		}
		n("tasksStaged", page.Counts.TasksStaged)
		n("tasksRunning", page.Counts.TasksRunning)
		n("tasksHealthy", page.Counts.TasksHealthy)
		n("tasksUnhealthy", page.Counts.TasksUnhealthy)
	}
	field := func(name string, value any) {
		if err != nil {
			return
		}
		var text []byte
		if text, err = encode(value); err == nil {
			b = append(b, `,"`...)
			b = append(b, name...)
			b = append(b, `":`...)
			b = append(b, text...)
		}
	}
	if e.deployments {
		field("deployments", identifiable(page.Deployments))
	}
	if e.tasks {
		field("tasks", tasksOf(page))
	}
	if e.failure {
		if f := page.LastFailure(); f != nil {
			field("lastTaskFailure", f)
		}
	}
	if e.readiness {
		field("readinessCheckResults", page.Readiness())
	}
	if e.stats {
		field("taskStats", page.Stats(time.Now()))
	}
	if e.tasks {
		var preview []marathon.Task
		for i := range page.Preview() {
			preview = append(preview, view.Task(page.Def, i))
		}
		if preview != nil {
			field("previewTasks", preview)
		}
	}
	return append(b, '}'), err
}

func identifiable(ids []string) []marathon.Identifiable {
	all := make([]marathon.Identifiable, len(ids))
	for n, id := range ids {
		all[n].ID = id
	}
	return all
}

func tasksOf(page *view.App) []marathon.Task {
	tasks := make([]marathon.Task, 0, page.Len())
	for i := range page.Tasks() {
		tasks = append(tasks, view.Task(page.Def, i))
	}
	return tasks
}
