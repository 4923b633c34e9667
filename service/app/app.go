// Package app is the model of what users ask for: it turns documents of any version of
// Marathon's API into canonical definitions, fills in defaults, checks every rule, and
// keeps the tree of apps and groups.
package app

import "github.com/stoa-kernel/stoa/api/marathon"

// Options are the settings of a service that defaults and rules depend on.
type Options struct {
	// Role is the default role; "*" unless set (Marathon's --mesos_role).
	Role string
	// Features switched on: "vips", "task_killing", "external_volumes", "secrets",
	// "gpu_resources".
	Features map[string]bool
	// Unreachable is the default strategy of apps that are not resident; zero is {0, 0}.
	Unreachable marathon.UnreachableStrategy
	// DefaultNetwork is the name of container networks that have none.
	DefaultNetwork string
	// AcceptedRoles is "any", "unreserved" or "reserved"
	// (--accepted_resource_roles_default_behavior).
	AcceptedRoles string
	// NewGroupEnforceRole is "off" or "top".
	NewGroupEnforceRole string
	// Executor is that of apps which name none; "" is "//cmd", the kernel's own.
	Executor string
	// PortMin and PortMax bound automatic service ports; PortMax itself is not used.
	PortMin, PortMax int
	// MaxApps bounds the tree; 0 is no bound.
	MaxApps int
}

// Fault is a refusal as the API answers it.
type Fault struct {
	Status int
	Body   marathon.Error
}

// Error is the message.
func (f *Fault) Error() string { return f.Body.Message }

// Draft is a decoded and normalised document that is not yet merged with anything: what
// it sets, in canonical form. It was made on a connection's goroutine; its form is valid.
type Draft struct {
	// ID as written; "" if the document has none.
	ID string
	// Version is set if the document asks for a return to a version.
	Version marathon.Version
	draft   // what the owner of the package needs
}

// GroupDraft is the same for a group update (A7).
type GroupDraft struct {
	ID           string
	Version      marathon.Version
	ScaleBy      *float64
	Apps         []*Draft // nil: not given
	Groups       []*GroupDraft
	Dependencies []string
	HasApps      bool
	HasGroups    bool
	HasDeps      bool
	EnforceRole  *bool
}

// Group is what the tree keeps of a group. A write defines the groups that its apps are
// in; they stay until they are deleted themselves.
type Group struct {
	ID           string           `json:"id"`
	Dependencies []string         `json:"dependencies,omitempty"`
	EnforceRole  bool             `json:"enforceRole,omitempty"`
	Version      marathon.Version `json:"version"`
}

// Tree is the current apps and groups. Writes are computed as a Change, which Apply then
// carries out, so that a refused write leaves no trace.
type Tree struct{ tree }

// Change is the difference a write makes. Old nil: created; New nil: removed.
type Change struct {
	Version marathon.Version
	Apps    []AppChange   // in order of ID
	Groups  []GroupChange // in order of ID
}

// AppChange is one app's.
type AppChange struct {
	Old *marathon.App `json:"old,omitempty"`
	New *marathon.App `json:"new,omitempty"`
	// Restart says that running instances of Old must be replaced by ones of New: the
	// configuration changed, or a restart was asked for. Without it instances count as
	// being of New.
	Restart bool `json:"restart,omitempty"`
}

// ID of the app.
func (c AppChange) ID() string {
	if c.New != nil {
		return c.New.ID
	}
	return c.Old.ID
}

// GroupChange is one group's. An Old without Version was there, but not defined.
type GroupChange struct {
	Old *Group `json:"old,omitempty"`
	New *Group `json:"new,omitempty"`
}

// Mode says how a write treats what exists and what a draft leaves out.
type Mode struct {
	// Replace fills what the draft leaves out with defaults (partialUpdate=false);
	// otherwise it keeps its value.
	Replace bool
	// MustExist refuses unknown ids with 404 (PATCH); otherwise they are created.
	MustExist bool
	// IfNeeded is ?restart=if-needed.
	IfNeeded bool
	// Force is ?force=true, which allows what only it may (a resident app's role).
	Force bool
}
