package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stoa-kernel/stoa/api/marathon"
)

// marathon makes a call of the service's API and decodes the answer, if answer is not nil.
// It returns the status.
func (c *cluster) marathon(method, path, body string, answer any) int {
	c.t.Helper()
	req, err := http.NewRequest(method, "http://127.0.0.1:"+c.servicePort+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err == nil && answer != nil {
		err = json.Unmarshal(raw, answer)
	}
	if err != nil {
		c.t.Fatalf("%s %s: %d %s: %v", method, path, resp.StatusCode, raw, err)
	}
	return resp.StatusCode
}

// deploy puts a document that has to be taken.
func (c *cluster) deploy(path, body string) {
	c.t.Helper()
	var answer json.RawMessage
	method := http.MethodPut
	if path == "/v2/apps" {
		method = http.MethodPost
	}
	if status := c.marathon(method, path, body, &answer); status/100 != 2 {
		c.t.Fatalf("%s: %d %s", body, status, answer)
	}
}

func (c *cluster) why(app string) *marathon.Why {
	c.t.Helper()
	answer := new(marathon.Why)
	if status := c.marathon(http.MethodGet, "/v2/why?app="+app, "", answer); status != 200 {
		c.t.Fatalf("why %s: %d", app, status)
	}
	return answer
}

// ours is what differs from run to run in what the service says, beside volatile.
var ours = []struct {
	what *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`\b[0-9a-f]{8} (\(attempt|on )`), "ID $1"},
	{regexp.MustCompile(`\d{4}/\d\d/\d\d [0-9:]+`), "TIME"},
	{regexp.MustCompile(`\b\d+(\.\d+)? (s|min|h)\b`), "TIME"},
	{regexp.MustCompile(`, (once|twice|\d+ times)\b`), ", N times"},
	{regexp.MustCompile(`\b\d+ offers?\b`), "N offers"},
	{regexp.MustCompile(`: \d+ (with|against|without|could)`), ": N $1"},
	{regexp.MustCompile(`\b\d+ offered`), "N offered"},
	{regexp.MustCompile(`Used: \d+[KM]B`), "Used: N"},
	{regexp.MustCompile(`on port \d+`), "on port PORT"},
}

// TestServiceWhy: one cluster with every fault a service can have, each explained by the
// command line and by the API, in the same words.
func TestServiceWhy(t *testing.T) {
	const outpost = "zz-outpost" // last of all names
	c := newUp(t, "--agents", "2", "--resources", "cpus:8;mem:1024;disk:2048;ports:[31000-31099]", "--agent-ping-timeout", "5s", "--max-agent-ping-timeouts", "3")
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	c.call(`{"type":"UPDATE_QUOTA","update_quota":{"quota_configs":[{"role":"team","limits":{"cpus":{"value":0.2}}}]}}`)
	c.addAgent(outpost, "cpus:1;mem:256;disk:256;ports:[31000-31099]")

	const elsewhere = `"constraints":[["hostname","UNLIKE","` + outpost + `"]],`
	there := func(id, more string) string {
		return fmt.Sprintf(`{"id":%q,"cpus":0.1,"mem":32,"backoffSeconds":3600,%s}`, id, more)
	}
	small := there
	web := func(id, check string) string {
		return there(id, fmt.Sprintf(`%s"cmd":"exec %s/checked 127.0.0.1 .","healthChecks":[%s]`, elsewhere, bin, check))
	}
	const (
		good  = `{"protocol":"TCP","portIndex":0,"gracePeriodSeconds":60,"intervalSeconds":1,"timeoutSeconds":5}`
		wrong = `{"protocol":"HTTP","path":"/healthz","portIndex":0,"gracePeriodSeconds":1,"intervalSeconds":1,"timeoutSeconds":5,"maxConsecutiveFailures":0}`
	)
	c.env = []string{"STOA_SERVICE_ADDR=127.0.0.1:" + c.servicePort}
	compare := func(name, text string) {
		t.Helper()
		for _, v := range ours {
			text = v.what.ReplaceAllString(text, v.with)
		}
		text = normal(strings.NewReplacer(host+"-0", "HOST", host+"-1", "HOST").Replace(text))
		file := filepath.Join("testdata", "service-why", name+".txt")
		if *update {
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatalf("%v (go test ./test/e2e -run TestServiceWhy -update writes it)", err)
		}
		if text != string(want) {
			t.Errorf("%s:\n%s\nwant\n%s", name, text, want)
		}
	}
	// explained waits for a fault to show, and looks at the words.
	explained := func(name, app string, shows func(*marathon.Why) bool) {
		t.Helper()
		var last *marathon.Why
		shown := false
		t.Cleanup(func() {
			if !shown {
				t.Logf("%s: %+v", name, last)
			}
		})
		until(t, name+" shows", func() bool {
			last = c.why(app)
			shown = shows(last)
			return shown
		})
		r := c.stoa("why", app)
		if r.code != 0 || r.err != "" {
			t.Errorf("%s: exit code %d: %s", name, r.code, r.err)
		}
		compare(name, r.out)
		if n := strings.Count(r.out, "\n"); n > 12 {
			t.Errorf("%s: %d lines", name, n)
		}
		if api := strings.Join(c.why(app).Lines, "\n"); !strings.Contains(api, "  try: ") {
			t.Errorf("%s: nothing to try:\n%s", name, api)
		}
	}

	// What needs three agents.
	c.deploy("/v2/apps", small("/lost", `"cmd":"sleep 1000","constraints":[["hostname","IS","`+outpost+`"]],"unreachableStrategy":{"inactiveAfterSeconds":300,"expungeAfterSeconds":600}`))
	c.deploy("/v2/apps", small("/holder", `"cmd":"sleep 1000","instances":3,"constraints":[["hostname","UNIQUE"]],"portDefinitions":[{"port":31005}],"requirePorts":true`))
	c.deploy("/v2/groups//locked", fmt.Sprintf(`{"apps":[%s,%s]}`, web("back", good), small("front", `"cmd":"sleep 1000","dependencies":["/locked/back"]`)))
	until(t, "the first ones run", func() bool {
		return c.why("/lost").Facts.Status == marathon.StatusRunning && c.why("/holder").Facts.Status == marathon.StatusRunning &&
			c.why("/locked/front").Facts.Status == marathon.StatusRunning
	})
	c.deploy("/v2/apps", small("/memory", `"cmd":"sleep 1000","mem":4096`))
	c.deploy("/v2/apps", small("/constraint", `"cmd":"sleep 1000","constraints":[["rack","LIKE","r[12]"],["hostname","UNIQUE"]]`))
	c.deploy("/v2/apps", small("/port", `"cmd":"sleep 1000","portDefinitions":[{"port":31005}],"requirePorts":true`))
	waiting := func(w *marathon.Why) bool {
		return w.Facts.Status == marathon.StatusWaiting && w.Facts.Offers != nil && len(w.Facts.Offers.Nearest) == 3
	}
	explained("memory", "/memory", waiting)
	explained("constraint", "/constraint", waiting)
	explained("port", "/port", waiting)
	var queue marathon.Queue
	c.marathon(http.MethodGet, "/v2/queue?embed=lastUnusedOffers", "", &queue)
	for app, reason := range map[string]string{"/memory": "InsufficientMemory", "/constraint": "UnfulfilledConstraint", "/port": "InsufficientPorts"} {
		i := slices.IndexFunc(queue.Queue, func(q marathon.QueueItem) bool { return q.App.ID == app })
		if i < 0 {
			t.Errorf("%s is not in the queue", app)
			continue
		}
		unused := queue.Queue[i].LastUnusedOffers
		if len(unused) < 3 {
			t.Errorf("%s: %d offers", app, len(unused))
		}
		for _, o := range unused {
			if !slices.Contains(o.Reason, reason) {
				t.Errorf("%s: %s: %v", app, o.Offer.Hostname, o.Reason)
			}
		}
	}

	// The others, all at the same time, and none on the agent that is lost.
	c.more[0].kill()
	small = func(id, more string) string { return there(id, elsewhere+more) }
	c.deploy("/v2/apps", small("/team/web", `"cmd":"sleep 1000","role":"team","instances":5`))
	c.deploy("/v2/apps", small("/fetch", `"cmd":"sleep 1000","fetch":[{"uri":"http://127.0.0.1:1/app.tgz"}]`))
	c.deploy("/v2/apps", small("/command", `"cmd":"webservr --port $PORT0"`))
	c.deploy("/v2/apps", web("/check", wrong))
	c.deploy("/v2/apps", strings.Replace(small("/crashes", `"cmd":"echo reading settings; echo no settings.yml >&2; exit 3","backoffFactor":20`), "3600", "1", 1))
	if limits {
		c.deploy("/v2/apps", small("/oom", fmt.Sprintf(`"cmd":"exec %s/checked 127.0.0.1 . 512"`, bin)))
	}
	c.deploy("/v2/groups//shop", fmt.Sprintf(`{"apps":[%s,%s]}`, web("back", wrong), small("front", `"cmd":"sleep 1000","dependencies":["/shop/back"]`)))
	c.deploy("/v2/groups//locked", fmt.Sprintf(`{"apps":[%s,%s]}`, web("back", wrong), small("front", `"cmd":"sleep 1001","dependencies":["/locked/back"]`)))
	c.deploy("/v2/apps", small("/docker", `"container":{"type":"DOCKER","docker":{"image":"nginx"}}`))

	delayed := func(w *marathon.Why) bool {
		return w.Facts.Status == marathon.StatusDelayed && len(w.Facts.Attempts) > 0 && w.Facts.Attempts[0].Stderr+w.Facts.Attempts[0].Stdout != ""
	}
	// behind waits for an app that is not healthy, which is known.
	behind := func(app string) func(*marathon.Why) bool {
		return func(w *marathon.Why) bool {
			return w.Facts.Deployment != nil && len(w.Facts.Deployment.Elsewhere) > 0 && c.why(app).Facts.Unhealthy > 0
		}
	}
	explained("docker", "/docker", func(w *marathon.Why) bool { return w.Facts.Status == marathon.StatusBlocked })
	explained("quota", "/team/web", func(w *marathon.Why) bool { return w.Facts.Running == 2 && w.Facts.Kernel["agents.quota_limit"] != "" })
	explained("fetch", "/fetch", delayed)
	explained("command", "/command", delayed)
	explained("check", "/check", func(w *marathon.Why) bool {
		return len(w.Facts.Checks) > 0 && w.Facts.Checks[0].Failures > 1 && !w.Facts.Checks[0].Grace
	})
	if limits {
		explained("oom", "/oom", func(w *marathon.Why) bool { return w.Facts.Status == marathon.StatusDelayed })
	}
	explained("dependency", "/shop/front", behind("/shop/back"))
	explained("lock", "/locked/front", behind("/locked/back"))
	explained("lost", "/lost", func(w *marathon.Why) bool { return len(w.Facts.Late) > 0 })
	explained("crashes", "/crashes", func(w *marathon.Why) bool { return delayed(w) && w.Facts.Failures == 3 })

	// Who is in the way is named where one runs into it, too.
	r := c.stoa("app", "scale", "/locked/front", "2")
	if r.code != 5 {
		t.Errorf("scaling a locked app: exit code %d", r.code)
	}
	compare("locked", r.out+r.err)

	// What is mended is not complained of.
	c.addAgent(outpost, "cpus:1;mem:256;disk:256;ports:[31000-31099]")
	until(t, "the lost one is back", func() bool { return c.why("/lost").Facts.Status == marathon.StatusRunning })
	compare("found", c.stoa("why", "/lost").out)
	c.call(`{"type":"UPDATE_QUOTA","update_quota":{"quota_configs":[{"role":"team","limits":{"cpus":{"value":2}}}]}}`)
	until(t, "the quota lets all run", func() bool { return c.why("/team/web").Facts.Status == marathon.StatusRunning })
	c.interrupt(c.more[1])
}
