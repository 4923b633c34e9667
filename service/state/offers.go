package state

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"google.golang.org/protobuf/proto"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/match"
)

// offering is whether offers are wanted, and what the master was told about it.
type offering struct {
	reviving bool // the master makes offers; otherwise they are suppressed
	fresh    bool // something began to wait since the last REVIVE
	last     time.Duration
	armed    bool
}

// want says that something began to wait for offers: filters from before are in its way.
func (s *Service) want() { s.offered.fresh = true }

// wanted reports whether any offer would be looked at.
func (s *Service) wanted() bool {
	if len(s.garbage) > 0 {
		return true
	}
	return slices.ContainsFunc(s.waiting, s.launchable)
}

// launchable reports whether offers can help an app that waits.
func (s *Service) launchable(a *application) bool {
	return a.def != nil && a.queue.Blocked == "" && s.delayed(a) == 0
}

// call tells the master whether offers are wanted, not more often than Config.Revive.
func (s *Service) call() {
	if !s.connected {
		return
	}
	if !s.offered.fresh && s.offered.reviving == (len(s.waiting)+len(s.garbage) > 0) {
		return
	}
	switch wanted := s.wanted(); {
	case wanted && (s.offered.fresh || !s.offered.reviving):
		if wait := s.offered.last + s.cfg.Revive - s.now.Mono; s.offered.last > 0 && wait > 0 {
			if !s.offered.armed {
				s.offered.armed = true
				s.after(wait, timerRevive, "")
			}
			return
		}
		s.revive()
	case !wanted && s.offered.reviving:
		s.offered.reviving = false
		s.emit(Call{Call: &schedulerpb.Call{Type: schedulerpb.Call_SUPPRESS.Enum(), Suppress: &schedulerpb.Call_Suppress{}}})
	}
}

func (s *Service) revive() {
	s.offered.armed = false
	if !s.connected || !s.wanted() {
		return
	}
	s.offered = offering{reviving: true, last: s.now.Mono}
	s.subscribeRoles()
	s.emit(Call{Call: &schedulerpb.Call{Type: schedulerpb.Call_REVIVE.Enum(), Revive: &schedulerpb.Call_Revive{}}})
}

// blocked says what holds an app back before any offer is looked at, "" if nothing does.
func (s *Service) blocked(a *application) string {
	if a.def == nil {
		return ""
	}
	if need := match.Capability(a.def); need != "" {
		return "no agent of this cluster has what the app needs: " + need
	}
	why := ""
	for _, id := range s.tree.Depends(a.id) {
		b := s.apps[id]
		if b == nil {
			continue
		}
		if b.holds == nil {
			b.holds = make(map[string]bool)
		}
		b.holds[a.id] = true
		if b.serves = s.satisfied(b); !b.serves && why == "" {
			why = fmt.Sprintf("it depends on %s, of which %d of %d instances are healthy", id, b.healthy(), b.def.Instances)
		}
	}
	return why
}

// satisfied reports whether apps that depend on this one may start: at least its
// minimum of instances is healthy, or it has run to its end.
func (s *Service) satisfied(a *application) bool {
	if a.def == nil || a.def.Instances == 0 {
		return true
	}
	least := max(1, int(math.Ceil(float64(a.def.Instances)*a.def.UpgradeStrategy.MinimumHealthCapacity)))
	if a.healthy() >= least {
		return true
	}
	good := 0
	for _, t := range a.tallies {
		good += t.Good // with those that have run to their end
	}
	return a.def.RestartPolicy != "" && good >= least
}

// mostRefusals bounds the apps that are tried in vain on one agent's offers.
const mostRefusals = 256

// mostUnused bounds the offers that are shown of each app.
const mostUnused = 10

// offers answers every offer at once: launches, or declines.
func (s *Service) offers(all []*mesos.Offer, more int) {
	type place struct{ agent, role string }
	var places []place
	byPlace := make(map[place][]*mesos.Offer)
	for _, o := range all {
		p := place{o.GetAgentId().GetValue(), o.GetAllocationInfo().GetRole()}
		if byPlace[p] == nil {
			places = append(places, p)
		}
		byPlace[p] = append(byPlace[p], o)
	}
	var unused []*mesos.OfferID
	round := s.round(len(places) + more)
	for _, p := range places {
		ids := make([]*mesos.OfferID, len(byPlace[p]))
		for n, o := range byPlace[p] {
			ids[n] = o.Id
		}
		operations, tasks := s.place(byPlace[p], round)
		if len(operations) == 0 {
			unused = append(unused, ids...)
		} else {
			s.emit(Call{Tasks: tasks, Call: &schedulerpb.Call{Type: schedulerpb.Call_ACCEPT.Enum(), Accept: &schedulerpb.Call_Accept{
				OfferIds: ids, Operations: operations,
				Filters: &mesos.Filters{RefuseSeconds: proto.Float64(0)}, // what is left is looked at once more
			}}})
		}
		round.left--
	}
	if len(unused) > 0 { // in one call: after a REVIVE every agent's may be among them
		s.emit(Call{Call: &schedulerpb.Call{Type: schedulerpb.Call_DECLINE.Enum(), Decline: &schedulerpb.Call_Decline{
			OfferIds: unused, Filters: &mesos.Filters{RefuseSeconds: proto.Float64(s.cfg.Decline.Seconds())},
		}}})
	}
	for _, a := range round.tried {
		a.queue.Count = a.waits
		s.emit(ChangedQueue{a.id, a.queue})
	}
}

// round is what the offers of one step go to.
type round struct {
	left  int            // offers, this one included
	open  []*application // still with something to launch; the next to be tried first
	tried []*application
	seen  map[*application]bool // those of tried
}

func (s *Service) round(left int) *round {
	r := &round{left: left, seen: make(map[*application]bool)}
	for n := range s.waiting {
		if a := s.waiting[(s.next+n)%len(s.waiting)]; a.waits > 0 && s.launchable(a) {
			r.open = append(r.open, a)
		}
	}
	return r
}

// first reports whether an app is tried for the first time.
func (r *round) first(a *application) bool {
	if r.seen[a] {
		return false
	}
	r.seen[a] = true
	r.tried = append(r.tried, a)
	return true
}

// place finds what to do with the offers of one agent and role: operations, the launches
// of tasks last, or nothing.
func (s *Service) place(offers []*mesos.Offer, r *round) (operations []*mesos.Offer_Operation, launched []string) {
	pool, err := match.NewPool(offers)
	if err != nil {
		return nil, nil // not in a form that anything can be launched from
	}
	pool.Share(s.agents[offers[0].GetAgentId().GetValue()])
	host := pool.Host()
	if s.agents[host.ID] == nil {
		s.agents[host.ID] = host
		s.touchPerAgent()
	}
	operations = pool.Orphans(s.framework, func(id string) bool { return s.instances[id] != nil })
	operations = append(operations, s.collect(pool, host)...)
	tasks, more := s.fill(pool, r)
	operations = append(operations, more...)
	if len(tasks) == 0 {
		return operations, nil
	}
	for _, t := range tasks {
		launched = append(launched, t.GetTaskId().GetValue())
	}
	return append(operations, &mesos.Offer_Operation{
		Type: mesos.Offer_Operation_LAUNCH.Enum(), Launch: &mesos.Offer_Operation_Launch{TaskInfos: tasks},
	}), launched
}

// fill launches what waits and fits, each app its share of the offers at hand.
func (s *Service) fill(pool *match.Pool, r *round) (tasks []*mesos.TaskInfo, operations []*mesos.Offer_Operation) {
	n, refusals, done := 0, 0, false
	for ; n < len(r.open) && refusals < mostRefusals; n++ {
		a := r.open[n]
		share := (a.waits + r.left - 1) / r.left
		if m := s.cfg.MaxPerOffer; m > 0 {
			share = min(share, m)
		}
		refusals += s.fillApp(pool, a, share, r, &tasks, &operations)
		done = done || a.waits == 0
	}
	if n < len(r.open) { // the next offers begin with the next ones
		s.next = (s.next + n) % len(s.waiting)
		r.open = append(slices.Clip(r.open[n:]), r.open[:n]...)
	}
	if done {
		r.open = slices.DeleteFunc(r.open, func(a *application) bool { return a.waits == 0 })
	}
	return tasks, operations
}

// fillApp launches up to so many instances of an app and returns how many found no place.
// Of resident apps all are tried, since each is bound to its own agent.
func (s *Service) fillApp(pool *match.Pool, a *application, share int, r *round, tasks *[]*mesos.TaskInfo, operations *[]*mesos.Offer_Operation) (refusals int) {
	var back []string
	defer func() { a.putBack(back) }()
	resident := a.def.Resident()
	// While sets of several definitions are there, one that finds no place must not keep
	// another one waiting.
	sets := make(map[*marathon.App]*match.Placed, 1)
	refused := make(map[*marathon.App]bool)
	skip := func(i *instance.Instance) bool { return refused[a.launches(i)] }
	for n := 0; n < share || resident; n++ {
		i := s.take(a, skip)
		if i == nil {
			break
		}
		def := a.launches(i)
		if i.Version != def.Version {
			i = with(i, func(c *instance.Instance) { c.Version = def.Version })
		}
		placed := sets[def]
		if placed == nil {
			placed = a.count(def)
			sets[def] = placed
		}
		now := s.now.Wall
		if s.cfg.NoMaintenance {
			now = time.Time{}
		}
		outcome, refusal := pool.Fit(&match.Want{
			App: def, Instance: i, Placed: placed, FrameworkID: s.framework, Region: s.cfg.Region,
			Principal: s.cfg.Principal, Seed: s.rng.Uint64(), Now: now, Draining: s.cfg.Draining, WasteGPUs: s.cfg.WasteGPUs,
		})
		if r.first(a) {
			q := *a.queue // readers have the old one
			q.Launch, q.Last = maps.Clone(q.Launch), make(map[match.Reason]Count)
			a.queue = &q
		}
		s.tally(a, pool, refusal)
		switch {
		case refusal != nil:
			refusals++
			back = append(back, i.ID)
			if !resident {
				refused[def] = true
				if len(a.tallies) == 1 {
					return refusals
				}
			}
		case outcome.Reserve != nil:
			back = append(back, i.ID)
			*operations = append(*operations, outcome.Operations...)
			s.reserved(outcome.Reserve)
		default:
			*tasks = append(*tasks, s.launch(a, def, outcome))
		}
	}
	return refusals
}

// launches is the definition that an instance is launched with: that of its version, but
// the current one if the app was only scaled since.
func (a *application) launches(i *instance.Instance) *marathon.App {
	if def := a.definition(i); configOf(def) != configOf(a.def) {
		return def
	}
	return a.def
}

// count what constraints of a definition take into account. Of a set that is being
// replaced that is the set alone: those that replace it have constraints of their own.
// Groups share what there is, should that be more than the definition says: previews that
// a cancelled deployment left, say.
func (a *application) count(def *marathon.App) *match.Placed {
	if def == a.def && a.placed != nil {
		return a.placed
	}
	var set []*instance.Instance
	for _, i := range a.list {
		if i.Goal != instance.GoalDecommissioned && a.launches(i) == def {
			set = append(set, i)
		}
	}
	wide := def
	if len(set) > def.Instances {
		wider := *def
		wider.Instances = len(set)
		wide = &wider
	}
	if def != a.def {
		return match.Count(wide, set)
	}
	a.placed = match.Count(wide, a.list)
	return a.placed
}

// launch makes a placed instance a task. Its record is durable before the ACCEPT.
func (s *Service) launch(a *application, def *marathon.App, o *match.Outcome) *mesos.TaskInfo {
	i := with(o.Launch, func(c *instance.Instance) {
		c.Incarnation++
		c.TaskID = instance.TaskID(c.ID, c.Incarnation)
		c.Condition, c.Since, c.StagedAt = instance.Provisioned, s.now.Wall, s.now.Wall
		c.TaskState = mesos.TaskState_TASK_STAGING.String()
		if r := c.Reservation; r != nil && !r.Done { // an offer has brought it
			done := *r
			done.Done = true
			c.Reservation = &done
		}
	})
	s.timers.Stop(timer{timerReservation, i.ID})
	s.set(i, safe)
	s.after(s.cfg.LaunchConfirm, timerOverdue, i.ID)
	return match.Task(def, i, o.Resources, s.taskOptions(a))
}

// taskOptions are those that a task of an app is made with.
func (s *Service) taskOptions(a *application) match.TaskOptions {
	o := s.cfg.Task
	o.FrameworkID = s.framework
	if top, _, ok := strings.Cut(strings.TrimPrefix(a.id, "/"), "/"); ok {
		g, _ := s.tree.Group("/" + top)
		o.EnforceRole = g.EnforceRole
	}
	return o
}

// tally keeps the queue's figures of one offer that was looked at.
func (s *Service) tally(a *application, pool *match.Pool, refusal *match.Refusal) {
	q := a.queue
	q.Processed++
	if refusal == nil {
		q.LastUsedAt = s.now.Wall
		return
	}
	q.Unused++
	q.LastUnusedAt = s.now.Wall
	for _, r := range match.Reasons {
		all, last := q.Launch[r], q.Last[r]
		all.Processed++
		last.Processed++
		if r == refusal.Reason {
			all.Declined++
			last.Declined++
			q.Launch[r], q.Last[r] = all, last
			break
		}
		q.Launch[r], q.Last[r] = all, last
	}
	// One of each agent, the latest (as Marathon 1.10). Readers have the old list.
	agent := pool.Offers[0].GetAgentId().GetValue()
	latest := append(make([]Unused, 0, mostUnused), Unused{Offer: pool.Offers[0], At: s.now.Wall, Why: *refusal})
	for _, u := range q.LastUnused {
		if len(latest) < mostUnused && u.Offer.GetAgentId().GetValue() != agent {
			latest = append(latest, u)
		}
	}
	q.LastUnused = latest
}

// touchPerAgent looks again at the apps that follow the agents.
func (s *Service) touchPerAgent() {
	for _, id := range slices.Sorted(maps.Keys(s.followers)) {
		s.touch(id)
	}
}
