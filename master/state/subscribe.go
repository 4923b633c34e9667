package state

import (
	"slices"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/master/validate"
	"google.golang.org/protobuf/proto"
)

// heartbeatSeconds is what SUBSCRIBED announces; the session keeps it.
const heartbeatSeconds = 15.0

// subscribe is SUBSCRIBE (Mesos 1.11, docs/scheduler-http-api.md). The stream stands already, so every refusal is
// an ERROR followed by close.
func (m *Master) subscribe(in Subscribe) {
	s := in.Call.GetSubscribe()
	info := s.GetFrameworkInfo()
	if in.Principal != "" && info.Principal == nil {
		info = proto.CloneOf(info)
		info.Principal = &in.Principal
	}
	if err := m.checkFramework(info, s.SuppressedRoles, s.OfferConstraints); err != nil {
		m.refuse(in.Stream, err.Error())
		return
	}
	f := m.frameworks[id.Framework(info.GetId().GetValue())]
	if f != nil {
		if err := validate.FrameworkPrincipal(f.info, info); err != nil {
			m.refuse(in.Stream, err.Error())
			return
		}
		m.resubscribe(f, in.Stream, info, s)
		return
	}
	if info.GetId().GetValue() == "" {
		info = proto.CloneOf(info)
		value := string(id.NewFramework(m.cfg.MasterID, m.frameworkCount))
		m.frameworkCount++
		info.Id = &mesos.FrameworkID{Value: &value}
	}
	// An id this master does not know is taken as it is: whether the framework failed
	// over or made it up cannot be told (as Mesos).
	f = newFramework(info)
	f.stream = in.Stream
	f.registered = m.now.Wall
	f.suppressed = sortedSet(s.SuppressedRoles)
	f.constraints = s.OfferConstraints
	m.addFramework(f)
	m.persistFramework(f, 0)
	m.publish(FrameworkAdded{f.snapshot()})
	m.streams[in.Stream] = f
	m.subscribed(f)
}

// resubscribe is a framework that comes back, or fails over to another scheduler: the
// new stream wins unconditionally.
func (m *Master) resubscribe(f *framework, stream Stream, info *mesos.FrameworkInfo, s *schedulerpb.Call_Subscribe) {
	if f.connected() {
		m.takeBackOffers(f, false)
		m.refuse(f.stream, "Framework failed over")
		delete(m.streams, f.stream)
	}
	info = keepFixed(f.info, info)
	changed := !proto.Equal(f.info, info)
	wasRecovered := f.recovered
	f.stream = stream
	f.recovered = false
	if f.registered.IsZero() {
		f.registered = m.now.Wall
	}
	f.reregistered = m.now.Wall
	m.stopFailover(f)
	m.update(f, info, s.SuppressedRoles, s.OfferConstraints)
	m.alloc.ActivateFramework(f.id)
	m.persistFramework(f, 0)
	m.streams[stream] = f
	m.touchFramework(f)
	m.subscribed(f)
	if changed || wasRecovered {
		m.tellAgents(f)
	}
	// What came while it was away, in the order of task ids.
	for _, t := range f.sortedTasks() {
		if t.held != nil {
			s := t.held
			t.held = nil
			m.forward(t, s)
		}
	}
}

// subscribed sends SUBSCRIBED, always the first event; HEARTBEATs are the session's.
func (m *Master) subscribed(f *framework) {
	interval := heartbeatSeconds
	m.emit(f, &schedulerpb.Event{
		Type: schedulerpb.Event_SUBSCRIBED.Enum(),
		Subscribed: &schedulerpb.Event_Subscribed{
			FrameworkId:              f.protoID,
			HeartbeatIntervalSeconds: &interval,
			MasterInfo:               m.info,
		},
	})
}

// checkFramework is what SUBSCRIBE and UPDATE_FRAMEWORK check.
func (m *Master) checkFramework(info *mesos.FrameworkInfo, suppressed []string, c *schedulerpb.OfferConstraints) error {
	if err := validate.Framework(info); err != nil {
		return err
	}
	roles := validate.Roles(info)
	if m.cfg.Roles != nil {
		var unknown []string
		for _, r := range roles {
			if !slices.Contains(m.cfg.Roles, r) && r != "*" {
				unknown = append(unknown, r)
			}
		}
		if len(unknown) > 0 {
			return rolesError(unknown)
		}
	}
	if fid := id.Framework(info.GetId().GetValue()); m.removed[fid] != nil || m.dying[fid] != nil {
		return errRemoved
	}
	if err := validate.SuppressedRoles(roles, suppressed); err != nil {
		return err
	}
	return validate.OfferConstraints(roles, c)
}

// keepFixed carries user and checkpoint over: a new SUBSCRIBE cannot change them, and is
// not refused for trying (Mesos 1.11, docs/scheduler-http-api.md).
func keepFixed(old, info *mesos.FrameworkInfo) *mesos.FrameworkInfo {
	if old.GetUser() == info.GetUser() && old.GetCheckpoint() == info.GetCheckpoint() {
		return info
	}
	info = proto.CloneOf(info)
	info.User, info.Checkpoint = old.User, old.Checkpoint
	return info
}

// addFramework makes a framework known to the allocator and to the lists.
func (m *Master) addFramework(f *framework) {
	m.frameworks[f.id] = f
	f.inAllocator = true
	m.alloc.AddFramework(f.forAllocator())
	m.rolesDirty = true
}

// update replaces what a framework said of itself (UPDATE_FRAMEWORK, SUBSCRIBE). Offers
// for roles it no longer has are rescinded.
func (m *Master) update(f *framework, info *mesos.FrameworkInfo, suppressed []string, c *schedulerpb.OfferConstraints) {
	before := f.roles
	f.describe(info)
	f.suppressed = sortedSet(suppressed)
	f.constraints = c
	for _, o := range f.sortedOffers() {
		if !slices.Contains(f.roles, o.role) {
			m.rescind(o, nil)
		}
	}
	m.alloc.UpdateFramework(f.forAllocator())
	if !slices.Equal(before, f.roles) {
		m.rolesDirty = true
	}
	m.touchFramework(f)
}

// tellAgents sends the FrameworkInfo to the agents that run something of it.
func (m *Master) tellAgents(f *framework) {
	for _, a := range f.agentsOf() {
		m.toAgent(a, &stoapb.ToAgent{Body: &stoapb.ToAgent_UpdateFramework{UpdateFramework: &stoapb.UpdateFramework{
			Epoch: &m.epoch, Framework: f.info,
		}}})
	}
}

func sortedSet(names []string) []string {
	if len(names) == 0 {
		return nil
	}
	names = slices.Clone(names)
	slices.Sort(names)
	return slices.Compact(names)
}
