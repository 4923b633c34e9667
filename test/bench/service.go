package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// apps are served by the service with its default flags. Each has a health check, and
// somebody listens to the events.
type apps struct {
	*process
	master *process
	events *listener
}

// The service framework is measured with real tasks, and with simulated agents.
func real(b *bench) error   { return b.repeat(b.realApp) }
func large(b *bench) error  { return b.repeat(b.oneApp) }
func many(b *bench) error   { return b.repeat(b.manyApps) }
func posted(b *bench) error { return b.repeat(b.posts) }

func (b *bench) repeat(part func() error) error {
	if err := allDescriptors(); err != nil {
		return err
	}
	for range b.runs {
		if err := part(); err != nil {
			return err
		}
		b.stopAll()
	}
	return nil
}

func (b *bench) service(m *process, dir string) (*apps, error) {
	p, err := b.start("service", dir, "--master", m.addr())
	if err != nil {
		return nil, err
	}
	s := &apps{process: p, master: m}
	s.events, err = listen(p.url)
	return s, err
}

// send makes a call and wants a 2xx; a 403 for too many deployments is tried again.
func (s *apps) send(method, path string, body any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	for {
		r, err := http.NewRequest(method, s.url+path, bytes.NewReader(raw))
		if err != nil {
			return err
		}
		r.Header.Set("Content-Type", "application/json")
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return fmt.Errorf("%w: %s", err, s.log())
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		switch {
		case err != nil:
			return err
		case answer.StatusCode < 300:
			return nil
		case answer.StatusCode != http.StatusForbidden || !bytes.Contains(text, []byte("running deployments")):
			return fmt.Errorf("%s %s: %s: %.500s", method, path, answer.Status, text)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// definition of a command with a health check, that asks for little.
func definition(id string, instances int) map[string]any {
	return map[string]any{
		"id": id, "cmd": "sleep 1000", "cpus": 0.05, "mem": 32, "instances": instances,
		"healthChecks": []any{map[string]any{"protocol": "COMMAND", "command": map[string]any{"value": "true"}}},
	}
}

// gauge is one of Marathon's.
func (s *apps) gauge(name string) (int, error) {
	answer, err := http.Get(s.url + "/metrics")
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	var all struct {
		Gauges map[string]struct{ Value float64 }
	}
	if err := json.NewDecoder(answer.Body).Decode(&all); err != nil {
		return 0, err
	}
	g, ok := all.Gauges[name]
	if !ok {
		return 0, fmt.Errorf("the service has no gauge %s", name)
	}
	return int(g.Value), nil
}

// await waits until so many instances run, or with want 0 until all deployments are done.
func (s *apps) await(want int) error {
	name := "marathon.instances.running.gauge"
	if want == 0 {
		name = "marathon.deployments.active.gauge"
	}
	seen, since, pause := -1, time.Now(), 20*time.Millisecond
	if want == 0 {
		pause = 200 * time.Millisecond
	}
	for {
		n, err := s.gauge(name)
		if err != nil {
			return fmt.Errorf("%w: %s", err, s.log())
		}
		if n == want {
			return nil
		}
		if n != seen {
			seen, since = n, time.Now()
		}
		if time.Since(since) > patience {
			return fmt.Errorf("%s stays at %d, want %d: %s", name, n, want, s.log())
		}
		time.Sleep(pause)
	}
}

// usage is what a process has used at a moment.
type usage struct {
	cpu time.Duration
	rss float64
}

func (p *process) usage() (u usage, err error) {
	if u.cpu, err = cpu(p.pid()); err == nil {
		u.rss, err = kib(fmt.Sprintf("/proc/%d/status", p.pid()), "VmRSS")
	}
	return u, err
}

// measured is a change from the call to n instances running, and to the end of its
// deployments.
func (b *bench) measured(s *apps, what, goal string, n, of int, change func() error) error {
	before, err := s.usage()
	if err != nil {
		return err
	}
	master, err := s.master.usage()
	if err != nil {
		return err
	}
	stop := profiles(strings.NewReplacer(" ", "-", "/", "-").Replace(what), s.process, s.master)
	began := time.Now()
	if err := change(); err != nil {
		stop()
		return err
	}
	answered := time.Since(began)
	if err := s.await(n); err != nil {
		return err
	}
	running := time.Since(began)
	stop()
	after, err := s.usage()
	if err != nil {
		return err
	}
	masterAfter, err := s.master.usage()
	if err != nil {
		return err
	}
	if err := s.await(0); err != nil {
		return err
	}
	healthy := time.Since(began)
	r := row{goal: "-", peer: "-"}
	add := func(name, unit, goal string, v float64) {
		r.what, r.unit, r.goal = "service: "+what+": "+name, unit, goal
		b.table.add(r, v)
	}
	add("answered", "s", "-", answered.Seconds())
	add("all running", "s", goal, running.Seconds())
	add("all healthy, deployments done (the first check comes after 15 s)", "s", "-", healthy.Seconds())
	add("the service's CPU for one until it runs", "µs", "-", micros(after.cpu-before.cpu)/float64(of))
	add("the master's CPU for one", "µs", "-", micros(masterAfter.cpu-master.cpu)/float64(of))
	add("growth of the service's RSS for one", "KiB", "-", (after.rss-before.rss)/float64(of)/1024)
	return nil
}

// realApp is one app of real processes.
func (b *bench) realApp() error {
	n := 1000
	if b.quick {
		n = 30
	}
	c, err := b.cluster("service")
	if err != nil {
		return err
	}
	s, err := b.service(c.master, filepath.Join(b.dir, "service", "service"))
	if err != nil {
		return err
	}
	err = b.measured(s, fmt.Sprintf("one app, %d real `sleep`", n), "10 s", n, n, func() error {
		return s.send("PUT", "/v2/apps/bench", definition("/bench", n))
	})
	if err != nil {
		return err
	}
	b.checks.that("a listener got the event of each task that runs", s.events.saw("TASK_RUNNING", n))
	s.stop()
	return b.end(c, n)
}

// fleet is a fresh master with simulated agents, and the service.
func (b *bench) fleet(agents int) (*apps, *swarm, error) {
	dir := filepath.Join(b.dir, "fleet")
	if err := os.RemoveAll(dir); err != nil {
		return nil, nil, err
	}
	m, err := b.start("master", filepath.Join(dir, "master"))
	if err != nil {
		return nil, nil, err
	}
	w := &swarm{done: make(chan struct{})}
	if err := w.connect(m.addr(), agents); err != nil {
		return nil, nil, err
	}
	s, err := b.service(m, filepath.Join(dir, "service"))
	return s, w, err
}

// oneApp is one very large app.
func (b *bench) oneApp() error {
	agents, n := 1000, 100_000
	if b.quick {
		agents, n = 10, 500
	}
	s, w, err := b.fleet(agents)
	if err != nil {
		return err
	}
	defer w.close()
	if err := s.send("PUT", "/v2/apps/bench", definition("/bench", 0)); err != nil {
		return err
	}
	return b.measured(s, fmt.Sprintf("one app, 0 to %s simulated", number(float64(n))), "20 s", n, n, func() error {
		return s.send("PUT", "/v2/apps/bench", map[string]any{"instances": n})
	})
}

// manyApps come in one group, are listed, scaled, and found again by a new process.
func (b *bench) manyApps() error {
	agents, n := 1000, 10_000
	if b.quick {
		agents, n = 10, 50
	}
	s, w, err := b.fleet(agents)
	if err != nil {
		return err
	}
	defer w.close()
	var list []any
	for i := range n {
		list = append(list, definition(fmt.Sprintf("/bench/%05d", i), 1))
	}
	count := number(float64(n))
	err = b.measured(s, count+" apps x 1 in one group, simulated", "30 s", n, n, func() error {
		return s.send("PUT", "/v2/groups/bench", map[string]any{"apps": list})
	})
	if err != nil {
		return err
	}
	for range 5 {
		began := time.Now()
		if err := s.list(n); err != nil {
			return err
		}
		b.table.add(row{what: "service: GET /v2/apps with " + count + " apps", unit: "ms", goal: "300 ms", peer: "-"}, millis(time.Since(began)))
	}
	err = b.measured(s, count+" apps x 1 to x 10, simulated", "-", 10*n, 9*n, func() error {
		return s.send("PUT", "/v2/groups/bench", map[string]any{"scaleBy": 10})
	})
	if err != nil {
		return err
	}
	return b.restarted(s, fmt.Sprintf("service: %s apps with %s instances: ", count, number(float64(10*n))), 10*n)
}

// list reads all apps.
func (s *apps) list(want int) error {
	answer, err := http.Get(s.url + "/v2/apps")
	if err != nil {
		return err
	}
	text, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	if err != nil {
		return err
	}
	if n := bytes.Count(text, []byte(`"cmd":`)); n != want {
		return fmt.Errorf("GET /v2/apps lists %d apps, want %d: %.200s", n, want, text)
	}
	return nil
}

// restarted kills the service and starts it again on what it kept.
func (b *bench) restarted(s *apps, what string, n int) error {
	if err := s.cmd.Process.Kill(); err != nil {
		return err
	}
	s.process.stop()
	began := time.Now()
	next, err := b.service(s.master, s.dir)
	if err != nil {
		return err
	}
	ready := time.Since(began)
	r := row{goal: "-", peer: "-"}
	add := func(name, unit, goal string, v float64) {
		r.what, r.unit, r.goal = what+name, unit, goal
		b.table.add(r, v)
	}
	add("killed and started, ready", "s", "3 s", ready.Seconds())
	if err := next.await(n); err != nil {
		return err
	}
	u, err := next.usage()
	if err != nil {
		return err
	}
	add("its CPU until then", "s", "-", u.cpu.Seconds())
	add("its RSS then", "MiB", "-", u.rss/(1<<20))
	return nil
}

// posters create apps at a time.
const posters = 16

// posts creates apps one by one.
func (b *bench) posts() error {
	agents, n := 1000, 10_000
	if b.quick {
		agents, n = 10, 50
	}
	s, w, err := b.fleet(agents)
	if err != nil {
		return err
	}
	defer w.close()
	next := make(chan int)
	failed := make(chan error, posters)
	what := fmt.Sprintf("%s apps x 1, each a POST of its own, %d at a time, at most 100 deployments, simulated", number(float64(n)), posters)
	return b.measured(s, what, "-", n, n, func() error {
		for range posters {
			go func() { // until next is closed
				var err error
				for i := range next {
					d := definition(fmt.Sprintf("/posted/%05d", i), 1)
					d["healthChecks"] = []any{} // or it would wait for the checks of 100 at a time
					if err == nil {
						err = s.send("POST", "/v2/apps", d)
					}
				}
				failed <- err
			}()
		}
		for i := range n {
			next <- i
		}
		close(next)
		var errs []error
		for range posters {
			errs = append(errs, <-failed)
		}
		return errors.Join(errs...)
	})
}
