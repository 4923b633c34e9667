package service

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	masterpb "github.com/stoa-kernel/stoa/api/mesos/v1/master"
	"github.com/stoa-kernel/stoa/sdk/operator"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/match"
	"github.com/stoa-kernel/stoa/service/state"
)

// askAgents is how often the master is asked for its agents while an app follows them.
const askAgents = 5 * time.Second

// agents tells the core which agents there are.
type agents struct {
	masters []string
	client  *http.Client
	tell    func(state.Input)
	on      atomic.Bool
	wake    chan struct{}
}

func newAgents(masters []string, client *http.Client, tell func(state.Input)) *agents {
	return &agents{masters: masters, client: client, tell: tell, wake: make(chan struct{}, 1)}
}

func (a *agents) follow(on bool) {
	a.on.Store(on)
	poke(a.wake)
}

func (a *agents) run(ctx context.Context) {
	tick := time.NewTicker(askAgents)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-a.wake:
		case <-ctx.Done():
			return
		}
		if a.on.Load() {
			a.ask(ctx)
		}
	}
}

// ask asks each master in turn. Without an answer nothing is told: what was known stands.
func (a *agents) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askAgents)
	defer cancel()
	for _, m := range a.masters {
		answer, err := operator.New(m, a.client).Call(ctx, &masterpb.Call{Type: masterpb.Call_GET_AGENTS.Enum()})
		if err != nil {
			continue
		}
		var all []*instance.Agent
		for _, x := range answer.GetGetAgents().GetAgents() {
			if info := x.GetAgentInfo(); x.GetActive() && !x.GetDeactivated() {
				all = append(all, match.Host(info.GetId().GetValue(), info.GetHostname(), info.GetDomain(), info.GetAttributes()))
			}
		}
		slices.SortFunc(all, func(a, b *instance.Agent) int { return strings.Compare(a.ID, b.ID) })
		a.tell(state.Agents{All: all})
		return
	}
}
