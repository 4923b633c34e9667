package state

import (
	"fmt"
	"slices"
	"strings"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	masterpb "github.com/stoa-kernel/stoa/api/mesos/v1/master"
	quotapb "github.com/stoa-kernel/stoa/api/mesos/v1/quota"
	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/kernel/role"
	"github.com/stoa-kernel/stoa/master/allocator"
	"github.com/stoa-kernel/stoa/master/validate"
	"google.golang.org/protobuf/proto"
)

// operator is an operator call that changes something.
func (m *Master) operator(in Operate) {
	switch c := in.Call; c.GetType() {
	case masterpb.Call_UPDATE_QUOTA:
		m.updateQuota(in.Token, c.GetUpdateQuota())
	case masterpb.Call_UPDATE_WEIGHTS:
		m.updateWeights(in.Token, c.GetUpdateWeights().GetWeightInfos())
	case masterpb.Call_TEARDOWN:
		f := m.frameworks[id.Framework(c.GetTeardown().GetFrameworkId().GetValue())]
		if f == nil {
			m.answer(in.Token, 400, "No framework found with specified ID")
			return
		}
		m.removeFramework(f)
		m.answer(in.Token, 200, "")
	default:
		m.answer(in.Token, 501, fmt.Sprintf("operator call %s is not implemented", c.GetType()))
	}
}

// updateQuota is UPDATE_QUOTA, all or nothing (Mesos 1.11, docs/quota.md). Unlike Mesos's, nested
// roles may have quotas: a parent's guarantee then covers its children's.
func (m *Master) updateQuota(token Token, call *masterpb.Call_UpdateQuota) {
	next := make(map[string]quota, len(m.quotas)+len(call.GetQuotaConfigs()))
	for r, q := range m.quotas {
		next[r] = q
	}
	seen := map[string]bool{}
	for _, c := range call.GetQuotaConfigs() {
		if err := m.checkQuota(c, seen, call.GetForce()); err != nil {
			m.answer(token, 400, "Invalid QuotaConfig: "+err.Error())
			return
		}
		next[c.GetRole()] = quota{parseQuota(c.Guarantees), parseQuota(c.Limits)}
	}
	if err := m.checkGuarantees(next, call.GetForce()); err != nil {
		m.answer(token, 400, "Invalid QuotaConfig: "+err.Error())
		return
	}
	for _, c := range call.GetQuotaConfigs() {
		q := next[c.GetRole()]
		var record proto.Message
		if q.guarantee != nil || q.limit != nil {
			record = &stoapb.QuotaRecord{Config: c}
		}
		m.out.add(Persist{Quotas, c.GetRole(), record})
		m.setQuota(c.GetRole(), q.guarantee, q.limit)
	}
	for _, c := range call.GetQuotaConfigs() {
		m.enforceQuota(c.GetRole(), next[c.GetRole()])
	}
	m.rolesDirty = true
	m.answer(token, 200, "")
}

func (m *Master) checkQuota(c *quotapb.QuotaConfig, seen map[string]bool, force bool) error {
	if err := validate.Quota(c); err != nil {
		return err
	}
	r := c.GetRole()
	if seen[r] {
		return fmt.Errorf("role '%s' is listed twice", r)
	}
	seen[r] = true
	if m.cfg.Roles != nil && r != role.Default && !slices.Contains(m.cfg.Roles, r) {
		return fmt.Errorf("role '%s' is not among the master's --roles", r)
	}
	if limit := parseQuota(c.Limits); limit != nil && !force {
		consumed := m.consumedQuota(r, false)
		if exceeds(consumed, limit) {
			return fmt.Errorf("Role '%s' is already consuming '%s'; this is more than the requested limits '%s' (use 'force' flag to bypass this check)", r, consumed, limit)
		}
	}
	return nil
}

// checkGuarantees checks that parents cover their children and the cluster all of them.
func (m *Master) checkGuarantees(quotas map[string]quota, force bool) error {
	roles := make([]string, 0, len(quotas))
	for r := range quotas {
		roles = append(roles, r)
	}
	slices.Sort(roles)
	children := map[string]resource.Quantities{}
	var total resource.Quantities
	for _, r := range roles {
		parent := role.Parent(r)
		if parent == "" {
			total = total.Add(quotas[r].guarantee)
			continue
		}
		if quotas[r].guarantee != nil {
			children[parent] = children[parent].Add(quotas[r].guarantee)
		}
	}
	parents := make([]string, 0, len(children))
	for p := range children {
		parents = append(parents, p)
	}
	slices.Sort(parents)
	for _, p := range parents {
		if own := quotas[p].guarantee; !own.Contains(children[p]) {
			return fmt.Errorf("the guarantees of the roles below '%s' are %s together, which is more than its own guarantee '%s'", p, children[p], own)
		}
	}
	if capacity := m.capacity(); !force && !capacity.Contains(total) {
		return fmt.Errorf("total quota guarantees '%s' exceed cluster capacity '%s' (use 'force' flag to bypass this check)", total, capacity)
	}
	return nil
}

// capacity is the scalars of all agents that were here, without revocable ones.
func (m *Master) capacity() resource.Quantities {
	var sum resource.Quantities
	for _, a := range m.sortedAgents() {
		sum = sum.Add(a.total.NonRevocable().Quantities())
	}
	return sum
}

// exceeds reports whether a quantity is above its limit; what has no limit is not limited.
func exceeds(amount, limit resource.Quantities) bool {
	for _, q := range amount {
		if l, ok := limit.Get(q.Name); ok && q.Value > l {
			return true
		}
	}
	return false
}

// below reports whether r is role or under it.
func below(r, top string) bool { return r == top || role.IsStrictSubrole(r, top) }

// consumedQuota is what a role and those below it have: all their reservations, used or
// not, and the unreserved non-revocable resources allocated to them; with offers, also
// what is offered.
func (m *Master) consumedQuota(r string, offered bool) resource.Quantities {
	var sum resource.Quantities
	for _, a := range m.sortedAgents() {
		sum = sum.Add(a.total.NonRevocable().Filter(func(x *resource.Resource) bool {
			return x.Reserved() && below(x.Role(), r)
		}).Quantities())
		unreserved := func(x *resource.Resource) bool {
			return !x.Reserved() && !x.Revocable() && below(x.AllocatedTo(), r)
		}
		sum = sum.Add(a.allocated.Filter(unreserved).Quantities())
		if offered {
			sum = sum.Add(a.offered.Filter(unreserved).Quantities())
		}
	}
	return sum
}

// enforceQuota rescinds offers: of the role while it has more than its limit, then of
// others until enough is free for its guarantee.
func (m *Master) enforceQuota(r string, q quota) {
	have := m.consumedQuota(r, true)
	// Operators' rescinds refuse with the default filter, or the same would be offered
	// again at once.
	refusal := &allocator.Refusal{For: defaultRefusal}
	if q.limit != nil {
		for _, a := range m.sortedAgents() {
			for _, o := range slices.Clone(a.offers) {
				if !exceeds(have, q.limit) {
					break
				}
				if below(o.role, r) {
					have = have.Sub(o.resources.NonRevocable().Unreserved().Quantities())
					m.rescind(o, refusal)
				}
			}
		}
	}
	for _, a := range m.sortedAgents() {
		for _, o := range slices.Clone(a.offers) {
			if have.Contains(q.guarantee) {
				return
			}
			if !below(o.role, r) {
				have = have.Add(o.resources.NonRevocable().Unreserved().Quantities())
				m.rescind(o, refusal)
			}
		}
	}
}

func (m *Master) setQuota(r string, guarantee, limit resource.Quantities) {
	if guarantee == nil && limit == nil {
		delete(m.quotas, r)
	} else {
		m.quotas[r] = quota{guarantee, limit}
	}
	m.alloc.SetQuota(r, guarantee, limit)
}

func (m *Master) sortedAgents() []*agent {
	all := make([]*agent, 0, len(m.agents))
	for _, a := range m.agents {
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b *agent) int { return compareIDs(a.id, b.id) })
	return all
}

// updateWeights is UPDATE_WEIGHTS: offers are rescinded if a weight of a role that is in
// use changes.
func (m *Master) updateWeights(token Token, infos []*mesos.WeightInfo) {
	for _, w := range infos {
		if err := validate.Weight(w); err != nil {
			m.answer(token, 400, err.Error())
			return
		}
		r := strings.TrimSpace(w.GetRole())
		if m.cfg.Roles != nil && r != role.Default && !slices.Contains(m.cfg.Roles, r) {
			m.answer(token, 400, fmt.Sprintf("role '%s' is not among the master's --roles", r))
			return
		}
	}
	inUse := false
	for _, w := range infos {
		r, weight := strings.TrimSpace(w.GetRole()), w.GetWeight()
		m.out.add(Persist{Weights, r, &stoapb.WeightRecord{Info: &mesos.WeightInfo{Role: &r, Weight: &weight}}})
		m.setWeight(r, weight)
		inUse = inUse || m.roleInUse(r)
	}
	if inUse {
		for _, a := range m.sortedAgents() {
			m.rescindAgent(a, nil)
		}
	}
	m.rolesDirty = true
	m.answer(token, 200, "")
}

func (m *Master) setWeight(r string, weight float64) {
	m.weights[r] = weight
	m.alloc.SetWeight(r, weight)
}

func (m *Master) roleInUse(r string) bool {
	for _, f := range m.frameworks {
		if slices.Contains(f.roles, r) {
			return true
		}
	}
	return false
}

// roleList is every role that a framework has, or that has a weight or quota.
func (m *Master) roleList() []Role {
	byName := map[string]*Role{}
	get := func(name string) *Role {
		r := byName[name]
		if r == nil {
			r = &Role{Name: name, Weight: 1}
			if w, ok := m.weights[name]; ok {
				r.Weight, r.Weighted = w, true
			}
			q := m.quotas[name]
			r.Guarantee, r.Limit = q.guarantee, q.limit
			byName[name] = r
		}
		return r
	}
	for name := range m.weights {
		get(name)
	}
	for name := range m.quotas {
		get(name)
	}
	for _, f := range m.sortedFrameworks() {
		for _, name := range f.roles {
			r := get(name)
			r.Frameworks = append(r.Frameworks, f.id)
			r.Allocated = r.Allocated.Add(f.allocated.AllocatedTo(name))
		}
	}
	names := make([]string, 0, len(byName))
	for name := range byName {
		names = append(names, name)
	}
	slices.Sort(names)
	out := make([]Role, len(names))
	for i, name := range names {
		out[i] = *byName[name]
	}
	return out
}
