package http

import (
	"io"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/instance"
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

// piece is from what length on something that is written goes out.
const piece = 32 << 10

// sent writes b to p if there is enough of it; what is left to be sent is returned.
func sent(b []byte, p io.Writer) ([]byte, error) {
	if len(b) < piece {
		return b, nil
	}
	_, err := p.Write(b)
	return b[:0], err
}

// appendApp writes a marathon.AppInfo to b, and what gets long to p. The definition, most
// of it, was encoded before.
func (e embed) appendApp(b []byte, page *view.App, p io.Writer) ([]byte, error) {
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
	if e.tasks && err == nil {
		b, err = appendTasks(append(b, `,"tasks":`...), page, page.Tasks(), p)
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
	if e.tasks && err == nil && hasAny(page.Preview()) {
		b, err = appendTasks(append(b, `,"previewTasks":`...), page, page.Preview(), p)
	}
	return append(b, '}'), err
}

// appendTasks writes a list of tasks.
func appendTasks(b []byte, page *view.App, tasks iter.Seq[*instance.Instance], p io.Writer) ([]byte, error) {
	b = append(b, '[')
	first := true
	for i := range tasks {
		text, err := encode(view.Task(page.Def, i))
		if err != nil {
			return b, err
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		if b, err = sent(append(b, text...), p); err != nil {
			return b, err
		}
	}
	return append(b, ']'), nil
}

func identifiable(ids []string) []marathon.Identifiable {
	all := make([]marathon.Identifiable, len(ids))
	for n, id := range ids {
		all[n].ID = id
	}
	return all
}

func hasAny[T any](all iter.Seq[T]) bool {
	for range all {
		return true
	}
	return false
}
