package instance

import (
	"strconv"
	"strings"
)

const (
	idMark   = ".instance-"
	taskMark = "._app."
)

// NewID is the id of an instance of the app with that path: "/group/name" and a UUID give
// "group_name.instance-<uuid>" (as Marathon, Instance.Id).
func NewID(app, uuid string) string { return SafePath(app) + idMark + uuid }

// SafePath is an app's path as ids have it: "/group/name" is "group_name".
func SafePath(app string) string {
	return strings.ReplaceAll(strings.TrimPrefix(app, "/"), "/", "_")
}

// TaskID is the id of an instance's task: "<instance>._app.<incarnation>", the first
// incarnation being 1.
func TaskID(instance string, incarnation int) string {
	return instance + taskMark + strconv.Itoa(incarnation)
}

// OfTask takes a task's id apart; ok is false if TaskID did not make it.
func OfTask(task string) (instance string, incarnation int, ok bool) {
	at := strings.LastIndex(task, taskMark)
	if at < 0 || !strings.Contains(task[:at], idMark) {
		return "", 0, false
	}
	number := task[at+len(taskMark):]
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || strconv.Itoa(n) != number {
		return "", 0, false
	}
	return task[:at], n, true
}
