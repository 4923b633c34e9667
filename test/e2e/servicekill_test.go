package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// serviceKills are those of each of the two clusters.
const serviceKills = 25

// Whoever is killed whenever: what was answered is there, deployments go on, no task runs
// that the plan did not need, and the event stream has neither gap nor double.
func TestKill9Services(t *testing.T) {
	t.Run("processes", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, newPair(t, "--resources", "cpus:8;mem:16384"))
		r.startService()
		r.waitService()
		r.rounds([]func(){func() { r.service.kill() }, func() { r.agent.kill() }, func() { r.service.kill(); r.agent.kill() }})
	})
	t.Run("up", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, newUp(t, "--resources", "cpus:8;mem:16384"))
		r.rounds([]func(){func() { r.up.kill() }})
	})
}

// rig is a cluster with apps, and what is expected of them.
type rig struct {
	*cluster
	service *process // on its own; nil where it is part of up
	journal string   // of the tasks
	rnd     *rand.Rand
	events  *listener
	client  http.Client

	apps    map[string]*wanted
	version int             // the last V given out
	answers map[string]bool // deployments that an answer named
	target  func()
	killed  chan struct{} // closed when the round's kill is done
	kills   int
}

// wanted is what is expected of an app.
type wanted struct {
	instances, v int
	// least and most tasks that may ever be started, by V.
	least, most map[int]int
}

func newRig(t *testing.T, c *cluster) *rig {
	seed := seedOf(t)
	r := &rig{
		cluster: c, journal: filepath.Join(c.dir, "journal"), rnd: rand.New(rand.NewPCG(seed, 2)),
		apps: make(map[string]*wanted), answers: make(map[string]bool),
		client: http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second},
	}
	if err := os.Mkdir(r.journal, 0o777); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) startService(env ...string) {
	r.t.Helper()
	r.service = start(r.t, env, "stoa", "service", "--data-dir", r.dir+"/service", "--listen", "127.0.0.1:"+r.servicePort, "--master", r.addr)
}

func (r *rig) waitService() { r.t.Helper(); r.note(r.service.says("ready  ")) }

func (r *rig) url() string { return "http://127.0.0.1:" + r.servicePort }

// heal waits for the round's kill, and restarts what it hit.
func (r *rig) heal() {
	r.t.Helper()
	<-r.killed
	if r.up != nil {
		if r.up.over() {
			r.startUp()
			r.waitUp()
		}
		return
	}
	if r.agent.over() {
		r.startAgent()
		defer r.waitAgent()
	}
	if r.service.over() {
		r.startService()
		defer r.waitService()
	}
}

// strike kills at some instant from now, most often soon.
func (r *rig) strike() {
	r.kills++
	killed, target := make(chan struct{}), r.target
	r.killed = killed
	at := time.After(r.soon())
	go func() {
		defer close(killed)
		<-at
		target()
	}()
}

// soon is a time from 1 ms to 1 s, of any order.
func (r *rig) soon() time.Duration {
	return time.Duration(math.Pow(1000, r.rnd.Float64()) * float64(time.Millisecond))
}

// try makes a request; status is 0 if nobody answered.
func (r *rig) try(method, path, body string) (status int, answer string) {
	r.t.Helper()
	q, err := http.NewRequest(method, r.url()+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := r.client.Do(q)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(raw)
}

// get reads what must be there once whoever was killed is back.
func (r *rig) get(path string, out any) (status int) {
	r.t.Helper()
	for {
		status, answer := r.try("GET", path, "")
		switch {
		case status == 0 || status >= 500:
			r.heal()
			<-time.After(20 * time.Millisecond)
			continue
		case status == 200:
			if err := json.Unmarshal([]byte(answer), out); err != nil {
				r.t.Fatalf("GET %s: %v: %s", path, err, answer)
			}
		}
		return status
	}
}

// write asks until there is an answer. Where a kill left it open whether the request was
// taken, applied tells.
func (r *rig) write(method, path, body string, applied func() bool) (deployment string) {
	r.t.Helper()
	for {
		status, answer := r.try(method, path, body)
		switch {
		case status == 0 || status >= 500:
			r.heal()
			if applied() {
				return ""
			}
			continue
		case status/100 != 2:
			r.t.Fatalf("%s %s %s: %d %s", method, path, body, status, answer)
		}
		var a struct {
			DeploymentID string
			Deployments  []struct{ ID string }
		}
		if err := json.Unmarshal([]byte(answer), &a); err != nil {
			r.t.Fatalf("%s %s: %v: %s", method, path, err, answer)
		}
		if len(a.Deployments) > 0 {
			a.DeploymentID = a.Deployments[0].ID
		}
		if a.DeploymentID != "" {
			r.answers[a.DeploymentID] = true
		}
		if !applied() {
			r.t.Fatalf("%s %s %s was answered with %s and is not there", method, path, body, answer)
		}
		return a.DeploymentID
	}
}

type shown struct {
	App struct {
		Env          map[string]string
		Instances    int
		TasksRunning int
		TasksStaged  int
		Deployments  []struct{ ID string }
		Tasks        []struct{ ID, State string }
	}
}

// is tells whether an app is stored with so many instances and a V; -1 instances: not there.
func (r *rig) is(id string, instances, v int) func() bool {
	return func() bool {
		r.t.Helper()
		var a shown
		if r.get("/v2/apps"+id, &a) == 404 {
			return instances < 0
		}
		return a.App.Instances == instances && a.App.Env["V"] == fmt.Sprint(v)
	}
}

func (r *rig) document(id string, instances, v int, more string) string {
	return fmt.Sprintf(`{"id":%q,"cmd":"exec %s/victim app %s","cpus":0.05,"mem":32,"instances":%d,"env":{"V":"%d"},"upgradeStrategy":{"minimumHealthCapacity":0.7,"maximumOverCapacity":0.3}%s}`, id, bin, r.journal, instances, v, more)
}

func (r *rig) next() int { r.version++; return r.version }

func (w *wanted) add(v, least, most int) {
	w.least[v] += least
	w.most[v] += most
}

func (r *rig) expect(id string, instances, v int) *wanted {
	w := &wanted{instances: instances, v: v, least: make(map[int]int), most: make(map[int]int)}
	w.add(v, instances, instances)
	r.apps[id] = w
	return w
}

// pick is some app that is there, "" if none is.
func (r *rig) pick() string {
	ids := slices.Sorted(maps.Keys(r.apps))
	ids = slices.DeleteFunc(ids, func(id string) bool { return r.apps[id].instances < 0 })
	if len(ids) == 0 {
		return ""
	}
	return ids[r.rnd.IntN(len(ids))]
}

// operation is one thing a user does.
func (r *rig) operation(kind, n int) string {
	r.t.Helper()
	id := r.pick()
	if id == "" {
		kind = 0
	}
	pause := r.soon()
	switch kind {
	case 0:
		id, instances, v := fmt.Sprintf("/app%d", n), 1+r.rnd.IntN(6), r.next()
		r.expect(id, instances, v)
		r.write("POST", "/v2/apps", r.document(id, instances, v, ""), r.is(id, instances, v))
		return fmt.Sprintf("create %s with %d", id, instances)
	case 1:
		w, v := r.apps[id], r.next()
		w.add(v, w.instances, w.instances)
		w.v = v
		r.write("PUT", "/v2/apps"+id, r.document(id, w.instances, v, ""), r.is(id, w.instances, v))
		return "upgrade " + id
	case 2:
		w, to := r.apps[id], r.rnd.IntN(8)
		more := max(to-w.instances, 0)
		w.add(w.v, more, more)
		from := w.instances
		w.instances = to
		r.write("PUT", "/v2/apps"+id, fmt.Sprintf(`{"instances":%d}`, to), r.is(id, to, w.v))
		return fmt.Sprintf("scale %s from %d to %d", id, from, to)
	case 3: // upgrade and go back
		w, v := r.apps[id], r.next()
		w.add(v, 0, w.instances)
		w.add(w.v, 0, w.instances)
		d := r.write("PUT", "/v2/apps"+id, r.document(id, w.instances, v, ""), r.is(id, w.instances, v))
		<-time.After(pause)
		if d == "" || r.over(d) {
			// The deployment is not known, or it has been quick: a user goes back by hand.
			r.write("PUT", "/v2/apps"+id+"?force=true", r.document(id, w.instances, w.v, ""), r.is(id, w.instances, w.v))
			return "upgrade and put back " + id
		}
		status, answer := r.try("DELETE", "/v2/deployments/"+d, "")
		switch {
		case status == 404: // over by now
		case status == 0 || status >= 500:
			r.heal()
		case status/100 != 2:
			r.t.Fatalf("rollback: %d %s", status, answer)
		default:
			if !r.is(id, w.instances, w.v)() {
				r.t.Fatalf("the rollback of %s was answered with %s and is not there", id, answer)
			}
			var a struct{ DeploymentID string }
			if err := json.Unmarshal([]byte(answer), &a); err != nil || a.DeploymentID == "" {
				r.t.Fatalf("rollback: %v %s", err, answer)
			}
			r.answers[a.DeploymentID] = true
			return "roll back " + id
		}
		if back := r.is(id, w.instances, w.v); !back() {
			r.write("PUT", "/v2/apps"+id+"?force=true", r.document(id, w.instances, w.v, ""), back)
		}
		return "roll back by hand " + id
	case 4: // one upgrade over another
		w, v, last := r.apps[id], r.next(), r.next()
		w.add(v, 0, w.instances)
		w.add(last, w.instances, w.instances)
		w.v = last
		r.write("PUT", "/v2/apps"+id, r.document(id, w.instances, v, ""), r.is(id, w.instances, v))
		<-time.After(pause)
		r.write("PUT", "/v2/apps"+id+"?force=true", r.document(id, w.instances, last, ""), r.is(id, w.instances, last))
		return "upgrade twice " + id
	}
	// A group comes, and soon goes again.
	group := fmt.Sprintf("/group%d", n)
	a, b := group+"/a", group+"/b"
	va, vb := r.next(), r.next()
	r.expect(a, 2, va)
	r.expect(b, 1, vb)
	body := fmt.Sprintf(`{"id":%q,"apps":[%s,%s]}`, group, r.document(a, 2, va, ""), r.document(b, 1, vb, fmt.Sprintf(`,"dependencies":[%q]`, a)))
	there := func() bool { return r.is(a, 2, va)() && r.is(b, 1, vb)() }
	r.write("POST", "/v2/groups", body, there)
	if kind == 5 {
		r.heal()
		r.settled()
	} else {
		<-time.After(pause)
		r.apps[a].least, r.apps[b].least = nil, nil // they may never have come so far
	}
	r.apps[a].instances, r.apps[b].instances = -1, -1
	r.write("DELETE", "/v2/groups"+group+"?force=true", "", func() bool { return r.get("/v2/groups"+group, new(any)) == 404 })
	return fmt.Sprintf("create and delete %s, kind %d", group, kind)
}

// over tells whether a deployment is.
func (r *rig) over(d string) bool {
	var all []struct{ ID string }
	r.get("/v2/deployments", &all)
	return !slices.ContainsFunc(all, func(one struct{ ID string }) bool { return one.ID == d })
}

// settled waits until everything is as it should be: in the service, and in the journals.
func (r *rig) settled() {
	r.t.Helper()
	var state string
	deadline := time.Now().Add(patience)
	for {
		if state = r.unsettled(); state == "" {
			return
		}
		if time.Now().After(deadline) {
			for _, path := range []string{"/v2/apps?embed=apps.tasks&embed=apps.deployments", "/v2/queue?embed=lastUnusedOffers", "/v2/tasks"} {
				_, answer := r.try("GET", path, "")
				r.t.Logf("%s: %s", path, answer)
			}
			for _, what := range []string{"GET_TASKS", "GET_FRAMEWORKS", "GET_AGENTS"} {
				r.t.Logf("the master has %s", r.call(`{"type":"`+what+`"}`))
			}
			for _, p := range []*process{r.up, r.master, r.agent, r.service} {
				if p != nil {
					r.t.Logf("%s said:\n%s", p, last(p.err.String()))
				}
			}
			r.t.Fatalf("after %v still not as it should be: %s", patience, state)
		}
		<-time.After(50 * time.Millisecond)
	}
}

func (r *rig) unsettled() string {
	var deployments []any
	if r.get("/v2/deployments", &deployments); len(deployments) > 0 {
		return fmt.Sprint("deployments ", deployments)
	}
	live := make(map[string]int) // of tasks, by app and V
	for _, j := range r.journals() {
		if j.exit.IsZero() {
			live[fmt.Sprint(j.app, " ", j.v)]++
		}
	}
	for _, id := range slices.Sorted(maps.Keys(r.apps)) {
		w := r.apps[id]
		if !r.is(id, w.instances, w.v)() {
			return fmt.Sprintf("%s does not have %d instances and V %d", id, w.instances, w.v)
		}
		for v := range w.most {
			n := max(w.instances, 0)
			if v != w.v {
				n = 0
			}
			if got := live[fmt.Sprint(id, " ", v)]; got != n {
				return fmt.Sprintf("%d tasks of %s with V %d live, want %d", got, id, v, n)
			}
		}
		var a shown
		if w.instances >= 0 && r.get("/v2/apps"+id, &a) == 200 && (a.App.TasksRunning != w.instances || len(a.App.Tasks) != w.instances) {
			return fmt.Sprintf("%s has %d running and tasks %v, want %d", id, a.App.TasksRunning, a.App.Tasks, w.instances)
		}
	}
	return ""
}

// run is a task as its own journal has it.
type run struct {
	task, app, instance string
	v, starts           int
	start, exit         time.Time
}

func (r *rig) journals() []run {
	r.t.Helper()
	entries, err := os.ReadDir(r.journal)
	if err != nil {
		r.t.Fatal(err)
	}
	var all []run
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(r.journal, e.Name()))
		if err != nil {
			r.t.Fatal(err)
		}
		j := run{task: e.Name()}
		name, _, _ := strings.Cut(j.task, ".instance-")
		j.app = "/" + strings.ReplaceAll(name, "_", "/")
		j.instance, _, _ = strings.Cut(j.task, "._app.")
		for line := range strings.Lines(string(text)) {
			var what string
			var at int64
			if _, err := fmt.Sscan(line, &what, &j.v, &at); err != nil {
				r.t.Fatalf("%s: %q: %v", j.task, line, err)
			}
			if what == "start" {
				j.starts++
				j.start = time.Unix(0, at)
			} else {
				j.exit = time.Unix(0, at)
			}
		}
		if j.starts > 0 { // it may just be about to write
			all = append(all, j)
		}
	}
	return all
}

func (r *rig) rounds(targets []func()) {
	t := r.t
	r.killed = make(chan struct{})
	close(r.killed)
	r.events = listenTo(t, r.url())
	until(t, "the event stream is read", func() bool { return len(r.events.events()) > 0 })
	for n := 0; r.kills < serviceKills; n++ {
		r.target = targets[r.rnd.IntN(len(targets))]
		kind := n % 7
		from := time.Now()
		r.strike()
		what := r.operation(kind, n)
		r.heal()
		if r.rnd.IntN(3) == 0 { // once more, while it comes back
			r.strike()
			<-r.killed
			r.heal()
		}
		back := time.Now()
		r.settled()
		t.Logf("round %d: %s, settled %v after the start, %v after the last return", n, what, time.Since(from).Round(time.Millisecond), time.Since(back).Round(time.Millisecond))
	}
	r.judge()

	for id, w := range r.apps {
		if w.instances >= 0 {
			w.instances = -1
			r.write("DELETE", "/v2/apps"+id+"?force=true", "", r.is(id, -1, 0))
		}
	}
	r.settled()
	untold := func() (missing []string) {
		ends := r.events.ends()
		for d := range r.answers {
			if ends[d] == 0 {
				missing = append(missing, d)
			}
		}
		return missing
	}
	t.Cleanup(func() {
		if missing := untold(); len(missing) > 0 {
			t.Logf("the ends of %v were never told; the stream was:\n%+v", missing, r.events.events())
		}
	})
	until(t, "every deployment's end is told", func() bool { return len(untold()) == 0 })
	for d, n := range r.events.ends() {
		if n != 1 {
			t.Errorf("the end of deployment %s was told %d times", d, n)
		}
	}
	r.events.end()
	terms, wrong := judgeEvents(r.events.events())
	for _, w := range wrong {
		t.Error(w)
	}
	t.Logf("%d kills; %d tasks; %d deployments answered; %d events in %d terms", r.kills, len(r.journals()), len(r.answers), len(r.events.events()), terms)
	if r.service != nil {
		r.interrupt(r.service)
	}
}

// judge compares the tasks that ever were with those that were needed.
func (r *rig) judge() {
	r.t.Helper()
	started := make(map[string]map[int]int)
	instances := make(map[string]string)
	for _, j := range r.journals() {
		if j.starts != 1 {
			r.t.Errorf("task %s was started %d times", j.task, j.starts)
		}
		// Tasks end when they are told to only: none needs a second attempt.
		if other := instances[j.instance]; other != "" {
			r.t.Errorf("instance %s ran as %s and as %s", j.instance, other, j.task)
		}
		instances[j.instance] = j.task
		if started[j.app] == nil {
			started[j.app] = make(map[int]int)
		}
		started[j.app][j.v]++
	}
	for id, w := range r.apps {
		for v, most := range w.most {
			if n := started[id][v]; n < w.least[v] || n > most {
				r.t.Errorf("%s with V %d: %d tasks were started, the plans needed %d to %d", id, v, n, w.least[v], most)
			}
			delete(started[id], v)
		}
		if len(started[id]) > 0 {
			r.t.Errorf("%s was started as nobody asked for, by V: %v", id, started[id])
		}
		delete(started, id)
	}
	if len(started) > 0 {
		r.t.Errorf("tasks of apps that nobody asked for: %v", started)
	}
}
