// Package sdktest has a master and an agent in memory, for the tests of frameworks and
// executors. They speak the v1 HTTP APIs over pipes, open no port, and work in the bubbles
// of testing/synctest, where hours of retries pass in no time:
//
//	m := sdktest.NewMaster()
//	defer m.Close()
//	m.AddAgent("cpus:4;mem:4096;ports:[31000-32000]")
//	err := scheduler.Run(ctx, scheduler.Config{
//		Masters: []string{m.Addr()}, HTTPClient: m.Client(), Framework: info,
//	}, handler)
//
// The master is no simulation of the real one: it makes plain offers, runs tasks by calling
// a function, keeps updates until they are acknowledged, and can misbehave on request.
package sdktest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/sdk/internal/stream"
	"google.golang.org/protobuf/proto"
)

// Heartbeat is how often a master's stream shows that it is alive.
const Heartbeat = 15 * time.Second

const bodyLimit = 16 << 20

// Master is a master in memory. Set its fields before the first framework subscribes; its
// methods are for any goroutine.
type Master struct {
	// Run is a task: it is called when one is launched, and what it returns is the
	// task's last status, of which state, message and reason are used. nil keeps the
	// task running until it is killed, which ends ctx too. The default ends every task
	// at once with exit status 0.
	Run func(ctx context.Context, task *mesos.TaskInfo) *mesos.TaskStatus
	// Manual keeps the master from doing anything by itself but to answer, to record
	// calls and to send heartbeats: the test plays the master with Send.
	Manual bool
	// Acknowledgements makes the master say that it takes Call.acknowledgements, as
	// Stoa's does and Mesos does not.
	Acknowledgements bool

	net    *memory
	server *http.Server
	ctx    context.Context
	stop   context.CancelFunc
	served sync.WaitGroup

	mu     sync.Mutex
	calls  []*schedulerpb.Call
	called chan struct{} // closed and replaced on every call
	// answer is the status for everything, 0 for what is right.
	answer   int
	redirect string
	next     struct{ framework, agent, offer, stream, uuid int }
	// frameworks, agents and offers are in the order they came.
	frameworks []*framework
	agents     []*agent
	offers     []*offer
}

type framework struct {
	info       *mesos.FrameworkInfo
	suppressed []string
	sub        *subscription // nil while disconnected
	removed    bool
	tasks      []*task
}

type agent struct {
	id   *mesos.AgentID
	free resource.Resources
	// refused is when each framework may be offered the agent again.
	refused map[*framework]time.Time
}

type offer struct {
	id        string
	framework *framework
	agent     *agent
	resources resource.Resources
}

// NewMaster starts a master without agents at an address of its own.
func NewMaster() *Master { return NewMasterAt("master.test:5050") }

// NewMasterAt starts a master at addr, for tests with several.
func NewMasterAt(addr string) *Master {
	m := &Master{
		Run:    Succeed,
		net:    newMemory(addr),
		called: make(chan struct{}),
	}
	m.ctx, m.stop = context.WithCancel(context.Background())
	m.server = &http.Server{Handler: m}
	m.served.Go(func() { m.server.Serve(m.net) })
	return m
}

// Succeed is a task that ends at once with exit status 0.
func Succeed(context.Context, *mesos.TaskInfo) *mesos.TaskStatus {
	return &mesos.TaskStatus{
		State: mesos.TaskState_TASK_FINISHED.Enum(), Message: proto.String("Command exited with status 0"),
	}
}

// Exit is how a command task ends with this exit status.
func Exit(code int) *mesos.TaskStatus {
	if code == 0 {
		return Succeed(nil, nil)
	}
	return &mesos.TaskStatus{
		State:   mesos.TaskState_TASK_FAILED.Enum(),
		Message: proto.String("Command exited with status " + strconv.Itoa(code)),
	}
}

// Close ends all streams and tasks and waits for them.
func (m *Master) Close() {
	m.stop()
	m.Break()
	m.server.Close()
	m.net.Close()
	m.served.Wait()
}

// Addr is what scheduler.Config.Masters takes.
func (m *Master) Addr() string { return string(m.net.addr) }

// Client reaches the master, and others if they are given, in memory.
func (m *Master) Client(others ...*Master) *http.Client {
	networks := []*memory{m.net}
	for _, o := range others {
		networks = append(networks, o.net)
	}
	return client(networks...)
}

// AddAgent adds an agent with resources like "cpus:4;mem:4096" and offers them.
func (m *Master) AddAgent(resources string) *mesos.AgentID {
	rs, err := resource.Parse(resources, "*")
	if err != nil {
		panic("sdktest: " + err.Error()) // the test's mistake
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	a := &agent{id: &mesos.AgentID{Value: proto.String(fmt.Sprintf("test-S%d", m.next.agent))}, free: rs, refused: map[*framework]time.Time{}}
	m.next.agent++
	m.agents = append(m.agents, a)
	m.allocate()
	return a.id
}

// Calls are all calls so far, in order.
func (m *Master) Calls() []*schedulerpb.Call {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.calls)
}

// Await returns the first call, past or to come, that fits.
func (m *Master) Await(ctx context.Context, fits func(*schedulerpb.Call) bool) (*schedulerpb.Call, error) {
	for from := 0; ; {
		m.mu.Lock()
		calls, called := m.calls[from:], m.called
		from = len(m.calls)
		m.mu.Unlock()
		for _, c := range calls {
			if fits(c) {
				return c, nil
			}
		}
		select {
		case <-called:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Send sends an event to every subscribed framework.
func (m *Master) Send(e *schedulerpb.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.frameworks {
		f.send(e)
	}
}

// Break cuts every stream, as a master does that dies. Frameworks and tasks live on.
func (m *Master) Break() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.frameworks {
		m.disconnect(f, f.sub)
	}
}

// Mute keeps every open stream open, but nothing is sent on it any more, not even
// heartbeats: what a half-open connection looks like.
func (m *Master) Mute() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.frameworks {
		if f.sub != nil {
			f.sub.mute()
		}
	}
}

// Answer makes the master answer every request with this status, like 503, until it is set
// to 0 again.
func (m *Master) Answer(status int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answer = status
}

// Redirect makes the master a standby that sends everybody to the leader at addr; ""
// makes it lead again.
func (m *Master) Redirect(addr string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.redirect = addr
}

// ServeHTTP serves the scheduler API, for tests that want the master on a real port.
func (m *Master) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/api/v1/scheduler" && r.URL.Path != "/master/api/v1/scheduler" {
		http.NotFound(w, r)
		return
	}
	m.mu.Lock()
	answer, redirect := m.answer, m.redirect
	m.mu.Unlock()
	if answer != 0 {
		http.Error(w, "told so by the test", answer)
		return
	}
	if redirect != "" {
		w.Header().Set("Location", "//"+redirect+r.URL.Path)
		w.WriteHeader(http.StatusTemporaryRedirect)
		return
	}
	codec, ok := stream.ForContentType(r.Header.Get("Content-Type"))
	if r.Method != http.MethodPost || !ok {
		http.Error(w, "POST a call as application/json or application/x-protobuf", http.StatusUnsupportedMediaType)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyLimit))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	call := new(schedulerpb.Call)
	if err := codec.Unmarshal(body, call); err != nil {
		http.Error(w, "Failed to parse body into Call: "+err.Error(), http.StatusBadRequest)
		return
	}
	if call.GetType() == schedulerpb.Call_SUBSCRIBE {
		f, sub := m.subscribe(call, codec)
		w.Header().Set("Mesos-Stream-Id", sub.id)
		if m.Acknowledgements {
			w.Header().Set(schedulerpb.ExtensionsHeader, schedulerpb.Acknowledgements)
		}
		sub.serve(r.Context(), w, &schedulerpb.Event{Type: schedulerpb.Event_HEARTBEAT.Enum()}, Heartbeat)
		m.mu.Lock()
		m.disconnect(f, sub)
		m.mu.Unlock()
		return
	}
	status, text := m.call(call, r.Header.Get("Mesos-Stream-Id"))
	if text != "" {
		http.Error(w, text, status)
		return
	}
	w.WriteHeader(status)
}

func (m *Master) record(call *schedulerpb.Call) {
	m.calls = append(m.calls, call)
	close(m.called)
	m.called = make(chan struct{})
}

func (m *Master) subscribe(call *schedulerpb.Call, codec stream.Codec) (*framework, *subscription) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.record(call)
	m.next.stream++
	sub := newSubscription(fmt.Sprintf("stream-%d", m.next.stream), codec)
	info := proto.CloneOf(call.GetSubscribe().GetFrameworkInfo())
	id := info.GetId().GetValue()
	f := m.find(id)
	switch {
	case f != nil && f.removed:
		sub.send(&schedulerpb.Event{
			Type: schedulerpb.Event_ERROR.Enum(), Error: &schedulerpb.Event_Error{Message: proto.String("Framework has been removed")},
		})
		sub.end()
		return nil, sub
	case f != nil && f.sub != nil:
		f.send(&schedulerpb.Event{
			Type: schedulerpb.Event_ERROR.Enum(), Error: &schedulerpb.Event_Error{Message: proto.String("Framework failed over")},
		})
		m.disconnect(f, f.sub)
	case f == nil:
		if id == "" {
			id = fmt.Sprintf("test-%04d", m.next.framework)
			m.next.framework++
			info.Id = &mesos.FrameworkID{Value: &id}
		}
		f = new(framework)
		m.frameworks = append(m.frameworks, f)
	}
	f.info, f.sub = info, sub
	f.suppressed = slices.Clone(call.GetSubscribe().GetSuppressedRoles())
	f.send(&schedulerpb.Event{
		Type: schedulerpb.Event_SUBSCRIBED.Enum(),
		Subscribed: &schedulerpb.Event_Subscribed{
			FrameworkId:              f.info.Id,
			HeartbeatIntervalSeconds: proto.Float64(Heartbeat.Seconds()),
		},
	})
	f.send(&schedulerpb.Event{Type: schedulerpb.Event_HEARTBEAT.Enum()})
	for _, t := range f.tasks {
		t.sendFirst()
	}
	m.allocate()
	return f, sub
}

func (m *Master) find(id string) *framework {
	for _, f := range m.frameworks {
		if f.info.GetId().GetValue() == id {
			return f
		}
	}
	return nil
}

// disconnect ends sub and takes back the offers made on it, unless f has another already.
func (m *Master) disconnect(f *framework, sub *subscription) {
	if sub != nil {
		sub.end()
	}
	if f == nil || f.sub == nil || f.sub != sub {
		return
	}
	f.sub = nil
	for _, a := range m.agents {
		delete(a.refused, f)
	}
	m.offers = slices.DeleteFunc(m.offers, func(o *offer) bool {
		if o.framework != f {
			return false
		}
		o.agent.free = o.agent.free.Add(o.resources)
		return true
	})
	m.allocate()
}

func (f *framework) send(e *schedulerpb.Event) {
	if f.sub != nil {
		f.sub.send(e)
	}
}

func (f *framework) capable(c mesos.FrameworkInfo_Capability_Type) bool {
	return slices.ContainsFunc(f.info.GetCapabilities(), func(x *mesos.FrameworkInfo_Capability) bool {
		return x.GetType() == c
	})
}

// role is the first of the framework's roles that wants offers.
func (f *framework) role() (role string, ok bool) {
	roles := []string{f.info.GetRole()}
	if f.capable(mesos.FrameworkInfo_Capability_MULTI_ROLE) {
		roles = f.info.GetRoles()
	}
	for _, r := range roles {
		if !slices.Contains(f.suppressed, r) {
			return r, true
		}
	}
	return "", false
}

// allocate offers what is free, all of an agent to the first framework that may have it.
func (m *Master) allocate() {
	if m.Manual {
		return
	}
	now := time.Now()
	batch := map[*framework][]*mesos.Offer{}
	for _, a := range m.agents {
		for _, f := range m.frameworks {
			role, ok := f.role()
			if !ok || f.sub == nil || a.free.Empty() || a.refused[f].After(now) {
				continue
			}
			o := &offer{id: fmt.Sprintf("test-O%d", m.next.offer), framework: f, agent: a, resources: a.free}
			m.next.offer++
			a.free = resource.Resources{}
			m.offers = append(m.offers, o)
			multi := f.capable(mesos.FrameworkInfo_Capability_MULTI_ROLE)
			refined := f.capable(mesos.FrameworkInfo_Capability_RESERVATION_REFINEMENT)
			e := &mesos.Offer{
				Id: &mesos.OfferID{Value: &o.id}, FrameworkId: f.info.Id, AgentId: a.id, Hostname: proto.String("agent.test"),
				Resources: o.resources.Allocate(role).ProtoFor(refined, multi),
			}
			if multi {
				e.AllocationInfo = &mesos.Resource_AllocationInfo{Role: &role}
			}
			batch[f] = append(batch[f], e)
		}
	}
	for _, f := range m.frameworks {
		if offers := batch[f]; len(offers) > 0 {
			f.send(&schedulerpb.Event{Type: schedulerpb.Event_OFFERS.Enum(), Offers: &schedulerpb.Event_Offers{Offers: offers}})
		}
	}
}
