package state

import (
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/deploy"
	"github.com/stoa-kernel/stoa/service/instance"
)

// Input is one thing that happened outside. The set is closed.
type Input interface{ input() }

// Token names a request waiting at the edge; it gets exactly one Answer.
type Token uint64

// Request is what every writing call has.
type Request struct {
	Token Token
	Force bool
	// Who asks: the basic-auth user, else the client's address; URI for events.
	Who, URI string
}

// What the kernel and the edges tell.
type (
	// Recovered is the first input: all that the store kept.
	Recovered struct {
		Version marathon.Version
		// Roots are the versions of the tree that are kept.
		Roots []marathon.Version
		// Apps are all versions that are kept. The last one of the tree at Version and those
		// that instances and deployments have come with their definition.
		Apps        []StoredApp
		Groups      []StoredGroup
		Instances   []*instance.Instance
		Deployments []*deploy.Deployment // without plan and progress
		Plans       []StoredPlan
		Progress    []StoredProgress
		Backoffs    []Backoff
		Attempts    []Attempts
	}
	Subscribed   struct{ FrameworkID string }
	Disconnected struct{}
	// Offers to be answered now; More is about how many others are on their way, for each
	// app to leave its share to them.
	Offers struct {
		Offers []*mesos.Offer
		More   int
	}
	Rescinded struct{ Offer string }
	// Status is a status update; Exit is its exit code where it tells one.
	Status struct {
		Status *mesos.TaskStatus
		Exit   *int
	}
	// Operation is the end of a RESERVE, CREATE, DESTROY or UNRESERVE.
	Operation struct{ Status *mesos.OperationStatus }
	// AgentFailed says that an agent is gone.
	AgentFailed struct{ Agent string }
	// Agents are all that are registered; it comes while FollowAgents is on.
	Agents struct{ All []*instance.Agent }
	// Unsent says that an ACCEPT did not reach a master for certain or at all: what of
	// it runs is settled by reconciling before anything is launched again.
	Unsent struct{ Tasks []string }
	// Probed is the result of a check that the service made itself.
	Probed struct {
		Instance, Task string
		Check          int
		OK             bool
		Cause          string
	}
	// ReadyProbed is the result of a readiness check.
	ReadyProbed struct {
		Instance, Task string
		Result         marathon.ReadinessResult
	}
	// Stopped says that the preStop of an instance is done (or failed, with why).
	Stopped struct{ Instance, Task, Failure string }
	// Tail brings the last output of a task that ended.
	Tail struct {
		App, Task      string
		Stdout, Stderr string
	}
	// Fired is the timer.
	Fired struct{}
)

// What users ask for. Documents were decoded where they came in.
type (
	CreateApp struct {
		Request
		Draft *app.Draft
	}
	UpdateApps struct {
		Request
		Drafts []*app.Draft
		Mode   app.Mode
		// Single says that one app was addressed by its path, which decides about 201.
		Single bool
		// Back is the stored definition if the draft of a single app asks for a version.
		Back *marathon.App
	}
	DeleteApp struct {
		Request
		ID string
	}
	RestartApp struct {
		Request
		ID string
	}
	// KillTasks names tasks or instances by id; App restricts it to one app ("" none),
	// Host to one host ("" or "*" none). All means every task of App.
	KillTasks struct {
		Request
		App, Host   string
		IDs         []string
		All         bool
		Scale, Wipe bool
		// Single: the answer is one task, 404 if there is none.
		Single bool
	}
	CreateGroup struct {
		Request
		ID    string
		Draft *app.GroupDraft
	}
	UpdateGroup struct {
		Request
		ID     string
		Draft  *app.GroupDraft
		Mode   app.Mode
		DryRun bool
		// Back is the group's content at a version, if the draft asks for one.
		Back *GroupVersion
	}
	DeleteGroup struct {
		Request
		ID string
	}
	EnforceRole struct {
		Request
		ID      string
		Enforce bool
	}
	// DryRun of an app write: the plan it would start.
	PlanApps struct {
		Request
		Drafts []*app.Draft
		Mode   app.Mode
		// Back as in UpdateApps.
		Back *marathon.App
	}
	// CancelDeployment goes back, or with Force leaves things as they are.
	CancelDeployment struct {
		Request
		ID string
	}
	SteerDeployment struct {
		Request
		ID    string
		Input deploy.Input
	}
	ResetDelay struct {
		Request
		App string
	}
)

// GroupVersion is a group's content at some version.
type GroupVersion struct {
	Apps   []*marathon.App
	Groups []*app.Group
}

// StoredApp is one version of one app in the store.
type StoredApp struct {
	App *marathon.App `json:"app"`
	// ID and Version of a tombstone, which has no App.
	ID      string           `json:"id"`
	Version marathon.Version `json:"version"`
	Deleted bool             `json:"deleted,omitempty"`
	By      string           `json:"by,omitempty"`
	// Outcome of the deployment that brought it: "", "success", "failed", "canceled".
	Outcome    string `json:"outcome,omitempty"`
	Deployment string `json:"deployment,omitempty"`
}

// StoredGroup is one version of one group in the store; without a Group a tombstone.
type StoredGroup struct {
	ID      string           `json:"id"`
	Version marathon.Version `json:"version"`
	Group   *app.Group       `json:"group,omitempty"`
}

// Backoff of one app and configuration.
type Backoff struct {
	App string `json:"app"`
	// Config is the version of the last configuration change.
	Config marathon.Version `json:"config"`
	Delay  time.Duration    `json:"delay"`
	Until  time.Time        `json:"until"`
}

// Attempts are the last dead tasks of an app, latest first.
type Attempts struct {
	App  string    `json:"app"`
	Last []Attempt `json:"last"`
}

// Attempt is how one task ended.
type Attempt struct {
	Task     string           `json:"task"`
	Instance string           `json:"instance"`
	Version  marathon.Version `json:"version"`
	Agent    string           `json:"agent"`
	AgentID  string           `json:"agentId"`
	State    string           `json:"state"`
	Reason   string           `json:"reason,omitempty"`
	Message  string           `json:"message,omitempty"`
	// Exit is the exit code; nil if the status does not tell.
	Exit    *int      `json:"exit,omitempty"`
	Staged  time.Time `json:"staged,omitzero"`
	Started time.Time `json:"started,omitzero"`
	Ended   time.Time `json:"ended"`
	// Stdout and Stderr are the last 4 KiB of each, if they could be read in time.
	Stdout string `json:"stdout,omitempty"`
	Stderr string `json:"stderr,omitempty"`
}

func (Recovered) input()        {}
func (Subscribed) input()       {}
func (Disconnected) input()     {}
func (Offers) input()           {}
func (Rescinded) input()        {}
func (Status) input()           {}
func (Operation) input()        {}
func (AgentFailed) input()      {}
func (Agents) input()           {}
func (Unsent) input()           {}
func (Probed) input()           {}
func (ReadyProbed) input()      {}
func (Stopped) input()          {}
func (Tail) input()             {}
func (Fired) input()            {}
func (CreateApp) input()        {}
func (UpdateApps) input()       {}
func (DeleteApp) input()        {}
func (RestartApp) input()       {}
func (KillTasks) input()        {}
func (CreateGroup) input()      {}
func (UpdateGroup) input()      {}
func (DeleteGroup) input()      {}
func (EnforceRole) input()      {}
func (PlanApps) input()         {}
func (CancelDeployment) input() {}
func (SteerDeployment) input()  {}
func (ResetDelay) input()       {}
