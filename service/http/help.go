package http

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"

	"github.com/stoa-kernel/stoa/internal/request"
)

// endpoints are the paths there are, with what they are about; which methods they take is
// the router's to say. A part in braces stands for a name, {id} and {group} for several.
var endpoints = []struct{ path, about string }{
	{"/", "where to begin"},
	{"/help", "this list"},
	{"/ping", "pong, from the leader; needs no credentials"},
	{"/metrics", "what is measured, as Marathon shows it"},
	{"/metrics/prometheus", "what is measured, for Prometheus"},
	{"/logging", "the log's level"},
	{"/config", "the settings in force"},
	{"/v2/info", "version, leader, framework and settings"},
	{"/v2/leader", "who leads; DELETE hands over"},
	{"/v2/apps", "all apps; POST creates one, PUT and PATCH change several"},
	{"/v2/apps/{id}", "an app"},
	{"/v2/apps/{group}/*", "the apps below a group"},
	{"/v2/apps/{id}/restart", "replaces all instances"},
	{"/v2/apps/{id}/rollback", "POST goes back to a version before; all else is of an app of that name"},
	{"/v2/apps/{id}/versions", "its versions"},
	{"/v2/apps/{id}/versions/{version}", "one of them"},
	{"/v2/apps/{id}/tasks", "its tasks; DELETE kills them"},
	{"/v2/apps/{id}/tasks/{task}", "kills one"},
	{"/v2/apps/{group}/*/tasks", "the tasks of the apps below a group"},
	{"/v2/groups", "the tree of groups and apps"},
	{"/v2/groups/{group}", "a group"},
	{"/v2/groups/{group}/apps", "its apps"},
	{"/v2/groups/{group}/versions", "its versions"},
	{"/v2/groups/{group}/versions/{version}", "one of them"},
	{"/v2/tasks", "the tasks of all apps"},
	{"/v2/tasks/delete", "kills the tasks named in the body"},
	{"/v2/deployments", "what is under way"},
	{"/v2/deployments/{deployment}", "takes one back; with ?force=true it is given up"},
	{"/v2/deployments/{deployment}/promote", "lets a canary or a blue-green set have its way"},
	{"/v2/deployments/{deployment}/pause", "lets one stand still"},
	{"/v2/deployments/{deployment}/resume", "lets it go on"},
	{"/v2/queue", "what waits to be launched"},
	{"/v2/queue/{id}/delay", "ends an app's backoff"},
	{"/v2/why", "what keeps ?app={id} from running as it should, and what to try"},
	{"/v2/events", "what happens, as a stream of server-sent events"},
	{"/v2/eventSubscriptions", "what happens, sent to a URL"},
}

// text answers with plain text.
func (c *call) text(write func(io.Writer)) {
	p := request.NewReply(c.w, c.r, "text/plain; charset=utf-8", writeTimeout)
	write(p)
	p.Close(nil)
}

// index is for who comes to see what this is. Marathon sends browsers to its pages at
// /ui/, of which there are none here.
func (c *call) index() {
	c.text(func(w io.Writer) {
		fmt.Fprintf(w, `This is the service framework of Stoa. It keeps apps running, and speaks Marathon's
REST API as version %s does.

leader  %s://%s

  /v2/apps             the apps
  /v2/deployments      what is under way
  /v2/queue            what waits, and /v2/why?app=/ID why
  /v2/events           what happens, as a stream
  /v2/info             the settings
  /metrics/prometheus  what is measured
  /help                every endpoint

On the command line: stoa app list, stoa app apply -f FILE, stoa why APP.
Documentation is in docs/services.md and docs/service-api.md of Stoa's sources.
`, c.Info.Version, c.Info.Scheme, c.Info.Leader)
	})
}

// help lists every endpoint.
func (c *call) help() {
	c.text(func(w io.Writer) {
		table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		for _, e := range endpoints {
			fmt.Fprintf(table, "%s\t%s\t%s\n", strings.Join(c.methodsOf(e.path), " "), e.path, e.about)
		}
		_ = table.Flush() // to a reply, which keeps what goes wrong for its end
	})
}

// methodsOf is which methods the router has for a path of the list.
func (s *server) methodsOf(path string) []string {
	m := s.route(segments(strings.NewReplacer("{", "", "}", "").Replace(path)))
	var names []string
	for _, name := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if m[name] != nil {
			names = append(names, name)
		}
	}
	return names
}
