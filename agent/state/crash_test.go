package state

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stoa-kernel/stoa/agent/check"
	"github.com/stoa-kernel/stoa/agent/container"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	executorpb "github.com/stoa-kernel/stoa/api/mesos/v1/executor"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/kernel/id"
	tasks "github.com/stoa-kernel/stoa/kernel/task"
	"google.golang.org/protobuf/proto"
)

// world is all an agent deals with, played truthfully: a machine whose containers
// outlive the agent, executors that keep what is not acknowledged, and a master that
// asks again for what it has not heard of. The agent can be killed between any two of
// its effects, alone or with the machine.
type world struct {
	*bench
	events []happening // in order
	cut    int         // effects until the crash, -1 for none
	second *int        // the next cut, after the first
	power  bool        // the machine crashes too
	// overlap: the log is a snapshot followed by this many records that are in it, -1
	// for a log that was never compacted.
	overlap int
	done    int // effects so far
	crashes int
	asked   time.Duration // when the last task with a pre_stop was killed
	boot    int
	after   func() // runs after each input
	link    Link
	stream  Stream

	machine map[id.Container]*machineContainer
	starts  map[string]int             // executions of each task on this boot and before
	ends    map[string][]string        // how each task truly ended
	stops   map[string][]time.Duration // when pre_stop of each task was begun
	terms   map[string]time.Duration   // when each task got its first signal
	exits   map[string]exitOf          // how a command task is to end
	master  map[string]*masterTask
	trace   bool
	n       names
	err     []string
}

// happening is something to come; what only the machine or an executor does outlives
// the agent.
type happening struct {
	do       func()
	outlives bool
}

type exitOf struct {
	when string // "running" or "killed"
	wait int32
	oom  bool
}

type machineContainer struct {
	spec      *container.Spec
	task      string // command task
	executor  string
	stage     string // preparing, waiting, never, running, exited
	exit      container.Exit
	subscribe bool
	stream    Stream
	tasks     map[string]*executorTask
}

type executorTask struct {
	info    *mesos.TaskInfo
	acked   bool
	pending []*mesos.TaskStatus
	over    bool
}

type masterTask struct {
	info    *mesos.TaskInfo
	kill    bool
	heard   bool // of any update
	uuids   map[string]bool
	states  []mesos.TaskState
	updates []*mesos.TaskStatus
	over    bool
	dropped bool
}

func newWorld(t testing.TB) *world {
	return &world{
		bench: newBench(t), cut: -1, overlap: -1,
		machine: map[id.Container]*machineContainer{}, starts: map[string]int{}, ends: map[string][]string{},
		stops: map[string][]time.Duration{}, terms: map[string]time.Duration{},
		exits: map[string]exitOf{}, master: map[string]*masterTask{},
	}
}

func (w *world) fail(format string, args ...any) { w.err = append(w.err, fmt.Sprintf(format, args...)) }

func (w *world) later(do func()) { w.events = append(w.events, happening{do: do}) }

func (w *world) send(in Input) { w.later(func() { w.input(in) }) }

func (w *world) event(e container.Event) { w.send(Container{e}) }

// input steps the agent and carries out its effects one by one, unless it dies.
func (w *world) input(in Input) {
	w.out.Reset()
	w.agent.Step(w.now(), in, &w.out)
	if w.after != nil {
		w.after()
	}
	for _, x := range append([]Effect(nil), w.out.List...) {
		if w.cut == w.done {
			w.cut = -1
			if w.second != nil {
				w.cut, w.second = *w.second, nil
			}
			w.crash()
			return
		}
		w.done++
		w.keep(x)
		w.carryOut(x)
	}
}

// crash kills the agent; what was on its way to it is lost.
func (w *world) crash() {
	w.crashes++
	w.events = slices.DeleteFunc(w.events, func(h happening) bool { return !h.outlives })
	for _, c := range w.machine {
		switch c.stage {
		case "preparing":
			c.stage = "gone"
		case "waiting":
			c.stage = "never" // its go pipe is closed
		}
		c.subscribe = false
	}
	if w.power {
		for _, c := range w.sorted() {
			switch c.stage {
			case "running":
				w.endOf(c, "rebooted")
			}
			if c.stage != "exited" {
				c.stage = "lost"
			}
		}
		w.boot++
	}
	w.restart(w.power)
	if w.overlap >= 0 {
		tail := w.log[max(0, len(w.log)-w.overlap):]
		w.log = append(w.agent.Snapshot(), tail...)
		w.synced = len(w.log)
		w.restart(false)
	}
	w.start()
}

func (w *world) start() {
	w.send(Started{BootID: fmt.Sprint("boot", w.boot)})
	w.link++
	l := w.link
	w.send(LinkUp{l})
	for _, c := range w.sorted() {
		if c.executor != "" && c.stage == "running" {
			w.later(func() { w.subscribeExecutor(c) })
		}
	}
}

func (w *world) sorted() []*machineContainer {
	var list []*machineContainer
	for _, cid := range sortedKeys(w.machine) {
		list = append(list, w.machine[cid])
	}
	return list
}

func (w *world) endOf(c *machineContainer, how string) {
	if c.task != "" {
		w.ends[c.task] = append(w.ends[c.task], how)
	}
	for _, t := range sortedKeys(c.tasks) {
		if !c.tasks[t].over {
			w.ends[t] = append(w.ends[t], how)
			c.tasks[t].over = true
		}
	}
}

func (w *world) end(c *machineContainer, x container.Exit, how string) {
	c.stage = "exited"
	x.Known, x.Time = true, w.now().Wall
	c.exit = x
	w.endOf(c, how)
	w.event(container.Exited{ID: c.spec.ID, Record: x})
}

func (w *world) carryOut(x Effect) {
	switch x := x.(type) {
	case Launch:
		if w.machine[x.Spec.ID] != nil {
			w.fail("container %s launched twice", x.Spec.ID)
		}
		c := &machineContainer{spec: x.Spec, stage: "preparing", tasks: map[string]*executorTask{}}
		text := x.Spec.Argv[len(x.Spec.Argv)-1]
		if t, ok := strings.CutPrefix(text, "run "); ok {
			c.task = t
		} else {
			c.executor = strings.TrimPrefix(text, "executor ")
		}
		w.machine[x.Spec.ID] = c
		if len(x.Spec.URIs) > 0 {
			w.event(container.Fetching{ID: x.Spec.ID})
		}
		w.later(func() {
			if c.stage == "preparing" {
				c.stage = "waiting"
				w.input(Container{container.Forked{ID: c.spec.ID, BootID: fmt.Sprint("boot", w.boot), Pid: 100 + len(w.machine), StartTime: 7}})
			}
		})
	case Go:
		c := w.machine[x.Container]
		if c == nil || c.stage != "waiting" {
			w.fail("go for container %s in stage %v", x.Container, c)
			return
		}
		c.stage = "running"
		if c.task != "" {
			w.starts[c.task]++
		}
		w.event(container.Started{ID: x.Container, TaskPid: 200})
		if c.executor != "" {
			w.later(func() { w.subscribeExecutor(c) })
		} else {
			w.maybeExit(c)
		}
	case Adopt:
		c := w.machine[x.Live.ID]
		switch {
		case c == nil || c.stage == "gone":
			w.event(container.Exited{ID: x.Live.ID})
		case c.stage == "running":
			w.event(container.Started{ID: x.Live.ID, TaskPid: 200})
		case c.stage == "exited":
			w.event(container.Exited{ID: x.Live.ID, Record: c.exit})
		case c.stage == "never":
			w.event(container.Failed{ID: x.Live.ID, Canceled: true})
		default:
			w.event(container.Exited{ID: x.Live.ID, Record: container.Exit{Rebooted: true}})
		}
	case Signal:
		if c := w.machine[x.Container]; c != nil && c.stage == "running" {
			if _, again := w.terms[c.task]; !again {
				w.terms[c.task] = w.mono
			}
			if e, ok := w.exits[c.task]; ok && e.when == "ignores" {
				return
			}
			w.end(c, container.Exit{Wait: 15}, "killed")
		}
	case Destroy:
		c := w.machine[x.Container]
		if c != nil {
			switch c.stage {
			case "preparing", "waiting":
				c.stage = "gone"
				w.event(container.Failed{ID: x.Container, Canceled: true})
			case "running":
				w.end(c, container.Exit{Wait: 9}, "killed")
			}
			delete(w.machine, x.Container)
		}
		w.event(container.Destroyed{ID: x.Container})
	case Check:
		if x.Check == preStopCheck {
			w.stops[string(x.Task)] = append(w.stops[string(x.Task)], w.mono)
			if x.Spec.Argv[2] == "hangs" {
				return
			}
		}
		w.send(Checked{Container: x.Container, Task: x.Task, Check: x.Check, Result: check.Result{Code: 500, Connected: x.Target.Port == 1}})
	case ToExecutor:
		for _, c := range w.sorted() {
			if c.stream == x.Stream && c.stage == "running" {
				w.toExecutor(c, x.Event)
			}
		}
	case ToMaster:
		if x.Link == w.link {
			w.toMaster(x.Msg)
		}
	}
}

func (w *world) maybeExit(c *machineContainer) {
	if e, ok := w.exits[c.task]; ok && e.when == "running" && c.stage == "running" {
		x := container.Exit{Wait: e.wait}
		if e.oom {
			x.OOM, x.MemoryUsage, x.MemoryLimit = true, 1<<26, 1<<26
		}
		w.events = append(w.events, happening{outlives: true, do: func() {
			if c.stage == "running" {
				w.end(c, x, fmt.Sprint(e.wait))
			}
		}})
	}
}

func (w *world) subscribeExecutor(c *machineContainer) {
	if c.stage != "running" || c.subscribe {
		return
	}
	w.stream++
	c.stream, c.subscribe = w.stream, true
	call := &executorpb.Call{
		Type: executorpb.Call_SUBSCRIBE.Enum(), FrameworkId: frameworkID("f"), ExecutorId: executorID(id.Executor(c.executor)),
		Subscribe: &executorpb.Call_Subscribe{},
	}
	for _, t := range sortedKeys(c.tasks) {
		e := c.tasks[t]
		if !e.acked {
			call.Subscribe.UnacknowledgedTasks = append(call.Subscribe.UnacknowledgedTasks, e.info)
		}
		for _, u := range e.pending {
			call.Subscribe.UnacknowledgedUpdates = append(call.Subscribe.UnacknowledgedUpdates, &executorpb.Call_Update{Status: u})
		}
	}
	w.send(ExecutorSubscribe{Token(w.stream), c.stream, call})
}

func (w *world) report(c *machineContainer, t string, s mesos.TaskState) {
	e := c.tasks[t]
	u := executorStatusOf(t, s, fmt.Sprintf("%s-%d", t, s))
	e.pending = append(e.pending, u)
	w.later(func() {
		w.input(ExecutorCall{1, &executorpb.Call{
			Type: executorpb.Call_UPDATE.Enum(), FrameworkId: frameworkID("f"), ExecutorId: executorID(id.Executor(c.executor)),
			Update: &executorpb.Call_Update{Status: u},
		}})
	})
}

func (w *world) toExecutor(c *machineContainer, e *executorpb.Event) {
	switch e.GetType() {
	case executorpb.Event_LAUNCH:
		t := e.GetLaunch().GetTask().GetTaskId().GetValue()
		if c.tasks[t] != nil {
			w.fail("executor %s was given task %s twice", c.executor, t)
			return
		}
		w.starts[t]++
		c.tasks[t] = &executorTask{info: e.GetLaunch().GetTask()}
		w.report(c, t, mesos.TaskState_TASK_RUNNING)
		if x, ok := w.exits[t]; ok && x.when == "running" {
			w.finish(c, t, mesos.TaskState_TASK_FINISHED, fmt.Sprint(x.wait))
		}
	case executorpb.Event_KILL:
		if t := e.GetKill().GetTaskId().GetValue(); c.tasks[t] != nil && !c.tasks[t].over {
			w.finish(c, t, mesos.TaskState_TASK_KILLED, "killed")
		}
	case executorpb.Event_ACKNOWLEDGED:
		t := e.GetAcknowledged().GetTaskId().GetValue()
		if x := c.tasks[t]; x != nil {
			x.acked = true
			x.pending = slices.DeleteFunc(x.pending, func(u *mesos.TaskStatus) bool {
				return string(u.Uuid) == string(e.GetAcknowledged().GetUuid())
			})
		}
	}
}

func (w *world) finish(c *machineContainer, t string, s mesos.TaskState, how string) {
	c.tasks[t].over = true
	w.ends[t] = append(w.ends[t], how)
	w.report(c, t, s)
}

// toMaster is a master that heard nothing but what the agent says.
func (w *world) toMaster(m *stoapb.ToMaster) {
	reply := func(b *stoapb.ToAgent) {
		l := w.link
		w.later(func() { w.input(Frame{l, b}) })
	}
	switch b := m.GetBody().(type) {
	case *stoapb.ToMaster_Register:
		reply(&stoapb.ToAgent{Body: &stoapb.ToAgent_Registered{Registered: &stoapb.Registered{
			AgentId: &mesos.AgentID{Value: proto.String("A0")}, Epoch: proto.Uint64(1),
		}}})
		known := map[string]bool{}
		for _, t := range b.Register.GetTasks() {
			known[t.GetTask().GetTaskId().GetValue()] = true
		}
		for _, t := range sortedKeys(w.master) {
			x := w.master[t]
			switch {
			case x.over:
			case !known[t] && !x.heard && w.boot == 0:
				reply(runTaskFrame(1, frameworkInfo("f"), x.info))
			case !known[t] && !x.heard:
				x.over, x.dropped = true, true
			}
			if x.kill && !x.over {
				reply(killTaskFrame(1, "f", t, -1))
			}
		}
	case *stoapb.ToMaster_Update:
		s := b.Update.GetStatus()
		t := s.GetTaskId().GetValue()
		x := w.master[t]
		if !x.uuids[string(s.Uuid)] {
			if n := len(x.states); n > 0 && tasks.Terminal(x.states[n-1]) {
				w.fail("task %s: %v after %v", t, s.GetState(), x.states)
			}
			x.uuids[string(s.Uuid)] = true
			x.states = append(x.states, s.GetState())
			x.updates = append(x.updates, s)
			x.heard = true
			x.over = tasks.Terminal(s.GetState())
		}
		if on := w.onDisk(s.Uuid); !on {
			w.fail("task %s: update %v was forwarded before it was on disk", t, s.GetState())
		}
		reply(acknowledgeFrame(1, "f", t, s.Uuid))
	}
}

func (w *world) onDisk(uuid []byte) bool {
	for _, r := range w.log[:w.synced] {
		if string(r.GetUpdate().GetStatus().GetUuid()) == string(uuid) {
			return true
		}
	}
	return w.synced > len(w.log)
}

func (w *world) run(info *mesos.TaskInfo, x exitOf) {
	t := info.GetTaskId().GetValue()
	w.exits[t] = x
	w.master[t] = &masterTask{info: info, uuids: map[string]bool{}}
	l := w.link
	w.later(func() { w.input(Frame{l, runTaskFrame(1, frameworkInfo("f"), info)}) })
}

func (w *world) kill(t string) {
	if w.master[t].over {
		return
	}
	w.master[t].kill = true
	l := w.link
	w.later(func() { w.input(Frame{l, killTaskFrame(1, "f", t, -1)}) })
}

// settle plays everything out.
func (w *world) settle() {
	for range 10000 {
		if len(w.events) > 0 {
			next := w.events[0]
			w.events = w.events[1:]
			next.do()
			continue
		}
		at, ok := w.timers.Next()
		if !ok || at > w.mono+time.Minute {
			return
		}
		w.mono = max(w.mono, at)
		t, _ := w.timers.Due(w.mono)
		w.input(Fired{t})
	}
	w.fail("does not settle")
}

// play is the scenario: every kind of task, some killed, some that end by themselves.
func (w *world) play() {
	w.start()
	w.settle()
	w.run(commandTask("quick"), exitOf{"running", 0, false})
	w.run(commandTask("fails", func(t *mesos.TaskInfo) {
		t.Command.Uris = []*mesos.CommandInfo_URI{{Value: proto.String("http://x")}}
	}), exitOf{"running", 3 << 8, false})
	w.run(commandTask("oom"), exitOf{"running", 9, true})
	w.run(customTask("one", "e"), exitOf{"running", 0, false})
	w.settle()
	w.run(commandTask("victim"), exitOf{when: "killed"})
	w.run(commandTask("stubborn"), exitOf{when: "ignores"})
	w.run(customTask("two", "e"), exitOf{when: "killed"})
	w.settle()
	w.kill("victim")
	w.kill("stubborn")
	w.kill("two")
	w.settle()
	for _, command := range []string{"obeys", "hangs"} {
		w.run(commandTask(command, func(t *mesos.TaskInfo) {
			t.KillPolicy = &mesos.KillPolicy{
				GracePeriod: seconds("2s"), PreStop: &mesos.CommandInfo{Value: &command}, PreStopTimeout: seconds("7s"), DrainPeriod: seconds("20s"),
			}
		}), exitOf{when: "ignores"})
		w.settle()
		w.mono += time.Second
		w.asked = w.mono
		w.kill(command)
		w.settle()
		w.checkPreStop(command)
	}
	w.run(commandTask("early"), exitOf{when: "killed"})
	w.kill("early")
	w.settle()
	w.run(commandTask("sick", func(t *mesos.TaskInfo) {
		t.HealthCheck = &mesos.HealthCheck{Type: mesos.HealthCheck_HTTP.Enum(), Http: &mesos.HealthCheck_HTTPCheckInfo{Port: proto.Uint32(2)},
			DelaySeconds: proto.Float64(0), IntervalSeconds: proto.Float64(1), GracePeriodSeconds: proto.Float64(0)}
	}), exitOf{when: "killed"})
	w.run(commandTask("well", func(t *mesos.TaskInfo) {
		t.HealthCheck = &mesos.HealthCheck{Type: mesos.HealthCheck_TCP.Enum(), Tcp: &mesos.HealthCheck_TCPCheckInfo{Port: proto.Uint32(1)},
			IntervalSeconds: proto.Float64(1200)}
		for port := range uint32(2) {
			t.Probes = append(t.Probes, &mesos.Probe{Index: &port, Port: proto.Uint32(1 + port), Protocol: mesos.Probe_TCP.Enum(), IntervalSeconds: proto.Float64(1200)})
		}
	}), exitOf{when: "killed"})
	w.settle()
	w.advanceAll(time.Hour)
	w.kill("well")
	w.settle()
	w.advanceAll(time.Hour)
}

func (w *world) advanceAll(d time.Duration) {
	for range 40 {
		w.mono += d / 40
		w.settle()
	}
}

// check is what must hold whatever happened.
func (w *world) check(crashed bool) {
	for _, t := range sortedKeys(w.master) {
		x := w.master[t]
		if w.starts[t] > 1 {
			w.fail("task %s was executed %d times", t, w.starts[t])
		}
		if x.dropped {
			if w.starts[t] > 0 && len(w.ends[t]) > 0 && w.ends[t][0] != "rebooted" {
				w.fail("task %s ended (%v) and nobody was told", t, w.ends[t])
			}
			continue
		}
		if !x.over {
			w.fail("task %s: the master heard %v, started %d, ended %v", t, x.states, w.starts[t], w.ends[t])
			continue
		}
		last := x.states[len(x.states)-1]
		for i := 1; i < len(x.states); i++ {
			if rank(x.states[i]) < rank(x.states[i-1]) {
				w.fail("task %s: out of order: %v", t, x.states)
			}
		}
		var want []mesos.TaskState
		how := "never"
		if len(w.ends[t]) > 0 {
			how = w.ends[t][0]
		}
		switch {
		case how == "0":
			want = []mesos.TaskState{mesos.TaskState_TASK_FINISHED}
		case how == "killed", how == "never" && x.kill:
			want = []mesos.TaskState{mesos.TaskState_TASK_KILLED}
		case how == "rebooted":
			want = []mesos.TaskState{mesos.TaskState_TASK_FAILED, mesos.TaskState_TASK_KILLED}
		default:
			want = []mesos.TaskState{mesos.TaskState_TASK_FAILED}
		}
		if w.power && crashed {
			// What the crash took from the log cannot be told truly any more.
			want = append(want, mesos.TaskState_TASK_FAILED)
		}
		if !slices.Contains(want, last) {
			w.fail("task %s ended %s, the master heard %v", t, how, x.states)
		}
		w.checkHealth(t, x)
		if !w.power && how == "never" && !x.kill {
			w.fail("task %s never ran although the machine did: %v", t, x.states)
		}
	}
	for _, c := range w.sorted() {
		// Of a container that the log lost with the machine only a directory is left.
		if c.stage != "lost" && (c.executor == "" || c.stage == "never") {
			w.fail("container %s of %s%s is left in stage %s", c.spec.ID, c.task, c.executor, c.stage)
		}
	}
	for _, f := range w.agent.frameworks {
		for _, t := range f.tasks {
			w.fail("task %s is still kept in state %v", t.id, t.state)
		}
	}
}

// checkHealth: what checks find is told once, and goes on after a crash where it was.
func (w *world) checkHealth(t string, x *masterTask) {
	healthy, sick, alive := 0, 0, 0
	var failures uint32
	for _, u := range x.updates {
		if u.GetState() != mesos.TaskState_TASK_RUNNING {
			continue
		}
		switch {
		case u.Healthy == nil:
		case u.GetHealthy() && u.GetReason() == mesos.TaskStatus_REASON_TASK_HEALTH_CHECK_STATUS_UPDATED && healthy == 0:
			healthy++
		case u.GetHealthy():
		default:
			sick++
		}
		for _, r := range u.GetProbeResults() {
			switch {
			case r.GetIndex() == 0 && !r.GetAlive():
				w.fail("task %s: a probe that succeeds is told as failed", t)
			case r.GetIndex() == 0:
				alive++
			case r.GetAlive() || r.GetConsecutiveFailures() < failures:
				w.fail("task %s: %d failures in a row after %d", t, r.GetConsecutiveFailures(), failures)
			default:
				failures = r.GetConsecutiveFailures()
			}
		}
	}
	last := x.updates[len(x.updates)-1]
	ran := w.starts[t] > 0 && len(w.ends[t]) > 0 && w.ends[t][0] == "killed"
	switch {
	case t == "well" && ran && (healthy != 1 || sick != 0 || alive == 0 || failures < 2):
		w.fail("task well: told healthy %d times, sick %d, its probe alive %d, the other's failures %d", healthy, sick, alive, failures)
	case t == "sick" && ran && !w.power && (sick < 3 || sick > 4 || healthy != 0 || last.Healthy == nil || last.GetHealthy()):
		w.fail("task sick: %d failures were told, then %v", sick, last)
	}
}

// checkPreStop: it is begun once, whatever crashes, and what comes behind it waits neither
// shorter nor longer than was asked for.
func (w *world) checkPreStop(t string) {
	begun, term := w.stops[t], w.terms[t]-w.asked
	took := map[string]time.Duration{"obeys": 0, "hangs": 7 * time.Second}[t]
	switch {
	case len(begun) > 1 || w.crashes == 0 && len(begun) != 1:
		w.fail("task %s: its pre_stop was begun at %v", t, begun)
	case w.terms[t] == 0 && w.power && w.crashes > 0:
		// The machine went, and the task with it.
	case w.crashes == 0 && term != took+20*time.Second:
		w.fail("task %s: SIGTERM after %v, want %v", t, term, took+20*time.Second)
	case term < 20*time.Second || term > took+20*time.Second:
		w.fail("task %s: SIGTERM after %v, want 20s to %v", t, term, took+20*time.Second)
	}
}

func rank(s mesos.TaskState) int {
	switch s {
	case mesos.TaskState_TASK_STARTING:
		return 1
	case mesos.TaskState_TASK_RUNNING:
		return 2
	case mesos.TaskState_TASK_KILLING:
		return 3
	}
	return 4
}

// TestCrashAtEveryEffect kills the agent before each of the scenario's effects in turn
// (and again some effects later), alone and with the machine, and lets it go on from
// what its log has.
func TestCrashAtEveryEffect(t *testing.T) {
	w := newWorld(t)
	w.play()
	w.check(false)
	if len(w.err) > 0 {
		t.Fatalf("without any crash:\n%s", strings.Join(w.err, "\n"))
	}
	total := w.done
	if total < 100 {
		t.Fatalf("the scenario has only %d effects", total)
	}
	modes := []struct {
		name    string
		power   bool
		overlap int
	}{
		{"agent", false, -1}, {"machine", true, -1},
		{"compacted", false, 0}, {"compacted with overlap", false, 7}, {"machine, compacted", true, 3},
	}
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			for cut := range total {
				w := newWorld(t)
				w.cut, w.power, w.overlap = cut, mode.power, mode.overlap
				w.play()
				w.check(true)
				if len(w.err) > 0 {
					t.Fatalf("crash before effect %d:\n%s", cut, strings.Join(w.err, "\n"))
				}
			}
		})
	}
	t.Run("twice", func(t *testing.T) {
		for cut := 0; cut < total; cut += 7 {
			for _, gap := range []int{0, 1, 5, 9} {
				w := newWorld(t)
				w.cut = cut
				again := cut + gap
				w.second = &again
				w.play()
				w.check(true)
				if len(w.err) > 0 {
					t.Fatalf("crashes before effects %d and %d:\n%s", cut, again, strings.Join(w.err, "\n"))
				}
			}
		}
	})
}
