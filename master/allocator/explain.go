package allocator

import (
	"cmp"
	"slices"
	"time"

	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/kernel/reason"
	"github.com/stoa-kernel/stoa/kernel/resource"
	"github.com/stoa-kernel/stoa/kernel/role"
)

// Request asks why a framework's role, or any framework in the role, is not offered
// resources.
type Request struct {
	Now time.Duration
	// Role is "*" if empty.
	Role string
	// Framework is "" to ask what would be if a framework without filters and
	// constraints, but with all capabilities, wanted the resources.
	Framework id.Framework
	// Resources are unallocated and say how much is needed: of scalars the amount, of
	// ranges (ports) exactly those values, of sets the items. Their reservations are
	// not looked at. Empty asks about any offer at all.
	Resources resource.Resources
	// Ports is how many ports are needed, whichever; it replaces ports in Resources.
	Ports int
	// Nearest bounds Explanation.Nearest; 0 means 3.
	Nearest int
	// Verdicts asks for Explanation.Verdicts, which is long.
	Verdicts bool
}

// Explanation is why not, as data. Every agent is counted once: in Fit, or in Counts
// under the first rule it fails.
type Explanation struct {
	Role      string              `json:"role"`
	Framework id.Framework        `json:"framework_id,omitempty"`
	Request   resource.Quantities `json:"request,omitempty"`
	// Blocked is what stands in the way whatever the agents have, None if nothing does.
	Blocked reason.Reason `json:"blocked"`
	Agents  int           `json:"agents"`
	// Fit is how many agents have the resources free for the role.
	Fit    int     `json:"fit"`
	Counts []Count `json:"counts,omitempty"` // most frequent first
	// Nearest are the agents that miss least; Verdicts has every agent, by hostname, if
	// the request wants it.
	Nearest  []Verdict `json:"nearest,omitempty"`
	Verdicts []Verdict `json:"verdicts,omitempty"`
	// Soonest is when the first filter ends, 0 if nothing is filtered.
	Soonest time.Duration `json:"soonest,omitempty"`
	// Quota of the role and the roles above it, nearest first; only names with quota.
	Quota []Quota `json:"quota,omitempty"`
	// Held is what is held back for guarantees; only names of which something is.
	Held  []Held `json:"held,omitempty"`
	Share Share  `json:"share"`
}

// Count is how many agents failed a rule.
type Count struct {
	Reason reason.Reason `json:"reason"`
	Agents int           `json:"agents"`
}

// Verdict is about one agent.
type Verdict struct {
	Agent    id.Agent      `json:"agent_id"`
	Hostname string        `json:"hostname"`
	Reason   reason.Reason `json:"reason"`
	// Missing is how much, of each resource that is not enough under Reason's rule.
	Missing []Missing `json:"missing,omitempty"`
	// Until is when the filter ends, for Filtered, on the clock of Request.Now.
	Until time.Duration `json:"until,omitempty"`
	// TooSmall says that the agent would not do if nothing ran on it.
	TooSmall bool `json:"too_small,omitempty"`
}

// Missing is an amount, in thousandths; of ports and items in whole thousands.
type Missing struct {
	Name string         `json:"name"`
	By   resource.Milli `json:"by"`
	Have resource.Milli `json:"have"`
}

// Quota is what a role may and does consume of one name.
type Quota struct {
	Role      string         `json:"role"`
	Name      string         `json:"name"`
	Used      resource.Milli `json:"used"` // reservations, allocation and offers
	Guarantee resource.Milli `json:"guarantee,omitempty"`
	Limit     resource.Milli `json:"limit,omitempty"`
	Limited   bool           `json:"limited"` // Limit means something, 0 too
}

// Left is how much the limit leaves.
func (q Quota) Left() resource.Milli { return max(0, q.Limit-q.Used) }

// Held is what guarantees require of one name, and what is available.
type Held struct {
	Name      string         `json:"name"`
	Available resource.Milli `json:"available"`
	Required  resource.Milli `json:"required"`
}

// Share is the place in the order in which roles and frameworks are served.
type Share struct {
	// Dominant is the role's largest part of the cluster in any resource, divided by
	// the weight; Name is that resource.
	Dominant float64 `json:"dominant"`
	Name     string  `json:"name,omitempty"`
	Weight   float64 `json:"weight"`
	// Position of the framework, or of the first of the role's, among the Of that get
	// offers; 1 is next. 0: gets none.
	Position int `json:"position,omitempty"`
	Of       int `json:"of"`
}

// Explain says why a request is not met, as things are now. It changes nothing that
// Allocate decides by.
func (a *Allocator) Explain(q Request) Explanation {
	if q.Role == "" {
		q.Role = "*"
	}
	e := Explanation{Role: q.Role, Framework: q.Framework, Request: q.Resources.Quantities(), Agents: len(a.byID)}
	if ports := q.ports(); ports > 0 {
		e.Request = e.Request.Set("ports", ports)
	}
	n := a.roles[q.Role]
	if n == nil { // as it would be
		n = a.phantom(q.Role)
	}
	x := &explainer{a: a, q: q, role: n, c: a.asker(q, n), want: q.Resources.Quantities()}
	x.odd = q.Resources.Filter(func(it *resource.Resource) bool { return it.Kind() != resource.Scalar }).WithoutReservations()
	e.Blocked = x.blocked()
	var counts [256]int // by reason
	close := nearest{most: cmp.Or(q.Nearest, 3), request: e.Request}
	for _, ag := range a.agents {
		if ag == nil {
			continue
		}
		v := x.verdict(ag)
		counts[v.Reason]++
		if v.Reason == reason.Filtered && (e.Soonest == 0 || v.Until < e.Soonest) {
			e.Soonest = v.Until
		}
		close.add(v)
		if q.Verdicts {
			v.Missing = slices.Clone(v.Missing)
			e.Verdicts = append(e.Verdicts, v)
		}
	}
	e.Nearest = close.list
	slices.SortFunc(e.Verdicts, compareVerdicts)
	e.Fit = counts[reason.None]
	for r, n := range counts {
		if n > 0 && reason.Reason(r) != reason.None {
			e.Counts = append(e.Counts, Count{reason.Reason(r), n})
		}
	}
	slices.SortFunc(e.Counts, func(c, d Count) int {
		return cmp.Or(cmp.Compare(d.Agents, c.Agents), cmp.Compare(c.Reason, d.Reason))
	})
	e.Quota = a.explainQuota(n)
	for i, name := range a.names.list {
		if need := a.root.below.at(i); need > 0 {
			e.Held = append(e.Held, Held{name, resource.Milli(a.available.at(i)), resource.Milli(need)})
		}
	}
	e.Share = a.explainShare(n, x.c)
	return e
}

// ports is how many ports the request is about, in the unit of Missing.
func (q Request) ports() resource.Milli {
	if q.Ports > 0 {
		return resource.Milli(q.Ports) * 1000
	}
	var n uint64
	for _, r := range q.Resources.RangesOf("ports") {
		n += min(r.End-r.Begin+1, 1<<40)
	}
	return resource.Milli(min(n, 1<<40)) * 1000
}

// phantom is a role nobody is in yet, below the nearest one that is known.
func (a *Allocator) phantom(path string) *node {
	parent := a.root
	for _, up := range role.Ancestors(path) {
		if n := a.roles[up]; n != nil {
			parent = n
			break
		}
	}
	return &node{path: path, parent: parent, weight: 1, limits: parent.limits}
}

// asker is the client, or one that could be.
func (a *Allocator) asker(q Request, n *node) *client {
	fw := a.frameworks[q.Framework]
	switch {
	case q.Framework == "":
		fw = &framework{Framework: Framework{
			Revocable: true, Shared: true, GPU: true, Refinement: true, MultiRole: true, RegionAware: true}}
	case fw == nil:
		fw = &framework{Framework: Framework{ID: q.Framework}}
	default:
		if c := fw.client(q.Role); c != nil {
			return c
		}
	}
	c := &client{fw: fw, role: n, minima: &a.minima}
	c.slot = -1 // no filter is of this one
	return c
}

type explainer struct {
	a    *Allocator
	q    Request
	role *node
	c    *client
	want resource.Quantities // scalars
	odd  resource.Resources  // ranges and sets
	list []Missing           // what missing found last
}

func (x *explainer) blocked() reason.Reason {
	switch {
	case len(x.a.byID) == 0:
		return reason.NoAgents
	case x.q.Framework != "" && !x.c.fw.known:
		return reason.Unknown
	case x.q.Framework != "" && !x.c.fw.active:
		return reason.Disconnected
	case x.q.Framework != "" && !x.c.subscribed:
		return reason.Unsubscribed
	case x.c.suppressed:
		return reason.Suppressed
	case x.a.paused:
		return reason.Paused
	}
	return reason.None
}

// verdict finds the first rule the agent fails. What cannot be had comes before what
// was declined: a framework that needs more than it is offered declines, and its
// filter is not the reason.
func (x *explainer) verdict(ag *agent) Verdict {
	v := Verdict{Agent: ag.ID, Hostname: ag.Hostname}
	switch {
	case !ag.active:
		v.Reason = reason.AgentInactive
	case ag.gpus && !x.c.fw.GPU:
		v.Reason = reason.NeedsGPUCapability
	case ag.remote && !x.c.fw.RegionAware:
		v.Reason = reason.OtherRegion
	case x.c.excluded(ag):
		v.Reason = reason.Constraint
	default:
		x.resources(ag, &v)
	}
	return v
}

func (x *explainer) resources(ag *agent, v *Verdict) {
	asked := !x.q.Resources.Empty() || x.q.Ports > 0
	if !asked && !ag.useful {
		v.Reason = reason.NothingFree
		return
	}
	if v.TooSmall = len(x.missing(ag.Total)) > 0; len(x.missing(ag.free)) > 0 {
		v.Missing = x.list
		v.Reason = reason.Insufficient(v.Missing[0].Name)
		return
	}
	seen := ag.free
	if !ag.simple {
		seen = x.c.visible(seen)
		if v.Missing = x.missing(seen); len(v.Missing) > 0 || seen.Empty() {
			v.Reason = reason.ReservedElsewhere
			return
		}
	}
	rest := seen
	if x.a.quotas > 0 {
		if v.Missing = x.missing(x.under(ag, seen, x.role.room)); len(v.Missing) > 0 {
			v.Reason = reason.QuotaLimit
			return
		}
		rest = x.under(ag, seen, func(name int) int64 { return x.a.allowed(x.role, name) })
		if v.Missing = x.missing(rest); len(v.Missing) > 0 {
			v.Reason = reason.Headroom
			return
		}
	}
	if !x.c.minima.metByBag(rest) || rest.NonShared().Empty() {
		switch {
		case !x.c.minima.metByBag(seen):
			v.Reason = reason.BelowMinimum
		case x.c.minima.metByBag(x.under(ag, seen, x.role.room)):
			v.Reason = reason.Headroom
		default:
			v.Reason = reason.QuotaLimit
		}
		return
	}
	if f := ag.filtered(x.c.slot, rest); f != nil && f.until > x.q.Now {
		v.Reason, v.Until = reason.Filtered, f.until
	}
}

// under is what of the bag remains if of each unreserved scalar no more than most is
// to be had.
func (x *explainer) under(ag *agent, bag resource.Resources, most func(name int) int64) resource.Resources {
	var limits resource.Quantities
	for i, have := range ag.plain {
		if m := most(i); m < have {
			limits = limits.Set(x.a.names.list[i], resource.Milli(m))
		}
	}
	return bag.Shrink(limits)
}

// missing is what of the request is not in the bag, whatever its reservations:
// well-known names first. It is valid until the next call.
func (x *explainer) missing(bag resource.Resources) []Missing {
	out := x.list[:0]
	for _, want := range x.want {
		if have := bag.Sum(want.Name); have < want.Value {
			out = append(out, Missing{want.Name, want.Value - have, have})
		}
	}
	if x.q.Ports > 0 {
		var have resource.Milli
		for _, r := range bag.RangesOf("ports") {
			have += resource.Milli(min(r.End-r.Begin+1, 1<<40)) * 1000
		}
		if want := resource.Milli(x.q.Ports) * 1000; have < want {
			out = append(out, Missing{"ports", want - have, have})
		}
	}
	if !x.odd.Empty() {
		have := bag.NonRevocable().WithoutReservations()
		for it := range x.odd.All() {
			if n := size(it.Bag().Sub(have)); n > 0 && (x.q.Ports == 0 || it.Name() != "ports") {
				out = append(out, Missing{it.Name(), n, size(it.Bag()) - n})
			}
		}
	}
	if len(out) > 1 {
		slices.SortStableFunc(out, func(m, n Missing) int {
			return cmp.Compare(reason.Insufficient(m.Name), reason.Insufficient(n.Name))
		})
	}
	x.list = out
	return out
}

// size counts the values of ranges and sets.
func size(r resource.Resources) resource.Milli {
	var n uint64
	for it := range r.All() {
		n += uint64(len(it.Items()))
		for _, one := range it.Ranges() {
			n += min(one.End-one.Begin+1, 1<<40)
		}
	}
	return resource.Milli(min(n, 1<<40)) * 1000
}

// nearest keeps the agents that miss least, relative to the request.
type nearest struct {
	most    int
	request resource.Quantities
	list    []Verdict
	far     []float64 // how far each of list is
}

func (n *nearest) add(v Verdict) {
	if len(v.Missing) == 0 && v.Reason != reason.Filtered {
		return
	}
	d := 0.0
	for _, m := range v.Missing {
		want, _ := n.request.Get(m.Name)
		d += float64(m.By) / float64(max(want, m.By))
	}
	i := len(n.list)
	for i > 0 && (d < n.far[i-1] || d == n.far[i-1] && compareVerdicts(v, n.list[i-1]) < 0) {
		i--
	}
	if i >= n.most {
		return
	}
	v.Missing = slices.Clone(v.Missing) // it is the explainer's
	n.list, n.far = slices.Insert(n.list, i, v), slices.Insert(n.far, i, d)
	n.list, n.far = n.list[:min(n.most, len(n.list))], n.far[:min(n.most, len(n.far))]
}

func compareVerdicts(v, w Verdict) int {
	return cmp.Or(cmp.Compare(v.Hostname, w.Hostname), cmp.Compare(v.Agent, w.Agent))
}

func (a *Allocator) explainQuota(n *node) []Quota {
	var out []Quota
	for ; !n.isRoot(); n = n.parent {
		for i, name := range a.names.list {
			q := Quota{Role: n.path, Name: name, Used: resource.Milli(n.consumed.at(i))}
			for _, g := range n.guarantee {
				if g.name == i {
					q.Guarantee = resource.Milli(g.value)
				}
			}
			for _, l := range n.limit {
				if l.name == i {
					q.Limit, q.Limited = resource.Milli(l.value), true
				}
			}
			if q.Limited || q.Guarantee > 0 {
				out = append(out, q)
			}
		}
	}
	return out
}

func (a *Allocator) explainShare(n *node, c *client) Share {
	s := Share{Dominant: a.share(n.alloc) / n.weight, Weight: n.weight}
	most := 0.0
	for i, x := range n.alloc {
		if i < len(a.total) && a.total[i] > 0 && !a.excluded[i] && float64(x)/float64(a.total[i]) > most {
			most, s.Name = float64(x)/float64(a.total[i]), a.names.list[i]
		}
	}
	a.rankAll() // what Allocate would do first
	a.root.walk(a.active, func(o *client) bool {
		s.Of++
		if s.Position == 0 && (o == c || c.fw.ID == "" && o.role == n) {
			s.Position = s.Of
		}
		return true
	})
	return s
}
