// Package view is the cluster as readers see it: GET_STATE, the command line, metrics.
// The loop feeds it the timeline's events and publishes, once per batch, an immutable
// Root; readers load the pointer and take as long as they like, on their own
// goroutines, without the loop noticing.
//
// Every agent and task is an immutable fragment in a page of 256. A changed fragment
// copies its page, a publication copies the list of pages. The first reader who needs a
// fragment's encoding leaves it there for the next, within a budget.
package view

import (
	"iter"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/stoa-kernel/stoa/internal/codec"
	"github.com/stoa-kernel/stoa/kernel/id"
	"github.com/stoa-kernel/stoa/master/state"
	"google.golang.org/protobuf/proto"
)

// Config bounds a view.
type Config struct {
	// CompletedFrameworks is how many removed frameworks are shown; 0 means 50.
	CompletedFrameworks int
	// Cache is how many bytes of encodings are kept; 0 means DefaultCache.
	Cache int64
}

// Task is a task's fragment.
type Task struct {
	*state.Task
	cache
}

func (t *Task) append(b []byte, c codec.Codec) ([]byte, error) {
	return t.cache.append(b, c, func() proto.Message { return taskMessage(t.Task) })
}

func (t *Task) length() int {
	return t.cache.length(func() proto.Message { return taskMessage(t.Task) })
}

// Agent is an agent's fragment.
type Agent struct {
	*state.Agent
	cache
}

func (a *Agent) append(b []byte, c codec.Codec) ([]byte, error) {
	return a.cache.append(b, c, func() proto.Message { return agentMessage(a.Agent) })
}

func (a *Agent) length() int {
	return a.cache.length(func() proto.Message { return agentMessage(a.Agent) })
}

// Root is one consistent state. Nothing in it changes.
type Root struct {
	// Sequence is the number of events it follows from.
	Sequence uint64
	Roles    []state.Role

	live, completed, unreachable rows[Task]
	agents                       rows[Agent]
	frameworks                   rows[state.Framework]
	offers                       rows[state.Offer]
	finished                     []*state.Framework
}

// Tasks are the live ones.
func (r *Root) Tasks() iter.Seq[*Task] { return r.live.all() }

// Completed are the tasks whose end was acknowledged.
func (r *Root) Completed() iter.Seq[*Task] { return r.completed.all() }

// Unreachable are the tasks on agents that were marked unreachable.
func (r *Root) Unreachable() iter.Seq[*Task] { return r.unreachable.all() }

// Agents are all that are known, recovered and unreachable ones too.
func (r *Root) Agents() iter.Seq[*Agent] { return r.agents.all() }

// Frameworks are those not removed.
func (r *Root) Frameworks() iter.Seq[*state.Framework] { return r.frameworks.all() }

// CompletedFrameworks are the removed ones, oldest first.
func (r *Root) CompletedFrameworks() []*state.Framework { return r.finished }

// Offers are the outstanding ones.
func (r *Root) Offers() iter.Seq[*state.Offer] { return r.offers.all() }

// Counts are the sizes of a root's tables.
type Counts struct {
	Tasks, CompletedTasks, UnreachableTasks, Agents, Frameworks, CompletedFrameworks, Offers int
}

// Counts takes no time.
func (r *Root) Counts() Counts {
	return Counts{
		Tasks: r.live.len, CompletedTasks: r.completed.len, UnreachableTasks: r.unreachable.len,
		Agents: r.agents.len, Frameworks: r.frameworks.len, CompletedFrameworks: len(r.finished),
		Offers: r.offers.len,
	}
}

// list says which of the three tables a task stands in.
type list uint8

const (
	live list = iota
	completed
	unreachable
)

func listOf(t *state.Task) list {
	switch {
	case t.Completed:
		return completed
	case t.Unreachable:
		return unreachable
	}
	return live
}

type place struct {
	list list
	slot int32
}

// tasksOf are where one framework's tasks stand. A task's id may be used again once the
// task completed, so a live one and one that is not can have the same.
type tasksOf struct {
	live map[id.Task]int32
	rest map[id.Task]place
	// again counts the completions of an id that a later one has replaced in rest:
	// each of them has a TaskRemoved to come.
	again map[id.Task]int
}

// View is the owner's side. Apply and Publish belong to one goroutine; Root and
// Subscribe are for everybody.
type View struct {
	cfg      Config
	spend    *budget
	sequence uint64

	tasks      [3]table[Task]
	agents     table[Agent]
	frameworks table[state.Framework]
	offers     table[state.Offer]

	taskAt      map[id.Framework]*tasksOf
	agentAt     map[id.Agent]int
	frameworkAt map[id.Framework]int
	offerAt     map[id.Offer]int
	finished    []*state.Framework
	roles       []state.Role

	root    atomic.Pointer[Root]
	pending []state.Event

	mu   sync.Mutex // orders publications and subscriptions
	subs map[*Subscription]struct{}
}

// New returns an empty view, published.
func New(cfg Config) *View {
	if cfg.CompletedFrameworks == 0 {
		cfg.CompletedFrameworks = 50
	}
	if cfg.Cache == 0 {
		cfg.Cache = DefaultCache
	}
	v := &View{
		cfg:         cfg,
		spend:       new(budget),
		taskAt:      make(map[id.Framework]*tasksOf),
		agentAt:     make(map[id.Agent]int),
		frameworkAt: make(map[id.Framework]int),
		offerAt:     make(map[id.Offer]int),
		subs:        make(map[*Subscription]struct{}),
	}
	v.spend.left.Store(cfg.Cache)
	v.Publish()
	return v
}

// Root is the newest publication.
func (v *View) Root() *Root { return v.root.Load() }

// Apply takes one event of the timeline. Readers see it after Publish.
func (v *View) Apply(e state.Event) {
	v.sequence++
	v.pending = append(v.pending, e)
	switch e := e.(type) {
	case state.TaskAdded:
		v.putTask(e.Task)
	case state.TaskUpdated:
		v.putTask(e.Task)
	case state.TaskRemoved:
		v.removeTask(e.Framework, e.Task)
	case state.AgentAdded:
		v.putAgent(e.Agent)
	case state.AgentUpdated:
		v.putAgent(e.Agent)
	case state.AgentRemoved:
		if slot, ok := v.agentAt[e.Agent]; ok {
			v.agents.at(slot).drop()
			v.agents.remove(slot)
			delete(v.agentAt, e.Agent)
		}
	case state.FrameworkAdded:
		v.putFramework(e.Framework)
	case state.FrameworkUpdated:
		v.putFramework(e.Framework)
	case state.FrameworkRemoved:
		v.finishFramework(e.Framework)
	case state.OfferAdded:
		v.offerAt[e.Offer.ID] = v.offers.add(e.Offer)
	case state.OfferRemoved:
		if slot, ok := v.offerAt[e.Offer]; ok {
			v.offers.remove(slot)
			delete(v.offerAt, e.Offer)
		}
	case state.RolesChanged:
		v.roles = e.Roles
	}
}

// Publish shows readers and subscribers what was applied since the last time.
func (v *View) Publish() {
	if len(v.pending) == 0 && v.root.Load() != nil {
		return
	}
	r := &Root{
		Sequence:    v.sequence,
		Roles:       v.roles,
		live:        v.tasks[live].publish(),
		completed:   v.tasks[completed].publish(),
		unreachable: v.tasks[unreachable].publish(),
		agents:      v.agents.publish(),
		frameworks:  v.frameworks.publish(),
		offers:      v.offers.publish(),
		finished:    v.finished,
	}
	v.mu.Lock()
	v.root.Store(r)
	for s := range v.subs {
		s.add(v.pending)
	}
	v.mu.Unlock()
	clear(v.pending)
	v.pending = v.pending[:0]
}

func (v *View) newTask(t *state.Task) *Task {
	return &Task{Task: t, cache: cache{spend: v.spend}}
}

func (v *View) putTask(t *state.Task) {
	of := v.taskAt[t.Framework]
	if of == nil {
		of = &tasksOf{live: make(map[id.Task]int32), rest: make(map[id.Task]place)}
		v.taskAt[t.Framework] = of
	}
	key := id.Task(t.Info.GetTaskId().GetValue())
	to := listOf(t)
	if slot, ok := of.live[key]; ok {
		v.tasks[live].at(int(slot)).drop()
		if to == live {
			v.tasks[live].set(int(slot), v.newTask(t))
			return
		}
		v.tasks[live].remove(int(slot))
		delete(of.live, key)
		if old, ok := of.rest[key]; ok {
			v.dropRest(of, key, old)
			if of.again == nil {
				of.again = make(map[id.Task]int)
			}
			of.again[key]++
		}
	} else if old, ok := of.rest[key]; ok && (to != live || old.list == unreachable) {
		if old.list == to {
			v.tasks[to].at(int(old.slot)).drop()
			v.tasks[to].set(int(old.slot), v.newTask(t))
			return
		}
		v.dropRest(of, key, old)
	}
	slot := int32(v.tasks[to].add(v.newTask(t)))
	if to == live {
		of.live[key] = slot
	} else {
		of.rest[key] = place{to, slot}
	}
}

func (v *View) dropRest(of *tasksOf, key id.Task, p place) {
	v.tasks[p.list].at(int(p.slot)).drop()
	v.tasks[p.list].remove(int(p.slot))
	delete(of.rest, key)
}

func (v *View) removeTask(framework id.Framework, key id.Task) {
	of := v.taskAt[framework]
	if of == nil {
		return
	}
	if n := of.again[key]; n > 0 {
		if of.again[key] = n - 1; n == 1 {
			delete(of.again, key)
		}
		return
	}
	if p, ok := of.rest[key]; ok {
		v.dropRest(of, key, p)
	} else if slot, ok := of.live[key]; ok {
		v.tasks[live].at(int(slot)).drop()
		v.tasks[live].remove(int(slot))
		delete(of.live, key)
	}
	if len(of.live)+len(of.rest) == 0 {
		delete(v.taskAt, framework)
	}
}

func (v *View) putAgent(a *state.Agent) {
	row := &Agent{Agent: a, cache: cache{spend: v.spend}}
	if slot, ok := v.agentAt[a.ID]; ok {
		v.agents.at(slot).drop()
		v.agents.set(slot, row)
		return
	}
	v.agentAt[a.ID] = v.agents.add(row)
}

func (v *View) putFramework(f *state.Framework) {
	key := id.Framework(f.Info.GetId().GetValue())
	if slot, ok := v.frameworkAt[key]; ok {
		v.frameworks.set(slot, f)
		return
	}
	v.frameworkAt[key] = v.frameworks.add(f)
}

// finishFramework moves a framework to the completed ones; the oldest beyond the limit
// is forgotten with its tasks.
func (v *View) finishFramework(f *state.Framework) {
	key := id.Framework(f.Info.GetId().GetValue())
	if slot, ok := v.frameworkAt[key]; ok {
		v.frameworks.remove(slot)
		delete(v.frameworkAt, key)
	}
	v.finished = append(slices.Clone(v.finished), f)
	for len(v.finished) > v.cfg.CompletedFrameworks {
		v.forgetTasks(id.Framework(v.finished[0].Info.GetId().GetValue()))
		v.finished = v.finished[1:]
	}
}

func (v *View) forgetTasks(framework id.Framework) {
	of := v.taskAt[framework]
	if of == nil {
		return
	}
	if _, again := v.frameworkAt[framework]; again {
		return
	}
	// The order of removal decides which slots are reused first, which nobody relies on.
	for key, p := range of.rest {
		v.dropRest(of, key, p)
	}
	of.again = nil
	if len(of.live) == 0 {
		delete(v.taskAt, framework)
	}
}
