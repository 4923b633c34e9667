package state

import (
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/deploy"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/match"
	"github.com/stoa-kernel/stoa/service/plan"
)

// Effect is one thing the loop must do, in order. The set is closed.
type Effect interface{ effect() }

// Put stores a value as JSON, or with a nil Value deletes the key. Values are immutable.
// Keys are below "service/": apps/ID/VERSION, groups/ID/VERSION, root, roots/VERSION,
// instances/ID, deployments/ID, backoff/ID, attempts/ID (ids without their first slash).
type Put struct {
	Key   string
	Value any
}

type (
	// Persist: effects after it wait until it is durable.
	Persist struct{ Puts []Put }
	// Save is written soon, in order with the others; nothing waits for it.
	Save struct{ Puts []Put }
	// Call goes to the master. Tasks are those an ACCEPT launches: if it cannot be sent
	// for certain, Unsent names them.
	Call struct {
		Call  *schedulerpb.Call
		Tasks []string
	}
	// Acknowledge a status update.
	Acknowledge struct{ Status *mesos.TaskStatus }
	// AcknowledgeOperation is the same for operations.
	AcknowledgeOperation struct{ Status *mesos.OperationStatus }
	// UpdateFramework subscribes the roles in use.
	UpdateFramework struct{ Roles []string }
	// Answer completes a request.
	Answer struct {
		Token Token
		Result
	}
	// SetTimer asks for Fired at a monotonic time, replacing an earlier one.
	SetTimer struct{ At time.Duration }
	// Watch an instance's readiness (and with Health its health checks that the service
	// makes itself) until Unwatch; a second Watch replaces the first.
	Watch struct {
		Instance *instance.Instance
		App      *marathon.App
		Ready    bool
		Health   bool
	}
	Unwatch struct{ Instance string }
	// PreStop is done at the instance's host; Stopped answers.
	PreStop struct {
		Instance *instance.Instance
		App      *marathon.App
	}
	// FollowAgents asks for Agents, now and whenever they change, or for no more of it.
	FollowAgents struct{ On bool }
	// FetchTail asks for the last output of a task that ended; Tail answers, or nothing.
	FetchTail struct{ App, Task, AgentID, Framework string }
	// Publish an event (marathon.Event) to the stream.
	Publish struct{ Event marathon.Event }
	// Changed tells the view what readers see of something; nil is gone.
	ChangedApp struct {
		ID  string
		App *marathon.App
	}
	ChangedGroup struct {
		ID    string
		Group *app.Group
	}
	ChangedInstance struct {
		ID       string
		Instance *instance.Instance
	}
	ChangedDeployment struct {
		ID         string
		Deployment *deploy.Deployment
	}
	// ChangedQueue replaces what is known of an app that waits; nil: nothing waits.
	ChangedQueue struct {
		App   string
		Queue *Queue
	}
	ChangedAttempts struct {
		App      string
		Attempts *Attempts
	}
	// ChangedRoot is the tree's version, after the changes of a write.
	ChangedRoot struct{ Version marathon.Version }
	// ChangedVersions lists the stored versions of an app, newest first.
	ChangedVersions struct {
		App      string
		Versions []marathon.Version
	}
)

// Result of a request; Fault or the fields that the call answers with.
type Result struct {
	Fault      *app.Fault
	Created    bool
	App        *marathon.App
	Version    marathon.Version
	Deployment string
	// Plan of a dry run.
	Plan *plan.Plan
	// Killed instances, as they were.
	Killed []*instance.Instance
}

// Queue is an app that waits for offers, and why.
type Queue struct {
	App   *marathon.App
	Count int
	Since time.Time
	// DelayUntil is when the backoff ends; zero if there is none.
	DelayUntil time.Time
	// Failures in a row that led to it.
	Failures int
	// Role is what it waits with.
	Role string
	// Processed and Unused offers since Since.
	Processed, Unused        int
	LastUnusedAt, LastUsedAt time.Time
	// Declined by reason, of all attempts since Since and of the last round of offers.
	Launch, Last map[match.Reason]Count
	// Unused offers, latest first, one of each agent and at most 10.
	LastUnused []Unused
	// Blocked says in words what holds it back before any offer is looked at: a
	// dependency that is not healthy, a missing capability, the framework not subscribed.
	Blocked string
}

// Count of offers by one reason.
type Count struct{ Declined, Processed int }

// Unused is an offer that did not fit.
type Unused struct {
	Offer *mesos.Offer
	At    time.Time
	Why   match.Refusal
}

func (Persist) effect()              {}
func (Save) effect()                 {}
func (Call) effect()                 {}
func (Acknowledge) effect()          {}
func (AcknowledgeOperation) effect() {}
func (UpdateFramework) effect()      {}
func (Answer) effect()               {}
func (SetTimer) effect()             {}
func (Watch) effect()                {}
func (Unwatch) effect()              {}
func (PreStop) effect()              {}
func (FollowAgents) effect()         {}
func (FetchTail) effect()            {}
func (Publish) effect()              {}
func (ChangedApp) effect()           {}
func (ChangedGroup) effect()         {}
func (ChangedInstance) effect()      {}
func (ChangedDeployment) effect()    {}
func (ChangedQueue) effect()         {}
func (ChangedAttempts) effect()      {}
func (ChangedRoot) effect()          {}
func (ChangedVersions) effect()      {}
