// Package deploy carries out a plan. It looks at the instances as they are and says what
// to do next, so that after a crash, a force or a failed task it simply goes on: all it
// remembers is in the Deployment value, which is stored before anything is done.
package deploy

import (
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/plan"
)

// Deployment is a plan under way. Step returns a changed copy; the JSON is what the
// store keeps.
type Deployment struct {
	Plan *plan.Plan `json:"plan"`
	// Step is the index of the current one.
	Step    int       `json:"step"`
	Started time.Time `json:"started"`
	// By is who asked for it.
	By string `json:"by,omitempty"`
	// Reverts is the id of the deployment that this one takes back, "" otherwise.
	Reverts string `json:"reverts,omitempty"`
	// Progress of the current step's actions that have something to remember, by app.
	Progress map[string]*Progress `json:"progress,omitempty"`
	// Deadline after which it goes back; zero is none.
	Deadline time.Time `json:"deadline,omitzero"`
	// Paused by an operator (`stoa deployment pause`).
	Paused bool `json:"paused,omitempty"`
}

// Progress of one action.
type Progress struct {
	// Begun: B3's numbers that are fixed when a rolling restart begins.
	Begun       bool `json:"begun,omitempty"`
	MaxCapacity int  `json:"maxCapacity,omitempty"`
	// Phase of a canary or blue-green action: "", "starting", "paused", "promoted".
	Phase string `json:"phase,omitempty"`
	// Until is when a pause ends by itself, or when the old set of a promoted
	// blue-green deployment goes; zero is never.
	Until time.Time `json:"until,omitzero"`
	Done  bool      `json:"done,omitempty"`
}

// World is what a step looks at.
type World interface {
	// Instances of an app that are not gone: all conditions, all goals, in order of ID.
	Instances(app string) []*instance.Instance
	// Definition of an app at a version in use.
	Definition(app string, version marathon.Version) *marathon.App
	// Agents that a per-agent app should have an instance on.
	AgentsFor(app *marathon.App) int
}

// Input of a step.
type Input string

const (
	// Look again: something may have changed.
	Look    Input = ""
	Promote Input = "promote"
	Pause   Input = "pause"
	Resume  Input = "resume"
)

// Effect of a step, in order. The set is closed.
type Effect interface{ effect() }

type (
	// Launch wants N more instances of the app's new definition.
	Launch struct {
		App     string
		N       int
		Preview bool
	}
	// Kill instances by way of draining, for good (or, for resident apps being
	// restarted, with goal Stopped: Keep).
	Kill struct {
		App       string
		Instances []string
		Keep      bool
	}
	// Adopt makes instances of the old definition count as of the new one (a change
	// without Restart).
	Adopt struct{ App string }
	// Swap ends the preview: the new set is shown, the old one is not.
	Swap struct{ App string }
	// ResetBackoff of an app, at the start of a restart.
	ResetBackoff struct{ App string }
	// StepBegan and StepEnded become deployment_info and deployment_step_success.
	StepBegan struct{ Step int }
	StepEnded struct{ Step int }
	// Finished ends it with success.
	Finished struct{}
	// GoBack asks for the reverting deployment: a canary failed or the deadline passed.
	GoBack struct{ Reason string }
	// Wake asks to be stepped again at a time.
	Wake struct{ At time.Time }
)

func (Launch) effect()       {}
func (Kill) effect()         {}
func (Adopt) effect()        {}
func (Swap) effect()         {}
func (ResetBackoff) effect() {}
func (StepBegan) effect()    {}
func (StepEnded) effect()    {}
func (Finished) effect()     {}
func (GoBack) effect()       {}
func (Wake) effect()         {}

// New starts a deployment.
func New(now time.Time, p *plan.Plan, by string) *Deployment { panic("contract") }

// Step looks at the world and says what to do. It is idempotent: asked twice about the
// same world it answers the second time with nothing but Wake. changed says that d is not
// the value given and must be stored before the effects are done. A refused input (nothing
// to promote, say) is an error in words; then nothing changed.
func Step(now time.Time, d *Deployment, in Input, w World) (next *Deployment, effects []Effect, changed bool, err error) {
	panic("contract")
}

// Waiting says in words what each action of the current step waits for, by app: "3 of 20
// instances are not healthy", "paused for promotion".
func Waiting(now time.Time, d *Deployment, w World) map[string]string { panic("contract") }
