package http

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/state"
)

func TestHeadersOfEveryAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		for _, request := range []string{"GET /v2/apps", "GET /nowhere", "DELETE /v2/apps/plain"} {
			h := f.do(request, "").Header()
			for name, want := range map[string]string{
				"X-Marathon-Leader": "http://127.0.0.1:8080", "X-Frame-Options": "DENY", "X-XSS-Protection": "1; mode=block",
				"Cache-Control": "no-cache, no-store, must-revalidate", "Pragma": "no-cache", "Expires": "0",
				"Access-Control-Allow-Origin": "",
			} {
				if got := h.Get(name); got != want {
					t.Errorf("%s: %s is %q, want %q", request, name, got, want)
				}
			}
		}
	})
}

func TestOtherOrigins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.cfg.Origin = []string{"http://a.test", "http://b.test"}
		for _, tt := range []struct{ request, origin, headers string }{
			{"GET /v2/apps", "http://a.test", ""},
			{"GET /v2/apps\nOrigin: http://b.test", "http://b.test", ""},
			{"OPTIONS /v2/apps\nOrigin: http://c.test\nAccess-Control-Request-Headers: X-A, X-B", "http://a.test", "X-A, X-B"},
		} {
			w := f.do(tt.request, "")
			h := w.Header()
			if w.Code != 200 || h.Get("Access-Control-Allow-Origin") != tt.origin || h.Get("Access-Control-Allow-Headers") != tt.headers ||
				h.Get("Access-Control-Allow-Methods") != "GET, HEAD, OPTIONS" || h.Get("Access-Control-Max-Age") != "86400" {
				t.Errorf("%s: %d %v", tt.request, w.Code, h)
			}
		}
		// A page of another site may not write, whatever the browser lets through.
		for _, header := range []string{"Sec-Fetch-Site: cross-site", "Origin: http://evil.test"} {
			if w := f.do("POST /v2/apps/plain/restart\n"+header, ""); w.Code != 403 || len(f.asked) > 0 {
				t.Errorf("%s: %d, core was asked %v", header, w.Code, f.asked)
			}
		}
	})
}

func TestBasicAuthentication(t *testing.T) {
	basic := func(user, password string) string {
		r := httptest.NewRequest("GET", "/", nil)
		r.SetBasicAuth(user, password)
		return "\nAuthorization: " + r.Header.Get("Authorization")
	}
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.do("DELETE /v2/apps/plain\nAuthorization: Basic Og==", "")
		if len(f.asked) != 1 || !strings.Contains(f.asked[0], "who=10.1.2.3 ") {
			t.Errorf("without credentials of the server: %q", f.asked)
		}
		f.cfg.Credentials = "ann:secret:word"
		for _, header := range []string{"", "\nAuthorization: Basic Og==", basic("ann", "secret"), basic("", ""), basic("bob", "secret:word"), "\nAuthorization: Bearer x"} {
			for _, path := range []string{"/", "/help", "/v2/apps", "/v2/ping", "/ping/x", "/ping"} {
				w := f.do("GET "+path+header, "")
				if header == "" && path == "/ping" { // who only looks whether somebody is there
					if w.Code != 200 || w.Body.String() != "pong" {
						t.Errorf("/ping without credentials: %d %s", w.Code, w.Body)
					}
				} else if w.Code != 401 || w.Header().Get("WWW-Authenticate") != `Basic realm="Mesosphere"` {
					t.Errorf("%s %q: %d %v", path, header, w.Code, w.Header())
				}
			}
		}
		f.cfg.Realm = "ours"
		if w := f.do("GET /v2/apps", ""); w.Header().Get("WWW-Authenticate") != `Basic realm="ours"` {
			t.Errorf("%v", w.Header())
		}
		f.asked = nil
		if w := f.do("DELETE /v2/apps/plain"+basic("ann", "secret:word"), ""); w.Code != 200 || !strings.Contains(f.asked[0], "who=ann ") {
			t.Errorf("%d %q", w.Code, f.asked)
		}
	})
}

func TestTooManyRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.cfg.MaxRequests = 1
		wait, held := make(chan struct{}), make(chan struct{})
		f.cfg.Ask = func(context.Context, func(state.Token) state.Input) (state.Result, error) {
			close(held)
			<-wait
			return state.Result{}, nil
		}
		h := New(f.cfg)
		go h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("DELETE", "/v2/apps/plain", nil))
		<-held
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/ping", nil))
		if w.Code != 503 || w.Body.String() != `{"message":"Too many concurrent requests! Allowed: 1."}` {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		close(wait)
		synctest.Wait()
		w = httptest.NewRecorder()
		if h.ServeHTTP(w, httptest.NewRequest("GET", "/ping", nil)); w.Code != 200 {
			t.Errorf("afterwards %d", w.Code)
		}
	})
}

func TestTheCoreDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.cfg.Ask = func(ctx context.Context, _ func(state.Token) state.Input) (state.Result, error) {
			<-ctx.Done()
			return state.Result{}, context.Cause(ctx)
		}
		if w := f.do("DELETE /v2/apps/plain", ""); w.Code != 503 || !strings.Contains(w.Body.String(), "may or may not have been carried out") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

func TestBodiesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		for name, tt := range map[string]struct {
			body   string
			status int
		}{
			"long":  {strings.Repeat(" ", maxBody+1), 413},
			"deep":  {strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100), 400},
			"empty": {"", 400},
		} {
			w := f.do("POST /v2/apps", tt.body)
			var e marathon.Error
			if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || w.Code != tt.status || e.Message == "" {
				t.Errorf("%s: %d %s", name, w.Code, w.Body)
			}
		}
		if len(f.asked) > 0 {
			t.Errorf("the core was asked %v", f.asked)
		}
	})
}

func TestLongAnswersAreCompressed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		plain := f.do("GET /v2/apps", "")
		w := f.do("GET /v2/apps\nAccept-Encoding: gzip", "")
		if w.Header().Get("Content-Encoding") != "gzip" || plain.Header().Get("Content-Encoding") != "" {
			t.Fatalf("%v", w.Header())
		}
		z, err := gzip.NewReader(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(z); err != nil || !bytes.Equal(text, plain.Body.Bytes()) {
			t.Errorf("compressed it reads %s, %v", text, err)
		}
		if w := f.do("GET /ping\nAccept-Encoding: gzip", ""); w.Header().Get("Content-Encoding") != "" || w.Body.String() != "pong" {
			t.Errorf("a short answer: %v %s", w.Header(), w.Body)
		}
	})
}

// keys of a JSON object, and of those in it, by path; lists count as what is in them.
func keys(found map[string]bool, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			found[path+"/"+name] = true
			keys(found, path+"/"+name, inner)
		}
	case []any:
		for _, inner := range v {
			keys(found, path, inner)
		}
	}
}

// TestPlainAppsLookAsMarathons: an app that uses nothing of Stoa's shows nothing of it.
func TestPlainAppsLookAsMarathons(t *testing.T) {
	want := strings.Fields(`/backoffFactor /backoffSeconds /cmd /cpus /deployments /disk /executor /gpus /id /instances
		/killSelection /labels /lastTaskFailure /lastTaskFailure/appId /lastTaskFailure/host /lastTaskFailure/message
		/lastTaskFailure/slaveId /lastTaskFailure/state /lastTaskFailure/taskId /lastTaskFailure/timestamp /lastTaskFailure/version
		/maxLaunchDelaySeconds /mem /networks /networks/mode /portDefinitions /portDefinitions/name /portDefinitions/port
		/portDefinitions/protocol /readinessCheckResults /requirePorts /role /taskStats /taskStats/startedAfterLastScaling
		/taskStats/startedAfterLastScaling/stats /taskStats/startedAfterLastScaling/stats/counts
		/taskStats/startedAfterLastScaling/stats/counts/healthy /taskStats/startedAfterLastScaling/stats/counts/running
		/taskStats/startedAfterLastScaling/stats/counts/staged /taskStats/startedAfterLastScaling/stats/counts/unhealthy
		/taskStats/startedAfterLastScaling/stats/lifeTime /taskStats/startedAfterLastScaling/stats/lifeTime/averageSeconds
		/taskStats/startedAfterLastScaling/stats/lifeTime/medianSeconds
		/taskStats/totalSummary /taskStats/totalSummary/stats /taskStats/totalSummary/stats/counts
		/taskStats/totalSummary/stats/counts/healthy /taskStats/totalSummary/stats/counts/running
		/taskStats/totalSummary/stats/counts/staged /taskStats/totalSummary/stats/counts/unhealthy
		/taskStats/totalSummary/stats/lifeTime /taskStats/totalSummary/stats/lifeTime/averageSeconds
		/taskStats/totalSummary/stats/lifeTime/medianSeconds
		/taskStats/withLatestConfig /taskStats/withLatestConfig/stats /taskStats/withLatestConfig/stats/counts
		/taskStats/withLatestConfig/stats/counts/healthy /taskStats/withLatestConfig/stats/counts/running
		/taskStats/withLatestConfig/stats/counts/staged /taskStats/withLatestConfig/stats/counts/unhealthy
		/taskStats/withLatestConfig/stats/lifeTime /taskStats/withLatestConfig/stats/lifeTime/averageSeconds
		/taskStats/withLatestConfig/stats/lifeTime/medianSeconds
		/tasks /tasks/appId /tasks/healthCheckResults /tasks/host /tasks/id /tasks/ipAddresses /tasks/localVolumes /tasks/ports
		/tasks/role /tasks/servicePorts /tasks/slaveId /tasks/stagedAt /tasks/startedAt /tasks/state /tasks/version
		/tasksHealthy /tasksRunning /tasksStaged /tasksUnhealthy /unreachableStrategy /unreachableStrategy/expungeAfterSeconds
		/unreachableStrategy/inactiveAfterSeconds /upgradeStrategy /upgradeStrategy/maximumOverCapacity
		/upgradeStrategy/minimumHealthCapacity /version /versionInfo /versionInfo/lastConfigChangeAt /versionInfo/lastScalingAt`)
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.instance("/plain", 1, func(i *instance.Instance) {
			i.Agent, i.Condition, i.TaskState = &instance.Agent{ID: "a", Host: "h"}, instance.Running, "TASK_RUNNING"
			i.StagedAt, i.StartedAt, i.Ready = f.now, f.now, true
		})
		f.view.Apply(state.ChangedAttempts{App: "/plain", Attempts: &state.Attempts{App: "/plain", Last: []state.Attempt{
			{Task: "t", State: "TASK_KILLED", Ended: f.now},
			{Task: "u", State: "TASK_FAILED", Ended: f.now, Version: "v", Agent: "h", AgentID: "a", Message: "m"},
		}}})
		w := f.do("GET /v2/apps/plain?embed=app.failures&embed=app.taskStats&embed=app.readiness&embed=app.counts", "")
		var got struct{ App map[string]any }
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		found := make(map[string]bool)
		keys(found, "", got.App)
		have := slices.Sorted(maps.Keys(found))
		slices.Sort(want)
		if !slices.Equal(have, want) {
			for _, k := range have {
				if !slices.Contains(want, k) {
					t.Errorf("%s is not Marathon's", k)
				}
			}
			for _, k := range want {
				if !found[k] {
					t.Errorf("%s is missing", k)
				}
			}
		}
		// What is written by hand is what the type says.
		var typed struct{ App marathon.AppInfo }
		if err := json.Unmarshal(w.Body.Bytes(), &typed); err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(typed.App)
		if err != nil {
			t.Fatal(err)
		}
		var second map[string]any
		if err := json.Unmarshal(again, &second); err != nil || !reflect.DeepEqual(got.App, second) {
			t.Errorf("as marathon.AppInfo it is %s, %v", again, err)
		}
	})
}

func TestStandby(t *testing.T) {
	var got *http.Request
	leader := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Marathon-Leader", "http://it")
		w.WriteHeader(201)
		_, _ = w.Write(append([]byte("got "), body...))
	}))
	defer leader.Close()
	address := strings.TrimPrefix(leader.URL, "http://")
	none := func() http.Handler { return nil }
	h := Standby("http", "me:1", nil, func(context.Context) string { return address }, none)

	r := httptest.NewRequest("PUT", "/v2/apps/x?force=true", strings.NewReader("body"))
	r.Header.Set("Authorization", "Basic Og==")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != 201 || w.Body.String() != "got body" || w.Header().Get("X-Marathon-Leader") != "http://it" {
		t.Errorf("%d %s %v", w.Code, w.Body, w.Header())
	}
	if got.Method != "PUT" || got.URL.RequestURI() != "/v2/apps/x?force=true" || got.Header.Get("X-Marathon-Via") != "1.1 me:1" || got.Header.Get("Authorization") != "Basic Og==" {
		t.Errorf("the leader got %s %s %v", got.Method, got.URL, got.Header)
	}

	w = httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/v2/events?event_type=x", nil))
	if w.Code != 302 || w.Header().Get("Location") != leader.URL+"/v2/events?event_type=x" {
		t.Errorf("events: %d %v", w.Code, w.Header())
	}

	r = httptest.NewRequest("GET", "/ping", nil)
	r.Header.Set("X-Marathon-Via", "1.1 other:1, 1.1 me:1")
	w = httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != 502 || !strings.Contains(w.Body.String(), "Detected proxying loop") {
		t.Errorf("a loop: %d %s", w.Code, w.Body)
	}

	leader.Close()
	w = httptest.NewRecorder()
	if h.ServeHTTP(w, httptest.NewRequest("GET", "/ping", nil)); w.Code != 502 || !strings.Contains(w.Body.String(), "did not answer") {
		t.Errorf("the leader is gone: %d %s", w.Code, w.Body)
	}
}

// TestStandbyWaits for a leader, be it another process or its own.
func TestStandbyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		h := Standby("http", "me:1", nil, func(context.Context) string { asked++; return "me:1" }, func() http.Handler {
			if asked < 5 {
				return nil
			}
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })
		})
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, httptest.NewRequest("GET", "/ping", nil)); w.Code != 204 {
			t.Errorf("it leads by now: %d", w.Code)
		}
		h = Standby("http", "me:1", nil, func(context.Context) string { asked++; return "" }, func() http.Handler { return nil })
		asked = 0
		w = httptest.NewRecorder()
		if h.ServeHTTP(w, httptest.NewRequest("GET", "/v2/events", nil)); w.Code != 502 || asked != 11 ||
			w.Body.String() != `{"message":"Could not determine the current leader"}` {
			t.Errorf("nobody leads: %d %s after %d questions", w.Code, w.Body, asked)
		}
	})
}
