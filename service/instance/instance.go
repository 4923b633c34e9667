// Package instance is one instance of an app as a value: what it runs, where, how far it
// came and how it is. The life of an instance spans several tasks: a task that ended is
// followed by another one of the same instance, its incarnation one higher (as Marathon
// 1.8 and later).
package instance

import (
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
)

// Condition of an instance, in Marathon's words.
type Condition string

const (
	// Scheduled waits for an offer.
	Scheduled Condition = "Scheduled"
	// Provisioned has been sent to the master; no status has come yet.
	Provisioned         Condition = "Provisioned"
	Staging             Condition = "Staging"
	Starting            Condition = "Starting"
	Running             Condition = "Running"
	Killing             Condition = "Killing"
	Killed              Condition = "Killed"
	Finished            Condition = "Finished"
	Failed              Condition = "Failed"
	Error               Condition = "Error"
	Gone                Condition = "Gone"
	Dropped             Condition = "Dropped"
	Unknown             Condition = "Unknown"
	Unreachable         Condition = "Unreachable"
	UnreachableInactive Condition = "UnreachableInactive"
)

// Goal is what the service wants of an instance.
type Goal string

const (
	GoalRunning Goal = "Running"
	// GoalStopped keeps the reservation and launches again later (resident apps).
	GoalStopped Goal = "Stopped"
	// GoalDecommissioned ends it for good.
	GoalDecommissioned Goal = "Decommissioned"
)

// Instance is immutable once the core has let go of it: a change makes a copy. Its JSON
// is what the store keeps.
type Instance struct {
	// ID is "group_name.instance-<uuid>".
	ID  string `json:"id"`
	App string `json:"app"`
	// Version of the definition that its task runs or will run.
	Version     marathon.Version `json:"version"`
	Incarnation int              `json:"incarnation"`
	Goal        Goal             `json:"goal"`
	Condition   Condition        `json:"condition"`
	// Since when it has this condition.
	Since time.Time `json:"since"`
	// TaskID of the latest task, "<ID>._app.<incarnation>"; "" before the first.
	TaskID string `json:"taskId,omitempty"`
	// Role whose resources the task uses.
	Role  string `json:"role,omitempty"`
	Agent *Agent `json:"agent,omitempty"`
	// Ports on the host, in the order of the app's port definitions or mappings; 0 where
	// a mapping has none.
	Ports       []int                `json:"ports,omitempty"`
	IPAddresses []marathon.IPAddress `json:"ipAddresses,omitempty"`
	StagedAt    time.Time            `json:"stagedAt,omitzero"`
	StartedAt   time.Time            `json:"startedAt,omitzero"`
	// TaskState is the last one the kernel told, "TASK_RUNNING".
	TaskState string `json:"taskState,omitempty"`
	// Health has an entry per health check of its version, in their order.
	Health []Health `json:"health,omitempty"`
	// CheckResult of App.Check, as the API shows it.
	CheckResult any `json:"checkResult,omitempty"`
	// Ready is set once the readiness checks of its version have passed; apps without
	// any are ready when they run.
	Ready     bool                       `json:"ready,omitempty"`
	Readiness []marathon.ReadinessResult `json:"readiness,omitempty"`
	// Preview says that it belongs to the new set of a blue-green deployment that has
	// not been promoted.
	Preview bool `json:"preview,omitempty"`
	// DrainUntil is when its KILL goes out; it is shown as TASK_KILLING meanwhile.
	DrainUntil time.Time `json:"drainUntil,omitzero"`
	// KillingSince is when the first KILL went out.
	KillingSince time.Time `json:"killingSince,omitzero"`
	// Drain, if it is set, is the drain_period of its KILL, which has the preStop.command of
	// its definition; every repetition of the KILL has the same.
	Drain *time.Duration `json:"drain,omitempty"`
	// Reservation of a resident instance; nil until it was asked for.
	Reservation *Reservation `json:"reservation,omitempty"`
	// Wipe says that reservation and volumes go when the task has ended.
	Wipe bool `json:"wipe,omitempty"`
}

// Agent is where an instance runs.
type Agent struct {
	ID     string `json:"id"`
	Host   string `json:"host"`
	Region string `json:"region,omitempty"`
	Zone   string `json:"zone,omitempty"`
	// Attributes as texts, in the form that constraints compare.
	Attributes map[string]string `json:"attributes,omitempty"`
}

// Health is one health check's state.
type Health struct {
	// Known is false before the first result.
	Known               bool `json:"known,omitempty"`
	Alive               bool `json:"alive,omitempty"`
	ConsecutiveFailures int  `json:"consecutiveFailures,omitempty"`
	// Ignored failures in a row came inside the grace period; they are not in
	// ConsecutiveFailures.
	Ignored          int       `json:"ignored,omitempty"`
	FirstSuccess     time.Time `json:"firstSuccess,omitzero"`
	LastSuccess      time.Time `json:"lastSuccess,omitzero"`
	LastFailure      time.Time `json:"lastFailure,omitzero"`
	LastFailureCause string    `json:"lastFailureCause,omitempty"`
}

// Reservation is what a resident instance holds on its agent.
type Reservation struct {
	// Done is set once the kernel has confirmed reservation and volumes.
	Done bool `json:"done,omitempty"`
	// Since is when they were asked for; unconfirmed ones are given up after a time.
	Since   time.Time              `json:"since"`
	Volumes []marathon.LocalVolume `json:"volumes,omitempty"`
}

// Terminal reports whether the task has ended.
func (c Condition) Terminal() bool {
	switch c {
	case Killed, Finished, Failed, Error, Gone, Dropped, Unknown:
		return true
	}
	return false
}

// Active reports whether the instance takes up capacity: a task that was sent to the
// master and has not ended (an inactive unreachable one has been replaced).
func (i *Instance) Active() bool {
	switch i.Condition {
	case Provisioned, Staging, Starting, Running, Killing, Unreachable:
		return true
	}
	return false
}

// Healthy reports whether it runs and every health check of app, its definition, is
// alive. Without health checks running is enough.
func (i *Instance) Healthy(app *marathon.App) bool {
	if i.Condition != Running || !i.DrainUntil.IsZero() {
		return false
	}
	if len(app.HealthChecks) == 0 {
		return true
	}
	if len(i.Health) < len(app.HealthChecks) {
		return false
	}
	for _, h := range i.Health {
		if !h.Alive {
			return false
		}
	}
	return true
}

// Unhealthy reports whether some check is known to have failed.
func (i *Instance) Unhealthy() bool {
	for _, h := range i.Health {
		if h.Known && !h.Alive {
			return true
		}
	}
	return false
}
