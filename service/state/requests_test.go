package state

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/deploy"
)

// requests are what became of what was asked.
type requests struct {
	refused int
	// most deployments at a time.
	most int
	// root is the newest version of the tree that was answered.
	root marathon.Version
}

// appIDs are up to four levels deep. Those named "disk" are resident, those below /k have
// its role, "agent" is there once per agent, "job" ends by itself.
var appIDs = func() []string {
	ids := []string{"/a", "/b", "/g/c", "/g/h/job", "/k/disk", "/k/m", "/g/h/i/f", "/agent"}
	for _, g := range []string{"/g", "/k", "/n/o", "/n/o/p"} {
		for n := range 5 {
			ids = append(ids, fmt.Sprintf("%s/x%d", g, n))
		}
	}
	return append(ids, "/k/l/disk", "/n/job")
}()

func (w *world) some(list ...string) string { return list[w.rng.IntN(len(list))] }

// document of an app at random.
func (w *world) document(id string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"id":%q,"cpus":0.1,"mem":16,"backoffSeconds":1,"maxLaunchDelaySeconds":4`, id)
	name := path.Base(id)
	kind := "run"
	most := 6
	deadline := ""
	sick := w.rng.IntN(10) == 0 && name != "job"
	switch {
	case name == "job":
		kind = "job"
		fmt.Fprintf(&b, `,"restartPolicy":%q`, w.some("NEVER", "ON_FAILURE"))
	case name == "disk":
		most = 4
		b.WriteString(`,"container":{"type":"MESOS","volumes":[{"containerPath":"data","mode":"RW","persistent":{"size":10}}]}`)
	case name == "agent":
		b.WriteString(`,"scaling":{"kind":"per-agent"}`)
	case name == "f":
		b.WriteString(`,"constraints":[["@hostname","UNIQUE"]]`) // there is room for three
		most = 4
	default:
		b.WriteString(w.some(`,"constraints":[["hostname","MAX_PER","4"]]`, `,"constraints":[["rack","GROUP_BY","2"]]`, `,"constraints":[]`, `,"constraints":[]`))
	}
	if strings.HasPrefix(id, "/k/") {
		b.WriteString(`,"role":"k"`)
	}
	if sick {
		kind, deadline = "sick", `,"deadlineSeconds":5`
	} else if w.rng.IntN(12) == 0 {
		deadline = `,"deadlineSeconds":8`
	}
	fmt.Fprintf(&b, `,"cmd":"%s %d"`, kind, w.rng.IntN(1000))
	if name != "agent" {
		fmt.Fprintf(&b, `,"instances":%d`, w.rng.IntN(most))
	}
	if name != "job" {
		tcp := `{"protocol":"TCP","gracePeriodSeconds":3,"intervalSeconds":1,"timeoutSeconds":1,"maxConsecutiveFailures":%d}`
		switch w.rng.IntN(5) {
		case 0, 1:
			fmt.Fprintf(&b, `,"healthChecks":[`+tcp+`]`, w.rng.IntN(4))
		case 2:
			fmt.Fprintf(&b, `,"healthChecks":[`+tcp+`,{"protocol":"HTTP","path":"/","gracePeriodSeconds":1,"intervalSeconds":1,"timeoutSeconds":1,"maxConsecutiveFailures":2}]`, w.rng.IntN(4))
		case 3:
			b.WriteString(`,"healthChecks":[{"protocol":"COMMAND","command":{"value":"true"},"gracePeriodSeconds":3,"intervalSeconds":1,"timeoutSeconds":1}]`)
		}
		if w.rng.IntN(5) == 0 {
			b.WriteString(`,"portDefinitions":[{"port":0,"name":"main"}],"readinessChecks":[{"name":"r","portName":"main","intervalSeconds":2,"timeoutSeconds":1}]`)
		}
		if w.rng.IntN(6) == 0 {
			b.WriteString(`,"preStop":{"command":"true","timeoutSeconds":2}`)
		}
	}
	strategy := w.some(`"minimumHealthCapacity":0.5,"maximumOverCapacity":0`, `"minimumHealthCapacity":1,"maximumOverCapacity":0`,
		`"minimumHealthCapacity":0,"maximumOverCapacity":0`, `"minimumHealthCapacity":1,"maximumOverCapacity":1,"drainSeconds":1`,
		`"minimumHealthCapacity":0.9,"maximumOverCapacity":0.1`)
	if name == "disk" {
		strategy = w.some(`"minimumHealthCapacity":0.5,"maximumOverCapacity":0`, `"minimumHealthCapacity":1,"maximumOverCapacity":0`)
	}
	if name != "disk" && name != "agent" && name != "job" {
		strategy += w.some("", "", "", `,"maxParallel":1`, `,"canary":{"instances":1,"pauseSeconds":2}`, `,"canary":{"instances":2,"autoRevert":true}`,
			`,"blueGreen":{"promotion":"auto","keepOldSeconds":1}`, `,"blueGreen":{"promotion":"manual"}`)
	}
	fmt.Fprintf(&b, `,"upgradeStrategy":{%s%s}`, strategy, deadline)
	if name != "disk" {
		b.WriteString(w.some("", "", `,"unreachableStrategy":{"inactiveAfterSeconds":1,"expungeAfterSeconds":4}`,
			`,"unreachableStrategy":{"inactiveAfterSeconds":2,"expungeAfterSeconds":60}`, `,"unreachableStrategy":"disabled"`))
	}
	if id > "/b" {
		b.WriteString(w.some("", "", "", `,"dependencies":["/b"]`, `,"dependencies":["/g/h"]`, `,"dependencies":["/a","/k"]`))
	}
	b.WriteString(w.some("", "", `,"killSelection":"OLDEST_FIRST"`))
	b.WriteString("}")
	return b.String()
}

// request asks for something at random.
func (w *world) request(id string) {
	force := w.rng.IntN(2) == 0
	in, scales := w.input(id)
	var before *Backoff
	if a := w.core.apps[id]; scales && a != nil && a.def != nil && a.backoff != nil && a.backoff.Until.After(w.wall()) && a.backoff.Config == configOf(a.def) {
		before = a.backoff
	}
	r, answered := w.ask(in, force)
	switch {
	case !answered:
		w.note("no answer")
	case r.Fault != nil:
		w.refused++
		w.note("refused: %d %s %v", r.Fault.Status, r.Fault.Body.Message, r.Fault.Body.Details)
		if s := r.Fault.Status; s != 404 && s != 409 && s != 422 {
			w.broken("%d %s", s, r.Fault.Body.Message)
		}
	default:
		w.note("answered %s", r.Deployment)
		if d := w.core.deployments[r.Deployment]; before != nil && d != nil && !d.Plan.Change(id).Restart {
			if a := w.core.apps[id]; a.backoff == nil || a.backoff.Until.Before(before.Until) || a.backoff.Config != configOf(a.def) {
				w.broken("scaling %s made its delay %+v of %+v", id, a.backoff, before)
			}
		}
		if r.Version > w.root {
			w.root = r.Version
		}
	}
}

// input makes a request; scales says that it changes only the number of instances.
func (w *world) input(id string) (in func(Request) Input, scales bool) {
	update := func(body string, m app.Mode) func(Request) Input {
		w.note("PUT %s", body)
		return func(q Request) Input {
			w.note("force %v", q.Force)
			return UpdateApps{Request: q, Drafts: []*app.Draft{w.draft(body)}, Mode: m, Single: true}
		}
	}
	deployments := slices.Sorted(maps.Keys(w.core.deployments))
	group := path.Dir(id)
	switch n := w.rng.IntN(24); {
	case n < 8:
		return update(w.document(id), app.Mode{IfNeeded: w.rng.IntN(4) == 0}), false
	case n < 10:
		return update(fmt.Sprintf(`{"id":%q,"instances":%d}`, id, w.rng.IntN(4)), app.Mode{MustExist: true}), path.Base(id) != "agent"
	case n < 11:
		w.note("restart %s", id)
		return func(q Request) Input { return RestartApp{q, id} }, false
	case n < 12:
		w.note("delete %s", id)
		return func(q Request) Input { return DeleteApp{q, id} }, false
	case n < 13 && group != "/":
		w.note("delete group %s", group)
		return func(q Request) Input { return DeleteGroup{q, group} }, false
	case n < 14:
		factor := w.some("0.5", "1", "1.5")
		w.core.tree.Apps(group, func(a *marathon.App) bool {
			if a.Instances > 6 || path.Base(a.ID) == "f" && a.Instances > 1 {
				factor = "0.7" // no more than there is room for
			}
			return true
		})
		body := fmt.Sprintf(`{"scaleBy":%s}`, factor)
		w.note("PUT group %s %s", group, body)
		return w.updateGroup(group, body), false
	case n < 15 && group != "/":
		body := fmt.Sprintf(`{"apps":[%s]}`, w.document(id))
		if w.rng.IntN(3) == 0 {
			body = fmt.Sprintf(`{"dependencies":[%s]}`, w.some("", `"/b"`, `"/a"`))
		}
		w.note("PUT group %s %s", group, body)
		return w.updateGroup(group, body), false
	case n < 17 && len(deployments) > 0:
		d := deployments[w.rng.IntN(len(deployments))]
		stop := w.rng.IntN(3) == 0
		w.note("cancel %s, force %v", d, stop)
		return func(q Request) Input {
			if q.Force = stop; stop && w.core.deployments[d] != nil {
				for _, id := range w.core.deployments[d].Plan.Locks() {
					w.left[id] = true
				}
			}
			return CancelDeployment{q, d}
		}, false
	case n < 19 && len(deployments) > 0:
		d := deployments[w.rng.IntN(len(deployments))]
		what := []deploy.Input{deploy.Promote, deploy.Pause, deploy.Resume}[w.rng.IntN(3)]
		w.note("%s %s", what, d)
		return func(q Request) Input { return SteerDeployment{q, d, what} }, false
	case n < 20:
		return func(q Request) Input { return ResetDelay{q, id} }, false
	case n < 21:
		if a := w.core.apps[id]; a != nil && a.def != nil {
			back := w.version(id, a.stored[w.rng.IntN(len(a.stored))])
			if back != nil {
				w.note("%s back to %s", id, back.Version)
				return func(q Request) Input {
					return UpdateApps{Request: q, Drafts: []*app.Draft{w.draft(fmt.Sprintf(`{"id":%q,"version":%q}`, id, back.Version))}, Single: true, Back: back}
				}, false
			}
		}
	}
	scale, wipe := w.rng.IntN(3) == 0, w.rng.IntN(3) == 0
	w.note("kill %s scale %v wipe %v", id, scale, wipe)
	return func(q Request) Input {
		k := KillTasks{Request: q, App: id, Scale: scale, Wipe: wipe && !scale, All: true}
		if a := w.core.apps[id]; a != nil && len(a.list) > 0 && w.rng.IntN(2) == 0 {
			k.All, k.IDs = false, []string{a.list[w.rng.IntN(len(a.list))].ID}
		}
		return k
	}, false
}

// version of an app as it is stored.
func (w *world) version(id string, v marathon.Version) *marathon.App {
	for _, a := range w.recovered().Apps {
		if a.ID == id && a.Version == v {
			return a.App
		}
	}
	return nil
}

func (w *world) updateGroup(id, body string) func(Request) Input {
	return func(q Request) Input {
		d, err := app.DecodeGroup([]byte(body))
		if err != nil {
			w.t.Fatalf("%s: %v", body, err)
		}
		return UpdateGroup{Request: q, ID: id, Draft: d}
	}
}

// steer lets every deployment that waits for somebody go on.
func (w *world) steer() {
	if w.down {
		return
	}
	for _, id := range slices.Clone(w.core.order) {
		for _, in := range []deploy.Input{deploy.Resume, deploy.Promote} {
			if w.core.deployments[id] != nil {
				w.step(SteerDeployment{Request{}, id, in})
			}
		}
	}
}
