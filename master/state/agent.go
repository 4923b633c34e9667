package state

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/internal/planted"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/master/allocator"
	"google.golang.org/protobuf/proto"
)

// LinkProtocol is the version of the agent link this master speaks.
const LinkProtocol = 1

// agentPath is the path of an agent's libprocess id, which tools of Mesos expect in
// Offer.url.
const agentPath = "/slave(1)"

// agent is an admitted agent: with a link, without one for a while, or recovered from
// the registry and not seen yet.
type agent struct {
	id      id.Agent
	protoID *mesos.AgentID
	info    *mesos.AgentInfo
	url     *mesos.URL
	ip      string
	address string // ip:port
	version string
	bootID  string

	link Link // 0 while it is away
	// recovered until its first registration with this master.
	recovered                bool
	registered, reregistered time.Time

	total, allocated, offered resource.Resources

	tasks      map[taskKey]*task
	executors  map[executorKey]*executor
	offers     []*offer
	operations []*operation // in the order they were applied

	pingSeq uint64
	ponged  bool
	missed  int
	queued  bool // waits in the removal queue
	// contested: another address claims this id; defended: the link answered since.
	contested, defended bool

	pingArmed, graceArmed, returnArmed bool
	dirty                              bool
}

func newAgent(aid id.Agent, info *mesos.AgentInfo) *agent {
	value := string(aid)
	return &agent{
		id: aid, protoID: &mesos.AgentID{Value: &value}, info: info,
		tasks: map[taskKey]*task{}, executors: map[executorKey]*executor{},
	}
}

func (a *agent) snapshot() *Agent {
	return &Agent{
		ID: a.id, Info: a.info, Address: a.address, Version: a.version,
		Connected: a.link != 0, Recovered: a.recovered,
		Registered: a.registered, Reregistered: a.reregistered,
		Total: a.total, Allocated: a.allocated, Offered: a.offered,
	}
}

func (a *agent) forAllocator() allocator.Agent {
	return allocator.Agent{
		ID: a.id, Hostname: a.info.GetHostname(), Attributes: a.info.GetAttributes(),
		Domain: a.info.GetDomain(), Total: a.total,
	}
}

// locate takes over where the agent is reached.
func (a *agent) locate(ip string, info *mesos.AgentInfo) {
	port := info.GetPort()
	host := info.GetHostname()
	a.info, a.ip = info, ip
	a.address = addressOf(ip, info)
	a.url = &mesos.URL{
		Scheme:  proto.String("http"),
		Address: &mesos.Address{Hostname: &host, Ip: &ip, Port: &port},
		Path:    proto.String(agentPath),
	}
}

// addressOf is ip:port, "" if the agent did not say.
func addressOf(ip string, info *mesos.AgentInfo) string {
	if ip == "" || info.GetPort() == 0 {
		return ""
	}
	if parsed, err := netip.ParseAddr(ip); err == nil && parsed.Is6() {
		ip = "[" + ip + "]"
	}
	return ip + ":" + strconv.Itoa(int(info.GetPort()))
}

func (a *agent) sortedTasks() []*task {
	all := make([]*task, 0, len(a.tasks))
	for _, t := range a.tasks {
		all = append(all, t)
	}
	slices.SortFunc(all, func(x, y *task) int { return x.key().compare(y.key()) })
	return all
}

// hello is an agent's first frame: registration, or re-registration with a report of all
// it knows.
func (m *Master) hello(in Hello) {
	r := in.Register
	if r.GetEpoch() > m.epoch && !planted.Bug("older epoch obeyed") {
		// The agent obeys a newer master: this one is not to be listened to.
		m.out.add(CloseLink{in.Link})
		return
	}
	report, err := m.readReport(r)
	if err != nil {
		m.refuseAgent(in.Link, err.Error(), false)
		return
	}
	aid := id.Agent(r.GetInfo().GetId().GetValue())
	if _, gone := m.gone[aid]; gone {
		m.refuseAgent(in.Link, fmt.Sprintf("agent %s was marked gone", aid), true)
		return
	}
	a := m.agents[aid]
	address := addressOf(r.GetIp(), r.GetInfo())
	if a != nil && a.link != 0 && (a.address != address || a.info.GetHostname() != r.GetInfo().GetHostname()) {
		if !a.defended {
			// The link may be a dead one of an agent that moved: ask it, and let the
			// newcomer try again.
			a.contested = true
			m.ping(a)
			m.out.add(CloseLink{in.Link})
			return
		}
		m.refuseAgent(in.Link, fmt.Sprintf("agent id %s is registered from %s (%s) and alive there; it cannot register from %s (%s) too. Remove the copied work directory, or stop the other agent",
			aid, a.address, a.info.GetHostname(), address, r.GetInfo().GetHostname()), false)
		return
	}
	if other := m.addresses[address]; address != "" && other != nil && other != a {
		m.replaceAgent(other)
	}
	if a != nil && a.link != 0 {
		m.out.add(CloseLink{a.link})
		delete(m.links, a.link)
		a.link = 0
	}
	m.register(a, aid, in.Link, r, report)
}

func (m *Master) refuseAgent(l Link, message string, shutdown bool) {
	m.out.add(ToAgent{l, &stoapb.ToAgent{Body: &stoapb.ToAgent_Refused{Refused: &stoapb.Refused{
		Message: &message, Shutdown: &shutdown,
	}}}})
	m.out.add(CloseLink{l})
}

// register admits an agent: new (a and aid empty), unreachable or forgotten by the
// registry (a nil), recovered, or away for a while. The registry is written first.
func (m *Master) register(a *agent, aid id.Agent, link Link, r *stoapb.Register, report *report) {
	was, absent := m.unreachable[aid]
	fresh := a == nil
	info := r.GetInfo()
	known := (*mesos.AgentInfo)(nil) // as the registry has it, if as admitted
	switch {
	case a != nil:
		known = a.info
	case aid == "":
		aid = id.NewAgent(m.cfg.MasterID, m.agentCount)
		m.agentCount++
		a = newAgent(aid, info)
	default:
		a = newAgent(aid, info)
		delete(m.unreachable, aid)
		if absent && was.info != nil {
			a.info = was.info
		}
	}
	if info.GetId().GetValue() != string(aid) {
		info = proto.CloneOf(info)
		info.Id = a.protoID
	}
	rejoined := a.recovered || (fresh && r.GetInfo().GetId() != nil)
	// Only agents the registry holds as reachable were heard of before without a word to
	// their frameworks.
	announce := fresh && r.GetInfo().GetId() != nil
	if a.recovered {
		a.recovered = false
		m.recovering--
		fresh = true
	}
	if known == nil || !proto.Equal(known, info) {
		m.persistAgent(aid, info, stoapb.AgentRecord_ADMITTED)
	}
	sameBoot := a.bootID == r.GetBootId()
	if m.addresses[a.address] == a {
		delete(m.addresses, a.address)
	}
	a.locate(r.GetIp(), info)
	if a.address != "" {
		m.addresses[a.address] = a
	}
	a.link, a.version, a.bootID = link, r.GetStoaVersion(), r.GetBootId()
	m.agents[aid] = a
	m.links[link] = a
	if rejoined || !a.registered.IsZero() {
		a.reregistered = m.now.Wall
	}
	if a.registered.IsZero() {
		a.registered = m.now.Wall
	}
	m.sendRegistered(a)
	if fresh {
		m.publish(AgentAdded{a.snapshot()})
	}
	m.takeReport(a, report, fresh, announce, sameBoot)
	m.startPings(a)
	m.touchAgent(a)
	m.resumeAllocation()
}

func (m *Master) sendRegistered(a *agent) {
	timeout := (time.Duration(m.cfg.MaxAgentPingTimeouts) * m.cfg.AgentPingInterval).Seconds()
	m.toAgent(a, &stoapb.ToAgent{Body: &stoapb.ToAgent_Registered{Registered: &stoapb.Registered{
		AgentId: a.protoID, Epoch: &m.epoch, PingTimeoutSeconds: &timeout, Master: m.info,
	}}})
}

func (m *Master) persistAgent(aid id.Agent, info *mesos.AgentInfo, s stoapb.AgentRecord_State) {
	since := m.now.Wall.UnixNano()
	m.out.add(Persist{Agents, string(aid), &stoapb.AgentRecord{Info: info, State: &s, Since: &since}})
}

// frame is any frame but the first. Frames of a link that was replaced are late.
func (m *Master) frame(in Frame) {
	a := m.links[in.Link]
	if a == nil {
		return
	}
	switch body := in.Msg.GetBody().(type) {
	case *stoapb.ToMaster_Update:
		m.statusUpdate(a, body.Update)
	case *stoapb.ToMaster_OperationUpdate:
		m.operationUpdate(a, body.OperationUpdate)
	case *stoapb.ToMaster_ExecutorExited:
		m.executorExited(a, body.ExecutorExited)
	case *stoapb.ToMaster_ExecutorMessage:
		m.executorMessage(a, body.ExecutorMessage)
	case *stoapb.ToMaster_Pong:
		m.pong(a, body.Pong)
	case *stoapb.ToMaster_ResourcesChanged:
		m.resourcesChanged(a, body.ResourcesChanged)
	}
}

// resourcesChanged replaces an agent's total; every offer of it is out of date.
func (m *Master) resourcesChanged(a *agent, c *stoapb.ResourcesChanged) {
	total, err := resource.Of(c.GetResources()...)
	if err != nil {
		return // an agent checks its own resources; what is not readable changes nothing
	}
	m.rescindAgent(a, nil)
	a.total = m.withPending(a, total.Unallocate())
	m.alloc.UpdateAgent(a.forAllocator())
	m.touchAgent(a)
}

// withPending applies the operations an agent has not answered yet to the total it
// reports: they are done as far as frameworks know.
func (m *Master) withPending(a *agent, total resource.Resources) resource.Resources {
	for _, o := range a.operations {
		if o.pending() && total.Contains(o.from) {
			total = total.Sub(o.from).Add(o.to)
		}
	}
	return total
}
