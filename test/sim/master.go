package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/internal/loop"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/master/state"
	"google.golang.org/protobuf/proto"
)

// registry is the store masters share: what is committed is durable, and only the
// newest epoch commits.
type registry struct {
	epoch  uint64
	values map[string][]byte
}

func (r *registry) apply(p state.Persist) {
	key := string(p.Table) + "/" + p.ID
	if p.Record == nil {
		delete(r.values, key)
		return
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(p.Record)
	if err != nil {
		panic(err)
	}
	r.values[key] = b
}

func (r *registry) contents() state.Recovered {
	keys := make([]string, 0, len(r.values))
	for k := range r.values {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var in state.Recovered
	read := func(key string, m proto.Message) {
		if err := proto.Unmarshal(r.values[key], m); err != nil {
			panic(err)
		}
	}
	for _, k := range keys {
		table, _, _ := strings.Cut(k, "/")
		switch state.Table(table) {
		case state.Agents:
			m := new(stoapb.AgentRecord)
			read(k, m)
			in.Agents = append(in.Agents, m)
		case state.Frameworks:
			m := new(stoapb.FrameworkRecord)
			read(k, m)
			in.Frameworks = append(in.Frameworks, m)
		case state.Quotas:
			m := new(stoapb.QuotaRecord)
			read(k, m)
			in.Quotas = append(in.Quotas, m)
		case state.Weights:
			m := new(stoapb.WeightRecord)
			read(k, m)
			in.Weights = append(in.Weights, m)
		}
	}
	return in
}

// masterProcess drives the master's core as master/loop.go does.
type masterProcess struct {
	w     *world
	name  string
	epoch uint64
	began time.Duration
	skew  time.Duration
	alive bool
	// fenced: cut off from the registry, its commits never return; another may lead.
	fenced bool

	core    *state.Master
	timers  loop.Timers[state.Timer]
	hold    loop.Hold[state.Effect]
	effects state.Effects
	alarm   time.Duration // 0: none

	issued     loop.Position
	queue      []state.Persist
	committing []state.Persist
	slow       time.Duration // commits are slow until then
	ready      bool          // Recovered and what follows is out

	links     map[state.Link]*conn
	streams   map[state.Stream]*conn
	order     []*conn // every connection, in the order they came
	silence   map[*conn]time.Duration
	waiting   map[state.Token]func(status int, message string, body any)
	lastLink  state.Link
	lastToken state.Token
	streamSeq int

	view   *view
	subs   map[string]*subscription // by framework id
	failed map[id.Agent]bool        // an operation failed there
	doomed *doom
}

// doom is a crash that waits for the n-th event of a kind.
type doom struct {
	kind string
	n    int
}

// due counts an event down.
func (d *doom) due(kind string) bool {
	if d == nil || d.kind != kind {
		return false
	}
	d.n--
	return d.n <= 0
}

// elect starts a master after a while. Those before it are fenced.
func (w *world) elect(after time.Duration) {
	w.at(after, func() {
		w.registry.epoch++
		w.elected++
		for _, m := range w.masters {
			m.fenced = true
		}
		m := &masterProcess{
			w: w, name: fmt.Sprintf("M%d", w.elected), epoch: w.registry.epoch, began: w.now, alive: true,
			links: map[state.Link]*conn{}, streams: map[state.Stream]*conn{}, silence: map[*conn]time.Duration{},
			waiting: map[state.Token]func(int, string, any){}, subs: map[string]*subscription{}, failed: map[id.Agent]bool{},
		}
		m.view = newView(m)
		m.core = state.New(state.Config{
			MasterID: fmt.Sprintf("%08x-m%d", w.seed, w.elected), Seed: w.seed<<8 + uint64(w.elected), Version: "sim",
			AgentReregisterTimeout: w.timing.reregister, OfferTimeout: w.timing.offer, AgentRemovalInterval: w.timing.removal,
			RegistryGCInterval: w.timing.gc, RegistryMaxAgentAge: w.timing.maxAge,
			MaxCompletedTasks: 200, MaxCompletedFrameworks: 20,
		})
		w.masters = append(w.masters, m)
		w.leader = m
		in := w.registry.contents()
		in.Epoch = m.epoch
		in.Master = &mesos.MasterInfo{Id: proto.String(m.name), Ip: proto.Uint32(1), Port: proto.Uint32(5050), Hostname: proto.String("m")}
		w.say("%s is elected, epoch %d", m.name, m.epoch)
		m.step(in)
	})
}

// step gives the core one input and does what follows, as runner.turn.
func (m *masterProcess) step(in state.Input) {
	if !m.alive {
		return
	}
	w := m.w
	m.noteInput(in)
	m.effects.Reset()
	before := m.view.before(in)
	m.core.Step(w.clockAt(m.began, m.skew), in, &m.effects)
	for _, e := range m.effects.List {
		m.noteEffect(e)
		switch e := e.(type) {
		case state.Persist:
			m.issued = m.hold.Persist()
			// The record is encoded when it is committed; the core promises not to change it.
			m.queue = append(m.queue, e)
		case state.SetTimer:
			m.timers.Set(e.Timer, e.At)
		case state.StopTimer:
			m.timers.Stop(e.Timer)
		case state.Publish:
			m.view.apply(e.Event)
			m.hold.Add(e)
		default:
			m.hold.Add(e)
		}
	}
	m.observe(in)
	m.view.check(in, before)
	m.commit()
	m.release()
	m.arm()
}

// arm sees to the next timer.
func (m *masterProcess) arm() {
	at, ok := m.timers.Next()
	if !m.alive || !ok || m.alarm != 0 && m.alarm <= m.began+at {
		return
	}
	due := max(m.began+at, m.w.now)
	m.alarm = max(due, 1)
	mine := m.alarm
	m.w.at(due-m.w.now, func() {
		if !m.alive || m.alarm != mine {
			return
		}
		m.alarm = 0
		for range 256 {
			key, ok := m.timers.Due(m.w.now - m.began)
			if !ok || !m.alive {
				break
			}
			m.step(state.Fired{Timer: key})
		}
		m.arm()
	})
}

// commit writes what is queued, one batch at a time.
func (m *masterProcess) commit() {
	if len(m.committing) > 0 || len(m.queue) == 0 || !m.alive {
		return
	}
	if m.doomed.due("before commit") {
		m.die("before a commit")
		return
	}
	m.committing, m.queue = m.queue, nil
	last := m.issued
	took := m.w.between(200*time.Microsecond, 15*time.Millisecond)
	if m.w.now < m.slow {
		took = m.w.between(100*time.Millisecond, 4*time.Second)
		m.w.count["fault: slow commit"]++
	}
	m.w.at(took, func() {
		if !m.alive {
			return
		}
		if m.fenced {
			if m.w.registry.epoch != m.epoch && m.w.chance(0.5) {
				m.w.count["registry: commit fenced"]++
				m.die("fenced")
			}
			return // the store cannot be reached: nothing comes back
		}
		m.write()
		if m.doomed.due("after commit") {
			m.die("after a commit")
			return
		}
		m.hold.Durable(last)
		m.release()
		m.commit()
		m.arm()
	})
}

func (m *masterProcess) write() {
	for _, p := range m.committing {
		m.w.registry.apply(p)
	}
	m.w.count["registry: commit"]++
	m.committing = nil
}

// release does the effects whose turn has come.
func (m *masterProcess) release() {
	for m.alive {
		e, ok := m.hold.Next()
		if !ok {
			break
		}
		if _, ok := e.(state.Publish); !ok && m.doomed.due("send") {
			m.die("before a send")
			return
		}
		switch e := e.(type) {
		case state.Publish:
			if r, ok := e.Event.(state.FrameworkRemoved); ok {
				// Before, a crash undoes it.
				m.w.truth.removed[r.Framework.Info.GetId().GetValue()] = true
			}
		case state.ToFramework:
			if c := m.streams[e.Stream]; c != nil {
				m.sending(e)
				c.send(1, e.Event)
			}
		case state.CloseStream:
			if c := m.streams[e.Stream]; c != nil {
				delete(m.streams, e.Stream)
				c.close(1)
			}
		case state.ToAgent:
			if c := m.links[e.Link]; c != nil {
				c.send(1, e.Msg)
			}
		case state.CloseLink:
			if c := m.links[e.Link]; c != nil {
				delete(m.links, e.Link)
				c.close(1)
			}
		case state.Answer:
			if f := m.waiting[e.Token]; f != nil {
				delete(m.waiting, e.Token)
				f(e.Status, e.Message, e.Body)
			} else {
				m.w.fail("every request is answered once", "%s answers token %d, which nobody waits for", m.name, e.Token)
			}
		}
	}
	if !m.ready && m.hold.Len() == 0 {
		m.ready = true
	}
}

// die is kill -9: what is not durable is lost, connections break.
func (m *masterProcess) die(why string) {
	if !m.alive {
		return
	}
	w := m.w
	w.say("%s dies %s", m.name, why)
	w.count["fault: master dies "+why]++
	m.alive = false
	w.masters = slices.DeleteFunc(w.masters, func(x *masterProcess) bool { return x == m })
	if len(m.committing) > 0 && !m.fenced && w.chance(0.5) {
		m.write() // it had reached the store
	}
	for _, c := range m.order {
		if w.chance(0.2) {
			c.sever(20 * time.Second)
			c.ends[1].closed = true
		} else {
			c.close(1)
		}
	}
	if w.leader == m {
		w.leader = nil
		gap := w.between(200*time.Millisecond, 3*time.Second)
		if w.chance(0.2) && !w.calm {
			gap = w.between(3*time.Second, 90*time.Second)
		}
		w.elect(gap)
	}
}

// retire makes a leader an old one: the store and most of the network are gone for it,
// another is elected, and it does not know for a while.
func (m *masterProcess) retire() {
	w := m.w
	m.fenced = true
	w.say("%s is cut off from the store", m.name)
	w.leader = nil
	for _, s := range sortedStreams(m.streams) {
		// Its lease ends before another's begins, and it closes what frameworks hear.
		c := m.streams[s]
		delete(m.streams, s)
		c.close(1)
	}
	w.elect(w.between(100*time.Millisecond, 5*time.Second))
	for _, c := range m.order {
		w.at(w.between(0, 30*time.Second), func() {
			if m.alive {
				c.sever(10 * time.Second)
			}
		})
	}
	for range 6 {
		// Some who have found the new one lose it, and may find the old one.
		a := pick(w, w.machines)
		w.at(w.between(5*time.Second, 25*time.Second), func() {
			if p := a.proc; m.alive && p != nil && p.conn != nil && p.registeredWith > m.epoch {
				p.conn.sever(time.Second)
			}
		})
	}
	w.at(w.between(20*time.Second, 60*time.Second), func() { m.die("after a life too long") })
}

func sortedStreams(streams map[state.Stream]*conn) []state.Stream {
	list := make([]state.Stream, 0, len(streams))
	for s := range streams {
		list = append(list, s)
	}
	slices.Sort(list)
	return list
}

// acceptLink is an agent's connection. The first frame is a Hello.
func (m *masterProcess) acceptLink(c *conn) {
	m.order = append(m.order, c)
	link := state.Link(0)
	heard := m.w.now
	c.ends[1].recv = func(msg any) {
		if !m.alive {
			return
		}
		heard = m.w.now
		frame := msg.(*stoapb.ToMaster)
		if link == 0 {
			m.lastLink++
			link = m.lastLink
			m.links[link] = c
			m.step(state.Hello{Link: link, Register: frame.GetRegister()})
			return
		}
		m.step(state.Frame{Link: link, Msg: frame})
	}
	c.ends[1].gone = func() {
		if link != 0 && m.links[link] == c {
			delete(m.links, link)
			m.step(state.LinkClosed{Link: link})
		}
	}
	var watch func()
	watch = func() {
		if !m.alive || c.ends[1].closed {
			return
		}
		if m.w.now-heard >= 90*time.Second {
			m.w.count["net: link silent"]++
			c.close(1)
			c.ends[1].gone()
			return
		}
		m.w.at(90*time.Second-(m.w.now-heard), watch)
	}
	watch()
}

// acceptStream is a framework's SUBSCRIBE and what is sent on it.
func (m *masterProcess) acceptStream(c *conn) {
	m.order = append(m.order, c)
	var stream state.Stream
	c.ends[1].recv = func(msg any) {
		if !m.alive || stream != "" {
			return
		}
		m.streamSeq++
		stream = state.Stream(fmt.Sprintf("%s-stream-%04d", m.name, m.streamSeq))
		m.streams[stream] = c
		c.send(1, stream)
		m.step(state.Subscribe{Stream: stream, Call: msg.(*schedulerpb.Call)})
	}
	c.ends[1].gone = func() {
		if m.alive && stream != "" && m.streams[stream] == c {
			delete(m.streams, stream)
			m.step(state.StreamClosed{Stream: stream})
		}
	}
}

// request is a call on a framework's second connection; reply is its answer.
type request struct {
	stream state.Stream
	call   *schedulerpb.Call
	seq    int
}

type reply struct {
	seq     int
	status  int
	message string
}

// acceptCalls is the connection of a framework's calls.
func (m *masterProcess) acceptCalls(c *conn) {
	m.order = append(m.order, c)
	c.ends[1].recv = func(msg any) {
		r := msg.(request)
		m.ask(func(t state.Token) state.Input { return state.Call{Token: t, Stream: r.stream, Call: r.call} },
			func(status int, message string, _ any) { c.send(1, reply{r.seq, status, message}) })
	}
	c.ends[1].gone = func() {}
}

// ask gives the core a request and then tells its one answer.
func (m *masterProcess) ask(in func(state.Token) state.Input, then func(int, string, any)) {
	if !m.alive {
		return
	}
	m.lastToken++
	t := m.lastToken
	m.waiting[t] = then
	m.step(in(t))
}
