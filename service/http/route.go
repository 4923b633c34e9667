package http

import (
	"net/http"
	"strings"

	"github.com/stoa-kernel/stoa/service/deploy"
)

// handler is an http.Handler as it is.
func handler(h http.Handler) func(*call) {
	return func(c *call) { h.ServeHTTP(c.w, c.r) }
}

// route finds what answers a path, nil if nothing does.
func (s *server) route(path []string) methods {
	switch strings.Join(path, "/") {
	case "":
		return methods{"GET": (*call).index}
	case "help":
		return methods{"GET": (*call).help}
	case "ping":
		return methods{"GET": (*call).ping}
	case "metrics":
		return methods{"GET": (*call).metrics}
	case "metrics/prometheus":
		return methods{"GET": (*call).prometheus}
	case "logging":
		return methods{"GET": (*call).logging, "POST": (*call).changeLogging}
	case "config":
		return methods{"GET": (*call).config}
	}
	if path[0] != "v2" || len(path) < 2 {
		return nil
	}
	rest := path[2:]
	switch path[1] {
	case "apps":
		return routeApps(rest)
	case "groups":
		return routeGroups(rest)
	case "tasks":
		switch strings.Join(rest, "/") {
		case "":
			return methods{"GET": (*call).listTasks}
		case "delete":
			return methods{"POST": (*call).deleteTasks}
		}
	case "deployments":
		return routeDeployments(rest)
	case "queue":
		switch n := len(rest); {
		case n == 0:
			return methods{"GET": (*call).queue}
		case n > 1 && rest[n-1] == "delay":
			id := absolute(rest[:n-1])
			return methods{"DELETE": func(c *call) { c.resetDelay(id) }}
		}
	}
	if len(rest) > 0 {
		return nil
	}
	switch path[1] {
	case "info":
		return methods{"GET": (*call).info}
	case "leader":
		return methods{"GET": (*call).leader, "DELETE": (*call).abdicate}
	case "why":
		return methods{"GET": (*call).why}
	case "events":
		return methods{"GET": handler(s.Events)}
	case "eventSubscriptions":
		h := handler(s.Callbacks)
		return methods{"GET": h, "POST": h, "DELETE": h}
	}
	return nil
}

// absolute is the id that segments of a path name.
func absolute(path []string) string { return "/" + strings.Join(path, "/") }

func routeApps(path []string) methods {
	n := len(path)
	if n == 0 {
		return methods{
			"GET": (*call).listApps, "POST": (*call).createApp,
			"PUT": func(c *call) { c.updateApps(false) }, "PATCH": func(c *call) { c.updateApps(true) },
		}
	}
	id := absolute(path)
	if path[n-1] == "*" {
		group := absolute(path[:n-1])
		return methods{"GET": func(c *call) { c.appsBelow(group) }}
	}
	if m := routeAppTail(path); m != nil {
		return m
	}
	return methods{
		"GET":    func(c *call) { c.showApp(id) },
		"PUT":    func(c *call) { c.updateApp(id, false) },
		"PATCH":  func(c *call) { c.updateApp(id, true) },
		"DELETE": func(c *call) { c.deleteApp(id) },
	}
}

// routeAppTail is for what is below an app.
func routeAppTail(path []string) methods {
	n := len(path)
	if n < 2 {
		return nil
	}
	id := absolute(path[:n-1])
	switch path[n-1] {
	case "restart":
		return methods{"POST": func(c *call) { c.restartApp(id) }}
	case "rollback":
		// GET, PUT and DELETE are of an app of that name.
		id, own := id, absolute(path)
		return methods{
			"POST": func(c *call) { c.rollbackApp(id) },
			"GET":  func(c *call) { c.showApp(own) }, "DELETE": func(c *call) { c.deleteApp(own) },
			"PUT": func(c *call) { c.updateApp(own, false) }, "PATCH": func(c *call) { c.updateApp(own, true) },
		}
	case "versions":
		return methods{"GET": func(c *call) { c.listVersions(id) }}
	case "tasks":
		if n > 1 && path[n-2] == "*" {
			group := absolute(path[:n-2])
			return methods{"GET": func(c *call) { c.tasksBelow(group) }}
		}
		return methods{"GET": func(c *call) { c.tasksOf(id) }, "DELETE": func(c *call) { c.killTasksOf(id) }}
	}
	if n < 3 {
		return nil
	}
	id, last := absolute(path[:n-2]), path[n-1]
	switch path[n-2] {
	case "tasks":
		return methods{"DELETE": func(c *call) { c.killTask(id, last) }}
	case "versions":
		return methods{"GET": func(c *call) { c.showVersion(id, last) }}
	}
	return nil
}

func routeGroups(path []string) methods {
	n := len(path)
	id := absolute(path)
	if n > 0 {
		above := absolute(path[:n-1])
		switch path[n-1] {
		case "apps":
			return methods{"GET": func(c *call) { c.appsOfGroup(above) }}
		case "versions":
			return methods{"GET": func(c *call) { c.groupVersions(above) }}
		}
		if n > 1 && path[n-2] == "versions" {
			above, last := absolute(path[:n-2]), path[n-1]
			return methods{"GET": func(c *call) { c.groupVersion(above, last) }}
		}
	}
	m := methods{
		"GET":    func(c *call) { c.showGroup(id) },
		"POST":   func(c *call) { c.createGroup(id) },
		"PUT":    func(c *call) { c.updateGroup(id) },
		"DELETE": func(c *call) { c.deleteGroup(id) },
	}
	if n > 0 {
		m["PATCH"] = func(c *call) { c.enforceRole(id) }
	}
	return m
}

func routeDeployments(path []string) methods {
	switch len(path) {
	case 0:
		return methods{"GET": (*call).deployments}
	case 1:
		return methods{"DELETE": func(c *call) { c.cancelDeployment(path[0]) }}
	case 2:
		switch in := deploy.Input(path[1]); in {
		case deploy.Promote, deploy.Pause, deploy.Resume:
			return methods{"POST": func(c *call) { c.steer(path[0], in) }}
		}
	}
	return nil
}
