package state

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/internal/planted"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/deploy"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/plan"
)

// write carries a change out: locks, plan, tree, deployment. The answer goes out when all
// of it is durable, before anything is done (B1).
type write struct {
	Request
	change  app.Change
	kill    map[string][]string
	reverts string
	// failed is why the deployment that this one takes back has failed; "" if it was
	// cancelled by a user.
	failed string
	// post says that each definition is announced by an api_post_event.
	post bool
	// group is where it happens, for the events: that above the app or group asked for (as
	// Marathon 1.10, GroupManager.updateApp).
	group string
}

// submit starts the deployment of a write, or refuses it.
func (s *Service) submit(w write) (*plan.Plan, *app.Fault) {
	s.inherit(&w)
	p := s.planOf(w)
	var conflicts []string
	for _, id := range p.Locks() {
		if d := s.locks[id]; d != "" && !slices.Contains(conflicts, d) {
			conflicts = append(conflicts, d)
		}
	}
	if len(conflicts) > 0 && !w.Force {
		return nil, locked(conflicts)
	}
	if len(s.deployments) >= s.cfg.MaxDeployments && !w.Force {
		return nil, &app.Fault{Status: 403, Body: marathon.Error{Message: fmt.Sprintf(
			"Max number (%d) of running deployments is achieved. Wait for existing deployments to complete or cancel one using force=true parameter. "+
				"You can increase max deployment number by using --max_running_deployments parameter but be advised that this can have negative effects on the performance.",
			s.cfg.MaxDeployments)}}
	}
	s.apply(w, p)
	d := deploy.New(s.now.Wall, p, w.Who)
	d.Reverts = w.reverts
	s.deployments[p.ID] = d
	s.order = append(s.order, p.ID)
	s.keepPlan(p)
	s.keepDeployment(nil, d)
	s.roots = append(s.roots, w.change.Version)
	s.persist(keyRoots+string(w.change.Version), w.change.Version)
	s.persist(keyRoot, w.change.Version) // last: until it is there, none of this counts
	s.sweep()
	for _, id := range conflicts {
		reason := "it was overridden by deployment " + p.ID
		if id == w.reverts && w.failed != "" {
			reason = w.failed
		}
		s.endDeployment(id, "failed", reason)
	}
	for _, id := range p.Locks() {
		s.locks[id] = p.ID
	}
	s.emit(ChangedRoot{w.change.Version})
	s.emit(ChangedDeployment{p.ID, d})
	return p, nil
}

func (s *Service) planOf(w write) (p *plan.Plan) {
	s.tree.Preview(w.change, func(depth func(app string) int) {
		p = plan.New(s.uuid(), w.change, depth, w.kill)
	})
	return p
}

// inherit makes a forced write finish the restarts that it overrides: an app that is
// scaled amid an upgrade is scaled and upgraded.
func (s *Service) inherit(w *write) {
	if !w.Force {
		return
	}
	for n := range w.change.Apps {
		c := &w.change.Apps[n]
		d := s.deployments[s.locks[c.ID()]]
		if d == nil || c.Old == nil || c.New == nil || c.Restart {
			continue
		}
		if under := d.Plan.Change(c.ID()); under != nil && under.Restart {
			c.Restart = true
		}
	}
}

// locked is the 409 that clients know by its deployments.
func locked(deployments []string) *app.Fault {
	f := &app.Fault{Status: 409, Body: marathon.Error{
		Message: "App is locked by one or more deployments. Override with the option '?force=true'. View details at '/v2/deployments/<DEPLOYMENT_ID>'.",
	}}
	for _, id := range deployments {
		f.Body.Deployments = append(f.Body.Deployments, marathon.Identifiable{ID: id})
	}
	return f
}

// apply makes the change the tree's, and stores each version it brings.
func (s *Service) apply(w write, p *plan.Plan) {
	s.tree.Apply(w.change)
	s.lookAgain(w.change)
	for _, c := range w.change.Apps {
		a := s.of(c.ID())
		if c.Old != nil {
			s.roles[c.Old.Role]--
		}
		if c.New == nil {
			s.persist(appKey(a.id, w.change.Version), StoredApp{
				ID: a.id, Version: w.change.Version, Deleted: true, By: w.Who, Deployment: p.ID,
			})
			a.def, a.removed = nil, w.change.Version
			s.follows(a.id, nil)
			s.emit(ChangedApp{a.id, nil})
			s.touch(a.id)
			continue
		}
		s.roles[c.New.Role]++
		a.def = c.New
		s.follows(a.id, c.New)
		a.uses[c.New.Version] = c.New
		a.placed = nil
		a.stored = append(a.stored, c.New.Version)
		s.persist(appKey(a.id, c.New.Version), StoredApp{
			App: c.New, ID: a.id, Version: c.New.Version, By: w.Who, Deployment: p.ID,
		})
		s.emit(ChangedApp{a.id, c.New})
		s.tellVersions(a)
		if c.Old == nil {
			s.exhume(a, c.New.Version)
		}
		s.publishChecks(c)
		if planted.Bug("backoff reset by scaling") {
			s.forgive(a)
		}
		s.touch(a.id)
	}
	for _, g := range w.change.Groups {
		id, stored := "", (*app.Group)(nil)
		if g.New != nil {
			id, stored = g.New.ID, g.New
		} else {
			id = g.Old.ID
		}
		s.persist(groupKey(id, w.change.Version), StoredGroup{ID: id, Version: w.change.Version, Group: stored})
		s.groupIs(id, w.change.Version, stored != nil)
		s.emit(ChangedGroup{id, stored})
	}
}

// lookAgain looks at the apps that wait for offers: what they depend on may be another app
// now.
func (s *Service) lookAgain(c app.Change) {
	if len(c.Groups) == 0 && !slices.ContainsFunc(c.Apps, func(a app.AppChange) bool { return a.Old == nil || a.New == nil }) {
		return
	}
	for _, a := range s.waiting {
		if s.tree.Dependent(a.id) {
			s.touch(a.id)
		}
	}
}

// stepDeployment lets a deployment look at all its instances, with an input.
func (s *Service) stepDeployment(id string, in deploy.Input) error {
	d := s.deployments[id]
	if d == nil {
		return nil
	}
	next, effects, changed, err := deploy.Step(s.now.Wall, d, in, s)
	if err == nil {
		s.deploy(id, next, effects, changed)
	}
	return err
}

// stepApps lets a deployment look at the instances of some of its apps.
func (s *Service) stepApps(id string, apps []string) {
	if d := s.deployments[id]; d != nil {
		next, effects, changed := deploy.StepApps(s.now.Wall, d, s, apps)
		s.deploy(id, next, effects, changed)
	}
}

// deploy does what a deployment says.
func (s *Service) deploy(id string, d *deploy.Deployment, effects []deploy.Effect, changed bool) {
	if changed {
		s.keepDeployment(s.deployments[id], d)
		s.deployments[id] = d
		s.emit(ChangedDeployment{id, d})
	}
	for _, e := range effects {
		switch e := e.(type) {
		case deploy.Launch:
			if c := d.Plan.Change(e.App); c != nil && c.New != nil {
				s.launchMore(c.New, e.N, e.Preview)
			}
		case deploy.Kill:
			s.killFor(e)
		case deploy.Adopt:
			s.adopt(d, e.App)
		case deploy.Swap:
			s.show(e.Show, false)
			s.show(e.Hide, true)
		case deploy.ResetBackoff:
			s.forgive(s.of(e.App))
		case deploy.StepBegan:
			s.publishStep(d, e.Step, "deployment_info")
		case deploy.StepEnded:
			s.publishStep(d, e.Step, "deployment_step_success")
		case deploy.Wake:
			s.at(e.At, timerDeployment, id)
		case deploy.Finished:
			s.endDeployment(id, "success", "")
			return
		case deploy.GoBack:
			s.goBack(id, e.Reason)
			return
		}
	}
}

// launchMore makes n more instances of a definition wait for offers; resident ones that
// were stopped come first.
func (s *Service) launchMore(def *marathon.App, n int, preview bool) {
	if def.Resident() {
		for _, i := range slices.Clone(s.of(def.ID).list) {
			if n > 0 && i.Goal == instance.GoalStopped && i.Condition.Terminal() {
				s.again(i, def)
				n--
			}
		}
	}
	s.add(def, n, preview)
}

// adopt makes the instances of an app, whose tasks run on, ones of its new definition: in
// all but the task they have, they are.
func (s *Service) adopt(d *deploy.Deployment, id string) {
	c := d.Plan.Change(id)
	if c == nil || c.New == nil || c.Old == nil || configOf(c.Old) == configOf(c.New) {
		return // scaling only: they stay of the version they were started with
	}
	a := s.of(id)
	a.use(c.New)
	for _, i := range slices.Clone(a.list) {
		if i.Version != c.New.Version {
			keep := safe
			if i.TaskID == "" && i.Reservation == nil {
				keep = forget
			}
			s.set(with(i, func(i *instance.Instance) { i.Version = c.New.Version }), keep)
		}
	}
}

func (s *Service) killFor(e deploy.Kill) {
	goal := instance.GoalDecommissioned
	if e.Keep {
		goal = instance.GoalStopped
	}
	gone := s.of(e.App).def == nil
	for _, id := range e.Instances {
		if i := s.instances[id]; i != nil {
			s.kill(i, goal, gone)
		}
	}
}

// show ends or begins the preview of instances.
func (s *Service) show(ids []string, preview bool) {
	for _, id := range ids {
		if i := s.instances[id]; i != nil && i.Preview != preview {
			s.set(with(i, func(c *instance.Instance) { c.Preview = preview }), safe)
		}
	}
}

// endDeployment unlocks its apps. outcome is "success", "failed" or "canceled".
func (s *Service) endDeployment(id, outcome, reason string) {
	d := s.deployments[id]
	delete(s.deployments, id)
	s.order = slices.DeleteFunc(s.order, func(o string) bool { return o == id })
	s.timers.Stop(timer{timerDeployment, id})
	s.loseDeployment(d)
	for _, app := range d.Plan.Locks() {
		if s.locks[app] == id {
			if planted.Bug("lock not released on cancel") && outcome == "canceled" {
				continue
			}
			delete(s.locks, app)
			s.touch(app)
		}
	}
	for _, c := range d.Plan.Changes {
		if c.New == nil {
			continue
		}
		s.save(appKey(c.New.ID, c.New.Version), StoredApp{
			App: c.New, ID: c.New.ID, Version: c.New.Version, By: d.By, Outcome: outcome, Deployment: id,
		})
	}
	s.emit(ChangedDeployment{id, nil})
	s.publishEnd(d, outcome, reason)
}

// goBack takes a deployment back by a new one.
func (s *Service) goBack(id, reason string) {
	d := s.deployments[id]
	change, err := s.tree.Revert(s.now.Wall, d.Plan.Changes, d.Plan.Groups)
	if err != nil {
		s.endDeployment(id, "failed", reason+"; it could not be taken back: "+err.Error())
		return
	}
	w := write{Request: Request{Force: true, Who: d.By}, change: change, reverts: id, failed: reason, group: "/"}
	s.start(w, Result{}) // forced, it is not refused; nobody waits for the answer
}

func (s *Service) cancelDeployment(in CancelDeployment) {
	d := s.deployments[in.ID]
	if d == nil {
		s.refuse(in.Request, noDeployment(in.ID))
		return
	}
	if in.Force {
		s.endDeployment(in.ID, "canceled", "it was cancelled by "+in.Who)
		s.answer(in.Request, Result{})
		return
	}
	change, err := s.tree.Revert(s.now.Wall, d.Plan.Changes, d.Plan.Groups)
	if err != nil {
		s.refuse(in.Request, err)
		return
	}
	in.Force = true
	s.start(write{Request: in.Request, change: change, reverts: in.ID, failed: "it was taken back by " + in.Who, group: "/"}, Result{})
}

func (s *Service) steerDeployment(in SteerDeployment) {
	if s.deployments[in.ID] == nil {
		s.refuse(in.Request, noDeployment(in.ID))
		return
	}
	version := s.deployments[in.ID].Plan.Version
	if err := s.stepDeployment(in.ID, in.Input); err != nil {
		s.refuse(in.Request, &app.Fault{Status: 409, Body: marathon.Error{Message: err.Error()}})
		return
	}
	s.answer(in.Request, Result{Deployment: in.ID, Version: version})
}

func noDeployment(id string) *app.Fault {
	return &app.Fault{Status: 404, Body: marathon.Error{Message: "DeploymentPlan " + id + " does not exist"}}
}

// Service is what deployments look at (deploy.World).
var (
	_ deploy.World   = (*Service)(nil)
	_ deploy.Tallied = (*Service)(nil)
)

// Instances implements deploy.World.
func (s *Service) Instances(app string) []*instance.Instance {
	if a := s.apps[app]; a != nil {
		return a.list
	}
	return nil
}

// Tallies implements deploy.Tallied.
func (s *Service) Tallies(app string) []deploy.Tally {
	if a := s.apps[app]; a != nil {
		return a.tallies
	}
	return nil
}

// Definition implements deploy.World.
func (s *Service) Definition(app string, v marathon.Version) *marathon.App {
	a := s.apps[app]
	if a == nil {
		return nil
	}
	if d := a.uses[v]; d != nil {
		return d
	}
	if a.def != nil && a.def.Version == v {
		return a.def
	}
	return nil
}

// AgentsFor implements deploy.World.
func (s *Service) AgentsFor(def *marathon.App) int {
	n := 0
	for _, id := range s.agentIDs() {
		if matchesAgent(def, s.agents[id]) {
			n++
		}
	}
	return n
}

// start submits a write and answers it with what is set in r.
func (s *Service) start(w write, r Result) {
	p, fault := s.submit(w)
	if fault != nil {
		s.reject(w.Request, w.group, fault)
		return
	}
	if w.post {
		s.publishPost(w.Request, w.change)
	}
	s.publishGroup(w.group, w.change.Version, "")
	r.Version, r.Deployment = p.Version, p.ID
	s.answer(w.Request, r)
	// What follows from it comes when the step ends; plans without steps end there too.
	if len(p.Locks()) == 0 {
		s.stepDeployment(p.ID, deploy.Look)
	}
	for _, id := range p.Locks() {
		s.touch(id)
	}
}

func (s *Service) answer(r Request, result Result) {
	if r.Token != 0 {
		s.emit(Answer{r.Token, result})
	}
}

func (s *Service) refuse(r Request, err error) {
	fault, ok := err.(*app.Fault)
	if !ok {
		fault = &app.Fault{Status: 500, Body: marathon.Error{Message: err.Error()}}
	}
	s.answer(r, Result{Fault: fault})
}

// reject refuses a write of what is in a group, and tells of it.
func (s *Service) reject(r Request, group string, err error) {
	s.refuse(r, err)
	s.publishGroup(group, s.tree.Version(), err.Error())
}

// host compares host names as DNS does.
func host(a, b string) bool { return strings.EqualFold(a, b) }
