package state

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/deploy"
	"github.com/stoa-kernel/stoa/service/plan"
)

// A deployment of 10,000 apps is larger than one value of the store may be. It is kept as
// the Deployment without plan and progress, the plan in parts of partSize apps that never
// change, and the progress in parts of progressSize apps, of which only those that changed
// are written: few apps each, for each app makes its steps at a time of its own.
// Definitions are named by their versions.
const (
	partSize     = 500
	progressSize = 16
)

// StoredPlan is one part of a deployment's plan.
type StoredPlan struct {
	Deployment string            `json:"deployment"`
	Part       int               `json:"part"`
	Actions    []StoredAction    `json:"actions,omitempty"`
	Changes    []StoredChange    `json:"changes,omitempty"`
	Groups     []app.GroupChange `json:"groups,omitempty"`
}

// StoredAction is one action of one step.
type StoredAction struct {
	Step int `json:"step"`
	plan.Action
}

// StoredChange is an app.AppChange; "" is no definition.
type StoredChange struct {
	App     string           `json:"app"`
	Old     marathon.Version `json:"old,omitempty"`
	New     marathon.Version `json:"new,omitempty"`
	Restart bool             `json:"restart,omitempty"`
}

// StoredProgress is one part of a deployment's progress.
type StoredProgress struct {
	Deployment string `json:"deployment"`
	Part       int    `json:"part"`
	// Size is how many apps of the plan a part is for; 0 is 500, under a key that is not
	// used any more.
	Size     int                         `json:"size,omitempty"`
	Progress map[string]*deploy.Progress `json:"progress"`
}

func partKey(prefix, id string, part int) string { return fmt.Sprintf("%s%s/%04d", prefix, id, part) }

func progressKey(id string, part int) string {
	return fmt.Sprintf("%s%s/%d-%05d", keyProgress, id, progressSize, part)
}

// keepPlan stores what of a new deployment never changes.
func (s *Service) keepPlan(p *plan.Plan) {
	parts := []StoredPlan{{Deployment: p.ID}}
	room := 0
	part := func() *StoredPlan {
		if room == partSize {
			parts, room = append(parts, StoredPlan{Deployment: p.ID, Part: len(parts)}), 0
		}
		room++
		return &parts[len(parts)-1]
	}
	for n := range p.Steps {
		for _, a := range p.Steps[n].Actions {
			x := part()
			x.Actions = append(x.Actions, StoredAction{n, a})
		}
	}
	for _, c := range p.Changes {
		stored := StoredChange{App: c.ID(), Restart: c.Restart}
		if c.Old != nil {
			stored.Old = c.Old.Version
		}
		if c.New != nil {
			stored.New = c.New.Version
		}
		x := part()
		x.Changes = append(x.Changes, stored)
	}
	for _, g := range p.Groups {
		x := part()
		x.Groups = append(x.Groups, g)
	}
	for n := range parts {
		s.persist(partKey(keyPlan, p.ID, n), parts[n])
	}
	s.planParts[p.ID] = len(parts)
}

// keepDeployment stores what may have changed since old.
func (s *Service) keepDeployment(old, d *deploy.Deployment) {
	head := *d
	head.Plan, head.Progress = &plan.Plan{ID: d.Plan.ID, Version: d.Plan.Version}, deploy.Notes{}
	s.persist(keyDeployment+d.Plan.ID, &head)
	var was deploy.Notes
	if old != nil {
		was = old.Progress
	}
	s.keepProgress(d, d.Progress.Since(was))
}

// keepProgress stores the parts that these apps are in, whole.
func (s *Service) keepProgress(d *deploy.Deployment, apps iter.Seq[string]) {
	parts := make(map[int]bool)
	for id := range apps {
		parts[d.Plan.Place(id)/progressSize] = true
	}
	for _, part := range slices.Sorted(maps.Keys(parts)) {
		x := StoredProgress{d.Plan.ID, part, progressSize, make(map[string]*deploy.Progress)}
		for n := part * progressSize; n < min((part+1)*progressSize, len(d.Plan.Changes)); n++ {
			id := d.Plan.Changes[n].ID()
			if p := d.Progress.Of(id); p != nil {
				x.Progress[id] = p
			}
		}
		if len(x.Progress) == 0 {
			s.persist(progressKey(d.Plan.ID, part), nil)
		} else {
			s.persist(progressKey(d.Plan.ID, part), x)
		}
	}
}

// loseDeployment deletes all that is stored of a deployment.
func (s *Service) loseDeployment(d *deploy.Deployment) {
	s.persist(keyDeployment+d.Plan.ID, nil)
	for n := range s.planParts[d.Plan.ID] {
		s.persist(partKey(keyPlan, d.Plan.ID, n), nil)
	}
	old := d.Progress
	gone := *d
	gone.Progress = deploy.Notes{}
	s.keepProgress(&gone, gone.Progress.Since(old))
	delete(s.planParts, d.Plan.ID)
}

// assemble makes deployments whole again.
func (s *Service) assemble(in Recovered) []*deploy.Deployment {
	byID := make(map[string]*deploy.Deployment)
	for _, d := range in.Deployments {
		byID[d.Plan.ID] = d
	}
	slices.SortFunc(in.Plans, func(a, b StoredPlan) int {
		return cmp.Or(cmp.Compare(a.Deployment, b.Deployment), cmp.Compare(a.Part, b.Part))
	})
	for _, part := range in.Plans {
		d := byID[part.Deployment]
		if d == nil {
			s.save(partKey(keyPlan, part.Deployment, part.Part), nil) // its deployment was never begun
			continue
		}
		s.planParts[part.Deployment] = part.Part + 1
		for _, a := range part.Actions {
			for len(d.Plan.Steps) <= a.Step {
				d.Plan.Steps = append(d.Plan.Steps, plan.Step{})
			}
			d.Plan.Steps[a.Step].Actions = append(d.Plan.Steps[a.Step].Actions, a.Action)
		}
		for _, c := range part.Changes {
			d.Plan.Changes = append(d.Plan.Changes, app.AppChange{
				Old: s.of(c.App).uses[c.Old], New: s.of(c.App).uses[c.New], Restart: c.Restart,
			})
		}
		d.Plan.Groups = append(d.Plan.Groups, part.Groups...)
	}
	s.assembleProgress(in.Progress, byID)
	for _, d := range in.Deployments {
		d.Plan.Index()
	}
	return in.Deployments
}

func (s *Service) assembleProgress(parts []StoredProgress, of map[string]*deploy.Deployment) {
	slices.SortFunc(parts, func(a, b StoredProgress) int { // old ones first: what is said twice, others say later
		return cmp.Or(cmp.Compare(a.Size, b.Size), cmp.Compare(a.Deployment, b.Deployment), cmp.Compare(a.Part, b.Part))
	})
	var gone []string // keys
	for _, part := range parts {
		at := progressKey(part.Deployment, part.Part)
		if part.Size == 0 {
			at = partKey(keyProgress, part.Deployment, part.Part)
		}
		d := of[part.Deployment]
		if d == nil || part.Size == 0 {
			gone = append(gone, at)
		}
		if d == nil {
			continue
		}
		for _, id := range slices.Sorted(maps.Keys(part.Progress)) {
			d.Progress = d.Progress.With(id, part.Progress[id])
		}
		if part.Size == 0 {
			s.keepProgress(d, maps.Keys(part.Progress))
		}
	}
	for _, at := range gone {
		s.save(at, nil)
	}
}

// Compact leaves of puts that are written together the last one of each key, at its last
// place. Nothing passes a new version of the tree: what was before it stays before, what
// it stands for is there when it is.
func Compact(puts []Put) []Put {
	at := make(map[string]int, len(puts))
	gone := make([]bool, len(puts))
	for n, p := range puts {
		if old, ok := at[p.Key]; ok {
			gone[old] = true
		}
		if at[p.Key] = n; p.Key == keyRoot {
			clear(at)
		}
	}
	kept := make([]Put, 0, len(puts))
	for n, p := range puts {
		if !gone[n] {
			kept = append(kept, p)
		}
	}
	return kept
}
