package state

import (
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	masterpb "github.com/stoa-kernel/stoa/api/mesos/v1/master"
	quotapb "github.com/stoa-kernel/stoa/api/mesos/v1/quota"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"google.golang.org/protobuf/proto"
)

var rewrite = flag.Bool("rewrite", false, "write the output of the scenarios into testdata")

// TestScenarios plays the files of testdata: blocks of commands, "----", and what the
// master did, in short. Run with -rewrite after a change, and read the diff.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(text))
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(text) {
				t.Errorf("%s differs; got:\n%s", file, diff(string(text), got))
			}
		})
	}
}

func diff(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		if i >= len(w) || i >= len(g) || w[i] != g[i] {
			lo := max(i-3, 0)
			return fmt.Sprintf("line %d\nwant:\n%s\ngot:\n%s", i+1,
				strings.Join(w[min(lo, len(w)):min(i+6, len(w))], "\n"), strings.Join(g[min(lo, len(g)):min(i+6, len(g))], "\n"))
		}
	}
	return ""
}

func play(t *testing.T, text string) string {
	c := newCluster(t, Config{})
	var b strings.Builder
	for block := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		commands, _, _ := strings.Cut(block, "\n----")
		b.WriteString(commands + "\n")
		runs := false
		for line := range strings.SplitSeq(commands, "\n") {
			if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			runs = true
			c.do(line)
		}
		if runs {
			b.WriteString("----\n")
		}
		for _, l := range c.log {
			b.WriteString(l + "\n")
		}
		c.log = nil
		b.WriteString("\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// args are a command's words: positional ones, and key=value.
type args struct {
	c     *cluster
	line  string
	words []string
	opts  map[string]string
}

func (c *cluster) parse(line string) *args {
	a := &args{c: c, line: line, opts: map[string]string{}}
	for _, w := range strings.Fields(line) {
		if k, v, ok := strings.Cut(w, "="); ok && !strings.ContainsAny(k, "():[") {
			a.opts[k] = v
		} else {
			a.words = append(a.words, w)
		}
	}
	return a
}

func (a *args) next() string {
	if len(a.words) == 0 {
		a.c.t.Fatalf("%q: a word is missing", a.line)
	}
	w := a.words[0]
	a.words = a.words[1:]
	return w
}

func (a *args) has(k string) bool { _, ok := a.opts[k]; return ok }

func (a *args) float(k string) *float64 {
	if !a.has(k) {
		return nil
	}
	v, err := strconv.ParseFloat(a.opts[k], 64)
	if err != nil {
		a.c.t.Fatalf("%q: %v", a.line, err)
	}
	return &v
}

func (a *args) duration(k string) time.Duration {
	d, err := time.ParseDuration(a.opts[k])
	if err != nil {
		a.c.t.Fatalf("%q: %v", a.line, err)
	}
	return d
}

func list(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

func (c *cluster) bag(s string) resource.Resources {
	r, err := resource.Parse(s, "*")
	if err != nil {
		c.t.Fatalf("resources %q: %v", s, err)
	}
	return r
}

func (c *cluster) fw(name string) *fakeFramework {
	f := c.fws[name]
	if f == nil {
		f = &fakeFramework{name: name}
		c.fws[name] = f
	}
	return f
}

func (c *cluster) agent(name string) *fakeAgent {
	if a := c.agents[name]; a != nil {
		return a
	}
	c.t.Fatalf("no agent %q", name)
	return nil
}

// agentID is the id of a fake agent's name, or the word itself.
func (c *cluster) agentID(name string) *mesos.AgentID {
	if a := c.agents[name]; a != nil {
		return &mesos.AgentID{Value: proto.String(a.id)}
	}
	return &mesos.AgentID{Value: proto.String(name)}
}

func (c *cluster) do(line string) {
	a := c.parse(line)
	verb := a.next()
	if c.m == nil && verb != "config" && verb != "show" && verb != "record" {
		c.start()
		c.log = nil
	}
	switch verb {
	case "config":
		c.configure(a)
	case "show":
		c.events = a.next() == "events"
	case "record":
		c.record(a)
	case "restart":
		c.start()
	case "forget":
		delete(c.registry[Frameworks], c.fw(a.next()).id)
	case "agent":
		c.doAgent(a)
	case "rejoin":
		c.doRejoin(a)
	case "unlink":
		ag := c.agent(a.next())
		l := ag.link
		if a.has("link") {
			l = Link(*a.float("link"))
		}
		ag.link = 0
		c.step(LinkClosed{l})
	case "mute":
		c.agent(a.next()).mute = true
	case "subscribe":
		c.doSubscribe(a)
	case "drop":
		f := c.fw(a.next())
		s := f.stream
		f.stream = ""
		c.step(StreamClosed{s})
	case "advance":
		d, err := time.ParseDuration(a.next())
		if err != nil {
			c.t.Fatal(err)
		}
		c.advance(d)
	case "frame":
		c.doFrame(a)
	case "quota", "weights", "operator-teardown":
		c.doOperate(verb, a)
	case "operator-kill":
		k := Kill{Token: 1, Framework: id.Framework(c.fw(a.next()).id), Task: id.Task(a.next())}
		if a.has("grace") {
			k.Policy = &mesos.KillPolicy{GracePeriod: &mesos.DurationInfo{Nanoseconds: proto.Int64(int64(a.duration("grace")))}}
		}
		c.step(k)
	case "why":
		c.doWhy(a)
	default:
		c.doCall(verb, a)
	}
	c.settleTimers()
}

func (c *cluster) configure(a *args) {
	for k, v := range a.opts {
		n, _ := strconv.Atoi(v)
		switch k {
		case "removal-interval":
			c.cfg.AgentRemovalInterval = a.duration(k)
		case "completed-frameworks":
			c.cfg.MaxCompletedFrameworks = n
		case "completed-tasks":
			c.cfg.MaxCompletedTasks = n
		case "unreachable-tasks":
			c.cfg.MaxUnreachableTasks = n
		case "roles":
			c.cfg.Roles = list(v)
		case "max-agents":
			c.cfg.RegistryMaxAgentCount = n
		default:
			c.t.Fatalf("unknown config %q", k)
		}
	}
}

// record puts something into the registry before the master starts.
func (c *cluster) record(a *args) {
	aid := a.next()
	s := stoapb.AgentRecord_State(stoapb.AgentRecord_State_value[a.next()])
	c.registry[Agents][aid] = &stoapb.AgentRecord{State: &s, Since: proto.Int64(5), Info: &mesos.AgentInfo{
		Id: &mesos.AgentID{Value: &aid}, Hostname: proto.String("host-" + aid), Port: proto.Int32(5051),
	}}
	c.agents[aid] = &fakeAgent{name: aid, id: aid}
}

func (c *cluster) doAgent(a *args) {
	name := a.next()
	r := c.bag(a.next())
	host, ip, boot := "h-"+name, "10.0.0."+strconv.Itoa(len(c.agents)+1), "boot1"
	if a.has("ip") {
		ip = a.opts["ip"]
	}
	if a.has("host") {
		host = a.opts["host"]
	}
	info := &mesos.AgentInfo{Hostname: &host, Port: proto.Int32(5051), Resources: r.Proto()}
	if a.has("id") {
		info.Id = &mesos.AgentID{Value: proto.String(a.opts["id"])}
	}
	protocol := uint32(LinkProtocol)
	if a.has("protocol") {
		protocol = uint32(*a.float("protocol"))
	}
	reg := &stoapb.Register{Protocol: &protocol, StoaVersion: proto.String("test"), Info: info, Ip: &ip, BootId: &boot, Resources: r.Proto()}
	if a.has("epoch") {
		reg.Epoch = proto.Uint64(uint64(*a.float("epoch")))
	}
	ag := &fakeAgent{name: name, register: reg, ran: map[string]*stoapb.RunTask{}, ops: map[string]*stoapb.ApplyOperation{}}
	c.agents[name] = ag
	c.hello(ag, reg)
}

func (c *cluster) hello(ag *fakeAgent, reg *stoapb.Register) {
	c.nextLink++
	ag.link = c.nextLink
	c.links[ag.link] = ag
	c.step(Hello{ag.link, reg})
}

// doRejoin registers again: "rejoin a1 f1/t1=TASK_RUNNING:u1 f1/e1 boot=b2"; an update in
// flight that is not the latest state's is "TASK_FINISHED:u1:TASK_RUNNING".
func (c *cluster) doRejoin(a *args) {
	ag := c.agent(a.next())
	ag.mute = a.has("mute")
	reg := proto.CloneOf(ag.register)
	reg.Info.Id = &mesos.AgentID{Value: &ag.id}
	if a.has("boot") {
		reg.BootId = proto.String(a.opts["boot"])
	}
	if a.has("ip") {
		reg.Ip = proto.String(a.opts["ip"])
	}
	if a.has("total") {
		reg.Resources = c.bag(a.opts["total"]).Proto()
	}
	fws := map[string]bool{}
	addFW := func(name string) {
		if f := c.fw(name); !fws[name] {
			fws[name] = true
			info := f.info
			if info.GetId().GetValue() == "" {
				info = proto.CloneOf(info)
				info.Id = &mesos.FrameworkID{Value: &f.id}
			}
			reg.Frameworks = append(reg.Frameworks, info)
		}
	}
	for _, k := range sortedKeys(a.opts) {
		if fname, tid, ok := strings.Cut(k, "/"); ok {
			addFW(fname)
			reg.Tasks = append(reg.Tasks, c.reportTask(ag, fname, tid, a.opts[k]))
		}
	}
	for _, w := range a.words {
		fname, eid, _ := strings.Cut(w, "/")
		addFW(fname)
		for _, k := range sortedKeys(ag.ran) {
			if x := ag.ran[k].Task.Executor; x.GetExecutorId().GetValue() == eid {
				reg.Executors = append(reg.Executors, x)
				break
			}
		}
	}
	c.hello(ag, reg)
}

func (c *cluster) reportTask(ag *fakeAgent, fname, tid, how string) *stoapb.TaskReport {
	f := c.fw(fname)
	state, u, _ := strings.Cut(how, ":")
	run := ag.ran[f.id+"/"+tid]
	if run == nil {
		c.t.Fatalf("agent %s was never sent %s/%s", ag.name, fname, tid)
	}
	s := taskState(c, state)
	p := &mesos.Task{
		Name: run.Task.Name, TaskId: run.Task.TaskId, FrameworkId: &mesos.FrameworkID{Value: &f.id},
		AgentId: run.Task.AgentId, State: &s, Resources: run.Task.Resources,
	}
	if u != "" {
		u, told, differs := strings.Cut(u, ":")
		p.StatusUpdateState, p.StatusUpdateUuid = &s, uuid(u)
		if differs {
			state := taskState(c, told)
			p.StatusUpdateState = &state
		}
	}
	return &stoapb.TaskReport{Task: p, Info: run.Task}
}

func taskState(c *cluster, name string) mesos.TaskState {
	s, ok := mesos.TaskState_value[name]
	if !ok {
		c.t.Fatalf("no task state %q", name)
	}
	return mesos.TaskState(s)
}

func (c *cluster) info(a *args, f *fakeFramework) *mesos.FrameworkInfo {
	user := "root"
	if a.has("user") {
		user = a.opts["user"]
	}
	info := &mesos.FrameworkInfo{User: &user, Name: proto.String(f.name), FailoverTimeout: a.float("failover")}
	for _, n := range list(a.opts["caps"]) {
		v, ok := map[string]mesos.FrameworkInfo_Capability_Type{
			"PA": mesos.FrameworkInfo_Capability_PARTITION_AWARE, "MR": mesos.FrameworkInfo_Capability_MULTI_ROLE,
			"RR": mesos.FrameworkInfo_Capability_RESERVATION_REFINEMENT, "SHARED": mesos.FrameworkInfo_Capability_SHARED_RESOURCES,
			"KILLING": mesos.FrameworkInfo_Capability_TASK_KILLING_STATE,
		}[n]
		if !ok {
			c.t.Fatalf("no capability %q", n)
		}
		info.Capabilities = append(info.Capabilities, &mesos.FrameworkInfo_Capability{Type: v.Enum()})
	}
	if a.has("roles") {
		info.Roles = list(a.opts["roles"])
	}
	if a.has("role") {
		info.Role = proto.String(a.opts["role"])
	}
	if a.has("principal") {
		info.Principal = proto.String(a.opts["principal"])
	}
	if a.has("id") {
		info.Id = &mesos.FrameworkID{Value: proto.String(a.opts["id"])}
	} else if f.id != "" {
		info.Id = &mesos.FrameworkID{Value: proto.String(f.id)}
	}
	return info
}

func (c *cluster) doSubscribe(a *args) {
	f := c.fw(a.next())
	info := c.info(a, f)
	f.info = info
	f.subs++
	s := Stream(f.name)
	if f.subs > 1 {
		s = Stream(fmt.Sprintf("%s.%d", f.name, f.subs))
	}
	f.stream = s
	c.streams[s] = f
	c.step(Subscribe{Stream: s, Principal: a.opts["auth"], Call: &schedulerpb.Call{
		Type: schedulerpb.Call_SUBSCRIBE.Enum(), FrameworkId: info.Id,
		Subscribe: &schedulerpb.Call_Subscribe{FrameworkInfo: info, SuppressedRoles: list(a.opts["suppressed"])},
	}})
}

func offerIDs(c *cluster, s string) []*mesos.OfferID {
	var ids []*mesos.OfferID
	for _, o := range list(s) {
		if !strings.Contains(o, "-") {
			o = c.cfg.MasterID + "-" + o
		}
		ids = append(ids, &mesos.OfferID{Value: proto.String(o)})
	}
	return ids
}

// doCall makes a scheduler call; stream=… sends another stream id, auth=… a principal.
func (c *cluster) doCall(verb string, a *args) {
	f := c.fw(a.next())
	call := &schedulerpb.Call{FrameworkId: &mesos.FrameworkID{Value: &f.id}}
	if a.has("as") {
		call.FrameworkId.Value = proto.String(a.opts["as"])
	}
	filters := func() *mesos.Filters {
		if !a.has("refuse") {
			return nil
		}
		return &mesos.Filters{RefuseSeconds: a.float("refuse")}
	}
	switch verb {
	case "accept":
		call.Type = schedulerpb.Call_ACCEPT.Enum()
		call.Accept = &schedulerpb.Call_Accept{Filters: filters()}
		_, ops, _ := strings.Cut(a.line, " | ")
		ids := ""
		if len(a.words) > 0 && a.words[0] != "|" {
			ids = a.next()
		}
		call.Accept.OfferIds = offerIDs(c, ids)
		if ops != "" {
			for op := range strings.SplitSeq(ops, " | ") {
				call.Accept.Operations = append(call.Accept.Operations, c.operation(f, ids, op))
			}
		}
	case "decline":
		call.Type = schedulerpb.Call_DECLINE.Enum()
		call.Decline = &schedulerpb.Call_Decline{OfferIds: offerIDs(c, a.next()), Filters: filters()}
	case "revive":
		call.Type = schedulerpb.Call_REVIVE.Enum()
		call.Revive = &schedulerpb.Call_Revive{Roles: list(a.opts["roles"])}
	case "suppress":
		call.Type = schedulerpb.Call_SUPPRESS.Enum()
		call.Suppress = &schedulerpb.Call_Suppress{Roles: list(a.opts["roles"])}
	case "kill":
		call.Type = schedulerpb.Call_KILL.Enum()
		call.Kill = &schedulerpb.Call_Kill{TaskId: &mesos.TaskID{Value: proto.String(a.next())}}
		if a.has("agent") {
			call.Kill.AgentId = c.agentID(a.opts["agent"])
		}
		if a.has("grace") {
			call.Kill.KillPolicy = &mesos.KillPolicy{GracePeriod: &mesos.DurationInfo{Nanoseconds: proto.Int64(int64(a.duration("grace")))}}
		}
	case "ack":
		call.Type = schedulerpb.Call_ACKNOWLEDGE.Enum()
		call.Acknowledge = &schedulerpb.Call_Acknowledge{
			TaskId: &mesos.TaskID{Value: proto.String(a.next())}, Uuid: uuid(a.next()), AgentId: c.agentID(a.next()),
		}
	case "reconcile":
		call.Type = schedulerpb.Call_RECONCILE.Enum()
		call.Reconcile = &schedulerpb.Call_Reconcile{}
		for _, w := range a.words {
			tid, ag, named := strings.Cut(w, "@")
			q := &schedulerpb.Call_Reconcile_Task{TaskId: &mesos.TaskID{Value: &tid}}
			if named {
				q.AgentId = c.agentID(ag)
			}
			call.Reconcile.Tasks = append(call.Reconcile.Tasks, q)
		}
	case "reconcile-ops":
		call.Type = schedulerpb.Call_RECONCILE_OPERATIONS.Enum()
		call.ReconcileOperations = &schedulerpb.Call_ReconcileOperations{}
		for _, w := range a.words {
			oid, ag, named := strings.Cut(w, "@")
			q := &schedulerpb.Call_ReconcileOperations_Operation{OperationId: &mesos.OperationID{Value: &oid}}
			if named {
				q.AgentId = c.agentID(ag)
			}
			call.ReconcileOperations.Operations = append(call.ReconcileOperations.Operations, q)
		}
	case "ack-op":
		call.Type = schedulerpb.Call_ACKNOWLEDGE_OPERATION_STATUS.Enum()
		call.AcknowledgeOperationStatus = &schedulerpb.Call_AcknowledgeOperationStatus{
			OperationId: &mesos.OperationID{Value: proto.String(a.next())}, Uuid: uuid(a.next()), AgentId: c.agentID(a.next()),
		}
	case "teardown":
		call.Type = schedulerpb.Call_TEARDOWN.Enum()
	case "message":
		call.Type = schedulerpb.Call_MESSAGE.Enum()
		call.Message = &schedulerpb.Call_Message{AgentId: c.agentID(a.next()), ExecutorId: &mesos.ExecutorID{Value: proto.String(a.next())}, Data: []byte(a.next())}
	case "shutdown":
		call.Type = schedulerpb.Call_SHUTDOWN.Enum()
		call.Shutdown = &schedulerpb.Call_Shutdown{AgentId: c.agentID(a.next()), ExecutorId: &mesos.ExecutorID{Value: proto.String(a.next())}}
	case "update-framework":
		call.Type = schedulerpb.Call_UPDATE_FRAMEWORK.Enum()
		info := c.info(a, f)
		call.UpdateFramework = &schedulerpb.Call_UpdateFramework{FrameworkInfo: info, SuppressedRoles: list(a.opts["suppressed"])}
	case "request":
		call.Type = schedulerpb.Call_REQUEST.Enum()
		call.Request = &schedulerpb.Call_Request{}
	case "inverse":
		call.Type = schedulerpb.Call_DECLINE_INVERSE_OFFERS.Enum()
		call.DeclineInverseOffers = &schedulerpb.Call_DeclineInverseOffers{}
	case "unknown-call":
		call.Type = schedulerpb.Call_UNKNOWN.Enum()
	default:
		c.t.Fatalf("unknown command %q", a.line)
	}
	in := Call{Token: 1, Stream: f.stream, Principal: a.opts["auth"], Call: call}
	if a.has("stream") {
		in.Stream = Stream(a.opts["stream"])
	}
	c.step(in)
}

// operation reads "launch t1 cpus:1 exec=e1", "reserve cpus(r):1 id=o1", "group t1 cpus:1".
func (c *cluster) operation(f *fakeFramework, offers, text string) *mesos.Offer_Operation {
	a := c.parse(text)
	verb := a.next()
	op := &mesos.Offer_Operation{}
	if a.has("id") {
		op.Id = &mesos.OperationID{Value: proto.String(a.opts["id"])}
	}
	rs := func() []*mesos.Resource { return c.bag(a.next()).Proto() }
	switch verb {
	case "launch":
		op.Type = mesos.Offer_Operation_LAUNCH.Enum()
		op.Launch = &mesos.Offer_Operation_Launch{}
		for len(a.words) > 0 {
			op.Launch.TaskInfos = append(op.Launch.TaskInfos, c.task(f, offers, a))
		}
	case "group":
		op.Type = mesos.Offer_Operation_LAUNCH_GROUP.Enum()
		op.LaunchGroup = &mesos.Offer_Operation_LaunchGroup{
			Executor:  &mesos.ExecutorInfo{Type: mesos.ExecutorInfo_DEFAULT.Enum(), ExecutorId: &mesos.ExecutorID{Value: proto.String("e")}},
			TaskGroup: &mesos.TaskGroupInfo{Tasks: []*mesos.TaskInfo{c.task(f, offers, a)}},
		}
	case "reserve", "unreserve":
		r := rs()
		for _, x := range r { // the text form has static reservations only
			for _, y := range x.Reservations {
				y.Type = mesos.Resource_ReservationInfo_DYNAMIC.Enum()
			}
		}
		if verb == "reserve" {
			op.Type = mesos.Offer_Operation_RESERVE.Enum()
			op.Reserve = &mesos.Offer_Operation_Reserve{Resources: r}
		} else {
			op.Type = mesos.Offer_Operation_UNRESERVE.Enum()
			op.Unreserve = &mesos.Offer_Operation_Unreserve{Resources: r}
		}
	case "create", "destroy": // create disk(r):10 vol=v1 [shared]
		r := rs()
		for _, x := range r {
			for _, y := range x.Reservations {
				y.Type = mesos.Resource_ReservationInfo_DYNAMIC.Enum()
			}
			volumeOf(x, a.opts["vol"], a.has("shared"))
		}
		if verb == "create" {
			op.Type = mesos.Offer_Operation_CREATE.Enum()
			op.Create = &mesos.Offer_Operation_Create{Volumes: r}
		} else {
			op.Type = mesos.Offer_Operation_DESTROY.Enum()
			op.Destroy = &mesos.Offer_Operation_Destroy{Volumes: r}
		}
	case "grow":
		op.Type = mesos.Offer_Operation_GROW_VOLUME.Enum()
		r := rs()
		op.GrowVolume = &mesos.Offer_Operation_GrowVolume{Volume: r[0], Addition: r[0]}
	case "shrink":
		op.Type = mesos.Offer_Operation_SHRINK_VOLUME.Enum()
		op.ShrinkVolume = &mesos.Offer_Operation_ShrinkVolume{Volume: rs()[0], Subtract: &mesos.Value_Scalar{Value: proto.Float64(1)}}
	case "create-disk":
		op.Type = mesos.Offer_Operation_CREATE_DISK.Enum()
		op.CreateDisk = &mesos.Offer_Operation_CreateDisk{Source: rs()[0], TargetType: mesos.Resource_DiskInfo_Source_MOUNT.Enum()}
	case "destroy-disk":
		op.Type = mesos.Offer_Operation_DESTROY_DISK.Enum()
		op.DestroyDisk = &mesos.Offer_Operation_DestroyDisk{Source: rs()[0]}
	default:
		c.t.Fatalf("unknown operation %q", text)
	}
	return op
}

func volumeOf(x *mesos.Resource, vol string, shared bool) {
	x.Disk = &mesos.Resource_DiskInfo{
		Persistence: &mesos.Resource_DiskInfo_Persistence{Id: &vol},
		Volume:      &mesos.Volume{Mode: mesos.Volume_RW.Enum(), ContainerPath: proto.String("data")},
	}
	if shared {
		x.Shared = &mesos.Resource_SharedInfo{}
	}
}

// task reads "t1 cpus:1;mem:32" and the options of its operation.
func (c *cluster) task(f *fakeFramework, offers string, a *args) *mesos.TaskInfo {
	tid, text := a.next(), a.next()
	t := &mesos.TaskInfo{Name: &tid, TaskId: &mesos.TaskID{Value: &tid}, Resources: c.bag(text).Proto()}
	for _, x := range t.Resources {
		for _, y := range x.Reservations {
			y.Type = mesos.Resource_ReservationInfo_DYNAMIC.Enum()
		}
		if a.has("vol") && x.GetName() == "disk" {
			volumeOf(x, a.opts["vol"], a.has("shared"))
		}
	}
	if a.has("agent") {
		t.AgentId = c.agentID(a.opts["agent"])
	} else {
		t.AgentId = &mesos.AgentID{Value: proto.String("?")}
		for _, p := range offerIDs(c, offers) {
			if o := c.m.offers[id.Offer(p.GetValue())]; o != nil {
				t.AgentId = o.agent.protoID
			}
		}
	}
	if e := a.opts["exec"]; e != "" {
		res := "cpus:0.1"
		if a.has("execres") {
			res = a.opts["execres"]
		}
		t.Executor = &mesos.ExecutorInfo{ExecutorId: &mesos.ExecutorID{Value: &e}, Resources: c.bag(res).Proto(), Command: &mesos.CommandInfo{Value: proto.String("run")}}
	}
	if !a.has("exec") || a.has("cmd") {
		t.Command = &mesos.CommandInfo{Value: proto.String("true")}
	}
	if a.has("check") {
		t.Check = &mesos.CheckInfo{Type: mesos.CheckInfo_COMMAND.Enum(), Command: &mesos.CheckInfo_Command{
			Command: &mesos.CommandInfo{Value: proto.String("true"), User: proto.String("other")},
		}}
	}
	if a.has("limit") {
		v := math.Inf(1)
		if a.opts["limit"] != "inf" {
			v = *a.float("limit")
		}
		t.Limits = map[string]*mesos.Value_Scalar{"mem": {Value: &v}}
	}
	return t
}

func (c *cluster) doFrame(a *args) {
	ag := c.agent(a.next())
	link := ag.link
	if a.has("link") {
		link = Link(*a.float("link"))
	}
	msg := &stoapb.ToMaster{}
	fid := func(name string) *mesos.FrameworkID { return &mesos.FrameworkID{Value: proto.String(c.fw(name).id)} }
	switch kind := a.next(); kind {
	case "update":
		u := &stoapb.Update{FrameworkId: fid(a.next()), Status: &mesos.TaskStatus{
			TaskId: &mesos.TaskID{Value: proto.String(a.next())}, AgentId: &mesos.AgentID{Value: &ag.id},
			Source: mesos.TaskStatus_SOURCE_EXECUTOR.Enum(),
		}}
		s := taskState(c, a.next())
		u.Status.State, u.Status.Uuid = &s, uuid(a.next())
		if a.has("latest") {
			l := taskState(c, a.opts["latest"])
			u.LatestState = &l
		}
		msg.Body = &stoapb.ToMaster_Update{Update: u}
	case "exited":
		msg.Body = &stoapb.ToMaster_ExecutorExited{ExecutorExited: &stoapb.ExecutorExited{
			FrameworkId: fid(a.next()), ExecutorId: &mesos.ExecutorID{Value: proto.String(a.next())}, Status: proto.Int32(256),
		}}
	case "message":
		msg.Body = &stoapb.ToMaster_ExecutorMessage{ExecutorMessage: &stoapb.ExecutorMessage{
			FrameworkId: fid(a.next()), ExecutorId: &mesos.ExecutorID{Value: proto.String(a.next())}, Data: []byte(a.next()),
		}}
	case "op": // op o1 OPERATION_FINISHED u1
		applied := ag.ops[a.next()]
		if applied == nil {
			c.t.Fatalf("%q: the agent was never sent it", a.line)
		}
		s := mesos.OperationState(mesos.OperationState_value[a.next()])
		msg.Body = &stoapb.ToMaster_OperationUpdate{OperationUpdate: &stoapb.OperationUpdate{
			OperationUuid: applied.OperationUuid,
			Status:        &mesos.OperationStatus{State: &s, Uuid: &mesos.UUID{Value: uuid(a.next())}},
		}}
	case "resources":
		msg.Body = &stoapb.ToMaster_ResourcesChanged{ResourcesChanged: &stoapb.ResourcesChanged{Resources: c.bag(a.next()).Proto()}}
	default:
		c.t.Fatalf("unknown frame %q", kind)
	}
	c.step(Frame{link, msg})
}

func (c *cluster) doOperate(verb string, a *args) {
	call := &masterpb.Call{}
	amounts := func(s string) map[string]*mesos.Value_Scalar {
		if s == "" {
			return nil
		}
		q, err := resource.ParseQuantities(s)
		if err != nil {
			c.t.Fatal(err)
		}
		return q.Proto()
	}
	switch verb {
	case "quota":
		call.Type = masterpb.Call_UPDATE_QUOTA.Enum()
		force := a.has("force")
		call.UpdateQuota = &masterpb.Call_UpdateQuota{Force: &force, QuotaConfigs: []*quotapb.QuotaConfig{{
			Role: proto.String(a.next()), Guarantees: amounts(a.opts["guarantee"]), Limits: amounts(a.opts["limit"]),
		}}}
	case "weights":
		call.Type = masterpb.Call_UPDATE_WEIGHTS.Enum()
		call.UpdateWeights = &masterpb.Call_UpdateWeights{}
		for _, k := range sortedKeys(a.opts) {
			call.UpdateWeights.WeightInfos = append(call.UpdateWeights.WeightInfos, &mesos.WeightInfo{Role: proto.String(k), Weight: a.float(k)})
		}
	case "operator-teardown":
		call.Type = masterpb.Call_TEARDOWN.Enum()
		call.Teardown = &masterpb.Call_Teardown{FrameworkId: &mesos.FrameworkID{Value: proto.String(c.fw(a.next()).id)}}
	}
	c.step(Operate{Token: 1, Call: call})
}

func (c *cluster) doWhy(a *args) {
	in := Why{Token: 1, Role: a.opts["role"]}
	if a.has("req") {
		in.Request = c.bag(a.opts["req"])
	}
	if len(a.words) > 0 {
		in.Framework = id.Framework(c.fw(a.next()).id)
	}
	if len(a.words) > 0 {
		in.Task = id.Task(a.next())
	}
	c.step(in)
}
