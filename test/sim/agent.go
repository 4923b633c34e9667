package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/stoa-kernel/stoa/agent/checkpoint"
	"github.com/stoa-kernel/stoa/agent/state"
	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/internal/loop"
	"github.com/stoa-kernel/stoa/internal/vfs"
	"google.golang.org/protobuf/proto"
)

const workDir, logDir = "/work", "/work/meta/log"

// compactAt is small, so that logs are replaced often.
const compactAt = 24 << 10

// agentProcess drives the agent's core as agent/loop.go and agent/writer.go do.
type agentProcess struct {
	w     *world
	m     *machine
	life  int
	began time.Duration
	alive bool

	core    *state.Agent
	timers  loop.Timers[state.Timer]
	hold    loop.Hold[state.Effect]
	effects state.Effects
	alarm   time.Duration

	log      *checkpoint.Log
	issued   loop.Position
	queue    []group
	group    group
	writing  bool
	size     int64 // bytes since the snapshot, with those queued
	snapshot int64
	first    loop.Position // Started's last
	started  bool

	conn     *conn
	link     state.Link
	lastLink state.Link
	failures int

	streams    map[state.Stream]*conn
	lastStream state.Stream
	waiting    map[state.Token]func(status int)
	lastToken  state.Token

	registeredWith uint64 // the epoch of the master that admitted us on this link, 0 if none
	registeredAt   time.Duration
	doomed         *doom
}

// group is what one turn writes.
type group struct {
	batch    checkpoint.Batch
	last     loop.Position
	sync     loop.Position // of the first record that must be on disk, 0 for none
	records  []*stoapb.LogRecord
	snapshot *checkpoint.Batch
}

// startAgent begins a life of the machine's agent.
func (m *machine) startAgent() {
	w := m.w
	m.lives++
	a := &agentProcess{
		w: w, m: m, life: m.lives, began: w.now, alive: true,
		streams: map[state.Stream]*conn{}, waiting: map[state.Token]func(int){},
	}
	log, records, err := checkpoint.Open(m.disk, logDir, checkpoint.Options{Salt: w.rng.Uint64(), Chunk: 8 << 10})
	if err != nil {
		w.fail("an agent's log survives every crash", "%s: %v", m.name, err)
	}
	a.log = log
	a.size, a.snapshot = log.Grown()
	a.core = state.New(state.Config{
		Seed: w.seed<<8 + uint64(m.index), Version: "sim",
		Info: &mesos.AgentInfo{
			Hostname: proto.String(m.name), Port: proto.Int32(5051), Resources: m.resources.Proto(),
		},
		IP: m.ip, Resources: m.resources, WorkDir: workDir, Endpoint: m.ip + ":5051", Path: "/bin",
		AgentUser: "root", SwitchUser: true, GCDelay: m.gcDelay,
	})
	if err := a.core.Replay(records); err != nil {
		w.fail("an agent understands its own log", "%s: %v", m.name, err)
	}
	m.recovered(records)
	m.proc = a
	w.count["agent: start"]++
	w.say("%s starts its agent, life %d, boot %s, %d records", m.name, m.lives, m.bootID(), len(records))
	a.step(state.Started{BootID: m.bootID()})
	if a.alive {
		a.first = a.issued
		a.settle()
	}
	m.measure()
}

// measure tells the agent how full the disk is, again and again.
func (m *machine) measure() {
	a := m.proc
	if a == nil {
		return
	}
	m.w.at(time.Minute, func() {
		if a.alive {
			a.step(state.DiskUsage{Used: m.w.rng.Float64()})
			m.measure()
		}
	})
}

// settle goes on once the first input's effects are done: executors may come, and a
// master is looked for.
func (a *agentProcess) settle() {
	if !a.started && a.alive && a.hold.Len() == 0 {
		a.started = true
		a.redial()
	}
}

func (a *agentProcess) step(in state.Input) {
	if !a.alive {
		return
	}
	a.noteInput(in)
	a.effects.Reset()
	a.core.Step(a.w.clockAt(a.began, a.m.skew), in, &a.effects)
	for _, e := range a.effects.List {
		a.noteEffect(e)
		switch e := e.(type) {
		case state.Persist:
			a.issued = a.hold.Persist()
			a.m.persisting(e)
			if err := a.group.batch.Add(e.Record); err != nil {
				a.w.fail("records can be written", "%s: %v", a.m.name, err)
			}
			a.group.records = append(a.group.records, e.Record)
			a.group.last = a.issued
			if e.Sync && a.group.sync == 0 {
				a.group.sync = a.issued
			}
		case state.SetTimer:
			a.timers.Set(e.Timer, e.At)
		case state.StopTimer:
			a.timers.Stop(e.Timer)
		default:
			a.hold.Add(e)
		}
	}
	a.observe(in)
	a.finish()
	a.arm()
}

// finish hands the turn's records to the writer and does what may be done.
func (a *agentProcess) finish() {
	if !a.alive {
		return
	}
	if a.size+int64(a.group.batch.Size()) > max(compactAt, 2*a.snapshot) {
		s := &checkpoint.Batch{}
		for _, r := range a.core.Snapshot() {
			if err := s.Add(r); err != nil {
				a.w.fail("a snapshot can be written", "%s: %v", a.m.name, err)
			}
		}
		a.group.snapshot = s
	}
	if g := a.group; g.batch.Len() > 0 || g.snapshot != nil {
		a.size += int64(g.batch.Size())
		if g.snapshot != nil {
			a.size, a.snapshot = 0, int64(g.snapshot.Size())
		}
		a.queue = append(a.queue, g)
		a.group = group{}
	}
	a.write()
	a.release()
}

// write writes all that is queued and syncs once for all of it.
func (a *agentProcess) write() {
	if a.writing || len(a.queue) == 0 || !a.alive {
		return
	}
	a.writing = true
	groups := a.queue
	a.queue = nil
	took := a.w.between(5*time.Microsecond, 200*time.Microsecond)
	if a.w.now < a.m.slow {
		took = a.w.between(10*time.Millisecond, time.Second)
		a.w.count["fault: slow disk write"]++
	}
	a.w.at(took, func() {
		if !a.alive {
			return
		}
		if a.doomed.due("before write") {
			a.die("before a write")
			return
		}
		var first, last loop.Position
		for _, g := range groups {
			if err := a.log.Write(&g.batch); err != nil {
				a.broken(err)
				return
			}
			a.m.written(g.records)
			if first == 0 {
				first = g.sync
			}
			last = max(last, g.last)
			if g.snapshot != nil {
				if err := a.log.Compact(g.snapshot); err != nil {
					a.broken(err)
					return
				}
				a.w.count["agent: compaction"]++
				a.m.synced()
				first = 0
			}
		}
		if first == 0 {
			a.wrote(last)
			return
		}
		a.hold.Durable(first - 1)
		a.release()
		if a.doomed.due("before sync") {
			a.die("before a sync")
			return
		}
		took := a.w.between(200*time.Microsecond, 8*time.Millisecond)
		if a.w.now < a.m.slow {
			took = a.w.between(50*time.Millisecond, 5*time.Second)
			a.w.count["fault: slow disk sync"]++
		}
		a.w.at(took, func() {
			if !a.alive {
				return
			}
			if err := a.log.Sync(); err != nil {
				a.broken(err)
				return
			}
			a.m.synced()
			if a.doomed.due("after sync") {
				a.die("after a sync")
				return
			}
			a.wrote(last)
		})
	})
}

func (a *agentProcess) wrote(last loop.Position) {
	a.hold.Durable(last)
	a.writing = false
	a.release()
	a.settle()
	a.write()
	a.arm()
}

// broken is a log that failed: the process ends.
func (a *agentProcess) broken(err error) {
	if errors.Is(err, vfs.ErrDown) || !strings.Contains(err.Error(), "planned") {
		a.w.fail("the log fails only with its disk", "%s: %v", a.m.name, err)
	}
	a.die("of its disk")
}

func (a *agentProcess) arm() {
	at, ok := a.timers.Next()
	if !a.alive || !ok || a.alarm != 0 && a.alarm <= a.began+at {
		return
	}
	due := max(a.began+at, a.w.now)
	a.alarm = max(due, 1)
	mine := a.alarm
	a.w.at(due-a.w.now, func() {
		if !a.alive || a.alarm != mine {
			return
		}
		a.alarm = 0
		for range 256 {
			key, ok := a.timers.Due(a.w.now - a.began)
			if !ok || !a.alive {
				break
			}
			a.step(state.Fired{Timer: key})
		}
		a.arm()
	})
}

func (a *agentProcess) release() {
	for a.alive {
		e, ok := a.hold.Next()
		if !ok {
			return
		}
		if a.doomed.due("send") {
			a.die("before an effect")
			return
		}
		a.do(e)
	}
}

func (a *agentProcess) do(e state.Effect) {
	switch e := e.(type) {
	case state.ToMaster:
		a.speaking(e.Msg)
		if a.conn != nil && e.Link == a.link {
			a.conn.send(0, e.Msg)
		}
	case state.DropLink:
		if a.conn != nil && e.Link == a.link {
			a.conn.close(0)
			a.linkGone(a.conn)
		}
	case state.ToExecutor:
		if c := a.streams[e.Stream]; c != nil {
			c.send(1, e.Event)
		}
	case state.CloseExecutor:
		if c := a.streams[e.Stream]; c != nil {
			delete(a.streams, e.Stream)
			c.close(1)
		}
	case state.Answer:
		f := a.waiting[e.Token]
		if f == nil {
			a.w.fail("every request is answered once", "%s answers token %d, which nobody waits for", a.m.name, e.Token)
		}
		delete(a.waiting, e.Token)
		f(e.Status)
	case state.Launch:
		a.m.launch(e.Spec)
	case state.Go:
		if a.doomed.due("go") {
			a.die("before a Go")
			return
		}
		a.m.release(e.Container)
	case state.Adopt:
		a.m.adopt(e.Live)
	case state.Signal:
		a.m.signal(e.Container, e.Signal)
	case state.Destroy:
		a.m.destroy(e.Container)
	case state.Resize:
	case state.Check:
		a.ask(e)
	case state.ApplyVolumes:
		a.m.applyVolumes(e)
	case state.RemoveSandbox:
		a.w.at(a.w.between(time.Millisecond, time.Second), func() {
			in := state.SandboxRemoved{Container: e.Container}
			if a.w.chance(0.1) && !a.w.calm {
				in.Err = "device or resource busy"
			}
			a.step(in)
		})
	case state.Exit:
		a.w.fail("no agent is refused", "%s exits: %s", a.m.name, e.Message)
	case state.Stopped:
		a.die("as it was asked to")
	}
}

// die is kill -9 of the process: what was written stays, containers live on, those
// that were not told to go end.
func (a *agentProcess) die(why string) {
	if !a.alive {
		return
	}
	w := a.w
	w.say("%s's agent dies %s", a.m.name, why)
	w.count["fault: agent dies "+why]++
	a.alive = false
	a.m.proc, a.m.stopping = nil, false
	a.m.disk.Kill()
	if a.conn != nil {
		a.conn.close(0)
	}
	for s := state.Stream(1); s <= a.lastStream; s++ {
		if c := a.streams[s]; c != nil {
			c.close(1)
		}
	}
	a.m.orphan()
	back := w.between(50*time.Millisecond, 4*time.Second)
	if w.chance(0.3) && !w.calm {
		back = w.between(4*time.Second, 2*time.Minute)
	}
	boot := a.m.boots
	w.at(back, func() {
		if a.m.up && a.m.boots == boot && a.m.proc == nil {
			a.m.startAgent()
		}
	})
}

// redial looks for a master, with the pauses of agent/link.
func (a *agentProcess) redial() {
	pause := a.w.between(0, min(50*time.Millisecond<<min(a.failures, 16), 10*time.Second))
	a.failures++
	a.w.at(pause, func() {
		if !a.alive || a.conn != nil {
			return
		}
		m := a.w.leader
		if len(a.w.masters) > 1 && a.w.chance(0.6) {
			m = pick(a.w, a.w.masters) // an old one that does not know yet
		}
		if m == nil || !m.alive || !m.ready || a.m.cut > a.w.now {
			a.redial()
			return
		}
		a.connect(m)
	})
}

func (a *agentProcess) connect(m *masterProcess) {
	c := &conn{w: a.w}
	a.lastLink++
	link := a.lastLink
	a.conn, a.link = c, link
	a.w.count["net: link"]++
	if m != a.w.leader {
		a.w.count["fault: agent reaches an old master"]++
	}
	began := a.w.now
	c.ends[0].recv = func(msg any) {
		frame := msg.(*stoapb.ToAgent)
		if a.w.now-began > time.Second {
			a.failures = 0
		}
		if !a.alive || a.conn != c {
			return
		}
		a.step(state.Frame{Link: link, Msg: frame})
		a.again(m, c, link, frame)
	}
	c.ends[0].gone = func() { a.linkGone(c) }
	m.acceptLink(c)
	if a.m.lag > a.w.now {
		c.lag = a.w.between(50*time.Millisecond, 3*time.Second)
	}
	a.step(state.LinkUp{Link: link})
}

func (a *agentProcess) linkGone(c *conn) {
	if a.conn != c {
		return
	}
	a.conn, a.registeredWith = nil, 0
	a.step(state.LinkDown{Link: a.link})
	if a.alive {
		a.redial()
	}
}

// again delivers RunTasks twice: the contract says that a master may send one again to
// an agent that has the task.
func (a *agentProcess) again(m *masterProcess, c *conn, link state.Link, frame *stoapb.ToAgent) {
	r := frame.GetRunTask()
	if r == nil || a.w.calm || !a.w.chance(0.02) {
		return
	}
	t := a.w.truth.tasks[r.GetTask().GetTaskId().GetValue()]
	a.w.at(a.w.between(0, 20*time.Second), func() {
		if t == nil || !a.alive || a.conn != c || m != a.w.leader || !a.m.has(t) {
			return
		}
		a.w.count["fault: RunTask again"]++
		a.step(state.Frame{Link: link, Msg: frame})
	})
}

// acceptExecutor is an executor's subscription.
func (a *agentProcess) acceptExecutor(c *conn) {
	var stream state.Stream
	c.ends[1].recv = func(msg any) {
		if !a.alive {
			return
		}
		a.lastStream++
		stream = a.lastStream
		a.streams[stream] = c
		a.lastToken++
		a.waiting[a.lastToken] = func(status int) {
			c.send(1, status)
			if status != 200 {
				delete(a.streams, stream)
				c.close(1)
			}
		}
		a.step(state.ExecutorSubscribe{Token: a.lastToken, Stream: stream, Call: msg.(executorCall).call})
	}
	c.ends[1].gone = func() {
		if a.alive && a.streams[stream] == c {
			delete(a.streams, stream)
			a.step(state.ExecutorGone{Stream: stream})
		}
	}
}

// executorAsks is any other call of an executor.
func (a *agentProcess) executorAsks(in executorCall, then func(status int)) {
	a.lastToken++
	a.waiting[a.lastToken] = then
	a.step(state.ExecutorCall{Token: a.lastToken, Call: in.call})
}

func (a *agentProcess) String() string { return fmt.Sprintf("%s.%d", a.m.name, a.life) }
