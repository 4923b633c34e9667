package gomarathon

import (
	"testing"

	marathon "github.com/gambol99/go-marathon"
)

func TestGroups(t *testing.T) {
	c := up(t)
	if root := must(c.Groups())(t); root.ID != "/" || len(root.Apps) != 0 || len(root.Groups) != 0 {
		t.Errorf("an empty cluster has %+v", root)
	}
	if must(c.HasGroup("/shop"))(t) {
		t.Error("a group is there before it is created")
	}

	// The front depends on the store, which lies in a group of its own.
	shop := marathon.NewApplicationGroup("/shop")
	shop.App(web("/shop/front", "1", 2).DependsOn("/shop/store"))
	store := marathon.NewApplicationGroup("/shop/store")
	store.App(web("/shop/store/db", "1", 1))
	shop.Groups = append(shop.Groups, store)
	if err := c.CreateGroup(shop); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitOnGroup("/shop", patience); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitOnGroup("/shop/store", patience); err != nil {
		t.Fatal(err)
	}
	if front, db := c.says("/shop/front"), c.says("/shop/store/db"); front != "1 1" || db != "1" {
		t.Errorf("the front says %q, the store %q", front, db)
	}
	front, db := must(c.Tasks("/shop/front"))(t).Tasks, must(c.Tasks("/shop/store/db"))(t).Tasks
	if healthy := db[0].HealthCheckResults[0].FirstSuccess; front[0].StagedAt < healthy {
		t.Errorf("the front was started at %s, before the store was healthy at %s", front[0].StagedAt, healthy)
	}
	refused(t, c.CreateGroup(shop), marathon.ErrCodeDuplicateID, "Group /shop is already created. Use PUT to change this group.")

	// What readers see, with and without embeds.
	if !must(c.HasGroup("/shop"))(t) || !must(c.HasGroup("shop/store"))(t) {
		t.Error("a group is not there after its creation")
	}
	if root := must(c.Groups())(t); len(root.Groups) != 1 || root.Groups[0].ID != "/shop" || len(root.Groups[0].Apps) != 1 {
		t.Errorf("the tree is %+v", root)
	}
	g := must(c.Group("/shop"))(t)
	if g.ID != "/shop" || len(g.Apps) != 1 || g.Apps[0].ID != "/shop/front" || len(g.Apps[0].Dependencies) != 1 ||
		len(g.Groups) != 1 || len(g.Groups[0].Apps) != 1 || g.Groups[0].Apps[0].ID != "/shop/store/db" {
		t.Errorf("the group is %+v", g)
	}
	if root := must(c.GroupsBy(&marathon.GetGroupOpts{Embed: []string{"group.groups"}}))(t); len(root.Groups) != 1 || len(root.Groups[0].Apps) != 0 || len(root.Groups[0].Groups) != 1 {
		t.Errorf("the tree without apps is %+v", root)
	}
	g = must(c.GroupBy("/shop", &marathon.GetGroupOpts{Embed: []string{"group.apps", "group.apps.tasks", "group.apps.counts"}}))(t)
	if len(g.Groups) != 0 || len(g.Apps) != 1 || len(g.Apps[0].Tasks) != 2 || g.Apps[0].TasksHealthy != 2 {
		t.Errorf("the group without groups but with tasks is %+v", g)
	}
	_, err := c.Group("/absent")
	refused(t, err, marathon.ErrCodeNotFound, "Group '/absent' does not exist")

	// An update is one deployment: it replaces the lists of apps and groups.
	change := marathon.NewApplicationGroup("/shop").App(web("/shop/front", "2", 1))
	c.wait(c.UpdateGroup("/shop", change, false))
	if got := c.says("/shop/front"); got != "2" {
		t.Errorf("updated, the front says %q", got)
	}
	_, err = c.Application("/shop/store/db")
	refused(t, err, marathon.ErrCodeNotFound, "does not exist")
	if must(c.HasGroup("/shop/store"))(t) {
		t.Error("the group left out of the update is still there")
	}

	// A group that a deployment works on is locked, unless one forces.
	stuck := must(c.UpdateGroup("/shop", marathon.NewApplicationGroup("/shop").App(web("/shop/front", "3", 1).AddEnv("HEALTH", "bad")), false))(t)
	_, err = c.UpdateGroup("/shop", change, false)
	refused(t, err, marathon.ErrCodeAppLocked, stuck.DeploymentID)
	_, err = c.DeleteGroup("/shop", false)
	refused(t, err, marathon.ErrCodeAppLocked, stuck.DeploymentID)
	c.wait(c.UpdateGroup("/shop", change, true))
	if got := c.says("/shop/front"); got != "2" {
		t.Errorf("forced back, the front says %q", got)
	}

	c.wait(c.DeleteGroup("/shop", false))
	if must(c.HasGroup("/shop"))(t) || len(must(c.AllTasks(nil))(t).Tasks) != 0 {
		t.Error("a deleted group or its tasks are still there")
	}
	_, err = c.DeleteGroup("/shop", true)
	refused(t, err, marathon.ErrCodeNotFound, "Group '/shop' does not exist")
}
