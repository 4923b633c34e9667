package state

import (
	"maps"
	"path"
	"slices"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/instance"
)

func (s *Service) createApp(in CreateApp) {
	group := path.Dir(app.Path(in.Draft.ID, "/"))
	change, err := s.tree.Create(s.now.Wall, in.Draft)
	if err != nil {
		s.reject(in.Request, group, err)
		return
	}
	s.start(write{Request: in.Request, change: change, post: true, group: group}, Result{Created: true, App: change.Apps[0].New})
}

func (s *Service) updateApps(in UpdateApps) {
	in.Mode.Force = in.Force
	group := "/"
	if in.Single {
		group = path.Dir(in.Drafts[0].ID)
	}
	var change app.Change
	var err error
	if in.Back != nil {
		change, err = s.tree.Rollback(s.now.Wall, in.Back)
	} else {
		change, err = s.tree.Update(s.now.Wall, in.Drafts, in.Mode)
	}
	if err != nil {
		s.reject(in.Request, group, err)
		return
	}
	r := Result{}
	if in.Single && len(change.Apps) == 1 {
		r.Created = change.Apps[0].Old == nil
		r.App = change.Apps[0].New
	}
	s.start(write{Request: in.Request, change: change, post: true, group: group}, r)
}

func (s *Service) planApps(in PlanApps) {
	var change app.Change
	var err error
	if in.Back != nil {
		change, err = s.tree.Rollback(s.now.Wall, in.Back)
	} else {
		change, err = s.tree.Update(s.now.Wall, in.Drafts, in.Mode)
	}
	if err != nil {
		s.refuse(in.Request, err)
		return
	}
	s.answer(in.Request, Result{Plan: s.planOf(write{change: change})})
}

func (s *Service) deleteApp(in DeleteApp) {
	change, err := s.tree.Delete(s.now.Wall, in.ID)
	if err != nil {
		s.reject(in.Request, path.Dir(in.ID), err)
		return
	}
	s.start(write{Request: in.Request, change: change, group: path.Dir(in.ID)}, Result{})
}

func (s *Service) restartApp(in RestartApp) {
	change, err := s.tree.Restart(s.now.Wall, []string{in.ID})
	if err != nil {
		s.reject(in.Request, path.Dir(in.ID), err)
		return
	}
	s.start(write{Request: in.Request, change: change, group: path.Dir(in.ID)}, Result{})
}

func (s *Service) createGroup(in CreateGroup) {
	in.Draft, in.ID = draftAt(in.Draft, in.ID)
	change, err := s.tree.CreateGroup(s.now.Wall, in.ID, in.Draft, app.Mode{Force: in.Force})
	s.changeGroup(in.Request, in.ID, change, err, Result{Created: true})
}

// draftAt resolves the id of a group document against the path it was sent to.
func draftAt(d *app.GroupDraft, at string) (*app.GroupDraft, string) {
	if d.ID == "" {
		return d, at
	}
	return d, app.Path(d.ID, at)
}

func (s *Service) updateGroup(in UpdateGroup) {
	in.Mode.Force = in.Force
	var change app.Change
	var err error
	if in.Back != nil {
		change, err = s.tree.RestoreGroup(s.now.Wall, in.ID, in.Back.Apps, in.Back.Groups)
	} else {
		change, err = s.tree.UpdateGroup(s.now.Wall, in.ID, in.Draft, in.Mode)
	}
	if err == nil && in.DryRun {
		s.answer(in.Request, Result{Plan: s.planOf(write{change: change})})
		return
	}
	s.changeGroup(in.Request, in.ID, change, err, Result{})
}

func (s *Service) deleteGroup(in DeleteGroup) {
	change, err := s.tree.DeleteGroup(s.now.Wall, in.ID)
	s.changeGroup(in.Request, in.ID, change, err, Result{})
}

func (s *Service) changeGroup(r Request, id string, change app.Change, err error, result Result) {
	if err != nil {
		s.reject(r, path.Dir(id), err)
		return
	}
	s.start(write{Request: r, change: change, group: path.Dir(id)}, result)
}

// enforceRole changes a top-level group's rule.
func (s *Service) enforceRole(in EnforceRole) {
	change, err := s.tree.EnforceRole(s.now.Wall, in.ID, in.Enforce)
	if err != nil {
		s.refuse(in.Request, err)
		return
	}
	s.start(write{Request: in.Request, change: change}, Result{})
}

func (s *Service) resetDelay(in ResetDelay) {
	a := s.apps[in.App]
	if a == nil || a.queue == nil {
		s.refuse(in.Request, &app.Fault{Status: 404, Body: marathon.Error{Message: "Application " + in.App + " not found in tasks queue."}})
		return
	}
	s.forgive(a)
	s.answer(in.Request, Result{})
}

// killTasks kills what is named. Without scale it is no deployment and knows no lock.
func (s *Service) killTasks(in KillTasks) {
	if in.Scale && in.Wipe {
		s.refuse(in.Request, &app.Fault{Status: 400, Body: marathon.Error{Message: "You cannot use scale and wipe at the same time."}})
		return
	}
	if in.App != "" && s.tree.App(in.App) == nil {
		s.refuse(in.Request, &app.Fault{Status: 404, Body: marathon.Error{Message: "App '" + in.App + "' does not exist"}})
		return
	}
	named, err := s.named(in)
	if err != nil {
		s.refuse(in.Request, err)
		return
	}
	if in.Scale {
		s.killAndScale(in, named)
		return
	}
	for _, i := range named {
		goal := i.Goal
		if in.Wipe {
			goal = instance.GoalDecommissioned
		}
		s.kill(i, goal, in.Wipe)
	}
	s.answer(in.Request, Result{Killed: named})
}

func (s *Service) killAndScale(in KillTasks, named []*instance.Instance) {
	kill := make(map[string][]string)
	for _, i := range named {
		if s.tree.App(i.App) != nil {
			kill[i.App] = append(kill[i.App], i.ID)
		}
	}
	scale := make(map[string]int)
	for _, id := range slices.Sorted(maps.Keys(kill)) {
		scale[id] = max(0, s.tree.App(id).Instances-len(kill[id]))
	}
	change, err := s.tree.Scale(s.now.Wall, scale)
	if err != nil {
		s.refuse(in.Request, err)
		return
	}
	s.start(write{Request: in.Request, change: change, kill: kill, group: "/"}, Result{Killed: named})
}

// named are the instances with tasks that a kill is about. Ids are task ids or instance
// ids; the app in the path is not held against them when they are given one by one
// (go-marathon derives it wrongly from task ids of 1.8 and later).
func (s *Service) named(in KillTasks) ([]*instance.Instance, error) {
	var list []*instance.Instance
	if in.All {
		if a := s.apps[in.App]; a != nil {
			list = slices.Clone(a.list)
		}
	}
	for _, id := range in.IDs {
		i := s.instanceOf(id)
		if i == nil || i.TaskID == "" {
			if in.Single {
				return nil, &app.Fault{Status: 404, Body: marathon.Error{Message: "Task '" + id + "' does not exist"}}
			}
			continue
		}
		if !slices.Contains(list, i) {
			list = append(list, i)
		}
	}
	return slices.DeleteFunc(list, func(i *instance.Instance) bool {
		switch {
		case !i.Active() && i.Condition != instance.UnreachableInactive:
			return !in.Wipe || i.Reservation == nil
		case in.Host != "" && in.Host != "*":
			return i.Agent == nil || !host(i.Agent.Host, in.Host)
		}
		return false
	}), nil
}
