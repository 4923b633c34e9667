package main

import (
	"fmt"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	masterpb "github.com/stoa-kernel/stoa/api/mesos/v1/master"
	quotapb "github.com/stoa-kernel/stoa/api/mesos/v1/quota"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/master/state"
	"google.golang.org/protobuf/proto"
)

// operator changes quotas and weights, and ends what it does not like.
type operator struct {
	quotas  map[string]*quotapb.QuotaConfig // acknowledged ones
	unsure  map[string]bool                 // a change was not answered
	pending int
}

func (o *operator) start(w *world) {
	o.quotas, o.unsure = map[string]*quotapb.QuotaConfig{}, map[string]bool{}
	w.at(w.between(5*time.Second, 60*time.Second), func() { o.act(w) })
}

func (o *operator) act(w *world) {
	if w.calm {
		return
	}
	w.at(w.between(10*time.Second, 70*time.Second), func() { o.act(w) })
	m := w.leader
	if m == nil || !m.ready {
		return
	}
	names := []string{"red", "green", "blue", "red/dark"}
	switch w.rng.IntN(6) {
	case 0, 1, 2:
		r := pick(w, names)
		q := &quotapb.QuotaConfig{Role: &r}
		cpus := float64(4 + w.rng.IntN(40))
		mem := float64(1024 * (2 + w.rng.IntN(16)))
		if w.chance(0.6) && r != "red/dark" {
			q.Guarantees = map[string]*mesos.Value_Scalar{"cpus": {Value: &cpus}, "mem": {Value: &mem}}
		}
		if w.chance(0.6) {
			q.Limits = map[string]*mesos.Value_Scalar{"cpus": {Value: proto.Float64(cpus + float64(w.rng.IntN(10)))}}
			if w.chance(0.5) {
				q.Limits["mem"] = &mesos.Value_Scalar{Value: proto.Float64(mem * 1.5)}
			}
		}
		o.quota(w, q, w.chance(0.5))
	case 3:
		r := pick(w, names)
		o.operate(w, &masterpb.Call{
			Type: masterpb.Call_UPDATE_WEIGHTS.Enum(),
			UpdateWeights: &masterpb.Call_UpdateWeights{WeightInfos: []*mesos.WeightInfo{
				{Role: &r, Weight: proto.Float64(0.5 + 4*w.rng.Float64())},
			}},
		}, nil)
	case 4:
		if t := w.someTask(); t != nil {
			t.killed = true
			m.ask(func(token state.Token) state.Input {
				return state.Kill{Token: token, Framework: id.Framework(t.owner), Task: id.Task(t.id)}
			}, func(status int, _ string, _ any) { w.count[fmt.Sprintf("operator: kill answered %d", status)]++ })
			m.ask(func(token state.Token) state.Input {
				return state.Why{Token: token, Framework: id.Framework(t.owner), Task: id.Task(t.id)}
			}, func(status int, _ string, _ any) { w.count[fmt.Sprintf("operator: why answered %d", status)]++ })
		}
	case 5:
		f := pick(w, w.fws)
		switch {
		case w.now < w.chaos*2/3 || w.chance(0.4) || f.leaving:
		case w.chance(0.5):
			f.leave()
		default:
			fid := f.id
			for _, t := range f.tasks {
				w.truth.get(t.id).killed = true
			}
			o.operate(w, &masterpb.Call{
				Type:     masterpb.Call_TEARDOWN.Enum(),
				Teardown: &masterpb.Call_Teardown{FrameworkId: &mesos.FrameworkID{Value: &fid}},
			}, nil)
		}
	}
}

func (w *world) someTask() *taskTruth {
	for range 20 {
		if len(w.truth.order) == 0 {
			return nil
		}
		if t := pick(w, w.truth.order); t.alive {
			return t
		}
	}
	return nil
}

func (o *operator) quota(w *world, q *quotapb.QuotaConfig, force bool) {
	r := q.GetRole()
	o.unsure[r] = true
	o.operate(w, &masterpb.Call{
		Type:        masterpb.Call_UPDATE_QUOTA.Enum(),
		UpdateQuota: &masterpb.Call_UpdateQuota{Force: &force, QuotaConfigs: []*quotapb.QuotaConfig{q}},
	}, func(status int) {
		if status == 200 {
			o.quotas[r] = q
		}
		delete(o.unsure, r)
	})
}

func (o *operator) operate(w *world, c *masterpb.Call, then func(status int)) {
	m := w.leader
	if m == nil {
		return
	}
	m.ask(func(token state.Token) state.Input { return state.Operate{Token: token, Call: c} }, func(status int, message string, _ any) {
		w.count[fmt.Sprintf("operator: %s answered %d", c.GetType(), status)]++
		w.say("operator: %s answered %d %s", c.GetType(), status, message)
		if then != nil {
			then(status)
		}
	})
}

// calm takes all quotas back, again and again until it is acknowledged.
func (o *operator) calm(w *world) {
	for _, r := range []string{"red/dark", "red", "green", "blue"} {
		o.quota(w, &quotapb.QuotaConfig{Role: proto.String(r)}, true)
	}
	w.at(20*time.Second, func() { o.calm(w) })
}
