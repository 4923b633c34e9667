package app

import (
	"fmt"

	"github.com/stoa-kernel/stoa/api/marathon"
)

// invalid is 422 with everything that is wrong with a definition.
func invalid(v []marathon.Violation) *Fault {
	return &Fault{422, marathon.Error{Message: "Object is not valid", Details: v}}
}

// unprocessable is 422 with a message alone.
func unprocessable(format string, args ...any) *Fault {
	return &Fault{422, marathon.Error{Message: fmt.Sprintf(format, args...)}}
}

// notFound is 404; kind is "App" or "Group".
func notFound(kind, id string) *Fault {
	return &Fault{404, marathon.Error{Message: fmt.Sprintf("%s '%s' does not exist", kind, id)}}
}

// conflict is 409 for an id that is taken.
func conflict(format string, args ...any) *Fault {
	return &Fault{409, marathon.Error{Message: fmt.Sprintf(format, args...)}}
}

// malformed is 400; details is the parser's text or []marathon.Violation.
func malformed(details any) *Fault {
	return &Fault{400, marathon.Error{Message: "Invalid JSON", Details: details}}
}
