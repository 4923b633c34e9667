package state

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"

	"github.com/stoa-kernel/stoa/service/match"
)

// The offers that readers see tell of as many agents as they can: each agent's latest.
func TestUnusedOffersAreOneOfEachAgent(t *testing.T) {
	s := New(Config{})
	a := &application{id: "/web", queue: &Queue{Launch: map[match.Reason]Count{}, Last: map[match.Reason]Count{}}}
	for n := range 60 {
		s.now.Wall = time.Unix(int64(n), 0)
		pool, err := match.NewPool([]*mesos.Offer{{
			Id:       &mesos.OfferID{Value: proto.String(fmt.Sprint("offer", n))},
			AgentId:  &mesos.AgentID{Value: proto.String(fmt.Sprint("agent", n%(1+n/4)))},
			Hostname: proto.String("host"),
		}})
		if err != nil {
			t.Fatal(err)
		}
		before := a.queue.LastUnused
		shown := fmt.Sprint(before)
		s.tally(a, pool, &match.Refusal{Reason: match.Reasons[0]})
		if fmt.Sprint(before) != shown {
			t.Fatal("what readers have was changed")
		}
		seen := make(map[string]bool)
		for i, u := range a.queue.LastUnused {
			agent := u.Offer.GetAgentId().GetValue()
			if seen[agent] || i > 0 && u.At.After(a.queue.LastUnused[i-1].At) {
				t.Errorf("after offer %d entry %d, of %s, is one too many or out of order", n, i, agent)
			}
			seen[agent] = true
		}
	}
	if n := len(a.queue.LastUnused); n != mostUnused || a.queue.Unused != 60 {
		t.Errorf("%d offers are shown of %d; want %d of 60", n, a.queue.Unused, mostUnused)
	}
}
