package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

type object = map[string]any

// serving is a cluster's service, its events and the kernel beneath.
type serving struct {
	*cluster
	t      testing.TB
	url    string
	events *listener
	kernel *kernel
}

func serve(t testing.TB, args ...string) *serving {
	c := newUp(t, append([]string{"--hostname", "127.0.0.1", "--mesos-role", "e2e"}, args...)...)
	s := &serving{cluster: c, t: t, url: "http://127.0.0.1:" + c.servicePort}
	s.events = listenTo(t, s.url)
	s.kernel = watchKernel(t, c)
	until(t, "the events are listened to", func() bool { return len(s.events.events()) > 0 })
	return s
}

// in is the same for a test within.
func (s *serving) in(t testing.TB) *serving {
	c := *s
	c.t = t
	return &c
}

// api makes a call of Marathon's API; it returns the deployment that it started.
func (s *serving) api(method, path string, body any, status int) (deployment string) {
	s.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := http.NewRequest(method, s.url+path, strings.NewReader(string(text)))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status {
		s.t.Fatalf("%s %s: %s %s %v; want %d", method, path, resp.Status, answer, err, status)
	}
	return resp.Header.Get("Marathon-Deployment-Id")
}

// ended waits for the end of deployments and returns how the last one ended.
func (s *serving) ended(ids ...string) (kind string) {
	s.t.Helper()
	for _, id := range ids {
		untilWithin(s.t, 2*patience, "deployment "+id+" is over", func() bool {
			for _, e := range s.events.events() {
				if (e.kind == "deployment_success" || e.kind == "deployment_failed") && strings.Contains(e.data, `"id":"`+id+`"`) {
					kind = e.kind
					return true
				}
			}
			return false
		})
	}
	return kind
}

// idle waits until no deployment runs.
func (s *serving) idle() {
	s.t.Helper()
	untilWithin(s.t, 2*patience, "no deployment runs", func() bool {
		var list []json.RawMessage
		if err := get(s.t.Context(), s.url+"/v2/deployments", &list); err != nil {
			s.t.Fatal(err)
		}
		return len(list) == 0
	})
}

// app as it is now.
func (s *serving) app(id string) appNow {
	s.t.Helper()
	var answer struct{ App appNow }
	if err := get(s.t.Context(), s.url+"/v2/apps"+id, &answer); err != nil {
		s.t.Fatal(err)
	}
	return answer.App
}

// webserver is the app behind the balancer.
func webserver(version string, strategy object) object {
	return object{
		"id": "/web", "cmd": "exec " + filepath.Join(bin, "webserver"), "instances": 20, "cpus": 0.05, "mem": 32,
		"env": object{"VERSION": version}, "portDefinitions": []object{{"name": "http"}},
		"healthChecks":    []object{{"protocol": "HTTP", "path": "/health", "intervalSeconds": 1, "timeoutSeconds": 10, "gracePeriodSeconds": 60, "maxConsecutiveFailures": 0}},
		"readinessChecks": []object{{"portName": "http", "path": "/ready", "intervalSeconds": 2, "timeoutSeconds": 1}},
		"upgradeStrategy": strategy, "taskKillGracePeriodSeconds": 20,
	}
}

// No request of 500 a second is lost while the app starts, is upgraded, is taken back, and
// goes back by itself.
func TestUpgrade(t *testing.T) {
	s := serve(t, "--resources", "cpus:8;mem:8192;disk:1024;ports:[25000-25999]")
	strategy := func(more object) object {
		all := object{"minimumHealthCapacity": 1, "maximumOverCapacity": 0.5, "drainSeconds": 3}
		for k, v := range more {
			all[k] = v
		}
		return all
	}
	b := balance(t, s.url, "/web")
	start := s.api("POST", "/v2/apps", webserver("v1", strategy(nil)), 201)
	until(t, "there is a server", func() bool {
		servers, err := b.known(t.Context())
		return err == nil && len(servers) > 0
	})
	l, began := b.load(), time.Now()
	done := func(what string, lossless bool, version string) {
		t.Helper()
		until(t, "all answers are of "+version, func() bool { return l.only(version) })
		answers, failures, slowest := l.since()
		t.Logf("%s: %.1f s, %d answers, the slowest after %v, %d failures", what, time.Since(began).Seconds(), answers, slowest, len(failures))
		if lossless && len(failures) > 0 {
			t.Errorf("%s: %d requests failed: %s", what, len(failures), strings.Join(failures[:min(10, len(failures))], "\n"))
		}
		began = time.Now()
	}

	s.ended(start)
	done("start", true, "v1")

	s.ended(s.api("PUT", "/v2/apps/web", webserver("v2", strategy(nil)), 200))
	done("upgrade", true, "v2")

	// It waits in the middle for as long as it takes to be taken back.
	third := s.api("PUT", "/v2/apps/web", webserver("v3", strategy(object{"canary": object{"instances": 8}})), 200)
	until(t, "both versions answer", func() bool { return s.serves(b, "v3") })
	back := s.api("DELETE", "/v2/deployments/"+third, nil, 200)
	if how := s.ended(third); how != "deployment_failed" {
		t.Errorf("the deployment taken back ended as %s", how)
	}
	s.ended(back)
	done("rollback", true, "v2")

	bad := webserver("bad", strategy(object{"deadlineSeconds": 6}))
	bad["env"] = object{"VERSION": "bad", "HEALTH": "bad"}
	if how := s.ended(s.api("PUT", "/v2/apps/web", bad, 200)); how != "deployment_failed" {
		t.Errorf("the deployment of a version that is never healthy ended as %s", how)
	}
	s.idle()
	done("a bad version, and back", true, "v2")

	s.ended(s.api("PUT", "/v2/apps/web", webserver("v4", object{"minimumHealthCapacity": 1, "maximumOverCapacity": 0.5}), 200))
	done("without drain", false, "v4")
	l.stop()
	t.Logf("the apps were read %d times, in %v each", b.reads.Load(), time.Duration(b.reading.Load()/max(1, b.reads.Load())))
	s.judge(map[string]bounds{"/web": boundsOf(20, 1, 0.5, false)})
}

// serves tells whether an instance of a version gets requests.
func (s *serving) serves(b *balancer, version string) bool {
	v, err := b.ask(s.t.Context())
	return err == nil && v == version
}

// judge compares what events and kernel say of apps with each other and with their bounds.
func (s *serving) judge(apps map[string]bounds) {
	s.t.Helper()
	stream, kernel := readEvents(s.t, s.events.events()), s.kernel.read()
	for _, app := range slices.Sorted(maps.Keys(apps)) {
		b, e, k := apps[app], stream[app], kernel[app]
		if e == nil {
			s.t.Fatalf("no event tells of %s", app)
		}
		e.judge(s.t, "the events", app, b)
		k.judge(s.t, "the kernel", app, b)
		agree(s.t, app, e, k)
		s.t.Logf("%s: %d tasks; at most %d at a time by the events, %d by the kernel, of %d; at least %d and %d healthy of %d",
			app, len(k.histories), e.most, k.most, b.most, e.least, k.least, b.least)
	}
}

// kind of an app, by what matters to its bounds.
type kind struct {
	health, over float64
	resident     bool
}

var kinds = []kind{{1, 1, false}, {1, 0, false}, {0.9, 0.1, false}, {0, 0, false}, {0.5, 0, true}}

func (k kind) String() string { return fmt.Sprintf("k%02.0f-%02.0f", k.health*10, k.over*10) }

// sleeper is an app that costs little.
func (k kind) sleeper(id string, instances int) object {
	a := object{
		"id": id, "cmd": "exec sleep 100000", "instances": instances, "cpus": 0.01, "mem": 32,
		"env": object{"VERSION": "v1"}, "portDefinitions": []object{},
		"upgradeStrategy": object{"minimumHealthCapacity": k.health, "maximumOverCapacity": k.over},
	}
	if k.resident {
		a["container"] = object{"type": "MESOS", "volumes": []object{{"containerPath": "data", "mode": "RW", "persistent": object{"size": 1}}}}
	}
	return a
}

// run is how many tasks of a version do.
func (s *serving) run(app, version string) (n int) {
	for _, t := range s.app(app).Tasks {
		if t.Version == version && t.State == "TASK_RUNNING" {
			n++
		}
	}
	return n
}

// Rolling restarts stay within their bounds, whatever they are.
func TestBounds(t *testing.T) {
	s := serve(t, "--agents", "3", "--resources", "cpus:8;mem:16384;disk:8192")
	apps := make(map[string]bounds)
	var list []object
	for _, k := range kinds {
		for _, n := range []int{1, 2, 20} {
			id := fmt.Sprintf("/%s/n%d", k, n)
			apps[id] = boundsOf(n, k.health, k.over, k.resident)
			list = append(list, k.sleeper(id, n))
		}
	}
	began := time.Now()
	s.ended(s.api("PUT", "/v2/apps", list, 200))
	t.Logf("%d apps started in %.1f s", len(apps), time.Since(began).Seconds())

	// Each is upgraded, and then again, but that is taken back in the middle where there
	// are 20 instances.
	var ids []string
	upgrade := func(a object, version string) (id, deployment string) {
		id, a["env"] = a["id"].(string), object{"VERSION": version}
		deployment = s.api("PUT", "/v2/apps"+id, a, 200)
		ids = append(ids, deployment)
		return id, deployment
	}
	began = time.Now()
	for _, a := range list {
		upgrade(a, "v2")
	}
	s.ended(ids...)
	t.Logf("%d apps upgraded in %.1f s", len(ids), time.Since(began).Seconds())
	began, ids = time.Now(), nil
	for _, a := range list {
		a["upgradeStrategy"].(object)["maxParallel"] = 3
		id, deployment := upgrade(a, "v3")
		if a["instances"] == 20 {
			until(t, "the third version of "+id+" runs", func() bool { return s.run(id, s.app(id).Version) > 0 })
			ids = append(ids, s.api("DELETE", "/v2/deployments/"+deployment, nil, 200))
		}
	}
	s.ended(ids...)
	s.idle()
	t.Logf("%d deployments in %.1f s", len(ids), time.Since(began).Seconds())
	s.judge(apps)
}

// Upgrades are overtaken by scaling, and that by another upgrade.
func TestBoundsWithForce(t *testing.T) {
	s := serve(t, "--agents", "3", "--resources", "cpus:8;mem:16384;disk:8192")
	apps := make(map[string]bounds)
	t.Run("all", func(t *testing.T) {
		for _, k := range kinds {
			id := "/" + k.String()
			before, after := boundsOf(20, k.health, k.over, k.resident), boundsOf(26, k.health, k.over, k.resident)
			apps[id] = bounds{after.most, before.least}
			t.Run(k.String(), func(t *testing.T) {
				t.Parallel()
				s.in(t).overtake(id, k)
			})
		}
	})
	s.judge(apps)
}

// overtake an upgrade of an app in the middle, twice.
func (s *serving) overtake(id string, k kind) {
	a := k.sleeper(id, 20)
	maps.Copy(a["upgradeStrategy"].(object), object{"drainSeconds": 0.3, "maxParallel": 3})
	s.ended(s.api("POST", "/v2/apps", a, 201))
	a["env"] = object{"VERSION": "v2"}
	s.api("PUT", "/v2/apps"+id, a, 200)
	second := s.app(id).Version
	until(s.t, "five of the second version of "+id+" run", func() bool { return s.run(id, second) >= 5 })
	s.api("PUT", "/v2/apps"+id, object{"instances": 26}, 409)
	s.api("PUT", "/v2/apps"+id+"?force=true", object{"instances": 26}, 200)
	until(s.t, id+" grows", func() bool { return s.app(id).TasksRunning >= 23 })
	a["env"], a["instances"] = object{"VERSION": "v3"}, 26
	s.ended(s.api("PUT", "/v2/apps"+id+"?force=true", a, 200))
	if now := s.app(id); s.run(id, now.Version) != 26 || len(now.Tasks) != 26 {
		s.t.Errorf("%s: %d of %d tasks are of the last version", id, s.run(id, now.Version), len(now.Tasks))
	}
}
