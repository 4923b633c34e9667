package app

import "strings"

// parent of an absolute path; "/" for "/".
func parent(id string) string {
	if i := strings.LastIndexByte(id, '/'); i > 0 {
		return id[:i]
	}
	return "/"
}

// name is the last element of an absolute path.
func name(id string) string { return id[strings.LastIndexByte(id, '/')+1:] }

// above calls f for the groups an app or group is in, from the nearest to "/", until false.
func above(id string, f func(group string) bool) {
	for id != "/" {
		if id = parent(id); !f(id) {
			return
		}
	}
}

// Path resolves an id against a group: "x" in "/g" is "/g/x", "../y" in "/g/h" is "/g/y".
func Path(id, group string) string {
	if strings.HasPrefix(id, "/") && !strings.Contains(id, "//") &&
		!strings.Contains(id, "/.") && (len(id) == 1 || id[len(id)-1] != '/') {
		return id
	}
	if !strings.HasPrefix(id, "/") {
		id = group + "/" + id
	}
	var path []string
	for s := range strings.SplitSeq(id, "/") {
		switch s {
		case "", ".":
		case "..":
			path = path[:max(0, len(path)-1)]
		default:
			path = append(path, s)
		}
	}
	return "/" + strings.Join(path, "/")
}

const segmentPattern = `^(([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])|(\.|\.\.)$`

// pathErrors says what is wrong with an absolute path (as Marathon 1.10, PathId).
func pathErrors(id string) []string {
	var wrong []string
	for s := range strings.SplitSeq(strings.TrimPrefix(id, "/"), "/") {
		if !validSegment(s) {
			wrong = append(wrong, "must fully match regular expression '"+segmentPattern+"'")
			break
		}
	}
	switch name(id) {
	case "restart", "tasks", "versions", ".", "..":
		wrong = append(wrong, "must not end with any of the following reserved keywords: restart, tasks, versions, ., ..")
	}
	return wrong
}

// validSegment reports whether s is labels of letters, digits and inner dashes, with dots
// between.
func validSegment(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' {
			return s == "." || s == ".."
		}
		for i := range len(label) {
			if c := label[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
	}
	return true
}
