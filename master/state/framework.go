package state

import (
	"slices"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/internal/planted"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/master/allocator"
	"github.com/stoa-kernel/stoa/master/validate"
)

// framework is a framework that subscribed once, or whose tasks an agent reported.
type framework struct {
	id      id.Framework
	protoID *mesos.FrameworkID
	info    *mesos.FrameworkInfo
	stream  Stream // "" while disconnected
	// recovered until it subscribes to this master.
	recovered bool
	removed   bool

	registered, reregistered, unregistered time.Time

	roles       []string
	suppressed  []string // sorted
	constraints *schedulerpb.OfferConstraints
	// Capabilities that matter here.
	partitionAware, multiRole, refinement bool

	tasks map[id.Task]*task
	// unreachable tasks by id, and in the order they became so.
	unreachable      map[id.Task]*task
	unreachableOrder []*task
	// completed[completedFrom:] are the last completed tasks, oldest first.
	completed     []*task
	completedFrom int
	completedByID map[id.Task]*task

	executors  map[executorAt]*executor
	offers     map[id.Offer]*offer
	operations map[id.Operation]*operation // those with an id

	// Scalars only: other resources do not add up over agents.
	allocated, offered resource.Resources

	failoverArmed bool
	dirty         bool
	inAllocator   bool
}

func (f *framework) connected() bool { return f.stream != "" }

func newFramework(info *mesos.FrameworkInfo) *framework {
	f := &framework{
		id:            id.Framework(info.GetId().GetValue()),
		protoID:       info.GetId(),
		tasks:         map[id.Task]*task{},
		unreachable:   map[id.Task]*task{},
		completedByID: map[id.Task]*task{},
		executors:     map[executorAt]*executor{},
		offers:        map[id.Offer]*offer{},
		operations:    map[id.Operation]*operation{},
	}
	f.describe(info)
	return f
}

// describe takes over a FrameworkInfo.
func (f *framework) describe(info *mesos.FrameworkInfo) {
	f.info = info
	f.roles = validate.Roles(info)
	f.partitionAware = validate.Has(info, mesos.FrameworkInfo_Capability_PARTITION_AWARE)
	f.multiRole = validate.Has(info, mesos.FrameworkInfo_Capability_MULTI_ROLE)
	f.refinement = validate.Has(info, mesos.FrameworkInfo_Capability_RESERVATION_REFINEMENT)
}

func (f *framework) snapshot() *Framework {
	return &Framework{
		Info:         f.info,
		Connected:    f.connected(),
		Recovered:    f.recovered,
		Removed:      f.removed,
		Registered:   f.registered,
		Reregistered: f.reregistered,
		Unregistered: f.unregistered,
		Suppressed:   f.suppressed,
		Constraints:  f.constraints,
		Allocated:    f.allocated,
		Offered:      f.offered,
	}
}

// forAllocator describes the framework to the allocator.
func (f *framework) forAllocator() allocator.Framework {
	a := allocator.Framework{
		ID:          f.id,
		Name:        f.info.GetName(),
		Roles:       f.roles,
		Suppressed:  f.suppressed,
		Revocable:   validate.Has(f.info, mesos.FrameworkInfo_Capability_REVOCABLE_RESOURCES),
		Shared:      validate.Has(f.info, mesos.FrameworkInfo_Capability_SHARED_RESOURCES),
		GPU:         validate.Has(f.info, mesos.FrameworkInfo_Capability_GPU_RESOURCES),
		RegionAware: validate.Has(f.info, mesos.FrameworkInfo_Capability_REGION_AWARE),
		Refinement:  f.refinement,
		MultiRole:   f.multiRole,
		Constraints: f.constraints,
	}
	if len(f.info.OfferFilters) > 0 {
		a.OfferFilters = make(map[string][]resource.Quantities, len(f.info.OfferFilters))
		for role, filters := range f.info.OfferFilters {
			if filters.GetMinAllocatableResources() == nil {
				continue
			}
			minima := []resource.Quantities{}
			for _, q := range filters.MinAllocatableResources.GetQuantities() {
				if parsed, err := resource.QuantitiesOf(q.GetQuantities()); err == nil {
					minima = append(minima, parsed)
				}
			}
			a.OfferFilters[role] = minima
		}
	}
	return a
}

// failoverTimeout is FrameworkInfo.failover_timeout; validate.Framework bounds it.
func (f *framework) failoverTimeout() time.Duration {
	const most = 100 * 365 * 24 * time.Hour
	s := f.info.GetFailoverTimeout()
	if s >= most.Seconds() {
		return most
	}
	return time.Duration(s * float64(time.Second))
}

// record is the framework as the registry keeps it.
func (f *framework) record(left time.Duration) *stoapb.FrameworkRecord {
	r := &stoapb.FrameworkRecord{Info: f.info}
	if !f.registered.IsZero() {
		ns := f.registered.UnixNano()
		r.Registered = &ns
	}
	if !f.connected() && !f.removed {
		ns := int64(left)
		r.FailoverLeft = &ns
	}
	if f.removed {
		yes, ns := true, f.unregistered.UnixNano()
		r.Removed, r.RemovedAt = &yes, &ns
	}
	return r
}

func (m *Master) persistFramework(f *framework, left time.Duration) {
	m.out.add(Persist{Frameworks, string(f.id), f.record(left)})
}

// emit sends an event if the framework is connected.
func (m *Master) emit(f *framework, e *schedulerpb.Event) {
	if f.connected() {
		m.out.add(ToFramework{f.stream, e})
	}
}

// send sends a status as an UPDATE.
func (m *Master) send(f *framework, s *mesos.TaskStatus) {
	m.emit(f, &schedulerpb.Event{
		Type:   schedulerpb.Event_UPDATE.Enum(),
		Update: &schedulerpb.Event_Update{Status: s},
	})
}

func (m *Master) failure(f *framework, a *mesos.AgentID, e *mesos.ExecutorID, status *int32) {
	m.emit(f, &schedulerpb.Event{
		Type:    schedulerpb.Event_FAILURE.Enum(),
		Failure: &schedulerpb.Event_Failure{AgentId: a, ExecutorId: e, Status: status},
	})
}

// refuse ends a subscription with an ERROR.
func (m *Master) refuse(s Stream, message string) {
	m.out.add(ToFramework{s, &schedulerpb.Event{
		Type:  schedulerpb.Event_ERROR.Enum(),
		Error: &schedulerpb.Event_Error{Message: &message},
	}})
	m.out.add(CloseStream{s})
}

// find looks a framework up, removed ones that are still dying or listed too.
func (m *Master) find(f id.Framework) *framework {
	if fw := m.frameworks[f]; fw != nil {
		return fw
	}
	if fw := m.dying[f]; fw != nil {
		return fw
	}
	return m.removed[f]
}

// sortedFrameworks are those not removed, by id.
func (m *Master) sortedFrameworks() []*framework {
	all := make([]*framework, 0, len(m.frameworks))
	for _, f := range m.frameworks {
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b *framework) int { return compareIDs(a.id, b.id) })
	return all
}

// sortedTasks are the framework's live and unacknowledged tasks, by id.
func (f *framework) sortedTasks() []*task {
	all := make([]*task, 0, len(f.tasks))
	for _, t := range f.tasks {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b *task) int { return compareIDs(a.id, b.id) })
	return all
}

// agentsOf are the agents that run something of the framework, by id.
func (f *framework) agentsOf() []*agent {
	seen := map[id.Agent]*agent{}
	for _, t := range f.tasks {
		seen[t.agent.id] = t.agent
	}
	for _, e := range f.executors {
		seen[e.agent.id] = e.agent
	}
	all := make([]*agent, 0, len(seen))
	for _, a := range seen {
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b *agent) int { return compareIDs(a.id, b.id) })
	return all
}

func compareIDs[T ~string](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// disconnect follows a lost stream: offers go back, and the framework has
// failover_timeout to return.
func (m *Master) disconnect(f *framework) {
	delete(m.streams, f.stream)
	f.stream = ""
	m.takeBackOffers(f, false)
	m.alloc.DeactivateFramework(f.id)
	left := f.failoverTimeout()
	if left == 0 {
		m.removeFramework(f)
		return
	}
	m.persistFramework(f, left)
	m.armFailover(f, left)
	m.touchFramework(f)
}

func (m *Master) armFailover(f *framework, left time.Duration) {
	f.failoverArmed = true
	m.setTimer(TimerFailover, string(f.id), m.now.Mono+left)
}

func (m *Master) stopFailover(f *framework) {
	if f.failoverArmed && !planted.Bug("old subscription's failover timer firing after resubscribe") {
		f.failoverArmed = false
		m.stopTimer(TimerFailover, string(f.id))
	}
}

func (m *Master) streamClosed(s Stream) {
	if f := m.streams[s]; f != nil {
		m.disconnect(f)
	}
}

// failoverExpired is the end of failover_timeout. The timer of an old disconnection was
// replaced or stopped by the subscription since, so a connected framework is never hit.
func (m *Master) failoverExpired(f *framework) {
	f.failoverArmed = false
	if !f.connected() || planted.Bug("old subscription's failover timer firing after resubscribe") {
		m.removeFramework(f)
	}
}
