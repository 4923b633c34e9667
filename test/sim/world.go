package main

import (
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"time"

	"github.com/stoa-kernel/stoa/kernel/clock"
)

// epochStart is the wall time at which every world begins.
var epochStart = time.Unix(1_800_000_000, 0).UTC()

// world is one simulated cluster. Everything in it happens on one goroutine, in the
// order of virtual time; every choice is drawn from rng.
type world struct {
	seed  uint64
	rng   *rand.Rand
	now   time.Duration
	queue agenda
	seq   uint64
	trace trace
	count counts

	chaos    time.Duration // faults end here
	calm     bool          // faults have ended, everything is healed
	registry registry
	masters  []*masterProcess // living ones; the leader is the last elected
	leader   *masterProcess
	elected  int
	machines []*machine
	fws      []*scheduler
	truth    ledger
	faults   int
	operator operator
	timing   timing
}

// timing is the configuration of the cluster, drawn once per seed.
type timing struct {
	reregister, offer, failover time.Duration
	removal                     time.Duration
	gc                          time.Duration
	maxAge                      time.Duration
}

// violation is a broken invariant; it ends the run.
type violation struct {
	Invariant string
	Detail    string
	At        time.Duration
	Stack     string
}

func (v *violation) Error() string {
	return fmt.Sprintf("%s at %v: %s", v.Invariant, v.At, v.Detail)
}

// fail ends the run: an invariant does not hold.
func (w *world) fail(invariant, format string, args ...any) {
	panic(&violation{Invariant: invariant, Detail: fmt.Sprintf(format, args...), At: w.now})
}

// at does f at a later time; equal times keep the order in which they were asked for.
func (w *world) at(d time.Duration, f func()) {
	w.seq++
	w.queue.push(entry{w.now + max(d, 0), w.seq, f})
}

// until does what is due up to the end.
func (w *world) until(end time.Duration) {
	for len(w.queue) > 0 && w.queue[0].at <= end {
		e := w.queue.pop()
		w.now = e.at
		e.do()
	}
	w.now = end
}

// clockAt is what a process started at began sees.
func (w *world) clockAt(began, skew time.Duration) clock.Now {
	return clock.Now{Mono: w.now - began, Wall: epochStart.Add(w.now + skew)}
}

// between is a random duration.
func (w *world) between(lo, hi time.Duration) time.Duration {
	if hi <= lo {
		return lo
	}
	return lo + time.Duration(w.rng.Int64N(int64(hi-lo)))
}

// chance is true with probability p.
func (w *world) chance(p float64) bool { return w.rng.Float64() < p }

func pick[T any](w *world, list []T) T { return list[w.rng.IntN(len(list))] }

// result is what one seed came to.
type result struct {
	Seed       uint64
	Hash       uint64
	Virtual    time.Duration
	Agents     int
	Frameworks int
	Tasks      int
	Faults     int
	Counts     counts
	Failure    *violation
}

// options of one run.
type options struct {
	seed  uint64
	chaos time.Duration // 0: about 11 minutes
	trace func(string)
}

// run simulates one seed.
func run(o options) (r result) {
	w := &world{
		seed:  o.seed,
		rng:   rand.New(rand.NewPCG(o.seed, 0x57a0)),
		count: counts{},
	}
	w.trace.sink = o.trace
	defer func() {
		if p := recover(); p != nil {
			v, ok := p.(*violation)
			if !ok {
				v = &violation{Invariant: "no core panics", Detail: fmt.Sprint(p), At: w.now, Stack: string(debug.Stack())}
			}
			r.Failure = v
			if o.trace != nil {
				o.trace("VIOLATION " + v.Error())
			}
		}
		r.Seed, r.Hash, r.Virtual = w.seed, w.trace.sum, w.now
		r.Agents, r.Frameworks, r.Tasks, r.Faults, r.Counts = len(w.machines), len(w.fws), w.truth.started, w.faults, w.count
	}()
	w.build(o.chaos)
	w.until(w.chaos)
	w.heal()
	w.quiesce()
	return r
}

// build draws the cluster and sets it going.
func (w *world) build(chaos time.Duration) {
	if chaos == 0 {
		chaos = w.between(10*time.Minute, 12*time.Minute)
	}
	w.chaos = chaos
	w.timing = timing{
		reregister: pick(w, []time.Duration{40 * time.Second, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute}),
		offer:      pick(w, []time.Duration{20 * time.Second, time.Minute, 5 * time.Minute}),
		gc:         pick(w, []time.Duration{time.Minute, 5 * time.Minute}),
		maxAge:     pick(w, []time.Duration{2 * time.Minute, 24 * time.Hour}),
	}
	if w.chance(0.3) {
		w.timing.removal = w.between(time.Second, 30*time.Second)
	}
	w.truth.tasks, w.truth.removed = map[string]*taskTruth{}, map[string]bool{}
	w.registry.values = map[string][]byte{}
	w.elect(0)
	for i := range 20 + w.rng.IntN(6) {
		w.addMachine(i)
	}
	frameworks := 5 + w.rng.IntN(4)
	for i := range frameworks {
		w.addFramework(i, (540+w.rng.IntN(120))/frameworks)
	}
	w.operator.start(w)
	w.nemesis()
	w.sweeps()
}

// sweeps are the checks that are too dear for every step.
func (w *world) sweeps() {
	w.at(5*time.Second, func() {
		w.sweep()
		w.sweeps()
	})
}

// counts is how often each kind of thing happened.
type counts map[string]int

func (c counts) add(other counts) {
	for k, n := range other {
		c[k] += n
	}
}

func (c counts) sorted() []string {
	keys := make([]string, 0, len(c))
	for k := range c {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// entry is something to do at a time.
type entry struct {
	at  time.Duration
	seq uint64
	do  func()
}

// agenda is a heap of entries.
type agenda []entry

func (a agenda) before(i, j int) bool {
	return a[i].at < a[j].at || a[i].at == a[j].at && a[i].seq < a[j].seq
}

func (a *agenda) push(e entry) {
	*a = append(*a, e)
	q := *a
	for i := len(q) - 1; i > 0; {
		up := (i - 1) / 2
		if !q.before(i, up) {
			break
		}
		q[i], q[up] = q[up], q[i]
		i = up
	}
}

func (a *agenda) pop() entry {
	q := *a
	top := q[0]
	n := len(q) - 1
	q[0], q[n] = q[n], entry{}
	q = q[:n]
	for i := 0; ; {
		least := i
		for _, c := range [2]int{2*i + 1, 2*i + 2} {
			if c < n && q.before(c, least) {
				least = c
			}
		}
		if least == i {
			break
		}
		q[i], q[least] = q[least], q[i]
		i = least
	}
	*a = q
	return top
}
