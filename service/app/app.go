// Package app is the model of what users ask for: it turns documents of any version of
// Marathon's API into canonical definitions, fills in defaults, checks every rule, and
// keeps the tree of apps and groups.
package app

import (
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
)

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

// Decode reads one app document. Errors are *Fault: 400 for what is not JSON or of the
// wrong shape (with paths), 422 for contradictions between old and new forms.
func Decode(body []byte) (*Draft, error) { panic("contract") }

// DecodeList reads an array of app documents, each with an id.
func DecodeList(body []byte) ([]*Draft, error) { panic("contract") }

// DecodeGroup reads a group update.
func DecodeGroup(body []byte) (*GroupDraft, error) { panic("contract") }

// Group is what the tree keeps of a group that was defined; groups that exist only
// because apps are below them have no value of their own until a write names them.
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
	Apps    []AppChange // in order of ID
	Groups  []GroupChange
	// Kind of each app's change decides about restarts; see AppChange.
}

// AppChange is one app's.
type AppChange struct {
	Old, New *marathon.App
	// Restart says that running instances of Old must be replaced by ones of New: the
	// configuration changed, or a restart was asked for. Without it instances count as
	// being of New.
	Restart bool
}

// ID of the app.
func (c AppChange) ID() string {
	if c.New != nil {
		return c.New.ID
	}
	return c.Old.ID
}

// GroupChange is one group's.
type GroupChange struct{ Old, New *Group }

// NewTree makes an empty one; Load fills it from what the store kept.
func NewTree(o Options) *Tree { panic("contract") }

// Load puts stored values in, in any order, before the first write.
func (t *Tree) Load(version marathon.Version, apps []*marathon.App, groups []*Group) {
	panic("contract")
}

// Version of the last write.
func (t *Tree) Version() marathon.Version { panic("contract") }

// App by absolute path, or nil.
func (t *Tree) App(id string) *marathon.App { panic("contract") }

// Apps calls f for every app below the group ("/" is all), in order of ID, until false.
func (t *Tree) Apps(group string, f func(*marathon.App) bool) { panic("contract") }

// Group by absolute path; ok is false if neither a definition nor an app is there.
func (t *Tree) Group(id string) (g Group, ok bool) { panic("contract") }

// Groups calls f for every group below and including the given one, parents first.
func (t *Tree) Groups(group string, f func(Group) bool) { panic("contract") }

// Depends returns the apps that id waits for: its own dependencies and those of its
// groups, groups replaced by the apps in them, missing ones left out, in order.
func (t *Tree) Depends(id string) []string { panic("contract") }

// What follows computes writes; nothing changes before Apply. now gives the version,
// which is made later than the last. Errors are *Fault with Marathon's status and words.

// Create adds an app: 409 if something is there, 422 with every violation.
func (t *Tree) Create(now time.Time, d *Draft) (Change, error) { panic("contract") }

// Mode says how Update treats what exists and what a draft leaves out.
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

// Update changes or creates apps in one write. base is the group that relative ids
// resolve against, "/" at the top.
func (t *Tree) Update(now time.Time, drafts []*Draft, m Mode) (Change, error) { panic("contract") }

// Rollback makes old the definition again, with a new version.
func (t *Tree) Rollback(now time.Time, old *marathon.App) (Change, error) { panic("contract") }

// Restart gives apps a new version with the same content.
func (t *Tree) Restart(now time.Time, ids []string) (Change, error) { panic("contract") }

// Scale sets instances; ids that are unknown are refused with 404.
func (t *Tree) Scale(now time.Time, instances map[string]int) (Change, error) { panic("contract") }

// Delete removes an app.
func (t *Tree) Delete(now time.Time, id string) (Change, error) { panic("contract") }

// CreateGroup refuses an id that is taken (409); UpdateGroup does not.
func (t *Tree) CreateGroup(now time.Time, id string, d *GroupDraft, m Mode) (Change, error) {
	panic("contract")
}

// UpdateGroup follows A7: given lists replace, omitted ones are kept; scaleBy alone.
func (t *Tree) UpdateGroup(now time.Time, id string, d *GroupDraft, m Mode) (Change, error) {
	panic("contract")
}

// RestoreGroup makes apps and groups the content of group id, as they were at a version.
func (t *Tree) RestoreGroup(now time.Time, id string, apps []*marathon.App, groups []*Group) (Change, error) {
	panic("contract")
}

// DeleteGroup removes a group and all below it.
func (t *Tree) DeleteGroup(now time.Time, id string) (Change, error) { panic("contract") }

// Revert computes the write that takes back changes, for what nobody changed since
// (B2: created apps are removed, apps that others touched are left).
func (t *Tree) Revert(now time.Time, changes []AppChange, groups []GroupChange) (Change, error) {
	panic("contract")
}

// Apply carries out a change computed on this very state of the tree.
func (t *Tree) Apply(c Change) { panic("contract") }

// Path resolves an id against a group: "x" in "/g" is "/g/x", "../y" in "/g/h" is "/g/y".
func Path(id, group string) string { panic("contract") }

type tree struct{}
