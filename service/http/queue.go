package http

import (
	"net/http"
	"slices"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/service/match"
	"github.com/stoa-kernel/stoa/service/state"
)

// queue is GET /v2/queue.
func (c *call) queue() {
	offers := slices.Contains(c.query["embed"], "lastUnusedOffers")
	now := time.Now()
	out := marathon.Queue{Queue: []marathon.QueueItem{}}
	for _, q := range c.View.Queue() {
		out.Queue = append(out.Queue, queueItem(now, q, offers))
	}
	c.send(http.StatusOK, out)
}

// queueItem shows what waits (as Marathon 1.10, raml/QueueInfoConversion).
func queueItem(now time.Time, q *state.Queue, offers bool) marathon.QueueItem {
	left := q.DelayUntil.Sub(now)
	if q.DelayUntil.IsZero() || left < 0 {
		left = 0
	}
	item := marathon.QueueItem{
		Count: q.Count, Role: q.Role, Since: marathon.VersionOf(q.Since), App: q.App,
		Delay: marathon.QueueDelay{TimeLeftSeconds: int64((left + time.Second - 1) / time.Second), Overdue: left == 0},
		ProcessedOffersSummary: marathon.OffersSummary{
			ProcessedOffersCount: q.Processed, UnusedOffersCount: q.Unused,
			RejectSummaryLastOffers:    funnel(q.Last[match.Reasons[0]].Processed, q.Last),
			RejectSummaryLaunchAttempt: funnel(q.Processed, q.Launch),
		},
	}
	if !q.LastUnusedAt.IsZero() {
		item.ProcessedOffersSummary.LastUnusedOfferAt = marathon.VersionOf(q.LastUnusedAt)
	}
	if !q.LastUsedAt.IsZero() {
		item.ProcessedOffersSummary.LastUsedOfferAt = marathon.VersionOf(q.LastUsedAt)
	}
	if offers {
		item.LastUnusedOffers = []marathon.UnusedOffer{}
		for n := range q.LastUnused {
			u := &q.LastUnused[n]
			one := marathon.UnusedOffer{Offer: offer(u.Offer), Reason: []string{}, Timestamp: marathon.VersionOf(u.At)}
			for _, r := range u.Why.All() {
				one.Reason = append(one.Reason, string(r))
			}
			item.LastUnusedOffers = append(item.LastUnusedOffers, one)
		}
	}
	return item
}

// funnel lists how many offers came to each reason and how many ended there. What is
// ours is left out unless it applies.
func funnel(processed int, counts map[match.Reason]state.Count) []marathon.DeclinedStep {
	steps := []marathon.DeclinedStep{}
	for _, r := range match.Reasons {
		declined := counts[r].Declined
		if r == match.NoCapability && declined == 0 {
			continue
		}
		steps = append(steps, marathon.DeclinedStep{Reason: string(r), Declined: declined, Processed: processed})
		processed -= declined
	}
	return steps
}

// offer shows an offer (as Marathon 1.10, raml/OfferConversion).
func offer(o *mesos.Offer) marathon.Offer {
	out := marathon.Offer{
		ID: o.GetId().GetValue(), Hostname: o.GetHostname(), AgentID: o.GetAgentId().GetValue(),
		Resources: []marathon.OfferResource{}, Attributes: []marathon.AgentAttribute{},
	}
	for _, r := range o.GetResources() {
		one := marathon.OfferResource{Name: r.GetName(), Role: role(r)}
		switch r.GetType() {
		case mesos.Value_SCALAR:
			one.Scalar = r.GetScalar().Value
		case mesos.Value_RANGES:
			one.Ranges = ranges(r.GetRanges())
		case mesos.Value_SET:
			one.Set = r.GetSet().GetItem()
		}
		out.Resources = append(out.Resources, one)
	}
	for _, a := range o.GetAttributes() {
		one := marathon.AgentAttribute{Name: a.GetName()}
		switch a.GetType() {
		case mesos.Value_SCALAR:
			one.Scalar = a.GetScalar().Value
		case mesos.Value_RANGES:
			one.Ranges = ranges(a.GetRanges())
		case mesos.Value_SET:
			one.Set = a.GetSet().GetItem()
		case mesos.Value_TEXT:
			one.Text = a.GetText().Value
		}
		out.Attributes = append(out.Attributes, one)
	}
	return out
}

// role that a resource is reserved for, "*" if it is not.
func role(r *mesos.Resource) string {
	if n := len(r.GetReservations()); n > 0 {
		return r.Reservations[n-1].GetRole()
	}
	if r.GetRole() != "" {
		return r.GetRole()
	}
	return "*"
}

func ranges(r *mesos.Value_Ranges) []marathon.NumberRange {
	var out []marathon.NumberRange
	for _, one := range r.GetRange() {
		out = append(out, marathon.NumberRange{Begin: one.GetBegin(), End: one.GetEnd()})
	}
	return out
}

// resetDelay is DELETE /v2/queue/{id}/delay.
func (c *call) resetDelay(id string) {
	req := c.request()
	_, ok := c.ask(func(t state.Token) state.Input {
		req.Token = t
		return state.ResetDelay{Request: req, App: id}
	})
	if ok {
		c.empty(http.StatusNoContent)
	}
}
