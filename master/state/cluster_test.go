package state

import (
	"fmt"
	"slices"
	"strings"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/internal/loop"
	"github.com/stoa-kernel/stoa/kernel/clock"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
	lifecycle "github.com/stoa-kernel/stoa/kernel/task"
	"google.golang.org/protobuf/proto"
)

// failer is what *testing.T and *rapid.T have in common.
type failer interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

// cluster is a master with everything around it played by the test: timers, the
// registry, agents that answer pings, schedulers. Time is virtual.
type cluster struct {
	t      failer
	cfg    Config
	m      *Master
	now    time.Duration
	timers loop.Timers[Timer]
	out    Effects
	epoch  uint64

	registry map[Table]map[string]proto.Message
	agents   map[string]*fakeAgent
	links    map[Link]*fakeAgent
	fws      map[string]*fakeFramework
	streams  map[Stream]*fakeFramework
	nextLink Link
	tokens   Token

	// log is what the effects say, in short; hidden kinds are left out.
	log    []string
	events bool
	sink   func(Effect) // sees every effect
	// check turns the invariants on after every step.
	check bool
}

type fakeAgent struct {
	name     string
	id       string
	link     Link
	mute     bool // answers no pings
	register *stoapb.Register
	ran      map[string]*stoapb.RunTask // by framework/task
	ops      map[string]*stoapb.ApplyOperation
}

type fakeFramework struct {
	name   string
	id     string
	stream Stream
	subs   int
	info   *mesos.FrameworkInfo
}

func newCluster(t failer, cfg Config) *cluster {
	c := &cluster{
		t: t, cfg: cfg, check: true, now: time.Hour,
		registry: map[Table]map[string]proto.Message{Agents: {}, Frameworks: {}, Quotas: {}, Weights: {}},
		agents:   map[string]*fakeAgent{}, links: map[Link]*fakeAgent{},
		fws: map[string]*fakeFramework{}, streams: map[Stream]*fakeFramework{},
	}
	c.cfg.Seed = 1
	return c
}

// start elects a master: the first, or the next one on the same registry.
func (c *cluster) start() {
	c.epoch++
	c.cfg.MasterID = "M"
	if c.epoch > 1 {
		c.cfg.MasterID = fmt.Sprintf("M%d", c.epoch)
	}
	c.m = New(c.cfg)
	c.timers = loop.Timers[Timer]{}
	for _, a := range c.agents {
		a.link = 0
	}
	for _, f := range c.fws {
		f.stream = ""
	}
	in := Recovered{Epoch: c.epoch, Master: &mesos.MasterInfo{
		Id: proto.String(c.cfg.MasterID), Ip: proto.Uint32(1), Port: proto.Uint32(5050),
		Capabilities: []*mesos.MasterInfo_Capability{{Type: mesos.MasterInfo_Capability_QUOTA_V2.Enum()}},
	}}
	for _, k := range sortedKeys(c.registry[Agents]) {
		in.Agents = append(in.Agents, c.registry[Agents][k].(*stoapb.AgentRecord))
	}
	for _, k := range sortedKeys(c.registry[Frameworks]) {
		in.Frameworks = append(in.Frameworks, c.registry[Frameworks][k].(*stoapb.FrameworkRecord))
	}
	for _, k := range sortedKeys(c.registry[Quotas]) {
		in.Quotas = append(in.Quotas, c.registry[Quotas][k].(*stoapb.QuotaRecord))
	}
	for _, k := range sortedKeys(c.registry[Weights]) {
		in.Weights = append(in.Weights, c.registry[Weights][k].(*stoapb.WeightRecord))
	}
	c.step(in)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (c *cluster) clock() clock.Now {
	return clock.Now{Mono: c.now, Wall: time.Unix(1_700_000_000, 0).UTC().Add(c.now)}
}

// step gives the master one input and does what it asks for.
func (c *cluster) step(in Input) {
	c.out.Reset()
	c.m.Step(c.clock(), in, &c.out)
	var pongs []Input
	for _, e := range c.out.List {
		if c.sink != nil {
			c.sink(e)
		}
		switch e := e.(type) {
		case SetTimer:
			c.timers.Set(e.Timer, e.At)
		case StopTimer:
			c.timers.Stop(e.Timer)
		case Persist:
			if e.Record == nil {
				delete(c.registry[e.Table], e.ID)
			} else {
				c.registry[e.Table][e.ID] = e.Record
			}
		case ToAgent:
			if pong := c.toAgent(e); pong != nil {
				pongs = append(pongs, *pong)
			}
		case ToFramework:
			if s := e.Event.GetSubscribed(); s != nil {
				if f := c.streams[e.Stream]; f != nil {
					f.id = s.FrameworkId.GetValue()
				}
			}
		case CloseStream:
			if f := c.streams[e.Stream]; f != nil && f.stream == e.Stream {
				f.stream = ""
			}
		case CloseLink:
			if a := c.links[e.Link]; a != nil && a.link == e.Link {
				a.link = 0
			}
		}
		if line := c.show(e); line != "" {
			c.log = append(c.log, line)
		}
	}
	if c.check {
		invariants(c.t, c.m)
	}
	for _, p := range pongs {
		c.step(p)
	}
}

func (c *cluster) toAgent(e ToAgent) *Frame {
	a := c.links[e.Link]
	if a == nil || a.link != e.Link {
		return nil
	}
	switch b := e.Msg.Body.(type) {
	case *stoapb.ToAgent_Registered:
		a.id = b.Registered.AgentId.GetValue()
	case *stoapb.ToAgent_RunTask:
		a.ran[b.RunTask.Framework.Id.GetValue()+"/"+b.RunTask.Task.TaskId.GetValue()] = b.RunTask
	case *stoapb.ToAgent_ApplyOperation:
		a.ops[operationName(b.ApplyOperation)] = b.ApplyOperation
	case *stoapb.ToAgent_Ping:
		if !a.mute {
			return &Frame{e.Link, &stoapb.ToMaster{Body: &stoapb.ToMaster_Pong{Pong: &stoapb.Pong{Seq: b.Ping.Seq}}}}
		}
	}
	return nil
}

// settleTimers fires what is due now, as the loop does between inputs.
func (c *cluster) settleTimers() {
	for range 100_000 {
		k, ok := c.timers.Due(c.now)
		if !ok {
			return
		}
		c.step(Fired{k})
	}
	c.t.Fatal("timers never settle")
}

// advance moves the clock, firing timers at their time.
func (c *cluster) advance(d time.Duration) {
	end := c.now + d
	for {
		at, ok := c.timers.Next()
		if !ok || at > end {
			break
		}
		c.now = max(c.now, at)
		c.settleTimers()
	}
	c.now = end
}

// short is an id without this test's prefixes.
func short(s string) string {
	if _, rest, ok := strings.Cut(s, "-"); ok && (strings.HasPrefix(rest, "O") || strings.HasPrefix(rest, "S")) && strings.HasPrefix(s, "M-") {
		return rest
	}
	return s
}

func (c *cluster) fwName(fid string) string {
	for _, name := range sortedKeys(c.fws) {
		if c.fws[name].id == fid {
			return name
		}
	}
	return fid
}

// show is an effect in short, "" for what is noise.
func (c *cluster) show(e Effect) string {
	switch e := e.(type) {
	case Persist:
		return "persist " + string(e.Table) + " " + short(e.ID) + showRecord(e.Record)
	case ToFramework:
		name := string(e.Stream)
		return name + " <- " + c.showEvent(e.Event)
	case CloseStream:
		return string(e.Stream) + " closed"
	case ToAgent:
		return c.showFrame(e)
	case CloseLink:
		if a := c.links[e.Link]; a != nil {
			return fmt.Sprintf("%s link %d closed", a.name, e.Link)
		}
		return fmt.Sprintf("link %d closed", e.Link)
	case Answer:
		line := fmt.Sprintf("answer %d", e.Status)
		if e.Message != "" {
			line += " " + e.Message
		}
		if x, ok := e.Body.(*Explanation); ok {
			for _, l := range x.Lines {
				line += "\n  | " + l
			}
			for _, k := range sortedKeys(x.Facts) {
				line += "\n  " + k + " = " + x.Facts[k]
			}
		}
		return line
	case Publish:
		if c.events {
			return "event " + c.showPublished(e.Event)
		}
	}
	return ""
}

func showRecord(r proto.Message) string {
	switch r := r.(type) {
	case nil:
		return " deleted"
	case *stoapb.AgentRecord:
		return " " + r.GetState().String()
	case *stoapb.FrameworkRecord:
		switch {
		case r.GetRemoved():
			return " removed"
		case r.FailoverLeft != nil:
			return " left " + time.Duration(r.GetFailoverLeft()).String()
		}
	case *stoapb.QuotaRecord:
		return fmt.Sprintf(" guarantees %v limits %v", parseQuota(r.Config.Guarantees), parseQuota(r.Config.Limits))
	case *stoapb.WeightRecord:
		return fmt.Sprint(" ", r.Info.GetWeight())
	}
	return ""
}

func (c *cluster) showEvent(e *schedulerpb.Event) string {
	switch e.GetType() {
	case schedulerpb.Event_SUBSCRIBED:
		return "SUBSCRIBED " + e.Subscribed.FrameworkId.GetValue()
	case schedulerpb.Event_OFFERS:
		var parts []string
		for _, o := range e.Offers.Offers {
			r, err := resource.Of(o.Resources...)
			if err != nil {
				c.t.Fatal(err)
			}
			part := short(o.Id.GetValue()) + "@" + short(o.AgentId.GetValue()) + " [" + r.String() + "]"
			for _, x := range o.ExecutorIds {
				part += " exec=" + x.GetValue()
			}
			if r := o.AllocationInfo; r != nil {
				part += " role=" + r.GetRole()
			}
			parts = append(parts, part)
		}
		return "OFFERS " + strings.Join(parts, ", ")
	case schedulerpb.Event_RESCIND:
		return "RESCIND " + short(e.Rescind.OfferId.GetValue())
	case schedulerpb.Event_UPDATE:
		return "UPDATE " + showStatus(e.Update.Status)
	case schedulerpb.Event_UPDATE_OPERATION_STATUS:
		s := e.UpdateOperationStatus.Status
		line := "OPERATION " + s.OperationId.GetValue() + " " + s.State.String()
		if s.Uuid != nil {
			line += " uuid=" + uuidName(s.Uuid.Value)
		}
		if s.GetMessage() != "" {
			line += fmt.Sprintf(" %q", s.GetMessage())
		}
		return line
	case schedulerpb.Event_FAILURE:
		line := "FAILURE " + short(e.Failure.AgentId.GetValue())
		if e.Failure.ExecutorId != nil {
			line += fmt.Sprintf(" executor=%s status=%d", e.Failure.ExecutorId.GetValue(), e.Failure.GetStatus())
		}
		return line
	case schedulerpb.Event_ERROR:
		return fmt.Sprintf("ERROR %q", e.Error.GetMessage())
	case schedulerpb.Event_MESSAGE:
		return fmt.Sprintf("MESSAGE from %s on %s: %q", e.Message.ExecutorId.GetValue(), short(e.Message.AgentId.GetValue()), e.Message.Data)
	}
	return e.GetType().String()
}

func showStatus(s *mesos.TaskStatus) string {
	line := s.TaskId.GetValue() + " " + s.State.String()
	if s.AgentId != nil {
		line += "@" + short(s.AgentId.GetValue())
	}
	if s.GetSource() == mesos.TaskStatus_SOURCE_MASTER && s.Source != nil {
		line += " by master"
	}
	if s.Reason != nil {
		line += " " + strings.TrimPrefix(s.Reason.String(), "REASON_")
	}
	if s.Uuid != nil {
		line += " uuid=" + uuidName(s.Uuid)
	}
	if s.UnreachableTime != nil {
		line += " unreachable_time"
	}
	if s.GetMessage() != "" {
		line += fmt.Sprintf(" %q", s.GetMessage())
	}
	return line
}

func (c *cluster) showFrame(e ToAgent) string {
	name := fmt.Sprintf("link %d", e.Link)
	if a := c.links[e.Link]; a != nil {
		name = a.name
	}
	name += " <- "
	switch b := e.Msg.Body.(type) {
	case *stoapb.ToAgent_Registered:
		return name + "Registered " + short(b.Registered.AgentId.GetValue())
	case *stoapb.ToAgent_Refused:
		return name + fmt.Sprintf("Refused shutdown=%t %q", b.Refused.GetShutdown(), b.Refused.GetMessage())
	case *stoapb.ToAgent_RunTask:
		r, _ := resource.Of(b.RunTask.Task.Resources...)
		line := name + "RunTask " + c.fwName(b.RunTask.Framework.Id.GetValue()) + "/" + b.RunTask.Task.TaskId.GetValue() + " [" + r.String() + "]"
		if x := b.RunTask.Task.Executor; x != nil {
			line += " executor=" + x.ExecutorId.GetValue()
		}
		return line
	case *stoapb.ToAgent_KillTask:
		line := name + "KillTask " + c.fwName(b.KillTask.FrameworkId.GetValue()) + "/" + b.KillTask.TaskId.GetValue()
		if p := b.KillTask.KillPolicy; p != nil {
			line += " grace=" + time.Duration(p.GracePeriod.GetNanoseconds()).String()
		}
		return line
	case *stoapb.ToAgent_Acknowledge:
		return name + "Acknowledge " + c.fwName(b.Acknowledge.FrameworkId.GetValue()) + "/" + b.Acknowledge.TaskId.GetValue() + " " + uuidName(b.Acknowledge.Uuid)
	case *stoapb.ToAgent_ShutdownFramework:
		return name + "ShutdownFramework " + c.fwName(b.ShutdownFramework.FrameworkId.GetValue())
	case *stoapb.ToAgent_ShutdownExecutor:
		return name + "ShutdownExecutor " + c.fwName(b.ShutdownExecutor.FrameworkId.GetValue()) + "/" + b.ShutdownExecutor.ExecutorId.GetValue()
	case *stoapb.ToAgent_FrameworkMessage:
		return name + fmt.Sprintf("FrameworkMessage %s/%s %q", c.fwName(b.FrameworkMessage.FrameworkId.GetValue()), b.FrameworkMessage.ExecutorId.GetValue(), b.FrameworkMessage.Data)
	case *stoapb.ToAgent_UpdateFramework:
		return name + "UpdateFramework " + c.fwName(b.UpdateFramework.Framework.Id.GetValue())
	case *stoapb.ToAgent_ApplyOperation:
		return name + "ApplyOperation " + b.ApplyOperation.Operation.Type.String() + " " + operationName(b.ApplyOperation)
	case *stoapb.ToAgent_AcknowledgeOperation:
		return name + "AcknowledgeOperation " + uuidName(b.AcknowledgeOperation.StatusUuid)
	case *stoapb.ToAgent_Ping:
		return ""
	}
	return name + "?"
}

func (c *cluster) showPublished(e Event) string {
	switch e := e.(type) {
	case TaskAdded:
		return "TaskAdded " + string(e.Task.Info.TaskId.GetValue()) + " " + e.Task.State.String()
	case TaskUpdated:
		line := "TaskUpdated " + e.Task.Info.TaskId.GetValue() + " " + e.Task.State.String()
		if e.Task.Completed {
			line += " completed"
		}
		if e.Task.Unreachable {
			line += " unreachable"
		}
		return line
	case TaskRemoved:
		return "TaskRemoved " + string(e.Task)
	case AgentAdded:
		return fmt.Sprintf("AgentAdded %s connected=%t recovered=%t", short(string(e.Agent.ID)), e.Agent.Connected, e.Agent.Recovered)
	case AgentUpdated:
		return fmt.Sprintf("AgentUpdated %s connected=%t allocated [%v] offered [%v]", short(string(e.Agent.ID)), e.Agent.Connected, e.Agent.Allocated, e.Agent.Offered)
	case AgentRemoved:
		return "AgentRemoved " + short(string(e.Agent)) + " " + e.Reason
	case FrameworkAdded:
		return fmt.Sprintf("FrameworkAdded %s connected=%t recovered=%t", e.Framework.Info.Id.GetValue(), e.Framework.Connected, e.Framework.Recovered)
	case FrameworkUpdated:
		return fmt.Sprintf("FrameworkUpdated %s connected=%t suppressed=%v allocated [%v] offered [%v]", e.Framework.Info.Id.GetValue(), e.Framework.Connected, e.Framework.Suppressed, e.Framework.Allocated, e.Framework.Offered)
	case FrameworkRemoved:
		return "FrameworkRemoved " + e.Framework.Info.Id.GetValue()
	case FrameworkForgotten:
		return "FrameworkForgotten " + string(e.Framework)
	case OfferAdded:
		return "OfferAdded " + short(string(e.Offer.ID))
	case OfferRemoved:
		return "OfferRemoved " + short(string(e.Offer)) + " " + e.How
	case RolesChanged:
		var parts []string
		for _, r := range e.Roles {
			parts = append(parts, fmt.Sprintf("%s weight=%v frameworks=%v", r.Name, r.Weight, r.Frameworks))
		}
		return "RolesChanged " + strings.Join(parts, ", ")
	}
	return fmt.Sprintf("%T", e)
}

// operationName is the framework's id of an operation, "-" if the master made it up.
func operationName(o *stoapb.ApplyOperation) string {
	if name := o.Operation.Id.GetValue(); !strings.HasPrefix(name, "/") {
		return name
	}
	return "-"
}

// uuid makes 16 bytes of a name, uuidName reads them.
func uuid(name string) []byte {
	b := make([]byte, 16)
	copy(b, name)
	return b
}

func uuidName(b []byte) string { return strings.TrimRight(string(b), "\x00") }

// invariants are what must hold after every Step.
func invariants(t failer, m *Master) {
	t.Helper()
	if !m.ready {
		return
	}
	scalars := map[id.Framework]resource.Resources{}
	offered := map[id.Framework]resource.Resources{}
	for _, a := range m.sortedAgents() {
		var used, out resource.Resources
		for _, task := range a.sortedTasks() {
			if task.agent != a || task.fw.tasks[task.id] != task {
				t.Fatalf("task %s of agent %s is not its framework's", task.id, a.id)
			}
			if lifecycle.Terminal(task.state) != task.released {
				t.Fatalf("task %s is %v, released %t", task.id, task.state, task.released)
			}
			if !task.released {
				used = used.Add(task.resources)
				scalars[task.fw.id] = scalars[task.fw.id].Add(task.resources.Scalars())
			}
		}
		for _, e := range a.sortedExecutors() {
			used = used.Add(e.resources)
			scalars[e.fw.id] = scalars[e.fw.id].Add(e.resources.Scalars())
		}
		for _, o := range a.offers {
			if o.agent != a || o.ended || m.offers[o.id] != o || o.fw.offers[o.id] != o {
				t.Fatalf("offer %s of agent %s is on no list", o.id, a.id)
			}
			out = out.Add(o.resources)
			offered[o.fw.id] = offered[o.fw.id].Add(o.resources.Scalars())
		}
		if !used.Equal(a.allocated) {
			t.Fatalf("agent %s: tasks and executors use [%v], allocated is [%v]", a.id, used, a.allocated)
		}
		if !out.Equal(a.offered) {
			t.Fatalf("agent %s: offers have [%v], offered is [%v]", a.id, out, a.offered)
		}
		if over := used.NonShared().Unallocate().Add(out.NonShared().Unallocate()); !a.recovered && !a.total.Contains(over) {
			t.Fatalf("agent %s: allocated [%v] and offered [%v] are more than its total [%v]", a.id, used, out, a.total)
		}
	}
	n := 0
	check := func(f *framework) {
		if !f.allocated.Equal(scalars[f.id]) || !f.offered.Equal(offered[f.id]) {
			t.Fatalf("framework %s: allocated [%v], want [%v]; offered [%v], want [%v]", f.id, f.allocated, scalars[f.id], f.offered, offered[f.id])
		}
		for _, task := range f.tasks {
			if task.agent == nil || task.agent.tasks[task.key()] != task {
				t.Fatalf("task %s of framework %s is not its agent's", task.id, f.id)
			}
		}
		n += len(f.offers)
		if !f.connected() && len(f.offers) > 0 {
			t.Fatalf("framework %s is away and has offers", f.id)
		}
	}
	for _, f := range m.frameworks {
		check(f)
	}
	for _, f := range m.dying {
		check(f)
	}
	if n != len(m.offers) {
		t.Fatalf("%d offers, frameworks have %d", len(m.offers), n)
	}
}
