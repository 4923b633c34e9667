package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/internal/codec"
)

// cluster is a fresh master with one agent that runs real tasks.
type cluster struct {
	master, agent *process
	persists      float64 // the agent's, when it was started
}

func (b *bench) cluster(name string) (*cluster, error) {
	dir := filepath.Join(b.dir, name)
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	m, err := b.start("master", filepath.Join(dir, "master"))
	if err != nil {
		return nil, err
	}
	// More than the machine has: what is measured is not the allocation.
	a, err := b.start("agent", filepath.Join(dir, "agent"), "--stop-tasks", "--master", m.addr(),
		"--resources", "cpus:64;mem:131072;disk:65536;ports:[31000-32000]")
	if err != nil {
		return nil, err
	}
	c := &cluster{master: m, agent: a}
	c.persists, err = a.metric("stoa_agent_persist_seconds_count")
	return c, err
}

// end checks that the agent wrote its log, and that to a disk, and stops both.
func (b *bench) end(c *cluster, tasks int) error {
	count, err := c.agent.metric("stoa_agent_persist_seconds_count")
	if err != nil {
		return err
	}
	kind, _, err := fileSystem(c.agent.dir)
	if err != nil {
		return err
	}
	if count -= c.persists; count < float64(tasks)/100 {
		err = fmt.Errorf("the agent synced %v times for %d tasks", count, tasks)
	}
	b.checks.that("the agent's log is synced before updates are sent", err)
	err = nil
	if kind == "tmpfs" || kind == "ramfs" {
		err = errors.New("it is on " + kind)
	}
	b.checks.that("the data directory is on disk", err)
	c.agent.stop()
	c.master.stop()
	return nil
}

// inspect checks the isolation of a running task, given its process.
func (b *bench) inspect(pid uint32) {
	b.checks.that("tasks have pid, mount, ipc and uts namespaces of their own", namespaces(pid))
	b.checks.that("tasks are in cgroups of their own for memory, cpu and pids", cgroups(pid))
}

// initOf is the init of a task's process, its parent.
func initOf(pid uint32) (string, error) {
	init := field(fmt.Sprintf("/proc/%d/status", pid), "PPid")
	name := field("/proc/"+init+"/status", "Name")
	if !strings.HasPrefix(name, "stoa-init") {
		return "", fmt.Errorf("the parent of task process %d is %s, not an init", pid, name)
	}
	return init, nil
}

func namespaces(pid uint32) error {
	for _, kind := range []string{"pid", "mnt", "ipc", "uts"} {
		own, err1 := os.Readlink("/proc/self/ns/" + kind)
		its, err2 := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		if own == its {
			return fmt.Errorf("the task shares the host's %s namespace", kind)
		}
	}
	return nil
}

func cgroups(pid uint32) error {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return err
	}
	found := 0
	for line := range strings.Lines(string(text)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) < 3 || !strings.Contains(f[2], "/stoa/") {
			continue
		}
		for _, name := range strings.Split(f[1], ",") {
			switch name {
			case "memory", "cpu", "pids":
				found++
			case "": // version 2, which has all in one
				found += 3
			}
		}
	}
	if found < 3 {
		return fmt.Errorf("it is in %s", strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", " "))
	}
	return nil
}

// latency is from the ACCEPT to TASK_RUNNING, one task at a time.
func latency(b *bench) error {
	n := 200
	if b.quick {
		n = 10
	}
	for range b.runs {
		for _, c := range []codec.Codec{codec.Protobuf, codec.JSON} {
			times, err := b.latency(n, c)
			if err != nil {
				return err
			}
			slices.Sort(times)
			name := map[codec.Codec]string{codec.Protobuf: "protobuf", codec.JSON: "JSON"}[c]
			what := "ACCEPT posted to TASK_RUNNING received, one at a time, " + name
			b.table.add(row{what: what + ", p50", unit: "ms", goal: "3 ms", peer: "Mesos 176 ms, Nomad 138 ms"}, millis(quantile(times, 0.5)))
			b.table.add(row{what: what + ", p99", unit: "ms", goal: "10 ms", peer: "-"}, millis(quantile(times, 0.99)))
		}
	}
	return nil
}

func (b *bench) latency(n int, c codec.Codec) ([]time.Duration, error) {
	cl, err := b.cluster("latency")
	if err != nil {
		return nil, err
	}
	f, err := subscribe(cl.master.addr(), "bench", c)
	if err != nil {
		return nil, err
	}
	defer f.close()
	const warm = 10 // the first pages in the binary and the init
	var times []time.Duration
	stop := func() {}
	for i := range n + warm {
		if i == warm {
			stop = profiles("latency-"+strings.ReplaceAll(c.String(), "/", "-"), cl.master, cl.agent)
		}
		// All resources are back: nothing of the task before is left to do.
		for free(f.offers) < 64 {
			if _, err := f.next(); err != nil {
				return nil, err
			}
		}
		id := fmt.Sprintf("t%d", i)
		task := taskInfo(id, f.offers[0].AgentId, "true", 1)
		began := time.Now()
		if err := f.accept(f.offers, []*mesos.TaskInfo{task}); err != nil {
			return nil, err
		}
		f.offers = nil
		for {
			s, err := f.update()
			if err != nil {
				return nil, err
			}
			if s.GetState() == mesos.TaskState_TASK_RUNNING {
				if i >= warm {
					times = append(times, time.Since(began))
				}
				continue
			}
			if s.GetState() != mesos.TaskState_TASK_FINISHED {
				return nil, fmt.Errorf("task %s: %v: %s", s.GetTaskId().GetValue(), s.GetState(), s.GetMessage())
			}
			break
		}
	}
	stop()
	return times, b.end(cl, n)
}

func profiles(name string, of ...*process) func() {
	stops := []func(){profileSelf(name)}
	for _, p := range of {
		stops = append(stops, p.profile(name))
	}
	return func() {
		for _, stop := range stops {
			stop()
		}
	}
}

func free(offers []*mesos.Offer) float64 {
	sum := 0.0
	for _, o := range offers {
		for _, r := range o.GetResources() {
			if r.GetName() == "cpus" {
				sum += r.GetScalar().GetValue()
			}
		}
	}
	return sum
}

// inFlight is how many tasks are launched and not yet where they are to get to.
const inFlight = 50

// until launches n tasks, inFlight at a time, until all have been in a state, and returns
// their first statuses in it.
func (f *framework) until(n int, command string, cpus float64, state mesos.TaskState) ([]*mesos.TaskStatus, error) {
	var there []*mesos.TaskStatus
	launched, flying := 0, 0
	for len(there) < n {
		if k := min(inFlight-flying, n-launched); k > 0 && len(f.offers) > 0 {
			var list []*mesos.TaskInfo
			for range k {
				list = append(list, taskInfo(fmt.Sprintf("t%d", launched), f.offers[0].AgentId, command, cpus))
				launched++
				flying++
			}
			if err := f.accept(f.offers, list); err != nil {
				return nil, err
			}
			f.offers = nil
		}
		e, err := f.next()
		if err != nil {
			return nil, err
		}
		s := e.GetUpdate().GetStatus()
		if s == nil {
			continue
		}
		if err := f.acknowledge(s); err != nil {
			return nil, err
		}
		switch s.GetState() {
		case state:
			there = append(there, s)
			flying--
		case mesos.TaskState_TASK_RUNNING, mesos.TaskState_TASK_STARTING:
		default:
			return nil, fmt.Errorf("task %s: %v: %s", s.GetTaskId().GetValue(), s.GetState(), s.GetMessage())
		}
	}
	return there, f.calls.wait()
}

// tasks is the agent's throughput with real processes.
func tasks(b *bench) error {
	n := 1000
	if b.quick {
		n = 60
	}
	for range b.runs {
		c, err := b.cluster("tasks")
		if err != nil {
			return err
		}
		f, err := subscribe(c.master.addr(), "bench", codec.Protobuf)
		if err != nil {
			return err
		}
		agentBefore, err := cpu(c.agent.pid())
		if err != nil {
			return err
		}
		stop := profiles("tasks", c.master, c.agent)
		began := time.Now()
		if _, err := f.until(n, "true", 1, mesos.TaskState_TASK_FINISHED); err != nil {
			return err
		}
		took := time.Since(began)
		stop()
		agentAfter, err := cpu(c.agent.pid())
		if err != nil {
			return err
		}
		what := fmt.Sprintf("%d command tasks `true`, %d in flight, finished and acknowledged", n, inFlight)
		b.table.add(row{what: what, unit: "s", goal: "5 s", peer: "Mesos 5.9 tasks/s, Nomad 14.2 tasks/s; Mesos 30 s on 24 cores"}, took.Seconds())
		b.table.add(row{what: "the agent's own CPU for one of them", unit: "ms", goal: "-", peer: "-"}, millis(agentAfter-agentBefore)/float64(n))
		f.close()
		if err := b.end(c, n); err != nil {
			return err
		}
		if err := b.stopped(n); err != nil {
			return err
		}
	}
	return nil
}

// stopped kills tasks that run.
func (b *bench) stopped(n int) error {
	c, err := b.cluster("stopped")
	if err != nil {
		return err
	}
	f, err := subscribe(c.master.addr(), "bench", codec.Protobuf)
	if err != nil {
		return err
	}
	defer f.close()
	began := time.Now()
	running, err := f.until(n, "sleep 1000", 0.05, mesos.TaskState_TASK_RUNNING)
	if err != nil {
		return err
	}
	b.table.add(row{what: fmt.Sprintf("%d `sleep` running and acknowledged", n), unit: "s", goal: "5 s", peer: "Mesos 30 s on 24 cores"}, time.Since(began).Seconds())
	b.inspect(running[n/2].GetContainerStatus().GetExecutorPid())

	stop := profiles("stopped", c.master, c.agent)
	began = time.Now()
	for _, s := range running {
		if err := f.kill(s.GetTaskId().GetValue()); err != nil {
			return err
		}
	}
	for killed := 0; killed < n; {
		s, err := f.update()
		if err != nil {
			return err
		}
		switch s.GetState() {
		case mesos.TaskState_TASK_KILLED:
			killed++
		case mesos.TaskState_TASK_KILLING:
		default:
			return fmt.Errorf("task %s: %v: %s", s.GetTaskId().GetValue(), s.GetState(), s.GetMessage())
		}
	}
	if err := f.calls.wait(); err != nil {
		return err
	}
	took := time.Since(began)
	stop()
	b.table.add(row{what: fmt.Sprintf("%d `sleep` stopped by KILL and acknowledged", n), unit: "s", goal: "3 s", peer: "Mesos 22 s on 24 cores"}, took.Seconds())
	return b.end(c, n)
}

// memory is what a running command costs beyond itself.
func memory(b *bench) error {
	n := 500
	if b.quick {
		n = 30
	}
	for range b.runs {
		c, err := b.cluster("memory")
		if err != nil {
			return err
		}
		status := fmt.Sprintf("/proc/%d/status", c.agent.pid())
		before, err := kib(status, "VmRSS")
		if err != nil {
			return err
		}
		f, err := subscribe(c.master.addr(), "bench", codec.Protobuf)
		if err != nil {
			return err
		}
		running, err := f.until(n, "sleep 1000", 0.05, mesos.TaskState_TASK_RUNNING)
		if err != nil {
			return err
		}
		b.inspect(running[0].GetContainerStatus().GetExecutorPid())
		inits := 0.0
		for _, s := range running {
			init, err := initOf(s.GetContainerStatus().GetExecutorPid())
			if err != nil {
				return err
			}
			pss, err := kib("/proc/"+init+"/smaps_rollup", "Pss")
			if err != nil {
				return err
			}
			inits += pss
		}
		after, err := kib(status, "VmRSS")
		if err != nil {
			return err
		}
		const mib = 1 << 20
		r := row{unit: "MiB", goal: "-", peer: "-"}
		r.what = "memory: PSS of a task's init"
		b.table.add(r, inits/float64(n)/mib)
		r.what = fmt.Sprintf("memory: growth of the agent's RSS per task, over %d `sleep`", n)
		b.table.add(r, (after-before)/float64(n)/mib)
		b.table.add(row{what: "memory a running command task costs beyond itself", unit: "MiB", goal: "2 MiB",
			peer: "Mesos 13 MiB (~40 MiB RSS)"}, (inits+after-before)/float64(n)/mib)
		f.close()
		if err := b.end(c, n); err != nil {
			return err
		}
	}
	return nil
}
