package state

import (
	"cmp"
	"slices"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/master/allocator"
	"google.golang.org/protobuf/proto"
)

// recover takes the registry over. Downtime of masters counts for nobody: agents have
// agent_reregister_timeout to return, frameworks what was left to them.
func (m *Master) recover(in Recovered) {
	m.ready = true
	m.epoch = in.Epoch
	m.info = schedulerInfo(in.Master)
	m.alloc = allocator.New(allocator.Config{
		MinAllocatable: m.cfg.MinAllocatable,
		Seed:           m.cfg.Seed,
		Domain:         in.Master.GetDomain(),
	})
	for _, q := range sorted(in.Quotas, func(q *stoapb.QuotaRecord) string { return q.GetConfig().GetRole() }) {
		m.setQuota(q.GetConfig().GetRole(), parseQuota(q.GetConfig().GetGuarantees()), parseQuota(q.GetConfig().GetLimits()))
	}
	for _, w := range sorted(in.Weights, func(w *stoapb.WeightRecord) string { return w.GetInfo().GetRole() }) {
		m.setWeight(w.GetInfo().GetRole(), w.GetInfo().GetWeight())
	}
	m.recoverFrameworks(in.Frameworks)
	m.recoverAgents(in.Agents)
	m.pauseAllocation()
	m.rolesDirty = true
	m.setTimer(TimerRegistryGC, "", m.now.Mono+m.cfg.RegistryGCInterval)
}

// schedulerInfo is MasterInfo for schedulers: without QUOTA_V2, which mesos-go cannot
// read.
func schedulerInfo(info *mesos.MasterInfo) *mesos.MasterInfo {
	if info == nil {
		return nil
	}
	info = proto.CloneOf(info)
	info.Capabilities = []*mesos.MasterInfo_Capability{
		{Type: mesos.MasterInfo_Capability_AGENT_UPDATE.Enum()},
		{Type: mesos.MasterInfo_Capability_AGENT_DRAINING.Enum()},
	}
	return info
}

func sorted[T any](list []T, key func(T) string) []T {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b T) int { return cmp.Compare(key(a), key(b)) })
	return list
}

func (m *Master) recoverFrameworks(records []*stoapb.FrameworkRecord) {
	records = sorted(records, func(r *stoapb.FrameworkRecord) string { return r.GetInfo().GetId().GetValue() })
	slices.SortStableFunc(records, func(a, b *stoapb.FrameworkRecord) int {
		return cmp.Compare(a.GetRemovedAt(), b.GetRemovedAt())
	})
	for _, r := range records {
		f := newFramework(r.GetInfo())
		if r.Registered != nil {
			f.registered = time.Unix(0, r.GetRegistered()).UTC()
		}
		if r.GetRemoved() {
			f.removed = true
			f.unregistered = time.Unix(0, r.GetRemovedAt()).UTC()
			m.removed[f.id] = f
			m.removedOrder = append(m.removedOrder, f)
			m.publish(FrameworkRemoved{f.snapshot()})
			continue
		}
		f.recovered = true
		m.addFramework(f)
		m.alloc.DeactivateFramework(f.id)
		left := f.failoverTimeout()
		if r.FailoverLeft != nil {
			left = time.Duration(r.GetFailoverLeft())
		}
		m.armFailover(f, max(left, m.cfg.AgentReregisterTimeout))
		m.publish(FrameworkAdded{f.snapshot()})
	}
}

func (m *Master) recoverAgents(records []*stoapb.AgentRecord) {
	for _, r := range sorted(records, func(r *stoapb.AgentRecord) string { return r.GetInfo().GetId().GetValue() }) {
		aid := id.Agent(r.GetInfo().GetId().GetValue())
		switch r.GetState() {
		case stoapb.AgentRecord_UNREACHABLE:
			m.unreachable[aid] = absent{r.GetInfo(), r.GetSince()}
		case stoapb.AgentRecord_GONE:
			m.gone[aid] = absent{r.GetInfo(), r.GetSince()}
		default:
			a := newAgent(aid, r.GetInfo())
			a.recovered = true
			m.agents[aid] = a
			m.recovering++
			a.returnArmed = true
			m.setTimer(TimerAgentReturn, string(aid), m.now.Mono+m.cfg.AgentReregisterTimeout)
			m.publish(AgentAdded{a.snapshot()})
		}
	}
}

// pauseAllocation: with a quota set, allocation waits until 80 % of the agents are back
// or agent_reregister_timeout is over; before that, fairness would be computed from a
// fraction of the cluster (Mesos 1.11, docs/quota.md).
func (m *Master) pauseAllocation() {
	if len(m.quotas) == 0 || m.recovering == 0 {
		return
	}
	m.paused = true
	m.resumeAt = m.recovering / 5
	m.alloc.Pause()
	m.setTimer(TimerRecovery, "", m.now.Mono+m.cfg.AgentReregisterTimeout)
}

func (m *Master) resumeAllocation() {
	if m.paused && m.recovering <= m.resumeAt {
		m.paused = false
		m.alloc.Resume()
		m.stopTimer(TimerRecovery, "")
	}
}

func parseQuota(amounts map[string]*mesos.Value_Scalar) resource.Quantities {
	if len(amounts) == 0 {
		return nil
	}
	q, err := resource.QuantitiesOf(amounts)
	if err != nil {
		return nil
	}
	return q
}
